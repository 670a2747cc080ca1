/* text_rows.h - labelled texts as a line that can be compared; what tests of the readers share. */
#ifndef HONE_TESTS_TEXT_ROWS_H
#define HONE_TESTS_TEXT_ROWS_H

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/texts.h"
#include "support/data_checks.h"

#define RAW(s) (s), sizeof(s) - 1 /* bytes that may hold a NUL, and how many */
#define HEAD   "label,text\n"

static inline hone_config text_config(const char *path)
{
    hone_config c = data_config(path);
    c.task = HONE_TASK_TEXT;
    c.data.val_fraction = 0;
    return c;
}

/* A printable form of rows: "label=text|label=text"; line ends as \n, second texts behind a tilde. */
static inline char *show(const hone_data *d, const hone_dataset *set)
{
    hone_text t = {0};
    const hone_text_rows *texts = hone_dataset_texts(set);
    hone_text_add(&t, "%s", "");
    for (int64_t i = 0; i < texts->count; i++) {
        const hone_text_row *r = &texts->row[i];
        hone_text_add(&t, "%s%s=", i ? "|" : "", d->class_name[r->label]);
        for (uint32_t k = 0; k < r->bytes; k++) {
            if (r->text[k] == '\n') hone_text_append(&t, "\\n", 2);
            else if (r->text[k] == '\r') hone_text_append(&t, "\\r", 2);
            else if (r->text[k] == '\t') hone_text_append(&t, "\\t", 2);
            else hone_text_append(&t, &r->text[k], 1);
        }
        if (r->second) hone_text_add(&t, "~%.*s", (int)r->second_bytes, r->second);
        if (r->weight != 1) hone_text_add(&t, "*%g", (double)r->weight);
    }
    return hone_text_take(&t);
}

/* The training rows of the data at `path`. */
static inline void wanted_rows(const char *path, const char *rows)
{
    hone_config c = text_config(path);
    hone_data *d = opened(&c);
    char *got = show(d, d->train);
    assert_string_equal(got, rows);
    free(got);
    hone_data_free(d);
}

/* Opening must fail with both texts in the message, and with a fix. */
static inline void refused_text(const hone_config *c, const char *what, const char *where)
{
    hone_data *d = NULL;
    hone_status s = data_open(c, &d);
    const char *m = hone_error_message();
    if (s == HONE_OK || !strstr(m, what) || !strstr(m, where))
        fail_msg("wanted \"%s\" and \"%s\", got %d \"%s\"", what, where, s, m);
    assert_true(*hone_error_hint() != '\0');
}

#endif
