/* dnn_absent.c - the verbs of dnn.h in a plugin that was built without cuDNN.
 *
 * Contract: takes the place of dnn_cudnn*.c where the build found no cuDNN (CMake says so, and what to install);
 * `hone doctor` repeats it. No device is opened, so convolutions go to our own kernels, and each says why in
 * node->choice. The other verbs can't be reached. */
#include <stdio.h>
#include <string.h>

#include "dnn.h"

const char *hone_dnn_name(void) { return "cudnn"; }
const char *hone_dnn_library(const hone_dnn *dnn) { return dnn ? "cudnn" : ""; }

const char *hone_dnn_version(char *text, size_t text_bytes)
{
    snprintf(text, text_bytes,
             "built without cuDNN (install cuDNN 9.11 or later with its headers, then configure and build again)");
    return text;
}

hone_status hone_dnn_open(const hone_dnn_device *device, hone_dnn **out)
{
    (void)device;
    *out = NULL;
    return HONE_OK;
}

void hone_dnn_close(hone_dnn *dnn) { (void)dnn; }

/* Nobody has a hone_dnn to call these with. */
static hone_status none(void)
{
    return hone_fail(HONE_ERR_DEVICE, "install cuDNN and build again", "built without cuDNN");
}

hone_status hone_dnn_ask(hone_dnn *dnn, const hone_dnn_graph *g, hone_dnn_list *list)
{
    (void)dnn, (void)g;
    memset(list, 0, sizeof *list);
    return none();
}

void hone_dnn_list_free(hone_dnn_list *list) { (void)list; }

hone_status hone_dnn_plan_new(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_list *list, int item,
                              hone_dnn_plan **out)
{
    (void)dnn, (void)g, (void)list, (void)item;
    *out = NULL;
    return none();
}

void hone_dnn_plan_free(hone_dnn_plan *plan) { (void)plan; }
int64_t hone_dnn_plan_work_bytes(const hone_dnn_plan *plan) { return plan ? 1 : 0; }
const hone_dnn_candidate *hone_dnn_plan_candidate(const hone_dnn_plan *plan) { return plan ? NULL : NULL; }

hone_status hone_dnn_execute(hone_dnn *dnn, hone_dnn_plan *plan, void *const *pointer, void *work)
{
    (void)dnn, (void)plan, (void)pointer, (void)work;
    return none();
}
