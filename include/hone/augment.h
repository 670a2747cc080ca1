/* augment.h - what is drawn for a picture, and how a pixel changes: integers only, the same bits on every dialect.
 *
 * Every draw is a function of (seed, epoch, sample): Philox (philox.h) with counter (sample, epoch), the number of the
 * draw in the counter's upper word. Shares and factors are fixed point: "Qn" is a number times 2^n. Positions are
 * Q24 pixels in int64. Nothing here rounds as a float does, so no compiler, FMA or math library can change a bit.
 * Right shifts of negative numbers floor, as every compiler that builds hone has it (a test asks).
 *
 * Order of one picture: image_view (shift or resized crop, rotation, flip), image_adjust (colour jitter, then
 * RandAugment), image_batch (normalise), image_erase, image_mix. */
#ifndef HONE_AUGMENT_H
#define HONE_AUGMENT_H

#include "hone/philox.h"

enum {
    HONE_ONE_Q16 = 1 << 16, HONE_ONE_Q24 = 1 << 24, HONE_ONE_Q30 = 1 << 30,
    HONE_DRAW_TRIES = 10,    /* of a random box, as torchvision has it                            */
    HONE_ADJUST_MOST = 17,   /* steps of image_adjust: 4 of jitter, the rest RandAugment           */
    HONE_MIX_TABLE = 513     /* quantiles of Beta(alpha, alpha) from 1/2 to 1, Q16: row of image_mix's table */
};

/* Draw streams of one seed (philox.h has the first five). */
enum {
    HONE_STREAM_VIEW = 16, HONE_STREAM_JITTER = 17, HONE_STREAM_RAND = 18, HONE_STREAM_ERASE = 19, HONE_STREAM_MIX = 20
};

/* A random box: share of the area (Q24) and log2 of width over height (Q16), both uniform between two ends. */
typedef struct hone_box_attr { int32_t area[2], log_ratio[2]; } hone_box_attr;

/* {augment} of the four ops; 0 = off. Made from a page by hone_augment_attr_of (src/train/augment.c). */
typedef struct hone_augment_attr {
    int32_t       height, width;      /* image_view: of the output                                    */
    float         flip;               /* probability; the draw of image_batch                         */
    int32_t       crop_pad;           /* shift by -pad..pad; as image_batch                           */
    hone_box_attr crop;               /* area[1] = 0: no resized crop                                 */
    int32_t       rotate;             /* greatest angle, degrees Q16                                  */
    int32_t       jitter[4];          /* Q16 reach around 1: brightness, contrast, saturation; around 0: hue, turns */
    int32_t       rand_count, rand_magnitude; /* RandAugment: steps a picture, 0..30                  */
    int32_t       erase;              /* probability Q24                                              */
    hone_box_attr erase_box;
    int32_t       mixup, cutmix;      /* 1: on                                                        */
    int32_t       mix;                /* probability Q24 that a picture is mixed at all               */
} hone_augment_attr;

/* Draw number `number` of a sample. */
HONE_HOST_DEVICE static inline hone_philox4 hone_augment_words(uint64_t seed, uint32_t stream, int32_t sample,
                                                               int32_t epoch, uint32_t number)
{
    return hone_philox(seed, stream, (uint64_t)(uint32_t)sample, (uint64_t)number << 32 | (uint32_t)epoch);
}

/* Whether a word falls under a probability in Q24. */
HONE_HOST_DEVICE static inline int hone_augment_chance(uint32_t word, int32_t q24) { return (int32_t)(word >> 8) < q24; }

/* Uniform between two integers, ends included up to rounding: low + (high - low) u, u in Q24. */
HONE_HOST_DEVICE static inline int32_t hone_augment_between(uint32_t word, int32_t low, int32_t high)
{
    return low + (int32_t)(((int64_t)high - low) * (int64_t)(word >> 8) >> 24);
}

/* --- fixed-point functions ----------------------------------------------------------------------------------- */
HONE_HOST_DEVICE static inline int64_t hone_mul_q30(int64_t a, int64_t b) { return (a * b) >> 30; }

