/* shards.c - see shards.h. Every archive is listed by one thread into a place of its own; then labels are read and the
 * samples put together in the order of archives and, within one, of the first member of each key.
 *
 * A key is a member's name up to the first dot behind its last slash, what follows is its ending: WebDataset's rule. */
#define XXH_INLINE_ALL
#include "data/shards.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "core/text.h"
#include "core/thread.h"
#include "data/shard_list.h"
#include "data/source_hash.h"
#include "data/tar.h"
#include "core/json.h"

/* In this order of preference. A label is small; a number of classes beyond this is no number of a class. */
enum {
    LABEL_CLS,
    LABEL_TXT,
    LABEL_JSON,
    LABEL_KINDS,
    LABEL_BYTES_MAX = 64 << 10,
    CLASS_MAX = 1000000,
    NAME_BYTES_MAX = 256
};
static const char *const label_ending[LABEL_KINDS] = {"cls", "txt", "json"};

typedef struct piece {
    int64_t offset, bytes; /* offset 0: not there, as a header comes before all content             */
} piece;

typedef struct sample {
    char *key;
    char *ending; /* of the picture, as it is spelt; NULL: there is none                                */
    piece picture, label[LABEL_KINDS];
    int64_t number; /* of its class; -1: it has a name                                                  */
    char *name;     /* of its class                                                                   */
    char *reason;   /* why it is left out; NULL: it is not                                             */
} sample;

/* One archive. */
typedef struct shard {
    const char *path;
    sample *list; /* (count)                                                                          */
    int64_t count, capacity;
    int64_t *slot; /* (slots) index + 1 by key: open addressing, at most half full                       */
    size_t slots;
    int64_t odd, others; /* links and the like; members with an ending that is neither picture nor label */
} shard;

typedef struct opening {
    hone_names paths;
    shard *shard; /* (paths.count)                                                                   */
    hone_on_error on_error;
    int threads, kind; /* kind of the labels; LABEL_KINDS: no label anywhere                             */
    hone_source *source;
    hone_source_hash hash;
} opening;

/* The endings of what hone_image_decode reads; what a member really is shows when it is decoded. */
static bool is_picture_ending(const char *ending)
{
    static const char *const known[] = {"jpg", "jpeg", "png", "bmp", "ppm", "pgm"};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (strcasecmp(ending, known[k]) == 0) return true;
    return false;
}

/* Slot of a key: the one that holds it, or the empty one where it would stand. */
static size_t find_slot(const shard *s, const char *key, size_t bytes)
{
    size_t k = XXH3_64bits(key, bytes) & (s->slots - 1);
    while (s->slot[k]) {
        const char *other = s->list[s->slot[k] - 1].key;
        if (strncmp(other, key, bytes) == 0 && other[bytes] == '\0') break;
        k = (k + 1) & (s->slots - 1);
    }
    return k;
}

/* Doubles list and table. */
static hone_status grow(shard *s)
{
    int64_t capacity = s->capacity ? 2 * s->capacity : 64;
    sample *list = realloc(s->list, (size_t)capacity * sizeof *list);
    if (list) s->list = list;
    int64_t *slot = calloc(2 * (size_t)capacity, sizeof *slot);
    if (!list || !slot) {
        free(slot);
        return hone_no_memory("the members of an archive", (size_t)capacity * sizeof *list);
    }
    free(s->slot);
    s->slot = slot;
    s->slots = 2 * (size_t)capacity;
    s->capacity = capacity;
    /* every key moves: its slot depends on the size of the table */
    for (int64_t i = 0; i < s->count; i++) s->slot[find_slot(s, s->list[i].key, strlen(s->list[i].key))] = i + 1;
    return HONE_OK;
}

