/* embedding_bag.c - scratch of embedding_bag_rows: two arrays of (id, text) to sort in, and where rows begin. The
 * kernels are in embedding_bag_simd.c; nothing else of the family needs scratch. */
#include "cpu/pointwise.h"

hone_status hone_cpu_rows_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    (void)b;
    size_t tokens = (size_t)g->tensor[n->in[0]].dim[0]; /* T */
    n->work_bytes = 2 * tokens * 8 + (tokens + 1) * sizeof(int32_t);
    return HONE_OK;
}