/* 2^x, x in Q16, |x| < 2^19, as Q30: Taylor's series of e^(f ln 2), whose tenth term is below 2^-30. */
HONE_HOST_DEVICE static inline int64_t hone_exp2_q30(int32_t x)
{
    int32_t whole = x >> 16;
    int64_t t = (int64_t)(x & 0xffff) * 744261118 >> 16, sum = HONE_ONE_Q30; /* 744261118 = ln 2 in Q30 */
    for (int k = 10; k >= 1; k--) sum = HONE_ONE_Q30 + hone_mul_q30(t, sum) / k;
    return whole >= 0 ? sum << whole : sum >> -whole;
}

/* Sine and cosine of an angle in degrees Q16, |angle| <= 360, as Q30. A right angle is taken out first. */
HONE_HOST_DEVICE static inline void hone_sincos_q30(int32_t degrees, int64_t *sine, int64_t *cosine)
{
    int32_t right = 90 << 16, turn = (degrees + (degrees >= 0 ? right / 2 : -right / 2)) / right;
    int64_t x = (int64_t)(degrees - turn * right) * 18740330 >> 16, xx = hone_mul_q30(x, x); /* pi / 180 in Q30 */
    int64_t s = HONE_ONE_Q30, c = HONE_ONE_Q30;
    for (int k = 12; k >= 2; k -= 2) {
        s = HONE_ONE_Q30 - hone_mul_q30(xx, s) / (k * (k + 1));
        c = HONE_ONE_Q30 - hone_mul_q30(xx, c) / (k * (k - 1));
    }
    s = hone_mul_q30(x, s);
    switch (turn & 3) {
    case 0: *sine = s; *cosine = c; break;
    case 1: *sine = c; *cosine = -s; break;
    case 2: *sine = -s; *cosine = -c; break;
    default: *sine = -c; *cosine = s;
    }
}

/* floor(sqrt(v)), bit by bit. */
HONE_HOST_DEVICE static inline int64_t hone_root(int64_t v)
{
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit > 0; bit >>= 1)
        if ((root + bit) * (root + bit) <= (uint64_t)v) root += bit;
    return (int64_t)root;
}

/* --- boxes: resized crop, erasing ----------------------------------------------------------------------------- */
typedef struct hone_box { int32_t top, left, height, width, found; } hone_box;

/* Try `number` of a box inside (H, W): width = round(sqrt(area ratio)), height = round(sqrt(area / ratio)), as
 * torchvision's RandomResizedCrop and RandomErasing have it. Words: area, ratio, top, left. H, W <= 16384. */
HONE_HOST_DEVICE static inline hone_box hone_box_try(const hone_box_attr *a, hone_philox4 r, int32_t H, int32_t W)
{
    hone_box b = {0, 0, 0, 0, 0};
    int64_t area = (int64_t)H * W * hone_augment_between(r.v[0], a->area[0], a->area[1]);
    int32_t ratio = hone_augment_between(r.v[1], a->log_ratio[0], a->log_ratio[1]);
    int64_t side = hone_root(area << 10); /* Q17 */
    b.width = (int32_t)((side * (hone_exp2_q30(ratio / 2) >> 6) + ((int64_t)1 << 40)) >> 41);
    b.height = (int32_t)((side * (hone_exp2_q30(-ratio / 2) >> 6) + ((int64_t)1 << 40)) >> 41);
    b.found = b.width >= 1 && b.width <= W && b.height >= 1 && b.height <= H;
    if (!b.found) return b;
    b.top = (int32_t)(((uint64_t)r.v[2] * (uint32_t)(H - b.height + 1)) >> 32);
    b.left = (int32_t)(((uint64_t)r.v[3] * (uint32_t)(W - b.width + 1)) >> 32);
    return b;
}

