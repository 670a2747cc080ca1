/* image_adjust.c - scratch of image_adjust: a picture a sample, so that no thread waits for another's. */
#include "cpu/pointwise.h"

hone_status hone_cpu_image_adjust_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    n->work_bytes = (size_t)hone_tensor_count(&g->tensor[n->out[0]]);
    return HONE_OK;
}
