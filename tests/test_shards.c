/* test_shards.c - tar shards: the same samples as in a folder, splits by name and pattern, and what must be refused.
 * rooms: cli
 * needs: cli */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "data/tar.h"
#include "support/data_checks.h"
#include "support/tar_make.h"

enum { SIDE = 6 };

static void save(const char *root, const char *name, bytes *b)
{
    tar_end(b);
    scratch_write(root, name, b->data, b->count);
    free(b->data);
    *b = (bytes){0};
}

/* Pictures `from` to `end` - 1 of two classes with labels as `kind` says. */
static void write_shard(const char *root, const char *name, int from, int end, const char *kind)
{
    bytes b = {0};
    char member[64], label[64];
    for (int i = from; i < end; i++) {
        snprintf(member, sizeof member, "%06d.png", i);
        tar_png(&b, member, i, SIDE, SIDE, 3);
        snprintf(member, sizeof member, "%06d.%s", i, kind);
        if (strcmp(kind, "cls") == 0) snprintf(label, sizeof label, "%d\n", i % 2);
        else if (strcmp(kind, "txt") == 0) snprintf(label, sizeof label, "%s", i % 2 ? "dog" : "cat");
        else snprintf(label, sizeof label, "{\"id\": %d, \"label\": \"%s\"}", i, i % 2 ? "dog" : "cat");
        tar_text(&b, member, label);
    }
    save(root, name, &b);
}

/* Sample i has picture `id` and says where it is from. */
static void has(hone_dataset *d, int64_t i, int id, const char *source)
{
    char text[200];
    assert_string_equal(hone_dataset_source(d, i, text, sizeof text), source);
    const uint8_t *p = hone_dataset_pixels(d) + i * SIDE * SIDE * 3;
    for (int k = 0; k < SIDE * SIDE * 3; k++)
        if (p[k] != test_pixel(id, k)) fail_msg("sample %d is not picture %d", (int)i, id);
    assert_int_equal(hone_dataset_labels(d)[i], id % 2);
}

/* Two shards of train and one of val, by all three kinds of labels, with 1 and 3 threads. */
static void test_reads(void **state)
{
    static const char *const kind[] = {"cls", "txt", "json"};
    char path[32], name[64];
    uint64_t print[2] = {0};
    for (int k = 0; k < 3; k++)
        for (int threads = 1; threads < 4; threads += 2) {
            snprintf(path, sizeof path, "set%d", k);
            snprintf(name, sizeof name, "%s/train-000.tar", path);
            write_shard(*state, name, 0, 5, kind[k]);
            snprintf(name, sizeof name, "%s/train-001.tar", path);
            write_shard(*state, name, 5, 9, kind[k]);
            snprintf(name, sizeof name, "%s/val-000.tar", path);
            write_shard(*state, name, 10, 14, kind[k]);
            hone_config c = data_config(scratch_path(*state, path));
            c.data.decode_threads = threads;
            hone_data *d = opened(&c);
            assert_int_equal(d->classes, 2);
            assert_string_equal(d->class_name[1], k ? "dog" : "1");
            assert_int_equal(d->height, SIDE);
            assert_int_equal(hone_dataset_count(d->train), 9);
            assert_int_equal(hone_dataset_count(d->val), 4);
            assert_null(d->test);
            load(d->train, threads);
            load(d->val, threads);
            for (int i = 0; i < 9; i++) {
                snprintf(name, sizeof name, "train-00%d.tar/%06d.png", i >= 5, i);
                has(d->train, i, i, name);
            }
            has(d->val, 3, 13, "val-000.tar/000013.png");
            if (print[0] && k == 0) assert_true(d->fingerprint == print[0]);
            if (k == 0) print[0] = d->fingerprint;
            else assert_true(d->fingerprint != print[0]);
            hone_data_free(d);
        }
    scratch_text(*state, "set0/classes.txt", "no\nyes\n");
    hone_config c = data_config(scratch_path(*state, "set0"));
    hone_data *d = opened(&c);
    assert_string_equal(d->class_name[1], "yes");
    hone_data_free(d);
}