/* The first of ten tries that fits; `found` is 0 where none does. */
HONE_HOST_DEVICE static inline hone_box hone_box_draw(const hone_box_attr *a, uint64_t seed, uint32_t stream,
                                                      int32_t sample, int32_t epoch, int32_t H, int32_t W)
{
    hone_box b = {0, 0, 0, 0, 0};
    for (uint32_t k = 1; k <= HONE_DRAW_TRIES && !b.found; k++)
        b = hone_box_try(a, hone_augment_words(seed, stream, sample, epoch, k), H, W);
    return b;
}

/* Where no try fitted: the middle of the picture, as near to the allowed ratios as it can be (torchvision again). */
HONE_HOST_DEVICE static inline hone_box hone_box_middle(const hone_box_attr *a, int32_t H, int32_t W)
{
    hone_box b = {0, 0, H, W, 1};
    int64_t least = hone_exp2_q30(a->log_ratio[0]), most = hone_exp2_q30(a->log_ratio[1]);
    int64_t own = ((int64_t)W << 30) / H;
    if (own < least) b.height = (int32_t)(((int64_t)W << 30) / least);
    else if (own > most) b.width = (int32_t)((H * most) >> 30);
    b.height = b.height < 1 ? 1 : b.height;
    b.width = b.width < 1 ? 1 : b.width;
    b.top = (H - b.height) / 2;
    b.left = (W - b.width) / 2;
    return b;
}

/* --- geometry: one affine map, one resampling ------------------------------------------------------------------- */
/* Output pixel (h, w) of (H, W) lies at u = 2w + 1 - W, v = 2h + 1 - H half pixels from the middle; it shows the
 * source at x = x0 + xu u + xv v, y = y0 + yu u + yv v, Q24 pixels, where 0 is the middle of the first pixel. Where the
 * source shrinks, it shows the mean of four such points, a quarter of an output pixel beside (u, v): one alone would pass
 * over source pixels. */
typedef struct hone_view { int64_t x0, xu, xv, y0, yu, yv; int32_t points; } hone_view;

/* A box of the source, turned by `degrees` (Q16, counter-clockwise as seen) and mirrored, on H x W pixels. */
HONE_HOST_DEVICE static inline hone_view hone_view_of(hone_box box, int32_t H, int32_t W, int32_t degrees, int mirror)
{
    hone_view v;
    int64_t s = 0, c = HONE_ONE_Q30, across = ((int64_t)box.width << 23) / W, down = ((int64_t)box.height << 23) / H;
    if (degrees) hone_sincos_q30(degrees, &s, &c);
    v.x0 = (int64_t)(2 * box.left + box.width - 1) * (HONE_ONE_Q24 / 2);
    v.y0 = (int64_t)(2 * box.top + box.height - 1) * (HONE_ONE_Q24 / 2);
    v.xu = hone_mul_q30(across, mirror ? -c : c);
    v.xv = hone_mul_q30(across, -s);
    v.yu = hone_mul_q30(down, mirror ? -s : s);
    v.yv = hone_mul_q30(down, c);
    v.points = box.width > W || box.height > H ? 4 : 1;
    return v;
}

/* What image_view shows of a source picture of (Hp, Wp): the shift and the flip are those of image_batch. */
HONE_HOST_DEVICE static inline hone_view hone_view_draw(const hone_augment_attr *a, uint64_t seed, int32_t sample,
                                                        int32_t epoch, int32_t Hp, int32_t Wp)
{
    hone_augment d = hone_augment_draw(seed, HONE_STREAM_AUGMENT, (uint64_t)(uint32_t)sample,
                                       (uint64_t)(uint32_t)epoch, a->crop_pad, a->flip);
    hone_box box = {(Hp - a->height) / 2 + d.dy, (Wp - a->width) / 2 + d.dx, a->height, a->width, 1};
    int32_t degrees = 0;
    if (a->crop.area[1] > 0) {
        box = hone_box_draw(&a->crop, seed, HONE_STREAM_VIEW, sample, epoch, Hp, Wp);
        if (!box.found) box = hone_box_middle(&a->crop, Hp, Wp);
    }
    if (a->rotate > 0)
        degrees = hone_augment_between(hone_augment_words(seed, HONE_STREAM_VIEW, sample, epoch, 0).v[0], -a->rotate,
                                       a->rotate);
    return hone_view_of(box, a->height, a->width, degrees, d.flip);
}

