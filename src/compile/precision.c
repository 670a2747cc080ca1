/* precision.c - which precision a program computes in.
 *
 * What the device lacks is refused here, by name and with what it has; only AUTO chooses. */
#include "compile/pass.h"
#include "core/text.h"

/* fp32 is there on every device: the bit need not be set. */
static bool has_precision(const hone_backend *b, hone_precision precision)
{
    return precision == HONE_PRECISION_FP32 || (b->precisions >> precision & 1u);
}

hone_status hone_precision_choose(const hone_backend *b, hone_precision asked, hone_precision *out)
{
    *out = asked != HONE_PRECISION_AUTO ? asked : b->best != HONE_PRECISION_AUTO ? b->best : HONE_PRECISION_FP32;
    if (has_precision(b, *out)) return HONE_OK;
    hone_text have = {0};
    for (int k = HONE_PRECISION_FP32; k < HONE_PRECISION_COUNT; k++)
        if (has_precision(b, (hone_precision)k)) hone_text_add(&have, ", %s", hone_precision_name((hone_precision)k));
    hone_status status = hone_fail(HONE_ERR_USAGE, "set train.precision: auto, or use a device that has it",
                                   "train.precision: %s has no %s (it has auto%s)", b->name, hone_precision_name(*out),
                                   have.data ? have.data : "");
    hone_text_free(&have);
    return status;
}
