/* differences.c - which values of the configs differ. resolved.yaml is our own writer's: a value a line, two blanks a
 * level, "  # origin" at the end; so its lines are read, and no YAML parser is asked. */
#include <stdlib.h>
#include <string.h>

#include "report/compare.h"

enum { LEVELS = 16, KEY_BYTES = 256 };

/* Keys above the line being read, and items counted in the list under each. */
typedef struct reader {
    char key[LEVELS][64];
    int item[LEVELS];
    int depth;
} reader;

/* The value without its origin: "0.1  # default" is 0.1. A # inside quotes belongs to the value. */
static size_t value_bytes(const char *s, size_t bytes)
{
    bool quoted = false;
    for (size_t k = 0; k < bytes; k++) {
        if (s[k] == '"') quoted = !quoted;
        if (!quoted && k + 3 <= bytes && memcmp(s + k, "  #", 3) == 0) return k;
    }
    return bytes;
}

/* "a.b" or "a.b[2]" of a line at `level`; where its value begins is returned, NULL for a line that is none. */
static const char *read_line(reader *r, const char *line, size_t bytes, char key[KEY_BYTES])
{
    size_t blanks = 0, at = 0;
    while (blanks < bytes && line[blanks] == ' ') blanks++;
    int level = (int)(blanks / 2);
    if (level >= LEVELS || blanks == bytes || line[blanks] == '#') return NULL;
    key[0] = 0;
    for (int k = 0; k < level; k++) at += (size_t)snprintf(key + at, KEY_BYTES - at, "%s%s", k ? "." : "", r->key[k]);
    if (line[blanks] == '-') { /* an item: the whole line is its value */
        snprintf(key + at, KEY_BYTES - at, "[%d]", r->item[level]++);
        return line + blanks;
    }
    size_t name = strcspn(line + blanks, ":\n");
    if (blanks + name >= bytes) return NULL;
    snprintf(r->key[level], sizeof r->key[level], "%.*s", (int)(name < 63 ? name : 63), line + blanks);
    snprintf(key + at, KEY_BYTES - at, "%s%s", level ? "." : "", r->key[level]);
    if (level + 1 < LEVELS) r->item[level + 1] = 0;
    return line + blanks + name + 1;
}

static hone_difference *find(hone_difference *d, int count, const char *key)
{
    for (int k = 0; k < count; k++)
        if (strcmp(d[k].key, key) == 0) return &d[k];
    return NULL;
}

typedef struct table {
    hone_difference *row;
    int count, capacity, runs;
} table;

/* The row of `key`, a new one with empty values where there is none; NULL: memory. */
static hone_difference *row_of(table *t, const char *key)
{
    hone_difference *row = find(t->row, t->count, key);
    if (row) return row;
    if (t->count == t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 64;
        hone_difference *more = realloc(t->row, (size_t)capacity * sizeof *more);
        if (!more) return NULL;
        t->row = more;
        t->capacity = capacity;
    }
    row = &t->row[t->count++];
    *row = (hone_difference){hone_strdup(key), calloc((size_t)t->runs, sizeof *row->value)};
    return row->key && row->value ? row : NULL;
}

static bool read_page(table *t, int run, const char *page)
{
    reader r = {0};
    char key[KEY_BYTES];
    for (const char *at = page, *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        const char *value = read_line(&r, at, (size_t)(end - at), key);
        size_t bytes = value ? value_bytes(value, (size_t)(end - value)) : 0;
        for (; bytes && *value == ' '; bytes--) value++;
        if (bytes == 0) continue; /* a comment, or a key that only has keys below it */
        hone_difference *row = row_of(t, key);
        char *copy = row ? malloc(bytes + 1) : NULL;
        if (!copy) return false;
        memcpy(copy, value, bytes);
        copy[bytes] = 0;
        free(row->value[run]);
        row->value[run] = copy;
    }
    return true;
}

static bool differs(const hone_difference *d, int runs)
{
    for (int k = 1; k < runs; k++)
        if (strcmp(d->value[k] ? d->value[k] : "", d->value[0] ? d->value[0] : "") != 0) return true;
    return false;
}

static void free_row(hone_difference *d, int runs)
{
    for (int k = 0; k < runs && d->value; k++) free(d->value[k]);
    free(d->value);
    free(d->key);
}

/* Rows that are equal in all runs go; what is left keeps its order. */
static void keep_different(table *t)
{
    int kept = 0;
    for (int k = 0; k < t->count; k++) {
        if (differs(&t->row[k], t->runs)) t->row[kept++] = t->row[k];
        else free_row(&t->row[k], t->runs);
    }
    t->count = kept;
}

hone_status hone_differences(const hone_comparison *c, hone_difference **out, int *count)
{
    table t = {.runs = c->count};
    bool fine = true;
    for (int k = 0; k < c->count && fine; k++)
        if (c->run[k].resolved) fine = read_page(&t, k, c->run[k].resolved);
    if (fine) keep_different(&t);
    *out = t.row;
    *count = t.count;
    if (fine) return HONE_OK;
    hone_differences_free(t.row, t.count, t.runs);
    *out = NULL;
    *count = 0;
    return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to compare the configs");
}

void hone_differences_free(hone_difference *d, int count, int runs)
{
    for (int k = 0; k < count; k++) free_row(&d[k], runs);
    free(d);
}
