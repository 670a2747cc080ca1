/* test_augment.c - augmentation beside plain references: each step drawn from its definition and computed again here,
 * in doubles and without a line of the kernels; colours beside Pillow's bytes (tests/golden/augment.txt).
 * rooms: train data model config io kernels core
 *
 * What is drawn stands in test_augment_draws.c; that the dialects agree to the bit is the case list's business
 * (tests/cases.def); that runs do not depend on threads, streams and stops stands in test_augment_run.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/hone.h"
#include "hone/backend.h"
#include "train/augment.h"

enum { H = 19, W = 23, PATTERNS = 4, SAMPLES = 400 };
static const uint64_t SEED = 77;
static const int32_t EPOCH = 3;

/* --- running one op on the CPU dialect ---------------------------------------------------------------------------- */
/* Tensors of one launch; the step block is made here. */
typedef struct call {
    hone_op op;
    hone_augment_attr attr;
    hone_tensor in[HONE_MAX_IN], out[HONE_MAX_OUT];
    void *in_data[HONE_MAX_IN], *out_data[HONE_MAX_OUT];
} call;

static hone_tensor tensor(hone_dtype dtype, int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (hone_tensor){.dtype = dtype, .role = HONE_ROLE_ACT, .rank = rank, .dim = {a, b, c, d}};
}

static void launch(call *c)
{
    hone_backend *b;
    if (hone_backend_open("cpu", 2, &b) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_tensor all[HONE_MAX_IN + HONE_MAX_OUT];
    hone_node n = {.op = c->op, .attr = {.augment = c->attr}};
    hone_launch l = {.node = &n};
    for (int k = 0; k < HONE_MAX_IN + HONE_MAX_OUT; k++) {
        bool in = k < HONE_MAX_IN;
        int i = in ? k : k - HONE_MAX_IN;
        all[k] = in ? c->in[i] : c->out[i];
        if (in) l.in_desc[i] = &c->in[i], l.in[i] = c->in_data[i], n.in[i] = k;
        else l.out_desc[i] = &c->out[i], l.out[i] = c->out_data[i], n.out[i] = k;
    }
    hone_graph g = {.tensor = all, .tensor_count = HONE_MAX_IN + HONE_MAX_OUT, .node = &n, .node_count = 1};
    if (b->kernel[c->op].prepare) assert_int_equal(b->kernel[c->op].prepare(b, &g, &n), HONE_OK);
    l.work = malloc(n.work_bytes + 64);
    b->kernel[c->op].launch(b, &l);
    free(l.work);
    hone_backend_close(b);
}

static hone_step step_block(void) { return (hone_step){.seed = SEED, .epoch = EPOCH}; }

static void count_up(int32_t *v, int count)
{
    for (int k = 0; k < count; k++) v[k] = k;
}

/* Picture k of make_augment.py. */
static void pattern(int k, int C, uint8_t *to)
{
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w++)
            for (int c = 0; c < C; c++) {
                int v = (h * 5 + w * 3 + c * 40 + h * w * (k + 1) % 37 * 2 + k * 20) % 256;
                *to++ = (uint8_t)(k == 0 ? v : k == 1 ? 60 + v % 120 : k == 2 ? 77 : v % 3 == 0 ? 10 : 200);
            }
}

/* `count` pictures, patterns in turn, through image_adjust; x and y (count, H, W, C) are the caller's. */
static void adjust(hone_augment_attr attr, int count, int C, uint8_t *x, uint8_t *y)
{
    static int32_t sample[SAMPLES];
    hone_step step = step_block();
    count_up(sample, count);
    for (int n = 0; n < count; n++) pattern(n % PATTERNS, C, x + n * H * W * C);
    call c = {.op = HONE_OP_image_adjust, .attr = attr};
    c.in[0] = c.out[0] = tensor(HONE_U8, 4, count, H, W, C);
    c.in[1] = tensor(HONE_I32, 1, count, 0, 0, 0);
    c.in_data[0] = x;
    c.in_data[1] = sample;
    c.in_data[2] = &step;
    c.out_data[0] = y;
    launch(&c);
}

/* --- colours: Pillow ------------------------------------------------------------------------------------------------ */
static const char *const step_name[HONE_ADJUST_COUNT] = {
    "none",         "brightness", "contrast", "saturation", "sharpness", "posterize", "solarize",
    "autocontrast", "equalize",   "shear x",  "shear y",    "shift x",   "shift y",   "rotate"};

