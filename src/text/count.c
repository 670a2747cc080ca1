/* count.c - see count.h. Every thread counts stretches of texts in a table of its own; the tables are added up and one
 * sort gives an order that knows nothing of who counted what. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/thread.h"
#include "text/count.h"

/* Texts a stretch: enough work to be worth a hand-over, few enough that threads end together. */
enum { STRETCH = 512, TABLES_MAX = 64 };

/* Words and their counts; open addressing. */
typedef struct table {
    struct entry {
        uint64_t hash; /* 0 = free */
        size_t at;
        uint32_t bytes;
        int64_t count;
    } * slot; /* (mask + 1) */
    uint64_t mask, used;
    hone_buffer text; /* the words, one after the other */
    int64_t total;    /* occurrences */
} table;

/* One table a thread; a stretch takes whichever is free. */
typedef struct counting {
    const hone_tokenizer *t;
    const hone_texts *texts;
    table *table;      /* (tables) */
    hone_ids *ids;     /* (tables): for their working memory */
    atomic_flag *busy; /* (tables) */
    int tables;
} counting;

/* Fine on a table whose text was handed on, and on an empty one. */
static void table_free(table *m)
{
    free(m->slot);
    free(m->text.data);
    *m = (table){0};
}

/* Twice the slots, every entry to its new place. */
static hone_status table_grow(table *m)
{
    uint64_t mask = m->mask ? m->mask * 2 + 1 : 4095;
    struct entry *slot = calloc(mask + 1, sizeof *slot);
    if (!slot)
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for counts of %llu words", (unsigned long long)m->used);
    for (uint64_t k = 0; m->slot && k <= m->mask; k++) {
        if (m->slot[k].hash == 0) continue;
        uint64_t at = m->slot[k].hash & mask;
        while (slot[at].hash) at = (at + 1) & mask;
        slot[at] = m->slot[k];
    }
    free(m->slot);
    m->slot = slot;
    m->mask = mask;
    return HONE_OK;
}

/* Equal hashes are not enough here: words are compared, because the vocabulary must be exact. */
static hone_status table_add(table *m, const char *word, size_t bytes, int64_t count)
{
    /* half full at most: a search is then one or two steps */
    if (m->used * 2 >= m->mask) HONE_TRY(table_grow(m));
    /* 0 marks a free slot, so no word may have it */
    uint64_t hash = XXH3_64bits(word, bytes) | 1, at = hash & m->mask;
    m->total += count;
    for (; m->slot[at].hash; at = (at + 1) & m->mask) {
        struct entry *e = &m->slot[at];
        if (e->hash == hash && e->bytes == bytes && memcmp(m->text.data + e->at, word, bytes) == 0) {
            e->count += count;
            return HONE_OK;
        }
    }
    HONE_TRY(hone_buffer_reserve(&m->text, bytes + 1));
    memcpy(m->text.data + m->text.count, word, bytes);
    m->slot[at] = (struct entry){hash, m->text.count, (uint32_t)bytes, count};
    m->text.count += bytes;
    m->used++;
    return HONE_OK;
}

/* The splitter's callback. */
static hone_status count_word(void *arg, const char *word, size_t bytes) { return table_add(arg, word, bytes, 1); }

/* The texts of one stretch into a free table; there are as many tables as threads, so one is free. */
static hone_status count_stretch(void *arg, int64_t stretch)
{
    counting *c = arg;
    int mine = 0;
    while (atomic_flag_test_and_set(&c->busy[mine])) mine = (mine + 1) % c->tables;
    hone_work *w = NULL;
    hone_status status = hone_work_get(c->t, &c->ids[mine], &w);
    int64_t end = (stretch + 1) * STRETCH < c->texts->count ? (stretch + 1) * STRETCH : c->texts->count;
    for (int64_t i = stretch * STRETCH; i < end && status == HONE_OK; i++)
        for (int part = 0; part < c->texts->parts && status == HONE_OK; part++) {
            const char *text = NULL;
            size_t bytes = 0;
            c->texts->at(c->texts->arg, i, part, &text, &bytes);
            status = hone_words(c->t, w, text, bytes, count_word, &c->table[mine]);
        }
    atomic_flag_clear(&c->busy[mine]);
    return status;
}

/* Adds the other tables to the first. */
static hone_status merge_tables(counting *c)
{
    table *all = &c->table[0];
    for (int k = 1; k < c->tables; k++) {
        table *m = &c->table[k];
        for (uint64_t s = 0; m->slot && s <= m->mask; s++)
            if (m->slot[s].hash)
                HONE_TRY(table_add(all, m->text.data + m->slot[s].at, m->slot[s].bytes, m->slot[s].count));
        table_free(m);
    }
    return HONE_OK;
}

/* Largest count first; equal counts by bytes, shorter first where one begins the other. */
static int by_count(const void *a, const void *b)
{
    const hone_word_count *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    int order = memcmp(x->word, y->word, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order ? order : x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* The text moves to the list; the table keeps only its slots, which are freed with it. */
static hone_status make_list(table *m, hone_word_list *out)
{
    *out = (hone_word_list){.total = m->total};
    out->word = malloc((m->used + 1) * sizeof *out->word);
    if (!out->word) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a list of words");
    out->text = m->text.data; /* the list owns the bytes now */
    m->text = (hone_buffer){0};
    for (uint64_t s = 0; m->slot && s <= m->mask; s++)
        if (m->slot[s].hash)
            out->word[out->words++] = (hone_word_count){out->text + m->slot[s].at, m->slot[s].bytes, m->slot[s].count};
    qsort(out->word, (size_t)out->words, sizeof *out->word, by_count);
    return HONE_OK;
}

/* One way out for all errors: whatever was made is freed at the end, whether counting worked or not. */
hone_status hone_word_list_count(const hone_tokenizer *t, const hone_texts *texts, int threads, hone_word_list *out)
{
    counting c = {.t = t, .texts = texts, .tables = threads < 1 ? 1 : threads > TABLES_MAX ? TABLES_MAX : threads};
    *out = (hone_word_list){0};
    c.table = calloc((size_t)c.tables, sizeof *c.table);
    c.ids = calloc((size_t)c.tables, sizeof *c.ids);
    c.busy = calloc((size_t)c.tables, sizeof *c.busy);
    hone_status status =
        c.table && c.ids && c.busy ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for counts");
    for (int k = 0; status == HONE_OK && k < c.tables; k++) atomic_flag_clear(&c.busy[k]);
    int64_t stretches = (texts->count + STRETCH - 1) / STRETCH;
    if (status == HONE_OK) status = hone_parallel_for(c.tables, stretches, count_stretch, &c);
    if (status == HONE_OK) status = merge_tables(&c);
    if (status == HONE_OK) status = make_list(&c.table[0], out);
    for (int k = 0; k < c.tables; k++) {
        if (c.table) table_free(&c.table[k]);
        if (c.ids) hone_ids_free(&c.ids[k]);
    }
    free(c.table);
    free(c.ids);
    free(c.busy);
    return status;
}

/* Words point into the text, so both go together. */
void hone_word_list_free(hone_word_list *l)
{
    free(l->word);
    free(l->text);
    *l = (hone_word_list){0};
}
