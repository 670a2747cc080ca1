/* run_move.c - ONNX's operators that move values and compute none: shapes, slices, gathers, joins (run.h). */
#include <string.h>

#include "onnx/run.h"

/* The operand under another shape of the same size. */
static hone_status as_shape(hone_onnx_call *c, int rank, const int64_t *dim)
{
    HONE_TRY(hone_onnx_call_out(c, c->in[0]->type, rank, dim));
    if (c->out.count != c->in[0]->count) return hone_onnx_call_fail(c, "another number of elements");
    memcpy(c->out.data, c->in[0]->data, (size_t)c->out.count * hone_onnx_type_bytes(c->out.type));
    return HONE_OK;
}

/* 0 keeps the operand's size, one -1 takes what is left. */
static hone_status reshape(hone_onnx_call *c)
{
    int64_t dim[HONE_ONNX_RANK], known = 1;
    int rank, open = -1;
    HONE_TRY(hone_onnx_call_list(c, NULL, 1, &rank, dim));
    for (int k = 0; k < rank; k++) {
        if (k < c->in[0]->rank && dim[k] == 0) dim[k] = c->in[0]->dim[k];
        if (dim[k] == -1 && open < 0) open = k;
        else if (dim[k] < 0 || __builtin_mul_overflow(known, dim[k], &known))
            return hone_onnx_call_fail(c, "an impossible shape");
    }
    /* a shape with an empty axis leaves nothing to share out */
    if (open >= 0) dim[open] = known ? c->in[0]->count / known : 0;
    return as_shape(c, rank, dim);
}

/* Axes before `axis` become rows, the others columns. */
static hone_status flatten(hone_onnx_call *c)
{
    int64_t axis = hone_onnx_get_int(c->node, "axis", 1), dim[2] = {1, 1};
    if (axis != c->in[0]->rank && !hone_onnx_axis(&axis, c->in[0]->rank)) return hone_onnx_call_fail(c, "no such axis");
    for (int k = 0; k < c->in[0]->rank; k++) dim[k >= axis] *= c->in[0]->dim[k];
    return as_shape(c, 2, dim);
}

/* A size of one at the place of each axis. */
static hone_status unsqueeze(hone_onnx_call *c)
{
    int64_t axes[HONE_ONNX_RANK], dim[HONE_ONNX_RANK] = {0};
    int count, rank = c->in[0]->rank, from = 0;
    HONE_TRY(hone_onnx_call_list(c, NULL, 1, &count, axes));
    if (count < 0 || (rank += count) > HONE_ONNX_RANK) return hone_onnx_call_fail(c, "too many axes");
    for (int k = 0; k < count; k++) {
        if (!hone_onnx_axis(&axes[k], rank) || dim[axes[k]]) return hone_onnx_call_fail(c, "no such axis, or twice");
        dim[axes[k]] = 1;
    }
    for (int k = 0; k < rank; k++)
        if (!dim[k]) dim[k] = c->in[0]->dim[from++];
    return as_shape(c, rank, dim);
}

/* Axes must be named: hone never writes the form that drops all of size 1. */
static hone_status squeeze(hone_onnx_call *c)
{
    int64_t axes[HONE_ONNX_RANK], dim[HONE_ONNX_RANK];
    bool gone[HONE_ONNX_RANK] = {false}; /* axes of the operand that are dropped */
    int count, rank = 0;
    HONE_TRY(hone_onnx_call_list(c, NULL, 1, &count, axes));
    for (int k = 0; k < count; k++) {
        if (!hone_onnx_axis(&axes[k], c->in[0]->rank) || c->in[0]->dim[axes[k]] != 1)
            return hone_onnx_call_fail(c, "an axis that is not 1");
        gone[axes[k]] = true;
    }
    for (int k = 0; k < c->in[0]->rank; k++)
        if (!gone[k]) dim[rank++] = c->in[0]->dim[k];
    return as_shape(c, rank, dim);
}

static hone_status identity(hone_onnx_call *c) { return as_shape(c, c->in[0]->rank, c->in[0]->dim); }

/* All axes: attributes that cut it came with opset 15 and are not used. */
static hone_status shape(hone_onnx_call *c)
{
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_INT64, 1, (int64_t[]){c->in[0]->rank}));
    memcpy(c->out.data, c->in[0]->dim, (size_t)c->in[0]->rank * sizeof(int64_t));
    return HONE_OK;
}

/* Of rank 0, as Range wants its end. */
static hone_status size(hone_onnx_call *c)
{
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_INT64, 0, NULL));
    *(int64_t *)c->out.data = c->in[0]->count;
    return HONE_OK;
}

