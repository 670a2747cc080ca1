/* batchnorm.cu - batch normalisation over all axes but the last, with ReLU and residual where fused.
 *
 * x, y, r, dx, dy, dr (R, C); gamma, beta, mean, rstd, running (C). Statistics in float by slices of rows:
 * a block takes 32 channels and one slice, lanes lie along the channels (reads are whole lines), warps
 * along the rows. Slices are merged in order by Chan's formula, so that a large mean cancels nothing and
 * two runs give the same bits. Ioffe & Szegedy, 2015; Chan, Golub & LeVeque, 1979. */
#include "reduce.cuh"
#include "launch.cuh"

static const int BN_WARPS = 8, BN_SLICES_MOST = 64;

/* Two blocks a multiprocessor of the largest chip (132), but at least 64 rows a slice, so that merging
 * stays small beside reading. A function of the shape alone: the same bits on every device. */
static int bn_slices(int64_t rows, int channels)
{
    int64_t tiles = (channels + 31) / 32, wanted = (2 * 132 + tiles - 1) / tiles, most = (rows + 63) / 64;
    int64_t slices = wanted < most ? wanted : most;
    return (int)(slices < 1 ? 1 : slices > BN_SLICES_MOST ? BN_SLICES_MOST : slices);
}

struct moments {
    float count, mean, m2;
}; /* m2: sum of squared distances from the mean */

/* Counts of 0 are fine: a warp without rows changes nothing. */
__device__ static inline moments merge(moments a, moments b)
{
    float count = a.count + b.count;
    if (count == 0) return a;
    float d = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + d * share, a.m2 + b.m2 + d * d * a.count * share};
}

/* Slice s of the rows: [s rows / S, (s+1) rows / S). */
__device__ static inline int64_t slice_begin(int64_t rows, int slices, int s) { return rows * s / slices; }

/* part (S, 3, C): count, mean, m2 of each slice and channel; grid (channel tiles, slices), block (32, BN_WARPS) */
template <typename T> HONE_KERNEL(256) bn_moments_k(const T *x, float *part, int64_t rows, int channels)
{
    HONE_SHARED(moments, shared, 32 * BN_WARPS);
    const int c = (int)(blockIdx.x * 32 + threadIdx.x), w = (int)threadIdx.y, slices = (int)gridDim.y,
              s = (int)blockIdx.y;
    const int64_t end = slice_begin(rows, slices, s + 1);
    moments m = {0, 0, 0};
    if (c < channels)
        for (int64_t r = slice_begin(rows, slices, s) + w; r < end; r += BN_WARPS) {
            float v = to_float(x[r * channels + c]);
            m.count += 1;
            float d = v - m.mean;
            m.mean += d / m.count;
            m.m2 += d * (v - m.mean);
        }
    shared[w * 32 + (int)threadIdx.x] = m;
    __syncthreads();
    if (w != 0 || c >= channels) return;
    for (int k = 1; k < BN_WARPS; k++) m = merge(m, shared[k * 32 + (int)threadIdx.x]);
    part[((int64_t)s * 3 + 0) * channels + c] = m.count;
    part[((int64_t)s * 3 + 1) * channels + c] = m.mean;
    part[((int64_t)s * 3 + 2) * channels + c] = m.m2;
}

/* part (S, 3, C) as bn_moments_k leaves it; momentum is PyTorch's: the share of the new value. */
struct bn_finish {
    const float *part;
    float *mean, *rstd, *running_mean, *running_var; /* (C) each; running ones may be null */
    float eps, momentum;
    int slices, channels;
};

/* The biased variance normalises, the unbiased one is kept for inference (torch.nn.BatchNorm2d). */
HONE_KERNEL(MAP_THREADS) bn_finish_k(bn_finish a)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= a.channels) return;
    moments m = {0, 0, 0};
    for (int s = 0; s < a.slices; s++) {
        const float *p = a.part + (int64_t)s * 3 * a.channels + c;
        m = merge(m, {p[0], p[a.channels], p[2 * a.channels]});
    }
    const float var = m.m2 / m.count;
    a.mean[c] = m.mean;
    a.rstd[c] = 1 / sqrtf(var + a.eps);
    /* Not finite: one bad batch must not poison evaluation for good. */
    if (!(fabsf(m.mean) <= 3.4e38f) || !(var <= 3.4e38f)) return;
    const float unbiased = m.count > 1 ? var * m.count / (m.count - 1) : var;
    if (a.running_mean) a.running_mean[c] = (1 - a.momentum) * a.running_mean[c] + a.momentum * m.mean;
    if (a.running_var) a.running_var[c] = (1 - a.momentum) * a.running_var[c] + a.momentum * unbiased;
}

