/* cuda_backend.c - the verbs of the CUDA dialect: memory, copies, one compute stream, recording.
 *
 * Contract: one stream carries all work of a step in order; launches can't fail, so the first error of
 * one is kept and reported by the next sync or download. Must not know ops or graphs. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

#include "blas.h"
#include "cuda.h"
#include "dnn.h"
#include "lane.h"
#include "libraries.h"

/* Launches are asynchronous and have no status, so their first error waits here. */
typedef struct cuda_self {
    int device;
    cudaStream_t stream;
    cudaError_t launch_error; /* first failed launch since the last report */
    const char *launch_kernel;
    char library_words[256]; /* of the first library call that failed in a launch, "" if none did */
    hone_cuda_libraries libraries;
} cuda_self;

/* Every verb gets the backend; what is CUDA's alone hangs on it. */
static cuda_self *self_of(hone_backend *b) { return b->self; }

/* Non-blocking with respect to the default stream: libraries that use that one don't serialize us. */
cudaStream_t hone_cuda_stream(hone_backend *b) { return self_of(b)->stream; }

hone_cuda_libraries *hone_cuda_libraries_of(hone_backend *b) { return &self_of(b)->libraries; }

/* Only the first is kept: those after it are mostly consequences. */
void hone_cuda_launched(hone_backend *b, const char *kernel, cudaError_t error)
{
    cuda_self *s = self_of(b);
    b->launched++;
    if (error == cudaSuccess || s->launch_error != cudaSuccess) return;
    s->launch_error = error;
    s->launch_kernel = kernel;
}

/* The words are copied: their storage is the next error's. */
void hone_cuda_library_failed(hone_backend *b, const char *words)
{
    cuda_self *s = self_of(b);
    if (!s->library_words[0]) snprintf(s->library_words, sizeof s->library_words, "%s", words);
}

/* Exhausted memory has a remedy of its own, and its own exit code. */
static hone_status device_error(const char *what, cudaError_t e)
{
    hone_status status = e == cudaErrorMemoryAllocation ? HONE_ERR_MEMORY : HONE_ERR_DEVICE;
    return hone_fail(status, status == HONE_ERR_MEMORY ? "use a smaller batch or a smaller model" : "see `hone doctor`",
                     "cuda: %s: %s", what, cudaGetErrorString(e));
}

#define CUDA_TRY(what, expr)                                                                                           \
    do {                                                                                                               \
        cudaError_t cuda_try_error_ = (expr);                                                                          \
        if (cuda_try_error_ != cudaSuccess) return device_error((what), cuda_try_error_);                              \
    } while (0)

/* New memory is zero, as on the other backends: sums and slots start from it. */
static hone_status cuda_alloc(hone_backend *b, size_t bytes, void **out)
{
    char what[64];
    snprintf(what, sizeof what, "allocating %zu bytes", bytes);
    CUDA_TRY(what, cudaMalloc(out, bytes ? bytes : 1));
    cudaError_t e = cudaMemsetAsync(*out, 0, bytes, self_of(b)->stream);
    if (e == cudaSuccess) return HONE_OK;
    cudaFree(*out);
    *out = NULL;
    return device_error("clearing new memory", e);
}

/* Waits for the device where it must; NULL is fine. */
static void cuda_free(hone_backend *b, void *ptr)
{
    (void)b;
    cudaFree(ptr);
}

/* Errors of finished kernels come from the stream, those of launches from what was remembered. */
static hone_status cuda_sync(hone_backend *b)
{
    cuda_self *s = self_of(b);
    CUDA_TRY("waiting for the device", cudaStreamSynchronize(s->stream));
    cudaError_t e = s->launch_error;
    s->launch_error = cudaSuccess;
    if (e != cudaSuccess) return device_error(s->launch_kernel, e);
    if (!s->library_words[0]) return HONE_OK;
    hone_status status =
        hone_fail(HONE_ERR_DEVICE, "HONE_CUDA_LIBRARIES=own leaves libraries out", "cuda: %s", s->library_words);
    s->library_words[0] = '\0';
    return status;
}

/* The source is pageable: CUDA has taken its bytes when the call returns. */
static hone_status cuda_upload(hone_backend *b, void *to, const void *from, size_t bytes)
{
    CUDA_TRY("copying to the device", cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, self_of(b)->stream));
    return HONE_OK;
}

/* Synchronous: the caller reads `to` at once. */
static hone_status cuda_download(hone_backend *b, void *to, const void *from, size_t bytes)
{
    CUDA_TRY("copying from the device", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, self_of(b)->stream));
    return cuda_sync(b);
}

