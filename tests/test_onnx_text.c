/* test_onnx_text.c - ONNX files of nets that read tokens: every net of the text zoo passes the self-check on padded
 * batches in all opsets, planted exporter mistakes are refused, and the walk's operators are those of ONNX's pages.
 * rooms: onnx train text model compile graph data config io kernels core
 *
 * Needs no other ONNX implementation; tests/python/onnx_text.py compares with onnxruntime where that is installed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx/export.h"
#include "support/scratch.h"
#include "support/text_zoo.h"

static char dir[4096];

static int row_of(const char *name)
{
    for (int k = 0; k < TEXT_ZOO; k++)
        if (strcmp(text_zoo[k].name, name) == 0) return k;
    fail_msg("no net %s", name);
    return -1;
}

static hone_onnx_export_opts plain(int opset)
{
    return (hone_onnx_export_opts){.lower = {.opset = opset}, .threads = 2};
}

/* Makes the net where it is not there, exports it, and says what the export said. */
static hone_status try_export(int row, const hone_onnx_export_opts *o, hone_onnx_report *report)
{
    const char *model = scratch_path(dir, text_zoo[row].name);
    if (access(model, F_OK) != 0 && text_zoo_make(row, false, model) != HONE_OK)
        fail_msg("%s: %s", text_zoo[row].name, hone_error_message());
    return hone_onnx_export(model, scratch_path(dir, "model.onnx"), o, report);
}

/* --- nets -------------------------------------------------------------------------------------------------------- */

/* Reductions, LayerNormalization and GELU change their form at 17, 18 and 20; the check is that of a user's export. */
static void nets_are_exported(void **state)
{
    (void)state;
    static const int opset[] = {13, 16, 17, 18, 20, 21};
    for (int k = 0; k < TEXT_ZOO; k++) {
        double worst = 0;
        hone_onnx_report r;
        for (size_t i = 0; i < sizeof opset / sizeof *opset; i++) {
            hone_onnx_export_opts o = plain(opset[i]);
            if (try_export(k, &o, &r) != HONE_OK)
                fail_msg("%s, opset %d: %s", text_zoo[k].name, opset[i], hone_error_message());
            assert_non_null(strstr(r.source, "16 made samples"));
            worst = fmax(worst, r.difference);
        }
        print_message("%-17s %3d nodes, probabilities within %.1e\n", text_zoo[k].name, r.nodes, worst);
    }
}

/* What servers see: names, order, types and free axes; segments only where the net reads them. */
static void inputs_are_those_of_tokenizers(void **state)
{
    (void)state;
    static const char *const name[] = {"input_ids", "attention_mask", "token_type_ids"};
    for (int k = 0; k < 2; k++) {
        hone_onnx m;
        hone_onnx_report r;
        hone_onnx_export_opts o = plain(17);
        int row = k ? row_of("distilbert") : row_of("bert_base");
        if (try_export(row, &o, &r) != HONE_OK) fail_msg("%s", hone_error_message());
        assert_int_equal(hone_onnx_read(scratch_path(dir, "model.onnx"), &m), HONE_OK);
        assert_int_equal(m.input_count, 3 - k);
        for (int i = 0; i < m.input_count; i++) {
            assert_string_equal(m.input[i].name, name[i]);
            assert_int_equal(m.input[i].type, HONE_ONNX_INT64);
            assert_int_equal(m.input[i].rank, 2);
            assert_string_equal(m.input[i].param[0], "N");
            assert_string_equal(m.input[i].param[1], "L");
        }
        hone_onnx_free(&m);
    }
}

/* Weights in 16 bits; the 8-bit form needs labels to be judged on, the form that takes pixels needs pixels. */
static void small_forms_are_tried(void **state)
{
    (void)state;
    static const char *const name[] = {"textcnn", "bigru", "transformer", "bert_base"};
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        hone_onnx_export_opts o = plain(17);
        hone_onnx_report r;
        o.fp16 = true;
        if (try_export(row_of(name[k]), &o, &r) != HONE_OK) fail_msg("%s: %s", name[k], hone_error_message());
        assert_true(r.difference > 1e-6); /* other weights, a little */
        o.fp16 = false;
        o.lower.preprocess = true; /* of pixels: there are none */
        assert_int_equal(try_export(row_of(name[k]), &o, &r), HONE_ERR_USAGE);
        o.lower.preprocess = false;
        o.int8 = true;
        assert_int_equal(try_export(row_of(name[k]), &o, &r), HONE_ERR_DATA);
    }
}

