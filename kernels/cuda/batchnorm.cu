/* batchnorm.cu - batch normalisation over all axes but the last, with ReLU and residual where fused.
 *
 * x, y, r, dx, dy, dr (R, C); gamma, beta, mean, rstd, running (C). A thread keeps W neighbouring channels (16
 * bytes where C allows it) and walks down the rows, so that what belongs to a channel stays in registers and a warp
 * reads whole lines. Statistics are float sums of differences from the first row of a slice of rows, so that a large
 * mean cancels nothing; slices are merged by Chan's formula in a fixed order: two runs give the same bits. Ioffe &
 * Szegedy, 2015; Chan, Golub & LeVeque, 1979. */
#include "reduce.cuh"
#include "launch.cuh"

typedef enum bn_tail { BN_PLAIN, BN_RELU, BN_RELU6 } bn_tail; /* the activation behind a norm */

static const int BN_THREADS = 256, BN_SLICES_MOST = 512, WARPS = 8;

/* How threads lie over a matrix (R, C): `across` of them along groups of W channels, the rest of a block along rows.
 * A function of the shape and the storage type alone: the same bits on every device. */
struct bn_shape {
    int64_t rows;
    int channels, width, across, columns, slices; /* columns: blocks along the channels */
};

static bn_shape bn_shape_of(const hone_tensor *x)
{
    bn_shape s;
    s.channels = (int)x->dim[x->rank - 1];
    s.rows = s.channels ? hone_tensor_count(x) / s.channels : 0;
    const int wide = 16 / (int)hone_dtype_bytes(x->dtype);
    s.width = s.channels % wide == 0 ? wide : 1;
    const int groups = s.channels / s.width;
    for (s.across = 1; s.across < groups && s.across < 32;) s.across *= 2;
    s.columns = (groups + s.across - 1) / s.across;
    /* four blocks on each of 132 multiprocessors, but at least four rows a thread: merging must stay small */
    int64_t wanted = (4 * 132 + s.columns - 1) / s.columns, most = s.rows * s.across / (4 * BN_THREADS);
    int64_t slices = wanted < most ? wanted : most;
    s.slices = (int)(slices < 1 ? 1 : slices > BN_SLICES_MOST ? BN_SLICES_MOST : slices);
    return s;
}

/* Calls f with null pointers of the storage type and of int[W], W the channels a thread takes at once. */
template <typename F> static void with_width(const hone_tensor *x, const bn_shape &s, F f)
{
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (s.width == 1) f(type, (int(*)[1]) nullptr);
        else f(type, (int(*)[pack<T>::size]) nullptr);
    });
}

/* W neighbours of a row: one access. */
template <typename T, int W> struct alignas(sizeof(T) * W) lanes {
    T v[W];
};
template <typename T, int W> __device__ static inline lanes<T, W> lanes_at(const T *p, int64_t i)
{
    return *(const lanes<T, W> *)(p + i);
}

/* Where a thread stands: its first channel, its place along the rows of its block. */
struct bn_place {
    int c, down, step; /* c >= channels: nothing to do but the barriers */
};
template <int W> __device__ static inline bn_place bn_place_of(int across)
{
    const int t = (int)threadIdx.x;
    return {((int)blockIdx.x * across + t % across) * W, t / across, (int)blockDim.x / across};
}

/* Slice s of the rows: [s rows / S, (s+1) rows / S). */
__device__ static inline int64_t slice_begin(int64_t rows, int slices, int s) { return rows * s / slices; }

/* Adds the pairs of all threads of a block that have the same channels, by a tree; those with down 0 get the sums.
 * shared: BN_THREADS pairs. May be called again at once: after the last barrier a thread touches its own place only. */
__device__ static inline float2 column_reduce(float2 v, float2 *shared, const bn_place &p, int across)
{
    const int t = (int)threadIdx.x;
    shared[t] = v;
    __syncthreads();
    for (int half = p.step / 2; half > 0; half /= 2) { /* p.step is a power of two */
        if (p.down < half) {
            shared[t].x += shared[t + half * across].x;
            shared[t].y += shared[t + half * across].y;
        }
        __syncthreads();
    }
    return shared[t];
}

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

