/* test_report.c - report.html: whatever names, texts and files hold, the page is well-formed, loads nothing and runs
 * nothing; a spike survives the thinning of a curve; a thumbnail decodes to its pixels.
 * rooms: report data io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/data.h"
#include "io/file.h"
#include "report/report.h"
#include "support/scratch.h"

static const char evil[] = "</style><script>alert(1)</script>\"'&<img src=x onerror=y>\x01\xFF";

static int make_folder(void **state)
{
    *state = strdup(scratch_make());
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Elements that have no end tag. */
static bool is_void(const char *name, size_t n)
{
    static const char *const all[] = {"meta", "img", "br", "path", "line", "circle", "rect", "!DOCTYPE"};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (strlen(all[k]) == n && memcmp(all[k], name, n) == 0) return true;
    return false;
}

enum { DEPTH = 64 };

/* First place where tags do not nest, or NULL. */
static const char *unbalanced(const char *html)
{
    const char *open[DEPTH];
    size_t length[DEPTH];
    int depth = 0;
    for (const char *p = strchr(html, '<'); p; p = strchr(p + 1, '<')) {
        bool end = p[1] == '/';
        const char *name = p + 1 + end;
        size_t n = strcspn(name, " />\n");
        if (is_void(name, n)) continue;
        if (!end) {
            if (depth == DEPTH) return p;
            open[depth] = name;
            length[depth++] = n;
        } else if (depth == 0 || length[depth - 1] != n || memcmp(open[depth - 1], name, n) != 0) {
            return p;
        } else {
            depth--;
        }
    }
    return depth ? open[depth - 1] : NULL;
}

/* No script, no event handler, no address: the page is alone. */
static void assert_harmless(const char *html)
{
    static const char *const bad[] = {"<script", "onerror=y>", "http:",   "https:", "url(",
                                      "@import", "<link",      "<iframe", "src=x"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        const char *at = strstr(html, bad[k]);
        /* as text they may stand there, escaped: never inside or at the start of a tag */
        if (at && bad[k][0] == '<') fail_msg("%s in the page: %.60s", bad[k], at);
        if (at && strstr("http: https: url( @import", bad[k])) fail_msg("%s in the page: %.60s", bad[k], at);
    }
    for (const char *p = html; (p = strstr(p, "<img")); p++) assert_non_null(strstr(p, "src=\"data:image/png;base64,"));
    assert_null(unbalanced(html));
    for (const char *p = html; *p; p++) assert_true((unsigned char)*p >= 0x20 || *p == '\n');
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char *path = hone_io_join(dir, name);
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    free(path);
}

/* An evaluation of two classes, one of which has a hostile name. */
static char *evaluation(void)
{
    hone_text t = {0};
    hone_text_add(&t, "{\"n\":10,\"accuracy\":0.8,\"accuracy_95\":[0.5,0.95],\"f1_macro\":0.7,\"loss\":0.5,"
                      "\"calibration\":{\"ece\":0.1,\"bins\":[{\"n\":0,\"confidence\":0,\"accuracy\":0},"
                      "{\"n\":10,\"confidence\":0.7,\"accuracy\":0.8}]},\"per_class\":[{\"label\":");
    hone_text_json(&t, evil);
    hone_text_add(&t, ",\"precision\":1,\"recall\":0.5,\"f1\":0.6,\"support\":4},{\"label\":\"ham\",\"precision\":0.5,"
                      "\"recall\":1,\"f1\":0.6,\"support\":6}],\"confusion\":[[2,2],[0,6]]}");
    return hone_text_take(&t);
}

static const uint8_t grey[4 * 6] = {0,   50,  100, 150, 200, 250, 1, 2, 3, 4, 5, 6,
                                    255, 254, 253, 252, 251, 250, 9, 8, 7, 6, 5, 4};

