/* test_pack.c - `hone data pack`: the same samples, the same run as from the folder; over the memory limit too; what is
 * damaged or would be resized twice is refused. rooms: cli
 * needs: cli */
#define XXH_INLINE_ALL
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/wait.h>
#include <xxhash.h>

#include "data/pack.h"
#include "data/pack_format.h"
#include "support/command.h"
#include "support/data_checks.h"

static void write_set(const char *root)
{
    char name[64];
    for (int i = 0; i < 60; i++) { /* sizes differ, every third is grey */
        snprintf(name, sizeof name, "set/%s/%s/%02d.png", i < 40 ? "train" : "test", i % 2 ? "dog" : "cat", i);
        scratch_png(root, name, i, 10 + i % 5, 12 + i % 3, i % 3 ? 3 : 1);
    }
}

static hone_data *open_as(const char *path, int size, hone_resize resize, int limit_mb)
{
    hone_config c = data_config(path);
    hone_data *d = NULL;
    c.data.memory_limit_mb = limit_mb;
    if (hone_data_open(&c, &(hone_image_spec){size, size, size ? 3 : 0, resize}, &d) != HONE_OK)
        fail_msg("%s", hone_error_message());
    return d;
}

static void pack(const hone_data *d, const char *path, hone_resize resize, int threads)
{
    hone_pack_result r;
    hone_pack_opts o = {.path = path, .resize = resize, .threads = threads};
    if (hone_pack_write(d, &o, &r) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(r.count[0], hone_dataset_count(d->train));
}

static void same_split(hone_dataset *a, hone_dataset *b, size_t sample_bytes)
{
    char x[200], y[200];
    assert_int_equal(hone_dataset_count(a), hone_dataset_count(b));
    load(a, 2);
    load(b, 1);
    for (int64_t i = 0; i < hone_dataset_count(a); i++) {
        assert_int_equal(hone_dataset_labels(a)[i], hone_dataset_labels(b)[i]);
        assert_string_equal(hone_dataset_source(a, i, x, sizeof x), hone_dataset_source(b, i, y, sizeof y));
    }
    assert_memory_equal(hone_dataset_pixels(a), hone_dataset_pixels(b), sample_bytes * (size_t)hone_dataset_count(a));
}

/* Pixels, labels, names, classes and the cut of validation are those of the folder. */
static void test_same(void **state)
{
    write_set(*state);
    for (int k = 0; k < 2; k++) {
        hone_resize resize = k ? HONE_RESIZE_SHORTER : HONE_RESIZE_STRETCH;
        const char *set = scratch_path(*state, "set"), *file = scratch_path(*state, k ? "b.pack" : "a.pack");
        hone_config c = data_config(set);
        hone_data *whole = NULL;
        c.data.val_fraction = 0;
        assert_int_equal(hone_data_open(&c, &(hone_image_spec){8, 8, 3, resize}, &whole), HONE_OK);
        pack(whole, file, resize, 1 + 2 * k);
        hone_data_free(whole);
        hone_data *d = open_as(set, 8, resize, 256), *p = open_as(file, 8, resize, 256);
        assert_int_equal(p->classes, 2);
        assert_string_equal(p->class_name[1], "dog");
        assert_non_null(p->val);
        same_split(d->train, p->train, 8 * 8 * 3);
        same_split(d->val, p->val, 8 * 8 * 3);
        same_split(d->test, p->test, 8 * 8 * 3);
        hone_data_free(d);
        hone_data_free(p);
    }
    hone_data *d = open_as(scratch_path(*state, "a.pack"), 0, HONE_RESIZE_STRETCH, 256); /* the size comes with it */
    assert_int_equal(d->height, 8);
    assert_int_equal(d->channels, 3);
    hone_pack_result r;
    hone_pack_opts o = {.path = scratch_path(*state, "a.pack")};
    assert_int_equal(hone_pack_write(d, &o, &r), HONE_ERR_USAGE);
    hone_data_free(d);
    hone_config c = data_config(scratch_path(*state, "b.pack"));
    d = NULL;
    assert_int_equal(hone_data_open(&c, &(hone_image_spec){8, 8, 3, HONE_RESIZE_STRETCH}, &d), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "with 3 channels, shorter; wanted are 8 x 8 with 3, stretch"));
    assert_int_equal(hone_data_open(&c, &(hone_image_spec){6, 6, 3, HONE_RESIZE_SHORTER}, &d), HONE_ERR_DATA);
}

