/* build_image.c - the first nodes of an image program: gather, augment, normalise, mix.
 *
 * A page without augmentation, or with flips and shifts alone, has one node: image_batch. Others get what they ask
 * for, in the order of hone/augment.h. EVAL has image_batch alone: augmentation is of training. */
#include <string.h>

#include "model/model_private.h"

/* Colour jitter or RandAugment. */
static bool changes_colours(const hone_augment_attr *a)
{
    bool jitter = false;
    for (int k = 0; k < 4; k++) jitter |= a->jitter[k] > 0;
    return jitter || a->rand_count > 0;
}

/* Whether bytes change before they are normalised, beyond what image_batch does itself. */
static bool changes_bytes(const hone_augment_attr *a)
{
    return a->crop.area[1] > 0 || a->rotate > 0 || changes_colours(a);
}

/* image_view, and image_adjust where colours change: bytes (N, H, W, C) in the order of the batch. */
static hone_status add_bytes(hone_graph *g, const hone_attrs *attr, const hone_model_io *io, hone_tid *out)
{
    const hone_augment_attr *a = &attr->augment;
    hone_tid view[] = {io->pool, io->row, io->sample, io->step};
    HONE_TRY(hone_graph_add1(g, HONE_OP_image_view, view, attr, out));
    if (!changes_colours(a)) return HONE_OK;
    hone_tid adjust[] = {*out, io->sample, io->step};
    return hone_graph_add1(g, HONE_OP_image_adjust, adjust, attr, out);
}

/* Erasing, then mixing: both on normalised pictures, where 0 is the mean. Mixing makes second labels. */
static hone_status add_mixing(hone_graph *g, const hone_attrs *attr, const hone_model_opts *o, hone_model_io *io)
{
    int64_t entries = 2 * HONE_MIX_TABLE;
    hone_tid out[HONE_MAX_OUT];
    /* in this order, as torchvision's recipes: a pasted box may show an erased place of the other picture */
    if (attr->augment.erase > 0) {
        hone_tid erase[] = {io->image, io->sample, io->step};
        HONE_TRY(hone_graph_add1(g, HONE_OP_image_erase, erase, attr, &io->image));
    }
    if (!attr->augment.mixup && !attr->augment.cutmix) return HONE_OK;
    HONE_TRY(hone_graph_tensor(g, "label", HONE_I32, HONE_ROLE_INPUT, 1, &o->batch, &io->label));
    HONE_TRY(hone_graph_tensor(g, "mix_table", HONE_I32, HONE_ROLE_CONST, 1, &entries, &io->mix_table));
    /* its second output is a label like the data's: the loss takes both (softmax_xent) */
    hone_tid mix[] = {io->image, io->label, io->sample, io->mix_table, io->step};
    HONE_TRY(hone_graph_add(g, HONE_OP_image_mix, mix, attr, ~0u, out));
    io->image = out[0];
    io->other = out[1];
    io->share = out[2];
    return HONE_OK;
}

/* The attributes of all these nodes; what EVAL must not do is 0. */
static hone_attrs attributes(const hone_preprocess *pre, const hone_model_opts *o)
{
    hone_attrs attr = {
        .image = {
            .height = pre->height, .width = pre->width, .channels = pre->channels, .stream = HONE_STREAM_AUGMENT}};
    memcpy(attr.image.mean, pre->mean, sizeof attr.image.mean);
    memcpy(attr.image.std, pre->std, sizeof attr.image.std);
    if (o->mode == HONE_MODE_EVAL) return attr;
    /* made from the page, but for what only the model knows */
    attr.augment = o->augment;
    attr.augment.height = pre->height;
    attr.augment.width = pre->width;
    if (changes_bytes(&attr.augment)) return attr; /* image_view flips and shifts */
    attr.image.augment = o->augment.flip > 0 || o->augment.crop_pad > 0;
    attr.image.flip = o->augment.flip;
    attr.image.crop_pad = o->augment.crop_pad;
    return attr;
}

/* pool u8 (P, H, W, C), row and sample i32 (N) -> image (N, H, W, C). */
hone_status hone_model_add_image(hone_graph *g, const hone_preprocess *pre, const hone_model_opts *o, hone_model_io *io)
{
    hone_attrs attr = attributes(pre, o);
    int64_t pool[4] = {o->pool_rows, o->pool_h, o->pool_w, pre->channels}, block = sizeof(hone_step);
    HONE_TRY(hone_graph_tensor(g, "pool", HONE_U8, HONE_ROLE_POOL, 4, pool, &io->pool));
    HONE_TRY(hone_graph_tensor(g, "row", HONE_I32, HONE_ROLE_INPUT, 1, &o->batch, &io->row));
    HONE_TRY(hone_graph_tensor(g, "sample", HONE_I32, HONE_ROLE_INPUT, 1, &o->batch, &io->sample));
    HONE_TRY(hone_graph_tensor(g, "step", HONE_U8, HONE_ROLE_SCALAR, 1, &block, &io->step));
    hone_tid batch[] = {io->pool, io->row, io->sample, io->step};
    if (changes_bytes(&attr.augment)) {
        HONE_TRY(add_bytes(g, &attr, io, &batch[0]));
        batch[1] = HONE_NONE; /* they are the batch already */
    }
    HONE_TRY(hone_graph_add1(g, HONE_OP_image_batch, batch, &attr, &io->image));
    return add_mixing(g, &attr, o, io);
}
