/* memory.h - large blocks that are written once from end to end: tables and files of half a gigabyte. */
#ifndef HONE_CORE_MEMORY_H
#define HONE_CORE_MEMORY_H

#include <stddef.h>

/* malloc, but a block of some megabytes begins at a huge page and asks for such: a page fault per 2 MiB instead of one
 * per 4 KiB. NULL: memory. free() it; realloc() may lose the pages. */
void *hone_big_alloc(size_t bytes);

#endif
