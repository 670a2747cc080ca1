/* small_write.c - making a small file (small.h): which rows stay, their levels, the file.
 *
 * A row is worth what it did in training: its length times the root of the number of texts' n-grams that met it. Rows
 * that training never met hold first values, which is noise, and go. If all others fit with 8 bits a number, they stay;
 * else numbers take 4 bits and the worthiest rows stay: more rows tell more than finer ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/text.h"
#include "hone/graph.h"
#include "train/small.h"
#include "train/text.h"

/* Header, names and shapes; checked again on the finished file. */
enum { HEADER_BYTES = 4096 };

/* A row of the table and what it is worth. */
typedef struct ranked {
    float worth;
    int32_t row;
} ranked;

typedef struct small {
    const hone_saved *saved;
    hone_text_side *text;
    hone_param *table; /* (V, C) */
    ranked *order;     /* (seen), the worthiest first */
    int64_t seen;
    uint8_t *keep; /* (V) */
    int bits;
    size_t other_bytes; /* of the other parameters */
    /* what goes into the file */
    int64_t kept;
    hone_tokenizer *tokenizer;
    char *tokenizer_json, *model_json;
    uint8_t *levels; /* (kept, row bytes) */
    float *scale;    /* (kept)            */
} small;

static size_t row_bytes(const small *s, int bits)
{
    return bits == 8 ? (size_t)s->table->dim[1] : ((size_t)s->table->dim[1] + 1) / 2;
}

/* --- what can be made small --------------------------------------------------------------------------------- */

static hone_status no_bag(const hone_saved *s)
{
    return hone_fail(HONE_ERR_USAGE, "--to small takes a text model whose first layer is embedding_bag over n-grams",
                     "%s is no bag of n-grams", s->weights);
}

/* The table that an embedding_bag reads, by name: the graph knows it, however the layers are nested. */
static hone_status find_table(const hone_saved *s, hone_param **out)
{
    hone_model_opts o = {.batch = 1, .mode = HONE_MODE_EVAL, .accumulate = 1, .tokens = 1};
    hone_model_io io;
    hone_graph *g = NULL;
    *out = NULL;
    if (hone_model_preprocess(s->model)->vocab == 0) return no_bag(s);
    HONE_TRY(hone_model_build(s->model, &o, &g, &io));
    for (int k = 0; k < g->node_count && !*out; k++)
        if (g->node[k].op == HONE_OP_embedding_bag)
            *out = hone_model_find_param(s->model, g->tensor[g->node[k].in[0]].name);
    hone_graph_free(g);
    return *out ? HONE_OK : no_bag(s);
}

/* --- which rows matter -------------------------------------------------------------------------------------- */

/* How often training texts name each row: (V), free() it. */
static hone_status count_rows(small *s, int threads, int32_t **out)
{
    const hone_preprocess *pre = hone_model_preprocess(s->saved->model);
    hone_image_spec spec = {0};
    hone_data *d = NULL;
    int32_t *count = calloc((size_t)pre->vocab, sizeof *count);
    hone_status status = count ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    if (status == HONE_OK) status = hone_data_open(s->saved->config, &spec, &d);
    if (status == HONE_OK) status = hone_text_encode(s->text, d->train, pre->max_length, threads, NULL, NULL);
    if (status == HONE_OK) {
        const hone_token_set *set = &s->text->set[0];
        for (int64_t k = 0; k < set->tokens; k++) count[set->id[k]]++;
    }
    hone_data_free(d);
    *out = count;
    return status;
}

static int worthiest_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static hone_status rank_rows(small *s, int threads)
{
    int64_t V = s->table->dim[0], C = s->table->dim[1];
    int32_t *count = NULL;
    hone_status status = count_rows(s, threads, &count);
    s->order = malloc(((size_t)V + 1) * sizeof *s->order);
    if (status == HONE_OK && !s->order)
        status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %lld rows", (long long)V);
    for (int64_t r = 0; r < V && status == HONE_OK; r++) {
        const float *x = s->table->value + r * C;
        double squares = 0;
        if (count[r] == 0) continue;
        for (int64_t c = 0; c < C; c++) squares += (double)x[c] * (double)x[c];
        s->order[s->seen++] = (ranked){(float)sqrt(squares * count[r]), (int32_t)r};
    }
    free(count);
    if (status == HONE_OK) qsort(s->order, (size_t)s->seen, sizeof *s->order, worthiest_first);
    return status;
}

/* --- as many as fit ----------------------------------------------------------------------------------------- */

