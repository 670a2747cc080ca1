/* gemm_simd.c - register tiles of the matrix product, and epilogues, once per instruction set.
 *
 * A tile keeps up to TILE_ROWS x TILE_COLS sums in registers (28 of 32 on AVX-512) and walks k once:
 * per step two vectors of b and one broadcast per row of a feed 2 * rows multiply-adds, which leaves the
 * load ports half idle. Shorter and narrower tiles are generated, so tails cost their own size. The idea
 * is Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008). No threads here,
 * no memory but what the caller passes. */
#include <math.h>
#include <string.h>

#include "cpu/simd.h"
#include "cpu/edge_simd.h"
#include "cpu/gemm.h"
#include "cpu/gemm_pack.h"
#include "cpu/math_simd.h"

/* Strides of one tile: k runs over `outer` pieces of `inner`, a jumps by `jump` from piece to piece. The distances
 * of what hone_cpu_target names beside c, in floats; add: there is a `from`, twice: a twin, ends: a `below`. */
typedef struct walk {
    int64_t outer, inner, jump, lda, step, ldc;
    int64_t from, twin, twin_from, below;
    int add, twice, ends;
    const hone_cpu_ahead *ahead; /* NULL: nothing is asked for */
} walk;

typedef void tile_fn(const walk *k, const float *a, const float *b, float *c, int64_t n);

/* One vector of sums, of which n lanes exist, to memory; `whole` (all lanes exist), add and twice are constants where
 * this is expanded. */
SIMD_INLINE void put(vfloat x, const walk *k, const int whole, const int add, const int twice, float *c, int64_t n)
{
    if (twice) {
        const float *from = c + k->twin_from;
        vfloat y = x + (whole ? v_load(from) : v_load_some(from, n));
        if (whole) v_store(c + k->twin, y);
        else v_store_some(c + k->twin, y, n);
    }
    if (add) x += whole ? v_load(c + k->from) : v_load_some(c + k->from, n);
    if (whole) v_store(c, x);
    else v_store_some(c, x, n);
}

/* All sums of a tile: the questions are asked once, not for each vector. */
SIMD_INLINE void put_tile(vfloat (*acc)[2], const int mr, const int nv, const walk *k, const int whole, const int add,
                          const int twice, float *c, int64_t n)
{
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, c += k->ldc) {
        put(acc[i][0], k, whole, add, twice, c, n);
        if (nv > 1) put(acc[i][1], k, whole, add, twice, c + LANES, n - LANES);
    }
}

/* Asks for the lines that put_tile and finish read and write, so that they come while k is walked: up to 24 lines at
 * distances that no prefetcher of a CPU guesses. */
SIMD_INLINE void fetch_target(const int mr, const int nv, const walk *k, const float *c)
{
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, c += k->ldc) {
#pragma GCC unroll 2
        for (int v = 0; v < nv * LANES; v += 16) {
            __builtin_prefetch(c + v, 1);
            if (k->add) __builtin_prefetch(c + v + k->from, 0);
            if (k->twice) __builtin_prefetch(c + v + k->twin, 1);
            if (k->ends) __builtin_prefetch(c + v + k->below, 0);
        }
    }
}

/* Distances of rows that one register each and the scales of an address reach: seven rows from a pointer. The
 * compiler, left alone, keeps a pointer a row, has not so many registers, and parks them in vector registers. */
typedef struct rows_at {
    int64_t one, three, five;
} rows_at;

SIMD_INLINE rows_at rows_of(int64_t lda)
{
    rows_at r = {lda, 3 * lda, 5 * lda};
    __asm__("" : "+r"(r.one), "+r"(r.three), "+r"(r.five)); /* each opaque: not a multiple of another */
    return r;
}

/* Row i of seven */
SIMD_INLINE const float *row_of(const rows_at *r, const float *a, const int i)
{
    const int64_t at[7] = {0, r->one, 2 * r->one, r->three, 4 * r->one, r->five, 2 * r->three};
    return a + at[i];
}

