/* test_model_files.c - a model folder that was damaged or mixed up is refused with the file, the array and the reason:
 * cases M11 to M16 and M20 of the list of bad inputs, at the door that programs use. M1 to M10 are in test_io, those of
 * checkpoints (M15 to M19, M21, M22) in test_checkpoint and test_train.
 * rooms: train data model compile graph config io kernels core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hone/hone.h"
#include "io/file.h"
#include "support/scratch.h"
#include "train/saved.h"

enum { ARRAYS = 8 };

/* A run, and its arrays to be changed by a case. */
typedef struct weights {
    hone_saved saved;
    hone_blob *blob;
    int count;
    hone_blob more; /* an array that a case adds */
} weights;

static const char page[] = "task: image\n"
                           "data: {synthetic: {shape: [8, 8, 1], classes: 4, samples: 24}}\n"
                           "model:\n"
                           "  layers: [conv: {out: 4}, batchnorm, relu, flatten, linear: 8, linear: {out: classes}]\n"
                           "train: {epochs: 1, batch: 8}\n";

static hone_blob *find(weights *w, const char *name)
{
    for (int k = 0; k < w->count; k++)
        if (strcmp(w->blob[k].name, name) == 0) return &w->blob[k];
    fail_msg("no array %s", name);
    return NULL;
}

static void set(weights *w, const char *name, int at, float value) { ((float *)find(w, name)->data)[at] = value; }

/* --- the cases: each changes one thing of a good file --- */
static void m11_nan(weights *w) { set(w, "conv1.weight", 5, NAN); }
static void m11_infinity(weights *w) { set(w, "batchnorm1.running_var", 1, INFINITY); }
static void m11_denormal(weights *w) { set(w, "conv1.weight", 0, 1e-40f); }
static void m12_missing(weights *w) { w->count--; }
static void m12_renamed(weights *w) { find(w, "linear1.weight")->name = "linear1.wieght"; }
static void m12_prefix(weights *w) { find(w, "linear1.weight")->name = "module.linear1.weight"; }

static void m12_extra(weights *w)
{
    static float x[1];
    w->more = (hone_blob){"linear3.bias", HONE_F32, 1, {1}, x, sizeof x};
}

static void m13_transposed(weights *w)
{
    hone_blob *b = find(w, "linear1.weight");
    int64_t rows = b->dim[0];
    b->dim[0] = b->dim[1];
    b->dim[1] = rows;
}

static void m13_flat(weights *w)
{
    hone_blob *b = find(w, "linear1.weight");
    b->dim[0] *= b->dim[1];
    b->rank = 1;
}

static void m14_other_labels(weights *w)
{
    find(w, "linear2.weight")->dim[0] = 3;
    find(w, "linear2.weight")->bytes = 3 * 8 * sizeof(float);
}

static void m14_integers(weights *w) { find(w, "linear2.bias")->dtype = HONE_I32; }

static void m14_other_model(weights *w)
{
    static float x[2];
    w->more = (hone_blob){"bert.pooler.dense.bias", HONE_F32, 1, {2}, x, sizeof x};
    w->count = 0;
}

typedef struct row {
    const char *what;
    void (*change)(weights *w);
    const char *words[2]; /* in the message; NULL: the file is good */
} row;

static const row rows[] = {
    {"M11 NaN", m11_nan, {"conv1.weight holds", "element 5"}},
    {"M11 infinity", m11_infinity, {"batchnorm1.running_var holds inf", "element 1"}},
    {"M11 denormal (good)", m11_denormal, {NULL, NULL}},
    {"M12 missing", m12_missing, {"no array", "linear2."}},
    {"M12 renamed", m12_renamed, {"no array linear1.weight", "is it linear1.wieght?"}},
    {"M12 prefixed", m12_prefix, {"no array linear1.weight", "is it module.linear1.weight?"}},
    {"M12 extra", m12_extra, {"no parameter linear3.bias", ""}},
    {"M13 transposed", m13_transposed, {"linear1.weight has shape (256, 8)", "the model needs (8, 256)"}},
    {"M13 flat", m13_flat, {"linear1.weight has shape (2048)", "the model needs (8, 256)"}},
    {"M14 other labels", m14_other_labels, {"linear2.weight has shape (3, 8)", "the model needs (4, 8)"}},
    {"M14 integers", m14_integers, {"linear2.bias has dtype", "i32"}},
    {"M14 another model", m14_other_model, {"no array conv1.weight", ""}},
};

