/* table.c - CSV and TSV as data: which column is what, and a row of text from each line.
 *
 * Columns go by the names in the first row. data.columns names them; without it the text is `text` (or
 * `sentence`, `review`), the label `label` (or `target`, `class`), the weight `weight` where there is one.
 * Where data.columns gives numbers (from 1) that are no names in the first row, the table has no header.
 * A row with another number of fields than the first one is an error: a comma or a line end inside a text
 * without quotes looks like that. */
#include "data/table.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/utf8.h"

typedef enum role { ROLE_INPUT, ROLE_LABEL, ROLE_SECOND, ROLE_WEIGHT, ROLE_SPLIT, ROLE_COUNT } role;

/* Keys of data.columns, and the names that are looked for where it says nothing, best first. */
static const struct {
    const char *key, *usual[3];
    bool must;
} role_info[ROLE_COUNT] = {{"input", {NULL}, true}, /* hone_input_names */
                           {"label", {"label", "target", "class"}, true},
                           {"second", {NULL}, false},
                           {"weight", {"weight"}, false},
                           {"split", {NULL}, false}};

/* A table with a meaning for its columns. */
typedef struct reading {
    hone_table t;
    hone_text_job *job;
    int columns;
    bool headerless;        /* the first row is data                                                  */
    int column[ROLE_COUNT]; /* index of the column, or -1                                            */
} reading;

/* What the page says of a role; NULL: nothing. */
static const char *wished(const reading *r, role k)
{
    const hone_config *c = r->job->config;
    const char *name[ROLE_COUNT] = {c->data.columns.input, c->data.columns.label, c->data.columns.second,
                                    c->data.columns.weight, c->data.columns.split};
    return name[k];
}

/* Names of a role where the page says nothing (3). */
static const char *const *usual(const reading *r, role k)
{
    return k == ROLE_INPUT ? hone_input_names(r->job->config) : role_info[k].usual;
}

/* Position of a name in the first row: -1 none, -2 more than one. */
static int find_column(const reading *r, const char *name)
{
    int found = -1;
    size_t bytes = strlen(name);
    for (int k = 0; k < r->t.count; k++)
        if (r->t.field[k].bytes == bytes && memcmp(r->t.field[k].at, name, bytes) == 0) found = found == -1 ? k : -2;
    return found;
}

/* A column number of a table without header; 0: it is none. */
static int column_number(const char *text)
{
    char *end;
    /* digits alone: "+1", " 1" and "1e3" are names */
    long v = text && *text >= '1' && *text <= '9' ? strtol(text, &end, 10) : 0;
    return v > 0 && v <= 100000 && !*end ? (int)v : 0;
}

/* One column means that the fields are not separated by what we split at. */
static const char *wrong_delimiter(const reading *r)
{
    const hone_span *f = &r->t.field[0];
    if (r->t.count != 1) return NULL;
    /* most likely first; a bar or a semicolon may also be part of a single column's name */
    if (r->t.delimiter == ',' && memchr(f->at, '\t', f->bytes)) return "tabs: set data.format: tsv";
    if (r->t.delimiter == '\t' && memchr(f->at, ',', f->bytes)) return "commas: set data.format: csv";
    if (memchr(f->at, ';', f->bytes)) return "semicolons: save it with commas";
    if (memchr(f->at, '|', f->bytes)) return "bars: save it with commas or tabs";
    return memchr(f->at, '\r', f->bytes) ? "CR alone as line ends: convert it to LF" : NULL;
}

/* The nearest name of the first row, found as for keys of a page. */
static void suggest(const reading *r, const char *name, hone_text *t)
{
    hone_names known = {0};
    for (int k = 0; k < r->t.count && k < 64; k++)
        if (hone_names_addf(&known, "%.*s", (int)(r->t.field[k].bytes < 200 ? r->t.field[k].bytes : 200),
                            r->t.field[k].at) != HONE_OK)
            break;
    const char *near = hone_did_you_mean(name, (const char *const *)known.item, known.count);
    /* spaces and case are the usual mistakes, and invisible or easily overlooked */
    if (near) hone_text_add(t, " (did you mean \"%s\"?)", hone_shown(near));
    hone_names_free(&known);
}

