/* quantize.c - see quantize.h. Scales follow ONNX's operator pages: y = saturate(round(x / scale) + zero). */
#include "onnx/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weights of products take 7 of the 8 bits: x86 without VNNI multiplies bytes by VPMADDUBSW, which adds two products
 * in 16 bits and cuts what does not fit. 2 x 255 x 64 = 32,640 fits; with 127 the fashion-cnn page lost 2.2 points in
 * onnxruntime on AVX2, and nothing where VNNI is. */
enum { PRODUCT_MOST = 64, TABLE_MOST = 127, HALF_LEAST = 64, TABLE_LEAST = 4096, BATCH = 32 };

/* --- 16 bits ----------------------------------------------------------------------------------------------------- */

/* The constant as 16 bits under another name; its old name is the Cast's result. */
static hone_status half_tensor(hone_onnx *m, int k)
{
    hone_onnx_tensor *t = &m->init[k];
    int64_t count = (int64_t)(t->bytes / sizeof(float));
    uint16_t *half = hone_onnx_alloc(m, (size_t)count * sizeof *half);
    const char *name = t->name;
    if (!half) return hone_onnx_status(m);
    for (int64_t i = 0; i < count; i++)
        if (fabsf(((const float *)t->data)[i]) > 65504.0f)
            return hone_fail(HONE_ERR_USAGE, "export it without --fp16", "%s holds %g: too large for 16 bits", name,
                             (double)((const float *)t->data)[i]);
    hone_reals_from_f32(HONE_F16, t->data, half, count);
    t->name = hone_onnx_text(m, "%s.half", name);
    t->type = HONE_ONNX_FLOAT16;
    t->data = half;
    t->bytes /= 2;
    hone_onnx_unary(m, "Cast", t->name);
    hone_onnx_attr_int(m, "to", HONE_ONNX_FLOAT);
    if (!m->failed) m->node[m->node_count - 1].out[0] = name;
    return hone_onnx_status(m);
}

/* The nodes from `from` on move to the front: casts must stand before what reads them. */
static hone_status to_front(hone_onnx *m, int from)
{
    int added = m->node_count - from; /* casts */
    hone_onnx_node *copy = malloc(((size_t)added + 1) * sizeof *copy);
    if (!copy) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    memcpy(copy, m->node + from, (size_t)added * sizeof *copy);
    memmove(m->node + added, m->node, (size_t)from * sizeof *copy);
    memcpy(m->node, copy, (size_t)added * sizeof *copy);
    free(copy);
    return HONE_OK;
}

/* Small constants (scales, shapes, pixel means) stay as they are: nothing is won. */
hone_status hone_onnx_half(hone_onnx *m)
{
    int nodes = m->node_count, inits = m->init_count; /* before anything is added */
    for (int k = 0; k < inits; k++)
        if (m->init[k].type == HONE_ONNX_FLOAT && m->init[k].bytes >= HALF_LEAST * sizeof(float))
            HONE_TRY(half_tensor(m, k));
    return to_front(m, nodes);
}

/* --- ranges ---------------------------------------------------------------------------------------------------------- */

/* The axis of the weight that counts outputs, or -1 where a node is no product with a constant. */
static int output_axis(const hone_onnx *m, const hone_onnx_node *n)
{
    bool conv = strcmp(n->op, "Conv") == 0, gemm = strcmp(n->op, "Gemm") == 0, matmul = strcmp(n->op, "MatMul") == 0;
    if (!conv && !gemm && !matmul) return -1;
    /* attention multiplies two activations: no weights there */
    const hone_onnx_tensor *w = hone_onnx_find_init(m, n->in[1]);
    if (!w || w->type != HONE_ONNX_FLOAT) return -1;
    return matmul ? 1 : 0;
}

/* Widens range (2) by the values of one walk. */
static void widen(const hone_onnx_array *x, float *range)
{
    const float *v = x->data;
    for (int64_t k = 0; k < x->count; k++) {
        if (!(v[k] >= range[0])) range[0] = v[k];
        if (!(v[k] <= range[1])) range[1] = v[k];
    }
}

