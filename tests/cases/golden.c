/* golden.c - the reference itself against PyTorch: who checks the checker.
 *
 * `dump` writes every case with its numbers; tests/golden/make_ops.py computes the same ops with PyTorch in
 * double and stores, for each output, one projection sum(cos(i + 1) y_i). The test computes the projections
 * again on ref64 and compares. A stale or missing line is not an error, but too few lines are. */
#include "cases/cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DUMP_MAX = 20000 /* elements: larger cases add text, not knowledge */, LINES_MIN = 400 };

/* Cases with equal op and shapes are told apart by number. */
static int ordinal(int index)
{
    int count = 0;
    for (int k = 0; k < index; k++)
        count += case_list[k].op == case_list[index].op && strcmp(case_list[k].shapes, case_list[index].shapes) == 0;
    return count;
}

/* One window as JSON. */
static void dump_window(const char *name, const hone_window *w)
{
    printf("\"%s\":{\"kernel\":[%d,%d],\"stride\":[%d,%d],\"pad\":[%d,%d],\"dilation\":[%d,%d],\"groups\":%d},", name,
           w->kernel[0], w->kernel[1], w->stride[0], w->stride[1], w->pad[0], w->pad[1], w->dilation[0], w->dilation[1],
           w->groups);
}

/* What make_ops.py needs of the attributes, as JSON. */
static void dump_attrs(const hone_attrs *a)
{
    const hone_update_attr *u = &a->update;
    dump_window("window", &a->window);
    dump_window("pool", &a->pool);
    printf("\"act\":%d,\"slope\":%.17g,\"eps\":%.17g,\"momentum\":%.17g,\"heads\":%d,\"attention_p\":%.17g,\"reverse\":"
           "%d,",
           (int)a->act, (double)a->leaky.slope, (double)a->norm.eps, (double)a->norm.momentum, a->attention.heads,
           (double)a->attention.p, a->gru.reverse);
    printf("\"smoothing\":%.17g,\"update\":{\"momentum\":%.17g,\"nesterov\":%d,\"beta1\":%.17g,\"beta2\":%.17g,"
           "\"eps\":%.17g,\"weight_decay\":%.17g,\"clip_norm\":%.17g,\"ema_decay\":%.17g},",
           (double)a->loss.smoothing, (double)u->momentum, u->nesterov, (double)u->beta1, (double)u->beta2,
           (double)u->eps, (double)u->weight_decay, (double)u->clip_norm, (double)u->ema_decay);
}

/* Small enough to be written out. */
static bool is_dumped(const scene *s)
{
    const hone_node *n = &s->g->node[s->forward];
    for (int k = 0; k < n->in_count; k++)
        if (n->in[k] != HONE_NONE && hone_tensor_count(&s->g->tensor[n->in[k]]) > DUMP_MAX) return false;
    return true;
}

/* One case as a line of JSON: op, attributes, step block, input values. */
static void dump_case(int index)
{
    scene s;
    scene_open(&s, &case_list[index]);
    scene_fill(&s, VALUES_REAL);
    const hone_node *n = &s.g->node[s.forward];
    if (is_dumped(&s)) {
        printf("{\"op\":\"%s\",\"shapes\":\"%s\",\"n\":%d,", hone_op_name(n->op), s.row->shapes, ordinal(index));
        dump_attrs(&s.row->attr);
        printf("\"lr\":%.17g,\"updates\":%lld,\"finite\":%d,\"grad_norm\":%.17g,\"loss_scale\":%.17g,\"in\":[",
               (double)s.step.lr, (long long)s.step.updates, s.step.finite, s.step.grad_norm,
               (double)hone_step_loss_scale(&s.step));
        for (int k = 0; k < n->in_count; k++) {
            double *v = n->in[k] == HONE_NONE ? NULL : s.value[n->in[k]];
            printf(v ? "%s[" : "%snull", k ? "," : "");
            for (int64_t i = 0; v && i < hone_tensor_count(&s.g->tensor[n->in[k]]); i++)
                printf("%s%.9g", i ? "," : "", v[i]);
            printf(v ? "]" : "");
        }
        printf("]}\n");
    }
    scene_close(&s);
}

int golden_dump(void)
{
    for (int k = 0; k < case_count; k++)
        if (case_list[k].tolerance < NANS) dump_case(k);
    return 0;
}

/* sum(cos(i + 1) y_i), and the length that its error is measured against. */
static double projection(hone_dtype dtype, const void *y, int64_t n, double *length)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = value_at(dtype, y, i);
        sum += cos((double)(i + 1)) * v;
        squares += v * v;
    }
    *length = sqrt(squares);
    return sum;
}

/* One line: op, shapes, number, "in" or "out", index, projection; tabs between. */
typedef struct line {
    char op[64], shapes[160], side[8];
    int n, k;
    double want;
} line;

/* The case that a line speaks of, or -1 where the list no longer has it. */
static int find_case(const line *l)
{
    for (int k = 0; k < case_count; k++)
        if (strcmp(hone_op_name(case_list[k].op), l->op) == 0 && strcmp(case_list[k].shapes, l->shapes) == 0 &&
            ordinal(k) == l->n)
            return k;
    return -1;
}

/* One output of one case against PyTorch's projection of it. */
static bool line_agrees(const line *l, const run *r, complaint *why)
{
    bool in = strcmp(l->side, "in") == 0;
    const void *data = in ? r->in[l->k] : r->out[l->k];
    size_t bytes = in ? r->in_bytes[l->k] : r->out_bytes[l->k];
    hone_dtype dtype = in ? r->in_dtype[l->k] : r->out_dtype[l->k];
    double length, got = projection(dtype, data, (int64_t)(bytes / hone_dtype_bytes(dtype)), &length);
    if (fabs(got - l->want) <= 1e-9 * (length + 1)) return true; /* float attributes are exact in both */
    snprintf(why->text, sizeof why->text, "%s \"%s\": %s %d projects to %.12g, in PyTorch to %.12g", l->op, l->shapes,
             l->side, l->k, got, l->want);
    return false;
}

bool check_golden(hone_backend *ref64, const char *path, int *compared, complaint *why)
{
    FILE *f = fopen(path, "r");
    char text[512];
    bool ok = f != NULL;
    snprintf(why->text, sizeof why->text, "%s can't be read", path);
    while (ok && fgets(text, sizeof text, f)) {
        line l;
        scene s;
        run r;
        if (sscanf(text, "%63[^\t]\t%159[^\t]\t%d\t%7[^\t]\t%d\t%lf", l.op, l.shapes, &l.n, l.side, &l.k, &l.want) != 6)
            continue;
        int found = find_case(&l);
        if (found < 0) continue;
        scene_open(&s, &case_list[found]);
        scene_fill(&s, VALUES_REAL);
        run_node(ref64, &s, s.forward, (run_how){0}, &r);
        ok = line_agrees(&l, &r, why);
        (*compared)++;
        run_free(&r);
        scene_close(&s);
    }
    if (f) fclose(f);
    if (ok && *compared < LINES_MIN) {
        snprintf(why->text, sizeof why->text, "only %d outputs were compared: run tests/golden/make_ops.py", *compared);
        return false;
    }
    return ok;
}