/* One output pixel: where its four neighbours lie, and their weights of 1/256. `inside` is 0 where the point is no
 * part of the source: such a pixel is black. At the border the neighbour outside is the border's own pixel. */
typedef struct hone_point { int32_t inside, x[2], y[2], fx, fy; } hone_point;

/* The point at (u, v), both given as twice what they are. */
HONE_HOST_DEVICE static inline hone_point hone_view_at(const hone_view *v, int64_t u, int64_t t, int32_t Hs, int32_t Ws)
{
    hone_point p;
    int64_t half = HONE_ONE_Q24 / 2;
    int64_t x = v->x0 + ((v->xu * u + v->xv * t) >> 1), y = v->y0 + ((v->yu * u + v->yv * t) >> 1);
    p.inside = x >= -half && x < ((int64_t)Ws << 24) - half && y >= -half && y < ((int64_t)Hs << 24) - half;
    p.fx = (int32_t)(x >> 16 & 255);
    p.fy = (int32_t)(y >> 16 & 255);
    int64_t left = x >> 24, top = y >> 24;
    p.x[0] = (int32_t)(left < 0 ? 0 : left);
    p.y[0] = (int32_t)(top < 0 ? 0 : top);
    p.x[1] = (int32_t)(left + 1 < Ws ? left + 1 : Ws - 1);
    p.y[1] = (int32_t)(top + 1 < Hs ? top + 1 : Hs - 1);
    return p;
}

/* The middle of output pixel (h, w). */
HONE_HOST_DEVICE static inline hone_point hone_view_point(const hone_view *v, int32_t h, int32_t w, int32_t H, int32_t W,
                                                          int32_t Hs, int32_t Ws)
{
    return hone_view_at(v, 2 * (2 * (int64_t)w + 1 - W), 2 * (2 * (int64_t)h + 1 - H), Hs, Ws);
}

/* Channel c of a point of `source` (Hs, Ws, C): bilinear, times 2^16. */
HONE_HOST_DEVICE static inline int32_t hone_view_sum(const hone_point *p, const uint8_t *source, int32_t Ws, int32_t C,
                                                     int32_t c)
{
    if (!p->inside) return 0;
    const uint8_t *top = source + (int64_t)p->y[0] * Ws * C + c, *low = source + (int64_t)p->y[1] * Ws * C + c;
    int64_t l = (int64_t)p->x[0] * C, r = (int64_t)p->x[1] * C;
    int32_t above = top[l] * (256 - p->fx) + top[r] * p->fx, below = low[l] * (256 - p->fx) + low[r] * p->fx;
    return above * (256 - p->fy) + below * p->fy;
}

/* The same as a byte, rounded to nearest. */
HONE_HOST_DEVICE static inline uint8_t hone_view_pixel(const hone_point *p, const uint8_t *source, int32_t Ws, int32_t C,
                                                       int32_t c)
{
    return (uint8_t)((hone_view_sum(p, source, Ws, C, c) + 32768) >> 16);
}

/* All channels of output pixel (h, w) of (H, W), out (C). */
HONE_HOST_DEVICE static inline void hone_view_show(const hone_view *v, int32_t h, int32_t w, int32_t H, int32_t W,
                                                   const uint8_t *source, int32_t Hs, int32_t Ws, int32_t C, uint8_t *out)
{
    hone_point p[4];
    int64_t u = 2 * (2 * (int64_t)w + 1 - W), t = 2 * (2 * (int64_t)h + 1 - H);
    if (v->points == 1) p[0] = hone_view_at(v, u, t, Hs, Ws);
    for (int k = 0; k < 4 && v->points == 4; k++)
        p[k] = hone_view_at(v, u + (k & 1 ? 1 : -1), t + (k & 2 ? 1 : -1), Hs, Ws);
    for (int32_t c = 0; c < C; c++) {
        int32_t sum = 0;
        for (int k = 0; k < v->points; k++) sum += hone_view_sum(&p[k], source, Ws, C, c);
        out[c] = (uint8_t)(v->points == 1 ? (sum + 32768) >> 16 : (sum + 131072) >> 18);
    }
}

