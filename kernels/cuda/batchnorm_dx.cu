/* batchnorm_dx.cu - gradients of batch normalisation, with the gate of ReLU and the join of residuals where fused.
 *
 * x, y, dy, dy2, dx, dr (R, C); gamma, beta, mean, rstd (C). With g what passes the gate and xhat = (x - mean) rstd:
 * dbeta = sum g, dgamma = sum g xhat, dx = gamma rstd (g - dbeta/R - xhat dgamma/R). Two passes over slices of rows
 * (batchnorm.cuh), the second from behind; sums are made in a fixed order: two runs give the same bits.
 *
 * Memory: x and dy are read twice, dx written: five passes of one operand's size. Behind a join the first pass reads dy2
 * and the gate too and writes dr, and the second reads dr alone: six passes, seven with dy2. */
#include "batchnorm.cuh"
#include "reduce.cuh"

/* What shuts the gate of a gradient: nothing; behind a join its output y, or the bit that the join left of it: an eighth
 * of a byte in place of two or four; straight behind the norm the norm itself, made again from x: a
 * few operations on values that are in registers anyway, where y would have to be read in both passes. */
typedef enum bn_gate { BN_OPEN, BN_BY_Y, BN_BY_BITS, BN_BY_X } bn_gate;

/* Pointers of the backward. */
template <typename T> struct bn_back {
    const T *x, *y, *dy, *dy2;               /* (R, C); y: BN_BY_Y alone; dy2 joins dy, or null */
    const uint8_t *open;                     /* (R, (C + 7) / 8): BN_BY_BITS alone */
    const float *gamma, *beta, *mean, *rstd; /* (C); beta: BN_BY_X alone */
    T *dx, *dr;                              /* (R, C); either may be null; dr: gradient of the residual */
    bn_slices slices;
    int channels, across;
    float most; /* the gate is shut from this value on: 6, or NaN, which nothing reaches */
};

/* How a kernel's gradient comes in, known when it is compiled: registers for what is read, no branch in the loop. */
template <bn_gate GATE, bool JOINED> struct bn_way {
    static constexpr bn_gate gate = GATE;
    static constexpr bool joined = JOINED; /* dy + dy2 */
    static constexpr int streams = 2 + JOINED + (GATE == BN_BY_Y);
    static constexpr int unroll = streams == 2 ? 4 : streams == 3 ? 3 : 2; /* 128 bytes in flight, or some more */
};

/* Constants of W channels; what a kernel doesn't use is not read. scale: gamma rstd. */
template <int W> struct bn_channels {
    floats<W> mean, beta;
    float scale[W];
};
template <typename Way, int W, typename T>
__device__ static inline bn_channels<W> bn_channels_at(const bn_back<T> &a, int c)
{
    bn_channels<W> k = {};
    if (c >= a.channels) return k;
    const floats<W> gamma = floats_at<W>(a.gamma, c), rstd = floats_at<W>(a.rstd, c);
    k.mean = floats_at<W>(a.mean, c);
    if (Way::gate == BN_BY_X) k.beta = floats_at<W>(a.beta, c);
#pragma unroll
    for (int j = 0; j < W; j++) k.scale[j] = rstd.v[j] * gamma.v[j];
    return k;
}

/* W neighbours of what a gradient comes through. */
template <typename T, int W> struct bn_group {
    lanes<T, W> x, y, dy, dy2;
    unsigned bits; /* the lowest is that of the first */
};
/* LAST: the node reads x no more; ONCE: nor the gradient. Behind a join the first pass leaves dr to the second. */
template <typename Way, bool LAST, bool ONCE, typename T, int W>
__device__ static inline void read_group(bn_group<T, W> &v, const bn_back<T> &a, int64_t row, int c)
{
    const int64_t i = row * a.channels + c;
    v.x = LAST ? lanes_once<T, W>(a.x, i) : lanes_at<T, W>(a.x, i);
    v.dy = ONCE ? lanes_once<T, W>(a.dy, i) : lanes_at<T, W>(a.dy, i);
    if constexpr (Way::joined) v.dy2 = ONCE ? lanes_once<T, W>(a.dy2, i) : lanes_at<T, W>(a.dy2, i);
    if constexpr (Way::gate == BN_BY_Y) v.y = ONCE ? lanes_once<T, W>(a.y, i) : lanes_at<T, W>(a.y, i);
    if constexpr (Way::gate == BN_BY_BITS) v.bits = (unsigned)a.open[row * ((a.channels + 7) / 8) + c / 8] >> c % 8;
}

