/* batchnorm.cu - batch normalisation over all axes but the last, with ReLU and residual where fused.
 *
 * x, y, r (R, C); gamma, beta, mean, rstd, running (C). A thread keeps W neighbouring channels (16 bytes where C allows
 * it) and walks down the rows of a slice (batchnorm.cuh), so that what belongs to a channel stays in registers and a
 * warp reads whole lines. Statistics are float sums of differences from the first row of a slice, so that a large mean
 * cancels nothing; slices are merged by Chan's formula in a fixed order: two runs give the same bits. Ioffe & Szegedy,
 * 2015; Chan, Golub & LeVeque, 1979.
 *
 * Memory: x is read twice, r once, y written: three or four passes of one operand's size. */
#include "batchnorm.cuh"

struct moments {
    float count, mean, m2;
}; /* m2: sum of squared distances from the mean */

/* Counts of 0 are fine: a lane without slices changes nothing. */
__device__ static inline moments merge(moments a, moments b)
{
    float count = a.count + b.count;
    if (count == 0) return a;
    float d = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + d * share, a.m2 + b.m2 + d * d * a.count * share};
}

/* part (S, 2, C): mean and m2 of each slice and channel; grid (columns, slices). With k the first row of the slice,
 * s = sum (x - k) and q = sum (x - k)^2:  mean = k + s/n, m2 = q - s^2/n. */
template <typename T, int W>
HONE_KERNEL_BLOCKS(BN_THREADS, BN_RESIDENT)
bn_moments_k(const T *x, float *part, bn_slices slices, int channels, int across)
{
    constexpr int UNROLL = 8; /* one stream: 128 bytes in flight */
    const bn_place p = bn_place_of<W>(across);
    const int64_t begin = slice_begin(slices, (int)blockIdx.y), rows = slice_rows(slices, (int)blockIdx.y);
    float k[W], s[W] = {}, q[W] = {};
    if (p.c < channels && rows > 0) {
        const lanes<T, W> first = lanes_at<T, W>(x, begin * channels + p.c);
        lanes<T, W> v[UNROLL];
#pragma unroll
        for (int j = 0; j < W; j++) k[j] = lane_of(first, j);
        walk_rows<UNROLL, false>(
            slices, p, [&](int u, int64_t row) { v[u] = lanes_at<T, W>(x, row * channels + p.c); },
            [&](int u, int64_t) {
#pragma unroll
                for (int j = 0; j < W; j++) {
                    const float d = lane_of(v[u], j) - k[j];
                    s[j] += d;
                    q[j] += d * d;
                }
            });
    }
    const float2 sum = column_sums<W>(s, q, across);
    const int t = (int)threadIdx.x, c = (int)blockIdx.x * across * W + t; /* a thread a channel from here on */
    if (t >= across * W || c >= channels || rows == 0) return;
    const float n = (float)rows, m2 = sum.y - sum.x * sum.x / n;
    float *to = part + (int64_t)blockIdx.y * 2 * channels + c;
    to[0] = to_float(x[begin * channels + c]) + sum.x / n;
    to[channels] = m2 < 0 ? 0 : m2; /* rounding; a NaN stays one */
}

/* part (S, 2, C) as bn_moments_k leaves it; momentum is PyTorch's: the share of the new value. */
struct bn_finish {
    const float *part;
    float *mean, *rstd, *running_mean, *running_var; /* (C) each; running ones may be null */
    float eps, momentum;
    bn_slices slices;
    int channels;
};

/* What one of the BN_SHARERS threads of channel c has of its moments: every BN_SHARERS-th slice. Sums of differences from
 * the first of them, so that no load waits for the division that a merge is. */
__device__ static inline moments share_of_slices(const bn_finish &a, int c, int sharer)
{
    moments m = {0, 0, 0};
    if (c >= a.channels || sharer >= a.slices.count) return m;
    const float first = a.part[(int64_t)sharer * 2 * a.channels + c];
    float sum = 0, squares = 0;
#pragma unroll 4
    for (int s = sharer; s < a.slices.count; s += BN_SHARERS) {
        const float *p = a.part + (int64_t)s * 2 * a.channels + c;
        const float n = (float)slice_rows(a.slices, s), d = p[0] - first;
        m.count += n;
        m.m2 += p[a.channels];
        sum += n * d;
        squares += n * d * d;
    }
    const float between = squares - sum * sum / m.count;
    m.mean = first + sum / m.count;
    m.m2 += between < 0 ? 0 : between; /* rounding; a NaN stays one */
    return m;
}

/* What is left of a channel when its moments are known. The biased variance normalises, the unbiased one is kept for
 * inference (torch.nn.BatchNorm2d). */
