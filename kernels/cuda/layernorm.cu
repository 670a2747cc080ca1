/* layernorm.cu - layer normalisation of rows and its backward, alone and with the residual join beside it.
 *
 * x, y, dx, dy, r (R, C); gamma, beta (C); mean, rstd (R), statistics in float by two passes over the row. Up to 1024
 * channels a warp owns a row and keeps it in registers: each element is read once and written once. Wider rows go
 * through a block. The gradients of gamma and beta are sums over rows: each block adds its rows into a slice of work,
 * a second launch adds the slices, all in a fixed order. gamma and beta are read as whole packs: a scalar at a time, lanes
 * W channels apart, they cost more of the first cache's time than all rows. Ba et al., 2016, arXiv 1607.06450. */
#include "lanes.cuh"
#include "launch.cuh"
#include "reduce.cuh"

static const int NORM_THREADS = 256, NORM_WARPS = 8,
                 NORM_BLOCKS = 264, /* slices of work: two blocks a multiprocessor of the largest chip */
    ROW_CHANNELS_MOST = 1024, SLICE_WARPS = 32;

/* --- rows that a warp keeps: PACKS times W neighbouring channels a lane ------------------------------------------- */

/* Channel of pack k of this lane: neighbouring lanes read neighbouring packs. */
template <int W> __device__ static inline int channel_of(int k) { return (k * 32 + (int)(threadIdx.x & 31)) * W; }

/* A row into registers as floats, `none` past its end. */
template <typename T, int W, int PACKS>
__device__ static inline void read_row(const T *row, int channels, float none, float (&v)[PACKS][W])
{
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        const int c = channel_of<W>(k);
        lanes<T, W> p;
        if (c < channels) p = *(const lanes<T, W> *)(row + c);
#pragma unroll
        for (int j = 0; j < W; j++) v[k][j] = c < channels ? to_float(p.v[j]) : none;
    }
}

/* Adds another row. The sum stays in float: statistics of one that was rounded to 16 bits would be off by as much. */
template <typename T, int W, int PACKS>
__device__ static inline void join_row(const T *row, int channels, float (&v)[PACKS][W])
{
    float r[PACKS][W];
    read_row<T, W, PACKS>(row, channels, 0, r);
#pragma unroll
    for (int k = 0; k < PACKS; k++)
#pragma unroll
        for (int j = 0; j < W; j++) v[k][j] += r[k][j];
}

/* What join_row has made, to memory. */
template <typename T, int W, int PACKS>
__device__ static inline void write_row(T *row, int channels, const float (&v)[PACKS][W])
{
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        const int c = channel_of<W>(k);
        if (c >= channels) continue;
        lanes<T, W> out;
#pragma unroll
        for (int j = 0; j < W; j++) out.v[j] = from_float<T>(v[k][j]);
        *(lanes<T, W> *)(row + c) = out;
    }
}

/* Pointers of the forward; r (joins x), sum (of both), mean and rstd may be null. y may be x. */
template <typename T> struct norm_forward {
    const T *x, *r;
    const float *gamma, *beta;
    T *y, *sum;
    float *mean, *rstd;
    int64_t rows;
    int channels;
    float eps;
};

template <typename T, int W, int PACKS> HONE_KERNEL(NORM_THREADS) layernorm_row_k(norm_forward<T> a)
{
    const int64_t step = (int64_t)gridDim.x * NORM_WARPS;
    for (int64_t r = (int64_t)blockIdx.x * NORM_WARPS + threadIdx.x / 32; r < a.rows; r += step) {
        float v[PACKS][W], sum = 0, squares = 0;
        read_row<T, W, PACKS>(a.x + r * a.channels, a.channels, 0, v);
        if (a.r) join_row<T, W, PACKS>(a.r + r * a.channels, a.channels, v);
        if (a.sum) write_row<T, W, PACKS>(a.sum + r * a.channels, a.channels, v);
#pragma unroll
        for (int k = 0; k < PACKS; k++)
#pragma unroll
            for (int j = 0; j < W; j++) sum += v[k][j];
        const float m = warp_reduce<sum_op>(sum) / (float)a.channels;
#pragma unroll
        for (int k = 0; k < PACKS; k++)
#pragma unroll
            for (int j = 0; j < W; j++) squares += channel_of<W>(k) < a.channels ? (v[k][j] - m) * (v[k][j] - m) : 0;
        const float s = 1 / sqrtf(warp_reduce<sum_op>(squares) / (float)a.channels + a.eps);
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            const int c = channel_of<W>(k);
            if (c >= a.channels) continue;
            float gamma[W], beta[W];
            read_lanes<float, W>(a.gamma + c, gamma);
            read_lanes<float, W>(a.beta + c, beta);
#pragma unroll
            for (int j = 0; j < W; j++) v[k][j] = (v[k][j] - m) * s * gamma[j] + beta[j];
            write_lanes<T, W>(a.y + r * a.channels + c, v[k]);
        }
        if ((threadIdx.x & 31) == 0) {
            if (a.mean) a.mean[r] = m;
            if (a.rstd) a.rstd[r] = s;
        }
    }
}

