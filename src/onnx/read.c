/* read.c - an ONNX file back into memory, every byte of it held for hostile.
 *
 * Read are the fields that hone writes; whatever else would change a model's meaning (subgraphs, functions, sparse
 * or segmented tensors, values in typed arrays) is refused by name, and unknown fields are passed over as protobuf
 * demands. Messages nest to a fixed depth because each has a function of its own. Every size is checked against the
 * bytes that are there before anything is allocated, so a file costs a small multiple of its own length. After
 * parsing, the graph is checked: names defined once and before their use, shapes that fit their data. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/onnx.h"
#include "onnx/names.h"
#include "hone/io.h"

enum { NAME_MOST = 4096, ARITY_MOST = 1024, NODES_MOST = 1 << 20 };

/* Bytes [at, end) of one message; `file` for messages. */
typedef struct cursor {
    const uint8_t *at, *end;
    const char *file;
} cursor;

/* One field: number, wire type, and its value: `number`, or the bytes of `body`. */
typedef struct field {
    int number, wire;
    uint64_t value; /* wire types 0, 1, 5 */
    cursor body;    /* wire type 2        */
} field;

/* External data: where it lies, told by a tensor; -1: not said. */
typedef struct reader {
    hone_onnx *m;           /* what is filled                              */
    const char *file, *dir; /* for messages; where external data may lie   */
    size_t data_bytes;      /* of m->data_bytes                            */
} reader;

/* One message for all that is wrong with bytes: who made the file can only make it again. */
static hone_status broken(const char *file, const char *what)
{
    return hone_fail(HONE_ERR_DATA, "export it again", "%s: %s", file, what);
}

/* --- the wire --------------------------------------------------------------------------------------------- */

/* Checked byte by byte: the end of the message is the end, wherever the number wanted to go. */
static hone_status get_varint(cursor *c, uint64_t *out)
{
    *out = 0;
    for (int k = 0; k < 10; k++) {
        if (c->at == c->end) return broken(c->file, "cut within a number");
        uint8_t byte = *c->at++;
        /* the tenth byte holds the last of 64 bits */
        if (k == 9 && byte > 1) return broken(c->file, "a number of more than 64 bits");
        *out |= (uint64_t)(byte & 127) << (7 * k);
        if (!(byte & 128)) return HONE_OK;
    }
    return broken(c->file, "a number of more than ten bytes");
}

/* The bytes of a fixed-size value. */
static hone_status get_fixed(cursor *c, size_t bytes, uint64_t *out)
{
    if ((size_t)(c->end - c->at) < bytes) return broken(c->file, "cut within a number");
    *out = 0;
    memcpy(out, c->at, bytes);
    c->at += bytes;
    return HONE_OK;
}

/* The next field; *more is false at the end of the message. */
static hone_status next_field(cursor *c, field *f, bool *more)
{
    uint64_t tag, bytes;
    *more = c->at < c->end;
    if (!*more) return HONE_OK;
    HONE_TRY(get_varint(c, &tag));
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1) return broken(c->file, "a field number out of range");
    *f = (field){.number = (int)(tag >> 3), .wire = (int)(tag & 7)};
    switch (f->wire) {
    case 0: return get_varint(c, &f->value);
    case 1: return get_fixed(c, 8, &f->value);
    case 5: return get_fixed(c, 4, &f->value);
    case 2:
        HONE_TRY(get_varint(c, &bytes));
        if (bytes > (uint64_t)(c->end - c->at)) return broken(c->file, "a length past the end");
        f->body = (cursor){c->at, c->at + bytes, c->file};
        c->at += bytes;
        return HONE_OK;
    default: return broken(c->file, "a wire type that protobuf does not have any more");
    }
}

/* Of the wanted kind, or broken. */
static hone_status want(const field *f, int wire)
{
    return f->wire == wire ? HONE_OK : broken(f->body.file, "a field of the wrong kind");
}

