/* test_onnx.c - ONNX files: written, read back, walked; planted mistakes are refused, hostile files are survived.
 * rooms: onnx train text model compile graph data config io kernels core
 *
 * Needs no other ONNX implementation; tests/python/onnx_zoo.py compares with onnxruntime where that is installed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "onnx/export.h"
#include "support/onnx_zoo.h"
#include "support/scratch.h"

static char dir[4096];

static const char *in_dir(const char *name)
{
    static char path[4][4300];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
    return path[at];
}

static int row_of(const char *name)
{
    for (int k = 0; k < ONNX_ZOO; k++)
        if (strcmp(onnx_zoo[k].name, name) == 0) return k;
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
    const char *model = in_dir(onnx_zoo[row].name);
    if (access(model, F_OK) != 0 && onnx_zoo_make(row, false, model) != HONE_OK)
        fail_msg("%s: %s", onnx_zoo[row].name, hone_error_message());
    return hone_onnx_export(model, in_dir("model.onnx"), o, report);
}

/* --- nets ------------------------------------------------------------------------------------------------------- */

/* The self-check of every net of the zoo passes (within 1e-5); the file has the nodes it should. */
static void zoo_is_exported(void **state)
{
    (void)state;
    for (int k = 0; k < ONNX_ZOO; k++) {
        hone_onnx_export_opts o = plain(17);
        hone_onnx_report r;
        if (try_export(k, &o, &r) != HONE_OK) fail_msg("%s: %s", onnx_zoo[k].name, hone_error_message());
        assert_true(r.nodes > 3 && r.bytes > 1000);
    }
}

/* Norms that stay, other opsets (decomposed below 17, native GELU from 20), pixels in, weights in 16 bits. */
static void forms_are_exported(void **state)
{
    (void)state;
    static const char *const name[] = {"lenet", "odds", "tokens"};
    static const int opset[] = {13, 15, 16, 18, 19, 20, 21};
    for (int k = 0; k < 3; k++)
        for (int form = 0; form < 10; form++) {
            hone_onnx_export_opts o = plain(form < 7 ? opset[form] : 18);
            hone_onnx_report r;
            o.lower.keep_norms = form == 7 || form == 0;
            o.lower.preprocess = form == 8;
            o.fp16 = form == 9;
            if (o.lower.preprocess && strcmp(name[k], "odds") == 0) continue; /* two channels: no image file has them */
            if (try_export(row_of(name[k]), &o, &r) != HONE_OK)
                fail_msg("%s form %d: %s", name[k], form, hone_error_message());
        }
}

/* 8 bits: the reader, the walk and the size; on data that a moment of training suffices for. Without data they are
 * refused, for there is nothing to calibrate on. */
/* Two products of a byte and a weight fit 16 bits, where x86 without VNNI adds them. */
static void products_fit_16_bits(const char *path)
{
    hone_onnx m;
    int tensors = 0, largest = 0;
    if (hone_onnx_read(path, &m) != HONE_OK) fail_msg("%s", hone_error_message());
    for (int k = 0; k < m.init_count; k++) {
        const int8_t *q = m.init[k].data;
        if (m.init[k].type != HONE_ONNX_INT8) continue;
        tensors++;
        for (size_t i = 0; i < m.init[k].bytes; i++) largest = abs(q[i]) > largest ? abs(q[i]) : largest;
    }
    hone_onnx_free(&m);
    assert_int_equal(tensors, 4); /* two convolutions, two linear layers */
    assert_int_equal(largest, 64);
    assert_true(2 * 255 * largest <= INT16_MAX);
}

