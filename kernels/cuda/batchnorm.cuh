/* batchnorm.cuh - how threads lie over a matrix (R, C) whose columns are normalised; the walk down its rows.
 *
 * A norm reads its input twice: once for the sums of a channel, once for the map that needs them. Both passes are bound
 * by memory, so what stands here serves two ends. A thread has UNROLL independent loads of 16 bytes in flight, on a
 * grid that is on the chip all at once (BN_BLOCKS): 48 to 96 KB a multiprocessor, more than the 30 KB that bandwidth
 * times latency asks for, and no last wave of few blocks. The second pass takes each slice of rows from its end, where
 * the first one stopped: that part is still in L2, and loads that are the last of their data tell L2 to drop it first. */
#ifndef HONE_KERNELS_CUDA_BATCHNORM_CUH
#define HONE_KERNELS_CUDA_BATCHNORM_CUH

#include "launch.cuh"

/* A block takes a slice of the rows and up to 32 groups of W channels. BN_RESIDENT blocks fit a multiprocessor: 80
 * registers a thread. */
static const int BN_THREADS = 256, BN_WARPS = BN_THREADS / 32, BN_RESIDENT = 2, BN_BLOCKS = 132 * BN_RESIDENT;
/* Channels of a block that finishes sums (one sector of 32 bytes), and threads that share the slices of each. */
static const int BN_FINISH = 8, BN_SHARERS = BN_THREADS / BN_FINISH;

/* The activation behind a norm. */
typedef enum bn_tail { BN_PLAIN, BN_RELU, BN_RELU6 } bn_tail;

/* Slice s has `each` rows and one more where s < extra. */
struct bn_slices {
    int64_t each;
    int extra, count;
};
__device__ static inline int64_t slice_begin(const bn_slices &s, int slice)
{
    return s.each * slice + (slice < s.extra ? slice : s.extra);
}
__device__ static inline int64_t slice_rows(const bn_slices &s, int slice) { return s.each + (slice < s.extra); }

/* `across` threads lie along groups of W channels, the rest of a block along rows. A function of the shape and the
 * storage type alone: the same bits on every device. */
struct bn_shape {
    int64_t rows;
    int channels, width, across, columns; /* columns: blocks along the channels */
    bn_slices slices;
};

static inline bn_shape bn_shape_of(const hone_tensor *x)
{
    bn_shape s;
    s.channels = (int)x->dim[x->rank - 1];
    s.rows = s.channels ? hone_tensor_count(x) / s.channels : 0;
    const int wide = 16 / (int)hone_dtype_bytes(x->dtype);
    s.width = s.channels % wide == 0 ? wide : 1;
    const int groups = s.channels / s.width;
    for (s.across = 1; s.across < groups && s.across < 32;) s.across *= 2;
    s.columns = (groups + s.across - 1) / s.across;
    /* all blocks at once, but at least four rows a thread: merging must stay small */
    const int64_t wanted = BN_BLOCKS / s.columns, most = s.rows * s.across / (4 * BN_THREADS);
    const int64_t slices = wanted < most ? wanted : most;
    s.slices.count = (int)(slices < 1 ? 1 : slices);
    s.slices.each = s.rows / s.slices.count;
    s.slices.extra = (int)(s.rows % s.slices.count);
    return s;
}
static inline dim3 bn_grid(const bn_shape &s) { return dim3((unsigned)s.columns, (unsigned)s.slices.count); }
static inline unsigned bn_finish_blocks(int channels) { return (unsigned)((channels + BN_FINISH - 1) / BN_FINISH); }

/* Calls f with null pointers of the storage type and of int[W], W the channels a thread takes at once. */
template <typename F> static inline void with_width(const hone_tensor *x, const bn_shape &s, F f)
{
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (s.width == 1) f(type, (int(*)[1]) nullptr);
        else f(type, (int(*)[pack<T>::size]) nullptr);
    });
}

/* W constants of neighbouring channels, one access or two. */
template <int W> struct alignas(W == 1 ? 4 : 16) floats {
    float v[W];
};
template <int W> __device__ static inline floats<W> floats_at(const float *p, int64_t i)
{
    return *(const floats<W> *)(p + i);
}

/* W neighbours of a row as memory has them: 16 bytes in words, since the compiler gives 16-bit values a register each; or
 * one value. */
template <typename T, int W> struct alignas(sizeof(T) * W) lanes {
    uint32_t word[W * sizeof(T) / 4];
};
template <typename T> struct lanes<T, 1> {
    T value;
};
template <typename T, int W> __device__ static inline lanes<T, W> lanes_at(const T *p, int64_t i)
{
    return *(const lanes<T, W> *)(p + i);
}
/* The same for data that this node does not read again. */
template <typename T, int W> __device__ static inline lanes<T, W> lanes_once(const T *p, int64_t i)
{
    if constexpr (W > 1) return load_once((const lanes<T, W> *)(p + i));
    else return lanes_at<T, W>(p, i);
}
template <typename T, int W> __device__ static inline void put_lanes(T *p, int64_t i, const lanes<T, W> &v)
{
    *(lanes<T, W> *)(p + i) = v;
}

