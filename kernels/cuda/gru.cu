/* gru.cu - the recurrence of a GRU over ragged texts, and its gradient. Definitions: kernels/ref/gru.c.
 *
 * x (T, 3H), w (3H, H), b (3H), y, dy (T, H), gates (T, 4H) as stored; the state is fp32 while a text runs. A block
 * walks some texts side by side, a thread per unit, one barrier a step (two backward): nothing goes to the host or to
 * other blocks. w is on the chip (shared memory) where it fits and else comes from L2, once for all texts of the block.
 * dw = da^T times the states before, over tile.cuh, from da (T, 3H) fp32 in scratch. */
#include "gru.h"
#include "windows.cuh"
#include "tile.cuh"

static const int GRU_THREADS = 256;

template <typename S> struct gru_args {
    const S *x;               /* (T, 3H) */
    const S *w;               /* forward (H, 3H), turned in scratch; backward (3H, H) */
    const S *bias;            /* (3H) */
    const int32_t *offset;    /* (P) */
    const S *y_before, *kept; /* backward: (T, H), (T, 4H) */
    const S *dy;              /* (T, H) */
    S *y, *gates, *dx;        /* (T, H), (T, 4H) or null, (T, 3H) or null */
    float *da;                /* (T, 3H) */
    float *state;             /* scratch of each block where its state does not fit; null: in shared memory */
    int64_t B, H;
    int reverse;
};

/* The row of step k of a text, in the direction of the launch. */
template <typename S> __device__ static inline int64_t token_of(const gru_args<S> &a, int64_t text, int k)
{
    return a.reverse ? a.offset[text + 1] - 1 - k : a.offset[text] + k;
}

/* Lengths of the block's texts, 0 past the last; returns the longest. */
template <int TEXTS, typename S> __device__ static inline int lengths_of(const gru_args<S> &a, int *length)
{
    int longest = 0;
#pragma unroll
    for (int n = 0; n < TEXTS; n++) {
        const int64_t text = (int64_t)blockIdx.x * TEXTS + n;
        length[n] = text < a.B ? a.offset[text + 1] - a.offset[text] : 0;
        longest = length[n] > longest ? length[n] : longest;
    }
    return longest;
}

/* to (H, 3H) = w (3H, H) turned, so that neighbouring units lie side by side. */
template <typename S> HONE_KERNEL(MAP_THREADS) turn_weight_k(const S *w, S *to, int64_t H)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x, G = 3 * H;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < G * H; i += step) to[i] = w[i % G * H + i / G];
}

/* Where the block's floats lie, and w: copied on the chip behind them, or as it is. */
template <bool ON_CHIP, typename S>
__device__ static inline const S *weight_of(const gru_args<S> &a, float *shared, int64_t state_floats)
{
    if constexpr (ON_CHIP) {
        S *on_chip = (S *)(shared + state_floats);
        for (int64_t i = threadIdx.x; i < 3 * a.H * a.H; i += blockDim.x) on_chip[i] = a.w[i];
        return on_chip;
    } else {
        return a.w;
    }
}

/* Gates of unit j from the three sums, one step of one text; returns the new state. */
template <typename S>
__device__ static inline float step_unit(const gru_args<S> &a, int64_t t, int64_t j, float ar, float az, float an,
                                         float before)
{
    const S *x = a.x + t * 3 * a.H;
    const float r = sigmoid(to_float(x[j]) + ar), z = sigmoid(to_float(x[a.H + j]) + az);
    const float n = tanhf(to_float(x[2 * a.H + j]) + r * an), h = (1 - z) * n + z * before;
    a.y[t * a.H + j] = from_float<S>(h);
    /* for the gradient alone: prediction keeps nothing */
    if (a.gates) {
        S *g = a.gates + t * 4 * a.H;
        g[j] = from_float<S>(r);
        g[a.H + j] = from_float<S>(z);
        g[2 * a.H + j] = from_float<S>(n);
        g[3 * a.H + j] = from_float<S>(an);
    }
    return h;
}

