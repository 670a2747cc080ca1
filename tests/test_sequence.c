/* test_sequence.c - texts on their way to programs: budgets of tokens, segments of pairs, ids kept beside the data,
 * rates by layer, folders of pretrained models. What a batch costs must not change what it gives.
 * rooms: train text data model config io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/text.h"
#include "hone/hone.h"
#include "hone/philox.h"
#include "io/file.h"
#include "support/scratch.h"
#include "train/text.h"

/* A folder a test: data, runs and what is kept beside the data. */
static int make_scratch(void **state) { return (*state = scratch_make()) ? 0 : -1; }

static int remove_scratch(void **state)
{
    scratch_remove(*state);
    return 0;
}

/* label, text, second: words whose first tells the class; lengths from 1 to 30. */
static void write_table(const char *dir, const char *name, int rows, uint32_t stream)
{
    hone_text t = {0};
    hone_text_add(&t, "label\ttext\tsecond\n");
    for (int k = 0; k < rows; k++) {
        hone_philox4 r = hone_philox(11, stream, (uint64_t)k, 0);
        hone_text_add(&t, "%c\tword%c", 'a' + k % 3, 'a' + k % 3);
        for (uint32_t w = 0; w < r.v[0] % 30; w++) hone_text_add(&t, " w%u", (r.v[1] + w * 7919) % 50);
        hone_text_add(&t, "\tother w%u\n", r.v[2] % 50);
    }
    scratch_write(dir, name, t.data, t.bytes);
    hone_text_free(&t);
}

/* Told to stop at a step; notes are kept to see what was said. */
typedef struct watch {
    volatile int stop;
    int64_t stop_at; /* 0: never */
    hone_text notes;
} watch;

static void on_progress(void *arg, const hone_progress *p)
{
    watch *w = arg;
    if (strcmp(p->what, "note") == 0) hone_text_add(&w->notes, "%s\n", p->text);
    if (w->stop_at && p->step >= w->stop_at && strcmp(p->what, "step") == 0) {
        w->stop = 1;
        w->stop_at = 0;
    }
}

static const char bag[] = "{layers: [embedding_bag: {dim: 6, sparse: false, init: {normal: 0.1}}, linear: classes]}";

