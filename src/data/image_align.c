/* image_align.c - see image_align.h: registration by Gauss-Newton steps over a pyramid, coarse to fine.
 *
 * Source: B. D. Lucas, T. Kanade, "An iterative image registration technique with an application to stereo vision" (1981);
 * the affine form as in S. Baker, I. Matthews, "Lucas-Kanade 20 years on" (2004), with gain and offset of brightness taken
 * out in closed form at each step. Only what is small converges from "as they lie", which is all that is looked for. */
#include "data/image_align.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sides of the pyramid; steps at each. */
enum { FINEST = 64, LEVELS = 3, STEPS = 12, UNKNOWNS = 6 };
/* Correlation at each level below which there is no use in a finer one. */
#define LIKE_LEAST 0.85

/* One level of a picture: brightness and its slopes, all (side, side). */
typedef struct level {
    int side;
    float value[FINEST * FINEST], dx[FINEST * FINEST], dy[FINEST * FINEST];
} level;

/* A place between four samples. */
typedef struct place {
    int at;
    float w[4];
} place;

/* A sample of a that lies within b under the map: its index, where it is (-1 to 1), where that is in b, b's brightness. */
typedef struct sample {
    int k;
    double x, y, value;
    place p;
} sample;

/* Both pictures and what is made of them, on the heap: 350 KB. */
typedef struct pair {
    level a, b;
    sample met[FINEST * FINEST]; /* (count)                                                              */
    int count;
    float blurred[FINEST * FINEST];
    uint8_t grey[FINEST * FINEST];
} pair;

/* Along one axis by 1 2 1, ends repeated; `step` from one sample of a line to the next, `line` from line to line. */
static void blur(const float *in, float *out, int side, int step, int line)
{
    for (int l = 0; l < side; l++)
        for (int k = 0; k < side; k++) {
            const float *p = in + l * line;
            int before = k ? k - 1 : 0, behind = k + 1 < side ? k + 1 : k;
            out[l * line + k * step] = 0.25f * p[before * step] + 0.5f * p[k * step] + 0.25f * p[behind * step];
        }
}

/* The picture stretched to (side, side), grey, blurred (slopes of raw pixels hold noise alone), with its slopes. */
static hone_status make_level(const hone_image *image, int side, pair *p, level *out)
{
    HONE_TRY(hone_image_fit(image, side, side, 1, HONE_RESIZE_STRETCH, p->grey));
    out->side = side;
    for (int k = 0; k < side * side; k++) out->value[k] = p->grey[k];
    blur(out->value, p->blurred, side, 1, side);
    blur(p->blurred, out->value, side, side, 1);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int left = x ? x - 1 : 0, right = x + 1 < side ? x + 1 : x, up = y ? y - 1 : 0,
                low = y + 1 < side ? y + 1 : y;
            out->dx[y * side + x] =
                (out->value[y * side + right] - out->value[y * side + left]) / (float)(right - left);
            out->dy[y * side + x] = (out->value[low * side + x] - out->value[up * side + x]) / (float)(low - up);
        }
    return HONE_OK;
}