/* The sample of a key, new where it is the first member of it. */
static hone_status sample_of(shard *s, const char *name, size_t key_bytes, sample **out)
{
    if (s->count == s->capacity) HONE_TRY(grow(s));
    size_t k = find_slot(s, name, key_bytes);
    if (!s->slot[k]) {
        char *key = malloc(key_bytes + 1);
        if (!key) return hone_no_memory("a key", key_bytes);
        memcpy(key, name, key_bytes);
        key[key_bytes] = '\0';
        s->list[s->count] = (sample){.key = key, .number = -1};
        s->slot[k] = ++s->count;
    }
    *out = &s->list[s->slot[k] - 1];
    return HONE_OK;
}

/* Two pictures of one key: which of them is the label's? Neither is left out in silence. */
static hone_status twice(const shard *s, const char *name, const char *what)
{
    return hone_fail(HONE_ERR_DATA, "give each sample a key of its own and pack the archive anew",
                     "%s: %s: %s of this key already", hone_shown(s->path), hone_shown(name), what);
}

/* For hone_tar_index: sorts a member into the sample of its key. */
static hone_status add_member(void *arg, const char *name, int64_t offset, int64_t bytes)
{
    shard *s = arg;
    sample *x = NULL;
    const char *dot = strchr(hone_path_base(name), '.');
    int kind = 0;
    /* WebDataset splits at the first dot, so "7.seg.png" is a mask of 7 and no picture of it */
    if (dot)
        while (kind < LABEL_KINDS && strcasecmp(dot + 1, label_ending[kind]) != 0) kind++;
    bool picture = dot && is_picture_ending(dot + 1);
    if (!dot || (!picture && kind == LABEL_KINDS)) { /* masks, captions of other endings, a README */
        s->others++;
        return HONE_OK;
    }
    HONE_TRY(sample_of(s, name, (size_t)(dot - name), &x));
    piece *p = picture ? &x->picture : &x->label[kind];
    /* content begins behind a header, so 0 can stand for "not there" */
    if (p->offset) return twice(s, name, picture ? "there is a picture" : "there is such a label");
    *p = (piece){offset, bytes};
    if (picture && !(x->ending = hone_strdup(dot + 1))) return hone_no_memory("a name", 0);
    return HONE_OK;
}

/* One task of the parallel loop: shards share nothing. */
static hone_status index_shard(void *arg, int64_t k)
{
    opening *o = arg;
    shard *s = &o->shard[k];
    s->path = o->paths.item[k];
    return hone_tar_index(s->path, add_member, s, &s->odd);
}

/* By the first sample that has one: the same kind then holds for all. */
static int find_kind(const opening *o)
{
    for (int k = 0; k < o->paths.count; k++)
        for (int64_t i = 0; i < o->shard[k].count; i++)
            for (int kind = 0; kind < LABEL_KINDS; kind++)
                if (o->shard[k].list[i].picture.offset && o->shard[k].list[i].label[kind].offset) return kind;
    return LABEL_KINDS;
}

/* Blanks and line ends at both ends do not count; returns the rest, which it terminates. */
static char *trim(char *text)
{
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1])) text[--n] = '\0';
    return text + strspn(text, " \t\r\n");
}

/* A class by name: one line of UTF-8. */
static hone_status take_name(sample *x, const char *name)
{
    size_t n = strlen(name);
    if (n == 0) return hone_fail(HONE_ERR_DATA, "write the class name into it", "the label is empty");
    if (n > NAME_BYTES_MAX || strchr(name, '\n'))
        return hone_fail(HONE_ERR_DATA, "a label is a class name: one short line", "the label is a text of %zu bytes",
                         n);
    if (!hone_text_is_utf8(name)) return hone_fail(HONE_ERR_DATA, "save it as UTF-8", "the label is not UTF-8");
    x->name = hone_strdup(name);
    return x->name ? HONE_OK : hone_no_memory("a class name", n);
}

