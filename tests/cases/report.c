/* report.c - the two reports: speed of each timed case, and which dialect has which op.
 *
 * Markdown on stdout. Speed is work by formula (hone_node_cost) over the fastest and the median of several
 * runs; it is a report, never a check, because machines differ. The support table is a check: an op that
 * the reference lacks, or that no case covers, is a hole and is named. */
#include "cases/cases.h"
#include "core/thread.h"
#include "graph/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEAT_MAX = 15 };
static const double BUDGET_SECONDS = 0.6; /* per node; two runs at the least */

/* For qsort. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Memory of one node, unguarded, filled from the scene; launches it again and again. */
typedef struct timed {
    hone_backend *b;
    hone_node node;
    hone_launch l;
} timed;

/* Memory of one tensor on the device, filled with its value if it has one. */
static void *device_copy(hone_backend *b, const scene *s, hone_tid t)
{
    const hone_tensor *d = &s->g->tensor[t];
    void *host = calloc(1, hone_tensor_bytes(d)), *memory = NULL;
    if (d->role == HONE_ROLE_SCALAR) memcpy(host, &s->step, sizeof s->step);
    for (int64_t i = 0; s->value[t] && i < hone_tensor_count(d); i++) value_put(d->dtype, host, i, s->value[t][i]);
    if (b->alloc(b, hone_tensor_bytes(d), &memory) != HONE_OK ||
        b->upload(b, memory, host, hone_tensor_bytes(d)) != HONE_OK)
        abort();
    free(host);
    return memory;
}

/* Prepares the node and binds the scene's memory to it. */
static bool timed_open(timed *z, hone_backend *b, const scene *s, hone_nid id, void **memory)
{
    memset(z, 0, sizeof *z);
    z->b = b;
    z->node = s->g->node[id];
    const hone_kernel *k = &b->kernel[z->node.op];
    if (!k->launch || (k->prepare && k->prepare(b, s->g, &z->node) != HONE_OK)) return false;
    z->l.node = &z->node;
    for (int i = 0; i < z->node.in_count; i++)
        if (z->node.in[i] != HONE_NONE) {
            z->l.in[i] = memory[z->node.in[i]];
            z->l.in_desc[i] = &s->g->tensor[z->node.in[i]];
        }
    for (int i = 0; i < z->node.out_count; i++)
        if (z->node.out[i] != HONE_NONE) {
            z->l.out[i] = memory[z->node.out[i]];
            z->l.out_desc[i] = &s->g->tensor[z->node.out[i]];
        }
    return b->alloc(b, z->node.work_bytes, &z->l.work) == HONE_OK;
}

/* One row of the table. */
static void time_node(hone_backend *b, const scene *s, hone_nid id, void **memory)
{
    timed z;
    double seconds[REPEAT_MAX], flop, bytes;
    int runs = 0;
    if (!timed_open(&z, b, s, id, memory)) {
        printf("| %s | %s | refused: %s |\n", hone_op_name(z.node.op), s->row->shapes, hone_error_message());
        return;
    }
    b->kernel[z.node.op].launch(b, &z.l); /* the first run pays for cold memory */
    for (double spent = 0; runs < REPEAT_MAX && (runs < 2 || spent < BUDGET_SECONDS); runs++) {
        double start = hone_now_seconds();
        b->kernel[z.node.op].launch(b, &z.l);
        if (b->sync(b) != HONE_OK) abort();
        seconds[runs] = hone_now_seconds() - start;
        spent += seconds[runs];
    }
    qsort(seconds, (size_t)runs, sizeof *seconds, by_value);
    hone_node_cost(s->g, &z.node, &flop, &bytes);
    printf("| %s | %s | %s | %.3f | %.3f | %.1f | %.1f |\n", hone_op_name(z.node.op), s->row->shapes,
           z.node.choice ? z.node.choice : "", seconds[0] * 1e3, seconds[runs / 2] * 1e3, flop / seconds[0] * 1e-9,
           bytes / seconds[0] * 1e-9);
    fflush(stdout);
    b->free(b, z.l.work);
    if (b->kernel[z.node.op].release) b->kernel[z.node.op].release(b, &z.node);
}

/* The forward op and all its backward rows, in graph order. */
static void time_case(hone_backend *b, const case_row *row)
{
    scene s;
    scene_open(&s, row);
    scene_fill(&s, VALUES_REAL);
    void **memory = calloc((size_t)s.g->tensor_count, sizeof *memory);
    for (hone_tid t = 0; t < s.g->tensor_count; t++) memory[t] = device_copy(b, &s, t);
    for (hone_nid id = 0; id < s.g->node_count; id++) time_node(b, &s, id, memory); /* in graph order: inputs exist */
    for (hone_tid t = 0; t < s.g->tensor_count; t++) b->free(b, memory[t]);
    free(memory);
    scene_close(&s);
}

