/* blas_standin.cc - cuBLASLt on the host, for the emulated device: checks what it is told, computes by plain loops.
 *
 * It is stricter than the library: attribute sizes, shapes, leading dimensions, the documented table of types, pointers
 * inside device allocations and aligned as the preference promised, an algorithm used for the problem it was found for.
 * Whatever the library would refuse by a status is refused; what it would believe and get wrong is a fault of the
 * emulator. Products are queued like kernels, so order and recording are tested, too. Sums are in double,
 * rounded to float (each part of a split-k), and to D's type after the epilogue; GELU is the tanh form.
 *   HONE_BLAS_REFUSE=epilogue | all    no algorithm for products with an epilogue, or for any
 * Candidates: one pass; one pass with scratch; split-k with parts in scratch; and, where the mask of reduction schemes
 * lets it, split-k in place, whose bits change from call to call as those of atomics do. */
#include <cublasLt.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "device_memory.h"
#include "hone_device.h"
#include "schedule.h"

enum : uint32_t { ALIVE = 0x600D600D, DEAD = 0xDEADDEAD };

struct cublasLtContext {
    uint32_t state = ALIVE;
    uint64_t calls = 0;
};
struct cublasLtOperation {
    uint32_t state = ALIVE;
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t transpose[2] = {CUBLAS_OP_N, CUBLAS_OP_N};
    uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    void *bias = nullptr, *aux = nullptr;
    int64_t aux_ld = 0;
};
struct cublasLtLayout {
    uint32_t state = ALIVE;
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};
struct cublasLtPreference {
    uint32_t state = ALIVE;
    uint64_t work = 0;
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK, align[4] = {256, 256, 256, 256};
};

/* What the library would not notice, and a GPU would pay for. */
#define FAULT(...) simt::fault({"cublasLt", 0}, __VA_ARGS__)

template <typename T> static void check_alive(const T *object, const char *what)
{
    if (!object || object->state != ALIVE) FAULT("%s was not created, or is destroyed already", what);
}

