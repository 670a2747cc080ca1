/* optimizer.c - the norm of all gradients, SGD and AdamW over the flat trainable arena, moving averages.
 *
 * p, grad, slot0, slot1, ema, shadow (K); segment (S): runs of the arena with their own rules; what no segment
 * covers is padding and stays as it is. Definitions of torch.optim.SGD, torch.optim.AdamW and
 * torch.nn.utils.clip_grad_norm_. A step whose gradient norm is not finite changes nothing but the
 * counters and, where micro-batches are summed, the spoilt gradient. */
#include "ref.h"

/* ||grad||_2 over the whole arena, padding included (it is 0). finite: no NaN, no overflow. */
void REF(grad_norm)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    const real *grad = l->in[0]; /* (K) */
    hone_step *step = l->in[1];  /* the step block */
    int64_t K = hone_tensor_count(l->in_desc[0]);
    double sum = 0;
    for (int64_t i = 0; i < K; i++) sum += (double)grad[i] * (double)grad[i];
    step->grad_norm = sqrt(sum) / (double)hone_step_loss_scale(step);
    step->finite = isfinite(sum) ? 1 : 0;
}

typedef struct update { /* one launch, unpacked */
    real *p, *grad, *slot0, *slot1, *ema, *shadow;
    const hone_update_attr *a;
    const hone_step *step;
    double clip; /* factor on every gradient: clipping, and the loss scale's inverse */
    double bias1, bias2;
} update;

/* min(1, clip / (norm + 1e-6)): clip_grad_norm_ never scales up. t counts good steps from 1. */
static update unpack(const hone_launch *l)
{
    const hone_update_attr *a = &attrs(l)->update;
    const hone_step *step = l->in[3]; /* the step block */
    double clip = a->clip_norm > 0 ? (double)a->clip_norm / (step->grad_norm + 1e-6) : 1;
    double t = (double)(step->updates + 1);
    return (update){.p = l->in[0],
                    .grad = l->in[1],
                    .slot0 = l->in[4],
                    .slot1 = l->in[5],
                    .ema = l->in[6],
                    .shadow = l->in[7],
                    .a = a,
                    .step = step,
                    .clip = (clip < 1 ? clip : 1) / (double)hone_step_loss_scale(step),
                    .bias1 = 1 - pow((double)a->beta1, t),
                    .bias2 = 1 - pow((double)a->beta2, t)};
}

/* torch.optim.SGD, dampening 0: the first step's buffer is the gradient itself. */
static void sgd_one(const update *u, const hone_segment *s, int64_t i)
{
    double m = (double)u->a->momentum, p = (double)u->p[i], g = (double)u->grad[i] * u->clip;
    if (s->decay) g += (double)u->a->weight_decay * p;
    if (u->slot0 && m > 0) {
        double buffer = u->step->updates == 0 ? g : m * (double)u->slot0[i] + g;
        u->slot0[i] = (real)buffer;
        g = u->a->nesterov ? g + m * buffer : buffer;
    }
    u->p[i] = (real)(p - (double)u->step->lr * (double)s->lr_scale * g);
}

/* torch.optim.AdamW: the decay acts on the parameter, not through the moments. */
static void adamw_one(const update *u, const hone_segment *s, int64_t i)
{
    double lr = (double)u->step->lr * (double)s->lr_scale, beta1 = (double)u->a->beta1, beta2 = (double)u->a->beta2;
    double p = (double)u->p[i], g = (double)u->grad[i] * u->clip;
    if (s->decay) p -= lr * (double)u->a->weight_decay * p;
    double m = beta1 * (double)u->slot0[i] + (1 - beta1) * g;
    double v = beta2 * (double)u->slot1[i] + (1 - beta2) * g * g;
    u->slot0[i] = (real)m;
    u->slot1[i] = (real)v;
    u->p[i] = (real)(p - lr / u->bias1 * m / (sqrt(v) / sqrt(u->bias2) + (double)u->a->eps));
}

/* ema = d ema + (1 - d) p, after the update. */
static void average(const update *u, int64_t i)
{
    double d = (double)hone_step_ema_decay(u->step, u->a->ema_decay);
    if (u->ema) u->ema[i] = (real)(d * (double)u->ema[i] + (1 - d) * (double)u->p[i]);
}

/* Segment by segment; the gradient is cleared even after a bad step, or its NaN would stay in the sum. */
static void run(const hone_launch *l, void (*one)(const update *u, const hone_segment *s, int64_t i))
{
    const hone_segment *segment = l->in[2]; /* (S) */
    hone_step *step = l->in[3];             /* the step block */
    int64_t S = (int64_t)(hone_tensor_bytes(l->in_desc[2]) / sizeof *segment), K = hone_tensor_count(l->in_desc[0]);
    update u = unpack(l);
    for (int64_t k = 0; step->finite && k < S; k++)
        for (int64_t i = segment[k].begin; i < segment[k].begin + segment[k].count; i++) {
            one(&u, &segment[k], i);
            average(&u, i);
            if (u.shadow) u.shadow[i] = u.p[i]; /* here both are `real` */
        }
    if (u.a->zero_grad) memset(u.grad, 0, (size_t)K * sizeof *u.grad);
    hone_step_count(step, u.a->scale_interval);
}

/* p, grad, slot0 (momentum buffer), ema, shadow: written in place. */
void REF(sgd)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    run(l, sgd_one);
}

/* p, grad, slot0 (m), slot1 (v), ema, shadow: written in place. */
void REF(adamw)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    run(l, adamw_one);
}

/* ema (K), written in place; x (K). As a step towards x, so that what never changes stays to the bit. */
void REF(average)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    real *ema = l->in[0];             /* (K) */
    const real *x = l->in[1];         /* (K) */
    const hone_step *step = l->in[2]; /* the step block */
    double share = 1 - (double)hone_step_ema_decay(step, attrs(l)->update.ema_decay);
    int64_t K = hone_tensor_count(l->in_desc[0]);
    for (int64_t i = 0; step->finite && i < K; i++)
        ema[i] = (real)((double)ema[i] + share * ((double)x[i] - (double)ema[i]));
}
