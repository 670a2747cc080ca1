/* pool.cu - average and global pooling and their backward (rows avgpool .. global_maxpool_dx); maxpool.cu has the max.
 *
 * x (N, H, W, C), y (N, OH, OW, C), at: place of the maximum in its image (i32). One thread an element,
 * neighbours along the channels, so reads are whole lines. Backward gathers: each input element adds the
 * windows that hold it, in order, so nothing is atomic. A NaN wins a maximum. */
#include "reduce.cuh"
#include "launch.cuh"

/* Passed by value: launch arguments live in constant memory, where all threads read them for free. */
struct pool_shape {
    hone_window v;
    int64_t count; /* elements of the tensor that is written */
    int h, w, oh, ow, channels;
};

/* The window of the i-th output: its sample, channel and first row and column. */
struct place {
    int64_t n;
    int c, h, w;
};
__device__ static inline place place_of(int64_t i, int height, int width, int channels)
{
    return {i / channels / width / height, (int)(i % channels), (int)(i / channels / width % height),
            (int)(i / channels % width)};
}

/* Walks the windows that hold input (h, w): calls f(output element). */
template <typename F> __device__ static inline void each_window(const pool_shape &s, const place &p, F f)
{
    for (int r = 0; r < s.v.kernel[0]; r++) {
        int a = p.h + s.v.pad[0] - r * s.v.dilation[0];
        if (a < 0 || a % s.v.stride[0] || a / s.v.stride[0] >= s.oh) continue;
        for (int q = 0; q < s.v.kernel[1]; q++) {
            int b = p.w + s.v.pad[1] - q * s.v.dilation[1];
            if (b < 0 || b % s.v.stride[1] || b / s.v.stride[1] >= s.ow) continue;
            f(((p.n * s.oh + a / s.v.stride[0]) * s.ow + b / s.v.stride[1]) * s.channels + p.c);
        }
    }
}

/* Divides by the whole window: count_include_pad=True, PyTorch's default. */
template <typename T> HONE_KERNEL(MAP_THREADS) avgpool_k(const T *x, T *y, pool_shape s)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < s.count; i += step) {
        const place p = place_of(i, s.oh, s.ow, s.channels);
        float sum = 0;
        for (int r = 0; r < s.v.kernel[0]; r++)
            for (int q = 0; q < s.v.kernel[1]; q++) {
                int h = p.h * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
                    w = p.w * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
                if (h >= 0 && h < s.h && w >= 0 && w < s.w)
                    sum += to_float(x[((p.n * s.h + h) * s.w + w) * s.channels + p.c]);
            }
        y[i] = from_float<T>(sum / (float)(s.v.kernel[0] * s.v.kernel[1]));
    }
}

/* The division is done once on the sum, which rounds less than dividing each term. */
template <typename T> HONE_KERNEL(MAP_THREADS) avgpool_dx_k(const T *dy, T *dx, pool_shape s)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < s.count; i += step) {
        float sum = 0;
        each_window(s, place_of(i, s.h, s.w, s.channels), [&](int64_t o) { sum += to_float(dy[o]); });
        dx[i] = from_float<T>(sum / (float)(s.v.kernel[0] * s.v.kernel[1]));
    }
}

