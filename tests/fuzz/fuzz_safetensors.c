/* fuzz_safetensors.c - safetensors files made of anything: opened with every array inside its bytes and the right size, or
 * refused; never a crash, never a read outside. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hone/io.h"
#include "io/safetensors.h"

/* Every byte of every array is read, and the shape must give its size. */
static uint64_t walk(const hone_safetensors *s)
{
    uint64_t sum = 0;
    for (int k = 0; k < hone_safetensors_count(s); k++) {
        const hone_blob *b = hone_safetensors_blob(s, k);
        size_t bytes = hone_dtype_bytes(b->dtype);
        for (int d = 0; d < b->rank; d++) bytes *= (size_t)b->dim[d];
        if (bytes != b->bytes || hone_safetensors_find(s, b->name) != b) abort();
        if ((uintptr_t)b->data % hone_dtype_bytes(b->dtype) != 0 && b->bytes) abort();
        for (size_t i = 0; i < b->bytes; i++) sum = sum * 31 + ((const uint8_t *)b->data)[i];
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_safetensors *s = NULL;
    char *copy = malloc(size + 1); /* the reader owns and frees it */
    if (!copy) return 0;
    memcpy(copy, data, size);
    copy[size] = 0;
    if (hone_safetensors_from_memory("fuzz", copy, size, &s) != HONE_OK) {
        if (!hone_error_message()[0]) abort(); /* a refusal says why */
        return 0;
    }
    (void)walk(s);
    (void)hone_safetensors_metadata(s, "format");
    hone_safetensors_close(s);
    return 0;
}
