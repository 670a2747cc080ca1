/* gemm_halves.c - a product by halves: seven products of half the size in each direction instead of eight.
 *
 * One step of Strassen's recursion in Winograd's form (Strassen, "Gaussian elimination is not optimal", 1969;
 * Douglas, Heroux, Slishman & Smith, "GEMMW", 1994): an eighth fewer multiply-adds. Sums of quarters of b are
 * made while packing and sums of quarters of c while storing a tile (Huang et al., "Strassen's Algorithm
 * Reloaded", 2016), so only sums of quarters of a need memory: all threads make them first, each a share, in one
 * pass over a. On small integers it is exact; else the error is a few units in the last place of the largest
 * elements, not of each element. The halves are those of the whole matrix and sums are made element by element,
 * so the number of threads does not change a bit. */
#include "cpu/gemm.h"

#include <string.h>

enum {
    MIN_SIDE = 256, /* of m, n and k: below, the sums cost more than the eighth product (measured) */
    MAX_INNER = 1024,
    ROW_BLOCK = 256 /* rows of a quarter of a that one part passes by a panel of b: they have to stay in L2 */
};

/* Quarters of a matrix, by rows: 11 12 21 22; of a also its sums, S1 = 21 + 22, S2 = S1 - 11, S3 = 11 - 21 and
 * S4 = 12 - S2 */
enum { Q11, Q12, Q21, Q22, NONE, S1 = NONE, S2, S3, S4 };

/* One of the seven: a quarter or sum of a, quarters of b with their factors, and where the product goes. */
typedef struct product {
    unsigned char a;
    signed char b[4];
    unsigned char to, from, twin, twin_from;
    bool last; /* `to` is complete then */
} product;

/* In an order that needs no memory for sums of products: each is kept in the quarter of c that needs it next. */
static const product seven[] = {
    {Q11, {1, 0, 0, 0}, Q11, NONE, NONE, NONE, false}, {S2, {1, -1, 0, 1}, Q12, Q11, Q21, Q11, false},
    {Q12, {0, 0, 1, 0}, Q11, Q11, NONE, NONE, true},   {S3, {0, -1, 0, 1}, Q21, Q21, NONE, NONE, false},
    {S1, {-1, 1, 0, 0}, Q22, Q21, Q12, Q12, true},     {S4, {0, 0, 0, 1}, Q12, Q12, NONE, NONE, true},
    {Q22, {-1, 1, 1, -1}, Q21, Q21, NONE, NONE, true},
};
enum { PRODUCTS = sizeof seven / sizeof *seven };

bool hone_cpu_halves_fit(const hone_cpu_product *p)
{
    return !p->add && p->m % 2 == 0 && p->k % 2 == 0 && p->m >= MIN_SIDE && p->n >= MIN_SIDE && p->k >= MIN_SIDE &&
           p->k <= MAX_INNER;
}

int64_t hone_cpu_halves_columns(const hone_cpu_product *p) { return p->n / 2 / p->gemm->cols * p->gemm->cols * 2; }

int64_t hone_cpu_halves_rows(const hone_cpu_product *p)
{
    int64_t rows = (int64_t)ROW_BLOCK * p->row_parts;
    return p->m / 2 < rows ? p->m / 2 : rows;
}

/* A panel, and a copy of a part's rows of a quarter of a that is turned (see operand_a) */
int64_t hone_cpu_halves_floats(const hone_cpu_product *p)
{
    int64_t rows = (hone_cpu_halves_rows(p) + p->row_parts - 1) / p->row_parts;
    return p->k / 2 * (p->gemm->cols + (p->a_turned ? rows : 0));
}

/* Four sums of the size of a block of a quarter */
int64_t hone_cpu_halves_shared(const hone_cpu_product *p) { return 4 * hone_cpu_halves_rows(p) * (p->k / 2); }

void hone_cpu_halves_sums(const hone_cpu_product *p, int part, int parts, float *shared)
{
    int64_t hm = p->m / 2, hk = p->k / 2, rows = p->block_rows, r, r_end;
    /* of a as it lies: each sum is (rows, hk), or (hk, rows) if turned */
    hone_cpu_share(p->a_turned ? hk : rows, part, parts, &r, &r_end);
    if (p->a_turned)
        p->gemm->half_sums(r_end - r, rows, p->a + r * p->m + p->block, hm, hk * p->m, p->m, shared + r * rows,
                           hk * rows);
    else
        p->gemm->half_sums(r_end - r, hk, p->a + (p->block + r) * p->k, hm * p->k, hk, p->k, shared + r * hk,
                           rows * hk);
}