/* One run: `text` and `more` are the insides of those maps. */
static hone_status train(const char *dir, const char *out, const char *text, const char *model, const char *more,
                         watch *w)
{
    hone_text page = {0};
    hone_config *c = NULL;
    hone_train_opts o = {.device = "cpu", .threads = 2, .out = scratch_path(dir, out), .stop = &w->stop};
    o.progress = on_progress;
    o.progress_arg = w;
    hone_text_add(&page, "task: text\ndata: {train: %s, val: %s}\n", scratch_path(dir, "train.tsv"),
                  scratch_path(dir, "val.tsv"));
    hone_text_add(&page, "text: {%s}\nmodel: %s\ntrain: {optimizer: {name: adamw, lr: 0.01}, ", text, model);
    hone_text_add(&page, "schedule: {name: linear, warmup_fraction: 0.25}, %s}\nlog: {every: 1}\n", more);
    if (hone_config_read_text("page.yaml", page.data, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_status status = hone_train(c, &o, NULL);
    w->stop = 0;
    hone_config_free(c);
    hone_text_free(&page);
    return status;
}

/* The same where nothing may go wrong. */
static void trained(const char *dir, const char *out, const char *text, const char *model, const char *more, watch *w)
{
    if (train(dir, out, text, model, more, w) != HONE_OK) fail_msg("%s: %s", out, hone_error_message());
}

/* Byte by byte: what a promise of equal runs means. */
static bool same_file(const char *dir, const char *a, const char *b, const char *name)
{
    char *x, *y;
    size_t m, n;
    char path[2][600];
    snprintf(path[0], sizeof path[0], "%s/%s/%s", dir, a, name);
    snprintf(path[1], sizeof path[1], "%s/%s/%s", dir, b, name);
    assert_int_equal(hone_file_read(path[0], 1 << 26, &x, &m), HONE_OK);
    assert_int_equal(hone_file_read(path[1], 1 << 26, &y, &n), HONE_OK);
    bool same = m == n && memcmp(x, y, m) == 0;
    free(x);
    free(y);
    return same;
}

static void write_both(const char *dir, int rows)
{
    write_table(dir, "train.tsv", rows, 1);
    write_table(dir, "val.tsv", 50, 2);
}

/* --- batches under a budget ------------------------------------------------------------------------------------ */

/* The table read as pairs; the model of the page is not built. */
static hone_data *open_pairs(const char *dir)
{
    hone_config *c;
    hone_data *d;
    char page[900];
    snprintf(page, sizeof page, "task: text\ndata: {train: %s, columns: {second: second}}\nmodel: %s\n",
             scratch_path(dir, "train.tsv"), bag);
    assert_int_equal(hone_config_read_text("page.yaml", page, NULL, 0, &c), HONE_OK);
    hone_image_spec spec = {0};
    if (hone_data_open(c, &spec, &d) != HONE_OK) fail_msg("%s", hone_error_message());
    hone_config_free(c);
    return d;
}

/* A tokenizer of the words, with a template as BERT's. */
static hone_text_side *encode_pairs(hone_data *d)
{
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"
        ","
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_"
        "id\":0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":["
        "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{"
        "\"SpecialToken\":"
        "{\"id\":\"[SEP]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"["
        "SEP]\","
        "\"type_id\":1}}],\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},\"[SEP]"
        "\":{\"id\":"
        "\"[SEP]\",\"ids\":[3],\"tokens\":[\"[SEP]\"]}}},\"decoder\":null,\"truncation\":null,\"padding\":null,"
        "\"model\":{"
        "\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_"
        "word\":100,"
        "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"worda\":4,\"wordb\":5,\"wordc\":6,\"other\":7}}}";
    hone_text_side *s = calloc(1, sizeof *s);
    if (hone_tokenizer_parse("json", json, strlen(json), &s->tokenizer) != HONE_OK)
        fail_msg("%s", hone_error_message());
    assert_int_equal(hone_text_encode(s, d->train, 0, 2, NULL, NULL), HONE_OK);
    return s;
}

/* Checks the shape of a batch; returns its first sample. */
static int32_t check_batch(const hone_batch *b, const hone_loader_opts *o, int *seen)
{
    assert_true(b->count >= 1 && b->count <= o->batch);
    assert_true(b->tokens <= o->batch_tokens || b->count == 1);
    assert_int_equal(b->offset[b->count], b->tokens);
    for (int i = 0; i < o->batch; i++) {
        bool there = i < b->count;
        assert_true(b->weight[i] == (there ? 1.0f : 0.0f));
        if (there) seen[b->sample[i]]++;
        else assert_true(b->offset[i + 1] == b->tokens && b->label[i] == 0);
    }
    /* [CLS] first [SEP] are of type 0, second [SEP] of type 1: "other wN [SEP]" are three */
    for (int i = 0; i < b->count; i++)
        for (int32_t k = b->offset[i]; k < b->offset[i + 1]; k++)
            assert_int_equal(b->type[k], k >= b->offset[i + 1] - 3);
    return b->sample[0];
}

/* Every sample once an epoch, never over the budget, other orders in other epochs, and a seek that lands there. */
static void test_budget(void **state)
{
    enum { ROWS = 200, EPOCHS = 3 };
    write_both(*state, ROWS);
    hone_data *d = open_pairs(*state);
    int64_t count = hone_dataset_count(d->train);
    hone_text_side *side = encode_pairs(d);
    hone_loader_opts o = {.batch = 9, .shuffle = true, .seed = 3, .batch_tokens = 128};
    hone_loader *l, *again;
    hone_batch b;
    int32_t first[EPOCHS][ROWS] = {{0}};
    bool few = false, tight = false, other = false;
    assert_int_equal(hone_loader_open(d->train, &o, &l), HONE_OK);
    assert_int_equal(hone_loader_open(d->train, &o, &again), HONE_OK);
    int64_t batches = hone_loader_batches(l);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        int seen[ROWS] = {0};
        for (int64_t k = 0; k < batches; k++) {
            assert_int_equal(hone_loader_next(l, &b), HONE_OK);
            assert_true(b.epoch == epoch && b.index == k);
            first[epoch][k] = check_batch(&b, &o, seen);
            few = few || b.count < o.batch;
            tight = tight || b.tokens > 110;
            other = other || (epoch && first[epoch][k] != first[0][k]);
            int32_t sample = b.sample[b.count - 1]; /* a seek gives the same batch */
            assert_int_equal(hone_loader_seek(again, epoch, k), HONE_OK);
            assert_int_equal(hone_loader_next(again, &b), HONE_OK);
            assert_int_equal(b.sample[b.count - 1], sample);
        }
        for (int64_t i = 0; i < count; i++) assert_int_equal(seen[i], 1);
    }
    assert_true(few && tight && other);
    hone_loader_close(l);
    hone_loader_close(again);
    hone_data_free(d);
    hone_text_close(side);
}

/* A budget that never bites, over batches that are all full, is no budget: the same bytes. */
static void test_budget_off(void **state)
{
    watch w = {0};
    write_both(*state, 192);
    const char *ngram = "ngram: {words: [1, 1], buckets: 512}";
    trained(*state, "a", ngram, bag, "epochs: 2, batch: 16, shuffle: false", &w);
    trained(*state, "b", ngram, bag, "epochs: 2, batch: 16, shuffle: false, batch_tokens: 100000", &w);
    assert_true(same_file(*state, "a", "b", "best.safetensors"));
    assert_true(same_file(*state, "a", "b", "results.csv"));
    hone_text_free(&w.notes);
}

/* Stopped in the middle of an epoch and started again: the bytes of a run that was never stopped. */
static void test_budget_resumes(void **state)
{
    watch w = {0};
    const char *ngram = "ngram: {words: [1, 2], buckets: 512}", *more = "epochs: 4, batch: 12, batch_tokens: 180";
    write_both(*state, 150);
    trained(*state, "whole", ngram, bag, more, &w);
    w.stop_at = 23;
    assert_int_equal(train(*state, "parts", ngram, bag, more, &w), HONE_INTERRUPTED);
    trained(*state, "parts", ngram, bag, more, &w);
    assert_true(same_file(*state, "whole", "parts", "best.safetensors"));
    assert_true(same_file(*state, "whole", "parts", "results.csv"));
    assert_int_equal(train(*state, "parts", ngram, bag, "epochs: 4, batch: 12, batch_tokens: 170", &w), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "train.batch_tokens was 180 and is 170"));
    hone_text_free(&w.notes);
}

/* --- ids beside the data --------------------------------------------------------------------------------------------- */

/* Flips the lowest bit of one byte. */
static void touch_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

/* A cache changes the time of a run and nothing else: without one, made, read, damaged, of other rows. */
static void test_cache(void **state)
{
    watch w = {0};
    struct stat s, again;
    const char *wordpiece = "tokenizer: wordpiece, vocab_size: 60";
    const char *more = "max_steps: 3, batch: 32", *file = ".hone/train.tsv.train.tokens";
    write_both(*state, 5000);
    trained(*state, "none", "tokenizer: wordpiece, vocab_size: 60, cache: false", bag, more, &w);
    assert_int_not_equal(stat(scratch_path(*state, file), &s), 0);
    trained(*state, "first", wordpiece, bag, more, &w);
    assert_int_equal(stat(scratch_path(*state, file), &s), 0);
    assert_int_not_equal(stat(scratch_path(*state, ".hone/val.tsv.val.tokens"), &again),
                         0); /* 50 texts: not worth it */
    trained(*state, "second", wordpiece, bag, more, &w);
    assert_int_equal(stat(scratch_path(*state, file), &again), 0);
    assert_true(again.st_ino == s.st_ino); /* read, not written */
    /* a flipped bit, then other rows under the same name: never used */
    touch_byte(scratch_path(*state, file), s.st_size - 3);
    trained(*state, "third", wordpiece, bag, more, &w);
    assert_true(same_file(*state, "none", "first", "best.safetensors"));
    assert_true(same_file(*state, "none", "second", "best.safetensors"));
    assert_true(same_file(*state, "none", "third", "best.safetensors"));
    write_table(*state, "train.tsv", 5000, 9);
    trained(*state, "fourth", wordpiece, bag, more, &w);
    trained(*state, "fifth", "tokenizer: wordpiece, vocab_size: 60, cache: false", bag, more, &w);
    assert_true(same_file(*state, "fourth", "fifth", "best.safetensors"));
    assert_false(same_file(*state, "first", "fourth", "best.safetensors"));
    hone_text_free(&w.notes);
}

/* --- rates by layer ----------------------------------------------------------------------------------------------------- */

/* One array of a file; free() it. */
static float *read_array(const char *dir, const char *file, const char *name, int64_t *count)
{
    hone_safetensors *s;
    if (hone_safetensors_open(scratch_path(dir, file), &s) != HONE_OK) fail_msg("%s", hone_error_message());
    const hone_blob *b = hone_safetensors_find(s, name);
    if (!b) fail_msg("no %s", name);
    float *v = malloc(b->bytes);
    memcpy(v, b->data, b->bytes);
    *count = (int64_t)(b->bytes / sizeof *v);
    hone_safetensors_close(s);
    return v;
}

/* How far a parameter moves in one step of the decayed run, as a share of the plain one's way. */
static double share_of(const char *dir, const char *name)
{
    int64_t n;
    double way[2] = {0, 0};
    float *from = read_array(dir, "plain/checkpoints/step-00000000/model.safetensors", name, &n);
    float *to[2] = {read_array(dir, "plain/best.safetensors", name, &n),
                    read_array(dir, "decayed/best.safetensors", name, &n)};
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < n; i++) way[k] += fabs((double)to[k][i] - (double)from[i]);
    free(from);
    free(to[0]);
    free(to[1]);
    assert_true(way[0] > 0);
    return way[1] / way[0];
}

/* One step of AdamW moves every weight by its rate: what a layer moved is its share of the rate. */
static void test_layer_decay(void **state)
{
    watch w = {0};
    static const char net[] = "{layers: [embedding_bag: {name: words, dim: 6, sparse: false, init: {normal: 0.1}}, "
                              "repeat: {name: layer, times: 3, layers: [linear: {name: fc, out: 6}, layernorm: "
                              "{name: norm}]}, linear: {name: head, out: classes}]}";
    static const struct {
        const char *name;
        double share;
    } want[] = {{"words.weight", 0.0625},  {"layer.0.fc.weight", 0.125}, {"layer.0.norm.bias", 0.125},
                {"layer.1.fc.bias", 0.25}, {"layer.2.norm.weight", 0.5}, {"head.weight", 1},
                {"head.bias", 1}};
    const char *ngram = "ngram: {words: [1, 1], buckets: 64}";
    write_both(*state, 64);
    /* step 0 is kept to measure from */
    hone_text page = {0};
    for (int k = 0; k < 2; k++) {
        hone_config *c;
        hone_train_opts o = {.device = "cpu", .threads = 1, .out = scratch_path(*state, k ? "decayed" : "plain")};
        page = (hone_text){0};
        hone_text_add(&page, "task: text\ndata: {train: %s, val_fraction: 0}\ntext: {%s}\nmodel: %s\n",
                      scratch_path(*state, "train.tsv"), ngram, net);
        hone_text_add(&page, "checkpoint: {initial: true}\ntrain: {max_steps: 1, batch: 64, layer_decay: %s, ",
                      k ? "0.5" : "1");
        hone_text_add(&page, "optimizer: {name: adamw, lr: 0.01}, schedule: constant}\n");
        if (hone_config_read_text("page.yaml", page.data, NULL, 0, &c) != HONE_OK) fail_msg("%s", hone_error_message());
        if (hone_train(c, &o, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
        hone_config_free(c);
        hone_text_free(&page);
    }
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        double share = share_of(*state, want[k].name);
        if (fabs(share - want[k].share) > 2e-3 * want[k].share)
            fail_msg("%s moves %.5f of its way, %.5f expected", want[k].name, share, want[k].share);
    }
    /* nothing to tell layers by; and a table whose rows have one rate */
    assert_int_equal(train(*state, "x", ngram, bag, "max_steps: 1, layer_decay: 0.9", &w), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "no numbered blocks"));
    assert_int_equal(train(*state, "y", ngram,
                           "{layers: [embedding_bag: 6, repeat: {times: 2, layers: [linear: 6]}, linear: classes]}",
                           "max_steps: 1, layer_decay: 0.9", &w),
                     HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "sparse"));
    hone_text_free(&w.notes);
}