static char *page_of(const char *dir, const char *figures)
{
    hone_report_sample worst[3] = {
        {.source = evil,
         .truth = "ham",
         .predicted = evil,
         .score = 0.99,
         .usual = 0.9,
         .loss = 5,
         .text = evil,
         .text_bytes = sizeof evil - 1},
        {.source = "a",
         .truth = evil,
         .predicted = "ham",
         .score = 0.6,
         .usual = 0.9,
         .loss = 1,
         .pixels = grey,
         .height = 4,
         .width = 6,
         .channels = 1},
        {.source = "b", .truth = "ham", .predicted = "ham", .score = 0.6, .loss = 0.5, .text = "fine", .text_bytes = 4},
    };
    hone_report_input in = {
        .run_dir = dir, .evaluation = figures, .split = evil, .layers = evil, .worst = worst, .worst_count = 3};
    char *html = NULL;
    assert_int_equal(hone_report_html(&in, &html), HONE_OK);
    return html;
}

/* Every string that a user can choose is hostile here. */
static void test_hostile_names(void **state)
{
    const char *dir = *state;
    char *figures = evaluation();
    hone_text run = {0};
    hone_text_add(&run, "{\"status\":");
    hone_text_json(&run, evil);
    hone_text_add(&run, ",\"command\":");
    hone_text_json(&run, evil);
    hone_text_add(&run, ",\"started\":");
    hone_text_json(&run, evil);
    hone_text_add(&run,
                  ",\"seconds\":4000,\"step\":1234567,\"steps_total\":1234567,\"train_samples\":10,\"device_text\":");
    hone_text_json(&run, evil);
    hone_text_add(&run, "}");
    write_file(dir, "run.json", run.data);
    write_file(dir, "resolved.yaml", evil);
    write_file(dir, "metrics.jsonl",
               "{\"split\":\"train\",\"step\":50,\"loss\":2,\"accuracy\":0.5,\"lr\":0.1,\"grad_norm\":null,\"samples_"
               "per_second\":9}\n"
               "{\"split\":\"train\",\"step\":100,\"loss\":null,\"accuracy\":0.6,\"lr\":0.1}\n"
               "{\"split\":\"val\",\"step\":100,\"loss\":1,\"accuracy\":0.6}\n{\"split\":\"tra");
    char *html = page_of(dir, figures);
    assert_harmless(html);
    assert_non_null(strstr(html, "1 h 6 min"));
    assert_non_null(strstr(html, "1,234,567"));
    assert_non_null(strstr(html, "Likely wrong labels"));
    assert_non_null(strstr(html, "Worst mistakes"));
    assert_null(strstr(html, "fine"));                                      /* a hit is no mistake */
    assert_non_null(strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;")); /* it is shown, as text */
    free(html);
    free(figures);
    hone_text_free(&run);
}

/* A run of which nothing is left has a page, too. */
static void test_missing_files(void **state)
{
    char *html = page_of(*state, NULL);
    assert_harmless(html);
    assert_null(strstr(html, "Confusion"));
    free(html);
    write_file(*state, "run.json", "{\"status\":");
    hone_report_input in = {.run_dir = *state};
    assert_int_equal(hone_report_html(&in, &html), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "run.json:1"));
}

/* The checker itself: a tag that stays open, one that closes another, a script. */
static void test_checker_sees(void **state)
{
    (void)state;
    assert_non_null(unbalanced("<p><b>x</p></b>"));
    assert_non_null(unbalanced("<div><p>x</p>"));
    assert_non_null(unbalanced("x</p>"));
    assert_null(unbalanced("<div><img src=\"\"><p>x<br>y</p></div>"));
}

/* 100,000 points in 280 columns: the one spike and the one gap must be there. */
static void test_thinning_keeps_spikes(void **state)
{
    (void)state;
    enum { N = 100000 };
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    for (int k = 0; k < N; k++) x[k] = k, y[k] = 1;
    y[54321] = 2;
    for (int k = 20000; k < 21000; k++) y[k] = NAN;
    hone_chart c = {.title = "loss", .unit = "", .mark = NAN, .curves = 1};
    c.curve[0] = (hone_curve){"train", 0, x, y, N};
    hone_text t = {0};
    hone_chart_svg(&t, &c);
    /* y runs from 0.95 to 2.05: the top tenth of the drawing is reached by the spike alone */
    const char *d = strstr(t.data, "d=\"M");
    double least = INFINITY, px, py;
    int moves = 0, used;
    char pen;
    assert_non_null(d);
    for (d += 3; sscanf(d, "%c%lf %lf%n", &pen, &px, &py, &used) == 3; d += used) {
        least = py < least ? py : least;
        moves += pen == 'M';
    }
    assert_true(least < 30);
    assert_int_equal(moves, 2); /* the gap is not bridged */
    assert_true(t.bytes < 40000);
    assert_null(unbalanced(t.data));
    hone_text_free(&t);
    free(x);
    free(y);
}