/* Pointers of the backward: r (joins dx, and may be dx) and dx may be null; slices (blocks, 2, C) or null where no parameter wants a gradient. */
template <typename T> struct norm_backward {
    const T *x, *dy, *r;
    const float *gamma, *mean, *rstd;
    T *dx;
    float *slices;
    int64_t rows;
    int channels;
};

/* What the backward reads of a row, as stored, so that a row takes few registers. */
template <typename T, int W, int PACKS> struct stored_row {
    lanes<T, W> x[PACKS], dy[PACKS];
    float mean, rstd;
};

/* Pack k of this lane in row r of (R, C). */
template <typename T, int W> __device__ static inline lanes<T, W> lanes_at(const T *x, int64_t r, int channels, int k)
{
    return *(const lanes<T, W> *)(x + r * channels + channel_of<W>(k));
}

/* Asks for row r < rows; what is not there stays as it was, and is not looked at. */
template <typename T, int W, int PACKS>
__device__ static inline void ask_row(const norm_backward<T> &a, int64_t r, stored_row<T, W, PACKS> &row)
{
    row.mean = a.mean[r];
    row.rstd = a.rstd[r];
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        if (channel_of<W>(k) >= a.channels) continue;
        row.x[k] = lanes_at<T, W>(a.x, r, a.channels, k);
        row.dy[k] = lanes_at<T, W>(a.dy, r, a.channels, k);
    }
}

/* One row: adds to this lane's sums, writes dx. With xhat = (x - mean) rstd, h = dy gamma:
 * dx = rstd (h - avg(h) - xhat avg(h xhat)). */
template <bool AHEAD, typename T, int W, int PACKS>
__device__ static inline void row_backward(const norm_backward<T> &a, int64_t r, const stored_row<T, W, PACKS> &row,
                                           float (&dgamma)[PACKS][W], float (&dbeta)[PACKS][W])
{
    const float m = row.mean, s = row.rstd;
    float sum = 0, sum_xhat = 0;
    lanes<T, W> skip[PACKS] = {}; /* on its way while the row is summed, where registers allow */
#pragma unroll
    for (int k = 0; k < PACKS && AHEAD; k++)
        if (a.r && channel_of<W>(k) < a.channels) skip[k] = lanes_at<T, W>(a.r, r, a.channels, k);
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        const int c = channel_of<W>(k);
        if (c >= a.channels) continue;
        float gamma[W];
        read_lanes<float, W>(a.gamma + c, gamma);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float g = to_float(row.dy[k].v[j]), xhat = (to_float(row.x[k].v[j]) - m) * s, h = g * gamma[j];
            sum += h;
            sum_xhat += h * xhat;
            dgamma[k][j] += g * xhat;
            dbeta[k][j] += g;
        }
    }
    if (!a.dx) return; /* the same for all threads */
    sum = warp_reduce<sum_op>(sum) / (float)a.channels;
    sum_xhat = warp_reduce<sum_op>(sum_xhat) / (float)a.channels;
#pragma unroll
    for (int k = 0; k < PACKS; k++) {
        const int c = channel_of<W>(k);
        if (c >= a.channels) continue;
        float gamma[W], v[W];
        read_lanes<float, W>(a.gamma + c, gamma);
        if (a.r && !AHEAD) skip[k] = lanes_at<T, W>(a.r, r, a.channels, k);
#pragma unroll
        for (int j = 0; j < W; j++) {
            const float xhat = (to_float(row.x[k].v[j]) - m) * s;
            v[j] = s * (to_float(row.dy[k].v[j]) * gamma[j] - sum - xhat * sum_xhat);
            if (a.r) v[j] += to_float(skip[k].v[j]);
        }
        write_lanes<T, W>(a.dx + r * a.channels + c, v);
    }
}