/* A set over the limit is read from the mapping batch by batch. */
static void test_streams(void **state)
{
    char name[64];
    for (int i = 0; i < 24; i++) { /* 24 x 250 x 250 x 3: over 1 MiB in train and in its validation */
        snprintf(name, sizeof name, "big/%s/%02d.png", i % 2 ? "a" : "b", i);
        scratch_png(*state, name, i, 250, 250, 3);
    }
    hone_config c = data_config(scratch_path(*state, "big"));
    hone_data *d;
    c.data.val_fraction = 0;
    d = opened(&c);
    pack(d, scratch_path(*state, "big.pack"), HONE_RESIZE_STRETCH, 2);
    hone_data *p = open_as(scratch_path(*state, "big.pack"), 0, HONE_RESIZE_STRETCH, 1);
    load(p->train, 2);
    assert_null(hone_dataset_pixels(p->train));
    hone_loader *l;
    hone_batch b;
    assert_int_equal(
        hone_loader_open(p->train, &(hone_loader_opts){.batch = 4, .threads = 2, .prefetch = 2, .seed = 1}, &l),
        HONE_OK);
    assert_int_equal(hone_loader_next(l, &b), HONE_OK);
    char source[200];
    hone_dataset_source(p->train, b.sample[1], source, sizeof source);
    int id = atoi(strrchr(source, '/') + 1);
    for (int k = 0; k < 250 * 250 * 3; k += 997) assert_int_equal(b.pixels[250 * 250 * 3 + k], test_pixel(id, k));
    hone_loader_close(l);
    hone_data_free(p);
    hone_data_free(d);
}

/* Bytes of a pack of six pictures of 4 x 4, labels b a b a b a. */
static size_t small_pack(const char *root, uint8_t *file, size_t room)
{
    char name[64];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "s/%s/%d.png", i % 2 ? "a" : "b", i);
        scratch_png(root, name, i, 4, 4, 1);
    }
    hone_config c = data_config(scratch_path(root, "s"));
    c.data.val_fraction = 0;
    hone_data *d = opened(&c);
    pack(d, scratch_path(root, "x.pack"), HONE_RESIZE_STRETCH, 1);
    hone_data_free(d);
    FILE *f = fopen(scratch_path(root, "x.pack"), "rb");
    assert_non_null(f);
    size_t n = fread(file, 1, room, f);
    fclose(f);
    assert_true(n > 4 * HONE_PACK_PAGE && n < room);
    return n;
}

/* Every cut is refused, and so is every changed byte but those that nothing reads. */
static void test_damaged(void **state)
{
    static uint8_t file[1 << 16];
    size_t n = small_pack(*state, file, sizeof file);
    const char *path = scratch_path(*state, "y.pack");
    int refused_bytes = 0;
    hone_pack_tail tail;
    memcpy(&tail, file + n - sizeof tail, sizeof tail);
    for (size_t cut = 0; cut < n; cut += cut < tail.offset ? 509 : 1) {
        hone_source *s = NULL;
        scratch_write(*state, "y.pack", file, cut);
        assert_int_equal(hone_pack_open(path, HONE_SPLIT_TRAIN, false, &s), HONE_ERR_DATA);
        assert_null(s);
    }
    for (size_t k = 0; k < n; k += k < 16 || k >= tail.offset || (k % 4096 < 96 && k > 4090) ? 1 : 7) {
        hone_source *s = NULL;
        uint8_t was = file[k];
        file[k] ^= 0x41;
        scratch_write(*state, "y.pack", file, n);
        hone_status got = hone_pack_open(path, HONE_SPLIT_TRAIN, false, &s);
        file[k] = was;
        assert_true(got == HONE_OK || got == HONE_ERR_DATA);
        refused_bytes += got == HONE_ERR_DATA;
        /* magic, version, pixels (6 of 16 bytes), labels, header and tail; the zeros between belong to nothing */
        bool covered = k < 12 || (k >= 4096 && k < 4096 + 96) || (k >= 8192 && k < 8192 + 24) || k >= tail.offset;
        if (got == HONE_OK && covered) fail_msg("byte %zu of %zu was believed", k, n);
        for (int64_t i = 0; got == HONE_OK && i < s->count; i++)
            assert_true(s->label[i] >= 0 && s->label[i] < s->classes.count);
        hone_source_free(s);
    }
    assert_true(refused_bytes > (int)(n - tail.offset));
}

