/* conv_small.cuh - direct convolutions with few channels: the image and the filters in shared memory as floats.
 *
 * What is shared by conv_small.cu (gradients) and conv_pool.cu (forward with pooling): staging an image with zeros
 * around it, so that taps need no bounds; a thread's 2 x 2 outputs of one channel from a patch in registers, where each
 * float that was read serves up to four products; and the sum of the blocks' gradients in a fixed order. */
#ifndef HONE_KERNELS_CUDA_CONV_SMALL_CUH
#define HONE_KERNELS_CUDA_CONV_SMALL_CUH

#include "divide.cuh"
#include "lanes.cuh"
#include "launch.cuh"

static const int SMALL_THREADS = 256;
static const size_t SMALL_SHARED_PLAIN = 48 << 10, SMALL_SHARED_MOST = 96 << 10; /* two blocks on sm_90, one on sm_86 */

/* One sample (h, w, channels) as planes of rows x pitch floats; rows and columns outside the image are 0. */
struct small_image {
    int h, w, channels, pad[2], rows, pitch;
    divider by_channels, by_pitch; /* by_channels: by packs of them where `packed` */
    int packed;
    __device__ int plane() const { return rows * pitch; }
};

/* The pitch has to be even: columns are read in pairs. `wide`: elements that 16 bytes hold. */
static inline small_image small_image_of(int64_t h, int64_t w, int64_t channels, int pad_h, int pad_w, int rows,
                                         int pitch, int wide)
{
    const int packed = channels % wide == 0;
    return {(int)h,
            (int)w,
            (int)channels,
            {pad_h, pad_w},
            rows,
            pitch,
            divider_by(packed ? channels / wide : channels),
            divider_by(pitch),
            packed};
}

/* Multiple of 4 floats, so that what lies behind is aligned for float4. */
static inline int small_image_floats(const small_image &s) { return (s.channels * s.rows * s.pitch + 3) / 4 * 4; }

template <typename T, int V> __device__ static inline void stage_lanes(float *to, const T *image, const small_image &s)
{
    const unsigned count = (unsigned)(s.plane() * s.channels / V);
#pragma unroll 4
    for (unsigned j = threadIdx.x; j < count; j += SMALL_THREADS) {
        unsigned rest = j;
        const int c = s.by_channels.split(rest) * V, column = s.by_pitch.split(rest), row = (int)rest;
        const int h = row - s.pad[0], w = column - s.pad[1];
        const bool inside = (unsigned)h < (unsigned)s.h && (unsigned)w < (unsigned)s.w;
        lanes<T, V> u;
        if (inside) u = *(const lanes<T, V> *)(image + ((int64_t)h * s.w + w) * s.channels + c);
#pragma unroll
        for (int k = 0; k < V; k++) to[(c + k) * s.plane() + row * s.pitch + column] = inside ? to_float(u.v[k]) : 0;
    }
}

/* to (channels, rows, pitch); the caller's barriers stand before and behind. */
template <typename T> __device__ static inline void stage_image(float *to, const T *image, const small_image &s)
{
    if (s.packed) stage_lanes<T, pack<T>::size>(to, image, s);
    else stage_lanes<T, 1>(to, image, s);
}

/* Floats of one filter plane: K x K, up to a multiple of 4. */
template <int K> struct filter_pitch {
    enum { floats = (K * K + 3) / 4 * 4 };
};

/* A convolution with stride 1 over 2 x 2 blocks of outputs; `group` output channels a block. */
struct small_conv {
    small_image image;
    int out, group, blocks_w, blocks; /* blocks of outputs: in a row, in all */
    divider by_in, by_group, by_blocks, by_blocks_w;
};

/* Channels a block: as many as give each thread one piece of work, evenly over the blocks. */
static inline small_conv small_conv_of(const small_image &image, int out, int blocks_h, int blocks_w)
{
    const int blocks = blocks_h * blocks_w, most = blocks < SMALL_THREADS ? SMALL_THREADS / blocks : 1,
              groups = (out + most - 1) / most, group = (out + groups - 1) / groups;
    return {image,
            out,
            group,
            blocks_w,
            blocks,
            divider_by(image.channels),
            divider_by(group),
            divider_by(blocks),
            divider_by(blocks_w)};
}
template <int K> static inline size_t small_conv_shared(const small_conv &s)
{
    return sizeof(float) * (size_t)(small_image_floats(s.image) + s.group * s.image.channels * filter_pitch<K>::floats);
}

/* to (group, in, K x K) of w (out, K, K, in), or, TURNED, of w (in, K, K, out) with its taps in the opposite order: the
 * filters of a gradient with respect to the image. */
template <typename T, int K, bool TURNED>
__device__ static inline void stage_filters(float *to, const T *w, const small_conv &s, int first)
{
    const int in = s.image.channels;
#pragma unroll 4
    for (unsigned j = threadIdx.x; j < (unsigned)(s.group * in * K * K); j += SMALL_THREADS) {
        unsigned rest = j;
        const int fast = TURNED ? s.by_group.split(rest) : s.by_in.split(rest), tap = (int)rest % (K * K),
                  slow = (int)rest / (K * K), o = TURNED ? fast : slow, c = TURNED ? slow : fast;
        if (first + o >= s.out) continue;
        const T v = TURNED ? w[((int64_t)c * K * K + tap) * s.out + first + o]
                           : w[((int64_t)(first + o) * K * K + tap) * in + c];
        to[(o * in + c) * filter_pitch<K>::floats + (TURNED ? K * K - 1 - tap : tap)] = to_float(v);
    }
}

