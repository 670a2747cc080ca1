/* names.c - see names.h. */
#include "onnx/names.h"

#include <stdlib.h>
#include <string.h>

/* Twice as many places as names, so that a search ends after a step or two; a power of two, so that a mask does for
 * the remainder. */
hone_status hone_onnx_names_open(hone_onnx_names *n, int most)
{
    int room = 64;
    while (room < 2 * most) room *= 2;
    n->name = calloc((size_t)room, sizeof *n->name);
    n->number = calloc((size_t)room, sizeof *n->number);
    n->room = room;
    n->count = 0;
    if (n->name && n->number) return HONE_OK;
    hone_onnx_names_close(n);
    return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the names of an ONNX graph");
}

/* FNV-1a, then the next free place. */
int hone_onnx_names_find(hone_onnx_names *n, const char *name, bool add)
{
    uint32_t hash = 2166136261u;
    for (const char *s = name; *s; s++) hash = (hash ^ (uint8_t)*s) * 16777619u;
    int at = (int)(hash & (uint32_t)(n->room - 1));
    while (n->name[at]) {
        if (strcmp(n->name[at], name) == 0) return n->number[at];
        at = (at + 1) & (n->room - 1);
    }
    if (!add) return -1;
    n->name[at] = name;
    n->number[at] = n->count;
    return n->count++;
}

/* Fine on one that was never opened: both arrays are NULL then. */
void hone_onnx_names_close(hone_onnx_names *n)
{
    free(n->name);
    free(n->number);
    *n = (hone_onnx_names){0};
}

/* A new name, or DATA. */
static hone_status define(hone_onnx_names *names, const char *file, const char *name)
{
    int before = names->count; /* the number that a new name gets */
    if (!*name) return hone_fail(HONE_ERR_DATA, "export it again", "%s: a value without a name", file);
    if (hone_onnx_names_find(names, name, true) != before)
        return hone_fail(HONE_ERR_DATA, "export it again", "%s: '%.60s' is defined twice", file, name);
    return HONE_OK;
}

/* Operands first, results after: a node that reads its own result is a cycle of one. */
static hone_status check_node(hone_onnx_names *names, const char *file, const hone_onnx_node *n)
{
    if (!*n->op || n->out_count < 1)
        return hone_fail(HONE_ERR_DATA, "export it again", "%s: a node without operator or output", file);
    for (int k = 0; k < n->in_count; k++)
        if (*n->in[k] && hone_onnx_names_find(names, n->in[k], false) < 0)
            return hone_fail(HONE_ERR_DATA, "export it again", "%s: %.30s '%.60s' reads '%.60s' before it is there",
                             file, n->op, n->name, n->in[k]);
    for (int k = 0; k < n->out_count; k++)
        if (*n->out[k]) HONE_TRY(define(names, file, n->out[k]));
    return HONE_OK;
}

/* One walk in the order of the file is enough: ONNX demands that order, and with it there can be no cycle. A name
 * that is defined twice would make a later reader compute something else. */
hone_status hone_onnx_check(const hone_onnx *m, const char *file)
{
    hone_onnx_names names = {0};
    int64_t most = (int64_t)m->init_count + m->input_count;
    hone_status status;
    for (int k = 0; k < m->node_count; k++) most += m->node[k].out_count;
    if (most > 1 << 24) return hone_fail(HONE_ERR_DATA, "export it again", "%s: more than 16 million values", file);
    HONE_TRY(hone_onnx_names_open(&names, (int)most + 1));
    for (int k = 0; k < m->input_count; k++) HONE_GOTO(status, define(&names, file, m->input[k].name), done);
    for (int k = 0; k < m->init_count; k++) HONE_GOTO(status, define(&names, file, m->init[k].name), done);
    for (int k = 0; k < m->node_count; k++) HONE_GOTO(status, check_node(&names, file, &m->node[k]), done);
    status =
        m->output_count ? HONE_OK : hone_fail(HONE_ERR_DATA, "export it again", "%s: a graph without outputs", file);
    for (int k = 0; k < m->output_count && status == HONE_OK; k++)
        if (hone_onnx_names_find(&names, m->output[k].name, false) < 0)
            status = hone_fail(HONE_ERR_DATA, "export it again", "%s: no value '%.60s' to give out", file,
                               m->output[k].name);
done:
    hone_onnx_names_close(&names);
    return status;
}
