/* fuzz_text.h - for fuzzers of text readers: bytes in memory through a reader, and what must hold after it. */
#ifndef HONE_TESTS_FUZZ_TEXT_H
#define HONE_TESTS_FUZZ_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/text_sink.h"
#include "data/utf8.h"

/* Every row lies in the bytes of its file, is UTF-8 without NUL, and has a class. */
static inline void check_rows(const hone_text_sink *s, const hone_text_job *job)
{
    const char *begin = job->blob.data, *end = begin + job->blob.bytes;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        for (int64_t i = 0; i < s->list[k].count; i++) {
            const hone_text_row *r = &s->list[k].row[i];
            if (r->label < 0 || r->label >= s->classes.count || r->line == 0) abort();
            if (r->bytes && (r->text < begin || r->text + r->bytes > end)) abort();
            if (hone_utf8_check(r->text, r->bytes, NULL) != r->bytes || memchr(r->text, 0, r->bytes)) abort();
            if (!(r->weight >= 0)) abort();
        }
}

/* Reads `bytes` as a file of a format; false when it is refused, which must come with a reason and a fix. */
static inline bool read_bytes(const hone_config *c, hone_format format, bool skip, const void *data, size_t bytes,
                              hone_text_sink *s, hone_text_job *job)
{
    if (hone_text_sink_init(s, skip) != HONE_OK) abort();
    *job = (hone_text_job){.sink = s, .config = c};
    hone_status status = hone_blob_of_bytes("fuzz", data, bytes, &job->blob);
    if (status == HONE_OK) status = hone_text_job_begin(job, "fuzz", "fuzz");
    if (status == HONE_OK)
        status = format == HONE_FORMAT_JSONL      ? hone_jsonl_read(job)
                 : format == HONE_FORMAT_FASTTEXT ? hone_fasttext_read(job)
                                                  : hone_table_read(job, format);
    if (status == HONE_OK) check_rows(s, job);
    else if (status != HONE_ERR_DATA || strncmp(hone_error_message(), "fuzz", 4) != 0 || !*hone_error_hint()) abort();
    return status == HONE_OK;
}

/* The rows of two readings are the same. */
static inline void compare_rows(const hone_text_sink *a, const hone_text_sink *b)
{
    const hone_text_list *x = &a->list[HONE_SPLIT_TRAIN], *y = &b->list[HONE_SPLIT_TRAIN];
    if (x->count != y->count) abort();
    for (int64_t i = 0; i < x->count; i++) {
        const hone_text_row *r = &x->row[i], *q = &y->row[i];
        if (r->bytes != q->bytes || (r->bytes && memcmp(r->text, q->text, r->bytes) != 0)) abort();
        if (strcmp(a->classes.item[r->label], b->classes.item[q->label]) != 0) abort();
    }
}

#endif
