/* dnn_cudnn_plan.c - candidates by cuDNN's heuristics, plans of them, and their execution.
 *
 * Contract: modes A and FALLBACK in this order, each config with its notes read off its engine; nothing is
 * filtered here (hone_dnn_refusal does). An empty list is no error: without a driver cuDNN drops every engine
 * that it would compile at run time. A plan owns its variant pack and makes it again only when an address
 * changes, so a recorded step and its repetitions do the same. Must not choose. */
#include "dnn_cudnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A question and its answer: nets repeat their shapes, programs of one net repeat them all, and the heuristics take
 * some ten milliseconds. Kept by the library until it is closed. */
struct cudnn_asked {
    cudnn_asked *next;
    hone_dnn_graph graph;
    hone_dnn_list answer; /* without `own` */
    cudnn_bag *bag;       /* the graph's descriptors and the configs */
    cudnnBackendDescriptor_t config[HONE_DNN_CANDIDATES_MAX];
};

struct hone_dnn_plan {
    hone_dnn *dnn;
    cudnn_bag *bag;  /* shared with the list: a plan refers to its graph and config */
    cudnn_bag *pack; /* the variant pack alone, made again when an address changes  */
    hone_dnn_candidate candidate;
    cudnnBackendDescriptor_t plan, variant;
    int64_t work_bytes, uid[HONE_DNN_TENSORS_MAX];
    void *pointer[HONE_DNN_TENSORS_MAX], *work; /* of `variant` */
    int pointer_count;
};

/* With its first user. NULL when memory is exhausted. */
static cudnn_bag *new_bag(void)
{
    cudnn_bag *bag = calloc(1, sizeof *bag);
    if (bag) bag->users = 1;
    return bag;
}

/* "type:value" of each knob, in the config's order. A knob that can't be read leaves a "?" and no error:
 * the text names a choice, it does not make one. */
static hone_status read_knobs(hone_dnn *dnn, cudnnBackendDescriptor_t config, hone_dnn_candidate *c)
{
    enum { KNOBS_MAX = 32 };
    cudnnBackendDescriptor_t knob[KNOBS_MAX];
    int64_t count = 0, have = 0, got;
    size_t used = 0;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    for (; have < KNOBS_MAX && status == CUDNN_STATUS_SUCCESS; have++)
        status = dnn->call.make(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[have]);
    if (status != CUDNN_STATUS_SUCCESS) have--;
    else
        status = dnn->call.get(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, KNOBS_MAX,
                               &count, knob);
    for (int64_t k = 0; k < count && k < have && used + 48 < sizeof c->knobs; k++) {
        cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
        int64_t value = -1;
        dnn->call.get(knob[k], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &got, &type);
        dnn->call.get(knob[k], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &got, &value);
        used += (size_t)snprintf(c->knobs + used, sizeof c->knobs - used, "%s%d:%lld", used ? " " : "", (int)type,
                                 (long long)value);
    }
    /* Names only: the config keeps its own. */
    for (int64_t k = 0; k < have; k++) dnn->call.drop(knob[k]);
    if (status != CUDNN_STATUS_SUCCESS) return hone_cudnn_failed(&dnn->call, status, "reading a config's knobs");
    return HONE_OK;
}

/* The engine's number and its notes. */
static hone_status read_engine(hone_dnn *dnn, cudnnBackendDescriptor_t engine, hone_dnn_candidate *c)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behavior[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t notes = 0, behaviors = 0, got = 0;
    CUDNN_TRY(&dnn->call, "an engine's number",
              dnn->call.get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &got, &c->engine));
    CUDNN_TRY(&dnn->call, "an engine's numerical notes",
              dnn->call.get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                            CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes, note));
    CUDNN_TRY(&dnn->call, "an engine's behaviour notes",
              dnn->call.get(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                            CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &behaviors, behavior));
    /* An engine without the note promises the same bits twice; all other notes are warnings about digits. */
    c->ordered = true;
    for (int64_t k = 0; k < notes; k++) {
        if (note[k] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) c->ordered = false;
        if (note[k] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE) c->tensor_cores = true;
        if (note[k] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
            note[k] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
            c->rounds_inputs = true;
    }
    for (int64_t k = 0; k < behaviors; k++)
        if (behavior[k] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) c->at_run_time = true;
    return HONE_OK;
}

