/* check_image.c - the check of pictures, see check.h: decodes every picture of all splits once, in the size it has.
 *
 * Kinds: broken_picture (all of them by name), exact_duplicate_{within,across} (the same pixels, whatever the file),
 * near_duplicate_{within,across} (image_twins.h defines them), label_conflict over both, constant_picture,
 * small_picture (a side under a quarter of the median: it would be blown up); findings.c has those that pictures
 * share with texts. What is kept is 320 bytes a picture, so sets that fit no memory can be checked. */
#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/text.h"
#include "core/thread.h"
#include "data/dataset.h"
#include "data/findings.h"
#include "data/image_twins.h"

/* Pictures handed to a thread at once. */
enum { CHUNK = 16, SMALL = 4 };

typedef struct pictures {
    const hone_all_rows *all;
    int64_t count;
    hone_print *print;     /* (count)                                                              */
    char **reason;         /* (count) why it can't be decoded; NULL of good ones                        */
    int64_t *exact, *near; /* (count) the first one like it, or itself                              */
} pictures;

/* Where picture i is kept. */
static const hone_source *source_of(const pictures *p, int64_t i, int64_t *item)
{
    int s = hone_all_rows_split(p->all, i);
    /* an item of the source: val may be a cut of train's */
    const hone_dataset *d = p->all->set[s];
    *item = d->item[i - p->all->begin[s]];
    return d->source;
}

/* For the search, which compares candidates in full. */
static hone_status read_picture(void *arg, int64_t i, hone_image *out)
{
    int64_t item;
    const hone_source *s = source_of(arg, i, &item);
    return hone_source_picture(s, item, out);
}

/* The hash of the file tells copies to the byte from the same picture in another format. */
static hone_status decode_file(const hone_source *s, int64_t item, hone_print *print, hone_image *image)
{
    uint8_t *bytes;
    size_t count;
    HONE_TRY(hone_source_read(s, item, &bytes, &count));
    XXH128_hash_t h = XXH3_128bits(bytes, count);
    print->file[0] = h.low64;
    print->file[1] = h.high64;
    /* by its name below the root, as all findings name files */
    char name[HONE_SHOWN];
    hone_status status = hone_image_decode(hone_quote(s->files.item[item], name, sizeof name), bytes, count, image);
    free(bytes);
    return status;
}

/* Decodes, measures and forgets: pixels of one picture a thread are in memory. */
static hone_status look_at(pictures *p, int64_t i)
{
    int64_t item;
    hone_image image = {0};
    hone_print *print = &p->print[i];
    const hone_source *s = source_of(p, i, &item);
    hone_status status = s->raw ? hone_source_picture(s, item, &image) : decode_file(s, item, print, &image);
    if (status == HONE_ERR_DATA) { /* a finding, not the end of the check */
        p->reason[i] = hone_strdup(hone_error_message());
        return p->reason[i] ? HONE_OK : hone_no_memory("a finding", 0);
    }
    if (status == HONE_OK) status = hone_print_make(&image, print);
    hone_image_drop(&image);
    return status;
}

/* One task of the parallel loop. */
static hone_status look_at_chunk(void *arg, int64_t chunk)
{
    pictures *p = arg;
    int64_t end = (chunk + 1) * CHUNK < p->count ? (chunk + 1) * CHUNK : p->count;
    for (int64_t i = chunk * CHUNK; i < end; i++) HONE_TRY(look_at(p, i));
    return HONE_OK;
}

/* Every one by name, as each has to be mended or removed; also in stats, whose counts would be wrong without. */
static hone_status find_broken(const pictures *p, hone_data_report *r)
{
    hone_finding f = {.kind = "broken_picture"};
    hone_status s = HONE_OK;
    for (int64_t i = 0; s == HONE_OK && i < p->count; i++)
        if (p->reason[i]) s = hone_finding_count(&f, INT32_MAX, "%s", p->reason[i]);
    r->broken = f.count;
    if (s == HONE_OK && f.count)
        s = hone_finding_say(&f, "%lld picture%s can't be decoded", (long long)f.count, f.count == 1 ? "" : "s");
    return hone_finding_keep(r, &f, s);
}

/* Sizes and channels of those that can be decoded. */
static hone_status measure(const pictures *p, hone_data_report *r)
{
    int64_t *height = malloc((size_t)p->count * sizeof *height + 1),
            *width = malloc((size_t)p->count * sizeof *width + 1);
    hone_status s = height && width ? HONE_OK : hone_no_memory("sizes", (size_t)p->count * sizeof *height);
    int64_t n = 0;
    for (int64_t i = 0; s == HONE_OK && i < p->count; i++) {
        if (p->reason[i]) continue;
        /* upright: cameras store a portrait as a landscape with a note */
        height[n] = p->print[i].height;
        width[n++] = p->print[i].width;
        r->grey += p->print[i].grey;
        r->colour += !p->print[i].grey;
    }
    /* the lists are sorted by it, and needed no more */
    if (s == HONE_OK) r->height = hone_lengths_of(height, n);
    if (s == HONE_OK) r->width = hone_lengths_of(width, n);
    free(height);
    free(width);
    return s;
}

