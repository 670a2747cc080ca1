/* blas.h - products of the linear rows by cuBLASLt: problem, choice and plan, each of which can be printed.
 *
 * A problem is plain data and is checked here (blas.c, pure C) before the library sees it, because the library
 * believes what it is told about dimensions. A plan holds the library's descriptors and the algorithm that was chosen
 * by timing or recalled (blas_lt.c, the only file that calls cuBLASLt; the emulated device compiles it against a
 * checked host stand-in). Nothing here knows graphs or nodes. */
#ifndef HONE_KERNELS_CUDA_BLAS_H
#define HONE_KERNELS_CUDA_BLAS_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the library does with a result on its way out. GELU is its tanh form; with AUX what it reads is a second output,
 * of the shape and type of D, and DGELU multiplies by its slope at that. BGRADB: the row sums of B over k, an
 * extra output (n): the gradient of a bias. */
typedef enum hone_blas_epilogue {
    HONE_BLAS_PLAIN,
    HONE_BLAS_BIAS,
    HONE_BLAS_RELU,
    HONE_BLAS_RELU_BIAS,
    HONE_BLAS_GELU,
    HONE_BLAS_GELU_BIAS,
    HONE_BLAS_GELU_AUX,
    HONE_BLAS_GELU_AUX_BIAS,
    HONE_BLAS_DGELU,
    HONE_BLAS_BGRADB
} hone_blas_epilogue;

/* D (m, n) = op(A) (m, k) op(B) (k, n) [+ D], column-major, as cuBLASLt reads memory. A is stored (m, k), or (k, m)
 * where transposed; B (k, n) or (n, k). Leading dimensions in elements. Sums and scales are fp32. */
typedef struct hone_blas_problem {
    int64_t m, n, k, lda, ldb, ldd;
    bool transpose_a, transpose_b;
    hone_dtype operand, result; /* of A and B; of D                                                        */
    hone_dtype vector;          /* of the bias (m) or of its gradient (n); read where the epilogue has one */
    hone_blas_epilogue epilogue;
    bool add;               /* += : D is read, too                                                     */
    bool tf32;              /* F32 operands may be rounded to 10 bits of mantissa                      */
    bool any_order;         /* sums whose order changes from run to run are welcome                    */
    size_t work_bytes_most; /* scratch it may ask for                                                  */
    uint32_t align_bytes;   /* of every pointer                                                        */
} hone_blas_problem;

/* x (R, I), w (O, I), y, dy (R, O), all row-major: memory that the library reads as the transpose, so that no
 * direction needs a copy.  FORWARD y = x w^T,  DX dx (R, I) = dy w,  DW dw (O, I) = dy^T x. */
typedef enum hone_blas_direction { HONE_BLAS_FORWARD, HONE_BLAS_DX, HONE_BLAS_DW } hone_blas_direction;
/* The rest of the problem is plain: set epilogue, add and the permissions after it. */
hone_blas_problem hone_blas_linear(hone_blas_direction direction, int64_t rows, int64_t inputs, int64_t outputs,
                                   hone_dtype operand, hone_dtype result);

/* Has the result a vector (m) added, and does a matrix like D go beside it? */
bool hone_blas_has_bias(hone_blas_epilogue e);
bool hone_blas_has_aux(hone_blas_epilogue e);
/* Is it one that cuBLASLt documents? Errors: USAGE naming the first thing that is wrong. */
hone_status hone_blas_check(const hone_blas_problem *p) HONE_MUST_USE;
/* "matmul tn m 512 n 256 k 784 ..."; all that the choice depends on. Returns `text`. */
const char *hone_blas_problem_text(const hone_blas_problem *p, char *text, size_t text_bytes);

/* cuBLASLt's own 64 bytes ("can be trivially serialized and restored for use with the same version": cublasLt.h) and
 * the scratch that it asked for. */
typedef struct hone_blas_choice {
    uint64_t algo[8];
    size_t work_bytes;
} hone_blas_choice;
void hone_blas_choice_text(const hone_blas_choice *c, char *text, size_t text_bytes);
/* False for a text that is no choice. */
bool hone_blas_choice_read(const char *text, hone_blas_choice *c);

typedef struct hone_blas_plan hone_blas_plan;
/* Recalls or times. Slow; allocates for the time it takes. Errors: USAGE of the check, RUNTIME where the library has
 * no algorithm, DEVICE, MEMORY. */
hone_status hone_blas_plan_new(hone_backend *b, const hone_blas_problem *p, hone_blas_plan **out) HONE_MUST_USE;
void hone_blas_plan_free(hone_blas_plan *plan); /* NULL is fine                        */
size_t hone_blas_plan_work_bytes(const hone_blas_plan *plan);
const char *hone_blas_plan_text(const hone_blas_plan *plan); /* "cublaslt algo 21 tile 128x128 ..." */
/* Enqueues on the compute stream; may be recorded. a, b, d as in the problem, vector (m) or (n) or NULL, aux as d or NULL,
 * work of plan_work_bytes. Like every launch: no failure but the one that the next sync reports. */
void hone_blas_run(hone_backend *backend, const hone_blas_plan *plan, const void *a, const void *b, void *vector,
                   void *aux, void *d, void *work);
/* Gives the library's handle back; for the backend's close. */
void hone_blas_close(hone_backend *b);

#ifdef __cplusplus
}
#endif
#endif