/* The sum of the quarters of a matrix that starts at `first`, `down` and `right` apart, those with + in front. */
static hone_cpu_sum sum_of(const signed char factor[4], const float *first, int64_t down, int64_t right, int64_t ld)
{
    hone_cpu_sum s = {.ld = ld};
    for (int sign = 1; sign >= -1; sign -= 2)
        for (int q = 0; q < 4; q++) {
            if (factor[q] != sign) continue;
            s.at[s.count] = first + q / 2 * down + q % 2 * right;
            s.sign[s.count++] = (float)sign;
        }
    return s;
}

/* Rows [i, i + m) of a quarter or sum of a. A quarter of a turned a is copied first: rows of a power of two floats
 * apart share a few sets of L1, and a tile reads one line of each (measured: a third slower). */
static const float *operand_a(const hone_cpu_product *p, const product *x, int64_t i, int64_t m, const float *shared,
                              float *own, int64_t *ld)
{
    int64_t hm = p->m / 2, hk = p->k / 2, rows = p->block_rows;
    if (x->a >= S1) {
        *ld = p->a_turned ? rows : hk;
        return shared + (x->a - S1) * rows * hk + (i - p->block) * (p->a_turned ? 1 : hk);
    }
    *ld = p->k;
    if (!p->a_turned) return p->a + (x->a / 2 * hm + i) * p->k + x->a % 2 * hk;
    const float *from = p->a + x->a % 2 * hk * p->m + x->a / 2 * hm + i;
    for (int64_t r = 0; r < hk; r++) memcpy(own + r * m, from + r * p->m, (size_t)m * sizeof *own);
    *ld = m;
    return own;
}

/* `cols` columns of a quarter of b, from column j, summed */
static hone_cpu_ahead sum_b(const hone_cpu_product *p, const product *x, int64_t j)
{
    int64_t hk = p->k / 2, hn = hone_cpu_halves_columns(p) / 2, cols = p->gemm->cols;
    if (p->b_turned) return (hone_cpu_ahead){sum_of(x->b, p->b + j * p->k, hk, hn * p->k, p->k), cols, hk};
    return (hone_cpu_ahead){sum_of(x->b, p->b + j, hk * p->n, hn, p->n), hk, cols};
}

/* Element (i, j) of quarter q of c; NULL for NONE */
static float *quarter(const hone_cpu_product *p, unsigned char q, int64_t i, int64_t j)
{
    if (q == NONE) return NULL;
    int64_t row = q / 2 * (p->m / 2) + i, column = q % 2 * (hone_cpu_halves_columns(p) / 2) + j;
    return p->c + row * p->n + column;
}

/* Rows [i, i + m) and columns [j, j_end) of one of the seven */
static void one_product(const hone_cpu_product *p, int which, int64_t i, int64_t m, int64_t j, int64_t j_end,
                        const float *shared, float *own)
{
    const hone_cpu_gemm *g = p->gemm;
    const product *x = &seven[which];
    int64_t hk = p->k / 2, lda, start = j;
    const float *a = operand_a(p, x, i, m, shared, own + hk * g->cols, &lda);
    hone_cpu_ahead b = sum_b(p, x, j);
    for (; j < j_end; j += g->cols) {
        hone_cpu_target to = {.c = quarter(p, x->to, i, j),
                              .from = quarter(p, x->from, i, j),
                              .twin = quarter(p, x->twin, i, j),
                              .twin_from = quarter(p, x->twin_from, i, j),
                              .ld = p->n};
        hone_cpu_epilogue e = hone_cpu_epilogue_at(p, to.c);
        if (x->last) to.epilogue = &e;
        g->pack_sum(p->b_turned, hk, &b.sum, own);
        /* the next panel, of the next product if this one is done */
        if (j + g->cols < j_end) b = sum_b(p, x, j + g->cols);
        else b = sum_b(p, &seven[(which + 1) % PRODUCTS], start);
        to.ahead = &b;
        g->to_target(p->a_turned, m, g->cols, hk, a, lda, own, &to);
    }
}

void hone_cpu_halves_block(const hone_cpu_product *p, int64_t i, int64_t i_end, int64_t j, int64_t j_end,
                           const float *shared, float *own)
{
    for (int which = 0; which < PRODUCTS; which++) one_product(p, which, i, i_end - i, j, j_end, shared, own);
}
