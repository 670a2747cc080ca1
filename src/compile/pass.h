/* pass.h - the program as its passes see it; of the room alone (tests plant faults through it).
 *
 * Each pass is one file and one function over the program; compile.c calls them in order. A pass that
 * fails leaves the program to hone_program_free. After hone_pass_bind nothing here changes but the
 * launch records that bind_pool and use_ema patch, and the recordings. */
#ifndef HONE_COMPILE_PASS_H
#define HONE_COMPILE_PASS_H

#include "graph/graph_build.h"
#include "hone/program.h"

enum {
    HONE_ALIGN_BYTES = 64, /* start of every tensor: a cache line, the widest vector  */
    HONE_GUARD_BYTES = 64, /* behind every activation of a no_reuse program, at least */
    HONE_GUARD_FILL = 0xA5
};

/* A run of launches that is replayed as one once it is recorded. */
typedef struct hone_range {
    int32_t begin, end; /* into hone_program.launch            */
    int32_t runs;       /* so far; the third one is recorded   */
    void *recorded;     /* the backend's, NULL before          */
} hone_range;

/* Bytes that no kernel may touch; HONE_CHECK looks at them after each node. */
typedef struct hone_guard {
    int64_t offset, bytes; /* in the ACT arena */
} hone_guard;

/* A parameter that lies where its owner has it already (hone_program_lend). */
typedef struct hone_lent {
    int64_t offset; /* its place in PARAM, which stays untouched */
    void *data;
} hone_lent;

enum { HONE_SPARSE_MAX = 8, HONE_LENT_MAX = 4, HONE_JOIN_PARTS = 3, HONE_JOINS_MAX = 128 };

/* Parameters that stand one behind the other in PARAM, and the view over them that a product reads (join.c). */
typedef struct hone_join {
    hone_tid whole, part[HONE_JOIN_PARTS];
    int parts;
} hone_join;

/* One sparse table of a training program (sparse.c). */
typedef struct hone_sparse {
    hone_tid table, token, offset, dy;
    hone_tid row, drow, count; /* its gradient; HONE_NONE where `direct`          */
    hone_attrs attr;           /* of its embedding or embedding_bag               */
    bool direct;               /* plain SGD: no rows between gradient and update  */
} hone_sparse;

/* together.c: a power of two, its exponents, and a bit each in hone_program.told beside the step block's. */
enum { HONE_TOGETHER_MAX = 16, HONE_TOGETHER_SIZES = 5, HONE_TOGETHER_INPUTS = 16 };

enum { HONE_SEGMENTS_MAX = 256 }; /* runs of equal decay and rate: two a block of the net and layer-wise rates */

/* What a compiled graph owns. Passes fill it in their order; a step only reads it. */
/* frozen.c: what kernels keep of an owner's parameters. */
typedef struct hone_frozen_rooms hone_frozen_rooms;

struct hone_program {
    hone_graph *graph;
    hone_backend *backend;
    hone_compile_opts opts;
    hone_program *owner;      /* whose arenas are shared, NULL: none; never a sharer itself  */
    bool check;               /* HONE_CHECK=1: sync after each node, check guards            */
    int32_t prepared;         /* nodes whose prepare was called; these are released          */
    hone_frozen_rooms *rooms; /* of a frozen owner                                           */

    hone_join join[HONE_JOINS_MAX]; /* join.c; more than fit stay apart */
    int join_count;

    /* update.c: the flat layout, in elements of PARAM's dtype */
    int64_t flat_count;  /* K: trainable part of PARAM, padding included                */
    int64_t state_count; /* of STATE, padding included                                 */
    int slot_count;      /* optimizer slots, without the averages                       */
    bool ema;
    int64_t sparse_begin, sparse_bytes; /* where sparse tables lie in PARAM, in bytes         */
    hone_sparse sparse[HONE_SPARSE_MAX];
    int sparse_count;
    hone_segment segment[HONE_SEGMENTS_MAX]; /* ascending, without gaps */
    int segment_count;
    hone_tid segment_tensor;
    hone_tid step;

    /* plan.c: bytes this program allocates itself, by role; tensors it borrows from the owner */
    size_t role_bytes[HONE_ROLE_COUNT], act_no_reuse;
    bool borrows[HONE_ROLE_COUNT]; /* ACT, WORK: the owner's arena is large enough     */
    bool *borrowed;                /* (tensor_count)                                              */
    hone_guard *guard;
    int32_t guard_count;

    /* bind.c */
    void *arena[HONE_ROLE_COUNT]; /* NULL where this program has none of its own     */
    size_t arena_bytes[HONE_ROLE_COUNT];
    void **address;                /* (tensor_count), NULL: not in memory                         */
    hone_launch *launch;           /* (launch_count): every node but reshapes, in order           */
    hone_lent lent[HONE_LENT_MAX]; /* of an owner; its sharers read them there, too        */
    int lent_count;
    int32_t launch_count;
    hone_range whole, forward_backward, update;

