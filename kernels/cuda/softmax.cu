/* softmax.cu - softmax of rows, cross-entropy with its metrics and its gradient, one pass over logits.
 *
 * One warp owns a row (lanes stride over the classes), one block owns up to ROWS_ONE_BLOCK rows, two a warp: a small
 * batch is a single launch. Larger ones take a block for XENT_ROWS rows, leave each row's terms in work, and a second launch
 * adds them in row order. The definition of the loss stands in ops.def. No atomics. */
#include "reduce.cuh"
#include "launch.cuh"

static const int XENT_THREADS = 1024, ROWS_ONE_BLOCK = 64, XENT_ROWS = 8;

/* log(sum exp) of a row, the first place of its maximum, and whether it holds a NaN; all lanes get them. */
struct row_facts {
    float lse;
    int best;
    int nan;
};

/* Lanes keep their first maximum, and the merge prefers the lower place among equals, so the answer is
 * that of a scan from the left. NaN loses every comparison and is therefore carried apart. */
template <typename T> __device__ static row_facts read_row(const T *x, int classes)
{
    const int lane = (int)(threadIdx.x & 31);
    float top = -INFINITY, sum = 0;
    int best = 0x7fffffff, nan = 0;
#pragma unroll 8 /* so many loads under way */
    for (int c = lane; c < classes; c += 32) {
        float v = to_float(x[c]);
        nan |= v != v;
        if (v > top || (best == 0x7fffffff && v == top)) {
            top = v;
            best = c;
        }
    }
    for (int d = 16; d > 0; d /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, top, d);
        int place = __shfl_xor_sync(0xffffffffu, best, d);
        nan |= __shfl_xor_sync(0xffffffffu, nan, d);
        if (other > top || (other == top && place < best)) {
            top = other;
            best = place;
        }
    }
#pragma unroll 4
    for (int c = lane; c < classes; c += 32) sum += expf(to_float(x[c]) - top);
    sum = warp_reduce<sum_op>(sum);
    return {nan ? NAN : top + logf(sum), best, nan};
}

/* A warp a row: rows of up to a few thousand classes stay in cache between the two readings. */
template <typename T> HONE_KERNEL(MAP_THREADS) softmax_k(const T *x, float *y, int64_t rows, int classes)
{
    const int lane = (int)(threadIdx.x & 31), warps = (int)(blockDim.x / 32);
    for (int64_t r = (int64_t)blockIdx.x * warps + threadIdx.x / 32; r < rows; r += (int64_t)gridDim.x * warps) {
        row_facts f = read_row(x + r * classes, classes);
        for (int c = lane; c < classes; c += 32) y[r * classes + c] = expf(to_float(x[r * classes + c]) - f.lse);
    }
}

/* Pointers of one loss; optional ones are null. row_terms (N, 3): loss of the label, of smoothing, hit. */
template <typename T> struct xent {
    const T *logits;           /* (N, C) */
    const int32_t *label;      /* (N) */
    const int32_t *other;      /* (N): second labels */
    const float *share;        /* (N): of the first, where there is a second */
    const float *row_weight;   /* (N) */
    const float *class_weight; /* (C) */
    hone_step *step;           /* absent only where no loss is wanted */
    float *loss, *row_loss;    /* (1), (N) */
    T *dlogits;                /* (N, C) */
    float *row_terms;
    int64_t rows;
    int classes;
    float smoothing, grad_scale;
};

/* What a row is to learn: label t with weight first, u with weight second (class weights in, 0 without mixing). */
struct xent_target {
    int t, u;
    float share, first, second;
};

template <typename T> __device__ static xent_target target_of(const xent<T> &a, int64_t n)
{
    xent_target y = {a.label[n], a.other ? a.other[n] : a.label[n], a.other ? a.share[n] : 1, 0, 0};
    y.first = y.share * (a.class_weight ? a.class_weight[y.t] : 1);
    /* a share of 1 leaves nothing, not even a NaN of 0 * infinity */
    y.second = y.share == 1 ? 0 : (1 - y.share) * (a.class_weight ? a.class_weight[y.u] : 1);
    return y;
}

/* A label of share 0 says nothing, were its loss infinite. */
__device__ static float part(float share, float v) { return share == 0 ? 0 : share * v; }