/* part (S, 3, C): count, mean, m2 of each slice and channel; grid (columns, slices). With k the first row of the
 * slice, s = sum (x - k) and q = sum (x - k)^2:  mean = k + s/n, m2 = q - s^2/n. */
template <typename T, int W>
HONE_KERNEL(BN_THREADS)
bn_moments_k(const T *x, float *part, int64_t rows, int channels, int across)
{
    HONE_SHARED(float2, shared, BN_THREADS);
    const bn_place p = bn_place_of<W>(across);
    const int slices = (int)gridDim.y, slice = (int)blockIdx.y;
    const int64_t begin = slice_begin(rows, slices, slice), end = slice_begin(rows, slices, slice + 1);
    const bool mine = p.c < channels && begin < end;
    float k[W], s[W] = {}, q[W] = {};
    if (mine) {
        const lanes<T, W> first = lanes_at<T, W>(x, begin * channels + p.c);
#pragma unroll
        for (int j = 0; j < W; j++) k[j] = to_float(first.v[j]);
        for (int64_t r = begin + p.down; r < end; r += p.step) {
            const lanes<T, W> v = lanes_at<T, W>(x, r * channels + p.c);
#pragma unroll
            for (int j = 0; j < W; j++) {
                const float d = to_float(v.v[j]) - k[j];
                s[j] += d;
                q[j] += d * d;
            }
        }
    }
    const float n = (float)(end - begin);
#pragma unroll
    for (int j = 0; j < W; j++) {
        const float2 sum = column_reduce(make_float2(s[j], q[j]), shared, p, across);
        if (!mine || p.down != 0) continue;
        float *to = part + (int64_t)slice * 3 * channels + p.c + j;
        const float m2 = sum.y - sum.x * sum.x / n;
        to[0] = n;
        to[channels] = k[j] + sum.x / n;
        to[2 * channels] = m2 < 0 ? 0 : m2; /* rounding; a NaN stays one */
    }
}

/* part (S, 3, C) as bn_moments_k leaves it; momentum is PyTorch's: the share of the new value. */
struct bn_finish {
    const float *part;
    float *mean, *rstd, *running_mean, *running_var; /* (C) each; running ones may be null */
    float eps, momentum;
    int slices, channels;
};

/* A warp a channel. The biased variance normalises, the unbiased one is kept for inference (torch.nn.BatchNorm2d). */
HONE_KERNEL(WARPS * 32) bn_finish_k(bn_finish a)
{
    const int c = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x & 31;
    moments m = {0, 0, 0};
    for (int s = lane; c < a.channels && s < a.slices; s += 32) {
        const float *p = a.part + (int64_t)s * 3 * a.channels + c;
        m = merge(m, {p[0], p[a.channels], p[2 * a.channels]});
    }
    for (int d = 16; d > 0; d /= 2)
        m = merge(m, {__shfl_down_sync(0xffffffffu, m.count, d), __shfl_down_sync(0xffffffffu, m.mean, d),
                      __shfl_down_sync(0xffffffffu, m.m2, d)});
    if (lane != 0 || c >= a.channels) return;
    const float var = m.m2 / m.count;
    a.mean[c] = m.mean;
    a.rstd[c] = 1 / sqrtf(var + a.eps);
    /* Not finite: one bad batch must not poison evaluation for good. */
    if (!(fabsf(m.mean) <= 3.4e38f) || !(var <= 3.4e38f)) return;
    const float unbiased = m.count > 1 ? var * m.count / (m.count - 1) : var;
    if (a.running_mean) a.running_mean[c] = (1 - a.momentum) * a.running_mean[c] + a.momentum * m.mean;
    if (a.running_var) a.running_var[c] = (1 - a.momentum) * a.running_var[c] + a.momentum * unbiased;
}

/* The norm of one value, scale = gamma rstd. Forward and backward call this one, so that the gate which the backward
 * makes again from x is the forward's to the bit. */
__device__ static inline float bn_value(float x, float mean, float scale, float beta)
{
    return fmaf(x - mean, scale, beta);
}

/* Pointers of the forward map. `rstd` is 1/sqrt(var + eps), or the variance itself where eps >= 0 (inference). */
template <typename T> struct bn_apply {
    const T *x, *r; /* (R, C); r: the residual, or null */
    T *y;           /* (R, C) */
    uint8_t *open;  /* (R, C / 8): bits of y > 0, or null; with W = 8 alone */
    const float *gamma, *beta, *mean, *rstd;
    int64_t rows;
    int channels, across;
    float least, most; /* what the activation cuts off: 0 and infinity for ReLU, 0 and 6 for ReLU6 */
    float eps;
};