/* --- colour: the steps of image_adjust --------------------------------------------------------------------------- */
/* Names and meaning of Pillow's ImageEnhance and ImageOps; magnitudes of torchvision's RandAugment. */
typedef enum hone_adjust {
    HONE_ADJUST_NONE, HONE_ADJUST_BRIGHTNESS, HONE_ADJUST_CONTRAST, HONE_ADJUST_SATURATION, HONE_ADJUST_SHARPNESS,
    HONE_ADJUST_POSTERIZE, HONE_ADJUST_SOLARIZE, HONE_ADJUST_AUTOCONTRAST, HONE_ADJUST_EQUALIZE,
    HONE_ADJUST_SHEAR_X, HONE_ADJUST_SHEAR_Y, HONE_ADJUST_SHIFT_X, HONE_ADJUST_SHIFT_Y, HONE_ADJUST_ROTATE,
    HONE_ADJUST_COUNT,              /* those that RandAugment draws from                             */
    HONE_ADJUST_HUE = HONE_ADJUST_COUNT /* of colour jitter alone                                    */
} hone_adjust;

/* value: a factor Q16 (1 leaves the picture as it is); bits kept; threshold; slope Q16; pixels; degrees Q16; turns Q16. */
typedef struct hone_adjust_step { int32_t kind, value; } hone_adjust_step;

/* Colour jitter: three factors, uniform in 1 - reach .. 1 + reach, and a turn of the hue, uniform in -reach .. reach, in a
 * drawn order; at most 4 steps. */
HONE_HOST_DEVICE static inline int hone_jitter_draw(const hone_augment_attr *a, uint64_t seed, int32_t sample,
                                                    int32_t epoch, hone_adjust_step *step)
{
    hone_philox4 r = hone_augment_words(seed, HONE_STREAM_JITTER, sample, epoch, 0);
    uint32_t order = (uint32_t)(((uint64_t)r.v[3] * 6) >> 32);
    int count = 0;
    for (uint32_t k = 0; k < 3; k++) {
        /* rotations of (0 1 2), and of (0 2 1) */
        uint32_t which = order < 3 ? (order + k) % 3 : (order + 3 - k) % 3;
        int32_t reach = a->jitter[which], low = reach > HONE_ONE_Q16 ? 0 : HONE_ONE_Q16 - reach;
        if (reach <= 0) continue;
        step[count].kind = HONE_ADJUST_BRIGHTNESS + (int32_t)which;
        step[count++].value = hone_augment_between(r.v[which], low, HONE_ONE_Q16 + reach);
    }
    if (a->jitter[3] <= 0) return count;
    /* before, between or behind the others, each place as likely: so are all orders of the four */
    hone_philox4 h = hone_augment_words(seed, HONE_STREAM_JITTER, sample, epoch, 1);
    int at = (int)(((uint64_t)h.v[1] * (uint32_t)(count + 1)) >> 32);
    for (int k = count; k > at; k--) step[k] = step[k - 1];
    step[at].kind = HONE_ADJUST_HUE;
    step[at].value = hone_augment_between(h.v[0], -a->jitter[3], a->jitter[3]);
    return count + 1;
}

