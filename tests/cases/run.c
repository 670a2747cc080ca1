/* run.c - one launch of one node on one backend, in buffers that betray every trespass.
 *
 * Each buffer has exactly the tensor's bytes between two guards; outputs start as NaN, so a hole or a
 * "+=" shows; inputs must come back as they went in, but for those that ops.def lets an op write; the
 * scratch has exactly node->work_bytes and starts dirty. Memory goes through the backend's own verbs. */
#include "cases/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a kernel reads behind a tensor must show in its results: 0x7F in every byte is 3e38 in fp32 and bf16, 1e306 in
 * double, NaN in fp16. An output that is left as it was must not be a right one by chance: 0xFF is NaN in every real
 * type, but -1 in i32, which stands for "none" in rows and places. */
enum { GUARD_BYTES = 256, GUARD_FILL = 0x7F, DIRTY = 0xFF, DIRTY_INTEGER = 0x5A };

typedef struct guarded { /* device memory: guard, `bytes`, guard */
    unsigned char *base;
    size_t bytes;
} guarded;

/* One element, whatever the type: checks are slow and simple on purpose. */
double value_at(hone_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case HONE_F64: return ((const double *)data)[i];
    case HONE_I32: return ((const int32_t *)data)[i];
    case HONE_U8: return ((const uint8_t *)data)[i];
    case HONE_BF16:
    case HONE_F16: {
        float v;
        hone_reals_to_f32(dtype, (const uint16_t *)data + i, &v, 1);
        return (double)v;
    }
    default: return (double)((const float *)data)[i];
    }
}

/* The converse of value_at; rounds to the type. */
void value_put(hone_dtype dtype, void *data, int64_t i, double value)
{
    switch (dtype) {
    case HONE_F64: ((double *)data)[i] = value; break;
    case HONE_I32: ((int32_t *)data)[i] = (int32_t)value; break;
    case HONE_U8: ((uint8_t *)data)[i] = (uint8_t)value; break;
    case HONE_BF16:
    case HONE_F16: {
        float v = (float)value;
        hone_reals_from_f32(dtype, &v, (uint16_t *)data + i, 1);
        break;
    }
    default: ((float *)data)[i] = (float)value; break;
    }
}

/* Small integers, so that adding to them is exact. */
double start_value(int64_t i) { return (double)(i % 5) - 2; }

/* Keeps the first fault of a run; later ones are mostly its consequences. */
static void complain(run *r, const char *what, const char *side, int k)
{
    if (!r->fault[0]) snprintf(r->fault, sizeof r->fault, "%s%s %d", what, side, k);
}

/* Content between guards, or dirt where there is no content. */
static void guard_open(hone_backend *b, guarded *m, size_t bytes, const void *content, run *r)
{
    unsigned char *host = malloc(bytes + 2 * GUARD_BYTES);
    memset(host, GUARD_FILL, bytes + 2 * GUARD_BYTES);
    if (content && bytes) memcpy(host + GUARD_BYTES, content, bytes);
    else memset(host + GUARD_BYTES, DIRTY, bytes);
    m->bytes = bytes;
    if (b->alloc(b, bytes + 2 * GUARD_BYTES, (void **)&m->base) != HONE_OK ||
        b->upload(b, m->base, host, bytes + 2 * GUARD_BYTES) != HONE_OK)
        complain(r, "no memory", "", 0);
    free(host);
}

/* Returns the content (free() it) and reports a guard that was written. */
static void *guard_close(hone_backend *b, guarded *m, const char *side, int k, run *r)
{
    if (!m->base) return NULL;
    unsigned char *host = malloc(m->bytes + 2 * GUARD_BYTES), *content = malloc(m->bytes ? m->bytes : 1);
    if (b->download(b, host, m->base, m->bytes + 2 * GUARD_BYTES) != HONE_OK) complain(r, "no download of ", side, k);
    b->free(b, m->base);
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (host[i] != GUARD_FILL) complain(r, "written before the start of ", side, k);
        if (host[GUARD_BYTES + m->bytes + (size_t)i] != GUARD_FILL) complain(r, "written past the end of ", side, k);
    }
    memcpy(content, host + GUARD_BYTES, m->bytes);
    free(host);
    return content;
}

/* A double-precision dialect sees F32 tensors as F64; others see the scene's storage. */
static hone_graph *graph_for(const hone_backend *b, const scene *s)
{
    hone_graph *c = hone_graph_copy(s->g);
    for (hone_tid t = 0; t < c->tensor_count; t++) {
        if (c->tensor[t].dtype != HONE_F32) continue;
        if (b->real == HONE_F64) c->tensor[t].dtype = HONE_F64;
        else if (s->stored[t]) c->tensor[t].dtype = s->storage;
    }
    return c;
}

/* The bytes that the host would upload for tensor t. */
static void *content_of(const scene *s, const hone_tensor *d, hone_tid t)
{
    void *raw = malloc(hone_tensor_bytes(d));
    if (d->role == HONE_ROLE_SCALAR) return memcpy(raw, &s->step, sizeof s->step);
    for (int64_t i = 0; i < hone_tensor_count(d); i++) value_put(d->dtype, raw, i, s->value[t][i]);
    return raw;
}

typedef struct stage { /* all memory of one launch */
    hone_graph *g;
    hone_node *node;
    hone_launch l;
    guarded in[HONE_MAX_IN], out[HONE_MAX_OUT], work;
    void *before[HONE_MAX_IN];
} stage;