/* A header that is whole by its hash and lies: what `from` says becomes `to`, of the same length or not. */
static void lies(const char *root, const uint8_t *file, size_t n, const char *from, const char *to, const char *says)
{
    hone_pack_tail tail;
    memcpy(&tail, file + n - sizeof tail, sizeof tail);
    bytes b = {0};
    char *header = calloc(1, tail.bytes + 1);
    assert_non_null(header);
    memcpy(header, file + tail.offset, tail.bytes);
    char *at = strstr(header, from);
    if (!at) fail_msg("no %s in %s", from, header);
    bytes_add(&b, file, tail.offset);
    bytes_add(&b, header, (size_t)(at - header));
    bytes_add(&b, to, strlen(to));
    bytes_add(&b, at + strlen(from), strlen(at + strlen(from)));
    tail.bytes = b.count - tail.offset;
    tail.hash = XXH3_64bits(b.data + tail.offset, tail.bytes);
    bytes_add(&b, &tail, sizeof tail);
    scratch_write(root, "lie.pack", b.data, b.count);
    hone_source *s = NULL;
    hone_status got = hone_pack_open(scratch_path(root, "lie.pack"), HONE_SPLIT_TRAIN, false, &s);
    if (got != HONE_ERR_DATA || !strstr(hone_error_message(), says))
        fail_msg("%s -> %s: %d %s", from, to, got, hone_error_message());
    free(header);
    free(b.data);
}

static void test_hostile(void **state)
{
    static uint8_t file[1 << 16];
    size_t n = small_pack(*state, file, sizeof file);
    static const struct {
        const char *from, *to, *says;
    } lie[] = {
        {"\"count\":6", "\"count\":6000000", "data beyond its end"},
        {"\"count\":6", "\"count\":4611686018427387904", "a split without samples"},
        {"\"count\":6", "\"count\":0", "a split without samples"},
        {"\"count\":6", "\"count\":5", "labels or names were changed"},
        {"\"count\":6", "\"count\":\"6\"", "a split without samples"},
        {"\"pixels\":4096", "\"pixels\":4097", "data beyond its end"},
        {"\"pixels\":4096", "\"pixels\":0", "data beyond its end"},
        {"\"pixels\":4096", "\"pixels\":-4096", "data beyond its end"},
        {"\"pixels\":4096", "\"pixels\":1099511627776", "data beyond its end"},
        {"\"pixels\":4096", "\"pixels\":8192", "pixels were changed"},
        {"\"labels\":8192", "\"labels\":4096", "labels or names were changed"},
        {"\"height\":4", "\"height\":0", "sizes out of range"},
        {"\"width\":4", "\"width\":70000", "sizes out of range"},
        {"\"channels\":1", "\"channels\":2", "sizes out of range"},
        {"\"resize\":\"stretch\"", "\"resize\":\"zoom\"", "an unknown resize rule"},
        {"[\"a\",\"b\"]", "[]", "no classes"},
        {"[\"a\",\"b\"]", "[\"a\"]", "a label beyond its classes"},
        {"[\"a\",\"b\"]", "[\"a\",7]", "a class without a name"},
        {"{", "[", "no JSON object"},
    };
    for (size_t k = 0; k < sizeof lie / sizeof *lie; k++) lies(*state, file, n, lie[k].from, lie[k].to, lie[k].says);
}

/* Trained from the pack, the weights are those of the folder, to the byte. */
static void test_command(void **state)
{
    const char *root = *state;
    write_set(root);
    scratch_text(
        root, "page.yaml",
        "task: image\nout: a\ndata: {path: set}\nimage: {size: 8, channels: 3, resize: shorter}\naugment: {flip: 0.5}\n"
        "model: {layers: [conv: {out: 4}, relu, flatten, linear: classes]}\ntrain: {epochs: 2, batch: 8}\n");
    runs(root, "data pack page.yaml -o set.pack 2>&1", 0, "set.pack: 40 train, 0 val, 20 test of 8 x 8, 3 channels");
    runs(root, "data pack page.yaml -o set.pack 2>&1", 2, "File exists");
    runs(root, "data pack set -o other.pack 2>&1", 2, "image.size: not given");
    runs(root, "data pack set 2>&1", 2, "-o FILE: not given");
    runs(root, "train page.yaml --quiet 2>&1", 0, "best weights");
    runs(root, "train page.yaml --quiet data.path=set.pack --out b 2>&1", 0, "best weights");
    char *compare = "cmp a/best.safetensors b/best.safetensors";
    char line[4200];
    snprintf(line, sizeof line, "cd '%s' && %s", root, compare);
    assert_int_equal(system(line), 0);
    runs(root, "data check set.pack 2>&1", 0, "pictures: 40 train, 0 val, 20 test; 2 classes");
    runs(root, "init set.pack 2>&1", 0, "resize: shorter");
    runs(root, "train set.pack --quiet --out c train.epochs=1 2>&1", 0, "best weights");
    runs(root, "eval b set.pack --quiet 2>&1", 0, "accuracy");
    scratch_text(root, "set/train/cat/broken.png", "no picture");
    runs(root, "data pack page.yaml -o more.pack 2>&1", 3, "broken.png");
    assert_int_equal(access(scratch_path(root, "more.pack"), F_OK), -1);
    runs(root, "data pack page.yaml -o more.pack data.on_error=skip 2>&1", 0, "1 broken, left out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_command, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