enum { TIMED_RUNS = 7 }; /* odd: the median is one of them */

/* For the median: times are few. */
static void insert_sorted(float *list, int count, float value)
{
    while (count > 0 && list[count - 1] > value) {
        list[count] = list[count - 1];
        count--;
    }
    list[count] = value;
}

/* Events around each run by itself: an outlier (a clock that changes, another process) spoils one of them only. */
hone_status hone_cuda_time(hone_backend *b, hone_status (*run)(void *arg), void *arg, double *microseconds)
{
    cudaEvent_t from = NULL, to = NULL;
    float ms[TIMED_RUNS], one = 0;
    cudaError_t e = cudaEventCreate(&from);
    if (e == cudaSuccess) e = cudaEventCreate(&to);
    hone_status status = e == cudaSuccess ? run(arg) : HONE_OK; /* the first loads code and fills caches */
    for (int k = 0; k < TIMED_RUNS && e == cudaSuccess && status == HONE_OK; k++) {
        e = cudaEventRecord(from, self_of(b)->stream);
        status = run(arg);
        if (e == cudaSuccess) e = cudaEventRecord(to, self_of(b)->stream);
        if (e == cudaSuccess) e = cudaEventSynchronize(to);
        if (e == cudaSuccess) e = cudaEventElapsedTime(&one, from, to);
        insert_sorted(ms, k, one);
    }
    if (from) cudaEventDestroy(from);
    if (to) cudaEventDestroy(to);
    if (status == HONE_OK && e == cudaSuccess) status = cuda_sync(b); /* a failed launch was no run */
    if (status != HONE_OK || e != cudaSuccess) cudaGetLastError(); /* else the next launch would report it as its own */
    if (status != HONE_OK) return status;
    if (e != cudaSuccess) return device_error("timing an algorithm", e);
    *microseconds = 1e3 * (double)ms[TIMED_RUNS / 2];
    return HONE_OK;
}

/* Thread-local mode: a decode thread that calls CUDA meanwhile does not spoil the record. */
static hone_status cuda_record_begin(hone_backend *b)
{
    CUDA_TRY("beginning to record", cudaStreamBeginCapture(self_of(b)->stream, cudaStreamCaptureModeThreadLocal));
    return HONE_OK;
}

/* The graph is only the recipe: what is kept is its executable form. */
static hone_status cuda_record_end(hone_backend *b, void **recorded)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    CUDA_TRY("ending the record", cudaStreamEndCapture(self_of(b)->stream, &graph));
    cudaError_t e = cudaGraphInstantiateWithFlags(&exec, graph, 0);
    cudaGraphDestroy(graph);
    if (e != cudaSuccess) return device_error("instantiating the recorded step", e);
    *recorded = exec;
    return HONE_OK;
}

/* One call launches a whole step: the CPU's cost per kernel is gone. */
static hone_status cuda_replay(hone_backend *b, void *recorded)
{
    CUDA_TRY("replaying the recorded step", cudaGraphLaunch(recorded, self_of(b)->stream));
    return HONE_OK;
}

/* The stream must be idle: the executable may still be running otherwise. */
static void cuda_record_free(hone_backend *b, void *recorded)
{
    (void)b;
    if (recorded) cudaGraphExecDestroy(recorded);
}

/* For `hone doctor`, which asks also where there is no device. */
void hone_cuda_versions(char *text, size_t text_bytes)
{
    char dnn[512];
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    size_t blas = cublasLtGetVersion();
    snprintf(text, text_bytes, "CUDA %d.%d, cuBLASLt %zu.%zu.%zu, %s", runtime / 1000, runtime % 1000 / 10,
             blas / 10000, blas / 100 % 100, blas % 100, hone_dnn_version(dnn, sizeof dnn));
}