/* best.safetensors of `run`, changed by a case. */
static void save_changed(const char *run, const row *r, const char *into)
{
    hone_blob all[ARRAYS + 8];
    weights w = {0};
    assert_int_equal(hone_saved_open(run, &w.saved), HONE_OK);
    w.blob = hone_weights_blobs(w.saved.model, &w.count);
    r->change(&w);
    memcpy(all, w.blob, (size_t)w.count * sizeof *all);
    if (w.more.name) all[w.count++] = w.more;
    if (hone_safetensors_write(into, all, w.count, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    free(w.blob);
    hone_saved_close(&w.saved);
}

/* Named by its own path, so that model.json beside it says what it should be. */
static void every_case_is_refused(void **state)
{
    const char *run = scratch_path(*state, "run");
    char file[400];
    snprintf(file, sizeof file, "%s/run/changed.safetensors", (char *)*state);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        hone_predictor *p = NULL;
        save_changed(run, &rows[k], file);
        hone_status status = hone_predictor_open(file, "cpu", 1, &p);
        if (status != (rows[k].words[0] ? HONE_ERR_DATA : HONE_OK))
            fail_msg("%s: status %d, %s", rows[k].what, status, hone_error_message());
        for (int i = 0; i < 2 && rows[k].words[0]; i++)
            if (!strstr(hone_error_message(), rows[k].words[i]))
                fail_msg("%s: no \"%s\" in: %s", rows[k].what, rows[k].words[i], hone_error_message());
        if (rows[k].words[0] && !strstr(hone_error_message(), "changed.safetensors"))
            fail_msg("%s: the message does not name the file: %s", rows[k].what, hone_error_message());
        assert_true((p != NULL) == (status == HONE_OK));
        hone_predictor_close(p);
    }
}

/* M15: every prefix of 1/64 of weights and of model.json. */
static void cut_files_are_refused(void **state)
{
    const char *run = scratch_path(*state, "run");
    static const char *const name[] = {"best.safetensors", "model.json"};
    for (int f = 0; f < 2; f++) {
        char path[400], *data;
        size_t count;
        hone_predictor *p = NULL;
        snprintf(path, sizeof path, "%s/run/%s", (char *)*state, name[f]);
        assert_int_equal(hone_file_read(path, 1 << 24, &data, &count), HONE_OK);
        for (size_t cut = 0; cut < 64; cut++) {
            assert_int_equal(hone_file_write(path, data, count * cut / 64), HONE_OK);
            if (hone_predictor_open(run, "cpu", 1, &p) == HONE_OK)
                fail_msg("%s cut at %zu/64 was opened", name[f], cut);
            assert_non_null(strstr(hone_error_message(), name[f]));
        }
        assert_int_equal(hone_file_write(path, data, count), HONE_OK);
        assert_int_equal(hone_predictor_open(run, "cpu", 1, &p), HONE_OK); /* and what is whole opens */
        hone_predictor_close(p);
        free(data);
    }
}

/* M20: the file is read, not mapped; replacing it under an open predictor changes nothing. */
static void replaced_under_an_open_model(void **state)
{
    hone_predictor *p;
    uint8_t pixels[64] = {9, 200, 3};
    float before[4], after[4];
    char path[400], *data;
    size_t count;
    snprintf(path, sizeof path, "%s/run/best.safetensors", (char *)*state);
    assert_int_equal(hone_file_read(path, 1 << 24, &data, &count), HONE_OK);
    assert_int_equal(hone_predictor_open(path, "cpu", 1, &p), HONE_OK);
    assert_int_equal(hone_predictor_run(p, pixels, 1, before), HONE_OK);
    FILE *f = fopen(path, "r+"); /* in place, as a careless copy does */
    for (size_t k = 0; k < count; k++) putc(0, f);
    fclose(f);
    assert_int_equal(hone_predictor_run(p, pixels, 1, after), HONE_OK);
    assert_memory_equal(before, after, sizeof before);
    hone_predictor_close(p);
    assert_int_equal(hone_file_write(path, data, count), HONE_OK);
    free(data);
}

static int make(void **state)
{
    hone_config *c = NULL;
    *state = strdup(scratch_make());
    hone_train_opts o = {.device = "cpu", .threads = 1, .out = scratch_path(*state, "run")};
    if (hone_config_read_text("page", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    return 0;
}

static int take_away(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_refused),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(replaced_under_an_open_model),
    };
    return cmocka_run_group_tests(tests, make, take_away);
}