/* cuDNN fills a descriptor that the caller made. */
static hone_status read_config(hone_dnn *dnn, cudnnBackendDescriptor_t config, hone_dnn_candidate *c)
{
    cudnnBackendDescriptor_t engine;
    int64_t got = 0;
    *c = (hone_dnn_candidate){.engine = -1};
    CUDNN_TRY(&dnn->call, "making an engine", dnn->call.make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    cudnnStatus_t s =
        dnn->call.get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &engine);
    hone_status status =
        s == CUDNN_STATUS_SUCCESS ? read_engine(dnn, engine, c) : hone_cudnn_failed(&dnn->call, s, "a config's engine");
    dnn->call.drop(engine);
    return status == HONE_OK ? read_knobs(dnn, config, c) : status;
}

/* One mode of the heuristics; half of the list is its share, so that a long one leaves room for the fallback. */
static hone_status ask_mode(hone_dnn *dnn, cudnn_asked *a, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode,
                            hone_dnn_list *list)
{
    enum { SHARE = HONE_DNN_CANDIDATES_MAX / 2 };
    cudnnBackendDescriptor_t heuristics, config[SHARE];
    int64_t got = 0;
    const cudnn_calls *c = &dnn->call;
    HONE_TRY(hone_cudnn_make(dnn, a->bag, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics));
    CUDNN_TRY(c, "heuristics: graph",
              c->set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph));
    CUDNN_TRY(c, "heuristics: mode", c->set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (dnn->described)
        CUDNN_TRY(
            c, "heuristics: device",
            c->set(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &dnn->described));
    cudnnStatus_t status = c->finalize(heuristics);
    /* "Not supported" is the same answer as an empty list: this mode has no engine. */
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return HONE_OK;
    CUDNN_TRY(c, "heuristics", status);
    /* The library fills descriptors that are there already; those past its answer stay empty until the bag goes. */
    for (int k = 0; k < SHARE; k++)
        HONE_TRY(hone_cudnn_make(dnn, a->bag, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[k]));
    status = c->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, SHARE, &got, config);
    if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return HONE_OK;
    CUDNN_TRY(c, "heuristics: results", status);
    for (int64_t k = 0; k < got && k < SHARE; k++) {
        HONE_TRY(read_config(dnn, config[k], &list->item[list->count]));
        a->config[list->count++] = config[k];
    }
    return HONE_OK;
}

static void forget(hone_dnn *dnn, cudnn_asked *a)
{
    if (a) hone_cudnn_bag_free(dnn, a->bag);
    free(a);
}

void hone_cudnn_forget_all(hone_dnn *dnn)
{
    while (dnn->asked) {
        cudnn_asked *a = dnn->asked;
        dnn->asked = a->next;
        forget(dnn, a);
    }
}

/* Equal bytes are an equal graph; unequal padding would only ask again. */
static cudnn_asked *find(hone_dnn *dnn, const hone_dnn_graph *g)
{
    for (cudnn_asked *a = dnn->asked; a; a = a->next)
        if (memcmp(&a->graph, g, sizeof *g) == 0) return a;
    return NULL;
}

/* The check comes first: a graph that it refuses never reaches the library. Failures are not kept. */
static hone_status ask_anew(hone_dnn *dnn, const hone_dnn_graph *g, cudnn_asked **out)
{
    cudnnBackendDescriptor_t graph;
    HONE_TRY(hone_dnn_graph_check(g));
    cudnn_asked *a = calloc(1, sizeof *a);
    if (!a || !(a->bag = new_bag())) {
        forget(dnn, a);
        return hone_fail(HONE_ERR_MEMORY, NULL, "cudnn: no memory for a list of candidates");
    }
    memcpy(&a->graph, g, sizeof *g);
    hone_status status = hone_cudnn_graph(dnn, a->bag, g, &graph);
    if (status == HONE_OK) status = ask_mode(dnn, a, graph, CUDNN_HEUR_MODE_A, &a->answer);
    if (status == HONE_OK) status = ask_mode(dnn, a, graph, CUDNN_HEUR_MODE_FALLBACK, &a->answer);
    if (status != HONE_OK) {
        forget(dnn, a);
        return status;
    }
    a->next = dnn->asked;
    dnn->asked = *out = a;
    return HONE_OK;
}

hone_status hone_dnn_ask(hone_dnn *dnn, const hone_dnn_graph *g, hone_dnn_list *list)
{
    cudnn_asked *a = find(dnn, g);
    memset(list, 0, sizeof *list);
    if (!a) HONE_TRY(ask_anew(dnn, g, &a));
    *list = a->answer;
    list->own = a;
    return HONE_OK;
}

