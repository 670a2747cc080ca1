/* onnx_dump.c - what tests/python/onnx_zoo.py compares onnxruntime with: a net of the zoo in a folder, samples, and
 * hone's own probabilities of them.
 *
 *   onnx_dump list                        names, a line each
 *   onnx_dump make NAME small|full DIR    DIR/model.json, DIR/model.safetensors: random weights
 *   onnx_dump run DIR COUNT               DIR/pixels.u8 (COUNT,H,W,C), DIR/input.f32 (COUNT,C,H,W),
 *                                         DIR/probability.f32 (COUNT,classes), DIR/shape.txt "H W C classes"
 *   onnx_dump raw DIR H W COUNT           DIR/raw.u8 (COUNT,H,W,C), DIR/raw.f32: probabilities after hone's own fitting
 *
 * and the same of texts:
 *   onnx_dump texts                       names, a line each
 *   onnx_dump text NAME small|full DIR COUNT   the net and its tokenizer in DIR; DIR/texts.jsonl: a line
 *                                         {"text": "..", "second": "..", "ids": [..], "types": [..],
 *                                         "probability": [..]} for each text; second only of pairs */
#include "support/onnx_zoo.h"
#include "support/text_zoo.h"

#include <sys/stat.h>

#include "core/text.h"
#include "data/image.h"
#include "hone/hone.h"
#include "train/text.h"

static hone_status dump(const char *dir, const char *name, const void *data, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return hone_file_write(path, data, bytes);
}

static void noise(uint8_t *pixel, size_t count, uint64_t seed)
{
    for (size_t k = 0; k < count; k++) { /* coarse and fine: a resize must not average it all away */
        hone_philox4 r = hone_philox(seed, HONE_STREAM_SYNTHETIC, k / 97, 1),
                     f = hone_philox(seed, HONE_STREAM_SYNTHETIC, k, 2);
        pixel[k] = (uint8_t)(r.v[0] % 180 + f.v[0] % 76);
    }
}

static hone_status run(const char *dir, int count)
{
    hone_predictor *p = NULL;
    HONE_TRY(hone_predictor_open(dir, "cpu", 0, &p));
    const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
    size_t c = (size_t)pre->channels, plane = (size_t)pre->height * (size_t)pre->width, all = (size_t)count * plane * c;
    size_t classes = (size_t)hone_model_classes(hone_predictor_model(p));
    uint8_t *pixel = malloc(all);
    float *x = malloc(all * sizeof *x), *y = malloc((size_t)count * classes * sizeof *y);
    char shape[96];
    if (!pixel || !x || !y) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    noise(pixel, all, 5);
    for (size_t k = 0; k < all; k++) {
        size_t n = k / (plane * c), i = k / c % plane, ch = k % c;
        x[(n * c + ch) * plane + i] = (float)((pixel[k] / 255.0 - (double)pre->mean[ch]) / (double)pre->std[ch]);
    }
    snprintf(shape, sizeof shape, "%d %d %d %zu\n", pre->height, pre->width, pre->channels, classes);
    HONE_TRY(hone_predictor_run(p, pixel, count, y));
    HONE_TRY(dump(dir, "pixels.u8", pixel, all));
    HONE_TRY(dump(dir, "input.f32", x, all * sizeof *x));
    HONE_TRY(dump(dir, "probability.f32", y, (size_t)count * classes * sizeof *y));
    HONE_TRY(dump(dir, "shape.txt", shape, strlen(shape)));
    hone_predictor_close(p);
    free(pixel);
    free(x);
    free(y);
    return HONE_OK;
}

static hone_status raw(const char *dir, int height, int width, int count)
{
    hone_predictor *p = NULL;
    HONE_TRY(hone_predictor_open(dir, "cpu", 0, &p));
    const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
    size_t c = (size_t)pre->channels, from = (size_t)height * (size_t)width * c;
    size_t to = (size_t)pre->height * (size_t)pre->width * c,
           classes = (size_t)hone_model_classes(hone_predictor_model(p));
    uint8_t *pixel = malloc((size_t)count * from), *fit = malloc((size_t)count * to);
    float *y = malloc((size_t)count * classes * sizeof *y);
    if (!pixel || !fit || !y) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    noise(pixel, (size_t)count * from, 6);
    for (int k = 0; k < count; k++) {
        hone_image image = {height, width, pre->channels, 1, pixel + (size_t)k * from};
        HONE_TRY(hone_image_fit(&image, pre->height, pre->width, pre->channels, pre->resize, fit + (size_t)k * to));
    }
    HONE_TRY(hone_predictor_run(p, fit, count, y));
    HONE_TRY(dump(dir, "raw.u8", pixel, (size_t)count * from));
    HONE_TRY(dump(dir, "raw.f32", y, (size_t)count * classes * sizeof *y));
    hone_predictor_close(p);
    free(pixel);
    free(fit);
    free(y);
    return HONE_OK;
}

