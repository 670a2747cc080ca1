/* emulated_lane.cc - the lane verbs on the emulator: the host's bytes are read as late as CUDA may read them.
 *
 * A send queues a copy that looks at the host buffer only when the queue runs, so a buffer that is overwritten
 * without lane_wait brings the wrong bytes, and a second send without a wait is refused: both would be races. */
#include <cstdlib>
#include <cstring>

#include "lane.h"
#include "simt.h"

struct emulated_lane {
    hone_lane lane;
    bool under_way;
};

extern "C" {
hone_status hone_cuda_lane_open(hone_backend *b, size_t bytes, hone_lane **out)
{
    emulated_lane *l = (emulated_lane *)calloc(1, sizeof *l);
    if (l) l->lane.bytes = bytes ? bytes : 1;
    if (l) l->lane.host = malloc(l->lane.bytes);
    *out = l ? &l->lane : nullptr;
    if (l && l->lane.host) return HONE_OK;
    free(l);
    *out = nullptr;
    return hone_fail(HONE_ERR_MEMORY, "use a smaller batch", "%s: no memory for a lane of %zu bytes", b->name, bytes);
}

hone_status hone_cuda_lane_wait(hone_backend *, hone_lane *lane)
{
    emulated_lane *l = (emulated_lane *)lane;
    if (l->under_way) simt::synchronize();
    l->under_way = false;
    memset(lane->host, 0xA5, lane->bytes); /* nobody may count on the last batch */
    return HONE_OK;
}

hone_status hone_cuda_lane_send(hone_backend *b, hone_lane *lane, void *to, size_t bytes)
{
    emulated_lane *l = (emulated_lane *)lane;
    if (l->under_way) return hone_fail(HONE_ERR_DEVICE, NULL, "%s: two sends in one lane without a wait", b->name);
    if (bytes > lane->bytes) return hone_fail(HONE_ERR_DEVICE, NULL, "%s: %zu bytes in a lane of %zu", b->name, bytes, lane->bytes);
    l->under_way = true;
    simt::copy_later(to, lane->host, bytes);
    return HONE_OK;
}

void hone_cuda_lane_close(hone_backend *, hone_lane *lane)
{
    if (!lane) return;
    simt::synchronize();
    free(lane->host);
    free(lane);
}
}
