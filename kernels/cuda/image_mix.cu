/* image_mix.cu - erasing, mixup and cutmix of normalised pictures: a block a sample, a thread an element.
 *
 * Definitions, and why sums are in double: kernels/ref/image_mix.c. x, y (N, H, W, C) as stored, sample and label
 * i32 (N), other i32 (N), share fp32 (N). */
#include "launch.cuh"

static const int MIX_THREADS = 256;

/* Arguments of both kernels; those of mixing alone are null in erasing. */
struct mix_args {
    const int32_t *label, *sample; /* (N) */
    const int32_t *table;          /* (2, HONE_MIX_TABLE) */
    const hone_step *step;         /* seed and epoch */
    hone_augment_attr a;
    int32_t *other;
    float *share;
    int64_t N;
    int H, W, C;
};

/* Whether element i of a picture lies in a box. */
__device__ static bool in_box(const hone_box &box, int i, const mix_args &v)
{
    const int h = i / v.C / v.W, w = i / v.C % v.W;
    return box.found && h >= box.top && h < box.top + box.height && w >= box.left && w < box.left + box.width;
}

/* y may be x: an element is read by the thread that writes it. */
template <typename T> HONE_KERNEL(MIX_THREADS) image_erase_k(mix_args v, const T *x, T *y)
{
    HONE_SHARED(hone_box, box, 1);
    const int count = v.H * v.W * v.C;
    for (int64_t n = blockIdx.x; n < v.N; n += gridDim.x) {
        if (threadIdx.x == 0) *box = hone_erase_draw(&v.a, v.step->seed, v.sample[n], v.step->epoch, v.H, v.W);
        __syncthreads(); /* the box is there */
        for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x)
            y[n * count + i] = in_box(*box, i, v) ? from_float<T>(0) : x[n * count + i];
        __syncthreads(); /* everyone has read it */
    }
}

/* The first thread draws, and writes what is one number a sample; y is never x, as row n is read for row n - 1 too. */
template <typename T> HONE_KERNEL(MIX_THREADS) image_mix_k(mix_args v, const T *x, T *y)
{
    HONE_SHARED(hone_mix, mix, 1);
    const int count = v.H * v.W * v.C;
    for (int64_t n = blockIdx.x; n < v.N; n += gridDim.x) {
        const int64_t next = (n + 1) % v.N;
        if (threadIdx.x == 0) {
            *mix = hone_mix_draw(&v.a, v.table, v.step->seed, v.sample[n], v.step->epoch, v.H, v.W);
            v.other[n] = v.label[next];
            v.share[n] = hone_mix_weight(mix, v.H, v.W);
        }
        __syncthreads(); /* the mixture is there */
        const double part = (double)mix->own / HONE_ONE_Q16;
        /* cutmix and pictures that are left alone: elements are taken over as they are, NaN payloads included */
        const bool whole = mix->box.found || mix->own == HONE_ONE_Q16;
        for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) {
            const T own = x[n * count + i], far = x[next * count + i];
            if (whole) y[n * count + i] = in_box(mix->box, i, v) ? far : own;
            else
                y[n * count + i] =
                    from_float<T>((float)((double)to_float(own) * part + (double)to_float(far) * (1 - part)));
        }
        __syncthreads(); /* everyone has read it */
    }
}

/* The arguments that both rows share; inputs have their places in ops.def. */
static mix_args arguments(const hone_launch *l, int sample, int step)
{
    const hone_tensor *y = l->out_desc[0];
    mix_args v = {};
    v.sample = (const int32_t *)l->in[sample];
    v.step = (const hone_step *)l->in[step];
    v.a = l->node->attr.augment;
    v.N = y->dim[0];
    v.H = (int)y->dim[1];
    v.W = (int)y->dim[2];
    v.C = (int)y->dim[3];
    return v;
}

/* One a sample, as far as they fit; the kernels' loops take the rest. */
static unsigned blocks_of(const mix_args &v) { return (unsigned)(v.N < MAP_BLOCKS_MOST ? v.N : MAP_BLOCKS_MOST); }

extern "C" {
void cuda_image_erase(hone_backend *b, const hone_launch *l)
{
    mix_args v = arguments(l, 1, 2);
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, image_erase_k<T>, blocks_of(v), MIX_THREADS, 0, v, (const T *)l->in[0], (T *)l->out[0]);
    });
}

void cuda_image_mix(hone_backend *b, const hone_launch *l)
{
    mix_args v = arguments(l, 2, 4);
    v.label = (const int32_t *)l->in[1];
    v.table = (const int32_t *)l->in[3];
    v.other = (int32_t *)l->out[1];
    v.share = (float *)l->out[2];
    with_dtype(l->out_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, image_mix_k<T>, blocks_of(v), MIX_THREADS, 0, v, (const T *)l->in[0], (T *)l->out[0]);
    });
}
}