/* The answer itself stays with the library. */
void hone_dnn_list_free(hone_dnn_list *list) { memset(list, 0, sizeof *list); }

/* --- plans --------------------------------------------------------------------------------------------- */
/* The slow part: engines may build kernels here. */
static hone_status finalize_plan(hone_dnn *dnn, hone_dnn_plan *p, cudnnBackendDescriptor_t config)
{
    const cudnn_calls *c = &dnn->call;
    int64_t got = 0;
    CUDNN_TRY(c, "making a plan", c->make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->plan));
    CUDNN_TRY(c, "plan: config",
              c->set(p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config));
    if (dnn->handle)
        CUDNN_TRY(c, "plan: handle",
                  c->set(p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &dnn->handle));
    else
        CUDNN_TRY(
            c, "plan: device",
            c->set(p->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &dnn->described));
    CUDNN_TRY(c, "finalizing a plan", c->finalize(p->plan));
    CUDNN_TRY(c, "a plan's workspace",
              c->get(p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got, &p->work_bytes));
    return HONE_OK;
}

/* Uids are kept in the graph's order: the variant pack is two parallel arrays. */
hone_status hone_dnn_plan_new(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_list *list, int item,
                              hone_dnn_plan **out)
{
    const cudnn_asked *a = list->own;
    *out = NULL;
    hone_dnn_plan *p = calloc(1, sizeof *p);
    if (!p) return hone_fail(HONE_ERR_MEMORY, NULL, "cudnn: no memory for a plan");
    p->dnn = dnn;
    p->bag = a->bag;
    p->bag->users++; /* the list may go first */
    p->candidate = list->item[item];
    for (int k = 0; k < g->tensor_count; k++)
        if (!g->tensor[k].is_virtual) p->uid[p->pointer_count++] = g->tensor[k].uid;
    hone_status status = finalize_plan(dnn, p, a->config[item]);
    if (status == HONE_OK) *out = p;
    else hone_dnn_plan_free(p);
    return status;
}

/* A plan may still run on the device: whoever frees it has waited for the stream. */
void hone_dnn_plan_free(hone_dnn_plan *p)
{
    if (!p) return;
    hone_cudnn_bag_free(p->dnn, p->pack);
    if (p->plan) p->dnn->call.drop(p->plan);
    hone_cudnn_bag_free(p->dnn, p->bag);
    free(p);
}

int64_t hone_dnn_plan_work_bytes(const hone_dnn_plan *p) { return p->work_bytes; }
const hone_dnn_candidate *hone_dnn_plan_candidate(const hone_dnn_plan *p) { return &p->candidate; }

/* --- execution: written against the documentation, never run without a GPU -------------------------------- */
/* Uids and addresses in parallel, and the workspace; scalars go by host pointers. */
static hone_status make_pack(hone_dnn *dnn, hone_dnn_plan *p)
{
    const cudnn_calls *c = &dnn->call;
    hone_cudnn_bag_free(dnn, p->pack);
    if (!(p->pack = new_bag())) return hone_fail(HONE_ERR_MEMORY, NULL, "cudnn: no memory for a variant pack");
    HONE_TRY(hone_cudnn_make(dnn, p->pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &p->variant));
    CUDNN_TRY(c, "pack: uids",
              c->set(p->variant, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, p->pointer_count, p->uid));
    CUDNN_TRY(
        c, "pack: pointers",
        c->set(p->variant, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, p->pointer_count, p->pointer));
    CUDNN_TRY(c, "pack: workspace",
              c->set(p->variant, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &p->work));
    CUDNN_TRY(c, "finalizing a pack", c->finalize(p->variant));
    return HONE_OK;
}

/* The bound addresses of a program never change, so after the first launch this is one call of the library. */
hone_status hone_dnn_execute(hone_dnn *dnn, hone_dnn_plan *p, void *const *pointer, void *work)
{
    bool same = p->pack && p->work == work;
    for (int k = 0; k < p->pointer_count; k++) {
        same = same && p->pointer[k] == pointer[p->uid[k]];
        p->pointer[k] = pointer[p->uid[k]];
    }
    p->work = work;
    hone_status status = same ? HONE_OK : make_pack(dnn, p);
    if (status != HONE_OK) { /* half a pack must not pass for one next time */
        hone_cudnn_bag_free(dnn, p->pack);
        p->pack = NULL;
        return status;
    }
    CUDNN_TRY(&dnn->call, "executing", dnn->call.execute(dnn->handle, p->plan, p->variant));
    return HONE_OK;
}