static int64_t train_count(const char *path, const char *val)
{
    hone_config c = data_config(path);
    if (val) {
        c.data.path = NULL;
        c.data.train = (char *)path;
        c.data.val = (char *)val;
    }
    hone_data *d = opened(&c);
    int64_t n = hone_dataset_count(d->train);
    hone_data_free(d);
    return n;
}

/* An archive, sub-folders, wildcards and ranges. */
static void test_places(void **state)
{
    write_shard(*state, "a/s-08.tar", 0, 10, "cls");
    write_shard(*state, "a/s-09.tar", 10, 20, "cls");
    write_shard(*state, "a/s-10.tar", 20, 30, "cls");
    write_shard(*state, "b/train/x.tar", 0, 10, "cls");
    write_shard(*state, "b/validation/x.tar", 10, 14, "cls");
    assert_int_equal(train_count(scratch_path(*state, "a"), NULL), 26); /* a tenth of each class of 15 validates: 2 */
    assert_int_equal(train_count(scratch_path(*state, "a/s-09.tar"), NULL), 8);
    assert_int_equal(train_count(scratch_path(*state, "b"), NULL), 10);
    assert_int_equal(train_count(scratch_path(*state, "a/s-{08..09}.tar"), scratch_path(*state, "a/s-10.tar")), 20);
    assert_int_equal(train_count(scratch_path(*state, "a/s-0*.tar"), scratch_path(*state, "a/s-1?.tar")), 20);
    refused(scratch_path(*state, "a/s-{08..11}.tar"), "s-11.tar: no such file", "{08..11}");
    refused(scratch_path(*state, "a/s-{9..8}.tar"), "a range is two numbers", "s-{9..8}.tar");
    refused(scratch_path(*state, "a/t-*.tar"), "no such files", "t-*.tar");
    write_shard(*state, "c/train-0.tar", 0, 4, "cls");
    write_shard(*state, "c/more.tar", 4, 8, "cls");
    refused(scratch_path(*state, "c"), "which split is more.tar?", "c");
    scratch_text(*state, "d/x.tar.gz", "packed");
    refused(scratch_path(*state, "d"), "x.tar.gz: a packed archive", "d/");
}

/* Names as pax and GNU tar write them, folders, links and other members, keys with folders. */
static void test_forms(void **state)
{
    char name[300];
    bytes b = {0};
    tar_typed(&b, 'g', "pax_global_header", "20 comment=whatever\n", 20);
    tar_typed(&b, '5', "./deep/", NULL, 0);
    memset(name, 'k', sizeof name);
    strcpy(name + 250, ".png");
    tar_pax(&b, "path", name);
    tar_png(&b, "short.png", 0, SIDE, SIDE, 3);
    strcpy(name + 250, ".cls");
    tar_long(&b, name);
    tar_text(&b, "kkkk", "0");
    tar_png(&b, "./deep/1.PNG", 1, SIDE, SIDE, 3);
    tar_text(&b, "deep/1.seg.png", "a mask");
    tar_text(&b, "README", "words");
    tar_typed(&b, '2', "link.png", NULL, 0);
    tar_text(&b, "deep/1.cls", " 1 \n");
    size_t at = tar_typed(&b, '0', "x.png", NULL, 0); /* GNU's header, whose prefix field holds times */
    memcpy(b.data + at + 257, "ustar  ", 8);
    memcpy(b.data + at + 345, "14000000000", 11);
    tar_seal(&b, at);
    b.count = at; /* replaced by one with content */
    tar_png(&b, "x.png", 2, SIDE, SIDE, 3);
    memcpy(b.data + at + 257, "ustar  ", 8);
    memcpy(b.data + at + 345, "14000000000", 11);
    tar_seal(&b, at);
    tar_text(&b, "x.cls", "0");
    for (int k = 0; k < 18; k++) bytes_add(&b, (uint8_t[512]){0}, 512); /* a whole record of zeros */
    save(*state, "one.tar", &b);
    hone_config c = data_config(scratch_path(*state, "one.tar"));
    c.data.val_fraction = 0;
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_count(d->train), 3);
    load(d->train, 1);
    has(d->train, 1, 1, "one.tar/deep/1.PNG");
    has(d->train, 2, 2, "one.tar/x.png");
    assert_int_equal(d->note_count, 1);
    assert_non_null(strstr(d->note[0], "left out 3 members"));
    hone_data_free(d);
}