/* --- the folder of another library's model ------------------------------------------------------------------------------ */

/* A bag under the names of a BERT: what a folder is read for does not depend on what stands between. */
static const char named[] =
    "{layers: [group: {name: bert, layers: [group: {name: embeddings, layers: [embedding_bag: "
    "{name: word_embeddings, dim: 4, sparse: false}, layernorm: {name: LayerNorm, eps: 1e-12}]}]}, "
    "gelu, linear: {name: classifier, out: classes}]}";

/* Names of a body without a head, norms in the old words, a buffer, a head of another task; 8 words. */
static void write_folder(const char *dir, const char *config)
{
    float table[8][4], gamma[4] = {1, 2, 3, 4}, beta[4] = {5, 6, 7, 8}, head[2] = {9, 9};
    int64_t ids[3] = {0, 1, 2};
    for (int k = 0; k < 32; k++) table[k / 4][k % 4] = (float)k / 32;
    const hone_blob blob[] = {{"embeddings.word_embeddings.weight", HONE_F32, 2, {8, 4}, table, sizeof table},
                              {"embeddings.LayerNorm.gamma", HONE_F32, 1, {4}, gamma, sizeof gamma},
                              {"embeddings.LayerNorm.beta", HONE_F32, 1, {4}, beta, sizeof beta},
                              {"embeddings.position_ids", HONE_I64, 1, {3}, ids, sizeof ids},
                              {"cls.predictions.bias", HONE_F32, 1, {2}, head, sizeof head}};
    scratch_text(dir, "folder/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nworda\nwordb\nwordc\nw\n");
    scratch_text(dir, "folder/tokenizer_config.json", "{\"do_lower_case\": true}");
    scratch_text(dir, "folder/config.json", config);
    assert_int_equal(hone_safetensors_write(scratch_path(dir, "folder/model.safetensors"), blob, 5, NULL), HONE_OK);
}

