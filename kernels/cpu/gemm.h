/* gemm.h - packed fp32 matrix products: the one inner loop below linear, conv and Winograd.
 *
 * c (m, n) = a b with b in panels of `cols` columns: panel j holds (k, cols) contiguous floats, columns
 * past n zero. a is read where it lies, either row-major (m, k) or turned (k, m). Each element of c is one
 * chain of multiply-adds over k in order, so results do not depend on how m and n are cut among threads.
 * One table per instruction set; hone_cpu_gemm_pick gives that of the running one. */
#ifndef HONE_KERNELS_CPU_GEMM_H
#define HONE_KERNELS_CPU_GEMM_H

#include "cpu/cpu.h"

/* What happens to a row of c after its last product: c = act(c + bias), or c = act'(below) * c. */
typedef struct hone_cpu_epilogue {
    const float *bias;  /* (n) or NULL                                                           */
    hone_act act;       /* HONE_ACT_NONE: bias alone                                             */
    float slope;        /* leaky relu                                                            */
    const float *below; /* (m, n) row-major like c: y of the activation below; NULL: forward     */
} hone_cpu_epilogue;

typedef struct hone_cpu_gemm {
    int lanes, rows, cols; /* vector width; register tile (rows, cols)                            */
    /* c (m, n) row stride ldc = or += a b, a (m, k) row stride lda. b: element (p, j) lies at
     * b[j / cols * panel + p * step + j % cols]; whole vectors of a row of b are read. */
    void (*rows_by_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add);
    /* the same with a turned: a (k, m), row stride lda */
    void (*cols_by_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add);
    /* c (m, n) = a b where row i of a is `outer` pieces of `inner` floats, piece r at a + i * lda + r * jump: the
     * window of a pixel in an image. b packed, k = outer * inner. */
    void (*windows_by_panels)(int64_t m, int64_t n, int64_t outer, int64_t inner, const float *a, int64_t jump,
                              int64_t lda, const float *b, float *c, int64_t ldc);
    /* panels [first, last) of b (k, n) row-major, row stride ld */
    void (*pack)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels);
    /* the same from b turned: (n, k) row-major, row stride ld */
    void (*pack_turned)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels);
    /* applies e to c (m, n), row stride ldc; e->below has the same stride */
    void (*finish)(const hone_cpu_epilogue *e, int64_t m, int64_t n, float *c, int64_t ldc);
    /* sum (n) += column sums of a (m, n), row stride lda */
    void (*add_columns)(int64_t m, int64_t n, const float *a, int64_t lda, float *sum);
} hone_cpu_gemm;

extern const hone_cpu_gemm hone_cpu_gemm_base, hone_cpu_gemm_avx2, hone_cpu_gemm_avx512;
const hone_cpu_gemm *hone_cpu_gemm_pick(void);

/* A whole product over threads: c (m, n) = finish([c +] a b), row-major c without gaps. */
typedef struct hone_cpu_product {
    const hone_cpu_gemm *gemm;
    int64_t m, n, k;
    const float *a; /* (m, k), or (k, m) if a_turned */
    const float *b; /* (k, n), or (n, k) if b_turned */
    float *c;       /* (m, n)                        */
    bool a_turned, b_turned, add;
    float *column_sum; /* (m) sums of a turned a over k, added or written as c is; NULL: not wanted */
    hone_cpu_epilogue epilogue;
    float *panels; /* work of hone_cpu_product_bytes */
    int parts, row_parts, column_parts;
    int64_t k_begin, k_end; /* block of k in hand */
} hone_cpu_product;

size_t hone_cpu_product_bytes(const hone_cpu_gemm *g, int64_t n, int64_t k);
/* Fills in the parts and runs on up to b->threads threads. */
void hone_cpu_product_run(const hone_backend *b, hone_cpu_product *p);

#endif
