/* gemm.c - a matrix product cut into parts for threads.
 *
 * b is packed into panels by all threads, then each part multiplies a rectangle of c. Long inner
 * dimensions go in blocks of K_BLOCK, so that work memory is bounded and a block of a stays near; the
 * block length is fixed, so the order of sums never depends on the number of threads. */
#include "cpu/gemm.h"

#include <string.h>

enum {
    K_BLOCK = 1024,
    ROW_BLOCK_FLOATS = 48 * 1024 /* of a: 192 KiB, a part of L2 (512 KiB and up) */
};

/* The table of the running instruction set. */
const hone_cpu_gemm *hone_cpu_gemm_pick(void)
{
    const hone_cpu_gemm *const table[] = HONE_CPU_EACH(&hone_cpu_gemm);
    return table[hone_cpu_isa_pick()];
}

/* Panels that n columns of b take; the last may be padded. */
static int64_t panel_count(const hone_cpu_gemm *g, int64_t n) { return (n + g->cols - 1) / g->cols; }

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

size_t hone_cpu_product_bytes(const hone_cpu_gemm *g, int64_t n, int64_t k)
{
    return (size_t)(panel_count(g, n) * g->cols * min64(k, K_BLOCK)) * sizeof(float);
}

/* Rows x panels grid of `parts` rectangles whose largest costs least; rows first, since parts of a
 * column each read all of a. */
static void cut(hone_cpu_product *p)
{
    int64_t best = INT64_MAX;
    /* every factorisation of parts; ties go to more row parts */
    for (int r = p->parts; r >= 1; r--) {
        if (p->parts % r) continue;
        int c = p->parts / r;
        int64_t rows = (p->m + r - 1) / r, panels = (panel_count(p->gemm, p->n) + c - 1) / c;
        if (rows * panels >= best) continue;
        best = rows * panels;
        p->row_parts = r;
        p->column_parts = c;
    }
}

/* Panels of the block [k_begin, k_end) of b, shared out evenly. */
static void pack_part(void *arg, int part, int parts)
{
    const hone_cpu_product *p = arg;
    const hone_cpu_gemm *g = p->gemm;
    int64_t first, last, k = p->k_end - p->k_begin;
    hone_cpu_share(panel_count(g, p->n), part, parts, &first, &last);
    if (p->b_turned) g->pack_turned(first, last, p->n, k, p->b + p->k_begin, p->k, p->panels);
    else g->pack(first, last, p->n, k, p->b + p->k_begin * p->n, p->n, p->panels);
}

/* Rows [i, i + m) of c, columns [j, j + n) */
static void multiply_block(const hone_cpu_product *p, int64_t i, int64_t m, int64_t j, int64_t n)
{
    const hone_cpu_gemm *g = p->gemm;
    int64_t k = p->k_end - p->k_begin, panel = k * g->cols;
    const float *b = p->panels + j / g->cols * panel;
    float *c = p->c + i * p->n + j;
    int add = p->add || p->k_begin > 0;
    if (p->a_turned) g->cols_by_panels(m, n, k, p->a + p->k_begin * p->m + i, p->m, b, g->cols, panel, c, p->n, add);
    else g->rows_by_panels(m, n, k, p->a + i * p->k + p->k_begin, p->k, b, g->cols, panel, c, p->n, add);
    /* bias and activation only after the last block of k */
    if (p->k_end < p->k) return;
    hone_cpu_epilogue e = p->epilogue;
    if (e.bias) e.bias += j;
    if (e.below) e.below += i * p->n + j;
    g->finish(&e, m, n, c, p->n);
}

/* Column sums of the block of a, added to or started. */
static void sum_part(const hone_cpu_product *p, int64_t i, int64_t m)
{
    if (!p->add && p->k_begin == 0) memset(p->column_sum + i, 0, (size_t)m * sizeof(float));
    p->gemm->add_columns(p->k_end - p->k_begin, m, p->a + p->k_begin * p->m + i, p->m, p->column_sum + i);
}

/* One rectangle of the grid, in blocks of rows of a that stay in L2 while panels of b pass by. */
static void multiply_part(void *arg, int part, int parts)
{
    const hone_cpu_product *p = arg;
    int64_t i, i_end, q, q_end, cols = p->gemm->cols;
    (void)parts;
    hone_cpu_share(p->m, part / p->column_parts, p->row_parts, &i, &i_end);
    hone_cpu_share(panel_count(p->gemm, p->n), part % p->column_parts, p->column_parts, &q, &q_end);
    if (p->column_sum && q == 0) sum_part(p, i, i_end - i);
    int64_t j = q * cols, n = min64(q_end * cols, p->n) - j;
    /* rows of a block: whole register tiles, at least one */
    int64_t step = ROW_BLOCK_FLOATS / (p->k_end - p->k_begin) / p->gemm->rows * p->gemm->rows;
    if (step < p->gemm->rows) step = p->gemm->rows;
    for (; n > 0 && i < i_end; i += step) multiply_block(p, i, min64(step, i_end - i), j, n);
}

/* Two parallel loops per block of k: packing must be complete before any product. */
void hone_cpu_product_run(const hone_backend *b, hone_cpu_product *p)
{
    p->parts = hone_cpu_parts(b, 2.0 * (double)p->m * (double)p->n * (double)p->k);
    cut(p);
    for (p->k_begin = 0; p->k_begin < p->k; p->k_begin = p->k_end) {
        p->k_end = min64(p->k, p->k_begin + K_BLOCK);
        hone_cpu_parallel(b, p->parts, pack_part, p);
        hone_cpu_parallel(b, p->parts, multiply_part, p);
    }
}
