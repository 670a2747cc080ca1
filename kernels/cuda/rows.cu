/* rows.cu - the update of a sparse table: norm of its row gradients, SGD and AdamW on touched rows alone.
 *
 * p, slot0, slot1 (V, C); row i32 (T), of which `count` are different ids; drow (T, C). All fp32. Definitions:
 * kernels/ref/rows.c. The count is read on the device: a recorded step has another one each time. */
#include "lanes.cuh"
#include "launch.cuh"
#include "square_sums.cuh"

/* part (SQUARES_BLOCKS): sums of squares of equal runs of the live rows. */
HONE_KERNEL(SQUARES_THREADS) rows_squares_k(const float *drow, const int32_t *count, int64_t C, double *part)
{
    HONE_SHARED(double, scratch, 32);
    const double sum = block_reduce<sum_op>(squares_of_run(drow, *count * C), scratch);
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

/* Of the whole launch: the factor on gradients and AdamW's bias corrections, in double; a power costs more than the update
 * of many elements. */
struct rows_factors {
    float clip, bias1, bias2;
};
__device__ static inline rows_factors rows_factors_of(const rows_args &u)
{
    const double limit = (double)u.a.clip_norm, t = (double)(u.step->updates + 1);
    const double scale = limit > 0 ? limit / (u.step->grad_norm + 1e-6) : 1;
    return {(float)(scale < 1 ? scale : 1), (float)(1 - pow((double)u.a.beta1, t)),
            (float)sqrt(1 - pow((double)u.a.beta2, t))};
}

/* W neighbours of a row: p, m, v from their gradient g. */
template <int W>
__device__ static inline void adamw_lanes(const rows_args &u, const rows_factors &f, const float (&g)[W], float (&p)[W],
                                          float (&m)[W], float (&v)[W])
{
    const float lr = u.step->lr;
#pragma unroll
    for (int k = 0; k < W; k++) {
        const float clipped = g[k] * f.clip;
        m[k] = u.a.beta1 * m[k] + (1 - u.a.beta1) * clipped;
        v[k] = u.a.beta2 * v[k] + (1 - u.a.beta2) * clipped * clipped;
        p[k] = p[k] * (1 - lr * u.a.weight_decay) - lr / f.bias1 * m[k] / (sqrtf(v[k]) / f.bias2 + u.a.eps);
    }
}

/* The same of SGD; buffer counts where there is momentum. */
template <int W>
__device__ static inline void sgd_lanes(const rows_args &u, const rows_factors &f, const float (&g)[W], float (&p)[W],
                                        float (&buffer)[W], bool momentum)
{
#pragma unroll
    for (int k = 0; k < W; k++) {
        float d = g[k] * f.clip + u.a.weight_decay * p[k];
        if (momentum) {
            buffer[k] = u.a.momentum * buffer[k] + d;
            d = u.a.nesterov ? d + u.a.momentum * buffer[k] : buffer[k];
        }
        p[k] -= u.step->lr * d;
    }
}

/* A thread W neighbours of drow, W divides C. */
template <bool ADAMW, int W> HONE_KERNEL(MAP_THREADS) rows_update_k(rows_args u)
{
    HONE_SHARED(rows_factors, shared, 1);
    if (threadIdx.x == 0) shared[0] = rows_factors_of(u);
    __syncthreads();
    const rows_factors f = shared[0];
    const bool momentum = !ADAMW && u.slot0 && u.a.momentum > 0;
    const int64_t step = (int64_t)gridDim.x * blockDim.x, packs = u.C / W, n = u.step->finite ? *u.count * packs : 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const int64_t at = u.row[i / packs] * u.C + i % packs * W;
        float g[W], p[W], slot0[W] = {}, slot1[W] = {};
        read_lanes<float, W>(u.drow + i * W, g);
        read_lanes<float, W>(u.p + at, p);
        if (ADAMW || momentum) read_lanes<float, W>(u.slot0 + at, slot0);
        if (ADAMW) read_lanes<float, W>(u.slot1 + at, slot1);
        if (ADAMW) adamw_lanes(u, f, g, p, slot0, slot1);
        else sgd_lanes(u, f, g, p, slot0, momentum);
        if (ADAMW || momentum) write_lanes<float, W>(u.slot0 + at, slot0);
        if (ADAMW) write_lanes<float, W>(u.slot1 + at, slot1);
        write_lanes<float, W>(u.p + at, p);
    }
}

/* The grid is for all T rows; threads past the count do nothing. */
template <bool ADAMW> static void launch_rows(hone_backend *b, const hone_launch *l)
{
    rows_args u = {(float *)l->in[0],           (float *)l->in[5],         ADAMW ? (float *)l->in[6] : NULL,
                   (const int32_t *)l->in[1],   (const int32_t *)l->in[3], (const float *)l->in[2],
                   (const hone_step *)l->in[4], l->in_desc[0]->dim[1],     l->node->attr.update};
    with_width<float>(u.C, [&](auto width) {
        constexpr int W = decltype(width)::value;
        HONE_LAUNCH(b, (rows_update_k<ADAMW, W>), map_blocks(hone_tensor_count(l->in_desc[2]) / W), MAP_THREADS, 0, u);
    });
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
