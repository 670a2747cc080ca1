/* table.c - the layer table: what a net is, layer by layer, at a glance (as darknet prints it).
 *
 * A row is a layer that has nodes in the graph, where its last node stands; containers appear only
 * where they compute (the sum of a residual). Figures are of this graph: one batch, forward. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "model/model_private.h"

typedef struct row {
    int32_t last; /* index of the layer's last forward node, -1: none */
    double flop, bytes;
    int64_t params;
} row;

/* Bytes of the activations that a node makes; aliases make none. */
static double act_bytes(const hone_graph *g, const hone_node *n)
{
    double bytes = 0;
    for (int k = 0; k < n->out_count; k++) {
        const hone_tensor *t = n->out[k] == HONE_NONE ? NULL : &g->tensor[n->out[k]];
        if (t && t->role == HONE_ROLE_ACT && t->alias == HONE_NONE) bytes += (double)hone_tensor_bytes(t);
    }
    return bytes;
}

/* Sums by layer over the forward nodes; state (running statistics) is no parameter, as PyTorch counts. */
static void collect(const hone_model *m, const hone_graph *g, row *rows)
{
    int count = m->tree.all.count;
    for (int k = 0; k < count; k++) rows[k].last = -1;
    for (int32_t k = 0; k < g->node_count; k++) {
        const hone_node *n = &g->node[k];
        if (n->phase != HONE_PHASE_FORWARD || n->layer < 0 || n->layer >= count) continue;
        double flop, bytes;
        hone_node_cost(g, n, &flop, &bytes);
        rows[n->layer].last = k;
        rows[n->layer].flop += flop;
        rows[n->layer].bytes += act_bytes(g, n);
    }
    for (int k = 0; k < m->params.count; k++)
        if (m->params.item[k].role == HONE_ROLE_PARAM) rows[m->params.layer[k]].params += m->params.item[k].count;
}

/* Rows in execution order; the first is the image that the net sees. */
static void add_rows(const hone_model *m, const hone_graph *g, const row *rows, int width, hone_text *t)
{
    /* rows are numbered as shown; a layer's id counts containers too */
    int index = 0;
    for (int32_t k = 0; k < g->node_count; k++) {
        const hone_node *n = &g->node[k];
        char shape[64];
        if (n->op == HONE_OP_image_batch)
            hone_text_add(t, "%4s  %-*s  %-14s  %-20s\n", "", width, "image", "",
                          hone_tensor_shape_text(&g->tensor[n->out[0]], shape, sizeof shape));
        /* only the layer's last node makes its row; the loss has no layer */
        if (n->layer < 0 || n->layer >= m->tree.all.count || rows[n->layer].last != k) continue;
        const hone_layer *l = m->tree.all.item[n->layer];
        const row *r = &rows[n->layer];
        hone_text_add(t, "%4d  %-*s  %-14s  %-20s  %11lld  %11.3f  %11.1f\n", index++, width,
                      l->path[0] ? l->path : "-", l->type->name,
                      hone_tensor_shape_text(&g->tensor[n->out[0]], shape, sizeof shape), (long long)r->params,
                      r->flop * 1e-6, r->bytes / 1024);
    }
}

/* Columns are as wide as the longest path, so that a table reads in any terminal and diffs line by line. */
char *hone_model_table(const hone_model *m, const hone_graph *g)
{
    row *rows = calloc((size_t)m->tree.all.count + 1, sizeof *rows);
    if (!rows) return NULL;
    collect(m, g, rows);
    hone_text t = {0};
    /* of the word "layer" at the least */
    int width = 5;
    double flop = 0, bytes = 0;
    int64_t params = 0, trainable = 0;
    for (int k = 0; k < m->tree.all.count; k++) {
        int length = (int)strlen(m->tree.all.item[k]->path);
        if (rows[k].last >= 0 && length > width) width = length;
        flop += rows[k].flop;
        bytes += rows[k].bytes;
        params += rows[k].params;
    }
    for (int k = 0; k < m->params.count; k++)
        if (m->params.item[k].role == HONE_ROLE_PARAM && m->params.item[k].trainable)
            trainable += m->params.item[k].count;
    hone_text_add(&t, "%4s  %-*s  %-14s  %-20s  %11s  %11s  %11s\n", "#", width, "layer", "kind", "output", "params",
                  "MFLOP", "act KiB");
    add_rows(m, g, rows, width, &t);
    hone_text_add(&t, "%4s  %-*s  %-14s  %-20s  %11lld  %11.3f  %11.1f\n", "", width, "total", "", "",
                  (long long)params, flop * 1e-6, bytes / 1024);
    hone_text_add(&t, "%lld parameters, %lld of them trainable\n", (long long)params, (long long)trainable);
    free(rows);
    return hone_text_take(&t);
}