static void eight_bits_are_judged(void **state)
{
    (void)state;
    static const char page[] = "data: {synthetic: {shape: [12, 12, 1], classes: 4, samples: 400}}\n"
                               "model: {layers: [conv: {out: 16}, relu, conv: {out: 24, stride: 2}, batchnorm, relu,\n"
                               "  flatten, linear: 48, relu, linear: classes]}\n"
                               "train: {epochs: 2, batch: 20, optimizer: {name: sgd, lr: 0.05}}\n";
    hone_config *c = NULL;
    hone_train_opts t = {.device = "cpu", .threads = 2, .out = in_dir("run")};
    hone_onnx_export_opts o = plain(17);
    hone_onnx_report full, small;
    assert_int_equal(hone_config_read_text("page", page, NULL, 0, &c), HONE_OK);
    if (hone_train(c, &t, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    if (hone_onnx_export(in_dir("run"), in_dir("full.onnx"), &o, &full) != HONE_OK)
        fail_msg("%s", hone_error_message());
    assert_non_null(strstr(full.source, "16 samples of val"));
    o.int8 = true;
    if (hone_onnx_export(in_dir("run"), in_dir("small.onnx"), &o, &small) != HONE_OK)
        fail_msg("%s", hone_error_message());
    assert_true(small.judged > 20 && small.accuracy_before > 0.9);
    assert_true(small.accuracy_after >= small.accuracy_before - 0.05);
    if (small.bytes * 100 > full.bytes * 35)
        fail_msg("%llu bytes of %llu", (unsigned long long)small.bytes, (unsigned long long)full.bytes);
    products_fit_16_bits(in_dir("small.onnx"));
    assert_int_equal(try_export(row_of("lenet"), &o, &small), HONE_ERR_DATA);
    /* 16 bits: half the file, close answers */
    o.int8 = false;
    o.fp16 = true;
    if (hone_onnx_export(in_dir("run"), in_dir("half.onnx"), &o, &small) != HONE_OK)
        fail_msg("%s", hone_error_message());
    assert_true(small.bytes * 100 < full.bytes * 60 && small.difference < 2e-3);
}

/* --- planted mistakes --------------------------------------------------------------------------------------------- */

static void mistakes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        hone_onnx_fault fault;
        bool keep, preprocess;
    } planted[] = {
        {"cnn", HONE_ONNX_FAULT_PADS, false, false},           {"cnn", HONE_ONNX_FAULT_EPSILON, false, false},
        {"cnn", HONE_ONNX_FAULT_EPSILON, true, false},         {"mlp", HONE_ONNX_FAULT_TRANSPOSE, false, false},
        {"vit_tiny", HONE_ONNX_FAULT_TRANSPOSE, false, false}, {"vit_tiny", HONE_ONNX_FAULT_HEADS, false, false},
        {"vit_tiny", HONE_ONNX_FAULT_EPSILON, false, false},   {"lenet", HONE_ONNX_FAULT_FLATTEN, false, false},
        {"lenet", HONE_ONNX_FAULT_MEAN, false, true},          {"resnet18", HONE_ONNX_FAULT_PADS, false, false}};
    for (size_t k = 0; k < sizeof planted / sizeof planted[0]; k++) {
        hone_onnx_export_opts o = plain(18);
        hone_onnx_report r;
        o.lower.fault = planted[k].fault;
        o.lower.keep_norms = planted[k].keep;
        o.lower.preprocess = planted[k].preprocess;
        unlink(in_dir("model.onnx"));
        hone_status status = try_export(row_of(planted[k].net), &o, &r);
        if (status != HONE_ERR_VERIFY)
            fail_msg("%s, fault %d: status %d", planted[k].net, (int)planted[k].fault, status);
        assert_int_not_equal(access(in_dir("model.onnx"), F_OK), 0);
    }
    /* nothing but the nets is left: no temporary */
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) assert_null(strstr(e->d_name, ".tmp-"));
    closedir(d);
}

/* --- files --------------------------------------------------------------------------------------------------------- */

