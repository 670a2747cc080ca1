/* gru.c - what the recurrence of gru_simd.c needs before it runs: scratch, and the order of the texts. */
#include "cpu/gru.h"
#include "cpu/pointwise.h"

/* By the work of full capacity and the texts there can be: known in prepare, and the same at each launch. */
int hone_cpu_gru_parts(const hone_backend *b, int64_t T, int64_t B, int64_t H)
{
    int parts = hone_cpu_parts(b, 6.0 * (double)T * (double)H * (double)H);
    return parts > B ? (int)B : parts;
}

/* Packed weights first, as they are read most; each part's rows begin on a cache line of their own. */
hone_cpu_gru_work hone_cpu_gru_layout(const hone_cpu_gemm *g, int parts, int64_t T, int64_t B, int64_t H, bool backward)
{
    hone_cpu_gru_work w = {.rows = (B + parts - 1) / parts};
    int64_t panels = backward ? hone_cpu_panel_floats(g, 3 * H, H) : hone_cpu_panel_floats(g, H, 3 * H);
    w.own = panels;
    w.own_floats = ((w.rows + 1) * 4 * H + 15) / 16 * 16;
    w.da = w.own + parts * w.own_floats;
    w.windows = w.da + (backward ? (T * 3 * H + 15) / 16 * 16 : 0);
    w.order = w.windows + (backward ? parts * hone_cpu_windows_floats(g, 1, H) : 0);
    w.floats = w.order + 2 * B; /* int32, as wide as float */
    return w;
}

/* The layout is a function of shapes alone, so launches find it again without any state. */
hone_status hone_cpu_gru_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    bool backward = n->op == HONE_OP_gru_dx;
    const hone_tensor *w = &g->tensor[n->in[backward ? 0 : 1]], *offset = &g->tensor[n->in[backward ? 1 : 3]];
    int64_t T = g->tensor[n->in[backward ? 2 : 0]].dim[0], B = offset->dim[0] - 1, H = w->dim[1];
    int parts = hone_cpu_gru_parts(b, T, B, H);
    n->work_bytes = (size_t)hone_cpu_gru_layout(hone_cpu_gemm_pick(), parts, T, B, H, backward).floats * sizeof(float);
    n->choice = "texts side by side";
    return HONE_OK;
}

/* Bottom-up merge sort: stable, without recursion or memory of its own. */
const int32_t *hone_cpu_longest_first(const int32_t *offset, int64_t B, int32_t *work)
{
    int32_t *from = work, *to = work + B;
    /* runs of one text each, then pairs of runs are merged until one is left */
    for (int64_t n = 0; n < B; n++) from[n] = (int32_t)n;
    for (int64_t width = 1; width < B; width *= 2) {
        for (int64_t start = 0; start < B; start += 2 * width) {
            int64_t middle = start + width < B ? start + width : B, end = start + 2 * width < B ? start + 2 * width : B;
            for (int64_t i = start, j = middle, k = start; k < end; k++) {
                bool right = i == middle ||
                             (j < end && offset[from[j] + 1] - offset[from[j]] > offset[from[i] + 1] - offset[from[i]]);
                to[k] = right ? from[j++] : from[i++];
            }
        }
        int32_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}
