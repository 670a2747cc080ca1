/* test_data.c - readers: CIFAR, folders, synthetic; splits, classes by name, every refusal.
 * rooms: data config io core
 * All sets are made here, in a folder that goes away. IDX has test_idx.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "data/order.h"
#include "data/source.h"
#include "support/data_checks.h"

/* n CIFAR-10 records with labels i % classes. */
static void cifar_batch(const char *root, const char *name, int n, int classes, int base)
{
    bytes b = {0};
    for (int i = 0; i < n; i++) {
        bytes_u8(&b, (unsigned)(i % classes));
        for (int k = 0; k < 3072; k++) bytes_u8(&b, test_pixel(base + i, k));
    }
    scratch_write(root, name, b.data, b.count);
    free(b.data);
}

static void test_cifar(void **state)
{
    const char *root = *state;
    cifar_batch(root, "data_batch_1.bin", 20, 10, 0);
    cifar_batch(root, "data_batch_2.bin", 20, 10, 20);
    cifar_batch(root, "test_batch.bin", 10, 10, 100);
    scratch_text(root, "batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    static const char *const other[] = {"data_batch_0.bin", "data_batch_04.bin", "data_batch_100.bin",
                                        "data_batch_.bin", "data_batch_4.bin.bak"};
    for (int k = 0; k < 5; k++) scratch_text(root, other[k], "no batch by its name");
    hone_config c = data_config(root);
    c.data.val_fraction = 0;
    hone_data *d = opened(&c);
    assert_true(d->classes == 10 && d->height == 32 && d->width == 32 && d->channels == 3);
    assert_string_equal(d->class_name[3], "cat");
    assert_int_equal(hone_dataset_count(d->train), 40);
    assert_null(d->val);
    load(d->train, 1);
    const uint8_t *p = hone_dataset_pixels(d->train) + 25 * 3072; /* image 25: plane c at c * 1024 in the file */
    for (int k = 0; k < 3072; k++) assert_int_equal(p[k], test_pixel(25, k % 3 * 1024 + k / 3));
    assert_int_equal(hone_dataset_labels(d->train)[25], 5);
    hone_data_free(d);
    cifar_batch(root, "data_batch_4.bin", 20, 10, 0);
    refused(root, "data_batch_3.bin is missing", "data_batch_4.bin");
    unlink(scratch_path(root, "data_batch_4.bin"));
    cifar_batch(root, "data_batch_2.bin", 3, 11, 0);
    scratch_write(root, "data_batch_2.bin", "cut", 3);
    refused(root, "whole number of records", "data_batch_2.bin");
    bytes b = {0};
    for (int k = 0; k < 3073; k++) bytes_u8(&b, 200);
    scratch_write(root, "data_batch_2.bin", b.data, b.count);
    free(b.data);
    refused(root, "label 200 is out of range", "data_batch_2.bin#0");
    cifar_batch(root, "data_batch_2.bin", 20, 10, 20);
    scratch_text(root, "batches.meta.txt", "airplane\n");
    refused(root, "1 class names, 10 are wanted", "batches.meta.txt");
}

static void test_cifar100(void **state)
{
    const char *root = *state;
    bytes b = {0};
    for (int i = 0; i < 200; i++) {
        bytes_u8(&b, (unsigned)(i % 20)); /* coarse label: not used */
        bytes_u8(&b, (unsigned)(i % 100));
        for (int k = 0; k < 3072; k++) bytes_u8(&b, test_pixel(i, k));
    }
    scratch_write(root, "train.bin", b.data, b.count);
    scratch_write(root, "test.bin", b.data, b.count / 2);
    free(b.data);
    hone_config c = data_config(root);
    c.data.val_fraction = 0.5;
    hone_data *d = opened(&c);
    assert_int_equal(d->classes, 100);
    assert_int_equal(hone_dataset_count(d->val), 100);
    assert_int_equal(hone_dataset_count(d->test), 100);
    hone_data_free(d);
}

/* `n` images a class in ROOT/split. */
static void folder_split(const char *root, const char *split, const char *const *classes, int class_count, int n)
{
    for (int k = 0; k < class_count; k++)
        for (int i = 0; i < n; i++) {
            char name[256];
            snprintf(name, sizeof name, "%s%s%s/%d.%s", split, *split ? "/" : "", classes[k], i, i % 2 ? "PNG" : "png");
            scratch_png(root, name, k * 100 + i, 6 + i, 9, 3);
        }
}

