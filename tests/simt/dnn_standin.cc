/* dnn_standin.cc - the verbs of kernels/cuda/dnn.h on the emulated device: a library that believes nothing.
 *
 * Contract: checks whatever our builder and launchers promise (uids, dims, strides, types, alignment, operands and
 * workspace inside device memory, nothing written over anything read) and reports each breach as a fault of the
 * emulator; then computes the graph op by op with plain loops in double. Among its candidates are those that must
 * never be chosen: one that adds noise (not deterministic), one that rounds to TF32, one that has no plan, one whose
 * workspace is too large. It scribbles over its whole workspace, before and after. It shares no code with dnn_graph.c. */
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>

#include "device_memory.h"
#include "dnn.h"
#include "hone_device.h"

enum engine { NOISY = 90, COARSE = 91, TF32 = 92, LATE = 7, BROKEN = 8, LARGE = 9, PLAIN = 1, OTHER = 2 };

struct hone_dnn {
    int plans = 0, lists = 0;
};

struct hone_dnn_plan {
    hone_dnn *dnn;
    hone_dnn_graph graph;
    hone_dnn_candidate candidate;
    int64_t work_bytes;
    unsigned runs = 0;
};

static const simt::site HERE = {"dnn_standin", 0};
#define BREACH(...) simt::report(HERE, __VA_ARGS__)

extern "C" const char *hone_dnn_name(void) { return "standin"; }
extern "C" const char *hone_dnn_library(const hone_dnn *) { return "standin 1"; }
extern "C" const char *hone_dnn_version(char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "a stand-in for cuDNN on the host");
    return text;
}

extern "C" hone_status hone_dnn_open(const hone_dnn_device *, hone_dnn **out)
{
    *out = new hone_dnn;
    return HONE_OK;
}

extern "C" void hone_dnn_close(hone_dnn *dnn)
{
    if (dnn && (dnn->plans || dnn->lists)) BREACH("closed with %d plans and %d lists alive", dnn->plans, dnn->lists);
    delete dnn;
}

/* --- what a graph must be, said a second time ------------------------------------------------------------- */
static int64_t count_of(const hone_dnn_tensor &t) { return t.dim[0] * t.dim[1] * t.dim[2] * t.dim[3]; }

static void check_tensors(const hone_dnn_graph &g)
{
    std::set<int64_t> seen;
    for (int k = 0; k < g.tensor_count; k++) {
        const hone_dnn_tensor &t = g.tensor[k];
        const int id = (int)t.uid;
        if (id < 1 || !seen.insert(t.uid).second) BREACH("uid %d is not its own", id);
        int64_t packed = 1;
        for (int d : {1, 3, 2, 0}) { /* channels, then W, H, N */
            if (t.dim[d] < 1) BREACH("tensor %d: empty", id);
            if (t.stride[d] != packed) BREACH("tensor %d: stride %d is not channels-last", id, d);
            packed *= t.dim[d];
        }
        if (t.is_virtual != (id >= HONE_DNN_VIRTUAL)) BREACH("tensor %d: virtual or not?", id);
        bool parameter = t.dim[0] * t.dim[2] * t.dim[3] == 1; /* may be fp32 beside 16-bit images */
        if (!t.is_virtual && !parameter && t.dtype != g.dtype) BREACH("tensor %d is of another type", id);
    }
}

static void check_windows(const hone_dnn_graph &g)
{
    for (int k = 0; k < g.op_count; k++) {
        const hone_dnn_op &op = g.op[k];
        if (op.kind > HONE_DNN_OP_CONV_DW) continue;
        const int64_t *x = g.tensor[op.slot[0]].dim, *w = g.tensor[op.slot[1]].dim, *y = g.tensor[op.slot[2]].dim;
        const hone_window &v = op.window;
        if (w[1] * v.groups != x[1] || w[0] != y[1] || y[1] % v.groups || x[0] != y[0])
            BREACH("channels %d, %d of weight (%d, %d) in %d groups", (int)x[1], (int)y[1], (int)w[0], (int)w[1], v.groups);
        for (int a = 0; a < 2; a++)
            if (w[2 + a] != v.kernel[a] ||
                (x[2 + a] + 2 * v.pad[a] - v.dilation[a] * (v.kernel[a] - 1) - 1) / v.stride[a] + 1 != y[2 + a])
                BREACH("window of axis %d does not take %d to %d", a, (int)x[2 + a], (int)y[2 + a]);
    }
}

/* --- candidates ------------------------------------------------------------------------------------------- */
static void offer(hone_dnn_list *list, int engine, bool ordered, bool at_run_time, bool rounds, bool tensor_cores)
{
    hone_dnn_candidate c = {};
    c.engine = engine;
    c.ordered = ordered;
    c.at_run_time = at_run_time;
    c.rounds_inputs = rounds;
    c.tensor_cores = tensor_cores;
    snprintf(c.knobs, sizeof c.knobs, "2:%d", engine);
    list->item[list->count++] = c;
}

