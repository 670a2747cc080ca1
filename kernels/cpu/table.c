/* table.c - the rows of the CPU dialect: which op of ref has a faster kernel here.
 *
 * Rows are grouped by owner file. A row whose launch is missing for the running instruction set is
 * skipped, so the ref kernel stays: slower, never wrong. */
#include "cpu/cpu.h"
#include "cpu/crew.h"
#include "cpu/dense.h"
#include "cpu/pointwise.h"

#include <stdlib.h>

/* same launch whatever the instruction set: the kernel picks in prepare */
#define SAME(launch)                                                                                                   \
    {                                                                                                                  \
        launch, launch, launch                                                                                         \
    }

static const hone_cpu_row rows[] = {
    /* dense algebra: linear.c */
    {HONE_OP_linear, hone_cpu_linear_prepare, SAME(hone_cpu_linear), hone_cpu_linear_release},
    {HONE_OP_linear_act, hone_cpu_linear_prepare, SAME(hone_cpu_linear), hone_cpu_linear_release},
    {HONE_OP_linear_dx, hone_cpu_linear_prepare, SAME(hone_cpu_linear_dx), hone_cpu_linear_release},
    {HONE_OP_linear_dx_act, hone_cpu_linear_prepare, SAME(hone_cpu_linear_dx), hone_cpu_linear_release},
    {HONE_OP_linear_dw, hone_cpu_linear_prepare, SAME(hone_cpu_linear_dw), hone_cpu_linear_release},
    /* dense algebra: conv.c */
    {HONE_OP_conv, hone_cpu_conv_prepare, SAME(hone_cpu_conv_forward), hone_cpu_conv_release},
    {HONE_OP_conv_act, hone_cpu_conv_prepare, SAME(hone_cpu_conv_forward), hone_cpu_conv_release},
    {HONE_OP_conv_dx, hone_cpu_conv_prepare, SAME(hone_cpu_conv_dx), hone_cpu_conv_release},
    {HONE_OP_conv_dw, hone_cpu_conv_prepare, SAME(hone_cpu_conv_dw), hone_cpu_conv_release},
    /* ragged texts: conv1d.c */
    {HONE_OP_conv1d, hone_cpu_conv1d_prepare, SAME(hone_cpu_conv1d), NULL},
    {HONE_OP_conv1d_dx, hone_cpu_conv1d_prepare, SAME(hone_cpu_conv1d_dx), NULL},
    {HONE_OP_conv1d_dw, hone_cpu_conv1d_prepare, SAME(hone_cpu_conv1d_dw), NULL},
    {HONE_OP_COUNT, NULL, {NULL, NULL, NULL}, NULL}, /* end; rows go above */
};

static void overlay(hone_backend *b, hone_cpu_isa isa, const hone_cpu_row *r)
{
    for (; r->op != HONE_OP_COUNT; r++)
        if (r->launch[isa])
            b->kernel[r->op] = (hone_kernel){.prepare = r->prepare, .launch = r->launch[isa], .release = r->release};
}

/* The verbs of host memory free the backend itself; the threads go first. */
static void close_crew(hone_backend *b)
{
    hone_cpu_crew_close(b->self);
    free(b);
}

void hone_cpu_overlay(hone_backend *b)
{
    b->self = hone_cpu_crew_open(b->threads);
    b->close = close_crew;
    hone_cpu_isa isa = hone_cpu_isa_pick();
    overlay(b, isa, rows);
    overlay(b, isa, hone_cpu_pointwise_rows);
}