/* y (N, C) of x (N, places, C): block (32 channels, 8), warps stride over the places and merge in order. */
template <typename T, bool MAX>
HONE_KERNEL(256)
global_pool_k(const T *x, T *y, int32_t *at, int64_t places, int channels)
{
    HONE_SHARED(float, value, 256);
    HONE_SHARED(int, where, 256);
    const int lane = (int)threadIdx.x, w = (int)threadIdx.y, c = (int)(blockIdx.x * 32) + lane;
    const int64_t n = blockIdx.y;
    float v = MAX ? -INFINITY : 0;
    int best = -1;
    for (int64_t p = w; c < channels && p < places; p += 8) {
        float u = to_float(x[(n * places + p) * channels + c]);
        if (!MAX) v += u;
        else if (best < 0 || u > v || (u != u && v == v)) {
            v = u;
            best = (int)p;
        }
    }
    value[w * 32 + lane] = v;
    where[w * 32 + lane] = best;
    __syncthreads();
    if (w != 0 || c >= channels) return;
    for (int k = 1; k < 8; k++) {
        float u = value[k * 32 + lane];
        int p = where[k * 32 + lane];
        if (!MAX) v += u;
        else if (p >= 0 && (best < 0 || (u != u ? v == v || p < best : u > v || (u == v && p < best)))) {
            v = u;
            best = p;
        }
    }
    y[n * channels + c] = from_float<T>(MAX ? v : v / (float)places);
    if (MAX && at) at[n * channels + c] = best;
}

/* dx (N, places, C) from dy (N, C): spread evenly, or to the place of the maximum */
template <typename T>
HONE_KERNEL(MAP_THREADS)
global_pool_dx_k(const T *dy, const int32_t *at, T *dx, int64_t count, int64_t places, int channels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t o = i / channels / places * channels + i % channels;
        float g = to_float(dy[o]);
        dx[i] = from_float<T>(!at ? g / (float)places : at[o] == (int32_t)(i / channels % places) ? g : 0);
    }
}

/* `image`: the pooled side, `pooled`: the result's side; the one that is written gives the count. */
static pool_shape shape_of(const hone_launch *l, const hone_tensor *image, const hone_tensor *pooled,
                           const hone_tensor *written)
{
    return {l->node->attr.window, hone_tensor_count(written), (int)image->dim[1], (int)image->dim[2],
            (int)pooled->dim[1],  (int)pooled->dim[2],        (int)image->dim[3]};
}

/* Grid (tiles of 32 channels, samples): a block's reads are whole lines of the last axis. */
template <bool MAX> static void global_pool(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0], *y = l->out_desc[0];
    int channels = (int)y->dim[1];
    int64_t places = hone_tensor_count(x) / hone_tensor_count(y);
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, (global_pool_k<T, MAX>), dim3((unsigned)(channels + 31) / 32, (unsigned)y->dim[0]), dim3(32, 8),
                    0, (const T *)l->in[0], (T *)l->out[0], MAX ? (int32_t *)l->out[1] : nullptr, places, channels);
    });
}

/* `at` null: the average; else the max, by the place that was kept. */
static void global_pool_dx(hone_backend *b, const hone_launch *l, const int32_t *at)
{
    const hone_tensor *dy = l->in_desc[0], *dx = l->out_desc[0];
    int64_t count = hone_tensor_count(dx);
    with_dtype(dx->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, global_pool_dx_k<T>, map_blocks(count), MAP_THREADS, 0, (const T *)l->in[0], at, (T *)l->out[0],
                    count, count / hone_tensor_count(dy), (int)dy->dim[1]);
    });
}

extern "C" {
/* No `at`: every place of a window has the same share. */
void cuda_avgpool(hone_backend *b, const hone_launch *l)
{
    pool_shape s = shape_of(l, l->in_desc[0], l->out_desc[0], l->out_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, avgpool_k<T>, map_blocks(s.count), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0], s);
    });
}

void cuda_avgpool_dx(hone_backend *b, const hone_launch *l)
{
    pool_shape s = shape_of(l, l->out_desc[0], l->in_desc[0], l->out_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, avgpool_dx_k<T>, map_blocks(s.count), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0], s);
    });
}

void cuda_global_avgpool(hone_backend *b, const hone_launch *l) { global_pool<false>(b, l); }
void cuda_global_maxpool(hone_backend *b, const hone_launch *l) { global_pool<true>(b, l); }
void cuda_global_avgpool_dx(hone_backend *b, const hone_launch *l) { global_pool_dx(b, l, nullptr); }
void cuda_global_maxpool_dx(hone_backend *b, const hone_launch *l) { global_pool_dx(b, l, (const int32_t *)l->in[1]); }
}
