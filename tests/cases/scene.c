/* scene.c - builds the small graph of a case and fills its tensors with repeatable numbers.
 *
 * Real values stay away from the kinks of ReLU and its kin and, for max pooling, from each other, so
 * that differences are meaningful. All are rounded to float, the storage type. A case that does not
 * build is a mistake in cases.def and stops the program with the message of the shape rule. */
#include "cases/cases.h"
#include "graph/signature.h"
#include "hone/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program on a mistake in the list: no case can be trusted after it. */
static void demand(hone_status status, const case_row *row)
{
    if (status == HONE_OK) return;
    fprintf(stderr, "cases.def: %s \"%s\": %s\n", hone_op_name(row->op), row->shapes, hone_error_message());
    exit(1);
}

/* "2x3x4", "i4", "u8x8", "step.."; declares the tensor, or HONE_NONE for "-". */
static hone_tid declare(scene *s, const char *token)
{
    hone_tid t;
    if (strcmp(token, "-") == 0) return HONE_NONE;
    if (strncmp(token, "step", 4) == 0) {
        demand(hone_graph_step(s->g, &t), s->row);
        return t;
    }
    hone_dtype dtype = token[0] == 'i' ? HONE_I32 : token[0] == 'u' ? HONE_U8 : s->row->dtype;
    int64_t dim[HONE_MAX_RANK];
    int32_t rank = 0;
    const char *c = token + (dtype != s->row->dtype);
    for (char *end; *c && rank < HONE_MAX_RANK; c = *end == 'x' ? end + 1 : end) dim[rank++] = strtoll(c, &end, 10);
    demand(hone_graph_tensor(s->g, "", dtype, HONE_ROLE_INPUT, rank, dim, &t), s->row);
    return t;
}

/* One word an input; an op of k inputs has k words. */
static void declare_all(scene *s, hone_tid in[HONE_MAX_IN])
{
    char text[256];
    int k = 0;
    snprintf(text, sizeof text, "%s", s->row->shapes);
    for (char *save = NULL, *token = strtok_r(text, " ", &save); token; token = strtok_r(NULL, " ", &save))
        in[k++] = declare(s, token);
    if (k != hone_op_inputs(s->row->op))
        demand(hone_fail(HONE_ERR_USAGE, NULL, "%d inputs, not %d", hone_op_inputs(s->row->op), k), s->row);
}

hone_tid scene_operand(const scene *s, const char *operand)
{
    int k = operand[1] - '0';
    switch (operand[0]) {
    case 'x': return s->g->node[s->forward].in[k];
    case 'y': return s->g->node[s->forward].out[k];
    case 'd': return s->dy;
    default: return HONE_NONE;
    }
}

/* The attributes that only backward rows read. */
static hone_attrs backward_attrs(const scene *s)
{
    hone_attrs a = s->row->attr;
    const hone_tensor *x = &s->g->tensor[s->g->node[s->forward].in[0]];
    a.window.in_h = (int32_t)x->dim[1];
    a.window.in_w = x->rank == 4 ? (int32_t)x->dim[2] : 0;
    a.ragged.tokens = (int32_t)x->dim[0];
    a.concat.left = x->rank ? (int32_t)x->dim[x->rank - 1] : 1;
    return a;
}

/* Appends one backward row, its operands taken from the forward node. */
static void add_backward(scene *s, const backward_row *rule)
{
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];
    hone_attrs a = backward_attrs(s);
    if (rule->fused_only && s->row->attr.act == HONE_ACT_NONE) return;
    s->back[s->back_count].rule = rule;
    s->back[s->back_count].node = HONE_NONE;
    if (rule->backward != HONE_OP_reshape) {
        for (int k = 0; k < hone_op_inputs(rule->backward); k++) in[k] = scene_operand(s, rule->operands + 3 * k);
        s->back[s->back_count].node = s->g->node_count;
        demand(hone_graph_add(s->g, rule->backward, in, &a, ~0u, out), s->row);
    }
    s->back_count++;
}