/* A shard of one good sample, then what `more` holds. */
static bytes good(void)
{
    bytes b = {0};
    tar_png(&b, "a.png", 0, SIDE, SIDE, 3);
    tar_text(&b, "a.cls", "0");
    return b;
}

static void refused_shard(const char *root, bytes b, const char *what, const char *where)
{
    scratch_write(root, "bad.tar", b.data, b.count);
    free(b.data);
    refused(scratch_path(root, "bad.tar"), what, where);
}

static void test_refused(void **state)
{
    const char *root = *state;
    bytes b = good();
    refused_shard(root, b, "ends without its end mark", "bad.tar: byte");
    b = good();
    tar_end(&b);
    b.count = 520; /* within the first member */
    refused_shard(root, b, "it is cut", "bad.tar: byte 0:");
    b = good();
    tar_end(&b);
    b.data[3] ^= 1;
    refused_shard(root, b, "not a tar archive (wrong checksum)", "byte 0");
    b = good();
    size_t at = tar_typed(&b, '0', "b.png", "x", 1);
    b.data[at + 124] = '9';
    tar_seal(&b, at);
    tar_end(&b);
    refused_shard(root, b, "a size that is no number", "byte");
    b = good();
    tar_typed(&b, 'S', "b.png", "x", 1);
    tar_end(&b);
    refused_shard(root, b, "type 'S'", "byte");
    b = good();
    tar_typed(&b, 'x', "p", "9999 path=q\n", 12);
    tar_text(&b, "b.cls", "1");
    tar_end(&b);
    refused_shard(root, b, "a pax header with a wrong length", "byte");
    b = good();
    tar_pax(&b, "GNU.sparse.major", "1");
    tar_text(&b, "b.cls", "1");
    tar_end(&b);
    refused_shard(root, b, "a sparse member", "byte");
    b = good();
    tar_pax(&b, "size", "77777777777");
    tar_text(&b, "b.cls", "1");
    tar_end(&b);
    refused_shard(root, b, "a member of 77777777777 bytes", "it is cut");
    b = good();
    tar_pax(&b, "path", "b.cls");
    tar_end(&b);
    refused_shard(root, b, "a long name without its member", "byte");
    b = good();
    tar_end(&b);
    bytes c = good();
    bytes_add(&b, c.data, c.count);
    free(c.data);
    tar_end(&b);
    refused_shard(root, b, "two archives behind each other", "byte");
    static const struct {
        const char *name, *text, *what, *where;
    } member[] = {
        {"a.cls", "1", "there is such a label of this key already", "bad.tar: a.cls"},
        {"a.png", "1", "there is a picture of this key already", "bad.tar: a.png"},
        {"b.png", "1", "b.png: no b.cls beside it", "bad.tar: b.png"},
        {"b.cls", "1", "b: a label without a picture", "bad.tar: b"},
    };
    for (size_t k = 0; k < sizeof member / sizeof *member; k++) {
        b = good();
        tar_text(&b, member[k].name, member[k].text);
        tar_end(&b);
        refused_shard(root, b, member[k].what, member[k].where);
    }
    static const struct {
        const char *ending, *text, *what;
    } label[] = {
        {"cls", "cat", "\"cat\" is no class number"},
        {"cls", "-1", "\"-1\" is no class number"},
        {"cls", "", "\"\" is no class number"},
        {"txt", " \n", "the label is empty"},
        {"txt", "one\ntwo", "the label is a text of 7 bytes"},
        {"txt", "caf\xE9", "the label is not UTF-8"},
        {"json", "{\"label\": ", "no JSON"},
        {"json", "{\"name\": \"cat\"}", "no \"label\" that is a name or a number"},
        {"json", "{\"label\": [1]}", "no \"label\" that is a name or a number"},
    };
    for (size_t k = 0; k < sizeof label / sizeof *label; k++) {
        char name[16], where[64];
        b = (bytes){0};
        snprintf(name, sizeof name, "b.%s", label[k].ending);
        snprintf(where, sizeof where, "bad.tar: b.%s", label[k].ending);
        tar_png(&b, "b.png", 0, SIDE, SIDE, 3);
        tar_text(&b, name, label[k].text);
        tar_end(&b);
        refused_shard(root, b, label[k].what, where);
    }
    b = good();
    tar_file(&b, "b.png", "no picture", 10);
    tar_text(&b, "b.cls", "0");
    save(root, "bad.tar", &b);
    hone_config config = data_config(scratch_path(root, "bad.tar"));
    config.data.val_fraction = 0;
    hone_data *d = opened(&config); /* found when it is decoded, and named */
    assert_int_equal(hone_dataset_load(d->train, 1, NULL), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "bad.tar/b.png: not an image of a known format"));
    hone_data_free(d);
}

