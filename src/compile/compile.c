/* compile.c - the passes in their order, and the life of a program.
 *
 * Everything slow or fallible happens here, once. The environment is read here as well: HONE_EAGER=1
 * never records, HONE_CHECK=1 syncs after each node and names the one that fails; HONE_STEPS_A_GRAPH: together.c.
 *
 * After hone_compile_plan a program knows its nodes, kernels, offsets and bytes, and owns no memory of
 * tensors: `hone plan` and the search for the largest batch stop there. Tests stop there too, change
 * the plan, and bind it, to see that a wrong plan is caught. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

/* "0" and the empty string count as unset, as users expect of switches. */
static bool env_is_set(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] && strcmp(value, "0") != 0;
}

/* A private copy, so that the builder's graph may be freed; with the backend's real type, and with a
 * step block even where no op reads it, so that every program can be told its step. */
hone_status hone_pass_copy(hone_program *p, const hone_graph *g)
{
    p->graph = hone_graph_copy(g);
    if (!p->graph) return hone_fail(HONE_ERR_MEMORY, NULL, "compile: no host memory for the graph");
    for (hone_tid t = 0; p->backend->real == HONE_F64 && t < p->graph->tensor_count; t++)
        if (p->graph->tensor[t].dtype == HONE_F32) p->graph->tensor[t].dtype = HONE_F64;
    for (hone_tid t = 0; t < p->graph->tensor_count; t++) p->graph->tensor[t].grad = HONE_NONE;
    hone_precision asked = p->opts.precision; /* a sharer that does not say is like its owner */
    if (asked == HONE_PRECISION_AUTO && p->owner) asked = p->owner->graph->precision;
    HONE_TRY(hone_precision_choose(p->backend, asked, &p->graph->precision));
    return hone_graph_step(p->graph, &p->step);
}

/* Addresses of one device mean nothing to another; host memory is one, whichever backend's threads read it. */
static hone_status check_share(const hone_program *p, const hone_program *share)
{
    bool same = share && share->backend == p->backend;
    if (share && p->opts.apart) { /* a 16-bit shadow would be refreshed by whoever comes first: a race */
        bool fp32 = hone_precision_storage(share->graph->precision) == HONE_F32;
        if (!p->backend->host_memory || !fp32 || p->opts.loss != HONE_NONE)
            return hone_fail(HONE_ERR_USAGE, "compile them to take turns",
                             "compile: only forward programs in fp32 and host memory can run apart");
        same = share->backend->host_memory && strcmp(share->backend->name, p->backend->name) == 0;
    }
    if (share && !same)
        return hone_fail(HONE_ERR_USAGE, "compile both for one backend", "compile: the shared program is on %s, not %s",
                         share->backend->name, p->backend->name);
    return HONE_OK;
}

/* Sharing a sharer means sharing its owner: ownership is one level deep. */
static hone_program *new_program(hone_backend *b, const hone_compile_opts *opts)
{
    hone_program *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->backend = b;
    p->opts.loss = HONE_NONE;
    if (opts) p->opts = *opts;
    if (p->opts.accumulate < 1) p->opts.accumulate = 1;
    if (env_is_set("HONE_EAGER")) p->opts.eager = true;
    p->check = env_is_set("HONE_CHECK");
    p->segment_tensor = p->step = HONE_NONE;
    for (p->owner = p->opts.share; p->owner && p->owner->owner;) p->owner = p->owner->owner;
    return p;
}

/* The table of contents of this folder. */
static hone_status run_passes(hone_program *p, const hone_graph *g)
{
    HONE_TRY(check_share(p, p->owner));
    HONE_TRY(hone_pass_copy(p, g));
    HONE_TRY(hone_pass_join(p));
    HONE_TRY(hone_pass_backward(p));
    HONE_TRY(hone_pass_update(p));
    HONE_TRY(hone_pass_fuse(p));
    HONE_TRY(hone_pass_precision(p));
    HONE_TRY(hone_pass_frozen(p));
    HONE_TRY(hone_pass_prepare(p));
    HONE_TRY(hone_pass_plan(p));
    return hone_pass_together(p);
}

/* Everything but memory: what a launch would need is known after this. */
hone_status hone_compile_plan(const hone_graph *g, hone_backend *b, const hone_compile_opts *opts, hone_program **out)
{
    *out = NULL;
    hone_program *p = new_program(b, opts);
    if (!p) return hone_fail(HONE_ERR_MEMORY, NULL, "compile: no host memory");
    hone_status status = run_passes(p, g);
    if (status != HONE_OK) hone_program_free(p);
    else *out = p;
    return status;
}

/* NULL in *out after a failure, so that callers may free unconditionally. */
hone_status hone_compile(const hone_graph *g, hone_backend *b, const hone_compile_opts *opts, hone_program **out)
{
    HONE_TRY(hone_compile_plan(g, b, opts, out));
    hone_status status = hone_pass_bind(*out);
    if (status == HONE_OK) return HONE_OK;
    hone_program_free(*out);
    *out = NULL;
    return status;
}

/* In reverse order of making; each part copes with passes that never ran. */
void hone_program_free(hone_program *p)
{
    if (!p) return;
    hone_record_free(p);
    hone_prepare_release(p);
    hone_frozen_free(p->rooms);
    hone_bind_free(p);
    hone_graph_free(p->graph);
    free(p);
}