/* The graph: inputs, the forward node, dy for its first output, the backward nodes. */
void scene_open(scene *s, const case_row *row)
{
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];
    memset(s, 0, sizeof *s);
    s->row = row;
    s->g = hone_graph_new();
    declare_all(s, in);
    s->forward = s->g->node_count;
    demand(hone_graph_add(s->g, row->op, in, &row->attr, ~0u, out), row);
    s->dy = HONE_NONE;
    if (out[0] != HONE_NONE) {
        hone_tensor y = s->g->tensor[out[0]];
        demand(hone_graph_tensor(s->g, "", y.dtype, HONE_ROLE_INPUT, y.rank, y.dim, &s->dy), row);
    }
    for (int k = 0; k < backward_count; k++)
        if (backward_list[k].forward == row->op) add_backward(s, &backward_list[k]);
    s->value = calloc((size_t)s->g->tensor_count, sizeof *s->value);
    s->stored = calloc((size_t)s->g->tensor_count, sizeof *s->stored);
}

/* Types are the signatures' (graph/signature.h), operand by operand; a tensor that is stored by one node and wide
 * for another would be a mistake in shape.c. */
void scene_store(scene *s, hone_dtype dtype)
{
    s->storage = dtype;
    for (hone_nid i = 0; i < s->g->node_count; i++) {
        const hone_node *n = &s->g->node[i];
        char in[HONE_MAX_IN], out[HONE_MAX_OUT];
        if (!hone_signature_types(n->op, in, out)) demand(hone_fail(HONE_ERR_USAGE, NULL, "no signature"), s->row);
        for (int k = 0; k < n->in_count; k++)
            if (n->in[k] != HONE_NONE && in[k] == 'f') s->stored[n->in[k]] = true;
        for (int k = 0; k < n->out_count; k++)
            if (n->out[k] != HONE_NONE && out[k] == 'f') s->stored[n->out[k]] = true;
    }
}

double scene_round(const scene *s, hone_tid t, double v)
{
    float f = (float)v;
    uint16_t half;
    if (s->storage == HONE_F32 || !s->stored[t] || s->g->tensor[t].dtype != HONE_F32) return (double)f;
    hone_reals_from_f32(s->storage, &f, &half, 1);
    hone_reals_to_f32(s->storage, &half, &f, 1);
    return (double)f;
}

void scene_grow(scene *s, int before)
{
    s->value = realloc(s->value, (size_t)s->g->tensor_count * sizeof *s->value);
    s->stored = realloc(s->stored, (size_t)s->g->tensor_count * sizeof *s->stored);
    for (hone_tid t = before; t < s->g->tensor_count; t++) {
        s->value[t] = NULL;
        s->stored[t] = false;
    }
}

/* Frees the graph and all values. */
void scene_close(scene *s)
{
    for (hone_tid t = 0; s->value && t < s->g->tensor_count; t++) free(s->value[t]);
    free(s->value);
    free(s->stored);
    hone_graph_free(s->g);
}

/* Op and shapes, for messages. */
const char *scene_name(const scene *s, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%s \"%s\"", hone_op_name(s->row->op), s->row->shapes);
    return text;
}

/* --- numbers ----------------------------------------------------------------------------------------- */
/* Numbers are keyed by the op's name (FNV-1a): by its place in ops.def, a new row would change the inputs of others,
 * and the goldens with them. */
static uint32_t draw(const scene *s, hone_tid t, int64_t i)
{
    uint64_t key = 14695981039346656037u;
    for (const char *c = hone_op_name(s->row->op); *c; c++) key = (key ^ (uint8_t)*c) * 1099511628211u;
    return hone_philox(7, (uint32_t)t, (uint64_t)i, key).v[0];
}

/* Input k of the forward op, or -1: some inputs have a meaning that bounds them. */
static int input_of(const scene *s, hone_tid t)
{
    for (int k = 0; k < s->g->node[s->forward].in_count; k++)
        if (s->g->node[s->forward].in[k] == t) return k;
    return -1;
}

