/* metrics.c - see metrics.h. Keys and digits are the users' contract; wall-clock figures stand only in
 * samples_per_second and data_wait, so that all else of a resumed run's log equals an uninterrupted one. */
#include "train/metrics.h"

#include <math.h>

/* One more key of an object that has some. */
static void add(hone_text *t, const char *key, double value)
{
    hone_text_add(t, ",\"%s\":", key);
    hone_json_number(t, value);
}

/* Keys in the order of the documentation. */
char *hone_train_line_json(const hone_train_line *l)
{
    hone_text t = {0};
    hone_text_add(&t, "{\"split\":\"train\",\"step\":%lld", (long long)l->step);
    add(&t, "epoch", l->epoch);
    add(&t, "loss", l->loss);
    add(&t, "accuracy", l->accuracy);
    add(&t, "lr", l->lr);
    add(&t, "grad_norm", l->grad_norm);
    add(&t, "samples_per_second", l->samples_per_second);
    add(&t, "data_wait", l->data_wait);
    if (l->skipped > 0) hone_text_add(&t, ",\"skipped\":%lld", (long long)l->skipped);
    hone_text_add(&t, "}");
    return hone_text_take(&t);
}

/* No wall-clock figure in it: it must come out equal after a resume. */
char *hone_val_line_json(int64_t step, double epoch, double loss, double accuracy, double f1_macro)
{
    hone_text t = {0};
    hone_text_add(&t, "{\"split\":\"val\",\"step\":%lld", (long long)step);
    add(&t, "epoch", epoch);
    add(&t, "loss", loss);
    add(&t, "accuracy", accuracy);
    add(&t, "f1_macro", f1_macro);
    hone_text_add(&t, "}");
    return hone_text_take(&t);
}

const char hone_results_header[] = "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,val_f1_macro,lr,best";

/* No wall-clock figure here either. */
char *hone_result_row_csv(const hone_result_row *r)
{
    const double value[] = {r->train_loss, r->train_accuracy, r->val_loss, r->val_accuracy, r->val_f1_macro, r->lr};
    hone_text t = {0};
    hone_text_add(&t, "%lld,%lld", (long long)r->epoch, (long long)r->step);
    for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
        hone_text_add(&t, ",");
        if (isfinite(value[k])) hone_text_add(&t, "%.9g", value[k]);
    }
    hone_text_add(&t, ",%d", r->best);
    return hone_text_take(&t);
}
