/* pack.c - writing a pack (pack.h): splits one after the other, pixels in chunks that threads decode. */
#define XXH_INLINE_ALL
#include "data/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "config/resize.h"
#include "core/json.h"
#include "core/text.h"
#include "core/thread.h"
#include "data/dataset.h"
#include "data/pack_format.h"
#include "io/file.h"

typedef struct packing {
    const hone_data *d;
    const hone_pack_opts *o;
    hone_out out;
    json_t *splits;
    json_t *entry; /* of the split under way; NULL from the first failure on (core/json.h) */
    hone_pack_result *result;
} packing;

/* One chunk of samples, decoded side by side. */
typedef struct chunk {
    const hone_dataset *d;
    int64_t first;
    uint8_t *pixels; /* (HONE_PACK_CHUNK, sample)                                              */
    bool *good;      /* (HONE_PACK_CHUNK)                                                      */
    const volatile int *stop;
} chunk;

/* One task of the parallel loop: each sample has a place of its own in the chunk. */
static hone_status decode_one(void *arg, int64_t k)
{
    chunk *c = arg;
    if (c->stop && *c->stop) return hone_fail(HONE_INTERRUPTED, NULL, "stopped; no pack was left");
    hone_status s = hone_dataset_decode(c->d, c->first + k, c->pixels + (size_t)k * hone_dataset_sample_bytes(c->d));
    c->good[k] = s == HONE_OK;
    return s == HONE_ERR_DATA && c->d->on_error == HONE_ON_ERROR_SKIP ? HONE_OK : s;
}

/* Takes `value`; a failure shows when the split is written. */
static void put_member(packing *p, const char *key, json_t *value) { p->entry = hone_json_with(p->entry, key, value); }

/* Zeros up to a multiple of a page, so that everything can be mapped where it lies. */
static hone_status align(hone_out *out)
{
    static const uint8_t zeros[HONE_PACK_PAGE];
    /* what is missing to the next multiple, by the rule of two's complement */
    size_t more = (size_t)(-out->bytes & (HONE_PACK_PAGE - 1));
    return more ? hone_out_write(out, zeros, more) : HONE_OK;
}

/* Pixels of those that can be decoded; good (count) says which. */
static hone_status write_pixels(packing *p, const hone_dataset *d, bool *good, XXH3_state_t *hash)
{
    size_t bytes = hone_dataset_sample_bytes(d);
    /* 256 samples at once: enough for any number of threads, and megabytes at most for small pictures */
    chunk c = {.d = d, .pixels = malloc(bytes * HONE_PACK_CHUNK), .good = good, .stop = p->o->stop};
    hone_status s = c.pixels ? HONE_OK : hone_no_memory("decoded images", bytes * HONE_PACK_CHUNK);
    for (c.first = 0; s == HONE_OK && c.first < d->count; c.first += HONE_PACK_CHUNK, c.good += HONE_PACK_CHUNK) {
        /* the last chunk is short */
        int64_t n = d->count - c.first < HONE_PACK_CHUNK ? d->count - c.first : HONE_PACK_CHUNK;
        s = hone_parallel_for(p->o->threads, n, decode_one, &c);
        for (int64_t k = 0; s == HONE_OK && k < n; k++) {
            /* broken ones leave no gap: the columns below leave them out, too */
            p->result->skipped += !c.good[k];
            /* the hash is over what the file holds, in its order */
            if (!c.good[k]) continue;
            XXH3_64bits_update(hash, c.pixels + (size_t)k * bytes, bytes);
            s = hone_out_write(&p->out, c.pixels + (size_t)k * bytes, bytes);
        }
    }
    free(c.pixels);
    return s;
}

/* Into the file and into the hash of the columns. */
static hone_status put(packing *p, XXH3_state_t *hash, const void *data, size_t bytes)
{
    /* no padding in it: the reader hashes the columns one behind the other */
    XXH3_64bits_update(hash, data, bytes);
    return hone_out_write(&p->out, data, bytes);
}

/* Labels, weights and names of the good ones, each behind a page's begin; offsets into the entry. */
static hone_status write_columns(packing *p, const hone_dataset *d, const bool *good, XXH3_state_t *hash)
{
    char name[1024];
    HONE_TRY(align(&p->out));
    /* indexes into the one class list of the header, as val and test were mapped by name */
    put_member(p, "labels", json_integer((json_int_t)p->out.bytes));
    for (int64_t i = 0; i < d->count; i++)
        if (good[i]) HONE_TRY(put(p, hash, &d->label[i], sizeof *d->label));
    HONE_TRY(align(&p->out));
    /* all 1 is the absence of the column */
    if (d->weight) {
        put_member(p, "weights", json_integer((json_int_t)p->out.bytes));
        for (int64_t i = 0; i < d->count; i++)
            if (good[i]) HONE_TRY(put(p, hash, &d->weight[i], sizeof *d->weight));
        HONE_TRY(align(&p->out));
    }
    /* so that a finding about a picture still names the file that it came from */
    uint64_t begin = p->out.bytes;
    for (int64_t i = 0; i < d->count; i++) {
        if (!good[i]) continue;
        hone_dataset_source(d, i, name, sizeof name);
        HONE_TRY(put(p, hash, name, strlen(name) + 1));
    }
    put_member(p, "names", json_integer((json_int_t)begin));
    put_member(p, "names_bytes", json_integer((json_int_t)(p->out.bytes - begin)));
    return align(&p->out);
}

/* The digest so far as 16 hex digits of a header's entry. */
static void set_hash(packing *p, const char *key, XXH3_state_t *hash)
{
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits_digest(hash));
    put_member(p, key, json_string(text));
    /* ready for the next group */
    XXH3_64bits_reset(hash);
}