/* Inputs that have no meaning below 0. */
static bool is_positive(hone_op op, int k)
{
    switch (op) {
    case HONE_OP_batchnorm:
    case HONE_OP_batchnorm_relu:
    case HONE_OP_batchnorm_relu6:
    case HONE_OP_batchnorm_add_relu:
    case HONE_OP_batchnorm_infer:
    case HONE_OP_batchnorm_infer_relu:
    case HONE_OP_batchnorm_infer_relu6:
    case HONE_OP_batchnorm_infer_add_relu: return k == 4; /* running variance */
    case HONE_OP_softmax_xent:
    case HONE_OP_softmax_xent_both: return k == 2 || k == 3 || k == 6; /* weights, shares */
    case HONE_OP_adamw: return k == 5;                                 /* second moments */
    case HONE_OP_adamw_rows: return k == 6;
    default: return false;
    }
}

/* The share of the first of two labels: 0 to 1. */
static bool is_share(hone_op op, int k)
{
    return k == 6 && (op == HONE_OP_softmax_xent || op == HONE_OP_softmax_xent_both);
}

/* Ops whose result jumps where two elements are equal. */
static bool has_maximum(hone_op op)
{
    return op == HONE_OP_maxpool || op == HONE_OP_global_maxpool || op == HONE_OP_conv_act_maxpool ||
           op == HONE_OP_ragged_max;
}

/* In (-1, 1), at least 0.02 from 0; relu6 gets a range that has both its kinks well inside. */
static double real_value(const scene *s, int k, hone_tid t, int64_t i)
{
    double u = 2 * (double)hone_uniform(draw(s, t, i)) - 1;
    if (is_share(s->row->op, k)) return (double)hone_uniform(draw(s, t, i));
    if (is_positive(s->row->op, k)) return 0.1 + fabs(u);
    u += u < 0 ? -0.02 : 0.02;
    if ((s->row->op == HONE_OP_batchnorm_relu6 || s->row->op == HONE_OP_batchnorm_infer_relu6) && k == 1) return 8 * u;
    if (s->row->op == HONE_OP_relu6 && k == 0) return u < -0.3 ? u : u < 0.6 ? 5.9 * u / 0.62 : 5.95 + u;
    return u;
}

/* Element i of a tensor that is input k of the forward op (-1: of none), by kind. */
static double plain_value(const scene *s, values kind, int k, hone_tid t, int64_t i)
{
    uint32_t bits = draw(s, t, i);
    if ((kind == VALUES_NANS || (kind == VALUES_NAN_REAL && k == 0)) && k >= 0 && bits % 7 == 3) return NAN;
    bool infinities = kind == VALUES_NANS || kind == VALUES_INF_REAL;
    if (infinities && k >= 0 && bits % 13 == 5) return bits & 64 ? INFINITY : -INFINITY;
    if (kind == VALUES_LARGE) return ldexp(real_value(s, k, t, i), 100);
    if (kind == VALUES_SMALL) return ldexp(real_value(s, k, t, i), -100);
    if (kind == VALUES_REAL || kind == VALUES_NAN_REAL || kind == VALUES_INF_REAL) return real_value(s, k, t, i);
    if (is_share(s->row->op, k)) return bits % 2;
    if (is_positive(s->row->op, k)) return 1 + bits % 3;
    if (s->row->op == HONE_OP_relu6 && k == 0) return (double)(bits % 13) - 3;
    return (double)(bits % 7) - 3;
}

/* Distinct, evenly spaced, in a random order (Fisher-Yates): no two compete within a difference step. */
static void fill_distinct(const scene *s, hone_tid t, double *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) v[i] = (double)(float)(((double)i + 0.5) / (double)n * 2 - 1);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = draw(s, t, i) % (i + 1);
        double keep = v[i];
        v[i] = v[j];
        v[j] = keep;
    }
}

/* Which input of a ragged op holds where its texts begin; -1 for all other ops. */
static int offset_input(hone_op op)
{
    switch (op) {
    case HONE_OP_embedding:
    case HONE_OP_embedding_bag:
    case HONE_OP_ragged_add:
    case HONE_OP_embedding_bag_sgd: return 2;
    case HONE_OP_ragged_mean:
    case HONE_OP_ragged_max:
    case HONE_OP_ragged_first:
    case HONE_OP_ragged_attention: return 1;
    case HONE_OP_embedding_bag_norm: return 0;
    case HONE_OP_conv1d:
    case HONE_OP_gru: return 3;
    default: return -1;
    }
}

