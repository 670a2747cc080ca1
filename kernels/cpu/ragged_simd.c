/* ragged_simd.c - a text's rows to one (mean, maximum, first), positions added to them, and their gradients.
 *
 * Definitions: kernels/ref/ragged.c. A thread takes whole texts; texts share no row, so gradients are written once.
 * Rows behind the live ones are cleared. Bits do not depend on the threads, nor on the capacity. */
#include <math.h>
#include <string.h>

#include "cpu/edge_simd.h"
#include "cpu/pointwise.h"

/* One launch, unpacked. `wide` is of rows (T, C), `narrow` of texts (B, C); which of them is read follows from the op. */
typedef struct ragged_job {
    const float *x;        /* wide forward, narrow backward */
    float *y;              /* narrow forward, wide backward */
    const int32_t *offset; /* (P) */
    int32_t *at;           /* (B, C): maximum, may be NULL */
    int64_t B, C;
} ragged_job;

static ragged_job unpack(const hone_launch *l)
{
    return (ragged_job){
        .x = l->in[0], .y = l->out[0], .offset = l->in[1], .B = l->in_desc[1]->dim[0] - 1, .C = l->in_desc[0]->dim[1]};
}

/* Cost of touching every live row once. */
static int team(const hone_backend *b, const ragged_job *j) { return hone_cpu_team(b, j->offset[j->B] * (j->C + 8)); }

enum { COLUMNS = 64 }; /* channels summed at once, in doubles as ref does */

static void mean_range(const void *arg, int64_t begin, int64_t end)
{
    const ragged_job *j = arg;
    for (int64_t n = begin; n < end; n++)
        for (int64_t c = 0; c < j->C; c += COLUMNS) {
            int64_t width = j->C - c < COLUMNS ? j->C - c : COLUMNS;
            double sum[COLUMNS] = {0}, length = (double)(j->offset[n + 1] - j->offset[n]);
            for (int64_t t = j->offset[n]; t < j->offset[n + 1]; t++) {
                const float *x = j->x + t * j->C + c;
#pragma omp simd
                for (int64_t k = 0; k < width; k++) sum[k] += (double)x[k];
            }
            for (int64_t k = 0; k < width; k++) j->y[n * j->C + c + k] = length > 0 ? (float)(sum[k] / length) : 0;
        }
}

/* The first row of the text is computed, the others are copies of it. */
static void spread_range(const void *arg, int64_t begin, int64_t end)
{
    const ragged_job *j = arg;
    for (int64_t n = begin; n < end; n++) {
        int64_t first = j->offset[n], last = j->offset[n + 1];
        const float *dy = j->x + n * j->C;
        float *dx = j->y + first * j->C;
        double length = (double)(last - first);
        if (first == last) continue;
#pragma omp simd
        for (int64_t c = 0; c < j->C; c++) dx[c] = (float)((double)dy[c] / length);
        for (int64_t t = first + 1; t < last; t++) memcpy(j->y + t * j->C, dx, (size_t)j->C * sizeof *dx);
    }
}

/* A vector of channels down the rows of a text: the first maximum wins, a NaN beats all numbers but no NaN. */
SIMD_INLINE void max_columns(const ragged_job *j, int64_t n, int64_t c, int64_t width)
{
    int32_t first = j->offset[n], last = j->offset[n + 1];
    vfloat best = {0};
    vint place = (vint){0} - 1;
    if (first < last) {
        best = v_load_some(j->x + first * j->C + c, width);
        place += first + 1;
    }
    for (int32_t t = first + 1; t < last; t++) {
        vfloat v = v_load_some(j->x + t * j->C + c, width);
        vint wins = (v > best) | ((v != v) & (best == best));
        best = v_select(wins, v, best);
        place = (((vint){0} + t) & wins) | (place & ~wins);
    }
    v_store_some(j->y + n * j->C + c, best, width);
    if (j->at) v_store_some((float *)(void *)(j->at + n * j->C + c), (vfloat)place, width);
}

static void max_range(const void *arg, int64_t begin, int64_t end)
{
    const ragged_job *j = arg;
    for (int64_t n = begin; n < end; n++)
        for (int64_t c = 0; c < j->C; c += LANES) max_columns(j, n, c, j->C - c < LANES ? j->C - c : LANES);
}

void SIMD(cpu_ragged_mean)(hone_backend *b, const hone_launch *l)
{
    ragged_job j = unpack(l);
    hone_cpu_ranges(b, team(b, &j), j.B, 1, mean_range, &j);
}

void SIMD(cpu_ragged_max)(hone_backend *b, const hone_launch *l)
{
    ragged_job j = unpack(l);
    j.at = l->out[1];
    hone_cpu_ranges(b, team(b, &j), j.B, 1, max_range, &j);
}

void SIMD(cpu_ragged_first)(hone_backend *b, const hone_launch *l)
{
    (void)b;
    ragged_job j = unpack(l);
    for (int64_t n = 0; n < j.B; n++) {
        size_t bytes = (size_t)j.C * sizeof *j.y;
        if (j.offset[n] < j.offset[n + 1]) memcpy(j.y + n * j.C, j.x + j.offset[n] * j.C, bytes);
        else memset(j.y + n * j.C, 0, bytes);
    }
}

