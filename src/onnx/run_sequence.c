/* run_sequence.c - ONNX's operators of sequences, in the words of their pages (run.h): running sums, scattered writes,
 * convolution along one axis, and GRU. None of it comes from hone's kernels for ragged texts: what an export made of
 * those is checked against another reading of the same mathematics. Sums are made in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/run.h"

/* --- places ------------------------------------------------------------------------------------------------------ */

/* Elements before `axis`, along it and behind it. */
static void split(const hone_onnx_array *a, int64_t axis, int64_t *outer, int64_t *n, int64_t *inner)
{
    *outer = *inner = 1;
    *n = a->dim[axis];
    for (int k = 0; k < a->rank; k++) {
        if (k < axis) *outer *= a->dim[k];
        if (k > axis) *inner *= a->dim[k];
    }
}

/* y[.., i, ..] = the sum up to and with i; int64, the one type that hone writes. */
static hone_status cumsum(hone_onnx_call *c)
{
    int64_t axis, outer, n, inner;
    for (int k = 0; k < 2; k++) HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_INT64));
    if (c->in[1]->count != 1) return hone_onnx_call_fail(c, "not one axis");
    axis = *(const int64_t *)c->in[1]->data;
    if (!hone_onnx_axis(&axis, c->in[0]->rank)) return hone_onnx_call_fail(c, "no such axis");
    if (hone_onnx_get_int(c->node, "exclusive", 0) != 0 || hone_onnx_get_int(c->node, "reverse", 0) != 0)
        return hone_onnx_call_fail(c, "a form that hone never writes");
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_INT64, c->in[0]->rank, c->in[0]->dim));
    split(c->in[0], axis, &outer, &n, &inner);
    const int64_t *x = c->in[0]->data;
    int64_t *y = c->out.data;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            uint64_t sum = 0; /* wraps, as Add does */
            for (int64_t k = 0; k < n; k++) {
                int64_t at = (o * n + k) * inner + i;
                sum += (uint64_t)x[at];
                y[at] = (int64_t)sum;
            }
        }
    return HONE_OK;
}

/* A copy of the data with updates written to the places that the indices name along one axis; of two for one place the
 * later wins, where ONNX leaves it open. All axes but that one must agree. */
static hone_status scatter(hone_onnx_call *c)
{
    const hone_onnx_array *data = c->in[0], *index = c->in[1], *update = c->in[2];
    int64_t axis = hone_onnx_get_int(c->node, "axis", 0), outer, n, inner, m;
    HONE_TRY(hone_onnx_call_want(c, 1, HONE_ONNX_INT64));
    HONE_TRY(hone_onnx_call_want(c, 2, data->type));
    if (hone_onnx_find_attr(c->node, "reduction")) return hone_onnx_call_fail(c, "a form that hone never writes");
    if (!hone_onnx_axis(&axis, data->rank) || index->rank != data->rank || update->rank != data->rank)
        return hone_onnx_call_fail(c, "operands of different ranks");
    for (int k = 0; k < data->rank; k++)
        if (index->dim[k] != update->dim[k] || (k != axis && index->dim[k] != data->dim[k]))
            return hone_onnx_call_fail(c, "shapes that differ");
    HONE_TRY(hone_onnx_call_out(c, data->type, data->rank, data->dim));
    size_t bytes = hone_onnx_type_bytes(data->type);
    memcpy(c->out.data, data->data, (size_t)data->count * bytes);
    split(data, axis, &outer, &n, &inner);
    m = index->dim[axis];
    for (int64_t k = 0; k < index->count; k++) {
        int64_t to = ((const int64_t *)index->data)[k], o = k / (m * inner), i = k % inner;
        if (to < 0) to += n; /* from the end */
        if (to < 0 || to >= n) return hone_onnx_call_fail(c, "an index outside the operand");
        memcpy((char *)c->out.data + (size_t)((o * n + to) * inner + i) * bytes,
               (const char *)update->data + (size_t)k * bytes, bytes);
    }
    return HONE_OK;
}

/* --- convolution along one axis ------------------------------------------------------------------------------------ */

