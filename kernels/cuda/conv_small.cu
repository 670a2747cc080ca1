/* conv_small.cu - conv_dx and conv_dw with few channels (LeNet's second layer): direct, a sample in shared memory.
 *
 * x, dx (N, H, W, I), dy (N, OH, OW, O), w (O, K, K, I); K 3 or 5, stride 1. dx is a convolution of dy with the filters
 * turned. dw: a thread has a row of K taps of one input channel for four output channels; a place of dy is read once for
 * 4 K products. Blocks sum over their samples, and a second launch adds the blocks in order: no atomics. */
#include "conv_small.cuh"
#include "conv_small.h"

/* A shape's choices for conv_dw. A unit of work is one of `parts` runs of output rows of a sample. */
struct small_dw {
    small_image image;
    int oh, ow, out;
    int quads, tasks,
        slices; /* a block: fours of output channels; quads * K * in; threads that share one task's rows */
    int parts, part_rows, blocks, groups;
    unsigned units;
    divider by_outputs, by_tasks, by_in, by_parts; /* 4 * quads, ... */
};
static const int DW_BLOCKS_MOST = 264; /* two a multiprocessor of the largest chip; each writes a whole gradient */

static int round_up(int n, int to) { return (n + to - 1) / to * to; }
static int64_t dw_gradient_floats(const small_dw &s) { return (int64_t)s.part_rows * s.ow * 4 * s.quads; }

/* A thread's sums: K x 4 products and 4 of the bias. */
static size_t dw_shared(const small_dw &s, int k)
{
    const int64_t stage = small_image_floats(s.image) + dw_gradient_floats(s),
                  sums = (int64_t)SMALL_THREADS * 4 * (k + 1);
    return sizeof(float) * (size_t)(stage > sums ? stage : sums);
}

static small_dw small_dw_of(const hone_small_conv *c, int wide)
{
    const int k = c->window.kernel[0], ow2 = round_up((int)c->ow, 2);
    small_dw s = {};
    s.image =
        small_image_of(c->h, c->w, c->in, c->window.pad[0], c->window.pad[1], (int)c->oh + k - 1, ow2 + k - 1, wide);
    s.oh = (int)c->oh, s.ow = (int)c->ow, s.out = (int)c->out;
    const int all = (s.out + 3) / 4, row = k * (int)c->in, most = row < SMALL_THREADS ? SMALL_THREADS / row : 1;
    s.groups = (all + most - 1) / most, s.quads = (all + s.groups - 1) / s.groups, s.tasks = s.quads * row;
    /* Halves of samples where these alone don't fill the chip, then until a part's gradient leaves room for two blocks. */
    for (s.parts = c->samples * s.groups < 132 ? 2 : 1;; s.parts++) {
        s.part_rows = (s.oh + s.parts - 1) / s.parts;
        if (s.part_rows == 1 || dw_gradient_floats(s) <= 8192) break;
    }
    s.parts = (s.oh + s.part_rows - 1) / s.part_rows; /* none is empty */
    s.slices = s.tasks > SMALL_THREADS ? 1 : SMALL_THREADS / s.tasks;
    if (s.slices > s.part_rows) s.slices = s.part_rows;
    s.units = (unsigned)(c->samples * s.parts);
    s.blocks = s.units < (unsigned)DW_BLOCKS_MOST ? (int)s.units : DW_BLOCKS_MOST;
    s.by_outputs = divider_by(4 * s.quads), s.by_tasks = divider_by(s.tasks), s.by_in = divider_by(c->in),
    s.by_parts = divider_by(s.parts);
    return s;
}

/* dy of rows [begin, end) of one sample to (rows, ow, 4 * quads) floats, from output channel `first` on. */
template <typename T>
__device__ static inline void stage_gradient(float *to, const T *dy, const small_dw &s, int begin, int end, int first)
{
    const unsigned count = (unsigned)((end - begin) * s.ow * 4 * s.quads);
#pragma unroll 4
    for (unsigned j = threadIdx.x; j < count; j += SMALL_THREADS) {
        unsigned place = j;
        const int o = first + s.by_outputs.split(place);
        to[j] = o < s.out ? to_float(dy[((int64_t)begin * s.ow + place) * s.out + o]) : 0;
    }
}

