/* device_memory.cc - device allocations: filled with 0xFF, fenced, and closed to host code under ASan,
 * so that the host touching a device pointer is an error at the place where it happens. */
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>

#include "device_memory.h"
#include "schedule.h"
#include "simt.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace simt {

static const size_t FENCE = 256;
static const unsigned char FENCE_BYTE = 0xA5;

static std::map<char *, size_t> &allocations()
{
    static std::map<char *, size_t> a;
    return a;
}

void guard_close(const void *at, size_t bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(at, bytes);
#else
    (void)at;
    (void)bytes;
#endif
}

void guard_open(const void *at, size_t bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#else
    (void)at;
    (void)bytes;
#endif
}

void guard_device(bool closed)
{
    for (auto &a : allocations()) closed ? guard_close(a.first, a.second) : guard_open(a.first, a.second);
}

/* Addresses without memory behind them: a dry run touches none, and may be larger than the machine. */
static std::map<void *, size_t> &reserved()
{
    static std::map<void *, size_t> r;
    return r;
}

static void *reserve(size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return nullptr;
    reserved()[at] = bytes;
    return at;
}

static bool unreserve(void *ptr)
{
    auto it = reserved().find(ptr);
    if (it == reserved().end()) return false;
    munmap(ptr, it->second);
    reserved().erase(it);
    return true;
}

/* The last range of `ranges` that begins at or before `at`, does it hold all? */
template <typename K> static bool holds(const std::map<K, size_t> &ranges, K at, size_t bytes)
{
    auto it = ranges.upper_bound(at);
    if (it == ranges.begin()) return false;
    --it;
    size_t from = (size_t)((char *)at - (char *)it->first);
    return from <= it->second && bytes <= it->second - from;
}

bool device_holds(const void *at, size_t bytes)
{
    return holds(allocations(), (char *)at, bytes) || holds(reserved(), (void *)at, bytes);
}

void *device_alloc(size_t bytes)
{
    if (schedule_dry()) return reserve(bytes);
    size_t rounded = (bytes + FENCE - 1) / FENCE * FENCE;
    char *base = (char *)aligned_alloc(FENCE, rounded + 2 * FENCE);
    if (!base) return nullptr;
    memset(base, FENCE_BYTE, rounded + 2 * FENCE);
    char *at = base + FENCE;
    memset(at, 0xFF, bytes);
    guard_close(base, FENCE);
    guard_close(at + bytes, rounded - bytes + FENCE);
    allocations()[at] = bytes;
    guard_close(at, bytes);
    return at;
}

void device_free(void *ptr)
{
    if (!ptr || unreserve(ptr)) return;
    synchronize();
    auto it = allocations().find((char *)ptr);
    if (it == allocations().end()) {
        report({"device_free", 0}, "%p was not allocated", ptr);
        return;
    }
    char *base = it->first - FENCE;
    size_t bytes = it->second, rounded = (bytes + FENCE - 1) / FENCE * FENCE;
    guard_open(base, rounded + 2 * FENCE);
    bool before = false, past = false;
    for (size_t k = 0; k < FENCE; k++) before |= (unsigned char)base[k] != FENCE_BYTE;
    for (size_t k = FENCE + bytes; k < rounded + 2 * FENCE; k++) past |= (unsigned char)base[k] != FENCE_BYTE;
    if (before || past) report({"device_free", 0}, "write %s an allocation of %zu bytes", before ? "before" : "past", bytes);
    allocations().erase(it);
    free(base);
}

} // namespace simt
