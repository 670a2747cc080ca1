/* images.c - I1 to I34 at the command line: what test_image_broken tries at the decoder is not repeated. */
#include <stdint.h>

#include "bad_inputs/bad_inputs.h"
#include "support/golden_image.h"
#include "support/scratch.h"

/* One picture of the training set is cut in half. */
static void cut_picture(const char *folder)
{
    bad_make_pictures(folder);
    bytes b = golden_image("jpeg 4:4:4");
    scratch_write(folder, "set/train/cat/half.jpg", b.data, b.count / 2);
    free(b.data);
}

static void text_as_picture(const char *folder)
{
    bad_make_run(folder);
    scratch_text(folder, "note.jpg", "not a picture\n");
}

/* 255 chunks of an ICC profile, 16 MB in front of a small picture. */
static void icc_flood(const char *folder)
{
    bytes b = {0}, jpeg = golden_image("jpeg grey");
    static uint8_t chunk[65533];
    bad_make_run(folder);
    bytes_add(&b, jpeg.data, 2);
    memcpy(chunk, "ICC_PROFILE", 12);
    for (int k = 0; k < 255; k++) {
        chunk[12] = (uint8_t)(k + 1);
        chunk[13] = 255;
        bytes_add(&b, "\xFF\xE2\xFF\xFF", 4);
        bytes_add(&b, chunk, sizeof chunk);
    }
    bytes_add(&b, jpeg.data + 2, jpeg.count - 2);
    scratch_write(folder, "icc.jpg", b.data, b.count);
    free(b.data);
    free(jpeg.data);
}

/* Two frames: the first, which is an ordinary PNG, counts. */
static void animated(const char *folder)
{
    bytes b = {0};
    uint8_t raw[6 * 7] = {0}, number[4] = {0, 0, 0, 2};
    bad_make_run(folder);
    png_header(&b, 6, 6, 8, 0, 0);
    png_chunk(&b, "acTL", "\0\0\0\2\0\0\0\0", 8);
    png_data(&b, raw, sizeof raw);
    png_chunk(&b, "fcTL", "\0\0\0\1\0\0\0\6\0\0\0\6\0\0\0\0\0\0\0\0\0\1\0\1\0\0", 26);
    png_chunk(&b, "fdAT", number, sizeof number); /* without data: a viewer may stumble, hone does not look */
    png_chunk(&b, "IEND", NULL, 0);
    scratch_write(folder, "two.png", b.data, b.count);
    free(b.data);
}

static void shrinking(const char *folder)
{
    bad_make_run(folder);
    scratch_png(folder, "shrinks.png", 1, 6, 6, 1);
}

static void linked(const char *folder)
{
    bad_make_pictures(folder);
    if (symlink("/etc/passwd", scratch_path(folder, "set/train/cat/me.png")) != 0) abort();
}

/* Names that a file system allows and a careless program does not. */
static void odd_names(const char *folder)
{
    char longest[300] = "set/train/cat/";
    bad_make_pictures(folder);
    scratch_png(folder, "set/train/cat/two\nlines.png", 20, 8, 8, 1);
    scratch_png(folder, "set/train/cat/caf\xE9.png", 21, 8, 8, 1);
    scratch_png(folder, "set/train/dog/-rf.png", 22, 8, 8, 1);
    memset(longest + 14, 'n', 251);
    strcpy(longest + 14 + 251, ".png"); /* 255 bytes of name */
    scratch_png(folder, longest, 23, 8, 8, 1);
}

static void dashed(const char *folder)
{
    bad_make_run(folder);
    scratch_png(folder, "-x.png", 1, 6, 6, 1);
}

static void newline_name(const char *folder)
{
    bad_make_run(folder);
    scratch_png(folder, "two\nlines.png", 1, 6, 6, 1);
    scratch_png(folder, "caf\xE9.png", 1, 6, 6, 1);
}

static void latin_class(const char *folder)
{
    bad_make_pictures(folder);
    scratch_png(folder, "set/train/caf\xE9/0.png", 31, 8, 8, 1);
}

static void lonely_class(const char *folder)
{
    bad_make_pictures(folder);
    scratch_png(folder, "set/train/owl/0.png", 30, 8, 8, 1);
    scratch_text(folder, "set/train/newt/README", "none yet");
}

static void class_of_val(const char *folder)
{
    bad_make_pictures(folder);
    scratch_png(folder, "set/val/owl/0.png", 30, 8, 8, 1);
}

const bad_input bad_images[] = {
    {"I3", "a text named .jpg", text_as_picture, "$HONE predict run note.jpg", 3, {"note.jpg: not an image"}, NULL, 0},
    {"I5",
     "half a JPEG stops a training",
     cut_picture,
     "$HONE train page.yaml",
     3,
     {"half.jpg", "data.on_error"},
     "run",
     0},
    {"I5",
     "half a JPEG is left out where the page says so",
     cut_picture,
     "$HONE train page.yaml data.on_error=skip",
     0,
     {"half.jpg"},
     "run",
     0},
    {"I5", "half a JPEG is found", cut_picture, "$HONE data check set", 3, {"half.jpg"}, NULL, 0},
    {"I15", "255 ICC chunks of 64 KiB", icc_flood, "$HONE predict run icc.jpg", 0, {"icc.jpg"}, NULL, 0},
    {"I25", "an animated PNG", animated, "$HONE predict run two.png", 0, {"two.png"}, NULL, 0},
    {"I30",
     "a file that shrinks while it is read",
     shrinking,
     "HONE_SHRINKS=shrinks.png LD_PRELOAD=$HONE_SHRINKING $HONE predict run shrinks.png",
     3,
     {"shrinks.png"},
     NULL,
     NOT_SANITIZED},
    {"I31", "a link to /etc/passwd", linked, "$HONE train page.yaml", 3, {"me.png: not an image"}, "run", 0},
    {"I32", "odd file names train", odd_names, "$HONE train page.yaml --quiet", 0, {"best weights"}, "run", 0},
    {"I32", "odd file names are checked", odd_names, "$HONE data check set --json", 0, {"{"}, NULL, 0},
    {"I32", "a name that begins with a dash", dashed, "$HONE predict run -- -x.png", 0, {"-x.png"}, NULL, 0},
    {"I32",
     "a name with a line feed stays one line of jsonl",
     newline_name,
     "$HONE predict run 'two\nlines.png' --format jsonl | wc -l",
     0,
     {"1\n"},
     NULL,
     0},
    {"I32",
     "a name that is not UTF-8 stays JSON",
     newline_name,
     "$HONE predict run caf*.png --format jsonl | iconv -f UTF-8 -t UTF-8 | wc -l",
     0,
     {"1\n"},
     NULL,
     0},
    {"I32", "a class name that is not UTF-8", latin_class, "$HONE train page.yaml", 3, {"not UTF-8"}, "run", 0},
    {"I34", "classes of one and of no picture", lonely_class, "$HONE data check set", 0, {"owl", "newt"}, NULL, 0},
    {"I34",
     "a class that only val has",
     class_of_val,
     "$HONE train page.yaml",
     3,
     {"\"owl\" is in val", "not in train"},
     "run",
     0},
    {NULL, NULL, NULL, NULL, 0, {NULL}, NULL, 0},
};
