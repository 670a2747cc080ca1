/* gemm.c - a matrix product cut into parts for threads.
 *
 * Each part multiplies a rectangle of c and packs what it needs of b itself, a group of panels at a time: no
 * thread waits for another, and a panel is multiplied while it lies in L2. Long inner dimensions go in blocks
 * of K_BLOCK, so that work memory is bounded and a block of a stays near; block lengths and halves are
 * fixed by the shape, so the order of sums never depends on the number of threads. */
#include "cpu/gemm.h"

#include <string.h>

enum {
    K_BLOCK = 1024,
    ROW_BLOCK_FLOATS = 48 * 1024, /* of a: 192 KiB, a part of L2 (512 KiB and up) */
    GROUP_FLOATS = 64 * 1024,     /* of packed b: 256 KiB, another part */
    PACK_ROWS = 6                 /* packing a panel costs as much as multiplying it with so many rows (measured) */
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

/* Panels that are packed together for blocks of k rows */
static int64_t group_panels(const hone_cpu_gemm *g, int64_t k)
{
    int64_t panels = GROUP_FLOATS / (k * g->cols);
    return panels < 1 ? 1 : panels;
}

/* Rows x panels grid of `parts` rectangles whose largest costs least. Every part packs its own panels, so parts
 * of the rows pack the same ones again: that is what PACK_ROWS weighs. */
static void cut(hone_cpu_product *p, int64_t rows, int64_t panels)
{
    int64_t best = INT64_MAX;
    /* every factorisation of parts; ties go to more column parts */
    for (int c = p->parts; c >= 1; c--) {
        if (p->parts % c) continue;
        int r = p->parts / c;
        int64_t cost = ((rows + r - 1) / r + PACK_ROWS) * ((panels + c - 1) / c);
        if (cost >= best) continue;
        best = cost;
        p->row_parts = r;
        p->column_parts = c;
    }
}

void hone_cpu_product_plan(hone_cpu_product *p, int parts)
{
    const hone_cpu_gemm *g = p->gemm;
    int64_t k = min64(p->k, K_BLOCK), panels = panel_count(g, p->n);
    p->parts = parts;
    p->own_floats = min64(panels, group_panels(g, k)) * g->cols * k;
    p->halved = p->may_halve && hone_cpu_halves_fit(p);
    if (p->halved) {
        cut(p, p->m / 2, hone_cpu_halves_columns(p) / 2 / g->cols);
        int64_t floats = hone_cpu_halves_floats(p);
        if (floats > p->own_floats) p->own_floats = floats;
        p->shared_floats = hone_cpu_halves_shared(p);
    } else {
        cut(p, p->m, panels);
    }
    p->own_floats = (p->own_floats + 15) / 16 * 16; /* whole cache lines */
}

size_t hone_cpu_product_bytes(const hone_cpu_product *p)
{
    return ((size_t)p->parts * (size_t)p->own_floats + (size_t)p->shared_floats) * sizeof(float);
}

hone_cpu_epilogue hone_cpu_epilogue_at(const hone_cpu_product *p, const float *c)
{
    hone_cpu_epilogue e = p->epilogue;
    int64_t at = c - p->c;
    if (e.bias) e.bias += at % p->n;
    if (e.below) e.below += at;
    if (e.before) e.before += at;
    return e;
}

/* Packs columns [j, j + n) of the block [k0, k0 + k) of b; what lies past the matrix becomes zeros. */
static void pack_group(const hone_cpu_product *p, int64_t k0, int64_t k, int64_t j, int64_t n, float *own)
{
    const hone_cpu_gemm *g = p->gemm;
    int64_t panels = panel_count(g, n);
    if (p->b_turned) g->pack_turned(0, panels, n, k, p->b + j * p->k + k0, p->k, own);
    else g->pack(0, panels, n, k, p->b + k0 * p->n + j, p->n, own);
}

int64_t hone_cpu_product_packed_floats(const hone_cpu_product *p)
{
    return panel_count(p->gemm, p->n) * p->gemm->cols * p->k;
}

/* Where the panels of columns from j on lie, in the block [k0, k0 + k): whole panels, as pack_group makes them. */
static int64_t packed_at(const hone_cpu_product *p, int64_t k0, int64_t k, int64_t j)
{
    return panel_count(p->gemm, p->n) * p->gemm->cols * k0 + j * k;
}

void hone_cpu_product_pack(const hone_cpu_product *p, float *packed)
{
    for (int64_t k0 = 0; k0 < p->k; k0 += K_BLOCK)
        pack_group(p, k0, min64(p->k - k0, K_BLOCK), 0, p->n, packed + packed_at(p, k0, 0, 0));
}

/* Rows [i, i + m) of c, columns [j, j + n) by the packed block [k0, k0 + k) */
static void multiply(const hone_cpu_product *p, int64_t k0, int64_t k, int64_t i, int64_t m, int64_t j, int64_t n,
                     const float *own)
{
    const hone_cpu_gemm *g = p->gemm;
    const float *a = p->a_turned ? p->a + k0 * p->m + i : p->a + i * p->k + k0;
    for (int64_t end = j + n; j < end; j += g->cols, own += k * g->cols) {
        float *c = p->c + i * p->n + j;
        hone_cpu_epilogue e = hone_cpu_epilogue_at(p, c);
        /* bias and activation only after the last block of k */
        hone_cpu_target to = {.c = c, .from = p->add || k0 > 0 ? c : NULL, .ld = p->n};
        if (k0 + k == p->k) to.epilogue = &e;
        g->to_target(p->a_turned, m, min64(g->cols, end - j), k, a, p->a_turned ? p->m : p->k, own, &to);
    }
}

/* A group of panels stays in L2 while blocks of rows of a, which stay there too, pass by. */
void hone_cpu_product_block(const hone_cpu_product *p, int64_t i, int64_t i_end, int64_t j, int64_t j_end, float *own)
{
    for (int64_t k0 = 0; i < i_end && k0 < p->k; k0 += K_BLOCK) {
        int64_t k = min64(p->k - k0, K_BLOCK), group = group_panels(p->gemm, k) * p->gemm->cols;
        /* rows of a block: whole register tiles, at least one */
        int64_t step = ROW_BLOCK_FLOATS / k / p->gemm->rows * p->gemm->rows;
        if (step < p->gemm->rows) step = p->gemm->rows;
        for (int64_t q = j; q < j_end; q += group) {
            int64_t n = min64(group, j_end - q);
            const float *panels = p->packed ? p->packed + packed_at(p, k0, k, q) : own;
            if (!p->packed) pack_group(p, k0, k, q, n, own);
            for (int64_t r = i; r < i_end; r += step) multiply(p, k0, k, r, min64(step, i_end - r), q, n, panels);
        }
    }
}

/* A share of the column sums of a turned a, added to or started. */
static void sum_part(const hone_cpu_product *p, int part)
{
    int64_t lanes = p->gemm->lanes, first, last;
    hone_cpu_share((p->m + lanes - 1) / lanes, part, p->parts, &first, &last);
    int64_t i = first * lanes, m = min64(last * lanes, p->m) - i;
    if (m <= 0) return;
    if (!p->add) memset(p->column_sum + i, 0, (size_t)m * sizeof(float));
    p->gemm->add_columns(p->k, m, p->a + i, p->m, p->column_sum + i);
}

/* Where the work that all parts share begins */
static float *shared_work(const hone_cpu_product *p) { return p->work + p->parts * p->own_floats; }

static void sum_quarters(void *arg, int part, int parts)
{
    const hone_cpu_product *p = arg;
    hone_cpu_halves_sums(p, part, parts, shared_work(p));
}

/* What the grid leaves over: a share of the sums of columns of a, and in halves of the last columns. */
static void rest_of_part(const hone_cpu_product *p, int part, float *own)
{
    int64_t i, i_end;
    if (p->column_sum) sum_part(p, part);
    if (!p->halved) return;
    hone_cpu_share(p->m, part, p->parts, &i, &i_end);
    hone_cpu_product_block(p, i, i_end, hone_cpu_halves_columns(p), p->n, own);
}

/* One rectangle of the grid; in halves, that of each quarter, within the block of rows. */
static void multiply_part(void *arg, int part, int parts)
{
    const hone_cpu_product *p = arg;
    float *own = p->work + part * p->own_floats;
    int64_t cols = p->gemm->cols, n = p->halved ? hone_cpu_halves_columns(p) / 2 : p->n, i, i_end, q, q_end;
    (void)parts;
    if (p->block == 0) rest_of_part(p, part, own);
    hone_cpu_share(p->halved ? p->block_rows : p->m, part / p->column_parts, p->row_parts, &i, &i_end);
    hone_cpu_share(panel_count(p->gemm, n), part % p->column_parts, p->column_parts, &q, &q_end);
    if (p->halved)
        hone_cpu_halves_block(p, p->block + i, p->block + i_end, q * cols, q_end * cols, shared_work(p), own);
    else hone_cpu_product_block(p, i, i_end, q * cols, min64(q_end * cols, p->n), own);
}

/* Halves go by blocks of rows, so that the sums of quarters of a take bounded memory and stay near. */
static void run_halves(const hone_backend *b, hone_cpu_product *p)
{
    int64_t rows = hone_cpu_halves_rows(p);
    for (p->block = 0; p->block < p->m / 2; p->block += rows) {
        p->block_rows = min64(rows, p->m / 2 - p->block);
        hone_cpu_parallel(b, p->parts, sum_quarters, p);
        hone_cpu_parallel(b, p->parts, multiply_part, p);
    }
}

void hone_cpu_product_run(const hone_backend *b, hone_cpu_product *p)
{
    if (p->halved) run_halves(b, p);
    else hone_cpu_parallel(b, p->parts, multiply_part, p);
}
