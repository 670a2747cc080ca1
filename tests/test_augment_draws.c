/* test_augment_draws.c - what augmentation draws, and the fixed-point arithmetic it is drawn with: beside the math
 * library, torchvision's formulas in doubles, and laws whose means and quantiles are known.
 * rooms: train data model config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "train/augment.h"

static const uint64_t SEED = 77;
static const int32_t EPOCH = 3;

/* Fixed point beside the math library; and right shifts floor, which all of this counts on. */
static void test_fixed_point(void **state)
{
    (void)state;
    volatile int64_t minus = -3;
    assert_int_equal(minus >> 1, -2);
    for (int32_t x = -7 * 65536; x <= 7 << 16; x += 1237)
        assert_true(fabs((double)hone_exp2_q30(x) / HONE_ONE_Q30 / exp2(x / 65536.0) - 1) < 1e-6);
    for (int32_t d = -360 * 65536; d <= 360 << 16; d += 9973) {
        int64_t s, c;
        hone_sincos_q30(d, &s, &c);
        double angle = d / 65536.0 * acos(-1) / 180;
        assert_true(fabs((double)s / HONE_ONE_Q30 - sin(angle)) < 2e-7);
        assert_true(fabs((double)c / HONE_ONE_Q30 - cos(angle)) < 2e-7);
    }
    for (int64_t v = 0; v < (int64_t)1 << 62; v = v * 3 + 1) {
        int64_t root = hone_root(v);
        assert_true(root * root <= v && (double)(root + 1) * (double)(root + 1) > (double)v);
    }
    assert_int_equal(hone_root((int64_t)1 << 62), (int64_t)1 << 31);
}

/* The three steps of colour jitter: in all six orders, factors in their range, means where a uniform has them. */
static void test_jitter_draws(void **state)
{
    (void)state;
    hone_augment_attr attr = {.jitter = {26214, 13107, 65536}};
    int order[27] = {0}, orders = 0;
    double mean[3] = {0};
    enum { DRAWS = 6000 };
    for (int n = 0; n < DRAWS; n++) {
        hone_adjust_step s[3];
        assert_int_equal(hone_jitter_draw(&attr, SEED, n, EPOCH, s), 3);
        int code = 0;
        for (int k = 0; k < 3; k++) {
            int which = s[k].kind - HONE_ADJUST_BRIGHTNESS;
            code = 3 * code + which;
            assert_in_range(s[k].value, 65536 - attr.jitter[which], 65536 + attr.jitter[which]);
            mean[which] += s[k].value / 65536.0 / DRAWS;
        }
        order[code]++;
    }
    for (int k = 0; k < 27; k++) {
        if (order[k] == 0) continue;
        orders++;
        assert_in_range(order[k], DRAWS / 6 - 150, DRAWS / 6 + 150); /* five standard deviations */
    }
    assert_int_equal(orders, 6);
    for (int k = 0; k < 3; k++) assert_true(fabs(mean[k] - 1) < 5 * attr.jitter[k] / 65536.0 / sqrt(3.0 * DRAWS));
}

/* With hue all 24 orders of four come alike, turns lie in their reach about 0, and the other three stay as they are. */
static void test_hue_draws(void **state)
{
    (void)state;
    hone_augment_attr attr = {.jitter = {26214, 13107, 65536, 6554}}, plain = attr;
    int order[256] = {0}, orders = 0;
    double mean = 0;
    enum { DRAWS = 12000 };
    plain.jitter[3] = 0;
    for (int n = 0; n < DRAWS; n++) {
        hone_adjust_step s[4], t[3];
        int code = 0, others = 0;
        assert_int_equal(hone_jitter_draw(&attr, SEED, n, EPOCH, s), 4);
        assert_int_equal(hone_jitter_draw(&plain, SEED, n, EPOCH, t), 3);
        for (int k = 0; k < 4; k++) {
            bool hue = s[k].kind == HONE_ADJUST_HUE;
            code = 4 * code + (hue ? 3 : s[k].kind - HONE_ADJUST_BRIGHTNESS);
            if (hue) mean += s[k].value / 65536.0 / DRAWS;
            if (hue) assert_true(s[k].value >= -6554 && s[k].value <= 6554);
            else assert_memory_equal(&s[k], &t[others++], sizeof *t);
        }
        order[code]++;
    }
    for (int k = 0; k < 256; k++) {
        if (order[k] == 0) continue;
        orders++;
        assert_in_range(order[k], DRAWS / 24 - 110, DRAWS / 24 + 110); /* five standard deviations */
    }
    assert_int_equal(orders, 24);
    assert_true(fabs(mean) < 5 * 0.1 / sqrt(3.0 * DRAWS));
}

