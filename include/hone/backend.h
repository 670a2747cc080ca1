/* backend.h - the whole interface between the house and a dialect of kernels.
 *
 * A backend is seven device verbs and a table with one row an op; it knows nothing of graphs beyond
 * the node it is asked to prepare. "Prepare once, launch forever": prepare chooses algorithms, makes
 * descriptors, states its scratch size, and may fail; launch only computes. Streams, handles and
 * thread counts live in `self`; there are no mutable globals. */
#ifndef HONE_BACKEND_H
#define HONE_BACKEND_H

#include "hone/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_backend hone_backend;

/* All that a kernel gets: pointers in the order of ops.def, NULL where an optional tensor is absent.
 * `in_desc`, `out_desc` are valid as long as the program. In place: in[k] may equal out[0]. */
typedef struct hone_launch {
    const hone_node   *node;
    const hone_tensor *in_desc[HONE_MAX_IN], *out_desc[HONE_MAX_OUT];
    void              *in[HONE_MAX_IN], *out[HONE_MAX_OUT];
    void              *work;          /* node->work_bytes, 64-byte aligned                        */
} hone_launch;

/* Of programs whose parameters stay as they are: what kernels make of these is made once and kept, for all programs that
 * share them. Both may be called from any thread. */
typedef struct hone_frozen {
    /* For prepare: room of `bytes` (64-byte aligned) for the parameter `name`; NULL: memory is exhausted. */
    void       *(*room)(struct hone_frozen *k, const char *name, size_t bytes);
    /* For launch: what is in the room. The first who asks has it made by make(arg, data). */
    const void *(*fill)(struct hone_frozen *k, void *room, void (*make)(const void *arg, void *data), const void *arg);
} hone_frozen;

typedef struct hone_kernel {
    /* Slow, once, may fail; may set node->work_bytes, node->state, node->choice. NULL: nothing to do. */
    hone_status (*prepare)(hone_backend *b, const hone_graph *g, hone_node *n);
    /* No allocation, no synchronisation, no failure. NULL: the dialect lacks the op.              */
    void        (*launch)(hone_backend *b, const hone_launch *l);
    void        (*release)(hone_backend *b, hone_node *n); /* NULL: nothing to free               */
} hone_kernel;

/* A lane brings bytes to the device while it computes: a host buffer that the device reads by itself, later.
 * The host fills `host`, sends, and touches it again only after lane_wait. */
typedef struct hone_lane {
    void  *host;
    size_t bytes;                         /* of `host`                                            */
} hone_lane;

struct hone_backend {
    const char *name;                     /* "ref", "ref64", "cpu", "cuda"                        */
    hone_dtype  real;                     /* HONE_F64: F32 tensors of a graph become F64 (ref64)  */
    uint32_t    precisions;               /* bit p: hone_precision p can be had; FP32 always can  */
    hone_precision best;                  /* what train.precision: auto means here; AUTO (0) = FP32 */
    bool        fuses;                    /* fuse.c may use the fused rows of the table           */
    uint32_t    input_acts;               /* bit a: a product gains by taking hone_act a into it although the derivative
                                             reads its input: gelu, gelu_tanh, silu                         */
    bool        host_memory;              /* kernels read and write the host's own memory: no copy is needed */
    int         threads;                  /* compute threads (CPU dialects)                       */
    int64_t     launched;                 /* kernels and library calls enqueued so far, replays not counted;
                                             stays 0 where a launch is a plain call (CPU dialects) */
    hone_kernel kernel[HONE_OP_COUNT];
    hone_status (*alloc)(hone_backend *b, size_t bytes, void **out);      /* 64-byte aligned, zeroed */
    void        (*free)(hone_backend *b, void *ptr);
    hone_status (*upload)(hone_backend *b, void *to, const void *from_host, size_t bytes);
    hone_status (*download)(hone_backend *b, void *to_host, const void *from, size_t bytes);
    hone_status (*sync)(hone_backend *b);
    /* NULL where a dialect can't record; `recorded` is opaque to the caller.                      */
    hone_status (*record_begin)(hone_backend *b);
    hone_status (*record_end)(hone_backend *b, void **recorded);
    hone_status (*replay)(hone_backend *b, void *recorded);
    void        (*record_free)(hone_backend *b, void *recorded);
    /* A few bytes (a multiple of 4, 4-aligned) within the device's memory, in order with launches, and recorded with
     * them; like a launch it can't fail. NULL where a dialect can't record.                       */
    void        (*copy)(hone_backend *b, void *to, const void *from, size_t bytes);
    /* NULL with host_memory, which needs no copies.                                               */
    hone_status (*lane_open)(hone_backend *b, size_t bytes, hone_lane **out);
    hone_status (*lane_wait)(hone_backend *b, hone_lane *lane); /* until `host` may be written again */
    /* The first `bytes` of `host` into device memory, after the launches before it and before those after it;
     * the way to the device does not wait for them. At most one send is under way in a lane.      */
    hone_status (*lane_send)(hone_backend *b, hone_lane *lane, void *to, size_t bytes);
    void        (*lane_close)(hone_backend *b, hone_lane *lane); /* NULL is fine                  */
    void        (*close)(hone_backend *b);
    /* One line: chip, memory, versions. NULL: the registry describes the dialects of host memory.  */
    void        (*describe)(hone_backend *b, char *text, size_t text_bytes);
    /* Choices that prepare makes by timing (NULL where a dialect makes none; tune.h says how they are kept).
     * load: before the first compile; of the file of a run directory, whose choices win over the user's cache.
     * `path` NULL says what was wrong with that cache, if anything. save: the choices in use, to `path` and to the
     * cache. Errors (DATA, RUNTIME) are to be said and passed over: choices are then timed again.  */
    hone_status (*tuning_load)(hone_backend *b, const char *path);
    hone_status (*tuning_save)(hone_backend *b, const char *path);
    bool        any_order;                /* train.deterministic: false. Libraries may pick quicker algorithms
                                             whose sums have another order each time; before prepare      */
    bool        untimed;                  /* for plans that are not run: prepare takes the first algorithm that
                                             it may, times none and remembers none                        */
    void       *self;                     /* the dialect's own                                    */
};

/* Opens a dialect: "cpu" (kernels/cpu over kernels/ref), "ref", "ref64" (ref in double), "cuda[:N]",
 * "auto" (cuda where it can be had, else cpu). `threads` 0 = all cores this process may use.
 * Errors: USAGE for an unknown name, DEVICE with the reason where the device can't be had. */
hone_status hone_backend_open(const char *device, int threads, hone_backend **out) HONE_MUST_USE;
void        hone_backend_close(hone_backend *b);          /* NULL is fine                         */
/* One line for `hone doctor` and run.json: libraries, instruction sets, threads. */
const char *hone_backend_describe(hone_backend *b, char *text, size_t text_bytes);
/* The libraries behind a device that is a plugin ("cuda"), one line: versions, what is missing. Needs no such device;
 * "" where the device is no plugin, the reason where the plugin can't be opened. Returns `text`. */
const char *hone_backend_libraries(const char *device, char *text, size_t text_bytes);
/* The most that the machine can do with the backend's threads, measured in some tenths of a second: fp32
 * operations (a multiply-add counts 2) and bytes moved (read + written by a copy), both per second.
 * DEVICE where the dialect has no such measurement. For `hone bench`. */
hone_status hone_backend_roof(hone_backend *b, double *flop_per_second, double *bytes_per_second) HONE_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