static uint64_t fnv(const uint8_t *data, size_t bytes)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t k = 0; k < bytes; k++) h = (h ^ data[k]) * 0x100000001B3u;
    return h;
}

/* Pillow's hash of a step; false where the file has no such line. */
static bool golden(const char *name, int value, int pattern_number, int C, uint64_t *hash)
{
    char line[200], step[32];
    int v, k, channels;
    unsigned long long h;
    bool found = false;
    FILE *f = fopen(HONE_TESTS_DIR "/golden/augment.txt", "r");
    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%31s %d %d %d %llx", step, &v, &k, &channels, &h) != 5) continue;
        found = strcmp(step, name) == 0 && v == value && k == pattern_number && channels == C;
    }
    fclose(f);
    *hash = found ? h : 0;
    return found;
}

/* Every drawn colour step of many samples has Pillow's bytes, and every step is drawn. */
static void test_colours_are_pillows(void **state)
{
    (void)state;
    static uint8_t x[SAMPLES * H * W * 3], y[SAMPLES * H * W * 3];
    hone_augment_attr attr = {.rand_count = 1, .rand_magnitude = 25};
    for (int C = 1; C <= 3; C += 2) {
        int seen[HONE_ADJUST_COUNT] = {0};
        size_t bytes = (size_t)(H * W * C);
        adjust(attr, SAMPLES, C, x, y);
        for (int n = 0; n < SAMPLES; n++) {
            hone_adjust_step s;
            uint64_t want;
            hone_rand_draw(&attr, SEED, n, EPOCH, H, W, &s);
            seen[s.kind]++;
            if (s.kind == HONE_ADJUST_NONE) assert_memory_equal(x + n * H * W * C, y + n * H * W * C, bytes);
            if (s.kind == HONE_ADJUST_NONE || hone_adjust_moves(s.kind)) continue;
            if (!golden(step_name[s.kind], s.value, n % PATTERNS, C, &want))
                fail_msg("%s %d: no line of Pillow's", step_name[s.kind], s.value);
            if (fnv(y + n * H * W * C, bytes) != want)
                fail_msg("sample %d, %d channels: %s %d is not Pillow's", n, C, step_name[s.kind], s.value);
            y[n * H * W * C + 5] ^= 1; /* the planted fault: one bit */
            assert_true(fnv(y + n * H * W * C, bytes) != want);
        }
        for (int k = 0; k < HONE_ADJUST_COUNT; k++) assert_in_range(seen[k], SAMPLES / 14 / 3, SAMPLES / 14 * 3);
    }
}

/* Single pixels beside torchvision, within 2 of 255 (its floats are cut, not rounded); and a planted fault, another turn. */
static void test_hue(void **state)
{
    (void)state;
    int v[7], lines = 0, worst = 0, wrong = 0;
    FILE *f = fopen(HONE_TESTS_DIR "/golden/hue.txt", "r");
    assert_non_null(f);
    while (fscanf(f, "%d %d %d %d %d %d %d", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6) == 7) {
        uint8_t pixel[3] = {(uint8_t)v[0], (uint8_t)v[1], (uint8_t)v[2]}, out[3], other[3];
        hone_hue(pixel, 3, v[3], out);
        hone_hue(pixel, 3, v[3] + 3277, other);
        hone_hue(pixel, 3, v[3], pixel); /* in place */
        assert_memory_equal(pixel, out, 3);
        int far = 0;
        for (int c = 0; c < 3; c++) {
            if (abs(out[c] - v[4 + c]) > worst) worst = abs(out[c] - v[4 + c]);
            if (abs(other[c] - v[4 + c]) > far) far = abs(other[c] - v[4 + c]);
        }
        wrong += far > 2;
        lines++;
    }
    fclose(f);
    assert_true(lines > 2000 && worst <= 2);
    assert_true(wrong > lines / 2);
}

/* The step is done where it is drawn: pictures come out as their pixels one by one. */
static void test_hue_step(void **state)
{
    (void)state;
    static uint8_t x[SAMPLES * H * W * 3], y[SAMPLES * H * W * 3];
    hone_augment_attr attr = {.jitter = {0, 0, 0, 32768}};
    int changed = 0;
    for (int C = 1; C <= 3; C += 2) {
        adjust(attr, SAMPLES, C, x, y);
        for (int n = 0; n < SAMPLES; n++) {
            hone_adjust_step s;
            assert_int_equal(hone_jitter_draw(&attr, SEED, n, EPOCH, &s), 1);
            assert_int_equal(s.kind, HONE_ADJUST_HUE);
            for (int i = n * H * W * C; i < (n + 1) * H * W * C; i += C) {
                uint8_t want[3];
                hone_hue(x + i, C, s.value, want);
                assert_memory_equal(y + i, want, (size_t)C);
                changed += memcmp(x + i, want, (size_t)C) != 0;
            }
        }
    }
    assert_true(changed > SAMPLES * H * W / 3);
}