/* False outside. */
static bool find_place(int side, double x, double y, place *p)
{
    /* -1 and 1 are the borders of the picture, not the middles of its last pixels */
    double px = (x + 1) * side / 2 - 0.5, py = (y + 1) * side / 2 - 0.5;
    if (!(px >= 0 && py >= 0 && px < side - 1 && py < side - 1)) return false;
    int ix = (int)px, iy = (int)py;
    float fx = (float)(px - ix), fy = (float)(py - iy);
    *p = (place){iy * side + ix, {(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy}};
    return true;
}

static float look(const float *v, int side, const place *p)
{
    const float *q = v + p->at;
    return p->w[0] * q[0] + p->w[1] * q[1] + p->w[2] * q[side] + p->w[3] * q[side + 1];
}

/* A (n, n) x = b by elimination with pivots; false where it has no answer. */
static bool solve(double A[UNKNOWNS][UNKNOWNS], double b[UNKNOWNS])
{
    for (int k = 0; k < UNKNOWNS; k++) {
        int best = k;
        for (int i = k + 1; i < UNKNOWNS; i++)
            if (fabs(A[i][k]) > fabs(A[best][k])) best = i;
        if (!(fabs(A[best][k]) > 1e-9)) return false;
        for (int j = 0; j < UNKNOWNS; j++) {
            double t = A[k][j];
            A[k][j] = A[best][j];
            A[best][j] = t;
        }
        double t = b[k];
        b[k] = b[best];
        b[best] = t;
        for (int i = 0; i < UNKNOWNS; i++) {
            double f = i == k ? 0 : A[i][k] / A[k][k];
            for (int j = k; j < UNKNOWNS && f != 0; j++) A[i][j] -= f * A[k][j];
            b[i] -= f * b[k];
        }
    }
    for (int k = 0; k < UNKNOWNS; k++) b[k] /= A[k][k];
    return true;
}

/* The samples of a that lie within b under the map. */
static void meet(pair *p, const double m[UNKNOWNS])
{
    int side = p->a.side;
    p->count = 0;
    for (int k = 0; k < side * side; k++) {
        int row = k / side;
        sample *s = &p->met[p->count];
        *s = (sample){.k = k, .x = (k % side + 0.5) * 2 / side - 1, .y = (row + 0.5) * 2 / side - 1};
        if (!find_place(p->b.side, m[0] + m[1] * s->x + m[2] * s->y, m[3] + m[4] * s->x + m[5] * s->y, &s->p)) continue;
        s->value = (double)look(p->b.value, p->b.side, &s->p);
        p->count++;
    }
}

/* Sums over the common part: of both brightnesses, for the line a = gain b + offset; `likeness` is their correlation. */
static bool fit_brightness(const pair *p, double *gain, double *offset, double *likeness)
{
    double n = p->count, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (int k = 0; k < p->count; k++) {
        double v = p->met[k].value, u = (double)p->a.value[p->met[k].k];
        sa += u;
        sb += v;
        saa += u * u;
        sbb += v * v;
        sab += u * v;
    }
    double var = n * sbb - sb * sb, other = n * saa - sa * sa;
    if (n < 0.5 * p->a.side * p->a.side || !(var > 0) || !(other > 0)) return false;
    *likeness = (n * sab - sa * sb) / sqrt(var * other);
    *gain = (n * sab - sa * sb) / var;
    *offset = (sa - *gain * sb) / n;
    return true;
}

/* One Gauss-Newton step of the map; *moved: how far a corner went, in pixels of this level; *likeness: before the step. */
static bool improve(pair *p, hone_image_map *map, double *moved, double *likeness)
{
    const level *b = &p->b;
    double A[UNKNOWNS][UNKNOWNS] = {{0}}, r[UNKNOWNS] = {0}, gain, offset, *m = map->m, scale = b->side / 2.0;
    meet(p, m);
    if (!fit_brightness(p, &gain, &offset, likeness)) return false;
    for (int k = 0; k < p->count; k++) {
        const sample *s = &p->met[k];
        double dx = gain * scale * (double)look(b->dx, b->side, &s->p),
               dy = gain * scale * (double)look(b->dy, b->side, &s->p);
        double rest = (double)p->a.value[s->k] - gain * s->value - offset;
        double J[UNKNOWNS] = {dx, dx * s->x, dx * s->y, dy, dy * s->x, dy * s->y};
        for (int i = 0; i < UNKNOWNS; i++) {
            for (int j = i; j < UNKNOWNS; j++) A[i][j] += J[i] * J[j];
            r[i] += J[i] * rest;
        }
    }
    for (int i = 0; i < UNKNOWNS; i++) {
        for (int j = 0; j < i; j++) A[i][j] = A[j][i];
        A[i][i] *= 1 + 1e-4; /* flat pictures have no answer of their own in some directions */
    }
    if (!solve(A, r)) return false;
    for (int k = 0; k < UNKNOWNS; k++) m[k] += r[k];
    *moved = scale * (fabs(r[0]) + fabs(r[1]) + fabs(r[2]) + fabs(r[3]) + fabs(r[4]) + fabs(r[5]));
    return true;
}

/* Little enough to be a cut, a turn or a stretch of the same picture. `shape`: width over height of a. */
static bool is_small(const hone_image_map *map, double shape)
{
    const double *m = map->m, turn = 0.21; /* the sine of 12 degrees */
    double inside = 0;
    if (!(fabs(m[1] - 1) <= 0.2 && fabs(m[5] - 1) <= 0.2 && fabs(m[0]) <= 0.2 && fabs(m[3]) <= 0.2)) return false;
    /* axes are of unlike lengths here: a turn by t is (sin t) / shape one way and (sin t) shape the other */
    if (!(fabs(m[2]) * shape <= turn && fabs(m[4]) / shape <= turn)) return false;
    for (int k = 0; k < 400; k++) {
        int row = k / 20;
        double x = k % 20 / 10.0 - 0.95, y = row / 10.0 - 0.95;
        inside += fabs(m[0] + m[1] * x + m[2] * y) <= 1 && fabs(m[3] + m[4] * x + m[5] * y) <= 1;
    }
    return inside >= 300;
}

hone_status hone_images_align(const hone_image *a, const hone_image *b, hone_image_map *out, bool *found)
{
    pair *p = malloc(sizeof *p);
    *found = false;
    if (!p) return hone_no_memory("the comparison of two pictures", sizeof *p);
    hone_image_map map = {{0, 1, 0, 0, 0, 1}};
    hone_status s = HONE_OK;
    bool fine = true;
    double moved = 0, likeness = 0;
    for (int l = LEVELS - 1; fine && l >= 0; l--) {
        s = make_level(a, FINEST >> l, p, &p->a);
        if (s == HONE_OK) s = make_level(b, FINEST >> l, p, &p->b);
        if (s != HONE_OK) break;
        moved = 1;
        for (int k = 0; fine && k < STEPS && moved > 0.02; k++) fine = improve(p, &map, &moved, &likeness);
        /* copies agree by 0.96 in the end, and blurred by more */
        fine = fine && likeness > LIKE_LEAST;
    }
    free(p);
    *out = map;
    *found = s == HONE_OK && fine && moved < 0.5 && is_small(&map, (double)a->width / a->height);
    return s;
}

/* Whether a place is not near the border of (w, h). */
static bool within(double x, double y, int w, int h, double margin)
{
    return x >= margin && y >= margin && x <= w - 1 - margin && y <= h - 1 - margin;
}

hone_status hone_image_warp(const hone_image *b, const hone_image_map *map, int h, int w, int c, uint8_t *out,
                            uint8_t *inside)
{
    /* first to the size in which its pixels are as large as a's: the map then shrinks nothing */
    const double *m = map->m;
    int bh = (int)lrint(h / fabs(m[5])), bw = (int)lrint(w / fabs(m[1]));
    int margin = 1 + (h > w ? h : w) / 40;
    size_t bytes = (size_t)bh * (size_t)bw * (size_t)c;
    uint8_t *scaled = malloc(bytes);
    if (!scaled) return hone_no_memory("an image", bytes);
    hone_status s = hone_image_fit(b, bh, bw, c, HONE_RESIZE_STRETCH, scaled);
    for (int y = 0; s == HONE_OK && y < h; y++)
        for (int x = 0; x < w; x++) {
            double u = (x + 0.5) * 2 / w - 1, v = (y + 0.5) * 2 / h - 1;
            double px = (m[0] + m[1] * u + m[2] * v + 1) * bw / 2 - 0.5,
                   py = (m[3] + m[4] * u + m[5] * v + 1) * bh / 2 - 0.5;
            size_t at = (size_t)y * (size_t)w + (size_t)x;
            bool there = px >= 0 && py >= 0 && px <= bw - 1 && py <= bh - 1;
            inside[at] = within(x, y, w, h, margin) && within(px, py, bw, bh, margin);
            int ix = there ? (int)px : 0, iy = there ? (int)py : 0;
            int jx = ix + 1 < bw ? ix + 1 : ix, jy = iy + 1 < bh ? iy + 1 : iy;
            double fx = px - ix, fy = py - iy;
            for (int k = 0; k < c; k++) {
                const uint8_t *q = scaled + k;
                double above = q[(iy * bw + ix) * c] * (1 - fx) + q[(iy * bw + jx) * c] * fx;
                double below = q[(jy * bw + ix) * c] * (1 - fx) + q[(jy * bw + jx) * c] * fx;
                out[at * (size_t)c + (size_t)k] = there ? (uint8_t)lrint(above * (1 - fy) + below * fy) : 0;
            }
        }
    free(scaled);
    return s;
}
