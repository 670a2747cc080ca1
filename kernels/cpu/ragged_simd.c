/* ragged_simd.c - a text's rows to one (mean, maximum, first), and their gradients.
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
