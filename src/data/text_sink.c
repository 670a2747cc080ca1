/* text_sink.c - see text_sink.h: rows, class names, and what every reader of text has in common.
 *
 * Rows are appended in the order of reading and never moved between lists; a class keeps the number of its
 * first row until text_splits.c sorts the names. Nothing here looks at the format of a file. */
#define XXH_INLINE_ALL
#include "data/text_sink.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/utf8.h"

/* The knob of images means nothing here, so the advice differs from hone_no_memory's. */
static hone_status no_memory(size_t bytes)
{
    return hone_fail(HONE_ERR_MEMORY, "texts are held in memory: use a part of the data, or a machine with more",
                     "no memory for rows of text (%zu bytes)", bytes);
}

/* The pool outlives the sink: data sets hold references of their own. */
hone_status hone_text_sink_init(hone_text_sink *s, bool skip)
{
    *s = (hone_text_sink){.skip = skip, .slots = 64, .last = -1};
    s->pool = calloc(1, sizeof *s->pool);
    s->slot = calloc((size_t)s->slots, sizeof *s->slot);
    if (!s->pool || !s->slot) {
        free(s->pool);
        free(s->slot);
        *s = (hone_text_sink){0};
        return no_memory(sizeof *s->pool);
    }
    s->pool->refs = 1;
    return HONE_OK;
}

/* Rows that were handed to data sets are NULL here by then. */
void hone_text_sink_free(hone_text_sink *s)
{
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        free(s->list[k].row);
        hone_names_free(&s->list[k].skipped);
    }
    hone_names_free(&s->classes);
    hone_names_free(&s->notes);
    free(s->slot);
    hone_text_pool_drop(s->pool);
    *s = (hone_text_sink){0};
}

/* The pool takes the bytes over, also when a later step fails. */
static hone_status pool_add(hone_text_pool *p, const char *shown, char *memory, int *file)
{
    if (p->files.count == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 4;
        char **grown = realloc(p->memory, (size_t)capacity * sizeof *grown);
        if (!grown) return no_memory((size_t)capacity * sizeof *grown);
        p->memory = grown;
        p->capacity = capacity;
    }
    HONE_TRY(hone_names_add(&p->files, shown));
    *file = p->files.count - 1;
    p->memory[*file] = memory; /* the name went in first: a failure above leaves the counts equal */
    return HONE_OK;
}

/* From here on the pool owns the bytes, whatever happens to the rows. */
hone_status hone_text_job_begin(hone_text_job *job, const char *path, const char *shown)
{
    hone_text_sink *s = job->sink;
    job->path = path;
    hone_status status = pool_add(s->pool, shown, job->blob.memory, &job->file);
    if (status != HONE_OK) {
        free(job->blob.memory);
        return status;
    }
    /* which split the rows are for belongs to the identity of the data, the path does not */
    s->hash = XXH3_64bits_withSeed(&job->blob.hash, sizeof job->blob.hash, s->hash ^ (uint64_t)job->split);
    /* one pass over the whole file is several times quicker than one over each field */
    const char *data = job->blob.data;
    status = hone_blob_check_utf8(&job->blob, path, data, data + job->blob.bytes);
    job->checked = status == HONE_OK;
    return s->skip && status == HONE_ERR_DATA ? HONE_OK : status;
}

/* The chunk is the reader's own; tests that vary it call hone_blob_read. */
hone_status hone_text_job_open(hone_text_job *job, const char *path, const char *shown, size_t limit)
{
    job->path = path;
    HONE_TRY(hone_blob_read(path, limit, 0, &job->blob));
    return hone_text_job_begin(job, path, shown);
}

/* The slot of a name, or the free one where it belongs. Linear probing; the table is at most half full. */
static int find_slot(const hone_text_sink *s, const char *name, size_t bytes)
{
    int k = (int)(XXH3_64bits(name, bytes) & (uint64_t)(s->slots - 1)); /* slots: a power of two */
    for (; s->slot[k]; k = (k + 1) & (s->slots - 1)) {
        const char *known = s->classes.item[s->slot[k] - 1];
        if (strncmp(known, name, bytes) == 0 && !known[bytes]) break;
    }
    return k;
}

