/* dialect.h - what the dialects of kernels/ share with registry.c, and nothing else.
 *
 * A dialect is a function that fills the table of a hone_backend whose host verbs and thread count
 * are already set. Nothing here knows graphs, and nothing in kernels/ includes a file of src/. */
#ifndef HONE_KERNELS_DIALECT_H
#define HONE_KERNELS_DIALECT_H

#include "hone/backend.h"

void hone_ref32_fill(hone_backend *b);  /* kernels/ref in float: every op but reshape              */
void hone_ref64_fill(hone_backend *b);  /* the same sources in double                              */
void hone_cpu_overlay(hone_backend *b); /* kernels/cpu/table.c: puts its rows over those of ref    */
hone_status hone_cpu_roof(const hone_backend *b, double *flop_per_second, double *bytes_per_second); /* cpu/roof.c */

/* Entry symbol of libhone_cuda.so. Errors: DEVICE with the reason. */
#define HONE_CUDA_ENTRY "hone_cuda_open"
typedef hone_status (*hone_cuda_open_fn)(int device, hone_backend **out);
/* Second symbol: the libraries that the plugin computes with, their versions, what is missing and the fix. Needs no
 * device; never fails. */
#define HONE_CUDA_VERSIONS "hone_cuda_versions"
typedef void (*hone_cuda_versions_fn)(char *text, size_t text_bytes);

int hone_cpu_count(void); /* of libhone_core: cores this process may run on, >= 1 */

#endif
