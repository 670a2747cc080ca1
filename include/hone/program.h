/* program.h - a compiled graph: passes, arenas, and the step that is replayed.
 *
 * hone_compile runs the passes of src/compile in this order: (copy) backward, update, fuse, prepare,
 * plan, bind; record happens by itself on the third step of a backend that can record. After compile
 * the program is constant: a step allocates nothing and can't fail but for the device itself.
 *
 * Programs made with `share` use the arenas of the first one (PARAM, STATE, OPT, GRAD, SCALAR, CONST
 * by parameter name; ACT and WORK where they are large enough): train and eval, full and short batch
 * are programs over one set of parameters. The owner must outlive its sharers; steps don't overlap.
 * ACT being shared, kept outputs of one program are valid until the next step of another. With `apart` a forward
 * program borrows only what no forward step writes (PARAM, STATE), so steps of several threads may overlap. */
#ifndef HONE_PROGRAM_H
#define HONE_PROGRAM_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_program hone_program;

typedef enum hone_optimizer_kind { HONE_OPT_NONE, HONE_OPT_SGD, HONE_OPT_ADAMW } hone_optimizer_kind;

typedef struct hone_compile_opts {
    hone_tid            loss;        /* scalar to differentiate; HONE_NONE: forward only           */
    hone_optimizer_kind optimizer;   /* HONE_OPT_NONE: gradients without an update                 */
    hone_update_attr    update;      /* the optimizer's constants                                  */
    int32_t             accumulate;  /* micro-batches per update, >= 1 (0 means 1)                 */
    bool                no_reuse;    /* every activation its own range plus a guard                */
    bool                no_fuse;
    bool                eager;       /* never record                                               */
    hone_program       *share;       /* NULL: own everything                                       */
    bool                together;    /* every input is written before each step, so that several may run as one
                                        (hone_program_steps_together) where that pays                            */
    bool                apart;       /* with share, loss NONE, fp32 in host memory: steps may overlap with the owner's;
                                        the backend may be another one of the same name (threads of its own)     */
    bool                frozen;      /* loss NONE, and so all who share: parameters change only by hone_program_write (while
                                        no step runs); weights are then packed once. Same bits, more memory     */
    hone_precision      precision;   /* AUTO (0): as `share`, else the backend's best; what it lacks is refused */
    float               loss_scale;  /* fp16: the first one; 0 = HONE_LOSS_SCALE_INIT               */
} hone_compile_opts;

/* `asked` on `b`: AUTO becomes what the backend does best, never AUTO. Errors: USAGE, saying what it has. */
hone_status hone_precision_choose(const hone_backend *b, hone_precision asked, hone_precision *out) HONE_MUST_USE;

/* Compiles a private copy of `g` for `b`. Tensors flagged HONE_TENSOR_KEEP stay readable after a step.
 * Errors: USAGE for an op the backend lacks (named, with the tensor), MEMORY naming the arena and its
 * bytes, what prepare reports. `opts` may be NULL (inference). */
hone_status hone_compile(const hone_graph *g, hone_backend *b, const hone_compile_opts *opts,
                         hone_program **out) HONE_MUST_USE;
/* The same up to the plan, nothing allocated: for `hone plan` and for batch-size search. */
hone_status hone_compile_plan(const hone_graph *g, hone_backend *b, const hone_compile_opts *opts,
                              hone_program **out) HONE_MUST_USE;
void        hone_program_free(hone_program *p);

const hone_graph *hone_program_graph(const hone_program *p);  /* after all passes                 */
hone_backend     *hone_program_backend(const hone_program *p);
hone_precision    hone_program_precision(const hone_program *p);  /* never AUTO                   */

/* Writes host-owned fields of the step block (seed..lr); kernel-owned fields keep their values. */
hone_status hone_program_set_step(hone_program *p, const hone_step *step) HONE_MUST_USE;
hone_status hone_program_get_step(hone_program *p, hone_step *step) HONE_MUST_USE;
/* Restores the whole block, kernel-owned fields too (resume; clearing the sums). */
hone_status hone_program_put_step(hone_program *p, const hone_step *step) HONE_MUST_USE;