/* --- geometry: doubles ------------------------------------------------------------------------------------------------ */
/* Bilinear, borders repeated, black outside: what augment.h promises, in doubles. source (Hs, Ws, C). */
static double sample_at(const uint8_t *source, int Hs, int Ws, int C, int c, double y, double x)
{
    if (y < -0.5 || y >= Hs - 0.5 || x < -0.5 || x >= Ws - 0.5) return 0;
    double fy = y - floor(y), fx = x - floor(x), sum = 0;
    for (int k = 0; k < 4; k++) {
        int h = (int)floor(y) + k / 2, w = (int)floor(x) + k % 2;
        h = h < 0 ? 0 : h >= Hs ? Hs - 1 : h;
        w = w < 0 ? 0 : w >= Ws ? Ws - 1 : w;
        sum += (k / 2 ? fy : 1 - fy) * (k % 2 ? fx : 1 - fx) * source[(h * Ws + w) * C + c];
    }
    return sum;
}

/* A point within this of the picture's border may fall on either side of it in fixed point. */
static bool at_border(int Hs, int Ws, double y, double x)
{
    const double near = 1e-3;
    return fabs(y + 0.5) < near || fabs(y - Hs + 0.5) < near || fabs(x + 0.5) < near || fabs(x - Ws + 0.5) < near;
}

/* Where output pixel (h, w) looks: a plain function of the draw, by the test that knows it. */
typedef void place_fn(const void *draw, double h, double w, double *y, double *x);

/* Largest difference of a picture from the reference; pixels at the border of the source are left out. `points`: 1, or 4
 * that lie a quarter of a pixel beside the middle, whose mean counts. */
static double worst_pixel(const uint8_t *got, int h_count, int w_count, const uint8_t *source, int Hs, int Ws, int C,
                          place_fn *place, const void *draw, int points)
{
    double worst = 0, y, x, off = points == 4 ? 0.25 : 0;
    for (int h = 0; h < h_count; h++)
        for (int w = 0; w < w_count; w++)
            for (int c = 0; c < C; c++) {
                double sum = 0;
                bool border = false;
                for (int k = 0; k < points; k++) {
                    place(draw, h + (k & 2 ? off : -off), w + (k & 1 ? off : -off), &y, &x);
                    border |= at_border(Hs, Ws, y, x);
                    sum += sample_at(source, Hs, Ws, C, c, y, x);
                }
                double d = fabs(sum / points - got[(h * w_count + w) * C + c]);
                if (!border && d > worst) worst = d;
            }
    return worst;
}

static void place_step(const void *draw, double h, double w, double *y, double *x)
{
    const hone_adjust_step *s = draw;
    double u = w - (W - 1) / 2.0, v = h - (H - 1) / 2.0, slope = s->value / 65536.0, turn = slope * acos(-1) / 180;
    *x = w;
    *y = h;
    if (s->kind == HONE_ADJUST_SHEAR_X) *x += slope * v;
    if (s->kind == HONE_ADJUST_SHEAR_Y) *y += slope * u;
    if (s->kind == HONE_ADJUST_SHIFT_X) *x -= s->value;
    if (s->kind == HONE_ADJUST_SHIFT_Y) *y -= s->value;
    if (s->kind != HONE_ADJUST_ROTATE) return;
    *x = (W - 1) / 2.0 + cos(turn) * u - sin(turn) * v;
    *y = (H - 1) / 2.0 + sin(turn) * u + cos(turn) * v;
}