/* How many copies by pixels are copies of the file, too. */
static int64_t count_same_files(const pictures *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const hone_print *a = &p->print[i], *b = &p->print[p->exact[i]];
        /* raw pixels have no file, and their hash stays 0 */
        n += p->exact[i] != i && memcmp(a->file, b->file, sizeof a->file) == 0 && (a->file[0] || a->file[1]);
    }
    return n;
}

/* Copies of both degrees, across splits first: those spoil what is measured. */
static hone_status find_copies(pictures *p, int threads, hone_data_report *r)
{
    const hone_all_rows *a = p->all;
    static const char exact[] = "by pixels the same as";
    HONE_TRY(hone_image_twins_find(p->print, p->count, read_picture, p, threads, p->exact, p->near));
    /* for the report alone: a copy is a copy, whatever its bytes */
    r->same_files = count_same_files(p);
    HONE_TRY(hone_findings_copies(a, p->exact, NULL, true, "exact_duplicate_across", exact, r));
    HONE_TRY(hone_findings_copies(a, p->exact, NULL, false, "exact_duplicate_within", exact, r));
    HONE_TRY(hone_findings_copies(a, p->near, p->exact, true, "near_duplicate_across", "nearly the same as", r));
    HONE_TRY(hone_findings_copies(a, p->near, p->exact, false, "near_duplicate_within", "nearly the same as", r));
    /* an exact copy counts before a near one */
    for (int64_t i = 0; i < p->count; i++)
        if (p->exact[i] != i) p->near[i] = p->exact[i];
    return hone_findings_conflicts(a, p->near, "picture", r);
}

/* Nothing to see in them, or next to nothing. */
static hone_status find_poor(const pictures *p, hone_data_report *r)
{
    hone_finding constant = {.kind = "constant_picture"}, small = {.kind = "small_picture"};
    hone_status s = HONE_OK;
    char x[HONE_SHOWN];
    for (int64_t i = 0; s == HONE_OK && i < p->count; i++) {
        const hone_print *q = &p->print[i];
        if (p->reason[i]) continue;
        /* a scan of noise is no constant picture, a blank page is */
        hone_all_rows_place(p->all, i, x, sizeof x);
        if (q->constant) s = hone_finding_count(&constant, HONE_EXAMPLES, "%s", x);
        if (s == HONE_OK && (q->height * (int64_t)SMALL < r->height.p50 || q->width * (int64_t)SMALL < r->width.p50))
            s = hone_finding_count(&small, HONE_EXAMPLES, "%s (%d x %d)", x, q->width, q->height);
    }
    if (s == HONE_OK && constant.count)
        s = hone_finding_say(&constant, "%lld picture%s one colour all over", (long long)constant.count,
                             constant.count == 1 ? " is" : "s are");
    if (s == HONE_OK && small.count)
        s = hone_finding_say(&small, "%lld picture%s a side under a quarter of the median (%lld x %lld)",
                             (long long)small.count, small.count == 1 ? " has" : "s have", (long long)r->width.p50,
                             (long long)r->height.p50);
    s = hone_finding_keep(r, &constant, s);
    return hone_finding_keep(r, &small, s);
}

/* Fine on what was only half made. */
static void drop(pictures *p)
{
    for (int64_t i = 0; p->reason && i < p->count; i++) free(p->reason[i]);
    free(p->reason);
    free(p->print);
    free(p->exact);
    free(p->near);
}

/* Decoding and the search for copies are parallel and write to places of their own; the rest is one thread's, in order. */
hone_status hone_check_pictures(const hone_all_rows *a, int what, int threads, hone_data_report *r)
{
    pictures p = {.all = a, .count = a->begin[3]};
    size_t n = (size_t)p.count;
    /* zeroed: a print without a size is that of a broken picture */
    p.print = calloc(n + 1, sizeof *p.print);
    p.reason = calloc(n + 1, sizeof *p.reason);
    p.exact = malloc(n * sizeof *p.exact + 1);
    p.near = malloc(n * sizeof *p.near + 1);
    hone_status s = p.print && p.reason && p.exact && p.near ? HONE_OK : hone_no_memory("prints", n * sizeof *p.print);
    if (s == HONE_OK) s = hone_parallel_for(threads, (p.count + CHUNK - 1) / CHUNK, look_at_chunk, &p);
    if (s == HONE_OK) s = find_broken(&p, r);
    if (s == HONE_OK) s = measure(&p, r);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_copies(&p, threads, r);
    if (s == HONE_OK && what == HONE_REPORT_CHECK) s = find_poor(&p, r);
    drop(&p);
    return s;
}
