/* test_image_table.c - pictures that a table lists: splits, weights, names of columns, relative and absolute paths;
 * a path that leads nowhere is told with its line, or skipped and listed; the fingerprint follows what is read.
 * rooms: data config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/text.h"
#include "support/data_config.h"
#include "support/scratch.h"

static int make_folder(void **state)
{
    *state = strdup(scratch_make());
    const char *root = *state;
    for (int i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "pictures/%d.png", i);
        scratch_png(root, name, i, 4, 5, 1);
    }
    return *state ? 0 : -1;
}

static int remove_folder(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

static hone_data *opened(const hone_config *c)
{
    hone_data *d = NULL;
    hone_status s = data_open(c, &d);
    if (s != HONE_OK) fail_msg("%s", hone_error_message());
    return d;
}

/* Sample k of `d` is picture `id`, pixel by pixel. */
static void assert_picture(hone_dataset *d, int64_t k, int id)
{
    const uint8_t *p = hone_dataset_pixels(d) + k * 20;
    for (int i = 0; i < 20; i++) assert_int_equal(p[i], test_pixel(id, i));
}

/* One table with all splits; a weight where the row gives one; a label that only a comma in quotes holds. */
static void test_one_table(void **state)
{
    scratch_text(*state, "all.csv",
                 "label,path,weight,part\n\"cat, small\",pictures/3.png,2,train\ndog,pictures/1.png,0.5,train\n"
                 "dog,pictures/2.png,1,val\n\"cat, small\",pictures/0.png,1,test\n");
    hone_config c = data_config(scratch_path(*state, "all.csv"));
    c.data.columns.split = "part";
    hone_data *d = opened(&c);
    assert_int_equal(d->classes, 2);
    assert_string_equal(d->class_name[0], "cat, small");
    assert_int_equal(hone_dataset_count(d->train), 2);
    assert_int_equal(hone_dataset_count(d->val), 1);
    assert_int_equal(hone_dataset_count(d->test), 1);
    assert_int_equal(hone_dataset_labels(d->train)[0], 0); /* order of the rows, classes sorted */
    assert_int_equal(hone_dataset_labels(d->train)[1], 1);
    assert_int_equal(hone_dataset_labels(d->val)[0], 1);
    assert_float_equal(hone_dataset_weights(d->train)[0], 2, 0);
    assert_float_equal(hone_dataset_weights(d->train)[1], 0.5, 0);
    assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_OK);
    assert_picture(d->train, 0, 3);
    assert_picture(d->train, 1, 1);
    char text[256];
    assert_non_null(strstr(hone_dataset_source(d->train, 0, text, sizeof text), "pictures/3.png"));
    hone_data_free(d);
}

/* A folder with a table a split; JSONL by Hugging Face's name; an absolute path; val cut where there is none. */
static void test_other_forms(void **state)
{
    const char *root = *state;
    char line[512];
    scratch_text(root, "split/train.tsv", "path\tlabel\n../pictures/0.png\ta\n../pictures/1.png\tb\n");
    scratch_text(root, "split/test.tsv", "path\tlabel\n../pictures/2.png\tb\n");
    hone_config c = data_config(scratch_path(root, "split"));
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_count(d->test), 1);
    assert_null(hone_dataset_weights(d->train));
    hone_data_free(d);
    snprintf(
        line, sizeof line,
        "{\"file_name\": \"%s/pictures/4.png\", \"label\": \"a\"}\n{\"file_name\": \"pictures/5.png\", \"label\": 7}\n",
        root);
    scratch_text(root, "metadata.jsonl", line);
    c = data_config(scratch_path(root, "metadata.jsonl"));
    d = opened(&c);
    assert_string_equal(d->class_name[0], "7");
    assert_int_equal(hone_dataset_load(d->train, 1, NULL), HONE_OK);
    assert_picture(d->train, 0, 4);
    hone_data_free(d);
    hone_text many = {0};
    hone_text_add(&many, "image,class\n");
    for (int i = 0; i < 60; i++) hone_text_add(&many, "pictures/%d.png,%c\n", i % 12, 'a' + i % 3);
    scratch_text(root, "one.csv", many.data);
    hone_text_free(&many);
    c = data_config(scratch_path(root, "one.csv"));
    d = opened(&c);
    assert_int_equal(hone_dataset_count(d->train), 54); /* two of twenty of each class */
    assert_int_equal(hone_dataset_count(d->val), 6);
    hone_dataset *whole = NULL;
    const char *const names[] = {"c", "b", "a"};
    hone_preprocess pre = {.height = 4, .width = 5, .channels = 1};
    hone_config plain = data_config(NULL);
    assert_int_equal(hone_data_open_eval(scratch_path(root, "one.csv"), NULL, &plain, &pre, 3, names, &whole), HONE_OK);
    assert_int_equal(hone_dataset_count(whole), 60);
    assert_int_equal(hone_dataset_labels(whole)[0], 2); /* by name into the model's list */
    hone_dataset_free(whole);
    hone_data_free(d);
}

