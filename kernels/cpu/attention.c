/* attention.c - shapes and scratch sizes of attention; no arithmetic on tensors. */
#include <math.h>

#include "cpu/attention.h"

enum { LINE_FLOATS = 16, KEEP_SLACK = 128 };

attention_shape hone_cpu_attention_shape(const hone_attrs *a, const hone_tensor *qkv)
{
    bool dense = qkv->rank == 3;
    attention_shape s = {.B = dense ? qkv->dim[0] : 1, .T = qkv->dim[qkv->rank - 2], .heads = a->attention.heads};
    s.C = qkv->dim[qkv->rank - 1] / 3;
    s.D = s.C / s.heads;
    s.scale = 1 / sqrt((double)s.D);
    return s;
}

static int64_t take(int64_t *at, int64_t floats)
{
    int64_t begin = *at;
    *at += (floats + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
    return begin;
}

/* Floats of (k, n) packed in panels of `cols` columns. */
static int64_t panels(int64_t k, int64_t n, int64_t cols) { return (n + cols - 1) / cols * cols * k; }

attention_scratch hone_cpu_attention_scratch(const attention_shape *s, int64_t cols)
{
    attention_scratch z = {0};
    z.keys_turned = take(&z.part_floats, panels(s->D, s->T, cols));
    z.values_turned = take(&z.part_floats, panels(s->D, s->T, cols));
    z.keys = take(&z.part_floats, panels(s->T, s->D, cols));
    z.values = take(&z.part_floats, panels(s->T, s->D, cols));
    z.block_a = take(&z.part_floats, panels(QUERIES, s->D, cols));
    z.block_b = take(&z.part_floats, panels(QUERIES, s->D, cols));
    z.scores = take(&z.part_floats, QUERIES * s->T);
    z.gradients = take(&z.part_floats, QUERIES * s->T);
    z.keep = take(&z.part_floats, s->T + KEEP_SLACK);
    return z;
}

/* Ragged: one text may be as long as the capacity. */
hone_status hone_cpu_attention_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    attention_shape s = hone_cpu_attention_shape(&n->attr, &g->tensor[n->in[0]]);
    attention_scratch z = hone_cpu_attention_scratch(&s, hone_cpu_gemm_pick()->cols);
    n->work_bytes = (size_t)(b->threads * z.part_floats) * sizeof(float);
    n->choice = "blocks of 64 queries";
    return HONE_OK;
}
