/* run.h - walks an ONNX graph: the proof that a written file means what the model meant.
 *
 * The arithmetic of nets (convolutions, products, pools, norms, softmax, activations) is that of a dialect's kernels,
 * by default ref, the definition; data move between ONNX's order of axes and theirs. What ONNX has and no dialect
 * does (broadcasts, comparisons, integers, reductions of any axis, quantisation) is defined in run_math.c, in the
 * words of ONNX's operator pages; so are its sequences, in run_sequence.c. Slow and plain; it serves checks, never users. */
#ifndef HONE_ONNX_RUN_H
#define HONE_ONNX_RUN_H

#include "hone/backend.h"
#include "onnx/onnx.h"

/* A dense value. */
typedef struct hone_onnx_array {
    int64_t type; /* hone_onnx_type; 0: none */
    int rank;
    int64_t dim[HONE_ONNX_RANK], count;
    void *data; /* (count), 64-byte aligned if owned */
    bool owned;
} hone_onnx_array;

typedef struct hone_onnx_run hone_onnx_run;

/* `m` and `b` outlive the run; initializers are copied to aligned memory. */
hone_status hone_onnx_run_open(const hone_onnx *m, hone_backend *b, hone_onnx_run **out) HONE_MUST_USE;
/* An input for the next walk; `data` is the caller's, valid until that is over. */
hone_status hone_onnx_run_input(hone_onnx_run *r, const char *name, int64_t type, int rank, const int64_t *dim,
                                const void *data) HONE_MUST_USE;
/* Computes all. DATA for operators or shapes that have no meaning, naming the node. */
hone_status hone_onnx_run_go(hone_onnx_run *r) HONE_MUST_USE;
/* A value by name after a walk: inputs, outputs, and every value after hone_onnx_run_keep; NULL: not there. */
const hone_onnx_array *hone_onnx_run_value(hone_onnx_run *r, const char *name);
const hone_onnx *hone_onnx_run_model(const hone_onnx_run *r);
/* Intermediate values stay until the next walk. */
void hone_onnx_run_keep(hone_onnx_run *r);
void hone_onnx_run_close(hone_onnx_run *r); /* NULL is fine */

/* --- for the files of operators ----------------------------------------------------------------------------- */

enum { HONE_ONNX_IN = 16 };

/* One node under way: operands (NULL where left out) and its first output, to be filled. */
typedef struct hone_onnx_call {
    const hone_onnx *m;
    const hone_onnx_node *node;
    hone_backend *backend;
    const hone_onnx_array *in[HONE_ONNX_IN];
    hone_onnx_array out;
} hone_onnx_call;

typedef hone_status (*hone_onnx_op_fn)(hone_onnx_call *c);

typedef struct hone_onnx_op {
    const char *name;
    hone_onnx_op_fn fn;
    int least, most; /* operands; the first `least` must be there */
} hone_onnx_op;

/* All end with a NULL name. */
extern const hone_onnx_op hone_onnx_math_ops[], hone_onnx_move_ops[], hone_onnx_net_ops[], hone_onnx_sequence_ops[];
/* Conv of x (N,C,L), for the table's row of images. */
hone_status hone_onnx_conv_line(hone_onnx_call *c) HONE_MUST_USE;

/* Allocates c->out. */
hone_status hone_onnx_call_out(hone_onnx_call *c, int64_t type, int rank, const int64_t *dim) HONE_MUST_USE;
/* DATA: the node, and what is wrong with it. */
hone_status hone_onnx_call_fail(const hone_onnx_call *c, const char *what) HONE_MUST_USE;
/* The operands' types, in words of hone_onnx_call_fail. */
hone_status hone_onnx_call_want(const hone_onnx_call *c, int k, int64_t type) HONE_MUST_USE;
/* Attribute or int64 operand `k` as a list of at most HONE_ONNX_RANK; *count -1 where neither is there. */
hone_status hone_onnx_call_list(const hone_onnx_call *c, const char *attr, int k, int *count,
                                int64_t list[HONE_ONNX_RANK]) HONE_MUST_USE;
/* `axis` of -rank..rank-1 as 0..rank-1; false outside. */
bool hone_onnx_axis(int64_t *axis, int rank);
void *hone_onnx_aligned(size_t bytes); /* 64-byte aligned; free() */

/* One launch of a kernel on fp32 operands: `in` has the op's input count of entries (data NULL: left out); the output's
 * shape comes from the op's rule and must have `out_count` elements. */
typedef struct hone_onnx_dense {
    int rank;
    int64_t dim[HONE_MAX_RANK];
    const float *data;
} hone_onnx_dense;
hone_status hone_onnx_launch(hone_backend *b, hone_op op, const hone_attrs *attr, const hone_onnx_dense *in, float *out,
                             int64_t out_count) HONE_MUST_USE;

#endif
