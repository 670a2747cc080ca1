/* tfevents.h - the figures of a run as TensorBoard reads them: RUN/events.out.tfevents.SECONDS.HOST.PID.N, one file
 * a start of the run. A resumed run tells the reader from which step on older files are void.
 *
 * A copy for another program's eyes: metrics.jsonl is the record. After a failure the file ends in a whole record and
 * takes no more; training goes on. */
#ifndef HONE_IO_TFEVENTS_H
#define HONE_IO_TFEVENTS_H

#include <stdint.h>

#include "core/text.h"

typedef struct hone_tfevents {
    int fd; /* -1: closed */
    char *path;
    int64_t bytes;
} hone_tfevents;

typedef struct hone_scalar {
    const char *tag; /* "train/loss" */
    double value;    /* written as a float; what is not finite is left out */
} hone_scalar;

/* A new file; `step` is where this start of the run begins. Errors: RUNTIME, MEMORY. */
hone_status hone_tfevents_open(hone_tfevents *f, const char *run_dir, int64_t step) HONE_MUST_USE;
/* One event. Nothing where the file is closed. */
hone_status hone_tfevents_add(hone_tfevents *f, int64_t step, const hone_scalar *scalar, int count) HONE_MUST_USE;
void hone_tfevents_close(hone_tfevents *f); /* fine on a zeroed one whose path is NULL */

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes` bytes. */
uint32_t hone_crc32c(const void *data, size_t bytes);

#endif
