/* models.c - M1 to M22 at the command line: a run that was tampered with is refused, or goes on from what is whole. */
#include <stdint.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "bad_inputs/bad_inputs.h"
#include "support/scratch.h"

static bytes read_file(const char *folder, const char *name)
{
    bytes b = {0};
    char part[4096];
    size_t n;
    FILE *f = fopen(scratch_path(folder, name), "rb");
    if (!f) {
        perror(name);
        abort();
    }
    while ((n = fread(part, 1, sizeof part, f)) > 0) bytes_add(&b, part, n);
    fclose(f);
    bytes_add(&b, "", 0);
    b.data[b.count] = '\0';
    return b;
}

/* `from` becomes `to`, once, in a text. */
static void replace(bytes *b, const char *from, const char *to)
{
    char *at = strstr((char *)b->data, from);
    if (!at) {
        fprintf(stderr, "no %s in %s\n", from, (char *)b->data);
        abort();
    }
    bytes out = {0};
    bytes_add(&out, b->data, (size_t)(at - (char *)b->data));
    bytes_add(&out, to, strlen(to));
    bytes_add(&out, at + strlen(from), strlen(at + strlen(from)));
    bytes_add(&out, "", 0);
    out.data[out.count] = '\0';
    free(b->data);
    *b = out;
}

/* The file's entry in MANIFEST.json, as hone writes it. */
static void entry(const char *name, bytes b, char *text, size_t most)
{
    snprintf(text, most, "{\"name\":\"%s\",\"bytes\":%zu,\"xxh3\":\"%016llx\"}", name, b.count,
             (unsigned long long)XXH3_64bits(b.data, b.count));
}

/* A run that was stopped at step 2 of 4, and beside it the same one by AdamW, whose optimizer state is put in its place
 * with a manifest that says so: every hash is right, only the arrays are another optimizer's. */
static void other_optimizer(const char *folder)
{
    static const char last[] = "checkpoints/step-00000004";
    char name[128], was[200], is[200];
    bad_make_run(folder);
    bad_hone(folder, "train page.yaml --threads 1 --quiet --out other train.optimizer=adamw", 0);
    snprintf(name, sizeof name, "other/%s/optim.safetensors", last);
    bytes theirs = read_file(folder, name);
    snprintf(name, sizeof name, "run/%s/optim.safetensors", last);
    bytes own = read_file(folder, name);
    scratch_write(folder, name, theirs.data, theirs.count);
    snprintf(name, sizeof name, "run/%s/MANIFEST.json", last);
    bytes manifest = read_file(folder, name);
    entry("optim.safetensors", own, was, sizeof was);
    entry("optim.safetensors", theirs, is, sizeof is);
    replace(&manifest, was, is);
    scratch_write(folder, name, manifest.data, manifest.count);
    scratch_remove(scratch_path(folder, "other"));
    free(theirs.data);
    free(own.data);
    free(manifest.data);
}

static void flipped_weights(const char *folder)
{
    bad_make_run(folder);
    bytes b = read_file(folder, "run/checkpoints/step-00000004/model.safetensors");
    b.data[b.count - 3] ^= 4;
    scratch_write(folder, "run/checkpoints/step-00000004/model.safetensors", b.data, b.count);
    free(b.data);
}

static void every_checkpoint_cut(const char *folder)
{
    bad_make_run(folder);
    for (int step = 3; step <= 4; step++) {
        char name[128];
        snprintf(name, sizeof name, "run/checkpoints/step-%08d/model.safetensors", step);
        if (truncate(scratch_path(folder, name), 100) != 0) abort();
    }
}

static void cut_best(const char *folder)
{
    bad_make_run(folder);
    scratch_png(folder, "x.png", 1, 6, 6, 1);
    if (truncate(scratch_path(folder, "run/best.safetensors"), 200) != 0) abort();
}

static void not_finite(const char *folder)
{
    bad_make_run(folder);
    scratch_png(folder, "x.png", 1, 6, 6, 1);
    bytes b = read_file(folder, "run/best.safetensors");
    memset(b.data + b.count - 4, 0xFF, 4);
    scratch_write(folder, "run/best.safetensors", b.data, b.count);
    free(b.data);
}

static void read_only_run(const char *folder)
{
    bad_make_synthetic(folder);
    if (mkdir(scratch_path(folder, "run"), 0555) != 0) abort();
}

static void read_only_parent(const char *folder)
{
    bad_make_synthetic(folder);
    if (mkdir(scratch_path(folder, "shelf"), 0555) != 0) abort();
}

/* What crashes and careless hands leave: a step that is a file, a temporary folder of a process that is gone, an empty
 * folder of a later step, a mark that something is done. */
static void strange_run(const char *folder)
{
    bad_make_run(folder);
    scratch_text(folder, "run/checkpoints/step-00000009", "a file\n");
    scratch_text(folder, "run/checkpoints/step-00000004.tmp-999999-0badf00d/model.safetensors", "half");
    if (mkdir(scratch_path(folder, "run/checkpoints/step-00000008"), 0777) != 0) abort();
    scratch_text(folder, "run/checkpoints/DONE", "");
}

const bad_input bad_models[] = {
    {"M11",
     "weights that are not finite",
     not_finite,
     "$HONE predict run x.png",
     3,
     {"best.safetensors", "holds"},
     NULL,
     0},
    {"M15",
     "weights cut short",
     cut_best,
     "$HONE predict run x.png",
     3,
     {"best.safetensors", "the file has 192"},
     NULL,
     0},
    {"M15",
     "every checkpoint cut short",
     every_checkpoint_cut,
     "$HONE train page.yaml train.epochs=2",
     3,
     {"step-00000004", "none of its 2 checkpoints is whole"},
     "run/.lock",
     0},
    {"M16",
     "a flipped bit in the newest checkpoint",
     flipped_weights,
     "$HONE train page.yaml train.epochs=2",
     0,
     {"step-00000004", "passed over"},
     "run",
     0},
    {"M18",
     "the state of another optimizer",
     other_optimizer,
     "$HONE train page.yaml train.epochs=2",
     3,
     {"optim.safetensors", "of another optimizer"},
     "run",
     0},
    {"M21",
     "a run directory that can't be written",
     read_only_run,
     "$HONE train page.yaml",
     1,
     {"run", "Permission denied"},
     NULL,
     NOT_AS_ROOT},
    {"M21",
     "no right to make the run directory",
     read_only_parent,
     "$HONE train page.yaml --out shelf/run",
     1,
     {"shelf", "Permission denied"},
     NULL,
     NOT_AS_ROOT},
    {"M21",
     "a disk that is full from the first file on",
     bad_make_synthetic,
     "HONE_FAULT=1:enospc $HONE train page.yaml",
     1,
     {"No space left"},
     "run",
     0},
    {"M21",
     "a disk that is full from the tenth call on",
     bad_make_synthetic,
     "HONE_FAULT=10:enospc $HONE train page.yaml",
     1,
     {"No space left"},
     "run",
     0},
    {"M21",
     "a limit on the size of files",
     bad_make_synthetic,
     "ulimit -f 2; $HONE train page.yaml",
     1,
     {"File too large"},
     "run",
     0},
    {"M22",
     "strange entries beside the checkpoints",
     strange_run,
     "$HONE train page.yaml train.epochs=2",
     0,
     {"step-00000009", "passed over"},
     "run",
     0},
    {NULL, NULL, NULL, NULL, 0, {NULL}, NULL, 0},
};
