/* conv_pool.cu - convolution, activation and max-pooling in one pass, and their backward: the LeNet
 * pattern, where the convolution's output is four times what is kept and never leaves the registers.
 *
 * x (N, H, W, I), w (O, kh, kw, I/g), y, dy (N, PH, PW, O), at u8 (N, PH, PW, O). A thread has a pooled
 * element: of 2 x 2 outputs by conv_small.cuh where the image fits shared memory, else of any window, place
 * by place. Only the places that won have a gradient, so dw visits one place a pooled element. Blocks add
 * their gradients in order. Which kernel runs is a function of the shape alone. */
#include "act.cuh"
#include "conv_small.cuh"

/* Of all pooled places, where the image does not fit: a fixed number, so that sums keep their order. */
static const int SLICES = 32;

/* Two windows on top of each other: `v` of the convolution, `pool` over its outputs. */
struct conv_pool {
    hone_window v, pool;
    hone_act act;
    float slope;
    int64_t samples;
    int h, w, in, ch, cw, ph, pw, out; /* image, its channels; convolution (never stored); pooled, its channels */
};

/* The convolution's own size is nowhere in the graph any more: it follows from the image and the window
 * (formula of torch.nn.Conv2d). */
static conv_pool shape_of(const hone_attrs &a, const hone_tensor *x, const hone_tensor *y)
{
    conv_pool s = {a.window,       a.pool, a.act, a.leaky.slope,  x->dim[0],      (int)x->dim[1], (int)x->dim[2],
                   (int)x->dim[3], 0,      0,     (int)y->dim[1], (int)y->dim[2], (int)y->dim[3]};
    s.ch = (s.h + 2 * s.v.pad[0] - s.v.dilation[0] * (s.v.kernel[0] - 1) - 1) / s.v.stride[0] + 1;
    s.cw = (s.w + 2 * s.v.pad[1] - s.v.dilation[1] * (s.v.kernel[1] - 1) - 1) / s.v.stride[1] + 1;
    return s;
}

/* The convolution at one place, bias included. */
template <typename T>
__device__ static float conv_at(const conv_pool &s, const T *x, const T *w, const T *bias, int64_t n, int oh, int ow,
                                int o)
{
    const int per_group = s.in / s.v.groups, first = o / (s.out / s.v.groups) * per_group;
    float sum = 0;
    for (int r = 0; r < s.v.kernel[0]; r++)
        for (int q = 0; q < s.v.kernel[1]; q++) {
            int h = oh * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
                ww = ow * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
            if (h < 0 || h >= s.h || ww < 0 || ww >= s.w) continue;
            const T *pixel = x + ((n * s.h + h) * s.w + ww) * s.in + first;
            const T *filter = w + (((int64_t)o * s.v.kernel[0] + r) * s.v.kernel[1] + q) * per_group;
            for (int c = 0; c < per_group; c++) sum += to_float(pixel[c]) * to_float(filter[c]);
        }
    return bias ? sum + to_float(bias[o]) : sum;
}

template <typename T>
HONE_KERNEL(MAP_THREADS)
conv_act_maxpool_k(conv_pool s, const T *x, const T *w, const T *bias, T *y, uint8_t *at, int64_t count)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int o = (int)(i % s.out), pw = (int)(i / s.out % s.pw), ph = (int)(i / s.out / s.pw % s.ph);
        const int64_t n = i / s.out / s.pw / s.ph;
        float best = -INFINITY;
        int place = -1;
        for (int t = 0; t < s.pool.kernel[0] * s.pool.kernel[1]; t++) {
            int oh = ph * s.pool.stride[0] - s.pool.pad[0] + t / s.pool.kernel[1] * s.pool.dilation[0];
            int ow = pw * s.pool.stride[1] - s.pool.pad[1] + t % s.pool.kernel[1] * s.pool.dilation[1];
            if (oh < 0 || oh >= s.ch || ow < 0 || ow >= s.cw) continue;
            float v = act_forward(s.act, s.slope, conv_at(s, x, w, bias, n, oh, ow, o));
            if (place >= 0 && !(v > best || (v != v && best == best))) continue;
            best = v;
            place = t;
        }
        y[i] = from_float<T>(best);
        if (at) at[i] = (uint8_t)(place < 0 ? 0 : place);
    }
}