/* Text of a field into the arena. NUL within would cut what later code compares. */
static hone_status get_text(reader *r, const field *f, const char **out)
{
    if (f->wire != 2) return broken(r->file, "a field of the wrong kind");
    size_t n = (size_t)(f->body.end - f->body.at);
    if (n > (64u << 20) || memchr(f->body.at, 0, n)) return broken(r->file, "a name with a zero byte, or over 64 MiB");
    char *text = hone_onnx_alloc(r->m, n + 1);
    if (!text) return hone_onnx_status(r->m);
    memcpy(text, f->body.at, n);
    *out = text;
    return HONE_OK;
}

/* Repeated integers come one by one or packed: appended to an array of `most`. */
static hone_status get_ints(reader *r, const field *f, int most, int64_t *out, int *count)
{
    uint64_t value;
    if (f->wire == 0) {
        if (*count == most) return broken(r->file, "more axes or values than allowed");
        out[(*count)++] = (int64_t)f->value;
        return HONE_OK;
    }
    HONE_TRY(want(f, 2));
    for (cursor c = f->body; c.at < c.end;) {
        HONE_TRY(get_varint(&c, &value));
        if (*count == most) return broken(r->file, "more axes or values than allowed");
        out[(*count)++] = (int64_t)value;
    }
    return HONE_OK;
}

/* --- messages ----------------------------------------------------------------------------------------------- */

/* StringStringEntryProto: metadata and external data. A missing half is empty. */
static hone_status read_pair(reader *r, cursor c, const char **key, const char **value)
{
    field f;
    bool more;
    *key = *value = "";
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) return HONE_OK;
        if (f.number == 1) HONE_TRY(get_text(r, &f, key));
        if (f.number == 2) HONE_TRY(get_text(r, &f, value));
    }
}

/* AttributeProto. */
static hone_status read_attr(reader *r, cursor c, hone_onnx_attr *a)
{
    enum { INTS_MOST = 64 };
    int64_t ints[INTS_MOST], *copy;
    field f;
    bool more;
    *a = (hone_onnx_attr){.name = ""};
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        if (f.number == 1) HONE_TRY(get_text(r, &f, &a->name));
        if (f.number == 4) HONE_TRY(get_text(r, &f, &a->s));
        if (f.number == 8) HONE_TRY(get_ints(r, &f, INTS_MOST, ints, &a->count));
        if (f.number == 3 || f.number == 20) HONE_TRY(want(&f, 0));
        if (f.number == 3) a->i = (int64_t)f.value;
        if (f.number == 20) a->kind = (hone_onnx_kind)(f.value & 255);
        if (f.number == 2) {
            HONE_TRY(want(&f, 5));
            memcpy(&a->f, &f.value, sizeof a->f);
        }
        if (f.number == 6 || f.number == 11 || f.number == 21)
            return broken(r->file, "an attribute that holds a graph, which hone never writes");
    }
    if (a->kind != HONE_ONNX_ATTR_FLOAT && a->kind != HONE_ONNX_ATTR_INT && a->kind != HONE_ONNX_ATTR_STRING &&
        a->kind != HONE_ONNX_ATTR_INTS)
        return broken(r->file, "an attribute of a kind that hone never writes");
    /* an empty string may be left out on the wire */
    if (a->kind == HONE_ONNX_ATTR_STRING && !a->s) a->s = "";
    copy = hone_onnx_alloc(r->m, ((size_t)a->count + 1) * sizeof *copy);
    if (!copy) return hone_onnx_status(r->m);
    memcpy(copy, ints, (size_t)a->count * sizeof *copy);
    a->ints = copy;
    return HONE_OK;
}

/* How often field `number` occurs in a message: arrays are allocated once. */
static hone_status count_fields(cursor c, int number, int *count)
{
    field f;
    bool more;
    for (*count = 0;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) return *count <= ARITY_MOST ? HONE_OK : broken(c.file, "a node of more than 1024 operands");
        *count += f.number == number;
    }
}