static hone_status make(const char *name, bool full, const char *dir)
{
    for (int k = 0; k < ONNX_ZOO; k++)
        if (strcmp(onnx_zoo[k].name, name) == 0) return onnx_zoo_make(k, full, dir);
    return hone_fail(HONE_ERR_USAGE, NULL, "no net %s", name);
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

/* One line of texts.jsonl. */
static void add_line(hone_text *t, char *const part[2], const hone_ids *ids, int64_t second, const float *p,
                     int classes)
{
    for (int k = 0; k < 2 && part[k]; k++) {
        hone_text_add(t, k ? ", \"second\": " : "{\"text\": ");
        hone_text_json(t, part[k]);
    }
    hone_text_add(t, ", \"ids\": [");
    for (int64_t k = 0; k < ids->count; k++) hone_text_add(t, "%s%d", k ? ", " : "", (int)ids->id[k]);
    hone_text_add(t, "], \"types\": [");
    for (int64_t k = 0; k < ids->count; k++) hone_text_add(t, "%s%d", k ? ", " : "", k >= second);
    hone_text_add(t, "], \"probability\": [");
    for (int k = 0; k < classes; k++) hone_text_add(t, "%s%.9g", k ? ", " : "", (double)p[k]);
    hone_text_add(t, "]}\n");
}

/* Text k and, for pairs, a second one of another length; its ids are those of the net's tokenizer. */
static hone_status dump_text(hone_predictor *p, const hone_text_side *side, uint64_t k, hone_text *out)
{
    const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
    char *first = text_zoo_text(k), *second = pre->pairs ? text_zoo_text(k + 5000) : NULL;
    size_t n = first ? strlen(first) : 0, m = second ? strlen(second) : 0;
    float probability[TEXT_ZOO_CLASSES];
    hone_ids ids = {0};
    hone_encoded what;
    hone_status status = hone_tokenizer_encode(side->tokenizer, first, n, second, m, pre->max_length, &ids, &what);
    if (status == HONE_OK && second)
        status =
            hone_predictor_pairs(p, (const char *const *)&first, &n, (const char *const *)&second, &m, 1, probability);
    else if (status == HONE_OK) status = hone_predictor_texts(p, (const char *const *)&first, &n, 1, probability);
    if (status == HONE_OK) add_line(out, (char *[]){first, second}, &ids, what.second, probability, TEXT_ZOO_CLASSES);
    hone_ids_free(&ids);
    free(first);
    free(second);
    return status;
}

static hone_status texts(const char *name, bool full, const char *dir, int count)
{
    hone_saved saved;
    hone_text_side *side;
    hone_predictor *p;
    hone_text out = {0};
    int row = 0;
    while (row < TEXT_ZOO && strcmp(text_zoo[row].name, name) != 0) row++;
    if (row == TEXT_ZOO) return hone_fail(HONE_ERR_USAGE, NULL, "no net %s", name);
    HONE_TRY(text_zoo_make(row, full, dir));
    HONE_TRY(hone_saved_open(dir, &saved));
    HONE_TRY(hone_text_load(&saved, &side));
    HONE_TRY(hone_predictor_open(dir, "cpu", 0, &p));
    for (int k = 0; k < count; k++) HONE_TRY(dump_text(p, side, (uint64_t)k + 100, &out));
    HONE_TRY(dump(dir, "texts.jsonl", out.data, out.bytes));
    hone_predictor_close(p);
    hone_text_close(side);
    hone_saved_close(&saved);
    hone_text_free(&out);
    return HONE_OK;
}

int main(int argc, char **argv)
{
    hone_status status = HONE_ERR_USAGE;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int k = 0; k < ONNX_ZOO; k++) puts(onnx_zoo[k].name);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "texts") == 0) {
        for (int k = 0; k < TEXT_ZOO; k++) puts(text_zoo[k].name);
        return 0;
    }
    if (argc == 6 && strcmp(argv[1], "text") == 0)
        status = texts(argv[2], strcmp(argv[3], "full") == 0, argv[4], atoi(argv[5]));
    if (argc == 5 && strcmp(argv[1], "make") == 0) status = make(argv[2], strcmp(argv[3], "full") == 0, argv[4]);
    if (argc == 4 && strcmp(argv[1], "run") == 0) status = run(argv[2], atoi(argv[3]));
    if (argc == 6 && strcmp(argv[1], "raw") == 0) status = raw(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    if (status != HONE_OK) fprintf(stderr, "onnx_dump: %s\n", hone_error_message());
    return (int)status;
}
