/* bench_report.c - the figures of `hone bench` as a table and as JSON.
 *
 * GFLOP/s and GB/s are by formula (hone_node_cost): Winograd counts as the convolution it replaces and
 * bytes as each tensor once, so a share can exceed 100 % where an algorithm saves work or a cache holds
 * the data. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "graph/graph_print.h"

/* For qsort; ties in the order of ops.def. */
static int slowest_first(const void *a, const void *b)
{
    const hone_bench_op *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : (int)x->op - (int)y->op;
}

/* The row of an op and phase, made when it is first seen; r->op has room for every node. */
static hone_bench_op *group_of(hone_bench_result *r, const hone_node *n)
{
    for (int k = 0; k < r->op_count; k++)
        if (r->op[k].op == n->op && r->op[k].phase == n->phase) return &r->op[k];
    r->op[r->op_count] = (hone_bench_op){.op = n->op, .phase = n->phase};
    return &r->op[r->op_count++];
}

/* Roof times are summed node by node: the slower of the two limits differs between nodes of an op. */
hone_status hone_bench_group(const hone_graph *g, const double *seconds, hone_bench_result *r)
{
    r->op = calloc((size_t)g->node_count + 1, sizeof *r->op);
    if (!r->op) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the per-op table");
    for (hone_nid i = 0; i < g->node_count; i++) {
        const hone_node *n = &g->node[i];
        double flop = 0, bytes = 0;
        if (n->op == HONE_OP_reshape) continue; /* an alias, never launched */
        hone_node_cost(g, n, &flop, &bytes);
        hone_bench_op *to = group_of(r, n);
        to->count++;
        to->seconds += seconds[i];
        to->flop += flop;
        to->bytes += bytes;
        if (r->flop_per_second <= 0) continue;
        /* The slower of arithmetic and memory is the limit (roofline model, Williams et al. 2009). */
        double by_flop = flop / r->flop_per_second, by_bytes = bytes / r->bytes_per_second;
        to->roof_seconds += by_flop > by_bytes ? by_flop : by_bytes;
    }
    qsort(r->op, (size_t)r->op_count, sizeof *r->op, slowest_first);
    return HONE_OK;
}

/* Sum over the nodes: more than a step, because each node is followed by a sync. */
static double total_seconds(const hone_bench_result *r)
{
    double sum = 0;
    for (int k = 0; k < r->op_count; k++) sum += r->op[k].seconds;
    return sum;
}

/* From the median step, as one slow step should not decide. */
static double samples_per_second(const hone_bench_result *r)
{
    return (double)r->batch * r->config->train.accumulate / r->step_median;
}

/* Work of one step: operations and bytes by formula, and the time that the roof allows for them. */
typedef struct totals {
    double flop, bytes, roof_seconds;
} totals;
static totals step_totals(const hone_bench_result *r)
{
    totals sum = {0, 0, 0};
    for (int k = 0; k < r->op_count; k++) {
        sum.flop += r->op[k].flop;
        sum.bytes += r->op[k].bytes;
        sum.roof_seconds += r->op[k].roof_seconds;
    }
    return sum;
}

/* In units of 1e9 per second. */
static double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds * 1e-9 : 0; }

/* 1 = the node runs as fast as arithmetic or memory allow. */
static double roof_share(const hone_bench_op *o) { return o->seconds > 0 ? o->roof_seconds / o->seconds : 0; }

/* Slowest first, so the first lines say where the time goes. */
static void print_ops(const hone_bench_result *r)
{
    double sum = total_seconds(r);
    bool roof = r->flop_per_second > 0;
    printf("\n%-22s %-9s %5s %10s %6s %9s %8s %s\n", "op", "phase", "count", "ms", "share", "GFLOP/s", "GB/s",
           roof ? "   roof" : "");
    for (int k = 0; k < r->op_count; k++) {
        const hone_bench_op *o = &r->op[k];
        printf("%-22s %-9s %5d %10.4f %5.1f%% %9.1f %8.1f", hone_op_name(o->op), hone_phase_name(o->phase), o->count,
               1e3 * o->seconds, sum > 0 ? 100 * o->seconds / sum : 0, rate(o->flop, o->seconds),
               rate(o->bytes, o->seconds));
        if (roof) printf(" %6.1f%%", 100 * roof_share(o));
        printf("\n");
    }
    printf("%-22s %-9s %5s %10.4f\n", "sum", "", "", 1e3 * sum);
}

