/* windows.c - gathers windows of ragged rows and multiplies them (windows.h); no matrix of all windows ever exists. */
#include "cpu/windows.h"

#include <string.h>

enum {
    BLOCK_FLOATS = 64 * 1024, /* gathered windows: 256 KiB of L2                            */
    SUM_ROWS = 256            /* rows of a block of dw: its panel of windows stays in L1    */
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Odd multiples of a cache line: rows of a register tile must not share one cache set. */
static int64_t window_stride(int64_t K, int64_t C) { return ((K * C + 15) / 16 | 1) * 16; }

/* Whole register tiles, at least one. */
static int64_t block_rows(const hone_cpu_gemm *g, int64_t K, int64_t C)
{
    return max64(BLOCK_FLOATS / window_stride(K, C) / g->rows, 1) * g->rows;
}

int64_t hone_cpu_windows_floats(const hone_cpu_gemm *g, int64_t K, int64_t C)
{
    int64_t floats = max64(block_rows(g, K, C) * window_stride(K, C), (int64_t)SUM_ROWS * g->cols);
    return (floats + 15) / 16 * 16;
}

int64_t hone_cpu_panel_floats(const hone_cpu_gemm *g, int64_t k, int64_t n)
{
    return (n + g->cols - 1) / g->cols * g->cols * k;
}

/* The text of row t: the last that begins at or before it. Empty texts begin there, too. */
static int64_t text_of(const hone_cpu_windows *w, int64_t t)
{
    int64_t low = 0, high = w->B - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (w->offset[middle] <= t) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* Windows of rows [t, end) to rows of `ld` floats: the taps inside the text are one piece of x. */
static void gather(const hone_cpu_windows *w, int64_t t, int64_t end, float *to, int64_t ld)
{
    for (int64_t n = text_of(w, t); t < end; t++, to += ld) {
        while (w->offset[n + 1] <= t) n++;
        int64_t first = t - w->before, low = max64(w->offset[n] - first, 0),
                high = min64(w->offset[n + 1] - first, w->K);
        low = min64(low, w->K);
        high = max64(high, low);
        /* taps before the text, taps in it, taps behind it */
        memset(to, 0, (size_t)(low * w->C) * sizeof *to);
        memcpy(to + low * w->C, w->x + (first + low) * w->C, (size_t)((high - low) * w->C) * sizeof *to);
        memset(to + high * w->C, 0, (size_t)((w->K - high) * w->C) * sizeof *to);
    }
}

/* The part's share of the live rows, and of the zeros behind them. */
static void forward_part(void *arg, int part, int parts)
{
    const hone_cpu_windows *w = arg;
    const hone_cpu_gemm *g = w->gemm;
    const hone_cpu_epilogue e = {.bias = w->bias};
    float *own = w->work + part * hone_cpu_windows_floats(g, w->K, w->C);
    int64_t ld = window_stride(w->K, w->C), rows = block_rows(g, w->K, w->C), depth = w->K * w->C, t, end;
    hone_cpu_share(w->live, part, parts, &t, &end);
    /* a block is multiplied while it lies in L2; the weights' panels stream past it */
    for (; t < end; t += rows) {
        int64_t m = min64(rows, end - t);
        float *y = w->y + t * w->N;
        gather(w, t, t + m, own, ld);
        g->rows_by_panels(m, w->N, depth, own, ld, w->panels, g->cols, depth * g->cols, y, w->N, 0);
        if (w->bias) g->finish(&e, m, w->N, y, w->N);
    }
    hone_cpu_share(w->T - w->live, part, parts, &t, &end);
    memset(w->y + (w->live + t) * w->N, 0, (size_t)((end - t) * w->N) * sizeof *w->y);
}

void hone_cpu_windows_forward(const hone_backend *b, const hone_cpu_windows *w)
{
    hone_cpu_parallel(b, w->parts, forward_part, (void *)(uintptr_t)w);
}

/* Columns [i, i + n) of x, moved by `shift` rows, for rows [t, t + m): one packed panel, zeros outside the text. */
static void gather_panel(const hone_cpu_windows *w, int64_t t, int64_t m, int64_t shift, int64_t i, int64_t n,
                         float *panel)
{
    int64_t cols = w->gemm->cols, end = t + m;
    memset(panel, 0, (size_t)(m * cols) * sizeof *panel);
    for (int64_t text = text_of(w, t); t < end; text++) {
        int64_t stop = min64(w->offset[text + 1], end); /* rows whose moved row lies in the text are one run */
        int64_t low = max64(t, w->offset[text] - shift), high = min64(stop, w->offset[text + 1] - shift);
        for (int64_t r = low; r < high; r++)
            memcpy(panel + (r - (end - m)) * cols, w->x + (r + shift) * w->C + i, (size_t)n * sizeof *panel);
        t = max64(t, stop);
    }
}

/* The part's share of the panels of dw, one panel after the other: over all live rows, in blocks. */
static void dw_part(void *arg, int part, int parts)
{
    const hone_cpu_windows *w = arg;
    const hone_cpu_gemm *g = w->gemm;
    float *own = w->work + part * hone_cpu_windows_floats(g, w->K, w->C);
    int64_t each = (w->C + g->cols - 1) / g->cols, first, last;
    hone_cpu_share(each * w->K, part, parts, &first, &last);
    for (int64_t j = first; w->dw && j < last; j++) {
        int64_t k = j / each, i = j % each * g->cols, n = min64(g->cols, w->C - i);
        hone_cpu_target to = {.c = w->dw + k * w->C + i, .ld = w->K * w->C};
        to.from = w->accumulate ? to.c : NULL;
        /* no row, no sum: then nothing below writes */
        if (w->live == 0 && !w->accumulate)
            for (int64_t o = 0; o < w->N; o++) memset(to.c + o * to.ld, 0, (size_t)n * sizeof *to.c);
        for (int64_t t = 0; t < w->live; t += SUM_ROWS) {
            int64_t m = min64(SUM_ROWS, w->live - t);
            gather_panel(w, t, m, k - w->before, i, n, own);
            g->to_target(true, w->N, n, m, w->dy + t * w->N, w->N, own, &to);
            to.from = to.c; /* the later blocks add to what the first wrote */
        }
    }
    /* db: a share of the columns */
    int64_t lanes = g->lanes;
    hone_cpu_share((w->N + lanes - 1) / lanes, part, parts, &first, &last);
    int64_t o = first * lanes, n = min64(last * lanes, w->N) - o;
    if (!w->db || n <= 0) return;
    if (!w->accumulate) memset(w->db + o, 0, (size_t)n * sizeof *w->db);
    g->add_columns(w->live, n, w->dy + o, w->N, w->db + o);
}

void hone_cpu_windows_dw(const hone_backend *b, const hone_cpu_windows *w)
{
    hone_cpu_parallel(b, w->parts, dw_part, (void *)(uintptr_t)w);
}