/* y = tail(norm of x), tail: nothing, ReLU, ReLU6, or + r then ReLU. NaN passes. */
template <typename T, int W> HONE_KERNEL(BN_THREADS) bn_apply_k(bn_apply<T> a)
{
    const bn_place p = bn_place_of<W>(a.across);
    if (p.c >= a.channels) return;
    float scale[W], beta[W], mean[W];
#pragma unroll
    for (int j = 0; j < W; j++) {
        const float s = a.rstd[p.c + j];
        scale[j] = (a.eps >= 0 ? 1 / sqrtf(s + a.eps) : s) * a.gamma[p.c + j];
        beta[j] = a.beta[p.c + j];
        mean[j] = a.mean[p.c + j];
    }
    for (int64_t row = (int64_t)blockIdx.y * p.step + p.down; row < a.rows; row += (int64_t)gridDim.y * p.step) {
        const int64_t i = row * a.channels + p.c;
        const lanes<T, W> x = lanes_at<T, W>(a.x, i), r = a.r ? lanes_at<T, W>(a.r, i) : x;
        lanes<T, W> y;
        unsigned bits = 0;
#pragma unroll
        for (int j = 0; j < W; j++) {
            float v = bn_value(to_float(x.v[j]), mean[j], scale[j], beta[j]);
            if (a.r) v += to_float(r.v[j]);
            y.v[j] = from_float<T>(v < a.least ? a.least : v > a.most ? a.most : v);
            bits |= (unsigned)(to_float(y.v[j]) > 0) << j;
        }
        *(lanes<T, W> *)(a.y + i) = y;
        if (W == 8 && a.open) a.open[i / 8] = (uint8_t)bits;
    }
}

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
    int64_t rows;
    int channels, across;
    bn_gate gate;
    float most; /* the gate is shut from this value on: 6, or NaN, which nothing reaches */
};

/* One channel's constants; zero past the last one. */
struct bn_channel {
    float mean, rstd, scale, beta; /* scale: gamma rstd; beta: where the gate needs it */
};
template <typename T> __device__ static inline bn_channel bn_channel_at(const bn_back<T> &a, int c)
{
    if (c >= a.channels) return {0, 0, 0, 0};
    const float rstd = a.rstd[c];
    return {a.mean[c], rstd, rstd * a.gamma[c], a.gate == BN_BY_X ? a.beta[c] : 0};
}

/* W neighbours of what a gradient comes through. */
template <typename T, int W> struct bn_group {
    lanes<T, W> x, y, dy, dy2;
    unsigned bits; /* the lowest is that of the first */
};
template <typename T, int W>
__device__ static inline bn_group<T, W> bn_group_at(const bn_back<T> &a, int64_t row, int c)
{
    const int64_t i = row * a.channels + c;
    const lanes<T, W> x = lanes_at<T, W>(a.x, i);
    const int64_t byte = row * ((a.channels + 7) / 8) + c / 8;
    return {x, a.gate == BN_BY_Y ? lanes_at<T, W>(a.y, i) : x, lanes_at<T, W>(a.dy, i),
            a.dy2 ? lanes_at<T, W>(a.dy2, i) : x, a.gate == BN_BY_BITS ? (unsigned)a.open[byte] >> c % 8 : 0};
}

/* What passes the gate at neighbour j: a choice, so that dy does no harm where a unit is off, whatever it is. */
template <typename T, int W>
__device__ static inline float gated(const bn_back<T> &a, const bn_group<T, W> &v, const bn_channel &k, int j)
{
    const float g = a.dy2 ? to_float(v.dy.v[j]) + to_float(v.dy2.v[j]) : to_float(v.dy.v[j]);
    const float at = a.gate == BN_BY_Y      ? to_float(v.y.v[j])
                     : a.gate == BN_BY_BITS ? (float)(v.bits >> j & 1)
                                            : bn_value(to_float(v.x.v[j]), k.mean, k.scale, k.beta);
    return a.gate == BN_OPEN || (at > 0 && !(at >= a.most)) ? g : 0;
}