/* Weights of 1/256 and one rounding: two levels of 255. */
static void test_randaugment_moves(void **state)
{
    (void)state;
    static uint8_t x[SAMPLES * H * W * 3], y[SAMPLES * H * W * 3];
    int moved = 0;
    for (int m = 0; m <= 30; m += 10) {
        hone_augment_attr attr = {.rand_count = 1, .rand_magnitude = m};
        adjust(attr, SAMPLES, 3, x, y);
        for (int n = 0; n < SAMPLES; n++) {
            hone_adjust_step s;
            hone_rand_draw(&attr, SEED, n, EPOCH, H, W, &s);
            if (!hone_adjust_moves(s.kind)) continue;
            const uint8_t *from = x + n * H * W * 3, *got = y + n * H * W * 3;
            double worst = worst_pixel(got, H, W, from, H, W, 3, place_step, &s, 1);
            if (worst > 2) fail_msg("magnitude %d: %s %d differs by %g", m, step_name[s.kind], s.value, worst);
            moved += m > 0;
            /* the planted fault: another turn; patterns 2 and 3 are too even to show it */
            s.value += s.kind == HONE_ADJUST_SHIFT_X || s.kind == HONE_ADJUST_SHIFT_Y ? 1 : 6553;
            if (n % PATTERNS < 2) assert_true(worst_pixel(got, H, W, from, H, W, 3, place_step, &s, 1) > 2);
        }
    }
    assert_true(moved > 200);
}

/* --- resized crop, rotation, flip --------------------------------------------------------------------------------------- */
typedef struct view_draw { /* all of it in doubles */
    double top, left, height, width, degrees;
    bool mirror;
    int h_out, w_out;
} view_draw;

static void place_view(const void *draw, double h, double w, double *y, double *x)
{
    const view_draw *d = draw;
    double u = w + 0.5 - d->w_out / 2.0, v = h + 0.5 - d->h_out / 2.0, turn = d->degrees * acos(-1) / 180;
    if (d->mirror) u = -u;
    *x = d->left + d->width / 2 + (cos(turn) * u - sin(turn) * v) * d->width / d->w_out - 0.5;
    *y = d->top + d->height / 2 + (sin(turn) * u + cos(turn) * v) * d->height / d->h_out - 0.5;
}

/* What is drawn for a sample, read from Philox here and not by hone_view_draw. */
static view_draw plain_view(const hone_augment_attr *a, int n, int Hp, int Wp)
{
    hone_philox4 r = hone_philox(SEED, HONE_STREAM_AUGMENT, (uint64_t)n, (uint64_t)EPOCH);
    view_draw d = {.mirror = (r.v[2] >> 8) / 16777216.0 < (double)a->flip, .h_out = a->height, .w_out = a->width};
    int span = 2 * a->crop_pad + 1;
    d.top = (Hp - a->height) / 2 + (int)(r.v[0] % (unsigned)span) - a->crop_pad;
    d.left = (Wp - a->width) / 2 + (int)(r.v[1] % (unsigned)span) - a->crop_pad;
    d.height = a->height;
    d.width = a->width;
    if (a->crop.area[1] > 0) {
        hone_box box = hone_box_draw(&a->crop, SEED, HONE_STREAM_VIEW, n, EPOCH, Hp, Wp); /* proven above */
        if (!box.found) box = hone_box_middle(&a->crop, Hp, Wp);
        d.top = box.top, d.left = box.left, d.height = box.height, d.width = box.width;
    }
    double u = (hone_philox(SEED, HONE_STREAM_VIEW, (uint64_t)n, (uint64_t)EPOCH).v[0] >> 8) / 16777216.0;
    d.degrees = (2 * u - 1) * a->rotate / 65536.0;
    return d;
}