static const char fits[] = "{\"model_type\": \"bert\", \"layer_norm_eps\": 1e-12, \"hidden_act\": \"gelu\"}";

/* Notes are what a user sees of an import, so they are part of it. */
static void said(const watch *w, const char *text)
{
    if (!w->notes.data || !strstr(w->notes.data, text)) fail_msg("not said: %s; but:\n%s", text, w->notes.data);
}

static void test_folder(void **state)
{
    watch w = {0};
    int64_t n;
    hone_text more = {0};
    write_both(*state, 64);
    write_folder(*state, fits);
    hone_text_add(&more, "epochs: 1, batch: 16, freeze: [\"bert.*\"], init: %s", scratch_path(*state, "folder"));
    trained(*state, "run", "tokenizer: wordpiece", named, more.data, &w);
    said(&w, "the tokenizer of ");
    said(&w, "(wordpiece, 8 ids) is used");
    said(&w, "3 of 5 parameters loaded");
    said(&w, "2 of its arrays unused");
    said(&w, "classifier.weight is not in the file: set anew");
    said(&w, "cls.predictions.bias of the file has no place in the model");
    /* frozen, so what was loaded is what was saved, under the page's names */
    float *table = read_array(*state, "run/best.safetensors", "bert.embeddings.word_embeddings.weight", &n);
    float *norm = read_array(*state, "run/best.safetensors", "bert.embeddings.LayerNorm.bias", &n);
    assert_true(table[5] == 5.0f / 32 && norm[0] == 5 && norm[3] == 8);
    free(table);
    free(norm);
    /* the run has the folder's tokenizer with it */
    hone_predictor *p;
    float probability[3];
    const char *text = "Worda";
    size_t length = 5;
    if (hone_predictor_open(scratch_path(*state, "run"), "cpu", 1, &p) != HONE_OK) fail_msg("%s", hone_error_message());
    assert_int_equal(hone_predictor_texts(p, &text, &length, 1, probability), HONE_OK);
    assert_true(fabsf(probability[0] + probability[1] + probability[2] - 1) < 1e-5f);
    hone_predictor_close(p);
    hone_text_free(&more);
    hone_text_free(&w.notes);
}

