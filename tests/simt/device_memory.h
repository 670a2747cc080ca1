/* device_memory.h - memory guards of the emulator: AddressSanitizer's poison where it is built in. */
#ifndef HONE_SIMT_DEVICE_MEMORY_H
#define HONE_SIMT_DEVICE_MEMORY_H

#include <cstddef>

namespace simt
{
void guard_close(const void *at, size_t bytes); /* no one may touch these bytes  */
void guard_open(const void *at, size_t bytes);
void guard_device(bool closed);                  /* all device allocations at once */
bool device_holds(const void *at, size_t bytes); /* all of them in one allocation */
} // namespace simt

#endif