/* --- gradients ----------------------------------------------------------------------------------------- */

static void clear_range(const void *arg, int64_t begin, int64_t end)
{
    memset((float *)arg + begin, 0, (size_t)(end - begin) * sizeof(float));
}

/* dx (T, C) = 0 from row `from` on. */
static void clear(hone_backend *b, const hone_launch *l, int64_t from)
{
    int64_t C = l->out_desc[0]->dim[1], count = (l->out_desc[0]->dim[0] - from) * C;
    hone_cpu_ranges(b, hone_cpu_team(b, count / 4), count, 16, clear_range, (float *)l->out[0] + from * C);
}

void SIMD(cpu_ragged_mean_dx)(hone_backend *b, const hone_launch *l)
{
    ragged_job j = unpack(l);
    hone_cpu_ranges(b, team(b, &j), j.B, 1, spread_range, &j);
    clear(b, l, j.offset[j.B]);
}

void SIMD(cpu_ragged_max_dx)(hone_backend *b, const hone_launch *l)
{
    const float *dy = l->in[0];   /* (B, C) */
    const int32_t *at = l->in[1]; /* (B, C) */
    float *dx = l->out[0];        /* (T, C) */
    int64_t B = l->in_desc[0]->dim[0], C = l->in_desc[0]->dim[1];
    clear(b, l, 0);
    for (int64_t n = 0; n < B; n++, dy += C, at += C)
        for (int64_t c = 0; c < C; c++)
            if (at[c] >= 0) dx[at[c] * C + c] = dy[c];
}

void SIMD(cpu_ragged_first_dx)(hone_backend *b, const hone_launch *l)
{
    ragged_job j = unpack(l);
    clear(b, l, 0);
    for (int64_t n = 0; n < j.B; n++)
        if (j.offset[n] < j.offset[n + 1]) memcpy(j.y + j.offset[n] * j.C, j.x + n * j.C, (size_t)j.C * sizeof *j.y);
}

/* --- positions ----------------------------------------------------------------------------------------- */

typedef struct place_job {
    const float *x, *p;    /* (T, C), (L, C); backward: dy */
    float *y;              /* (T, C); backward: dp (L, C) */
    const int32_t *offset; /* (P) */
    int64_t B, C, L;
    int accumulate;
} place_job;

/* to (n) = a + b; any of them may be the same memory */
SIMD_INLINE void add_row(float *to, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t c = 0; c < n; c++) to[c] = a[c] + b[c];
}

/* A text's rows and the table's lie side by side: one run. */
static void add_places_range(const void *arg, int64_t begin, int64_t end)
{
    const place_job *j = arg;
    for (int64_t n = begin; n < end; n++) {
        int64_t first = j->offset[n] * j->C, count = (j->offset[n + 1] - j->offset[n]) * j->C, known = j->L * j->C;
        int64_t sums = count < known ? count : known;
        add_row(j->y + first, j->x + first, j->p, sums);
        if (j->y != j->x) memcpy(j->y + first + sums, j->x + first + sums, (size_t)(count - sums) * sizeof *j->y);
    }
}

void SIMD(cpu_ragged_add)(hone_backend *b, const hone_launch *l)
{
    place_job j = {.x = l->in[0], .p = l->in[1], .offset = l->in[2], .y = l->out[0]};
    j.B = l->in_desc[2]->dim[0] - 1;
    j.C = l->in_desc[0]->dim[1];
    j.L = l->in_desc[1]->dim[0];
    int64_t live = j.offset[j.B] * j.C, all = l->in_desc[0]->dim[0] * j.C;
    hone_cpu_ranges(b, hone_cpu_team(b, live), j.B, 1, add_places_range, &j);
    if (j.y != j.x) memcpy(j.y + live, j.x + live, (size_t)(all - live) * sizeof *j.y);
}

/* Places begin..end belong to this thread, which meets the texts in order. */
static void places_gradient_range(const void *arg, int64_t begin, int64_t end)
{
    const place_job *j = arg;
    if (!j->accumulate) memset(j->y + begin * j->C, 0, (size_t)((end - begin) * j->C) * sizeof *j->y);
    for (int64_t n = 0; n < j->B; n++) {
        int64_t length = j->offset[n + 1] - j->offset[n], last = end < length ? end : length;
        if (last <= begin) continue;
        float *dp = j->y + begin * j->C;
        add_row(dp, dp, j->x + (j->offset[n] + begin) * j->C, (last - begin) * j->C);
    }
}

void SIMD(cpu_ragged_add_dp)(hone_backend *b, const hone_launch *l)
{
    place_job j = {.x = l->in[1], .offset = l->in[2], .y = l->out[0], .accumulate = l->node->accumulate};
    j.B = l->in_desc[2]->dim[0] - 1;
    j.C = l->in_desc[1]->dim[1];
    j.L = l->in_desc[0]->dim[0];
    hone_cpu_ranges(b, hone_cpu_team(b, j.offset[j.B] * j.C), j.L, 1, places_gradient_range, &j);
}
