/* graph.h - nodes, attributes, the graph and its builder.
 *
 * A graph is two arrays in execution order; identity is an int32 index, so a copy is two memcpys.
 * hone_graph_add() infers the shapes of the outputs at once (rules in src/graph/shape.c) and refuses
 * what does not fit, naming the op and its inputs. Gradients are more nodes in the same graph. */
#ifndef HONE_GRAPH_H
#define HONE_GRAPH_H

#include "hone/augment.h"
#include "hone/status.h"
#include "hone/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_MAX_IN  8
#define HONE_MAX_OUT 4
#define HONE_MAX_CHANNELS 4

typedef enum hone_op {
#define HONE_OP(name, inputs, outputs, in_place) HONE_OP_##name,
#include "hone/ops.def"
#undef HONE_OP
    HONE_OP_COUNT
} hone_op;

typedef enum hone_act { /* activation inside a fused row */
    HONE_ACT_NONE, HONE_ACT_RELU, HONE_ACT_RELU6, HONE_ACT_LEAKY_RELU, HONE_ACT_GELU, HONE_ACT_GELU_TANH,
    HONE_ACT_SILU, HONE_ACT_TANH, HONE_ACT_SIGMOID
} hone_act;

typedef enum hone_phase { HONE_PHASE_FORWARD, HONE_PHASE_BACKWARD, HONE_PHASE_UPDATE } hone_phase;

/* Windows of conv and pooling: [0] = height, [1] = width; pad is the same on both sides. */
typedef struct hone_window {
    int32_t kernel[2], stride[2], pad[2], dilation[2];
    int32_t groups;      /* conv only; 1 otherwise                                                */
    int32_t in_h, in_w;  /* _dx ops: size of the image whose gradient is made                     */
} hone_window;

typedef struct hone_image_attr {
    int32_t  height, width, channels;             /* of the output                                */
    float    mean[HONE_MAX_CHANNELS], std[HONE_MAX_CHANNELS]; /* of pixels in 0..1                */
    int32_t  augment;                             /* 0: no crop, no flip                          */
    int32_t  crop_pad;                            /* shift by -pad..pad; pixels outside are black (value 0 before normalising) */
    float    flip;                                /* probability                                  */
    uint32_t stream;                              /* Philox stream id                             */
} hone_image_attr;

typedef struct hone_update_attr {
    float   momentum; int32_t nesterov;           /* sgd                                          */
    float   beta1, beta2, eps;                    /* adamw                                        */
    float   weight_decay;                         /* sgd: added to the gradient; adamw: decoupled */
    float   clip_norm;                            /* 0 = off; torch.nn.utils.clip_grad_norm_      */
    float   ema_decay;                            /* 0 = off                                      */
    int32_t zero_grad;                            /* clear GRAD after use (accumulation)          */
    int32_t scale_interval;                       /* good steps until the loss scale doubles; 0 = never */
} hone_update_attr;

/* What the sum of a text's rows is divided by: nothing, their number, or its square root, which is TensorFlow's "sqrtn"
 * (embedding_lookup_sparse). */
typedef enum hone_bag_mode { HONE_BAG_SUM, HONE_BAG_MEAN, HONE_BAG_SQRT } hone_bag_mode;

/* One struct, not a union: a fused op needs several of them at once. */
typedef struct hone_attrs {
    hone_window window;
    hone_window pool;                             /* conv_act_maxpool*                            */
    hone_act    act;                              /* fused rows                                   */
    struct { float slope; } leaky;
    struct { float eps, momentum; } norm;
    struct { float p; uint32_t stream; } drop;    /* stream: unique per node and model            */
    struct { int32_t heads; float p; uint32_t stream; } attention;
    struct { int32_t left; } concat;
    struct { int32_t mode; } bag;                 /* hone_bag_mode                                */
    struct { int32_t tokens; } ragged;            /* _dx ops of ragged rows: T, the rows of dx     */
    struct { int32_t reverse; } gru;              /* 1: from the last token of a text to its first  */
    struct { float smoothing, grad_scale; } loss; /* grad_scale = 1/accumulate                    */
    hone_image_attr  image;
    hone_augment_attr augment;                        /* image_view, image_adjust, image_erase, image_mix */
    hone_update_attr update;
} hone_attrs;

