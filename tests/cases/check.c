/* check.c - one case on one dialect against ref64: the `test` mode of every row.
 *
 * Each node of the case's scene runs on inputs already rounded to their storage type, so that what is measured is
 * the kernel's own error. It runs plain, again (same bits), in place, with each optional output left
 * out, and adding to parameter gradients. A checker that could not fail would be worthless: faults.c. */
#include "cases/cases.h"

#include <stdio.h>
#include <string.h>

typedef struct check { /* one node under test */
    hone_backend *b, *ref64;
    const scene *s;
    hone_nid id;
    bool exact;
    complaint *why;
} check;

/* The node under test. */
static const hone_node *node_of(const check *c) { return &c->s->g->node[c->id]; }

/* Puts op, dialect and the variant before what is wrong. */
static bool wrong(const check *c, const char *variant, const char *what)
{
    char detail[400], name[160];
    snprintf(detail, sizeof detail, "%s", what);
    snprintf(c->why->text, sizeof c->why->text, "%s on %s (%s, case %s): %s", hone_op_name(node_of(c)->op), c->b->name,
             variant, scene_name(c->s, name, sizeof name), detail);
    return false;
}

/* Results of 16 bits that are rounded once more on their way than the row says, by the unit roundoff of that type: cuDNN's
 * filter gradient has the operands' type before it is put into fp32, a pass of ours behind a library's product reads that
 * as it is stored, and batchnorm's dx behind a join is made from the stored sum of two gradients. 0 for all others. */
static double second_rounding(const check *c, const run *got)
{
    hone_op op = node_of(c)->op;
    bool half = c->s->storage == HONE_BF16 || c->s->storage == HONE_F16;
    bool library = got->choice[0] && strncmp(got->choice, "own", 3) != 0;
    bool behind = library && (op == HONE_OP_conv_dw || op == HONE_OP_linear_act || op == HONE_OP_linear_dx_act);
    bool joined = op == HONE_OP_batchnorm_add_relu_dx && node_of(c)->in[6] != HONE_NONE;
    if (!half || (!behind && !joined)) return 0;
    return c->s->storage == HONE_BF16 ? 0x1p-8 : 0x1p-11;
}

/* Output k of both runs, by the tolerance of the case. */
static bool same_output(const check *c, const run *got, const run *want, int k, complaint *detail)
{
    int64_t n = (int64_t)(got->out_bytes[k] / hone_dtype_bytes(got->out_dtype[k]));
    double rounding = k == 0 ? second_rounding(c, got) : 0;
    hone_op op = node_of(c)->op;
    /* a rounding is right or wrong; pictures have the same bits on every dialect */
    bool picture = op == HONE_OP_image_batch || op == HONE_OP_image_erase || op == HONE_OP_image_mix;
    bool one_answer = op == HONE_OP_cast || (picture && c->s->storage == HONE_F32);
    bool exact =
        (c->exact || one_answer) && strstr(got->choice, "winograd") == NULL && rounding == 0; /* transforms round */
    return compare_values(got->out_dtype[k], got->out[k], want->out_dtype[k], want->out[k], n, exact, 1e-5 + rounding,
                          detail);
}

/* Input k, written in place, after both runs. */
static bool same_input(const check *c, const run *got, const run *want, int k, complaint *detail)
{
    int64_t n = (int64_t)(got->in_bytes[k] / hone_dtype_bytes(got->in_dtype[k]));
    hone_tid t = node_of(c)->in[k];
    if (c->s->g->tensor[t].role == HONE_ROLE_SCALAR) return compare_steps(got->in[k], want->in[k], detail);
    return compare_values(got->in_dtype[k], got->in[k], want->in_dtype[k], want->in[k], n, c->exact, 1e-5, detail);
}

/* Everything that the node wrote: outputs that were asked for, inputs that it may write. */
static bool same_results(const check *c, const char *variant, const run *got, const run *want)
{
    complaint detail;
    char text[600];
    if (got->fault[0]) return wrong(c, variant, got->fault);
    if (want->fault[0]) return wrong(c, "ref64", want->fault);
    for (int k = 0; k < HONE_MAX_OUT; k++) {
        if (!got->out[k] || same_output(c, got, want, k, &detail)) continue;
        snprintf(text, sizeof text, "output %d: %s", k, detail.text);
        return wrong(c, variant, text);
    }
    for (int k = 0; k < HONE_MAX_IN; k++) {
        if (!got->in[k] || !is_written_input(node_of(c)->op, k) || same_input(c, got, want, k, &detail)) continue;
        snprintf(text, sizeof text, "input %d, written in place: %s", k, detail.text);
        return wrong(c, variant, text);
    }
    return true;
}

