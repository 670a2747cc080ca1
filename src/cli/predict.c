/* predict.c - `hone predict`: labels for image files, for samples of a data set (PATH#INDEX), or for
 * paths read from stdin. A broken input is named on stderr and the others are still predicted; the
 * exit code is then 3. Results are printed batch by batch, in the order of the inputs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"
#include "core/text.h"
#include "hone/hone.h"
#include "train/metrics.h"
#include "train/saved.h"

/* inputs a batch: as many as the predictor's larger program takes at once */
enum { CHUNK = 16 };
/* In the order of the names that --format takes. */
typedef enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSONL } format;

/* One run of the command. `name` are owned; a PATH#INDEX keeps its set open for the next one of the same path. */
typedef struct prediction {
    const hone_cli *cli;
    hone_predictor *predictor;
    const hone_model *model;
    const hone_preprocess *pre;
    size_t image_bytes;
    int classes, top;
    format format;
    /* the chunk under way */
    char *name[CHUNK];
    int count;
    uint8_t *pixels;    /* (CHUNK, H, W, C) */
    float *probability; /* (CHUNK, classes) */
    int *order;         /* (classes): scratch for the best K */
    int64_t inputs, broken;
    /* the data set of the last PATH#INDEX */
    char *set_path;
    hone_dataset *set;
    hone_config *config; /* defaults: how to read such a set */
} prediction;

/* --- printing ----------------------------------------------------------------------------------------- */

/* The `top` largest of p (classes) to the front of `order`, equal ones in class order; NaN counts as least. */
static void best_first(const prediction *d, const float *p)
{
    for (int c = 0; c < d->classes; c++) d->order[c] = c;
    for (int k = 0; k < d->top; k++) {
        int best = k;
        for (int c = k + 1; c < d->classes; c++) {
            float a = p[d->order[c]], b = p[d->order[best]];
            if (a > b || (!(b == b) && a == a)) best = c;
        }
        int taken = d->order[best]; /* shift, not swap: the rest stays in class order */
        memmove(d->order + k + 1, d->order + k, (size_t)(best - k) * sizeof *d->order);
        d->order[k] = taken;
    }
}

/* "label":..,"score":.. */
static void add_scored(hone_text *t, const prediction *d, int class, float score)
{
    hone_text_add(t, "\"label\":");
    hone_text_json(t, hone_model_class_name(d->model, class));
    hone_text_add(t, ",\"score\":");
    hone_json_number(t, (double)score);
}

/* One object a line, keys as documented. */
static void add_jsonl(hone_text *t, const prediction *d, const char *name, const float *p)
{
    hone_text_add(t, "{\"input\":");
    hone_text_json(t, name);
    hone_text_add(t, ",");
    add_scored(t, d, d->order[0], p[d->order[0]]);
    hone_text_add(t, ",\"top\":[");
    for (int k = 0; k < d->top; k++) {
        hone_text_add(t, k ? ",{" : "{");
        add_scored(t, d, d->order[k], p[d->order[k]]);
        hone_text_add(t, "}");
    }
    hone_text_add(t, "]}\n");
}

/* RFC 4180; label and score pairs, likeliest first. */
static void add_csv(hone_text *t, const prediction *d, const char *name, const float *p)
{
    hone_csv_field(t, name);
    for (int k = 0; k < d->top; k++) {
        hone_text_add(t, ",");
        hone_csv_field(t, hone_model_class_name(d->model, d->order[k]));
        hone_text_add(t, ",%.9g", (double)p[d->order[k]]);
    }
    hone_text_add(t, "\n");
}

/* For eyes. */
static void add_table(hone_text *t, const prediction *d, const char *name, const float *p)
{
    hone_text_add(t, "%-40s", name);
    for (int k = 0; k < d->top; k++)
        hone_text_add(t, "  %s %.3f", hone_model_class_name(d->model, d->order[k]), (double)p[d->order[k]]);
    hone_text_add(t, "\n");
}

/* Only CSV has one. */
static void print_header(const prediction *d)
{
    if (d->format != FORMAT_CSV) return;
    printf("input,label,score");
    for (int k = 2; k <= d->top; k++) printf(",label%d,score%d", k, k);
    printf("\n");
}