static const char *const pets[] = {"cats", "dogs", "owls"};

static void test_folder(void **state)
{
    const char *root = *state;
    folder_split(root, "train", pets, 3, 10);
    folder_split(root, "valid", pets + 1, 2, 2); /* no cats in val: fine */
    folder_split(root, "test", pets, 3, 3);
    scratch_text(root, "train/.hidden/x.png", "no");
    scratch_text(root, "train/cats/.DS_Store", "no");
    scratch_text(root, "train/cats/notes.txt", "no");
    scratch_text(root, "README.txt", "no");
    hone_config c = data_config(root);
    hone_data *d = opened(&c);
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->class_name[0], "cats");
    assert_int_equal(hone_dataset_count(d->train), 30);
    assert_int_equal(hone_dataset_count(d->val), 4);
    assert_int_equal(hone_dataset_labels(d->val)[0], 1);              /* dogs, by name */
    assert_true(d->height == 6 && d->width == 9 && d->channels == 3); /* of the first image */
    assert_int_equal(d->note_count, 1);
    assert_non_null(strstr(d->note[0], "notes.txt"));
    load(d->train, 2);
    const uint8_t *first = hone_dataset_pixels(d->train) + 10 * 6 * 9 * 3; /* dogs/0: the common size, so not resized */
    for (int k = 0; k < 6 * 9 * 3; k++) assert_int_equal(first[k], test_pixel(100, k));
    char text[64];
    assert_string_equal(hone_dataset_source(d->train, 10, text, sizeof text), "train/dogs/0.png");
    hone_data_free(d);
}

static void test_folder_unsplit(void **state)
{
    const char *root = *state;
    const char *const names[] = {"test", "train"}; /* classes, not splits: they hold images */
    folder_split(root, "", names, 2, 10);
    hone_config c = data_config(root);
    hone_data *d = opened(&c);
    assert_int_equal(d->classes, 2);
    assert_string_equal(d->class_name[1], "train");
    assert_int_equal(hone_dataset_count(d->train), 18);
    assert_int_equal(hone_dataset_count(d->val), 2);
    assert_null(d->test);
    hone_data_free(d);
}

static void test_folder_refusals(void **state)
{
    const char *root = *state;
    folder_split(root, "train", pets, 2, 2);
    folder_split(root, "val", pets, 3, 2); /* I34: owls only in val */
    refused(root, "class \"owls\" is in val", "val/owls/0.png");
    mkdir(scratch_path(root, "train/owls"), 0777); /* a folder without images teaches nothing either */
    refused(root, "class \"owls\" has samples in val", "none in train");
    hone_config c = data_config(root);
    scratch_png(root, "train/owls/1.png", 1, 4, 4, 1);
    hone_data *d = opened(&c); /* one image is enough */
    hone_data_free(d);
    mkdir(scratch_path(root, "train/newts"), 0777);
    d = opened(&c); /* an empty class that no split has: said, not refused */
    assert_int_equal(d->classes, 4);
    assert_int_equal(d->note_count, 1);
    assert_non_null(strstr(d->note[0], "class \"newts\" has no images"));
    hone_data_free(d);
    folder_split(root, "validation", pets, 1, 1);
    refused(root, "both val/ and validation/", root);
    refused("/nonexistent/data", "no such file or folder", "/nonexistent/data");
    char *empty = strdup(scratch_path(root, "train/newts"));
    refused(empty, "no data set of a known format", "newts");
    free(empty);
    mkdir(scratch_path(root, "hollow"), 0777);
    mkdir(scratch_path(root, "hollow/a"), 0777);
    refused(scratch_path(root, "hollow"), "1 class folders, but no images", "hollow");
    scratch_text(root, "table/data.csv", "path,label\n");
    refused(scratch_path(root, "table"), "no training split", "table"); /* a header, and no row */
}