/* part (SLICES, O * (row - 1) + O): row = taps * I/g sums, then the bias. Block (o, slice), a thread an element of a row. */
template <typename T>
HONE_KERNEL(MAP_THREADS)
conv_act_maxpool_dw_k(conv_pool s, const T *x, const T *y, const uint8_t *at, const T *dy, float *part)
{
    const int o = (int)blockIdx.x, per_group = s.in / s.v.groups, taps = s.v.kernel[0] * s.v.kernel[1],
              row = taps * per_group + 1;
    const int first = o / (s.out / s.v.groups) * per_group;
    const int64_t places = s.samples * s.ph * s.pw, begin = places * blockIdx.y / SLICES,
                  end = places * (blockIdx.y + 1) / SLICES;
    for (int e = (int)threadIdx.x; e < row; e += (int)blockDim.x) {
        const int c = e % per_group, q = e / per_group % s.v.kernel[1], r = e / per_group / s.v.kernel[1];
        float sum = 0;
        for (int64_t p = begin; p < end; p++) {
            const int64_t k = p * s.out + o, n = p / s.pw / s.ph;
            const int pw = (int)(p % s.pw), ph = (int)(p / s.pw % s.ph);
            const float g = act_backward(s.act, s.slope, to_float(y[k]), to_float(dy[k]));
            if (e == row - 1) {
                sum += g;
                continue;
            }
            int oh = ph * s.pool.stride[0] - s.pool.pad[0] + at[k] / s.pool.kernel[1] * s.pool.dilation[0];
            int ow = pw * s.pool.stride[1] - s.pool.pad[1] + at[k] % s.pool.kernel[1] * s.pool.dilation[1];
            int h = oh * s.v.stride[0] - s.v.pad[0] + r * s.v.dilation[0],
                w = ow * s.v.stride[1] - s.v.pad[1] + q * s.v.dilation[1];
            if (h >= 0 && h < s.h && w >= 0 && w < s.w)
                sum += g * to_float(x[((n * s.h + h) * s.w + w) * s.in + first + c]);
        }
        part[(int64_t)blockIdx.y * s.out * row + (e == row - 1 ? s.out * (row - 1) + o : o * (row - 1) + e)] = sum;
    }
}

/* One place's share of the gradient of the weights: g, and where the taps begin in the staged image. */
struct won {
    float g;
    int at;
};

/* How the image is staged for dw: (rows, pitch) floats, a pixel's channels in a row, zeros around. And how its work is
 * cut: a unit is one of `parts` of the places of a sample, a task one element of one channel's row. */
struct staged_dw {
    int rows, pitch, row, group, groups, tasks, slices, parts, part_places, blocks;
    int64_t units;
    divider by_pitch, by_in, by_group, by_pw, by_pool_w, by_parts;    /* of what is staged       */
    divider by_tasks, by_row, by_group_in, by_kernel_w, by_group_out; /* of what a thread computes */
};
static const int TASKS = 4, DW_BLOCKS = 528; /* tasks a thread; blocks that keep the largest chip busy */

/* 0 bytes: it does not fit. */
static size_t dw_shared(const staged_dw &d)
{
    const size_t bytes = sizeof(float) * (((size_t)d.rows * d.pitch + 2) / 2 * 2 + 2 * (size_t)d.part_places * d.group);
    const size_t sums = sizeof(float) * SMALL_THREADS;
    const bool fits = d.row <= TASKS * SMALL_THREADS && bytes <= SMALL_SHARED_MOST && d.units <= DIVIDEND_MOST;
    return !fits ? 0 : bytes > sums ? bytes : sums;
}