template <typename T> static cublasStatus_t destroy(T *object, const char *what)
{
    check_alive(object, what);
    object->state = DEAD;
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> static bool read_attribute(T *to, const void *value, size_t bytes)
{
    if (bytes != sizeof *to) return false; /* the library, too, compares with the width of its own storage */
    memcpy(to, value, bytes);
    return true;
}

/* --- the table of types and shapes --------------------------------------------------------------- */

struct matmul {
    const cublasLtOperation *op;
    const cublasLtLayout *a, *b, *c, *d;
};

static bool is_half(cudaDataType_t t) { return t == CUDA_R_16F || t == CUDA_R_16BF; }
static bool has_bias(uint32_t e)
{
    return e == CUBLASLT_EPILOGUE_BIAS || e == CUBLASLT_EPILOGUE_RELU_BIAS || e == CUBLASLT_EPILOGUE_GELU_BIAS ||
           e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}
/* Forward what GELU read is written beside D, backward it is read from there. */
static bool keeps_aux(uint32_t e) { return e == CUBLASLT_EPILOGUE_GELU_AUX || e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS; }
static bool has_aux(uint32_t e) { return keeps_aux(e) || e == CUBLASLT_EPILOGUE_DGELU; }
static bool has_vector(uint32_t e) { return has_bias(e) || e == CUBLASLT_EPILOGUE_BGRADB; }
static bool is_epilogue(uint32_t e)
{
    return has_vector(e) || has_aux(e) || e == CUBLASLT_EPILOGUE_DEFAULT || e == CUBLASLT_EPILOGUE_RELU ||
           e == CUBLASLT_EPILOGUE_GELU;
}

/* cublasLtMatmul's documentation, the rows of compute type 32F and 32F_FAST_TF32 with scale 32F; nullptr: legal. */
static const char *illegal(const matmul &m)
{
    const cublasLtOperation &op = *m.op;
    if (op.scale != CUDA_R_32F) return "a scale type that is not 32F";
    if (m.a->type != m.b->type) return "A and B of two types";
    if (m.c->type != m.d->type) return "C and D of two types";
    if (op.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
        if (m.a->type != CUDA_R_32F || m.d->type != CUDA_R_32F) return "TF32 of operands that are not 32F";
    } else if (op.compute != CUBLAS_COMPUTE_32F) return "an unknown compute type";
    if (m.a->type != m.d->type && !(is_half(m.a->type) && m.d->type == CUDA_R_32F)) return "no such pair of types";
    if (!is_epilogue(op.epilogue)) return "an unknown epilogue";
    if (has_aux(op.epilogue) && (op.aux_ld % 8 || op.aux_ld < (int64_t)m.d->rows))
        return "an auxiliary matrix whose leading dimension is short, or no multiple of 8";
    if (has_aux(op.epilogue) && m.a->type != m.d->type) return "an auxiliary matrix of another type than A and B";
    bool ta = op.transpose[0] == CUBLAS_OP_T, tb = op.transpose[1] == CUBLAS_OP_T;
    uint64_t m_rows = ta ? m.a->cols : m.a->rows, k = ta ? m.a->rows : m.a->cols;
    if (k != (tb ? m.b->cols : m.b->rows)) return "k of A and of B differ";
    if (m_rows != m.d->rows || (tb ? m.b->rows : m.b->cols) != m.d->cols) return "D is not (m, n)";
    if (m.c->rows != m.d->rows || m.c->cols != m.d->cols || m.c->ld != m.d->ld) return "C and D differ";
    for (const cublasLtLayout *l : {m.a, m.b, m.d})
        if (l->rows < 1 || l->cols < 1 || l->ld < (int64_t)l->rows) return "a matrix without rows, or a short leading dimension";
    return nullptr;
}

/* Distinguishes problems, so that an algorithm found for one is not run on another. */
static uint64_t signature(const matmul &m)
{
    uint64_t h = 14695981039346656037u;
    auto mix = [&h](uint64_t v) { h = (h ^ v) * 1099511628211u; };
    for (const cublasLtLayout *l : {m.a, m.b, m.c, m.d}) {
        mix(l->type), mix(l->rows), mix(l->cols), mix((uint64_t)l->ld);
    }
    mix(m.op->compute), mix((uint64_t)m.op->transpose[0]), mix((uint64_t)m.op->transpose[1]), mix(m.op->epilogue), mix((uint64_t)m.op->aux_ld);
    return h;
}

static matmul gather(cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                     cublasLtMatrixLayout_t d)
{
    check_alive(op, "the operation");
    for (const cublasLtLayout *l : {a, b, c, d}) check_alive(l, "a layout");
    return {op, a, b, c, d};
}

/* --- algorithms ------------------------------------------------------------------------------------ */

/* data: id, splits, scheme, scratch bytes, alignment promised, signature */
enum { ID, SPLITS, SCHEME, WORK, ALIGN, SIGNATURE };

static void offer(cublasLtMatmulHeuristicResult_t list[], int asked, int *got, const matmul &m, uint64_t id, uint64_t splits,
                  uint64_t scheme, uint64_t work, const cublasLtPreference &p)
{
    if (*got >= asked || work > p.work || (scheme && !(scheme & p.schemes))) return;
    uint32_t align = 256;
    for (uint32_t a : p.align)
        if (a < align) align = a;
    cublasLtMatmulHeuristicResult_t r = {};
    r.algo = {{id, splits, scheme, work, align, signature(m), 0, 0}};
    r.workspaceSize = work;
    r.state = CUBLAS_STATUS_SUCCESS;
    r.wavesCount = 1;
    list[(*got)++] = r;
}

static bool refuses(const matmul &m)
{
    const char *word = getenv("HONE_BLAS_REFUSE");
    return word && (!strcmp(word, "all") || (!strcmp(word, "epilogue") && m.op->epilogue != CUBLASLT_EPILOGUE_DEFAULT));
}

/* --- the product --------------------------------------------------------------------------------------- */

static float load(cudaDataType_t type, const void *data, int64_t i)
{
    return type == CUDA_R_16BF ? to_float(((const bf16 *)data)[i]) : type == CUDA_R_16F ? to_float(((const fp16 *)data)[i])
                                                                                       : ((const float *)data)[i];
}

static void store(cudaDataType_t type, void *data, int64_t i, float v)
{
    if (type == CUDA_R_16BF) ((bf16 *)data)[i] = from_float<bf16>(v);
    else if (type == CUDA_R_16F) ((fp16 *)data)[i] = from_float<fp16>(v);
    else ((float *)data)[i] = v;
}

static size_t type_bytes(cudaDataType_t type) { return is_half(type) ? 2 : 4; }

/* Ten bits of mantissa, to nearest: what a tensor core makes of a float. */
static float as_tf32(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if ((bits & 0x7F800000) != 0x7F800000) bits = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFFu;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Everything that a queued product needs, frozen at the call. */
struct product {
    cublasLtOperation op;
    cublasLtLayout a, b, d;
    const void *A, *B, *C;
    void *D, *work;
    float alpha, beta;
    uint64_t splits, work_bytes;
    double wobble; /* of the in-place scheme: what another order of additions does to a sum */
};

/* Terms [from, to) of one result. */
static double partial(const product &p, int64_t i, int64_t j, int64_t from, int64_t to)
{
    bool ta = p.op.transpose[0] == CUBLAS_OP_T, tb = p.op.transpose[1] == CUBLAS_OP_T;
    bool tf32 = p.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    double sum = 0;
    for (int64_t x = from; x < to; x++) {
        float u = load(p.a.type, p.A, ta ? x + i * p.a.ld : i + x * p.a.ld);
        float v = load(p.b.type, p.B, tb ? j + x * p.b.ld : x + j * p.b.ld);
        sum += tf32 ? (double)as_tf32(u) * as_tf32(v) : (double)u * v;
    }
    return sum;
}

/* Parts of a split-k are rounded to float before they are added, so its last bits are its own. */
static float element(const product &p, int64_t i, int64_t j)
{
    const int64_t k = (int64_t)(p.op.transpose[0] == CUBLAS_OP_T ? p.a.rows : p.a.cols), parts = (int64_t)p.splits;
    float sum = 0;
    for (int64_t s = 0; s < parts; s++) sum += (float)(partial(p, i, j, k * s / parts, k * (s + 1) / parts) * (1 + p.wobble));
    return sum;
}

/* d/dx of the tanh form of GELU. */
static float gelu_slope(float x)
{
    const float t = tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456080286536f * (1 + 3 * 0.044715f * x * x);
}

static float finish(const product &p, float v, int64_t i, int64_t j)
{
    uint32_t e = p.op.epilogue;
    const int64_t beside = i + j * p.op.aux_ld;
    if (has_bias(e)) v += load(p.d.type, p.op.bias, i);
    if (keeps_aux(e)) store(p.d.type, p.op.aux, beside, v);
    if (e == CUBLASLT_EPILOGUE_DGELU) return v * gelu_slope(load(p.d.type, p.op.aux, beside));
    if (e & CUBLASLT_EPILOGUE_RELU) v = v < 0 ? 0 : v;
    if (e & CUBLASLT_EPILOGUE_GELU) v = 0.5f * v * (1 + tanhf(0.79788456080286536f * (v + 0.044715f * v * v * v)));
    return v;
}

static void multiply(const product &p)
{
    if (p.work_bytes) memset(p.work, 0xFF, p.work_bytes); /* all of it is the library's, and nobody else's */
    const int64_t m = (int64_t)p.d.rows, n = (int64_t)p.d.cols;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            float v = p.alpha * element(p, i, j);
            if (p.beta != 0) v += p.beta * load(p.d.type, p.C, i + j * p.d.ld);
            store(p.d.type, p.D, i + j * p.d.ld, finish(p, v, i, j));
        }
    if (p.op.epilogue != CUBLASLT_EPILOGUE_BGRADB) return;
    bool tb = p.op.transpose[1] == CUBLAS_OP_T;
    int64_t k = (int64_t)(tb ? p.b.cols : p.b.rows);
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t x = 0; x < k; x++) sum += load(p.b.type, p.B, tb ? j + x * p.b.ld : x + j * p.b.ld);
        store(p.d.type, p.op.bias, j, (float)sum);
    }
}

