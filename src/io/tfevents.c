/* tfevents.c - TensorFlow's event files, written by hand: a few messages of protocol buffers in TFRecord frames.
 *
 *   frame   u64 length | u32 masked crc(length) | data | u32 masked crc(data)     all little-endian
 *   Event   1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log {1 status: START = 1}
 *   Summary 1 value {1 tag string, 2 simple_value float}
 * (tensorflow/core/util/event.proto, summary.proto; lib/io/record_writer.h) */
#include "io/tfevents.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/file.h"

/* Bit by bit: some hundred bytes a line of the log need no table. */
uint32_t hone_crc32c(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t k = 0; k < bytes; k++) {
        crc ^= p[k];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* Masked, so that a CRC of data that hold CRCs stays a good one. */
static uint32_t masked(const void *data, size_t bytes)
{
    uint32_t crc = hone_crc32c(data, bytes);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* --- protocol buffers -------------------------------------------------------------------------------------- */

static void put_fixed(hone_text *t, uint64_t value, int bytes)
{
    for (int k = 0; k < bytes; k++) hone_text_append(t, (char[]){(char)(value >> 8 * k)}, 1);
}

static void put_varint(hone_text *t, uint64_t value)
{
    for (; value > 0x7F; value >>= 7) hone_text_append(t, (char[]){(char)(value | 0x80)}, 1);
    hone_text_append(t, (char[]){(char)value}, 1);
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */

static void put_key(hone_text *t, int field, int wire) { put_varint(t, (uint64_t)(field << 3 | wire)); }

static void put_bytes(hone_text *t, int field, const void *data, size_t bytes)
{
    put_key(t, field, BYTES);
    put_varint(t, bytes);
    hone_text_append(t, data, bytes);
}

/* Every event begins with its time and its step. */
static void put_event(hone_text *t, int64_t step)
{
    struct timespec now;
    uint64_t bits;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &seconds, sizeof bits);
    put_key(t, 1, FIXED64);
    put_fixed(t, bits, 8);
    put_key(t, 2, VARINT);
    put_varint(t, (uint64_t)step);
}

static void put_scalar(hone_text *summary, const hone_scalar *s)
{
    hone_text value = {0};
    float simple = (float)s->value;
    uint32_t bits;
    memcpy(&bits, &simple, sizeof bits);
    put_bytes(&value, 1, s->tag, strlen(s->tag));
    put_key(&value, 2, FIXED32);
    put_fixed(&value, bits, 4);
    if (value.failed) summary->failed = true;
    else put_bytes(summary, 1, value.data, value.bytes);
    hone_text_free(&value);
}

/* --- the file ---------------------------------------------------------------------------------------------- */

/* Takes the message over. The append cuts the file back where it fails: no reader meets half a record. */
static hone_status write_record(hone_tfevents *f, hone_text *message)
{
    hone_text frame = {0}, length = {0};
    put_fixed(&length, message->bytes, 8);
    if (!length.failed && !message->failed) {
        hone_text_append(&frame, length.data, length.bytes);
        put_fixed(&frame, masked(length.data, length.bytes), 4);
        hone_text_append(&frame, message->data, message->bytes);
        put_fixed(&frame, masked(message->data, message->bytes), 4);
    }
    bool fine = !frame.failed && frame.bytes > 0;
    hone_status status = fine ? hone_io_append(f->fd, f->path, f->bytes, frame.data, frame.bytes)
                              : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for an event of %s", f->path);
    if (status == HONE_OK) f->bytes += (int64_t)frame.bytes;
    else hone_tfevents_close(f); /* said once: a full disk would say it on every line */
    hone_text_free(&frame);
    hone_text_free(&length);
    hone_text_free(message);
    return status;
}

/* The name is TensorBoard's pattern; it sorts by time. The last number tells files of one process and second apart. */
static char *name_of(const char *run_dir, int turn)
{
    char host[65] = "host", name[176];
    if (gethostname(host, sizeof host - 1) != 0 || !*host) snprintf(host, sizeof host, "host");
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '_';
    snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)time(NULL), host, (long)getpid(),
             turn);
    return hone_io_join(run_dir, name);
}

/* A new file, never one that is there: an older start's figures are kept. */
static hone_status create(hone_tfevents *f, const char *run_dir)
{
    enum { TURNS = 1000 };
    for (int turn = 0; turn < TURNS; turn++) {
        f->path = name_of(run_dir, turn);
        if (!f->path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
        f->fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        if (f->fd >= 0) return HONE_OK;
        if (errno != EEXIST) break;
        hone_tfevents_close(f);
    }
    hone_fail(HONE_ERR_RUNTIME, "check that the run directory can be written", "cannot create a file in %s: %s",
              run_dir, strerror(errno));
    hone_tfevents_close(f);
    return HONE_ERR_RUNTIME;
}

hone_status hone_tfevents_open(hone_tfevents *f, const char *run_dir, int64_t step)
{
    static const char version[] = "brain.Event:2";
    hone_text message = {0};
    *f = (hone_tfevents){.fd = -1};
    HONE_TRY(create(f, run_dir));
    put_event(&message, 0);
    put_bytes(&message, 3, version, sizeof version - 1);
    HONE_TRY(write_record(f, &message));
    put_event(&message, step); /* START: what older files say of this step and later ones is void */
    put_bytes(&message, 7, "\x08\x01", 2);
    return write_record(f, &message);
}

hone_status hone_tfevents_add(hone_tfevents *f, int64_t step, const hone_scalar *scalar, int count)
{
    hone_text message = {0}, summary = {0};
    if (!f->path || f->fd < 0) return HONE_OK;
    for (int k = 0; k < count; k++)
        if (isfinite(scalar[k].value)) put_scalar(&summary, &scalar[k]);
    put_event(&message, step);
    if (summary.bytes) put_bytes(&message, 5, summary.data, summary.bytes);
    message.failed |= summary.failed;
    hone_text_free(&summary);
    return write_record(f, &message);
}

void hone_tfevents_close(hone_tfevents *f)
{
    if (f->path && f->fd >= 0) close(f->fd);
    free(f->path);
    *f = (hone_tfevents){.fd = -1};
}
