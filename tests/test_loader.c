/* test_loader.c - loading and batches: the same for any number of threads, any place, any interruption.
 * rooms: data config io core
 * A memory limit of 1 MB makes a set a stream; its batches are held against the resident ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "support/data_config.h"
#include "support/scratch.h"

enum { H = 40, W = 50, SAMPLE = H * W * 3, PER_CLASS = 60 };

/* Two classes of PNGs; 120 x 6000 bytes = 0.7 MB, so that 1 MB holds them and a limit below does not. */
static int setup(void **state)
{
    char *root = strdup(scratch_make());
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < PER_CLASS; i++) {
            char name[64];
            snprintf(name, sizeof name, "train/%s/%03d.png", k ? "dogs" : "cats", i);
            scratch_png(root, name, k * 1000 + i, 10 + i % 7, 12 + i % 5, 3);
        }
    *state = root;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Opens at H x W, no validation split. `stream`: samples are so large that the limit of 1 MB is passed. */
static hone_data *open_at(const char *root, bool stream, hone_on_error on_error)
{
    hone_config c = data_config(root);
    c.data.val_fraction = 0;
    c.data.on_error = on_error;
    c.data.memory_limit_mb = stream ? 1 : 64;
    hone_data *d = NULL;
    hone_image_spec spec = {.height = stream ? 2 * H : H, .width = stream ? 2 * W : W, .channels = 3};
    if (hone_data_open(&c, &spec, &d) != HONE_OK) fail_msg("%s", hone_error_message());
    return d;
}

static hone_loader *loader_on(hone_dataset *d, int batch, int threads, int prefetch, bool shuffle)
{
    hone_loader *l = NULL;
    hone_loader_opts o = {.batch = batch, .threads = threads, .prefetch = prefetch, .shuffle = shuffle, .seed = 11};
    if (hone_loader_open(d, &o, &l) != HONE_OK) fail_msg("%s", hone_error_message());
    return l;
}

static uint64_t mix(uint64_t h, const void *data, size_t count)
{
    for (const uint8_t *p = data; count--; p++) h = (h ^ *p) * 1099511628211u;
    return h;
}

/* Hash of all that a batch says and holds. */
static uint64_t batch_hash(const hone_batch *b, size_t sample_bytes)
{
    uint64_t h = mix(14695981039346656037u, &b->count, sizeof b->count);
    h = mix(h, &b->epoch, sizeof b->epoch);
    h = mix(h, &b->index, sizeof b->index);
    h = mix(h, b->sample, (size_t)b->count * sizeof *b->sample);
    h = mix(h, b->label, (size_t)b->count * sizeof *b->label);
    h = mix(h, b->weight, (size_t)b->count * sizeof *b->weight);
    return b->pixels ? mix(h, b->pixels, (size_t)b->count * sample_bytes) : h;
}

static hone_batch next(hone_loader *l)
{
    hone_batch b;
    if (hone_loader_next(l, &b) != HONE_OK) fail_msg("%s", hone_error_message());
    return b;
}

static void test_resident_batches(void **state)
{
    hone_data *d = open_at(*state, false, HONE_ON_ERROR_STOP);
    assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_OK);
    assert_non_null(hone_dataset_pixels(d->train));
    hone_loader *l = loader_on(d->train, 50, 1, 1, true);
    assert_int_equal(hone_loader_batches(l), 3);
    int seen[2 * PER_CLASS] = {0};
    int32_t first[50];
    for (int epoch = 0; epoch < 2; epoch++)
        for (int index = 0; index < 3; index++) {
            hone_batch b = next(l);
            assert_int_equal(b.epoch, epoch);
            assert_int_equal(b.index, index);
            assert_int_equal(b.count, index < 2 ? 50 : 20); /* the last one is short, and not dropped */
            assert_null(b.pixels);
            for (int i = 0; i < b.count; i++) {
                assert_int_equal(b.row[i], b.sample[i]);
                assert_int_equal(b.label[i], hone_dataset_labels(d->train)[b.sample[i]]);
                assert_true(b.weight[i] == 1.0f);
                seen[b.sample[i]]++;
            }
            if (index == 0 && epoch == 0) memcpy(first, b.sample, sizeof first);
            if (index == 0 && epoch == 1) assert_true(memcmp(first, b.sample, sizeof first) != 0);
        }
    for (int i = 0; i < 2 * PER_CLASS; i++) assert_int_equal(seen[i], 2);
    hone_loader_close(l);
    l = loader_on(d->train, 1000, 1, 1, false); /* larger than the set: one batch, file order */
    hone_batch b = next(l);
    assert_int_equal(b.count, 120);
    for (int i = 0; i < 120; i++) assert_int_equal(b.sample[i], i);
    hone_loader_close(l);
    hone_data_free(d);
}