/* What is written is what is read, node by node and byte by byte; external data too. */
static void files_come_back(void **state)
{
    (void)state;
    hone_model *m = NULL;
    assert_int_equal(page_model(onnx_zoo[row_of("cnn")].page, onnx_zoo[row_of("cnn")].small, &m), HONE_OK);
    for (int external = 0; external < 2; external++) {
        hone_onnx a, b;
        hone_onnx_lower_opts o = {.opset = 17};
        assert_int_equal(hone_onnx_lower(m, &o, &a), HONE_OK);
        hone_onnx_meta(&a, "labels", "[\"a\", \"\xc3\xa4\"]");
        assert_int_equal(hone_onnx_write(&a, in_dir("round.onnx"), external ? 1000 : UINT64_MAX), HONE_OK);
        assert_int_equal(access(in_dir("round.onnx.data"), F_OK), external ? 0 : -1);
        if (hone_onnx_read(in_dir("round.onnx"), &b) != HONE_OK) fail_msg("%s", hone_error_message());
        assert_int_equal(a.node_count, b.node_count);
        assert_int_equal(a.init_count, b.init_count);
        assert_int_equal(b.opset, 17);
        assert_int_equal(b.ir_version, 8);
        assert_string_equal(b.meta[1], "[\"a\", \"\xc3\xa4\"]");
        for (int k = 0; k < a.node_count; k++) {
            assert_string_equal(a.node[k].op, b.node[k].op);
            assert_int_equal(a.node[k].in_count, b.node[k].in_count);
            for (int i = 0; i < a.node[k].in_count; i++) assert_string_equal(a.node[k].in[i], b.node[k].in[i]);
            assert_string_equal(a.node[k].out[0], b.node[k].out[0]);
            assert_int_equal(a.node[k].attr_count, b.node[k].attr_count);
            for (int i = 0; i < a.node[k].attr_count; i++) {
                const hone_onnx_attr *x = &a.node[k].attr[i], *y = &b.node[k].attr[i];
                assert_string_equal(x->name, y->name);
                assert_true(x->kind == y->kind && x->f == y->f && x->i == y->i && x->count == y->count);
                if (x->count) assert_memory_equal(x->ints, y->ints, (size_t)x->count * sizeof *x->ints);
            }
        }
        for (int k = 0; k < a.init_count; k++) {
            assert_int_equal(a.init[k].bytes, b.init[k].bytes);
            assert_memory_equal(a.init[k].data, b.init[k].data, a.init[k].bytes);
        }
        assert_string_equal(b.input[0].name, "input");
        assert_string_equal(b.input[0].param[0], "N");
        assert_int_equal(b.input[0].dim[2], 28);
        hone_onnx_free(&a);
        hone_onnx_free(&b);
    }
    hone_model_free(m);
    /* an export with data beside it, tried as any other */
    hone_onnx_export_opts o = plain(17);
    hone_onnx_report r;
    o.external_over = 1000;
    assert_int_equal(try_export(row_of("cnn"), &o, &r), HONE_OK);
    assert_int_equal(access(in_dir("model.onnx.data"), F_OK), 0);
    o.external_over = 0;
    assert_int_equal(try_export(row_of("cnn"), &o, &r), HONE_OK);
    assert_int_equal(access(in_dir("model.onnx.data"), F_OK), -1);
}