/* One run of the flat trainable arena with the same rules; [begin, begin+count) in elements. */
typedef struct hone_segment {
    int64_t begin, count;
    int32_t decay;                                /* weight decay applies                         */
    float   lr_scale;                             /* layer-wise learning rate, 1 by default       */
} hone_segment;

typedef struct hone_node {
    hone_op    op;
    hone_phase phase;
    int32_t    in_count, out_count;
    hone_tid   in[HONE_MAX_IN], out[HONE_MAX_OUT];
    hone_attrs attr;
    int32_t    accumulate;  /* parameter gradients are added to, not written                      */
    int32_t    layer;       /* index of the model layer it came from, -1 if none (for messages)   */
    size_t     work_bytes;  /* scratch that launch needs; set by prepare                          */
    void      *state;       /* the dialect's own data; set by prepare, freed by release           */
    const char *choice;     /* the algorithm that prepare chose, e.g. "winograd 4x4"; lives until release */
} hone_node;

typedef struct hone_graph {
    hone_tensor *tensor;  int32_t tensor_count, tensor_capacity;
    hone_node   *node;    int32_t node_count, node_capacity;
    int32_t      layer;   /* stamped on nodes as they are added                                   */
    hone_precision precision; /* set by compile before prepare. TF32: library products of F32 tensors may use it;
                                 16-bit storage shows in the tensors' dtypes. AUTO (0) counts as FP32   */
    struct hone_frozen *frozen; /* set by compile before prepare (backend.h); NULL: parameters may change   */
} hone_graph;

/* The step block: the only tensor of role SCALAR. Everything that changes from step to step and
 * that a kernel reads or writes, because launch arguments freeze in a recorded step. */
typedef struct hone_step {
    /* written by the host before each step (hone_program_set_step) */
    uint64_t seed;
    int64_t  step;          /* optimizer steps tried before this one: the Philox counter          */
    int32_t  epoch;
    int32_t  micro;         /* micro-batch within the step (accumulation)                         */
    float    lr;
    float    reserved;
    /* written by kernels; the host reads and clears them */
    double   loss_sum;      /* sum over batches of loss * samples                                 */
    int64_t  samples, correct;
    double   grad_norm;     /* of the last step, before clipping                                  */
    int32_t  finite;        /* of the last step                                                   */
    int32_t  bad_in_row;    /* skipped steps since the last good one                              */
    int64_t  bad_total;
    int64_t  updates;       /* good steps so far: t of Adam's bias correction; 0 marks SGD's first */
    /* fp16 only: gradients of the loss are made `loss_scale` times too large, so that small ones survive 16 bits, and
     * the update divides. After {update.scale_interval} good steps in a row it doubles; a step whose gradient is not
     * finite halves it, down to HONE_LOSS_SCALE_MIN, and counts in bad_total but not in bad_in_row: only at the floor
     * is the gradient itself to blame (torch.amp.GradScaler's rules, which has no floor). */
    float    loss_scale;    /* 0: off, as 1                                                       */
    int32_t  scale_good;    /* good steps since the scale last changed                            */
    uint32_t arrived;       /* a kernel's own: its blocks that are done; 0 between launches       */
} hone_step;

#define HONE_LOSS_SCALE_INIT     65536.0f
#define HONE_LOSS_SCALE_MIN      1.0f
#define HONE_LOSS_SCALE_MAX      1.7014118e38f /* 2^127: doubling it would give infinity            */
#define HONE_LOSS_SCALE_INTERVAL 2000