__device__ static inline void store_statistics(const bn_finish &a, int c, const moments &m)
{
    const float var = m.m2 / m.count;
    a.mean[c] = m.mean;
    a.rstd[c] = 1 / sqrtf(var + a.eps);
    /* Not finite: one bad batch must not poison evaluation for good. */
    if (!(fabsf(m.mean) <= 3.4e38f) || !(var <= 3.4e38f)) return;
    const float unbiased = m.count > 1 ? var * m.count / (m.count - 1) : var;
    if (a.running_mean) a.running_mean[c] = (1 - a.momentum) * a.running_mean[c] + a.momentum * m.mean;
    if (a.running_var) a.running_var[c] = (1 - a.momentum) * a.running_var[c] + a.momentum * unbiased;
}

/* A block takes BN_FINISH channels; the sharers of one are merged in their order. */
HONE_KERNEL(BN_THREADS) bn_finish_k(bn_finish a)
{
    HONE_SHARED(moments, shared, BN_WARPS * BN_FINISH);
    const int t = (int)threadIdx.x, at = t % BN_FINISH, c = (int)blockIdx.x * BN_FINISH + at;
    moments m = share_of_slices(a, c, t / BN_FINISH);
    for (int d = 16; d >= BN_FINISH; d /= 2)
        m = merge(m, {__shfl_down_sync(0xffffffffu, m.count, d), __shfl_down_sync(0xffffffffu, m.mean, d),
                      __shfl_down_sync(0xffffffffu, m.m2, d)});
    if (t % 32 < BN_FINISH) shared[t / 32 * BN_FINISH + at] = m;
    __syncthreads();
    if (t >= BN_FINISH || c >= a.channels) return;
    for (int w = 1; w < BN_WARPS; w++) m = merge(m, shared[w * BN_FINISH + at]);
    store_statistics(a, c, m);
}

/* Pointers of the forward map. `rstd` is 1/sqrt(var + eps), or the variance itself where eps >= 0 (inference). */
template <typename T> struct bn_apply {
    const T *x, *r; /* (R, C); r: the residual, where the kernel has one */
    T *y;           /* (R, C) */
    uint8_t *open;  /* (R, C / 8): bits of y > 0, or null; with W = 8 alone */
    const float *gamma, *beta, *mean, *rstd;
    bn_slices slices;
    int channels, across;
    float least, most; /* what the activation cuts off: 0 and infinity for ReLU, 0 and 6 for ReLU6 */
    float eps;
};

/* y = tail(norm of x), tail: nothing, ReLU, ReLU6, or + r then ReLU. NaN passes. Grid (columns, slices). */
template <typename T, int W, bool RESIDUAL> HONE_KERNEL_BLOCKS(BN_THREADS, BN_RESIDENT) bn_apply_k(bn_apply<T> a)
{
    constexpr int UNROLL = RESIDUAL ? 4 : 8; /* about 96 bytes in flight */
    const bn_place p = bn_place_of<W>(a.across);
    if (p.c >= a.channels) return;
    const floats<W> rstd = floats_at<W>(a.rstd, p.c), gamma = floats_at<W>(a.gamma, p.c);
    const floats<W> mean = floats_at<W>(a.mean, p.c), beta = floats_at<W>(a.beta, p.c);
    float scale[W];
#pragma unroll
    for (int j = 0; j < W; j++) scale[j] = (a.eps >= 0 ? 1 / sqrtf(rstd.v[j] + a.eps) : rstd.v[j]) * gamma.v[j];
    lanes<T, W> x[UNROLL], r[UNROLL];
    const auto load = [&](int u, int64_t row) {
        x[u] = lanes_once<T, W>(a.x, row * a.channels + p.c);
        if constexpr (RESIDUAL) r[u] = lanes_once<T, W>(a.r, row * a.channels + p.c);
    };
    walk_rows<UNROLL, true>(a.slices, p, load, [&](int u, int64_t row) {
        const int64_t i = row * a.channels + p.c;
        float y[W];
#pragma unroll
        for (int j = 0; j < W; j++) {
            float v = bn_value(lane_of(x[u], j), mean.v[j], scale[j], beta.v[j]);
            if constexpr (RESIDUAL) v += lane_of(r[u], j);
            y[j] = v < a.least ? a.least : v > a.most ? a.most : v;
        }
        const lanes<T, W> stored = lanes_of<T, W>(y);
        unsigned bits = 0;
#pragma unroll
        for (int j = 0; j < W; j++) bits |= (unsigned)(lane_of(stored, j) > 0) << j;
        put_lanes(a.y, i, stored);
        if (W == 8 && a.open) a.open[i / 8] = (uint8_t)bits;
    });
}

/* Bits of y > 0 where no thread has the eight channels of a byte: a pass of its own. open (R, (C + 7) / 8) */
template <typename T> HONE_KERNEL(MAP_THREADS) bn_bits_k(const T *y, uint8_t *open, int64_t rows, int channels)
{
    const int64_t bytes = (channels + 7) / 8, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < rows * bytes; k += step) {
        const int64_t row = k / bytes, first = k % bytes * 8;
        unsigned bits = 0;
        for (int j = 0; j < 8 && first + j < channels; j++)
            bits |= (unsigned)(to_float(y[row * channels + first + j]) > 0) << j;
        open[k] = (uint8_t)bits;
    }
}

