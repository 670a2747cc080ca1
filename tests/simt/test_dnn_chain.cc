/* test_dnn_chain.cc - graphs for cuDNN mean what their names say: a residual net's chain of convolution, batchnorm and
 * ReLU, forward and backward, out of five fused graphs equals the same written out by hand; and the stand-in that
 * computes them reports every breach of what dnn.h promises.
 *
 * What is tested is the graphs (operands, order, which sums) and the stand-in; the real library computes them only on a
 * GPU. fp32, sizes that differ in every dim. */
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "dnn.h"
#include "simt.h"

typedef std::vector<float> tensor;

static int breaches;
static void on_breach(const char *) { breaches++; }

static int failures;
static void check(bool good, const char *what)
{
    if (!good) fprintf(stderr, "test_dnn_chain: %s\n", what), failures++;
}

static void expect_ok(hone_status status, const char *what)
{
    if (status != HONE_OK) fprintf(stderr, "test_dnn_chain: %s: %s\n", what, hone_error_message()), exit(1);
}

/* --- device memory --------------------------------------------------------------------------------------------- */
struct buffer {
    void *at;
    size_t count;
    explicit buffer(size_t n) : at(simt::device_alloc(n * sizeof(float))), count(n) {}
    explicit buffer(const tensor &t) : buffer(t.size()) { simt::copy(at, t.data(), count * sizeof(float), true); }
    ~buffer() { simt::device_free(at); }
    buffer(const buffer &) = delete;
    tensor host() const
    {
        tensor t(count);
        simt::copy(t.data(), at, count * sizeof(float), false);
        simt::synchronize();
        return t;
    }
};

static tensor random_tensor(size_t n, unsigned seed, float from = -1, float to = 1)
{
    std::mt19937 g(seed);
    std::uniform_real_distribution<float> d(from, to);
    tensor t(n);
    for (float &v : t) v = d(g);
    return t;
}

/* --- the chain: y1 = conv(x, w1); a = relu(norm(y1)); y2 = conv(a, w2); loss = sum(dy2 * y2) ----------------------- */
enum { N = 3, H = 5, W = 6, C0 = 2, C1 = 4, C2 = 6, PLACES = N * H * W };
static const double EPS = 1e-5, MOMENTUM = 0.1;

static hone_dnn_problem problem(hone_dnn_kind kind, int in, int out)
{
    hone_dnn_problem p = {};
    p.kind = kind, p.dtype = HONE_F32, p.n = N, p.h = p.oh = H, p.w = p.ow = W, p.in = in, p.out = out;
    p.window.kernel[0] = p.window.kernel[1] = 3;
    for (int k = 0; k < 2; k++) p.window.stride[k] = p.window.pad[k] = p.window.dilation[k] = 1;
    p.window.groups = 1;
    return p;
}

/* 3x3, pad 1, by hand: visits (image element, weight element, output element). */
template <typename F> static void each(int in, int out, F f)
{
    for (int n = 0; n < N; n++)
        for (int oh = 0; oh < H; oh++)
            for (int ow = 0; ow < W; ow++)
                for (int r = 0; r < 3; r++)
                    for (int s = 0; s < 3; s++) {
                        int h = oh + r - 1, w = ow + s - 1;
                        if (h < 0 || h >= H || w < 0 || w >= W) continue;
                        for (int o = 0; o < out; o++)
                            for (int i = 0; i < in; i++)
                                f(((n * H + h) * W + w) * in + i, ((o * 3 + r) * 3 + s) * in + i, ((n * H + oh) * W + ow) * out + o);
                    }
}

typedef std::vector<double> wide;

struct by_hand {
    wide y1, a, y2, dw2, dgate, dgamma, dbeta, dy1, mean, rstd, new_mean, new_var;
};

