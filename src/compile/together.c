/* together.c - several whole steps in one recording.
 *
 * A step of a small net takes a device some tens of microseconds, and between two replays it waits: for the next
 * graph, and for the copies of what the step is told. So steps are held back on the host and run together: their
 * inputs and their parts of the step block travel in one copy, one replay computes them all.
 *
 *     INPUT arena:   | inputs, block of the last step | ... of the one before | ... | of the first |
 *
 * Each step has a slot there, the last one of a group the first slot: that is where a single step has its inputs, so
 * whoever looks after a group sees what singles would have left. Launches of a step read their inputs from its slot; the
 * step block has one place, as kernels count in it, so the host's part of it is copied there before each step.
 *
 * How many at most is decided here alone, from the counted work of a step: long steps gain nothing, and a signal is
 * answered between groups. HONE_STEPS_A_GRAPH=N decides instead; 1 holds nothing back. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

/* A group takes no longer than this: what a user's Ctrl-C waits for. */
static const double GROUP_SECONDS = 3e-3;
/* One step, from above: a launch, and what chips of the last years reach at least. */
static const double LAUNCH_SECONDS = 2e-6, FLOP_PER_SECOND = 1e13, BYTES_PER_SECOND = 1e12;
/* Pageable memory up to this size is copied aside at once; more would wait for the stream (CUDA runtime, "API
 * synchronization behavior"), so that the device would run dry between groups. */
enum { UPLOAD_BYTES = 64 << 10 };

/* What the host tells of a step; kernels write behind it. */
enum { TOLD_BYTES = offsetof(hone_step, loss_sum) };

/* --- how many --------------------------------------------------------------------------------------------- */

/* *n: 0 where the environment says nothing. */
static hone_status read_environment(int *n)
{
    const char *text = getenv("HONE_STEPS_A_GRAPH");
    char *end = NULL;
    *n = 0;
    if (!text || !text[0]) return HONE_OK;
    long value = strtol(text, &end, 10);
    bool power = value > 0 && (value & (value - 1)) == 0;
    if (*end || !power || value > HONE_TOGETHER_MAX)
        return hone_fail(HONE_ERR_USAGE, "give 1, 2, 4, 8 or 16", "HONE_STEPS_A_GRAPH=%s is no such number of steps",
                         text);
    *n = (int)value;
    return HONE_OK;
}

static double step_seconds(const hone_program *p)
{
    double seconds = 0;
    for (hone_nid i = 0; i < p->graph->node_count; i++) {
        double flop = 0, bytes = 0;
        hone_node_cost(p->graph, &p->graph->node[i], &flop, &bytes);
        seconds += LAUNCH_SECONDS + flop / FLOP_PER_SECOND + bytes / BYTES_PER_SECOND;
    }
    return seconds;
}

/* The largest power of two within both bounds. */
static int choose(const hone_program *p)
{
    double seconds = step_seconds(p);
    int n = 1;
    while (2 * n <= HONE_TOGETHER_MAX && 2 * n * seconds <= GROUP_SECONDS && 2 * n * p->slot_bytes <= UPLOAD_BYTES)
        n *= 2;
    return n;
}

/* Whole steps of a backend that records them. With accumulation a step is several runs. */
static bool can_hold(const hone_program *p)
{
    const hone_compile_opts *o = &p->opts;
    bool records = p->backend->record_begin && p->backend->copy && !o->eager && !p->check;
    return o->together && records && o->optimizer != HONE_OPT_NONE && o->accumulate == 1;
}

/* Slots are memory of the plan like any other. */
hone_status hone_pass_together(hone_program *p)
{
    int asked;
    p->together = 1;
    HONE_TRY(read_environment(&asked));
    for (hone_tid t = 0; t < p->graph->tensor_count; t++)
        if (p->graph->tensor[t].role == HONE_ROLE_INPUT && p->input_count++ < HONE_TOGETHER_INPUTS)
            p->input[p->input_count - 1] = t;
    if (!can_hold(p) || p->input_count > HONE_TOGETHER_INPUTS) return HONE_OK;
    p->told_offset = (int64_t)p->role_bytes[HONE_ROLE_INPUT];
    p->slot_bytes = p->told_offset + hone_align_up(TOLD_BYTES);
    p->together = asked ? asked : choose(p);
    if (p->together > 1) p->role_bytes[HONE_ROLE_INPUT] = (size_t)(p->together * p->slot_bytes);
    return HONE_OK;
}

int hone_program_steps_most(const hone_program *p) { return p->together; }

/* --- holding back ------------------------------------------------------------------------------------------- */