/* y = tail((x - mean) scale + beta), tail: 0 plain, 1 ReLU, 2 + r then ReLU. `rstd` is 1/sqrt(var + eps), or the
 * variance itself where `eps` >= 0 (inference). */
template <typename T>
HONE_KERNEL(MAP_THREADS)
bn_apply_k(const T *x, const float *gamma, const float *beta, const float *mean, const float *rstd, const T *r, T *y,
           int64_t n, int channels, int relu, float eps)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int c = (int)(i % channels);
        float s = eps >= 0 ? 1 / sqrtf(rstd[c] + eps) : rstd[c];
        float v = (to_float(x[i]) - mean[c]) * s * gamma[c] + beta[c];
        if (r) v += to_float(r[i]);
        y[i] = from_float<T>(relu && v < 0 ? 0 : v);
    }
}

/* part (S, 2, C): sum dy and sum dy xhat of each slice; y (R, C) gates dy where a ReLU follows. */
template <typename T>
HONE_KERNEL(256)
bn_dx_sums_k(const T *x, const float *mean, const float *rstd, const T *y, const T *dy, float *part, int64_t rows,
             int channels)
{
    HONE_SHARED(float2, shared, 32 * BN_WARPS);
    const int c = (int)(blockIdx.x * 32 + threadIdx.x), w = (int)threadIdx.y, slices = (int)gridDim.y,
              s = (int)blockIdx.y;
    const int64_t end = slice_begin(rows, slices, s + 1);
    float2 sum = make_float2(0, 0);
    if (c < channels)
        for (int64_t r = slice_begin(rows, slices, s) + w; r < end; r += BN_WARPS) {
            int64_t i = r * channels + c;
            float g = !y || to_float(y[i]) > 0 ? to_float(dy[i]) : 0;
            sum.x += g;
            sum.y += g * (to_float(x[i]) - mean[c]) * rstd[c];
        }
    shared[w * 32 + (int)threadIdx.x] = sum;
    __syncthreads();
    if (w != 0 || c >= channels) return;
    for (int k = 1; k < BN_WARPS; k++) {
        sum.x += shared[k * 32 + (int)threadIdx.x].x;
        sum.y += shared[k * 32 + (int)threadIdx.x].y;
    }
    part[((int64_t)s * 2 + 0) * channels + c] = sum.x;
    part[((int64_t)s * 2 + 1) * channels + c] = sum.y;
}

/* Adds the slices into total (2, C) and into the parameters' gradients. */
HONE_KERNEL(MAP_THREADS)
bn_dx_finish_k(const float *part, float *total, float *dgamma, float *dbeta, int slices, int channels, int accumulate)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels) return;
    float sum = 0, sum_xhat = 0;
    for (int s = 0; s < slices; s++) {
        sum += part[((int64_t)s * 2 + 0) * channels + c];
        sum_xhat += part[((int64_t)s * 2 + 1) * channels + c];
    }
    total[c] = sum;
    total[channels + c] = sum_xhat;
    if (dgamma) dgamma[c] = accumulate ? dgamma[c] + sum_xhat : sum_xhat;
    if (dbeta) dbeta[c] = accumulate ? dbeta[c] + sum : sum;
}

/* dx = gamma rstd (g - sum/R - xhat sum_xhat/R), dr = g */
template <typename T>
HONE_KERNEL(MAP_THREADS)
bn_dx_k(const T *x, const float *gamma, const float *mean, const float *rstd, const T *y, const T *dy,
        const float *total, T *dx, T *dr, int64_t n, int channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const float per_row = (float)channels / (float)n;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int c = (int)(i % channels);
        float g = !y || to_float(y[i]) > 0 ? to_float(dy[i]) : 0, xhat = (to_float(x[i]) - mean[c]) * rstd[c];
        if (dx)
            dx[i] = from_float<T>(gamma[c] * rstd[c] * (g - total[c] * per_row - xhat * total[channels + c] * per_row));
        if (dr) dr[i] = from_float<T>(g);
    }
}