/* What shapes do not tell is refused with both values; so is a folder whose weights are in another format. */
static void test_folder_mistakes(void **state)
{
    static const struct {
        const char *config, *says;
    } row[] = {{"{\"layer_norm_eps\": 1e-5}", "eps 1e-05, the page's 1e-12"},
               {"{\"hidden_act\": \"relu\"}", "activation is relu, the page's gelu"},
               {"{\"position_embedding_type\": \"relative_key\"}", "relative_key, hone has absolute"},
               {"[1]", "no JSON object"}};
    watch w = {0};
    hone_text more = {0};
    write_both(*state, 64);
    hone_text_add(&more, "epochs: 1, init: %s", scratch_path(*state, "folder"));
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        write_folder(*state, row[k].config);
        assert_int_equal(train(*state, "run", "tokenizer: wordpiece", named, more.data, &w), HONE_ERR_DATA);
        if (!strstr(hone_error_message(), row[k].says)) fail_msg("%s: %s", row[k].says, hone_error_message());
        assert_non_null(strstr(hone_error_message(), "config.json"));
    }
    remove(scratch_path(*state, "folder/model.safetensors"));
    scratch_text(*state, "folder/pytorch_model.bin", "x");
    assert_int_equal(train(*state, "run", "tokenizer: wordpiece", named, more.data, &w), HONE_ERR_USAGE);
    assert_non_null(strstr(hone_error_message(), "pytorch_model.bin"));
    hone_text_free(&more);
    hone_text_free(&w.notes);
}

