/* batchnorm.c - scratch of batch normalisation: sums of each thread, then the constants of pass two.
 *
 * The size is a function of channels and threads, stated once in prepare. */
#include "cpu/batchnorm.h"

enum { LINE_FLOATS = 16 }; /* a cache line: parts never share one */

/* floats of one (C) array of float; one of double takes two */
static int64_t array_floats(int64_t C) { return (C + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS; }
static int64_t part_floats(int64_t C) { return 7 * array_floats(C); }

norm_affine hone_cpu_norm_affine(void *work, int64_t C, int parts)
{
    float *p = (float *)work + parts * part_floats(C);
    return (norm_affine){p, p + array_floats(C), p + 2 * array_floats(C), p + 3 * array_floats(C)};
}

norm_sums hone_cpu_norm_sums(void *work, int64_t C, int part)
{
    float *p = (float *)work + part * part_floats(C), *singles = p + 4 * array_floats(C);
    return (norm_sums){.first = (double *)(void *)p,
                       .second = (double *)(void *)(p + 2 * array_floats(C)),
                       .s = singles,
                       .q = singles + array_floats(C),
                       .shift = singles + 2 * array_floats(C)};
}

int hone_cpu_norm_team(const hone_backend *b, int64_t R, int64_t C) { return hone_cpu_team(b, R * C); }

hone_status hone_cpu_norm_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    int64_t C = hone_cpu_last(&g->tensor[n->in[0]]);
    n->work_bytes = (size_t)(b->threads * part_floats(C) + 4 * array_floats(C)) * sizeof(float);
    return HONE_OK;
}