/* `filter`: "OP" or "DEVICE:OP" parts; NULL times all on cpu. */
int report_perf(const char *filter)
{
    char device[32] = "cpu", text[256];
    const char *colon = filter ? strchr(filter, ':') : NULL;
    hone_backend *b;
    if (colon) snprintf(device, sizeof device, "%.*s", (int)(colon - filter), filter);
    const char *wanted = colon ? colon + 1 : filter;
    if (hone_backend_open(device, 0, &b) != HONE_OK) {
        printf("%s\n", hone_error_message());
        return 1;
    }
    printf("%s\n\n| op | case | algorithm | fastest ms | median ms | GFLOP/s | GB/s |\n|---|---|---|---|---|---|---|\n",
           hone_backend_describe(b, text, sizeof text));
    for (int k = 0; k < perf_count; k++)
        if (!wanted || strstr(hone_op_name(perf_list[k].op), wanted)) time_case(b, &perf_list[k]);
    hone_backend_close(b);
    return 0;
}

/* --- support ------------------------------------------------------------------------------------------- */
static int cases_of(hone_op op)
{
    int count = 0;
    for (int k = 0; k < case_count; k++) {
        bool belongs = case_list[k].op == op;
        for (int i = 0; i < backward_count; i++)
            belongs = belongs || (backward_list[i].forward == case_list[k].op && backward_list[i].backward == op &&
                                  (!backward_list[i].fused_only || case_list[k].attr.act != HONE_ACT_NONE));
        count += belongs;
    }
    return count;
}

/* Shapes on which the backward row of `op` is checked by differences. */
static bool is_trained(hone_op op)
{
    for (int i = 0; i < backward_count; i++)
        if (backward_list[i].forward == op) return true;
    return false;
}

/* Names what is missing; 1, to be summed. */
static int hole(const char *op, const char *what)
{
    printf("\nHOLE: %s: %s\n", op, what);
    return 1;
}

/* Everything that DESIGN asks of an op and that the machine can see. */
static int find_holes(const hone_backend *ref)
{
    int holes = 0;
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (op == HONE_OP_reshape) continue;
        const char *name = hone_op_name((hone_op)op);
        if (!ref->kernel[op].launch) holes += hole(name, "the reference has no kernel (kernels/ref)");
        if (cases_of((hone_op)op) == 0) holes += hole(name, "no case covers it (tests/cases.def)");
        if (is_trained((hone_op)op) && cases_of((hone_op)op) < 20)
            holes += hole(name, "a differentiable op needs 20 shapes (tests/cases.def)");
        if (!is_trained((hone_op)op) && !is_backward((hone_op)op) && !no_gradient_reason((hone_op)op))
            holes += hole(name, "it has no backward row and no reason for that (tests/cases/family.c)");
    }
    return holes;
}

/* How `cpu` comes by a row: its own kernel, or the reference's. */
static const char *cpu_source(const hone_backend *cpu, const hone_backend *ref, int op)
{
    return cpu->kernel[op].launch == ref->kernel[op].launch ? "ref" : "own";
}

/* Storage types of a row of the CUDA dialect: 16 bits where some operand is not fp32 by definition. */
static const char *cuda_types(const hone_backend *cuda, int op)
{
    char in[HONE_MAX_IN], out[HONE_MAX_OUT];
    if (!cuda || !cuda->kernel[op].launch || !hone_signature_types((hone_op)op, in, out)) return "-";
    bool stored = memchr(in, 'f', sizeof in) || memchr(out, 'f', sizeof out);
    return stored ? "f32 bf16 f16" : "f32";
}

int report_support(void)
{
    hone_backend *ref, *cpu, *cuda;
    if (hone_backend_open("ref", 1, &ref) != HONE_OK || hone_backend_open("cpu", 1, &cpu) != HONE_OK) return 1;
    if (hone_backend_open("emulated", 1, &cuda) != HONE_OK) hone_error_clear(); /* the table says "-" then */
    printf("| op | ref | ref64 | cpu | cuda | cases |\n|---|---|---|---|---|---|\n");
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (op == HONE_OP_reshape) continue;
        printf("| %s | %s | %s | %s | %s | %d |\n", hone_op_name((hone_op)op), ref->kernel[op].launch ? "f32" : "-",
               ref->kernel[op].launch ? "f64" : "-", cpu_source(cpu, ref, op), cuda_types(cuda, op),
               cases_of((hone_op)op));
    }
    int holes = find_holes(ref);
    hone_backend_close(ref);
    hone_backend_close(cpu);
    hone_backend_close(cuda);
    return holes;
}
