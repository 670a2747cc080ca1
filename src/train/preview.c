/* preview.c - see preview.h. The pictures are made by the programs that training runs (HONE_MODE_VIEW): gather,
 * augment, normalise, mix. What is shown is undone only in its last step, the normalisation. */
#include "train/preview.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/dataset.h"
#include "data/image.h"
#include "report/report.h"
#include "train/augment.h"
#include "train/setup.h"

/* The page while it is made. Sizes: rows of `batch` are shown, all of it is computed. */
typedef struct preview {
    hone_trainer t;
    hone_pass pass;
    hone_preview page;
    size_t bytes;   /* of a picture */
    float *image;   /* (batch, H, W, C) as the net sees it */
    float *share;   /* (batch) */
    int32_t *other; /* (batch) */
    uint8_t *pixels;
    char **label, **source;
} preview;

/* No validation split is cut off: the page is of training. */
static hone_status open_pass(preview *p, hone_config *c, const hone_preview_opts *o)
{
    hone_image_spec spec = {c->image.height, c->image.width, c->image.channels, c->image.resize};
    if (c->task != HONE_TASK_IMAGE)
        return hone_fail(HONE_ERR_USAGE, "hone data stats and hone data check are for texts",
                         "data preview shows pictures, and this page is about texts");
    HONE_TRY(hone_backend_open(o->device, o->threads, &p->t.backend));
    HONE_TRY(hone_data_open(c, &spec, &p->t.data));
    HONE_TRY(hone_augment_keep(c, p->t.data));
    HONE_TRY(hone_dataset_load(p->t.data->train, p->t.backend->threads > 0 ? p->t.backend->threads : 1, NULL));
    HONE_TRY(hone_setup_model(&p->t));
    /* the model gives sizes, moments and class names; none of its layers is compiled */
    hone_pass_opts view = hone_setup_view_opts(&p->t);
    return hone_pass_open(&view, &p->pass);
}

/* Room for a page of rows x columns. */
static hone_status make_room(preview *p, const hone_preview_opts *o)
{
    const hone_preprocess *pre = hone_model_preprocess(p->t.model);
    int batch = p->pass.full.batch, rows = o->samples < batch ? o->samples : batch, columns = o->epochs + 1;
    p->bytes = hone_pass_sample_bytes(pre);
    p->page.rows = rows;
    p->page.columns = columns;
    p->page.height = pre->height;
    p->page.width = pre->width;
    p->page.channels = pre->channels;
    p->image = calloc((size_t)batch * p->bytes, sizeof *p->image);
    p->share = calloc((size_t)batch, sizeof *p->share);
    p->other = calloc((size_t)batch, sizeof *p->other);
    p->pixels = calloc((size_t)rows * (size_t)columns, p->bytes);
    p->label = calloc((size_t)rows * (size_t)columns, sizeof *p->label);
    p->source = calloc((size_t)rows, sizeof *p->source);
    bool fine = p->image && p->share && p->other && p->pixels && p->label && p->source;
    return fine ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the preview");
}

/* "shoe", or "0.73 shoe + 0.27 bag". */
static hone_status set_label(preview *p, const hone_batch *b, int row, int column, bool mixed)
{
    char text[512];
    const char *own = hone_model_class_name(p->t.model, b->label[row]);
    /* a picture that was not mixed has a share of 1 in the kernel's answer as well */
    double share = mixed ? (double)p->share[row] : 1;
    if (share == 1) snprintf(text, sizeof text, "%s", own);
    else
        snprintf(text, sizeof text, "%.2f %.200s + %.2f %.200s", share, own, 1 - share,
                 hone_model_class_name(p->t.model, p->other[row]));
    char *copy = hone_strdup(text);
    p->label[row * p->page.columns + column] = copy;
    return copy ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the preview");
}

/* Column 0: the bytes that the loader has, which are larger where crops are cut out of them. */
static hone_status add_samples(preview *p, const hone_batch *b)
{
    const hone_dataset *train = p->t.data->train;
    const uint8_t *pool = b->pixels ? b->pixels : hone_dataset_pixels(train);
    char text[512];
    /* rows of the pool are sample ids, or places in the batch where it is streamed: `row` says either */
    for (int r = 0; r < p->page.rows; r++) {
        hone_image whole = {train->height, train->width, train->channels, 1,
                            (uint8_t *)(uintptr_t)pool + (size_t)b->row[r] * hone_dataset_sample_bytes(train)};
        HONE_TRY(hone_image_fit(&whole, p->page.height, p->page.width, p->page.channels, HONE_RESIZE_STRETCH,
                                p->pixels + (size_t)r * (size_t)p->page.columns * p->bytes));
        p->source[r] = hone_strdup(hone_dataset_source(train, b->sample[r], text, sizeof text));
        if (!p->source[r]) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the preview");
        HONE_TRY(set_label(p, b, r, 0, false));
    }
    return HONE_OK;
}