/* y (N,O,L') of one row of places: w (O,I,K), zeros outside. */
static void conv_row(const hone_onnx_call *c, int64_t n, int64_t o, int64_t front)
{
    const int64_t *x = c->in[0]->dim, *w = c->in[1]->dim;
    const float *kernel = (const float *)c->in[1]->data + o * w[1] * w[2];
    float *y = (float *)c->out.data + (n * w[0] + o) * c->out.dim[2];
    for (int64_t t = 0; t < c->out.dim[2]; t++) {
        double sum = c->in[2] ? (double)((const float *)c->in[2]->data)[o] : 0;
        for (int64_t i = 0; i < w[1]; i++) {
            const float *in = (const float *)c->in[0]->data + (n * x[1] + i) * x[2];
            for (int64_t k = 0; k < w[2]; k++) {
                int64_t at = t + k - front;
                if (at >= 0 && at < x[2]) sum += (double)in[at] * (double)kernel[i * w[2] + k];
            }
        }
        y[t] = (float)sum;
    }
}

/* Of strides, dilations and groups there is one: hone's nets have no others along texts. */
hone_status hone_onnx_conv_line(hone_onnx_call *c)
{
    static const char *const plain[] = {"strides", "dilations"};
    const int64_t *x = c->in[0]->dim, *w = c->in[1]->dim;
    int64_t list[HONE_ONNX_RANK] = {0}, pads[HONE_ONNX_RANK] = {0};
    int count;
    for (int k = 0; k < 2; k++) {
        HONE_TRY(hone_onnx_call_list(c, plain[k], -1, &count, list));
        if (count > 0 && (count != 1 || list[0] != 1)) return hone_onnx_call_fail(c, "a form that hone never writes");
    }
    HONE_TRY(hone_onnx_call_list(c, "pads", -1, &count, pads));
    if (count > 0 && (count != 2 || pads[0] < 0 || pads[1] < 0 || pads[0] > 1 << 16 || pads[1] > 1 << 16))
        return hone_onnx_call_fail(c, "an impossible window");
    for (int k = 0; k < 2; k++) HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_FLOAT));
    if (c->in[0]->rank != 3 || c->in[1]->rank != 3 || w[1] != x[1] || hone_onnx_get_int(c->node, "group", 1) != 1 ||
        (c->in[2] && (c->in[2]->type != HONE_ONNX_FLOAT || c->in[2]->count != w[0])))
        return hone_onnx_call_fail(c, "weights that do not fit the rows");
    int64_t places = x[2] + pads[0] + pads[1] - w[2] + 1;
    if (places < 0) return hone_onnx_call_fail(c, "a window larger than the rows");
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, 3, (int64_t[]){x[0], w[0], places}));
    for (int64_t n = 0; n < x[0]; n++)
        for (int64_t o = 0; o < w[0]; o++) conv_row(c, n, o, pads[0]);
    return HONE_OK;
}

/* --- GRU ------------------------------------------------------------------------------------------------------------- */

/* Operands X (L,N,I), W (1,3H,I), R (1,3H,H), B (1,6H), sequence_lens int32 (N); gates z | r | h. */
typedef struct gru {
    int64_t L, N, I, H;
    const float *w, *r, *b;
    bool reverse, before_reset; /* linear_before_reset: r acts on the product with the state */
    double *gate;               /* (3H) of X, and (3H) of the state                            */
    float *reset;               /* (H) r * h, where r acts on the state                        */
} gru;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* to (rows) = m (rows, columns) x + bias. */
static void affine(const float *m, const float *bias, const float *x, int64_t rows, int64_t columns, double *to)
{
    for (int64_t j = 0; j < rows; j++) {
        double sum = (double)bias[j];
        for (int64_t i = 0; i < columns; i++) sum += (double)m[j * columns + i] * (double)x[i];
        to[j] = sum;
    }
}

/* One step: x (I), h (H) before, y (H) after. Equations of the operator's page:
 *   z = f(X Wz + H Rz + ..)   r = f(X Wr + H Rr + ..)   H' = (1 - z) h + z H
 *   h = g(X Wh + (r H) Rh + Rbh + Wbh), or with linear_before_reset g(X Wh + r (H Rh + Rbh) + Wbh) */
static void step(const gru *g, const float *x, const float *h, float *y)
{
    int64_t H = g->H;
    double *in = g->gate, *state = g->gate + 3 * H;
    affine(g->w, g->b, x, 3 * H, g->I, in);
    affine(g->r, g->b + 3 * H, h, 3 * H, H, state);
    if (!g->before_reset) {
        for (int64_t j = 0; j < H; j++) g->reset[j] = (float)(sigmoid(in[H + j] + state[H + j]) * (double)h[j]);
        affine(g->r + 2 * H * H, g->b + 5 * H, g->reset, H, H, state + 2 * H);
    }
    for (int64_t j = 0; j < H; j++) {
        double z = sigmoid(in[j] + state[j]), r = g->before_reset ? sigmoid(in[H + j] + state[H + j]) : 1;
        double n = tanh(in[2 * H + j] + r * state[2 * H + j]);
        y[j] = (float)((1 - z) * n + z * (double)h[j]);
    }
}