/* Predicts and prints what was collected; the names are freed in any case. */
static hone_status flush_chunk(prediction *d)
{
    hone_text t = {0};
    hone_status status = d->count ? hone_predictor_run(d->predictor, d->pixels, d->count, d->probability) : HONE_OK;
    for (int k = 0; k < d->count; k++) {
        const float *p = d->probability + (size_t)k * (size_t)d->classes;
        if (status == HONE_OK) {
            best_first(d, p);
            if (d->format == FORMAT_JSONL) add_jsonl(&t, d, d->name[k], p);
            else if (d->format == FORMAT_CSV) add_csv(&t, d, d->name[k], p);
            else add_table(&t, d, d->name[k], p);
        }
        /* printed or not: a failure ends the run, and the next chunk starts empty */
        free(d->name[k]);
    }
    d->count = 0;
    if (status == HONE_OK && t.failed) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the results");
    if (status == HONE_OK && t.bytes && (fwrite(t.data, 1, t.bytes, stdout) != t.bytes || fflush(stdout) != 0))
        status = hone_fail(HONE_ERR_RUNTIME, NULL, "the results can't be written to stdout");
    hone_text_free(&t);
    return status;
}

/* --- inputs --------------------------------------------------------------------------------------------- */

/* "PATH#17" where no file of that whole name exists; the index, or -1. */
static int64_t sample_index(const char *input)
{
    const char *mark = strrchr(input, '#');
    char *end;
    if (!mark || mark == input || mark[1] < '0' || mark[1] > '9' || access(input, F_OK) == 0) return -1;
    long long index = strtoll(mark + 1, &end, 10);
    return *end ? -1 : (int64_t)index;
}

/* Opens the set that `path` names: a folder, or a file of one (its name says which split). */
static hone_status open_set(prediction *d, const char *path)
{
    /* many samples of one set are the common case */
    if (d->set && strcmp(d->set_path, path) == 0) return HONE_OK;
    hone_dataset_free(d->set);
    free(d->set_path);
    d->set = NULL;
    d->set_path = hone_strdup(path);
    const char **names = malloc((size_t)d->classes * sizeof *names);
    char *folder = hone_strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    const char *file = slash ? slash + 1 : folder;
    if (!d->set_path || !names || !folder) {
        free(names);
        free(folder);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    }
    for (int c = 0; c < d->classes; c++) names[c] = hone_model_class_name(d->model, c);
    /* a bare IDX file is not a set: its labels lie beside it */
    bool is_idx = strstr(file, "idx") != NULL; /* images and labels are two files of one folder */
    const char *split = is_idx && strncmp(file, "train", 5) == 0 ? "train" : "test";
    if (is_idx && slash) *slash = '\0';
    hone_status status = hone_data_open_eval(is_idx ? (slash ? folder : ".") : path, split, d->config, d->pre,
                                             d->classes, names, &d->set);
    if (status == HONE_OK) status = hone_dataset_load(d->set, 1, NULL);
    free(names);
    free(folder);
    return status;
}

/* `input` is PATH#INDEX and `index` its number. out (H, W, C). */
static hone_status read_sample(prediction *d, const char *input, int64_t index, uint8_t *out)
{
    char *path = hone_strdup(input);
    if (!path) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    *strrchr(path, '#') = '\0';
    hone_status status = open_set(d, path);
    free(path);
    if (status != HONE_OK) return status;
    const uint8_t *pixels = hone_dataset_pixels(d->set);
    if (index >= hone_dataset_count(d->set))
        return hone_fail(HONE_ERR_DATA, NULL, "%s: the set has %lld samples, counted from 0", input,
                         (long long)hone_dataset_count(d->set));
    if (!pixels)
        return hone_fail(HONE_ERR_DATA, "name the image's own file", "%s: the set does not fit in memory", input);
    memcpy(out, pixels + (size_t)index * d->image_bytes, d->image_bytes);
    return HONE_OK;
}

/* One input into the chunk; a broken one is named and counted, and is no error here. */
static hone_status take(prediction *d, const char *input)
{
    uint8_t *out = d->pixels + (size_t)d->count * d->image_bytes;
    int64_t index = sample_index(input);
    d->inputs++;
    hone_status status = index >= 0 ? read_sample(d, input, index, out) : hone_image_file(input, d->pre, out);
    if (status == HONE_ERR_MEMORY) return status;
    /* said at once, in the order of the inputs */
    if (status != HONE_OK) {
        d->broken++;
        hone_cli_print_error(status);
        return HONE_OK;
    }
    d->name[d->count] = hone_strdup(input);
    if (!d->name[d->count]) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    d->count++;
    return d->count == CHUNK ? flush_chunk(d) : HONE_OK;
}