    /* together.c: steps that are held back and run as one; a slot of INPUT has what one of them is told */
    int together;                         /* the most of them, 1: each runs at once               */
    hone_tid input[HONE_TOGETHER_INPUTS]; /* (input_count), more than fit: together is 1          */
    int input_count;                      /* tensors of INPUT                                     */
    int64_t slot_bytes, told_offset;      /* of a slot; in it, the host's part of the step block  */
    uint8_t *kept;                        /* (together * slot_bytes) on the host; NULL where 1     */
    int wanted, held;                     /* steps of the group under way, 0: none; told so far   */
    uint32_t told;                        /* bit k: input k of the step that comes; then the block */
    void *recorded[HONE_TOGETHER_SIZES];  /* of 2^k steps, NULL before                            */

    /* shadow.c: of the family, kept by its owner; but for the last */
    bool shadow_stale, average_stale; /* a 16-bit copy is behind its master             */
    bool reads_average;               /* this program reads the moving average          */
};

/* In the order of compile.c. */
hone_status hone_pass_copy(hone_program *p, const hone_graph *g) HONE_MUST_USE;
hone_status hone_pass_join(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_backward(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_update(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_fuse(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_precision(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_frozen(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_prepare(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_plan(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_together(hone_program *p) HONE_MUST_USE;
hone_status hone_pass_bind(hone_program *p) HONE_MUST_USE;

/* update.c: offsets of PARAM, GRAD and OPT tensors; runs after all of them exist. */
hone_status hone_layout_flat(hone_program *p) HONE_MUST_USE;
/* join.c: the whole whose first part is `head`, NULL for other parameters; is `t` a further part of one; places of wholes
 * and of their gradients, once the parts have theirs. */
const hone_join *hone_join_at(const hone_program *p, hone_tid head);
bool hone_join_follows(const hone_program *p, hone_tid t);
hone_status hone_join_views(hone_program *p) HONE_MUST_USE;
/* sparse.c: a trainable table without GRAD; the gradient of such a table at its reader `node`; what joins grad_norm,
 * and what stands before the dense update; bytes from the start of OPT to slot `slot` of a table. */
bool hone_is_sparse(const hone_tensor *t);
hone_status hone_sparse_backward(hone_program *p, hone_nid node, hone_tid dy) HONE_MUST_USE;
hone_status hone_sparse_norm(hone_program *p) HONE_MUST_USE;
hone_status hone_sparse_update(hone_program *p) HONE_MUST_USE;
int64_t hone_sparse_slot_offset(const hone_program *owner, const hone_tensor *table, int slot);
/* prepare.c, bind.c, record.c: what hone_program_free undoes. */
void hone_prepare_release(hone_program *p);
void hone_bind_free(hone_program *p);
void hone_record_free(hone_program *p);

/* record.c: runs a range, recorded where possible. */
hone_status hone_range_run(hone_program *p, hone_range *r) HONE_MUST_USE;
/* together.c: while a group is under way (wanted > 0) the three that tell and run its steps; USAGE for what can't be
 * held back. hone_held_none: USAGE while one is. hone_together_forget: drops the recordings. */
hone_status hone_held_write(hone_program *p, hone_tid t, const void *host, size_t bytes) HONE_MUST_USE;
void hone_held_set_step(hone_program *p, const hone_step *step);
hone_status hone_held_step(hone_program *p) HONE_MUST_USE;
hone_status hone_held_none(const hone_program *p) HONE_MUST_USE;
void hone_together_forget(hone_program *p);
/* shadow.c: bytes of an owner's SHADOW arena, once PARAM is sized; 0 in fp32. */
size_t hone_shadow_bytes(const hone_program *p);
/* Where the average of a SHADOW tensor is copied; NULL for what has none. */
void *hone_shadow_of_average(const hone_program *p, hone_tid t);
/* The host wrote `parameters`, or only an average moved: copies are stale. */
void hone_shadow_note(hone_program *p, bool parameters);
/* Before a run: makes the copies that `p` reads true. */
hone_status hone_shadow_refresh(hone_program *p) HONE_MUST_USE;
/* One launch, at once; with `check` followed by a sync whose error names the node. */
hone_status hone_launch_run(hone_program *p, const hone_launch *l) HONE_MUST_USE;
/* bind.c: addresses of tensors and launches, after memory or a loan changed. */
void hone_bind_addresses(hone_program *p);
/* VERIFY, naming the tensor whose guard was written; OK where the program has no guards. */
hone_status hone_guards_check(hone_program *p) HONE_MUST_USE;

/* The tensor whose memory `t` is: follows aliases. */
hone_tid hone_alias_root(const hone_graph *g, hone_tid t);
/* "backward conv_dw#14 (layer 3)": how messages name a node. */
const char *hone_node_text(const hone_program *p, const hone_node *n, char *text, size_t text_bytes);
static inline int64_t hone_align_up(int64_t n)
{
    return (n + HONE_ALIGN_BYTES - 1) / HONE_ALIGN_BYTES * HONE_ALIGN_BYTES;
}

/* Parameters were written: what is kept of them is made anew. NULL is fine for both. */
void hone_frozen_empty(hone_frozen_rooms *k);
void hone_frozen_free(hone_frozen_rooms *k);

#endif
