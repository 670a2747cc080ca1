/* image_view.cu - shift or resized crop, rotation and flip of pictures, straight from the uint8 pool.
 *
 * A block owns one sample at a time: its first thread draws the map, all look up their pixels. Integers throughout
 * (hone/augment.h), so the bytes are those of every dialect. pool u8 (P, Hp, Wp, C), row and sample i32 (N),
 * y u8 (N, H, W, C). */
#include "launch.cuh"

static const int VIEW_THREADS = 256;

/* Arguments of the kernel: pictures of the pool (Hp, Wp), views (H, W), channels. */
struct view_args {
    const uint8_t *pool;
    const int32_t *row, *sample;
    const hone_step *step;
    hone_augment_attr a;
    uint8_t *y;
    int64_t N;
    int Hp, Wp, H, W, C;
};

/* Neighbouring threads take neighbouring pixels, whose sources are neighbours as well. */
HONE_KERNEL(VIEW_THREADS) image_view_k(view_args v)
{
    HONE_SHARED(hone_view, map, 1);
    for (int64_t n = blockIdx.x; n < v.N; n += gridDim.x) {
        /* up to ten tries of a box: one thread's work, not 256 times the same */
        if (threadIdx.x == 0) *map = hone_view_draw(&v.a, v.step->seed, v.sample[n], v.step->epoch, v.Hp, v.Wp);
        __syncthreads(); /* the map is there */
        const uint8_t *source = v.pool + (int64_t)v.row[n] * v.Hp * v.Wp * v.C;
        uint8_t *y = v.y + n * v.H * v.W * v.C;
        for (int i = (int)threadIdx.x; i < v.H * v.W; i += (int)blockDim.x)
            hone_view_show(map, i / v.W, i % v.W, v.H, v.W, source, v.Hp, v.Wp, v.C, y + (int64_t)i * v.C);
        __syncthreads(); /* everyone has read it: the next sample's may be written */
    }
}

extern "C" void cuda_image_view(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *pool = l->in_desc[0], *y = l->out_desc[0];
    view_args v = {};
    v.pool = (const uint8_t *)l->in[0];
    v.row = (const int32_t *)l->in[1];
    v.sample = (const int32_t *)l->in[2];
    v.step = (const hone_step *)l->in[3];
    v.a = l->node->attr.augment;
    v.y = (uint8_t *)l->out[0];
    v.N = y->dim[0];
    v.Hp = (int)pool->dim[1];
    v.Wp = (int)pool->dim[2];
    v.H = (int)y->dim[1];
    v.W = (int)y->dim[2];
    v.C = (int)y->dim[3];
    const unsigned blocks = (unsigned)(v.N < MAP_BLOCKS_MOST ? v.N : MAP_BLOCKS_MOST);
    HONE_LAUNCH(b, image_view_k, blocks, VIEW_THREADS, 0, v);
}