/* A class by number. */
static hone_status take_number(sample *x, const char *text)
{
    /* the whole text must be the number: "3 cats" is a mistake, not class 3 */
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < 0 || v >= CLASS_MAX)
        return hone_fail(HONE_ERR_DATA, "a .cls member holds the number of the class, from 0; names go into .txt",
                         "\"%.60s\" is no class number", hone_shown(text));
    x->number = v;
    return HONE_OK;
}

/* {"label": "cat"} or a number; "cls" and "class" are other spellings. */
static hone_status take_json(sample *x, const char *text, size_t bytes)
{
    static const char *const key[] = {"label", "cls", "class"};
    /* nothing else of the object is looked at: ids, captions and sizes are common */
    json_error_t e;
    json_t *j, *v = NULL;
    HONE_TRY(hone_json_parse(text, bytes, JSON_REJECT_DUPLICATES, &j, &e));
    /* the first spelling that is there decides */
    for (int k = 0; !v && k < 3; k++) v = json_object_get(j, key[k]);
    hone_status s;
    char number[32];
    if (!j) s = hone_fail(HONE_ERR_DATA, "write it as {\"label\": \"cat\"}", "no JSON: %s", e.text);
    else if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v))
        s = take_name(x, json_string_value(v));
    else if (json_is_integer(v)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        s = take_number(x, number);
    } else s = hone_fail(HONE_ERR_DATA, "write it as {\"label\": \"cat\"}", "no \"label\" that is a name or a number");
    json_decref(j);
    return s;
}

/* The label's text, read by its place. */
static hone_status read_label(const opening *o, const shard *s, sample *x)
{
    piece p = x->label[o->kind];
    uint8_t *bytes;
    /* a caption model's text, or a picture under the wrong ending */
    if (p.bytes > LABEL_BYTES_MAX)
        return hone_fail(HONE_ERR_DATA, "a label is a class", "a label of %lld bytes", (long long)p.bytes);
    HONE_TRY(hone_bytes_read_part(s->path, p.offset, (size_t)p.bytes, &bytes));
    char *text = (char *)bytes;
    hone_status status;
    /* JSON has its own rules for blanks; the others are cut at both ends, as echo leaves a line end */
    if (o->kind == LABEL_JSON) status = take_json(x, text, (size_t)p.bytes);
    else if (memchr(bytes, 0, (size_t)p.bytes))
        status = hone_fail(HONE_ERR_DATA, "a label is text", "a label with a NUL byte");
    else status = o->kind == LABEL_CLS ? take_number(x, trim(text)) : take_name(x, trim(text));
    free(bytes);
    return status;
}

/* What makes a sample of its members. Errors (DATA) name archive and member. */
static hone_status settle(const opening *o, const shard *s, sample *x)
{
    /* without any label the message still has to name a kind: the usual one */
    const char *ending = o->kind < LABEL_KINDS ? label_ending[o->kind] : "cls";
    if (!x->picture.offset)
        return hone_fail(HONE_ERR_DATA, "add the picture, or leave the label out", "%s: %s: a label without a picture",
                         hone_shown(s->path), hone_shown(x->key));
    if (o->kind == LABEL_KINDS || !x->label[o->kind].offset)
        return hone_fail(HONE_ERR_DATA, "every picture has a label beside it, the same kind in all archives",
                         "%s: %s.%s: no %s.%s beside it", hone_shown(s->path), hone_shown(x->key),
                         hone_shown(x->ending), hone_shown(x->key), ending);
    hone_status status = read_label(o, s, x);
    if (status != HONE_OK) hone_error_context("%s: %s.%s", hone_shown(s->path), hone_shown(x->key), ending);
    return status;
}

/* All samples of one archive; with skip what is wrong with one is noted. */
static hone_status settle_shard(void *arg, int64_t k)
{
    opening *o = arg;
    for (int64_t i = 0; i < o->shard[k].count; i++) {
        sample *x = &o->shard[k].list[i];
        hone_status s = settle(o, &o->shard[k], x);
        if (s == HONE_ERR_DATA && o->on_error == HONE_ON_ERROR_SKIP) {
            x->reason = hone_strdup(hone_error_message());
            s = x->reason ? HONE_OK : hone_no_memory("a list of broken samples", 0);
        }
        HONE_TRY(s);
    }
    return HONE_OK;
}