/* All names again into a table of twice the size. */
static bool grow_slots(hone_text_sink *s)
{
    /* doubling keeps adding n names at O(n); the names themselves stay where they are */
    int slots = 2 * s->slots;
    int32_t *slot = calloc((size_t)slots, sizeof *slot);
    if (!slot) return false;
    free(s->slot);
    s->slot = slot;
    s->slots = slots;
    for (int k = 0; k < s->classes.count; k++)
        s->slot[find_slot(s, s->classes.item[k], strlen(s->classes.item[k]))] = k + 1;
    return true;
}

/* Files are mostly sorted or have few classes, so the class of the row before is tried first. */
int hone_text_sink_class(hone_text_sink *s, const char *name, size_t bytes)
{
    if (s->last >= 0) {
        const char *known = s->classes.item[s->last];
        if (strncmp(known, name, bytes) == 0 && !known[bytes]) return s->last;
    }
    int k = find_slot(s, name, bytes);
    if (!s->slot[k]) {
        if (hone_names_addf(&s->classes, "%.*s", (int)bytes, name) != HONE_OK) return -1;
        s->slot[k] = s->classes.count; /* index + 1 of the name just added */
        if (2 * s->classes.count > s->slots) {
            if (!grow_slots(s)) return -1;
            k = find_slot(s, name, bytes);
        }
    }
    return s->last = s->slot[k] - 1;
}

/* White space as Unicode's tokenizers see it in ASCII; a text of only these has nothing to learn from. */
static bool is_blank(const char *text, size_t bytes)
{
    for (size_t k = 0; k < bytes; k++)
        if (!strchr(" \t\n\r\f\v", text[k])) return false;
    return true;
}

/* Class names are names: not empty, short, and nothing that a terminal would obey. */
static hone_status check_label(const hone_text_job *job, hone_span label, uint32_t line)
{
    if (is_blank(label.at, label.bytes))
        return hone_text_fail(job, line, 0, "give each row a class name, or leave the row out", "the label is empty");
    /* swapped columns would otherwise make a class of every text, and a table as large as the data */
    if (label.bytes > HONE_CLASS_NAME_BYTES_MAX)
        return hone_text_fail(job, line, 0, "name the columns with data.columns: {input: ..., label: ...}",
                              "the label has %zu bytes (at most %d): is it the text? (\"%s\")", label.bytes,
                              HONE_CLASS_NAME_BYTES_MAX, hone_span_shown(((hone_span){label.at, 40})));
    return HONE_OK;
}

/* Doubling: a million rows cost twenty copies. */
static hone_status reserve(hone_text_list *l)
{
    if (l->count < l->capacity) return HONE_OK;
    int64_t capacity = l->capacity ? 2 * l->capacity : 1024; /* large blocks move by pages, not by bytes */
    hone_text_row *row = realloc(l->row, (size_t)capacity * sizeof *row);
    if (!row) return no_memory((size_t)capacity * sizeof *row);
    l->row = row;
    l->capacity = capacity;
    return HONE_OK;
}

/* "file:line" for a note; a file that is one row has no line. */
static void place(const hone_text_job *job, uint32_t line, char *out)
{
    char path[HONE_SHOWN - 16];
    hone_quote(job->path, path, sizeof path);
    if (line) snprintf(out, HONE_SHOWN, "%s:%u", path, line);
    else snprintf(out, HONE_SHOWN, "%s", path);
}

/* The one place where rows come in, so that every format obeys the same rules for labels and sizes. */
hone_status hone_text_sink_add(const hone_text_job *job, hone_split split, hone_span label, hone_text_row row)
{
    hone_text_sink *s = job->sink;
    hone_text_list *l = &s->list[split];
    HONE_TRY(check_label(job, label, row.line));
    int k = hone_text_sink_class(s, label.at, label.bytes);
    if (k < 0) return no_memory(label.bytes);
    row.label = k; /* the sink's number; the experiment's comes when all splits are read */
    row.file = job->file;
    /* sample ids are 32 bits wide */
    if (l->count >= INT32_MAX)
        return hone_fail(HONE_ERR_DATA, "use a part of the data", "%s: more than %d rows in one split",
                         hone_shown(job->path), INT32_MAX);
    /* the first byte decides nearly always: texts are not scanned twice */
    if ((row.bytes == 0 || (unsigned char)row.text[0] <= ' ') && is_blank(row.text, row.bytes) && s->empty++ == 0)
        place(job, row.line, s->first_empty);
    HONE_TRY(reserve(l));
    l->row[l->count++] = row;
    return HONE_OK;
}