/* State (2, TEXTS, H): a step reads one half and writes the other. */
template <typename S, int TEXTS, bool ON_CHIP> HONE_KERNEL(GRU_THREADS) gru_k(gru_args<S> a)
{
    HONE_DYNAMIC_SHARED(float, shared);
    const int64_t H = a.H, half = TEXTS * H;
    float *h = a.state ? a.state + blockIdx.x * 2 * half : shared;
    const S *w = weight_of<ON_CHIP>(a, shared, 2 * half);
    int length[TEXTS];
    const int longest = lengths_of<TEXTS>(a, length);
    for (int64_t i = threadIdx.x; i < half; i += blockDim.x) h[i] = 0;
    __syncthreads();
    for (int k = 0; k < longest; k++) {
        const float *now = h + (k & 1) * half;
        float *next = h + (1 - (k & 1)) * half;
        for (int64_t j = threadIdx.x; j < H; j += blockDim.x) {
            /* one chain a sum, over the state in order: each weight is read once for all texts of the block */
            float sum[3][TEXTS] = {};
            for (int64_t i = 0; i < H; i++) {
                const S *row = w + i * 3 * H + j;
                const float wr = to_float(row[0]), wz = to_float(row[H]), wn = to_float(row[2 * H]);
#pragma unroll
                for (int n = 0; n < TEXTS; n++) {
                    const float v = now[n * H + i];
                    sum[0][n] += wr * v;
                    sum[1][n] += wz * v;
                    sum[2][n] += wn * v;
                }
            }
            const float br = to_float(a.bias[j]), bz = to_float(a.bias[H + j]), bn = to_float(a.bias[2 * H + j]);
#pragma unroll
            for (int n = 0; n < TEXTS; n++)
                next[n * H + j] = k >= length[n]
                                      ? 0
                                      : step_unit(a, token_of(a, (int64_t)blockIdx.x * TEXTS + n, k), j, sum[0][n] + br,
                                                  sum[1][n] + bz, sum[2][n] + bn, now[n * H + j]);
        }
        __syncthreads(); /* the half that was read is written in the next step */
    }
}

/* Slopes of one unit at one step: da (3) of the text, kept and stored; returns what goes on without w's part. */
template <typename S>
__device__ static inline float slope_unit(const gru_args<S> &a, int64_t t, int64_t j, float before, float dh, float *da)
{
    const S *g = a.kept + t * 4 * a.H;
    const float r = to_float(g[j]), z = to_float(g[a.H + j]), n = to_float(g[2 * a.H + j]),
                an = to_float(g[3 * a.H + j]);
    const float dxn = dh * (1 - z) * (1 - n * n), dr = dxn * an * r * (1 - r), dz = dh * (before - n) * z * (1 - z);
    float *kept = a.da + t * 3 * a.H;
    da[j] = kept[j] = dr;
    da[a.H + j] = kept[a.H + j] = dz;
    da[2 * a.H + j] = kept[2 * a.H + j] = dxn * r;
    if (a.dx) {
        S *dx = a.dx + t * 3 * a.H;
        dx[j] = from_float<S>(dr);
        dx[a.H + j] = from_float<S>(dz);
        dx[2 * a.H + j] = from_float<S>(dxn);
    }
    return dh * z;
}

/* State (TEXTS, 4H): dh (TEXTS, H), then da (TEXTS, 3H) of the step. */
template <typename S, int TEXTS, bool ON_CHIP> HONE_KERNEL(GRU_THREADS) gru_back_k(gru_args<S> a)
{
    HONE_DYNAMIC_SHARED(float, shared);
    const int64_t H = a.H;
    float *dh = a.state ? a.state + blockIdx.x * TEXTS * 4 * H : shared, *da = dh + TEXTS * H;
    const S *w = weight_of<ON_CHIP>(a, shared, TEXTS * 4 * H);
    int length[TEXTS];
    const int longest = lengths_of<TEXTS>(a, length);
    for (int64_t i = threadIdx.x; i < TEXTS * 4 * H; i += blockDim.x)
        dh[i] = 0; /* da: of texts that are still to come */
    __syncthreads();
    for (int k = longest - 1; k >= 0; k--) {
        for (int64_t j = threadIdx.x; j < H; j += blockDim.x)
#pragma unroll
            for (int n = 0; n < TEXTS; n++) {
                if (k >= length[n]) continue;
                const int64_t text = (int64_t)blockIdx.x * TEXTS + n, t = token_of(a, text, k);
                const float before = k > 0 ? to_float(a.y_before[token_of(a, text, k - 1) * H + j]) : 0;
                dh[n * H + j] = slope_unit(a, t, j, before, to_float(a.dy[t * H + j]) + dh[n * H + j], da + n * 3 * H);
            }
        __syncthreads();
        for (int64_t i = threadIdx.x; i < H; i += blockDim.x) {
            /* what the gates of all units hand to unit i: a column of w, neighbours side by side */
            float sum[TEXTS] = {};
            for (int64_t j = 0; j < 3 * H; j++) {
                const float v = to_float(w[j * H + i]);
#pragma unroll
                for (int n = 0; n < TEXTS; n++) sum[n] += v * da[n * 3 * H + j];
            }
#pragma unroll
            for (int n = 0; n < TEXTS; n++) dh[n * H + i] += sum[n];
        }
        __syncthreads(); /* da has been read */
    }
}

/* dw is fp32 whatever is stored, and may be added to. */
struct put_recurrent {
    float *dw; /* (3H, H) */
    int64_t H;
    int accumulate;
    __device__ void operator()(int, int64_t j, int64_t i, float v) const
    {
        dw[j * H + i] = accumulate ? dw[j * H + i] + v : v;
    }
};

/* Whole warps, as many as there are units. */
static unsigned gru_threads(int64_t H) { return (unsigned)(H >= GRU_THREADS ? GRU_THREADS : (H + 31) / 32 * 32); }
static unsigned gru_blocks(int64_t B, int texts) { return (unsigned)((B + texts - 1) / texts); }

