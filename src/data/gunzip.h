/* gunzip.h - the content of a gzip file, decoded as it is asked for.
 *
 * Members may follow one another and zeros may follow the last (RFC 1952; gzip itself passes over them). Every member's
 * sum is checked, and a file that is cut, even within the sum alone, is an error: gzread of zlib takes that for an end. */
#ifndef HONE_DATA_GUNZIP_H
#define HONE_DATA_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <zlib.h>

#include "hone/status.h"

typedef struct hone_gunzip {
    const char *path; /* for messages; the caller's          */
    int fd;           /* read from where it stands; the caller's too */
    size_t chunk;     /* bytes asked of the system at once   */
    bool ended;       /* all members, each with its sum      */
    z_stream z;
    unsigned char *in; /* (chunk) packed bytes that were read last */
} hone_gunzip;

/* Whether a file begins like gzip (RFC 1952, section 2.3.1). */
bool hone_gunzip_looks(const unsigned char *magic, size_t bytes);
/* Errors: MEMORY; nothing is left to close then. */
hone_status hone_gunzip_open(const char *path, int fd, size_t chunk, hone_gunzip *out) HONE_MUST_USE;
/* Up to `want` bytes; *have is fewer only at the end. Errors: DATA for what is cut or broken. */
hone_status hone_gunzip_read(hone_gunzip *g, void *data, size_t want, size_t *have) HONE_MUST_USE;
void hone_gunzip_close(hone_gunzip *g);

#endif
