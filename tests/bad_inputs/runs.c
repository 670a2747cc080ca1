/* runs.c - R1 to R16 at the command line: data sets that nothing can be learnt from, values that run away, devices that are
 * not there, clocks that jump. */
#include <stdint.h>

#include "bad_inputs/bad_inputs.h"
#include "support/scratch.h"

static void one_class(const char *folder)
{
    bad_make_pictures(folder);
    scratch_remove(scratch_path(folder, "set/train/dog"));
    scratch_remove(scratch_path(folder, "set/test/dog"));
}

/* Two names, one label. */
static void one_label(const char *folder)
{
    scratch_idx(folder, "set/train", 16, 6, 6, 1, 0);
    scratch_text(folder, "set/labels.txt", "shirt\nboot\n");
    scratch_text(folder, "page.yaml",
                 "out: run\ndata: {path: set, val_fraction: 0}\n"
                 "model: {layers: [flatten, linear: classes]}\ntrain: {epochs: 1, batch: 4}\n");
}

/* Every pixel of every picture is the same, and the page asks for their standard deviation. */
static void constant(const char *folder)
{
    bytes b = idx_header(3, (uint32_t[]){16, 6, 6});
    for (int i = 0; i < 16 * 36; i++) bytes_u8(&b, 7);
    scratch_idx(folder, "set/train", 16, 6, 6, 2, 0);
    scratch_write(folder, "set/train-images-idx3-ubyte", b.data, b.count);
    free(b.data);
    scratch_text(folder, "page.yaml",
                 "out: run\ndata: {path: set, val_fraction: 0}\n"
                 "model: {layers: [conv: {out: 2}, batchnorm, relu, flatten, linear: classes]}\n"
                 "train: {epochs: 3, batch: 4}\n");
}

static void no_picture(const char *folder)
{
    bad_make_pictures(folder);
    scratch_text(folder, "empty/cat/README", "none yet");
    scratch_text(folder, "empty/dog/README", "none yet");
}

const bad_input bad_runs[] = {
    {"R2",
     "a save that fails once costs nothing but itself",
     bad_make_synthetic,
     "HONE_FAULT=60:eio $HONE train page.yaml",
     0,
     {"training goes on"},
     "run",
     0},
    {"R4",
     "no sample at all",
     no_picture,
     "$HONE train page.yaml data.path=empty",
     3,
     {"empty", "no images"},
     "run",
     0},
    {"R4",
     "0 samples in the page",
     bad_make_synthetic,
     "$HONE train page.yaml data.synthetic.samples=0",
     2,
     {"data.synthetic.samples"},
     NULL,
     0},
    {"R4",
     "fewer samples than a batch",
     bad_make_synthetic,
     "$HONE train page.yaml data.synthetic.samples=7 data.val_fraction=0",
     0,
     {"best weights"},
     "run",
     0},
    {"R5",
     "one class",
     one_class,
     "$HONE train page.yaml",
     0,
     {"one class only: there is nothing to tell apart"},
     "run",
     0},
    {"R6",
     "all labels are equal",
     one_label,
     "$HONE train page.yaml",
     0,
     {"every training sample is of class \"shirt\""},
     "run",
     0},
    {"R7", "constant pictures", constant, "$HONE train page.yaml", 0, {"best weights"}, "run", 0},
    {"R7",
     "the standard deviation of constant pictures",
     constant,
     "$HONE train page.yaml image.mean=auto image.std=auto",
     0,
     {"image.std", "one value", "best weights"},
     "run",
     0},
    {"R8",
     "a learning rate of 1e10",
     bad_make_synthetic,
     "$HONE train page.yaml train.optimizer.lr=1e10",
     2,
     {"at most 1000000"},
     NULL,
     0},
    {"R8",
     "the largest learning rate",
     bad_make_synthetic,
     "$HONE train page.yaml train.optimizer.lr=1e6 train.epochs=30 train.max_bad_steps=3 train.schedule=constant",
     5,
     {"no finite gradient"},
     "run",
     0},
    {"R10",
     "a GPU that is not there",
     bad_make_synthetic,
     "$HONE train page.yaml --device cuda:98",
     6,
     {"cuda"},
     "run",
     0},
    {"R11",
     "a batch beyond memory",
     bad_make_synthetic,
     "ulimit -v 2000000; $HONE train page.yaml data.synthetic.samples=1000000000",
     4,
     {"memory"},
     "run",
     NOT_SANITIZED},
    {"R15", "stdout on a full disk", bad_make_synthetic, "$HONE train page.yaml >/dev/full", 1, {"stdout"}, "run", 0},
    {"R15",
     "stderr on a full disk",
     bad_make_synthetic,
     "$HONE train page.yaml 2>/dev/full",
     0,
     {"best weights"},
     "run",
     0},
    {"R16",
     "a clock that jumps back and forth",
     bad_make_synthetic,
     "$HONE train page.yaml --quiet --threads 1 --out still >/dev/null && LD_PRELOAD=$HONE_CLOCK $HONE train page.yaml "
     "--quiet "
     "--threads 1 train.max_time=1h && cmp still/best.safetensors run/best.safetensors",
     0,
     {"best weights"},
     "run still",
     NOT_SANITIZED},
    {NULL, NULL, NULL, NULL, 0, {NULL}, NULL, 0},
};
