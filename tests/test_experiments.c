/* test_experiments.c - every ready-made page of configs/ is readable, and its model fits its input.
 * rooms: model compile graph config io core */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hone/model.h"

/* Reads one page and builds its model as a run would, for the classes that the page's data has. */
static hone_status try_page(const char *path, const char *override)
{
    hone_config *c = NULL;
    hone_model *m = NULL;
    HONE_TRY(hone_config_read(path, &override, override ? 1 : 0, &c));
    if (c->task == HONE_TASK_TEXT) { /* its shapes come from the texts: test_text_run builds such models */
        hone_config_free(c);
        return HONE_OK;
    }
    int classes = c->data.synthetic.given ? (int)c->data.synthetic.classes : 10;
    hone_preprocess pre = {
        .height = c->image.height, .width = c->image.width, .channels = c->image.channels, .resize = c->image.resize};
    const char **name = calloc((size_t)classes, sizeof *name);
    assert_non_null(name);
    for (int k = 0; k < classes; k++) name[k] = "x";
    for (int k = 0; k < pre.channels && k < HONE_MAX_CHANNELS; k++) {
        pre.mean[k] = c->image.mean[k];
        pre.std[k] = c->image.std_count ? c->image.std[k] : 1;
    }
    assert_int_equal(c->image.mean_count, pre.channels);
    assert_int_equal(c->image.std_count, pre.channels);
    hone_status status = hone_model_new(c, &pre, classes, name, 1, &m);
    hone_model_free(m);
    free((void *)name);
    hone_config_free(c);
    return status;
}

static int try_folder(const char *folder)
{
    int count = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        char path[512];
        if (!dot || strcmp(dot, ".yaml") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (try_page(path, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
        count++;
    }
    closedir(d);
    return count;
}

static void test_experiments(void **state)
{
    (void)state;
    assert_true(try_folder(HONE_SOURCE_DIR "/configs") >= 6);
    assert_true(try_folder(HONE_SOURCE_DIR "/configs/bench") >= 8);
}

/* Planted: a page whose model does not fit its images is refused. */
static void test_misfit(void **state)
{
    (void)state;
    const char *lenet = HONE_SOURCE_DIR "/configs/fashion-lenet.yaml";
    assert_int_equal(try_page(lenet, NULL), HONE_OK);
    assert_int_equal(try_page(lenet, "image.size=8"), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "conv2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_experiments), cmocka_unit_test(test_misfit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