/* Labels, rows of the pool: below the size they index; sample ids: any. */
static int64_t index_bound(const scene *s, int k)
{
    const hone_node *n = &s->g->node[s->forward];
    switch (s->row->op) {
    case HONE_OP_image_batch:
    case HONE_OP_image_view: return k == 1 ? s->g->tensor[n->in[0]].dim[0] : 1 << 20;
    case HONE_OP_image_adjust:
    case HONE_OP_image_erase:
    case HONE_OP_image_mix: return 1 << 20;
    default: break;
    }
    if (offset_input(s->row->op) >= 0) return s->g->tensor[n->in[0]].dim[0]; /* tokens: rows of the table */
    return s->g->tensor[n->in[0]].dim[1];
}

/* hone_segment bytes as values: runs with and without decay, with padding between them. */
static void fill_segments(const scene *s, hone_tid t, double *v, int64_t bytes)
{
    int64_t S = bytes / (int64_t)sizeof(hone_segment),
            K = hone_tensor_count(&s->g->tensor[s->g->node[s->forward].in[0]]);
    (void)t;
    for (int64_t k = 0; k < S; k++) {
        hone_segment seg = {.begin = K * k / S, .decay = k % 2 == 0, .lr_scale = k % 3 == 1 ? 0.5f : 1.0f};
        unsigned char raw[sizeof seg];
        seg.count = K * (k + 1) / S - seg.begin;
        if (k + 1 < S && seg.count > 1) seg.count--; /* one element that no segment covers */
        memcpy(raw, &seg, sizeof seg);
        for (size_t b = 0; b < sizeof seg; b++) v[(size_t)k * sizeof seg + b] = raw[b];
    }
}

/* Ascending, some texts empty, some tokens behind the live ones; 4 texts of 137 tokens or more have 0, 1, 7 and 129. */
static void fill_offsets(const scene *s, hone_tid t, double *v, int64_t n)
{
    static const double marked[] = {0, 0, 1, 8, 137};
    const hone_node *node = &s->g->node[s->forward];
    /* tokens stand before the offsets, or rows do; the norm sees neither: any count will do */
    int place = offset_input(s->row->op);
    int rows = s->row->op == HONE_OP_ragged_add || place == 3 ? 0 : place - 1;
    int64_t tokens = place == 0 ? 3 * n : s->g->tensor[node->in[rows]].dim[0];
    int64_t live = tokens - tokens / 8;
    if (n == 5 && tokens >= 137) {
        memcpy(v, marked, sizeof marked);
        return;
    }
    for (int64_t i = 1; i + 1 < n; i++) {
        double at = (double)(draw(s, t, i) % (uint64_t)(live + 1));
        int64_t k = i;
        for (; k > 1 && v[k - 1] > at; k--) v[k] = v[k - 1];
        v[k] = at;
    }
    v[0] = 0;
    v[n - 1] = (double)live;
}

/* Updates of rows: input 1 is ids, ascending and without repeats, input 3 how many of them count. */
static bool fill_rows(const scene *s, int k, double *v, int64_t n)
{
    const hone_node *node = &s->g->node[s->forward];
    bool update = s->row->op == HONE_OP_sgd_rows || s->row->op == HONE_OP_adamw_rows;
    bool norm = s->row->op == HONE_OP_rows_norm;
    if (!update && !norm) return false; /* others may lack input 1 */
    int64_t T = hone_tensor_count(&s->g->tensor[node->in[norm ? 0 : 1]]);
    int64_t count = norm ? s->g->tensor[node->in[0]].dim[0] : T;
    count -= count / 4;
    if (n == 1 && k == (norm ? 1 : 3)) v[0] = (double)count;
    else if (update && k == 1)
        for (int64_t i = 0; i < n; i++) v[i] = i < count ? (double)(s->g->tensor[node->in[0]].dim[0] * i / T) : -1;
    else return false;
    return true;
}

