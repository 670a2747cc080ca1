/* rows.cu - the update of a sparse table: norm of its row gradients, SGD and AdamW on touched rows alone.
 *
 * p, slot0, slot1 (V, C); row i32 (T), of which `count` are different ids; drow (T, C). All fp32. Definitions:
 * kernels/ref/rows.c. The count is read on the device: a recorded step has another one each time. */
#include "launch.cuh"
#include "square_sums.cuh"

/* part (SQUARES_BLOCKS): sums of squares of equal runs of the live rows, 16 bytes a thread; the last n % 4 elements are
 * the first block's. */
HONE_KERNEL(SQUARES_THREADS) rows_squares_k(const float *drow, const int32_t *count, int64_t C, double *part)
{
    HONE_SHARED(double, scratch, 32);
    const int64_t n = *count * C, quads = n / 4, end = quads * (blockIdx.x + 1) / gridDim.x;
    double sum = 0;
#pragma unroll 4
    for (int64_t q = quads * blockIdx.x / gridDim.x + threadIdx.x; q < end; q += blockDim.x) {
        const pack<float> g = ((const pack<float> *)drow)[q];
#pragma unroll
        for (int k = 0; k < 4; k++) sum += (double)g.v[k] * (double)g.v[k];
    }
    const int64_t last = 4 * quads + threadIdx.x;
    if (blockIdx.x == 0 && last < n) sum += (double)drow[last] * (double)drow[last];
    sum = block_reduce<sum_op>(sum, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

struct rows_args {
    float *p, *slot0, *slot1;   /* (V, C); SGD: slots may be null */
    const int32_t *row, *count; /* (T), (1) */
    const float *drow;          /* (T, C) */
    const hone_step *step;
    int64_t C;
    hone_update_attr a;
};

/* A thread an element of drow. */
template <bool ADAMW> HONE_KERNEL(MAP_THREADS) rows_update_k(rows_args u)
{
    const int64_t stride = (int64_t)gridDim.x * blockDim.x, n = u.step->finite ? *u.count * u.C : 0;
    const double limit = (double)u.a.clip_norm, t = (double)(u.step->updates + 1);
    const double scale = limit > 0 ? limit / (u.step->grad_norm + 1e-6) : 1;
    const float clip = (float)(scale < 1 ? scale : 1), lr = u.step->lr, decay = u.a.weight_decay;
    const float bias1 = (float)(1 - pow((double)u.a.beta1, t)), bias2 = (float)sqrt(1 - pow((double)u.a.beta2, t));
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        const int64_t at = u.row[i / u.C] * u.C + i % u.C;
        float g = u.drow[i] * clip, p = u.p[at];
        if (ADAMW) {
            const float m = u.a.beta1 * u.slot0[at] + (1 - u.a.beta1) * g;
            const float v = u.a.beta2 * u.slot1[at] + (1 - u.a.beta2) * g * g;
            u.slot0[at] = m;
            u.slot1[at] = v;
            u.p[at] = p * (1 - lr * decay) - lr / bias1 * m / (sqrtf(v) / bias2 + u.a.eps);
            continue;
        }
        g += decay * p;
        if (u.slot0 && u.a.momentum > 0) {
            const float buffer = u.a.momentum * u.slot0[at] + g;
            u.slot0[at] = buffer;
            g = u.a.nesterov ? g + u.a.momentum * buffer : buffer;
        }
        u.p[at] = p - lr * g;
    }
}

/* The grid is for all T rows; threads past the count do nothing. */
template <bool ADAMW> static void launch_rows(hone_backend *b, const hone_launch *l)
{
    rows_args u = {(float *)l->in[0],           (float *)l->in[5],         ADAMW ? (float *)l->in[6] : NULL,
                   (const int32_t *)l->in[1],   (const int32_t *)l->in[3], (const float *)l->in[2],
                   (const hone_step *)l->in[4], l->in_desc[0]->dim[1],     l->node->attr.update};
    HONE_LAUNCH(b, rows_update_k<ADAMW>, map_blocks(hone_tensor_count(l->in_desc[2])), MAP_THREADS, 0, u);
}

extern "C" {
/* Also of embedding_bag_norm. */
hone_status cuda_rows_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    (void)g;
    n->work_bytes = square_sums_bytes();
    return HONE_OK;
}

void cuda_rows_norm(hone_backend *b, const hone_launch *l)
{
    HONE_LAUNCH(b, rows_squares_k, SQUARES_BLOCKS, SQUARES_THREADS, 0, (const float *)l->in[0],
                (const int32_t *)l->in[1], l->in_desc[0]->dim[1], (double *)l->work);
    launch_norm_join(b, (const double *)l->work, (hone_step *)l->in[2]);
}

void cuda_sgd_rows(hone_backend *b, const hone_launch *l) { launch_rows<false>(b, l); }
void cuda_adamw_rows(hone_backend *b, const hone_launch *l) { launch_rows<true>(b, l); }
}
