/* predict.c - `hone predict`: labels for image files, for samples of a data set (PATH#INDEX), or for
 * paths read from stdin. A broken input is named on stderr and the others are still predicted; the
 * exit code is then 3. Results are printed batch by batch, in the order of the inputs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/predict_text.h"
#include "cli/progress.h"
#include "core/text.h"
#include "hone/hone.h"
#include "train/metrics.h"
#include "train/saved.h"

/* inputs a batch: as many as the predictor's larger program takes at once */
enum { CHUNK = 16 };

/* One run of the command. `name` are owned; a PATH#INDEX keeps its set open for the next one of the same path. */
typedef struct prediction {
    const hone_cli *cli;
    hone_predictor *predictor;
    const hone_model *model;
    const hone_preprocess *pre;
    size_t image_bytes;
    int classes;
    hone_printing print;
    /* the chunk under way */
    char *name[CHUNK];
    int count;
    uint8_t *pixels;    /* (CHUNK, H, W, C) */
    float *probability; /* (CHUNK, classes) */
    int64_t inputs, broken;
    /* the data set of the last PATH#INDEX */
    char *set_path;
    hone_dataset *set;
    hone_config *config; /* defaults: how to read such a set */
} prediction;

/* Predicts and prints what was collected; the names are freed in any case. */
static hone_status flush_chunk(prediction *d)
{
    hone_text t = {0};
    hone_status status = d->count ? hone_predictor_run(d->predictor, d->pixels, d->count, d->probability) : HONE_OK;
    for (int k = 0; k < d->count; k++) {
        const float *p = d->probability + (size_t)k * (size_t)d->classes;
        if (status == HONE_OK) hone_printing_add(&t, &d->print, d->name[k], p);
        /* printed or not: a failure ends the run, and the next chunk starts empty */
        free(d->name[k]);
    }
    d->count = 0;
    if (status == HONE_OK) return hone_printing_flush(&t);
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

/* Flags are checked before the model is loaded. */
static hone_status open_all(prediction *d)
{
    HONE_TRY(hone_printing_flags(d->cli, &d->print));
    HONE_TRY(hone_saved_plain_config(false, &d->config));
    HONE_TRY(hone_predictor_open(d->cli->arg[0], d->cli->device, d->cli->threads, &d->predictor));
    d->model = hone_predictor_model(d->predictor);
    d->pre = hone_model_preprocess(d->model);
    HONE_TRY(hone_printing_open(d->model, &d->print));
    if (d->pre->vocab > 0) return HONE_OK; /* texts have their own chunks: predict_text.c */
    if (hone_cli_value(d->cli, "--second"))
        return hone_fail(HONE_ERR_USAGE, "leave --second out", "%s labels images, which have no second text",
                         d->cli->arg[0]);
    d->classes = hone_model_classes(d->model);
    d->image_bytes = (size_t)d->pre->height * (size_t)d->pre->width * (size_t)d->pre->channels;
    d->pixels = malloc(CHUNK * d->image_bytes);
    d->probability = malloc((size_t)CHUNK * (size_t)d->classes * sizeof(float));
    return d->pixels && d->probability ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
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
    free(d->print.order);
    hone_predictor_close(d->predictor);
}

/* A broken input is no reason to stop, and none to exit with 0. */
static int run(const hone_cli *cli)
{
    prediction d = {.cli = cli};
    hone_status status = open_all(&d);
    if (status == HONE_OK) hone_printing_header(&d.print);
    /* only a lone dash: a file of that name can be given as ./- */
    bool from_stdin = cli->arg_count == 2 && strcmp(cli->arg[1], "-") == 0;
    if (status == HONE_OK && d.pre->vocab > 0) {
        status = hone_predict_texts(cli, d.predictor, &d.print, from_stdin);
        close_all(&d);
        return (int)status;
    }
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
    {"--second", "TEXT", "the second text, for a model of pairs"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_predict_command = {
    .name = "predict",
    .run = run,
    .arguments = "MODEL INPUT...|-",
    .summary = "labels images or texts with a trained model",
    .least = 2,
    .most = -1,
    .flag = flags,
    .details =
        "INPUT is an image file, or PATH#INDEX for a sample of a data set (counted from 0; its test split).\n"
        "With - the paths are read from stdin, one a line. Images are prepared as in training. Broken inputs\n"
        "are named on stderr, the others are still predicted, and the exit code is then 3.\n"
        "With a text model INPUT is the text itself, and - reads one text a line and answers line by line. A model\n"
        "that was trained on pairs wants two texts: --second, or a tab between them, on lines of stdin too.",
    .examples = "hone predict runs/fashion-cnn shoe.png shirt.jpg\n"
                "hone predict runs/fashion-cnn datasets/fashion-mnist#0 datasets/fashion-mnist#1 --top 1\n"
                "hone predict runs/spam-bag 'cheap pills, act now'\n"
                "hone predict runs/claims 'The sky was clear.' --second 'It did not rain.'\n"
                "hone predict runs/spam-bag - --top 1 --format jsonl < mails.txt\n"
                "find photos -name '*.jpg' | hone predict runs/fashion-cnn - --format jsonl\n",
};