/* Few channels a block where there are few samples, so that all multiprocessors have work. */
static staged_dw staged_dw_of(const conv_pool &s)
{
    staged_dw d = {};
    d.row = s.v.kernel[0] * s.v.kernel[1] * (s.in / s.v.groups) + 1;
    d.rows = s.h + 2 * s.v.pad[0], d.pitch = (s.w + 2 * s.v.pad[1]) * s.in;
    /* Neighbouring tasks then lie in different banks from one row of taps to the next. */
    const int taps = s.v.kernel[1] * s.in;
    if (taps < 32) d.pitch += (taps - d.pitch % 32 + 32) % 32;
    d.group = TASKS * SMALL_THREADS / d.row;
    if (d.group > s.out) d.group = s.out;
    if (d.group < 1) d.group = 1;
    while (d.group > 1 && d.group * d.row > 64 && s.samples * ((s.out + d.group - 1) / d.group) < 2 * 132)
        d.group = (d.group + 1) / 2;
    d.groups = (s.out + d.group - 1) / d.group, d.tasks = d.group * d.row;
    d.slices = d.tasks < SMALL_THREADS ? SMALL_THREADS / d.tasks : 1;
    const int places = s.ph * s.pw, most = d.group < 2048 ? 2048 / d.group : 1;
    d.parts = (places + most - 1) / most, d.part_places = (places + d.parts - 1) / d.parts;
    d.parts = (places + d.part_places - 1) / d.part_places; /* none is empty */
    d.units = s.samples * d.parts;
    const int64_t blocks = DW_BLOCKS / d.groups > 16 ? DW_BLOCKS / d.groups : 16;
    d.blocks = (int)(d.units < blocks ? d.units : blocks);
    d.by_pitch = divider_by(d.pitch), d.by_in = divider_by(s.in), d.by_group = divider_by(d.group),
    d.by_pw = divider_by(s.pw), d.by_pool_w = divider_by(s.pool.kernel[1]), d.by_parts = divider_by(d.parts);
    d.by_tasks = divider_by(d.tasks), d.by_row = divider_by(d.row), d.by_group_in = divider_by(s.in / s.v.groups),
    d.by_kernel_w = divider_by(s.v.kernel[1]), d.by_group_out = divider_by(s.out / s.v.groups);
    return d;
}

/* Where a pooled place's window won: its first row and column in the staged image, or false, outside the convolution. */
__device__ static inline bool winner(const conv_pool &s, const staged_dw &d, int ph, int pw, unsigned tap, int *row,
                                     int *column)
{
    const int q = d.by_pool_w.split(tap), r = (int)tap;
    const int oh = ph * s.pool.stride[0] - s.pool.pad[0] + r * s.pool.dilation[0],
              ow = pw * s.pool.stride[1] - s.pool.pad[1] + q * s.pool.dilation[1];
    *row = oh * s.v.stride[0], *column = ow * s.v.stride[1];
    return oh >= 0 && oh < s.ch && ow >= 0 && ow < s.cw;
}

/* Stages one unit: the sample, and for its places [begin, end) and the block's channels what won. */
template <typename T>
__device__ static inline void stage_unit(const conv_pool &s, const staged_dw &d, float *image, won *list, const T *x,
                                         const T *y, const uint8_t *at, const T *dy, int begin, int end, int first)
{
#pragma unroll 4
    for (unsigned j = threadIdx.x; j < (unsigned)(d.rows * d.pitch); j += SMALL_THREADS) {
        unsigned row = j, column = (unsigned)d.by_pitch.split(row);
        const int c = d.by_in.split(column), h = (int)row - s.v.pad[0], w = (int)column - s.v.pad[1];
        const bool inside = (unsigned)h < (unsigned)s.h && (unsigned)w < (unsigned)s.w;
        image[j] = inside ? to_float(x[((int64_t)h * s.w + w) * s.in + c]) : 0;
    }
#pragma unroll 2
    for (unsigned j = threadIdx.x; j < (unsigned)((end - begin) * d.group); j += SMALL_THREADS) {
        unsigned place = j;
        const int o = first + d.by_group.split(place);
        if (o >= s.out) continue;
        place += (unsigned)begin;
        const int64_t k = (int64_t)place * s.out + o;
        const int pw = d.by_pw.split(place);
        int row, column;
        const bool inside = winner(s, d, (int)place, pw, at[k], &row, &column);
        const float g = act_backward(s.act, s.slope, to_float(y[k]), to_float(dy[k]));
        list[j] = {inside ? g : 0, inside ? row * d.pitch + column * s.in : 0};
    }
}

/* part (blocks, O * (row - 1) + O): all weights, then all biases. Grid (blocks, groups of output channels). A thread
 * walks the places of a unit for one element of a channel's row: what won there is one read for the warp, and the image
 * another; the bias is an element whose image is 1 everywhere. Slices of threads share the places of few tasks. */