/* Lists what is there, and what else could be wrong. */
static hone_status no_column(const reading *r, role k, const char *name)
{
    hone_text t = {0};
    /* the whole header is listed: the right name is mostly among what is there */
    const char *separated = wrong_delimiter(r);
    for (int i = 0; i < r->t.count && i < 20; i++)
        hone_text_add(&t, "%s\"%s\"", i ? ", " : "", hone_span_shown(r->t.field[i]));
    if (r->t.count > 20) hone_text_add(&t, ", ... (%d columns)", r->t.count);
    suggest(r, name, &t);
    char *list = hone_text_take(&t), hint[200];
    snprintf(hint, sizeof hint,
             "name the columns with data.columns: {%s: NAME}; a table without a header takes numbers: {%s}",
             role_info[k].key, "label: 1, input: 2");
    hone_status s =
        separated
            ? hone_text_fail(r->job, r->t.row, 0, "the table needs a column for the label and one for the text or path",
                             "one column only, \"%s\"; it seems separated by %s", hone_span_shown(r->t.field[0]),
                             separated)
            : hone_text_fail(r->job, r->t.row, 0, hint, "no column \"%s\" for data.columns.%s; the columns are %s",
                             hone_shown(name), role_info[k].key, list ? list : "");
    free(list);
    return s;
}

/* The column of one role by name; -1 for one that may be missing and is. */
static hone_status find_role(reading *r, role k)
{
    const char *name = wished(r, k);
    /* a name that the page gives is the only one; the usual ones are tried best first */
    int at = name ? find_column(r, name) : -1;
    for (int i = 0; !name && at == -1 && i < 3 && usual(r, k)[i]; i++) {
        at = find_column(r, usual(r, k)[i]);
        if (at == -2) name = usual(r, k)[i];
    }
    if (at == -2)
        return hone_text_fail(r->job, r->t.row, 0, "rename one of them", "two columns are called \"%s\"",
                              hone_shown(name));
    /* a column that was asked for must be there, even one that is optional */
    if (at == -1 && (name || role_info[k].must)) return no_column(r, k, name ? name : usual(r, k)[0]);
    r->column[k] = at;
    return HONE_OK;
}

/* True where every name that the page gives is a number and the first row has none of them as names. */
static bool is_headerless(const reading *r)
{
    bool any = false;
    for (role k = 0; k < ROLE_COUNT; k++) {
        const char *name = wished(r, k);
        if (!name) continue;
        /* a header of numbers exists (pandas writes one), and then the names win */
        if (!column_number(name) || find_column(r, name) != -1) return false;
        any = true;
    }
    return any;
}

/* Positions instead of names; text and label must both have one. */
static hone_status number_roles(reading *r)
{
    for (role k = 0; k < ROLE_COUNT; k++) {
        const char *name = wished(r, k);
        r->column[k] = column_number(name) - 1;
        if (!name && role_info[k].must)
            return hone_text_fail(r->job, r->t.row, 0, "for example data.columns: {label: 1, input: 2}",
                                  "data.columns has numbers, but none for %s", role_info[k].key);
        if (r->column[k] >= r->t.count)
            return hone_text_fail(r->job, r->t.row, 0, "columns count from 1",
                                  "data.columns.%s is %s, but there are %d columns", role_info[k].key, name,
                                  r->t.count);
    }
    return HONE_OK;
}

/* Two roles in one column would train on the label. */
static hone_status check_roles(const reading *r)
{
    for (role k = 0; k < ROLE_COUNT; k++)
        for (role i = k + 1; i < ROLE_COUNT; i++)
            if (r->column[k] >= 0 && r->column[k] == r->column[i])
                return hone_text_fail(r->job, r->t.row, 0, "give each its own column",
                                      "data.columns.%s and %s are the same column", role_info[k].key, role_info[i].key);
    return HONE_OK;
}

/* Reads the first row and gives the columns their roles. */
static hone_status read_header(reading *r)
{
    HONE_TRY(hone_table_next(&r->t));
    r->columns = r->t.count; /* what every row must have */
    r->headerless = is_headerless(r);
    if (r->headerless) HONE_TRY(number_roles(r));
    for (role k = 0; !r->headerless && k < ROLE_COUNT; k++) HONE_TRY(find_role(r, k));
    HONE_TRY(check_roles(r));
    r->job->sink->second |= r->column[ROLE_SECOND] >= 0;
    r->job->sink->weight |= r->column[ROLE_WEIGHT] >= 0;
    return HONE_OK;
}

/* Where the whole file could not be checked at once. */
static hone_status check_bytes(const reading *r, hone_span f)
{
    const char *why = NULL;
    if (r->job->checked || hone_utf8_check(f.at, f.bytes, &why) == f.bytes) return HONE_OK;
    return hone_text_fail(r->job, r->t.row, 0, "convert the file to UTF-8", "not UTF-8: %s", why);
}

/* One text of a row. */
static hone_status take_text(const reading *r, role k, const char **text, uint32_t *bytes)
{
    if (r->column[k] < 0) return HONE_OK;
    hone_span f = r->t.field[r->column[k]];
    /* rows hold 32-bit lengths: 48 bytes a row, millions of rows */
    if (f.bytes > UINT32_MAX)
        return hone_text_fail(r->job, r->t.row, 0, "cut it", "a text of %zu bytes (at most 4 GiB)", f.bytes);
    *text = f.at;
    *bytes = (uint32_t)f.bytes;
    return check_bytes(r, f);
}