/* The pool has the same bytes for 1 and 4 threads, and each sample is where it belongs. */
static void test_load_threads(void **state)
{
    hone_data *one = open_at(*state, false, HONE_ON_ERROR_STOP), *four = open_at(*state, false, HONE_ON_ERROR_STOP);
    assert_int_equal(hone_dataset_load(one->train, 1, NULL), HONE_OK);
    assert_int_equal(hone_dataset_load(four->train, 4, NULL), HONE_OK);
    const uint8_t *a = hone_dataset_pixels(one->train), *b = hone_dataset_pixels(four->train);
    assert_memory_equal(a, b, 2 * PER_CLASS * SAMPLE);
    char path[256], name[128];
    hone_preprocess pre = {.height = H, .width = W, .channels = 3};
    uint8_t *alone = malloc(SAMPLE);
    for (int i = 0; i < 2 * PER_CLASS; i += 17) { /* what predict makes of the file is what training saw */
        snprintf(path, sizeof path, "%s/%s", (const char *)*state,
                 hone_dataset_source(one->train, i, name, sizeof name));
        assert_int_equal(hone_image_file(path, &pre, alone), HONE_OK);
        assert_memory_equal(a + (size_t)i * SAMPLE, alone, SAMPLE);
    }
    free(alone);
    hone_data_free(one);
    hone_data_free(four);
}

/* Hashes of the batches of two epochs of a stream. */
static void stream_hashes(hone_dataset *d, int threads, int prefetch, uint64_t out[16])
{
    hone_loader *l = loader_on(d, 16, threads, prefetch, true);
    assert_int_equal(hone_loader_batches(l), 8);
    for (int k = 0; k < 16; k++) {
        hone_batch b = next(l);
        assert_non_null(b.pixels);
        assert_int_equal(b.count, k % 8 == 7 ? 8 : 16);
        for (int i = 0; i < b.count; i++) assert_int_equal(b.row[i], i);
        out[k] = batch_hash(&b, 4 * SAMPLE);
    }
    assert_true(hone_loader_wait_seconds(l) >= 0);
    hone_loader_close(l);
}

static void test_stream_determinism(void **state)
{
    hone_data *d = open_at(*state, true, HONE_ON_ERROR_STOP);
    assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_OK);
    assert_null(hone_dataset_pixels(d->train));
    uint64_t base[16], other[16];
    stream_hashes(d->train, 1, 1, base);
    stream_hashes(d->train, 4, 1, other);
    assert_memory_equal(base, other, sizeof base);
    stream_hashes(d->train, 4, 8, other);
    assert_memory_equal(base, other, sizeof base);
    assert_true(base[0] != base[8]); /* the epochs differ, so equal hashes mean something */
    hone_data_free(d);
}

/* Planted fault: one pixel, one label or one order changed must change the hash that the tests compare. */
static void test_planted_fault(void **state)
{
    hone_data *d = open_at(*state, true, HONE_ON_ERROR_STOP);
    hone_loader *l = loader_on(d->train, 16, 2, 2, true);
    hone_batch b = next(l);
    uint64_t good = batch_hash(&b, 4 * SAMPLE);
    ((uint8_t *)b.pixels)[777] ^= 1;
    assert_true(batch_hash(&b, 4 * SAMPLE) != good);
    ((uint8_t *)b.pixels)[777] ^= 1;
    ((int32_t *)b.sample)[3]++;
    assert_true(batch_hash(&b, 4 * SAMPLE) != good);
    ((int32_t *)b.sample)[3]--;
    assert_true(batch_hash(&b, 4 * SAMPLE) == good);
    hone_loader_close(l);
    hone_data_free(d);
}