static void assert_refused(const hone_config *c, hone_status status, const char *why)
{
    hone_data *d = NULL;
    assert_int_equal(data_open(c, &d), status);
    if (!strstr(hone_error_message(), why)) fail_msg("wanted \"%s\" in: %s", why, hone_error_message());
}

static void test_refusals(void **state)
{
    const char *root = *state;
    scratch_text(root, "a.csv", "path,label\npictures/0.png,x\npictures/99.png,y\n");
    hone_config c = data_config(scratch_path(root, "a.csv"));
    assert_refused(&c, HONE_ERR_DATA, "a.csv:3: ");
    assert_refused(&c, HONE_ERR_DATA, "pictures/99.png: no such file");
    scratch_text(root, "b.csv", "path,label\npictures,x\n");
    c = data_config(scratch_path(root, "b.csv"));
    assert_refused(&c, HONE_ERR_DATA, "b.csv:2: ");
    assert_refused(&c, HONE_ERR_DATA, "not a regular file");
    scratch_text(root, "c.csv", "pth,label\npictures/0.png,x\n");
    c = data_config(scratch_path(root, "c.csv"));
    assert_refused(&c, HONE_ERR_DATA, "did you mean \"pth\"?");
    scratch_text(root, "d.csv", "path,label\n,x\n");
    c = data_config(scratch_path(root, "d.csv"));
    assert_refused(&c, HONE_ERR_DATA, "d.csv:2: the path is empty");
    /* a class that train lacks */
    scratch_text(root, "split/train.csv", "path,label\n../pictures/0.png,x\n");
    scratch_text(root, "split/val.csv", "path,label\n../pictures/0.png,z\n");
    c = data_config(scratch_path(root, "split"));
    assert_refused(&c, HONE_ERR_DATA, "class \"z\" is in val");
    /* one split in a table, another in folders */
    scratch_png(root, "folders/x/1.png", 1, 4, 5, 1);
    char *table = strdup(scratch_path(root, "split/train.csv")), *folders = strdup(scratch_path(root, "folders"));
    c = data_config(NULL);
    c.data.train = table;
    c.data.val = folders;
    assert_refused(&c, HONE_ERR_USAGE, "some are tables and some are not");
    c = data_config(table);
    c.data.format = HONE_FORMAT_FASTTEXT;
    assert_refused(&c, HONE_ERR_DATA, "holds texts, not pictures");
    free(table);
    free(folders);
}

/* on_error: skip names each row and counts it; broken pictures keep labels and weights in step. */
static void test_skip(void **state)
{
    const char *root = *state, *const * reason;
    scratch_text(root, "pictures/broken.png", "this is no picture");
    scratch_text(
        root, "s.csv",
        "path,label,weight\npictures/0.png,a,1\nnowhere.png,b,2\npictures/broken.png,a,3\npictures/1.png,b,4\n");
    hone_config c = data_config(scratch_path(root, "s.csv"));
    c.data.on_error = HONE_ON_ERROR_SKIP;
    c.data.val_fraction = 0;
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_count(d->train), 3);
    assert_int_equal(hone_dataset_load(d->train, 2, NULL), HONE_OK);
    assert_int_equal(hone_dataset_count(d->train), 2);
    assert_int_equal(hone_dataset_skipped(d->train, &reason), 2);
    assert_non_null(strstr(reason[0], "s.csv:3: "));
    assert_non_null(strstr(reason[1], "broken.png"));
    assert_int_equal(hone_dataset_labels(d->train)[1], 1);
    assert_float_equal(hone_dataset_weights(d->train)[1], 4, 0);
    assert_picture(d->train, 1, 1);
    hone_data_free(d);
    scratch_text(root, "s.csv", "path,label\nnowhere.png,b\n");
    assert_refused(&c, HONE_ERR_DATA, "none of the 1 rows leads to a file");
}

/* Other labels, weights, order or pixels are other data; the same table read twice is the same. */
static void test_fingerprint(void **state)
{
    static const char *const table[] = {"path,label,weight\npictures/0.png,a,1\npictures/1.png,b,1\n",
                                        "path,label,weight\npictures/0.png,b,1\npictures/1.png,a,1\n",
                                        "path,label,weight\npictures/0.png,a,1\npictures/1.png,b,2\n",
                                        "path,label,weight\npictures/1.png,b,1\npictures/0.png,a,1\n"};
    uint64_t seen[6];
    for (int k = 0; k < 6; k++) {
        if (k == 4) scratch_png(*state, "pictures/1.png", 77, 4, 5, 1); /* the same path, other pixels */
        scratch_text(*state, "f.csv", table[k < 4 ? k : 0]);
        hone_config c = data_config(scratch_path(*state, "f.csv"));
        hone_data *d = opened(&c);
        seen[k] = d->fingerprint;
        for (int i = 0; i < k && k < 5; i++) assert_true(seen[i] != seen[k]);
        hone_data_free(d);
    }
    assert_true(seen[5] == seen[4]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_table, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_other_forms, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refusals, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_skip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_fingerprint, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
