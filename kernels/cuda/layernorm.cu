/* layernorm.cu - layer normalisation of rows and its backward.
 *
 * x, y, dx, dy (R, C); gamma, beta (C); mean, rstd (R), statistics in float by two passes over the row.
 * A block owns a row at a time. The gradients of gamma and beta are sums over rows: each block adds its
 * rows into a slice of work, a second launch adds the slices in order. Ba et al., 2016, arXiv 1607.06450. */
#include "reduce.cuh"
#include "launch.cuh"

static const int NORM_THREADS = 256,
                 NORM_BLOCKS = 264; /* slices of work: two blocks a multiprocessor of the largest chip */

template <typename T>
HONE_KERNEL(NORM_THREADS)
layernorm_k(const T *x, const float *gamma, const float *beta, T *y, float *mean, float *rstd, int64_t rows,
            int channels, float eps)
{
    HONE_SHARED(float, scratch, 32);
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const T *row = x + r * channels;
        float sum = 0, squares = 0;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) sum += to_float(row[c]);
        const float m = block_reduce<sum_op>(sum, scratch) / (float)channels;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
            float d = to_float(row[c]) - m;
            squares += d * d;
        }
        const float s = 1 / sqrtf(block_reduce<sum_op>(squares, scratch) / (float)channels + eps);
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x)
            y[r * channels + c] = from_float<T>((to_float(row[c]) - m) * s * gamma[c] + beta[c]);
        if (threadIdx.x == 0) {
            if (mean) mean[r] = m;
            if (rstd) rstd[r] = s;
        }
    }
}

/* dx, and this block's share of dgamma and dbeta: slices (gridDim.x, 2, C) of work.
 * With xhat = (x - mean) rstd, h = dy gamma:  dx = rstd (h - avg(h) - xhat avg(h xhat)). */
template <typename T>
HONE_KERNEL(NORM_THREADS)
layernorm_dx_k(const T *x, const float *gamma, const float *mean, const float *rstd, const T *dy, T *dx, float *slices,
               int64_t rows, int channels)
{
    HONE_SHARED(float, scratch, 32);
    float *dgamma = slices + (int64_t)blockIdx.x * 2 * channels, *dbeta = dgamma + channels;
    for (int c = (int)threadIdx.x; slices && c < channels; c += (int)blockDim.x) dgamma[c] = dbeta[c] = 0;
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const T *row = x + r * channels, *grad = dy + r * channels;
        const float m = mean[r], s = rstd[r];
        float sum = 0, sum_xhat = 0;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
            float h = to_float(grad[c]) * gamma[c];
            sum += h;
            sum_xhat += h * (to_float(row[c]) - m) * s;
        }
        sum = block_reduce<sum_op>(sum, scratch) / (float)channels;
        sum_xhat = block_reduce<sum_op>(sum_xhat, scratch) / (float)channels;
        for (int c = (int)threadIdx.x; c < channels; c += (int)blockDim.x) {
            float g = to_float(grad[c]), xhat = (to_float(row[c]) - m) * s;
            if (slices) { /* the thread that cleared this column also adds to it: no barrier needed */
                dgamma[c] += g * xhat;
                dbeta[c] += g;
            }
            if (dx) dx[r * channels + c] = from_float<T>(s * (g * gamma[c] - sum - xhat * sum_xhat));
        }
    }
}

/* Adds the slices (count, 2, C) in order. */
HONE_KERNEL(NORM_THREADS)
add_slices_k(const float *slices, int count, float *dgamma, float *dbeta, int channels, int accumulate)
{
    for (int c = (int)(blockIdx.x * blockDim.x + threadIdx.x); c < channels; c += (int)(gridDim.x * blockDim.x)) {
        float g = 0, h = 0;
        for (int k = 0; k < count; k++) {
            g += slices[(int64_t)k * 2 * channels + c];
            h += slices[(int64_t)k * 2 * channels + channels + c];
        }
        if (dgamma) dgamma[c] = accumulate ? dgamma[c] + g : g;
        if (dbeta) dbeta[c] = accumulate ? dbeta[c] + h : h;
    }
}

/* Normalises the last axis only; all others are rows. */
static int channels_of(const hone_tensor *x) { return (int)x->dim[x->rank - 1]; }
/* A function of the rows alone, so that the slices, and with them the bits, are the same on every device. */
static unsigned norm_blocks(int64_t rows) { return (unsigned)(rows < NORM_BLOCKS ? rows : NORM_BLOCKS); }

extern "C" {
/* mean and rstd (R) are kept for the gradient only; both may be absent. */
void cuda_layernorm(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int channels = channels_of(x);
    int64_t rows = hone_tensor_count(x) / channels;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, layernorm_k<T>, map_blocks(rows * MAP_THREADS), NORM_THREADS, 0, (const T *)l->in[0],
                    (const float *)l->in[1], (const float *)l->in[2], (T *)l->out[0], (float *)l->out[1],
                    (float *)l->out[2], rows, channels, l->node->attr.norm.eps);
    });
}

/* No work where neither dgamma nor dbeta is wanted (frozen): the kernel then gets a null `slices`. */
hone_status cuda_layernorm_dx_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const hone_tensor *x = &g->tensor[n->in[0]];
    int channels = channels_of(x);
    if (n->out[1] != HONE_NONE || n->out[2] != HONE_NONE)
        n->work_bytes = (size_t)norm_blocks(hone_tensor_count(x) / channels) * 2 * (size_t)channels * sizeof(float);
    return HONE_OK;
}

void cuda_layernorm_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int channels = channels_of(x);
    int64_t rows = hone_tensor_count(x) / channels;
    float *slices = l->out[1] || l->out[2] ? (float *)l->work : nullptr;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, layernorm_dx_k<T>, norm_blocks(rows), NORM_THREADS, 0, (const T *)l->in[0],
                    (const float *)l->in[1], (const float *)l->in[2], (const float *)l->in[3], (const T *)l->in[4],
                    (T *)l->out[0], slices, rows, channels);
    });
    if (slices)
        HONE_LAUNCH(b, add_slices_k, map_blocks(channels), NORM_THREADS, 0, slices, (int)norm_blocks(rows),
                    (float *)l->out[1], (float *)l->out[2], channels, l->node->accumulate);
}
}
