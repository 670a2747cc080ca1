/* write.c - an ONNX model into a file: field numbers of onnx.proto over the wire format (wire.h).
 *
 * Weights of a megabyte or a gigabyte are written from where they lie. Files that protobuf could not hold keep
 * their weights in PATH.data, each at a multiple of 64 bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/wire.h"

/* A message has to stay under 2^31 bytes; names and nodes take far less than the rest of this. */
const uint64_t hone_onnx_external_over = (2ull << 30) - (64u << 20);

enum { EXTERNAL_LEAST = 1024, DATA_ALIGN = 64 };

/* An initializer and, in a file of external data, where its bytes lie there. */
typedef struct placed {
    const hone_onnx_tensor *t;
    const char *location; /* NULL: in this file */
    uint64_t offset;
} placed;

typedef struct job {
    const hone_onnx *m;
    const placed *place; /* (init_count) */
} job;

/* A pair of the messages StringStringEntryProto. */
typedef struct pair {
    const char *key, *value;
} pair;

/* One StringStringEntryProto, the same for metadata and for external data. */
static void write_pair(hone_wire *w, const void *arg)
{
    const pair *p = arg;
    hone_wire_text(w, 1, p->key);
    hone_wire_text(w, 2, p->value);
}

/* One AttributeProto. */
static void write_attr(hone_wire *w, const void *arg)
{
    const hone_onnx_attr *a = arg;
    hone_wire_text(w, 1, a->name);                                    /* name */
    if (a->kind == HONE_ONNX_ATTR_FLOAT) hone_wire_float(w, 2, a->f); /* f */
    if (a->kind == HONE_ONNX_ATTR_INT) hone_wire_int(w, 3, a->i);     /* i */
    if (a->kind == HONE_ONNX_ATTR_STRING) hone_wire_text(w, 4, a->s); /* s */
    if (a->kind == HONE_ONNX_ATTR_INTS)
        for (int k = 0; k < a->count; k++) hone_wire_int(w, 8, a->ints[k]);
    hone_wire_int(w, 20, a->kind); /* type */
}

/* One NodeProto. */
static void write_node(hone_wire *w, const void *arg)
{
    const hone_onnx_node *n = arg;
    for (int k = 0; k < n->in_count; k++) hone_wire_text(w, 1, n->in[k]);
    for (int k = 0; k < n->out_count; k++) hone_wire_text(w, 2, n->out[k]);
    hone_wire_text(w, 3, n->name); /* name */
    hone_wire_text(w, 4, n->op);   /* op_type */
    for (int k = 0; k < n->attr_count; k++) hone_wire_message(w, 5, write_attr, &n->attr[k]);
}

/* Offsets and lengths are strings there. */
static void write_pair_number(hone_wire *w, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    hone_wire_message(w, 13, write_pair, &(pair){key, text});
}

/* One TensorProto. */
static void write_tensor(hone_wire *w, const void *arg)
{
    const placed *p = arg;
    const hone_onnx_tensor *t = p->t;
    for (int k = 0; k < t->rank; k++) hone_wire_int(w, 1, t->dim[k]);
    hone_wire_int(w, 2, t->type);  /* data_type */
    hone_wire_text(w, 8, t->name); /* name */
    if (!p->location) {
        hone_wire_bytes(w, 9, t->data, t->bytes);
        return;
    }
    hone_wire_message(w, 13, write_pair, &(pair){"location", p->location});
    write_pair_number(w, "offset", p->offset);
    write_pair_number(w, "length", t->bytes);
    hone_wire_int(w, 14, 1); /* EXTERNAL */
}

/* A Dimension and the messages around it: ValueInfoProto{TypeProto{Tensor{TensorShapeProto{Dimension}}}}. */
typedef struct axis {
    const hone_onnx_value *v;
    int k;
} axis;

/* A free axis has a name instead of a number. */
static void write_axis(hone_wire *w, const void *arg)
{
    const axis *a = arg;
    if (a->v->param[a->k]) hone_wire_text(w, 2, a->v->param[a->k]);
    else hone_wire_int(w, 1, a->v->dim[a->k]);
}

/* TensorShapeProto. */
static void write_shape(hone_wire *w, const void *arg)
{
    const hone_onnx_value *v = arg;
    for (int k = 0; k < v->rank; k++) hone_wire_message(w, 1, write_axis, &(axis){v, k});
}

/* TypeProto.Tensor: the element type, then the shape. */
static void write_tensor_type(hone_wire *w, const void *arg)
{
    const hone_onnx_value *v = arg;
    hone_wire_int(w, 1, v->type);            /* elem_type */
    hone_wire_message(w, 2, write_shape, v); /* shape */
}

static void write_type(hone_wire *w, const void *arg) { hone_wire_message(w, 1, write_tensor_type, arg); }

/* ValueInfoProto, of inputs and outputs. */
static void write_value(hone_wire *w, const void *arg)
{
    const hone_onnx_value *v = arg;
    hone_wire_text(w, 1, v->name);
    hone_wire_message(w, 2, write_type, v); /* type */
}