static by_hand write_out(const tensor &x, const tensor &w1, const tensor &w2, const tensor &gamma, const tensor &beta, const tensor &dy2)
{
    by_hand v;
    wide da(PLACES * C1), var(C1);
    v.y1.resize(PLACES * C1), v.a.resize(PLACES * C1), v.y2.resize(PLACES * C2), v.dw2.resize(w2.size());
    v.dgate.resize(PLACES * C1), v.dy1.resize(PLACES * C1);
    for (wide *t : {&v.dgamma, &v.dbeta, &v.mean, &v.rstd, &v.new_mean, &v.new_var}) t->resize(C1);
    each(C0, C1, [&](int i, int w, int o) { v.y1[o] += (double)x[i] * w1[w]; });
    for (int i = 0; i < PLACES * C1; i++) v.mean[i % C1] += v.y1[i] / PLACES;
    for (int i = 0; i < PLACES * C1; i++) var[i % C1] += (v.y1[i] - v.mean[i % C1]) * (v.y1[i] - v.mean[i % C1]) / PLACES;
    for (int c = 0; c < C1; c++) {
        v.rstd[c] = 1 / std::sqrt(var[c] + EPS);
        v.new_mean[c] = 0.9 * 0.5 + 0.1 * v.mean[c]; /* running values start at 0.5 and 2 */
        v.new_var[c] = 0.9 * 2 + 0.1 * var[c] * PLACES / (PLACES - 1);
    }
    auto normed = [&](int i) { return (v.y1[i] - v.mean[i % C1]) * v.rstd[i % C1]; };
    for (int i = 0; i < PLACES * C1; i++) v.a[i] = std::fmax(gamma[i % C1] * normed(i) + beta[i % C1], 0);
    each(C1, C2, [&](int i, int w, int o) { v.y2[o] += v.a[i] * w2[w], v.dw2[w] += v.a[i] * dy2[o], da[i] += (double)w2[w] * dy2[o]; });
    for (int i = 0; i < PLACES * C1; i++) {
        v.dgate[i] = v.a[i] > 0 ? da[i] : 0;
        v.dbeta[i % C1] += v.dgate[i];
        v.dgamma[i % C1] += v.dgate[i] * normed(i);
    }
    for (int i = 0; i < PLACES * C1; i++)
        v.dy1[i] = gamma[i % C1] * v.rstd[i % C1] * (v.dgate[i] - v.dbeta[i % C1] / PLACES - normed(i) * v.dgamma[i % C1] / PLACES);
    return v;
}

/* Worst error over the largest value. */
static void compare(const char *what, const tensor &got, const wide &wanted)
{
    double worst = 0, size = 0;
    for (size_t i = 0; i < wanted.size(); i++) {
        worst = std::fmax(worst, std::fabs(got[i] - wanted[i]));
        size = std::fmax(size, std::fabs(wanted[i]));
    }
    if (!(worst <= 1e-5 * size)) fprintf(stderr, "test_dnn_chain: %s: error %g of %g\n", what, worst, size), failures++;
}

/* Plans a problem, runs it once, frees the plan. */
static void run(hone_dnn *dnn, const hone_dnn_problem &p, void *const *pointer)
{
    const hone_dnn_rules rules = {true, false, 1 << 20};
    hone_dnn_graph g;
    hone_dnn_plan *plan = nullptr;
    hone_dnn_fate fate;
    int count = 0;
    expect_ok(hone_dnn_graph_of(&p, &g), "graph");
    expect_ok(hone_dnn_plans(dnn, &g, &rules, 1, &plan, &count, &fate), "plans");
    if (count != 1) fprintf(stderr, "test_dnn_chain: no plan\n"), exit(1);
    buffer work((size_t)hone_dnn_plan_work_bytes(plan) / sizeof(float) + 1);
    expect_ok(hone_dnn_execute(dnn, plan, pointer, work.at), "execute");
    simt::synchronize();
    hone_dnn_plan_free(plan);
}