/* The map alone; eps < 0: rstd is what it says. r (R, C) and open (R, (C + 7) / 8) may be null. */
static void launch_apply(hone_backend *b, const hone_launch *l, const bn_shape &s, const float *mean, const float *rstd,
                         bn_tail tail, const void *r, uint8_t *open, float eps)
{
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        bn_apply<T> a = {(const T *)l->in[0],
                         (const T *)r,
                         (T *)l->out[0],
                         W == 8 ? open : nullptr,
                         (const float *)l->in[1],
                         (const float *)l->in[2],
                         mean,
                         rstd,
                         s.slices,
                         s.channels,
                         s.across,
                         tail == BN_PLAIN ? -INFINITY : 0,
                         tail == BN_RELU6 ? 6 : INFINITY,
                         eps};
        if (r) HONE_LAUNCH(b, (bn_apply_k<T, W, true>), bn_grid(s), BN_THREADS, 0, a);
        else HONE_LAUNCH(b, (bn_apply_k<T, W, false>), bn_grid(s), BN_THREADS, 0, a);
        if constexpr (W != 8) { /* eight elements a thread have written their byte already */
            if (!open) return;
            HONE_LAUNCH(b, bn_bits_k<T>, map_blocks(s.rows * ((s.channels + 7) / 8)), MAP_THREADS, 0,
                        (const T *)l->out[0], open, s.rows, s.channels);
        }
    });
}

/* Three launches: moments, statistics of a channel, the map. r (R, C), the residual, and open, the bits that are asked
 * for, may be null. */
static void bn_forward(hone_backend *b, const hone_launch *l, bn_tail tail, const void *r, void *open)
{
    const bn_shape s = bn_shape_of(l->in_desc[0]);
    float *part = (float *)l->work,
          *spare = part + (size_t)s.slices.count * 2 * (size_t)s.channels; /* nobody asked for them */
    float *mean = l->out[1] ? (float *)l->out[1] : spare, *rstd = l->out[2] ? (float *)l->out[2] : spare + s.channels;
    bn_finish f = {part,
                   mean,
                   rstd,
                   (float *)l->in[3],
                   (float *)l->in[4],
                   l->node->attr.norm.eps,
                   l->node->attr.norm.momentum,
                   s.slices,
                   s.channels};
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        HONE_LAUNCH(b, (bn_moments_k<T, W>), bn_grid(s), BN_THREADS, 0, (const T *)l->in[0], part, s.slices, s.channels,
                    s.across);
    });
    HONE_LAUNCH(b, bn_finish_k, bn_finish_blocks(s.channels), BN_THREADS, 0, f);
    launch_apply(b, l, s, mean, rstd, tail, r, (uint8_t *)open, -1.0f);
}

/* Running statistics are constants here; in[4] is a variance, which eps >= 0 tells the kernel. */
static void bn_infer(hone_backend *b, const hone_launch *l, bn_tail tail, const void *r)
{
    launch_apply(b, l, bn_shape_of(l->in_desc[0]), (const float *)l->in[3], (const float *)l->in[4], tail, r, nullptr,
                 l->node->attr.norm.eps);
}

extern "C" {
/* Scratch of forward and of backward (batchnorm_dx.cu), one size: 2 S C of slices and 2 C of channels. */
hone_status cuda_batchnorm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const bn_shape s = bn_shape_of(&g->tensor[n->in[0]]);
    n->work_bytes = ((size_t)s.slices.count * 2 + 2) * (size_t)s.channels * sizeof(float);
    return HONE_OK;
}

void cuda_batchnorm(hone_backend *b, const hone_launch *l) { bn_forward(b, l, BN_PLAIN, nullptr, nullptr); }
void cuda_batchnorm_relu(hone_backend *b, const hone_launch *l) { bn_forward(b, l, BN_RELU, nullptr, nullptr); }
void cuda_batchnorm_relu6(hone_backend *b, const hone_launch *l) { bn_forward(b, l, BN_RELU6, nullptr, nullptr); }
void cuda_batchnorm_add_relu(hone_backend *b, const hone_launch *l) { bn_forward(b, l, BN_RELU, l->in[5], l->out[3]); }
void cuda_batchnorm_infer(hone_backend *b, const hone_launch *l) { bn_infer(b, l, BN_PLAIN, nullptr); }
void cuda_batchnorm_infer_relu(hone_backend *b, const hone_launch *l) { bn_infer(b, l, BN_RELU, nullptr); }
void cuda_batchnorm_infer_relu6(hone_backend *b, const hone_launch *l) { bn_infer(b, l, BN_RELU6, nullptr); }
void cuda_batchnorm_infer_add_relu(hone_backend *b, const hone_launch *l) { bn_infer(b, l, BN_RELU, l->in[5]); }
}