/* sum (2 x 2) = the outputs whose windows begin at `at`, an even column of the first plane; filter (in, K x K). */
template <int K>
__device__ static inline void convolve_2x2(const float *at, const small_image &s, const float *filter, float *sum)
{
    for (int k = 0; k < 4; k++) sum[k] = 0;
    for (int c = 0; c < s.channels; c++, at += s.plane(), filter += filter_pitch<K>::floats) {
        float patch[K + 1][K + 1], f[filter_pitch<K>::floats];
#pragma unroll
        for (int r = 0; r <= K; r++)
#pragma unroll
            for (int q = 0; q <= K; q += 2) {
                const float2 pair = *(const float2 *)(at + r * s.pitch + q);
                patch[r][q] = pair.x, patch[r][q + 1] = pair.y;
            }
#pragma unroll
        for (int k = 0; k < filter_pitch<K>::floats; k += 4) {
            const float4 four = *(const float4 *)(filter + k);
            f[k] = four.x, f[k + 1] = four.y, f[k + 2] = four.z, f[k + 3] = four.w;
        }
#pragma unroll
        for (int k = 0; k < K * K; k++)
#pragma unroll
            for (int j = 0; j < 4; j++) sum[j] += patch[k / K + j / 2][k % K + j % 2] * f[k];
    }
}

/* Grid (samples, groups of output channels). put(sample, channel, block's row, block's column, sums). */
template <typename T, int K, bool TURNED, typename P>
HONE_KERNEL(SMALL_THREADS)
small_conv_k(small_conv s, const T *__restrict__ x, const T *__restrict__ w, P put)
{
    HONE_DYNAMIC_SHARED(float, planes);
    const int64_t n = blockIdx.x;
    const int first = (int)blockIdx.y * s.group, group = s.out - first < s.group ? s.out - first : s.group;
    float *filters = planes + (s.image.channels * s.image.plane() + 3) / 4 * 4;
    stage_image(planes, x + n * s.image.h * s.image.w * s.image.channels, s.image);
    stage_filters<T, K, TURNED>(filters, w, s, first);
    __syncthreads();
    for (unsigned t = threadIdx.x; t < (unsigned)(group * s.blocks); t += SMALL_THREADS) {
        unsigned o = t;
        unsigned row = (unsigned)s.by_blocks.split(o);
        const int column = s.by_blocks_w.split(row);
        float sum[4];
        convolve_2x2<K>(planes + 2 * (int)row * s.image.pitch + 2 * column, s.image,
                        filters + (int)o * s.image.channels * filter_pitch<K>::floats, sum);
        put(n, first + (int)o, (int)row, column, sum);
    }
}

template <typename T, int K, bool TURNED, typename P>
static inline void launch_small_conv(hone_backend *b, const small_conv &s, int64_t samples, const T *x, const T *w,
                                     P put)
{
    const dim3 grid((unsigned)samples, (unsigned)((s.out + s.group - 1) / s.group));
    const size_t bytes = small_conv_shared<K>(s);
    if (bytes > SMALL_SHARED_PLAIN)
        HONE_LAUNCH_LARGE(b, (small_conv_k<T, K, TURNED, P>), grid, SMALL_THREADS, bytes, s, x, w, put);
    else HONE_LAUNCH(b, (small_conv_k<T, K, TURNED, P>), grid, SMALL_THREADS, bytes, s, x, w, put);
}

/* --- gradients of weights: blocks sum apart, then all are added in order ------------------------------------------ */
static const int ADD_LANES = 32, ADD_WARPS = 8;

/* part (rows, weights + out): dw, db = or += sums of its columns; either may be null. A template, S float, because two
 * files have it. */
template <typename S>
HONE_KERNEL(ADD_LANES *ADD_WARPS)
add_gradients_k(const S *__restrict__ part, int rows, int weights, int out, float *dw, float *db, int accumulate)
{
    HONE_SHARED(float, sums, ADD_LANES *ADD_WARPS);
    const int lane = (int)threadIdx.x, warp = (int)threadIdx.y, i = (int)blockIdx.x * ADD_LANES + lane,
              count = weights + out;
    float v = 0;
    if (i < count)
#pragma unroll 8
        for (int r = warp; r < rows; r += ADD_WARPS) v += part[(int64_t)r * count + i];
    sums[warp * ADD_LANES + lane] = v;
    __syncthreads();
    if (warp != 0 || i >= count) return;
    for (int k = 1; k < ADD_WARPS; k++) v += sums[k * ADD_LANES + lane];
    float *to = i < weights ? (dw ? dw + i : nullptr) : (db ? db + i - weights : nullptr);
    if (to) *to = accumulate ? *to + v : v;
}

static inline void launch_add_gradients(hone_backend *b, const float *part, int rows, int weights, int out, float *dw,
                                        float *db, int accumulate)
{
    HONE_LAUNCH(b, add_gradients_k<float>, (unsigned)((weights + out + ADD_LANES - 1) / ADD_LANES),
                dim3(ADD_LANES, ADD_WARPS), 0, part, rows, weights, out, dw, db, accumulate);
}

#endif