/* Counted and told, never an error: editors leave blank lines at the end. */
void hone_text_sink_blank(const hone_text_job *job, uint32_t line)
{
    if (job->sink->blank++ == 0) place(job, line, job->sink->first_blank);
}

/* Only broken data may be skipped: running out of memory may not. */
hone_status hone_text_sink_broken(const hone_text_job *job, hone_status status)
{
    /* a split column that was unreadable leaves no better guess than the file's own split */
    if (status != HONE_ERR_DATA || !job->sink->skip) return status;
    return hone_names_add(&job->sink->list[job->split].skipped, hone_error_message());
}

/* One wording for places in all readers; editors jump to file:line:column. */
hone_status hone_text_fail(const hone_text_job *job, uint32_t line, uint32_t column, const char *hint, const char *fmt,
                           ...)
{
    /* built aside, as hone_fail's record may be among the arguments */
    char text[1024], where[HONE_SHOWN + 32];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    place(job, line, where);
    size_t n = strlen(where);
    if (column) snprintf(where + n, sizeof where - n, ":%u", column);
    return hone_fail(HONE_ERR_DATA, hint, "%s: %s", where, text);
}

/* 60 bytes show what it is; a cut character at the end is dropped by hone_quote's escapes being short. */
const char *hone_span_quote(hone_span s, char *out, size_t out_bytes)
{
    char copy[64];
    size_t n = s.bytes < 60 ? s.bytes : 60;
    /* a cut within a character would show as \xNN */
    while (n < s.bytes && n > 0 && ((unsigned char)s.at[n] & 0xC0) == 0x80) n--; /* not within a character */
    memcpy(copy, s.at, n);
    copy[n] = '\0';
    hone_quote(copy, out, out_bytes);
    size_t used = strlen(out);
    if (n < s.bytes && used + 4 <= out_bytes) memcpy(out + used, "...", 4);
    return out;
}

/* Case counts: these are names that somebody chose for programs to read. */
hone_split hone_split_parse(const char *name, size_t bytes)
{
    /* the spellings of Hugging Face, fastText's users and our own folders */
    static const struct {
        const char *name;
        hone_split split;
    } known[] = {{"train", HONE_SPLIT_TRAIN},    {"val", HONE_SPLIT_VAL}, {"valid", HONE_SPLIT_VAL},
                 {"validation", HONE_SPLIT_VAL}, {"dev", HONE_SPLIT_VAL}, {"test", HONE_SPLIT_TEST}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (strlen(known[k].name) == bytes && memcmp(known[k].name, name, bytes) == 0) return known[k].split;
    return HONE_SPLIT_COUNT;
}

/* strtod takes hexadecimal, "inf" and a decimal comma of the locale too: the characters are checked first. */
bool hone_weight_parse(hone_span s, float *out)
{
    char copy[64], *end;
    if (s.bytes == 0 || s.bytes >= sizeof copy) return false; /* no number needs 63 characters */
    memcpy(copy, s.at, s.bytes);
    copy[s.bytes] = '\0';
    /* no locale, no hexadecimal, no "nan" */
    if (strspn(copy, "0123456789+-.eE") != s.bytes) return false;
    /* what strtod leaves over is no number, and 1e999 is infinite */
    double v = strtod(copy, &end);
    if (*end || !isfinite(v) || v < 0 || v > 1e30) return false;
    *out = (float)v; /* losses are summed in float, where 1e30 rows of weight 1 are infinite anyway */
    return true;
}

/* `file_name` is that of Hugging Face's imagefolder. */
const char *const *hone_input_names(const hone_config *c)
{
    static const char *const text[3] = {"text", "sentence", "review"}, *const image[3] = {"path", "file_name", "image"};
    return c->task == HONE_TASK_IMAGE ? image : text;
}
