/* text.c - see text.h. Nothing here knows how a text becomes ids, or what a model makes of them. */
#include "train/text.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "io/file.h"
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

/* A kind is trained on the training split; anything else is a path. */
static hone_status make_tokenizer(const hone_config *c, hone_dataset *train, int threads, hone_tokenizer **out)
{
    hone_tokenizer_kind kind;
    if (!hone_tokenizer_kind_parse(c->text.tokenizer, &kind)) {
        HONE_TRY(hone_tokenizer_open(c->text.tokenizer, c->text.lowercase, out));
        return HONE_OK;
    }
    hone_tokenizer_opts o = options_of(c, kind);
    hone_texts texts = view_of(train);
    return hone_tokenizer_train(&o, &texts, threads, out);
}

hone_status hone_text_encode(hone_text_side *s, hone_dataset *d, int max_length, int threads)
{
    hone_texts texts = view_of(d);
    if (s->set_count == HONE_TEXT_SETS) return hone_fail(HONE_ERR_RUNTIME, NULL, "more than three sets of texts");
    hone_token_set *set = &s->set[s->set_count];
    HONE_TRY(hone_tokenizer_encode_all(s->tokenizer, &texts, max_length, threads, set));
    s->set_count++;
    hone_dataset_set_tokens(d, set->id, set->offset);
    return HONE_OK;
}

/* Cutting is not silent: what the model never sees is said. */
static void say_cut(hone_trainer *t, const char *split)
{
    const hone_token_set *set = &t->text->set[t->text->set_count - 1];
    if (set->cut_texts)
        hone_trainer_say(t, "note", "%lld of %lld texts of %s are longer than text.max_length = %d and were cut",
                         (long long)set->cut_texts, (long long)set->count, split, t->config->text.max_length);
}

/* Train first: a tokenizer must not have seen what it is measured on. */
hone_status hone_text_open(hone_trainer *t, int threads)
{
    t->text = calloc(1, sizeof *t->text);
    if (!t->text) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    HONE_TRY(make_tokenizer(t->config, t->data->train, threads, &t->text->tokenizer));
    t->vocab = hone_tokenizer_vocab_size(t->text->tokenizer);
    HONE_TRY(hone_text_encode(t->text, t->data->train, t->config->text.max_length, threads));
    say_cut(t, "train");
    if (!t->data->val) return HONE_OK;
    HONE_TRY(hone_text_encode(t->text, t->data->val, t->config->text.max_length, threads));
    say_cut(t, "val");
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
