/* tensor.h - the description of a tensor: what it is, never where it lies.
 *
 * A tensor is contiguous, row-major, rank 0 to 4. Images are (N, H, W, C), dense tokens (B, T, C).
 * It has no strides, no device and no pointer: memory belongs to the compiled program, which gives
 * each tensor an offset in the arena of its role. Parameters are kept in one memory layout on every
 * dialect (conv: (O, kh, kw, I/groups)); `layout` says how that differs from the layout in files. */
#ifndef HONE_TENSOR_H
#define HONE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_MAX_RANK 4
#define HONE_NAME_BYTES 112

typedef enum hone_dtype {
    HONE_F32, HONE_F64, HONE_BF16, HONE_F16, HONE_I32, HONE_I64, HONE_U8, HONE_DTYPE_COUNT
} hone_dtype;

/* What a program computes in. BF16 and FP16 store activations and their gradients in 16 bits; products add up
 * in fp32, and parameters' masters, their gradients, statistics and losses stay fp32. TF32: fp32 storage, whose
 * library products may round their inputs to 10 bits of mantissa. AUTO: what the device does best.          */
typedef enum hone_precision { HONE_PRECISION_AUTO, HONE_PRECISION_FP32, HONE_PRECISION_TF32, HONE_PRECISION_BF16,
                              HONE_PRECISION_FP16, HONE_PRECISION_COUNT } hone_precision;

/* The role decides the arena, its lifetime, and whether a checkpoint holds it (DESIGN section 4). */
typedef enum hone_role {
    HONE_ROLE_INPUT,   /* written by the host before a step: rows, labels, weights                */
    HONE_ROLE_POOL,    /* sample pool; memory of the caller, bound by hone_program_bind_pool      */
    HONE_ROLE_CONST,   /* filled once after compile (class weights); shared between programs      */
    HONE_ROLE_PARAM,   /* learned; fp32 master; in the model file                                 */
    HONE_ROLE_SHADOW,  /* 16-bit copy of all PARAM at equal element offsets, then of the average  */
    HONE_ROLE_STATE,   /* running statistics; in the model file, no gradient                      */
    HONE_ROLE_GRAD,    /* gradients of PARAM, at equal offsets                                    */
    HONE_ROLE_OPT,     /* optimizer slots: slot k of a parameter lies at k * PARAM size + offset  */
    HONE_ROLE_SCALAR,  /* the step block (hone_step)                                              */
    HONE_ROLE_ACT,     /* activations and their gradients, planned by liveness                    */
    HONE_ROLE_WORK,    /* scratch of one launch: the maximum over the nodes                       */
    HONE_ROLE_COUNT
} hone_role;

/* How the memory layout of a parameter differs from PyTorch's, which files hold. */
typedef enum hone_layout {
    HONE_LAYOUT_PLAIN,   /* equal                                                                 */
    HONE_LAYOUT_CONV,    /* memory (O, kh, kw, I/groups), file (O, I/groups, kh, kw); 1-D: without kw */
    HONE_LAYOUT_FLATTEN  /* memory (O, H*W*C) after a flatten, file (O, C*H*W); see `hwc`         */
} hone_layout;

enum {
    HONE_TENSOR_KEEP      = 1 << 0, /* an output the host reads: its memory is never reused       */
    HONE_TENSOR_TRAINABLE = 1 << 1, /* PARAM that gets a gradient and an update                   */
    HONE_TENSOR_DECAY     = 1 << 2, /* PARAM that weight decay touches                            */
    HONE_TENSOR_FLAT      = 1 << 3, /* a view over neighbours in an arena, such as all of its trainable part */
    HONE_TENSOR_SPARSE    = 1 << 4  /* PARAM with no GRAD: only rows that a step touches are updated */
};

typedef int32_t hone_tid; /* index of a tensor in its graph; HONE_NONE where an input is left out */
typedef int32_t hone_nid; /* index of a node in its graph                                         */
#define HONE_NONE (-1)

typedef struct hone_tensor {
    char        name[HONE_NAME_BYTES]; /* parameters: the path in the config, "layer1.0.conv1.weight" */
    hone_dtype  dtype;
    hone_role   role;
    hone_layout layout;
    uint32_t    flags;
    int32_t     rank;
    int64_t     dim[HONE_MAX_RANK];
    float       lr_scale; /* PARAM: its learning rate as a share of the step's; 0 means 1          */
    int32_t     hwc[3];   /* LAYOUT_FLATTEN: H, W, C of the image that was flattened              */
    hone_nid    producer; /* node that writes it, HONE_NONE for inputs and parameters             */
    hone_tid    alias;    /* tensor whose memory this one is (reshape, in place), or HONE_NONE     */
    hone_tid    grad;     /* PARAM after backward: its GRAD tensor, or HONE_NONE                   */
    int64_t     offset;   /* bytes from the start of its arena; -1 before the plan                */
} hone_tensor;

size_t      hone_dtype_bytes(hone_dtype dtype);           /* bytes of one element                 */
const char *hone_dtype_name(hone_dtype dtype);            /* "f32"                                */
const char *hone_precision_name(hone_precision precision); /* "bf16", as in train.precision         */
hone_dtype  hone_precision_storage(hone_precision precision); /* BF16, F16, or F32 for all others    */
int64_t     hone_tensor_count(const hone_tensor *t);      /* elements; 1 for rank 0               */
size_t      hone_tensor_bytes(const hone_tensor *t);
/* `count` values of F32, F64, BF16 or F16 to and from fp32; rounds to nearest, ties to even. False: not such a dtype. */
bool        hone_reals_to_f32(hone_dtype dtype, const void *from, float *to, int64_t count);
bool        hone_reals_from_f32(hone_dtype dtype, const float *from, void *to, int64_t count);
/* Writes "(64, 32, 32, 3)"; returns `text`. */
char       *hone_tensor_shape_text(const hone_tensor *t, char *text, size_t text_bytes);

/* Copies a parameter between PyTorch's file layout and memory; both fp32, hone_tensor_count() each. */
void hone_layout_from_file(const hone_tensor *t, const float *file, float *memory);
void hone_layout_to_file(const hone_tensor *t, const float *memory, float *file);
/* Shape in the file: rank and dims, e.g. (O, I/groups, kh, kw) for a conv weight. */
void hone_layout_file_shape(const hone_tensor *t, int32_t *rank, int64_t dim[HONE_MAX_RANK]);

#ifdef __cplusplus
}
#endif
#endif
