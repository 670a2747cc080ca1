/* tensor.c - facts about dtypes and shapes, and the two parameter layouts (tensor.h). */
#include "hone/tensor.h"

#include <stdio.h>
#include <string.h>

/* Indexed by hone_dtype; bytes are of one element. The names stand in plans and checkpoints. */
static const struct {
    const char *name;
    size_t bytes;
} dtype_table[HONE_DTYPE_COUNT] = {
    [HONE_F32] = {"f32", 4}, [HONE_F64] = {"f64", 8}, [HONE_BF16] = {"bf16", 2}, [HONE_F16] = {"f16", 2},
    [HONE_I32] = {"i32", 4}, [HONE_I64] = {"i64", 8}, [HONE_U8] = {"u8", 1},
};

/* A dtype out of range is a bug of the caller: graphs are checked when they are built. */
size_t hone_dtype_bytes(hone_dtype dtype) { return dtype_table[dtype].bytes; }
const char *hone_dtype_name(hone_dtype dtype) { return dtype_table[dtype].name; }

/* Indexed by hone_precision: the words of train.precision. */
const char *hone_precision_name(hone_precision precision)
{
    static const char *const name[HONE_PRECISION_COUNT] = {"auto", "fp32", "tf32", "bf16", "fp16"};
    return name[precision];
}

/* TF32 is a way to multiply, not to store. */
hone_dtype hone_precision_storage(hone_precision precision)
{
    return precision == HONE_PRECISION_BF16 ? HONE_BF16 : precision == HONE_PRECISION_FP16 ? HONE_F16 : HONE_F32;
}

/* Rank 0 is a scalar and counts 1. Shapes are bounded when a graph is built, so this can't overflow. */
int64_t hone_tensor_count(const hone_tensor *t)
{
    int64_t count = 1;
    for (int32_t k = 0; k < t->rank; k++) count *= t->dim[k];
    return count;
}

/* Of the elements alone; what the planner rounds up to for alignment is its own business. */
size_t hone_tensor_bytes(const hone_tensor *t) { return (size_t)hone_tensor_count(t) * hone_dtype_bytes(t->dtype); }

/* Cut where it does not fit; `text` is always ended. For messages only, never parsed back. */
char *hone_tensor_shape_text(const hone_tensor *t, char *text, size_t text_bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int32_t k = 0; k < t->rank && used < text_bytes; k++)
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%lld", k ? ", " : "(", (long long)t->dim[k]);
    if (used < text_bytes) snprintf(text + used, text_bytes - used, t->rank ? ")" : "()");
    return text;
}

/* Both layouts are one transpose, (O, A, B) <-> (O, B, A): conv has A = kh*kw and B = I/groups,
 * flatten has A = H*W and B = C; in memory the channel B is innermost. */
static void transpose_shape(const hone_tensor *t, int64_t *outer, int64_t *a, int64_t *b)
{
    *outer = t->dim[0];
    if (t->layout == HONE_LAYOUT_CONV) {
        *b = t->dim[t->rank - 1];
        *a = hone_tensor_count(t) / (*outer * *b);
    } else {
        *a = (int64_t)t->hwc[0] * t->hwc[1];
        *b = t->hwc[2];
    }
}

/* `file` and `memory` must not overlap. Runs once a load, so it is written for plainness, not speed. */
void hone_layout_from_file(const hone_tensor *t, const float *file, float *memory)
{
    if (t->layout == HONE_LAYOUT_PLAIN) {
        memcpy(memory, file, (size_t)hone_tensor_count(t) * sizeof *file);
        return;
    }
    int64_t outer, a, b;
    transpose_shape(t, &outer, &a, &b);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < a; i++)
            for (int64_t j = 0; j < b; j++) memory[(o * a + i) * b + j] = file[(o * b + j) * a + i];
}

/* The exact inverse: what was loaded is saved with the same bytes. */
void hone_layout_to_file(const hone_tensor *t, const float *memory, float *file)
{
    if (t->layout == HONE_LAYOUT_PLAIN) {
        memcpy(file, memory, (size_t)hone_tensor_count(t) * sizeof *file);
        return;
    }
    int64_t outer, a, b;
    transpose_shape(t, &outer, &a, &b);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < a; i++)
            for (int64_t j = 0; j < b; j++) file[(o * b + j) * a + i] = memory[(o * a + i) * b + j];
}

/* A flattened linear layer keeps its shape (O, I): only the order within I differs. */
void hone_layout_file_shape(const hone_tensor *t, int32_t *rank, int64_t dim[HONE_MAX_RANK])
{
    *rank = t->rank;
    memcpy(dim, t->dim, sizeof t->dim);
    if (t->layout == HONE_LAYOUT_CONV) { /* (O, kh, kw, I) -> (O, I, kh, kw), (O, k, I) -> (O, I, k) */
        dim[1] = t->dim[t->rank - 1];
        for (int k = 2; k < t->rank; k++) dim[k] = t->dim[k - 1];
    }
}
