/* bench_data.c - see bench_data.h: how many pictures a second the loader alone brings.
 *
 * What is timed is what training waits for when a set does not fit in memory: reading, decoding, resizing, batch by batch
 * in a shuffled order. Nothing is kept from one epoch to the next but what the system keeps of files; the first epoch warms
 * that up and is not counted. */
#include "cli/bench_data.h"

#include <stdio.h>

#include "cli/open_data.h"
#include "cli/progress.h"
#include "core/thread.h"
#include "data/dataset.h"

typedef struct loader_speed {
    int64_t samples;
    double seconds;
    int threads, batch;
} loader_speed;

/* Whole epochs until `least` seconds have passed. */
static hone_status run_epochs(hone_loader *l, double least, const volatile int *stop, loader_speed *out)
{
    hone_batch b;
    double start = hone_now_seconds();
    out->samples = 0;
    do
        for (int64_t k = 0, n = hone_loader_batches(l); k < n; k++) {
            if (stop && *stop) return hone_fail(HONE_INTERRUPTED, NULL, "stopped while measuring");
            HONE_TRY(hone_loader_next(l, &b));
            out->samples += b.count;
        }
    while (hone_now_seconds() - start < least);
    out->seconds = hone_now_seconds() - start;
    return HONE_OK;
}

/* The training split of `d` as a stream, whatever memory there is. */
static hone_status measure(const hone_cli *cli, const hone_config *c, hone_data *d, double least, loader_speed *out)
{
    hone_loader *l = NULL;
    const volatile int *stop = hone_cli_catch_signals();
    out->threads = cli->threads > 0 ? cli->threads : d->train->threads;
    out->batch = c->train.batch;
    d->train->memory_limit_bytes = 1;
    HONE_TRY(hone_dataset_load(d->train, out->threads, stop));
    hone_loader_opts o = {.batch = out->batch,
                          .threads = out->threads,
                          .prefetch = c->data.prefetch,
                          .shuffle = true,
                          .seed = (uint64_t)c->train.seed};
    HONE_TRY(hone_loader_open(d->train, &o, &l));
    hone_status s = run_epochs(l, 0, stop, out);
    if (s == HONE_OK) s = run_epochs(l, least, stop, out);
    hone_loader_close(l);
    return s;
}

/* Keys are a contract with scripts: add, never rename. */
static void print(const hone_cli *cli, const hone_data *d, const loader_speed *r)
{
    double rate = (double)r->samples / r->seconds;
    if (cli->json)
        printf(
            "{\"samples_per_second\":%.9g,\"samples\":%lld,\"seconds\":%.9g,\"threads\":%d,\"batch\":%d,\"height\":%d,"
            "\"width\":%d,\"channels\":%d}\n",
            rate, (long long)r->samples, r->seconds, r->threads, r->batch, d->height, d->width, d->channels);
    else
        printf("%.0f pictures/s to %d x %d, %d channel%s, by %d thread%s; %lld pictures in %.2f s\n", rate, d->width,
               d->height, d->channels, d->channels == 1 ? "" : "s", r->threads, r->threads == 1 ? "" : "s",
               (long long)r->samples, r->seconds);
}

hone_status hone_cli_bench_data(const hone_cli *cli)
{
    int64_t least = 3;
    hone_config *c = NULL;
    hone_data *d = NULL;
    loader_speed r = {0};
    HONE_TRY(hone_cli_int(cli, "--seconds", 1, 3600, &least));
    HONE_TRY(hone_cli_data_config(cli, cli->arg[1], 2, &c));
    c->data.val_fraction = 0;
    hone_image_spec spec = {c->image.height, c->image.width, c->image.channels, c->image.resize};
    hone_status s = c->task == HONE_TASK_IMAGE ? hone_data_open(c, &spec, &d)
                                               : hone_fail(HONE_ERR_USAGE, "hone bench times them",
                                                           "%s: texts are in memory and cost nothing", cli->arg[1]);
    /* sets that lie in memory in their size have nothing to bring */
    if (s == HONE_OK && hone_dataset_is_raw(d->train) && !d->train->source->map)
        s = hone_fail(HONE_ERR_USAGE, "give pictures in files, or another image.size",
                      "%s: the pictures are in memory as the net takes them", cli->arg[1]);
    if (s == HONE_OK) s = measure(cli, c, d, (double)least, &r);
    if (s == HONE_OK) print(cli, d, &r);
    hone_data_free(d);
    hone_config_free(c);
    return s;
}