/* By bytes, as class names are sorted everywhere: the numbers must not depend on a locale. */
static int compare_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names sorted by bytes, each once; or as many numbers as the greatest needs. `good`: samples that stay. */
static hone_status list_classes(opening *o, int64_t good)
{
    hone_source *d = o->source;
    const char **name = malloc((size_t)good * sizeof *name + 1); /* (good) borrowed */
    if (!name) return hone_no_memory("class names", (size_t)good * sizeof *name);
    /* names are borrowed and sorted as pointers: a million samples share a few classes */
    int64_t names = 0, most = -1;
    for (int k = 0; k < o->paths.count; k++)
        for (int64_t i = 0; i < o->shard[k].count; i++) {
            const sample *x = &o->shard[k].list[i];
            if (x->reason) continue;
            if (x->name) name[names++] = x->name;
            else if (x->number > most) most = x->number;
        }
    hone_status s = HONE_OK;
    if (names && most >= 0)
        s = hone_fail(HONE_ERR_DATA, "label all by name, or all by number",
                      "%s: some labels are names and some are numbers", hone_shown(d->name));
    qsort(name, (size_t)names, sizeof *name, compare_text);
    for (int64_t i = 0; s == HONE_OK && i < names; i++) /* equal ones stand together after the sort */
        if (i == 0 || strcmp(name[i - 1], name[i]) != 0) s = hone_names_add(&d->classes, name[i]);
    free(name);
    if (s != HONE_OK || most < 0) return s;
    /* classes.txt beside the archives: line 1 is class 0 */
    const char *first = o->paths.item[0];
    hone_text path = {0};
    hone_text_add(&path, "%.*sclasses.txt", (int)(hone_path_base(first) - first), first);
    if (path.failed) return hone_no_memory("a path", 0);
    /* without the file the numbers are the names, and a class that no sample has still has its place */
    bool there = hone_path_look(path.data, NULL) == HONE_PATH_FILE;
    s = there ? hone_lines_read(path.data, &d->classes) : hone_source_number_classes(d, (int)most + 1);
    if (s == HONE_OK && there && d->classes.count <= most)
        s = hone_fail(HONE_ERR_DATA, "a line for each class, the first one is class 0",
                      "%s: %d names, but class %lld is used", hone_shown(path.data), d->classes.count, (long long)most);
    hone_text_free(&path);
    return s;
}

/* Sample x of archive k as the next of the source. */
static hone_status add_sample(opening *o, int k, const sample *x)
{
    hone_source *d = o->source;
    /* below CLASS_MAX, so it fits */
    int label = (int)x->number;
    if (x->name) {
        char **at = bsearch(&x->name, d->classes.item, (size_t)d->classes.count, sizeof *d->classes.item, compare_text);
        label = (int)(at - d->classes.item); /* every name is in the list, which was made of them */
    }
    /* the shard goes into the name: keys may repeat in another archive */
    HONE_TRY(hone_names_addf(&d->files, "%s/%s.%s", hone_path_base(o->paths.item[k]), x->key, x->ending));
    d->member[d->count] = (hone_member){k, x->picture.offset, x->picture.bytes};
    d->label[d->count++] = label;
    hone_source_hash_file(&o->hash, d->files.item[d->files.count - 1], x->picture.bytes);
    return HONE_OK;
}

