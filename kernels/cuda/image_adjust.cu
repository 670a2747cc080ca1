/* image_adjust.cu - colour jitter and RandAugment: a block takes one sample through all its steps.
 *
 * Steps that are a table of bytes run in place; steps that look around write into the other of two buffers, y or the
 * sample's own picture of scratch. Counts are integers in shared memory, whose sums no order can change: the bytes are
 * those of every dialect (hone/augment.h). x, y u8 (N, H, W, C), C = 1 or 3; sample i32 (N). */
#include "launch.cuh"

static const int ADJUST_THREADS = 256; /* one a byte of a table */

/* Arguments of the kernel; buffers are (N, H, W, C). */
struct adjust_args {
    const uint8_t *x;
    const int32_t *sample; /* (N) */
    const hone_step *step; /* seed and epoch */
    hone_augment_attr a;
    uint8_t *y, *scratch;
    int64_t N;
    int H, W, C;
};

/* What a block knows of the step at hand. */
struct adjust_shared {
    hone_adjust_step step[HONE_ADJUST_MOST];
    int count;
    unsigned histogram[3][256];
    unsigned grey; /* sum of the grey picture */
    uint8_t table[3][256];
};

/* Counts of each byte by channel, or the grey sum for contrast. Sums in 32 bits: 2^24 pixels of 255 fit. */
__device__ static void survey(const adjust_args &v, const uint8_t *from, bool grey, adjust_shared *s)
{
    for (int c = 0; c < 3; c++) s->histogram[c][threadIdx.x] = 0;
    if (threadIdx.x == 0) s->grey = 0;
    __syncthreads(); /* all counts are 0 */
    unsigned sum = 0;
    for (int i = (int)threadIdx.x; i < v.H * v.W; i += (int)blockDim.x) {
        const uint8_t *pixel = from + (int64_t)i * v.C;
        if (grey) sum += (unsigned)hone_grey(pixel, v.C);
        else
            for (int c = 0; c < v.C; c++) atomicAdd(&s->histogram[c][pixel[c]], 1u);
    }
    if (grey) atomicAdd(&s->grey, sum);
    __syncthreads(); /* all counts are made */
}

/* The table of each channel; thread i makes entry i. */
__device__ static void make_tables(const adjust_args &v, hone_adjust_step step, adjust_shared *s)
{
    const int64_t pixels = (int64_t)v.H * v.W;
    for (int c = 0; c < v.C; c++) {
        int low = 0, high = 255;
        if (step.kind == HONE_ADJUST_EQUALIZE) {
            if (threadIdx.x == 0) hone_equalize_table(s->histogram[c], s->table[c]);
            continue;
        }
        if (step.kind == HONE_ADJUST_AUTOCONTRAST) {
            while (low < 255 && s->histogram[c][low] == 0) low++;
            while (high > low && s->histogram[c][high] == 0) high--;
        }
        if (step.kind == HONE_ADJUST_CONTRAST) low = (int)((2 * (int64_t)s->grey + pixels) / (2 * pixels));
        s->table[c][threadIdx.x] = hone_adjust_byte(step, (int)threadIdx.x, low, high);
    }
    __syncthreads(); /* the tables are whole */
}