/* I31, I32: odd names and things that are no files. */
static void test_folder_odd_entries(void **state)
{
    const char *root = *state;
    char name[300] = "train/a/";
    folder_split(root, "train", (const char *const[]){"a", "b"}, 2, 2);
    scratch_png(root, "train/a/new\nline.png", 1, 4, 4, 3);
    scratch_png(root, "train/a/\xFF\xFE.png", 2, 4, 4, 3);
    scratch_png(root, "train/a/-rf.png", 3, 4, 4, 3);
    scratch_png(root, "train/a/%s%n.png", 4, 4, 4, 3);
    memset(name + 8, 'x', 251);
    strcpy(name + 8 + 251, ".png");
    scratch_png(root, name, 5, 4, 4, 3);
    assert_int_equal(mkfifo(scratch_path(root, "train/a/fifo.png"), 0666), 0); /* opening it would hang */
    assert_int_equal(symlink("/nonexistent", scratch_path(root, "train/a/dangling.png")), 0);
    assert_int_equal(symlink("/dev/zero", scratch_path(root, "train/a/zero.png")), 0);
    assert_int_equal(symlink("loop.png", scratch_path(root, "train/a/loop.png")), 0);
    mkdir(scratch_path(root, "train/a/folder.png"), 0777);
    hone_config c = data_config(root);
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_count(d->train) + (d->val ? hone_dataset_count(d->val) : 0), 9);
    assert_non_null(strstr(d->note[0], "left out 5 entries"));
    load(d->train, 2);
    char text[HONE_SHOWN];
    bool newline = false, bytes_shown = false;
    for (int64_t i = 0; i < hone_dataset_count(d->train); i++) {
        hone_dataset_source(d->train, i, text, sizeof text);
        newline |= strstr(text, "new\\x0Aline") != NULL;
        bytes_shown |= strstr(text, "\\xFF\\xFE") != NULL;
        assert_null(strchr(text, '\n'));
    }
    assert_true(newline && bytes_shown);
    hone_data_free(d);
    assert_int_equal(symlink("/etc/passwd", scratch_path(root, "train/a/passwd.png")), 0);
    d = opened(&c);
    c.data.on_error = HONE_ON_ERROR_STOP;
    assert_int_equal(hone_dataset_load(d->train, 1, NULL), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "passwd.png: not an image"));
    assert_null(strstr(hone_error_message(), "root:")); /* content of foreign files stays out of messages */
    hone_data_free(d);
}

static void test_explicit_paths(void **state)
{
    const char *root = *state;
    folder_split(root, "one", pets, 3, 4);
    folder_split(root, "two", pets, 2, 2);
    scratch_idx(root, "train", 6, 2, 2, 3, 0);
    hone_config c = data_config(NULL);
    char *one = strdup(scratch_path(root, "one")), *two = strdup(scratch_path(root, "two"));
    c.data.train = one;
    c.data.val = two;
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_count(d->train), 12);
    assert_int_equal(hone_dataset_count(d->val), 4);
    hone_data_free(d);
    c.data.val = "/nonexistent";
    assert_int_equal(data_open(&c, &d), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "/nonexistent"));
    c.data.val = NULL;
    c.data.format = HONE_FORMAT_IDX; /* one/ holds no IDX files */
    assert_int_equal(data_open(&c, &d), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "data.train"));
    c = data_config(NULL);
    assert_int_equal(data_open(&c, &d), HONE_ERR_USAGE);
    free(one);
    free(two);
}

static void test_split_rule(void **state)
{
    (void)state;
    int32_t label[1000];
    bool a[1000], b[1000];
    int64_t n, m;
    for (int i = 0; i < 1000; i++) label[i] = i < 700 ? 0 : i < 990 ? 1 : i < 999 ? 2 : 3; /* 700, 290, 9, 1 */
    assert_int_equal(hone_split_stratified(label, 1000, 5, 0.1, 7, a, &n), HONE_OK);
    int per_class[4] = {0};
    for (int i = 0; i < 1000; i++) per_class[label[i]] += a[i];
    assert_int_equal(n, 70 + 29 + 1);
    assert_true(per_class[0] == 70 && per_class[1] == 29 && per_class[2] == 1 && per_class[3] == 0);
    assert_int_equal(hone_split_stratified(label, 1000, 5, 0.1, 7, b, &m), HONE_OK);
    assert_memory_equal(a, b, sizeof a); /* the same seed, the same split */
    assert_int_equal(hone_split_stratified(label, 1000, 5, 0.1, 8, b, &m), HONE_OK);
    assert_true(memcmp(a, b, sizeof a) != 0);
    for (int i = 990; i < 1000; i++) label[i] = 0; /* other classes changed: class 1 keeps its split */
    assert_int_equal(hone_split_stratified(label, 1000, 5, 0.1, 7, b, &m), HONE_OK);
    assert_memory_equal(a + 700, b + 700, 290 * sizeof *a);
    assert_int_equal(hone_split_stratified(label, 1000, 5, 1.0, 7, b, &m), HONE_OK);
    assert_int_equal(m, 998); /* never all of a class */
    assert_int_equal(hone_split_stratified(label, 1000, 5, 0.0, 7, b, &m), HONE_OK);
    assert_int_equal(m, 0);
}