/* One split and its entry in the header. */
static hone_status write_split(packing *p, const hone_dataset *d, hone_split split)
{
    /* one chunk more than samples, as the pointer steps by chunks */
    bool *good = calloc((size_t)d->count + HONE_PACK_CHUNK, sizeof *good);
    XXH3_state_t *hash = XXH3_createState();
    p->entry = json_object();
    hone_status s = good && hash ? HONE_OK : hone_no_memory("a pack", (size_t)d->count);
    int64_t count = 0;
    /* pixels first: their number is known only when they are decoded */
    if (s == HONE_OK) {
        XXH3_64bits_reset(hash);
        put_member(p, "pixels", json_integer((json_int_t)p->out.bytes));
        s = write_pixels(p, d, good, hash);
    }
    for (int64_t i = 0; s == HONE_OK && i < d->count; i++) count += good[i];
    if (s == HONE_OK) set_hash(p, "pixels_xxh3", hash);
    if (s == HONE_OK) s = write_columns(p, d, good, hash);
    if (s == HONE_OK) {
        set_hash(p, "columns_xxh3", hash);
        put_member(p, "name", json_string(hone_split_name(split)));
        put_member(p, "count", json_integer(count));
        p->result->count[split] = count;
        p->splits = hone_json_added(p->splits, p->entry);
        p->entry = NULL;
        if (!p->splits) s = hone_no_memory("a pack", 0);
    }
    json_decref(p->entry);
    XXH3_freeState(hash);
    free(good);
    return s;
}

/* What a reader needs to find everything, and the 32 bytes that lead to it. */
static hone_status write_header(packing *p)
{
    const hone_data *d = p->d;
    /* JSON and not a struct: fields may be added, and the file can be looked into */
    json_t *classes = json_array();
    for (int k = 0; k < d->classes; k++) {
        if (!hone_text_is_utf8(d->class_name[k])) {
            json_decref(classes);
            return hone_fail(HONE_ERR_DATA, "rename it: class names must be UTF-8", "class %d: \"%s\" is not UTF-8", k,
                             hone_shown(d->class_name[k]));
        }
        classes = hone_json_added(classes, json_string(d->class_name[k]));
    }
    json_t *o = json_pack("{s:i,s:i,s:i,s:i,s:s,s:o,s:O}", "version", HONE_PACK_VERSION, "height", d->height, "width",
                          d->width, "channels", d->channels, "resize", hone_resize_name(p->o->resize), "classes",
                          classes, "splits", p->splits);
    char *text;
    HONE_TRY(hone_json_print(o, JSON_COMPACT, "the header of a pack", &text));
    hone_pack_tail tail = {.offset = p->out.bytes, .bytes = strlen(text), .hash = XXH3_64bits(text, strlen(text))};
    memcpy(tail.magic, HONE_PACK_MAGIC, sizeof tail.magic);
    hone_status s = hone_out_write(&p->out, text, strlen(text));
    if (s == HONE_OK) s = hone_out_write(&p->out, &tail, sizeof tail);
    p->result->bytes = (int64_t)p->out.bytes;
    free(text);
    return s;
}

/* In the order of the file, so that it can be written without going back. */
static hone_status write_all(packing *p)
{
    const hone_dataset *set[HONE_SPLIT_COUNT] = {p->d->train, p->d->val, p->d->test};
    uint32_t version = HONE_PACK_VERSION;
    HONE_TRY(hone_out_write(&p->out, HONE_PACK_MAGIC, 8));
    HONE_TRY(hone_out_write(&p->out, &version, sizeof version));
    HONE_TRY(align(&p->out));
    /* a split that is not there has no entry, which is how the reader knows */
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        if (set[k]) HONE_TRY(write_split(p, set[k], (hone_split)k));
    /* nothing could be learnt from such a file */
    if (p->result->count[HONE_SPLIT_TRAIN] == 0)
        return hone_fail(HONE_ERR_DATA, "hone data check names what is broken", "no training picture could be decoded");
    return write_header(p);
}

/* Under a temporary name until it is whole and on the disk: a pack that bears its name is good. */
hone_status hone_pack_write(const hone_data *d, const hone_pack_opts *o, hone_pack_result *out)
{
    packing p = {.d = d, .o = o, .result = out};
    *out = (hone_pack_result){0};
    if (hone_path_look(o->path, NULL) != HONE_PATH_MISSING)
        return hone_fail(HONE_ERR_USAGE, "name another file with -o, or remove it", "%s: File exists",
                         hone_shown(o->path));
    char *temporary = hone_path_temporary(o->path), *parent = hone_path_parent(o->path);
    /* for the message where the disk is full */
    uint64_t need = 0;
    const hone_dataset *set[3] = {d->train, d->val, d->test};
    for (int k = 0; k < 3; k++) need += set[k] ? (uint64_t)set[k]->count * hone_dataset_sample_bytes(set[k]) : 0;
    p.splits = json_array();
    hone_status s = temporary && parent && p.splits ? HONE_OK : hone_no_memory("a path", 0);
    if (s == HONE_OK) s = hone_out_open(&p.out, temporary, need);
    if (s == HONE_OK) {
        s = write_all(&p);
        /* close looks at the result of fsync: only then may the name be given */
        if (s == HONE_OK) s = hone_out_close(&p.out, NULL);
        else hone_out_abort(&p.out);
        if (s == HONE_OK) s = hone_io_rename(temporary, o->path);
        if (s == HONE_OK) s = hone_io_sync_dir(parent);
    }
    json_decref(p.splits);
    free(temporary);
    free(parent);
    return s;
}