/* NodeProto. */
static hone_status read_node(reader *r, cursor c)
{
    hone_onnx_node n = {.op = "", .name = ""};
    /* the arrays are as long as the fields are many: a file can't ask for more than its own length */
    int in, out, attr;
    field f;
    bool more;
    HONE_TRY(count_fields(c, 1, &in));
    HONE_TRY(count_fields(c, 2, &out));
    HONE_TRY(count_fields(c, 5, &attr));
    n.in = hone_onnx_alloc(r->m, ((size_t)in + 1) * sizeof *n.in);
    n.out = hone_onnx_alloc(r->m, ((size_t)out + 1) * sizeof *n.out);
    n.attr = hone_onnx_alloc(r->m, ((size_t)attr + 1) * sizeof *n.attr);
    HONE_TRY(hone_onnx_status(r->m));
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        if (f.number == 1) HONE_TRY(get_text(r, &f, &n.in[n.in_count++]));
        if (f.number == 2) HONE_TRY(get_text(r, &f, &n.out[n.out_count++]));
        if (f.number == 3) HONE_TRY(get_text(r, &f, &n.name));
        if (f.number == 4) HONE_TRY(get_text(r, &f, &n.op));
        if (f.number == 5) {
            HONE_TRY(want(&f, 2));
            HONE_TRY(read_attr(r, f.body, &n.attr[n.attr_count++]));
        }
        if (f.number == 7) {
            const char *domain;
            HONE_TRY(get_text(r, &f, &domain));
            if (*domain) return broken(r->file, "an operator that is not ONNX's own");
        }
    }
    if (r->m->node_count == NODES_MOST) return broken(r->file, "more than a million nodes");
    *hone_onnx_push_node(r->m) = n;
    return hone_onnx_status(r->m);
}

/* A number in text: offset and length of external data. */
static hone_status parse_size(const reader *r, const char *text, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9' || strlen(text) > 18) return broken(r->file, "an offset that is no number");
    *out = strtoull(text, &end, 10);
    return *end ? broken(r->file, "an offset that is no number") : HONE_OK;
}

/* The file of external data, once: a plain name beside the model, no path, no link. */
static hone_status open_data(reader *r, const char *location)
{
    if (r->m->data_bytes) return HONE_OK;
    if (!r->dir || !*location || strchr(location, '/') || strcmp(location, "..") == 0 || strcmp(location, ".") == 0)
        return hone_fail(HONE_ERR_DATA, "external data lie beside the file", "%s: external data at '%.60s'", r->file,
                         location);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", r->dir, location);
    /* lstat: a link could lead anywhere */
    struct stat s;
    if (lstat(path, &s) < 0 || !S_ISREG(s.st_mode))
        return hone_fail(HONE_ERR_DATA, "keep both files together", "%s: no plain file %s with its data", r->file,
                         path);
    char *data = NULL;
    HONE_TRY(hone_file_read(path, SIZE_MAX, &data, &r->data_bytes));
    r->m->data_bytes = data;
    return HONE_OK;
}

/* What a TensorProto says of external data. */
typedef struct external {
    bool used;               /* data_location says so   */
    const char *location;    /* a name beside the model */
    uint64_t offset, length; /* bytes of that file      */
} external;

/* Other keys (checksum, basepath) are passed over; the location is looked at where the data are fetched. */
static hone_status read_external(reader *r, cursor c, external *e)
{
    const char *key, *value;
    HONE_TRY(read_pair(r, c, &key, &value));
    if (strcmp(key, "location") == 0) e->location = value;
    if (strcmp(key, "offset") == 0) HONE_TRY(parse_size(r, value, &e->offset));
    if (strcmp(key, "length") == 0) HONE_TRY(parse_size(r, value, &e->length));
    return HONE_OK;
}

/* Bytes that the shape takes; false where the product overflows or an axis is negative. */
static bool shape_bytes(const hone_onnx_tensor *t, uint64_t *out)
{
    uint64_t bytes = hone_onnx_type_bytes(t->type);
    for (int k = 0; k < t->rank; k++) {
        if (t->dim[k] < 0 || __builtin_mul_overflow(bytes, (uint64_t)t->dim[k], &bytes)) return false;
        if (bytes > (uint64_t)1 << 48) return false;
    }
    *out = bytes;
    return true;
}

