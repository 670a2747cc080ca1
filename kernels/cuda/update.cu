/* update.cu - the norm of all gradients, SGD and AdamW over the flat trainable arena in one launch, averages.
 *
 * p, grad, slot0, slot1, ema (K) fp32; shadow (K), p in 16 bits, written in the same pass; segments (S) give
 * each run its rules. Arrays begin on 16-byte borders. The step block in device memory holds the learning rate,
 * the norm, the loss scale and the counters, so a recorded step follows the schedule. A step whose norm is not
 * finite changes nothing but those. Definitions: torch.optim. */
#include "launch.cuh"
#include "square_sums.cuh"

static const int NORM_BLOCKS = 256, NORM_THREADS = 512;

/* part (NORM_BLOCKS): sums of squares of equal runs of the arena, in double. The block that is last adds them, a thread a
 * sum: the order is block_reduce's. */
HONE_KERNEL(NORM_THREADS) grad_norm_k(const float *grad, double *part, int64_t n, hone_step *step)
{
    HONE_SHARED(double, scratch, 32);
    double sum = block_reduce<sum_op>(squares_of_run(grad, n), scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
    if (!is_last_block(&step->arrived)) return;
    sum = block_reduce<sum_op>(threadIdx.x < NORM_BLOCKS ? part[threadIdx.x] : 0, scratch);
    if (threadIdx.x != 0) return;
    step->grad_norm = sqrt(sum) / (double)hone_step_loss_scale(step);
    step->finite = sum <= 1.7e308 ? 1 : 0; /* false for infinity and NaN */
}

/* Pointers of one update. `segment` is ascending and does not overlap (the planner's promise). */
struct update_args {
    float *p, *grad, *slot0, *slot1, *ema; /* (K), the last three may be null */
    void *shadow;                          /* (K) in 16 bits, or null         */
    const hone_segment *segment;
    hone_step *step;
    int64_t count;
    int segments;
    hone_update_attr a;
};

/* Bias corrections and the factor on gradients (clipping, and the inverse of the loss scale): in double, once a
 * block, as a power costs more than the update of an element. */
struct factors {
    float clip, lr, bias1, bias2;
    int first, good;
    float ema; /* decay of the average */
};
template <bool ADAMW> __device__ static inline factors factors_of(const update_args &u)
{
    const hone_step *s = u.step;
    double clip = u.a.clip_norm > 0 ? (double)u.a.clip_norm / (s->grad_norm + 1e-6) : 1, t = (double)(s->updates + 1);
    factors f = {(float)((clip < 1 ? clip : 1) / (double)hone_step_loss_scale(s)),
                 s->lr,
                 1,
                 1,
                 s->updates == 0,
                 s->finite != 0,
                 hone_step_ema_decay(s, u.a.ema_decay)};
    if (ADAMW) {
        f.bias1 = (float)(1 - pow((double)u.a.beta1, t));
        f.bias2 = (float)sqrt(1 - pow((double)u.a.beta2, t));
    }
    return f;
}

/* One parameter in registers: what it is, its gradient, its slots. */
struct element {
    float p, g, slot0, slot1;
};

/* torch.optim.SGD, dampening 0. */
__device__ static inline void sgd_one(const update_args &u, const factors &f, const hone_segment &s, element &x)
{
    float g = x.g * f.clip;
    if (s.decay) g += u.a.weight_decay * x.p;
    if (u.slot0 && u.a.momentum > 0) {
        x.slot0 = f.first ? g : u.a.momentum * x.slot0 + g; /* torch: the first buffer is the gradient */
        g = u.a.nesterov ? g + u.a.momentum * x.slot0 : x.slot0;
    }
    x.p -= f.lr * s.lr_scale * g;
}

/* torch.optim.AdamW: decay on the weight itself (Loshchilov & Hutter 2019), eps after the root. */
__device__ static inline void adamw_one(const update_args &u, const factors &f, const hone_segment &s, element &x)
{
    float g = x.g * f.clip, lr = f.lr * s.lr_scale;
    if (s.decay) x.p -= lr * u.a.weight_decay * x.p;
    x.slot0 = u.a.beta1 * x.slot0 + (1 - u.a.beta1) * g;
    x.slot1 = u.a.beta2 * x.slot1 + (1 - u.a.beta2) * g * g;
    x.p -= lr / f.bias1 * x.slot0 / (sqrtf(x.slot1) / f.bias2 + u.a.eps);
}

/* N neighbours of a type, read or written at once: 16 bytes of float, 8 of a shadow. */
template <typename T, int N> struct alignas(sizeof(T) * N) row_of {
    T v[N];
};
template <int N> __device__ static inline row_of<float, N> load_row(const float *x, int64_t i)
{
    return x ? *(const row_of<float, N> *)(x + i) : row_of<float, N>{};
}
template <typename T, int N> __device__ static inline void store_row(T *x, int64_t i, const row_of<T, N> &v)
{
    if (x) *(row_of<T, N> *)(x + i) = v;
}

/* Elements i .. i + N of one segment; i is a multiple of N. Everything that the update touches passes once. */
template <bool ADAMW, typename S, int N>
__device__ static inline void update_row(const update_args &u, const factors &f, const hone_segment &s, int64_t i)
{
    row_of<float, N> p = load_row<N>(u.p, i), g = load_row<N>(u.grad, i), slot0 = load_row<N>(u.slot0, i),
                     slot1 = load_row<N>(u.slot1, i), ema = load_row<N>(u.ema, i);
    row_of<S, N> shadow;
#pragma unroll
    for (int k = 0; k < N; k++) {
        element x = {p.v[k], g.v[k], slot0.v[k], slot1.v[k]};
        if (ADAMW) adamw_one(u, f, s, x);
        else sgd_one(u, f, s, x);
        p.v[k] = x.p;
        slot0.v[k] = x.slot0;
        slot1.v[k] = x.slot1;
        ema.v[k] = f.ema * ema.v[k] + (1 - f.ema) * x.p;
        shadow.v[k] = from_float<S>(x.p);
        g.v[k] = 0;
    }
    store_row(u.p, i, p);
    store_row(u.slot0, i, slot0);
    store_row(u.slot1, i, slot1);
    store_row(u.ema, i, ema);
    store_row((S *)u.shadow, i, shadow);
    if (u.a.zero_grad) store_row(u.grad, i, g); /* by the thread that has just read it */
}

/* Clears grad in [begin, end), which no thread reads in this launch. */
__device__ static inline void clear_gradient(const update_args &u, int64_t begin, int64_t end, int64_t first,
                                             int64_t stride)
{
    for (int64_t i = begin + first; u.a.zero_grad && i < end; i += stride) u.grad[i] = 0;
}

/* The counters may move as soon as each block has its factors: the last one to come here moves them, while all are busy
 * with parameters. One thread of each block calls. */
__device__ static inline void count_when_all_have_read(const update_args &u)
{
    __threadfence(); /* what was read before is read before the others know */
    if (atomicAdd(&u.step->arrived, 1u) != gridDim.x - 1) return;
    atomicExch(&u.step->arrived, 0u);
    __threadfence();
    hone_step_count(u.step, u.a.scale_interval);
}

/* Four neighbours a thread; what lies before and behind the fours of a segment is done singly by six threads. */
template <bool ADAMW, typename S> HONE_KERNEL(MAP_THREADS) update_k(update_args u)
{
    HONE_SHARED(factors, shared, 1);
    const int64_t stride = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x == 0) {
        *shared = factors_of<ADAMW>(u);
        count_when_all_have_read(u);
    }
    __syncthreads();
    const factors f = *shared;
    int64_t done = 0; /* end of what has been handled: padding between segments is only cleared */
    for (int k = 0; f.good && k < u.segments; k++) {
        const hone_segment s = u.segment[k];
        const int64_t end = s.begin + s.count, body = (s.begin + 3) / 4 * 4, quads = end > body ? (end - body) / 4 : 0;
        clear_gradient(u, done, s.begin, first, stride);
        done = end;
        for (int64_t q = first; q < quads; q += stride) update_row<ADAMW, S, 4>(u, f, s, body + 4 * q);
        const int64_t edge = first < 3 ? s.begin + first : body + 4 * quads + first - 3;
        if (first < 6 && edge < (first < 3 && body < end ? body : end)) update_row<ADAMW, S, 1>(u, f, s, edge);
    }
    clear_gradient(u, done, u.count, first, stride);
}