/* For eyes; scripts take --json. */
void hone_bench_print(const hone_bench_result *r)
{
    char peak[32], arenas[32];
    hone_cli_bytes((double)r->peak_bytes, peak, sizeof peak);
    hone_cli_bytes((double)r->program_bytes, arenas, sizeof arenas);
    printf("%s: batch %d, %d threads, %s, %s\n\n", r->path, r->batch, r->threads, r->device, r->precision);
    printf("samples/s      %.1f\n", samples_per_second(r));
    printf("step           %.3f ms median of %d (10 %% %.3f, 90 %% %.3f, least %.3f)\n", 1e3 * r->step_median, r->steps,
           1e3 * r->step_low, 1e3 * r->step_high, 1e3 * r->step_least);
    printf("first step     begins %.3f s after the start, ends %.3f s\n", r->ready_seconds, r->first_step_seconds);
    printf("waiting        %.1f %% of the time for data\n", 100 * r->data_wait);
    printf("memory         %s at the peak, %s of it the program's arenas\n", peak, arenas);
    printf("loss           %.4f over the timed steps\n", r->loss);
    totals step = step_totals(r);
    printf("work           %.3f GFLOP and %.1f MB a step", 1e-9 * step.flop, 1e-6 * step.bytes);
    if (r->kernels > 0) printf(", %lld kernels", (long long)r->kernels);
    if (r->together > 1) printf(", up to %d steps a graph", r->together);
    printf("\n");
    if (r->flop_per_second > 0)
        printf("roof           %.1f GFLOP/s, %.1f GB/s (measured now): %.3f ms, %.0f %% of the step\n",
               1e-9 * r->flop_per_second, 1e-9 * r->bytes_per_second, 1e3 * step.roof_seconds,
               100 * step.roof_seconds / r->step_median);
    print_ops(r);
}

/* The rows of the table, in its order. */
static json_t *ops_json(const hone_bench_result *r)
{
    json_t *list = json_array();
    for (int k = 0; k < r->op_count; k++) {
        const hone_bench_op *o = &r->op[k];
        json_t *row =
            json_pack("{s:s, s:s, s:i, s:f, s:f, s:f}", "op", hone_op_name(o->op), "phase", hone_phase_name(o->phase),
                      "count", o->count, "ms", 1e3 * o->seconds, "gflop_per_second", rate(o->flop, o->seconds),
                      "gb_per_second", rate(o->bytes, o->seconds));
        row = hone_json_with(row, "roof_share", r->flop_per_second > 0 ? hone_json_real(roof_share(o)) : json_null());
        list = hone_json_added(list, row);
    }
    return list;
}

/* The contract is samples_per_second, step_ms, device, precision; the rest may grow. */
json_t *hone_bench_json(const hone_bench_result *r)
{
    totals step = step_totals(r);
    json_t *o =
        json_pack("{s:o, s:s, s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "config", hone_json_string(r->path),
                  "device", r->device, "precision", r->precision, "threads", r->threads, "batch", r->batch, "steps",
                  r->steps, "samples_per_second", samples_per_second(r), "step_ms", 1e3 * r->step_median, "step_ms_p10",
                  1e3 * r->step_low, "step_ms_p90", 1e3 * r->step_high, "step_ms_min", 1e3 * r->step_least);
    o = hone_json_with(o, "ready_seconds", hone_json_real(r->ready_seconds));
    o = hone_json_with(o, "first_step_seconds", hone_json_real(r->first_step_seconds));
    o = hone_json_with(o, "data_wait", hone_json_real(r->data_wait));
    if (r->tokens > 0) o = hone_json_with(o, "tokens_per_step", hone_json_real(r->tokens));
    o = hone_json_with(o, "loss", hone_json_real(r->loss));
    o = hone_json_with(o, "peak_memory_bytes", json_integer((json_int_t)r->peak_bytes));
    o = hone_json_with(o, "program_bytes", json_integer((json_int_t)r->program_bytes));
    o = hone_json_with(o, "flop_per_step", hone_json_real(step.flop));
    o = hone_json_with(o, "bytes_per_step", hone_json_real(step.bytes)); /* each operand of each node once */
    o = hone_json_with(o, "kernels_per_step", r->kernels > 0 ? json_integer((json_int_t)r->kernels) : json_null());
    o = hone_json_with(o, "steps_a_graph", json_integer(r->together));
    o = hone_json_with(o, "roof",
                       r->flop_per_second > 0 ? json_pack("{s:f,s:f}", "gflop_per_second", 1e-9 * r->flop_per_second,
                                                          "gb_per_second", 1e-9 * r->bytes_per_second)
                                              : json_null());
    o = hone_json_with(o, "ops", ops_json(r));
    return o;
}