/* Points t->data at the bytes, in the file or outside it. */
static hone_status take_data(reader *r, const external *e, const field *raw, hone_onnx_tensor *t)
{
    uint64_t bytes;
    if (hone_onnx_type_bytes(t->type) == 0) return broken(r->file, "a tensor of a type that hone never writes");
    if (!shape_bytes(t, &bytes)) return broken(r->file, "a tensor with an impossible shape");
    if (e->used) {
        HONE_TRY(open_data(r, e->location ? e->location : ""));
        if (e->offset > r->data_bytes || e->length > r->data_bytes - e->offset)
            return broken(r->file, "external data past the end of their file");
        t->data = (const char *)r->m->data_bytes + e->offset;
        t->bytes = e->length;
    } else {
        t->data = raw->body.at;
        t->bytes = (size_t)(raw->body.end - raw->body.at);
    }
    if (t->bytes != bytes) return broken(r->file, "a tensor whose data do not fit its shape");
    return HONE_OK;
}

/* TensorProto. Data come as raw bytes: hone never writes typed arrays. */
static hone_status read_tensor(reader *r, cursor c)
{
    hone_onnx_tensor t = {.name = ""};
    external e = {0};
    field f, raw = {.body = {c.at, c.at, c.file}};
    bool more;
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        switch (f.number) {
        case 1: HONE_TRY(get_ints(r, &f, HONE_ONNX_RANK, t.dim, &t.rank)); break;
        case 2:
            HONE_TRY(want(&f, 0));
            t.type = (hone_onnx_type)(f.value & 255);
            break;
        case 8: HONE_TRY(get_text(r, &f, &t.name)); break;
        case 9:
            HONE_TRY(want(&f, 2));
            raw = f;
            break;
        case 13:
            HONE_TRY(want(&f, 2));
            HONE_TRY(read_external(r, f.body, &e));
            break;
        case 14:
            HONE_TRY(want(&f, 0));
            e.used = f.value == 1;
            break;
        case 3:
        case 4:
        case 5:
        case 6:
        case 7:
        case 10:
        case 11: return broken(r->file, "a tensor in segments or typed arrays, which hone never writes");
        default: break;
        }
    }
    HONE_TRY(take_data(r, &e, &raw, &t));
    *hone_onnx_push_init(r->m) = t;
    return hone_onnx_status(r->m);
}

/* Dimension: a number or a name. */
static hone_status read_axis(reader *r, cursor c, hone_onnx_value *v)
{
    field f;
    bool more;
    if (v->rank == HONE_ONNX_RANK) return broken(r->file, "a value of more than 8 axes");
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        if (f.number == 1) {
            HONE_TRY(want(&f, 0));
            v->dim[v->rank] = (int64_t)f.value;
        }
        if (f.number == 2) HONE_TRY(get_text(r, &f, &v->param[v->rank]));
    }
    if (!v->param[v->rank] && v->dim[v->rank] < 0) return broken(r->file, "a value with a negative axis");
    v->rank++;
    return HONE_OK;
}

/* The messages around a shape, from the outside in: TypeProto 1, Tensor {1 type, 2 shape}, TensorShapeProto 1. */
static hone_status read_type(reader *r, cursor c, int level, hone_onnx_value *v)
{
    field f;
    bool more;
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) return HONE_OK;
        bool down = level == 1 ? f.number == 2 : f.number == 1;
        if (level == 0 && f.number != 1 && f.number != 6) return broken(r->file, "a value that is no tensor");
        if (level == 1 && f.number == 1) {
            HONE_TRY(want(&f, 0));
            v->type = (hone_onnx_type)(f.value & 255);
        }
        if (!down) continue;
        HONE_TRY(want(&f, 2));
        HONE_TRY(level == 2 ? read_axis(r, f.body, v) : read_type(r, f.body, level + 1, v));
    }
}

/* ValueInfoProto. */
static hone_status read_value(reader *r, cursor c, bool output)
{
    hone_onnx_value v = {.name = ""};
    field f;
    bool more;
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        if (f.number == 1) HONE_TRY(get_text(r, &f, &v.name));
        if (f.number == 2) {
            HONE_TRY(want(&f, 2));
            HONE_TRY(read_type(r, f.body, 0, &v));
        }
    }
    if (hone_onnx_type_bytes(v.type) == 0) return broken(r->file, "a value of a type that hone never writes");
    *hone_onnx_push_value(r->m, output) = v;
    return hone_onnx_status(r->m);
}

