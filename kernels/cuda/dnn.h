/* dnn.h - convolutions and their fusions by cuDNN: problem, graph, candidates, plan.
 *
 * Four steps, each a printable value: a problem ("conv_dw bf16 n512 32x32x64 -> 64 k3 s1 p1") becomes an
 * operation graph of plain data (dnn_problem.c), which is checked here before a library sees it (dnn_graph.c: cuDNN
 * takes half a weight for a grouped one, and two tensors of one uid); the library lists candidates; one that the
 * rules allow becomes a plan ("cudnn engine 38, workspace 1.5 MiB, deterministic").
 * What a library is stands behind the verbs at the end: cuDNN's backend interface (dnn_cudnn*.c), nothing
 * (dnn_absent.c: a build without cuDNN), or the checked stand-in of the emulator (tests/simt/dnn_standin.cc).
 * No list of what cuDNN can do stands anywhere: it is asked. Nothing here may include a CUDA header. */
#ifndef HONE_KERNELS_CUDA_DNN_H
#define HONE_KERNELS_CUDA_DNN_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- problems ------------------------------------------------------------------------------------------ */
typedef enum hone_dnn_kind {
    HONE_DNN_CONV,            /* y = act(conv(x, w) + bias); bias and ReLU by flags */
    HONE_DNN_CONV_DX,         /* dx = conv's backward data: dy, w */
    HONE_DNN_CONV_DW,         /* dw = conv's backward filter: x, dy */
    HONE_DNN_CONV_STATS,      /* y = conv(x, w), and its sum and sum of squares by channel */
    HONE_DNN_NORM_CONV_STATS, /* the same of conv(relu(scale * x + shift), w): batchnorm applied on the way in */
    HONE_DNN_STATS_FINALIZE,  /* sums -> mean, rstd, running statistics, scale and shift of the row above */
    HONE_DNN_NORM_CONV_DW,    /* dw of conv(relu(scale * x + shift), w) */
    HONE_DNN_CONV_DX_NORM,    /* dx of a conv, through ReLU, and dgamma, dbeta of the batchnorm before it */
    HONE_DNN_KIND_COUNT
} hone_dnn_kind;

/* Sizes as hone counts them: x (n, h, w, in), y (n, oh, ow, out), weight (out, kh, kw, in/groups). */
typedef struct hone_dnn_problem {
    hone_dnn_kind kind;
    hone_dtype dtype; /* of x, w, y: F32, BF16 or F16; sums are float */
    bool bias, relu;  /* HONE_DNN_CONV only */
    int64_t n, h, w, in, oh, ow, out;
    hone_window window;
} hone_dnn_problem;

/* Writes "conv_dw bf16 n512 32x32x64 -> 64 k3 s1 p1"; returns `text`. */
char *hone_dnn_problem_text(const hone_dnn_problem *p, char *text, size_t text_bytes);

/* --- operation graphs ---------------------------------------------------------------------------------- */
/* Tensors that lie in memory have these uids, the same in every graph; intermediates count on from VIRTUAL. */
typedef enum hone_dnn_uid {
    HONE_DNN_X = 1,
    HONE_DNN_W,
    HONE_DNN_Y,    /* or the gradient that is made or read in its place */
    HONE_DNN_BIAS, /* (out) */
    HONE_DNN_SUM,
    HONE_DNN_SQUARES, /* (out) f32: of y by channel */
    HONE_DNN_SCALE,
    HONE_DNN_SHIFT, /* (in): relu(scale * x + shift) */
    HONE_DNN_GAMMA,
    HONE_DNN_BETA, /* (C) of a batchnorm */
    HONE_DNN_MEAN,
    HONE_DNN_RSTD, /* (C) f32 of a batch */
    HONE_DNN_OLD_MEAN,
    HONE_DNN_OLD_VAR,
    HONE_DNN_NEW_MEAN,
    HONE_DNN_NEW_VAR, /* (C) f32: running statistics */
    HONE_DNN_NORM_X,  /* input of the batchnorm whose gradient is made */
    HONE_DNN_DGAMMA,
    HONE_DNN_DBETA, /* (C) f32 */
    HONE_DNN_EQ_DY,
    HONE_DNN_EQ_X,
    HONE_DNN_EQ_SHIFT, /* (C) f32: batchnorm's dx = eq_dy*dy + eq_x*x + shift */
    HONE_DNN_COUNT,
    HONE_DNN_EPS,
    HONE_DNN_MOMENTUM, /* host scalars: i64, f32, f32 */
    HONE_DNN_UID_COUNT,
    HONE_DNN_VIRTUAL = 100
} hone_dnn_uid;

