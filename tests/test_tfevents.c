/* test_tfevents.c - TensorBoard's files: frames and checksums as its reader checks them, the messages field by field,
 * a resumed run's START, a disk that fails in the middle.
 * rooms: io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/tfevents.h"
#include "support/scratch.h"

static int make_folder(void **state)
{
    *state = strdup(scratch_make());
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    hone_fault_set(0, HONE_FAULT_NONE);
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* RFC 3720, appendix B.4, and the check value of the CRC catalogue. */
static void test_crc32c(void **state)
{
    uint8_t zeros[32] = {0}, ones[32];
    (void)state;
    memset(ones, 0xFF, sizeof ones);
    assert_int_equal(hone_crc32c("123456789", 9), 0xE3069283u);
    assert_int_equal(hone_crc32c(zeros, 32), 0x8A9136AAu);
    assert_int_equal(hone_crc32c(ones, 32), 0x62A8AB43u);
}

static uint64_t little(const uint8_t *p, int length)
{
    uint64_t v = 0;
    for (int k = length - 1; k >= 0; k--) v = v << 8 | p[k];
    return v;
}

static uint32_t unmask(uint32_t crc) { return (crc - 0xA282EAD8u) << 15 | (crc - 0xA282EAD8u) >> 17; }

/* The record at p: its data; *next is the one behind it, NULL at the end of the file. */
static const uint8_t *record(const uint8_t *p, const uint8_t *end, size_t *length, const uint8_t **next)
{
    assert_true(end - p >= 16);
    *length = (size_t)little(p, 8);
    assert_int_equal(unmask((uint32_t)little(p + 8, 4)), hone_crc32c(p, 8));
    assert_true((size_t)(end - p) >= 16 + *length);
    assert_int_equal(unmask((uint32_t)little(p + 12 + *length, 4)), hone_crc32c(p + 12, *length));
    *next = p + 16 + *length < end ? p + 16 + *length : NULL;
    return p + 12;
}

typedef struct field {
    int number, wire;
    uint64_t value;      /* varint, fixed   */
    const uint8_t *data; /* length-delimited */
    size_t length;
} field;

static uint64_t varint(const uint8_t **p)
{
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        v |= (uint64_t)(**p & 0x7F) << shift;
        if (!(*(*p)++ & 0x80)) return v;
    }
}

/* Fields of a message; returns how many. */
static int fields(const uint8_t *p, size_t length, field *out, int most)
{
    const uint8_t *end = p + length;
    int count = 0;
    while (p < end) {
        assert_true(count < most);
        uint64_t key = varint(&p);
        field f = {.number = (int)(key >> 3), .wire = (int)(key & 7)};
        int fixed = f.wire == 1 ? 8 : f.wire == 5 ? 4 : 0;
        if (f.wire == 0) f.value = varint(&p);
        if (fixed) f.value = little(p, fixed);
        if (f.wire == 2) {
            f.length = (size_t)varint(&p);
            f.data = p;
        }
        p += fixed ? (size_t)fixed : f.length;
        out[count++] = f;
    }
    assert_ptr_equal(p, end);
    return count;
}

/* The one file of the folder. */
static uint8_t *only_file(const char *dir, size_t *length)
{
    char pattern[4200], *data;
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/events.out.tfevents.*", dir);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_int_equal(hone_file_read(found.gl_pathv[0], 1 << 20, &data, length), HONE_OK);
    globfree(&found);
    return (uint8_t *)data;
}