/* Walks with all values kept, in batches; the cpu dialect's kernels, because there are hundreds of samples. */
hone_status hone_onnx_ranges(const hone_onnx *m, const hone_onnx_samples *s, int64_t most, int threads, float **ranges)
{
    hone_backend *b = NULL;
    hone_onnx_run *r = NULL;
    float *range = calloc((size_t)m->node_count + 1, 2 * sizeof *range);
    if (!range) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    for (int k = 0; k < 2 * m->node_count; k++) range[k] = NAN;
    hone_status status = hone_backend_open("cpu", threads, &b);
    if (status == HONE_OK) status = hone_onnx_run_open(m, b, &r);
    if (r) hone_onnx_run_keep(r);
    int64_t count = most < s->count ? most : s->count;
    for (int64_t at = 0; at < count && status == HONE_OK; at += BATCH) {
        /* evenly over the set, whose classes may stand one after the other */
        int64_t from = at * s->count / count, n = s->count - from < BATCH ? s->count - from : BATCH;
        status = hone_onnx_samples_run(s, from, n, r);
        for (int k = 0; k < m->node_count && status == HONE_OK; k++)
            if (output_axis(m, &m->node[k]) >= 0) widen(hone_onnx_run_value(r, m->node[k].in[0]), range + 2 * k);
    }
    hone_onnx_run_close(r);
    hone_backend_close(b);
    if (status == HONE_OK) *ranges = range;
    else free(range);
    return status;
}

/* --- 8 bits ------------------------------------------------------------------------------------------------------------ */

/* Weights of rows or columns in 8 bits. */
typedef struct quantised {
    const char *values, *scales; /* initializers: int8, float (channels) */
    const float *scale;          /* (channels) */
    int64_t channels;
} quantised;

/* The largest weight of a channel becomes `most`; a channel of zeros has the scale 1. axis 0: rows, 1: columns of a
 * matrix. */
static quantised quantise_weight(hone_onnx *m, const char *name, int axis, int most)
{
    const hone_onnx_tensor t = *hone_onnx_find_init(m, name); /* a copy: the array grows below */
    const float *w = t.data;
    int64_t channels = t.dim[axis], count = (int64_t)(t.bytes / sizeof *w), inner = axis ? 1 : count / channels;
    int8_t *q = hone_onnx_alloc(m, (size_t)count);
    float *scale = hone_onnx_alloc(m, (size_t)channels * sizeof *scale);
    for (int64_t k = 0; q && scale && k < count; k++)
        scale[k / inner % channels] = fmaxf(scale[k / inner % channels], fabsf(w[k]));
    for (int64_t c = 0; q && scale && c < channels; c++) scale[c] = scale[c] > 0 ? scale[c] / (float)most : 1;
    for (int64_t k = 0; q && scale && k < count; k++) q[k] = (int8_t)lrintf(w[k] / scale[k / inner % channels]);
    quantised r = {.scale = scale, .channels = channels};
    if (m->failed) return r;
    r.values = hone_onnx_const(m, hone_onnx_text(m, "%s.int8", name), HONE_ONNX_INT8, t.rank, t.dim, q);
    r.scales = hone_onnx_const(m, hone_onnx_text(m, "%s.scale", name), HONE_ONNX_FLOAT, 1, &channels, scale);
    return r;
}

/* What a float constant was replaced by is not written any more. */
static void forget(hone_onnx *m, const char *name)
{
    for (int k = 0; k < m->init_count; k++)
        if (strcmp(m->init[k].name, name) == 0) {
            m->init[k] = m->init[--m->init_count];
            return;
        }
}

/* x through 8 bits: Quantize, Dequantize with one scale of its range, zero included. *scale is that. */
static const char *quantise_input(hone_onnx *m, const char *x, const float *range, float *scale)
{
    /* zero must be a value of the 8 bits: padding is made of it */
    float low = range[0] < 0 ? range[0] : 0, high = range[1] > 0 ? range[1] : 0;
    *scale = high > low ? (high - low) / 255 : 1;
    uint8_t *zero = hone_onnx_alloc(m, 1);
    if (!zero) return x;
    *zero = (uint8_t)lrintf(-low / *scale);
    const char *s = hone_onnx_scalar(m, *scale), *name = hone_onnx_text(m, "%s.zero", x);
    if (!hone_onnx_find_init(m, name)) hone_onnx_const(m, name, HONE_ONNX_UINT8, 0, NULL, zero);
    const char *q = hone_onnx_add(m, "QuantizeLinear", 3, (const char *[]){x, s, name});
    return hone_onnx_add(m, "DequantizeLinear", 3, (const char *[]){q, s, name});
}