/* NHWC: channels are the last axis, whatever the rank. */
static int channels_of(const hone_tensor *x) { return (int)x->dim[x->rank - 1]; }

/* Three launches: moments, statistics of a channel, the map. r (R, C) is the residual, or null. */
static void bn_forward(hone_backend *b, const hone_launch *l, int relu, const void *r)
{
    const hone_tensor *x = l->in_desc[0];
    int channels = channels_of(x), slices = bn_slices(hone_tensor_count(x) / channels, channels);
    int64_t n = hone_tensor_count(x), rows = n / channels;
    float *part = (float *)l->work,
          *spare = part + (size_t)slices * 3 * (size_t)channels; /* mean, rstd that nobody asked for */
    float *mean = l->out[1] ? (float *)l->out[1] : spare, *rstd = l->out[2] ? (float *)l->out[2] : spare + channels;
    bn_finish f = {part,
                   mean,
                   rstd,
                   (float *)l->in[3],
                   (float *)l->in[4],
                   l->node->attr.norm.eps,
                   l->node->attr.norm.momentum,
                   slices,
                   channels};
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, bn_moments_k<T>, dim3((unsigned)(channels + 31) / 32, (unsigned)slices), dim3(32, BN_WARPS), 0,
                    (const T *)l->in[0], part, rows, channels);
        HONE_LAUNCH(b, bn_finish_k, (unsigned)(channels + MAP_THREADS - 1) / MAP_THREADS, MAP_THREADS, 0, f);
        HONE_LAUNCH(b, bn_apply_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (const float *)l->in[1],
                    (const float *)l->in[2], (const float *)mean, (const float *)rstd, (const T *)r, (T *)l->out[0], n,
                    channels, relu, -1.0f);
    });
}

/* Running statistics are constants here; in[4] is a variance, which eps >= 0 tells the kernel. */
static void bn_infer(hone_backend *b, const hone_launch *l, int relu, const void *r)
{
    const hone_tensor *x = l->in_desc[0];
    int64_t n = hone_tensor_count(x);
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, bn_apply_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (const float *)l->in[1],
                    (const float *)l->in[2], (const float *)l->in[3], (const float *)l->in[4], (const T *)r,
                    (T *)l->out[0], n, channels_of(x), relu, l->node->attr.norm.eps);
    });
}

/* y (R, C): output of the fused ReLU, null without one; dr (R, C): gradient of the residual, or null. */
static void bn_backward(hone_backend *b, const hone_launch *l, const void *y, const void *dy, void *dr)
{
    const hone_tensor *x = l->in_desc[0];
    int channels = channels_of(x), slices = bn_slices(hone_tensor_count(x) / channels, channels);
    int64_t n = hone_tensor_count(x), rows = n / channels;
    float *part = (float *)l->work, *total = part + (size_t)slices * 2 * (size_t)channels;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const T *x_ = (const T *)l->in[0], *y_ = (const T *)y, *dy_ = (const T *)dy;
        const float *gamma = (const float *)l->in[1], *mean = (const float *)l->in[2], *rstd = (const float *)l->in[3];
        HONE_LAUNCH(b, bn_dx_sums_k<T>, dim3((unsigned)(channels + 31) / 32, (unsigned)slices), dim3(32, BN_WARPS), 0,
                    x_, mean, rstd, y_, dy_, part, rows, channels);
        HONE_LAUNCH(b, bn_dx_finish_k, (unsigned)(channels + MAP_THREADS - 1) / MAP_THREADS, MAP_THREADS, 0,
                    (const float *)part, total, (float *)l->out[1], (float *)l->out[2], slices, channels,
                    l->node->accumulate);
        if (l->out[0] || dr)
            HONE_LAUNCH(b, bn_dx_k<T>, map_blocks(n), MAP_THREADS, 0, x_, gamma, mean, rstd, y_, dy_,
                        (const float *)total, (T *)l->out[0], (T *)dr, n, channels);
    });
}

extern "C" {
/* Scratch of forward (3 S C and 2 C) and backward (2 S C and 2 C), one size for both. */
hone_status cuda_batchnorm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *x = &g->tensor[n->in[0]];
    size_t channels = (size_t)channels_of(x);
    n->work_bytes =
        ((size_t)bn_slices(hone_tensor_count(x) / (int64_t)channels, (int)channels) * 3 + 2) * channels * sizeof(float);
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
