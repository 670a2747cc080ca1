/* config.c - C1 to C18: pages and command lines, where a snapshot of tests/snapshots/config does not say it already. */
#include <stdint.h>
#include <sys/stat.h>

#include "bad_inputs/bad_inputs.h"
#include "support/scratch.h"

/* A gigabyte without a line end, of which the disk holds nothing. */
static void huge_line(const char *folder)
{
    scratch_text(folder, "page.yaml", "train: {seed: ");
    if (truncate(scratch_path(folder, "page.yaml"), 1 << 30) != 0) abort();
}

/* Just below the limit of 16 MiB. */
static void long_line(const char *folder)
{
    bytes b = {0};
    bytes_add(&b, "out: ", 5);
    for (int k = 0; k < 15 << 10; k++) {
        char part[1024];
        memset(part, 'x', sizeof part);
        bytes_add(&b, part, sizeof part);
    }
    scratch_write(folder, "page.yaml", b.data, b.count);
    free(b.data);
}

static void pipe_page(const char *folder)
{
    if (mkfifo(scratch_path(folder, "page.yaml"), 0600) != 0) abort();
}

static void folder_page(const char *folder)
{
    if (mkdir(scratch_path(folder, "page.yaml"), 0700) != 0) abort();
}

static void dangling_page(const char *folder)
{
    if (symlink("nowhere", scratch_path(folder, "page.yaml")) != 0) abort();
}

static void looping_page(const char *folder)
{
    if (symlink("page.yaml", scratch_path(folder, "page.yaml")) != 0) abort();
}

static void locked_page(const char *folder)
{
    bad_make_synthetic(folder);
    if (chmod(scratch_path(folder, "page.yaml"), 0) != 0) abort();
}

static void pipe_data(const char *folder)
{
    bad_make_pictures(folder);
    if (mkfifo(scratch_path(folder, "pipe"), 0600) != 0) abort();
}

static void out_is_a_file(const char *folder)
{
    bad_make_synthetic(folder);
    scratch_text(folder, "run", "somebody's notes\n");
}

/* A folder of the user's own, in which hone must not lose anything. */
static void out_is_theirs(const char *folder)
{
    bad_make_synthetic(folder);
    scratch_text(folder, "run/thesis.txt", "precious\n");
}

const bad_input bad_config[] = {
    {"C12", "a line of 1 GiB", huge_line, "$HONE config show page.yaml", 2, {"page.yaml", "16 MiB"}, NULL, 0},
    {"C12", "a value of 15 MiB", long_line, "$HONE train page.yaml", 2, {"page.yaml", "data"}, NULL, 0},
    {"C14", "a page that is a folder", folder_page, "$HONE config show page.yaml", 2, {"page.yaml", "folder"}, NULL, 0},
    {"C14", "a page that is a pipe", pipe_page, "$HONE config show page.yaml", 2, {"page.yaml", "named pipe"}, NULL, 0},
    {"C14", "a page that is a device", NULL, "$HONE config show /dev/zero", 2, {"/dev/zero", "device"}, NULL, 0},
    {"C14", "a dangling link", dangling_page, "$HONE config show page.yaml", 2, {"page.yaml", "No such file"}, NULL, 0},
    {"C14",
     "a link to itself",
     looping_page,
     "$HONE config show page.yaml",
     2,
     {"page.yaml", "symbolic links"},
     NULL,
     0},
    {"C14",
     "a page that may not be read",
     locked_page,
     "$HONE config show page.yaml",
     2,
     {"page.yaml", "denied"},
     NULL,
     NOT_AS_ROOT},
    {"C14", "data that are a pipe", pipe_data, "$HONE data check pipe", 3, {"pipe"}, NULL, 0},
    {"C14", "data that are a device", NULL, "$HONE data check /dev/zero", 3, {"/dev/zero"}, NULL, 0},
    {"C14", "no data", bad_make_pictures, "$HONE train page.yaml data.path=sett", 3, {"sett", "no such"}, "run", 0},
    {"C14", "out is a file", out_is_a_file, "$HONE train page.yaml", 1, {"run"}, NULL, 0},
    {"C15",
     "another run's directory",
     bad_make_run,
     "$HONE train page.yaml train.seed=2",
     2,
     {"another experiment", "train.seed was 1 and is 2"},
     "run",
     0},
    {"C15", "a folder with other things in it", out_is_theirs, "$HONE train page.yaml --quiet", 0, {NULL}, "run", 0},
    {"C17", "a flag twice", NULL, "$HONE train x.yaml --out a --out b", 2, {"--out is given twice"}, NULL, 0},
    {"C17", "a flag without its value", NULL, "$HONE train x.yaml --out", 2, {"--out needs a value"}, NULL, 0},
    {"C17", "an empty value", NULL, "$HONE train x.yaml --out=", 2, {"--out has an empty value"}, NULL, 0},
    {"C18",
     "a locale that writes 0,1",
     bad_make_synthetic,
     "LC_ALL=de_DE.UTF-8 $HONE config show page.yaml train.optimizer.lr=0.25",
     0,
     {"lr: 0.25"},
     NULL,
     0},
    {"C18",
     "a decimal comma",
     bad_make_synthetic,
     "$HONE config show page.yaml train.optimizer.lr=0,25",
     2,
     {"train.optimizer.lr", "0,25"},
     NULL,
     0},
    {NULL, NULL, NULL, NULL, 0, {NULL}, NULL, 0},
};