/* From samples to a source, in their order. */
static hone_status fill(opening *o)
{
    hone_source *d = o->source;
    int64_t good = 0, others = 0, odd = 0;
    for (int k = 0; k < o->paths.count; k++) {
        others += o->shard[k].others;
        odd += o->shard[k].odd;
        for (int64_t i = 0; i < o->shard[k].count; i++) {
            const sample *x = &o->shard[k].list[i];
            good += x->reason == NULL;
            if (x->reason) HONE_TRY(hone_names_add(&d->skipped, x->reason));
        }
    }
    /* with skip all may have been left out, and a set of none is no set */
    if (good == 0)
        return hone_fail(HONE_ERR_DATA, "members are KEY.jpg (png, bmp, ppm) and KEY.cls (txt, json)",
                         "%s: no labelled pictures", hone_shown(d->name));
    HONE_TRY(list_classes(o, good));
    d->label = malloc((size_t)good * sizeof *d->label);
    d->member = malloc((size_t)good * sizeof *d->member);
    if (!d->label || !d->member) return hone_no_memory("labels", (size_t)good * sizeof *d->member);
    /* from here on the sizes are known, so everything is allocated once */
    HONE_TRY(hone_source_hash_begin(&o->hash));
    for (int k = 0; k < o->paths.count; k++)
        for (int64_t i = 0; i < o->shard[k].count; i++)
            if (!o->shard[k].list[i].reason) HONE_TRY(add_sample(o, k, &o->shard[k].list[i]));
    if (others + odd)
        HONE_TRY(hone_names_addf(&d->notes, "%s: left out %lld members that are neither pictures nor labels",
                                 hone_shown(d->name), (long long)(others + odd)));
    /* labels are no part of the files' names here, so they go in by themselves */
    for (int k = 0; k < d->classes.count; k++)
        hone_source_hash_add(&o->hash, d->classes.item[k], strlen(d->classes.item[k]) + 1);
    hone_source_hash_add(&o->hash, d->label, (size_t)d->count * sizeof *d->label);
    d->shards = o->paths; /* the source reads by them from here on */
    o->paths = (hone_names){0};
    return hone_source_hash_end(&o->hash, d, o->threads);
}

/* Samples, tables and what was not handed to the source. */
static void drop(opening *o, int shards)
{
    for (int k = 0; o->shard && k < shards; k++) {
        for (int64_t i = 0; i < o->shard[k].count; i++) {
            sample *x = &o->shard[k].list[i];
            free(x->key);
            free(x->ending);
            free(x->name);
            free(x->reason);
        }
        free(o->shard[k].list);
        free(o->shard[k].slot);
    }
    free(o->shard);
    hone_names_free(&o->paths);
    hone_source_hash_free(&o->hash);
}

/* Three passes: list the members, read the labels, put the source together. The first two are parallel. */
hone_status hone_shards_open(const char *path, hone_split split, bool whole, hone_on_error on_error, int threads,
                             hone_source **out)
{
    opening o = {.on_error = on_error, .threads = threads};
    *out = NULL;
    hone_status s = hone_shards_list(path, split, whole, &o.paths);
    /* `paths` goes to the source at the end, so the number is kept for unwinding */
    int shards = o.paths.count;
    if (s != HONE_OK || shards == 0) {
        hone_names_free(&o.paths);
        return s;
    }
    o.shard = calloc((size_t)shards, sizeof *o.shard);
    o.source = hone_source_new(path);
    if (o.source) o.source->root = hone_strdup("");
    if (!o.shard || !o.source || !o.source->root) s = hone_no_memory("a data set", (size_t)shards * sizeof *o.shard);
    if (s == HONE_OK) s = hone_parallel_for(threads, shards, index_shard, &o);
    /* of all archives at once: a later one must not choose another kind */
    if (s == HONE_OK) o.kind = find_kind(&o);
    if (s == HONE_OK) s = hone_parallel_for(threads, shards, settle_shard, &o);
    if (s == HONE_OK) s = fill(&o);
    drop(&o, shards);
    if (s == HONE_OK) *out = o.source;
    else hone_source_free(o.source);
    return s;
}
