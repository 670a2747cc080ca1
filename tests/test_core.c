/* test_core.c - status, text, layouts, Philox, the parallel loop.
 * rooms: core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/text.h"
#include "core/thread.h"
#include "hone/hone.h"

/* Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors): counter, key, result. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    static const uint32_t kat[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int k = 0; k < 3; k++) {
        const uint32_t *v = kat[k];
        uint64_t seed = v[4] | (uint64_t)v[5] << 32; /* stream 0 leaves the key as it is */
        hone_philox4 r = hone_philox(seed, 0, v[0] | (uint64_t)v[1] << 32, v[2] | (uint64_t)v[3] << 32);
        for (int i = 0; i < 4; i++) assert_int_equal(r.v[i], v[6 + i]);
    }
    assert_true(hone_uniform(0xffffffffu) < 1.0f && hone_uniform(0) == 0.0f);
}

static void test_dropout_rate(void **state)
{
    (void)state;
    int kept = 0, same = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        int k = hone_dropout_keep(7, HONE_STREAM_DROPOUT, 3, i, 0.3f);
        kept += k;
        same += k == hone_dropout_keep(7, HONE_STREAM_DROPOUT, 4, i, 0.3f);
    }
    assert_in_range(kept, 69500, 70500); /* 70000 +- 3.4 sigma */
    assert_in_range(same, 57400, 58600); /* another step draws another mask: 0.7^2 + 0.3^2 = 58 % agree by chance */
}

static void test_layout_round_trip(void **state)
{
    (void)state;
    hone_tensor conv = {.dtype = HONE_F32, .layout = HONE_LAYOUT_CONV, .rank = 4, .dim = {2, 3, 5, 7}};
    hone_tensor flat = {.dtype = HONE_F32, .layout = HONE_LAYOUT_FLATTEN, .rank = 2, .dim = {2, 105}, .hwc = {3, 5, 7}};
    float file[210], memory[210], back[210];
    for (int i = 0; i < 210; i++) file[i] = (float)i;
    for (int k = 0; k < 2; k++) {
        const hone_tensor *t = k ? &flat : &conv;
        hone_layout_from_file(t, file, memory);
        /* file (o, c, h, w) is memory (o, h, w, c): o = 1, c = 4, h = 2, w = 3 */
        assert_true(memory[((1 * 3 + 2) * 5 + 3) * 7 + 4] == file[((1 * 7 + 4) * 3 + 2) * 5 + 3]);
        hone_layout_to_file(t, memory, back);
        assert_memory_equal(file, back, sizeof file);
    }
    int32_t rank;
    int64_t dim[HONE_MAX_RANK];
    hone_layout_file_shape(&conv, &rank, dim);
    assert_true(rank == 4 && dim[0] == 2 && dim[1] == 7 && dim[2] == 3 && dim[3] == 5);
}

static void test_errors_carry_context(void **state)
{
    (void)state;
    hone_status s = hone_fail(HONE_ERR_DATA, "do this", "file %s is cut", "x.gz");
    hone_error_context("data set %d", 3);
    assert_int_equal(s, HONE_ERR_DATA);
    assert_string_equal(hone_error_message(), "data set 3: file x.gz is cut");
    assert_string_equal(hone_error_hint(), "do this");
    assert_non_null(strstr(hone_error_where(), "test_core.c:"));
    hone_error_clear();
    assert_string_equal(hone_error_message(), "");
}

static void test_json_text_survives_bad_utf8(void **state)
{
    (void)state;
    hone_text t = {0};
    hone_text_json(&t, "a\"\\\n\x01 \xC0\x80 \xED\xA0\x80 \xE2\x82\xAC \xF4\x90\x80\x80");
    char *s = hone_text_take(&t);
    assert_string_equal(s, "\"a\\\"\\\\\\u000a\\u0001 \xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD "
                           "\xE2\x82\xAC \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    free(s);
}

static hone_status count_or_fail(void *arg, int64_t i)
{
    atomic_int *seen = arg;
    if (i == 77) return hone_fail(HONE_ERR_RUNTIME, "", "item %d", (int)i);
    atomic_fetch_add(&seen[i], 1);
    return HONE_OK;
}

static void test_parallel_for(void **state)
{
    (void)state;
    atomic_int seen[100] = {0};
    assert_int_equal(hone_parallel_for(4, 77, count_or_fail, seen), HONE_OK);
    for (int i = 0; i < 77; i++) assert_int_equal(atomic_load(&seen[i]), 1);
    assert_int_equal(hone_parallel_for(4, 100, count_or_fail, seen), HONE_ERR_RUNTIME);
    assert_string_equal(hone_error_message(), "item 77"); /* a worker's error reaches the caller's thread */
    assert_true(hone_cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),        cmocka_unit_test(test_dropout_rate),
        cmocka_unit_test(test_layout_round_trip),           cmocka_unit_test(test_errors_carry_context),
        cmocka_unit_test(test_json_text_survives_bad_utf8), cmocka_unit_test(test_parallel_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
