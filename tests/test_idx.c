/* test_idx.c - IDX files, plain and gzip: what opens, and what is refused with file and place.
 * rooms: data config io core
 * All sets are made here, in a folder that goes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "data/source.h"
#include "support/data_checks.h"

static void test_idx(void **state)
{
    const char *root = *state;
    scratch_idx(root, "train", 50, 5, 7, 5, 0);
    scratch_idx(root, "t10k", 10, 5, 7, 5, 1000);
    hone_config c = data_config(root);
    hone_data *d = opened(&c);
    assert_int_equal(d->classes, 5);
    assert_string_equal(d->class_name[4], "4");
    assert_true(d->height == 5 && d->width == 7 && d->channels == 1);
    assert_int_equal(hone_dataset_count(d->train), 45);
    assert_int_equal(hone_dataset_count(d->val), 5);
    assert_int_equal(hone_dataset_count(d->test), 10);
    load(d->train, 2);
    load(d->val, 2);
    load(d->test, 2);
    char text[64];
    for (int64_t i = 0; i < 45; i++) { /* the source says which image it is: its pixels and label must agree */
        int id = atoi(strchr(hone_dataset_source(d->train, i, text, sizeof text), '#') + 1);
        assert_int_equal(hone_dataset_labels(d->train)[i], id % 5);
        for (int k = 0; k < 35; k++) assert_int_equal(hone_dataset_pixels(d->train)[i * 35 + k], test_pixel(id, k));
    }
    for (int k = 0; k < 35; k++) assert_int_equal(hone_dataset_pixels(d->test)[9 * 35 + k], test_pixel(1009, k));
    assert_string_equal(hone_dataset_source(d->test, 9, text, sizeof text), "t10k-images-idx3-ubyte#9");
    assert_int_equal(hone_dataset_skipped(d->train, NULL), 0);
    hone_data_free(d);
}

/* gzip, either file alone too; names; the fingerprint sees content and not spelling. */
static void test_idx_gzip_and_names(void **state)
{
    const char *root = *state;
    scratch_idx(root, "train", 40, 4, 4, 2, 0);
    hone_config c = data_config(root);
    hone_data *plain = opened(&c);
    uint8_t *data;
    size_t count;
    assert_int_equal(hone_bytes_read(scratch_path(root, "train-images-idx3-ubyte"), 1 << 20, &data, &count), HONE_OK);
    scratch_gzip(root, "train-images-idx3-ubyte.gz", (bytes){data, count, 0});
    unlink(scratch_path(root, "train-images-idx3-ubyte"));
    hone_data *zipped = opened(&c);
    assert_true(plain->fingerprint == zipped->fingerprint);
    data[count - 1] ^= 1;
    scratch_write(root, "train-images-idx3-ubyte", data, count);
    free(data);
    hone_data *changed = opened(&c);
    assert_true(plain->fingerprint != changed->fingerprint); /* D14 */
    scratch_text(root, "labels.txt",
                 "\xEF\xBB\xBF"
                 "shirt\r\nankle boot\r\n\n");
    hone_data *named = opened(&c);
    assert_int_equal(named->classes, 2);
    assert_string_equal(named->class_name[0], "shirt");
    assert_string_equal(named->class_name[1], "ankle boot");
    hone_data_free(plain);
    hone_data_free(zipped);
    hone_data_free(changed);
    hone_data_free(named);
    c.data.train = (char *)scratch_path(root, "train-images-idx3-ubyte.gz"); /* a file by name */
    c.data.path = NULL;
    hone_data *by_file = opened(&c);
    assert_int_equal(by_file->classes, 2);
    hone_data_free(by_file);
    scratch_text(root, "labels.txt", "a\na\n");
    refused(root, "two classes are called \"a\"", "train-images");
    scratch_text(root, "labels.txt", "a\n\nb\n");
    refused(root, "empty", "train-images");
    scratch_text(root, "labels.txt", "a\n");
    refused(root, "label 1 is out of range", "train-labels-idx1-ubyte#1");
}

/* Writes IDX images with a header of its own making. */
static void images(const char *root, uint32_t magic, int rank, const uint32_t *dim, size_t data_bytes)
{
    bytes b = idx_header(rank, dim);
    b.data[0] = (uint8_t)(magic >> 24);
    b.data[1] = (uint8_t)(magic >> 16);
    b.data[2] = (uint8_t)(magic >> 8);
    b.data[3] = (uint8_t)magic;
    for (size_t i = 0; i < data_bytes; i++) bytes_u8(&b, (unsigned)i);
    scratch_write(root, "train-images-idx3-ubyte", b.data, b.count);
    free(b.data);
}