template <typename T>
HONE_KERNEL(SMALL_THREADS)
staged_dw_k(conv_pool s, staged_dw d, const T *__restrict__ x, const T *__restrict__ y, const uint8_t *__restrict__ at,
            const T *__restrict__ dy, float *__restrict__ part)
{
    HONE_DYNAMIC_SHARED(float, image);
    const int one = d.rows * d.pitch, first = (int)blockIdx.y * d.group, t = (int)threadIdx.x;
    won *list = (won *)(image + (one + 2) / 2 * 2);
    const int slice = d.slices > 1 ? (int)d.by_tasks.quotient(threadIdx.x) : 0;
    float sum[TASKS] = {};
    const int places = s.ph * s.pw;
    for (unsigned unit = blockIdx.x; unit < d.units; unit += gridDim.x) {
        unsigned sample = unit;
        const int part_at = d.by_parts.split(sample), begin = part_at * d.part_places,
                  end = begin + d.part_places < places ? begin + d.part_places : places;
        const int64_t n = sample, from = n * places * s.out;
        __syncthreads(); /* the unit before has been read */
        stage_unit(s, d, image, list, x + n * s.h * s.w * s.in, y + from, at + from, dy + from, begin, end, first);
        if (t == 0) image[one] = 1;
        __syncthreads();
#pragma unroll
        for (int j = 0; j < TASKS; j++) {
            const int task = t - slice * d.tasks + j * SMALL_THREADS;
            unsigned c = (unsigned)task;
            const int e = d.by_row.split(c);
            if (task >= d.tasks || slice >= d.slices || first + (int)c >= s.out) break;
            unsigned r = (unsigned)e;
            const int channel = d.by_group_in.split(r), q = d.by_kernel_w.split(r), bias = e == d.row - 1;
            const int taps = (int)r * s.v.dilation[0] * d.pitch + q * s.v.dilation[1] * s.in;
            const int group = (int)d.by_group_out.quotient((unsigned)first + c) * (s.in / s.v.groups);
            const float *base = image + (bias ? one : taps + group + channel);
            const int mask = bias ? 0 : -1;
#pragma unroll 4
            for (int p = slice; p < end - begin; p += d.slices) {
                const won here = list[p * d.group + (int)c];
                sum[j] += here.g * base[here.at & mask];
            }
        }
    }
    const int64_t weights = (int64_t)s.out * (d.row - 1);
    float *put = part + blockIdx.x * (weights + s.out);
    __syncthreads();
    if (d.slices > 1) { /* one task a thread */
        image[t] = sum[0];
        __syncthreads();
        for (int k = 1; slice == 0 && k < d.slices; k++) sum[0] += image[k * d.tasks + t];
        if (slice != 0) return;
    }
#pragma unroll
    for (int j = 0; j < TASKS; j++) {
        const int task = t + j * SMALL_THREADS;
        unsigned c = (unsigned)task;
        const int e = d.by_row.split(c), o = first + (int)c;
        if (task >= d.tasks || o >= s.out) break;
        put[e == d.row - 1 ? weights + o : (int64_t)o * (d.row - 1) + e] = sum[j];
    }
}

/* Whether the convolution is one of conv_small.cuh's, under a pool of 2 x 2 places that lie side by side. */
static bool halving(const conv_pool &s)
{
    const hone_window &v = s.v, &p = s.pool;
    return (v.kernel[0] == 3 || v.kernel[0] == 5) && v.kernel[1] == v.kernel[0] && v.stride[0] == 1 &&
           v.stride[1] == 1 && v.dilation[0] == 1 && v.dilation[1] == 1 && v.groups == 1 && p.kernel[0] == 2 &&
           p.kernel[1] == 2 && p.stride[0] == 2 && p.stride[1] == 2 && p.pad[0] == 0 && p.pad[1] == 0 &&
           p.dilation[0] == 1 && p.dilation[1] == 1 && (int64_t)s.h * s.w * s.in < 1 << 20;
}

