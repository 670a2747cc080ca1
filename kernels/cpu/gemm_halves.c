/* gemm_halves.c - a product by halves: seven products of half the size in each direction instead of eight.
 *
 * One step of Strassen's recursion in Winograd's form (Strassen, "Gaussian elimination is not optimal", 1969;
 * Douglas, Heroux, Slishman & Smith, "GEMMW", 1994): an eighth fewer multiply-adds. Sums of quarters of b are
 * made while packing and sums of quarters of c while storing a tile (Huang et al., "Strassen's Algorithm
 * Reloaded", 2016), so only sums of quarters of a need memory. On small integers it is exact; else the error is
 * a few units in the last place of the largest elements, not of each element. The halves are those of the
 * whole matrix and sums are made element by element, so the number of threads does not change a bit. */
#include "cpu/gemm.h"

enum {
    MIN_SIDE = 256, /* of m, n and k: below, the sums cost more than the eighth product (measured) */
    MAX_INNER = 1024,
    ROW_BLOCK = 256 /* rows of a sum of quarters of a that are made at a time: it has to stay in L2 */
};

/* Quarters of a matrix, by rows: 11 12 21 22 */
enum { Q11, Q12, Q21, Q22, NONE };

/* One of the seven: quarters of a and b with their factors, and where the product goes. */
typedef struct product {
    signed char a[4], b[4];
    unsigned char to, from, twin, twin_from;
    bool last; /* `to` is complete then */
} product;

/* In an order that needs no memory for sums of products: each is kept in the quarter of c that needs it next. */
static const product seven[] = {
    {{1, 0, 0, 0}, {1, 0, 0, 0}, Q11, NONE, NONE, NONE, false},
    {{-1, 0, 1, 1}, {1, -1, 0, 1}, Q12, Q11, Q21, Q11, false},
    {{0, 1, 0, 0}, {0, 0, 1, 0}, Q11, Q11, NONE, NONE, true},
    {{1, 0, -1, 0}, {0, -1, 0, 1}, Q21, Q21, NONE, NONE, false},
    {{0, 0, 1, 1}, {-1, 1, 0, 0}, Q22, Q21, Q12, Q12, true},
    {{1, 1, -1, -1}, {0, 0, 0, 1}, Q12, Q12, NONE, NONE, true},
    {{0, 0, 0, 1}, {-1, 1, 1, -1}, Q21, Q21, NONE, NONE, true},
};

bool hone_cpu_halves_fit(const hone_cpu_product *p)
{
    return !p->add && p->m % 2 == 0 && p->k % 2 == 0 && p->m >= MIN_SIDE && p->n >= MIN_SIDE && p->k >= MIN_SIDE &&
           p->k <= MAX_INNER;
}

int64_t hone_cpu_halves_columns(const hone_cpu_product *p) { return p->n / 2 / p->gemm->cols * p->gemm->cols * 2; }

static int64_t row_block(const hone_cpu_product *p) { return p->m / 2 < ROW_BLOCK ? p->m / 2 : ROW_BLOCK; }

/* A panel, then a sum of quarters of a */
int64_t hone_cpu_halves_floats(const hone_cpu_product *p) { return p->k / 2 * (p->gemm->cols + row_block(p)); }

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

/* The sum for rows [i, i + m) of a quarter of a; more than one quarter: made in `own`, (m, k/2) or (k/2, m). */
static const float *sum_a(const hone_cpu_product *p, const product *x, int64_t i, int64_t m, float *own, int64_t *ld)
{
    int64_t hm = p->m / 2, hk = p->k / 2;
    hone_cpu_sum s =
        p->a_turned ? sum_of(x->a, p->a + i, hm, hk * p->m, p->m) : sum_of(x->a, p->a + i * p->k, hm * p->k, hk, p->k);
    *ld = s.ld;
    if (s.count == 1) return s.at[0];
    *ld = p->a_turned ? m : hk;
    p->gemm->add_up(p->a_turned ? hk : m, *ld, &s, own);
    return own;
}

/* The same for `cols` columns of a quarter of b, from column j */
static hone_cpu_sum sum_b(const hone_cpu_product *p, const product *x, int64_t j)
{
    int64_t hk = p->k / 2, hn = hone_cpu_halves_columns(p) / 2;
    if (p->b_turned) return sum_of(x->b, p->b + j * p->k, hk, hn * p->k, p->k);
    return sum_of(x->b, p->b + j, hk * p->n, hn, p->n);
}

/* Element (i, j) of quarter q of c; NULL for NONE */
static float *quarter(const hone_cpu_product *p, unsigned char q, int64_t i, int64_t j)
{
    if (q == NONE) return NULL;
    int64_t row = q / 2 * (p->m / 2) + i, column = q % 2 * (hone_cpu_halves_columns(p) / 2) + j;
    return p->c + row * p->n + column;
}

/* Rows [i, i + m) and columns [j, j_end) of one of the seven */
static void one_product(const hone_cpu_product *p, const product *x, int64_t i, int64_t m, int64_t j, int64_t j_end,
                        float *own)
{
    const hone_cpu_gemm *g = p->gemm;
    int64_t hk = p->k / 2, lda;
    const float *a = sum_a(p, x, i, m, own + hk * g->cols, &lda);
    for (; j < j_end; j += g->cols) {
        hone_cpu_sum b = sum_b(p, x, j);
        hone_cpu_target to = {quarter(p, x->to, i, j),
                              quarter(p, x->from, i, j),
                              quarter(p, x->twin, i, j),
                              quarter(p, x->twin_from, i, j),
                              p->n,
                              NULL};
        hone_cpu_epilogue e = hone_cpu_epilogue_at(p, to.c);
        if (x->last) to.epilogue = &e;
        g->pack_sum(p->b_turned, hk, &b, own);
        g->to_target(p->a_turned, m, g->cols, hk, a, lda, own, &to);
    }
}

void hone_cpu_halves_block(const hone_cpu_product *p, int64_t i, int64_t i_end, int64_t j, int64_t j_end, float *own)
{
    for (; i < i_end; i += ROW_BLOCK) {
        int64_t m = i_end - i < row_block(p) ? i_end - i : row_block(p);
        for (size_t k = 0; k < sizeof seven / sizeof *seven; k++) one_product(p, &seven[k], i, m, j, j_end, own);
    }
}
