/* synthetic.c - images that are made up, so that benchmarks and tests need nothing fetched.
 *
 * Class c has a pattern of 4 x 4 blocks; a sample is 128 + pattern + noise per pixel, so that a net
 * can learn it, and random data is never all zero (kernels that skip zeros would look fast). Each byte is a function of (seed, split, sample,
 * position): any thread count makes the same set. Train and val draw from one distribution. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "data/source.h"
#include "hone/philox.h"

enum { BLOCK = 4, PATTERN_STEP = (int)0x40000000, CHUNK = 64 };

typedef struct work {
    hone_source *source;
    uint64_t seed;
    hone_split split;
    const int8_t *pattern; /* (classes, H, W, C) of values in -48..47 */
} work;

/* One value for a block of one class and channel. */
static int8_t pattern_value(uint64_t seed, int64_t block)
{
    hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, (uint64_t)block, PATTERN_STEP);
    return (int8_t)((int)(r.v[0] % 96) - 48);
}

/* Sample i: 16 noise bytes of -64..63 a draw; 128 - 48 - 64 = 16 and 128 + 47 + 63 = 238 need no clipping. */
static void make_sample(const work *w, int64_t i)
{
    hone_source *s = w->source;
    size_t count = (size_t)s->height * (size_t)s->width * (size_t)s->channels, draws = (count + 15) / 16;
    const int8_t *pattern = w->pattern + (size_t)s->label[i] * count;
    uint8_t *to = s->raw + (size_t)i * count;
    for (size_t d = 0; d < draws; d++) {
        hone_philox4 r = hone_philox(w->seed, HONE_STREAM_SYNTHETIC, (uint64_t)i * draws + d, 1 + (uint64_t)w->split);
        for (size_t k = 0; k < 16 && d * 16 + k < count; k++) {
            int noise = (int)(r.v[k / 4] >> (8 * (k % 4)) & 127) - 64;
            to[d * 16 + k] = (uint8_t)(128 + pattern[d * 16 + k] + noise);
        }
    }
}

/* 64 samples a task. */
static hone_status make_chunk(void *arg, int64_t chunk)
{
    const work *w = arg;
    int64_t end = (chunk + 1) * CHUNK < w->source->count ? (chunk + 1) * CHUNK : w->source->count;
    for (int64_t i = chunk * CHUNK; i < end; i++) make_sample(w, i);
    return HONE_OK;
}

/* One line of pixels (W, C) of the blocks from `first` on: a draw a block and channel, not a pixel. */
static void make_line(const hone_source *s, uint64_t seed, int64_t first, int8_t *line)
{
    for (int64_t x = 0; x < s->width; x += BLOCK)
        for (int64_t c = 0; c < s->channels; c++) {
            int8_t value = pattern_value(seed, first + x / BLOCK * s->channels + c);
            for (int64_t k = x; k < x + BLOCK && k < s->width; k++) line[k * s->channels + c] = value;
        }
}

/* out (classes, H, W, C): the blocks are spelled out once, so that make_sample only adds. */
static void make_patterns(const hone_source *s, uint64_t seed, int64_t classes, int8_t *out)
{
    int64_t bh = (s->height + BLOCK - 1) / BLOCK, bw = (s->width + BLOCK - 1) / BLOCK;
    size_t line = (size_t)s->width * (size_t)s->channels;
    for (int64_t k = 0; k < classes; k++)
        for (int64_t y = 0; y < s->height; y++, out += line) {
            if (y % BLOCK == 0) make_line(s, seed, (k * bh + y / BLOCK) * bw * s->channels, out);
            else memcpy(out, out - line, line);
        }
}

/* On failure the source holds what was allocated; its owner frees it. */
static hone_status fill(hone_source *s, int64_t classes, hone_split split, uint64_t seed, int threads)
{
    size_t pixels = (size_t)s->height * (size_t)s->width * (size_t)s->channels;
    s->label = malloc((size_t)s->count * sizeof *s->label);
    s->raw = malloc((size_t)s->count * pixels);
    int8_t *pattern = malloc((size_t)classes * pixels);
    hone_status status =
        s->label && s->raw && pattern ? HONE_OK : hone_no_memory("synthetic images", (size_t)s->count * pixels);
    if (status == HONE_OK) status = hone_source_number_classes(s, (int)classes);
    if (status == HONE_OK) {
        for (int64_t i = 0; i < s->count; i++) s->label[i] = (int32_t)(i % classes);
        make_patterns(s, seed, classes, pattern);
        work w = {s, seed, split, pattern};
        status = hone_parallel_for(threads, (s->count + CHUNK - 1) / CHUNK, make_chunk, &w);
    }
    free(pattern);
    return status;
}

/* No test split: a benchmark needs none, and val serves. */
hone_status hone_synthetic_open(const int64_t shape[3], int64_t classes, int64_t samples, hone_split split,
                                uint64_t seed, int threads, hone_source **out)
{
    *out = NULL;
    if (split == HONE_SPLIT_TEST) return HONE_OK;
    if (shape[0] < 1 || shape[1] < 1 || shape[0] > HONE_IMAGE_SIDE_MAX || shape[1] > HONE_IMAGE_SIDE_MAX ||
        shape[0] * shape[1] > HONE_IMAGE_PIXELS_MAX || (shape[2] != 1 && shape[2] != 3) || classes < 1 ||
        classes > 1 << 20 || samples < classes || samples > INT32_MAX)
        return hone_fail(HONE_ERR_USAGE, "for example {shape: [28, 28, 1], classes: 10, samples: 8192}",
                         "data.synthetic: shape is [H, W, 1 or 3], and samples at least the number of classes");
    int64_t val = samples / 8 < classes ? classes : samples / 8;
    hone_source *s = hone_source_new(split == HONE_SPLIT_TRAIN ? "synthetic-train" : "synthetic-val");
    if (!s) return hone_no_memory("a data set", 0);
    s->count = split == HONE_SPLIT_TRAIN ? samples : val;
    s->height = (int)shape[0];
    s->width = (int)shape[1];
    s->channels = (int)shape[2];
    hone_status status = fill(s, classes, split, seed, threads);
    if (status != HONE_OK) {
        hone_source_free(s);
        return status;
    }
    /* Labels go round the classes, so every prefix of the set is balanced; the loader shuffles.
     * The set is a function of these numbers, which is cheaper to hash than its pixels */
    s->hash = (seed * 31 + (uint64_t)classes) * 31 + (uint64_t)s->count * 3 +
              (uint64_t)(shape[0] * 65537 + shape[1] * 257 + shape[2]);
    *out = s;
    return HONE_OK;
}
