/* samples.c - see samples.h. */
#include "onnx/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "hone/philox.h"
#include "train/text.h"

enum { MADE = 16 };

static hone_status no_memory(void) { return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for samples to check with"); }

/* Of one sample as the net takes it, after every resize. */
static size_t image_bytes(const hone_preprocess *pre)
{
    return (size_t)pre->height * (size_t)pre->width * (size_t)pre->channels;
}

/* Sample number k of `count` that are spread over `all`. */
static int64_t spread(int64_t k, int64_t count, int64_t all) { return k * all / count; }

/* --- where they come from ----------------------------------------------------------------------------------------- */

/* Decoded one by one: a set of a million pictures is not read for sixteen of them. */
static hone_status take_images(hone_dataset *set, hone_onnx_samples *out)
{
    size_t bytes = image_bytes(out->pre); /* (H, W, C) */
    out->pixels = malloc((size_t)out->count * bytes);
    if (!out->pixels) return no_memory();
    for (int64_t k = 0; k < out->count; k++)
        HONE_TRY(
            hone_dataset_decode(set, spread(k, out->count, hone_dataset_count(set)), out->pixels + (size_t)k * bytes));
    return HONE_OK;
}

/* Ids by the run's tokenizer: what a server would send. */
static hone_status take_texts(const hone_saved *s, hone_onnx_samples *out)
{
    hone_text_side *side = NULL;
    hone_ids ids = {0};
    hone_status status;
    hone_encoded what;
    out->offset = calloc((size_t)out->count + 1, sizeof *out->offset);
    out->second = calloc((size_t)out->count + 1, sizeof *out->second);
    if (!out->offset || !out->second) return no_memory();
    /* the tokenizer that was saved with the model, as predict takes it */
    HONE_TRY(hone_text_load(s, &side));
    for (int64_t k = 0; k < out->count; k++) {
        size_t bytes = out->first ? out->first[k] : out->bytes[k];
        const char *second = out->first ? out->text[k] + bytes + 1 : NULL;
        HONE_GOTO(status,
                  hone_tokenizer_encode(side->tokenizer, out->text[k], bytes, second,
                                        second ? out->bytes[k] - bytes - 1 : 0, out->pre->max_length, &ids, &what),
                  done);
        out->offset[k + 1] = ids.count;
        out->second[k] = (int32_t)what.second;
    }
    out->id = malloc(((size_t)ids.count + 1) * sizeof *out->id);
    status = out->id ? HONE_OK : no_memory();
    if (out->id && ids.count) memcpy(out->id, ids.id, (size_t)ids.count * sizeof *out->id);
done:
    hone_ids_free(&ids);
    hone_text_close(side);
    return status;
}

/* The split to look at; the data stay open until their texts were read. */
static hone_status open_set(const hone_saved *s, hone_data **data, hone_dataset **set, const char **name)
{
    const hone_preprocess *pre = hone_model_preprocess(s->model);
    hone_image_spec spec = {pre->height, pre->width, pre->channels, pre->resize};
    if (!s->config) return hone_fail(HONE_ERR_DATA, NULL, "a model file does not know its data set");
    HONE_TRY(hone_data_open(s->config, &spec, data));
    *set = (*data)->val ? (*data)->val : (*data)->test ? (*data)->test : (*data)->train;
    *name = (*data)->val ? "val" : (*data)->test ? "test" : "train";
    if ((*data)->classes == hone_model_classes(s->model)) return HONE_OK;
    return hone_fail(HONE_ERR_DATA, NULL, "the data have %d classes, the model %d", (*data)->classes,
                     hone_model_classes(s->model));
}

/* Noise that is brighter towards one corner: every pixel differs, no plane is like another. */
static hone_status make_images(hone_onnx_samples *out)
{
    size_t bytes = image_bytes(out->pre);
    out->pixels = malloc((size_t)out->count * bytes);
    if (!out->pixels) return no_memory();
    for (int64_t k = 0; k < out->count; k++)
        for (size_t i = 0; i < bytes; i++) {
            hone_philox4 r = hone_philox(7, HONE_STREAM_SYNTHETIC, (uint64_t)k, i);
            out->pixels[(size_t)k * bytes + i] = (uint8_t)(r.v[0] % 160 + 95 * i / bytes);
        }
    return HONE_OK;
}

/* A copy: the data set is closed before the texts are compared a second time. `second` is NULL for single texts. */
static hone_status keep_text(hone_onnx_samples *out, int64_t k, const char *text, size_t bytes, const char *second,
                             size_t second_bytes)
{
    out->text[k] = malloc(bytes + second_bytes + 2);
    if (!out->text[k]) return no_memory();
    if (bytes) memcpy(out->text[k], text, bytes);
    out->bytes[k] = bytes;
    if (!out->first) return HONE_OK;
    out->text[k][bytes] = '\t';
    if (second_bytes) memcpy(out->text[k] + bytes + 1, second, second_bytes);
    out->first[k] = bytes;
    out->bytes[k] += 1 + second_bytes;
    return HONE_OK;
}

/* Plain English, with an empty text and a short one among them: lengths are what goes wrong in ragged batches. */
static hone_status make_texts(hone_onnx_samples *out)
{
    static const char *const some[] = {"the quick brown fox jumps over the lazy dog",
                                       "a short one",
                                       "",
                                       "no",
                                       "this film was a waste of two good hours",
                                       "library for reading and writing compressed files",
                                       "Please find the invoice attached.",
                                       "42 is an answer!"};
    for (int k = 0; k < MADE; k++) {
        const char *text = some[k % 8] + (k >= 8 && *some[k % 8]); /* the second round begins a letter later */
        const char *second = some[(k * 5 + 4) % 8];                /* of other lengths, one of them empty */
        HONE_TRY(keep_text(out, k, text, strlen(text), second, strlen(second)));
    }
    return HONE_OK;
}

/* --- opening -------------------------------------------------------------------------------------------------------- */

/* Pairs go in as two texts: a first text may hold tabs of its own. */
static hone_status predict_texts(hone_onnx_samples *s, hone_predictor *p)
{
    const char *const *text = (const char *const *)s->text;
    if (!s->first) return hone_predictor_texts(p, text, s->bytes, (int)s->count, s->expected);
    const char **second = calloc((size_t)s->count + 1, sizeof *second);
    size_t *bytes = calloc((size_t)s->count + 1, sizeof *bytes);
    hone_status status = second && bytes ? HONE_OK : no_memory();
    for (int64_t k = 0; status == HONE_OK && k < s->count; k++) {
        second[k] = s->text[k] + s->first[k] + 1;
        bytes[k] = s->bytes[k] - s->first[k] - 1;
    }
    if (status == HONE_OK) status = hone_predictor_pairs(p, text, s->first, second, bytes, (int)s->count, s->expected);
    free(second);
    free(bytes);
    return status;
}

/* The predictor opens the model anew, from the files: what is compared is what a user would get. */
hone_status hone_onnx_samples_predict(hone_onnx_samples *s, const char *model_path, const char *device, int threads)
{
    hone_predictor *p = NULL;
    if (!s->expected) s->expected = malloc((size_t)s->count * (size_t)s->classes * sizeof *s->expected);
    if (!s->expected) return no_memory();
    HONE_TRY(hone_predictor_open(model_path, device, threads, &p));
    hone_status status = s->pixels ? hone_predictor_run(p, s->pixels, (int)s->count, s->expected) : predict_texts(s, p);
    hone_predictor_close(p);
    return status;
}

/* Texts stand beside their ids, as the predictor takes texts and the graph takes ids. */
static hone_status open_texts(hone_onnx_samples *out)
{
    out->text = calloc((size_t)out->count, sizeof *out->text);
    out->bytes = calloc((size_t)out->count, sizeof *out->bytes);
    if (out->pre->pairs) out->first = calloc((size_t)out->count, sizeof *out->first);
    return out->text && out->bytes && (out->first || !out->pre->pairs) ? HONE_OK : no_memory();
}

/* From the data of the run, with their labels. */
static hone_status from_set(const hone_saved *s, hone_dataset *set, const char *name, int64_t most,
                            hone_onnx_samples *out)
{
    int64_t all = hone_dataset_count(set);
    out->count = most && most < all ? most : all;
    snprintf(out->source, sizeof out->source, "%lld samples of %s", (long long)out->count, name);
    out->label = malloc((size_t)out->count * sizeof *out->label);
    if (!out->label) return no_memory();
    for (int64_t k = 0; k < out->count; k++) out->label[k] = hone_dataset_labels(set)[spread(k, out->count, all)];
    if (out->pre->vocab == 0) return take_images(set, out);
    HONE_TRY(open_texts(out));
    for (int64_t k = 0; k < out->count; k++) {
        const char *text, *second;
        size_t bytes, second_bytes;
        hone_dataset_text(set, spread(k, out->count, all), 0, &text, &bytes);
        hone_dataset_text(set, spread(k, out->count, all), 1, &second, &second_bytes);
        HONE_TRY(keep_text(out, k, text, bytes, second, second_bytes));
    }
    return take_texts(s, out);
}

/* Without data: the graph can be proven all the same, but it is said what on. */
static hone_status from_nothing(const hone_saved *s, hone_onnx_samples *out)
{
    snprintf(out->source, sizeof out->source, "%d made samples (%.200s)", MADE, hone_error_message());
    hone_error_clear();
    out->count = MADE;
    if (out->pre->vocab == 0) return make_images(out);
    HONE_TRY(open_texts(out));
    HONE_TRY(make_texts(out));
    return take_texts(s, out);
}

/* A missing data set is no reason not to export: it is one to say so. Memory is another matter. */
hone_status hone_onnx_samples_open(const hone_saved *s, const char *model_path, int64_t most, int threads,
                                   hone_onnx_samples *out)
{
    hone_data *data = NULL;
    hone_dataset *set = NULL;
    const char *name = "";
    *out = (hone_onnx_samples){.pre = hone_model_preprocess(s->model), .classes = hone_model_classes(s->model)};
    hone_status status = open_set(s, &data, &set, &name);
    if (status == HONE_OK) status = from_set(s, set, name, most, out);
    else if (status != HONE_ERR_MEMORY) status = from_nothing(s, out);
    if (status == HONE_OK) status = hone_onnx_samples_predict(out, model_path, "cpu", threads);
    hone_data_free(data);
    if (status != HONE_OK) hone_onnx_samples_close(out);
    return status;
}

/* Also unwinds a half-made one. */
void hone_onnx_samples_close(hone_onnx_samples *s)
{
    for (int64_t k = 0; s->text && k < s->count; k++) free(s->text[k]);
    free(s->text);
    free(s->bytes);
    free(s->pixels);
    free(s->id);
    free(s->offset);
    free(s->second);
    free(s->first);
    free(s->label);
    free(s->expected);
    *s = (hone_onnx_samples){0};
}

/* --- feeding --------------------------------------------------------------------------------------------------------- */

/* Pixels u8 (count,H,W,C) as the normalised float (count,C,H,W) that the graph takes. As
 * image_batch has it (ops.def), and as the metadata tell a server. */
static void normalised(const hone_preprocess *pre, const uint8_t *pixels, int64_t count, float *out)
{
    int64_t plane = (int64_t)pre->height * pre->width, c = pre->channels;
    for (int64_t n = 0; n < count; n++)
        for (int64_t i = 0; i < plane; i++)
            for (int64_t k = 0; k < c; k++) {
                double pixel = pixels[(n * plane + i) * c + k] / 255.0;
                out[(n * c + k) * plane + i] = (float)((pixel - (double)pre->mean[k]) / (double)pre->std[k]);
            }
}

/* Graphs that prepare pixels take them as they are: of the right size, nothing is left to resize. */
static hone_status run_images(const hone_onnx_samples *s, int64_t from, int64_t count, hone_onnx_run *r)
{
    const hone_preprocess *pre = s->pre;
    const uint8_t *pixels = s->pixels + (size_t)from * image_bytes(pre);
    if (hone_onnx_run_model(r)->input[0].type == HONE_ONNX_UINT8) {
        int64_t dim[4] = {count, pre->height, pre->width, pre->channels};
        HONE_TRY(hone_onnx_run_input(r, "input", HONE_ONNX_UINT8, 4, dim, pixels));
        return hone_onnx_run_go(r);
    }
    int64_t dim[4] = {count, pre->channels, pre->height, pre->width};
    float *x = hone_onnx_aligned((size_t)count * image_bytes(pre) * sizeof *x);
    if (!x) return no_memory();
    normalised(pre, pixels, count, x);
    hone_status status = hone_onnx_run_input(r, "input", HONE_ONNX_FLOAT, 4, dim, x);
    if (status == HONE_OK) status = hone_onnx_run_go(r);
    free(x);
    return status;
}

/* Flat ids and where each text begins. */
static hone_status run_bags(const hone_onnx_samples *s, int64_t from, int64_t count, hone_onnx_run *r)
{
    /* offsets of a batch begin with 0 */
    int64_t first = s->offset[from], tokens = s->offset[from + count] - first;
    int64_t *id = malloc(((size_t)tokens + 1) * sizeof *id), *offset = malloc((size_t)count * sizeof *offset);
    hone_status status = id && offset ? HONE_OK : no_memory();
    for (int64_t k = 0; status == HONE_OK && k < tokens; k++) id[k] = s->id[first + k];
    for (int64_t k = 0; status == HONE_OK && k < count; k++) offset[k] = s->offset[from + k] - first;
    if (status == HONE_OK) status = hone_onnx_run_input(r, "input_ids", HONE_ONNX_INT64, 1, &tokens, id);
    if (status == HONE_OK) status = hone_onnx_run_input(r, "offsets", HONE_ONNX_INT64, 1, &count, offset);
    if (status == HONE_OK) status = hone_onnx_run_go(r);
    free(id);
    free(offset);
    return status;
}

/* (count, L) arrays of a padded batch. */
typedef struct padded {
    int64_t length, *id, *mask, *type; /* length = L */
} padded;

/* Row k of the batch. Padding is where servers put it, and elsewhere: behind the tokens, before them, and one place
 * among them; it holds an id that means something, for a graph that looks at it must be found out. */
static void pad_row(const hone_onnx_samples *s, int64_t from, int64_t k, padded *p)
{
    const int32_t *id = s->id + s->offset[from + k];
    int64_t n = s->offset[from + k + 1] - s->offset[from + k], spare = p->length - n, form = (from + k) % 3;
    int64_t at = form == 1 ? spare : 0, gap = form == 2 && spare > 0 ? n / 2 : n;
    for (int64_t i = 0; i < p->length; i++) {
        p->id[k * p->length + i] = s->pre->vocab - 1;
        p->mask[k * p->length + i] = 0;
        p->type[k * p->length + i] = s->first != NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t to = k * p->length + at + i + (i >= gap);
        p->id[to] = id[i];
        p->mask[to] = 1;
        p->type[to] = i >= s->second[from + k];
    }
}

/* Ids, mask and, where the graph asks for them, segments. Never of the exact length in every batch: there is a place of
 * padding more than the longest text needs in two batches of three. */
static hone_status run_padded(const hone_onnx_samples *s, int64_t from, int64_t count, hone_onnx_run *r)
{
    padded p = {.length = 1};
    const hone_onnx *m = hone_onnx_run_model(r);
    for (int64_t k = from; k < from + count; k++)
        if (s->offset[k + 1] - s->offset[k] > p.length) p.length = s->offset[k + 1] - s->offset[k];
    p.length += from % 3;
    size_t bytes = (size_t)(count * p.length) * sizeof(int64_t);
    p.id = malloc(bytes);
    p.mask = malloc(bytes);
    p.type = malloc(bytes);
    hone_status status = p.id && p.mask && p.type ? HONE_OK : no_memory();
    for (int64_t k = 0; status == HONE_OK && k < count; k++) pad_row(s, from, k, &p);
    int64_t dim[2] = {count, p.length};
    if (status == HONE_OK) status = hone_onnx_run_input(r, "input_ids", HONE_ONNX_INT64, 2, dim, p.id);
    if (status == HONE_OK) status = hone_onnx_run_input(r, "attention_mask", HONE_ONNX_INT64, 2, dim, p.mask);
    if (status == HONE_OK && m->input_count == 3)
        status = hone_onnx_run_input(r, "token_type_ids", HONE_ONNX_INT64, 2, dim, p.type);
    if (status == HONE_OK) status = hone_onnx_run_go(r);
    free(p.id);
    free(p.mask);
    free(p.type);
    return status;
}

/* Which inputs a graph has follows from the task, and for texts from its rank: bags take flat ids. */
hone_status hone_onnx_samples_run(const hone_onnx_samples *s, int64_t from, int64_t count, hone_onnx_run *r)
{
    if (s->pixels) return run_images(s, from, count, r);
    return hone_onnx_run_model(r)->input[0].rank == 2 ? run_padded(s, from, count, r) : run_bags(s, from, count, r);
}

/* One image at a time: sizes differ, and a batch has one. */
hone_status hone_onnx_raw_run(const hone_onnx_samples *s, const uint8_t *raw, int height, int width, hone_onnx_run *r)
{
    int64_t dim[4] = {1, height, width, s->pre->channels};
    HONE_TRY(hone_onnx_run_input(r, "input", HONE_ONNX_UINT8, 4, dim, raw));
    return hone_onnx_run_go(r);
}
