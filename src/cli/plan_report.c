/* plan_report.c - the plan as text and as JSON. Bytes are exact; MiB stand beside them to be read. */
#include "cli/plan.h"

#include "graph/graph_print.h"

/* What reuse leaves of the activations, in percent. */
static double saved(const hone_memory *m)
{
    size_t act = m->role_bytes[HONE_ROLE_ACT];
    return m->act_no_reuse ? 100.0 * (double)act / (double)m->act_no_reuse : 100.0;
}

/* Bytes to the byte for scripts and comparisons, MiB for eyes; arenas that nobody has are left out. */
static void print_arena(const char *name, size_t train, size_t infer)
{
    char a[32], b[32];
    if (train == 0 && infer == 0) return;
    printf("%-22s %15zu %12s %15zu %12s\n", name, train, hone_cli_bytes((double)train, a, sizeof a), infer,
           hone_cli_bytes((double)infer, b, sizeof b));
}

/* Training and inference side by side. */
static void print_memory(const hone_plan_result *r)
{
    const hone_memory *t = &r->train.planned, *i = &r->infer.planned;
    printf("\n%-22s %15s %12s %15s %12s\n", "arena", "training", "", "inference", "");
    for (int k = 0; k < HONE_ROLE_COUNT; k++)
        print_arena(hone_role_name((hone_role)k), t->role_bytes[k], i->role_bytes[k]);
    print_arena("total", t->total, i->total);
    print_arena("act without reuse", t->act_no_reuse, i->act_no_reuse);
    for (int k = 0; k < HONE_DTYPE_COUNT; k++) {
        char name[32];
        snprintf(name, sizeof name, "  of it %s", hone_dtype_name((hone_dtype)k));
        print_arena(name, r->train.stored[k], r->infer.stored[k]);
    }
    if (r->train.together > 1)
        printf("up to %d training steps a graph where the samples lie on the device\n", r->train.together);
    printf("activations with reuse: %.1f %% of those without in training, %.1f %% in inference\n", saved(t), saved(i));
    if (r->train.was_allocated)
        printf("allocated: training %zu bytes (planned %zu), inference %zu bytes (planned %zu)\n",
               r->train.allocated.total, t->total, r->infer.allocated.total, i->total);
}

/* Layers, nodes where asked for, memory, and what fits. */
void hone_plan_print(const hone_plan_result *r)
{
    char free_text[32];
    printf("%s: batch %d, %d classes, %s, %s, %d threads\n\n%s", r->path, r->batch, r->classes, r->device, r->precision,
           r->threads, r->layers);
    if (r->nodes) printf("\n%s", r->nodes);
    print_memory(r);
    printf("\n%lld parameters; largest batch that trains in %s%s: %lld\n", (long long)r->parameters,
           hone_cli_bytes((double)r->free_bytes, free_text, sizeof free_text), r->memory_given ? "" : " of free memory",
           (long long)r->largest_batch);
}

/* All arenas, also empty ones, so that readers need no special case. */
static json_t *mode_json(const hone_plan_mode *m)
{
    json_t *arenas = json_object();
    for (int k = 0; k < HONE_ROLE_COUNT; k++)
        arenas =
            hone_json_with(arenas, hone_role_name((hone_role)k), json_integer((json_int_t)m->planned.role_bytes[k]));
    json_t *stored = json_object();
    for (int k = 0; k < HONE_DTYPE_COUNT; k++)
        if (m->stored[k] > 0)
            stored = hone_json_with(stored, hone_dtype_name((hone_dtype)k), json_integer((json_int_t)m->stored[k]));
    json_t *o =
        json_pack("{s:o, s:o, s:I, s:I, s:I}", "arenas", arenas, "activation_bytes_by_type", stored, "total_bytes",
                  (json_int_t)m->planned.total, "activation_bytes", (json_int_t)m->planned.role_bytes[HONE_ROLE_ACT],
                  "activation_bytes_no_reuse", (json_int_t)m->planned.act_no_reuse);
    o = hone_json_with(o, "steps_a_graph", json_integer(m->together));
    if (m->was_allocated) o = hone_json_with(o, "allocated_bytes", json_integer((json_int_t)m->allocated.total));
    return o;
}

/* The layer table stays text: it is a picture, the figures beside it are for programs. */
hone_status hone_plan_print_json(const hone_plan_result *r)
{
    json_t *o = json_pack("{s:o, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:o, s:o, s:s}", "config",
                          hone_json_string(r->path), "device", r->device, "precision", r->precision, "threads",
                          r->threads, "batch", r->batch, "classes", r->classes, "parameters", (json_int_t)r->parameters,
                          "free_bytes", (json_int_t)r->free_bytes, "largest_batch", (json_int_t)r->largest_batch,
                          "training", mode_json(&r->train), "inference", mode_json(&r->infer), "layers", r->layers);
    if (r->nodes) o = hone_json_with(o, "nodes", json_string(r->nodes));
    return hone_cli_print_json(o, JSON_INDENT(2));
}