/* ema (K) moves towards x (K) by 1 - decay of the way; a skipped step leaves it. 16 bytes a thread would not
 * pay: running statistics are a few thousand elements. */
HONE_KERNEL(MAP_THREADS) average_k(float *ema, const float *x, const hone_step *step, int64_t n, float decay)
{
    const int64_t stride = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (!step->finite) return;
    const float share = 1 - hone_step_ema_decay(step, decay);
    for (int64_t i = first; i < n; i += stride) ema[i] += share * (x[i] - ema[i]);
}

template <bool ADAMW> static void launch_update(hone_backend *b, const hone_launch *l)
{
    update_args u = {(float *)l->in[0],
                     (float *)l->in[1],
                     (float *)l->in[4],
                     (float *)l->in[5],
                     (float *)l->in[6],
                     l->in[7],
                     (const hone_segment *)l->in[2],
                     (hone_step *)l->in[3],
                     hone_tensor_count(l->in_desc[0]),
                     (int)(hone_tensor_bytes(l->in_desc[2]) / sizeof(hone_segment)),
                     l->node->attr.update};
    with_dtype(l->in[7] ? l->in_desc[7]->dtype : HONE_F32, [&](auto *type) {
        using S = std::remove_pointer_t<decltype(type)>;
        HONE_LAUNCH(b, (update_k<ADAMW, S>), map_blocks(u.count / 4 + 1), MAP_THREADS, 0, u);
    });
}

extern "C" {
/* A fixed number of partial sums, whatever the device: the norm's bits are part of a run's results. */
hone_status cuda_grad_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    (void)g;
    n->work_bytes = NORM_BLOCKS * sizeof(double);
    return HONE_OK;
}

void cuda_grad_norm(hone_backend *b, const hone_launch *l)
{
    double *part = (double *)l->work;
    HONE_LAUNCH(b, grad_norm_k, NORM_BLOCKS, NORM_THREADS, 0, (const float *)l->in[0], part,
                hone_tensor_count(l->in_desc[0]), (hone_step *)l->in[1]);
}

void cuda_sgd(hone_backend *b, const hone_launch *l) { launch_update<false>(b, l); }
void cuda_adamw(hone_backend *b, const hone_launch *l) { launch_update<true>(b, l); }

/* Statistics are fp32 whatever the precision of the net. */
void cuda_average(hone_backend *b, const hone_launch *l)
{
    const int64_t n = hone_tensor_count(l->in_desc[0]);
    HONE_LAUNCH(b, average_k, map_blocks(n), MAP_THREADS, 0, (float *)l->in[0], (const float *)l->in[1],
                (const hone_step *)l->in[2], n, l->node->attr.update.ema_decay);
}
}