static void test_ticks(void **state)
{
    double tick[8];
    (void)state;
    int n = hone_chart_ticks(0, 1, 6, tick);
    assert_int_equal(n, 6);
    for (int k = 0; k < n; k++) assert_float_equal(tick[k], 0.2 * k, 1e-12);
    n = hone_chart_ticks(-3.1, 7.9, 8, tick);
    assert_int_equal(n, 5); /* -2, 0, 2, 4, 6 */
    assert_float_equal(tick[0], -2, 0);
    assert_int_equal(hone_chart_ticks(1, 1, 6, tick), 0);
    assert_int_equal(hone_chart_ticks(0, INFINITY, 6, tick), 0);
}

/* A preview with hostile names everywhere; its pictures are all there. */
static void test_preview_is_harmless(void **state)
{
    (void)state;
    const char *const source[] = {evil, "b.png"}, *const label[] = {evil, evil, "b", evil};
    hone_preview p = {.title = evil, .settings = evil, .rows = 2, .columns = 2, .height = 3, .width = 2, .channels = 1};
    p.pixels = grey;
    p.source = source;
    p.label = label;
    char *html;
    int pictures = 0;
    assert_int_equal(hone_preview_html(&p, &html), HONE_OK);
    assert_harmless(html);
    for (const char *at = html; (at = strstr(at, "<img")); at++) pictures++;
    assert_int_equal(pictures, 4);
    assert_non_null(strstr(html, "&lt;script&gt;"));
    free(html);
}

/* RFC 4648, section 10. */
static void test_base64(void **state)
{
    static const char *const pair[][2] = {{"f", "Zg=="},        {"fo", "Zm8="},        {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t k = 0; k < sizeof pair / sizeof *pair; k++) {
        hone_text t = {0};
        hone_base64(&t, pair[k][0], strlen(pair[k][0]));
        assert_string_equal(t.data, pair[k][1]);
        hone_text_free(&t);
    }
}

static int digit(char c)
{
    const char *all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", *at = strchr(all, c);
    return c && at ? (int)(at - all) : -1;
}

/* The picture inside the <img> through our own PNG reader, which checks every CRC. */
static void assert_picture(const hone_report_sample *s, const uint8_t *expected)
{
    hone_text t = {0};
    uint8_t file[4096], out[512];
    size_t count = 0, bits = 0;
    uint32_t window = 0;
    assert_true(hone_thumb(&t, s));
    for (const char *p = strstr(t.data, "base64,") + 7; digit(*p) >= 0; p++) {
        window = window << 6 | (uint32_t)digit(*p);
        for (bits += 6; bits >= 8; bits -= 8) file[count++] = (uint8_t)(window >> (bits - 8));
    }
    hone_preprocess pre = {.height = s->height, .width = s->width, .channels = s->channels};
    assert_int_equal(hone_image_bytes("thumb.png", file, count, &pre, out), HONE_OK);
    assert_memory_equal(out, expected, (size_t)(s->height * s->width * s->channels));
    hone_text_free(&t);
}

static void test_thumb(void **state)
{
    (void)state;
    hone_report_sample s = {.pixels = grey, .height = 4, .width = 6, .channels = 1};
    assert_picture(&s, grey);
    s = (hone_report_sample){.pixels = grey, .height = 4, .width = 2, .channels = 3};
    assert_picture(&s, grey);
    hone_text t = {0};
    assert_false(hone_thumb(&t, &(hone_report_sample){.text = "x"}));
    /* 300 x 20 becomes 60 x 4 by boxes of 5 */
    uint8_t *large = malloc(300 * 20);
    memset(large, 77, 300 * 20);
    assert_true(hone_thumb(&t, &(hone_report_sample){.pixels = large, .height = 20, .width = 300, .channels = 1}));
    assert_non_null(strstr(t.data, "width=\"60\" height=\"4\""));
    free(large);
    hone_text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hostile_names, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_missing_files, make_folder, remove_folder),
        cmocka_unit_test(test_checker_sees),
        cmocka_unit_test(test_thinning_keeps_spikes),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_preview_is_harmless),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_thumb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