/* The bias as int32 of scale x scale: what integer kernels add to their sums. */
static const char *quantise_bias(hone_onnx *m, const char *name, const quantised *w, float in_scale)
{
    const hone_onnx_tensor *t = hone_onnx_find_init(m, name);
    int32_t *q = hone_onnx_alloc(m, (size_t)w->channels * sizeof *q);
    float *scale = hone_onnx_alloc(m, (size_t)w->channels * sizeof *scale);
    for (int64_t c = 0; q && scale && c < w->channels; c++) {
        double ratio;
        scale[c] = in_scale * w->scale[c];
        /* beyond 32 bits only where a scale is nearly nothing */
        ratio = (double)((const float *)t->data)[c] / (double)scale[c];
        q[c] = (int32_t)lrint(fmin(fmax(ratio, -2147483647.0), 2147483647.0));
    }
    if (m->failed) return name;
    const char *values = hone_onnx_const(m, hone_onnx_text(m, "%s.int32", name), HONE_ONNX_INT32, 1, &w->channels, q);
    const char *scales =
        hone_onnx_const(m, hone_onnx_text(m, "%s.scale", name), HONE_ONNX_FLOAT, 1, &w->channels, scale);
    const char *y = hone_onnx_binary(m, "DequantizeLinear", values, scales);
    hone_onnx_attr_int(m, "axis", 0);
    return y;
}

/* The product of `n` with its operands in 8 bits; the node itself follows them. */
static void quantise_product(hone_onnx *m, hone_onnx_node n, int axis, const float *range)
{
    float in_scale; /* of x: biases are in units of both */
    const char *weight = n.in[1], *bias = n.in_count > 2 ? n.in[2] : NULL,
               *x = quantise_input(m, n.in[0], range, &in_scale);
    quantised w = quantise_weight(m, weight, axis, PRODUCT_MOST);
    if (m->failed) return;
    const char *y = hone_onnx_binary(m, "DequantizeLinear", w.values, w.scales);
    hone_onnx_attr_int(m, "axis", axis);
    const char *b = bias ? quantise_bias(m, bias, &w, in_scale) : NULL;
    n.in[0] = x;
    n.in[1] = y;
    if (b) n.in[2] = b;
    /* its operands stand before it now */
    *hone_onnx_push_node(m) = n;
    forget(m, weight);
    if (bias) forget(m, bias);
}

/* Rows of a table: their 8 bits are gathered, and the scales of the same rows; widening the whole table for every
 * text would cost more than the net. */
static void quantise_gather(hone_onnx *m, const hone_onnx_node *n)
{
    const char *table = n->in[0], *index = n->in[1], *result = n->out[0];
    quantised w = quantise_weight(m, table, 0, TABLE_MOST);
    if (m->failed) return;
    const char *rows = hone_onnx_binary(m, "Gather", w.values, index);
    hone_onnx_attr_int(m, "axis", 0);
    rows = hone_onnx_unary(m, "Cast", rows);
    hone_onnx_attr_int(m, "to", HONE_ONNX_FLOAT);
    const char *scales = hone_onnx_binary(m, "Gather", w.scales, index);
    hone_onnx_attr_int(m, "axis", 0);
    scales = hone_onnx_binary(m, "Unsqueeze", scales, hone_onnx_i64(m, 1, (int64_t[]){-1}));
    hone_onnx_binary(m, "Mul", rows, scales);
    if (!m->failed) m->node[m->node_count - 1].out[0] = result;
    forget(m, table);
}

/* How many nodes read a constant: one that two share stays as it is. */
static int readers(const hone_onnx_node *node, int count, const char *name)
{
    int found = 0;
    for (int k = 0; k < count; k++)
        for (int i = 0; i < node[k].in_count; i++) found += strcmp(node[k].in[i], name) == 0;
    return found;
}

/* The old nodes one by one into a new list. */
hone_status hone_onnx_int8(hone_onnx *m, const float *ranges)
{
    int count = m->node_count; /* of the graph in floats */
    hone_onnx_node *old = malloc(((size_t)count + 1) * sizeof *old);
    if (!old) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    memcpy(old, m->node, (size_t)count * sizeof *old);
    m->node_count = 0; /* operands and attributes stay in the arena */
    for (int k = 0; k < count && !m->failed; k++) {
        int axis = output_axis(m, &old[k]);
        const hone_onnx_tensor *table = strcmp(old[k].op, "Gather") == 0 ? hone_onnx_find_init(m, old[k].in[0]) : NULL;
        bool large = table && table->type == HONE_ONNX_FLOAT && table->rank == 2 && table->bytes >= TABLE_LEAST;
        if (axis >= 0 && ranges[2 * k] <= ranges[2 * k + 1] && readers(old, count, old[k].in[1]) == 1)
            quantise_product(m, old[k], axis, ranges + 2 * k);
        else if (large && readers(old, count, old[k].in[0]) == 1) quantise_gather(m, &old[k]);
        else *hone_onnx_push_node(m) = old[k];
    }
    free(old);
    return hone_onnx_status(m);
}
