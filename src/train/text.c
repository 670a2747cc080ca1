/* text.c - see text.h. Nothing here knows how a text becomes ids, or what a model makes of them. */
#include "train/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/text.h"
#include "io/file.h"
#include "text/token_cache.h"
#include "train/trainer.h"

/* The tokenizers' view of a set. */
static void text_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    hone_dataset_text(arg, i, part, text, bytes);
}

static hone_texts view_of(hone_dataset *d)
{
    return (hone_texts){
        .count = hone_dataset_count(d), .parts = hone_dataset_has_pairs(d) ? 2 : 1, .arg = d, .at = text_at};
}

/* config.text as the tokenizers want it. The words of an n-gram vocabulary are bounded by min_count alone. */
static hone_tokenizer_opts options_of(const hone_config *c, hone_tokenizer_kind kind)
{
    hone_tokenizer_opts o = hone_tokenizer_defaults(kind);
    o.lowercase = c->text.lowercase;
    o.min_count = kind == HONE_TOKENIZER_NGRAM ? c->text.ngram.min_count : o.min_count;
    o.vocab_size = kind == HONE_TOKENIZER_NGRAM ? 0 : c->text.vocab_size;
    for (int k = 0; k < 2; k++) {
        o.words[k] = c->text.ngram.words[k];
        o.chars[k] = c->text.ngram.chars[k];
    }
    o.buckets = c->text.ngram.buckets;
    o.punctuation = (hone_punctuation)c->text.ngram.punctuation; /* the same words in the same order */
    return o;
}

/* Whether a folder to start from has a tokenizer: weights mean nothing under another one's ids. */
static bool has_tokenizer(const char *folder)
{
    static const char *const name[] = {"tokenizer.json", "vocab.txt"};
    bool found = false;
    for (int k = 0; folder && k < 2 && !found; k++) {
        struct stat st;
        char *file = hone_io_join(folder, name[k]);
        found = file && stat(file, &st) == 0;
        free(file);
    }
    return found;
}

/* A path that the page names is meant; a kind is trained on the training split, unless the weights to start from come
 * with their tokenizer. */
static hone_status make_tokenizer(hone_trainer *t, int threads)
{
    const hone_config *c = t->config;
    hone_tokenizer_kind kind;
    if (!hone_tokenizer_kind_parse(c->text.tokenizer, &kind))
        return hone_tokenizer_open(c->text.tokenizer, c->text.lowercase, &t->text->tokenizer);
    if (has_tokenizer(c->train.init)) {
        HONE_TRY(hone_tokenizer_open(c->train.init, c->text.lowercase, &t->text->tokenizer));
        hone_trainer_say(t, "note", "init: the tokenizer of %s (%s, %lld ids) is used", c->train.init,
                         hone_tokenizer_kind_name(hone_tokenizer_kind_of(t->text->tokenizer)),
                         (long long)hone_tokenizer_vocab_size(t->text->tokenizer));
        return HONE_OK;
    }
    hone_tokenizer_opts o = options_of(c, kind);
    hone_texts texts = view_of(t->data->train);
    return hone_tokenizer_train(&o, &texts, threads, &t->text->tokenizer);
}

/* --- ids, kept beside the data -------------------------------------------------------------------------- */

enum { WORTH_KEEPING = 4096 }; /* texts: fewer are tokenized before a file would be open */

/* The split's own path where the splits lie apart; what is cut from train lies with train. */
const char *hone_text_beside(const hone_config *c, const char *split)
{
    if (!c->text.cache) return NULL;
    if (c->data.path) return c->data.path;
    if (strcmp(split, "test") == 0 && c->data.test) return c->data.test;
    return strcmp(split, "val") == 0 && c->data.val ? c->data.val : c->data.train;
}

/* FOLDER/.hone/train.tokens, or .hone/NAME.train.tokens in the folder of a file. Readers of data pass over names that
 * begin with a dot. free() it; NULL: there is no such place, or no memory, and then nothing is kept. */
static char *cache_path(const char *beside, const char *split)
{
    struct stat st;
    hone_text path = {0};
    const char *slash = strrchr(beside, '/');
    if (stat(beside, &st) != 0) return NULL;
    if (S_ISDIR(st.st_mode)) hone_text_add(&path, "%s/.hone", beside);
    else if (slash) hone_text_add(&path, "%.*s/.hone", (int)(slash - beside), beside);
    else hone_text_add(&path, ".hone");
    if (path.failed || hone_make_dirs(path.data) != HONE_OK) { /* a folder that can't be written to */
        hone_error_clear();
        hone_text_free(&path);
        return NULL;
    }
    if (S_ISDIR(st.st_mode)) hone_text_add(&path, "/%s.tokens", split);
    else hone_text_add(&path, "/%s.%s.tokens", slash ? slash + 1 : beside, split);
    return hone_text_take(&path);
}