/* The strength that torchvision's table has for magnitude m of 0..30; `minus` turns the signed ones round. */
HONE_HOST_DEVICE static inline int32_t hone_rand_value(int32_t kind, int32_t m, int minus, int32_t H, int32_t W)
{
    int32_t sign = minus ? -1 : 1;
    switch (kind) {
    case HONE_ADJUST_BRIGHTNESS:
    case HONE_ADJUST_CONTRAST:
    case HONE_ADJUST_SATURATION:
    case HONE_ADJUST_SHARPNESS: return HONE_ONE_Q16 + sign * (m * 9 * HONE_ONE_Q16 / 300);
    case HONE_ADJUST_POSTERIZE: return 8 - (2 * m + 7) / 15; /* 8 - round(m / 7.5) */
    case HONE_ADJUST_SOLARIZE: return (17 * (30 - m) + 1) / 2;      /* a pixel below 8.5 (30 - m) stays */
    case HONE_ADJUST_SHEAR_X:
    case HONE_ADJUST_SHEAR_Y: return sign * (m * HONE_ONE_Q16 / 100);
    case HONE_ADJUST_SHIFT_X: return sign * (150 * W * m / (331 * 30));
    case HONE_ADJUST_SHIFT_Y: return sign * (150 * H * m / (331 * 30));
    case HONE_ADJUST_ROTATE: return sign * (m * HONE_ONE_Q16);
    default: return 0;
    }
}

/* RandAugment: `rand_count` kinds of all, each as likely as any other. Words: kind, sign. */
HONE_HOST_DEVICE static inline int hone_rand_draw(const hone_augment_attr *a, uint64_t seed, int32_t sample,
                                                  int32_t epoch, int32_t H, int32_t W, hone_adjust_step *step)
{
    for (int k = 0; k < a->rand_count; k++) {
        hone_philox4 r = hone_augment_words(seed, HONE_STREAM_RAND, sample, epoch, (uint32_t)k);
        step[k].kind = (int32_t)(((uint64_t)r.v[0] * HONE_ADJUST_COUNT) >> 32);
        step[k].value = hone_rand_value(step[k].kind, a->rand_magnitude, (int)(r.v[1] >> 31), H, W);
    }
    return a->rand_count;
}

/* All steps of one picture, jitter first; returns how many, HONE_ADJUST_MOST at the most. */
HONE_HOST_DEVICE static inline int hone_adjust_draw(const hone_augment_attr *a, uint64_t seed, int32_t sample,
                                                    int32_t epoch, int32_t H, int32_t W, hone_adjust_step *step)
{
    int count = hone_jitter_draw(a, seed, sample, epoch, step);
    return count + hone_rand_draw(a, seed, sample, epoch, H, W, step + count);
}

/* Whether a step moves pixels; hone_adjust_view is then its map (shear about the middle). */
HONE_HOST_DEVICE static inline int hone_adjust_moves(int32_t kind)
{
    return kind >= HONE_ADJUST_SHEAR_X && kind < HONE_ADJUST_COUNT;
}

HONE_HOST_DEVICE static inline hone_view hone_adjust_view(hone_adjust_step step, int32_t H, int32_t W)
{
    hone_box box = {0, 0, H, W, 1};
    hone_view v = hone_view_of(box, H, W, step.kind == HONE_ADJUST_ROTATE ? step.value : 0, 0);
    if (step.kind == HONE_ADJUST_SHEAR_X) v.xv = (int64_t)step.value * 128; /* half a pixel a unit: Q16 to Q24, halved */
    if (step.kind == HONE_ADJUST_SHEAR_Y) v.yu = (int64_t)step.value * 128;
    if (step.kind == HONE_ADJUST_SHIFT_X) v.x0 -= (int64_t)step.value * HONE_ONE_Q24;
    if (step.kind == HONE_ADJUST_SHIFT_Y) v.y0 -= (int64_t)step.value * HONE_ONE_Q24;
    return v;
}

/* base + factor (v - base), cut to a byte; Pillow's blend, with its truncation. */
HONE_HOST_DEVICE static inline uint8_t hone_blend(int32_t base, int32_t v, int32_t factor)
{
    int64_t sum = ((int64_t)base << 16) + (int64_t)factor * (v - base);
    return (uint8_t)(sum <= 0 ? 0 : sum >= (int64_t)255 << 16 ? 255 : sum >> 16);
}

/* Pillow's grey of an RGB pixel; a grey picture's own value. */
HONE_HOST_DEVICE static inline int32_t hone_grey(const uint8_t *pixel, int32_t C)
{
    return C == 3 ? (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 32768) >> 16 : pixel[0];
}