static void check_memory(const void *at, size_t bytes, uint64_t align, const char *what)
{
    if ((uintptr_t)at % align) FAULT("%s is not aligned to the %d bytes that the heuristic was promised", what, (int)align);
    if (!simt::device_holds(at, bytes)) FAULT("%s: %zu bytes at %p are not device memory", what, bytes, at);
}

static size_t layout_bytes(const cublasLtLayout &l) { return ((size_t)(l.cols - 1) * (size_t)l.ld + l.rows) * type_bytes(l.type); }

static void check_pointers(const product &p, uint64_t align)
{
    check_memory(p.A, layout_bytes(p.a), align, "A");
    check_memory(p.B, layout_bytes(p.b), align, "B");
    check_memory(p.D, layout_bytes(p.d), align, "D");
    if (p.C != p.D) FAULT("C is not D: not asked for by any row, and slower");
    if (has_vector(p.op.epilogue))
        check_memory(p.op.bias, (has_bias(p.op.epilogue) ? p.d.rows : p.d.cols) * type_bytes(p.d.type), align, "the bias");
    if (has_aux(p.op.epilogue))
        check_memory(p.op.aux, ((p.d.cols - 1) * (uint64_t)p.op.aux_ld + p.d.rows) * type_bytes(p.d.type), align, "the auxiliary matrix");
    if (p.work_bytes) check_memory(p.work, p.work_bytes, align, "the workspace");
}