/* W = sum r_n w[t_n]: every block sums it for itself in the same order; rows are few beside rows * classes. */
template <typename T> __device__ static float total_weight(const xent<T> &a, float *scratch)
{
    if (!a.row_weight && !a.class_weight) return (float)a.rows;
    float sum = 0;
#pragma unroll 4
    for (int64_t n = threadIdx.x; n < a.rows; n += blockDim.x) {
        const xent_target y = target_of(a, n);
        sum += (a.row_weight ? a.row_weight[n] : 1) * (y.first + y.second);
    }
    return block_reduce<sum_op>(sum, scratch);
}

/* Without weights each class counts 1. */
template <typename T> __device__ static float class_weight_sum(const xent<T> &a, float *scratch)
{
    if (!a.class_weight) return (float)a.classes;
    float sum = 0;
    for (int c = (int)threadIdx.x; c < a.classes; c += (int)blockDim.x) sum += a.class_weight[c];
    return block_reduce<sum_op>(sum, scratch);
}

/* Loss terms and gradient of row n by one warp. */
template <typename T> __device__ static void xent_row(const xent<T> &a, int64_t n, float weight, float weights_all)
{
    const int lane = (int)(threadIdx.x & 31);
    const xent_target y = target_of(a, n);
    const T *x = a.logits + n * a.classes;
    const row_facts f = read_row(x, a.classes);
    const float r = a.row_weight ? a.row_weight[n] : 1, own = f.lse - to_float(x[y.t]), far = f.lse - to_float(x[y.u]);
    /* in the store's own precision: a small gradient must not be rounded to 16 bits before it is scaled */
    const float scale = a.grad_scale * (a.step ? hone_step_loss_scale(a.step) : 1);
    float even = 0;
    for (int c = lane; c < a.classes; c += 32) {
        float w = a.class_weight ? a.class_weight[c] : 1, v = to_float(x[c]);
        even += w * (f.lse - v);
        if (!a.dlogits) continue;
        float p = expf(v - f.lse);
        float g = (1 - a.smoothing) * (y.first * (p - (c == y.t ? 1 : 0)) + y.second * (p - (c == y.u ? 1 : 0))) +
                  a.smoothing / (float)a.classes * (p * weights_all - w);
        a.dlogits[n * a.classes + c] = from_float<T>(scale / weight * r * g);
    }
    even = warp_reduce<sum_op>(even);
    if (lane != 0 || !a.row_terms) return;
    if (a.row_loss) a.row_loss[n] = part(y.share, own) + part(1 - y.share, far);
    a.row_terms[3 * n] = r * (part(y.first, own) + part(y.second, far));
    a.row_terms[3 * n + 1] = a.smoothing > 0 ? r * even : 0;
    a.row_terms[3 * n + 2] = !f.nan && f.best == y.t ? 1 : 0;
}

/* Adds the rows' terms in a fixed order and writes loss and metrics; one block. */
template <typename T> __device__ static void xent_finish(const xent<T> &a, float weight, float *scratch, double *wide)
{
    double hard = 0, even = 0;
    int hits = 0, samples = 0; /* rows of weight 0 are no samples */
    for (int64_t n = threadIdx.x; n < a.rows; n += blockDim.x) {
        hard += a.row_terms[3 * n];
        even += a.row_terms[3 * n + 1];
        const bool counts = !a.row_weight || a.row_weight[n] != 0;
        hits += counts ? (int)a.row_terms[3 * n + 2] : 0;
        samples += counts ? 1 : 0;
    }
    hard = block_reduce<sum_op>(hard, wide);
    even = block_reduce<sum_op>(even, wide);
    hits = block_reduce<sum_op>(hits, (int *)scratch);
    samples = block_reduce<sum_op>(samples, (int *)scratch);
    if (threadIdx.x != 0) return;
    double loss = ((1 - (double)a.smoothing) * hard + (double)a.smoothing / a.classes * even) / (double)weight;
    if (a.loss) *a.loss = (float)loss;
    a.step->loss_sum += loss * (double)samples;
    a.step->samples += samples;
    a.step->correct += hits;
}

