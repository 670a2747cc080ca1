/* image_batch.cu - the first node of an image program: gather, crop, flip, normalise, straight from
 * the resident uint8 pool. pool u8 (P, Hp, Wp, C), row and sample i32 (N), x (N, H, W, C).
 *
 * One thread an output pixel; a block's threads draw the same crop for their sample again, which costs
 * ten Philox rounds and saves a launch. The same bits as every dialect: pixel / 255 in double, once. */
#include "launch.cuh"

struct image_view {
    const uint8_t *pool;
    const int32_t *row, *sample;
    const hone_step *step;
    hone_image_attr a;
    int pool_h, pool_w;
};

template <typename T> HONE_KERNEL(MAP_THREADS) image_batch_k(image_view v, T *x, int64_t pixels)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    const int height = v.a.height, width = v.a.width, channels = v.a.channels;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += step) {
        const int w = (int)(i % width), h = (int)(i / width % height);
        const int64_t n = i / width / height;
        int top = (v.pool_h - height) / 2, left = (v.pool_w - width) / 2, mirror = 0;
        if (v.a.augment) {
            hone_augment d = hone_augment_draw(v.step->seed, v.a.stream, (uint64_t)(uint32_t)v.sample[n],
                                               (uint64_t)(uint32_t)v.step->epoch, v.a.crop_pad, v.a.flip);
            top += d.dy;
            left += d.dx;
            mirror = d.flip;
        }
        const int from_h = top + h, from_w = left + (mirror ? width - 1 - w : w);
        const bool inside = from_h >= 0 && from_h < v.pool_h && from_w >= 0 && from_w < v.pool_w;
        const uint8_t *pixel = v.pool + (((v.row ? v.row[n] : n) * v.pool_h + from_h) * v.pool_w + from_w) * channels;
        for (int c = 0; c < channels; c++) {
            double value = inside ? pixel[c] / 255.0 : 0;
            x[i * channels + c] = from_float<T>((float)((value - (double)v.a.mean[c]) / (double)v.a.std[c]));
        }
    }
}

extern "C" void cuda_image_batch(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *pool = l->in_desc[0], *x = l->out_desc[0];
    image_view v = {
        (const uint8_t *)l->in[0], (const int32_t *)l->in[1], (const int32_t *)l->in[2], (const hone_step *)l->in[3],
        l->node->attr.image,       (int)pool->dim[1],         (int)pool->dim[2]};
    int64_t pixels = hone_tensor_count(x) / x->dim[3];
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, image_batch_k<T>, map_blocks(pixels), MAP_THREADS, 0, v, (T *)l->out[0], pixels);
    });
}