/* dr (R, C), where it is wanted, is written here, and the second pass reads it in place of dy, dy2 and y.
 * part (S, 2, C): sum g and sum g xhat of each slice; grid (columns, slices) */
template <typename T, int W> HONE_KERNEL(BN_THREADS) bn_dx_sums_k(bn_back<T> a, float *part)
{
    HONE_SHARED(float2, shared, BN_THREADS);
    const bn_place p = bn_place_of<W>(a.across);
    const int slices = (int)gridDim.y, slice = (int)blockIdx.y;
    const int64_t begin = slice_begin(a.rows, slices, slice), end = slice_begin(a.rows, slices, slice + 1);
    const bool mine = p.c < a.channels;
    float sum[W] = {}, sum_xhat[W] = {};
    bn_channel k[W];
#pragma unroll
    for (int j = 0; j < W; j++) k[j] = bn_channel_at(a, p.c + j);
    for (int64_t r = begin + p.down; mine && r < end; r += p.step) {
        const int64_t i = r * a.channels + p.c;
        const bn_group<T, W> v = bn_group_at<T, W>(a, r, p.c);
        lanes<T, W> dr;
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float g = gated(a, v, k[j], j);
            sum[j] += g;
            sum_xhat[j] += g * ((to_float(v.x.v[j]) - k[j].mean) * k[j].rstd);
            dr.v[j] = from_float<T>(g);
        }
        if (a.dr) *(lanes<T, W> *)(a.dr + i) = dr;
    }
#pragma unroll
    for (int j = 0; j < W; j++) {
        const float2 both = column_reduce(make_float2(sum[j], sum_xhat[j]), shared, p, a.across);
        if (!mine || p.down != 0) continue;
        float *to = part + (int64_t)slice * 2 * a.channels + p.c + j;
        to[0] = both.x;
        to[a.channels] = both.y;
    }
}

/* A warp a channel adds the slices into total (2, C) and into the parameters' gradients. */
HONE_KERNEL(WARPS * 32)
bn_dx_finish_k(const float *part, float *total, float *dgamma, float *dbeta, int slices, int channels, int accumulate)
{
    const int c = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x & 31;
    float sum = 0, sum_xhat = 0;
    for (int s = lane; c < channels && s < slices; s += 32) {
        sum += part[((int64_t)s * 2 + 0) * channels + c];
        sum_xhat += part[((int64_t)s * 2 + 1) * channels + c];
    }
    sum = warp_reduce<sum_op>(sum);
    sum_xhat = warp_reduce<sum_op>(sum_xhat);
    if (lane != 0 || c >= channels) return;
    total[c] = sum;
    total[channels + c] = sum_xhat;
    if (dgamma) dgamma[c] = accumulate ? dgamma[c] + sum_xhat : sum_xhat;
    if (dbeta) dbeta[c] = accumulate ? dbeta[c] + sum : sum;
}

/* dx = gamma rstd (g - sum/R - xhat sum_xhat/R); total (2, C). dx may lie over dy: each element is read before. */
template <typename T, int W> HONE_KERNEL(BN_THREADS) bn_dx_k(bn_back<T> a, const float *total)
{
    const bn_place p = bn_place_of<W>(a.across);
    if (p.c >= a.channels) return;
    float sum[W], slope[W]; /* sum/R, and rstd sum_xhat/R */
    bn_channel k[W];
#pragma unroll
    for (int j = 0; j < W; j++) {
        k[j] = bn_channel_at(a, p.c + j);
        sum[j] = total[p.c + j] / (float)a.rows;
        slope[j] = k[j].rstd * (total[a.channels + p.c + j] / (float)a.rows);
    }
    for (int64_t row = (int64_t)blockIdx.y * p.step + p.down; row < a.rows; row += (int64_t)gridDim.y * p.step) {
        const int64_t i = row * a.channels + p.c;
        const bn_group<T, W> v = bn_group_at<T, W>(a, row, p.c);
        lanes<T, W> dx;
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float g = gated(a, v, k[j], j);
            dx.v[j] = from_float<T>(k[j].scale * (g - sum[j] - (to_float(v.x.v[j]) - k[j].mean) * slope[j]));
        }
        *(lanes<T, W> *)(a.dx + i) = dx;
    }
}

