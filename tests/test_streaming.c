/* test_streaming.c - data that do not fit: batches that travel to a device through lanes train the same bits as
 * data that lie there, and a lane that is misused is found out.
 * rooms: train data model config io kernels core
 *
 * The device is the emulated one, whose lanes read the host's buffer as late as a GPU may. HONE_TEST_DEVICE=cuda:
 * the same on a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/hone.h"
#include "io/file.h"
#include "support/scratch.h"

/* Pictures of 20 x 20 are taken at 140 x 140, so that 60 of them pass a limit of 1 MiB; the net is small. */
static const char page[] =
    "task: image\n"
    "data: {path: %s, val_fraction: 0}\n"
    "image: {size: 140}\n"
    "augment: {flip: 0.5, crop: {pad: 2}}\n"
    "model: {layers: [avgpool: 20, flatten, linear: 8, relu, linear: classes]}\n"
    "train: {epochs: 2, batch: 7, optimizer: {name: sgd, lr: 0.05}, schedule: {name: constant}}\n";

static const char *device(void)
{
    const char *name = getenv("HONE_TEST_DEVICE");
    return name ? name : "emulated";
}

/* A model file. */
typedef struct weights {
    char *data;
    size_t length;
} weights;

/* The weights that a run ends with; limit in MiB. */
static void train(const char *on, const char *limit, const char *dir, weights *w)
{
    char out[512], path[600], limited[64], text[1024];
    const char *const override[] = {limited};
    hone_config *config = NULL;
    snprintf(limited, sizeof limited, "data.memory_limit_mb=%s", limit);
    snprintf(text, sizeof text, page, dir);
    snprintf(out, sizeof out, "%s/runs/%s-%s", dir, on, limit);
    snprintf(path, sizeof path, "%s/best.safetensors", out);
    hone_train_opts opts = {.device = on, .threads = 2, .out = out};
    hone_status status = hone_config_read_text(HONE_SOURCE_DIR "/configs/page.yaml", text, override, 1, &config);
    if (status == HONE_OK) status = hone_train(config, &opts, NULL);
    if (status == HONE_OK) status = hone_file_read(path, 1 << 20, &w->data, &w->length);
    if (status != HONE_OK) fail_msg("%s, limit %s: %s", on, limit, hone_error_message());
    hone_config_free(config);
}

/* Two epochs of eight full batches and a short one: slots are used many times. */
static void test_streamed_is_resident(void **state)
{
    (void)state;
    const char *dir = scratch_make();
    scratch_idx(dir, "train", 60, 20, 20, 4, 1);
    weights resident, streamed;
    train(device(), "64", dir, &resident);
    train(device(), "1", dir, &streamed);
    assert_int_equal(resident.length, streamed.length);
    assert_memory_equal(resident.data, streamed.data, resident.length);
    free(resident.data);
    free(streamed.data);
    scratch_remove(dir);
}

/* The planted fault: a buffer that is written while it is under way. */
static void test_the_lane_reads_late(void **state)
{
    (void)state;
    if (strcmp(device(), "emulated") != 0) skip(); /* on a GPU the outcome of a race is open */
    hone_backend *b = NULL;
    hone_lane *lane = NULL;
    void *memory = NULL;
    char got[4];
    if (hone_backend_open("emulated", 1, &b) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(b->alloc(b, 4, &memory), HONE_OK);
    assert_int_equal(b->lane_open(b, 4, &lane), HONE_OK);
    assert_int_equal(b->lane_wait(b, lane), HONE_OK);
    memcpy(lane->host, "good", 4);
    assert_int_equal(b->lane_send(b, lane, memory, 4), HONE_OK);
    assert_int_equal(b->lane_send(b, lane, memory, 4), HONE_ERR_DEVICE); /* no wait between two sends */
    memcpy(lane->host, "evil", 4);
    assert_int_equal(b->download(b, got, memory, 4), HONE_OK);
    assert_memory_equal(got, "evil", 4);
    assert_int_equal(b->lane_wait(b, lane), HONE_OK);
    memcpy(lane->host, "good", 4);
    assert_int_equal(b->lane_send(b, lane, memory, 4), HONE_OK);
    assert_int_equal(b->lane_wait(b, lane), HONE_OK); /* also wipes the buffer */
    assert_int_equal(b->download(b, got, memory, 4), HONE_OK);
    assert_memory_equal(got, "good", 4);
    b->lane_close(b, lane);
    b->free(b, memory);
    hone_backend_close(b);
    hone_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lane_reads_late),
        cmocka_unit_test(test_streamed_is_resident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
