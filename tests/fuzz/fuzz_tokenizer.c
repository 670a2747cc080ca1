/* fuzz_tokenizer.c - hostile tokenizer.json files and texts of any bytes.
 *
 * The first byte chooses: the bytes up to the first NUL are a file and what follows is a text, or all of it is a text
 * for one of the golden tokenizers, an n-gram or a character tokenizer. A file that is accepted must give ids below its
 * size, and the same ids after it was written and read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/io.h"
#include "text/tokenizer.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { FIXED = 5 };
static hone_tokenizer *fixed[FIXED]; /* set once, before the first input */
static hone_ids kept[FIXED];         /* their buffers: caches of words live from input to input */

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, hone_error_message());
    abort();
}

static void text_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    (void)i;
    (void)part;
    *text = arg;
    *bytes = strlen(*text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char corpus[] = "some words, some more words and \xC3\x89t\xC3\xA9";
    static const char *const golden[] = {"wordpiece_uncased", "wordpiece_cased", "bpe"};
    (void)argc;
    (void)argv;
    for (int k = 0; k < 3; k++) {
        char path[512];
        snprintf(path, sizeof path, HONE_TESTS_DIR "/golden/tokenizers/%s.json", golden[k]);
        if (hone_tokenizer_open(path, true, &fixed[k]) != HONE_OK) die("golden");
    }
    hone_texts texts = {1, 1, corpus, text_at};
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.chars[0] = 2;
    o.chars[1] = 4;
    o.punctuation = HONE_PUNCTUATION_SPLIT;
    if (hone_tokenizer_train(&o, &texts, 1, &fixed[3]) != HONE_OK) die("ngram");
    o = hone_tokenizer_defaults(HONE_TOKENIZER_CHAR);
    if (hone_tokenizer_train(&o, &texts, 1, &fixed[4]) != HONE_OK) die("char");
    return 0;
}

/* All ids in range; a limit is kept; halves make a pair. */
static void encode(const hone_tokenizer *t, hone_ids *ids, const char *text, size_t bytes)
{
    hone_encoded what;
    ids->count = 0;
    if (hone_tokenizer_encode(t, text, bytes, NULL, 0, 0, ids, &what) != HONE_OK) die("encode");
    if (hone_tokenizer_encode(t, text, bytes / 2, text + bytes / 2, bytes - bytes / 2, 5, ids, &what) != HONE_OK)
        die("pair");
    if (what.second > what.count || what.count > ids->count) die("segments");
    for (int64_t k = 0; k < ids->count; k++)
        if (ids->id[k] < 0 || ids->id[k] >= hone_tokenizer_vocab_size(t)) die("id out of range");
}

static bool same(const hone_tokenizer *a, const hone_tokenizer *b, const char *text, size_t bytes)
{
    hone_ids x = {0}, y = {0};
    if (hone_tokenizer_encode(a, text, bytes, NULL, 0, 0, &x, NULL) != HONE_OK) die("encode");
    if (hone_tokenizer_encode(b, text, bytes, NULL, 0, 0, &y, NULL) != HONE_OK) die("encode");
    bool equal = x.count == y.count && (x.count == 0 || memcmp(x.id, y.id, (size_t)x.count * sizeof *x.id) == 0);
    hone_ids_free(&x);
    hone_ids_free(&y);
    return equal;
}

static void file_and_text(const char *data, size_t bytes)
{
    const char *end = memchr(data, '\0', bytes), *text = end ? end + 1 : data;
    size_t text_bytes = bytes - (size_t)(text - data);
    hone_tokenizer *t = NULL, *again = NULL;
    if (hone_tokenizer_parse("fuzz", data, end ? (size_t)(end - data) : bytes, &t) != HONE_OK) return;
    hone_ids ids = {0};
    encode(t, &ids, text, text_bytes);
    hone_ids_free(&ids);
    char *json = hone_tokenizer_json(t);
    if (!json || hone_tokenizer_parse("again", json, strlen(json), &again) != HONE_OK) die("written form is refused");
    if (hone_tokenizer_fingerprint(t) != hone_tokenizer_fingerprint(again)) die("another fingerprint");
    if (!same(t, again, text, text_bytes)) die("other ids after a round trip");
    free(json);
    hone_tokenizer_free(t);
    hone_tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 1 || bytes > 1 << 16) return 0;
    if (data[0] == '{') file_and_text((const char *)data, bytes);
    else encode(fixed[data[0] % FIXED], &kept[data[0] % FIXED], (const char *)data + 1, bytes - 1);
    return 0;
}
