/* blas_lt.c - the one file that calls cuBLASLt: descriptors, candidates, timing, the call itself (blas.h).
 *
 * Documentation: docs.nvidia.com/cuda/cublas, chapter cuBLASLt, and the comments of cublasLt.h. Order of sums: a
 * split-k whose parts are added "in place" or in the output's type is not asked for unless the problem allows any
 * order; parts in fp32 that a second kernel adds are (reduction scheme COMPUTE_TYPE), and a split candidate
 * whose bits do not repeat is passed over. The emulated device compiles this file against tests/simt/toolkit. */
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "libraries.h"

enum { CANDIDATES_MOST = 8 };

struct hone_blas_plan {
    hone_blas_problem problem;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, d; /* d is C's, too */
    cublasLtHandle_t handle;        /* the backend's */
    cublasLtMatmulAlgo_t algo;
    size_t work_bytes; /* that the algorithm asked for: node->work_bytes */
    char text[96];     /* for people */
};

/* Says what the library refused; its own log (CUBLASLT_LOG_LEVEL=1) says why. */
static hone_status library_error(const char *what, cublasStatus_t e)
{
    hone_status status = e == CUBLAS_STATUS_ALLOC_FAILED ? HONE_ERR_MEMORY : HONE_ERR_RUNTIME;
    return hone_fail(status, "CUBLASLT_LOG_LEVEL=1 makes the library say why", "cuBLASLt: %s: %s", what,
                     cublasLtGetStatusName(e));
}

#define BLAS_TRY(what, expr)                                                                                           \
    do {                                                                                                               \
        cublasStatus_t blas_try_error_ = (expr);                                                                       \
        if (blas_try_error_ != CUBLAS_STATUS_SUCCESS) return library_error((what), blas_try_error_);                   \
    } while (0)

/* One handle a backend: it belongs to the device that was current when it was made. */
static hone_status handle_of(hone_backend *b, cublasLtHandle_t *out)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    if (!l->blas) {
        cublasLtHandle_t handle = NULL;
        cublasStatus_t e = cublasLtCreate(&handle);
        if (e != CUBLAS_STATUS_SUCCESS)
            return hone_fail(HONE_ERR_DEVICE, "see `hone doctor`", "cuBLASLt can't be started: %s",
                             cublasLtGetStatusName(e));
        l->blas = handle;
    }
    *out = l->blas;
    return HONE_OK;
}

/* Plans are freed before: they hold the handle. */
void hone_blas_close(hone_backend *b)
{
    hone_cuda_libraries *l = hone_cuda_libraries_of(b);
    if (l->blas) cublasLtDestroy(l->blas);
    l->blas = NULL;
}

/* --- descriptors ------------------------------------------------------------------------------- */

/* blas.c lets no other type through. */
static cudaDataType_t library_type(hone_dtype t)
{
    return t == HONE_BF16 ? CUDA_R_16BF : t == HONE_F16 ? CUDA_R_16F : CUDA_R_32F;
}

/* Ours are counted from 0, so that a table of texts may be indexed by them; the library's are bits. */
static uint32_t library_epilogue(hone_blas_epilogue e)
{
    static const uint32_t value[] = {
        [HONE_BLAS_PLAIN] = CUBLASLT_EPILOGUE_DEFAULT,     [HONE_BLAS_BIAS] = CUBLASLT_EPILOGUE_BIAS,
        [HONE_BLAS_RELU] = CUBLASLT_EPILOGUE_RELU,         [HONE_BLAS_RELU_BIAS] = CUBLASLT_EPILOGUE_RELU_BIAS,
        [HONE_BLAS_GELU] = CUBLASLT_EPILOGUE_GELU,         [HONE_BLAS_GELU_BIAS] = CUBLASLT_EPILOGUE_GELU_BIAS,
        [HONE_BLAS_GELU_AUX] = CUBLASLT_EPILOGUE_GELU_AUX, [HONE_BLAS_GELU_AUX_BIAS] = CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
        [HONE_BLAS_DGELU] = CUBLASLT_EPILOGUE_DGELU,       [HONE_BLAS_BGRADB] = CUBLASLT_EPILOGUE_BGRADB};
    return value[e];
}