/* --- planted mistakes ---------------------------------------------------------------------------------------------- */

static void mistakes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        hone_onnx_fault fault;
    } planted[] = {{"textcnn", HONE_ONNX_FAULT_PADS},
                   {"textcnn", HONE_ONNX_FAULT_MASK},
                   {"textcnn", HONE_ONNX_FAULT_TRANSPOSE},
                   {"gru", HONE_ONNX_FAULT_GATES},
                   {"gru", HONE_ONNX_FAULT_RESET},
                   {"gru", HONE_ONNX_FAULT_MASK},
                   {"gru", HONE_ONNX_FAULT_MEAN},
                   {"bigru", HONE_ONNX_FAULT_REVERSE},
                   {"bigru", HONE_ONNX_FAULT_GATES},
                   {"bigru", HONE_ONNX_FAULT_MASK},
                   {"transformer", HONE_ONNX_FAULT_EPSILON},
                   {"transformer", HONE_ONNX_FAULT_HEADS},
                   {"transformer", HONE_ONNX_FAULT_MASK},
                   {"transformer", HONE_ONNX_FAULT_PLACES},
                   {"transformer", HONE_ONNX_FAULT_MEAN},
                   {"transformer_post", HONE_ONNX_FAULT_MASK},
                   {"transformer_post", HONE_ONNX_FAULT_EPSILON},
                   {"bert_base", HONE_ONNX_FAULT_TYPES},
                   {"bert_base", HONE_ONNX_FAULT_MASK},
                   {"bert_base", HONE_ONNX_FAULT_EPSILON},
                   {"bert_base", HONE_ONNX_FAULT_PLACES},
                   {"bert_base", HONE_ONNX_FAULT_TRANSPOSE},
                   {"distilbert", HONE_ONNX_FAULT_MASK},
                   {"distilbert", HONE_ONNX_FAULT_HEADS},
                   {"minilm_l6", HONE_ONNX_FAULT_TYPES},
                   {"minilm_l6", HONE_ONNX_FAULT_MEAN},
                   {"mixed", HONE_ONNX_FAULT_PADS},
                   {"mixed", HONE_ONNX_FAULT_RESET},
                   {"mixed", HONE_ONNX_FAULT_PLACES},
                   {"mixed", HONE_ONNX_FAULT_MASK}};
    for (size_t k = 0; k < sizeof planted / sizeof *planted; k++) {
        hone_onnx_export_opts o = plain(17);
        hone_onnx_report r;
        o.lower.fault = planted[k].fault;
        unlink(scratch_path(dir, "model.onnx"));
        hone_status status = try_export(row_of(planted[k].net), &o, &r);
        if (status != HONE_ERR_VERIFY)
            fail_msg("%s, fault %d: status %d, difference %g", planted[k].net, (int)planted[k].fault, status,
                     r.difference);
        assert_int_not_equal(access(scratch_path(dir, "model.onnx"), F_OK), 0);
    }
}

/* --- operators ------------------------------------------------------------------------------------------------------ */

/* One node of up to five operands, which are constants; its value, or NULL where the walk refused it. The graph lives
 * until the next call. */
