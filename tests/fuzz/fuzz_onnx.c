/* fuzz_onnx.c - any bytes as an ONNX file: refused, or read into a graph that keeps its rules and is written and read
 * again as the same graph. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "onnx/names.h"
#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[64];

static void clean(void) { unlink(path); }

/* What was read is written, read again and compared: the two directions agree on every field. */
static void round_trip(const hone_onnx *m)
{
    hone_onnx again;
    if (hone_onnx_write(m, path, UINT64_MAX) != HONE_OK) abort();
    if (hone_onnx_read(path, &again) != HONE_OK) {
        fprintf(stderr, "%s\n", hone_error_message());
        abort();
    }
    if (again.node_count != m->node_count || again.init_count != m->init_count || again.meta_count != m->meta_count)
        abort();
    for (int k = 0; k < m->init_count; k++)
        if (m->init[k].bytes != again.init[k].bytes ||
            memcmp(m->init[k].data, again.init[k].data, m->init[k].bytes) != 0)
            abort();
    for (int k = 0; k < m->node_count; k++)
        if (strcmp(m->node[k].op, again.node[k].op) != 0 || m->node[k].attr_count != again.node[k].attr_count) abort();
    hone_onnx_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*path) {
        const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* memory: thousands of files a second */
        snprintf(path, sizeof path, "%s/hone-fuzz-onnx-XXXXXX", tmp);
        int fd = mkstemp(path);
        if (fd < 0 || close(fd) != 0 || atexit(clean) != 0) abort();
    }
    hone_onnx m;
    if (hone_onnx_parse("fuzz", data, size, NULL, &m) != HONE_OK) return 0;
    if (hone_onnx_check(&m, "fuzz") != HONE_OK) abort();
    size_t held = 0; /* every initializer lies within the input */
    for (int k = 0; k < m.init_count; k++) {
        const uint8_t *at = m.init[k].data;
        if (at < data || at + m.init[k].bytes > data + size) abort();
        held += m.init[k].bytes;
    }
    if (held > size) abort();
    if (size < 4096) round_trip(&m);
    hone_onnx_free(&m);
    return 0;
}
