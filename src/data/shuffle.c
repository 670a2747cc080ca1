/* shuffle.c - the permutation of an epoch (Fisher-Yates; Durstenfeld, CACM 7, 1964) on Philox draws.
 *
 * No state is carried from epoch to epoch, so resume needs two integers. It must stay as it is:
 * another draw order would change every resumed run. */
#include "data/order.h"
#include "hone/philox.h"

/* floor(r * n / 2^64) for n < 2^32: uniform in 0..n-1 with a bias below 2^-32. */
static uint32_t scale_draw(uint32_t high, uint32_t low, uint32_t n)
{
    return (uint32_t)(((uint64_t)high * n + ((uint64_t)low * n >> 32)) >> 32);
}

void hone_shuffle(uint64_t seed, int64_t epoch, int64_t count, int32_t *order)
{
    hone_philox4 r = {{0}};
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = count - 1, draw = 0; i > 0; i--, draw++) {
        /* one Philox call is two draws of 64 bits */
        if (draw % 2 == 0) r = hone_philox(seed, HONE_STREAM_SHUFFLE, (uint64_t)draw / 2, (uint64_t)epoch);
        int64_t j = scale_draw(r.v[2 * (draw % 2)], r.v[2 * (draw % 2) + 1], (uint32_t)i + 1);
        int32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}