/* A row for each of the two ways, chosen by the plan. */
template <typename S> static void launch_forward(hone_backend *b, const gru_args<S> &a, const gru_plan &p)
{
    if (p.on_chip)
        HONE_LAUNCH_LARGE(b, (gru_k<S, GRU_CHIP_TEXTS, true>), gru_blocks(a.B, p.texts), gru_threads(a.H),
                          p.shared_bytes, a);
    else HONE_LAUNCH(b, (gru_k<S, GRU_TEXTS, false>), gru_blocks(a.B, p.texts), gru_threads(a.H), p.shared_bytes, a);
}
template <typename S> static void launch_backward(hone_backend *b, const gru_args<S> &a, const gru_plan &p)
{
    if (p.on_chip)
        HONE_LAUNCH_LARGE(b, (gru_back_k<S, GRU_CHIP_TEXTS_BACK, true>), gru_blocks(a.B, p.texts), gru_threads(a.H),
                          p.shared_bytes, a);
    else
        HONE_LAUNCH(b, (gru_back_k<S, GRU_TEXTS, false>), gru_blocks(a.B, p.texts), gru_threads(a.H), p.shared_bytes,
                    a);
}

extern "C" {
void cuda_gru(hone_backend *b, const hone_launch *l)
{
    const int64_t T = l->in_desc[0]->dim[0], H = l->in_desc[1]->dim[1], B = l->in_desc[3]->dim[0] - 1;
    const gru_plan p = gru_plan_of(B, T, H, hone_dtype_bytes(l->in_desc[0]->dtype), 0);
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        gru_args<S> a = {};
        a.x = (const S *)l->in[0];
        a.w = (const S *)l->work;
        a.bias = (const S *)l->in[2];
        a.offset = (const int32_t *)l->in[3];
        a.y = (S *)l->out[0];
        a.gates = (S *)l->out[1];
        a.state = p.state_at ? (float *)((char *)l->work + p.state_at) : nullptr;
        a.B = B;
        a.H = H;
        a.reverse = l->node->attr.gru.reverse;
        launch_clear_dead(b, a.y, a.offset, B, T, H);
        launch_clear_dead(b, a.gates, a.offset, B, T, 4 * H);
        HONE_LAUNCH(b, turn_weight_k<S>, map_blocks(3 * H * H), MAP_THREADS, 0, (const S *)l->in[1], (S *)l->work, H);
        launch_forward(b, a, p);
    });
}

void cuda_gru_dx(hone_backend *b, const hone_launch *l)
{
    const int64_t T = l->in_desc[2]->dim[0], H = l->in_desc[0]->dim[1], B = l->in_desc[1]->dim[0] - 1;
    const gru_plan p = gru_plan_of(B, T, H, hone_dtype_bytes(l->in_desc[2]->dtype), 1);
    int32_t *edge = (int32_t *)((char *)l->work + p.edge_at);
    with_dtype(l->in_desc[2]->dtype, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        gru_args<S> a = {};
        a.w = (const S *)l->in[0];
        a.offset = (const int32_t *)l->in[1];
        a.y_before = (const S *)l->in[2];
        a.kept = (const S *)l->in[3];
        a.dy = (const S *)l->in[4];
        a.dx = (S *)l->out[0];
        a.da = (float *)l->work;
        a.state = p.state_at ? (float *)((char *)l->work + p.state_at) : nullptr;
        a.B = B;
        a.H = H;
        a.reverse = l->node->attr.gru.reverse;
        launch_clear_dead(b, a.dx, a.offset, B, T, 3 * H);
        launch_backward(b, a, p);
        /* the state before a step is the row before it (behind it, in reverse): a window of one row */
        if (l->out[1]) {
            launch_text_edges(b, a.offset, B, T, edge);
            launch_tile(b, tile_size{3 * H, H, T}, 1, live_columns<float>{a.da, edge, 3 * H},
                        window_columns<S>{{a.y_before, edge, H, a.reverse ? -1 : 1}},
                        put_recurrent{(float *)l->out[1], H, l->node->accumulate});
        }
        launch_live_sum(b, (const float *)a.da, a.offset, B, 3 * H, (float *)l->out[2], l->node->accumulate);
    });
}

hone_status cuda_gru_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    const int backward = n->op == HONE_OP_gru_dx;
    const hone_tensor *x = &g->tensor[n->in[backward ? 2 : 0]];
    const int64_t H = g->tensor[n->in[backward ? 0 : 1]].dim[1], B = g->tensor[n->in[backward ? 1 : 3]].dim[0] - 1;
    const gru_plan p = gru_plan_of(B, x->dim[0], H, hone_dtype_bytes(x->dtype), backward);
    n->work_bytes = p.work_bytes;
    n->choice = p.on_chip ? "weights on the chip" : "weights from L2";
    return HONE_OK;
}
}
