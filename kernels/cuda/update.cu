/* update.cu - the norm of all gradients, SGD and AdamW over the flat trainable arena in one launch, averages.
 *
 * p, grad, slot0, slot1, ema (K) fp32; segments (S) give each run its rules. The step block in device
 * memory holds the learning rate, the norm and the counters, so a recorded step follows the schedule. A
 * step whose norm is not finite changes nothing but the counters. Definitions: torch.optim. */
#include "reduce.cuh"
#include "launch.cuh"

static const int NORM_BLOCKS = 256, NORM_THREADS = 512;

/* part (NORM_BLOCKS): sums of squares of equal runs of the arena, in double */
HONE_KERNEL(NORM_THREADS) square_sums_k(const float *grad, double *part, int64_t n)
{
    HONE_SHARED(double, scratch, 32);
    const int64_t begin = n * blockIdx.x / gridDim.x, end = n * (blockIdx.x + 1) / gridDim.x;
    double sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += (double)grad[i] * (double)grad[i];
    sum = block_reduce<sum_op>(sum, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

/* One block, a thread a partial sum: the order of addition is fixed by the tree of block_reduce. */
HONE_KERNEL(NORM_BLOCKS) norm_finish_k(const double *part, hone_step *step)
{
    HONE_SHARED(double, scratch, 32);
    double sum = block_reduce<sum_op>(part[threadIdx.x], scratch);
    if (threadIdx.x != 0) return;
    step->grad_norm = sqrt(sum);
    step->finite = sum <= 1.7e308 ? 1 : 0; /* false for infinity and NaN */
}

/* Pointers of one update. `segment` is ascending and does not overlap (the planner's promise). */
struct update_args {
    float *p, *grad, *slot0, *slot1, *ema; /* (K), the last three may be null */
    const hone_segment *segment;
    const hone_step *step;
    int64_t count;
    int segments;
    hone_update_attr a;
};

/* Bias corrections and clip factor: in double, once a thread. */
struct factors {
    float clip, lr, bias1, bias2;
    bool first;
};
__device__ static inline factors factors_of(const update_args &u)
{
    const hone_step *s = u.step;
    double clip = u.a.clip_norm > 0 ? (double)u.a.clip_norm / (s->grad_norm + 1e-6) : 1, t = (double)(s->updates + 1);
    return {(float)(clip < 1 ? clip : 1), s->lr, (float)(1 - pow((double)u.a.beta1, t)),
            (float)sqrt(1 - pow((double)u.a.beta2, t)), s->updates == 0};
}

/* torch.optim.SGD, dampening 0. */
__device__ static inline float sgd_one(const update_args &u, const factors &f, const hone_segment &s, int64_t i)
{
    float p = u.p[i], g = u.grad[i] * f.clip;
    if (s.decay) g += u.a.weight_decay * p;
    if (u.slot0 && u.a.momentum > 0) {
        float buffer = f.first ? g : u.a.momentum * u.slot0[i] + g; /* torch: the first buffer is the gradient */
        u.slot0[i] = buffer;
        g = u.a.nesterov ? g + u.a.momentum * buffer : buffer;
    }
    return p - f.lr * s.lr_scale * g;
}

/* torch.optim.AdamW: decay on the weight itself (Loshchilov & Hutter 2019), eps after the root. */
__device__ static inline float adamw_one(const update_args &u, const factors &f, const hone_segment &s, int64_t i)
{
    float p = u.p[i], g = u.grad[i] * f.clip, lr = f.lr * s.lr_scale;
    if (s.decay) p -= lr * u.a.weight_decay * p;
    float m = u.a.beta1 * u.slot0[i] + (1 - u.a.beta1) * g, v = u.a.beta2 * u.slot1[i] + (1 - u.a.beta2) * g * g;
    u.slot0[i] = m;
    u.slot1[i] = v;
    return p - lr / f.bias1 * m / (sqrtf(v) / f.bias2 + u.a.eps);
}

/* Clears grad in [begin, end), which no thread reads in this launch. */
__device__ static inline void clear_gradient(const update_args &u, int64_t begin, int64_t end, int64_t first,
                                             int64_t stride)
{
    for (int64_t i = begin + first; u.a.zero_grad && i < end; i += stride) u.grad[i] = 0;
}

template <bool ADAMW> HONE_KERNEL(MAP_THREADS) update_k(update_args u)
{
    const int64_t stride = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const bool good = u.step->finite != 0;
    const factors f = factors_of(u);
    int64_t done = 0; /* end of what has been handled: padding between segments is only cleared */
    for (int k = 0; good && k < u.segments; k++) {
        const hone_segment s = u.segment[k];
        clear_gradient(u, done, s.begin, first, stride);
        done = s.begin + s.count;
        for (int64_t i = s.begin + first; i < s.begin + s.count; i += stride) {
            float p = ADAMW ? adamw_one(u, f, s, i) : sgd_one(u, f, s, i);
            u.p[i] = p;
            if (u.a.zero_grad) u.grad[i] = 0; /* by the thread that has just read it */
            if (u.ema) u.ema[i] = u.a.ema_decay * u.ema[i] + (1 - u.a.ema_decay) * p;
        }
    }
    clear_gradient(u, done, u.count, first, stride);
}

/* After the update, in a launch of its own: the update's blocks read these counters. */
HONE_KERNEL(32) count_step_k(hone_step *step)
{
    if (threadIdx.x != 0) return;
    if (step->finite) {
        step->bad_in_row = 0;
        step->updates++;
    } else {
        step->bad_in_row++;
        step->bad_total++;
    }
}

/* ema (K) moves towards x (K) by `share` of the way; a skipped step leaves it. 16 bytes a thread would not
 * pay: running statistics are a few thousand elements. */
HONE_KERNEL(MAP_THREADS) average_k(float *ema, const float *x, const hone_step *step, int64_t n, float share)
{
    const int64_t stride = (int64_t)gridDim.x * blockDim.x, first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (!step->finite) return;
    for (int64_t i = first; i < n; i += stride) ema[i] += share * (x[i] - ema[i]);
}

/* Two launches: the counters may change only when no block reads them any more. */
template <bool ADAMW> static void launch_update(hone_backend *b, const hone_launch *l)
{
    update_args u = {(float *)l->in[0],
                     (float *)l->in[1],
                     (float *)l->in[4],
                     (float *)l->in[5],
                     (float *)l->in[6],
                     (const hone_segment *)l->in[2],
                     (const hone_step *)l->in[3],
                     hone_tensor_count(l->in_desc[0]),
                     (int)(hone_tensor_bytes(l->in_desc[2]) / sizeof(hone_segment)),
                     l->node->attr.update};
    HONE_LAUNCH(b, update_k<ADAMW>, map_blocks(u.count), MAP_THREADS, 0, u);
    HONE_LAUNCH(b, count_step_k, 1, 32, 0, (hone_step *)l->in[3]);
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
    HONE_LAUNCH(b, square_sums_k, NORM_BLOCKS, NORM_THREADS, 0, (const float *)l->in[0], part,
                hone_tensor_count(l->in_desc[0]));
    HONE_LAUNCH(b, norm_finish_k, 1, NORM_BLOCKS, 0, (const double *)part, (hone_step *)l->in[1]);
}

void cuda_sgd(hone_backend *b, const hone_launch *l) { launch_update<false>(b, l); }
void cuda_adamw(hone_backend *b, const hone_launch *l) { launch_update<true>(b, l); }

/* Statistics are fp32 whatever the precision of the net. */
void cuda_average(hone_backend *b, const hone_launch *l)
{
    const int64_t n = hone_tensor_count(l->in_desc[0]);
    HONE_LAUNCH(b, average_k, map_blocks(n), MAP_THREADS, 0, (float *)l->in[0], (const float *)l->in[1],
                (const hone_step *)l->in[2], n, 1 - l->node->attr.update.ema_decay);
}
}