/* Normalisation undone; mixed pictures stay in 0..1, so nothing is lost but a rounding. */
static void to_bytes(const preview *p, int row, int column)
{
    const hone_preprocess *pre = hone_model_preprocess(p->t.model);
    const float *x = p->image + (size_t)row * p->bytes;
    uint8_t *y = p->pixels + ((size_t)row * (size_t)p->page.columns + (size_t)column) * p->bytes;
    for (size_t k = 0; k < p->bytes; k++) {
        int c = (int)(k % (size_t)pre->channels);
        /* a std of 0 was made 1 when the model was set up */
        double v = (double)x[k] * (double)pre->std[c] + (double)pre->mean[c];
        y[k] = (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : lrint(v * 255));
    }
}

/* The batch as it would look if its epoch were `epoch`. */
static hone_status add_epoch(preview *p, const hone_batch *b, hone_pass_program *w, int epoch)
{
    size_t batch = (size_t)w->batch; /* reads are of whole tensors */
    bool mixed = w->io.other != HONE_NONE;
    hone_step step = {.seed = (uint64_t)p->t.config->train.seed, .epoch = epoch};
    HONE_TRY(hone_program_set_step(w->program, &step));
    HONE_TRY(hone_program_forward_backward(w->program)); /* compiled without a loss: forward only */
    HONE_TRY(hone_program_read(w->program, w->io.image, p->image, batch * p->bytes * sizeof *p->image));
    if (mixed) HONE_TRY(hone_program_read(w->program, w->io.other, p->other, batch * sizeof *p->other));
    if (mixed) HONE_TRY(hone_program_read(w->program, w->io.share, p->share, batch * sizeof *p->share));
    /* the rest of the batch was computed for the mixing of the last row */
    for (int r = 0; r < p->page.rows; r++) {
        to_bytes(p, r, epoch + 1);
        HONE_TRY(set_label(p, b, r, epoch + 1, mixed));
    }
    return HONE_OK;
}

/* `augment:` of the resolved page, up to the next key of the top. */
static char *settings_of(const hone_config *c)
{
    char *page = hone_config_resolved(c), *out = NULL;
    char *begin = page ? strstr(page, "\naugment:") : NULL;
    /* keys below it are indented; the next one that is not ends it */
    if (begin) {
        char *end = begin + 1;
        do end = strchr(end, '\n');
        while (end && (*++end == ' ' || *end == '#'));
        if (end) *end = 0;
        out = hone_strdup(begin + 1);
    }
    free(page);
    return out;
}

/* The first batch of the first epoch, as training would feed it; its program may be the short one. */
static hone_status make_page(preview *p, const hone_preview_opts *o)
{
    hone_batch b;
    hone_pass_program *w;
    HONE_TRY(make_room(p, o));
    HONE_TRY(hone_pass_feed(&p->pass, &b, &w));
    HONE_TRY(add_samples(p, &b));
    /* the inputs stay where they are: only the step block changes from one epoch to the next */
    for (int e = 0; e < o->epochs; e++) HONE_TRY(add_epoch(p, &b, w, e));
    char *settings = settings_of(p->t.config);
    p->page.title = "hone data preview";
    p->page.settings = settings ? settings : "";
    p->page.pixels = p->pixels;
    p->page.label = (const char *const *)p->label;
    p->page.source = (const char *const *)p->source;
    hone_status status = hone_preview_write(&p->page, o->path);
    free(settings);
    return status;
}

/* Fine on one that was only half opened. */
static void close_preview(preview *p)
{
    for (int k = 0; p->label && k < p->page.rows * p->page.columns; k++) free(p->label[k]);
    for (int k = 0; p->source && k < p->page.rows; k++) free(p->source[k]);
    free(p->label);
    free(p->source);
    free(p->image);
    free(p->share);
    free(p->other);
    free(p->pixels);
    /* programs hold pointers into the data and the model: they go first */
    hone_pass_close(&p->pass);
    hone_model_free(p->t.model);
    hone_data_free(p->t.data);
    hone_backend_close(p->t.backend);
}

/* A trainer that never trains: the pieces of its setup that pictures need. */
hone_status hone_preview_make(hone_config *c, const hone_preview_opts *o, int *shown)
{
    hone_train_opts opts = {.device = o->device, .threads = o->threads};
    preview p = {.t = {.config = c, .opts = &opts}};
    hone_status status = open_pass(&p, c, o);
    if (status == HONE_OK) status = make_page(&p, o);
    *shown = p.page.rows;
    close_preview(&p);
    return status;
}
