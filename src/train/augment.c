/* augment.c - see augment.h. The only place where augmentation meets floating point: here, once, on the host, before
 * any kernel runs; from the integers made here every dialect draws the same. */
#include "train/augment.h"

#include <math.h>

#include "data/dataset.h"

/* A number times a power of two, to nearest. */
static int32_t fixed(double v, int32_t one) { return (int32_t)lrint(v * one); }

/* Two ends of an area and of a ratio. */
static hone_box_attr box_of(const double area[2], const double ratio[2])
{
    return (hone_box_attr){{fixed(area[0], HONE_ONE_Q24), fixed(area[1], HONE_ONE_Q24)},
                           {fixed(log2(ratio[0]), HONE_ONE_Q16), fixed(log2(ratio[1]), HONE_ONE_Q16)}};
}

/* Texts have none: their pages can't have the keys, and the fields hold no defaults. */
hone_augment_attr hone_augment_of(const hone_config *c)
{
    hone_augment_attr a = {.flip = (float)c->augment.flip, .crop_pad = c->augment.crop_pad};
    if (c->task != HONE_TASK_IMAGE) return (hone_augment_attr){0};
    if (c->augment.crop.given) a.crop = box_of(c->augment.crop.scale, c->augment.crop.ratio);
    a.rotate = fixed(c->augment.rotate, HONE_ONE_Q16);
    a.jitter[0] = fixed(c->augment.color.brightness, HONE_ONE_Q16);
    a.jitter[1] = fixed(c->augment.color.contrast, HONE_ONE_Q16);
    a.jitter[2] = fixed(c->augment.color.saturation, HONE_ONE_Q16);
    a.jitter[3] = fixed(c->augment.color.hue, HONE_ONE_Q16);
    a.rand_count = c->augment.randaugment.count;
    a.rand_magnitude = c->augment.randaugment.magnitude;
    a.erase = fixed(c->augment.erase.probability, HONE_ONE_Q24);
    if (a.erase > 0) a.erase_box = box_of(c->augment.erase.area, c->augment.erase.ratio);
    a.mixup = c->augment.mixup > 0;
    a.cutmix = c->augment.cutmix > 0;
    if (a.mixup || a.cutmix) a.mix = fixed(c->augment.mix, HONE_ONE_Q24);
    return a;
}

/* Half as much again, and no more than the pixels that a set in memory has: crops of a third of the area and more then
 * lose nothing, for 2.25 times the memory. */
static int kept_side(int side, int own)
{
    enum { MOST = 16384 }; /* image_view's */
    int more = side + side / 2;
    if (own && more > own) more = own > side ? own : side;
    return more > MOST ? MOST : more;
}

hone_status hone_augment_keep(const hone_config *c, hone_data *d)
{
    if (c->task != HONE_TASK_IMAGE || !c->augment.crop.given) return HONE_OK;
    const hone_source *s = d->train->source;
    int height = c->augment.crop.from_height, width = c->augment.crop.from_width;
    if (height) return hone_dataset_keep(d->train, height, width);
    /* files may have any size, and most have more than a net takes */
    return hone_dataset_keep(d->train, kept_side(d->height, s->raw ? s->height : 0),
                             kept_side(d->width, s->raw ? s->width : 0));
}

/* --- Beta(a, a) --------------------------------------------------------------------------------------------------- */

/* Continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's method; x <= 1/2. */
static double beta_fraction(double a, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - 2 * a * x / (a + 1), f;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    f = d;
    for (int m = 1; m <= 500; m++) {
        double change = 0;
        for (int odd = 0; odd < 2; odd++) { /* the two terms of a level have forms of their own */
            double even_term = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
            double term = odd ? -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1)) : even_term;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            change = c * d;
            f *= change;
        }
        if (fabs(change - 1) < 1e-15) break;
    }
    return f;
}

/* Chance that Beta(a, a) is at most x, 0 <= x <= 1/2. */
static double beta_below(double a, double x)
{
    if (x <= 0) return 0;
    double front = exp(a * (log(x) + log1p(-x)) - 2 * lgamma(a) + lgamma(2 * a));
    return front * beta_fraction(a, x) / a;
}

/* By bisection on the lower half, which the upper half mirrors. */
void hone_mix_table(double alpha, int32_t *table)
{
    for (int k = 0; k < HONE_MIX_TABLE; k++) {
        double low = 0, high = 0.5, chance = 0.5 - k / 1024.0;
        table[k] = HONE_ONE_Q16;
        if (alpha <= 0) continue;
        /* fifty halves: far below the 2^-16 that is kept */
        for (int i = 0; i < 50; i++) {
            double middle = (low + high) / 2;
            if (beta_below(alpha, middle) < chance) low = middle;
            else high = middle;
        }
        table[k] = fixed(1 - high, HONE_ONE_Q16);
    }
}