static hone_dataset *eval_set(const char *path, const char *split, hone_config *c, int classes,
                              const char *const *names, hone_status want)
{
    hone_preprocess pre = {.height = 6, .width = 9, .channels = 3};
    hone_dataset *d = NULL;
    hone_status s = hone_data_open_eval(path, split, c, &pre, classes, names, &d);
    if (s != want) fail_msg("%d: %s", s, hone_error_message());
    return d;
}

static void test_eval(void **state)
{
    const char *root = *state;
    folder_split(root, "set/train", pets, 3, 10);
    folder_split(root, "set/test", pets + 1, 2, 3);
    folder_split(root, "flat", pets + 1, 2, 4);
    char *set = strdup(scratch_path(root, "set")), *flat = strdup(scratch_path(root, "flat"));
    const char *const order[] = {"owls", "zebras", "dogs", "cats"}; /* the model's list: other order, one more */
    hone_config c = data_config(set);
    hone_dataset *d = eval_set(NULL, NULL, &c, 4, order, HONE_OK); /* test, because there is one */
    assert_int_equal(hone_dataset_count(d), 6);
    assert_int_equal(hone_dataset_labels(d)[0], 2); /* dogs */
    assert_int_equal(hone_dataset_labels(d)[5], 0); /* owls */
    hone_dataset_free(d);
    d = eval_set(flat, NULL, &c, 4, order, HONE_OK); /* a set without splits: all of it */
    assert_int_equal(hone_dataset_count(d), 8);
    load(d, 2);
    assert_non_null(hone_dataset_pixels(d));
    hone_dataset_free(d);
    d = eval_set(flat, "test", &c, 4, order, HONE_OK);
    assert_int_equal(hone_dataset_count(d), 8);
    hone_dataset_free(d);
    hone_data *trained = opened(&c); /* val and train are those of training */
    hone_dataset *val = eval_set(NULL, "val", &c, 4, order, HONE_OK),
                 *train = eval_set(NULL, "train", &c, 4, order, HONE_OK);
    assert_int_equal(hone_dataset_count(val), hone_dataset_count(trained->val));
    assert_int_equal(hone_dataset_count(train), 27);
    char a[64], b[64];
    for (int64_t i = 0; i < hone_dataset_count(val); i++)
        assert_string_equal(hone_dataset_source(val, i, a, sizeof a),
                            hone_dataset_source(trained->val, i, b, sizeof b));
    hone_dataset_free(val);
    hone_dataset_free(train);
    hone_data_free(trained);
    eval_set(flat, NULL, &c, 2, order, HONE_ERR_DATA); /* dogs are unknown to this model */
    assert_non_null(
        strstr(hone_error_message(), "class \"dogs\" is in the data (first: dogs/0.png), but not in the model"));
    eval_set(flat, "dev", &c, 4, order, HONE_ERR_USAGE);
    scratch_idx(root, "idx/train", 6, 2, 2, 2, 0);
    char *idx = strdup(scratch_path(root, "idx"));
    eval_set(idx, "test", &c, 4, order, HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "no test split (it has: train)"));
    free(idx);
    free(set);
    free(flat);
}