static void test_idx_refusals(void **state) /* D1 to D7, D12 */
{
    const char *root = *state, *file = "train-images-idx3-ubyte", *labels = "train-labels-idx1-ubyte";
    scratch_idx(root, "train", 6, 2, 2, 3, 0);
    uint32_t good[3] = {6, 2, 2};
    images(root, 0x803, 3, good, 24);
    hone_config c = data_config(root);
    hone_data_free(opened(&c)); /* the fixture itself is fine */
    images(root, 0x12345678, 3, good, 24);
    refused(root, "not an IDX file", file);
    images(root, 0x03080000, 3, good, 24);
    refused(root, "swapped", file);
    images(root, 0xD03, 3, good, 24);
    refused(root, "0x0D", file);
    images(root, 0x8FF, 3, good, 24);
    refused(root, "255 dimensions", file);
    images(root, 0x802, 2, (uint32_t[]){6, 4}, 24);
    refused(root, "2 dimension(s)", file);
    images(root, 0x803, 3, (uint32_t[]){6, 0, 2}, 24);
    refused(root, "dimension 1 is 0", file);
    images(root, 0x803, 3, (uint32_t[]){65536, 65536, 1}, 24); /* 2^32 */
    refused(root, "more than the file can hold", file);
    images(root, 0x803, 3, (uint32_t[]){0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, 24); /* past 2^64 */
    refused(root, "more than the file can hold", file);
    images(root, 0x803, 3, good, 23);
    refused(root, "cut", file);
    images(root, 0x803, 3, good, 25);
    refused(root, "longer", file);
    scratch_text(root, file, "");
    refused(root, "too short", file);
    scratch_write(root, file, "\0\0\x08\x03\0\0", 6);
    refused(root, "cut in its header", file);
    images(root, 0x803, 3, (uint32_t[]){7, 2, 2}, 28); /* D5 */
    refused(root, "7 images", labels);
    images(root, 0x803, 3, good, 24);
    unlink(scratch_path(root, labels));
    refused(root, "No such file", labels);
    scratch_idx(root, "train", 6, 2, 2, 3, 0);
    scratch_idx(root, "t10k", 6, 2, 2, 4, 0); /* D6: class 3 is not in train */
    refused(root, "class \"3\" is in test", "t10k-images-idx3-ubyte#3");
}

static void test_idx_broken_gzip(void **state)
{
    const char *root = *state, *file = "train-images-idx3-ubyte.gz";
    scratch_idx(root, "train", 200, 8, 8, 2, 0);
    uint8_t *data;
    size_t count;
    assert_int_equal(hone_bytes_read(scratch_path(root, "train-images-idx3-ubyte"), 1 << 20, &data, &count), HONE_OK);
    scratch_gzip(root, file, (bytes){data, count, 0});
    free(data);
    unlink(scratch_path(root, "train-images-idx3-ubyte"));
    hone_config c = data_config(root);
    hone_data_free(opened(&c));
    assert_int_equal(hone_bytes_read(scratch_path(root, file), 1 << 20, &data, &count), HONE_OK);
    for (size_t n = 2; n < count; n += 1 + count / 50) { /* cut anywhere */
        scratch_write(root, file, data, n);
        refused(root, "", file);
    }
    for (size_t n = 1; n <= 8; n++) { /* in the trailer: all data is there, its sum is not */
        scratch_write(root, file, data, count - n);
        refused(root, "", file);
    }
    data[count - 6] ^= 1; /* CRC-32 */
    scratch_write(root, file, data, count);
    refused(root, "", file);
    data[count - 6] ^= 1;
    data[count / 2] ^= 0x10;
    scratch_write(root, file, data, count);
    refused(root, "", file);
    free(data);
    bytes bomb = idx_header(3, (uint32_t[]){4000000000u, 4000000000u, 1}); /* declares 16 exabytes in 50 bytes */
    scratch_gzip(root, file, bomb);
    free(bomb.data);
    refused(root, "more than the file can hold", file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_idx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idx_gzip_and_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idx_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idx_broken_gzip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