/* A bias that is read, or the gradient of one that is written: both stand behind one pointer. */
static bool has_vector(const hone_blas_problem *p)
{
    return hone_blas_has_bias(p->epilogue) || p->epilogue == HONE_BLAS_BGRADB;
}

/* One attribute of the operation; `value` has the width that cublasLt.h gives. */
static hone_status set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name, const void *value, size_t bytes)
{
    BLAS_TRY("describing the product", cublasLtMatmulDescSetAttribute(d, name, value, bytes));
    return HONE_OK;
}

/* On failure the caller frees the plan with what it holds. The vector's address is not known yet: the heuristic reads
 * its alignment from a stand-in of the promised one. */
static hone_status describe(hone_blas_plan *plan)
{
    const hone_blas_problem *p = &plan->problem;
    const cublasComputeType_t compute = p->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const int32_t ta = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, tb = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint32_t epilogue = library_epilogue(p->epilogue);
    void *vector = (void *)(uintptr_t)p->align_bytes;
    BLAS_TRY("describing the product", cublasLtMatmulDescCreate(&plan->operation, compute, CUDA_R_32F));
    HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta));
    HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb));
    HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (has_vector(p)) HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector));
    if (hone_blas_has_aux(p->epilogue)) { /* aligned as the vector is, and as dense as D */
        HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &vector, sizeof vector));
        HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &p->ldd, sizeof p->ldd));
    }
    const uint64_t m = (uint64_t)p->m, n = (uint64_t)p->n, k = (uint64_t)p->k;
    BLAS_TRY("describing A", cublasLtMatrixLayoutCreate(&plan->a, library_type(p->operand), p->transpose_a ? k : m,
                                                        p->transpose_a ? m : k, p->lda));
    BLAS_TRY("describing B", cublasLtMatrixLayoutCreate(&plan->b, library_type(p->operand), p->transpose_b ? n : k,
                                                        p->transpose_b ? k : n, p->ldb));
    BLAS_TRY("describing D", cublasLtMatrixLayoutCreate(&plan->d, library_type(p->result), m, n, p->ldd));
    return HONE_OK;
}

/* --- candidates -------------------------------------------------------------------------------- */

/* What a candidate may need and do. Alignment is stated because the default of 256 bytes is more than the planner's
 * arenas promise. */
static hone_status set_preference(cublasLtMatmulPreference_t pref, const hone_blas_problem *p)
{
    static const cublasLtMatmulPreferenceAttributes_t align[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const uint64_t work = p->work_bytes_most;
    const uint32_t schemes =
        p->any_order ? CUBLASLT_REDUCTION_SCHEME_MASK : (uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    BLAS_TRY("limiting the scratch",
             cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work, sizeof work));
    BLAS_TRY("choosing the order of sums",
             cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                                  sizeof schemes));
    for (int i = 0; i < 4; i++)
        BLAS_TRY("stating the alignment",
                 cublasLtMatmulPreferenceSetAttribute(pref, align[i], &p->align_bytes, sizeof p->align_bytes));
    return HONE_OK;
}

/* What the library's heuristic would try, best guess first. None is an answer, too. */
static hone_status ask(const hone_blas_plan *plan, cublasLtMatmulHeuristicResult_t list[CANDIDATES_MOST], int *count)
{
    cublasLtMatmulPreference_t pref = NULL; /* needed for the question only */
    int got = 0;
    *count = 0;
    BLAS_TRY("asking for algorithms", cublasLtMatmulPreferenceCreate(&pref));
    hone_status status = set_preference(pref, &plan->problem);
    cublasStatus_t e = CUBLAS_STATUS_SUCCESS;
    if (status == HONE_OK)
        e = cublasLtMatmulAlgoGetHeuristic(plan->handle, plan->operation, plan->a, plan->b, plan->d, plan->d, pref,
                                           CANDIDATES_MOST, list, &got);
    cublasLtMatmulPreferenceDestroy(pref);
    HONE_TRY(status);
    if (e != CUBLAS_STATUS_SUCCESS && e != CUBLAS_STATUS_NOT_SUPPORTED)
        return library_error("asking for algorithms", e);
    for (int i = 0; i < got; i++)
        if (list[i].state == CUBLAS_STATUS_SUCCESS && list[i].workspaceSize <= plan->problem.work_bytes_most)
            list[(*count)++] = list[i];
    return HONE_OK;
}

