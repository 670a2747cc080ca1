/* names.h - the rules that a graph must keep beyond the file format, and names looked up by hash. */
#ifndef HONE_ONNX_NAMES_H
#define HONE_ONNX_NAMES_H

#include "onnx/onnx.h"

/* Every name is defined once: by an input, an initializer or a node; nodes read what was defined before them (so
 * there is no cycle); outputs are defined. DATA, naming the node. */
hone_status hone_onnx_check(const hone_onnx *m, const char *file) HONE_MUST_USE;

/* Names to numbers 0, 1, 2..., in the order in which they were added. */
typedef struct hone_onnx_names {
    const char **name; /* (room), NULL where free */
    int *number;       /* (room)                  */
    int room, count;   /* room: a power of two    */
} hone_onnx_names;
hone_status hone_onnx_names_open(hone_onnx_names *n, int most) HONE_MUST_USE;
/* The number of `name`; added where it is new and `add`, else -1. `name` must outlive the table. */
int hone_onnx_names_find(hone_onnx_names *n, const char *name, bool add);
void hone_onnx_names_close(hone_onnx_names *n);

#endif