/* A tenth of 40 steps rises, whatever an epoch is. */
static void test_warmup_fraction(void **state)
{
    (void)state;
    hone_config *c;
    const char *page = "task: text\ndata: {path: .}\nmodel: {layers: [embedding_bag: 4, linear: classes]}\n"
                       "train: {optimizer: {name: adamw, lr: 1}, schedule: {name: linear, warmup_fraction: 0.1}}\n";
    assert_int_equal(hone_config_read_text("page.yaml", page, NULL, 0, &c), HONE_OK);
    for (int k = 0; k < 4; k++) assert_true(fabs(hone_schedule_lr(c, k, 7, 40, 1) - (k + 1) / 4.0) < 1e-12);
    assert_true(fabs(hone_schedule_lr(c, 22, 7, 40, 1) - 0.5) < 1e-12);
    char *resolved = hone_config_resolved(c); /* says both, and reads back */
    hone_config *again;
    assert_int_equal(hone_config_read_text("resolved.yaml", resolved, NULL, 0, &again), HONE_OK);
    assert_true(again->train.schedule.warmup_fraction == 0.1);
    free(resolved);
    hone_config_free(again);
    hone_config_free(c);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, make_scratch, remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_budget),          WITH_SCRATCH(test_budget_off),          WITH_SCRATCH(test_budget_resumes),
        WITH_SCRATCH(test_cache),           WITH_SCRATCH(test_layer_decay),         WITH_SCRATCH(test_folder),
        WITH_SCRATCH(test_folder_mistakes), cmocka_unit_test(test_warmup_fraction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