/* Magnitudes of torchvision 0.29's RandAugment, from its source by hand: 0, 9 and 30 of 31 bins. */
static void test_magnitudes(void **state)
{
    (void)state;
    static const struct {
        int kind, m;
        double want, unit;
    } row[] = {
        {HONE_ADJUST_SHEAR_X, 9, 0.09, 65536},   {HONE_ADJUST_SHEAR_Y, 30, 0.3, 65536},
        {HONE_ADJUST_SHIFT_X, 9, 30, 1},         {HONE_ADJUST_SHIFT_Y, 30, 101, 1}, /* int(150 / 331 * 224 * m / 30) */
        {HONE_ADJUST_ROTATE, 9, 9, 65536},       {HONE_ADJUST_BRIGHTNESS, 9, 1.27, 65536},
        {HONE_ADJUST_SHARPNESS, 30, 1.9, 65536}, {HONE_ADJUST_POSTERIZE, 0, 8, 1},
        {HONE_ADJUST_POSTERIZE, 9, 7, 1},        {HONE_ADJUST_POSTERIZE, 30, 4, 1},
        {HONE_ADJUST_SOLARIZE, 0, 255, 1},       {HONE_ADJUST_SOLARIZE, 9, 179, 1}, /* 178.5: above */
        {HONE_ADJUST_SOLARIZE, 30, 0, 1},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        double got = hone_rand_value(row[k].kind, row[k].m, 0, 224, 224) / row[k].unit;
        if (fabs(got - row[k].want) > 2e-5) fail_msg("kind %d, magnitude %d: %g", row[k].kind, row[k].m, got);
    }
    assert_int_equal(hone_rand_value(HONE_ADJUST_ROTATE, 9, 1, 224, 224), -9 * 65536);
    assert_int_equal(hone_rand_value(HONE_ADJUST_SHIFT_X, 9, 1, 224, 224), -30);
}

/* Box of torchvision's RandomResizedCrop in doubles, from the same words. */
static bool plain_box(hone_philox4 r, const double area[2], const double ratio[2], int Hp, int Wp, double box[4])
{
    double u[2];
    for (int k = 0; k < 2; k++) u[k] = (r.v[k] >> 8) / 16777216.0;
    double a = Hp * Wp * (area[0] + (area[1] - area[0]) * u[0]);
    double q = exp(log(ratio[0]) + (log(ratio[1]) - log(ratio[0])) * u[1]);
    double w = sqrt(a * q), h = sqrt(a / q);
    box[2] = h;
    box[3] = w;
    if (round(w) > Wp || round(h) > Hp || round(w) < 1 || round(h) < 1) return false;
    box[0] = floor(r.v[2] / 4294967296.0 * (Hp - round(h) + 1));
    box[1] = floor(r.v[3] / 4294967296.0 * (Wp - round(w) + 1));
    return true;
}