/* One path a line, CRLF too; empty lines are passed over. */
static hone_status take_stdin(prediction *d)
{
    char *line = NULL;
    size_t room = 0;
    hone_status status = HONE_OK;
    for (ssize_t n; status == HONE_OK && (n = getline(&line, &room, stdin)) >= 0;) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
        if (n > 0) status = take(d, line);
    }
    free(line);
    return status;
}

/* --- the command ------------------------------------------------------------------------------------------ */

/* --json is short for jsonl. */
static hone_status read_format(const hone_cli *cli, format *out)
{
    const char *name = hone_cli_value(cli, "--format");
    static const char *const names[] = {"table", "csv", "jsonl"};
    *out = cli->json ? FORMAT_JSONL : FORMAT_TABLE;
    for (int k = 0; name && k < 3; k++) {
        if (strcmp(name, names[k]) != 0) continue;
        *out = (format)k;
        return HONE_OK;
    }
    return name ? hone_fail(HONE_ERR_USAGE, "use table, csv or jsonl", "--format: unknown format %s", name) : HONE_OK;
}

/* Flags are checked before the model is loaded. */
static hone_status open_all(prediction *d)
{
    int64_t top = 3;
    HONE_TRY(read_format(d->cli, &d->format));
    HONE_TRY(hone_cli_int(d->cli, "--top", 1, 1 << 20, &top));
    HONE_TRY(hone_saved_plain_config(false, &d->config));
    HONE_TRY(hone_predictor_open(d->cli->arg[0], d->cli->device, d->cli->threads, &d->predictor));
    d->model = hone_predictor_model(d->predictor);
    d->pre = hone_model_preprocess(d->model);
    d->classes = hone_model_classes(d->model);
    /* more than there are classes means all of them */
    d->top = top < d->classes ? (int)top : d->classes;
    d->image_bytes = (size_t)d->pre->height * (size_t)d->pre->width * (size_t)d->pre->channels;
    d->pixels = malloc(CHUNK * d->image_bytes);
    d->probability = malloc((size_t)CHUNK * (size_t)d->classes * sizeof(float));
    d->order = malloc((size_t)d->classes * sizeof *d->order);
    return d->pixels && d->probability && d->order ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
}

/* Fine at any stage of opening. */
static void close_all(prediction *d)
{
    for (int k = 0; k < d->count; k++) free(d->name[k]);
    hone_dataset_free(d->set);
    hone_config_free(d->config);
    free(d->set_path);
    free(d->pixels);
    free(d->probability);
    free(d->order);
    hone_predictor_close(d->predictor);
}

/* A broken input is no reason to stop, and none to exit with 0. */
static int run(const hone_cli *cli)
{
    prediction d = {.cli = cli};
    hone_status status = open_all(&d);
    if (status == HONE_OK) print_header(&d);
    /* only a lone dash: a file of that name can be given as ./- */
    bool from_stdin = cli->arg_count == 2 && strcmp(cli->arg[1], "-") == 0;
    if (status == HONE_OK && from_stdin) status = take_stdin(&d);
    for (int k = 1; k < cli->arg_count && !from_stdin && status == HONE_OK; k++) status = take(&d, cli->arg[k]);
    if (status == HONE_OK) status = flush_chunk(&d);
    if (status == HONE_OK && d.broken > 0)
        status = hone_fail(HONE_ERR_DATA, "the others are predicted; mend or leave out those named above",
                           "%lld of %lld inputs could not be read", (long long)d.broken, (long long)d.inputs);
    close_all(&d);
    return (int)status;
}

/* No --batch: results do not depend on it, and CHUNK is large enough for speed. */
static const hone_cli_flag flags[] = {
    {"--top", "K", "show the K likeliest classes, 3 by default"},
    {"--format", "NAME", "table (default), csv or jsonl"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_predict_command = {
    .name = "predict",
    .run = run,
    .arguments = "MODEL INPUT...|-",
    .summary = "labels images with a trained model",
    .least = 2,
    .most = -1,
    .flag = flags,
    .details = "INPUT is an image file, or PATH#INDEX for a sample of a data set (counted from 0; its test split).\n"
               "With - the paths are read from stdin, one a line. Images are prepared as in training. Broken inputs\n"
               "are named on stderr, the others are still predicted, and the exit code is then 3.",
    .examples = "hone predict runs/fashion-cnn shoe.png shirt.jpg\n"
                "hone predict runs/fashion-cnn datasets/fashion-mnist#0 datasets/fashion-mnist#1 --top 1\n"
                "find photos -name '*.jpg' | hone predict runs/fashion-cnn - --format jsonl\n",
};