static void test_synthetic(void **state)
{
    (void)state;
    hone_config c = data_config(NULL);
    c.data.synthetic.given = true;
    c.data.synthetic.shape[0] = 12;
    c.data.synthetic.shape[1] = 10;
    c.data.synthetic.shape[2] = 3;
    c.data.synthetic.classes = 4;
    c.data.synthetic.samples = 800;
    hone_data *d = opened(&c);
    c.data.decode_threads = 1;
    hone_data *again = opened(&c);
    c.train.seed = 2;
    hone_data *other = opened(&c);
    assert_int_equal(hone_dataset_count(d->train), 800);
    assert_int_equal(hone_dataset_count(d->val), 100);
    assert_null(d->test);
    load(d->train, 2);
    load(d->val, 2);
    load(again->train, 1);
    load(other->train, 1);
    size_t n = 360;
    assert_memory_equal(hone_dataset_pixels(d->train), hone_dataset_pixels(again->train), 800 * n);
    assert_true(d->fingerprint == again->fingerprint && d->fingerprint != other->fingerprint);
    /* the nearest class mean of train must tell val apart: there is something to learn */
    double *mean = calloc(4 * n, sizeof *mean);
    for (int i = 0; i < 800; i++)
        for (size_t k = 0; k < n; k++)
            mean[(size_t)hone_dataset_labels(d->train)[i] * n + k] +=
                hone_dataset_pixels(d->train)[(size_t)i * n + k] / 200.0;
    int right = 0;
    for (int i = 0; i < 100; i++) {
        double best = 1e30;
        int label = -1;
        for (int j = 0; j < 4; j++) {
            double distance = 0;
            for (size_t k = 0; k < n; k++) {
                double e = hone_dataset_pixels(d->val)[(size_t)i * n + k] - mean[(size_t)j * n + k];
                distance += e * e;
            }
            if (distance < best) best = distance, label = j;
        }
        right += label == hone_dataset_labels(d->val)[i];
    }
    free(mean);
    assert_int_equal(right, 100);
    assert_true(memcmp(hone_dataset_pixels(d->train), hone_dataset_pixels(d->val), 100 * n) != 0);
    hone_data_free(d);
    hone_data_free(again);
    hone_data_free(other);
    c.data.synthetic.shape[2] = 2;
    assert_int_equal(data_open(&c, &d), HONE_ERR_USAGE);
}

static void test_moments(void **state)
{
    const char *root = *state;
    folder_split(root, "train", pets, 2, 40);
    hone_config c = data_config(root);
    c.data.val_fraction = 0;
    hone_data *d = opened(&c);
    float stream_mean[4], stream_std[4], mean[4], std[4];
    assert_int_equal(hone_dataset_moments(d->train, stream_mean, stream_std), HONE_OK); /* not loaded: decodes */
    load(d->train, 2);
    assert_int_equal(hone_dataset_moments(d->train, mean, std), HONE_OK);
    const uint8_t *p = hone_dataset_pixels(d->train);
    size_t n = 80 * 6 * 9;
    for (int ch = 0; ch < 3; ch++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++) sum += p[3 * i + (size_t)ch] / 255.0;
        for (size_t i = 0; i < n; i++)
            squares +=
                (p[3 * i + (size_t)ch] / 255.0 - sum / (double)n) * (p[3 * i + (size_t)ch] / 255.0 - sum / (double)n);
        assert_float_equal(mean[ch], sum / (double)n, 1e-6);
        assert_float_equal(std[ch], sqrt(squares / (double)n), 1e-6);
        assert_true(std[ch] > 0.03); /* not a test of zeros */
    }
    assert_memory_equal(mean, stream_mean, sizeof mean);
    assert_memory_equal(std, stream_std, sizeof std);
    hone_data_free(d);
}

static void test_shuffle(void **state)
{
    (void)state;
    enum { N = 1001 };
    int32_t a[N], b[N];
    int seen[N] = {0}, fixed = 0;
    hone_shuffle(5, 3, N, a);
    hone_shuffle(5, 3, N, b);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < N; i++) {
        seen[a[i]]++;
        fixed += a[i] == i;
    }
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    assert_true(fixed < 10);
    hone_shuffle(5, 4, N, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    hone_shuffle(6, 3, N, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    int count[4][4] = {{0}}; /* every value lands everywhere equally often: 4000 draws, expectation 1000 */
    for (int e = 0; e < 4000; e++) {
        hone_shuffle(9, e, 4, a);
        for (int i = 0; i < 4; i++) count[i][a[i]]++;
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) assert_in_range(count[i][j], 900, 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cifar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cifar100, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_unsplit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_odd_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_explicit_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moments, setup, teardown),
        cmocka_unit_test(test_split_rule),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_shuffle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