enum { HONE_DNN_TENSORS_MAX = 24, HONE_DNN_OPS_MAX = 8, HONE_DNN_SLOTS_MAX = 15, HONE_DNN_ALIGN_BYTES = 16 };

typedef struct hone_dnn_tensor {
    int64_t uid;
    hone_dtype dtype;
    int64_t dim[4], stride[4]; /* (N, C, H, W) as cuDNN counts, strides in elements: channels innermost */
    bool is_virtual;           /* between two ops, never in memory */
    bool by_value;             /* a scalar that the host passes */
} hone_dnn_tensor;

/* Operands of an op stand in slots; hone_dnn_op_rule says how many there are and which are written. */
typedef enum hone_dnn_op_kind {
    HONE_DNN_OP_CONV,    /* x, w -> y */
    HONE_DNN_OP_CONV_DX, /* x is written: slots x, w, y in this order for all three */
    HONE_DNN_OP_CONV_DW, /* w is written */
    HONE_DNN_OP_ADD,
    HONE_DNN_OP_SUB,
    HONE_DNN_OP_MUL,      /* a, b -> c; b may be (1,C,1,1) */
    HONE_DNN_OP_RELU,     /* a -> c */
    HONE_DNN_OP_RELU_DX,  /* dy, x -> dx = x > 0 ? dy : 0 */
    HONE_DNN_OP_STATS,    /* x -> sum, squares */
    HONE_DNN_OP_FINALIZE, /* sum, squares, gamma, beta, old mean, old var -> new mean, new var, mean, rstd, scale,
                              shift; count, eps, momentum */
    HONE_DNN_OP_NORM_DW,  /* mean, rstd, gamma, x, dy -> dgamma, dbeta, eq_dy, eq_x, eq_shift */
    HONE_DNN_OP_COUNT
} hone_dnn_op_kind;

typedef struct hone_dnn_op_rule {
    const char *name;
    int slots;
    uint32_t written; /* bit k: slot k is an output */
} hone_dnn_op_rule;
const hone_dnn_op_rule *hone_dnn_rule(hone_dnn_op_kind kind);

typedef struct hone_dnn_op {
    hone_dnn_op_kind kind;
    int slot[HONE_DNN_SLOTS_MAX]; /* index of a tensor of the graph */
    hone_window window;           /* convolutions */
} hone_dnn_op;

/* Arithmetic is float in every op. */
typedef struct hone_dnn_graph {
    hone_dnn_tensor tensor[HONE_DNN_TENSORS_MAX];
    hone_dnn_op op[HONE_DNN_OPS_MAX];
    int tensor_count, op_count;
    hone_dtype dtype; /* of the images and weights */
} hone_dnn_graph;

/* The graph of a problem, checked. Errors: USAGE with what does not fit. */
hone_status hone_dnn_graph_of(const hone_dnn_problem *p, hone_dnn_graph *g) HONE_MUST_USE;
/* Dims, strides, types, uids, and that every tensor has one writer at most: all that a library would take
 * without a word. Errors: USAGE naming op and tensor. */
hone_status hone_dnn_graph_check(const hone_dnn_graph *g) HONE_MUST_USE;
/* Index of the tensor with this uid, -1 if there is none. */
int hone_dnn_graph_find(const hone_dnn_graph *g, int64_t uid);
/* The builder's hands; over-full graphs are refused by the check. Both return an index. */
int hone_dnn_add_tensor(hone_dnn_graph *g, int64_t uid, hone_dtype dtype, const int64_t dim[4]);
int hone_dnn_add_op(hone_dnn_graph *g, hone_dnn_op_kind kind, const int *slot, const hone_window *window);

/* --- candidates and plans ------------------------------------------------------------------------------ */
/* What the library says of one way to run a graph. */
typedef struct hone_dnn_candidate {
    int64_t engine;     /* the library's number */
    char knobs[160];    /* "2:5 14:3": its parameters; with `engine` the name under which a choice is kept */
    bool ordered;       /* same bits twice */
    bool at_run_time;   /* compiled on first use: its plan can't be proven without a GPU */
    bool rounds_inputs; /* f32 inputs lose bits beyond TF32, or sums are kept in 16 bits */
    bool tensor_cores;  /* with f32: products in TF32 */
} hone_dnn_candidate;

enum { HONE_DNN_CANDIDATES_MAX = 48 };

typedef struct hone_dnn_list { /* of one graph, best guess first */
    hone_dnn_candidate item[HONE_DNN_CANDIDATES_MAX];
    int count;
    void *own; /* the library's */
} hone_dnn_list;

typedef struct hone_dnn_rules {
    bool ordered;            /* train.deterministic */
    bool tensor_float;       /* f32 may be multiplied as TF32 */
    int64_t work_most_bytes; /* a plan that wants more is passed over */
} hone_dnn_rules;