/* The tile of `mr` rows and `nv` vectors, both constants at every call; `turned` likewise. */
SIMD_INLINE void tile(const int mr, const int nv, const int turned, const walk *k, const float *restrict a,
                      const float *restrict b, float *restrict c, int64_t n)
{
    /* copies in registers: c may alias the struct for all the compiler knows */
    const int64_t lda = k->lda, step = k->step, inner = k->inner;
    /* the sums; constant indices after unrolling, so they never see memory */
    vfloat acc[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) acc[i][v] = (vfloat){0};
    fetch_target(mr, nv, k, c);
    const rows_at at = rows_of(lda);
    for (int64_t r = 0; r < k->outer; r++, a += k->jump) {
        const float *ap = a, *aq = a + 7 * lda;
#pragma GCC unroll 4 /* a quarter of the branches; short ends are peeled */
        for (int64_t p = 0; p < inner; p++, b += step) {
            /* two vectors of b serve all rows; each a is broadcast once and used twice */
            vfloat b0 = v_load(b), b1 = nv > 1 ? v_load(b + LANES) : b0;
#pragma GCC unroll 16
            for (int i = 0; i < mr; i++) {
                vfloat ai = v_set(turned ? ap[i] : *row_of(&at, i < 7 ? ap : aq, i % 7));
                acc[i][0] += ai * b0;
                if (nv > 1) acc[i][1] += ai * b1;
            }
            if (turned) ap += lda;
            else ap++, aq++;
        }
    }
    if (n < nv * LANES) {
        if (k->twice) put_tile(acc, mr, nv, k, 0, 1, 1, c, n);
        else if (k->add) put_tile(acc, mr, nv, k, 0, 1, 0, c, n);
        else put_tile(acc, mr, nv, k, 0, 0, 0, c, n);
    } else if (k->twice) put_tile(acc, mr, nv, k, 1, 1, 1, c, n);
    else if (k->add) put_tile(acc, mr, nv, k, 1, 1, 0, c, n);
    else put_tile(acc, mr, nv, k, 1, 0, 0, c, n);
}

/* X(1) .. X(TILE_ROWS): one function for every height of tile, width and side of a */
#define EACH_ROW_6(X)  X(1) X(2) X(3) X(4) X(5) X(6)
#define EACH_ROW_14(X) EACH_ROW_6(X) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define EACH_ROW_(n)   EACH_ROW_##n
#define EACH_ROW(n)    EACH_ROW_(n)

#define DEFINE_TILE(mr, nv, turned, name)                                                                              \
    static void name(const walk *k, const float *a, const float *b, float *c, int64_t n)                               \
    {                                                                                                                  \
        tile(mr, nv, turned, k, a, b, c, n);                                                                           \
    }