/* Tensors by id of the graph that was compiled (ids survive compilation) or of hone_program_graph.
 * `bytes` must equal the tensor's size; F32 data even where the backend computes in double or stores in 16 bits
 * (there the size in its own type is taken as well, unconverted). Writing a PARAM or STATE restarts its moving average at
 * the value. Reading an activation that is neither kept nor of a no_reuse program is a USAGE error. */
hone_status hone_program_write(hone_program *p, hone_tid t, const void *host, size_t bytes) HONE_MUST_USE;
hone_status hone_program_read(hone_program *p, hone_tid t, void *host, size_t bytes) HONE_MUST_USE;
/* The first `bytes` of an INPUT tensor; what lies behind them stays as it was (dead tokens of a ragged batch). */
hone_status hone_program_write_front(hone_program *p, hone_tid t, const void *host, size_t bytes) HONE_MUST_USE;
/* Direct address on the device, for tests and resident data; NULL if not bound. */
void       *hone_program_address(hone_program *p, hone_tid t);
/* Parameter `t` (fp32) lies at `data` from now on, and is not copied: a table that was read from a file needs no second
 * room. `data` must outlive the program and all that share it, which are compiled later; any alignment that floats have.
 * Only a `frozen` owner in host memory takes such, and only a few: false says that the caller has to write it. */
bool        hone_program_lend(hone_program *p, hone_tid t, void *data) HONE_MUST_USE;
/* Binds memory of the device as a POOL tensor; may change between steps of an unrecorded program. */
hone_status hone_program_bind_pool(hone_program *p, hone_tid t, void *device_memory) HONE_MUST_USE;
/* Slot k of a parameter's optimizer state (k = 0, 1), or the moving average of a parameter or of a
 * running statistic (k = HONE_SLOT_EMA). */
enum { HONE_SLOT_EMA = 2 };
bool        hone_program_has_slot(const hone_program *p, int slot);
hone_status hone_program_write_slot(hone_program *p, hone_tid param, int slot, const float *host) HONE_MUST_USE;
hone_status hone_program_read_slot(hone_program *p, hone_tid param, int slot, float *host) HONE_MUST_USE;
/* The sharing (eval) program reads parameters and running statistics from the moving average from now on. */
hone_status hone_program_use_ema(hone_program *p, bool use) HONE_MUST_USE;

/* One micro-batch: forward and, if compiled with a loss, backward. */
hone_status hone_program_forward_backward(hone_program *p) HONE_MUST_USE;
/* Clip, update, average. */
hone_status hone_program_update(hone_program *p) HONE_MUST_USE;
/* Both; the whole recorded step where the backend records. */
hone_status hone_program_step(hone_program *p) HONE_MUST_USE;
/* Whole steps that one recording may hold: a power of two up to 16, known after the plan; 1 without opts.together, with
 * accumulation, where nothing is recorded, and where a step is too long to gain. HONE_STEPS_A_GRAPH overrides it. */
int hone_program_steps_most(const hone_program *p);
/* The next n calls of hone_program_step only note what they were told, and run as one at the last of them: same bits. n: a
 * power of two up to hone_program_steps_most. Until then every input and the step block are written for each step,
 * and whatever else would read or write the program is a USAGE error. n = 1: nothing is held back any more, and a group
 * that is not complete is dropped. */
hone_status hone_program_steps_together(hone_program *p, int n) HONE_MUST_USE;

/* Runs the step node by node on the inputs as they are and names the first node (phase, op, layer,
 * tensor) whose output is not finite. *found is false and text empty where all are finite. The step
 * block and the parameters are left as they were. */
hone_status hone_program_find_nonfinite(hone_program *p, bool *found, char *text, size_t text_bytes) HONE_MUST_USE;

typedef struct hone_memory { /* bytes by role; `act_no_reuse`: what ACT would take without the plan */
    size_t role_bytes[HONE_ROLE_COUNT], act_no_reuse, total;
} hone_memory;
void hone_program_memory(const hone_program *p, hone_memory *planned, hone_memory *allocated);

/* Per-node seconds of `repeat` steps: medians into seconds[node_count]. For `hone bench`. */
hone_status hone_program_profile(hone_program *p, int repeat, double *seconds) HONE_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