/* sum (K + 1, 4) += a thread's rows of one unit; row K is the bias. `line` begins at the first row that the task sees. */
template <int K>
__device__ static inline void add_rows(const float *line, const float *dy, const small_dw &s, int rows, int slice,
                                       float (*sum)[4])
{
    const int outputs = 4 * s.quads;
    for (int row = slice; row < rows; row += s.slices) {
        const float2 *pair = (const float2 *)(line + row * s.image.pitch);
        const float *d = dy + row * s.ow * outputs;
        float x[K + 1]; /* x under the taps at two neighbouring places; moves on by two */
#pragma unroll
        for (int q = 0; q < K - 1; q += 2) x[q + 2] = pair[q / 2].x, x[q + 3] = pair[q / 2].y;
#pragma unroll 2
        for (int column = 0; column < s.ow; column += 2, d += 2 * outputs) {
#pragma unroll
            for (int q = 0; q < K - 1; q++) x[q] = x[q + 2];
            const float2 next = pair[(column + K - 1) / 2];
            x[K - 1] = next.x, x[K] = next.y;
            const bool two = column + 1 < s.ow;
            const float4 a = *(const float4 *)d, b = *(const float4 *)(d + (two ? outputs : 0));
            const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int q = 0; q <= K; q++)
#pragma unroll
                for (int k = 0; k < 4; k++) sum[q][k] += q < K ? x[q] * left[k] : left[k];
            if (!two) break; /* its x would be multiplied by nothing */
#pragma unroll
            for (int q = 0; q <= K; q++)
#pragma unroll
                for (int k = 0; k < 4; k++) sum[q][k] += q < K ? x[q < K ? q + 1 : 0] * right[k] : right[k];
        }
    }
}

/* Grid (blocks, groups of output channels); part (blocks, O * K * K * I + O). */
template <typename T, int K>
HONE_KERNEL(SMALL_THREADS)
small_dw_k(small_dw s, const T *__restrict__ x, const T *__restrict__ dy, float *__restrict__ part)
{
    HONE_DYNAMIC_SHARED(float, planes);
    float *grad = planes + (s.image.channels * s.image.plane() + 3) / 4 * 4;
    const int in = s.image.channels, t = (int)threadIdx.x, first = (int)blockIdx.y * 4 * s.quads;
    unsigned slice_at = threadIdx.x;
    const int task = s.by_tasks.split(slice_at), slice = (int)slice_at, r = task % K;
    unsigned quad_at = (unsigned)(task / K);
    const int c = s.by_in.split(quad_at), quad = (int)quad_at;
    float sum[K + 1][4] = {};
    for (unsigned unit = blockIdx.x; unit < s.units; unit += gridDim.x) {
        unsigned sample = unit;
        const int from = s.by_parts.split(sample) * s.part_rows,
                  to = from + s.part_rows < s.oh ? from + s.part_rows : s.oh;
        const int64_t n = sample;
        stage_image(planes, x + n * s.image.h * s.image.w * in, s.image);
        stage_gradient(grad, dy + n * s.oh * s.ow * s.out, s, from, to, first);
        __syncthreads();
        if (slice < s.slices)
            add_rows<K>(planes + c * s.image.plane() + (from + r) * s.image.pitch, grad + 4 * quad, s, to - from, slice,
                        sum);
        __syncthreads(); /* the next unit, or the sums below, take the place of what was read */
    }
#pragma unroll
    for (int q = 0; q <= K; q++)
#pragma unroll
        for (int k = 0; k < 4; k++) planes[(q * 4 + k) * SMALL_THREADS + t] = sum[q][k];
    __syncthreads();
    if (slice != 0) return;
    const int64_t weights = (int64_t)s.out * K * K * in;
    float *put = part + blockIdx.x * (weights + s.out);
    for (int j = 0; j < 4 * (K + 1); j++) {
        const int q = j / 4, o = first + 4 * quad + j % 4;
        if (o >= s.out || (q == K && (r || c))) continue;
        float v = 0;
        for (int k = 0; k < s.slices; k++) v += planes[j * SMALL_THREADS + k * s.tasks + task];
        put[q == K ? weights + o : (((int64_t)o * K + r) * K + q) * in + c] = v;
    }
}