static void test_chain(hone_dnn *dnn)
{
    const tensor x = random_tensor(PLACES * C0, 1), w1 = random_tensor(C1 * 9 * C0, 2), w2 = random_tensor(C2 * 9 * C1, 3),
                 gamma = random_tensor(C1, 4, 0.5f, 2), beta = random_tensor(C1, 5), dy2 = random_tensor(PLACES * C2, 6);
    const by_hand v = write_out(x, w1, w2, gamma, beta, dy2);
    buffer bx(x), bw1(w1), bw2(w2), bgamma(gamma), bbeta(beta), bdy2(dy2), y1(PLACES * C1), y2(PLACES * C2), sum(C1), squares(C1), sum2(C2),
        squares2(C2), scale(C1), shift(C1), mean(C1), rstd(C1), old_mean(tensor(C1, 0.5f)), old_var(tensor(C1, 2.0f)), new_mean(C1),
        new_var(C1), dw2(C2 * 9 * C1), dgate(PLACES * C1), dgamma(C1), dbeta(C1), eq_dy(C1), eq_x(C1), eq_shift(C1);
    int64_t count = PLACES;
    float eps = (float)EPS, momentum = (float)MOMENTUM;
    void *p[HONE_DNN_UID_COUNT] = {};

    p[HONE_DNN_X] = bx.at, p[HONE_DNN_W] = bw1.at, p[HONE_DNN_Y] = y1.at, p[HONE_DNN_SUM] = sum.at, p[HONE_DNN_SQUARES] = squares.at;
    run(dnn, problem(HONE_DNN_CONV_STATS, C0, C1), p);
    compare("conv+stats: y", y1.host(), v.y1);

    p[HONE_DNN_GAMMA] = bgamma.at, p[HONE_DNN_BETA] = bbeta.at, p[HONE_DNN_OLD_MEAN] = old_mean.at, p[HONE_DNN_OLD_VAR] = old_var.at;
    p[HONE_DNN_NEW_MEAN] = new_mean.at, p[HONE_DNN_NEW_VAR] = new_var.at, p[HONE_DNN_MEAN] = mean.at, p[HONE_DNN_RSTD] = rstd.at;
    p[HONE_DNN_SCALE] = scale.at, p[HONE_DNN_SHIFT] = shift.at;
    p[HONE_DNN_COUNT] = &count, p[HONE_DNN_EPS] = &eps, p[HONE_DNN_MOMENTUM] = &momentum;
    run(dnn, problem(HONE_DNN_STATS_FINALIZE, C0, C1), p);
    compare("finalize: mean", mean.host(), v.mean);
    compare("finalize: rstd", rstd.host(), v.rstd);
    compare("finalize: running mean", new_mean.host(), v.new_mean);
    compare("finalize: running variance", new_var.host(), v.new_var);

    p[HONE_DNN_X] = y1.at, p[HONE_DNN_W] = bw2.at, p[HONE_DNN_Y] = y2.at, p[HONE_DNN_SUM] = sum2.at, p[HONE_DNN_SQUARES] = squares2.at;
    run(dnn, problem(HONE_DNN_NORM_CONV_STATS, C1, C2), p);
    compare("norm+relu+conv+stats: y", y2.host(), v.y2);

    p[HONE_DNN_W] = dw2.at, p[HONE_DNN_Y] = bdy2.at;
    run(dnn, problem(HONE_DNN_NORM_CONV_DW, C1, C2), p);
    compare("norm+relu+conv_dw: dw", dw2.host(), v.dw2);

    p[HONE_DNN_X] = dgate.at, p[HONE_DNN_W] = bw2.at, p[HONE_DNN_NORM_X] = y1.at, p[HONE_DNN_DGAMMA] = dgamma.at;
    p[HONE_DNN_DBETA] = dbeta.at, p[HONE_DNN_EQ_DY] = eq_dy.at, p[HONE_DNN_EQ_X] = eq_x.at, p[HONE_DNN_EQ_SHIFT] = eq_shift.at;
    run(dnn, problem(HONE_DNN_CONV_DX_NORM, C1, C2), p);
    compare("conv_dx+relu_dx+norm_dw: behind ReLU", dgate.host(), v.dgate);
    compare("conv_dx+relu_dx+norm_dw: dgamma", dgamma.host(), v.dgamma);
    compare("conv_dx+relu_dx+norm_dw: dbeta", dbeta.host(), v.dbeta);
    tensor dy1 = dgate.host(), a = eq_dy.host(), b = eq_x.host(), c = eq_shift.host(), y = y1.host();
    for (int i = 0; i < PLACES * C1; i++) dy1[i] = a[i % C1] * dy1[i] + b[i % C1] * y[i] + c[i % C1];
    compare("batchnorm's dx as one multiply-add", dy1, v.dy1);
    check(breaches == 0, "a breach in the chain");
}

/* --- planted: what the stand-in must report ------------------------------------------------------------------------ */
struct setting {
    hone_dnn_graph g;
    void *pointer[HONE_DNN_UID_COUNT];
    char *work;
};

