/* lane.c - lanes of the CUDA dialect (backend.h): pinned host memory, a stream of its own, a place on the device.
 *
 *     host --(lane's stream)--> staging --(compute stream)--> to
 *
 * The long way, over the bus, runs beside the computation; the short one, on the device, is ordered with it, so that
 * `to` may be an address that a recorded step holds. Two events keep the order: `arrived` before the short copy,
 * `taken` before staging is overwritten. Must not wait for the compute stream on the host. */
#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "lane.h"

cudaStream_t hone_cuda_stream(hone_backend *b); /* cuda_backend.c */

/* The first member is what the caller sees. */
typedef struct cuda_lane {
    hone_lane lane;
    cudaStream_t stream;
    cudaEvent_t arrived, taken;
    void *staging; /* (bytes) on the device */
    bool used;
} cuda_lane;

static hone_status lane_error(const char *what, cudaError_t e)
{
    return hone_fail(e == cudaErrorMemoryAllocation ? HONE_ERR_MEMORY : HONE_ERR_DEVICE,
                     e == cudaErrorMemoryAllocation ? "use a smaller batch" : "see `hone doctor`", "cuda: %s: %s", what,
                     cudaGetErrorString(e));
}

/* Events without times are cheaper to wait for. */
static cudaError_t open_parts(cuda_lane *l)
{
    cudaError_t e = cudaMallocHost(&l->lane.host, l->lane.bytes);
    if (e == cudaSuccess) e = cudaMalloc(&l->staging, l->lane.bytes);
    if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess) e = cudaEventCreateWithFlags(&l->arrived, cudaEventDisableTiming);
    if (e == cudaSuccess) e = cudaEventCreateWithFlags(&l->taken, cudaEventDisableTiming);
    return e;
}

hone_status hone_cuda_lane_open(hone_backend *b, size_t bytes, hone_lane **out)
{
    *out = NULL;
    cuda_lane *l = calloc(1, sizeof *l);
    if (!l) return hone_fail(HONE_ERR_MEMORY, NULL, "cuda: no memory for a lane");
    l->lane.bytes = bytes ? bytes : 1;
    cudaError_t e = open_parts(l);
    if (e != cudaSuccess) {
        hone_cuda_lane_close(b, &l->lane);
        return lane_error("opening a lane to the device", e);
    }
    *out = &l->lane;
    return HONE_OK;
}

/* Only the bus is waited for, never the computation that reads what it brought. */
hone_status hone_cuda_lane_wait(hone_backend *b, hone_lane *lane)
{
    (void)b;
    cuda_lane *l = (cuda_lane *)lane;
    if (!l->used) return HONE_OK;
    cudaError_t e = cudaEventSynchronize(l->arrived);
    return e == cudaSuccess ? HONE_OK : lane_error("waiting for a copy to the device", e);
}

hone_status hone_cuda_lane_send(hone_backend *b, hone_lane *lane, void *to, size_t bytes)
{
    cuda_lane *l = (cuda_lane *)lane;
    cudaStream_t compute = hone_cuda_stream(b);
    cudaError_t e = l->used ? cudaStreamWaitEvent(l->stream, l->taken, 0) : cudaSuccess;
    if (e == cudaSuccess) e = cudaMemcpyAsync(l->staging, lane->host, bytes, cudaMemcpyHostToDevice, l->stream);
    if (e == cudaSuccess) e = cudaEventRecord(l->arrived, l->stream);
    if (e == cudaSuccess) e = cudaStreamWaitEvent(compute, l->arrived, 0);
    if (e == cudaSuccess) e = cudaMemcpyAsync(to, l->staging, bytes, cudaMemcpyDeviceToDevice, compute);
    if (e == cudaSuccess) e = cudaEventRecord(l->taken, compute);
    l->used = true;
    return e == cudaSuccess ? HONE_OK : lane_error("sending to the device", e);
}

/* Whoever still reads staging is on the compute stream, which is waited for. */
void hone_cuda_lane_close(hone_backend *b, hone_lane *lane)
{
    cuda_lane *l = (cuda_lane *)lane;
    if (!l) return;
    cudaStreamSynchronize(hone_cuda_stream(b));
    if (l->stream) cudaStreamSynchronize(l->stream);
    if (l->arrived) cudaEventDestroy(l->arrived);
    if (l->taken) cudaEventDestroy(l->taken);
    if (l->stream) cudaStreamDestroy(l->stream);
    cudaFree(l->staging);
    cudaFreeHost(lane->host);
    free(l);
}