/* Hue turned by `turn` (Q16 of a full turn) as HSV has it: of the three channels one stays the greatest and one the least,
 * the third lies between them by the hue's share of a sixth. Rounded once. `out` (C) may be the pixel; grey stays. */
HONE_HOST_DEVICE static inline void hone_hue(const uint8_t *pixel, int32_t C, int32_t turn, uint8_t *out)
{
    if (C != 3) {
        for (int32_t c = 0; c < C; c++) out[c] = pixel[c];
        return;
    }
    int32_t r = pixel[0], g = pixel[1], b = pixel[2];
    int32_t high = r > g ? (r > b ? r : b) : (g > b ? g : b), low = r < g ? (r < b ? r : b) : (g < b ? g : b);
    int32_t chroma = high - low, sixths = 0; /* Q16, from red over green and blue */
    if (chroma > 0) {
        if (r == high) sixths = (g - b) * HONE_ONE_Q16 / chroma;
        else if (g == high) sixths = 2 * HONE_ONE_Q16 + (b - r) * HONE_ONE_Q16 / chroma;
        else sixths = 4 * HONE_ONE_Q16 + (r - g) * HONE_ONE_Q16 / chroma;
    }
    sixths = (sixths + 6 * turn + 12 * HONE_ONE_Q16) % (6 * HONE_ONE_Q16);
    int32_t part = (chroma * (sixths & 65535) + 32768) >> 16, up = low + part, down = high - part;
    switch (sixths >> 16) {
    case 0: r = high; g = up; b = low; break;
    case 1: r = down; g = high; b = low; break;
    case 2: r = low; g = high; b = up; break;
    case 3: r = low; g = down; b = high; break;
    case 4: r = up; g = low; b = high; break;
    default: r = high; g = low; b = down;
    }
    out[0] = (uint8_t)r;
    out[1] = (uint8_t)g;
    out[2] = (uint8_t)b;
}

/* Steps that are a table of 256 bytes. `low`, `high`: AUTOCONTRAST's ends of the channel; CONTRAST's grey mean is `low`. */
HONE_HOST_DEVICE static inline uint8_t hone_adjust_byte(hone_adjust_step step, int32_t v, int32_t low, int32_t high)
{
    switch (step.kind) {
    case HONE_ADJUST_BRIGHTNESS: return hone_blend(0, v, step.value);
    case HONE_ADJUST_CONTRAST: return hone_blend(low, v, step.value);
    case HONE_ADJUST_POSTERIZE: return (uint8_t)(v & (0xff00 >> step.value));
    case HONE_ADJUST_SOLARIZE: return (uint8_t)(v < step.value ? v : 255 - v);
    case HONE_ADJUST_AUTOCONTRAST: /* only bytes of the channel are asked for: low <= v <= high */
        return (uint8_t)(high <= low ? v : v <= low ? 0 : v >= high ? 255 : (v - low) * 255 / (high - low));
    default: return (uint8_t)v;
    }
}

/* EQUALIZE's table of one channel from its histogram (256): Pillow's, cut to a byte. */
HONE_HOST_DEVICE static inline void hone_equalize_table(const uint32_t *histogram, uint8_t *table)
{
    uint32_t total = 0, last = 0, sum;
    for (int v = 0; v < 256; v++) {
        total += histogram[v];
        if (histogram[v]) last = histogram[v];
    }
    uint32_t step = (total - last) / 255;
    sum = step / 2;
    for (int v = 0; v < 256; v++) {
        uint32_t to = step ? sum / step : (uint32_t)v;
        table[v] = (uint8_t)(to > 255 ? 255 : to);
        sum += histogram[v];
    }
}

/* Pillow's SMOOTH at an inner pixel: (1 1 1; 1 5 1; 1 1 1) / 13 of channel c, rounded; the border stays. */
HONE_HOST_DEVICE static inline int32_t hone_smooth(const uint8_t *image, int32_t h, int32_t w, int32_t H, int32_t W,
                                                   int32_t C, int32_t c)
{
    const uint8_t *at = image + ((int64_t)h * W + w) * C + c;
    if (h == 0 || w == 0 || h == H - 1 || w == W - 1) return *at;
    int64_t row = (int64_t)W * C;
    int32_t sum = 4 * *at;
    for (int64_t d = -row; d <= row; d += row) sum += at[d - C] + at[d] + at[d + C];
    return (2 * sum + 13) / 26;
}

