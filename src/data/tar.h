/* tar.h - the members of a tar archive: where each begins and how long it is. Nothing is unpacked.
 *
 * Read are ustar (POSIX.1-1988), pax headers (POSIX.1-2001: path and size) and GNU's long names. Every header's checksum
 * must be right, every member must lie within the file, and two zero blocks must end it with nothing but zeros behind:
 * a cut, altered or concatenated archive is refused by place, never read in part. */
#ifndef HONE_DATA_TAR_H
#define HONE_DATA_TAR_H

#include "data/files.h"

/* `name` is valid during the call: "./" at the start is taken off, never empty. Regular files only. Not HONE_OK: stops. */
typedef hone_status hone_tar_member(void *arg, const char *name, int64_t offset, int64_t bytes);

/* Calls `member` for each regular file in the order of the archive. *odd (may be NULL) counts links, devices and their
 * like, which are passed over. Errors: DATA, "PATH: byte 1024: ..." with what is wrong there; MEMORY. */
hone_status hone_tar_index(const char *path, hone_tar_member *member, void *arg, int64_t *odd) HONE_MUST_USE;

#endif
