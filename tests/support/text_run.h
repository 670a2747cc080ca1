/* text_run.h - a scratch folder, a table of three classes that only 2-grams tell apart, and a bag trained on it. */
#ifndef HONE_TESTS_TEXT_RUN_H
#define HONE_TESTS_TEXT_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hone/hone.h"
#include "hone/philox.h"
#include "io/file.h"

static int make_scratch(void **state)
{
    char template[64];
    snprintf(template, sizeof template, "%s/hone-text-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_scratch(void **state)
{
    int failed = hone_io_remove_tree(*state) != HONE_OK;
    free(*state);
    return failed;
}

static const char *path_in(const char *dir, const char *name)
{
    static char text[4][400];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(text[turn], sizeof text[turn], "%s/%s", dir, name);
    return text[turn];
}

/* Rows of 3 classes: words that all have, and a pair of words whose ORDER tells the class of two of them. */
static void write_rows(const char *path, int rows, uint32_t stream)
{
    static const char *const name[] = {"ham", "spam", "news"};
    static const char *const mark[] = {"left right", "right left", "paper"};
    char *text = malloc((size_t)rows * 160 + 20000);
    size_t at = (size_t)sprintf(text, "label\ttext\n");
    for (int k = 0; k < rows; k++) {
        hone_philox4 r = hone_philox(5, stream, (uint64_t)k, 0);
        at += (size_t)sprintf(text + at, "%s\t", name[k % 3]);
        /* row 7 is long, row 8 has no word but its mark's, others a few */
        int words = k == 7 ? 900 : k == 8 ? 0 : (int)(r.v[1] % 9);
        for (int w = 0; w < words; w++) at += (size_t)sprintf(text + at, "W%u ", (r.v[2] + (uint32_t)w * 7919) % 200);
        at += (size_t)sprintf(text + at, "%s\n", mark[k % 3]);
    }
    assert_int_equal(hone_file_write(path, text, at), HONE_OK);
    free(text);
}

static volatile int stop;

typedef struct watch {
    int64_t stop_at; /* 0: never */
} watch;

static void on_progress(void *arg, const hone_progress *p)
{
    watch *w = arg;
    if (w->stop_at && p->step >= w->stop_at && (strcmp(p->what, "step") == 0 || strcmp(p->what, "epoch") == 0)) {
        stop = 1;
        w->stop_at = 0;
    }
}

static const char plain[] = "{name: sgd, lr: 4, momentum: 0, weight_decay: 0}";

static const char bag[] = "embedding_bag: {dim: 10, init: {normal: 0.1}}";

/* `layers`: all but the last, which makes the classes. What convolves or recurs reads the order of single words; the bag
 * and the transformer get 2-grams. */
static hone_status train_net(const char *dir, const char *out, const char *layers, const char *optimizer, int threads,
                             watch *w, hone_evaluation *e)
{
    char page[1200];
    hone_config *c;
    hone_train_opts o = {.device = "cpu", .threads = threads, .out = path_in(dir, out), .stop = &stop};
    o.progress = on_progress;
    o.progress_arg = w;
    snprintf(page, sizeof page,
             "task: text\ndata: {train: %s, val: %s, test: %s}\n"
             "text: {ngram: {words: [1, %d], buckets: 4096}, max_length: 300}\n"
             "model: {layers: [%s, linear: classes]}\n"
             "train: {epochs: 8, batch: 16, optimizer: %s, loss: {label_smoothing: 0}, schedule: {name: linear}}\n"
             "checkpoint: {every: 1 epoch, keep: 2}\nlog: {every: 3}\n",
             path_in(dir, "train.tsv"), path_in(dir, "val.tsv"), path_in(dir, "test.tsv"),
             strstr(layers, "conv1d") || strstr(layers, "gru") ? 1 : 2, layers, optimizer);
    if (hone_config_read_text("page.yaml", page, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_status status = hone_train(c, &o, e);
    stop = 0;
    hone_config_free(c);
    return status;
}

static hone_status train(const char *dir, const char *out, const char *optimizer, int threads, watch *w,
                         hone_evaluation *e)
{
    return train_net(dir, out, bag, optimizer, threads, w, e);
}

static void write_all(const char *dir)
{
    write_rows(path_in(dir, "train.tsv"), 310, 1);
    write_rows(path_in(dir, "val.tsv"), 75, 2);
    write_rows(path_in(dir, "test.tsv"), 100, 3);
}

#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, make_scratch, remove_scratch)

#endif