HONE_HOST_DEVICE static inline float hone_step_loss_scale(const hone_step *s) { return s->loss_scale > 0 ? s->loss_scale : 1.0f; }
/* After a step, by the update: counts it, and moves the loss scale. One definition for all dialects. */
HONE_HOST_DEVICE static inline void hone_step_count(hone_step *s, int32_t scale_interval)
{
    int scaled = s->loss_scale > 0;
    if (!s->finite) {
        s->bad_total++;
        s->scale_good = 0;
        if (scaled && s->loss_scale > HONE_LOSS_SCALE_MIN) {
            float half = s->loss_scale * 0.5f;
            s->loss_scale = half > HONE_LOSS_SCALE_MIN ? half : HONE_LOSS_SCALE_MIN;
        } else {
            s->bad_in_row++;
        }
        return;
    }
    s->bad_in_row = 0;
    s->updates++;
    if (!scaled || scale_interval <= 0 || ++s->scale_good < scale_interval) return;
    s->scale_good = 0;
    if (s->loss_scale < HONE_LOSS_SCALE_MAX) s->loss_scale *= 2;
}

/* Decay of the moving averages at this update, t good steps after the first: min(decay, (1 + t) / (10 + t)), the
 * warm-up of tf.train.ExponentialMovingAverage and timm's ModelEmaV3. With the plain decay the random weights of the
 * start would be most of the average for 1 / (1 - decay) steps, and a net that is part random predicts nothing. */
HONE_HOST_DEVICE static inline float hone_step_ema_decay(const hone_step *s, float decay)
{
    const float warm = (float)((1.0 + (double)s->updates) / (10.0 + (double)s->updates));
    return warm < decay ? warm : decay;
}

/* Philox's step of dropout, drop_path and attention's dropout: micro-batches of one step differ, and
 * without accumulation (micro == 0) it is the step itself. */
HONE_HOST_DEVICE static inline uint64_t hone_step_draw(const hone_step *s) { return (uint64_t)s->step + ((uint64_t)s->micro << 40); }

hone_graph *hone_graph_new(void);                       /* NULL when memory is exhausted          */
hone_graph *hone_graph_copy(const hone_graph *g);
void        hone_graph_free(hone_graph *g);

/* Declares a tensor without producer. `dim` has `rank` entries. Names of parameters are unique.
 * Errors: USAGE for a bad shape or a repeated parameter name, MEMORY. */
hone_status hone_graph_tensor(hone_graph *g, const char *name, hone_dtype dtype, hone_role role,
                              int32_t rank, const int64_t *dim, hone_tid *out) HONE_MUST_USE;

/* Appends a node (forward phase) and creates its ACT outputs by the op's shape rule; out[] gets
 * HONE_MAX_OUT ids, HONE_NONE past the op's outputs. `in` has the op's input count of entries,
 * HONE_NONE for absent optional ones. `attr` may be NULL. `want_mask`: bit k asks for output k,
 * ~0u for all of them. Errors: USAGE, naming op, shapes and what was expected. */
hone_status hone_graph_add(hone_graph *g, hone_op op, const hone_tid *in, const hone_attrs *attr,
                           uint32_t want_mask, hone_tid out[HONE_MAX_OUT]) HONE_MUST_USE;
/* The common case: one output. */
hone_status hone_graph_add1(hone_graph *g, hone_op op, const hone_tid *in, const hone_attrs *attr,
                            hone_tid *out) HONE_MUST_USE;

/* The graph's step block: the one of role SCALAR, U8 (sizeof(hone_step)); made on the first call. */
hone_status hone_graph_step(hone_graph *g, hone_tid *out) HONE_MUST_USE;

hone_tid    hone_graph_find(const hone_graph *g, const char *name); /* HONE_NONE if there is none  */
/* Declares `x` to have another shape of equal count: an alias made by a reshape node. */
hone_status hone_graph_reshape(hone_graph *g, hone_tid x, int32_t rank, const int64_t *dim,
                               hone_tid *out) HONE_MUST_USE;

const char *hone_op_name(hone_op op);
int         hone_op_inputs(hone_op op);
int         hone_op_outputs(hone_op op);
int         hone_op_in_place(hone_op op);
/* Work of one node by formula: floating-point operations (a multiply-add counts 2) and bytes that
 * must move at the least (each input and output once). */
void        hone_node_cost(const hone_graph *g, const hone_node *n, double *flop, double *bytes);

#ifdef __cplusplus
}
#endif
#endif
