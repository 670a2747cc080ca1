/* test_cublaslt.c - the real cuBLASLt takes every description of a product that our builder makes, without a GPU.
 * rooms: cublas tuning core
 *
 * Built where the toolkit is. Descriptors and their attributes live on the host; only the handle needs a device. So a
 * plan of a good problem gets as far as the handle (DEVICE without a GPU), one whose attribute the library refuses ends
 * before it (RUNTIME), and one that our own check refuses never reaches the library (USAGE). Nothing is computed, and
 * whether there is an algorithm stays unknown. Where there is a GPU the plans are made and timed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "libraries.h"

/* A backend that nothing runs on: what blas_lt.c links with. */
static hone_cuda_libraries libraries;
hone_cuda_libraries *hone_cuda_libraries_of(hone_backend *b)
{
    (void)b;
    return &libraries;
}
struct CUstream_st *hone_cuda_stream(hone_backend *b)
{
    (void)b;
    return NULL;
}
void hone_cuda_library_failed(hone_backend *b, const char *words)
{
    (void)b;
    fail_msg("%s", words);
}
hone_status hone_cuda_time(hone_backend *b, hone_status (*run)(void *arg), void *arg, double *microseconds)
{
    (void)b, (void)run, (void)arg;
    *microseconds = 1;
    return HONE_OK;
}
void hone_cuda_fill_random(hone_backend *b, hone_dtype dtype, void *data, int64_t count, uint32_t seed)
{
    (void)b, (void)dtype, (void)data, (void)count, (void)seed;
}

/* There is no memory for a trial, so that with a GPU the first guess is taken. */
static hone_status no_memory(hone_backend *b, size_t bytes, void **out)
{
    (void)b, (void)bytes;
    *out = NULL;
    return hone_fail(HONE_ERR_MEMORY, NULL, "none");
}

static hone_status plan_of(const hone_blas_problem *p)
{
    hone_backend b = {.alloc = no_memory};
    hone_blas_plan *plan = NULL;
    hone_status status = hone_blas_plan_new(&b, p, &plan);
    hone_blas_plan_free(plan);
    return status;
}

static void test_every_product(void **state)
{
    (void)state;
    static const struct {
        hone_dtype operand, result;
    } pair[] = {{HONE_F32, HONE_F32},
                {HONE_BF16, HONE_BF16},
                {HONE_F16, HONE_F16},
                {HONE_BF16, HONE_F32},
                {HONE_F16, HONE_F32}};
    int reached = 0;
    char text[HONE_TUNE_TEXT_BYTES];
    for (int d = HONE_BLAS_FORWARD; d <= HONE_BLAS_DW; d++)
        for (int k = 0; k < 5; k++)
            for (int e = HONE_BLAS_PLAIN; e <= HONE_BLAS_BGRADB; e++)
                for (int way = 0; way < 4; way++) { /* bit 0: adds, bit 1: tf32 */
                    hone_blas_problem p =
                        hone_blas_linear((hone_blas_direction)d, 256, 784, 504, pair[k].operand, pair[k].result);
                    p.epilogue = (hone_blas_epilogue)e;
                    p.work_bytes_most = 1 << 20;
                    p.add = way & 1;
                    p.tf32 = way & 2;
                    if (hone_blas_check(&p) != HONE_OK) continue; /* bias and sum, 16 bits and tf32 */
                    hone_status status = plan_of(&p);
                    if (status != HONE_OK && status != HONE_ERR_DEVICE)
                        fail_msg("%s: %s", hone_blas_problem_text(&p, text, sizeof text), hone_error_message());
                    reached++;
                }
    /* per direction: 7 epilogues and the plain sum for each of 5 pairs, 3 more for the pairs of one type, and fp32 again
     * as tf32 */
    assert_int_equal(reached, 3 * (8 * 5 + 3 * 3 + 11));
}