static void test_views(void **state)
{
    (void)state;
    static const hone_augment_attr attr[] = {
        {.height = H, .width = W, .flip = 0.5f, .crop_pad = 4},
        {.height = 16, .width = 29, .flip = 0.5f, .crop = {{1342177, 16777216}, {-27200, 27200}}},
        {.height = H, .width = W, .flip = 0.5f, .rotate = 180 << 16},
        {.height = 30, .width = 14, .flip = 0.5f, .crop = {{1342177, 16777216}, {-27200, 27200}}, .rotate = 30 << 16},
        /* kept larger than it comes out: the mean of four points */
        {.height = 8, .width = 9, .flip = 0.5f, .crop = {{5033165, 16777216}, {-27200, 27200}}},
    };
    enum { N = 60 };
    static uint8_t pool[PATTERNS * H * W * 3], y[N * 30 * 30 * 3];
    int32_t row[N], sample[N];
    hone_step step = step_block();
    for (int k = 0; k < PATTERNS; k++) pattern(k, 3, pool + k * H * W * 3);
    count_up(sample, N);
    for (int n = 0; n < N; n++) row[n] = n % PATTERNS;
    for (size_t k = 0; k < sizeof attr / sizeof *attr; k++) {
        call c = {.op = HONE_OP_image_view, .attr = attr[k]};
        int h = attr[k].height, w = attr[k].width, mirrored = 0, fours = 0;
        c.in[0] = tensor(HONE_U8, 4, PATTERNS, H, W, 3);
        c.in[1] = c.in[2] = tensor(HONE_I32, 1, N, 0, 0, 0);
        c.out[0] = tensor(HONE_U8, 4, N, h, w, 3);
        c.in_data[0] = pool, c.in_data[1] = row, c.in_data[2] = sample, c.in_data[3] = &step, c.out_data[0] = y;
        launch(&c);
        for (int n = 0; n < N; n++) {
            view_draw d = plain_view(&attr[k], n, H, W);
            const uint8_t *source = pool + row[n] * H * W * 3, *got = y + n * h * w * 3;
            int points = d.height > h || d.width > w ? 4 : 1;
            fours += points == 4;
            double worst = worst_pixel(got, h, w, source, H, W, 3, place_view, &d, points);
            if (worst > 2) fail_msg("setting %zu, sample %d differs by %g", k, n, worst);
            mirrored += d.mirror;
            d.mirror = !d.mirror; /* the planted fault */
            if (row[n] < 2) assert_true(worst_pixel(got, h, w, source, H, W, 3, place_view, &d, points) > 2);
        }
        assert_in_range(mirrored, N / 4, N * 3 / 4);
        assert_true(k == 0 || k == 2 ? fours == 0 : fours > N / 4);
    }
}

/* --- erasing, mixing -------------------------------------------------------------------------------------------------- */

/* Half of the pictures lose one rectangle of the right size; nothing else changes. */
static void test_erasing(void **state)
{
    (void)state;
    enum { N = 300, C = 3, SIDE = 24 };
    static float x[N * SIDE * SIDE * C], y[N * SIDE * SIDE * C];
    int32_t sample[N];
    hone_step step = step_block();
    hone_config config = {.task = HONE_TASK_IMAGE};
    config.augment.erase.probability = 0.5;
    memcpy(config.augment.erase.area, (double[]){0.02, 0.33}, 2 * sizeof(double));
    memcpy(config.augment.erase.ratio, (double[]){0.3, 3.3}, 2 * sizeof(double));
    call c = {.op = HONE_OP_image_erase, .attr = hone_augment_of(&config)};
    count_up(sample, N);
    for (int i = 0; i < N * SIDE * SIDE * C; i++) x[i] = 1 + (float)(i % 7);
    c.in[0] = c.out[0] = tensor(HONE_F32, 4, N, SIDE, SIDE, C);
    c.in[1] = tensor(HONE_I32, 1, N, 0, 0, 0);
    c.in_data[0] = x, c.in_data[1] = sample, c.in_data[2] = &step, c.out_data[0] = y;
    launch(&c);
    int erased = 0;
    for (int n = 0; n < N; n++) {
        int top = SIDE, bottom = -1, left = SIDE, right = -1, zeros = 0;
        for (int i = 0; i < SIDE * SIDE * C; i++) {
            float got = y[n * SIDE * SIDE * C + i];
            int h = i / C / SIDE, w = i / C % SIDE;
            assert_true(got == 0 || got == x[n * SIDE * SIDE * C + i]);
            if (got != 0) continue;
            zeros++;
            top = h < top ? h : top, bottom = h > bottom ? h : bottom;
            left = w < left ? w : left, right = w > right ? w : right;
        }
        if (zeros == 0) continue;
        erased++;
        int height = bottom - top + 1, width = right - left + 1;
        assert_int_equal(zeros, height * width * C); /* a whole rectangle */
        double area = (double)height * width / SIDE / SIDE, ratio = (double)width / height;
        assert_true(area > 0.01 && area < 0.37 && ratio > 0.2 && ratio < 5);
    }
    assert_in_range(erased, N / 2 - 45, N / 2 + 45); /* five standard deviations */
}

enum { MIXED = 200, SIDE = 12 };

