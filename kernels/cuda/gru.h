/* gru.h - how a recurrence is laid out: whether its weights fit on a multiprocessor, and what lies in scratch.
 *
 * A function of shapes alone, so that prepare and launch agree. CHIP_BYTES is the shared memory that every chip from
 * sm_80 on gives one block when asked (99 KiB on sm_86 and sm_89, more on sm_80 and sm_90): fp32 up to 90 units,
 * 16 bits up to 128. Elsewhere a state up to STATE_BYTES stays in shared memory, and a larger one in scratch. */
#ifndef HONE_KERNELS_CUDA_GRU_H
#define HONE_KERNELS_CUDA_GRU_H

#include <stddef.h>
#include <stdint.h>

/* Texts of a block: more of them share each weight that comes from L2; on the chip, more blocks are worth more. */
static const int GRU_TEXTS = 4, GRU_CHIP_TEXTS = 2, GRU_CHIP_TEXTS_BACK = 1;
static const size_t GRU_CHIP_BYTES = 99u << 10, GRU_STATE_BYTES = 8u << 10;

struct gru_plan {
    int on_chip, texts;
    size_t shared_bytes;                  /* of a block                                                  */
    size_t state_at, edge_at, work_bytes; /* in scratch; state_at 0: in shared memory                    */
};

static inline gru_plan gru_plan_of(int64_t B, int64_t T, int64_t H, size_t storage_bytes, int backward)
{
    gru_plan p = {};
    const int chip_texts = backward ? GRU_CHIP_TEXTS_BACK : GRU_CHIP_TEXTS;
    const size_t weight = 3 * (size_t)H * (size_t)H, text = (backward ? 4 : 2) * (size_t)H * sizeof(float);
    p.on_chip = weight * storage_bytes + (size_t)chip_texts * text <= GRU_CHIP_BYTES;
    p.texts = p.on_chip ? chip_texts : GRU_TEXTS;
    const size_t state = (size_t)p.texts * text, blocks = (size_t)((B + p.texts - 1) / p.texts);
    const int in_scratch = !p.on_chip && state > GRU_STATE_BYTES;
    p.shared_bytes = p.on_chip ? state + weight * storage_bytes : in_scratch ? 0 : state;
    /* forward: the weights turned; backward: da (T, 3H), edges (T, 2). All in multiples of 16 bytes. */
    const size_t first = backward ? (size_t)T * 3 * (size_t)H * sizeof(float) : weight * sizeof(float);
    p.edge_at = (first + 15) / 16 * 16;
    p.work_bytes = p.edge_at + (backward ? ((size_t)T * 2 * sizeof(int32_t) + 15) / 16 * 16 : 0);
    if (!in_scratch) return p;
    p.state_at = p.work_bytes;
    p.work_bytes += blocks * state;
    return p;
}

#endif
