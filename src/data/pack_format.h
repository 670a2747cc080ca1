/* pack_format.h - the constants of a pack, for its writer and its reader. */
#ifndef HONE_DATA_PACK_FORMAT_H
#define HONE_DATA_PACK_FORMAT_H

#include <stdint.h>

#define HONE_PACK_MAGIC "HONEPACK"
enum { HONE_PACK_VERSION = 1, HONE_PACK_PAGE = 4096, HONE_PACK_CHUNK = 256 };

/* The last 32 bytes of the file. */
typedef struct hone_pack_tail {
    uint64_t offset, bytes, hash; /* of the JSON header                                              */
    char magic[8];
} hone_pack_tail;

#endif