/* N-grams and characters are made as fast as a file of their ids is read. */
static bool worth_keeping(const hone_tokenizer *t, const hone_texts *texts)
{
    /* both search a vocabulary for every word: several times what a read costs */
    hone_tokenizer_kind kind = hone_tokenizer_kind_of(t);
    return texts->count >= WORTH_KEEPING && (kind == HONE_TOKENIZER_WORDPIECE || kind == HONE_TOKENIZER_BPE);
}

/* The key is the texts themselves: a cache that is stale is made anew, and one that can't be written is done without. */
static hone_status encode(hone_text_side *s, const hone_texts *texts, int max_length, int threads, const char *beside,
                          const char *split, hone_token_set *out)
{
    char *path = beside && worth_keeping(s->tokenizer, texts) ? cache_path(beside, split) : NULL;
    if (!path) return hone_tokenizer_encode_all(s->tokenizer, texts, max_length, threads, out);
    /* of what is tokenized, not of the files: the rows of a split also depend on seed and columns */
    uint64_t fingerprint;
    hone_status status = hone_texts_fingerprint(texts, &fingerprint);
    if (status == HONE_OK)
        status = hone_token_cache_get(path, fingerprint, s->tokenizer, texts, max_length, threads, out, s->note,
                                      sizeof s->note);
    free(path);
    return status;
}

hone_status hone_text_encode(hone_text_side *s, hone_dataset *d, int max_length, int threads, const char *beside,
                             const char *split)
{
    hone_texts texts = view_of(d);
    if (s->set_count == HONE_TEXT_SETS) return hone_fail(HONE_ERR_RUNTIME, NULL, "more than three sets of texts");
    hone_token_set *set = &s->set[s->set_count];
    HONE_TRY(encode(s, &texts, max_length, threads, beside, split, set));
    s->set_count++;
    hone_dataset_set_tokens(d, set->id, set->offset, set->second);
    return HONE_OK;
}

/* Cutting is not silent: what the model never sees is said. So is a cache that could not be written. */
static void say_cut(hone_trainer *t, const char *split)
{
    const hone_token_set *set = &t->text->set[t->text->set_count - 1];
    if (t->text->note[0]) hone_trainer_say(t, "note", "%s", t->text->note);
    t->text->note[0] = '\0';
    if (set->cut_texts)
        hone_trainer_say(t, "note", "%lld of %lld texts of %s are longer than text.max_length = %d and were cut",
                         (long long)set->cut_texts, (long long)set->count, split, t->config->text.max_length);
}

/* Train first: a tokenizer must not have seen what it is measured on. */
hone_status hone_text_open(hone_trainer *t, int threads)
{
    t->text = calloc(1, sizeof *t->text);
    if (!t->text) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    HONE_TRY(make_tokenizer(t, threads));
    t->vocab = hone_tokenizer_vocab_size(t->text->tokenizer);
    for (int k = 0; k < 2; k++) {
        static const char *const split[] = {"train", "val"};
        hone_dataset *d = k ? t->data->val : t->data->train;
        if (!d) continue;
        HONE_TRY(hone_text_encode(t->text, d, t->config->text.max_length, threads,
                                  hone_text_beside(t->config, split[k]), split[k]));
        say_cut(t, split[k]);
    }
    return HONE_OK;
}

hone_status hone_text_save(const hone_text_side *s, const char *run_dir)
{
    char *path = hone_io_join(run_dir, "tokenizer.json");
    hone_status status =
        path ? hone_tokenizer_save(s->tokenizer, path) : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(path);
    return status;
}

hone_status hone_text_load(const hone_saved *saved, hone_text_side **out)
{
    int64_t vocab = hone_model_preprocess(saved->model)->vocab;
    const char *json = saved->tokenizer_json;
    hone_text_side *s = calloc(1, sizeof *s);
    char *path = json ? hone_strdup(saved->weights) : hone_io_join(saved->run_dir, "tokenizer.json");
    hone_status status = !s || !path ? hone_fail(HONE_ERR_MEMORY, NULL, "out of memory")
                         : json      ? hone_tokenizer_parse(path, json, strlen(json), &s->tokenizer)
                                     : hone_tokenizer_open(path, false, &s->tokenizer);
    if (status == HONE_OK && hone_tokenizer_vocab_size(s->tokenizer) != vocab)
        status = hone_fail(HONE_ERR_DATA, "keep model.json and tokenizer.json of one run together",
                           "%s makes ids below %lld, the model has rows for %lld", path,
                           (long long)hone_tokenizer_vocab_size(s->tokenizer), (long long)vocab);
    free(path);
    if (status != HONE_OK) {
        hone_text_close(s);
        s = NULL;
    }
    *out = s;
    return status;
}

void hone_text_close(hone_text_side *s)
{
    if (!s) return;
    for (int k = 0; k < s->set_count; k++) hone_token_set_free(&s->set[k]);
    hone_tokenizer_free(s->tokenizer);
    free(s);
}
