/* cases.h - what the parts of test_cases share: the case list, scenes, runs of one node.
 *
 * A case is one forward op with shapes and attributes. Its scene is a small graph: that op, the
 * backward rows that belong to it and, for fused rows, the plain rows they stand for, with a value
 * for every tensor. Kernels are driven directly, without the compiler: a failure here is a kernel's. */
#ifndef HONE_TESTS_CASES_H
#define HONE_TESTS_CASES_H

#include "hone/backend.h"

/* EXACT: equal to the bit on small integers. CLOSE: normwise 1e-5. NANS: EXACT with NaN and infinities among the
 * inputs, NANS_CLOSE: CLOSE with NaN, INFS: CLOSE with infinities alone. LARGE, SMALL: CLOSE on reals whose squares
 * overflow or vanish in float and do not in double. TIES: CLOSE on small integers, where maxima are equal. */
typedef enum tolerance { EXACT, CLOSE, NANS, NANS_CLOSE, INFS, LARGE, SMALL, TIES } tolerance;
typedef enum values {
    VALUES_REAL,
    VALUES_INTEGER,
    VALUES_NANS,
    VALUES_NAN_REAL,
    VALUES_INF_REAL,
    VALUES_LARGE,
    VALUES_SMALL
} values;

typedef struct case_row {
    hone_op op;
    hone_dtype dtype;
    tolerance tolerance;
    const char *shapes; /* grammar: cases.def */
    hone_attrs attr;
} case_row;

extern const case_row case_list[];
extern const int case_count;
extern const case_row perf_list[];
extern const int perf_count;

/* --- rows that belong to a forward op (family.c) ---------------------------------------------------- */
/* Operands are "x0" (input 0 of the forward op), "y1" (its output 1), "d0" (gradient of its output 0),
 * "-" (absent). `gradient` names, output by output, the forward input that it is the gradient of. */
typedef struct backward_row {
    hone_op forward, backward; /* backward == HONE_OP_reshape: the operand itself is the gradient */
    const char *operands, *gradient;
    bool fused_only; /* only where the case names an activation */
} backward_row;

extern const backward_row backward_list[];
extern const int backward_count;

/* Ops that train through no row of their own, and why; NULL where `op` is not one of them. */
const char *no_gradient_reason(hone_op op);
bool is_backward(hone_op op);
/* True for input k that the op writes in place ("!" in ops.def). */
bool is_written_input(hone_op op, int k);
/* True for output k that is a parameter's gradient: node->accumulate adds to it. */
bool is_param_gradient(hone_op op, int k);

/* --- scenes (scene.c) -------------------------------------------------------------------------------- */
enum { BACK_MAX = 4 };

typedef struct scene {
    const case_row *row;
    hone_graph *g;
    hone_dtype storage; /* of what signatures leave open; HONE_F32 but where scene_store says otherwise */
    bool *stored;       /* by tensor id: is of that type                                                */
    hone_nid forward;
    hone_tid dy; /* gradient of output 0, HONE_NONE where it has none */
    int back_count;
    struct {
        const backward_row *rule;
        hone_nid node; /* HONE_NONE for the identity */
    } back[BACK_MAX];
    double **value; /* by tensor id; NULL where nothing was computed yet */
    hone_step step;
} scene;

void scene_open(scene *s, const case_row *row);
/* Before scene_fill: activations, weights and their like are stored in `dtype`, as in a program of that precision;
 * values are rounded to it, and ref64 computes on the rounded values. */
void scene_store(scene *s, hone_dtype dtype);
/* `v`, rounded to the type that tensor t is stored in. */
double scene_round(const scene *s, hone_tid t, double v);
/* Fills every tensor without producer; the same numbers for the same case and kind. */
void scene_fill(scene *s, values kind);
/* Room for the values of tensors that were added since there were `before` of them. */
void scene_grow(scene *s, int before);
void scene_close(scene *s);
/* The tensor that an operand of backward_row means. */
hone_tid scene_operand(const scene *s, const char *operand);
const char *scene_name(const scene *s, char *text, size_t text_bytes);

/* --- one launch of one node (run.c) -------------------------------------------------------------------- */
typedef struct run_how {
    bool accumulate;    /* outputs start from numbers, not from NaN                                  */
    bool in_place;      /* output 0 lies over the input that ops.def names                           */
    uint32_t drop_mask; /* optional outputs left out                                                 */
} run_how;

typedef struct run {
    char fault[256]; /* "" or what went wrong: a refusal, a guard overrun, an input clobbered */
    void *in[HONE_MAX_IN], *out[HONE_MAX_OUT];
    size_t in_bytes[HONE_MAX_IN], out_bytes[HONE_MAX_OUT];
    hone_dtype in_dtype[HONE_MAX_IN], out_dtype[HONE_MAX_OUT];
    char choice[64];
} run;

/* Runs node `id` of the scene on `b` with guarded buffers of exactly the right size. */
void run_node(hone_backend *b, const scene *s, hone_nid id, run_how how, run *r);
void run_free(run *r);
/* Element i of a buffer as a double. */
double value_at(hone_dtype dtype, const void *data, int64_t i);
void value_put(hone_dtype dtype, void *data, int64_t i, double value);
/* What accumulating outputs start from. */
double start_value(int64_t i);
/* Runs on ref64 and stores the outputs as values of the scene, rounded to their storage type if `rounded`. */
void run_store(hone_backend *ref64, scene *s, hone_nid id, bool rounded, char *fault, size_t fault_bytes);

/* --- checks --------------------------------------------------------------------------------------------- */
/* Each returns true, or false with what is wrong in `why`. */
typedef struct complaint {
    char text[512];
} complaint;

/* check.c: every node of the case on `b` against ref64, values stored in `storage` on `b`. */
bool check_case(hone_backend *b, hone_backend *ref64, const case_row *row, hone_dtype storage, complaint *why);
/* fused.c: fused rows against the plain rows they stand for, on `b`; true for plain cases. */
bool check_fused(hone_backend *b, const case_row *row, complaint *why);
/* gradient.c: backward rows against differences of the forward op, on `ref64`; *checked counts gradients. */
bool check_gradient(hone_backend *ref64, const case_row *row, int *checked, complaint *why);
/* compare.c: `got` against `want`, both of n elements. Floating point: equal after rounding `want` to
 * got's dtype where `exact`, else ||got - want|| <= relative (||want|| + 0.1 sqrt(n)): the second term is
 * for results that cancel. Integers are always exact. Results of 16 bits may be off by twice what rounding `want` to
 * them costs: our kernels round once, at the end, a library's product may round before its bias is added. */
bool compare_values(hone_dtype got_dtype, const void *got, hone_dtype want_dtype, const void *want, int64_t n,
                    bool exact, double relative, complaint *why);
bool compare_steps(const hone_step *got, const hone_step *want, complaint *why);

/* golden.c: writes all cases with their numbers to stdout (for tests/golden/make_ops.py); and ref64 against
 * what PyTorch said about them. */
int golden_dump(void);
bool check_golden(hone_backend *ref64, const char *path, int *compared, complaint *why);

/* faults.c: plants every fault; returns how many went unnoticed, naming them on stdout. */
int plant_faults(int *planted);
/* report.c */
int report_perf(const char *filter);
int report_support(void);

#endif
