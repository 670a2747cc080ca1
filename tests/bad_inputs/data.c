/* data.c - T1 to T24 and D1 to D14 at the command line: exit codes, places, memory. Each reader's own words are in
 * test_text_data, test_idx, test_shards and test_pack. */
#include <stdint.h>

#include "bad_inputs/bad_inputs.h"
#include "support/tar_make.h"

static void ragged(const char *folder)
{
    bad_make_texts(folder);
    FILE *f = fopen(scratch_path(folder, "rows.tsv"), "ab");
    if (!f || fputs("ham\tone\ttwo", f) < 0 || fclose(f) != 0) abort();
}

/* 100 MB without a line end. */
static void long_text(const char *folder)
{
    enum { BYTES = 100 << 20 };
    bad_make_texts(folder);
    char *text = malloc(BYTES);
    if (!text) abort();
    memset(text, 'x', BYTES);
    memcpy(text, "label\ttext\nham\t", 15);
    scratch_write(folder, "rows.tsv", text, BYTES);
    free(text);
}

static void lopsided(const char *folder)
{
    bytes b = {0};
    bytes_add(&b, "label\ttext\n", 11);
    for (int k = 0; k < 2000; k++) {
        char row[64];
        int n = snprintf(row, sizeof row, "%s\ttext number %d\n", k == 5 ? "spam" : "ham", k);
        bytes_add(&b, row, (size_t)n);
    }
    bad_make_texts(folder);
    scratch_write(folder, "rows.tsv", b.data, b.count);
    free(b.data);
}

/* A device and a pipe with names of pictures, the end, the file. */
static void finish_odd(const char *folder, const char *name, bytes *b)
{
    tar_typed(b, '3', "tty.png", NULL, 0);
    tar_typed(b, '6', "pipe.png", NULL, 0);
    tar_end(b);
    scratch_write(folder, name, b->data, b->count);
    free(b->data);
}

/* Names that lead away, and links, devices, pipes with a picture's name: hone extracts nothing, so none is made. */
static void evil_tar(const char *folder)
{
    static const char *const name[] = {"../up.png", "/abs.png", "a/../../b.png"};
    bytes b = {0};
    for (int k = 0; k < 3; k++) {
        char label[32];
        tar_png(&b, name[k], k, 8, 8, 1);
        snprintf(label, sizeof label, "%.*s.cls", (int)strlen(name[k]) - 4, name[k]);
        tar_text(&b, label, "0");
    }
    tar_typed(&b, '2', "link", NULL, 0);
    tar_text(&b, "link/through.cls", "0");
    tar_typed(&b, '1', "hard.png", NULL, 0);
    finish_odd(folder, "in/evil.tar", &b);
}

/* Eight good samples under such names; what is no file is passed over. */
static void outward_tar(const char *folder)
{
    bytes b = {0};
    for (int k = 0; k < 8; k++) {
        char name[32];
        snprintf(name, sizeof name, "../../up%d.png", k);
        tar_png(&b, name, k, 8, 8, 1);
        snprintf(name, sizeof name, "../../up%d.cls", k);
        tar_text(&b, name, k % 2 ? "1" : "0");
    }
    tar_typed(&b, '2', "link.png", NULL, 0);
    finish_odd(folder, "in/out.tar", &b);
}

static void crowded_tar(const char *folder)
{
    bytes b = {0};
    for (int k = 0; k < 100000; k++) {
        char name[32];
        snprintf(name, sizeof name, "%06d.cls", k);
        tar_typed(&b, '0', name, NULL, 0);
    }
    tar_end(&b);
    scratch_write(folder, "many.tar", b.data, b.count);
    free(b.data);
}

/* A member of 1e9 bytes, all zeros, of which the disk holds nothing. */
static void giant_tar(const char *folder)
{
    bytes b = {0};
    tar_png(&b, "a.png", 0, 8, 8, 1);
    tar_text(&b, "a.cls", "0");
    tar_text(&b, "b.cls", "1");
    size_t at = tar_typed(&b, '0', "b.png", NULL, 0);
    char size[16];
    snprintf(size, sizeof size, "%011o", 1000000000u);
    memcpy(b.data + at + 124, size, 12);
    tar_seal(&b, at);
    scratch_write(folder, "giant.tar", b.data, b.count);
    if (truncate(scratch_path(folder, "giant.tar"), (off_t)b.count + 1000000000 / 512 * 512 + 512 + 1024) != 0) abort();
    free(b.data);
}

/* A picture of the training set becomes another one after the run was saved. */
static void changed_data(const char *folder)
{
    bad_make_pictures(folder);
    bad_hone(folder, "train page.yaml --threads 1 --quiet", 0);
    scratch_png(folder, "set/train/cat/0.png", 99, 8, 8, 1);
}

