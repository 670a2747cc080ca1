/* blas.c - matmul problems as data: the mapping of the linear rows, the check, the texts (blas.h).
 *
 * Pure C without CUDA, the same on the emulated device. cuBLASLt takes a wrong leading dimension or a bias of another
 * type for what the caller wants, so whatever its documentation promises is checked here. */
#include "blas.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A row-major (R, C) is the column-major (C, R) with leading dimension C. So:
 *   y^T (O, R)  = w (O, I) x^T (I, R):   A = w, stored (I, O) and transposed; B = x^T as stored
 *   dx^T (I, R) = w^T (I, O) dy^T (O, R): A = w^T as stored; B = dy^T as stored
 *   dw^T (I, O) = x^T (I, R) dy (R, O):  A = x^T as stored; B = dy, stored (O, R) and transposed
 * and the bias runs along m of the first, its gradient along n of the last: the epilogues BIAS and BGRADB. */
hone_blas_problem hone_blas_linear(hone_blas_direction direction, int64_t rows, int64_t inputs, int64_t outputs,
                                   hone_dtype operand, hone_dtype result)
{
    hone_blas_problem p = {.operand = operand, .result = result, .vector = result, .align_bytes = 16};
    switch (direction) {
    case HONE_BLAS_FORWARD:
        p.m = outputs, p.n = rows, p.k = inputs;
        p.lda = inputs, p.ldb = inputs, p.ldd = outputs;
        p.transpose_a = true;
        break;
    case HONE_BLAS_DX:
        p.m = inputs, p.n = rows, p.k = outputs;
        p.lda = inputs, p.ldb = outputs, p.ldd = inputs;
        break;
    case HONE_BLAS_DW:
        p.m = inputs, p.n = outputs, p.k = rows;
        p.lda = inputs, p.ldb = outputs, p.ldd = inputs;
        p.transpose_b = true;
        break;
    }
    return p;
}

bool hone_blas_has_bias(hone_blas_epilogue e)
{
    return e == HONE_BLAS_BIAS || e == HONE_BLAS_RELU_BIAS || e == HONE_BLAS_GELU_BIAS || e == HONE_BLAS_GELU_AUX_BIAS;
}

bool hone_blas_has_aux(hone_blas_epilogue e)
{
    return e == HONE_BLAS_GELU_AUX || e == HONE_BLAS_GELU_AUX_BIAS || e == HONE_BLAS_DGELU;
}

/* Stored in 16 bits; sums are fp32 all the same. */
static bool is_half(hone_dtype t) { return t == HONE_BF16 || t == HONE_F16; }

/* The rows of cublasLtMatmul's table for CUBLAS_COMPUTE_32F with scale type fp32, as far as we store such types:
 * A, B and D of one type, or 16-bit A and B with D in fp32; the vector is of D's type (CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE). */
static hone_status check_types(const hone_blas_problem *p)
{
    bool same = p->operand == p->result && (p->operand == HONE_F32 || is_half(p->operand));
    if (!same && !(is_half(p->operand) && p->result == HONE_F32))
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: no documented combination: operands %s, result %s",
                         hone_dtype_name(p->operand), hone_dtype_name(p->result));
    if ((hone_blas_has_bias(p->epilogue) || p->epilogue == HONE_BLAS_BGRADB) && p->vector != p->result)
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: the vector is %s, and must be of the result's type %s",
                         hone_dtype_name(p->vector), hone_dtype_name(p->result));
    if (p->tf32 && p->operand != HONE_F32)
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: tf32 is for operands in f32");
    return HONE_OK;
}

/* Dimensions before leading dimensions, as these are compared with them; names as in the library's documentation. */
hone_status hone_blas_check(const hone_blas_problem *p)
{
    const int64_t dims[] = {p->m, p->n, p->k},
                  rows[] = {p->transpose_a ? p->k : p->m, p->transpose_b ? p->n : p->k, p->m};
    const int64_t ld[] = {p->lda, p->ldb, p->ldd};
    static const char name[] = "mnkABD";
    for (int i = 0; i < 3; i++)
        if (dims[i] < 1 || dims[i] > INT32_MAX) /* kernels of the library index rows and columns with int */
            return hone_fail(HONE_ERR_USAGE, NULL, "matmul: %c is %lld", name[i], (long long)dims[i]);
    for (int i = 0; i < 3; i++)
        if (ld[i] < rows[i])
            return hone_fail(HONE_ERR_USAGE, NULL, "matmul: %c has %lld rows and a leading dimension of %lld",
                             name[3 + i], (long long)rows[i], (long long)ld[i]);
    if (p->align_bytes < 16 || (p->align_bytes & (p->align_bytes - 1)) != 0)
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: pointers of %u bytes alignment", p->align_bytes);
    if (p->add && p->epilogue != HONE_BLAS_PLAIN) /* the vector of BGRADB would be written, not added to */
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: adding to the result goes with the plain epilogue only");
    if (hone_blas_has_aux(p->epilogue) && p->ldd % 8 != 0) /* CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD */
        return hone_fail(HONE_ERR_USAGE, NULL,
                         "matmul: beside D goes a matrix whose leading dimension %lld is no multiple of 8",
                         (long long)p->ldd);
    if (hone_blas_has_aux(p->epilogue) && p->operand != p->result)
        return hone_fail(HONE_ERR_USAGE, NULL, "matmul: what goes beside D is of the type of all three matrices");
    return check_types(p);
}

/* Every field stands in it, permissions too: they decide which algorithms were asked for. */
const char *hone_blas_problem_text(const hone_blas_problem *p, char *text, size_t text_bytes)
{
    static const char *const epilogue[] = {"plain",     "bias",     "relu",          "relu+bias", "gelu",
                                           "gelu+bias", "gelu+aux", "gelu+aux+bias", "dgelu",     "bgradb"};
    snprintf(text, text_bytes,
             "matmul %c%c m %" PRId64 " n %" PRId64 " k %" PRId64 " ld %" PRId64 " %" PRId64 " %" PRId64
             " %s->%s%s %s%s%s work %zu align %u",
             p->transpose_a ? 't' : 'n', p->transpose_b ? 't' : 'n', p->m, p->n, p->k, p->lda, p->ldb, p->ldd,
             hone_dtype_name(p->operand), hone_dtype_name(p->result), p->tf32 ? " tf32" : "", epilogue[p->epilogue],
             p->add ? " add" : "", p->any_order ? " any order" : "", p->work_bytes_most, p->align_bytes);
    return text;
}

/* Hexadecimal words: the bytes mean something to the library alone. */
void hone_blas_choice_text(const hone_blas_choice *c, char *text, size_t text_bytes)
{
    int n = snprintf(text, text_bytes, "work %zu algo", c->work_bytes);
    for (int k = 0; k < 8 && n > 0 && (size_t)n < text_bytes; k++)
        n += snprintf(text + n, text_bytes - (size_t)n, " %016" PRIx64, c->algo[k]);
}

/* A cache file is only text: whatever is not exactly ours is no choice, and is timed again. */
bool hone_blas_choice_read(const char *text, hone_blas_choice *c)
{
    int at = 0, used = 0;
    char again[HONE_NAME_BYTES + 128];
    if (sscanf(text, "work %zu algo%n", &c->work_bytes, &at) != 1 || at == 0) return false;
    for (int k = 0; k < 8; k++, at += used)
        if (sscanf(text + at, " %16" SCNx64 "%n", &c->algo[k], &used) != 1) return false;
    hone_blas_choice_text(c, again, sizeof again); /* nothing but what we write is taken */
    return strcmp(again, text) == 0;
}