hone_status hone_program_steps_together(hone_program *p, int n)
{
    bool power = n > 0 && (n & (n - 1)) == 0;
    if (!power || n > p->together)
        return hone_fail(HONE_ERR_USAGE, "ask hone_program_steps_most",
                         "%d steps can't run together: a power of two up to %d can", n, p->together);
    if (!p->launch)
        return hone_fail(HONE_ERR_USAGE, "compile it with hone_compile", "a planned program has no memory to run in");
    if (n > 1) HONE_TRY(hone_held_none(p)); /* 1 drops a group that an error cut short */
    p->wanted = n > 1 ? n : 0;
    p->held = 0;
    p->told = 0;
    return HONE_OK;
}

/* What the host would read or write now is not there yet. */
hone_status hone_held_none(const hone_program *p)
{
    if (!p->wanted) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "run all steps of the group first", "%d of %d steps are held back", p->held,
                     p->wanted);
}

/* The slot of the step that is being told, on the host. */
static uint8_t *slot_of(hone_program *p) { return p->kept + (int64_t)(p->wanted - 1 - p->held) * p->slot_bytes; }

/* Inputs alone can be held back; all else belongs to no single step. */
hone_status hone_held_write(hone_program *p, hone_tid t, const void *host, size_t bytes)
{
    for (int k = 0; k < p->input_count; k++) {
        const hone_tensor *x = &p->graph->tensor[p->input[k]];
        if (p->input[k] != t || bytes != hone_tensor_bytes(x)) continue;
        memcpy(slot_of(p) + x->offset, host, bytes);
        p->told |= 1u << k;
        return HONE_OK;
    }
    return hone_held_none(p);
}

void hone_held_set_step(hone_program *p, const hone_step *step)
{
    memcpy(slot_of(p) + p->told_offset, step, TOLD_BYTES);
    p->told |= 1u << p->input_count;
}

/* --- running -------------------------------------------------------------------------------------------------- */

/* One step that reads its inputs in `place`. */
static void launch_step(hone_program *p, int place)
{
    const int64_t shift = place * p->slot_bytes;
    uint8_t *told = (uint8_t *)p->arena[HONE_ROLE_INPUT] + shift + p->told_offset;
    p->backend->copy(p->backend, p->address[p->step], told, TOLD_BYTES);
    for (int32_t i = p->whole.begin; i < p->whole.end; i++) {
        hone_launch l = p->launch[i];
        for (int k = 0; k < l.node->in_count; k++) {
            hone_tid t = l.node->in[k];
            bool input = t != HONE_NONE && p->graph->tensor[hone_alias_root(p->graph, t)].role == HONE_ROLE_INPUT;
            if (input) l.in[k] = (uint8_t *)l.in[k] + shift;
        }
        p->backend->kernel[l.node->op].launch(p->backend, &l);
    }
}

/* In the order in which they were held: the first has the last slot. */
static void launch_all(hone_program *p, int n)
{
    for (int place = n - 1; place >= 0; place--) launch_step(p, place);
}

/* As record.c has it: real steps until the libraries are awake, then a recording for each size of a group. */
static hone_status run(hone_program *p, int n)
{
    int size = 0;
    while (1 << size < n) size++;
    HONE_TRY(p->backend->upload(p->backend, p->arena[HONE_ROLE_INPUT], p->kept, (size_t)(n * p->slot_bytes)));
    if (!p->recorded[size] && p->whole.runs < 2) {
        p->whole.runs += n;
        launch_all(p, n);
        return HONE_OK;
    }
    if (!p->recorded[size]) {
        HONE_TRY(p->backend->record_begin(p->backend));
        launch_all(p, n);
        HONE_TRY(p->backend->record_end(p->backend, &p->recorded[size]));
    }
    return p->backend->replay(p->backend, p->recorded[size]);
}

/* A step that was not told all would compute with what an earlier group left in its slot. */
hone_status hone_held_step(hone_program *p)
{
    const uint32_t all = (2u << p->input_count) - 1;
    if (p->told != all)
        return hone_fail(HONE_ERR_USAGE, "write all inputs and set the step block before each step",
                         "step %d of %d that run together lacks some of its inputs", p->held + 1, p->wanted);
    p->told = 0;
    if (++p->held < p->wanted) return HONE_OK;
    int n = p->wanted;
    p->wanted = 0;
    return run(p, n);
}

/* Also when an address changes. */
void hone_together_forget(hone_program *p)
{
    for (int k = 0; k < HONE_TOGETHER_SIZES; k++) {
        if (p->recorded[k]) p->backend->record_free(p->backend, p->recorded[k]);
        p->recorded[k] = NULL;
    }
}
