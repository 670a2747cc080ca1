/* recorder.h - the device "ref" with recordings: launches and copies between record_begin and record_end are noted and
 * replayed. So what records can be tested anywhere. */
#ifndef HONE_TESTS_SUPPORT_RECORDER_H
#define HONE_TESTS_SUPPORT_RECORDER_H

#include "support/programs.h"

enum { TAPE_MAX = 2048 };

/* A launch, or a copy where `bytes` > 0. */
typedef struct entry {
    hone_launch launch;
    void *to;
    const void *from;
    size_t bytes;
} entry;

typedef struct tape {
    int count;
    entry entry[TAPE_MAX];
} tape;

typedef struct recorder recorder;
struct recorder {
    hone_kernel real[HONE_OP_COUNT];
    tape *recording;                                  /* NULL: launches run at once                         */
    int recordings, replays, eager, copies;           /* eager: launches that ran at once; copies: of a recording */
    void (*spoil)(const recorder *r, hone_launch *l); /* a planted fault, or NULL                           */
    bool (*loses)(const recorder *r);                 /* whether a copy is lost: another, or NULL           */
    hone_program *p;                                  /* of the fault                                       */
};

static inline void launch_or_note(hone_backend *b, const hone_launch *l)
{
    recorder *r = b->self;
    hone_launch mine = *l;
    if (r->spoil) r->spoil(r, &mine);
    if (!r->recording) {
        r->eager++;
        r->real[l->node->op].launch(b, &mine);
        return;
    }
    assert_true(r->recording->count < TAPE_MAX);
    r->recording->entry[r->recording->count++] = (entry){.launch = mine};
}

static inline void copy_or_note(hone_backend *b, void *to, const void *from, size_t bytes)
{
    recorder *r = b->self;
    assert_true(bytes % 4 == 0);
    bool lost = r->loses && r->loses(r);
    r->copies++;
    if (lost) return;
    if (!r->recording) memcpy(to, from, bytes);
    else r->recording->entry[r->recording->count++] = (entry){.to = to, .from = from, .bytes = bytes};
}

static inline hone_status record_begin(hone_backend *b)
{
    recorder *r = b->self;
    r->recording = calloc(1, sizeof *r->recording);
    assert_non_null(r->recording);
    r->recordings++;
    r->copies = 0;
    return HONE_OK;
}

static inline hone_status record_end(hone_backend *b, void **recorded)
{
    recorder *r = b->self;
    *recorded = r->recording;
    r->recording = NULL;
    return HONE_OK;
}

static inline hone_status replay(hone_backend *b, void *recorded)
{
    recorder *r = b->self;
    const tape *t = recorded;
    r->replays++;
    for (int k = 0; k < t->count; k++) {
        const entry *e = &t->entry[k];
        if (e->bytes) memcpy(e->to, e->from, e->bytes);
        else r->real[e->launch.node->op].launch(b, &e->launch);
    }
    return HONE_OK;
}

static inline void record_free(hone_backend *b, void *recorded)
{
    (void)b;
    free(recorded);
}

/* `r` must outlive the backend. */
static inline hone_backend *open_recorder(recorder *r)
{
    hone_backend *b = open_backend("ref");
    *r = (recorder){.recording = NULL};
    memcpy(r->real, b->kernel, sizeof r->real);
    for (int op = 0; op < HONE_OP_COUNT; op++)
        if (b->kernel[op].launch) b->kernel[op].launch = launch_or_note;
    b->self = r;
    b->record_begin = record_begin;
    b->record_end = record_end;
    b->replay = replay;
    b->record_free = record_free;
    b->copy = copy_or_note;
    return b;
}

#endif