/* The first maximum of the 2 x 2 outputs behind bias and activation, in the order of the taps. */
template <typename T> struct put_pooled {
    T *y;
    uint8_t *at;
    const T *bias;
    hone_act act;
    float slope;
    int ph, pw, out;
    __device__ void operator()(int64_t n, int o, int row, int column, const float *v) const
    {
        const float shift = bias ? to_float(bias[o]) : 0;
        float best = -INFINITY;
        int place = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float u = act_forward(act, slope, bias ? v[k] + shift : v[k]);
            const bool wins = !(u <= best) && best == best;
            best = wins ? u : best;
            place = wins ? k : place;
        }
        const int64_t i = ((n * ph + row) * pw + column) * out + o;
        y[i] = from_float<T>(best);
        if (at) at[i] = (uint8_t)place;
    }
};

/* False where it does not fit. */
template <typename T, int K> static bool small_forward(hone_backend *b, const hone_launch *l, const conv_pool &s)
{
    const small_image image =
        small_image_of(s.h, s.w, s.in, s.v.pad[0], s.v.pad[1], 2 * s.ph + K - 1, 2 * s.pw + K - 1, pack<T>::size);
    const small_conv c = small_conv_of(image, s.out, s.ph, s.pw);
    if (small_conv_shared<K>(c) > SMALL_SHARED_MOST) return false;
    launch_small_conv<T, K, false>(
        b, c, s.samples, (const T *)l->in[0], (const T *)l->in[1],
        put_pooled<T>{(T *)l->out[0], (uint8_t *)l->out[1], (const T *)l->in[2], s.act, s.slope, s.ph, s.pw, s.out});
    return true;
}

extern "C" {
/* Between the three ops nothing is written: a place's convolution lives in a register. */
void cuda_conv_act_maxpool(hone_backend *b, const hone_launch *l)
{
    const conv_pool s = shape_of(l->node->attr, l->in_desc[0], l->out_desc[0]);
    const int64_t count = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        if (halving(s) && (s.v.kernel[0] == 3 ? small_forward<T, 3>(b, l, s) : small_forward<T, 5>(b, l, s))) return;
        HONE_LAUNCH(b, conv_act_maxpool_k<T>, map_blocks(count), MAP_THREADS, 0, s, (const T *)l->in[0],
                    (const T *)l->in[1], (const T *)l->in[2], (T *)l->out[0], (uint8_t *)l->out[1], count);
    });
}

/* Scratch: a gradient for each block; and in node->choice which kernel, the same for all that fit. */
hone_status cuda_conv_act_maxpool_dw_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const conv_pool s = shape_of(n->attr, &g->tensor[n->in[0]], &g->tensor[n->in[1]]);
    const staged_dw d = staged_dw_of(s);
    const bool staged = dw_shared(d) > 0;
    n->work_bytes = (size_t)(staged ? d.blocks : SLICES) * (size_t)s.out * (size_t)d.row * sizeof(float);
    n->choice = staged ? "own kernel: images in shared memory" : "own kernel: images too large for shared memory";
    return HONE_OK;
}

/* dw or db may be absent: a frozen one is summed but not stored. */
void cuda_conv_act_maxpool_dw(hone_backend *b, const hone_launch *l)
{
    const conv_pool s = shape_of(l->node->attr, l->in_desc[0], l->in_desc[1]);
    const staged_dw d = staged_dw_of(s);
    const size_t bytes = dw_shared(d);
    float *part = (float *)l->work;
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const T *x = (const T *)l->in[0], *y = (const T *)l->in[1], *dy = (const T *)l->in[3];
        const uint8_t *at = (const uint8_t *)l->in[2];
        const dim3 staged((unsigned)d.blocks, (unsigned)d.groups), plain((unsigned)s.out, SLICES);
        if (!bytes) HONE_LAUNCH(b, conv_act_maxpool_dw_k<T>, plain, MAP_THREADS, 0, s, x, y, at, dy, part);
        else if (bytes > SMALL_SHARED_PLAIN)
            HONE_LAUNCH_LARGE(b, staged_dw_k<T>, staged, SMALL_THREADS, bytes, s, d, x, y, at, dy, part);
        else HONE_LAUNCH(b, staged_dw_k<T>, staged, SMALL_THREADS, bytes, s, d, x, y, at, dy, part);
    });
    launch_add_gradients(b, part, bytes ? d.blocks : SLICES, s.out * (d.row - 1), s.out, (float *)l->out[0],
                         (float *)l->out[1], l->node->accumulate);
}
}
