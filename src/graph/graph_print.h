/* graph_print.h - a graph as text, one line a node, for `hone plan` and for messages. */
#ifndef HONE_GRAPH_PRINT_H
#define HONE_GRAPH_PRINT_H

#include "core/text.h"
#include "hone/graph.h"

/* Table: number, phase, op (with the algorithm where one was chosen), output shape, parameters the
 * node reads, FLOPs, bytes; then a line of totals per phase. Appends to `into` (core/text.h). */
void hone_graph_print(const hone_graph *g, hone_text *into);
const char *hone_phase_name(hone_phase phase);
const char *hone_role_name(hone_role role);
/* "1.23 G", three significant digits with a decimal prefix; returns `text`. */
const char *hone_metric_text(double value, char *text, size_t text_bytes);

#endif