/* What passes the gate at neighbour j: a choice, so that dy does no harm where a unit is off, whatever it is. */
template <typename Way, typename T, int W>
__device__ static inline float gated(const bn_back<T> &a, const bn_group<T, W> &v, const bn_channels<W> &k, int j)
{
    float g = lane_of(v.dy, j);
    if constexpr (Way::joined) g += lane_of(v.dy2, j);
    if constexpr (Way::gate == BN_OPEN) return g;
    if constexpr (Way::gate == BN_BY_BITS) return v.bits >> j & 1 ? g : 0;
    float at;
    if constexpr (Way::gate == BN_BY_Y) at = lane_of(v.y, j);
    else at = bn_value(lane_of(v.x, j), k.mean.v[j], k.scale[j], k.beta.v[j]);
    return at > 0 && !(at >= a.most) ? g : 0;
}

/* dr (R, C), where it is wanted, is written here, and the second pass reads it in place of dy, dy2 and y.
 * part (S, 2, C): sum g and sum g (x - mean) of each slice; grid (columns, slices) */
template <typename T, int W, typename Way>
HONE_KERNEL_BLOCKS(BN_THREADS, BN_RESIDENT)
bn_dx_sums_k(bn_back<T> a, float *part)
{
    constexpr bool joins = Way::gate == BN_BY_Y || Way::gate == BN_BY_BITS;
    const bn_place p = bn_place_of<W>(a.across);
    float sum[W] = {}, sum_x[W] = {};
    if (p.c < a.channels) {
        const bn_channels<W> k = bn_channels_at<Way, W>(a, p.c);
        bn_group<T, W> v[Way::unroll];
        walk_rows<Way::unroll, false>(
            a.slices, p, [&](int u, int64_t row) { read_group<Way, false, joins>(v[u], a, row, p.c); },
            [&](int u, int64_t row) {
                float dr[W];
#pragma unroll
                for (int j = 0; j < W; j++) {
                    const float g = gated<Way>(a, v[u], k, j);
                    sum[j] += g;
                    sum_x[j] += g * (lane_of(v[u].x, j) - k.mean.v[j]);
                    dr[j] = g;
                }
                if (joins && a.dr) put_lanes(a.dr, row * a.channels + p.c, lanes_of<T, W>(dr));
            });
    }
    const float2 both = column_sums<W>(sum, sum_x, a.across);
    const int t = (int)threadIdx.x, c = (int)blockIdx.x * a.across * W + t; /* a thread a channel from here on */
    if (t >= a.across * W || c >= a.channels) return;
    float *to = part + (int64_t)blockIdx.y * 2 * a.channels + c;
    to[0] = both.x;
    to[a.channels] = both.y;
}

/* part (S, 2, C) as bn_dx_sums_k leaves it. total (2, C): dbeta/R and rstd dgamma/R of this node, what dx needs. */
struct bn_dx_finish {
    const float *part, *rstd;
    float *total, *dgamma, *dbeta; /* dgamma, dbeta (C): either may be null */
    int64_t rows;
    int slices, channels, accumulate;
};

/* A block takes BN_FINISH channels; the threads that share the slices of one are summed in their order. */
HONE_KERNEL(BN_THREADS) bn_dx_finish_k(bn_dx_finish a)
{
    HONE_SHARED(float2, shared, BN_WARPS * BN_FINISH);
    const int t = (int)threadIdx.x, at = t % BN_FINISH, c = (int)blockIdx.x * BN_FINISH + at;
    float sum = 0, sum_x = 0;
#pragma unroll 4
    for (int s = t / BN_FINISH; c < a.channels && s < a.slices; s += BN_SHARERS) {
        const float *from = a.part + (int64_t)s * 2 * a.channels + c;
        sum += from[0];
        sum_x += from[a.channels];
    }
    for (int d = 16; d >= BN_FINISH; d /= 2) {
        sum += __shfl_down_sync(0xffffffffu, sum, d);
        sum_x += __shfl_down_sync(0xffffffffu, sum_x, d);
    }
    if (t % 32 < BN_FINISH) shared[t / 32 * BN_FINISH + at] = make_float2(sum, sum_x);
    __syncthreads();
    if (t >= BN_FINISH || c >= a.channels) return;
    for (int w = 1; w < BN_WARPS; w++) {
        sum += shared[w * BN_FINISH + at].x;
        sum_x += shared[w * BN_FINISH + at].y;
    }
    const float rstd = a.rstd[c], sum_xhat = rstd * sum_x;
    a.total[c] = sum / (float)a.rows;
    a.total[a.channels + c] = rstd * (sum_xhat / (float)a.rows);
    if (a.dgamma) a.dgamma[c] = a.accumulate ? a.dgamma[c] + sum_xhat : sum_xhat;
    if (a.dbeta) a.dbeta[c] = a.accumulate ? a.dbeta[c] + sum : sum;
}

/* dx = gamma rstd (g - sum/R - xhat sum_xhat/R); total (2, C) of bn_dx_finish. dx may lie over dy: a thread reads its
 * elements before it writes them, and nobody else's. Grid (columns, slices). */
