/* lane.h - the lane verbs of hone_backend, by the CUDA runtime (lane.c) and on the emulator (tests/simt). */
#ifndef HONE_KERNELS_CUDA_LANE_H
#define HONE_KERNELS_CUDA_LANE_H

#include "hone/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As the verbs of the same name in backend.h. Errors: DEVICE, MEMORY. */
hone_status hone_cuda_lane_open(hone_backend *b, size_t bytes, hone_lane **out);
hone_status hone_cuda_lane_wait(hone_backend *b, hone_lane *lane);
hone_status hone_cuda_lane_send(hone_backend *b, hone_lane *lane, void *to, size_t bytes);
void hone_cuda_lane_close(hone_backend *b, hone_lane *lane);

#ifdef __cplusplus
}
#endif
#endif