/* With skip, samples that lack something are left out by name. */
static void test_skip(void **state)
{
    bytes b = good();
    tar_png(&b, "b.png", 1, SIDE, SIDE, 3);
    tar_text(&b, "c.cls", "1");
    tar_png(&b, "d.png", 3, SIDE, SIDE, 3);
    tar_text(&b, "d.cls", "1");
    save(*state, "one.tar", &b);
    hone_config c = data_config(scratch_path(*state, "one.tar"));
    c.data.val_fraction = 0;
    c.data.on_error = HONE_ON_ERROR_SKIP;
    hone_data *d = opened(&c);
    const char *const *reason;
    assert_int_equal(hone_dataset_count(d->train), 2);
    assert_int_equal(hone_dataset_skipped(d->train, &reason), 2);
    assert_non_null(strstr(reason[0], "b.png: no b.cls beside it"));
    assert_non_null(strstr(reason[1], "c: a label without a picture"));
    hone_data_free(d);
}

static hone_status count_member(void *arg, const char *name, int64_t offset, int64_t count)
{
    assert_true(*name && offset >= 512 && count >= 0);
    (*(int *)arg)++;
    return HONE_OK;
}

/* Every cut of an archive is refused, and so is every changed byte of its headers but where nothing is read. */
static void test_every_cut(void **state)
{
    bytes b = {0};
    tar_text(&b, "a.cls", "0");
    tar_long(&b, "some/long/name/b.cls");
    tar_text(&b, "x", "1");
    tar_end(&b);
    int members = 0;
    const char *path = scratch_path(*state, "x.tar");
    for (size_t n = 0; n <= b.count; n++) {
        scratch_write(*state, "x.tar", b.data, n);
        members = 0;
        hone_status s = hone_tar_index(path, count_member, &members, NULL);
        if ((s == HONE_OK) != (n == b.count)) fail_msg("%zu of %zu bytes: %d", n, b.count, s);
    }
    assert_int_equal(members, 2);
    for (size_t n = 0; n < 512; n++) { /* the first header: the checksum sees each */
        if (n == 155) continue;        /* behind the digits of the checksum itself */
        b.data[n] ^= 0x01;
        scratch_write(*state, "x.tar", b.data, b.count);
        if (hone_tar_index(path, count_member, &members, NULL) != HONE_ERR_DATA) fail_msg("byte %zu", n);
        b.data[n] ^= 0x01;
    }
    free(b.data);
}

/* The command: trained from a pattern, checked, evaluated on another archive. */
static void test_command(void **state)
{
    char line[8192], text[4096];
    write_shard(*state, "s/train-0.tar", 0, 40, "txt");
    write_shard(*state, "s/test-0.tar", 40, 60, "txt");
    snprintf(line, sizeof line,
             "cd '%s' && '%s' train s --quiet --out run train.epochs=1 && '%s' data check s && '%s' eval run "
             "'s/test-*.tar' 2>&1",
             (char *)*state, HONE_BINARY, HONE_BINARY, HONE_BINARY);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(text, 1, sizeof text - 1, p);
    text[n] = '\0';
    int code = pclose(p);
    if (code != 0) fail_msg("%d: %s", code, text);
    if (!strstr(text, "pictures: 40 train, 0 val, 20 test; 2 classes")) fail_msg("%s", text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_command, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