/* Inputs, with a copy to tell whether they were changed. */
static void open_inputs(hone_backend *b, const scene *s, stage *z, run *r)
{
    for (int k = 0; k < z->node->in_count; k++) {
        hone_tid t = z->node->in[k];
        if (t == HONE_NONE) continue;
        const hone_tensor *d = &z->g->tensor[t];
        z->before[k] = content_of(s, d, t);
        r->in_bytes[k] = hone_tensor_bytes(d);
        r->in_dtype[k] = d->dtype;
        guard_open(b, &z->in[k], r->in_bytes[k], z->before[k], r);
        z->l.in[k] = z->in[k].base + GUARD_BYTES;
        z->l.in_desc[k] = d;
    }
}

/* Outputs full of NaN, or of an integer that is no result, of start values where the node accumulates, or over an input. */
static void open_outputs(hone_backend *b, stage *z, run_how how, run *r)
{
    for (int k = 0; k < z->node->out_count; k++) {
        hone_tid t = z->node->out[k];
        if (t == HONE_NONE) continue;
        const hone_tensor *d = &z->g->tensor[t];
        r->out_bytes[k] = hone_tensor_bytes(d);
        r->out_dtype[k] = d->dtype;
        z->l.out_desc[k] = d;
        int over = hone_op_in_place(z->node->op);
        if (how.in_place && k == 0 && over >= 0 && r->in_bytes[over] == r->out_bytes[0]) {
            z->l.out[k] = z->l.in[over];
            continue;
        }
        bool adds = how.accumulate && is_param_gradient(z->node->op, k);
        void *start = adds || d->dtype == HONE_I32 ? malloc(r->out_bytes[k]) : NULL;
        if (start) memset(start, DIRTY_INTEGER, r->out_bytes[k]);
        for (int64_t i = 0; adds && i < hone_tensor_count(d); i++) value_put(d->dtype, start, i, start_value(i));
        guard_open(b, &z->out[k], r->out_bytes[k], start, r);
        z->l.out[k] = z->out[k].base + GUARD_BYTES;
        free(start);
    }
}

/* Takes everything back from the device and looks for damage. */
static void close_all(hone_backend *b, stage *z, run_how how, run *r)
{
    int over = hone_op_in_place(z->node->op);
    for (int k = 0; k < z->node->in_count; k++) {
        r->in[k] = guard_close(b, &z->in[k], "input", k, r);
        bool may_write = is_written_input(z->node->op, k) || (how.in_place && k == over && !z->out[0].base);
        if (r->in[k] && !may_write && memcmp(r->in[k], z->before[k], r->in_bytes[k]) != 0)
            complain(r, "wrote to its constant ", "input", k);
        free(z->before[k]);
    }
    for (int k = 0; k < z->node->out_count; k++) r->out[k] = guard_close(b, &z->out[k], "output", k, r);
    if (how.in_place && over >= 0 && r->in[over] && !r->out[0]) {
        r->out[0] = malloc(r->out_bytes[0]);
        memcpy(r->out[0], r->in[over], r->out_bytes[0]);
    }
    free(guard_close(b, &z->work, "scratch", 0, r));
}

/* See cases.h. The graph is copied, so prepare may write to its node. */
void run_node(hone_backend *b, const scene *s, hone_nid id, run_how how, run *r)
{
    stage z = {.g = graph_for(b, s)};
    memset(r, 0, sizeof *r);
    z.node = &z.g->node[id];
    z.node->accumulate = how.accumulate;
    for (int k = 0; k < z.node->out_count; k++)
        if (how.drop_mask >> k & 1u) z.node->out[k] = HONE_NONE;
    const hone_kernel *kernel = &b->kernel[z.node->op];
    if (kernel->prepare && kernel->prepare(b, z.g, z.node) != HONE_OK) {
        snprintf(r->fault, sizeof r->fault, "prepare: %.200s", hone_error_message());
    } else {
        z.l.node = z.node;
        open_inputs(b, s, &z, r);
        open_outputs(b, &z, how, r);
        guard_open(b, &z.work, z.node->work_bytes, NULL, r);
        z.l.work = z.work.base + GUARD_BYTES;
        if (!r->fault[0]) kernel->launch(b, &z.l);
        if (b->sync(b) != HONE_OK) complain(r, "sync failed", "", 0);
        close_all(b, &z, how, r);
        snprintf(r->choice, sizeof r->choice, "%s", z.node->choice ? z.node->choice : "");
        if (kernel->release) kernel->release(b, z.node);
    }
    hone_graph_free(z.g);
}

/* All buffers of a run; it may be used again. */
void run_free(run *r)
{
    for (int k = 0; k < HONE_MAX_IN; k++) free(r->in[k]);
    for (int k = 0; k < HONE_MAX_OUT; k++) free(r->out[k]);
    memset(r, 0, sizeof *r);
}

void run_store(hone_backend *ref64, scene *s, hone_nid id, bool rounded, char *fault, size_t fault_bytes)
{
    run r;
    run_node(ref64, s, id, (run_how){0}, &r);
    snprintf(fault, fault_bytes, "%s", r.fault);
    for (int k = 0; k < HONE_MAX_OUT && !r.fault[0]; k++) {
        if (!r.out[k]) continue;
        hone_tid t = s->g->node[id].out[k];
        int64_t n = hone_tensor_count(&s->g->tensor[t]);
        free(s->value[t]);
        s->value[t] = malloc((size_t)n * sizeof **s->value);
        for (int64_t i = 0; i < n; i++) {
            double v = value_at(r.out_dtype[k], r.out[k], i);
            s->value[t][i] = rounded ? scene_round(s, t, v) : v;
        }
    }
    run_free(&r);
}
