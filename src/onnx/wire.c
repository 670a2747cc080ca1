/* wire.c - see wire.h. The format: developers.google.com/protocol-buffers/docs/encoding. */
#include "onnx/wire.h"

#include <string.h>

enum { TYPE_VARINT = 0, TYPE_BYTES = 2, TYPE_FIXED32 = 5 };

/* Large pieces pass the buffer by. */
static void put(hone_wire *w, const void *data, size_t bytes)
{
    w->bytes += bytes;
    if (!w->file || w->status != HONE_OK) return;
    if (w->held + bytes > sizeof w->buffer) w->status = hone_wire_flush(w);
    if (w->status != HONE_OK) return;
    if (bytes > sizeof w->buffer) {
        w->status = hone_out_write(w->file, data, bytes);
        return;
    }
    memcpy(w->buffer + w->held, data, bytes);
    w->held += bytes;
}

/* After an error nothing more is written, and the error stays. */
hone_status hone_wire_flush(hone_wire *w)
{
    if (w->status == HONE_OK && w->held) w->status = hone_out_write(w->file, w->buffer, w->held);
    w->held = 0;
    return w->status;
}

/* Seven bits a byte, the lowest first. */
static void put_varint(hone_wire *w, uint64_t value)
{
    uint8_t byte[10];
    size_t n = 0;
    do {
        byte[n] = (uint8_t)(value & 127);
        value >>= 7;
        if (value) byte[n] |= 128;
        n++;
    } while (value);
    put(w, byte, n);
}

static void put_tag(hone_wire *w, int field, int type) { put_varint(w, (uint64_t)field << 3 | (uint64_t)type); }

/* Signed numbers as their 64 bits, which is how protobuf's int64 goes. */
void hone_wire_int(hone_wire *w, int field, int64_t value)
{
    put_tag(w, field, TYPE_VARINT);
    put_varint(w, (uint64_t)value);
}

/* x86-64 and arm64 are little-endian, as the format is. */
void hone_wire_float(hone_wire *w, int field, float value)
{
    put_tag(w, field, TYPE_FIXED32);
    put(w, &value, sizeof value);
}

/* Strings and packed data look alike on the wire. */
void hone_wire_text(hone_wire *w, int field, const char *text) { hone_wire_bytes(w, field, text, strlen(text)); }

void hone_wire_bytes(hone_wire *w, int field, const void *data, size_t bytes)
{
    put_tag(w, field, TYPE_BYTES);
    put_varint(w, bytes);
    put(w, data, bytes);
}

/* Messages nest four deep, and counting passes data by: the first pass costs little. */
void hone_wire_message(hone_wire *w, int field, hone_wire_body body, const void *arg)
{
    hone_wire count = {0};
    body(&count, arg);
    put_tag(w, field, TYPE_BYTES);
    put_varint(w, count.bytes);
    if (w->file) body(w, arg);
    else w->bytes += count.bytes;
}