static const hone_onnx_array *walk(const char *op, int count, const hone_onnx_tensor *in, int attrs,
                                   const hone_onnx_attr *attr)
{
    static hone_onnx m;
    static hone_onnx_run *r;
    static hone_backend *b;
    const char *name[5];
    hone_onnx_run_close(r);
    hone_onnx_free(&m);
    if (!b) assert_int_equal(hone_backend_open("ref", 1, &b), HONE_OK);
    r = NULL;
    if (!op) { /* the end */
        hone_backend_close(b);
        b = NULL;
        return NULL;
    }
    hone_onnx_init(&m, 17);
    for (int k = 0; k < count; k++)
        name[k] = hone_onnx_const(&m, hone_onnx_text(&m, "in%d", k), in[k].type, in[k].rank, in[k].dim, in[k].data);
    const char *y = hone_onnx_add(&m, op, count, name);
    for (int k = 0; k < attrs; k++) {
        if (attr[k].kind == HONE_ONNX_ATTR_INT) hone_onnx_attr_int(&m, attr[k].name, attr[k].i);
        if (attr[k].kind == HONE_ONNX_ATTR_STRING) hone_onnx_attr_string(&m, attr[k].name, attr[k].s);
        if (attr[k].kind == HONE_ONNX_ATTR_INTS) hone_onnx_attr_ints(&m, attr[k].name, attr[k].count, attr[k].ints);
    }
    assert_int_equal(hone_onnx_run_open(&m, b, &r), HONE_OK);
    hone_onnx_run_keep(r);
    hone_status status = hone_onnx_run_go(r);
    if (status != HONE_OK) assert_int_equal(status, HONE_ERR_DATA);
    return status == HONE_OK ? hone_onnx_run_value(r, y) : NULL;
}

/* An operand of up to three axes; 0: there is none from here on. */
static hone_onnx_tensor operand(hone_onnx_type type, int64_t d0, int64_t d1, int64_t d2)
{
    return (hone_onnx_tensor){.type = type, .rank = (d0 > 0) + (d1 > 0) + (d2 > 0), .dim = {d0, d1, d2}};
}

static hone_onnx_tensor ints(int64_t d0, int64_t d1) { return operand(HONE_ONNX_INT64, d0, d1, 0); }
static hone_onnx_tensor reals(int64_t d0, int64_t d1, int64_t d2) { return operand(HONE_ONNX_FLOAT, d0, d1, d2); }

static void sums_and_scatters(void **state)
{
    (void)state;
    hone_onnx_tensor in[3] = {ints(2, 3), ints(0, 0)};
    in[0].data = (int64_t[]){1, 0, 1, 1, 1, 1};
    in[1].data = (int64_t[]){1};
    const hone_onnx_array *y = walk("CumSum", 2, in, 0, NULL);
    assert_non_null(y);
    assert_memory_equal(y->data, ((int64_t[]){1, 1, 2, 1, 2, 3}), 48);
    in[1].data = (int64_t[]){-2};
    y = walk("CumSum", 2, in, 0, NULL);
    assert_memory_equal(y->data, ((int64_t[]){1, 0, 1, 2, 1, 2}), 48);
    in[1].data = (int64_t[]){2};
    assert_null(walk("CumSum", 2, in, 0, NULL));
    hone_onnx_attr axis = {.name = "axis", .kind = HONE_ONNX_ATTR_INT, .i = 1};
    hone_onnx_tensor s[3] = {ints(2, 4), ints(2, 3), ints(2, 3)};
    s[0].data = (int64_t[]){9, 9, 9, 9, 9, 9, 9, 9};
    s[1].data = (int64_t[]){3, 0, 1, 0, 3, -3};
    s[2].data = (int64_t[]){5, 6, 7, 1, 2, 3};
    y = walk("ScatterElements", 3, s, 1, &axis);
    assert_non_null(y);
    assert_memory_equal(y->data, ((int64_t[]){6, 7, 9, 5, 1, 3, 9, 2}), 64);
    s[1].data = (int64_t[]){4, 0, 1, 0, 3, 1};
    assert_null(walk("ScatterElements", 3, s, 1, &axis)); /* an index past the end */
    s[0].dim[0] = 1;
    assert_null(walk("ScatterElements", 3, s, 1, &axis)); /* rows that differ */
    walk(NULL, 0, NULL, 0, NULL);
}