/* --- erasing and mixing -------------------------------------------------------------------------------------------- */
/* The rectangle that image_erase sets to the mean; found = 0: none. */
HONE_HOST_DEVICE static inline hone_box hone_erase_draw(const hone_augment_attr *a, uint64_t seed, int32_t sample,
                                                        int32_t epoch, int32_t H, int32_t W)
{
    hone_box none = {0, 0, 0, 0, 0};
    if (!hone_augment_chance(hone_augment_words(seed, HONE_STREAM_ERASE, sample, epoch, 0).v[0], a->erase)) return none;
    return hone_box_draw(&a->erase_box, seed, HONE_STREAM_ERASE, sample, epoch, H, W);
}

/* How sample's picture is mixed with the next one of its batch: own share Q16 >= 1/2 (the same mixtures as with any
 * share, since the two change places), or a box of the other (found = 1), whose area is its share. */
typedef struct hone_mix { int32_t own; hone_box box; } hone_mix;

/* Own share by the quantiles of row `table` (HONE_MIX_TABLE), straight between them; u in Q24. */
HONE_HOST_DEVICE static inline int32_t hone_mix_share(const int32_t *table, uint32_t word)
{
    uint32_t u = word >> 8;
    int32_t low = table[u >> 15], high = table[(u >> 15) + 1];
    return low + (int32_t)(((int64_t)(high - low) * (u & 32767)) >> 15);
}

/* table (2, HONE_MIX_TABLE): mixup, cutmix. Words of draw 0: whether, which, share; of draw 1: row, column. The box is
 * sqrt(1 - share) of each side about a drawn pixel, cut at the picture's edges (the cutmix paper). */
HONE_HOST_DEVICE static inline hone_mix hone_mix_draw(const hone_augment_attr *a, const int32_t *table, uint64_t seed,
                                                      int32_t sample, int32_t epoch, int32_t H, int32_t W)
{
    hone_mix m = {HONE_ONE_Q16, {0, 0, 0, 0, 0}};
    hone_philox4 r = hone_augment_words(seed, HONE_STREAM_MIX, sample, epoch, 0);
    if (!hone_augment_chance(r.v[0], a->mix)) return m;
    int cut = a->cutmix && (!a->mixup || r.v[1] >> 31);
    m.own = hone_mix_share(table + (cut ? HONE_MIX_TABLE : 0), r.v[2]);
    if (!cut) return m;
    hone_philox4 at = hone_augment_words(seed, HONE_STREAM_MIX, sample, epoch, 1);
    int64_t side = hone_root((int64_t)(HONE_ONE_Q16 - m.own) << 32); /* sqrt of Q48: Q24 */
    int32_t h = (int32_t)(H * side >> 24), w = (int32_t)(W * side >> 24);
    int32_t top = (int32_t)(((uint64_t)at.v[0] * (uint32_t)H) >> 32) - h / 2, bottom = top + h;
    int32_t left = (int32_t)(((uint64_t)at.v[1] * (uint32_t)W) >> 32) - w / 2, right = left + w;
    m.box.top = top < 0 ? 0 : top;
    m.box.left = left < 0 ? 0 : left;
    m.box.height = (bottom > H ? H : bottom) - m.box.top;
    m.box.width = (right > W ? W : right) - m.box.left;
    m.box.found = 1;
    return m;
}

/* The own label's weight in the loss: what is left of the own picture. Exact in double, rounded once. */
HONE_HOST_DEVICE static inline float hone_mix_weight(const hone_mix *m, int32_t H, int32_t W)
{
    if (!m->box.found) return (float)((double)m->own / HONE_ONE_Q16);
    int64_t all = (int64_t)H * W;
    return (float)((double)(all - (int64_t)m->box.height * m->box.width) / (double)all);
}

#endif
