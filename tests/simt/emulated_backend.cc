/* emulated_backend.cc - the CUDA dialect's table over the SIMT emulator: libhone_emulated.so.
 *
 * Has the same entry symbol as libhone_cuda.so, so `--device emulated` of a test build runs the real
 * launchers, the planner's offsets and the recorded step on a machine without a GPU. Recording keeps
 * the queued launches and replays them, as a CUDA graph does: arguments are frozen, memory is not. */
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "blas.h"
#include "cuda.h"
#include "dnn.h"
#include "lane.h"
#include "libraries.h"
#include "simt.h"

struct emulated_self {
    bool recording = false;
    const char *failed_kernel = nullptr; /* first launch that CUDA would have refused */
    std::string library_words;           /* of the first library call that failed in a launch */
    hone_cuda_libraries libraries = {};
    unsigned clock = 1;
};

static emulated_self *self_of(hone_backend *b) { return (emulated_self *)b->self; }

extern "C" void hone_cuda_launched(hone_backend *b, const char *kernel, int error)
{
    b->launched++;
    if (error && !self_of(b)->failed_kernel) self_of(b)->failed_kernel = kernel;
}

extern "C" void hone_cuda_library_failed(hone_backend *b, const char *words)
{
    if (self_of(b)->library_words.empty()) self_of(b)->library_words = words;
}

static hone_status emulated_alloc(hone_backend *b, size_t bytes, void **out)
{
    *out = simt::device_alloc(bytes ? bytes : 1);
    if (!*out) return hone_fail(HONE_ERR_MEMORY, "use a smaller batch", "%s: no memory for %zu bytes", b->name, bytes);
    simt::fill(*out, 0, bytes ? bytes : 1);
    return HONE_OK;
}

static void emulated_free(hone_backend *, void *ptr) { simt::device_free(ptr); }

static hone_status emulated_sync(hone_backend *b)
{
    simt::synchronize();
    const char *kernel = self_of(b)->failed_kernel;
    self_of(b)->failed_kernel = nullptr;
    if (kernel) return hone_fail(HONE_ERR_DEVICE, NULL, "%s: the launch of %s has an invalid configuration", b->name, kernel);
    std::string words;
    words.swap(self_of(b)->library_words);
    if (!words.empty()) return hone_fail(HONE_ERR_DEVICE, NULL, "%s: %s", b->name, words.c_str());
    return HONE_OK;
}

/* There is one stream and it has no name; library glue passes it on unseen. */
extern "C" struct CUstream_st *hone_cuda_stream(hone_backend *) { return nullptr; }

extern "C" hone_cuda_libraries *hone_cuda_libraries_of(hone_backend *b) { return &self_of(b)->libraries; }

/* Nothing can be timed here: a sequence of numbers that HONE_SIMT_CLOCK starts makes any candidate win, the same ones
 * in every process. */
extern "C" hone_status hone_cuda_time(hone_backend *b, hone_status (*run)(void *arg), void *arg, double *microseconds)
{
    HONE_TRY(run(arg));
    unsigned *clock = &self_of(b)->clock;
    *clock = *clock * 1664525u + 1013904223u;
    *microseconds = 1 + (*clock >> 16) % 1000;
    return emulated_sync(b);
}

static hone_status emulated_upload(hone_backend *, void *to, const void *from, size_t bytes)
{
    if (bytes) simt::copy(to, from, bytes, true);
    return HONE_OK;
}

static hone_status emulated_download(hone_backend *b, void *to, const void *from, size_t bytes)
{
    if (bytes) simt::copy(to, from, bytes, false);
    return emulated_sync(b);
}

static hone_status emulated_record_begin(hone_backend *b)
{
    HONE_TRY(emulated_sync(b));
    simt::record_begin();
    self_of(b)->recording = true;
    return HONE_OK;
}

static hone_status emulated_record_end(hone_backend *b, void **recorded)
{
    self_of(b)->recording = false;
    *recorded = simt::record_end();
    return HONE_OK;
}

static hone_status emulated_replay(hone_backend *, void *recorded)
{
    simt::record_replay(recorded);
    return HONE_OK;
}

static void emulated_record_free(hone_backend *, void *recorded) { simt::record_free(recorded); }

static void emulated_describe(hone_backend *, char *text, size_t text_bytes)
{
    const char *schedule = getenv("HONE_SIMT");
    snprintf(text, text_bytes, "emulated: the CUDA kernels on the SIMT emulator, schedule %s", schedule ? schedule : "order");
}

static void emulated_close(hone_backend *b)
{
    simt::synchronize();
    hone_blas_close(b);
    hone_cuda_dnn_close(b);
    hone_cuda_libraries_close(&self_of(b)->libraries);
    delete self_of(b);
    free(b);
}

extern "C" hone_status hone_cuda_open(int, hone_backend **out)
{
    hone_backend *b = (hone_backend *)calloc(1, sizeof *b);
    if (!b) return hone_fail(HONE_ERR_MEMORY, NULL, "emulated: no memory for the backend");
    b->name = "emulated";
    b->real = HONE_F32;
    b->precisions = 1u << HONE_PRECISION_TF32 | 1u << HONE_PRECISION_BF16 | 1u << HONE_PRECISION_FP16;
    b->best = HONE_PRECISION_FP32; /* the CPU's curves are what it is compared with; 16 bits when asked */
    b->fuses = true;
    b->threads = 1;
    b->alloc = emulated_alloc;
    b->free = emulated_free;
    b->upload = emulated_upload;
    b->download = emulated_download;
    b->sync = emulated_sync;
    b->record_begin = emulated_record_begin;
    b->record_end = emulated_record_end;
    b->replay = emulated_replay;
    b->record_free = emulated_record_free;
    b->copy = hone_cuda_copy;
    b->lane_open = hone_cuda_lane_open;
    b->lane_wait = hone_cuda_lane_wait;
    b->lane_send = hone_cuda_lane_send;
    b->lane_close = hone_cuda_lane_close;
    b->close = emulated_close;
    b->describe = emulated_describe;
    b->tuning_load = hone_cuda_tuning_load;
    b->tuning_save = hone_cuda_tuning_save;
    emulated_self *self = new emulated_self;
    b->self = self;
    if (const char *clock = getenv("HONE_SIMT_CLOCK")) self->clock = (unsigned)atoi(clock);
    self->libraries.work_bytes_most = 1 << 20;
    hone_status status = hone_cuda_libraries_open(&self->libraries, "emulated device", false);
    if (status != HONE_OK) {
        emulated_close(b);
        return status;
    }
    hone_cuda_fill(b);
    simt::set_schedule(nullptr); /* HONE_SIMT may have changed since the last device of this process */
    *out = b;
    return HONE_OK;
}