/* Nothing for dilated groups (our own kernel then), and no epilogue for odd channel counts (our own tail then). */
static bool lacks(const hone_dnn_graph &g)
{
    const hone_window &v = g.op[0].window;
    if (g.op[0].kind > HONE_DNN_OP_CONV_DW) return false;
    return (v.dilation[0] > 1 && v.groups > 1) || (g.op_count > 1 && g.tensor[g.op[0].slot[1]].dim[0] % 2);
}

extern "C" hone_status hone_dnn_ask(hone_dnn *dnn, const hone_dnn_graph *g, hone_dnn_list *list)
{
    *list = {};
    check_tensors(*g);
    check_windows(*g);
    list->own = dnn;
    dnn->lists++;
    if (lacks(*g)) return HONE_OK;
    offer(list, NOISY, false, false, false, false);
    offer(list, COARSE, true, false, true, false);
    offer(list, TF32, true, false, false, true);
    offer(list, LATE, true, true, false, false);
    offer(list, BROKEN, true, false, false, false);
    offer(list, LARGE, true, false, false, false);
    offer(list, PLAIN, true, false, false, false);
    offer(list, OTHER, true, false, false, false);
    return HONE_OK;
}

extern "C" void hone_dnn_list_free(hone_dnn_list *list)
{
    if (list->own) ((hone_dnn *)list->own)->lists--;
    *list = {};
}

extern "C" hone_status hone_dnn_plan_new(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_list *list, int item,
                                         hone_dnn_plan **out)
{
    *out = nullptr;
    const int engine = (int)list->item[item].engine;
    if (engine == BROKEN || engine == LATE) return hone_fail(HONE_ERR_RUNTIME, NULL, "standin: engine %d has no plan", engine);
    int64_t work = engine == LARGE ? (int64_t)1 << 40 : 64 * engine + count_of(g->tensor[0]) % 13; /* odd sizes */
    *out = new hone_dnn_plan{dnn, *g, list->item[item], work};
    dnn->plans++;
    return HONE_OK;
}

extern "C" void hone_dnn_plan_free(hone_dnn_plan *plan)
{
    if (plan) plan->dnn->plans--;
    delete plan;
}

extern "C" int64_t hone_dnn_plan_work_bytes(const hone_dnn_plan *plan) { return plan->work_bytes; }
extern "C" const hone_dnn_candidate *hone_dnn_plan_candidate(const hone_dnn_plan *plan) { return &plan->candidate; }

/* --- arithmetic: double, in the order of the definition ----------------------------------------------------- */
typedef std::vector<double> values;

static double load(hone_dtype dtype, const void *at, int64_t i)
{
    if (dtype == HONE_BF16) return to_float(((const bf16 *)at)[i]);
    if (dtype == HONE_F16) return to_float(((const fp16 *)at)[i]);
    if (dtype == HONE_I64) return (double)((const int64_t *)at)[i];
    return ((const float *)at)[i];
}

static void store(hone_dtype dtype, void *at, int64_t i, double v)
{
    if (dtype == HONE_BF16) ((bf16 *)at)[i] = from_float<bf16>((float)v);
    else if (dtype == HONE_F16) ((fp16 *)at)[i] = from_float<fp16>((float)v);
    else ((float *)at)[i] = (float)v;
}

/* Memory order of every tensor is (N, H, W, C), that of a weight (O, kh, kw, I/g). */
static size_t at(const hone_dnn_tensor &t, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return (size_t)(((n * t.dim[2] + h) * t.dim[3] + w) * t.dim[1] + c);
}

/* Visits every product of a convolution once and hands its three places to `take`. */
template <typename F>
static void each_product(const hone_dnn_tensor &x, const hone_dnn_tensor &w, const hone_dnn_tensor &y, const hone_window &v, F take)
{
    const int64_t outs = y.dim[1] / v.groups, ins = w.dim[1];
    for (int64_t n = 0; n < y.dim[0]; n++)
        for (int64_t oh = 0; oh < y.dim[2]; oh++)
            for (int64_t ow = 0; ow < y.dim[3]; ow++)
                for (int r = 0; r < v.kernel[0]; r++)
                    for (int s = 0; s < v.kernel[1]; s++) {
                        int64_t h = oh * v.stride[0] - v.pad[0] + r * v.dilation[0];
                        int64_t ww = ow * v.stride[1] - v.pad[1] + s * v.dilation[1];
                        if (h < 0 || h >= x.dim[2] || ww < 0 || ww >= x.dim[3]) continue;
                        for (int64_t o = 0; o < y.dim[1]; o++)
                            for (int64_t i = 0; i < ins; i++)
                                take(at(x, n, o / outs * ins + i, h, ww), at(w, o, i, r, s), at(y, n, o, oh, ow));
                    }
}