static void host_pointer(setting &s)
{
    static float here[PLACES * C1];
    s.pointer[HONE_DNN_X] = here;
}
static void absent(setting &s) { s.pointer[HONE_DNN_W] = nullptr; }
static void misaligned(setting &s) { s.pointer[HONE_DNN_X] = (char *)s.pointer[HONE_DNN_X] + 4; }
static void too_short(setting &s) { s.pointer[HONE_DNN_X] = (char *)s.pointer[HONE_DNN_X] + 16; }
static void over_input(setting &s) { s.pointer[HONE_DNN_Y] = s.pointer[HONE_DNN_X]; }
static void work_over_input(setting &s) { s.work = (char *)s.pointer[HONE_DNN_X]; }
static void work_misaligned(setting &s) { s.work += 64; }
static void work_absent(setting &s) { s.work = nullptr; }
static void half_weight(setting &s) { s.g.tensor[1].dim[1] /= 2, s.g.tensor[1].stride[3] /= 2, s.g.tensor[1].stride[2] /= 2, s.g.tensor[1].stride[0] /= 2; }
static void same_uid(setting &s) { s.g.tensor[1].uid = s.g.tensor[0].uid; }
static void nchw(setting &s) { s.g.tensor[2].stride[1] = H * W, s.g.tensor[2].stride[3] = 1; }
static void other_type(setting &s) { s.g.tensor[1].dtype = HONE_BF16; }
static void other_window(setting &s) { s.g.op[0].window.pad[1] = 0; }

static void test_breaches(hone_dnn *dnn)
{
    static const struct {
        const char *what;
        void (*plant)(setting &);
    } breach[] = {{"host memory", host_pointer},       {"no pointer", absent},           {"misaligned", misaligned},
                  {"too short", too_short},            {"output over input", over_input}, {"workspace over input", work_over_input},
                  {"workspace misaligned", work_misaligned}, {"no workspace", work_absent},    {"half a weight", half_weight},
                  {"one uid twice", same_uid},         {"another layout", nchw},         {"another type", other_type},
                  {"another window", other_window}};
    const hone_dnn_problem p = problem(HONE_DNN_CONV, C0 * 2, C1);
    buffer x(PLACES * C0 * 2), w(C1 * 9 * C0 * 2), y(PLACES * C1), work(1 << 10);
    for (const auto &b : breach) {
        setting s = {};
        expect_ok(hone_dnn_graph_of(&p, &s.g), "graph");
        s.pointer[HONE_DNN_X] = x.at, s.pointer[HONE_DNN_W] = w.at, s.pointer[HONE_DNN_Y] = y.at, s.work = (char *)work.at;
        b.plant(s);
        breaches = 0;
        hone_dnn_list list;
        hone_dnn_plan *plan = nullptr;
        expect_ok(hone_dnn_ask(dnn, &s.g, &list), "ask");
        for (int k = 0; k < list.count && !plan; k++)
            if (!hone_dnn_refusal(&list.item[k], HONE_F32, (const hone_dnn_rules[]){{true, false, 0}}) && hone_dnn_plan_new(dnn, &s.g, &list, k, &plan) == HONE_OK &&
                hone_dnn_plan_work_bytes(plan) > 1 << 12)
                hone_dnn_plan_free(plan), plan = nullptr;
        hone_dnn_list_free(&list);
        /* checks come before work, so nothing is queued that would touch such memory */
        if (breaches == 0 && plan) check(hone_dnn_execute(dnn, plan, s.pointer, s.work) != HONE_OK, b.what);
        check(breaches > 0, b.what);
        hone_dnn_plan_free(plan);
    }
    printf("%zu planted breaches\n", sizeof breach / sizeof breach[0]);
}

int main()
{
    const hone_dnn_device none = {};
    hone_dnn *dnn = nullptr;
    simt::on_fault(on_breach);
    expect_ok(hone_dnn_open(&none, &dnn), "open");
    test_chain(dnn);
    test_breaches(dnn);
    breaches = 0;
    hone_dnn_close(dnn);
    check(breaches == 0, "something was left alive");
    printf("test_dnn_chain: %d failures\n", failures);
    return failures != 0;
}