/* The warps' shares of a parameter's gradient, by channel: SHARE_PITCH floats for the lanes of one place of a pack, so
 * that neither neighbouring lanes nor neighbouring channels meet in a bank. */
static const int SHARE_PITCH = 36;
template <int W> __device__ static inline int share_of(int c)
{
    return (c / W / 32 * W + c % W) * SHARE_PITCH + c / W % 32;
}

/* Adds the shares of all warps into `to` (C) in their order. */
template <int W, int PACKS>
__device__ static inline void add_shares(const float (&share)[PACKS][W], float *shares, float *to, int channels)
{
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x / 32, pitch = PACKS * W * SHARE_PITCH;
    __syncthreads(); /* the shares of the call before have been read */
#pragma unroll
    for (int k = 0; k < PACKS; k++)
#pragma unroll
        for (int j = 0; j < W; j++) shares[warp * pitch + (k * W + j) * SHARE_PITCH + lane] = share[k][j];
    __syncthreads();
    for (int c = (int)threadIdx.x; c < channels; c += NORM_THREADS) {
        float v = shares[share_of<W>(c)];
#pragma unroll
        for (int w = 1; w < NORM_WARPS; w++) v += shares[w * pitch + share_of<W>(c)];
        to[c] = v;
    }
}

/* Warps walk over rows with their shares of dgamma and dbeta in registers, the next row on its way where registers allow;
 * at the end the block adds them into its slice. */
template <typename T, int W, int PACKS>
HONE_KERNEL_BLOCKS(NORM_THREADS, PACKS *W <= 24 ? 2 : 1)
layernorm_dx_row_k(norm_backward<T> a)
{
    HONE_SHARED(float, shares, NORM_WARPS *PACKS *W *SHARE_PITCH);
    constexpr bool AHEAD = PACKS * W * sizeof(T) <= 32; /* bytes a lane has of a row */
    const int64_t step = (int64_t)gridDim.x * NORM_WARPS;
    int64_t r = (int64_t)blockIdx.x * NORM_WARPS + threadIdx.x / 32;
    float dgamma[PACKS][W] = {}, dbeta[PACKS][W] = {};
    stored_row<T, W, PACKS> row, next;
    if (AHEAD && r < a.rows) ask_row(a, r, row);
    for (; r < a.rows; r += step) {
        if (!AHEAD) ask_row(a, r, row);
        if (AHEAD && r + step < a.rows) ask_row(a, r + step, next);
        row_backward<AHEAD>(a, r, row, dgamma, dbeta);
        if (AHEAD) row = next;
    }
    if (!a.slices) return; /* the same for all threads */
    float *slice = a.slices + (int64_t)blockIdx.x * 2 * a.channels;
    add_shares(dgamma, shares, slice, a.channels);
    add_shares(dbeta, shares, slice + a.channels, a.channels);
}

/* grid (ceil(C / 32), 2), block (32, SLICE_WARPS): dgamma and dbeta (C), = or +=, from slices (count, 2, C). Either may be
 * null. */
HONE_KERNEL(32 * SLICE_WARPS)
add_slices_k(const float *slices, int count, int channels, float *dgamma, float *dbeta, int accumulate)
{
    HONE_SHARED(float, part, 32 * SLICE_WARPS);
    float *to = blockIdx.y ? dbeta : dgamma;
    if (!to) return; /* the same for the whole block */
    const int lane = (int)threadIdx.x, w = (int)threadIdx.y, c = (int)blockIdx.x * 32 + lane;
    float v = 0;
    if (c < channels)
#pragma unroll 8 /* 264 slices: nearly all at once */
        for (int k = w; k < count; k += SLICE_WARPS) v += slices[((int64_t)k * 2 + blockIdx.y) * channels + c];
    part[w * 32 + lane] = v;
    __syncthreads();
    if (w != 0 || c >= channels) return;
    for (int k = 1; k < SLICE_WARPS; k++) v += part[k * 32 + lane];
    to[c] = accumulate ? to[c] + v : v;
}

/* --- wider rows: a block each -------------------------------------------------------------------------------------- */

/* r is null without a join. A thread meets the same columns in every pass: y may be x. */
template <typename T> __device__ static inline float joined(const T *x, const T *r, int c)
{
    return r ? to_float(x[c]) + to_float(r[c]) : to_float(x[c]);
}