/* One launch of image_mix over pictures of whole numbers; label n is n % 10. */
static void mix(hone_augment_attr attr, double alpha, const float *x, float *y, int32_t *other, float *share)
{
    static int32_t label[MIXED], sample[MIXED], table[2 * HONE_MIX_TABLE];
    hone_step step = step_block();
    count_up(sample, MIXED);
    for (int n = 0; n < MIXED; n++) label[n] = n % 10;
    hone_mix_table(alpha, table);
    hone_mix_table(alpha, table + HONE_MIX_TABLE);
    call c = {.op = HONE_OP_image_mix, .attr = attr};
    c.in[0] = c.out[0] = tensor(HONE_F32, 4, MIXED, SIDE, SIDE, 1);
    c.in[1] = c.in[2] = c.out[1] = tensor(HONE_I32, 1, MIXED, 0, 0, 0);
    c.out[2] = tensor(HONE_F32, 1, MIXED, 0, 0, 0);
    c.in[3] = tensor(HONE_I32, 1, 2 * HONE_MIX_TABLE, 0, 0, 0);
    c.in_data[0] = (void *)(uintptr_t)x, c.in_data[1] = label, c.in_data[2] = sample, c.in_data[3] = table;
    c.in_data[4] = &step, c.out_data[0] = y, c.out_data[1] = other, c.out_data[2] = share;
    launch(&c);
}

/* Each picture is its own share of itself and the rest of the next one; the shares are those of the law. */
static void test_mixup(void **state)
{
    (void)state;
    static float x[MIXED * SIDE * SIDE], y[MIXED * SIDE * SIDE], share[MIXED];
    int32_t other[MIXED], mixed = 0;
    double mean = 0;
    for (int i = 0; i < MIXED * SIDE * SIDE; i++) x[i] = (float)((i * 37) % 101) / 16 - 3;
    mix((hone_augment_attr){.mixup = 1, .mix = HONE_ONE_Q24 / 2}, 1, x, y, other, share);
    for (int n = 0; n < MIXED; n++) {
        int next = (n + 1) % MIXED;
        assert_int_equal(other[n], next % 10);
        assert_true(share[n] >= 0.5f && share[n] <= 1);
        for (int i = 0; i < SIDE * SIDE; i++) {
            double want = (double)share[n] * (double)x[n * SIDE * SIDE + i] +
                          (1 - (double)share[n]) * (double)x[next * SIDE * SIDE + i];
            assert_true(y[n * SIDE * SIDE + i] == (float)want); /* to the bit: a share has 16 bits, a product 40 */
        }
        mixed += share[n] < 1;
        mean += share[n] < 1 ? (double)share[n] : 0;
    }
    assert_in_range(mixed, MIXED / 2 - 35, MIXED / 2 + 35);
    assert_true(fabs(mean / mixed - 0.75) < 0.08); /* uniform on 1/2..1: standard error 0.015 */
}

/* A whole box of the next picture, whose area is what the share lacks; both kinds where both are asked for. */
static void test_cutmix(void **state)
{
    (void)state;
    static float x[MIXED * SIDE * SIDE], y[MIXED * SIDE * SIDE], share[MIXED];
    int32_t other[MIXED];
    int boxes = 0, blends = 0;
    for (int i = 0; i < MIXED * SIDE * SIDE; i++) x[i] = (float)(i / (SIDE * SIDE)); /* picture n is all n */
    mix((hone_augment_attr){.mixup = 1, .cutmix = 1, .mix = HONE_ONE_Q24}, 1, x, y, other, share);
    for (int n = 0; n < MIXED - 1; n++) { /* the last one's next is the first: no neighbour in value */
        int pasted = 0, own = 0, top = SIDE, bottom = -1, left = SIDE, right = -1;
        for (int i = 0; i < SIDE * SIDE; i++) {
            float v = y[n * SIDE * SIDE + i];
            own += v == (float)n;
            if (v != (float)(n + 1)) continue;
            pasted++;
            top = i / SIDE < top ? i / SIDE : top, bottom = i / SIDE > bottom ? i / SIDE : bottom;
            left = i % SIDE < left ? i % SIDE : left, right = i % SIDE > right ? i % SIDE : right;
        }
        if (own + pasted != SIDE * SIDE) {
            blends++;
            continue;
        }
        if (pasted == 0) continue; /* a share so near to 1 that no pixel is left */
        boxes++;
        assert_int_equal(pasted, (bottom - top + 1) * (right - left + 1));
        assert_true(share[n] == (float)((double)own / (SIDE * SIDE)));
        assert_true(share[n] >= 0.5f);
    }
    assert_in_range(boxes, 60, 130);
    assert_in_range(blends, 65, 135);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours_are_pillows),
        cmocka_unit_test(test_hue),
        cmocka_unit_test(test_hue_step),
        cmocka_unit_test(test_randaugment_moves),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_erasing),
        cmocka_unit_test(test_mixup),
        cmocka_unit_test(test_cutmix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