/* What it takes to read a report of trouble: chip, memory, versions. */
static void cuda_describe(hone_backend *b, char *text, size_t text_bytes)
{
    struct cudaDeviceProp p = {.major = 0};
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (cudaGetDeviceProperties(&p, self_of(b)->device) != cudaSuccess) snprintf(p.name, sizeof p.name, "no answer");
    snprintf(text, text_bytes, "cuda:%d: %s, sm_%d%d, %.1f GiB, driver for CUDA %d.%d, built with CUDA %d.%d",
             self_of(b)->device, p.name, p.major, p.minor, (double)p.totalGlobalMem / (1 << 30), driver / 1000,
             driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

/* Buffers were freed before by whoever asked for them. */
static void cuda_close(hone_backend *b)
{
    cuda_self *s = self_of(b);
    if (s) {
        cudaStreamSynchronize(s->stream);
        hone_blas_close(b);
        hone_cuda_dnn_close(b);
        hone_cuda_libraries_close(&s->libraries);
        cudaStreamDestroy(s->stream);
    }
    free(s);
    free(b);
}

/* Says what is there and what is missing, in the words of the fix. */
static hone_status check_device(int device)
{
    int count = 0, driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return hone_fail(HONE_ERR_DEVICE, "install an NVIDIA driver, or use --device cpu",
                         "cuda: no NVIDIA driver is loaded");
    if (driver / 1000 < runtime / 1000)
        return hone_fail(HONE_ERR_DEVICE, "update the NVIDIA driver, or use --device cpu",
                         "cuda: the driver supports CUDA %d.%d, this build needs CUDA %d", driver / 1000,
                         driver % 1000 / 10, runtime / 1000);
    CUDA_TRY("counting devices", cudaGetDeviceCount(&count));
    if (device >= count)
        return hone_fail(HONE_ERR_DEVICE, "name a device that `hone doctor` lists", "cuda:%d was asked for, %d present",
                         device, count);
    int major = 0;
    CUDA_TRY("asking the device", cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    if (major < 8)
        return hone_fail(HONE_ERR_DEVICE, "use a GPU of the Ampere generation or later, or --device cpu",
                         "cuda:%d has compute capability %d.x, hone needs 8.0", device, major);
    CUDA_TRY("choosing the device", cudaSetDevice(device));
    return HONE_OK;
}

/* Choices hold for one chip, driver and set of libraries. 32 MiB of scratch is what NVIDIA advises for cuBLAS on
 * Hopper, 4 MiB before (cublasSetWorkspace). */
static hone_status open_libraries(cuda_self *s)
{
    struct cudaDeviceProp p = {.major = 0};
    char machine[HONE_TUNE_TEXT_BYTES];
    int driver = 0;
    CUDA_TRY("asking the device", cudaGetDeviceProperties(&p, s->device));
    CUDA_TRY("asking the driver", cudaDriverGetVersion(&driver));
    snprintf(machine, sizeof machine, "%.200s sm_%d%d, %d multiprocessors; driver %d; cuBLASLt %zu", p.name, p.major,
             p.minor, p.multiProcessorCount, driver, cublasLtGetVersion());
    s->libraries.work_bytes_most = (size_t)(p.major >= 9 ? 32 : 4) << 20;
    return hone_cuda_libraries_open(&s->libraries, machine, true);
}

/* Errors: DEVICE with the fix in the hint, MEMORY. The device stays the calling thread's current one. */
hone_status hone_cuda_open(int device, hone_backend **out)
{
    HONE_TRY(check_device(device));
    hone_backend *b = calloc(1, sizeof *b);
    cuda_self *s = calloc(1, sizeof *s);
    if (!b || !s) {
        free(b);
        free(s);
        return hone_fail(HONE_ERR_MEMORY, NULL, "cuda: no memory for the backend");
    }
    *b = (hone_backend){.name = "cuda",
                        .real = HONE_F32,
                        .precisions = 1u << HONE_PRECISION_TF32 | 1u << HONE_PRECISION_BF16 | 1u << HONE_PRECISION_FP16,
                        .best = HONE_PRECISION_BF16,
                        .fuses = true,
                        .alloc = cuda_alloc,
                        .free = cuda_free,
                        .upload = cuda_upload,
                        .download = cuda_download,
                        .sync = cuda_sync,
                        .record_begin = cuda_record_begin,
                        .record_end = cuda_record_end,
                        .replay = cuda_replay,
                        .record_free = cuda_record_free,
                        .copy = hone_cuda_copy,
                        .lane_open = hone_cuda_lane_open,
                        .lane_wait = hone_cuda_lane_wait,
                        .lane_send = hone_cuda_lane_send,
                        .lane_close = hone_cuda_lane_close,
                        .close = cuda_close,
                        .describe = cuda_describe,
                        .tuning_load = hone_cuda_tuning_load,
                        .tuning_save = hone_cuda_tuning_save,
                        .self = s};
    s->device = device;
    cudaError_t e = cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking);
    if (e != cudaSuccess) {
        free(b);
        free(s);
        return device_error("creating the compute stream", e);
    }
    hone_status status = open_libraries(s);
    if (status != HONE_OK) {
        cuda_close(b);
        return status;
    }
    hone_cuda_fill(b);
    *out = b;
    return HONE_OK;
}