/* y = x[t - 1] + 10 x[t] + 100 x[t + 1] of two channels, by hand. */
static void convolutions_along_a_line(void **state)
{
    (void)state;
    hone_onnx_tensor in[3] = {reals(1, 1, 4), reals(2, 1, 3), reals(2, 0, 0)};
    hone_onnx_attr pads = {.name = "pads", .kind = HONE_ONNX_ATTR_INTS, .count = 2, .ints = (int64_t[]){1, 1}};
    in[0].data = (float[]){1, 2, 3, 4};
    in[1].data = (float[]){1, 10, 100, 0, 1, 0};
    in[2].data = (float[]){0, 0.5f};
    const hone_onnx_array *y = walk("Conv", 3, in, 1, &pads);
    assert_non_null(y);
    assert_memory_equal(y->data, ((float[]){210, 321, 432, 43, 1.5f, 2.5f, 3.5f, 4.5f}), 32);
    pads.ints = (int64_t[]){2, 0};
    y = walk("Conv", 2, in, 1, &pads);
    assert_memory_equal(y->data, ((float[]){100, 210, 321, 432, 0, 1, 2, 3}), 32);
    in[1].dim[2] = 9; /* larger than the rows */
    in[1].data = (float[18]){0};
    assert_null(walk("Conv", 2, in, 1, &pads));
    walk(NULL, 0, NULL, 0, NULL);
}

/* A unit of one input and one state; two sequences of 2 and 1 places, forward and reverse, by the equations. */
static void gated_units(void **state)
{
    (void)state;
    hone_onnx_tensor in[5] = {reals(2, 2, 1), reals(1, 3, 1), reals(1, 3, 1), reals(1, 6, 0),
                              operand(HONE_ONNX_INT32, 2, 0, 0)};
    hone_onnx_attr attr[3] = {{.name = "hidden_size", .kind = HONE_ONNX_ATTR_INT, .i = 1},
                              {.name = "linear_before_reset", .kind = HONE_ONNX_ATTR_INT, .i = 1},
                              {.name = "direction", .kind = HONE_ONNX_ATTR_STRING, .s = "forward"}};
    const double x[2][2] = {{0.5, -1}, {2, 7}}; /* places, sequences */
    in[0].data = (float[]){0.5f, -1, 2, 7};
    in[1].data = (float[]){0.7f, -0.4f, 1.1f};
    in[2].data = (float[]){0.3f, 0.9f, -0.8f};
    in[3].data = (float[]){0.1f, 0.2f, 0.3f, -0.1f, 0.4f, 0.6f};
    in[4].data = (int32_t[]){2, 1};
    for (int form = 0; form < 4; form++) {
        bool reverse = form & 1, before = form & 2;
        attr[1].i = before;
        attr[2].s = reverse ? "reverse" : "forward";
        const hone_onnx_array *y = walk("GRU", 5, in, 3, attr);
        assert_non_null(y);
        for (int n = 0; n < 2; n++) {
            double h = 0;
            int length = n ? 1 : 2;
            for (int k = 0; k < length; k++) {
                int t = reverse ? length - 1 - k : k;
                double z = 1 / (1 + exp(-(x[t][n] * 0.7 + h * 0.3 + 0.1 - 0.1)));
                double r = 1 / (1 + exp(-(x[t][n] * -0.4 + h * 0.9 + 0.2 + 0.4)));
                double inner = before ? r * (h * -0.8 + 0.6) : r * h * -0.8 + 0.6;
                h = (1 - z) * tanh(x[t][n] * 1.1 + inner + 0.3) + z * h;
                assert_true(fabs(h - (double)((const float *)y->data)[t * 2 + n]) < 1e-6);
            }
        }
        assert_true(((const float *)y->data)[3] == 0); /* behind the end of the shorter one */
    }
    in[4].data = (int32_t[]){3, 1};
    assert_null(walk("GRU", 5, in, 3, attr));
    in[4].data = (int32_t[]){2, 1};
    in[2].dim[1] = 2;
    assert_null(walk("GRU", 5, in, 3, attr));
    walk(NULL, 0, NULL, 0, NULL);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", scratch_make());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nets_are_exported),     cmocka_unit_test(inputs_are_those_of_tokenizers),
        cmocka_unit_test(small_forms_are_tried), cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(sums_and_scatters),     cmocka_unit_test(convolutions_along_a_line),
        cmocka_unit_test(gated_units),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