static void old_pack(const char *folder)
{
    bad_make_pictures(folder);
    bad_hone(folder, "data pack page.yaml -o x.pack --quiet", 0);
    FILE *f = fopen(scratch_path(folder, "x.pack"), "r+b");
    if (!f || fseek(f, 8, SEEK_SET) != 0 || fputc(9, f) == EOF || fclose(f) != 0) abort(); /* the version */
}

/* One pixel of a pack. */
static void flipped_pack(const char *folder)
{
    bad_make_pictures(folder);
    bad_hone(folder, "data pack page.yaml -o x.pack --quiet", 0);
    FILE *f = fopen(scratch_path(folder, "x.pack"), "r+b");
    if (!f || fseek(f, 4096 + 70, SEEK_SET) != 0) abort();
    int c = fgetc(f);
    if (fseek(f, 4096 + 70, SEEK_SET) != 0 || fputc(c ^ 1, f) == EOF || fclose(f) != 0) abort();
}

/* 600 pictures of 64 x 64 in a pack, of which a page that allows 1 MB keeps nothing in memory. */
static void streamed_pack(const char *folder)
{
    char name[64];
    for (int k = 0; k < 600; k++) {
        snprintf(name, sizeof name, "set/train/%s/%d.png", k % 2 ? "dog" : "cat", k);
        scratch_png(folder, name, k, 64, 64, 1);
    }
    scratch_text(folder, "page.yaml",
                 "task: image\nout: run\ndata: {path: set, val_fraction: 0, memory_limit_mb: 1}\nimage: {size: 64, "
                 "channels: 1}\n"
                 "model: {layers: [flatten, linear: classes]}\ntrain: {epochs: 100000, batch: 4}\n");
    bad_hone(folder, "data pack page.yaml -o x.pack --quiet", 0);
}

static void idx_labels_short(const char *folder)
{
    scratch_idx(folder, "set/train", 30, 4, 4, 2, 0);
    bytes b = idx_header(1, (uint32_t[]){29});
    for (int i = 0; i < 29; i++) bytes_u8(&b, (unsigned)i % 2);
    scratch_write(folder, "set/train-labels-idx1-ubyte", b.data, b.count);
    free(b.data);
}

const bad_input bad_data[] = {
    {"T6",
     "a field too many in the last line stops a training",
     ragged,
     "$HONE train page.yaml",
     3,
     {"rows.tsv:42", "3 columns"},
     "run",
     0},
    {"T6",
     "the line is left out where the page says so",
     ragged,
     "$HONE train page.yaml data.on_error=skip",
     0,
     {"rows.tsv:42"},
     "run",
     0},
    {"T12", "a line of 100 MB", long_text, "$HONE data check page.yaml", 0, {"1 train"}, NULL, SLOW},
    {"T23", "99.95 % of one class", lopsided, "$HONE data check page.yaml", 0, {"spam", "ham"}, NULL, 0},
    {"D5", "a label too few", idx_labels_short, "$HONE data check set", 3, {"30 images", "29"}, NULL, 0},
    {"D8",
     "a tar of links and devices",
     evil_tar,
     "cd in && $HONE data check evil.tar",
     0,
     {"left out 4 members", "a label without a picture"},
     NULL,
     0},
    {"D8", "a tar whose names lead away", outward_tar, "cd in && $HONE data check out.tar", 0, {"8 train"}, NULL, 0},
    {"D10", "a tar of 100,000 members", crowded_tar, "$HONE data check many.tar", 3, {"many.tar"}, NULL, 0},
    {"D10",
     "a member of 1e9 bytes",
     giant_tar,
     "$HONE data check giant.tar",
     3,
     {"giant.tar/b.png: not an image"},
     NULL,
     SLOW},
    {"D13",
     "a pack of another version",
     old_pack,
     "$HONE train page.yaml data.path=x.pack",
     3,
     {"x.pack", "version 9"},
     "run",
     0},
    {"D13",
     "a flipped bit in a pack",
     flipped_pack,
     "$HONE train page.yaml data.path=x.pack",
     3,
     {"x.pack", "pixels were changed"},
     "run",
     0},
    {"D14",
     "data that changed between save and resume",
     changed_data,
     "$HONE train page.yaml train.epochs=2",
     2,
     {"another experiment", "the content of the data"},
     "run",
     0},
    {"M20",
     "a pack that is cut while a training reads it",
     streamed_pack,
     "$HONE train page.yaml data.path=x.pack --quiet & sleep 2; truncate -s 5000 x.pack; wait $!",
     3,
     {"was cut"},
     "run x.pack",
     0},
    {NULL, NULL, NULL, NULL, 0, {NULL}, NULL, 0},
};