/* start, start + delta, ... below limit; int64. */
static hone_status range(hone_onnx_call *c)
{
    int64_t v[3];
    for (int k = 0; k < 3; k++) {
        HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_INT64));
        if (c->in[k]->count != 1) return hone_onnx_call_fail(c, "an operand that is no scalar");
        v[k] = *(const int64_t *)c->in[k]->data;
        if (v[k] > 1 << 30 || v[k] < -(1 << 30)) return hone_onnx_call_fail(c, "a range too large");
    }
    if (v[2] <= 0) return hone_onnx_call_fail(c, "a step that is not positive");
    int64_t n = v[1] > v[0] ? (v[1] - v[0] + v[2] - 1) / v[2] : 0;
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_INT64, 1, &n));
    for (int64_t k = 0; k < n; k++) ((int64_t *)c->out.data)[k] = v[0] + k * v[2];
    return HONE_OK;
}

/* --- strided copies ---------------------------------------------------------------------------------------------- */

/* out[i0,i1,..] = in[at + i0 step0 + i1 step1 + ..], steps in elements. */
static void copy_strided(hone_onnx_call *c, int64_t at, const int64_t *step)
{
    size_t bytes = hone_onnx_type_bytes(c->out.type);
    int64_t place[HONE_ONNX_RANK] = {0};
    const char *from = c->in[0]->data;
    char *to = c->out.data;
    for (int64_t k = 0; k < c->out.count; k++, to += bytes) {
        memcpy(to, from + (size_t)at * bytes, bytes);
        for (int d = c->out.rank - 1; d >= 0; d--) {
            at += step[d];
            if (++place[d] < c->out.dim[d]) break;
            at -= c->out.dim[d] * step[d];
            place[d] = 0;
        }
    }
}

/* Elements from one place of an axis to the next. */
static void steps_of(const hone_onnx_array *a, int64_t *step)
{
    int64_t s = 1;
    for (int k = a->rank - 1; k >= 0; k--) {
        step[k] = s;
        s *= a->dim[k];
    }
}

/* Every axis once; the order is refused where one is missing or named twice. */
static hone_status transpose(hone_onnx_call *c)
{
    int64_t perm[HONE_ONNX_RANK], dim[HONE_ONNX_RANK] = {0}, own[HONE_ONNX_RANK] = {0}, step[HONE_ONNX_RANK] = {0};
    int count, rank = c->in[0]->rank;
    unsigned seen = 0; /* bit k: axis k has its place */
    HONE_TRY(hone_onnx_call_list(c, "perm", -1, &count, perm));
    if (count != rank) return hone_onnx_call_fail(c, "an order of another number of axes");
    steps_of(c->in[0], own);
    for (int k = 0; k < rank; k++) {
        if (perm[k] < 0 || perm[k] >= rank || seen >> perm[k] & 1u) return hone_onnx_call_fail(c, "no order of axes");
        seen |= 1u << perm[k];
        dim[k] = c->in[0]->dim[perm[k]];
        step[k] = own[perm[k]];
    }
    HONE_TRY(hone_onnx_call_out(c, c->in[0]->type, rank, dim));
    copy_strided(c, 0, step);
    return HONE_OK;
}

/* To a shape that the operand broadcasts to, one with it. */
static hone_status expand(hone_onnx_call *c)
{
    int64_t dim[HONE_ONNX_RANK] = {0}, own[HONE_ONNX_RANK] = {0}, step[HONE_ONNX_RANK] = {0};
    int rank;
    HONE_TRY(hone_onnx_call_list(c, NULL, 1, &rank, dim));
    if (rank < c->in[0]->rank) return hone_onnx_call_fail(c, "fewer axes than the operand has");
    steps_of(c->in[0], own);
    for (int k = 0, lead = rank - c->in[0]->rank; k < c->in[0]->rank; k++) {
        int64_t mine = c->in[0]->dim[k], *d = &dim[lead + k];
        if (mine != 1 && *d != 1 && *d != mine) return hone_onnx_call_fail(c, "shapes that do not broadcast");
        if (mine != 1) *d = mine;
        step[lead + k] = mine == 1 ? 0 : own[k];
    }
    HONE_TRY(hone_onnx_call_out(c, c->in[0]->type, rank, dim));
    copy_strided(c, 0, step);
    return HONE_OK;
}

/* starts, ends, axes; steps are 1, as hone writes them. */
static hone_status slice(hone_onnx_call *c)
{
    const hone_onnx_array *x = c->in[0];
    int64_t from[HONE_ONNX_RANK], to[HONE_ONNX_RANK], axes[HONE_ONNX_RANK], dim[HONE_ONNX_RANK],
        step[HONE_ONNX_RANK] = {0};
    int starts, ends, count;
    int64_t at = 0;
    HONE_TRY(hone_onnx_call_list(c, NULL, 1, &starts, from));
    HONE_TRY(hone_onnx_call_list(c, NULL, 2, &ends, to));
    HONE_TRY(hone_onnx_call_list(c, NULL, 3, &count, axes));
    if (starts != count || ends != count) return hone_onnx_call_fail(c, "lists of different lengths");
    memcpy(dim, x->dim, sizeof dim);
    steps_of(x, step);
    for (int k = 0; k < count; k++) {
        if (!hone_onnx_axis(&axes[k], x->rank)) return hone_onnx_call_fail(c, "no such axis");
        int64_t n = x->dim[axes[k]], a = from[k] < 0 ? from[k] + n : from[k], b = to[k] < 0 ? to[k] + n : to[k];
        /* bounds beyond the axis are cut, as Python's slices are */
        a = a < 0 ? 0 : a > n ? n : a;
        b = b < a ? a : b > n ? n : b;
        dim[axes[k]] = b - a;
        at += a * step[axes[k]];
    }
    HONE_TRY(hone_onnx_call_out(c, x->type, x->rank, dim));
    copy_strided(c, at, step);
    return HONE_OK;
}

