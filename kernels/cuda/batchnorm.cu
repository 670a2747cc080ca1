/* batchnorm.cu - batch normalisation over all axes but the last, with ReLU and residual where fused.
 *
 * x, y, r, dx, dy, dr (R, C); gamma, beta, mean, rstd, running (C). A thread keeps W neighbouring channels (16
 * bytes where C allows it) and walks down the rows, so that what belongs to a channel stays in registers and a warp
 * reads whole lines. Statistics are float sums of differences from the first row of a slice of rows, so that a large
 * mean cancels nothing; slices are merged by Chan's formula in a fixed order: two runs give the same bits. Ioffe &
 * Szegedy, 2015; Chan, Golub & LeVeque, 1979. */
#include "reduce.cuh"
#include "launch.cuh"

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

/* Pointers of the forward map. `rstd` is 1/sqrt(var + eps), or the variance itself where eps >= 0 (inference). */
template <typename T> struct bn_apply {
    const T *x, *r; /* (R, C); r: the residual, or null */
    T *y;           /* (R, C) */
    const float *gamma, *beta, *mean, *rstd;
    int64_t rows;
    int channels, across, relu;
    float eps;
};

/* y = tail((x - mean) scale + beta), tail: nothing, ReLU, or + r then ReLU; scale = gamma rstd */
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
#pragma unroll
        for (int j = 0; j < W; j++) {
            float v = (to_float(x.v[j]) - mean[j]) * scale[j] + beta[j];
            if (a.r) v += to_float(r.v[j]);
            y.v[j] = from_float<T>(a.relu && v < 0 ? 0 : v);
        }
        *(lanes<T, W> *)(a.y + i) = y;
    }
}

/* Pointers of the backward: y gates dy where a ReLU follows, null without one. */
template <typename T> struct bn_back {
    const T *x, *y, *dy;              /* (R, C) */
    const float *gamma, *mean, *rstd; /* (C) */
    T *dx, *dr;                       /* (R, C); either may be null; dr: gradient of the residual */
    int64_t rows;
    int channels, across;
};

/* part (S, 2, C): sum dy and sum dy xhat of each slice; grid (columns, slices) */
template <typename T, int W> HONE_KERNEL(BN_THREADS) bn_dx_sums_k(bn_back<T> a, float *part)
{
    HONE_SHARED(float2, shared, BN_THREADS);
    const bn_place p = bn_place_of<W>(a.across);
    const int slices = (int)gridDim.y, slice = (int)blockIdx.y;
    const int64_t begin = slice_begin(a.rows, slices, slice), end = slice_begin(a.rows, slices, slice + 1);
    const bool mine = p.c < a.channels;
    float sum[W] = {}, sum_xhat[W] = {}, mean[W], rstd[W];
#pragma unroll
    for (int j = 0; j < W; j++) {
        mean[j] = mine ? a.mean[p.c + j] : 0;
        rstd[j] = mine ? a.rstd[p.c + j] : 0;
    }
    for (int64_t r = begin + p.down; mine && r < end; r += p.step) {
        const int64_t i = r * a.channels + p.c;
        const lanes<T, W> x = lanes_at<T, W>(a.x, i), dy = lanes_at<T, W>(a.dy, i);
        const lanes<T, W> y = a.y ? lanes_at<T, W>(a.y, i) : x;
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float g = !a.y || to_float(y.v[j]) > 0 ? to_float(dy.v[j]) : 0;
            sum[j] += g;
            sum_xhat[j] += g * ((to_float(x.v[j]) - mean[j]) * rstd[j]);
        }
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

/* dx = gamma rstd (g - sum/R - xhat sum_xhat/R), dr = g; total (2, C) */
template <typename T, int W> HONE_KERNEL(BN_THREADS) bn_dx_k(bn_back<T> a, const float *total)
{
    const bn_place p = bn_place_of<W>(a.across);
    if (p.c >= a.channels) return;
    float mean[W], rstd[W], scale[W], sum[W], sum_xhat[W];
#pragma unroll
    for (int j = 0; j < W; j++) {
        mean[j] = a.mean[p.c + j];
        rstd[j] = a.rstd[p.c + j];
        scale[j] = a.gamma[p.c + j] * rstd[j];
        sum[j] = total[p.c + j] / (float)a.rows;
        sum_xhat[j] = total[a.channels + p.c + j] / (float)a.rows;
    }
    for (int64_t row = (int64_t)blockIdx.y * p.step + p.down; row < a.rows; row += (int64_t)gridDim.y * p.step) {
        const int64_t i = row * a.channels + p.c;
        const lanes<T, W> x = lanes_at<T, W>(a.x, i), dy = lanes_at<T, W>(a.dy, i);
        const lanes<T, W> y = a.y ? lanes_at<T, W>(a.y, i) : x;
        lanes<T, W> dx, dr;
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float g = !a.y || to_float(y.v[j]) > 0 ? to_float(dy.v[j]) : 0;
            const float xhat = (to_float(x.v[j]) - mean[j]) * rstd[j];
            dx.v[j] = from_float<T>(scale[j] * (g - sum[j] - xhat * sum_xhat[j]));
            dr.v[j] = from_float<T>(g);
        }
        if (a.dx) *(lanes<T, W> *)(a.dx + i) = dx;
        if (a.dr) *(lanes<T, W> *)(a.dr + i) = dr;
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

/* The map alone; eps < 0: rstd is what it says. */
static void launch_apply(hone_backend *b, const hone_launch *l, const bn_shape &s, const float *mean, const float *rstd,
                         int relu, const void *r, float eps)
{
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        bn_apply<T> a = {(const T *)l->in[0],
                         (const T *)r,
                         (T *)l->out[0],
                         (const float *)l->in[1],
                         (const float *)l->in[2],
                         mean,
                         rstd,
                         s.rows,
                         s.channels,
                         s.across,
                         relu,
                         eps};
        HONE_LAUNCH(b, (bn_apply_k<T, W>), bn_map_grid(s), BN_THREADS, 0, a);
    });
}