#define DEFINE_TILES(mr)                                                                                               \
    DEFINE_TILE(mr, 1, 0, rows_##mr##x1)                                                                               \
    DEFINE_TILE(mr, 2, 0, rows_##mr##x2) DEFINE_TILE(mr, 1, 1, cols_##mr##x1) DEFINE_TILE(mr, 2, 1, cols_##mr##x2)
EACH_ROW(TILE_ROWS)
(DEFINE_TILES)

/* Tables [height - 1][two vectors wide] */
#define ROWS_ENTRY(mr) {rows_##mr##x1, rows_##mr##x2},
#define COLS_ENTRY(mr) {cols_##mr##x1, cols_##mr##x2},
    static tile_fn *const rows_tile[TILE_ROWS][2] = {EACH_ROW(TILE_ROWS)(ROWS_ENTRY)};
static tile_fn *const cols_tile[TILE_ROWS][2] = {EACH_ROW(TILE_ROWS)(COLS_ENTRY)};

/* A share of the lines of what is packed next, into L2: a burst per tile. */
static void fetch_ahead(const hone_cpu_ahead *x, int64_t share, int64_t shares)
{
    const int64_t floats = 16, lines = (x->columns + floats - 1) / floats, all = x->rows * lines;
    int64_t at = all * share / shares, end = all * (share + 1) / shares, row = at / lines, line = at % lines;
    for (; at < end; at++) {
        int64_t place = row * x->sum.ld + line * floats;
        for (int t = 0; t < x->sum.count; t++) __builtin_prefetch(x->sum.at[t] + place, 0, 2);
        if (++line == lines) line = 0, row++;
    }
}

/* Panels outside, strips of rows inside: a panel stays in L1 while a streams from L2. Strips are made of
 * equal height (13 13 13 13 rather than 14 14 14 10): low tiles are slower per row. */
SIMD_INLINE void by_panels(tile_fn *const (*table)[2], int64_t row_step, const walk *k, int64_t m, int64_t n,
                           const float *a, const float *b, int64_t panel, float *c)
{
    /* strips as equal as can be */
    int64_t strips = (m + TILE_ROWS - 1) / TILE_ROWS;
    for (int64_t j = 0; j < n; j += TILE_COLS, b += panel) {
        int64_t nj = n - j < TILE_COLS ? n - j : TILE_COLS;
        int wide = nj > LANES;
        for (int64_t s = 0, i = 0; s < strips; s++) {
            int64_t height = (m - i) / (strips - s);
            if (k->ahead) fetch_ahead(k->ahead, s, strips);
            table[height - 1][wide](k, a + i * row_step, b, c + i * k->ldc + j, nj);
            i += height;
        }
    }
}

/* a (m, k) by rows: the pieces degenerate to one. */
static void rows_by_panels(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add)
{
    walk w = {.outer = 1, .inner = k, .lda = lda, .step = step, .ldc = ldc, .add = add};
    by_panels(rows_tile, lda, &w, m, n, a, b, panel, c);
}

/* a (k, m): neighbouring rows of the product are neighbours in memory. */
static void cols_by_panels(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t step,
                           int64_t panel, float *c, int64_t ldc, int add)
{
    walk w = {.outer = 1, .inner = k, .lda = lda, .step = step, .ldc = ldc, .add = add};
    by_panels(cols_tile, 1, &w, m, n, a, b, panel, c);
}

static void finish(const hone_cpu_epilogue *e, int64_t m, int64_t n, float *c, int64_t ldc);

/* Distances between the pointers of a target, which lie in one matrix */
static void to_target(bool turned, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                      const hone_cpu_target *to)
{
    walk w = {.outer = 1, .inner = k, .lda = lda, .step = TILE_COLS, .ldc = to->ld, .ahead = to->ahead};
    if (to->from) w.add = 1, w.from = to->from - to->c;
    if (to->twin) w.twice = 1, w.twin = to->twin - to->c, w.twin_from = to->twin_from - to->c;
    if (to->epilogue && to->epilogue->below) w.ends = 1, w.below = to->epilogue->below - to->c;
    by_panels(turned ? cols_tile : rows_tile, turned ? 1 : lda, &w, m, n, a, b, k * TILE_COLS, to->c);
    if (to->epilogue) finish(to->epilogue, m, n, to->c, to->ld);
}

/* Rows of a overlap in an image: lda is a pixel step, jump an image row. */
static void windows_by_panels(int64_t m, int64_t n, int64_t outer, int64_t inner, const float *a, int64_t jump,
                              int64_t lda, const float *b, float *c, int64_t ldc)
{
    walk w = {.outer = outer, .inner = inner, .jump = jump, .lda = lda, .step = TILE_COLS, .ldc = ldc};
    by_panels(rows_tile, lda, &w, m, n, a, b, outer * inner * TILE_COLS, c);
}

/* --- epilogues ------------------------------------------------------------------------------------- */
/* tanh and sigmoid are left to curve(): the row is passed through here */
SIMD_INLINE vfloat act_forward(hone_act act, float slope, vfloat x)
{
    const vfloat zero = {0};
    switch (act) {
    case HONE_ACT_RELU: return v_max(x, zero);
    case HONE_ACT_RELU6: return v_min(v_max(x, zero), v_set(6.0f));
    case HONE_ACT_LEAKY_RELU: return v_select(x > zero, x, x * v_set(slope));
    default: return x;
    }
}

/* dy * act'(x) by y, the output of the activation */
SIMD_INLINE vfloat act_backward(hone_act act, float slope, vfloat y, vfloat dy)
{
    const vfloat zero = {0}, one = v_set(1.0f);
    switch (act) {
    case HONE_ACT_RELU: return v_select(y > zero, dy, zero);
    case HONE_ACT_RELU6: return v_select((y > zero) & (y < v_set(6.0f)), dy, zero);
    case HONE_ACT_LEAKY_RELU: return v_select(y > zero, dy, dy * v_set(slope));
    case HONE_ACT_TANH: return dy * (one - y * y);
    case HONE_ACT_SIGMOID: return dy * (y * (one - y));
    default: return dy;
    }
}

/* tanh and sigmoid by libm: they close small layers, where accuracy counts for more than time */
static void curve(hone_act act, int64_t n, float *c)
{
    for (int64_t j = 0; j < n; j++) c[j] = act == HONE_ACT_TANH ? tanhf(c[j]) : 1.0f / (1.0f + expf(-c[j]));
}

/* One vector of c at column j, of which n lanes exist; `act` is constant where this is expanded. */
SIMD_INLINE void finish_vector(const hone_cpu_epilogue *e, const hone_act act, int64_t j, int64_t n, const float *below,
                               float *c)
{
    vfloat x = v_load_some(c, n);
    if (e->bias) x += v_load_some(e->bias + j, n);
    x = below ? act_backward(act, e->slope, v_load_some(below + j, n), x) : act_forward(act, e->slope, x);
    v_store_some(c, x, n);
}

/* Those whose derivative reads their input: as vectors of math_simd.h, for they stand in the widest layers. */
SIMD_INLINE bool is_bent(hone_act act)
{
    return act == HONE_ACT_GELU || act == HONE_ACT_GELU_TANH || act == HONE_ACT_SILU;
}

/* c (n) = act(c), or c *= act'(below). `act` is a constant. */
SIMD_INLINE void bend(const hone_act act, int64_t n, const float *below, float *c)
{
    if (below) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++)
            c[j] *= act == HONE_ACT_GELU        ? math_gelu_slope(below[j])
                    : act == HONE_ACT_GELU_TANH ? math_gelu_tanh_slope(below[j])
                                                : math_silu_slope(below[j]);
        return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        c[j] = act == HONE_ACT_GELU        ? math_gelu(c[j])
               : act == HONE_ACT_GELU_TANH ? math_gelu_tanh(c[j])
                                           : math_silu(c[j]);
}

/* What stands between bias and activation is kept first; a straight activation then goes over the row again. */
SIMD_INLINE void keep_row(const hone_cpu_epilogue *e, const hone_act act, int64_t n, float *before, float *row)
{
    const hone_cpu_epilogue rest = {.act = act, .slope = e->slope};
    memcpy(before, row, (size_t)n * sizeof *row);
    for (int64_t j = 0; j < n && !is_bent(act); j += LANES) finish_vector(&rest, act, j, n - j, NULL, row + j);
}

/* All vectors of a row, then the curved activations on it. */
SIMD_INLINE void finish_rows(const hone_cpu_epilogue *e, const hone_act act, int64_t m, int64_t n, float *c,
                             int64_t ldc)
{
    for (int64_t i = 0; i < m; i++) {
        float *row = c + i * ldc;
        const float *below = e->below ? e->below + i * ldc : NULL;
        if (is_bent(act) || e->before)
            for (int64_t j = 0; j < n && e->bias; j += LANES) finish_vector(e, HONE_ACT_NONE, j, n - j, NULL, row + j);
        else
            for (int64_t j = 0; j < n; j += LANES) finish_vector(e, act, j, n - j, below, row + j);
        if (e->before) keep_row(e, act, n, e->before + i * ldc, row);
        if (is_bent(act)) bend(act, n, below, row);
        if (!below && (act == HONE_ACT_TANH || act == HONE_ACT_SIGMOID)) curve(act, n, row);
    }
}

/* No bias and no activation: nothing to do. */
static void finish(const hone_cpu_epilogue *e, int64_t m, int64_t n, float *c, int64_t ldc)
{
    /* the switch stands outside the loop: each case expands its own arithmetic */
    switch (e->act) { /* one copy of the loop per activation */
    case HONE_ACT_NONE:
        if (e->bias) finish_rows(e, HONE_ACT_NONE, m, n, c, ldc);
        break;
    case HONE_ACT_RELU: finish_rows(e, HONE_ACT_RELU, m, n, c, ldc); break;
    case HONE_ACT_RELU6: finish_rows(e, HONE_ACT_RELU6, m, n, c, ldc); break;
    case HONE_ACT_LEAKY_RELU: finish_rows(e, HONE_ACT_LEAKY_RELU, m, n, c, ldc); break;
    case HONE_ACT_TANH: finish_rows(e, HONE_ACT_TANH, m, n, c, ldc); break;
    case HONE_ACT_GELU: finish_rows(e, HONE_ACT_GELU, m, n, c, ldc); break;
    case HONE_ACT_GELU_TANH: finish_rows(e, HONE_ACT_GELU_TANH, m, n, c, ldc); break;
    case HONE_ACT_SILU: finish_rows(e, HONE_ACT_SILU, m, n, c, ldc); break;
    default: finish_rows(e, HONE_ACT_SIGMOID, m, n, c, ldc); break;
    }
}

/* Sums run down the rows in order, a vector of columns at a time. */
static void add_columns(int64_t m, int64_t n, const float *a, int64_t lda, float *sum)
{
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        /* down the rows: one chain per column, in the order of the rows */
        vfloat s = v_load(sum + j);
        for (int64_t i = 0; i < m; i++) s += v_load(a + i * lda + j);
        v_store(sum + j, s);
    }
    for (; j < n; j++)
        for (int64_t i = 0; i < m; i++) sum[j] += a[i * lda + j];
}

const hone_cpu_gemm SIMD(hone_cpu_gemm) = {
    .lanes = LANES,
    .rows = TILE_ROWS,
    .cols = TILE_COLS,
    .rows_by_panels = rows_by_panels,
    .cols_by_panels = cols_by_panels,
    .windows_by_panels = windows_by_panels,
    .to_target = to_target,
    .pack = SIMD(hone_cpu_pack),
    .pack_turned = SIMD(hone_cpu_pack_turned),
    .pack_sum = SIMD(hone_cpu_pack_sum),
    .half_sums = SIMD(hone_cpu_half_sums),
    .finish = finish,
    .add_columns = add_columns,
};