/* Resume at any place gives what an uninterrupted run gets there, streaming and resident. */
static void test_seek(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        hone_data *d = open_at(*state, stream, HONE_ON_ERROR_STOP);
        assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_OK);
        hone_loader *through = loader_on(d->train, 16, 2, 2, true), *jumping = loader_on(d->train, 16, 3, 2, true);
        uint64_t hash[24];
        for (int k = 0; k < 24; k++) {
            hone_batch b = next(through);
            hash[k] = batch_hash(&b, 4 * SAMPLE);
        }
        static const int place[] = {13, 0, 23, 8, 7, 7};
        for (size_t k = 0; k < sizeof place / sizeof *place; k++) {
            assert_int_equal(hone_loader_seek(jumping, place[k] / 8, place[k] % 8), HONE_OK);
            for (int j = place[k]; j < 24 && j < place[k] + 3; j++) {
                hone_batch b = next(jumping);
                assert_true(batch_hash(&b, 4 * SAMPLE) == hash[j]);
            }
        }
        assert_int_equal(hone_loader_seek(jumping, 0, 8), HONE_ERR_USAGE); /* an epoch has 8 batches */
        assert_int_equal(hone_loader_seek(jumping, -1, 0), HONE_ERR_USAGE);
        hone_loader_close(through);
        hone_loader_close(jumping);
        hone_data_free(d);
    }
}

/* Closing in the middle of everything, again and again: no hang, no leak. */
static void test_close_early(void **state)
{
    hone_data *d = open_at(*state, true, HONE_ON_ERROR_STOP);
    for (int k = 0; k < 20; k++) {
        hone_loader *l = loader_on(d->train, 16, 1 + k % 4, 1 + k % 3, true);
        for (int i = 0; i < k % 5; i++) next(l);
        hone_loader_close(l);
    }
    hone_data_free(d);
}

static void break_files(const char *root)
{
    scratch_text(root, "train/cats/013.png", "this is no image");
    scratch_text(root, "train/dogs/002.png", "");
    uint8_t *data;
    FILE *f = fopen(scratch_path(root, "train/dogs/040.png"), "rb");
    data = malloc(1000);
    size_t n = fread(data, 1, 1000, f);
    fclose(f);
    scratch_write(root, "train/dogs/040.png", data, n / 2);
    free(data);
}

/* on_error: stop names the first broken file, whatever the threads did. */
static void test_stop_on_error(void **state)
{
    break_files(*state);
    for (int threads = 1; threads <= 4; threads += 3) {
        hone_data *d = open_at(*state, false, HONE_ON_ERROR_STOP);
        assert_int_equal(hone_dataset_load(d->train, threads, NULL), HONE_ERR_DATA);
        assert_non_null(strstr(hone_error_message(), "train/cats/013.png: not an image"));
        assert_null(hone_dataset_pixels(d->train));
        hone_data_free(d);
        d = open_at(*state, true, HONE_ON_ERROR_STOP);
        hone_loader *l = loader_on(d->train, 16, threads, 4, false);
        assert_int_equal(hone_dataset_load(d->train, threads, NULL), HONE_OK); /* a stream finds out on the way */
        hone_batch b;
        assert_int_equal(hone_loader_next(l, &b), HONE_ERR_DATA);
        assert_non_null(strstr(hone_error_message(), "train/cats/013.png"));
        hone_loader_close(l);
        hone_data_free(d);
    }
}