/* Two runs of one kernel: every byte that it wrote. */
static bool same_bits(const check *c, const char *variant, const run *a, const run *b)
{
    if (b->fault[0]) return wrong(c, variant, b->fault);
    for (int k = 0; k < HONE_MAX_OUT; k++)
        if (b->out[k] && memcmp(a->out[k], b->out[k], a->out_bytes[k]) != 0)
            return wrong(c, variant, "an output has other bits");
    for (int k = 0; k < HONE_MAX_IN; k++)
        if (b->in[k] && is_written_input(node_of(c)->op, k) && memcmp(a->in[k], b->in[k], a->in_bytes[k]) != 0)
            return wrong(c, variant, "an input written in place has other bits");
    return true;
}

/* Runs a variant and compares it with what the plain run should have given. */
static bool variant_agrees(const check *c, const char *variant, run_how how, const run *want)
{
    run got;
    run_node(c->b, c->s, c->id, how, &got);
    bool ok = same_results(c, variant, &got, want);
    run_free(&got);
    return ok;
}

/* `again` must have the bits of the first run. */
static bool repeats(const check *c, const char *variant, const run *first, run_how how)
{
    run again;
    run_node(c->b, c->s, c->id, how, &again);
    bool ok = same_bits(c, variant, first, &again);
    run_free(&again);
    return ok;
}

/* What nobody asked for must not be needed for the rest. */
static bool optional_outputs(const check *c, const run *want)
{
    for (int k = 1; k < node_of(c)->out_count; k++) {
        char variant[32];
        hone_op op = node_of(c)->op;
        bool may_drop =
            is_param_gradient(op, k) ||
            ((op == HONE_OP_batchnorm_add_relu || op == HONE_OP_batchnorm_add_relu_dx) && k == 3) ||
            (op == HONE_OP_maxpool || op == HONE_OP_global_maxpool || op == HONE_OP_conv_act_maxpool ||
             op == HONE_OP_softmax_xent || ((op == HONE_OP_softmax_xent_both || op == HONE_OP_linear_act) && k == 1));
        snprintf(variant, sizeof variant, "without output %d", k);
        if (may_drop && !variant_agrees(c, variant, (run_how){.drop_mask = 1u << k}, want)) return false;
    }
    return true;
}

/* Micro-batches: parameter gradients are added to what is there. Changes `want`, so it comes last. */
static bool accumulates(const check *c, run *want)
{
    bool any = false;
    for (int k = 0; k < node_of(c)->out_count; k++) {
        if (!want->out[k] || !is_param_gradient(node_of(c)->op, k)) continue;
        double *sum = want->out[k]; /* ref64's */
        for (size_t i = 0; i < want->out_bytes[k] / sizeof *sum; i++) sum[i] += start_value((int64_t)i);
        any = true;
    }
    return !any || variant_agrees(c, "accumulating", (run_how){.accumulate = true}, want);
}

/* Every variant of one node; stops at the first complaint. */
static bool check_node(const check *c)
{
    run got, want;
    run_node(c->ref64, c->s, c->id, (run_how){0}, &want);
    run_node(c->b, c->s, c->id, (run_how){0}, &got);
    bool ok = same_results(c, "plain", &got, &want) && repeats(c, "run twice", &got, (run_how){0}) &&
              (hone_op_in_place(node_of(c)->op) < 0 || repeats(c, "in place", &got, (run_how){.in_place = true}));
    run_free(&got);
    ok = ok && optional_outputs(c, &want) && accumulates(c, &want);
    run_free(&want);
    return ok;
}

/* The forward node, then its backward nodes on results that ref64 computed and float rounded. */
static bool check_kind(hone_backend *b, hone_backend *ref64, scene *s, values kind, complaint *why)
{
    char fault[256];
    bool exact = (kind == VALUES_INTEGER && s->row->tolerance == EXACT) || kind == VALUES_NANS;
    check c = {.b = b, .ref64 = ref64, .s = s, .id = s->forward, .exact = exact, .why = why};
    scene_fill(s, kind);
    if (!check_node(&c)) return false;
    run_store(ref64, s, s->forward, true, fault, sizeof fault);
    if (fault[0]) return wrong(&c, "ref64", fault);
    for (int k = 0; k < s->back_count; k++) {
        c.id = s->back[k].node;
        if (c.id != HONE_NONE && !check_node(&c)) return false;
    }
    return true;
}

bool check_case(hone_backend *b, hone_backend *ref64, const case_row *row, hone_dtype storage, complaint *why)
{
    scene s;
    scene_open(&s, row);
    scene_store(&s, storage);
    static const values first[] = {
        [EXACT] = VALUES_REAL,    [CLOSE] = VALUES_REAL,  [NANS] = VALUES_NANS,   [NANS_CLOSE] = VALUES_NAN_REAL,
        [INFS] = VALUES_INF_REAL, [LARGE] = VALUES_LARGE, [SMALL] = VALUES_SMALL, [TIES] = VALUES_INTEGER};
    bool ok = check_kind(b, ref64, &s, first[row->tolerance], why);
    if (ok && row->tolerance == EXACT) ok = check_kind(b, ref64, &s, VALUES_INTEGER, why);
    scene_close(&s);
    return ok;
}