/* The tokenizer of the `rows` worthiest rows, and its text. */
static hone_status keep_rows(small *s, int64_t rows)
{
    memset(s->keep, 0, (size_t)s->table->dim[0]);
    for (int64_t k = 0; k < rows; k++) s->keep[s->order[k].row] = 1;
    hone_tokenizer_free(s->tokenizer);
    free(s->tokenizer_json);
    s->tokenizer_json = NULL;
    s->kept = rows;
    HONE_TRY(hone_tokenizer_keep(s->text->tokenizer, s->keep, &s->tokenizer));
    s->tokenizer_json = hone_tokenizer_json(s->tokenizer);
    return s->tokenizer_json ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for a tokenizer");
}

static size_t file_bytes(const small *s, int bits)
{
    return HEADER_BYTES + strlen(s->model_json) + s->other_bytes + strlen(s->tokenizer_json) +
           (size_t)s->kept * (row_bytes(s, bits) + sizeof(float));
}

/* From all rows down: what is too much, in bytes, is at least so many rows too many. */
static hone_status fit_rows(small *s, size_t max_bytes)
{
    HONE_TRY(keep_rows(s, s->seen));
    s->bits = file_bytes(s, 8) <= max_bytes ? 8 : 4;
    for (size_t bytes; (bytes = file_bytes(s, s->bits)) > max_bytes;) {
        /* a row's part of tokenizer.json is taken for what it is on average */
        double each =
            (double)(row_bytes(s, s->bits) + sizeof(float)) + (double)strlen(s->tokenizer_json) / (double)s->kept;
        int64_t less = (int64_t)((double)(bytes - max_bytes) / each) + 1;
        if (less >= s->kept)
            return hone_fail(HONE_ERR_USAGE, "allow more bytes, or train a model of fewer dimensions",
                             "--max-bytes %zu: not one row of %s fits beside the rest", max_bytes, s->table->name);
        HONE_TRY(keep_rows(s, s->kept - less));
    }
    return HONE_OK;
}

/* --- the file ----------------------------------------------------------------------------------------------- */

/* Squared error of a row in steps of `scale`, levels within -most .. most. */
static double row_error(const float *x, int64_t C, float scale, float most)
{
    double sum = 0;
    for (int64_t c = 0; c < C; c++) {
        float q = fminf(fmaxf(rintf(x[c] / scale), -most), most);
        sum += (double)(x[c] - q * scale) * (double)(x[c] - q * scale);
    }
    return sum;
}

/* The scale of least error: with few levels it pays to cut the largest numbers a little. */
static float row_scale(const float *x, int64_t C, int bits)
{
    float most = bits == 8 ? 127 : 7, largest = 0, best = 0;
    double least = INFINITY;
    for (int64_t c = 0; c < C; c++) largest = fmaxf(largest, fabsf(x[c]));
    if (!(largest > 0)) return 0;
    for (int cut = 10; cut >= (bits == 8 ? 10 : 6); cut--) {
        float scale = largest / most * (float)cut / 10;
        double error = row_error(x, C, scale, most);
        if (error < least) {
            least = error;
            best = scale;
        }
    }
    return best;
}

/* Rows that stay, in the order of the table, which is that of the new ids. */
static hone_status make_levels(small *s)
{
    int64_t C = s->table->dim[1], at = 0;
    size_t bytes = row_bytes(s, s->bits);
    float most = s->bits == 8 ? 127 : 7;
    s->levels = calloc((size_t)s->kept, bytes);
    s->scale = malloc((size_t)s->kept * sizeof *s->scale);
    if (!s->levels || !s->scale)
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for %lld rows", (long long)s->kept);
    for (int64_t r = 0; r < s->table->dim[0]; r++) {
        const float *x = s->table->value + r * C;
        if (!s->keep[r]) continue;
        float scale = s->scale[at] = row_scale(x, C, s->bits);
        uint8_t *level = s->levels + (size_t)at++ * bytes;
        for (int64_t c = 0; c < C; c++) {
            int q = scale > 0 ? (int)fminf(fmaxf(rintf(x[c] / scale), -most), most) : 0;
            if (s->bits == 8) level[c] = (uint8_t)(q + 128);
            else level[c / 2] |= (uint8_t)((q + 8) << c % 2 * 4);
        }
    }
    return HONE_OK;
}