/* Grid of the maps: as many blocks along the rows as fill the chip; loops take the rest. */
static dim3 bn_map_grid(const bn_shape &s)
{
    const int64_t a_block = BN_THREADS / s.across, wanted = (s.rows + a_block - 1) / a_block;
    const int64_t most = HONE_FILL_BLOCKS / s.columns;
    const int64_t down = wanted < most ? wanted : most;
    return dim3((unsigned)s.columns, (unsigned)(down < 1 ? 1 : down));
}
static unsigned bn_warp_blocks(int channels) { return (unsigned)((channels + WARPS - 1) / WARPS); }

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
                         s.rows,
                         s.channels,
                         s.across,
                         tail == BN_PLAIN ? -INFINITY : 0,
                         tail == BN_RELU6 ? 6 : INFINITY,
                         eps};
        HONE_LAUNCH(b, (bn_apply_k<T, W>), bn_map_grid(s), BN_THREADS, 0, a);
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
          *spare = part + (size_t)s.slices * 3 * (size_t)s.channels; /* nobody asked for them */
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
        HONE_LAUNCH(b, (bn_moments_k<T, W>), dim3((unsigned)s.columns, (unsigned)s.slices), BN_THREADS, 0,
                    (const T *)l->in[0], part, s.rows, s.channels, s.across);
    });
    HONE_LAUNCH(b, bn_finish_k, bn_warp_blocks(s.channels), WARPS * 32, 0, f);
    launch_apply(b, l, s, mean, rstd, tail, r, (uint8_t *)open, -1.0f);
}

/* Running statistics are constants here; in[4] is a variance, which eps >= 0 tells the kernel. */
static void bn_infer(hone_backend *b, const hone_launch *l, bn_tail tail, const void *r)
{
    launch_apply(b, l, bn_shape_of(l->in_desc[0]), (const float *)l->in[3], (const float *)l->in[4], tail, r, nullptr,
                 l->node->attr.norm.eps);
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
    a.rows = s.rows;
    a.channels = s.channels;
    a.across = s.across;
    a.gate = gate;
    a.most = tail == BN_RELU6 ? 6 : NAN;
    return a;
}

/* Three launches: sums of slices, their sum, and the map where dx is wanted. */
static void bn_backward(hone_backend *b, const hone_launch *l, bn_gate gate, bn_tail tail)
{
    const bn_shape s = bn_shape_of(l->in_desc[0]);
    float *part = (float *)l->work, *total = part + (size_t)s.slices * 2 * (size_t)s.channels;
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        bn_back<T> a = bn_back_of<T>(l, s, gate, tail);
        HONE_LAUNCH(b, (bn_dx_sums_k<T, W>), dim3((unsigned)s.columns, (unsigned)s.slices), BN_THREADS, 0, a, part);
        HONE_LAUNCH(b, bn_dx_finish_k, bn_warp_blocks(s.channels), WARPS * 32, 0, (const float *)part, total,
                    (float *)l->out[1], (float *)l->out[2], s.slices, s.channels, l->node->accumulate);
        if (a.dr) { /* gated and joined already */
            a.dy = a.dr;
            a.dy2 = nullptr;
            a.gate = BN_OPEN;
        }
        if (a.dx) HONE_LAUNCH(b, (bn_dx_k<T, W>), bn_map_grid(s), BN_THREADS, 0, a, (const float *)total);
    });
}

extern "C" {
/* Scratch of forward (3 S C and 2 C) and backward (2 S C and 2 C), one size for both. */
hone_status cuda_batchnorm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const bn_shape s = bn_shape_of(&g->tensor[n->in[0]]);
    n->work_bytes = ((size_t)s.slices * 3 + 2) * (size_t)s.channels * sizeof(float);
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
void cuda_batchnorm_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_OPEN, BN_PLAIN); }
void cuda_batchnorm_relu_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_BY_X, BN_RELU); }
void cuda_batchnorm_relu6_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, BN_BY_X, BN_RELU6); }
void cuda_batchnorm_add_relu_dx(hone_backend *b, const hone_launch *l)
{
    bn_backward(b, l, l->in[7] ? BN_BY_BITS : BN_BY_Y, BN_RELU);
}
}
