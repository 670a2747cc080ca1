/* bench.h - figures of one `hone bench`: measured by bench.c, shown by bench_report.c. */
#ifndef HONE_CLI_BENCH_H
#define HONE_CLI_BENCH_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "hone/config.h"
#include "hone/program.h"

/* Nodes of one op and phase, all together, in one step. */
typedef struct hone_bench_op {
    hone_op op;
    hone_phase phase;
    int count;
    double seconds;      /* medians of the nodes, summed                             */
    double flop, bytes;  /* by formula: hone_node_cost                               */
    double roof_seconds; /* what the roof allows, node by node: max(flop/F, bytes/B) */
} hone_bench_op;

typedef struct hone_bench_result {
    const hone_config *config;
    const char *device, *precision, *path;
    int threads, batch, steps;
    double ready_seconds;      /* from the start of the command to the beginning of step 1   */
    double first_step_seconds; /* and to its end                                             */
    double step_median, step_low, step_high, step_least; /* seconds; low, high: 10 and 90 %   */
    double data_wait;                                    /* share of the time, 0..1          */
    double loss;                                         /* mean over the timed steps        */
    double tokens;                                       /* text: live ones of a step, mean  */
    size_t peak_bytes, program_bytes;                    /* of the process; of its arenas    */
    double flop_per_second, bytes_per_second;            /* the roof; 0 where not measured   */
    int together;                                        /* steps that one recording may hold          */
    int64_t kernels;   /* launched in one step; 0 where the dialect does not count     */
    hone_bench_op *op; /* (op_count), slowest first        */
    int op_count;
} hone_bench_result;

/* Groups the nodes of a program by op and phase; seconds[node_count] from hone_program_profile. */
hone_status hone_bench_group(const hone_graph *g, const double *seconds, hone_bench_result *r) HONE_MUST_USE;
void hone_bench_print(const hone_bench_result *r);
json_t *hone_bench_json(const hone_bench_result *r); /* NULL: memory exhausted */

#endif