/* An integer of the algorithm's configuration, for people; -1 where it has none. */
static int config_of(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t name)
{
    int32_t value = -1;
    size_t written = 0;
    if (cublasLtMatmulAlgoConfigGetAttribute(algo, name, &value, sizeof value, &written) != CUBLAS_STATUS_SUCCESS)
        return -1;
    return value;
}

/* Makes `algo` the plan's own. */
static void take(hone_blas_plan *plan, const cublasLtMatmulAlgo_t *algo, size_t work_bytes, const char *how)
{
    plan->algo = *algo;
    plan->work_bytes = work_bytes;
    snprintf(plan->text, sizeof plan->text, "cublaslt algo %d tile %d stages %d split-k %d, %s",
             config_of(algo, CUBLASLT_ALGO_CONFIG_ID), config_of(algo, CUBLASLT_ALGO_CONFIG_TILE_ID),
             config_of(algo, CUBLASLT_ALGO_CONFIG_STAGES_ID), config_of(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM), how);
}

/* --- timing ------------------------------------------------------------------------------------ */

typedef struct trial { /* device memory of one problem, and its candidates */
    hone_backend *backend;
    hone_blas_plan *plan;
    void *a, *b, *vector, *aux, *d, *work;
    size_t d_bytes;
    cublasLtMatmulHeuristicResult_t list[CANDIDATES_MOST];
    int count, at; /* at: the candidate that runs */
} trial;

/* Elements of a column-major matrix. */
static int64_t elements(int64_t ld, int64_t columns) { return ld * columns; }

/* C is D: with beta 0 the library does not read it. Host scalars are copied when the call is recorded. */
static hone_status call(const hone_blas_plan *plan, const cublasLtMatmulAlgo_t *algo, hone_backend *backend,
                        const void *a, const void *b, void *vector, void *aux, void *d, void *work, size_t work_bytes)
{
    const float one = 1, beta = plan->problem.add ? 1.0f : 0.0f;
    if (hone_blas_has_aux(plan->problem.epilogue))
        HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux, sizeof aux));
    if (has_vector(&plan->problem))
        HONE_TRY(set(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector));
    BLAS_TRY("multiplying", cublasLtMatmul(plan->handle, plan->operation, &one, a, plan->a, b, plan->b, &beta, d,
                                           plan->d, d, plan->d, algo, work, work_bytes, hone_cuda_stream(backend)));
    return HONE_OK;
}

/* One run, as hone_cuda_time wants it. */
static hone_status run_candidate(void *arg)
{
    trial *t = arg;
    const cublasLtMatmulHeuristicResult_t *c = &t->list[t->at];
    return call(t->plan, &c->algo, t->backend, t->a, t->b, t->vector, t->aux, t->d, t->work, c->workspaceSize);
}

/* D as candidate `at` makes it from the same start; free() it. */
static hone_status result_of(trial *t, void **out)
{
    hone_backend *b = t->backend;
    const hone_blas_problem *p = &t->plan->problem;
    hone_cuda_fill_random(b, p->result, t->d, elements(p->ldd, p->n), 3);
    HONE_TRY(run_candidate(t));
    *out = malloc(t->d_bytes);
    if (!*out) return hone_fail(HONE_ERR_MEMORY, NULL, "cuBLASLt: no memory to compare results");
    return b->download(b, *out, t->d, t->d_bytes);
}

/* A sum in parts must give the same bits again, whatever the scheme is called. */
static hone_status repeats(trial *t)
{
    void *first = NULL, *again = NULL;
    hone_status status = result_of(t, &first);
    if (status == HONE_OK) status = result_of(t, &again);
    bool same = status == HONE_OK && memcmp(first, again, t->d_bytes) == 0;
    free(first);
    free(again);
    if (status == HONE_OK && !same)
        status = hone_fail(HONE_ERR_RUNTIME, NULL, "cuBLASLt: split-k gives other bits each time");
    return status;
}