/* on_error: skip leaves them out, counts and lists them in order; the rest is untouched. */
static void test_skip(void **state)
{
    hone_data *whole = open_at(*state, false, HONE_ON_ERROR_STOP);
    assert_int_equal(hone_dataset_load(whole->train, 2, NULL), HONE_OK);
    break_files(*state);
    for (int stream = 0; stream < 2; stream++) {
        hone_data *d = open_at(*state, stream, HONE_ON_ERROR_SKIP);
        assert_int_equal(hone_dataset_load(d->train, 3, NULL), HONE_OK);
        assert_int_equal(hone_dataset_count(d->train), 2 * PER_CLASS - 3);
        assert_int_equal(hone_dataset_pixels(d->train) == NULL, stream);
        const char *const *reasons;
        assert_int_equal(hone_dataset_skipped(d->train, &reasons), 3);
        assert_non_null(strstr(reasons[0], "cats/013.png: not an image"));
        assert_non_null(strstr(reasons[1], "dogs/002.png: the file is empty"));
        assert_non_null(strstr(reasons[2], "dogs/040.png: PNG"));
        char a[64], b[64];
        for (int i = 0; i < 2 * PER_CLASS - 3; i++) { /* every other sample kept its name, label and pixels */
            int old = i + (i >= 13) + (i + 1 >= PER_CLASS + 2) + (i + 2 >= PER_CLASS + 40);
            assert_string_equal(hone_dataset_source(d->train, i, a, sizeof a),
                                hone_dataset_source(whole->train, old, b, sizeof b));
            assert_int_equal(hone_dataset_labels(d->train)[i], hone_dataset_labels(whole->train)[old]);
            if (!stream)
                assert_memory_equal(hone_dataset_pixels(d->train) + (size_t)i * SAMPLE,
                                    hone_dataset_pixels(whole->train) + (size_t)old * SAMPLE, SAMPLE);
        }
        hone_loader *l = loader_on(d->train, 16, 2, 2, true);
        for (int k = 0; k < 16; k++) next(l);
        hone_loader_close(l);
        hone_data_free(d);
    }
    hone_data_free(whole);
}

/* The first image decides the size where none is given; a broken first one is passed over with skip. */
static void test_all_broken(void **state)
{
    const char *root = *state;
    char name[64];
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < PER_CLASS; i++) {
            snprintf(name, sizeof name, "train/%s/%03d.png", k ? "dogs" : "cats", i);
            if (k || i != PER_CLASS - 1) scratch_text(root, name, "broken");
        }
    hone_config c = data_config(root);
    hone_data *d = NULL;
    assert_int_equal(data_open(&c, &d), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "cats/000.png"));
    c.data.on_error = HONE_ON_ERROR_SKIP;
    c.data.val_fraction = 0;
    assert_int_equal(data_open(&c, &d), HONE_OK);
    assert_int_equal(d->height, 10 + (PER_CLASS - 1) % 7); /* of the one good image */
    hone_data_free(d);
    snprintf(name, sizeof name, "train/cats/%03d.png", PER_CLASS - 1);
    scratch_text(root, name, "broken");
    d = open_at(root, false, HONE_ON_ERROR_SKIP);
    assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "all 120 samples are broken"));
    hone_data_free(d);
}

/* A stop that was asked for ends the load; a file that vanished since the scan is named. */
static void test_stop_and_vanish(void **state)
{
    volatile int stop = 1;
    hone_data *d = open_at(*state, false, HONE_ON_ERROR_STOP);
    assert_int_equal(hone_dataset_load(d->train, 2, &stop), HONE_INTERRUPTED);
    stop = 0;
    unlink(scratch_path(*state, "train/dogs/030.png"));
    assert_int_equal(hone_dataset_load(d->train, 2, &stop), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "dogs/030.png: No such file"));
    hone_data_free(d);
}

static void test_bad_options(void **state)
{
    hone_data *d = open_at(*state, false, HONE_ON_ERROR_STOP);
    hone_loader *l = NULL;
    assert_int_equal(hone_loader_open(d->train, &(hone_loader_opts){.batch = 0}, &l), HONE_ERR_USAGE);
    assert_null(l);
    hone_data_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resident_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_determinism, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planted_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seek, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_on_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_and_vanish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