/* One step from one buffer to another, or in place where the step is a table or saturation. */
__device__ static void one_step(const adjust_args &v, hone_adjust_step step, const uint8_t *from, uint8_t *to,
                                adjust_shared *s)
{
    const bool around = hone_adjust_moves(step.kind) || step.kind == HONE_ADJUST_SHARPNESS;
    const bool table = !around && step.kind != HONE_ADJUST_SATURATION && step.kind != HONE_ADJUST_HUE;
    const bool grey = step.kind == HONE_ADJUST_CONTRAST;
    if (grey || step.kind == HONE_ADJUST_EQUALIZE || step.kind == HONE_ADJUST_AUTOCONTRAST) survey(v, from, grey, s);
    if (table) make_tables(v, step, s);
    /* every thread makes the map for itself: some products, cheaper than a barrier */
    const hone_view map = hone_adjust_view(step, v.H, v.W);
    for (int i = (int)threadIdx.x; i < v.H * v.W; i += (int)blockDim.x) {
        const int h = i / v.W, w = i % v.W;
        const uint8_t *pixel = from + (int64_t)i * v.C;
        uint8_t *out = to + (int64_t)i * v.C;
        const int base = table ? 0 : hone_grey(pixel, v.C); /* before a channel of it is overwritten */
        const hone_point p = hone_view_point(&map, h, w, v.H, v.W, v.H, v.W);
        /* the kind is the same for the whole block, so these branches part no warp */
        if (step.kind == HONE_ADJUST_HUE) {
            hone_hue(pixel, v.C, step.value, out);
            continue;
        }
        for (int c = 0; c < v.C; c++) {
            if (table) out[c] = s->table[c][pixel[c]];
            else if (step.kind == HONE_ADJUST_SATURATION) out[c] = hone_blend(base, pixel[c], step.value);
            else if (step.kind == HONE_ADJUST_SHARPNESS)
                out[c] = hone_blend(hone_smooth(from, h, w, v.H, v.W, v.C, c), pixel[c], step.value);
            else out[c] = hone_view_pixel(&p, from, v.W, v.C, c);
        }
    }
    __syncthreads(); /* the picture is whole: the next step may look anywhere, and use the tables again */
}

/* All threads of a block walk the same steps, so the barriers inside them are met by all. */
HONE_KERNEL(ADJUST_THREADS) image_adjust_k(adjust_args v)
{
    HONE_SHARED(adjust_shared, s, 1);
    const int64_t bytes = (int64_t)v.H * v.W * v.C;
    for (int64_t n = blockIdx.x; n < v.N; n += gridDim.x) {
        const uint8_t *now = v.x + n * bytes; /* where the picture stands */
        uint8_t *y = v.y + n * bytes, *scratch = v.scratch + n * bytes;
        if (threadIdx.x == 0)
            s->count = hone_adjust_draw(&v.a, v.step->seed, v.sample[n], v.step->epoch, v.H, v.W, s->step);
        __syncthreads(); /* the steps are there */
        for (int k = 0; k < s->count; k++) {
            const hone_adjust_step step = s->step[k];
            const bool around = hone_adjust_moves(step.kind) || step.kind == HONE_ADJUST_SHARPNESS;
            /* what looks around must not read what another thread has written */
            uint8_t *to = around && now == y ? scratch : y;
            if (step.kind == HONE_ADJUST_NONE) continue;
            one_step(v, step, now, to, s);
            now = to;
        }
        for (int64_t i = threadIdx.x; now != y && i < bytes; i += blockDim.x) y[i] = now[i];
        __syncthreads(); /* everyone has read the steps */
    }
}

extern "C" {
/* A picture of scratch a sample. */
hone_status cuda_image_adjust_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)hone_tensor_count(&g->tensor[n->out[0]]);
    return HONE_OK;
}

/* A block a sample: a batch has as many as a chip has multiprocessors, or more. */
void cuda_image_adjust(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *y = l->out_desc[0];
    adjust_args v = {};
    v.x = (const uint8_t *)l->in[0];
    v.sample = (const int32_t *)l->in[1];
    v.step = (const hone_step *)l->in[2];
    v.a = l->node->attr.augment;
    v.y = (uint8_t *)l->out[0];
    v.scratch = (uint8_t *)l->work;
    v.N = y->dim[0];
    v.H = (int)y->dim[1];
    v.W = (int)y->dim[2];
    v.C = (int)y->dim[3];
    const unsigned blocks = (unsigned)(v.N < MAP_BLOCKS_MOST ? v.N : MAP_BLOCKS_MOST);
    HONE_LAUNCH(b, image_adjust_k, blocks, ADJUST_THREADS, 0, v);
}
}