static void convolve(const hone_dnn_graph &g, const hone_dnn_op &op, std::vector<values> &v)
{
    values &x = v[op.slot[0]], &w = v[op.slot[1]], &y = v[op.slot[2]];
    const hone_dnn_tensor *t = g.tensor;
    auto run = [&](auto take) { each_product(t[op.slot[0]], t[op.slot[1]], t[op.slot[2]], op.window, take); };
    if (op.kind == HONE_DNN_OP_CONV) run([&](size_t a, size_t b, size_t c) { y[c] += x[a] * w[b]; });
    if (op.kind == HONE_DNN_OP_CONV_DX) run([&](size_t a, size_t b, size_t c) { x[a] += y[c] * w[b]; });
    if (op.kind == HONE_DNN_OP_CONV_DW) run([&](size_t a, size_t b, size_t c) { w[b] += x[a] * y[c]; });
}

static void pointwise(const hone_dnn_op &op, std::vector<values> &v)
{
    const values &a = v[op.slot[0]], &b = v[op.slot[1]];
    values &c = v[op.slot[op.kind == HONE_DNN_OP_RELU ? 1 : 2]];
    for (size_t i = 0; i < c.size(); i++) {
        const double p = a[i], q = b[i % b.size()]; /* channels are innermost */
        switch (op.kind) {
        case HONE_DNN_OP_ADD: c[i] = p + q; break;
        case HONE_DNN_OP_SUB: c[i] = p - q; break;
        case HONE_DNN_OP_MUL: c[i] = p * q; break;
        case HONE_DNN_OP_RELU: c[i] = p < 0 ? 0 : p; break;
        default: c[i] = q > 0 ? p : 0;
        }
    }
}

static void statistics(const hone_dnn_op &op, std::vector<values> &v)
{
    values &sum = v[op.slot[1]], &squares = v[op.slot[2]];
    for (size_t i = 0; i < v[op.slot[0]].size(); i++) {
        const double x = v[op.slot[0]][i];
        sum[i % sum.size()] += x;
        squares[i % sum.size()] += x * x;
    }
}

/* Batch statistics out of sums; running ones take the unbiased variance (PyTorch). */
static void finalize(const hone_dnn_op &op, std::vector<values> &v)
{
    auto slot = [&](int k) -> values & { return v[op.slot[k]]; };
    const double m = slot(12)[0], eps = slot(13)[0], momentum = slot(14)[0];
    for (size_t c = 0; c < slot(0).size(); c++) {
        const double mean = slot(0)[c] / m, var = slot(1)[c] / m - mean * mean, rstd = 1 / sqrt(var + eps);
        slot(6)[c] = (1 - momentum) * slot(4)[c] + momentum * mean;
        slot(7)[c] = (1 - momentum) * slot(5)[c] + momentum * var * m / (m - 1);
        slot(8)[c] = mean;
        slot(9)[c] = rstd;
        slot(10)[c] = slot(2)[c] * rstd;
        slot(11)[c] = slot(3)[c] - mean * slot(2)[c] * rstd;
    }
}

/* dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat)), as one multiply-add of dy and x a channel. */
static void norm_dw(const hone_dnn_op &op, std::vector<values> &v)
{
    auto slot = [&](int k) -> values & { return v[op.slot[k]]; };
    const size_t channels = slot(0).size();
    const double m = (double)(slot(3).size() / channels);
    for (size_t i = 0; i < slot(3).size(); i++) {
        const size_t c = i % channels;
        slot(5)[c] += slot(4)[i] * (slot(3)[i] - slot(0)[c]) * slot(1)[c];
        slot(6)[c] += slot(4)[i];
    }
    for (size_t c = 0; c < channels; c++) {
        const double mean = slot(0)[c], rstd = slot(1)[c], gamma = slot(2)[c];
        slot(7)[c] = gamma * rstd;
        slot(8)[c] = -gamma * rstd * rstd * slot(5)[c] / m;
        slot(9)[c] = -gamma * rstd * slot(6)[c] / m - slot(8)[c] * mean;
    }
}

/* --- execution ---------------------------------------------------------------------------------------------- */
static bool is_written(const hone_dnn_graph &g, int t)
{
    for (int k = 0; k < g.op_count; k++)
        for (int s = 0; s < hone_dnn_rule(g.op[k].kind)->slots; s++)
            if (g.op[k].slot[s] == t && (hone_dnn_rule(g.op[k].kind)->written >> s & 1u)) return true;
    return false;
}