/* Sequence n of `length` places from a zero state; what lies behind it stays zero. Y (L,1,N,H). */
static void run_sequence(const gru *g, const float *x, int64_t n, int64_t length, const float *zero, float *y)
{
    const float *h = zero;
    for (int64_t k = 0; k < length; k++) {
        int64_t t = g->reverse ? length - 1 - k : k;
        float *to = y + (t * g->N + n) * g->H;
        step(g, x + (t * g->N + n) * g->I, h, to);
        h = to;
    }
}

/* Sizes and forms; one direction, the standard activations, no clipping. */
static hone_status read_gru(const hone_onnx_call *c, gru *g)
{
    static const char *const unused[] = {"activations", "activation_alpha", "activation_beta", "clip", "layout"};
    const hone_onnx_attr *direction = hone_onnx_find_attr(c->node, "direction");
    const hone_onnx_array *x = c->in[0], *w = c->in[1], *r = c->in[2], *b = c->in[3], *lens = c->in[4];
    for (int k = 0; k < 4; k++) HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_FLOAT));
    HONE_TRY(hone_onnx_call_want(c, 4, HONE_ONNX_INT32));
    for (size_t k = 0; k < sizeof unused / sizeof *unused; k++)
        if (hone_onnx_find_attr(c->node, unused[k])) return hone_onnx_call_fail(c, "a form that hone never writes");
    if (x->rank != 3 || w->rank != 3 || r->rank != 3 || b->rank != 2 || lens->rank != 1)
        return hone_onnx_call_fail(c, "operands of another rank");
    *g = (gru){.L = x->dim[0], .N = x->dim[1], .I = x->dim[2], .H = r->dim[2]};
    if (w->dim[0] != 1 || r->dim[0] != 1 || b->dim[0] != 1 || w->dim[1] != 3 * g->H || r->dim[1] != 3 * g->H ||
        w->dim[2] != g->I || b->dim[1] != 6 * g->H || lens->dim[0] != g->N ||
        hone_onnx_get_int(c->node, "hidden_size", 0) != g->H)
        return hone_onnx_call_fail(c, "weights that do not fit the rows");
    if (direction && (!direction->s || strcmp(direction->s, "bidirectional") == 0))
        return hone_onnx_call_fail(c, "a form that hone never writes");
    g->w = w->data, g->r = r->data, g->b = b->data;
    g->reverse = direction && strcmp(direction->s, "reverse") == 0;
    g->before_reset = hone_onnx_get_int(c->node, "linear_before_reset", 0) != 0;
    for (int64_t n = 0; n < g->N; n++) {
        int64_t length = ((const int32_t *)lens->data)[n];
        if (length < 0 || length > g->L) return hone_onnx_call_fail(c, "a sequence longer than the rows");
    }
    return HONE_OK;
}

static hone_status run_gru(hone_onnx_call *c)
{
    gru g = {0};
    HONE_TRY(read_gru(c, &g));
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, 4, (int64_t[]){g.L, 1, g.N, g.H}));
    g.gate = calloc((size_t)g.H * 6 + 1, sizeof *g.gate);
    g.reset = calloc((size_t)g.H * 2 + 1, sizeof *g.reset);
    hone_status status =
        g.gate && g.reset ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory to check an ONNX graph");
    if (c->out.count) memset(c->out.data, 0, (size_t)c->out.count * sizeof(float));
    /* the second H of `reset` is the state that every sequence begins with */
    for (int64_t n = 0; n < g.N && status == HONE_OK; n++)
        run_sequence(&g, c->in[0]->data, n, ((const int32_t *)c->in[4]->data)[n], g.reset + g.H, c->out.data);
    free(g.gate);
    free(g.reset);
    return status;
}

const hone_onnx_op hone_onnx_sequence_ops[] = {
    {"CumSum", cumsum, 2, 2},           /* x, axis */
    {"ScatterElements", scatter, 3, 3}, /* data, indices, updates {axis} */
    {"GRU", run_gru, 5, 5},             /* X, W, R, B, sequence_lens {direction, hidden_size, linear_before_reset} */
    {NULL, NULL, 0, 0},
};
