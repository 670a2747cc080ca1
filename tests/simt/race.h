/* race.h - what orders two CUDA threads, told to ThreadSanitizer; nothing in other builds.
 *
 * Fibers are switched without any order between them, so that the only orders are those that CUDA promises: block and
 * grid barriers, __syncwarp, begin and end of a launch. Shuffles order no memory. Everything else that touches one
 * place from two threads is a race. A tag is any byte with an address of its own: who acquires it comes behind all
 * who have released it. The runtime itself is never instrumented (its bookkeeping is not the kernel's), and must use
 * no memset or allocation on memory that kernels see: ThreadSanitizer sees those inside libc. */
#ifndef HONE_SIMT_RACE_H
#define HONE_SIMT_RACE_H

#include <cstddef>

#if defined(HONE_SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace simt
{

#if defined(HONE_SIMT_TSAN)
static const bool RACES = true;
static inline void race_release(char *tag) { __tsan_release(tag); }
static inline void race_acquire(char *tag) { __tsan_acquire(tag); }
static inline void *race_context() { return __tsan_get_current_fiber(); }
#else
static const bool RACES = false;
static inline void race_release(char *) {}
static inline void race_acquire(char *) {}
static inline void *race_context() { return nullptr; }
#endif

/* memset that ThreadSanitizer can't see. */
static inline void race_fill(unsigned char *at, unsigned char byte, size_t bytes)
{
    volatile unsigned char *to = at;
    for (size_t k = 0; k < bytes; k++) to[k] = byte;
}

} // namespace simt

#endif