/* Cut anywhere and with any bit flipped, a file is refused or read; never anything else. */
static void broken_files_are_survived(void **state)
{
    (void)state;
    hone_onnx_export_opts o = plain(17);
    hone_onnx_report r;
    hone_onnx m;
    char *file = NULL;
    size_t size = 0;
    assert_int_equal(try_export(row_of("lenet"), &o, &r), HONE_OK);
    assert_int_equal(hone_file_read(in_dir("model.onnx"), 1 << 24, &file, &size), HONE_OK);
    for (int k = 0; k < 64; k++) /* a graph that is cut has lost its outputs or its opset */
        assert_int_equal(hone_onnx_parse("cut", (const uint8_t *)file, size * (size_t)k / 64, NULL, &m), HONE_ERR_DATA);
    int refused = 0;
    for (uint64_t k = 0; k < 3000; k++) {
        hone_philox4 draw = hone_philox(11, HONE_STREAM_SYNTHETIC, k, 0);
        size_t at = k % 2 ? draw.v[0] % size : draw.v[0] % 2000; /* half of them among names and nodes */
        file[at] = (char)(file[at] ^ (1 << draw.v[1] % 8));
        hone_status status = hone_onnx_parse("flipped", (const uint8_t *)file, size, NULL, &m);
        if (status == HONE_OK) hone_onnx_free(&m);
        else assert_int_equal(status, HONE_ERR_DATA);
        refused += status != HONE_OK;
        file[at] = (char)(file[at] ^ (1 << draw.v[1] % 8));
    }
    assert_true(refused > 500);
    free(file);
}

/* Fields by hand: tags, varints, messages. */
static void put_varint(bytes *b, uint64_t v)
{
    for (; v > 127; v >>= 7) bytes_u8(b, (unsigned)(v & 127) | 128);
    bytes_u8(b, (unsigned)v);
}

static void put_bytes(bytes *b, int field, const void *data, size_t count)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, count);
    bytes_add(b, data, count);
}

static void put_message(bytes *b, int field, bytes *inner)
{
    put_bytes(b, field, inner->data ? (const void *)inner->data : "", inner->count);
    free(inner->data);
    *inner = (bytes){0};
}

static void put_int(bytes *b, int field, uint64_t v)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, v);
}

/* A model of one initializer `w`, one node that reads `reads` and gives `y`. */
static bytes small_model(bytes *tensor, const char *reads, bytes *extra)
{
    bytes model = {0}, graph = {0}, node = {0}, value = {0}, type = {0}, inner = {0}, opset = {0};
    put_int(&model, 1, 8);
    put_bytes(&node, 1, reads, strlen(reads));
    put_bytes(&node, 2, "y", 1);
    put_bytes(&node, 4, "Identity", 8);
    if (extra) {
        bytes_add(&node, extra->data, extra->count);
        free(extra->data);
    }
    put_message(&graph, 1, &node);
    put_message(&graph, 5, tensor);
    put_bytes(&value, 1, "y", 1);
    put_int(&inner, 1, 1);
    put_message(&type, 1, &inner);
    put_message(&value, 2, &type);
    put_message(&graph, 12, &value);
    put_message(&model, 7, &graph);
    put_int(&opset, 2, 17);
    put_message(&model, 8, &opset);
    return model;
}

/* `w` with the given axes and `count` bytes of data. */
static bytes tensor_of(int rank, const uint64_t *dim, size_t count)
{
    static const char zero[64];
    bytes t = {0};
    for (int k = 0; k < rank; k++) put_int(&t, 1, dim[k]);
    put_int(&t, 2, 1);
    put_bytes(&t, 8, "w", 1);
    put_bytes(&t, 9, zero, count);
    return t;
}

static void expect(bytes model, const char *folder, const char *what)
{
    hone_onnx m;
    hone_status status = hone_onnx_parse("hostile", model.data, model.count, folder, &m);
    if (what && (status != HONE_ERR_DATA || !strstr(hone_error_message(), what)))
        fail_msg("expected '%s', got %d: %s", what, status, hone_error_message());
    if (!what && status != HONE_OK) fail_msg("expected a model, got %s", hone_error_message());
    if (status == HONE_OK) hone_onnx_free(&m);
    free(model.data);
}