/* The usual reason for a wrong number of fields differs by format. */
static hone_status ragged(const reading *r)
{
    const char *hint = !r->t.quoted            ? "is there a tab in the text? tabs separate columns"
                       : r->t.delimiter == ',' ? "put texts that hold a comma or a line end in quotes"
                                               : "put texts that hold a tab or a line end in quotes";
    return hone_text_fail(r->job, r->t.row, 0, hint, "%d column%s, the first row has %d", r->t.count,
                          r->t.count == 1 ? "" : "s", r->columns);
}

/* From fields to a row of the sink. */
static hone_status take_row(const reading *r)
{
    hone_text_row row = {.weight = 1.0f, .line = r->t.row}; /* label and file are the sink's to set */
    hone_split split = r->job->split;
    /* guessing which field is the text would train on the wrong one */
    if (r->t.count != r->columns) return ragged(r);
    HONE_TRY(take_text(r, ROLE_INPUT, &row.text, &row.bytes));
    HONE_TRY(take_text(r, ROLE_SECOND, &row.second, &row.second_bytes));
    /* the label as it stands: spaces around it make another name, which the notes tell */
    hone_span label = r->t.field[r->column[ROLE_LABEL]];
    HONE_TRY(check_bytes(r, label));
    if (r->column[ROLE_WEIGHT] >= 0 && !hone_weight_parse(r->t.field[r->column[ROLE_WEIGHT]], &row.weight))
        return hone_text_fail(r->job, r->t.row, 0, "weights are numbers of 0 and above", "weight \"%s\" is no weight",
                              hone_span_shown(r->t.field[r->column[ROLE_WEIGHT]]));
    if (r->column[ROLE_SPLIT] >= 0) {
        hone_span f = r->t.field[r->column[ROLE_SPLIT]];
        split = hone_split_parse(f.at, f.bytes);
        if (split == HONE_SPLIT_COUNT)
            return hone_text_fail(r->job, r->t.row, 0, "the split column holds train, val or test",
                                  "split \"%s\" is not known", hone_span_shown(f));
    }
    return hone_text_sink_add(r->job, split, label, row);
}

/* A line of nothing is no row; all else is. */
static bool is_blank_line(const hone_table *t) { return t->count == 1 && t->field[0].bytes == 0; }

/* The rows behind the header, broken ones by the rule of the sink. A first row that is data was split
 * already, and may be split only once: quotes are undone in place. */
static hone_status read_rows(reading *r)
{
    hone_status first = r->headerless ? take_row(r) : HONE_OK;
    if (first != HONE_OK) HONE_TRY(hone_text_sink_broken(r->job, first));
    while (r->t.p < r->t.end) {
        hone_status s = hone_table_next(&r->t);
        /* a row is counted by the line where it begins, so that an editor finds it */
        if (s == HONE_OK && is_blank_line(&r->t)) hone_text_sink_blank(r->job, r->t.row);
        else if (s == HONE_OK) s = take_row(r);
        if (s != HONE_OK) HONE_TRY(hone_text_sink_broken(r->job, s));
    }
    return HONE_OK;
}

/* TSV: whether quotes count is one decision for the file, and told where it isn't obvious. */
static hone_status choose_quotes(reading *r)
{
    uint32_t plain = 0; /* the line that shows that quotes are plain characters */
    r->t.quoted = r->t.delimiter == ',' || hone_table_tsv_quoted(r->t.p, r->t.end, &plain);
    if (!plain) return HONE_OK;
    return hone_names_addf(&r->job->sink->notes,
                           "%s: quotes are plain characters in this TSV (line %u begins a field with one and does not "
                           "end it so)",
                           hone_shown(r->job->path), plain);
}

/* Blank lines before the header are passed over: exports begin with them. */
hone_status hone_table_read(hone_text_job *job, hone_format format)
{
    char *data = job->blob.data;
    reading r = {.job = job};
    r.t = (hone_table){.job = job,
                       .p = data,
                       .end = data + job->blob.bytes,
                       .delimiter = format == HONE_FORMAT_TSV ? '\t' : ',',
                       .line = 1};
    while (r.t.p < r.t.end && (*r.t.p == '\n' || *r.t.p == '\r')) r.t.line += *r.t.p++ == '\n';
    if (r.t.p >= r.t.end) return hone_text_fail(job, 1, 0, "a table begins with its column names", "the file is empty");
    HONE_TRY(choose_quotes(&r));
    hone_status s = read_header(&r);
    if (s == HONE_OK) s = read_rows(&r);
    free(r.t.field);
    return s;
}