/* Neighbour j of them, j known when the loop around it is unrolled; and W floats rounded to the storage type. */
template <typename T, int W> __device__ static inline float lane_of(const lanes<T, W> &v, int j)
{
    if constexpr (W == 1) return to_float(v.value);
    else if constexpr (sizeof(T) == 4) return __int_as_float((int)v.word[j]);
    else return pair_half(v.word[j / 2], j % 2, T());
}
template <typename T, int W> __device__ static inline lanes<T, W> lanes_of(const float (&f)[W])
{
    lanes<T, W> v;
    if constexpr (W == 1) v.value = from_float<T>(f[0]);
    else if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int j = 0; j < W; j++) v.word[j] = (uint32_t)__float_as_int(f[j]);
    } else {
#pragma unroll
        for (int j = 0; j < W; j += 2) v.word[j / 2] = pack_pair(f[j], f[j + 1], T());
    }
    return v;
}

/* Where a thread stands: its first channel, its place along the rows of its block. */
struct bn_place {
    int c, down, step; /* c >= channels: nothing to do but the barriers */
};
template <int W> __device__ static inline bn_place bn_place_of(int across)
{
    const int t = (int)threadIdx.x;
    return {((int)blockIdx.x * across + t % across) * W, t / across, BN_THREADS / across};
}

/* A thread's rows of slice blockIdx.y, UNROLL at a time: first load(u, row) for each, so that all of them are in flight,
 * then use(u, row). BACKWARD begins at the slice's last row. */
template <int UNROLL, bool BACKWARD, typename Load, typename Use>
__device__ static inline void walk_rows(const bn_slices &s, const bn_place &p, Load load, Use use)
{
    const int slice = (int)blockIdx.y, step = BACKWARD ? -p.step : p.step;
    const int64_t rows = slice_rows(s, slice), begin = slice_begin(s, slice);
    int64_t row = BACKWARD ? begin + rows - 1 - p.down : begin + p.down;
    for (int64_t left = rows - p.down; left > 0; left -= UNROLL * p.step, row += UNROLL * step) {
        if (left > (UNROLL - 1) * p.step) {
#pragma unroll
            for (int u = 0; u < UNROLL; u++) load(u, row + u * step);
#pragma unroll
            for (int u = 0; u < UNROLL; u++) use(u, row + u * step);
            continue;
        }
#pragma unroll
        for (int u = 0; u < UNROLL; u++)
            if (left > u * p.step) load(u, row + u * step);
#pragma unroll
        for (int u = 0; u < UNROLL; u++)
            if (left > u * p.step) use(u, row + u * step);
    }
}

/* Adds both sums of all threads of a block that have the same channels, in a fixed order: lanes of a warp by a tree,
 * then the warps one after the other. Thread t of the first across W gets those of channel t of the block's. */
template <int W> __device__ static inline float2 column_sums(const float *first, const float *second, int across)
{
    using row = floats<W>;
    HONE_SHARED(row, shared, 2 * BN_THREADS);
    const int t = (int)threadIdx.x, lane = t & 31, warp = t / 32;
    row a, b;
#pragma unroll
    for (int j = 0; j < W; j++) {
        a.v[j] = first[j];
        b.v[j] = second[j];
    }
    for (int d = 16; d >= across; d /= 2)
#pragma unroll
        for (int j = 0; j < W; j++) { /* independent of each other: one latency a step */
            a.v[j] += __shfl_xor_sync(0xffffffffu, a.v[j], d);
            b.v[j] += __shfl_xor_sync(0xffffffffu, b.v[j], d);
        }
    if (lane < across) {
        shared[warp * across + lane] = a;
        shared[BN_THREADS + warp * across + lane] = b;
    }
    __syncthreads();
    float2 sum = make_float2(0, 0);
    if (t >= across * W) return sum;
    const float *at = (const float *)shared + t;
#pragma unroll
    for (int w = 0; w < BN_WARPS; w++) {
        sum.x += at[w * across * W];
        sum.y += at[BN_THREADS * W + w * across * W];
    }
    return sum;
}

/* The norm of one value, scale = gamma rstd. Forward and backward call this one, so that the gate which the backward
 * makes again from x is the forward's to the bit. */
__device__ static inline float bn_value(float x, float mean, float scale, float beta)
{
    return fmaf(x - mean, scale, beta);
}

#endif
