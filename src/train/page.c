/* page.c - what report.html needs of a model and its data: the layer table, and the samples that were worst. */
#include <math.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "report/report.h"
#include "train/evaluate.h"

enum { WORST = 200, SOURCE_BYTES = 512 };

/* The worst samples with the memory that they point into. */
typedef struct gallery {
    hone_report_sample *item; /* (count) */
    int count;
    int64_t *sample; /* (count) */
    char *source;    /* (count, SOURCE_BYTES) */
    uint8_t *pixels; /* (count, height, width, channels); NULL for texts */
    double *usual;   /* (classes) mean probability of a class over the samples labelled so; 1: there are none */
} gallery;

static void gallery_free(gallery *g)
{
    free(g->item);
    free(g->sample);
    free(g->source);
    free(g->pixels);
    free(g->usual);
}

/* From the losses, which are -log p(truth). */
static hone_status find_usual(const hone_evaluation *e, gallery *g)
{
    g->usual = calloc((size_t)e->classes, sizeof *g->usual);
    if (!g->usual) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the samples of a report");
    for (int64_t k = 0; k < e->n; k++) g->usual[e->truth[k]] += exp(-(double)e->row_loss[k]);
    for (int c = 0; c < e->classes; c++) g->usual[c] = e->support[c] ? g->usual[c] / (double)e->support[c] : 1;
    return HONE_OK;
}

/* A picture that can't be read any more costs its thumbnail, not the page. */
static void show_picture(const hone_dataset *data, int64_t sample, uint8_t *to, hone_report_sample *out)
{
    if (hone_dataset_decode(data, sample, to) != HONE_OK) {
        hone_error_clear();
        return;
    }
    out->pixels = to;
    out->height = data->height;
    out->width = data->width;
    out->channels = data->channels;
}

static void show(const hone_evaluation *e, const hone_dataset *data, gallery *g, int k)
{
    hone_report_sample *out = &g->item[k];
    int64_t s = g->sample[k];
    char *source = g->source + (size_t)k * SOURCE_BYTES;
    out->source = hone_dataset_source(data, s, source, SOURCE_BYTES);
    out->truth = e->class_name[e->truth[s]];
    out->predicted = e->class_name[e->predicted[s]];
    out->score = (double)e->score[s];
    out->loss = (double)e->row_loss[s];
    out->usual = g->usual[e->predicted[s]];
    if (g->pixels) show_picture(data, s, g->pixels + (size_t)k * hone_dataset_sample_bytes(data), out);
    else hone_dataset_text(data, s, 0, &out->text, &out->text_bytes);
}

static hone_status gallery_make(const hone_evaluation *e, const hone_dataset *data, gallery *g)
{
    int64_t count;
    bool text = hone_dataset_is_text(data);
    *g = (gallery){.sample = hone_evaluation_worst(e, WORST, &count)};
    size_t rows = (size_t)(count ? count : 1);
    g->count = (int)count;
    g->item = calloc(rows, sizeof *g->item);
    g->source = malloc(rows * SOURCE_BYTES);
    if (!text) g->pixels = malloc(rows * hone_dataset_sample_bytes(data));
    if (!g->sample || !g->item || !g->source || (!text && !g->pixels))
        return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the samples of a report");
    HONE_TRY(find_usual(e, g));
    for (int k = 0; k < g->count; k++) show(e, data, g, k);
    return HONE_OK;
}

/* Of inference at batch 1: shapes a sample. */
static hone_status layer_table(const hone_model *m, char **table)
{
    const hone_preprocess *pre = hone_model_preprocess(m);
    hone_model_opts o = {.batch = 1, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = 64, .pool_rows = 1};
    o.pool_h = pre->height;
    o.pool_w = pre->width;
    hone_graph *graph = NULL;
    hone_model_io io;
    HONE_TRY(hone_model_build(m, &o, &graph, &io));
    *table = hone_model_table(m, graph);
    hone_graph_free(graph);
    return *table ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the layer table");
}

hone_status hone_evaluation_page(const hone_evaluation *e, const hone_dataset *data, const hone_model *m,
                                 const char *run_dir, const char *split, const char *path)
{
    gallery g = {0};
    char *layers = NULL, *figures = hone_evaluation_json(e);
    hone_status status =
        figures ? gallery_make(e, data, &g) : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for a report");
    if (status == HONE_OK) status = layer_table(m, &layers);
    hone_report_input in = {.run_dir = run_dir, .evaluation = figures, .split = split, .layers = layers};
    in.worst = g.item;
    in.worst_count = g.count;
    if (status == HONE_OK) status = hone_report_write(&in, path);
    gallery_free(&g);
    free(layers);
    free(figures);
    return status;
}