/* GraphProto. */
static hone_status read_graph(reader *r, cursor c)
{
    field f;
    bool more;
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) return HONE_OK;
        if (f.number == 15) return broken(r->file, "sparse initializers, which hone never writes");
        if (f.number != 1 && f.number != 5 && f.number != 11 && f.number != 12 && f.number != 2) continue;
        HONE_TRY(want(&f, 2));
        switch (f.number) {
        case 1: HONE_TRY(read_node(r, f.body)); break;
        case 2: HONE_TRY(get_text(r, &f, &r->m->graph_name)); break;
        case 5: HONE_TRY(read_tensor(r, f.body)); break;
        case 11: HONE_TRY(read_value(r, f.body, false)); break;
        default: HONE_TRY(read_value(r, f.body, true)); break;
        }
    }
}

/* OperatorSetIdProto: only ONNX's own domain. */
static hone_status read_opset(reader *r, cursor c)
{
    field f;
    bool more;
    const char *domain = "";
    for (;;) {
        HONE_TRY(next_field(&c, &f, &more));
        if (!more) break;
        if (f.number == 1) HONE_TRY(get_text(r, &f, &domain));
        if (f.number == 2) {
            HONE_TRY(want(&f, 0));
            r->m->opset = (int64_t)f.value;
        }
    }
    return *domain ? broken(r->file, "operators that are not ONNX's own") : HONE_OK;
}

/* One field of the ModelProto; *graphs counts. */
static hone_status read_model_field(reader *r, const field *f, int *graphs)
{
    const char *key, *value;
    switch (f->number) {
    case 1:
        HONE_TRY(want(f, 0));
        r->m->ir_version = (int64_t)f->value;
        return HONE_OK;
    case 2: return get_text(r, f, &r->m->producer);
    case 3: return get_text(r, f, &r->m->producer_version);
    case 6: return get_text(r, f, &r->m->doc);
    case 7:
        HONE_TRY(want(f, 2));
        ++*graphs;
        return read_graph(r, f->body);
    case 8: HONE_TRY(want(f, 2)); return read_opset(r, f->body);
    case 14:
        HONE_TRY(want(f, 2));
        HONE_TRY(read_pair(r, f->body, &key, &value));
        hone_onnx_meta(r->m, key, value);
        return hone_onnx_status(r->m);
    case 20:
    case 25: return broken(r->file, "functions or training graphs, which hone never writes");
    default: return HONE_OK;
    }
}

/* Fields of the model may come in any order, so what depends on all of them is checked at the end. On an error
 * nothing is left: the caller has no model to free. */
hone_status hone_onnx_parse(const char *name, const uint8_t *bytes, size_t count, const char *dir, hone_onnx *out)
{
    reader r = {.m = out, .file = name, .dir = dir};
    cursor c = {bytes, bytes + count, name};
    field f;
    bool more;
    int graphs = 0;
    hone_status status;
    hone_onnx_init(out, 0);
    for (;;) {
        status = next_field(&c, &f, &more);
        if (status == HONE_OK && more) status = read_model_field(&r, &f, &graphs);
        if (status != HONE_OK || !more) break;
    }
    if (status == HONE_OK && graphs != 1) status = broken(name, "not one graph: is it an ONNX file?");
    if (status == HONE_OK && (out->opset < 13 || out->opset > 21)) status = broken(name, "an opset outside 13 to 21");
    if (status == HONE_OK) status = hone_onnx_check(out, name);
    if (status != HONE_OK) hone_onnx_free(out);
    return status;
}

/* The folder of a path, in a buffer. */
static void folder_of(const char *path, char *dir, size_t bytes)
{
    const char *slash = strrchr(path, '/');
    snprintf(dir, bytes, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
}

/* The bytes stay with the model: initializers point into them, and weights are not held twice. */
hone_status hone_onnx_read(const char *path, hone_onnx *out)
{
    char *bytes = NULL, dir[4096];
    size_t count = 0;
    *out = (hone_onnx){0};
    HONE_TRY(hone_file_read(path, (size_t)2 << 30, &bytes, &count));
    folder_of(path, dir, sizeof dir);
    hone_status status = hone_onnx_parse(path, (const uint8_t *)bytes, count, dir, out);
    if (status == HONE_OK) out->file_bytes = bytes;
    else free(bytes);
    return status;
}