/* `finish`: this block holds all rows, so it can add up their terms itself. */
template <typename T> HONE_KERNEL(XENT_THREADS) xent_k(xent<T> a, int finish)
{
    HONE_SHARED(float, scratch, 32);
    HONE_SHARED(double, wide, 32);
    const int warps = (int)(blockDim.x / 32);
    const float weight = total_weight(a, scratch), all = class_weight_sum(a, scratch);
    for (int64_t n = (int64_t)blockIdx.x * warps + threadIdx.x / 32; n < a.rows; n += (int64_t)gridDim.x * warps)
        xent_row(a, n, weight, all);
    if (!finish) return;
    __syncthreads(); /* one block: its rows' terms are all written */
    xent_finish(a, weight, scratch, wide);
}

/* The launch before has written all rows' terms: the stream orders the two. */
template <typename T> HONE_KERNEL(XENT_THREADS) xent_finish_k(xent<T> a)
{
    HONE_SHARED(float, scratch, 32);
    HONE_SHARED(double, wide, 32);
    const float weight = total_weight(a, scratch);
    xent_finish(a, weight, scratch, wide);
}

/* Without row_terms only the gradient is wanted (softmax_xent_dx), and nothing is to be added up. */
template <typename T> static void launch_xent(hone_backend *b, xent<T> a)
{
    const bool single = a.rows <= ROWS_ONE_BLOCK, metrics = a.row_terms != nullptr;
    const int64_t blocks = single ? 1 : (a.rows + XENT_ROWS - 1) / XENT_ROWS;
    HONE_LAUNCH(b, xent_k<T>, (unsigned)(blocks < MAP_BLOCKS_MOST ? blocks : MAP_BLOCKS_MOST),
                single ? XENT_THREADS : 32 * XENT_ROWS, 0, a, single && metrics ? 1 : 0);
    if (!single && metrics) HONE_LAUNCH(b, xent_finish_k<T>, 1, XENT_THREADS, 0, a);
}

/* The arguments that the three rows share. */
template <typename T> static xent<T> xent_args(const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    xent<T> a = {};
    a.logits = (const T *)l->in[0];
    a.label = (const int32_t *)l->in[1];
    a.row_weight = (const float *)l->in[2];
    a.class_weight = (const float *)l->in[3];
    a.other = (const int32_t *)l->in[5];
    a.share = (const float *)l->in[6];
    a.step = (hone_step *)l->in[4];
    a.rows = x->dim[0];
    a.classes = (int)x->dim[1];
    a.smoothing = l->node->attr.loss.smoothing;
    a.grad_scale = l->node->attr.loss.grad_scale;
    return a;
}

/* `dlogits` (N, C) null: no gradient. */
static void xent_forward(hone_backend *b, const hone_launch *l, void *dlogits)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        xent<T> a = xent_args<T>(l);
        a.loss = (float *)l->out[0];
        a.row_loss = (float *)l->out[1];
        a.dlogits = (T *)dlogits;
        a.row_terms = (float *)l->work;
        launch_xent(b, a);
    });
}

extern "C" {
/* x, y (R, C); all axes but the last are rows. */
void cuda_softmax(hone_backend *b, const hone_launch *l)
{
    const hone_tensor *x = l->in_desc[0];
    int classes = (int)x->dim[x->rank - 1];
    int64_t rows = hone_tensor_count(x) / classes;
    with_dtype(x->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, softmax_k<T>, map_blocks(rows * 32), MAP_THREADS, 0, (const T *)l->in[0], (float *)l->out[0],
                    rows, classes);
    });
}

/* Three floats a row: the columns of row_terms. */
hone_status cuda_softmax_xent_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)g->tensor[n->in[0]].dim[0] * 3 * sizeof(float);
    return HONE_OK;
}

void cuda_softmax_xent(hone_backend *b, const hone_launch *l) { xent_forward(b, l, nullptr); }
void cuda_softmax_xent_both(hone_backend *b, const hone_launch *l) { xent_forward(b, l, l->out[2]); }

/* Reads the logits again: probabilities are never stored between the passes. */
void cuda_softmax_xent_dx(hone_backend *b, const hone_launch *l)
{
    with_dtype(l->in_desc[0]->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        xent<T> a = xent_args<T>(l);
        a.dlogits = (T *)l->out[0];
        launch_xent(b, a);
    });
}
}
