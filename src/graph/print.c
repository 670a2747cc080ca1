/* print.c - the dump of a graph: what will run, in order, and what each node costs (graph_print.h).
 *
 * Users trust what they can see; the same table serves before the plan and after it. Must not
 * change the graph and must not print: it appends to a text.
 *
 * Columns are fixed, so that two dumps can be compared line by line; numbers have three significant
 * digits, as the figures are estimates. */
#include <stdio.h>

#include "graph/graph_print.h"

/* As in the messages of the passes. */
const char *hone_phase_name(hone_phase phase)
{
    static const char *const name[] = {"forward", "backward", "update"};
    return name[phase];
}

/* Arenas are named by their role. */
const char *hone_role_name(hone_role role)
{
    static const char *const name[HONE_ROLE_COUNT] = {
        [HONE_ROLE_INPUT] = "input", [HONE_ROLE_POOL] = "pool",     [HONE_ROLE_CONST] = "const",
        [HONE_ROLE_PARAM] = "param", [HONE_ROLE_STATE] = "state",   [HONE_ROLE_GRAD] = "grad",
        [HONE_ROLE_OPT] = "opt",     [HONE_ROLE_SCALAR] = "scalar", [HONE_ROLE_ACT] = "act",
        [HONE_ROLE_WORK] = "work",   [HONE_ROLE_SHADOW] = "shadow",
    };
    return name[role];
}

/* 999.5 rounds up to four digits, so that is where the prefix changes. */
const char *hone_metric_text(double value, char *text, size_t text_bytes)
{
    static const char prefix[] = " kMGTPE";
    int k = 0;
    while (value >= 999.5 && k < 6) {
        value /= 1000;
        k++;
    }
    snprintf(text, text_bytes,
             value < 10 && k    ? "%.2f %c"
             : value < 100 && k ? "%.1f %c"
                                : "%.0f %c",
             value, prefix[k]);
    return text;
}

/* Elements of the parameters that the node reads; the flat arrays of the update are not counted. */
static double parameters(const hone_graph *g, const hone_node *n)
{
    double count = 0;
    for (int k = 0; k < n->in_count; k++) {
        if (n->in[k] == HONE_NONE) continue;
        const hone_tensor *t = &g->tensor[n->in[k]];
        if (t->role == HONE_ROLE_PARAM && !(t->flags & HONE_TENSOR_FLAT)) count += (double)hone_tensor_count(t);
    }
    return count;
}

/* Sums of one phase. */
typedef struct totals {
    double nodes, flop, bytes;
} totals;

/* One line: what it is, what it makes, what it reads of the model, what it costs. */
static void print_node(const hone_graph *g, hone_nid id, totals *sum, hone_text *into)
{
    const hone_node *n = &g->node[id];
    char shape[96] = "-", label[80], f[24], b[24], p[24];
    double flop, bytes, params = parameters(g, n);
    hone_node_cost(g, n, &flop, &bytes);
    if (n->out[0] != HONE_NONE) hone_tensor_shape_text(&g->tensor[n->out[0]], shape, sizeof shape);
    snprintf(label, sizeof label, "%s%s%s%s", hone_op_name(n->op), n->choice ? " (" : "", n->choice ? n->choice : "",
             n->choice ? ")" : "");
    hone_text_add(into, "%4d  %-8s  %-34s %-22s %10s %11s %11s\n", id, hone_phase_name(n->phase), label, shape,
                  params > 0 ? hone_metric_text(params, p, sizeof p) : "-", hone_metric_text(flop, f, sizeof f),
                  hone_metric_text(bytes, b, sizeof b));
    sum[n->phase].nodes++;
    sum[n->phase].flop += flop;
    sum[n->phase].bytes += bytes;
}

/* The update phase comes last, as in execution. */
void hone_graph_print(const hone_graph *g, hone_text *into)
{
    totals sum[3] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    char f[24], b[24];
    hone_text_add(into, "%4s  %-8s  %-34s %-22s %10s %11s %11s\n", "node", "phase", "op", "output", "params", "FLOP",
                  "bytes");
    for (hone_nid id = 0; id < g->node_count; id++) print_node(g, id, sum, into);
    for (int k = 0; k < 3; k++)
        if (sum[k].nodes > 0)
            hone_text_add(into, "      %-8s  %-34.0f %-22s %10s %11s %11s\n", hone_phase_name((hone_phase)k),
                          sum[k].nodes, "nodes", "", hone_metric_text(sum[k].flop, f, sizeof f),
                          hone_metric_text(sum[k].bytes, b, sizeof b));
}
