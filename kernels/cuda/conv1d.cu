/* conv1d.cu - convolution along ragged texts, all directions: addresses over tile.cuh, as conv.cu has them.
 *
 * x (T, I), w (O, K, I), b (O), y, dy (T, O) as stored; dw, db fp32. Definitions: kernels/ref/conv1d.c. dx is the
 * convolution of dy with the taps in reverse order. Scratch: where the texts of the rows begin and end (T, 2). */
#include "windows.cuh"
#include "tile.cuh"

/* b(n, k) of the forward product: w (O, K I) as it lies. */
template <typename S> struct weight_rows {
    const S *w;
    int64_t depth;
    __device__ float operator()(int, int64_t o, int64_t q) const { return to_float(w[o * depth + q]); }
};

/* b(n, k) for dx: input i against (tap, output), the last tap first. */
template <typename S> struct weight_reversed {
    const S *w;
    int64_t O, K, I;
    __device__ float operator()(int, int64_t i, int64_t q) const
    {
        const int64_t tap = K - 1 - q / O, o = q % O;
        return to_float(w[(o * K + tap) * I + i]);
    }
};

/* Rows that are not live are 0, without bias. */
template <typename S> struct put_live {
    S *y;
    const S *bias; /* (N) or null */
    const int32_t *edge;
    int64_t N;
    __device__ void operator()(int, int64_t t, int64_t n, float v) const
    {
        if (bias) v += to_float(bias[n]);
        y[t * N + n] = from_float<S>(edge[2 * t + 1] > 0 ? v : 0);
    }
};

/* fp32, whatever activations are stored in: micro-batches would lose small sums in 16 bits. */
struct put_weight {
    float *dw; /* (O, K I) */
    int64_t depth;
    int accumulate;
    __device__ void operator()(int, int64_t o, int64_t q, float v) const
    {
        dw[o * depth + q] = accumulate ? dw[o * depth + q] + v : v;
    }
};

/* Edges of the launch, into its scratch; offset is input `at`. */
static int32_t *edges_of(hone_backend *b, const hone_launch *l, int at)
{
    int32_t *edge = (int32_t *)l->work;
    launch_text_edges(b, (const int32_t *)l->in[at], l->in_desc[at]->dim[0] - 1, l->in_desc[0]->dim[0], edge);
    return edge;
}

extern "C" {
/* edge (T, 2), for all three directions. */
hone_status cuda_conv1d_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)g->tensor[n->in[0]].dim[0] * 2 * sizeof(int32_t);
    return HONE_OK;
}

void cuda_conv1d(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *w = l->in_desc[1];
    const int64_t T = l->in_desc[0]->dim[0], O = w->dim[0], K = w->dim[1], I = w->dim[2];
    const int32_t *edge = edges_of(b, l, 3);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        windows_of<S> x = {(const S *)l->in[0], edge, I, l->node->attr.window.pad[0]};
        launch_tile(b, tile_size{T, O, K * I}, 1, window_rows<S>{x}, weight_rows<S>{(const S *)l->in[1], K * I},
                    put_live<S>{(S *)l->out[0], (const S *)l->in[2], edge, O});
    });
}

/* The window of dy that reads row s: the taps mirrored, hence K - 1 - pad rows before it. */
void cuda_conv1d_dx(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *w = l->in_desc[1];
    const int64_t T = l->in_desc[0]->dim[0], O = w->dim[0], K = w->dim[1], I = w->dim[2];
    const int32_t *edge = edges_of(b, l, 2);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        windows_of<S> dy = {(const S *)l->in[0], edge, O, K - 1 - l->node->attr.window.pad[0]};
        launch_tile(b, tile_size{T, I, K * O}, 1, window_rows<S>{dy}, weight_reversed<S>{(const S *)l->in[1], O, K, I},
                    put_live<S>{(S *)l->out[0], nullptr, edge, I});
    });
}

/* A sum over all rows of the capacity; those that are not live are fetched as 0 on both sides. */
void cuda_conv1d_dw(hone_backend *b, const hone_launch *l)
{
    const int64_t T = l->in_desc[0]->dim[0], I = l->in_desc[0]->dim[1], O = l->in_desc[1]->dim[1];
    const int64_t depth = l->node->attr.window.kernel[0] * I;
    const int32_t *edge = edges_of(b, l, 2);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        windows_of<S> x = {(const S *)l->in[0], edge, I, l->node->attr.window.pad[0]};
        const S *dy = (const S *)l->in[1];
        if (l->out[0])
            launch_tile(b, tile_size{O, depth, T}, 1, live_columns<S>{dy, edge, O}, window_columns<S>{x},
                        put_weight{(float *)l->out[0], depth, l->node->accumulate});
        launch_live_sum(b, dy, (const int32_t *)l->in[2], l->in_desc[2]->dim[0] - 1, O, (float *)l->out[1],
                        l->node->accumulate);
    });
}
}