template <typename T> HONE_KERNEL(NORM_THREADS) layernorm_wide_k(norm_forward<T> a)
{
    HONE_SHARED(float, scratch, 32);
    for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        const T *x = a.x + r * a.channels, *skip = a.r ? a.r + r * a.channels : nullptr;
        T *y = a.y + r * a.channels;
        float sum = 0, squares = 0;
        for (int c = (int)threadIdx.x; c < a.channels; c += (int)blockDim.x) {
            const float v = joined(x, skip, c);
            if (a.sum) a.sum[r * a.channels + c] = from_float<T>(v);
            sum += v;
        }
        const float m = block_reduce<sum_op>(sum, scratch) / (float)a.channels;
        for (int c = (int)threadIdx.x; c < a.channels; c += (int)blockDim.x) {
            float d = joined(x, skip, c) - m;
            squares += d * d;
        }
        const float s = 1 / sqrtf(block_reduce<sum_op>(squares, scratch) / (float)a.channels + a.eps);
        for (int c = (int)threadIdx.x; c < a.channels; c += (int)blockDim.x)
            y[c] = from_float<T>((joined(x, skip, c) - m) * s * a.gamma[c] + a.beta[c]);
        if (threadIdx.x == 0) {
            if (a.mean) a.mean[r] = m;
            if (a.rstd) a.rstd[r] = s;
        }
    }
}

/* dx, and this block's share of dgamma and dbeta: slices (gridDim.x, 2, C) of work.
 * With xhat = (x - mean) rstd, h = dy gamma:  dx = rstd (h - avg(h) - xhat avg(h xhat)). */
template <typename T> HONE_KERNEL(NORM_THREADS) layernorm_dx_wide_k(norm_backward<T> a)
{
    HONE_SHARED(float, scratch, 32);
    const int channels = a.channels;
    float *dgamma = a.slices + (int64_t)blockIdx.x * 2 * channels, *dbeta = dgamma + channels;
    for (int c = (int)threadIdx.x; a.slices && c < channels; c += (int)blockDim.x) dgamma[c] = dbeta[c] = 0;
    for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        const T *row = a.x + r * channels, *grad = a.dy + r * channels;
        const float m = a.mean[r], s = a.rstd[r];
        float sum = 0, sum_xhat = 0;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
            float h = to_float(grad[c]) * a.gamma[c];
            sum += h;
            sum_xhat += h * (to_float(row[c]) - m) * s;
        }
        sum = block_reduce<sum_op>(sum, scratch) / (float)channels;
        sum_xhat = block_reduce<sum_op>(sum_xhat, scratch) / (float)channels;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
            float g = to_float(grad[c]), xhat = (to_float(row[c]) - m) * s;
            if (a.slices) { /* the thread that cleared this column also adds to it: no barrier needed */
                dgamma[c] += g * xhat;
                dbeta[c] += g;
            }
            const float v = s * (g * a.gamma[c] - sum - xhat * sum_xhat),
                        skip = a.r ? to_float(a.r[r * channels + c]) : 0;
            if (a.dx) a.dx[r * channels + c] = from_float<T>(a.r ? v + skip : v);
        }
    }
}

/* Normalises the last axis only; all others are rows. */
static int channels_of(const hone_tensor *x) { return (int)x->dim[x->rank - 1]; }
/* A function of the shape alone, so that the slices, and with them the bits, are the same on every device. */
static unsigned norm_blocks(int64_t rows, int channels)
{
    int64_t wanted = channels <= ROW_CHANNELS_MOST ? (rows + NORM_WARPS - 1) / NORM_WARPS : rows;
    return (unsigned)(wanted < 1 ? 1 : wanted < NORM_BLOCKS ? wanted : NORM_BLOCKS);
}

/* Calls f with null pointers of the storage type, of int[W] and of int[PACKS] where a warp can keep the row; else
 * returns false. A lane takes 32 channels at most. */
template <typename F> static bool with_row(const hone_tensor *x, F f)
{
    const int channels = channels_of(x);
    if (channels > ROW_CHANNELS_MOST) return false;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int WIDE = pack<T>::size;
        const int packs = channels % WIDE == 0 ? (channels / WIDE + 31) / 32 : 0;
        if (packs == 1) f(type, (int(*)[WIDE]) nullptr, (int(*)[1]) nullptr);
        else if (packs == 2) f(type, (int(*)[WIDE]) nullptr, (int(*)[2]) nullptr);
        else if (packs == 3) f(type, (int(*)[WIDE]) nullptr, (int(*)[3]) nullptr);
        else if (packs > 0) f(type, (int(*)[WIDE]) nullptr, (int(*)[32 / WIDE]) nullptr);
        else if (channels <= 256) f(type, (int(*)[1]) nullptr, (int(*)[8]) nullptr);
        else f(type, (int(*)[1]) nullptr, (int(*)[32]) nullptr);
    });
    return true;
}