/* Sides agree but where a root lies half-way between two numbers; then so do the places. */
static void test_boxes_are_torchvisions(void **state)
{
    (void)state;
    static const double area[2] = {0.08, 1}, ratio[2] = {0.75, 1.333};
    hone_config c = {.task = HONE_TASK_IMAGE};
    memcpy(c.augment.crop.scale, area, sizeof area);
    memcpy(c.augment.crop.ratio, ratio, sizeof ratio);
    c.augment.crop.given = true;
    hone_augment_attr a = hone_augment_of(&c);
    int boxes = 0, refused = 0;
    double share = 0;
    for (int n = 0; n < 4000; n++) {
        int Hp = 20 + n % 300, Wp = 20 + n * 7 % 400;
        hone_philox4 r = hone_augment_words(SEED, HONE_STREAM_VIEW, n, EPOCH, 1);
        hone_box got = hone_box_try(&a.crop, r, Hp, Wp);
        double want[4];
        bool fits = plain_box(r, area, ratio, Hp, Wp, want);
        bool half = fabs(want[2] - floor(want[2]) - 0.5) < 0.01 || fabs(want[3] - floor(want[3]) - 0.5) < 0.01;
        if (half) continue;
        assert_int_equal(got.found, fits);
        refused += !fits;
        if (!fits) continue;
        boxes++;
        assert_int_equal(got.height, (int)round(want[2]));
        assert_int_equal(got.width, (int)round(want[3]));
        assert_int_equal(got.top, (int)want[0]);
        assert_int_equal(got.left, (int)want[1]);
        share += (double)got.height * got.width / Hp / Wp;
    }
    assert_true(boxes > 1500 && refused > 100);
    assert_true(share / boxes > 0.35 && share / boxes < 0.54); /* below the mean 0.54 of all: large boxes are refused */
    /* no box fits a ribbon: the middle, as near to the ratio as can be */
    hone_box ribbon = hone_box_middle(&a.crop, 10, 1000);
    assert_true(ribbon.height == 10 && ribbon.width == 13 && ribbon.left == 493 && ribbon.top == 0);
    ribbon = hone_box_middle(&a.crop, 1000, 30);
    assert_true(ribbon.width == 30 && ribbon.height == 40 && ribbon.top == 480);
}

/* Quantiles with closed forms: alpha 1 is uniform, 1/2 the arc sine law, 2 a cubic. */
static void test_beta_quantiles(void **state)
{
    (void)state;
    int32_t table[HONE_MIX_TABLE];
    hone_mix_table(1, table);
    for (int k = 0; k < HONE_MIX_TABLE; k++) assert_int_equal(table[k], 32768 + 64 * k);
    hone_mix_table(0.5, table);
    for (int k = 0; k < HONE_MIX_TABLE; k++) {
        double root = sin(acos(-1) / 2 * (0.5 + k / 1024.0));
        assert_true(fabs(table[k] - 65536 * root * root) < 1);
    }
    hone_mix_table(2, table);
    for (int k = 0; k < HONE_MIX_TABLE; k++) {
        double q = table[k] / 65536.0;
        assert_true(fabs(q * q * (3 - 2 * q) - 0.5 - k / 1024.0) < 2e-5);
    }
    static const double odd[] = {0.1, 0.2, 0.3, 8, 100};
    for (size_t a = 0; a < sizeof odd / sizeof *odd; a++) { /* in order, from the middle to the end */
        hone_mix_table(odd[a], table);
        assert_int_equal(table[0], 32768);
        assert_int_equal(table[HONE_MIX_TABLE - 1], 65536);
        for (int k = 1; k < HONE_MIX_TABLE; k++) assert_true(table[k] >= table[k - 1]);
    }
    /* P(X <= 0.9) of Beta(0.2, 0.2) is 0.66836..: by Simpson's rule on x = t^5, which takes the pole away */
    double sum = 0, all = 0, end = pow(0.1, 0.2), half = pow(0.5, 0.2);
    enum { CUTS = 20000 };
    for (int k = 0; k <= CUTS; k++) {
        double weight = k == 0 || k == CUTS ? 1 : k % 2 ? 4 : 2, t = end * k / CUTS, s = half * k / CUTS;
        sum += weight * end * pow(1 - pow(t, 5), -0.8);
        all += weight * half * pow(1 - pow(s, 5), -0.8);
    }
    double chance = 1 - sum / all / 2; /* of at most 0.9: the other tail has as much */
    hone_mix_table(0.2, table);
    int k = (int)((chance - 0.5) * 1024);
    assert_true(table[k] <= 0.9 * 65536 && table[k + 1] >= 0.9 * 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_point),
        cmocka_unit_test(test_jitter_draws),
        cmocka_unit_test(test_hue_draws),
        cmocka_unit_test(test_magnitudes),
        cmocka_unit_test(test_boxes_are_torchvisions),
        cmocka_unit_test(test_beta_quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
