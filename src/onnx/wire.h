/* wire.h - protobuf's wire format, written: tags, varints, and messages whose length comes before them.
 *
 * A message is a function that writes its fields. Run once on a wire that only counts it gives the length, run
 * again it writes; nothing is ever held in memory, so weights of any size stream through. */
#ifndef HONE_ONNX_WIRE_H
#define HONE_ONNX_WIRE_H

#include "io/file.h"

enum { HONE_WIRE_BUFFER = 1 << 14 };

typedef struct hone_wire {
    hone_out *file;     /* NULL: only count */
    uint64_t bytes;     /* so far           */
    hone_status status; /* the first error; later writes do nothing */
    size_t held;
    uint8_t buffer[HONE_WIRE_BUFFER];
} hone_wire;

typedef void (*hone_wire_body)(hone_wire *w, const void *arg);

void hone_wire_int(hone_wire *w, int field, int64_t value); /* varint; negative values take ten bytes */
void hone_wire_float(hone_wire *w, int field, float value); /* 32 bits                                */
void hone_wire_text(hone_wire *w, int field, const char *text);
void hone_wire_bytes(hone_wire *w, int field, const void *data, size_t bytes);
void hone_wire_message(hone_wire *w, int field, hone_wire_body body, const void *arg);
/* What is still in the buffer goes to the file. */
hone_status hone_wire_flush(hone_wire *w) HONE_MUST_USE;

#endif
