/* onnx.c - the arena, the arrays and the builders of an ONNX model (onnx.h). */
#include "onnx/onnx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------------------------ */

enum { BLOCK_BYTES = 1 << 16, ALIGN = 16 };

/* Blocks never move: pointers into them stay good. */
typedef struct block {
    struct block *next; /* older ones */
    size_t used, bytes; /* behind this head, in multiples of ALIGN */
} block;

/* Bumps a pointer: a graph is made and thrown away as a whole, so nothing is freed by itself. A request larger than
 * a block gets a block of its own. */
void *hone_onnx_alloc(hone_onnx *m, size_t bytes)
{
    block *top = m->arena;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    size_t head = (sizeof(block) + ALIGN - 1) / ALIGN * ALIGN;
    if (m->failed) return NULL;
    if (!top || top->bytes - top->used < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block *fresh = calloc(1, head + room);
        if (!fresh) {
            m->failed = true;
            return NULL;
        }
        *fresh = (block){.next = top, .bytes = room};
        m->arena = top = fresh;
    }
    void *p = (char *)top + head + top->used;
    top->used += bytes;
    return p;
}

/* Twice through the format: first for the length, then into the arena. */
const char *hone_onnx_text(hone_onnx *m, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : hone_onnx_alloc(m, (size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text ? text : "";
}

/* Nodes and values lie in arrays of their own, which grow and move; all they point at is in the arena. */
void hone_onnx_free(hone_onnx *m)
{
    for (block *b = m->arena, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(m->node);
    free(m->init);
    free(m->input);
    free(m->output);
    free(m->meta);
    free(m->file_bytes);
    free(m->data_bytes);
    *m = (hone_onnx){0};
}

/* Asked at the end of a stage, instead of after every node. */
hone_status hone_onnx_status(const hone_onnx *m)
{
    return m->failed ? hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the ONNX graph") : HONE_OK;
}

/* Room for one more of `size` bytes in an array of the model; NULL after a failure. */
static void *grow(hone_onnx *m, void *array, int which, int count, size_t size)
{
    if (m->failed) return NULL;
    if (count == m->room[which]) {
        int room = count ? count * 2 : 32; /* doubling: a graph of n nodes is copied twice at the most */
        void *bigger = realloc(array, (size_t)room * size);
        if (!bigger) {
            m->failed = true;
            return NULL;
        }
        m->room[which] = room;
        array = bigger;
    }
    memset((char *)array + (size_t)count * size, 0, size);
    return array;
}

/* Written to and never read. */
static void *scratch(hone_onnx *m, size_t bytes) { return memset(m->scratch, 0, bytes); }
_Static_assert(sizeof(hone_onnx_value) <= sizeof((hone_onnx){0}.scratch), "scratch holds the largest item");
_Static_assert(sizeof(hone_onnx_tensor) <= sizeof((hone_onnx){0}.scratch), "scratch holds the largest item");

/* The caller fills it in; a pointer from before the next push must not be kept. */
hone_onnx_node *hone_onnx_push_node(hone_onnx *m)
{
    void *a = grow(m, m->node, 0, m->node_count, sizeof *m->node);
    if (!a) return scratch(m, sizeof *m->node);
    m->node = a;
    return &m->node[m->node_count++];
}

/* As above; `data` is not copied, so whoever owns the weights must outlive the model. */
hone_onnx_tensor *hone_onnx_push_init(hone_onnx *m)
{
    void *a = grow(m, m->init, 1, m->init_count, sizeof *m->init);
    if (!a) return scratch(m, sizeof *m->init);
    m->init = a;
    return &m->init[m->init_count++];
}

/* Inputs and outputs are alike but for the array they stand in. */
hone_onnx_value *hone_onnx_push_value(hone_onnx *m, bool output)
{
    hone_onnx_value **array = output ? &m->output : &m->input;
    int *count = output ? &m->output_count : &m->input_count;
    void *a = grow(m, *array, output ? 3 : 2, *count, sizeof **array);
    if (!a) return scratch(m, sizeof **array);
    *array = a;
    return &(*array)[(*count)++];
}

/* Pairs in the order in which they were added; keys are not checked for being unique. */
void hone_onnx_meta(hone_onnx *m, const char *key, const char *value)
{
    void *a = grow(m, m->meta, 4, m->meta_count, 2 * sizeof *m->meta);
    if (!a) return;
    m->meta = a;
    m->meta[2 * m->meta_count] = hone_onnx_text(m, "%s", key);
    m->meta[2 * m->meta_count + 1] = hone_onnx_text(m, "%s", value);
    m->meta_count++;
}

/* The IR that came with an opset: onnx/docs/Versioning.md. */
void hone_onnx_init(hone_onnx *m, int64_t opset)
{
    *m = (hone_onnx){.opset = opset};
    m->ir_version = opset <= 14 ? 7 : opset <= 18 ? 8 : opset <= 20 ? 9 : 10;
    m->producer = "hone";
    m->producer_version = m->graph_name = m->doc = "";
}

/* --- building ------------------------------------------------------------------------------------------------ */

/* Values are called by the op that made them and a number: unique, and readable in a viewer. Operands and result
 * share one piece of memory. */
const char *hone_onnx_add(hone_onnx *m, const char *op, int count, const char *const *in)
{
    const char *name = hone_onnx_text(m, "%s_%d", op, m->next++);
    const char **names = hone_onnx_alloc(m, ((size_t)count + 1) * sizeof *names);
    if (!names) return "";
    hone_onnx_node *n = hone_onnx_push_node(m);
    memcpy(names, in, (size_t)count * sizeof *names);
    names[count] = name;
    *n = (hone_onnx_node){.op = op, .name = name, .in_count = count, .out_count = 1, .in = names, .out = names + count};
    return name;
}

const char *hone_onnx_unary(hone_onnx *m, const char *op, const char *x) { return hone_onnx_add(m, op, 1, &x); }

/* Most of what is built has two operands: a line each instead of an array. */
const char *hone_onnx_binary(hone_onnx *m, const char *op, const char *a, const char *b)
{
    return hone_onnx_add(m, op, 2, (const char *[]){a, b});
}

/* The attributes of a node are copied with every one more: there are at most six. */
static hone_onnx_attr *push_attr(hone_onnx *m, const char *name, hone_onnx_kind kind)
{
    hone_onnx_node *n = m->node_count ? &m->node[m->node_count - 1] : NULL;
    hone_onnx_attr *more = n ? hone_onnx_alloc(m, ((size_t)n->attr_count + 1) * sizeof *more) : NULL;
    if (!more) return scratch(m, sizeof *more);
    if (n->attr_count) memcpy(more, n->attr, (size_t)n->attr_count * sizeof *more);
    n->attr = more;
    more += n->attr_count++;
    *more = (hone_onnx_attr){.name = name, .kind = kind};
    return more;
}

void hone_onnx_attr_int(hone_onnx *m, const char *name, int64_t i) { push_attr(m, name, HONE_ONNX_ATTR_INT)->i = i; }

void hone_onnx_attr_float(hone_onnx *m, const char *name, float f) { push_attr(m, name, HONE_ONNX_ATTR_FLOAT)->f = f; }

/* The text is not copied: all of them are constants of this program. */
void hone_onnx_attr_string(hone_onnx *m, const char *name, const char *s)
{
    push_attr(m, name, HONE_ONNX_ATTR_STRING)->s = s;
}

/* Copied, so that callers can write compound literals. */
void hone_onnx_attr_ints(hone_onnx *m, const char *name, int count, const int64_t *ints)
{
    int64_t *copy = hone_onnx_alloc(m, (size_t)count * sizeof *copy);
    hone_onnx_attr *a = push_attr(m, name, HONE_ONNX_ATTR_INTS);
    if (!copy) return;
    memcpy(copy, ints, (size_t)count * sizeof *copy);
    a->count = count;
    a->ints = copy;
}

/* Bytes follow from type and shape; a product that overflows can't occur, for the values lie in memory. */
const char *hone_onnx_const(hone_onnx *m, const char *name, hone_onnx_type type, int rank, const int64_t *dim,
                            const void *data)
{
    hone_onnx_tensor t = {.name = hone_onnx_text(m, "%s", name), .type = type, .rank = rank, .data = data};
    t.bytes = hone_onnx_type_bytes(type);
    for (int k = 0; k < rank; k++) {
        t.dim[k] = dim[k];
        t.bytes *= (size_t)dim[k];
    }
    *hone_onnx_push_init(m) = t;
    return t.name;
}

/* A small constant: an equal one is taken again. */
static const char *small(hone_onnx *m, hone_onnx_type type, int rank, int64_t count, const void *values)
{
    size_t bytes = (size_t)count * hone_onnx_type_bytes(type);
    for (int k = 0; k < m->init_count; k++) {
        const hone_onnx_tensor *t = &m->init[k];
        if (t->type == type && t->rank == rank && t->bytes == bytes && memcmp(t->data, values, bytes) == 0)
            return t->name;
    }
    void *copy = hone_onnx_alloc(m, bytes);
    if (!copy) return "";
    memcpy(copy, values, bytes);
    return hone_onnx_const(m, hone_onnx_text(m, "const_%d", m->next++), type, rank, &count, copy);
}

/* Shapes, axes and bounds of slices, all of which ONNX takes as vectors. */
const char *hone_onnx_i64(hone_onnx *m, int count, const int64_t *values)
{
    return small(m, HONE_ONNX_INT64, 1, count, values);
}

const char *hone_onnx_index(hone_onnx *m, int64_t value) { return small(m, HONE_ONNX_INT64, 0, 1, &value); }

const char *hone_onnx_scalar(hone_onnx *m, float value) { return small(m, HONE_ONNX_FLOAT, 0, 1, &value); }

const char *hone_onnx_double(hone_onnx *m, double value) { return small(m, HONE_ONNX_DOUBLE, 0, 1, &value); }

/* Sizes known here only; those that are not come as 0 or -1. */
const char *hone_onnx_reshape(hone_onnx *m, const char *x, int count, const int64_t *dim)
{
    return hone_onnx_binary(m, "Reshape", x, hone_onnx_i64(m, count, dim));
}

/* perm[k] is the axis of x that becomes axis k. */
const char *hone_onnx_transpose(hone_onnx *m, const char *x, int count, const int64_t *perm)
{
    const char *y = hone_onnx_unary(m, "Transpose", x);
    hone_onnx_attr_ints(m, "perm", count, perm);
    return y;
}

/* ReduceSum took its axes as an input in opset 13, the others in 18. */
const char *hone_onnx_reduce(hone_onnx *m, const char *op, const char *x, int64_t axis, bool keep)
{
    bool input = m->opset >= 18 || strcmp(op, "ReduceSum") == 0;
    const char *y = input ? hone_onnx_binary(m, op, x, hone_onnx_i64(m, 1, &axis)) : hone_onnx_unary(m, op, x);
    if (!input) hone_onnx_attr_ints(m, "axes", 1, &axis);
    hone_onnx_attr_int(m, "keepdims", keep);
    return y;
}

/* --- looking up ------------------------------------------------------------------------------------------------ */

/* 0 is what readers take as "not ours": strings, complex numbers and the types of 8-bit floats. */
size_t hone_onnx_type_bytes(int64_t type)
{
    switch (type) {
    case HONE_ONNX_FLOAT:
    case HONE_ONNX_INT32: return 4;
    case HONE_ONNX_INT64:
    case HONE_ONNX_DOUBLE: return 8;
    case HONE_ONNX_FLOAT16: return 2;
    case HONE_ONNX_UINT8:
    case HONE_ONNX_INT8:
    case HONE_ONNX_BOOL: return 1;
    default: return 0;
    }
}

/* Linear: graphs have some hundred constants, and lowering asks once a parameter. */
const hone_onnx_tensor *hone_onnx_find_init(const hone_onnx *m, const char *name)
{
    for (int k = 0; k < m->init_count; k++)
        if (strcmp(m->init[k].name, name) == 0) return &m->init[k];
    return NULL;
}

/* Linear again: six at the most. */
const hone_onnx_attr *hone_onnx_find_attr(const hone_onnx_node *n, const char *name)
{
    for (int k = 0; k < n->attr_count; k++)
        if (strcmp(n->attr[k].name, name) == 0) return &n->attr[k];
    return NULL;
}

/* An attribute that is not there has the value that ONNX's page of the operator gives it. */
int64_t hone_onnx_get_int(const hone_onnx_node *n, const char *name, int64_t standard)
{
    const hone_onnx_attr *a = hone_onnx_find_attr(n, name);
    return a && a->kind == HONE_ONNX_ATTR_INT ? a->i : standard;
}

/* As above; a default that is no float in ONNX is none here. */
float hone_onnx_get_float(const hone_onnx_node *n, const char *name, float standard)
{
    const hone_onnx_attr *a = hone_onnx_find_attr(n, name);
    return a && a->kind == HONE_ONNX_ATTR_FLOAT ? a->f : standard;
}
