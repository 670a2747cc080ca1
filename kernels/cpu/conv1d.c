/* conv1d.c - convolution along ragged texts as products over windows (windows.h). Definitions: kernels/ref/conv1d.c.
 *
 * dx is a convolution of dy with the taps in reverse order, so one loop makes both. Weights (O, K, I) are packed anew
 * at each launch, by all threads, as those of linear layers are. */
#include "cpu/dense.h"
#include "cpu/windows.h"

/* Floats of the packed weights: (K I, O) forward, (K O, I) for dx, none for dw. */
static int64_t weight_floats(const hone_graph *g, const hone_node *n)
{
    const int64_t *w = g->tensor[n->in[1]].dim; /* (O, K, I) */
    const hone_cpu_gemm *gemm = hone_cpu_gemm_pick();
    if (n->op == HONE_OP_conv1d_dw) return 0;
    if (n->op == HONE_OP_conv1d) return hone_cpu_panel_floats(gemm, w[1] * w[2], w[0]);
    return hone_cpu_panel_floats(gemm, w[1] * w[0], w[2]);
}

/* Parts by the work at full capacity: what a batch holds is known at launch alone. */
static int parts_of(const hone_backend *b, int64_t T, int64_t K, int64_t I, int64_t O)
{
    return hone_cpu_parts(b, 2.0 * (double)T * (double)K * (double)I * (double)O);
}

hone_status hone_cpu_conv1d_prepare(hone_backend *b, const hone_graph *g, hone_node *n)
{
    const hone_tensor *x = &g->tensor[n->in[0]]; /* dx: dy */
    int64_t K = n->attr.window.kernel[0], C = x->dim[1],
            other = g->tensor[n->in[1]].dim[n->op == HONE_OP_conv1d_dx ? 2 : 0];
    if (n->op == HONE_OP_conv1d_dw) other = g->tensor[n->in[1]].dim[1];
    int64_t part = hone_cpu_windows_floats(hone_cpu_gemm_pick(), K, C);
    n->work_bytes = (size_t)(weight_floats(g, n) + parts_of(b, x->dim[0], K, C, other) * part) * sizeof(float);
    n->choice = "windows";
    return HONE_OK;
}

/* One launch of the forward kind, and how its panels are made. */
typedef struct pack_job {
    const hone_cpu_gemm *gemm;
    const float *w; /* (O, K, I) */
    float *panels;
    int64_t O, K, I;
    bool reverse; /* dx */
} pack_job;

/* Panels are shared out evenly. dx: panel j of a (K O, I) matrix is K pieces (O, cols), the last tap first. */
static void pack_part(void *arg, int part, int parts)
{
    const pack_job *p = arg;
    const int64_t cols = p->gemm->cols, columns = p->reverse ? p->I : p->O, ld = p->K * p->I;
    int64_t first, last;
    hone_cpu_share((columns + cols - 1) / cols, part, parts, &first, &last);
    if (!p->reverse) {
        /* (O, K I) turned is what the gemm calls b turned: its own packing does */
        if (first < last) p->gemm->pack_turned(first, last, p->O, ld, p->w, ld, p->panels);
        return;
    }
    for (int64_t j = first; j < last; j++)
        for (int64_t k = 0; k < p->K; k++) {
            int64_t n = p->I - j * cols < cols ? p->I - j * cols : cols;
            p->gemm->pack(0, 1, n, p->O, p->w + (p->K - 1 - k) * p->I + j * cols, ld,
                          p->panels + (j * p->K + k) * p->O * cols);
        }
}

/* What both kinds share; offset is input `at`. */
static hone_cpu_windows unpack(const hone_backend *b, const hone_launch *l, int at, int64_t C, int64_t N)
{
    hone_cpu_windows w = {.gemm = hone_cpu_gemm_pick(), .offset = l->in[at], .C = C, .N = N};
    w.B = l->in_desc[at]->dim[0] - 1;
    w.live = w.offset[w.B];
    w.T = l->in_desc[0]->dim[0];
    w.K = l->node->attr.window.kernel[0];
    w.before = l->node->attr.window.pad[0];
    w.x = l->in[0];
    w.parts = parts_of(b, w.T, w.K, C, N);
    return w;
}

/* y, or dx from dy. */
static void run(hone_backend *b, const hone_launch *l, bool reverse)
{
    const int64_t *dim = l->in_desc[1]->dim; /* (O, K, I) */
    hone_cpu_windows w = unpack(b, l, reverse ? 2 : 3, dim[reverse ? 0 : 2], dim[reverse ? 2 : 0]);
    pack_job p = {w.gemm, l->in[1], l->work, dim[0], dim[1], dim[2], reverse};
    hone_cpu_parallel(b, w.parts, pack_part, &p);
    /* scratch: the panels, then what each part gathers in */
    w.panels = p.panels;
    w.work = p.panels + hone_cpu_panel_floats(w.gemm, w.K * w.C, w.N);
    w.bias = reverse ? NULL : l->in[2];
    w.y = l->out[0];
    /* tap k of y was tap K - 1 - k of dx, seen from the row that was read */
    if (reverse) w.before = w.K - 1 - w.before;
    hone_cpu_windows_forward(b, &w);
}

void hone_cpu_conv1d(hone_backend *b, const hone_launch *l) { run(b, l, false); }
void hone_cpu_conv1d_dx(hone_backend *b, const hone_launch *l) { run(b, l, true); }

void hone_cpu_conv1d_dw(hone_backend *b, const hone_launch *l)
{
    hone_cpu_windows w = unpack(b, l, 2, l->in_desc[0]->dim[1], l->in_desc[1]->dim[1]);
    w.dy = l->in[1];
    w.dw = l->out[0];
    w.db = l->out[1];
    w.accumulate = l->node->accumulate;
    w.work = l->work;
    hone_cpu_windows_dw(b, &w);
}
