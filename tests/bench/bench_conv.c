/* bench_conv.c - speed of every convolution of the zoo's image nets, by direction and thread count.
 *
 * Prints effective GF/s (a multiply-add of the plain algorithm counts 2) of the method that the rule
 * chose and of the others that can do the shape (forced by HONE_CPU_CONV), so that the rule can be
 * checked: the chosen column must be the best or near it. Usage: bench_conv [batch [threads [name]]]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hone/backend.h"

typedef struct layer {
    const char *name;
    int h, i, o, kernel, stride, pad, groups;
} layer;

static const layer layers[] = {
    {"resnet stem 3x3", 32, 3, 64, 3, 1, 1, 1},
    {"resnet 64@32", 32, 64, 64, 3, 1, 1, 1},
    {"resnet 64-128 s2", 32, 64, 128, 3, 2, 1, 1},
    {"resnet 64-128 1x1 s2", 32, 64, 128, 1, 2, 0, 1},
    {"resnet 128@16", 16, 128, 128, 3, 1, 1, 1},
    {"resnet 128-256 s2", 16, 128, 256, 3, 2, 1, 1},
    {"resnet 128-256 1x1 s2", 16, 128, 256, 1, 2, 0, 1},
    {"resnet 256@8", 8, 256, 256, 3, 1, 1, 1},
    {"resnet 256-512 s2", 8, 256, 512, 3, 2, 1, 1},
    {"resnet 256-512 1x1 s2", 8, 256, 512, 1, 2, 0, 1},
    {"resnet 512@4", 4, 512, 512, 3, 1, 1, 1},
    {"lenet 1-6 5x5", 28, 1, 6, 5, 1, 2, 1},
    {"lenet 6-16 5x5", 14, 6, 16, 5, 1, 0, 1},
    {"cnn 1-32 3x3", 28, 1, 32, 3, 1, 1, 1},
    {"cnn 32-32 3x3", 28, 32, 32, 3, 1, 1, 1},
    {"cnn 32-64 3x3", 14, 32, 64, 3, 1, 1, 1},
    {"3x3 16@28", 28, 16, 16, 3, 1, 1, 1},
    {"3x3 8@28", 28, 8, 8, 3, 1, 1, 1},
    {"mobilenet 1x1 96-24", 16, 96, 24, 1, 1, 0, 1},
    {"mobilenet 1x1 32-192", 16, 32, 192, 1, 1, 0, 1},
    {"mobilenet dw 96@32", 32, 96, 96, 3, 1, 1, 96},
    {"mobilenet dw 144 s2", 32, 144, 144, 3, 2, 1, 144},
    {"mobilenet dw 384@8", 8, 384, 384, 3, 1, 1, 384},
};

/* One thread is timed by its CPU time, which a busy machine leaves alone; several only by the wall clock. */
static double now(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static hone_tensor shape(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (hone_tensor){.dtype = HONE_F32, .rank = 4, .dim = {a, b, c, d}};
}

static float *filled(const hone_tensor *t)
{
    int64_t n = hone_tensor_count(t);
    float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);
    if (!x) abort();
    for (int64_t i = 0; i < n; i++) x[i] = (float)((i * 2654435761u >> 7) % 2001) * 1e-3f - 1.0f;
    return x;
}

/* The fastest of `runs`, in seconds. */
static double time_launch(hone_backend *b, const hone_kernel *k, const hone_launch *l, int runs)
{
    double best = 1e9;
    for (int i = 0; i < runs; i++) {
        double start = now(b->threads);
        k->launch(b, l);
        double took = now(b->threads) - start;
        if (took < best) best = took;
    }
    return best;
}

/* GF/s of one direction under the method that HONE_CPU_CONV names now; choice gets what ran. */
static double measure(hone_op op, const layer *y, int batch, int threads, const char **choice)
{
    hone_backend *b = NULL;
    if (hone_backend_open("cpu", threads, &b) != HONE_OK) abort();
    int out = (y->h + 2 * y->pad - y->kernel) / y->stride + 1;
    hone_tensor t[4] = {shape(batch, y->h, y->h, y->i), shape(batch, out, out, y->o),
                        shape(y->o, y->kernel, y->kernel, y->i / y->groups)};
    static const int operand[3][3] = {{0, 2, 1}, {1, 2, 0}, {0, 1, 2}}; /* in, in, out of t by direction */
    const int *at = operand[op == HONE_OP_conv ? 0 : op == HONE_OP_conv_dx ? 1 : 2];
    hone_node n = {.op = op, .in = {at[0], at[1], HONE_NONE}, .out = {at[2], HONE_NONE}};
    n.attr.window =
        (hone_window){{y->kernel, y->kernel}, {y->stride, y->stride}, {y->pad, y->pad}, {1, 1}, y->groups, y->h, y->h};
    hone_graph g = {.tensor = t, .tensor_count = 3};
    const hone_kernel *k = &b->kernel[op];
    if (k->prepare && k->prepare(b, &g, &n) != HONE_OK) abort();
    float *x[3] = {filled(&t[0]), filled(&t[1]), filled(&t[2])};
    hone_launch l = {.node = &n, .in_desc = {&t[at[0]], &t[at[1]]}, .out_desc = {&t[at[2]]}};
    l.in[0] = x[at[0]], l.in[1] = x[at[1]], l.out[0] = x[at[2]];
    if (n.work_bytes) l.work = aligned_alloc(64, (n.work_bytes + 63) / 64 * 64);
    double flop = 2.0 * batch * out * out * y->o * y->kernel * y->kernel * (y->i / y->groups);
    k->launch(b, &l);
    double best = time_launch(b, k, &l, flop > 1e9 ? 5 : 20);
    *choice = n.choice ? n.choice : "?";
    if (k->release) k->release(b, &n);
    free(l.work);
    for (int i = 0; i < 3; i++) free(x[i]);
    hone_backend_close(b);
    return flop / best * 1e-9;
}

int main(int argc, char **argv)
{
    int batch = argc > 1 ? atoi(argv[1]) : 64, threads = argc > 2 ? atoi(argv[2]) : 1;
    const char *only = argc > 3 ? argv[3] : "";
    static const hone_op op[] = {HONE_OP_conv, HONE_OP_conv_dx, HONE_OP_conv_dw};
    printf("%-24s %-8s %-16s %8s %10s %10s %10s\n", "layer", "op", "choice", "GF/s", "implicit", "direct", "winograd");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (!strstr(layers[i].name, only)) continue;
        for (int d = 0; d < 3; d++) {
            const char *choice, *other;
            unsetenv("HONE_CPU_CONV");
            printf("%-24s %-8s ", layers[i].name, hone_op_name(op[d]));
            double chosen = measure(op[d], &layers[i], batch, threads, &choice);
            printf("%-16s %8.1f", choice, chosen);
            static const char *const force[] = {"implicit", "direct", "winograd"};
            for (int f = 0; f < 3; f++) {
                setenv("HONE_CPU_CONV", force[f], 1);
                double speed = measure(op[d], &layers[i], batch, threads, &other);
                if (strncmp(other, force[f], strlen(force[f])) == 0) printf(" %10.1f", speed);
                else printf(" %10s", "-");
            }
            printf("\n");
            fflush(stdout);
        }
    }
    return 0;
}
