/* philox.h - Philox4x32-10, the one random generator of hone, in every dialect.
 *
 * Counter-based: a draw is a pure function of (key, counter), so masks, augmentation and data order
 * do not depend on threads, launch shapes or resume. Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011; the test holds the paper's known answers.
 * Convention: key = (seed low, seed high ^ stream); counter = (index low, index high, step low, step high). */
#ifndef HONE_PHILOX_H
#define HONE_PHILOX_H

#include <stdint.h>

#ifndef HONE_HOST_DEVICE
#ifdef __CUDACC__
#define HONE_HOST_DEVICE __host__ __device__
#else
#define HONE_HOST_DEVICE
#endif
#endif

typedef struct hone_philox4 { uint32_t v[4]; } hone_philox4;

/* Stream ids keep the uses of one seed apart; dropout nodes take HONE_STREAM_DROPOUT + their number. */
enum {
    HONE_STREAM_INIT = 1, HONE_STREAM_SHUFFLE = 2, HONE_STREAM_SPLIT = 3, HONE_STREAM_AUGMENT = 4,
    HONE_STREAM_SYNTHETIC = 5, HONE_STREAM_DROPOUT = 1000
};

HONE_HOST_DEVICE static inline hone_philox4 hone_philox(uint64_t seed, uint32_t stream, uint64_t index, uint64_t step)
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)step, c3 = (uint32_t)(step >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32) ^ stream;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1; c3 = (uint32_t)p0; c0 = n0; c2 = n2;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    hone_philox4 r = {{c0, c1, c2, c3}};
    return r;
}

/* Uniform in [0, 1) with 24 bits: exact in float, the same on every dialect. */
HONE_HOST_DEVICE static inline float hone_uniform(uint32_t bits) { return (float)(bits >> 8) * 5.9604644775390625e-8f; }

/* Dropout's rule on every dialect: element i of a tensor is kept when the draw is >= p. One Philox
 * call serves four neighbours: index = i / 4, word = i % 4. */
HONE_HOST_DEVICE static inline int hone_dropout_keep(uint64_t seed, uint32_t stream, uint64_t step, uint64_t i, float p)
{
    hone_philox4 r = hone_philox(seed, stream, i >> 2, step);
    return hone_uniform(r.v[i & 3]) >= p;
}

/* Ragged attention's dropout: probabilities of one query and head have 2^20 counters, more than a text has tokens. */
enum { HONE_KEEP_KEYS = 20 };

/* Augmentation of one sample (image_batch) on every dialect, a function of (seed, stream, epoch, sample)
 * only: pixel (h, w) of the crop is pixel (h + dy, w + dx) of the image, dy and dx in -pad..pad, then
 * with probability `flip` the crop is mirrored left to right. Word 0 = dy, 1 = dx, 2 = flip. */
typedef struct hone_augment { int32_t dy, dx, flip; } hone_augment;

HONE_HOST_DEVICE static inline hone_augment hone_augment_draw(uint64_t seed, uint32_t stream, uint64_t sample,
                                                              uint64_t epoch, int32_t pad, float flip)
{
    hone_philox4 r = hone_philox(seed, stream, sample, epoch);
    hone_augment a;
    uint32_t span = 2u * (uint32_t)pad + 1u;
    a.dy = (int32_t)(r.v[0] % span) - pad;
    a.dx = (int32_t)(r.v[1] % span) - pad;
    a.flip = hone_uniform(r.v[2]) < flip;
    return a;
}

#endif
