/* libraries.h - what the glue of cuBLASLt and of cuDNN shares: the tuning cache, timing, random data, switches.
 *
 * One hone_cuda_libraries hangs on each backend of the dialect, on the GPU and on the emulated device alike; what
 * differs between the two (the verbs marked "both") is in cuda_backend.c and in tests/simt. No CUDA header here.
 * Order of business in prepare: state the problem as text, look for its choice (hone_tune_find), else time the
 * candidates on random data (hone_tune_choose over hone_cuda_time), and say the choice in node->choice. */
#ifndef HONE_KERNELS_CUDA_LIBRARIES_H
#define HONE_KERNELS_CUDA_LIBRARIES_H

#include "cuda.h"
#include "tune.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_cuda_libraries {
    hone_tune *tune;
    bool keeps_cache;       /* the user's cache is read and written; not on the emulated device        */
    size_t work_bytes_most; /* scratch that one library call may ask for                               */
    void *blas;             /* handle of blas_lt.c, NULL before the first use; closed by hone_blas_close */
    void *dnn;              /* the same of cuDNN's glue                                                */
    hone_error trouble;     /* reading the user's cache; HONE_OK: none, or said already                */
} hone_cuda_libraries;

/* Which rows go to libraries: HONE_CUDA_LIBRARIES = auto (the rule of each row; the default), own (none: our kernels
 * take all), all (whatever the library takes, however small). For tests and for measuring the rules. */
typedef enum hone_cuda_use { HONE_CUDA_USE_AUTO, HONE_CUDA_USE_OWN, HONE_CUDA_USE_ALL } hone_cuda_use;
hone_cuda_use hone_cuda_libraries_use(void);

/* `machine`: chip, driver, library versions (tune.h). Errors: MEMORY; trouble with the cache is kept, not reported. */
hone_status hone_cuda_libraries_open(hone_cuda_libraries *l, const char *machine, bool keeps_cache) HONE_MUST_USE;
/* Writes the cache where it changed, frees all but `blas` and `dnn`. Fine on a zeroed one. */
void hone_cuda_libraries_close(hone_cuda_libraries *l);
/* The two verbs of hone_backend. */
hone_status hone_cuda_tuning_load(hone_backend *b, const char *path);
hone_status hone_cuda_tuning_save(hone_backend *b, const char *path);

/* Both. Never NULL. */
hone_cuda_libraries *hone_cuda_libraries_of(hone_backend *b);
/* Both. The compute stream, and a place for the words of a library call that failed in a launch: the next sync reports
 * the first of them. */
struct CUstream_st *hone_cuda_stream(hone_backend *b);
void hone_cuda_library_failed(hone_backend *b, const char *words);
/* Both. Enqueues `run` on the compute stream several times, after one that does not count: the median of its times
 * on the device. Not while recording. Errors: what `run` returns, DEVICE. */
hone_status hone_cuda_time(hone_backend *b, hone_status (*run)(void *arg), void *arg,
                           double *microseconds) HONE_MUST_USE;
/* Uniform in [-1, 1), the same for the same seed: time is never taken on zeros, on which a GPU draws less power and
 * clocks higher. `count` elements of F32, BF16 or F16 (random.cu). */
void hone_cuda_fill_random(hone_backend *b, hone_dtype dtype, void *data, int64_t count, uint32_t seed);

#ifdef __cplusplus
}
#endif
#endif