template <typename T, int W, typename Way>
HONE_KERNEL_BLOCKS(BN_THREADS, BN_RESIDENT)
bn_dx_k(bn_back<T> a, const float *total)
{
    const bn_place p = bn_place_of<W>(a.across);
    if (p.c >= a.channels) return;
    const bn_channels<W> k = bn_channels_at<Way, W>(a, p.c);
    const floats<W> sum = floats_at<W>(total, p.c);
    const floats<W> slope = floats_at<W>(total, a.channels + p.c);
    bn_group<T, W> v[Way::unroll];
    walk_rows<Way::unroll, true>(
        a.slices, p, [&](int u, int64_t row) { read_group<Way, true, true>(v[u], a, row, p.c); },
        [&](int u, int64_t row) {
            float dx[W];
#pragma unroll
            for (int j = 0; j < W; j++) {
                const float g = gated<Way>(a, v[u], k, j), x = lane_of(v[u].x, j);
                dx[j] = k.scale[j] * (g - sum.v[j] - (x - k.mean.v[j]) * slope.v[j]);
            }
            put_lanes(a.dx, row * a.channels + p.c, lanes_of<T, W>(dx));
        });
}

/* The rows differ in what stands behind rstd: dy alone, or what gates it and then dy (ops.def). */
template <typename T> static bn_back<T> bn_back_of(const hone_launch *l, const bn_shape &s, bn_gate gate, bn_tail tail)
{
    const bool join = gate == BN_BY_Y || gate == BN_BY_BITS;
    const int dy = gate == BN_OPEN ? 4 : 5;
    bn_back<T> a = {};
    a.x = (const T *)l->in[0];
    a.gamma = (const float *)l->in[1];
    a.mean = (const float *)l->in[2];
    a.rstd = (const float *)l->in[3];
    a.y = gate == BN_BY_Y ? (const T *)l->in[4] : nullptr;
    a.beta = gate == BN_BY_X ? (const float *)l->in[4] : nullptr;
    a.dy = (const T *)l->in[dy];
    a.dy2 = l->node->in_count > 6 ? (const T *)l->in[6] : nullptr;
    a.open = gate == BN_BY_BITS ? (const uint8_t *)l->in[7] : nullptr;
    a.dx = (T *)l->out[0];
    a.dr = join ? (T *)l->out[3] : nullptr;
    a.slices = s.slices;
    a.channels = s.channels;
    a.across = s.across;
    a.most = tail == BN_RELU6 ? 6 : NAN;
    return a;
}

/* Calls f with the bn_way of a gate and of whether there are two gradients. */
template <typename F> static void with_way(bn_gate gate, bool joined, F f)
{
    if (gate == BN_OPEN) f(bn_way<BN_OPEN, false>()); /* a norm alone has one gradient, and so has dr */
    else if (gate == BN_BY_X) joined ? f(bn_way<BN_BY_X, true>()) : f(bn_way<BN_BY_X, false>());
    else if (gate == BN_BY_Y) joined ? f(bn_way<BN_BY_Y, true>()) : f(bn_way<BN_BY_Y, false>());
    else joined ? f(bn_way<BN_BY_BITS, true>()) : f(bn_way<BN_BY_BITS, false>());
}

/* Three launches: sums of slices, their sum, and the map where dx is wanted. */
static void bn_backward(hone_backend *b, const hone_launch *l, bn_gate gate, bn_tail tail)
{
    const bn_shape s = bn_shape_of(l->in_desc[0]);
    float *part = (float *)l->work, *total = part + (size_t)s.slices.count * 2 * (size_t)s.channels;
    const bn_dx_finish finish = {part,   (const float *)l->in[3], total,      (float *)l->out[1], (float *)l->out[2],
                                 s.rows, s.slices.count,          s.channels, l->node->accumulate};
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        bn_back<T> a = bn_back_of<T>(l, s, gate, tail);
        with_way(gate, a.dy2 != nullptr, [&](auto way) {
            HONE_LAUNCH(b, (bn_dx_sums_k<T, W, decltype(way)>), bn_grid(s), BN_THREADS, 0, a, part);
        });
        HONE_LAUNCH(b, bn_dx_finish_k, bn_finish_blocks(s.channels), BN_THREADS, 0, finish);
        if (!a.dx) return;
        const bool done = a.dr != nullptr; /* gated and joined already */
        if (done) a.dy = a.dr;
        with_way(done ? BN_OPEN : gate, !done && a.dy2, [&](auto way) {
            HONE_LAUNCH(b, (bn_dx_k<T, W, decltype(way)>), bn_grid(s), BN_THREADS, 0, a, (const float *)total);
        });
    });
}

extern "C" {
void cuda_batchnorm_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_OPEN, BN_PLAIN); }
void cuda_batchnorm_relu_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_BY_X, BN_RELU); }
void cuda_batchnorm_relu6_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_BY_X, BN_RELU6); }
void cuda_batchnorm_add_relu_dx(hone_backend *b, const hone_launch *l)
{
    bn_backward(b, l, l->in[7] ? BN_BY_BITS : BN_BY_Y, BN_RELU);
}
}