/* Planted: each is one mistake, and none may reach the library, which would believe most of them. */
static void test_refused(void **state)
{
    (void)state;
    const hone_blas_problem good = hone_blas_linear(HONE_BLAS_FORWARD, 8, 16, 24, HONE_BF16, HONE_BF16);
    hone_blas_problem bad[16];
    int n = 0;
    for (int k = 0; k < 16; k++) bad[k] = good;
    bad[n++].lda = 15;
    bad[n++].ldb = 15;
    bad[n++].ldd = 23;
    bad[n++].m = 0;
    bad[n++].k = (int64_t)INT32_MAX + 1;
    bad[n++].n = -1;
    bad[n++].result = HONE_F16;
    bad[n++].operand = HONE_F32; /* fp32 into 16 bits */
    bad[n].epilogue = HONE_BLAS_BIAS, bad[n++].vector = HONE_F32;
    bad[n++].tf32 = true;
    bad[n++].align_bytes = 8;
    bad[n++].align_bytes = 24;
    bad[n].epilogue = HONE_BLAS_BGRADB, bad[n++].add = true;
    bad[n++].operand = HONE_I32;
    bad[n].epilogue = HONE_BLAS_GELU_AUX_BIAS, bad[n++].ldd = 28; /* what goes beside D: rows of whole eights */
    bad[n].epilogue = HONE_BLAS_DGELU, bad[n].vector = HONE_F32, bad[n++].result = HONE_F32;
    assert_int_equal(n, 16);
    assert_int_equal(hone_blas_check(&good), HONE_OK);
    for (int k = 0; k < n; k++)
        if (plan_of(&bad[k]) != HONE_ERR_USAGE) fail_msg("mistake %d was taken", k);
}

/* What a cache file holds must come back, and nothing else be taken for it. */
static void test_choice_text(void **state)
{
    (void)state;
    hone_blas_choice c = {.work_bytes = 1234567}, back;
    char text[HONE_TUNE_TEXT_BYTES];
    for (int k = 0; k < 8; k++) c.algo[k] = 0x0123456789abcdefu * (uint64_t)(k + 1);
    hone_blas_choice_text(&c, text, sizeof text);
    assert_true(hone_blas_choice_read(text, &back));
    assert_memory_equal(&c, &back, sizeof c);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        char part[HONE_TUNE_TEXT_BYTES];
        memcpy(part, text, cut);
        part[cut] = '\0';
        assert_false(hone_blas_choice_read(part, &back));
    }
    strcat(text, " 1");
    assert_false(hone_blas_choice_read(text, &back));
    assert_false(hone_blas_choice_read("", &back));
    assert_false(hone_blas_choice_read("cudnn engine 38", &back));
}

/* Two problems that want two choices must not share a line of the cache. */
static void test_problem_text(void **state)
{
    (void)state;
    const hone_blas_problem base = hone_blas_linear(HONE_BLAS_FORWARD, 8, 16, 24, HONE_F32, HONE_F32);
    hone_blas_problem p[17];
    char text[17][HONE_TUNE_TEXT_BYTES];
    for (int k = 0; k < 17; k++) p[k] = base;
    p[1].m++, p[2].n++, p[3].k++, p[4].lda++, p[5].ldb++, p[6].ldd++;
    p[7].transpose_a = false, p[8].transpose_b = true, p[9].operand = HONE_BF16, p[10].result = HONE_BF16;
    p[11].epilogue = HONE_BLAS_RELU, p[12].add = true, p[13].tf32 = true, p[14].any_order = true;
    p[15].work_bytes_most++, p[16].align_bytes = 64;
    for (int k = 0; k < 17; k++) {
        hone_blas_problem_text(&p[k], text[k], sizeof text[k]);
        assert_null(strpbrk(text[k], "\t\n"));
        for (int other = 0; other < k; other++) assert_string_not_equal(text[k], text[other]);
    }
}

static int begin(void **state)
{
    (void)state;
    return hone_cuda_libraries_open(&libraries, "no device", false);
}

static int end(void **state)
{
    (void)state;
    hone_blas_close(NULL);
    hone_cuda_libraries_close(&libraries);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_product), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_choice_text), cmocka_unit_test(test_problem_text)};
    return cmocka_run_group_tests(tests, begin, end);
}