/* Candidate k, for hone_tune_choose; one that fails in any way is left out. */
static hone_status time_candidate(void *arg, int k, double *microseconds)
{
    trial *t = arg;
    t->at = k;
    HONE_TRY(hone_cuda_time(t->backend, run_candidate, t, microseconds));
    if (t->plan->problem.any_order || config_of(&t->list[k].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) == 1) return HONE_OK;
    return repeats(t); /* after the timing: that has shown that it runs */
}

/* All that is needed to make the same algorithm again, in another process. */
static void candidate_text(void *arg, int k, char *text, size_t text_bytes)
{
    const cublasLtMatmulHeuristicResult_t *c = &((trial *)arg)->list[k];
    hone_blas_choice choice = {.work_bytes = c->workspaceSize};
    memcpy(choice.algo, c->algo.data, sizeof choice.algo);
    hone_blas_choice_text(&choice, text, text_bytes);
}

/* Also of one that is half open. */
static void trial_free(trial *t)
{
    void *const all[] = {t->a, t->b, t->vector, t->aux, t->d, t->work};
    for (int i = 0; i < 6; i++)
        if (all[i]) t->backend->free(t->backend, all[i]);
}

/* Random operands: on zeros a GPU clocks higher than it does at work. */
static hone_status trial_open(trial *t)
{
    hone_backend *b = t->backend;
    const hone_blas_problem *p = &t->plan->problem;
    const int64_t a = elements(p->lda, p->transpose_a ? p->m : p->k),
                  bb = elements(p->ldb, p->transpose_b ? p->k : p->n);
    const int64_t vector = p->epilogue == HONE_BLAS_BGRADB ? p->n : p->m;
    /* one scratch for all candidates: they run one after the other */
    size_t work = 0, operand = hone_dtype_bytes(p->operand), result = hone_dtype_bytes(p->result);
    for (int i = 0; i < t->count; i++)
        if (t->list[i].workspaceSize > work) work = t->list[i].workspaceSize;
    t->d_bytes = (size_t)elements(p->ldd, p->n) * result;
    HONE_TRY(b->alloc(b, (size_t)a * operand, &t->a));
    HONE_TRY(b->alloc(b, (size_t)bb * operand, &t->b));
    HONE_TRY(b->alloc(b, (size_t)vector * result, &t->vector));
    HONE_TRY(b->alloc(b, t->d_bytes, &t->d));
    HONE_TRY(b->alloc(b, hone_blas_has_aux(p->epilogue) ? t->d_bytes : 0, &t->aux));
    HONE_TRY(b->alloc(b, work, &t->work));
    hone_cuda_fill_random(b, p->operand, t->a, a, 1);
    hone_cuda_fill_random(b, p->operand, t->b, bb, 2);
    hone_cuda_fill_random(b, p->result, t->d, elements(p->ldd, p->n), 3);
    hone_cuda_fill_random(b, p->result, t->vector, vector, 4);
    if (hone_blas_has_aux(p->epilogue)) hone_cuda_fill_random(b, p->result, t->aux, elements(p->ldd, p->n), 5);
    return b->sync(b);
}

/* --- plans ------------------------------------------------------------------------------------- */

/* Does the library still take what was chosen for `key` once? A text that is no choice is as good as none. */
static bool recall(hone_blas_plan *plan, const char *key, hone_tune *tune)
{
    const char *text = hone_tune_find(tune, key);
    hone_blas_choice choice;
    cublasLtMatmulAlgo_t algo;
    cublasLtMatmulHeuristicResult_t result;
    if (!text || !hone_blas_choice_read(text, &choice)) return false;
    memcpy(algo.data, choice.algo, sizeof choice.algo);
    if (cublasLtMatmulAlgoCheck(plan->handle, plan->operation, plan->a, plan->b, plan->d, plan->d, &algo, &result) !=
            CUBLAS_STATUS_SUCCESS ||
        result.workspaceSize > choice.work_bytes || choice.work_bytes > plan->problem.work_bytes_most)
        return false;
    take(plan, &algo, choice.work_bytes, "recalled");
    return true;
}