/* --- gathers and joins ------------------------------------------------------------------------------------------- */

/* x[.., index, ..] along one axis; the index's axes take its place. */
static hone_status gather(hone_onnx_call *c)
{
    const hone_onnx_array *x = c->in[0], *index = c->in[1];
    int64_t axis = hone_onnx_get_int(c->node, "axis", 0), dim[HONE_ONNX_RANK], outer = 1, inner = 1;
    int rank = 0;
    HONE_TRY(hone_onnx_call_want(c, 1, HONE_ONNX_INT64));
    if (!hone_onnx_axis(&axis, x->rank) || x->rank + index->rank - 1 > HONE_ONNX_RANK)
        return hone_onnx_call_fail(c, "no such axis");
    for (int k = 0; k < axis; k++) outer *= dim[rank++] = x->dim[k];
    for (int k = 0; k < index->rank; k++) dim[rank++] = index->dim[k];
    for (int k = (int)axis + 1; k < x->rank; k++) inner *= dim[rank++] = x->dim[k];
    HONE_TRY(hone_onnx_call_out(c, x->type, rank, dim));
    size_t bytes = (size_t)inner * hone_onnx_type_bytes(x->type);
    char *to = c->out.data;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < index->count; k++, to += bytes) {
            int64_t i = ((const int64_t *)index->data)[k], n = x->dim[axis];
            if (i < 0) i += n; /* from the end */
            if (i < 0 || i >= n) return hone_onnx_call_fail(c, "an index outside the operand");
            memcpy(to, (const char *)x->data + (size_t)(o * n + i) * bytes, bytes);
        }
    return HONE_OK;
}

/* Each operand is a run of bytes within a run of the result, once for every place of the axes before. */
static hone_status concat(hone_onnx_call *c)
{
    int64_t axis = hone_onnx_get_int(c->node, "axis", 0), dim[HONE_ONNX_RANK], outer = 1, at = 0;
    int rank = c->in[0]->rank;
    if (!hone_onnx_axis(&axis, rank)) return hone_onnx_call_fail(c, "no such axis");
    memcpy(dim, c->in[0]->dim, sizeof dim);
    dim[axis] = 0; /* what the operands add up to */
    for (int i = 0; i < c->node->in_count; i++) {
        if (!c->in[i] || c->in[i]->rank != rank || c->in[i]->type != c->in[0]->type)
            return hone_onnx_call_fail(c, "operands of different kinds");
        for (int k = 0; k < rank; k++)
            if (k != axis && c->in[i]->dim[k] != dim[k]) return hone_onnx_call_fail(c, "shapes that differ");
        dim[axis] += c->in[i]->dim[axis];
    }
    HONE_TRY(hone_onnx_call_out(c, c->in[0]->type, rank, dim));
    size_t bytes = hone_onnx_type_bytes(c->out.type);
    for (int k = 0; k < axis; k++) outer *= dim[k];
    if (!c->out.count || !outer) return HONE_OK;
    for (int i = 0; i < c->node->in_count; i++) {
        size_t run = outer ? (size_t)(c->in[i]->count / outer) * bytes : 0,
               whole = (size_t)(c->out.count / outer) * bytes;
        for (int64_t o = 0; o < outer && run; o++)
            memcpy((char *)c->out.data + (size_t)o * whole + at, (const char *)c->in[i]->data + (size_t)o * run, run);
        at += (int64_t)run;
    }
    return HONE_OK;
}

const hone_onnx_op hone_onnx_move_ops[] = {
    {"Reshape", reshape, 2, 2},          /* x, shape */
    {"Flatten", flatten, 1, 1},          /* {axis} */
    {"Unsqueeze", unsqueeze, 2, 2},      /* x, axes */
    {"Squeeze", squeeze, 2, 2},          /* x, axes */
    {"Identity", identity, 1, 1},        /* x */
    {"Shape", shape, 1, 1},              /* int64 (rank) */
    {"Size", size, 1, 1},                /* int64 () */
    {"Range", range, 3, 3},              /* start, limit, delta */
    {"Transpose", transpose, 1, 1},      /* {perm} */
    {"Expand", expand, 2, 2},            /* x, shape */
    {"Slice", slice, 4, 4},              /* x, starts, ends, axes */
    {"Gather", gather, 2, 2},            /* x, index {axis} */
    {"Concat", concat, 1, HONE_ONNX_IN}, /* {axis} */
    {NULL, NULL, 0, 0},
};