extern "C" {
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new cublasLtContext;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy(handle, "the handle"); }
const char *cublasLtGetStatusName(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INVALID_VALUE";
}
size_t cublasLtGetVersion(void) { return 0; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale)
{
    *d = new cublasLtOperation;
    (*d)->compute = compute;
    (*d)->scale = scale;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return destroy(d, "the operation"); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name, const void *value,
                                              size_t bytes)
{
    check_alive(d, "the operation");
    bool ok = name == CUBLASLT_MATMUL_DESC_TRANSA         ? read_attribute(&d->transpose[0], value, bytes)
              : name == CUBLASLT_MATMUL_DESC_TRANSB       ? read_attribute(&d->transpose[1], value, bytes)
              : name == CUBLASLT_MATMUL_DESC_EPILOGUE     ? read_attribute(&d->epilogue, value, bytes)
              : name == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? read_attribute(&d->bias, value, bytes)
              : name == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER ? read_attribute(&d->aux, value, bytes)
              : name == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD      ? read_attribute(&d->aux_ld, value, bytes)
                                                          : false;
    return ok ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows, uint64_t cols,
                                          int64_t ld)
{
    *l = new cublasLtLayout;
    (*l)->type = type;
    (*l)->rows = rows;
    (*l)->cols = cols;
    (*l)->ld = ld;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return destroy(l, "a layout"); }

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new cublasLtPreference;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return destroy(p, "the preference"); }

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes)
{
    check_alive(p, "the preference");
    const int align = (int)name - (int)CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    bool ok = name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES    ? read_attribute(&p->work, value, bytes)
              : name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK ? read_attribute(&p->schemes, value, bytes)
              : align >= 0 && align < 4                            ? read_attribute(&p->align[align], value, bytes)
                                                                   : false;
    return ok ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t p, int asked,
                                              cublasLtMatmulHeuristicResult_t list[], int *got)
{
    check_alive(handle, "the handle");
    check_alive(p, "the preference");
    const matmul m = gather(op, a, b, c, d);
    *got = 0;
    /* blas.c checks the same table: what gets here is a bug, and a mere refusal would end in our own kernel unseen */
    if (const char *why = illegal(m)) FAULT("algorithms are asked for a product with %s", why);
    if (has_vector(op->epilogue) && !op->bias) FAULT("an epilogue without its vector");
    if (has_aux(op->epilogue) && !op->aux) FAULT("an epilogue without its auxiliary matrix");
    if (refuses(m)) return CUBLAS_STATUS_NOT_SUPPORTED;
    const uint64_t parts = 4 * d->rows * d->cols;
    offer(list, asked, got, m, 1, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 0, *p);
    if (simt::schedule_dry()) return CUBLAS_STATUS_SUCCESS; /* nothing to time */
    offer(list, asked, got, m, 2, 1, CUBLASLT_REDUCTION_SCHEME_NONE, 4096, *p);
    if (op->epilogue != CUBLASLT_EPILOGUE_BGRADB)
        offer(list, asked, got, m, 3, 3, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 3 * parts, *p);
    offer(list, asked, got, m, 4, 2, CUBLASLT_REDUCTION_SCHEME_INPLACE, 256, *p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo, cublasLtMatmulHeuristicResult_t *result)
{
    check_alive(handle, "the handle");
    const matmul m = gather(op, a, b, c, d);
    if (illegal(m) || algo->data[SIGNATURE] != signature(m)) return CUBLAS_STATUS_INVALID_VALUE;
    if (refuses(m)) return CUBLAS_STATUS_NOT_SUPPORTED;
    *result = {};
    result->workspaceSize = algo->data[WORK];
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t name, void *value, size_t bytes,
                                                    size_t *written)
{
    int32_t v = name == CUBLASLT_ALGO_CONFIG_ID ? (int32_t)algo->data[ID]
                : name == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (int32_t)algo->data[SPLITS] : 0;
    if (bytes != sizeof v) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, &v, sizeof v);
    *written = sizeof v;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, const void *alpha, const void *A,
                              cublasLtMatrixLayout_t a, const void *B, cublasLtMatrixLayout_t b, const void *beta,
                              const void *C, cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *work, size_t work_bytes, cudaStream_t)
{
    check_alive(handle, "the handle");
    const matmul m = gather(op, a, b, c, d);
    if (const char *why = illegal(m)) FAULT("a product with %s", why);
    if (algo->data[SIGNATURE] != signature(m)) FAULT("an algorithm that was found for another problem");
    if (work_bytes < algo->data[WORK]) FAULT("%zu bytes of workspace where %d are needed", work_bytes, (int)algo->data[WORK]);
    product p = {*op, *a, *b, *d, A, B, C, D, work, *(const float *)alpha, *(const float *)beta, algo->data[SPLITS],
                 algo->data[WORK], 0};
    if (algo->data[SCHEME] == CUBLASLT_REDUCTION_SCHEME_INPLACE) p.wobble = (double)(++handle->calls % 7) * 6e-8;
    check_pointers(p, algo->data[ALIGN]);
    int refused = simt::launch({dim3(1), dim3(1), 0, false, 1024, "cublasLtMatmul"}, [p] { multiply(p); });
    return refused ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
}