/* Three launches: moments, statistics of a channel, the map. r (R, C) is the residual, or null. */
static void bn_forward(hone_backend *b, const hone_launch *l, int relu, const void *r)
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
    launch_apply(b, l, s, mean, rstd, relu, r, -1.0f);
}

/* Running statistics are constants here; in[4] is a variance, which eps >= 0 tells the kernel. */
static void bn_infer(hone_backend *b, const hone_launch *l, int relu, const void *r)
{
    launch_apply(b, l, bn_shape_of(l->in_desc[0]), (const float *)l->in[3], (const float *)l->in[4], relu, r,
                 l->node->attr.norm.eps);
}

/* y (R, C): output of the fused ReLU, null without one; dr (R, C): gradient of the residual, or null. */
static void bn_backward(hone_backend *b, const hone_launch *l, const void *y, const void *dy, void *dr)
{
    const bn_shape s = bn_shape_of(l->in_desc[0]);
    float *part = (float *)l->work, *total = part + (size_t)s.slices * 2 * (size_t)s.channels;
    with_width(l->in_desc[0], s, [&](auto *type, auto *width) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int);
        bn_back<T> a = {(const T *)l->in[0],
                        (const T *)y,
                        (const T *)dy,
                        (const float *)l->in[1],
                        (const float *)l->in[2],
                        (const float *)l->in[3],
                        (T *)l->out[0],
                        (T *)dr,
                        s.rows,
                        s.channels,
                        s.across};
        HONE_LAUNCH(b, (bn_dx_sums_k<T, W>), dim3((unsigned)s.columns, (unsigned)s.slices), BN_THREADS, 0, a, part);
        HONE_LAUNCH(b, bn_dx_finish_k, bn_warp_blocks(s.channels), WARPS * 32, 0, (const float *)part, total,
                    (float *)l->out[1], (float *)l->out[2], s.slices, s.channels, l->node->accumulate);
        if (a.dx || a.dr) HONE_LAUNCH(b, (bn_dx_k<T, W>), bn_map_grid(s), BN_THREADS, 0, a, (const float *)total);
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

void cuda_batchnorm(hone_backend *b, const hone_launch *l) { bn_forward(b, l, 0, nullptr); }
void cuda_batchnorm_relu(hone_backend *b, const hone_launch *l) { bn_forward(b, l, 1, nullptr); }
void cuda_batchnorm_add_relu(hone_backend *b, const hone_launch *l) { bn_forward(b, l, 1, l->in[5]); }
void cuda_batchnorm_infer(hone_backend *b, const hone_launch *l) { bn_infer(b, l, 0, nullptr); }
void cuda_batchnorm_infer_relu(hone_backend *b, const hone_launch *l) { bn_infer(b, l, 1, nullptr); }
void cuda_batchnorm_infer_add_relu(hone_backend *b, const hone_launch *l) { bn_infer(b, l, 1, l->in[5]); }
void cuda_batchnorm_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, nullptr, l->in[4], nullptr); }
void cuda_batchnorm_relu_dx(hone_backend *b, const hone_launch *l) { bn_backward(b, l, l->in[4], l->in[5], nullptr); }
void cuda_batchnorm_add_relu_dx(hone_backend *b, const hone_launch *l)
{
    bn_backward(b, l, l->in[4], l->in[5], l->out[3]);
}
}
