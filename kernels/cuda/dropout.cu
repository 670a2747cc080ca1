/* dropout.cu - dropout of elements and of whole samples; the backward rows draw the same mask again.
 *
 * One Philox call serves four neighbours, so a thread takes whole calls: 16 bytes of elements, two calls of 16-bit storage.
 * An element is kept where its 24 bits reach p * 2^24, which is what hone_dropout_keep compares in float, exactly: no
 * conversion. The seed and the step come from the step block in device memory: a recorded step draws another mask each
 * time. */
#include "lanes.cuh"
#include "launch.cuh"

/* y[i] = keep(i) ? x[i] / (1 - p) : 0; least = ceil(p * 2^24). */
template <typename T>
HONE_KERNEL(MAP_THREADS)
dropout_k(const T *x, T *y, const hone_step *s, int64_t n, uint32_t least, float scale, uint32_t stream)
{
    constexpr int W = pack<T>::size;
    const int64_t step = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const uint64_t seed = s->seed, draw = hone_step_draw(s);
    const int64_t packs = n / W;
    for (int64_t p = first; p < packs; p += step) {
        float v[W];
        read_lanes<T, W>(x + p * W, v);
#pragma unroll
        for (int q = 0; q < W / 4; q++) {
            const hone_philox4 r = hone_philox(seed, stream, (uint64_t)(p * (W / 4) + q), draw);
#pragma unroll
            for (int k = 0; k < 4; k++) v[4 * q + k] = r.v[k] >> 8 >= least ? v[4 * q + k] * scale : 0;
        }
        write_lanes<T, W>(y + p * W, v);
    }
    for (int64_t i = packs * W + first; i < n; i += step) {
        const hone_philox4 r = hone_philox(seed, stream, (uint64_t)i / 4, draw);
        y[i] = from_float<T>(r.v[i & 3] >> 8 >= least ? to_float(x[i]) * scale : 0);
    }
}

/* The same with one draw a sample of `size` elements. */
template <typename T>
HONE_KERNEL(MAP_THREADS)
drop_path_k(const T *x, T *y, const hone_step *s, int64_t n, int64_t size, float p, uint32_t stream)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const float scale = p < 1 ? 1 / (1 - p) : 0;
    const uint64_t seed = s->seed, draw = hone_step_draw(s);
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        int keep = hone_dropout_keep(seed, stream, draw, (uint64_t)(i / size), p);
        y[i] = from_float<T>(keep ? to_float(x[i]) * scale : 0);
    }
}

static void launch_dropout(hone_backend *b, const hone_launch *l)
{
    const int64_t n = hone_tensor_count(l->out_desc[0]);
    const float p = l->node->attr.drop.p;
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, dropout_k<T>, map_blocks(n / pack<T>::size + 1), MAP_THREADS, 0, (const T *)l->in[0],
                    (T *)l->out[0], (const hone_step *)l->in[1], n, (uint32_t)ceilf(p * 16777216.0f),
                    p < 1 ? 1 / (1 - p) : 0, l->node->attr.drop.stream);
    });
}

static void launch_drop_path(hone_backend *b, const hone_launch *l)
{
    int64_t n = hone_tensor_count(l->out_desc[0]);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, drop_path_k<T>, map_blocks(n), MAP_THREADS, 0, (const T *)l->in[0], (T *)l->out[0],
                    (const hone_step *)l->in[1], n, n / l->out_desc[0]->dim[0], l->node->attr.drop.p,
                    l->node->attr.drop.stream);
    });
}

extern "C" {
void cuda_dropout(hone_backend *b, const hone_launch *l) { launch_dropout(b, l); }
void cuda_dropout_dx(hone_backend *b, const hone_launch *l) { launch_dropout(b, l); }
void cuda_drop_path(hone_backend *b, const hone_launch *l) { launch_drop_path(b, l); }
void cuda_drop_path_dx(hone_backend *b, const hone_launch *l) { launch_drop_path(b, l); }
}