static bytes external_tensor(const char *location, const char *offset, const char *length)
{
    bytes t = {0}, pair = {0};
    const char *const text[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    put_int(&t, 1, 2);
    put_int(&t, 2, 1);
    put_bytes(&t, 8, "w", 1);
    for (int k = 0; k < 3; k++) {
        put_bytes(&pair, 1, text[k][0], strlen(text[k][0]));
        put_bytes(&pair, 2, text[k][1], strlen(text[k][1]));
        put_message(&t, 13, &pair);
    }
    put_int(&t, 14, 1);
    return t;
}

/* The list of hostile ONNX files: varints of eleven bytes, lengths past the end, depth, cycles, external data that
 * lead away, tensors of 2^40 elements. */
static void hostile_files_are_refused(void **state)
{
    (void)state;
    bytes t = tensor_of(1, (uint64_t[]){2}, 8), extra = {0};
    expect(small_model(&t, "w", NULL), NULL, NULL); /* the pattern itself is fine */
    bytes eleven = {0};
    for (int k = 0; k < 11; k++) bytes_u8(&eleven, 0xff);
    expect(eleven, NULL, "number of more than");
    bytes past = {0};
    put_varint(&past, 7 << 3 | 2);
    put_varint(&past, UINT64_MAX);
    expect(past, NULL, "length past the end");
    t = tensor_of(2, (uint64_t[]){1u << 20, 1u << 20}, 8);
    expect(small_model(&t, "w", NULL), NULL, "do not fit its shape");
    t = tensor_of(3, (uint64_t[]){1ull << 40, 1ull << 40, 4}, 8);
    expect(small_model(&t, "w", NULL), NULL, "impossible shape");
    t = tensor_of(1, (uint64_t[]){UINT64_MAX}, 8);
    expect(small_model(&t, "w", NULL), NULL, "impossible shape");
    t = tensor_of(9, (uint64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 2}, 8);
    expect(small_model(&t, "w", NULL), NULL, "more axes");
    t = tensor_of(1, (uint64_t[]){2}, 8);
    expect(small_model(&t, "y", NULL), NULL, "before it is there"); /* a node that reads itself */
    t = tensor_of(1, (uint64_t[]){2}, 8);
    put_bytes(&extra, 2, "w", 1);
    expect(small_model(&t, "w", &extra), NULL, "defined twice");
    /* a graph within an attribute, within an attribute...: refused at the first */
    bytes attr = {0}, deep = {0};
    for (int k = 0; k < 10000; k++) {
        put_bytes(&attr, 6, deep.data ? (const void *)deep.data : "", deep.count > 100 ? 100 : deep.count);
        free(deep.data);
        deep = attr;
        attr = (bytes){0};
    }
    extra = (bytes){0};
    put_message(&extra, 5, &deep);
    t = tensor_of(1, (uint64_t[]){2}, 8);
    expect(small_model(&t, "w", &extra), NULL, "an attribute that holds a graph");
    static const char *const away[] = {"../data", "/etc/passwd", "..", "", "sub/data", "link", "absent"};
    assert_int_equal(symlink("/etc/passwd", in_dir("link")), 0);
    for (size_t k = 0; k < sizeof away / sizeof away[0]; k++) {
        t = external_tensor(away[k], "0", "8");
        expect(small_model(&t, "w", NULL), dir, away[k]);
    }
    assert_int_equal(hone_file_write(in_dir("data"), "12345678", 8), HONE_OK);
    t = external_tensor("data", "0", "8");
    expect(small_model(&t, "w", NULL), dir, NULL);
    t = external_tensor("data", "4", "8");
    expect(small_model(&t, "w", NULL), dir, "past the end");
    t = external_tensor("data", "-1", "8");
    expect(small_model(&t, "w", NULL), dir, "no number");
    t = external_tensor("data", "99999999999999999999", "8");
    expect(small_model(&t, "w", NULL), dir, "no number");
    t = external_tensor("data", "0", "8");
    expect(small_model(&t, "w", NULL), NULL, "external data");
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
        cmocka_unit_test(zoo_is_exported),           cmocka_unit_test(forms_are_exported),
        cmocka_unit_test(eight_bits_are_judged),     cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(files_come_back),           cmocka_unit_test(broken_files_are_survived),
        cmocka_unit_test(hostile_files_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