/* x (R, C) is in[0]; r (R, C) joins it, or null; gamma and beta (C) are in[gamma], in[gamma + 1]. mean and rstd (R) are
 * kept for the gradient only; they and sum (R, C) may be absent. */
static void norm_run(hone_backend *b, const hone_launch *l, const void *r, int gamma, void *sum)
{
    const hone_tensor *x = l->in_desc[0];
    const int channels = channels_of(x);
    const int64_t rows = hone_tensor_count(x) / channels;
    auto pointers = [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return norm_forward<T>{(const T *)l->in[0],
                               (const T *)r,
                               (const float *)l->in[gamma],
                               (const float *)l->in[gamma + 1],
                               (T *)l->out[0],
                               (T *)sum,
                               (float *)l->out[1],
                               (float *)l->out[2],
                               rows,
                               channels,
                               l->node->attr.norm.eps};
    };
    bool kept = with_row(x, [&](auto *type, auto *width, auto *packs) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int), PACKS = sizeof(*packs) / sizeof(int);
        HONE_LAUNCH(b, (layernorm_row_k<T, W, PACKS>), map_blocks(rows * 32), NORM_THREADS, 0, pointers(type));
    });
    if (kept) return;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, layernorm_wide_k<T>, map_blocks(rows * MAP_THREADS), NORM_THREADS, 0, pointers(type));
    });
}

/* r (R, C) joins dx, or null. */
static void norm_run_dx(hone_backend *b, const hone_launch *l, const void *r)
{
    const hone_tensor *x = l->in_desc[0];
    const int channels = channels_of(x);
    const int64_t rows = hone_tensor_count(x) / channels;
    const unsigned blocks = norm_blocks(rows, channels);
    float *slices = l->out[1] || l->out[2] ? (float *)l->work : nullptr;
    auto pointers = [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        return norm_backward<T>{(const T *)l->in[0],
                                (const T *)l->in[4],
                                (const T *)r,
                                (const float *)l->in[1],
                                (const float *)l->in[2],
                                (const float *)l->in[3],
                                (T *)l->out[0],
                                slices,
                                rows,
                                channels};
    };
    bool kept = with_row(x, [&](auto *type, auto *width, auto *packs) {
        using T = std::remove_pointer_t<decltype(type)>;
        constexpr int W = sizeof(*width) / sizeof(int), PACKS = sizeof(*packs) / sizeof(int);
        HONE_LAUNCH(b, (layernorm_dx_row_k<T, W, PACKS>), blocks, NORM_THREADS, 0, pointers(type));
    });
    if (!kept)
        with_dtype(x->dtype, [&](auto *type) {
            using T = std::remove_pointer_t<decltype(type)>;
            HONE_LAUNCH(b, layernorm_dx_wide_k<T>, blocks, NORM_THREADS, 0, pointers(type));
        });
    if (slices)
        HONE_LAUNCH(b, add_slices_k, dim3((unsigned)(channels + 31) / 32, 2), dim3(32, SLICE_WARPS), 0, slices,
                    (int)blocks, channels, (float *)l->out[1], (float *)l->out[2], l->node->accumulate);
}

extern "C" {
/* No work where neither dgamma nor dbeta is wanted (frozen): the kernel then gets a null `slices`. */
hone_status cuda_layernorm_dx_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *x = &g->tensor[n->in[0]];
    const int channels = channels_of(x);
    if (n->out[1] != HONE_NONE || n->out[2] != HONE_NONE)
        n->work_bytes =
            (size_t)norm_blocks(hone_tensor_count(x) / channels, channels) * 2 * (size_t)channels * sizeof(float);
    return HONE_OK;
}

void cuda_layernorm(hone_backend *b, const hone_launch *l) { norm_run(b, l, nullptr, 1, nullptr); }
void cuda_add_layernorm(hone_backend *b, const hone_launch *l) { norm_run(b, l, l->in[1], 2, l->out[3]); }
void cuda_layernorm_dx(hone_backend *b, const hone_launch *l) { norm_run_dx(b, l, nullptr); }
void cuda_layernorm_add_dx(hone_backend *b, const hone_launch *l) { norm_run_dx(b, l, l->in[5]); }
}