/* NULL where the rules allow it, else why not (static text). By notes, never by position in a list. */
const char *hone_dnn_refusal(const hone_dnn_candidate *c, hone_dtype dtype, const hone_dnn_rules *rules);

typedef struct hone_dnn hone_dnn;           /* a library and the device that it plans for */
typedef struct hone_dnn_plan hone_dnn_plan; /* one graph, ready to run */

/* What became of a graph's candidates. */
typedef struct hone_dnn_fate {
    int offered, against_rules, unplanned, too_large;
    int at_run_time; /* of those offered: engines that compile on first use */
} hone_dnn_fate;
/* "28 offered, 22 against the rules, 6 too large" */
char *hone_dnn_fate_text(const hone_dnn_fate *f, char *text, size_t text_bytes);

/* Plans of the first candidates that the rules allow, `most` of them at most: those compiled ahead of time, and only
 * where there are none of these, those compiled at run time. *count 0 with HONE_OK: none, and `fate` says why; nothing
 * offered means unknown, not refused. Errors: those of the verbs below; nothing is left to free then. */
hone_status hone_dnn_plans(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_rules *rules, int most,
                           hone_dnn_plan **plan, int *count, hone_dnn_fate *fate) HONE_MUST_USE;
/* "cudnn engine 38, workspace 1.5 MiB, deterministic" */
char *hone_dnn_choice_text(const char *library, const hone_dnn_candidate *c, int64_t work_bytes, char *text,
                           size_t text_bytes);

/* --- choosing, with a backend (dnn_choose.c) ------------------------------------------------------------- */
/* The plan of a problem on this backend: the remembered choice (tune.h), else the fastest of some by timing on random
 * data. *out is NULL with HONE_OK where the library is left out (HONE_CUDA_LIBRARIES=own, a build without it) or
 * has nothing; `why` says which. Errors: DEVICE with the fix where the library can't be opened, MEMORY. */
hone_status hone_dnn_plan_for(hone_backend *b, const hone_dnn_problem *p, bool tensor_float, hone_dnn_plan **out,
                              char *why, size_t why_bytes) HONE_MUST_USE;
/* Closes the backend's library, if it was opened; after all plans are freed. */
void hone_cuda_dnn_close(hone_backend *b);

/* --- verbs of a library ---------------------------------------------------------------------------------- */
/* A GPU by the stream that work goes to, or, without one, a description of a chip that plans can be made for. */
typedef struct hone_dnn_device {
    void *stream;            /* cudaStream_t of the current device */
    const char *description; /* JSON of CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, or NULL with a stream */
} hone_dnn_device;

/* *out is NULL with HONE_OK in a build without a library. Errors: DEVICE with the fix where the library that the
 * build expects can't be opened. */
hone_status hone_dnn_open(const hone_dnn_device *device, hone_dnn **out) HONE_MUST_USE;
void hone_dnn_close(hone_dnn *dnn); /* after its plans; NULL is fine */
/* "cuDNN 9.19.0", or what is missing and how to mend it. Opens the library if need be; never fails. */
const char *hone_dnn_version(char *text, size_t text_bytes);
const char *hone_dnn_name(void);                   /* "cudnn": first word of a choice */
const char *hone_dnn_library(const hone_dnn *dnn); /* "cudnn 9.19.0": choices hold for one version */

/* All that the library offers for a checked graph, by its heuristics. An empty list is HONE_OK and means unknown.
 * Errors: RUNTIME where the library refuses the graph itself, with its own words. */
hone_status hone_dnn_ask(hone_dnn *dnn, const hone_dnn_graph *g, hone_dnn_list *list) HONE_MUST_USE;
void hone_dnn_list_free(hone_dnn_list *list);
/* Errors: RUNTIME where the candidate does not become a plan. */
hone_status hone_dnn_plan_new(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_list *list, int item,
                              hone_dnn_plan **out) HONE_MUST_USE;
void hone_dnn_plan_free(hone_dnn_plan *plan); /* NULL is fine */
int64_t hone_dnn_plan_work_bytes(const hone_dnn_plan *plan);
const hone_dnn_candidate *hone_dnn_plan_candidate(const hone_dnn_plan *plan);
/* Queues the graph on the stream. `pointer` by uid (HONE_DNN_UID_COUNT entries; host pointers for scalars), 16-byte
 * aligned; `work` has the plan's bytes. Addresses are remembered: the same ones again cost no allocation, so a
 * recorded and a repeated launch are alike. Errors: RUNTIME with the library's words. */
hone_status hone_dnn_execute(hone_dnn *dnn, hone_dnn_plan *plan, void *const *pointer, void *work) HONE_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
