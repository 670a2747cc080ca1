/* text_sink.h - where the readers of text put their rows: growing lists a split, class names, findings.
 *
 * A reader parses one file and calls hone_text_sink_add for each row; it knows one format and nothing of
 * splits of other files. The sink interns class names, counts what is odd (empty texts, blank lines),
 * and holds the rule for broken rows (data.on_error). open_text.c turns a filled sink into data sets. */
#ifndef HONE_DATA_TEXT_SINK_H
#define HONE_DATA_TEXT_SINK_H

#include "data/blob.h"
#include "data/source.h"
#include "data/texts.h"

/* Longer class names are texts: the columns are swapped. */
enum { HONE_CLASS_NAME_BYTES_MAX = 256 };

struct hone_text_pool {
    int refs;
    hone_names files; /* paths of tables as given, or names below the root of a folder              */
    char **memory;    /* (files.count) bytes that the rows point into                               */
    int capacity;
};

void hone_text_pool_drop(hone_text_pool *p); /* one reference; NULL is fine */

/* A piece of a file: not NUL-terminated. */
typedef struct hone_span {
    char *at;
    size_t bytes;
} hone_span;

/* Rows of one split while they grow; the label is an index into the sink's classes. */
typedef struct hone_text_list {
    hone_text_row *row;
    int64_t count, capacity;
    hone_names skipped; /* "file:line: reason"                                                      */
} hone_text_list;

typedef struct hone_text_sink {
    hone_text_pool *pool;
    hone_text_list list[HONE_SPLIT_COUNT];
    hone_names classes; /* in the order of their first row                                          */
    int32_t *slot;      /* (slots) hash table over classes: index + 1, 0 = free; slots a power of 2 */
    int slots;
    int last;         /* class of the row before: most files are sorted or have few classes          */
    hone_names notes; /* sentences                                                                   */
    bool skip;        /* data.on_error: skip                                                         */
    bool second, weight;
    int64_t empty, blank; /* texts without a character that is not white space; blank lines          */
    char first_empty[HONE_SHOWN], first_blank[HONE_SHOWN];
    uint64_t hash; /* content of the files and how their columns are read                            */
} hone_text_sink;

/* What a reader gets: one file's content, and where its rows go. */
typedef struct hone_text_job {
    hone_text_sink *sink;
    const hone_config *config; /* data.columns                                                      */
    hone_split split;          /* of all rows, unless a split column says otherwise                  */
    const char *path;          /* for messages                                                       */
    hone_blob blob;            /* the pool owns its memory                                           */
    int file;                  /* index in the pool                                                  */
    bool checked;              /* all of it is UTF-8; else each row has to be checked                */
} hone_text_job;

hone_status hone_text_sink_init(hone_text_sink *s, bool skip) HONE_MUST_USE;
void hone_text_sink_free(hone_text_sink *s); /* also its reference of the pool */
/* Reads a file into the pool and checks its encoding. `shown`: its name in the pool. Errors: DATA, MEMORY;
 * with on_error: skip, wrong bytes are left to be found row by row (job->checked is false). */
hone_status hone_text_job_open(hone_text_job *job, const char *path, const char *shown, size_t limit) HONE_MUST_USE;
/* The same for content that is in job->blob, whose memory the pool takes over (also on failure). */
hone_status hone_text_job_begin(hone_text_job *job, const char *path, const char *shown) HONE_MUST_USE;
/* One row. `row` has all but label and file. Errors (DATA): no label, a label that is no name. */
hone_status hone_text_sink_add(const hone_text_job *job, hone_split split, hone_span label,
                               hone_text_row row) HONE_MUST_USE;
/* After a row failed: its error where the run stops; OK where it is skipped (named, counted). */
hone_status hone_text_sink_broken(const hone_text_job *job, hone_status status) HONE_MUST_USE;
/* Index of a class name, added if it is new; -1: memory exhausted. */
int hone_text_sink_class(hone_text_sink *s, const char *name, size_t bytes);
/* Counts a line without anything on it. */
void hone_text_sink_blank(const hone_text_job *job, uint32_t line);

/* Error of a row: "file:line: ..." or, with a column above 0, "file:line:column: ...". Returns DATA. */
hone_status hone_text_fail(const hone_text_job *job, uint32_t line, uint32_t column, const char *hint, const char *fmt,
                           ...) HONE_PRINTF(5, 6);
/* A span as it may stand in a message (cut, escaped); lives until the end of the enclosing block. */
const char *hone_span_quote(hone_span s, char *out, size_t out_bytes);
#define hone_span_shown(s) hone_span_quote((s), (char[HONE_SHOWN]){0}, HONE_SHOWN)

/* The readers, one a format; each takes a whole file. Errors: DATA with file, line and the fix. */
hone_status hone_table_read(hone_text_job *job, hone_format format) HONE_MUST_USE; /* CSV, TSV */
hone_status hone_jsonl_read(hone_text_job *job) HONE_MUST_USE;
hone_status hone_fasttext_read(hone_text_job *job) HONE_MUST_USE;
/* ROOT/prefix/CLASS/FILE, each file one text, sorted (prefix: "" or "train"). */
hone_status hone_text_folder_read(hone_text_job *job, const char *root, const char *prefix, size_t limit) HONE_MUST_USE;

/* Names that are looked for where data.columns.input says nothing, best first (3). */
const char *const *hone_input_names(const hone_config *c);
/* "train", "val", "valid", "validation", "dev", "test"; COUNT for others. */
hone_split hone_split_parse(const char *name, size_t bytes);
/* A weight: a finite number >= 0, nothing around it. */
bool hone_weight_parse(hone_span s, float *out);

#endif
