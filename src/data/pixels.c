/* pixels.c - which loops of pixels.h run here, and the plain ones of the resize. HONE_CPU_X86 (0 or 1, from the build) tells
 * whether there are others; the answer is worked out at each call, as it costs nothing beside a picture and needs no state. */
#include "data/pixels.h"

#include <stdlib.h>
#include <string.h>

#define AVX2_0(x) NULL
#define AVX2_1(x) (has_avx2() ? &(x) : NULL)
#define AVX2__(n) AVX2_##n
#define AVX2_(n)  AVX2__(n)

/* What x86-64-v3 means beyond v2, unless the environment keeps to the plain set. */
#define HAS_0 false
#define HAS_1                                                                                                          \
    (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&               \
     __builtin_cpu_supports("bmi2"))
#define HAS__(n) HAS_##n
#define HAS_(n)  HAS__(n)
static inline bool has_avx2(void)
{
    const char *wanted = getenv("HONE_CPU_ISA");
    return HAS_(HONE_CPU_X86) && !(wanted && strcmp(wanted, "base") == 0);
}

/* Weights are >= 0, so only rounding can pass 255. */
static inline uint8_t clip(int32_t sum)
{
    int32_t v = sum >> HONE_RESIZE_BITS;
    return (uint8_t)(v > 255 ? 255 : v);
}

/* `c` is a constant at each call, so the inner loop unrolls. */
static inline void across(const uint8_t *in, int h, int w, int c, uint8_t *out, const hone_resize_axis *a)
{
    for (int y = 0; y < h; y++, in += (size_t)w * (size_t)c)
        for (int x = 0; x < a->out; x++, out += c) {
            const int32_t *k = a->weight + (size_t)x * (size_t)a->taps;
            const uint8_t *p = in + (size_t)a->first[x] * (size_t)c;
            int32_t sum[4] = {1 << (HONE_RESIZE_BITS - 1), 1 << (HONE_RESIZE_BITS - 1), 1 << (HONE_RESIZE_BITS - 1)};
            for (int t = 0; t < a->used[x]; t++, p += c)
                for (int i = 0; i < c; i++) sum[i] += p[i] * k[t];
            for (int i = 0; i < c; i++) out[i] = clip(sum[i]);
        }
}

static void plain_rgb(const uint8_t *in, int h, int w, uint8_t *out, const hone_resize_axis *a, uint8_t *line)
{
    (void)line;
    across(in, h, w, 3, out, a);
}

static void plain_grey(const uint8_t *in, int h, int w, uint8_t *out, const hone_resize_axis *a)
{
    across(in, h, w, 1, out, a);
}

/* Stretches of a row that stay in the nearest cache while all taps are added. */
static void plain_down(const uint8_t *in, int n, uint8_t *out, const hone_resize_axis *a)
{
    enum { STRETCH = 256 };
    for (int y = 0; y < a->out; y++, out += n)
        for (int begin = 0; begin < n; begin += STRETCH) {
            int32_t sum[STRETCH];
            int m = n - begin < STRETCH ? n - begin : STRETCH;
            for (int i = 0; i < m; i++) sum[i] = 1 << (HONE_RESIZE_BITS - 1);
            for (int t = 0; t < a->used[y]; t++) {
                const uint8_t *p = in + (size_t)(a->first[y] + t) * (size_t)n + begin;
                int32_t k = a->weight[(size_t)y * (size_t)a->taps + (size_t)t];
                for (int i = 0; i < m; i++) sum[i] += p[i] * k;
            }
            for (int i = 0; i < m; i++) out[begin + i] = clip(sum[i]);
        }
}

const hone_resize_loops *hone_resize_loops_pick(void)
{
    static const hone_resize_loops plain = {plain_rgb, plain_grey, plain_down};
    const hone_resize_loops *best = AVX2_(HONE_CPU_X86)(hone_resize_loops_avx2);
    return best ? best : &plain;
}
