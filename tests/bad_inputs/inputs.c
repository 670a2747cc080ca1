/* inputs.c - see bad_inputs.h: good data and pages, which the tables then break. */
#include "bad_inputs/bad_inputs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "support/scratch.h"

void bad_make_pictures(const char *folder)
{
    char name[64];
    for (int k = 0; k < 12; k++) {
        snprintf(name, sizeof name, "set/%s/%s/%d.png", k < 8 ? "train" : "test", k % 2 ? "dog" : "cat", k);
        scratch_png(folder, name, k, 8, 8, 1);
    }
    scratch_text(folder, "page.yaml",
                 "task: image\nout: run\ndata: {path: set, val_fraction: 0}\nimage: {size: 8, channels: 1}\n"
                 "model: {layers: [flatten, linear: classes]}\ntrain: {epochs: 1, batch: 4}\n");
}

void bad_make_texts(const char *folder)
{
    bytes b = {0};
    bytes_add(&b, "label\ttext\n", 11);
    for (int k = 0; k < 40; k++) {
        char row[64];
        int n =
            snprintf(row, sizeof row, "%s\tword%d %s\n", k % 2 ? "spam" : "ham", k % 7, k % 2 ? "buy now" : "hello");
        bytes_add(&b, row, (size_t)n);
    }
    scratch_write(folder, "rows.tsv", b.data, b.count);
    free(b.data);
    scratch_text(folder, "page.yaml",
                 "task: text\nout: run\ndata: {train: rows.tsv, val_fraction: 0}\n"
                 "model: {layers: [embedding_bag: {dim: 4}, linear: classes]}\n"
                 "text: {ngram: {buckets: 100}}\ntrain: {epochs: 1, batch: 8}\n");
}

void bad_make_synthetic(const char *folder)
{
    scratch_text(folder, "page.yaml",
                 "out: run\ndata: {synthetic: {shape: [6, 6, 1], classes: 3, samples: 32}}\n"
                 "model: {layers: [conv: {out: 2}, batchnorm, relu, flatten, linear: classes]}\n"
                 "train: {batch: 8, epochs: 1}\nlog: {every: 1}\ncheckpoint: {every: 1 steps}\n");
}

void bad_hone(const char *folder, const char *args, int code)
{
    char line[1024];
    snprintf(line, sizeof line, "cd '%s' && '%s' %s >log.txt 2>&1", folder, HONE_BINARY, args);
    int status = system(line);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("hone %s: status %d, wanted %d", args, status, code);
    unlink(scratch_path(folder, "log.txt"));
}

void bad_make_run(const char *folder)
{
    bad_make_synthetic(folder);
    bad_hone(folder, "train page.yaml --threads 1 --quiet", 0);
}