/* model.json for the rows that are left: a vocabulary of another size, and nothing else. */
static hone_status make_model_json(small *s, int64_t rows)
{
    char *text = NULL;
    json_t *root = NULL;
    HONE_TRY(hone_model_json(s->saved->model, s->saved->weights, &text));
    hone_status status = hone_json_parse(text, strlen(text), 0, &root, NULL);
    free(text);
    HONE_TRY(status);
    json_t *shape = json_object_get(json_object_get(root, "parameters"), s->table->name);
    /* both are there, as hone_model_json has just written them: only memory can fail */
    bool set = json_object_set_new(json_object_get(root, "preprocess"), "vocab", json_integer(rows)) == 0 &&
               json_array_set_new(shape, 0, json_integer(rows)) == 0;
    free(s->model_json);
    s->model_json = NULL;
    if (!set) {
        json_decref(root);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    }
    return hone_json_print(root, JSON_COMPACT | JSON_PRESERVE_ORDER, "model.json", &s->model_json);
}

/* Arrays as small.h lists them; the table's own place is taken by its levels. */
static hone_status write_file(small *s, const char *path)
{
    char levels[HONE_NAME_BYTES + 8], scale[HONE_NAME_BYTES + 8];
    const char *metadata[] = {HONE_SMALL_MARK,          "1", HONE_SMALL_TABLE, s->table->name, HONE_SMALL_BITS,
                              s->bits == 8 ? "8" : "4", NULL};
    int count, at = 0;
    hone_blob *blob = hone_weights_blobs(s->saved->model, &count);
    hone_blob *all = calloc((size_t)count + 4, sizeof *all);
    hone_status status = hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    size_t bytes = row_bytes(s, s->bits), kept = (size_t)s->kept;
    snprintf(levels, sizeof levels, "%s.levels", s->table->name);
    snprintf(scale, sizeof scale, "%s.scale", s->table->name);
    if (blob && all) {
        size_t model = strlen(s->model_json), tokenizer = strlen(s->tokenizer_json);
        for (int k = 0; k < count; k++)
            if (blob[k].data != s->table->value) all[at++] = blob[k];
        all[at++] = (hone_blob){"model.json", HONE_U8, 1, {(int64_t)model}, s->model_json, model};
        all[at++] = (hone_blob){"tokenizer.json", HONE_U8, 1, {(int64_t)tokenizer}, s->tokenizer_json, tokenizer};
        all[at++] = (hone_blob){levels, HONE_U8, 2, {s->kept, (int64_t)bytes}, s->levels, kept * bytes};
        all[at++] = (hone_blob){scale, HONE_F32, 1, {s->kept}, s->scale, kept * sizeof(float)};
        status = hone_safetensors_write(path, all, at, metadata);
    }
    free(blob);
    free(all);
    return status;
}

static hone_status make(small *s, int threads, size_t max_bytes, const char *path)
{
    HONE_TRY(hone_text_load(s->saved, &s->text));
    if (hone_tokenizer_kind_of(s->text->tokenizer) != HONE_TOKENIZER_NGRAM) return no_bag(s->saved);
    s->keep = calloc((size_t)s->table->dim[0], 1);
    if (!s->keep) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    for (int k = 0; k < hone_model_param_count(s->saved->model); k++) {
        const hone_param *p = hone_model_param(s->saved->model, k);
        if (p != s->table) s->other_bytes += (size_t)p->count * sizeof(float) + 2 * HONE_NAME_BYTES;
    }
    HONE_TRY(rank_rows(s, threads));
    HONE_TRY(make_model_json(s, s->table->dim[0]));
    HONE_TRY(fit_rows(s, max_bytes));
    HONE_TRY(make_model_json(s, s->kept));
    HONE_TRY(make_levels(s));
    return write_file(s, path);
}

hone_status hone_small_write(const hone_saved *saved, int threads, size_t max_bytes, const char *path,
                             hone_small_report *report)
{
    small s = {.saved = saved};
    if (saved->tokenizer_json)
        return hone_fail(HONE_ERR_USAGE, "export the run that it was made from", "%s is small already", saved->weights);
    if (!saved->config)
        return hone_fail(HONE_ERR_USAGE, "export a run directory: its training texts say which rows matter",
                         "%s does not know what it was trained on", saved->weights);
    HONE_TRY(find_table(saved, &s.table));
    hone_status status = make(&s, threads, max_bytes, path);
    if (status == HONE_OK)
        *report = (hone_small_report){.rows = s.table->dim[0], .seen = s.seen, .kept = s.kept, .bits = s.bits};
    hone_text_close(s.text);
    hone_tokenizer_free(s.tokenizer);
    free(s.order);
    free(s.keep);
    free(s.tokenizer_json);
    free(s.model_json);
    free(s.levels);
    free(s.scale);
    return status;
}