/* What an engine does to a number beyond rounding it for storage. */
static double blemish(const hone_dnn_plan &p, unsigned run, size_t i, double v)
{
    if (p.candidate.engine == NOISY) return v + 1e-3 * (run % 7) * (double)(i % 3);
    if (p.candidate.engine == COARSE || p.candidate.engine == TF32) { /* 10 bits of mantissa */
        float f = (float)v;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        bits &= ~0x1FFFu;
        memcpy(&f, &bits, 4);
        return f;
    }
    return v;
}

static void compute(const hone_dnn_plan &p, void *const *pointer, void *work, unsigned run)
{
    const hone_dnn_graph &g = p.graph;
    std::vector<values> v((size_t)g.tensor_count);
    memset(work, 0xFF, (size_t)p.work_bytes);
    for (int k = 0; k < g.tensor_count; k++) {
        v[k].assign((size_t)count_of(g.tensor[k]), 0.0);
        if (g.tensor[k].is_virtual || is_written(g, k)) continue;
        for (size_t i = 0; i < v[k].size(); i++)
            v[k][i] = blemish(p, run, i, load(g.tensor[k].dtype, pointer[g.tensor[k].uid], (int64_t)i));
    }
    for (int k = 0; k < g.op_count; k++) {
        const hone_dnn_op &op = g.op[k];
        if (op.kind <= HONE_DNN_OP_CONV_DW) convolve(g, op, v);
        else if (op.kind <= HONE_DNN_OP_RELU_DX) pointwise(op, v);
        else if (op.kind == HONE_DNN_OP_STATS) statistics(op, v);
        else if (op.kind == HONE_DNN_OP_FINALIZE) finalize(op, v);
        else norm_dw(op, v);
    }
    for (int k = 0; k < g.tensor_count; k++)
        for (size_t i = 0; !g.tensor[k].is_virtual && is_written(g, k) && i < v[k].size(); i++)
            store(g.tensor[k].dtype, pointer[g.tensor[k].uid], (int64_t)i, v[k][i]);
    memset(work, 0xFF, (size_t)p.work_bytes);
}

/* A range of device memory, and no part of one that is written lies in another. */
struct range {
    const char *from, *to;
    bool written;
    int uid;
};

static bool check_pointers(const hone_dnn_plan &p, void *const *pointer, void *work)
{
    const int before = simt::faults();
    std::vector<range> ranges;
    for (int k = 0; k < p.graph.tensor_count; k++) {
        const hone_dnn_tensor &t = p.graph.tensor[k];
        if (t.is_virtual || t.by_value) continue;
        const size_t bytes = (size_t)count_of(t) * hone_dtype_bytes(t.dtype);
        const char *from = (const char *)pointer[t.uid];
        if ((uintptr_t)from % HONE_DNN_ALIGN_BYTES) BREACH("tensor %d at %p: not aligned", (int)t.uid, (const void *)from);
        if (!simt::device_holds(from, bytes)) BREACH("tensor %d at %p: not %zu bytes of device memory", (int)t.uid, (const void *)from, bytes);
        ranges.push_back({from, from + bytes, is_written(p.graph, k), (int)t.uid});
    }
    if ((uintptr_t)work % 256) BREACH("workspace at %p: not aligned", work);
    if (!simt::device_holds(work, (size_t)p.work_bytes)) BREACH("workspace at %p: not %lld bytes of device memory", work, (long long)p.work_bytes);
    ranges.push_back({(const char *)work, (const char *)work + p.work_bytes, true, 0});
    for (const range &a : ranges)
        for (const range &b : ranges)
            if (&a != &b && a.written && a.from < b.to && b.from < a.to) BREACH("tensor %d is written over tensor %d", a.uid, b.uid);
    return simt::faults() == before;
}

/* Queued like a kernel: it runs at the next synchronisation, and a record keeps it with these addresses. */
extern "C" hone_status hone_dnn_execute(hone_dnn *dnn, hone_dnn_plan *plan, void *const *pointer, void *work)
{
    if (plan->dnn != dnn) BREACH("a plan of another device");
    if (!check_pointers(*plan, pointer, work)) return hone_fail(HONE_ERR_RUNTIME, NULL, "standin: refused");
    std::vector<void *> kept(pointer, pointer + HONE_DNN_UID_COUNT);
    auto copy = std::make_shared<hone_dnn_plan>(*plan); /* a record may outlive the plan's node */
    unsigned run = plan->runs++;
    const simt::launch_shape shape = {dim3(1), dim3(1), 0, false, 1024, "dnn_standin"};
    if (simt::launch(shape, [copy, kept, work, run] { compute(*copy, kept.data(), work, run); }))
        return hone_fail(HONE_ERR_RUNTIME, NULL, "standin: not launched");
    return HONE_OK;
}
