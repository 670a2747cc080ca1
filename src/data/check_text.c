/* check_text.c - the check of texts, see check.h: looks at all rows of all splits and writes findings.
 *
 * Kinds: exact_duplicate_{within,across}, case_duplicate_{within,across}, near_duplicate_{within,across}
 * (twins.h defines them; across: the first of the texts is in an earlier split, so the row measures what
 * was trained on), empty_text, long_text; findings.c has those that texts share with pictures. */
#include <stdlib.h>

#include "data/findings.h"
#include "data/texts.h"
#include "data/twins.h"

/* Pointers to all rows, in the one order. */
typedef struct text_rows {
    const hone_all_rows *all;
    const hone_text_row **row; /* (count)                                                            */
    int64_t count;
} text_rows;

/* Copies of every degree. */
static hone_status find_twins(const text_rows *rows, int threads, hone_data_report *r)
{
    const hone_all_rows *a = rows->all;
    static const char folded[] = "but for case and spaces the same as", near[] = "nearly the same as";
    hone_twins t; /* for each row the first one like it, in three degrees */
    HONE_TRY(hone_twins_find(rows->row, rows->count, threads, &t));
    for (int64_t i = 0; i < rows->count; i++) /* empty texts are a finding of their own */
        if (rows->row[i]->bytes == 0) t.exact[i] = t.folded[i] = t.near[i] = i;
    hone_status s = hone_findings_copies(a, t.exact, NULL, true, "exact_duplicate_across", "the same as", r);
    if (s == HONE_OK) s = hone_findings_copies(a, t.exact, NULL, false, "exact_duplicate_within", "the same as", r);
    if (s == HONE_OK) s = hone_findings_copies(a, t.folded, t.exact, true, "case_duplicate_across", folded, r);
    if (s == HONE_OK) s = hone_findings_copies(a, t.folded, t.exact, false, "case_duplicate_within", folded, r);
    if (s == HONE_OK) s = hone_findings_copies(a, t.near, t.folded, true, "near_duplicate_across", near, r);
    if (s == HONE_OK) s = hone_findings_copies(a, t.near, t.folded, false, "near_duplicate_within", near, r);
    if (s == HONE_OK) s = hone_findings_conflicts(a, t.folded, "text", r);
    hone_twins_free(&t);
    return s;
}

/* Characters (code points) and words (runs without white space) of a text. */
static void measure(const char *text, size_t bytes, int64_t *characters, int64_t *words)
{
    bool inside = false;
    for (size_t k = 0; k < bytes; k++) {
        unsigned char c = (unsigned char)text[k];
        /* as the n-gram tokenizer splits, so that the count is that of its words */
        bool space = c <= ' ';
        *characters += (c & 0xC0) != 0x80; /* each but continuation bytes begins one */
        *words += !space && !inside;
        inside = !space;
    }
}

/* Lengths of all rows, and the findings that come with them. */
static hone_status find_lengths(const text_rows *t, int what, int64_t max_words, hone_data_report *r)
{
    int64_t *characters = calloc((size_t)t->count + 1, sizeof *characters);
    int64_t *words = calloc((size_t)t->count + 1, sizeof *words);
    hone_finding empty = {.kind = "empty_text"}, lengthy = {.kind = "long_text"};
    char x[HONE_SHOWN];
    bool check = what == HONE_REPORT_CHECK;
    hone_status s = characters && words ? HONE_OK : hone_no_memory("lengths", (size_t)t->count * sizeof *words);
    for (int64_t i = 0; s == HONE_OK && i < t->count; i++) {
        const hone_text_row *row = t->row[i];
        measure(row->text, row->bytes, &characters[i], &words[i]);
        if (row->second) measure(row->second, row->second_bytes, &characters[i], &words[i]);
        /* no word: nothing that a tokenizer could see */
        if (check && words[i] == 0)
            s = hone_finding_count(&empty, HONE_EXAMPLES, "%s", hone_all_rows_place(t->all, i, x, sizeof x));
        if (s == HONE_OK && check && words[i] > max_words)
            s = hone_finding_count(&lengthy, HONE_EXAMPLES, "%s (%lld words)",
                                   hone_all_rows_place(t->all, i, x, sizeof x), (long long)words[i]);
    }
    if (s == HONE_OK) r->characters = hone_lengths_of(characters, t->count);
    if (s == HONE_OK) r->words = hone_lengths_of(words, t->count);
    free(characters);
    free(words);
    if (s == HONE_OK && empty.count)
        s = hone_finding_say(&empty, "%lld text%s nothing but white space", (long long)empty.count,
                             empty.count == 1 ? " is" : "s are");
    if (s == HONE_OK && lengthy.count)
        s = hone_finding_say(&lengthy, "%lld text%s more than %lld words (text.max_length) and will be cut",
                             (long long)lengthy.count, lengthy.count == 1 ? " has" : "s have", (long long)max_words);
    s = hone_finding_keep(r, &empty, s);
    return hone_finding_keep(r, &lengthy, s);
}

hone_status hone_check_texts(const hone_all_rows *a, int what, int64_t max_words, int threads, hone_data_report *r)
{
    text_rows t = {.all = a, .row = malloc((size_t)a->begin[3] * sizeof *t.row + 1)};
    if (!t.row) return hone_no_memory("rows", (size_t)a->begin[3] * sizeof *t.row);
    for (int k = 0; k < 3; k++) {
        /* pointers, not copies: rows are 48 bytes */
        const hone_text_rows *texts = a->set[k] ? hone_dataset_texts(a->set[k]) : NULL;
        for (int64_t i = 0; texts && i < texts->count; i++) t.row[t.count++] = &texts->row[i];
    }
    hone_status s = what == HONE_REPORT_CHECK ? find_twins(&t, threads, r) : HONE_OK;
    if (s == HONE_OK) s = find_lengths(&t, what, max_words, r);
    free(t.row);
    return s;
}