static void test_messages(void **state)
{
    const hone_scalar scalar[] = {{"train/loss", 0.75}, {"train/lr", NAN}, {"train/accuracy", 0.5}};
    hone_tfevents f;
    size_t length, n;
    field e[8], s[8], v[8];
    assert_int_equal(hone_tfevents_open(&f, *state, 300), HONE_OK);
    assert_int_equal(hone_tfevents_add(&f, 350, scalar, 3), HONE_OK);
    hone_tfevents_close(&f);
    uint8_t *file = only_file(*state, &length);
    const uint8_t *next = file, *end = file + length, *data = record(next, end, &n, &next);
    assert_int_equal(fields(data, n, e, 8), 3);
    assert_int_equal(e[2].number, 3);
    assert_int_equal(e[2].length, 13);
    assert_memory_equal(e[2].data, "brain.Event:2", 13);
    data = record(next, end, &n, &next); /* START at the step where this start begins */
    assert_int_equal(fields(data, n, e, 8), 3);
    assert_int_equal(e[1].value, 300);
    assert_int_equal(e[2].number, 7);
    assert_int_equal(fields(e[2].data, e[2].length, s, 8), 1);
    assert_true(s[0].number == 1 && s[0].value == 1);
    data = record(next, end, &n, &next);
    assert_null(next);
    assert_int_equal(fields(data, n, e, 8), 3);
    double wall;
    memcpy(&wall, &e[0].value, sizeof wall);
    assert_true(e[0].number == 1 && e[0].wire == 1 && wall > 1.7e9 && wall < 1e11);
    assert_true(e[1].number == 2 && e[1].value == 350);
    assert_int_equal(e[2].number, 5);
    assert_int_equal(fields(e[2].data, e[2].length, s, 8), 2); /* the value that is not finite is left out */
    assert_int_equal(fields(s[1].data, s[1].length, v, 8), 2);
    assert_int_equal(v[0].length, strlen("train/accuracy"));
    assert_memory_equal(v[0].data, "train/accuracy", v[0].length);
    float simple;
    uint32_t bits = (uint32_t)v[1].value;
    memcpy(&simple, &bits, sizeof simple);
    assert_true(v[1].number == 2 && v[1].wire == 5 && simple == 0.5f);
    free(file);
}

/* Two starts within a second: neither takes the other's file. */
static void test_two_starts(void **state)
{
    hone_tfevents a, b;
    assert_int_equal(hone_tfevents_open(&a, *state, 0), HONE_OK);
    assert_int_equal(hone_tfevents_open(&b, *state, 0), HONE_OK);
    assert_string_not_equal(a.path, b.path);
    hone_tfevents_close(&a);
    hone_tfevents_close(&b);
    assert_int_equal(hone_tfevents_open(&a, "/nowhere/at/all", 0), HONE_ERR_RUNTIME);
    assert_int_equal(hone_tfevents_add(&a, 1, NULL, 0), HONE_OK); /* closed: nothing happens */
}

/* Whatever fails at whichever call, the file ends in a whole record. */
static void test_faults(void **state)
{
    static const hone_fault_mode modes[] = {HONE_FAULT_ENOSPC, HONE_FAULT_EIO, HONE_FAULT_SHORT, HONE_FAULT_EINTR};
    const hone_scalar scalar = {"val/loss", 1};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (int64_t k = 1; k <= 3; k++) {
            hone_tfevents f;
            size_t length, n, at = 0;
            assert_int_equal(hone_tfevents_open(&f, *state, 0), HONE_OK);
            char *path = strdup(f.path), *data;
            hone_fault_set(k, modes[m]);
            for (int j = 0; j < 4; j++)
                if (hone_tfevents_add(&f, j, &scalar, 1) != HONE_OK) hone_error_clear();
            hone_fault_set(0, HONE_FAULT_NONE);
            hone_tfevents_close(&f);
            assert_int_equal(hone_file_read(path, 1 << 20, &data, &length), HONE_OK);
            for (const uint8_t *p = (uint8_t *)data; p; at++) record(p, (uint8_t *)data + length, &n, &p);
            bool survives = modes[m] == HONE_FAULT_SHORT || modes[m] == HONE_FAULT_EINTR;
            assert_int_equal(at, survives ? 6 : 2 + (size_t)k - 1);
            free(data);
            free(path);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test_setup_teardown(test_messages, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_two_starts, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_faults, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