/* GraphProto: nodes in the order in which they can run. */
static void write_graph(hone_wire *w, const void *arg)
{
    const job *j = arg;
    const hone_onnx *m = j->m;
    for (int k = 0; k < m->node_count; k++) hone_wire_message(w, 1, write_node, &m->node[k]);
    hone_wire_text(w, 2, m->graph_name); /* name */
    for (int k = 0; k < m->init_count; k++) hone_wire_message(w, 5, write_tensor, &j->place[k]);
    for (int k = 0; k < m->input_count; k++) hone_wire_message(w, 11, write_value, &m->input[k]);
    for (int k = 0; k < m->output_count; k++) hone_wire_message(w, 12, write_value, &m->output[k]);
}

/* OperatorSetIdProto; the domain "" is ONNX's own. */
static void write_opset(hone_wire *w, const void *arg)
{
    hone_wire_text(w, 1, "");
    hone_wire_int(w, 2, ((const job *)arg)->m->opset);
}

/* The whole ModelProto. */
static void write_model(hone_wire *w, const job *j)
{
    const hone_onnx *m = j->m;
    hone_wire_int(w, 1, m->ir_version);        /* ir_version */
    hone_wire_text(w, 2, m->producer);         /* producer_name */
    hone_wire_text(w, 3, m->producer_version); /* producer_version */
    if (*m->doc) hone_wire_text(w, 6, m->doc);
    hone_wire_message(w, 7, write_graph, j); /* graph */
    hone_wire_message(w, 8, write_opset, j); /* opset_import */
    for (int k = 0; k < m->meta_count; k++)
        hone_wire_message(w, 14, write_pair, &(pair){m->meta[2 * k], m->meta[2 * k + 1]});
}

/* --- files ------------------------------------------------------------------------------------------------------ */

/* Where each initializer goes; small ones stay with the graph, which reads their values. */
static uint64_t place_all(const hone_onnx *m, const char *location, placed *place)
{
    uint64_t at = 0;
    for (int k = 0; k < m->init_count; k++) {
        const hone_onnx_tensor *t = &m->init[k];
        place[k] = (placed){.t = t};
        if (!location || t->bytes < EXTERNAL_LEAST) continue;
        place[k].location = location;
        place[k].offset = at;
        at += (t->bytes + DATA_ALIGN - 1) / DATA_ALIGN * DATA_ALIGN;
    }
    return at;
}

/* In the order of the initializers, the gaps filled with zeros: a reader may map the file. */
static hone_status write_data(const hone_onnx *m, const placed *place, const char *path, uint64_t bytes)
{
    static const char zero[DATA_ALIGN];
    hone_out f = {0};
    hone_status status = hone_out_open(&f, path, bytes);
    for (int k = 0; k < m->init_count && status == HONE_OK; k++) {
        if (!place[k].location) continue;
        status = hone_out_write(&f, m->init[k].data, m->init[k].bytes);
        size_t past = m->init[k].bytes % DATA_ALIGN;
        if (status == HONE_OK && past) status = hone_out_write(&f, zero, DATA_ALIGN - past);
    }
    if (status == HONE_OK) return hone_out_close(&f, NULL);
    hone_out_abort(&f);
    return status;
}

/* Counted first: a graph that protobuf could not hold is refused before a byte is on disk. */
static hone_status write_file(const job *j, const char *path)
{
    hone_wire count = {0};
    write_model(&count, j);
    if (count.bytes >= 2ull << 30)
        return hone_fail(HONE_ERR_RUNTIME, NULL, "%s: an ONNX graph of %llu bytes without its weights", path,
                         (unsigned long long)count.bytes);
    hone_out f = {0};
    hone_wire w = {.file = &f};
    HONE_TRY(hone_out_open(&f, path, count.bytes));
    write_model(&w, j);
    hone_status status = hone_wire_flush(&w);
    if (status == HONE_OK) return hone_out_close(&f, NULL);
    hone_out_abort(&f);
    return status;
}

/* "model.onnx.data", of path "dir/model.onnx": external data are found beside the file. */
static char *data_name(const char *path, bool whole)
{
    const char *slash = strrchr(path, '/'), *base = whole || !slash ? path : slash + 1;
    size_t n = strlen(base) + sizeof ".data";
    char *name = malloc(n);
    if (name) snprintf(name, n, "%s.data", base);
    return name;
}

/* Data first, so that the file that names them is the last to appear. */
hone_status hone_onnx_write(const hone_onnx *m, const char *path, uint64_t external_over)
{
    uint64_t weights = 0;
    HONE_TRY(hone_onnx_status(m));
    for (int k = 0; k < m->init_count; k++) weights += m->init[k].bytes;
    placed *place = calloc((size_t)m->init_count + 1, sizeof *place);
    char *location = NULL, *data_path = NULL;
    bool external = weights > external_over;
    if (external) {
        location = data_name(path, false);
        data_path = data_name(path, true);
    }
    hone_status status = HONE_OK;
    if (!place || (external && (!location || !data_path))) status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) {
        uint64_t bytes = place_all(m, location, place);
        if (external) status = write_data(m, place, data_path, bytes);
    }
    if (status == HONE_OK) status = write_file(&(job){m, place}, path);
    free(place);
    free(location);
    free(data_path);
    return status;
}
