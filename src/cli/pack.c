/* pack.c - see pack.h: what is packed is what a page's `image` group makes of the pictures. */
#include "cli/pack.h"

#include <string.h>

#include "cli/open_data.h"
#include "cli/progress.h"
#include "data/dataset.h"
#include "data/pack.h"

/* The size must be said where the pictures have several: the first one's would be a guess. */
static hone_status check_size(const hone_config *c, const hone_data *d)
{
    /* raw sets have one size already */
    if (c->image.height > 0 || d->train->source->raw) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE,
                     "for example: hone data pack photos -o photos.pack image.size=128 image.resize=shorter",
                     "image.size: not given; a pack holds pictures of one size");
}

/* To stdout: what was written and what to do with it. */
static void print_result(const hone_cli *cli, const hone_data *d, const char *path, const hone_pack_result *r)
{
    char bytes[32];
    /* keys are a contract with scripts: add, never rename */
    if (cli->json) {
        printf("{\"train\":%lld,\"val\":%lld,\"test\":%lld,\"skipped\":%lld,\"bytes\":%lld,\"height\":%d,\"width\":%d,"
               "\"channels\":%d}\n",
               (long long)r->count[0], (long long)r->count[1], (long long)r->count[2], (long long)r->skipped,
               (long long)r->bytes, d->height, d->width, d->channels);
        return;
    }
    printf("%s: %lld train, %lld val, %lld test of %d x %d, %d channel%s; %s\n", path, (long long)r->count[0],
           (long long)r->count[1], (long long)r->count[2], d->width, d->height, d->channels,
           d->channels == 1 ? "" : "s", hone_cli_bytes((double)r->bytes, bytes, sizeof bytes));
    /* those that were left out are said, as everywhere */
    if (r->skipped) printf("%lld broken, left out (hone data check names them)\n", (long long)r->skipped);
    printf("next: data.path=%s, or hone train %s\n", path, path);
}

/* Nothing is cut from train: a pack keeps the splits of the data, and validation is cut where it is trained. */
hone_status hone_cli_pack(const hone_cli *cli)
{
    const char *path = hone_cli_value(cli, "-o");
    hone_config *c = NULL;
    hone_data *d = NULL;
    /* a default name would land in somebody's working directory, gigabytes large */
    if (!path) return hone_fail(HONE_ERR_USAGE, "hone data pack DATA -o FILE.pack image.size=N", "-o FILE: not given");
    HONE_TRY(hone_cli_data_config(cli, cli->arg[1], 2, &c));
    /* a cut is a function of the seed, and a pack of none */
    c->data.val_fraction = 0;
    hone_status s =
        c->task == HONE_TASK_IMAGE
            ? hone_data_open(c, &(hone_image_spec){c->image.height, c->image.width, c->image.channels, c->image.resize},
                             &d)
            : hone_fail(HONE_ERR_USAGE, "texts are held in memory as they are", "%s: texts are not packed",
                        cli->arg[1]);
    if (s == HONE_OK) s = check_size(c, d);
    hone_pack_opts o = {
        .path = path, .resize = c->image.resize, .threads = cli->threads, .stop = hone_cli_catch_signals()};
    /* filled only where the pack was written */
    hone_pack_result r;
    /* as data.decode_threads says */
    if (s == HONE_OK && o.threads < 1) o.threads = d->train->threads;
    if (s == HONE_OK) s = hone_pack_write(d, &o, &r);
    if (s == HONE_OK) print_result(cli, d, path, &r);
    hone_data_free(d);
    hone_config_free(c);
    return s;
}
