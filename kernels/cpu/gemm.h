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
    const float *below; /* (m, n) row-major like c: y of the activation below (its input for gelu, gelu_tanh, silu);
                           NULL: forward                                                         */
    float *before;      /* (m, n) likewise: gets c + bias as the activation reads it, or NULL      */
} hone_cpu_epilogue;

/* A matrix given as a signed sum of up to four of one shape and row stride; the first sign is +1, all are 1 or -1. */
typedef struct hone_cpu_sum {
    const float *at[4];
    float sign[4];
    int count;
    int64_t ld;
} hone_cpu_sum;

/* What is packed after a product, fetched into L2 while it runs: (rows, columns) of each term of a sum */
typedef struct hone_cpu_ahead {
    hone_cpu_sum sum;
    int64_t rows, columns;
} hone_cpu_ahead;

/* Where a product goes: c = from + a b and, where twin is not NULL, twin = twin_from + a b as well. All lie in one
 * matrix of row stride ld; from NULL: nothing is added, and there is no twin. */
typedef struct hone_cpu_target {
    float *c;
    const float *from;
    float *twin;
    const float *twin_from;
    int64_t ld;
    const hone_cpu_epilogue *epilogue; /* applied to c afterwards, not to the twin; NULL: nothing */
    const hone_cpu_ahead *ahead;       /* NULL: nothing is fetched                                */
} hone_cpu_target;

typedef struct hone_cpu_gemm {
    int lanes, rows, cols; /* vector width; register tile (rows, cols)                            */
    /* c (m, n) row stride ldc = or += a b, a (m, k) row stride lda. b: element (p, j) lies at
     * b[j / cols * panel + p * step + j % cols]; whole vectors of a row of b are read. */
    void (*rows_by_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add);
    /* the same with a turned: a (k, m), row stride lda */
    void (*cols_by_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add);
    /* target (m, n) = a b, b one packed panel, n <= cols; a (m, k), or (k, m) if turned, row stride lda */
    void (*to_target)(bool turned, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                      const hone_cpu_target *to);
    /* c (m, n) = a b where row i of a is `outer` pieces of `inner` floats, piece r at a + i * lda + r * jump: the
     * window of a pixel in an image. b packed, k = outer * inner. */
    void (*windows_by_panels)(int64_t m, int64_t n, int64_t outer, int64_t inner, const float *a, int64_t jump,
                              int64_t lda, const float *b, float *c, int64_t ldc);
    /* panels [first, last) of b (k, n) row-major, row stride ld */
    void (*pack)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels);
    /* the same from b turned: (n, k) row-major, row stride ld */
    void (*pack_turned)(int64_t first, int64_t last, int64_t n, int64_t k, const float *b, int64_t ld, float *panels);
    /* one panel of `cols` whole columns of a sum: b (k, cols), or (cols, k) if turned */
    void (*pack_sum)(bool turned, int64_t k, const hone_cpu_sum *b, float *panel);
    /* The four sums of quarters of a (gemm_halves.c), each (m, n) without gaps, `apart` floats apart in out. The quarters
     * are (m, n) of row stride ld from a, a + right, a + down and a + down + right. */
    void (*half_sums)(int64_t m, int64_t n, const float *a, int64_t down, int64_t right, int64_t ld, float *out,
                      int64_t apart);
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
    bool may_halve;    /* seven products of halves instead of eight (gemm_halves.c), where that is quicker */
    float *column_sum; /* (m) sums of a turned a over k, added or written as c is; NULL: not wanted */
    hone_cpu_epilogue epilogue;
    float *work;         /* hone_cpu_product_bytes */
    const float *packed; /* all of b by hone_cpu_product_pack; NULL: each part packs what it needs */
    /* from here on set by hone_cpu_product_plan: a grid of parts over the rows and panels of c or of its halves */
    int parts, row_parts, column_parts;
    bool halved;
    int64_t own_floats;        /* of work, for each part      */
    int64_t shared_floats;     /* of work, after all of those */
    int64_t block, block_rows; /* halved: the rows of each quarter of c that are being made; set by the run */
} hone_cpu_product;

/* Cuts the product for `parts` threads, by its shape and kind alone. */
void hone_cpu_product_plan(hone_cpu_product *p, int parts);
/* Work memory of a planned product */
size_t hone_cpu_product_bytes(const hone_cpu_product *p);
/* All of b in panels, block of k by block of k: floats of it, and the work of a part done once for all runs. */
int64_t hone_cpu_product_packed_floats(const hone_cpu_product *p);
void hone_cpu_product_pack(const hone_cpu_product *p, float *packed);
/* Runs a planned product. */
void hone_cpu_product_run(const hone_backend *b, hone_cpu_product *p);

/* Rows [i, i_end) and columns [j, j_end) of c by one thread with `own` work; j is a multiple of `cols`. */
void hone_cpu_product_block(const hone_cpu_product *p, int64_t i, int64_t i_end, int64_t j, int64_t j_end, float *own);

/* The epilogue of the product for a rectangle that begins at c */
hone_cpu_epilogue hone_cpu_epilogue_at(const hone_cpu_product *p, const float *c);

/* --- gemm_halves.c: one step of Strassen's recursion --- */
/* Whether p's shape gains by it. */
bool hone_cpu_halves_fit(const hone_cpu_product *p);
/* Columns of c that it covers, a multiple of 2 * cols; the others are an ordinary product. */
int64_t hone_cpu_halves_columns(const hone_cpu_product *p);
/* Rows of each quarter of c that all parts make at a time */
int64_t hone_cpu_halves_rows(const hone_cpu_product *p);
/* Work of one part, and what all share */
int64_t hone_cpu_halves_floats(const hone_cpu_product *p);
int64_t hone_cpu_halves_shared(const hone_cpu_product *p);
/* A part's share of the sums of quarters of a for p's block of rows, into `shared`: before its parts begin. */
void hone_cpu_halves_sums(const hone_cpu_product *p, int part, int parts, float *shared);
/* Rows [i, i_end), of p's block, and columns [j, j_end) of each of the four quarters of c, with `own` work. */
void hone_cpu_halves_block(const hone_cpu_product *p, int64_t i, int64_t i_end, int64_t j, int64_t j_end,
                           const float *shared, float *own);

#endif