/* Every tensor by its type and its part in the op. */
static void fill_tensor(scene *s, values kind, hone_tid t)
{
    const hone_tensor *d = &s->g->tensor[t];
    int64_t n = hone_tensor_count(d);
    int k = input_of(s, t);
    double *v = s->value[t];
    bool optimizer = s->row->op == HONE_OP_sgd || s->row->op == HONE_OP_adamw;
    if (d->dtype == HONE_I32 && k >= 0 && k == offset_input(s->row->op)) fill_offsets(s, t, v, n);
    else if (d->dtype == HONE_I32 && fill_rows(s, k, v, n)) return;
    else if (s->row->op == HONE_OP_image_mix && k == 3) /* quantiles of a uniform share */
        for (int64_t i = 0; i < n; i++) v[i] = (double)(32768 + 64 * (i % HONE_MIX_TABLE));
    else if (d->dtype == HONE_U8 && optimizer) fill_segments(s, t, v, n);
    else if (d->dtype == HONE_U8)
        for (int64_t i = 0; i < n; i++) v[i] = draw(s, t, i) % 256;
    else if (d->dtype == HONE_I32)
        for (int64_t i = 0; i < n; i++) v[i] = (double)(draw(s, t, i) % (uint64_t)index_bound(s, k));
    else if (kind == VALUES_REAL && k == 0 && has_maximum(s->row->op)) fill_distinct(s, t, v, n);
    else
        for (int64_t i = 0; i < n; i++) v[i] = (double)(float)plain_value(s, kind, k, t, i);
    if (n > 2 && k == 2 && is_positive(s->row->op, k)) v[1] = 0; /* a row that does not count */
}

/* "step" is the fourth step; "step0" the first, "stepbad" one whose gradient was not finite. */
static void fill_step(scene *s)
{
    s->step = (hone_step){.seed = 0x123456789abcdef0u, .step = 5, .epoch = 2, .micro = 1, .lr = 0.1f};
    s->step.loss_sum = 1.5;
    s->step.samples = 17;
    s->step.correct = 3;
    s->step.grad_norm = 4.0;
    s->step.finite = strstr(s->row->shapes, "stepbad") == NULL;
    if (strstr(s->row->shapes, "stepscale") || strstr(s->row->shapes, "stepgrow")) s->step.loss_scale = 1024;
    if (strstr(s->row->shapes, "stepgrow")) s->step.scale_good = 2; /* after this one: 3 */
    if (strstr(s->row->shapes, "stepoverflow")) s->step.loss_scale = 1.5f * HONE_LOSS_SCALE_MIN;
    if (strstr(s->row->shapes, "stepfloor")) s->step.loss_scale = HONE_LOSS_SCALE_MIN;
    if (strstr(s->row->shapes, "stepoverflow") || strstr(s->row->shapes, "stepfloor")) s->step.finite = 0;
    s->step.bad_in_row = 2;
    s->step.bad_total = 7;
    s->step.updates = strstr(s->row->shapes, "step0") ? 0 : 3;
}

/* All values afresh; results of earlier runs are forgotten. */
void scene_fill(scene *s, values kind)
{
    for (hone_tid t = 0; t < s->g->tensor_count; t++) {
        const hone_tensor *d = &s->g->tensor[t];
        free(s->value[t]);
        s->value[t] = NULL;
        if (d->producer != HONE_NONE || d->role == HONE_ROLE_SCALAR) continue;
        s->value[t] = calloc((size_t)hone_tensor_count(d), sizeof **s->value);
        fill_tensor(s, kind, t);
        for (int64_t i = 0; s->stored[t] && i < hone_tensor_count(d); i++)
            s->value[t][i] = scene_round(s, t, s->value[t][i]);
    }
    fill_step(s);
    if (s->dy != HONE_NONE && (s->row->op == HONE_OP_softmax_xent || s->row->op == HONE_OP_softmax_xent_both))
        s->value[s->dy][0] = /* the rows differentiate this multiple */
            (double)s->row->attr.loss.grad_scale * (double)hone_step_loss_scale(&s->step);
}
