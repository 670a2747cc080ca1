/* check.c - the rules between keys that no single row can state.
 *
 * Each rule adds its mistake at the key that the user would change. Values that were refused by their
 * own row hold their default here, so a mistake is not told twice. */
#include "config/schema.h"

/* Place of the first of two keys that is written. */
static const hone_yaml *place(const hone_config *c, const char *key, const char *other)
{
    const hone_yaml *n = hone_page_find(c->page, key);
    return n ? n : hone_page_place(c->page, other);
}

/* One place of the data, and splits only where the splits lie apart. */
static void check_data(hone_config *c, hone_diag *d)
{
    const hone_yaml *synthetic = hone_page_find(c->page, "data.synthetic");
    c->data.synthetic.given = synthetic && !hone_yaml_null(synthetic);
    /* what is written counts, even if it was refused: a broken path is not a missing one */
    const hone_yaml *written = hone_page_find(c->page, "data.path");
    bool path = c->data.path || (written && !hone_yaml_null(written)), train = c->data.train != NULL;
    int ways = path + train + c->data.synthetic.given;
    if (ways == 0)
        hone_diag_add(d, hone_page_place(c->page, "data"), "data",
                      "says no place: give data.path, data.train or data.synthetic");
    if (ways > 1)
        hone_diag_add(d, place(c, c->data.synthetic.given ? "data.synthetic" : "data.train", "data"), "data",
                      "has more than one of path, train and synthetic (choose one)");
    if (!train && (c->data.val || c->data.test))
        hone_diag_add(d, place(c, "data.val", "data.test"), c->data.val ? "data.val" : "data.test",
                      "needs data.train (with data.path the splits are found in that folder)");
}

/* Synthetic samples are made at their final size: there is nothing to resize or to convert. */
static void check_synthetic(const hone_config *c, hone_diag *d)
{
    const int64_t *shape = c->data.synthetic.shape;
    if (!c->data.synthetic.given || shape[0] == 0) return; /* no shape: told by its row */
    if (c->task == HONE_TASK_TEXT) {
        if (shape[1] > shape[0])
            hone_diag_add(d, place(c, "data.synthetic.shape", "data"), "data.synthetic.shape",
                          "texts of up to %lld words can't have %lld in the mean", (long long)shape[0],
                          (long long)shape[1]);
        return;
    }
    if (shape[2] > 4)
        hone_diag_add(d, place(c, "data.synthetic.shape", "data"), "data.synthetic.shape",
                      "pictures have 1 to 4 channels, found %lld", (long long)shape[2]);
    bool size = c->image.height && (c->image.height != shape[0] || c->image.width != shape[1]);
    bool channels = c->image.channels && c->image.channels != shape[2];
    if (size || channels) {
        const char *key = size ? "image.size" : "image.channels";
        hone_diag_add(d, place(c, key, "image"), key, "differs from data.synthetic.shape (leave it out)");
    }
}

/* A value per channel, or one for all where the number of channels is not said. */
static void check_moments(const hone_config *c, const char *key, int count, hone_diag *d)
{
    if (count && c->image.channels && count != c->image.channels)
        hone_diag_add(d, place(c, key, "image"), key, "has %d number%s, but image.channels is %d", count,
                      count == 1 ? "" : "s", c->image.channels);
}

/* A crop may shift by less than a side, or a picture could be all border. */
static void check_image(const hone_config *c, hone_diag *d)
{
    int mean = c->image.mean_count, std = c->image.std_count, pad = c->augment.crop_pad;
    check_moments(c, "image.mean", mean, d);
    check_moments(c, "image.std", std, d);
    if (mean && std && mean != std && !c->image.channels)
        hone_diag_add(d, place(c, "image.std", "image"), "image.std", "has %d number%s, but image.mean has %d", std,
                      std == 1 ? "" : "s", mean);
    int side = c->image.height < c->image.width ? c->image.height : c->image.width;
    if (side && pad >= side)
        hone_diag_add(d, place(c, "augment.crop.pad", "augment"), "augment.crop.pad",
                      "%d is not below the side of the picture (image.size %d)", pad, side);
}

/* A shifted crop and a resized one exclude each other. */
static void check_crop(hone_config *c, hone_diag *d)
{
    const hone_yaml *scale = hone_page_find(c->page, "augment.crop.scale");
    c->augment.crop.given = scale != NULL;
    if (!scale) return;
    if (c->augment.crop_pad) hone_diag_add(d, scale, "augment.crop", "has pad and scale (choose one)");
    int from[2] = {c->augment.crop.from_height, c->augment.crop.from_width};
    if (from[0] && ((c->image.height && from[0] < c->image.height) || (c->image.width && from[1] < c->image.width)))
        hone_diag_add(d, place(c, "augment.crop.from", "augment"), "augment.crop.from",
                      "%d x %d is below image.size: crops would be cut from less than they become", from[0], from[1]);
}

/* Not a default any more (resolved.yaml writes all of them), and of what is never done: the page forgot a switch. */
static void check_switches(const hone_config *c, hone_diag *d)
{
    const double *area = c->augment.erase.area, *ratio = c->augment.erase.ratio;
    bool erases = c->augment.erase.probability > 0, rand = c->augment.randaugment.count > 0;
    bool mixes = c->augment.mixup > 0 || c->augment.cutmix > 0;
    const struct {
        const char *key, *beside;
        bool idle;
    } rule[] = {
        {"augment.erase.area", "augment.erase.probability", !erases && (area[0] != 0.02 || area[1] != 0.33)},
        {"augment.erase.ratio", "augment.erase.probability", !erases && (ratio[0] != 0.3 || ratio[1] != 3.3)},
        {"augment.randaugment.magnitude", "augment.randaugment.count", !rand && c->augment.randaugment.magnitude != 9},
        {"augment.mix", "augment.mixup or augment.cutmix", c->augment.mix != 1 && !mixes},
    };
    /* pages about texts have none of the keys, and their own message for one that is written */
    for (size_t k = 0; c->task == HONE_TASK_IMAGE && k < sizeof rule / sizeof *rule; k++)
        if (rule[k].idle)
            hone_diag_add(d, place(c, rule[k].key, "augment"), rule[k].key, "counts only beside %s", rule[k].beside);
    const char *mixing = c->augment.mixup > 0 ? "augment.mixup" : "augment.cutmix";
    if (mixes && c->train.batch == 1)
        hone_diag_add(d, place(c, mixing, "augment"), mixing,
                      "mixes pictures of one batch: train.batch must be above 1");
}

/* PyTorch refuses Nesterov without momentum too. */
static void check_optimizer(hone_config *c, hone_diag *d)
{
    const hone_yaml *nesterov = hone_page_find(c->page, "train.optimizer.nesterov");
    if (c->train.optimizer.momentum != 0) return;
    if (nesterov && c->train.optimizer.nesterov)
        hone_diag_add(d, nesterov, "train.optimizer.nesterov", "needs train.optimizer.momentum above 0");
    c->train.optimizer.nesterov = false; /* its default follows the momentum */
}

void hone_config_check(hone_config *c, hone_diag *d)
{
    check_data(c, d);
    check_synthetic(c, d);
    check_image(c, d);
    check_crop(c, d);
    check_switches(c, d);
    check_optimizer(c, d);
}