/* 2 x 2 places of dx; those past an odd edge are not there. */
template <typename T> struct put_dx {
    T *dx;
    int h, w, in;
    __device__ void operator()(int64_t n, int c, int row, int column, const float *v) const
    {
        for (int k = 0; k < 4; k++) {
            const int a = 2 * row + k / 2, b = 2 * column + k % 2;
            if (a < h && b < w) dx[((n * h + a) * w + b) * in + c] = from_float<T>(v[k]);
        }
    }
};

/* dy is the image here, padded so that the turned filter meets its edges, and x's channels are the output's. */
static small_conv small_dx_of(const hone_small_conv *c, int wide)
{
    const int k = c->window.kernel[0], blocks_h = (int)(c->h + 1) / 2, blocks_w = (int)(c->w + 1) / 2;
    return small_conv_of(small_image_of(c->oh, c->ow, c->out, k - 1 - c->window.pad[0], k - 1 - c->window.pad[1],
                                        2 * blocks_h + k - 1, 2 * blocks_w + k - 1, wide),
                         (int)c->in, blocks_h, blocks_w);
}

/* What both gradients ask: the window, and so few channels that tensor cores would multiply mostly zeros. */
static bool small(const hone_small_conv *c)
{
    const hone_window &v = c->window;
    const int k = v.kernel[0];
    return (k == 3 || k == 5) && v.kernel[1] == k && v.stride[0] == 1 && v.stride[1] == 1 && v.dilation[0] == 1 &&
           v.dilation[1] == 1 && v.groups == 1 && v.pad[0] < k && v.pad[1] < k && c->in <= 8 && c->out <= 32 &&
           c->h <= 64 && c->w <= 64 && c->samples <= DIVIDEND_MOST / 64; /* 64 parts a sample at most */
}

/* K as a constant. */
template <typename F> static void with_kernel(int k, F f)
{
    if (k == 3) f(std::integral_constant<int, 3>());
    else f(std::integral_constant<int, 5>());
}

extern "C" {
bool hone_small_conv_dx_fits(const hone_small_conv *c)
{
    if (!small(c)) return false;
    const small_conv s = small_dx_of(c, 4);
    return (c->window.kernel[0] == 3 ? small_conv_shared<3>(s) : small_conv_shared<5>(s)) <= SMALL_SHARED_MOST;
}

bool hone_small_conv_dw_fits(const hone_small_conv *c)
{
    return small(c) && dw_shared(small_dw_of(c, 4), c->window.kernel[0]) <= SMALL_SHARED_MOST;
}

size_t hone_small_conv_dw_bytes(const hone_small_conv *c)
{
    const int64_t k = c->window.kernel[0];
    return (size_t)(small_dw_of(c, 4).blocks * (c->out * k * k * c->in + c->out)) * sizeof(float);
}

void hone_small_conv_dx(hone_backend *b, const hone_small_conv *c, hone_dtype dtype, const void *dy, const void *w,
                        void *dx)
{
    with_dtype(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        with_kernel(c->window.kernel[0], [&](auto k) {
            launch_small_conv<T, decltype(k)::value, true>(b, small_dx_of(c, pack<T>::size), c->samples, (const T *)dy,
                                                           (const T *)w,
                                                           put_dx<T>{(T *)dx, (int)c->h, (int)c->w, (int)c->in});
        });
    });
}

/* One launch for all sums, one to add the blocks'. */
void hone_small_conv_dw(hone_backend *b, const hone_small_conv *c, hone_dtype dtype, const void *x, const void *dy,
                        float *dw, float *db, int accumulate, void *work)
{
    const small_dw s = small_dw_of(c, 16 / (int)hone_dtype_bytes(dtype));
    const int k = c->window.kernel[0];
    const dim3 grid((unsigned)s.blocks, (unsigned)s.groups);
    const size_t bytes = dw_shared(s, k);
    with_dtype(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        with_kernel(k, [&](auto size) {
            constexpr int K = decltype(size)::value;
            if (bytes > SMALL_SHARED_PLAIN)
                HONE_LAUNCH_LARGE(b, (small_dw_k<T, K>), grid, SMALL_THREADS, bytes, s, (const T *)x, (const T *)dy,
                                  (float *)work);
            else
                HONE_LAUNCH(b, (small_dw_k<T, K>), grid, SMALL_THREADS, bytes, s, (const T *)x, (const T *)dy,
                            (float *)work);
        });
    });
    launch_add_gradients(b, (const float *)work, s.blocks, (int)(c->out * k * k * c->in), (int)c->out, dw, db,
                         accumulate);
}
}
