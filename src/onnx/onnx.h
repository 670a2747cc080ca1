/* onnx.h - an ONNX model in memory: what the writer writes, the reader reads and the interpreter walks.
 *
 * Only what hone writes has a place here: one graph, no subgraphs, no functions, tensors of at most 8 axes. Names,
 * attributes and small arrays live in the model's arena and die with it; weights are pointers into memory of
 * whoever owns them (the hone_model, the bytes of a file), so that a file is written without a second copy.
 * Memory failure is sticky, as in hone_text: builders go on with empty results, hone_onnx_status says it at the end. */
#ifndef HONE_ONNX_ONNX_H
#define HONE_ONNX_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/status.h"

enum { HONE_ONNX_RANK = 8 };

/* TensorProto.DataType, those in use. */
typedef enum hone_onnx_type {
    HONE_ONNX_FLOAT = 1,
    HONE_ONNX_UINT8 = 2,
    HONE_ONNX_INT8 = 3,
    HONE_ONNX_INT32 = 6,
    HONE_ONNX_INT64 = 7,
    HONE_ONNX_BOOL = 9,
    HONE_ONNX_FLOAT16 = 10,
    HONE_ONNX_DOUBLE = 11
} hone_onnx_type;

/* AttributeProto.AttributeType, those in use. */
typedef enum hone_onnx_kind {
    HONE_ONNX_ATTR_FLOAT = 1,
    HONE_ONNX_ATTR_INT = 2,
    HONE_ONNX_ATTR_STRING = 3,
    HONE_ONNX_ATTR_INTS = 7
} hone_onnx_kind;

typedef struct hone_onnx_attr {
    const char *name;
    hone_onnx_kind kind;
    float f;
    int64_t i;
    const char *s;
    int count;
    const int64_t *ints; /* (count) */
} hone_onnx_attr;

/* An initializer: a named constant. */
typedef struct hone_onnx_tensor {
    const char *name;
    hone_onnx_type type;
    int rank;
    int64_t dim[HONE_ONNX_RANK];
    const void *data; /* little-endian, dense      */
    size_t bytes;
} hone_onnx_tensor;

typedef struct hone_onnx_node {
    const char *op, *name;
    int in_count, out_count, attr_count;
    const char **in, **out; /* "" where an optional input is left out */
    hone_onnx_attr *attr;
} hone_onnx_node;

/* A graph's input or output; param[k] names a free axis, else it is NULL and dim[k] counts. */
typedef struct hone_onnx_value {
    const char *name;
    hone_onnx_type type;
    int rank;
    int64_t dim[HONE_ONNX_RANK];
    const char *param[HONE_ONNX_RANK];
} hone_onnx_value;

typedef struct hone_onnx {
    int64_t ir_version, opset;
    const char *producer, *producer_version, *graph_name, *doc;
    hone_onnx_node *node;
    hone_onnx_tensor *init;
    hone_onnx_value *input, *output;
    const char **meta; /* (2 meta_count): key, value, key, value... */
    int node_count, init_count, input_count, output_count, meta_count;
    int room[5];         /* capacities of the five arrays                */
    void *arena;         /* chain of blocks                              */
    int next;            /* number of the next value that gets a name    */
    bool failed;         /* memory                                       */
    int64_t scratch[64]; /* stands in for a new item when memory is gone */
    void *file_bytes;    /* of the reader: what initializers point into  */
    void *data_bytes;    /* the same of external data                    */
} hone_onnx;

void hone_onnx_init(hone_onnx *m, int64_t opset); /* IR version by opset */
void hone_onnx_free(hone_onnx *m);                /* fine on a zeroed one */
hone_status hone_onnx_status(const hone_onnx *m) HONE_MUST_USE;

/* Zeroed memory that lives as long as the model; NULL after a failure. */
void *hone_onnx_alloc(hone_onnx *m, size_t bytes);
const char *hone_onnx_text(hone_onnx *m, const char *fmt, ...) HONE_PRINTF(2, 3); /* "" after a failure */

/* Appends to the five arrays; what is returned is zeroed, and valid until the next append; never NULL (after a
 * failure it is scratch). */
hone_onnx_node *hone_onnx_push_node(hone_onnx *m);
hone_onnx_tensor *hone_onnx_push_init(hone_onnx *m);
hone_onnx_value *hone_onnx_push_value(hone_onnx *m, bool output);
void hone_onnx_meta(hone_onnx *m, const char *key, const char *value); /* both are copied */

/* --- building: nodes of one output, whose name is returned ------------------------------------------ */
const char *hone_onnx_add(hone_onnx *m, const char *op, int count, const char *const *in);
const char *hone_onnx_unary(hone_onnx *m, const char *op, const char *x);
const char *hone_onnx_binary(hone_onnx *m, const char *op, const char *a, const char *b);
/* Attributes of the node added last. */
void hone_onnx_attr_int(hone_onnx *m, const char *name, int64_t i);
void hone_onnx_attr_float(hone_onnx *m, const char *name, float f);
void hone_onnx_attr_string(hone_onnx *m, const char *name, const char *s);
void hone_onnx_attr_ints(hone_onnx *m, const char *name, int count, const int64_t *ints);
/* Constants. `data` is not copied and must outlive the model; _i64 and _scalar copy, and give one name to equal ones. */
const char *hone_onnx_const(hone_onnx *m, const char *name, hone_onnx_type type, int rank, const int64_t *dim,
                            const void *data);
const char *hone_onnx_i64(hone_onnx *m, int count, const int64_t *values); /* a vector */
const char *hone_onnx_index(hone_onnx *m, int64_t value);                  /* of rank 0 */
const char *hone_onnx_scalar(hone_onnx *m, float value);                   /* of rank 0 */
const char *hone_onnx_double(hone_onnx *m, double value);                  /* of rank 0 */
/* Reshape to constant sizes (0 keeps the input's, -1 takes what is left), Transpose. */
const char *hone_onnx_reshape(hone_onnx *m, const char *x, int count, const int64_t *dim);
const char *hone_onnx_transpose(hone_onnx *m, const char *x, int count, const int64_t *perm);
/* Reduce* over one axis: an attribute or an input, as op and opset have it. */
const char *hone_onnx_reduce(hone_onnx *m, const char *op, const char *x, int64_t axis, bool keep);

size_t hone_onnx_type_bytes(int64_t type); /* 0 for types that have no place here */
const hone_onnx_tensor *hone_onnx_find_init(const hone_onnx *m, const char *name);
const hone_onnx_attr *hone_onnx_find_attr(const hone_onnx_node *n, const char *name); /* NULL if there is none */
int64_t hone_onnx_get_int(const hone_onnx_node *n, const char *name, int64_t standard);
float hone_onnx_get_float(const hone_onnx_node *n, const char *name, float standard);

/* Writes and fsyncs a model in place (the caller renames). Over `external_over` bytes of weights they go to PATH.data
 * beside it: protobuf ends at 2 GB. Errors: RUNTIME. */
hone_status hone_onnx_write(const hone_onnx *m, const char *path, uint64_t external_over) HONE_MUST_USE;
extern const uint64_t hone_onnx_external_over; /* the limit that files really need */

/* Reads `path`, hostile or not. DATA: not such a file; names the place and what is wrong. */
hone_status hone_onnx_read(const char *path, hone_onnx *out) HONE_MUST_USE;
/* The same of bytes that outlive `out`; `dir` is where external data lie, NULL: there are none. */
hone_status hone_onnx_parse(const char *name, const uint8_t *bytes, size_t count, const char *dir,
                            hone_onnx *out) HONE_MUST_USE;

#endif
