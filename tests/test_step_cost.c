/* test_step_cost.c - what one training step of each benched net costs on a GPU: kernels launched and bytes moved.
 * rooms: cli
 * needs: cli
 *
 * `hone bench --device emulated` with HONE_SIMT=dry: the CUDA dialect's own launchers are called and counted,
 * nothing is computed, so that batches of a real GPU cost milliseconds here. The table is a snapshot: a change
 * of the fuse pass or of a kernel shows as a line of the diff. Bytes count each operand of each node once
 * (src/graph/cost.c). Must not claim a time: only the floor that these bytes and operations set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/snapshot.h"

/* H200, random data: a bf16 product of 8192^3, and a device-to-device copy counting both ways. */
static const double FLOP_PER_SECOND = 790e12, BYTES_PER_SECOND = 4.3e12;

/* The workloads of a GPU; samples >= classes. */
static const struct {
    const char *net;
    int batch, samples;
} load[] = {
    {"mlp", 64, 64},
    {"mlp", 256, 256},
    {"lenet", 64, 64},
    {"lenet", 256, 256},
    {"resnet18-cifar", 512, 512},
    {"resnet50", 256, 1000},
    {"vit-s16", 256, 1000},
    {"mobilenet-v2", 256, 1000},
    {"transformer-4x256", 256, 256},
    {"bert-base", 32, 32},
    {"bag", 1024, 1024},
};
static const char *const precision[] = {"fp32", "bf16"};

/* The command's JSON; it must succeed. */
static json_t *bench(int k, const char *type)
{
    char line[1024], text[1 << 16];
    snprintf(line, sizeof line,
             "HONE_SIMT=dry %s bench %s/configs/bench/%s.yaml --device emulated --steps 1 --batch %d --json "
             "data.synthetic.samples=%d train.precision=%s",
             HONE_BINARY, HONE_SOURCE_DIR, load[k].net, load[k].batch, load[k].samples, type);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    size_t bytes = fread(text, 1, sizeof text - 1, f);
    text[bytes] = '\0';
    assert_int_equal(pclose(f), 0);
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    return o;
}

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) fail_msg("bench reports no %s", key);
    return json_number_value(v);
}

/* One line of the table; the floor is the larger of what arithmetic and memory need. */
static int describe(char *text, size_t text_bytes, int k, const char *type)
{
    json_t *o = bench(k, type);
    double flop = number(o, "flop_per_step"), bytes = number(o, "bytes_per_step");
    double by_flop = 1e3 * flop / FLOP_PER_SECOND, by_bytes = 1e3 * bytes / BYTES_PER_SECOND;
    int kernels = (int)number(o, "kernels_per_step");
    assert_true(kernels > 0 && flop > 0 && bytes > 0);
    int used = snprintf(text, text_bytes, "%-17s %5d %5s %8d %10.3f %10.4f %9.4f\n", load[k].net, load[k].batch, type,
                        kernels, 1e-9 * flop, 1e-9 * bytes, by_flop > by_bytes ? by_flop : by_bytes);
    json_decref(o);
    return used;
}

static void test_table(void **state)
{
    (void)state;
    char text[8192];
    int used = snprintf(text, sizeof text, "%-17s %5s %5s %8s %10s %10s %9s\n", "net", "batch", "type", "kernels",
                        "GFLOP", "GB", "floor ms");
    for (size_t k = 0; k < sizeof load / sizeof load[0]; k++)
        for (size_t p = 0; p < sizeof precision / sizeof precision[0]; p++)
            used += describe(text + used, sizeof text - (size_t)used, (int)k, precision[p]);
    print_message("%s", text);
    assert_true(snapshot_matches("step_cost.txt", text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
