/* conv_epilogue.cu - what is left to do around a library's convolution: bias and activation where no plan
 * has them, and parameter gradients from the storage type into fp32.
 *
 * y (N, OH, OW, O) in place, bias (O); dw (O, kh, kw, I/g). Elementwise, any count; a thread strides over
 * elements, neighbours over neighbours. */
#include "conv_plan.h"
#include "tile.cuh"

template <typename T>
HONE_KERNEL(MAP_THREADS)
bias_act_k(T *y, const T *bias, int64_t channels, int64_t count, hone_act act, float slope)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        float v = to_float(y[i]);
        if (bias) v += to_float(bias[i % channels]);
        y[i] = from_float<T>(act_forward(act, slope, v));
    }
}

/* dw = or += from; `from` is in the storage type of the activations, which a library wants its result in. */
template <typename T> HONE_KERNEL(MAP_THREADS) put_gradient_k(const T *from, float *dw, int64_t count, int accumulate)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        dw[i] = accumulate ? dw[i] + to_float(from[i]) : to_float(from[i]);
}

extern "C" {
/* `bias` may be NULL, `act` NONE. */
void hone_cuda_bias_act(hone_backend *b, hone_dtype dtype, void *y, const void *bias, int64_t channels, int64_t count,
                        hone_act act, float slope)
{
    with_dtype(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, bias_act_k<T>, map_blocks(count), MAP_THREADS, 0, (T *)y, (const T *)bias, channels, count, act,
                    slope);
    });
}

void hone_cuda_put_gradient(hone_backend *b, hone_dtype dtype, const void *from, float *dw, int64_t count,
                            int accumulate)
{
    with_dtype(dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, put_gradient_k<T>, map_blocks(count), MAP_THREADS, 0, (const T *)from, dw, count, accumulate);
    });
}
}