/* The fastest that the heuristic names. With too little memory for a trial, or for a plan that is not run, its first
 * guess is taken and not remembered: the guess is the same each time. */
static hone_status choose(hone_backend *b, hone_blas_plan *plan, const char *key)
{
    trial t = {.backend = b, .plan = plan};
    char how[32] = "timed";
    int winner = 0;
    HONE_TRY(ask(plan, t.list, &t.count));
    if (t.count == 0)
        return hone_fail(HONE_ERR_RUNTIME, "our own kernel takes it", "cuBLASLt has no algorithm for %s", key);
    hone_status status = b->untimed ? HONE_ERR_MEMORY : trial_open(&t);
    if (status == HONE_OK) {
        hone_tune_trial trials = {key, t.count, candidate_text, time_candidate, &t};
        status = hone_tune_choose(hone_cuda_libraries_of(b)->tune, &trials, &winner);
        snprintf(how, sizeof how, "fastest of %d", t.count);
    } else if (status == HONE_ERR_MEMORY) {
        hone_error_clear();
        while (winner < t.count && config_of(&t.list[winner].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) != 1) winner++;
        status = winner < t.count ? HONE_OK
                                  : hone_fail(HONE_ERR_RUNTIME, NULL, "cuBLASLt: no memory to choose an algorithm");
        snprintf(how, sizeof how, b->untimed ? "not timed" : "not timed: no memory");
    }
    trial_free(&t);
    HONE_TRY(status);
    take(plan, &t.list[winner].algo, t.list[winner].workspaceSize, how);
    return HONE_OK;
}

/* Check, describe, recall or choose. */
hone_status hone_blas_plan_new(hone_backend *b, const hone_blas_problem *p, hone_blas_plan **out)
{
    char key[HONE_TUNE_TEXT_BYTES];
    *out = NULL;
    HONE_TRY(hone_blas_check(p));
    hone_blas_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return hone_fail(HONE_ERR_MEMORY, NULL, "cuBLASLt: out of memory");
    plan->problem = *p;
    hone_blas_problem_text(p, key, sizeof key);
    hone_status status = describe(plan); /* needs no device: a test without one shows that the library takes it */
    if (status == HONE_OK) status = handle_of(b, &plan->handle);
    if (status == HONE_OK && !recall(plan, key, hone_cuda_libraries_of(b)->tune)) status = choose(b, plan, key);
    if (status != HONE_OK) {
        hone_blas_plan_free(plan);
        return status;
    }
    *out = plan;
    return HONE_OK;
}

/* Also of one that failed half-way: what was not made is NULL. */
void hone_blas_plan_free(hone_blas_plan *plan)
{
    if (!plan) return;
    if (plan->a) cublasLtMatrixLayoutDestroy(plan->a);
    if (plan->b) cublasLtMatrixLayoutDestroy(plan->b);
    if (plan->d) cublasLtMatrixLayoutDestroy(plan->d);
    if (plan->operation) cublasLtMatmulDescDestroy(plan->operation);
    free(plan);
}

size_t hone_blas_plan_work_bytes(const hone_blas_plan *plan) { return plan->work_bytes; }
const char *hone_blas_plan_text(const hone_blas_plan *plan) { return plan->text; }

/* Only the addresses of vector and aux are set anew: all else was fixed in prepare. */
void hone_blas_run(hone_backend *backend, const hone_blas_plan *plan, const void *a, const void *b, void *vector,
                   void *aux, void *d, void *work)
{
    const uintptr_t bits =
        (uintptr_t)a | (uintptr_t)b | (uintptr_t)vector | (uintptr_t)aux | (uintptr_t)d | (uintptr_t)work;
    backend->launched++;
    if (bits % plan->problem.align_bytes != 0) /* what the heuristic was promised; powers of two */
        hone_cuda_library_failed(backend, "cuBLASLt: memory that is less aligned than was promised");
    else if (call(plan, &plan->algo, backend, a, b, vector, aux, d, work, plan->work_bytes) != HONE_OK)
        hone_cuda_library_failed(backend, hone_error_message());
}
