/* dnn_choose.c - which plan a problem gets on a backend: the remembered one, else the fastest of a few.
 *
 * Contract: what was chosen once stays chosen (tune.h), because another plan sums in another order. A remembered
 * plan that the library no longer offers is timed again, never guessed. Runs in prepare only: it allocates operands
 * of the problem's size for the time it takes. Must not know nodes. */
#include "dnn.h"

#include <stdio.h>
#include <string.h>

#include "libraries.h"

enum {
    TIMED_MOST = 8,              /* plans a problem: each is a few milliseconds of planning and 8 runs        */
    WORK_MOST_BYTES = 512 << 20, /* fp32 without TF32 wants copies in another layout: 256 MiB for 512x32x32x64 */
    ALIGN = 256
};

/* Opened on first use: a program without convolutions never loads the library. */
static hone_status library_of(hone_backend *b, hone_dnn **out)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    if (!l->dnn) {
        const hone_dnn_device device = {.stream = hone_cuda_stream(b)};
        hone_dnn *dnn;
        HONE_TRY(hone_dnn_open(&device, &dnn));
        l->dnn = dnn;
    }
    *out = l->dnn;
    return HONE_OK;
}

/* The backend outlives its programs, so no plan is left by now. */
void hone_cuda_dnn_close(hone_backend *b)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    hone_dnn_close(l->dnn);
    l->dnn = NULL;
}

/* Operands and plans of one problem while its choice is made. */
typedef struct trial {
    hone_backend *b;
    hone_dnn *dnn;
    hone_dnn_plan *plan[TIMED_MOST], *running;
    int count;
    void *pointer[HONE_DNN_UID_COUNT], *work;
} trial;

/* What tune.h keeps: enough to find the candidate again in the library's list. */
static void candidate_text(void *arg, int k, char *text, size_t text_bytes)
{
    const hone_dnn_candidate *c = hone_dnn_plan_candidate(((trial *)arg)->plan[k]);
    snprintf(text, text_bytes, "engine %lld knobs %s", (long long)c->engine, c->knobs[0] ? c->knobs : "none");
}

/* What hone_cuda_time repeats: one execution of the plan that is being timed. */
static hone_status run_plan(void *arg)
{
    trial *t = arg;
    return hone_dnn_execute(t->dnn, t->running, t->pointer, t->work);
}

/* A plan that fails to run is out of the contest; the others go on. */
static hone_status time_plan(void *arg, int k, double *microseconds)
{
    trial *t = arg;
    t->running = t->plan[k];
    return hone_cuda_time(t->b, run_plan, t, microseconds);
}

/* Random operands: on zeros a GPU clocks higher than it ever will. One workspace for all plans. */
static hone_status open_operands(trial *t, const hone_dnn_graph *g)
{
    int64_t work_bytes = 0;
    for (int k = 0; k < t->count; k++)
        if (hone_dnn_plan_work_bytes(t->plan[k]) > work_bytes) work_bytes = hone_dnn_plan_work_bytes(t->plan[k]);
    HONE_TRY(t->b->alloc(t->b, (size_t)work_bytes + ALIGN, &t->work));
    for (int k = 0; k < g->tensor_count; k++) {
        const hone_dnn_tensor *d = &g->tensor[k];
        if (d->is_virtual || d->by_value) continue;
        int64_t count = d->dim[0] * d->dim[1] * d->dim[2] * d->dim[3];
        HONE_TRY(t->b->alloc(t->b, (size_t)count * hone_dtype_bytes(d->dtype), &t->pointer[d->uid]));
        hone_cuda_fill_random(t->b, d->dtype, t->pointer[d->uid], count, (uint32_t)d->uid);
    }
    return HONE_OK;
}

/* Also after a failure halfway: what was not allocated is NULL. */
static void close_operands(trial *t)
{
    for (int k = 0; k < HONE_DNN_UID_COUNT; k++) t->b->free(t->b, t->pointer[k]);
    t->b->free(t->b, t->work);
}

/* A plan out of several; the others are freed. One alone needs no clock. */
static hone_status decide(trial *t, const hone_dnn_graph *g, const char *problem, hone_dnn_plan **out)
{
    hone_tune *tune = hone_cuda_libraries_of(t->b)->tune;
    const char *kept = hone_tune_find(tune, problem);
    char text[HONE_TUNE_TEXT_BYTES];
    int winner = -1;
    hone_status status = HONE_OK;
    /* Recalled only from what the library offers today and the rules allow today: a choice made under looser rules, or
     * beyond the first few, is made again. */
    for (int k = 0; kept && k < t->count && winner < 0; k++) {
        candidate_text(t, k, text, sizeof text);
        if (strcmp(text, kept) == 0) winner = k;
    }
    if (winner < 0 && t->b->untimed) winner = 0;
    if (winner < 0) {
        const hone_tune_trial contest = {
            .problem = problem, .count = t->count, .text = candidate_text, .time = time_plan, .arg = t};
        status = open_operands(t, g);
        if (status == HONE_OK) status = hone_tune_choose(tune, &contest, &winner);
        close_operands(t);
    }
    for (int k = 0; k < t->count; k++)
        if (k != winner || status != HONE_OK) hone_dnn_plan_free(t->plan[k]);
    if (status == HONE_OK) *out = t->plan[winner];
    return status;
}

/* The reason in `why` is written before each way out that gives no plan. */
hone_status hone_dnn_plan_for(hone_backend *b, const hone_dnn_problem *p, bool tensor_float, hone_dnn_plan **out,
                              char *why, size_t why_bytes)
{
    const hone_dnn_rules rules = {
        .ordered = !b->any_order, .tensor_float = tensor_float, .work_most_bytes = WORK_MOST_BYTES};
    char problem[HONE_TUNE_TEXT_BYTES], text[200];
    trial t = {.b = b};
    hone_dnn_graph g;
    hone_dnn_fate fate;
    *out = NULL;
    snprintf(why, why_bytes, "libraries are switched off");
    if (hone_cuda_libraries_use() == HONE_CUDA_USE_OWN) return HONE_OK;
    HONE_TRY(library_of(b, &t.dnn));
    snprintf(why, why_bytes, "built without %s", hone_dnn_name());
    if (!t.dnn) return HONE_OK;
    HONE_TRY(hone_dnn_graph_of(p, &g));
    HONE_TRY(hone_dnn_plans(t.dnn, &g, &rules, TIMED_MOST, t.plan, &t.count, &fate));
    hone_dnn_fate_text(&fate, why, why_bytes);
    if (t.count == 0) return HONE_OK;
    snprintf(problem, sizeof problem, "%s: %s%s%s", hone_dnn_library(t.dnn),
             hone_dnn_problem_text(p, text, sizeof text), tensor_float ? " tf32" : "",
             rules.ordered ? "" : " any order");
    return decide(&t, &g, problem, out);
}
