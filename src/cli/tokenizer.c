/* tokenizer.c - `hone tokenizer train|show`: makes a vocabulary from texts, and shows what becomes of a text. */
#include <stdlib.h>
#include <string.h>

#include "cli/open_data.h"
#include "core/text.h"
#include "core/thread.h"
#include "hone/io.h"
#include "text/tokenizer.h"

/* Lines of plain files, or the training texts of a data set. */
typedef struct corpus {
    hone_cli_data data; /* data.data NULL: plain files */
    hone_text all;      /* the files, one after the other */
    size_t *line;       /* (lines + 1): where each begins */
    int64_t lines;
} corpus;

/* --- texts --------------------------------------------------------------------------------------------- */

/* Without its line end; the CR of a CRLF goes, too. */
static void line_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    const corpus *c = arg;
    size_t from = c->line[i], to = c->line[i + 1];
    (void)part;
    while (to > from && (c->all.data[to - 1] == '\n' || c->all.data[to - 1] == '\r')) to--;
    *text = c->all.data + from;
    *bytes = to - from;
}

/* The first text of a row; pairs are learned from their first part. */
static void sample_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    const corpus *c = arg;
    hone_dataset_text(c->data.data->train, i, part, text, bytes);
}

/* A file to the end of all; a file without a last line end gets one, so that lines do not run together. */
static hone_status add_file(corpus *c, const char *path)
{
    enum { LIMIT = 1 << 30 };
    char *data = NULL;
    size_t bytes = 0;
    HONE_TRY(hone_file_read(path, LIMIT, &data, &bytes));
    bool bom = bytes >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0;
    hone_text_append(&c->all, data + (bom ? 3 : 0), bytes - (bom ? 3 : 0));
    if (bytes && data[bytes - 1] != '\n') hone_text_append(&c->all, "\n", 1);
    free(data);
    return c->all.failed ? hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the texts of %s", path) : HONE_OK;
}

/* Where the lines begin. */
static hone_status find_lines(corpus *c)
{
    for (size_t k = 0; k < c->all.bytes; k++) c->lines += c->all.data[k] == '\n';
    c->line = malloc(((size_t)c->lines + 1) * sizeof *c->line);
    if (!c->line) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for %lld lines", (long long)c->lines);
    int64_t n = 0;
    c->line[0] = 0;
    for (size_t k = 0; k < c->all.bytes; k++)
        if (c->all.data[k] == '\n') c->line[++n] = k + 1;
    return HONE_OK;
}

/* By name: other text files (.csv, .tsv, .jsonl) have columns. */
static bool is_plain(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".txt") == 0;
}

/* arg[1] decides: plain files are .txt, and then all arguments are; anything else is one data set or page. */
static hone_status open_corpus(const hone_cli *cli, corpus *c, hone_texts *out)
{
    if (!is_plain(cli->arg[1])) {
        HONE_TRY(hone_cli_data_open(cli, cli->arg[1], 2, &c->data));
        const hone_dataset *train = c->data.data->train;
        *out = (hone_texts){.count = hone_dataset_count(train), .parts = 1, .arg = c, .at = sample_at};
        return HONE_OK;
    }
    for (int k = 1; k < cli->arg_count; k++) {
        if (!is_plain(cli->arg[k]))
            return hone_fail(HONE_ERR_USAGE, "give .txt files alone, or one data set",
                             "%s: .txt files and other data can't be mixed", cli->arg[k]);
        HONE_TRY(add_file(c, cli->arg[k]));
    }
    HONE_TRY(find_lines(c));
    *out = (hone_texts){.count = c->lines, .parts = 1, .arg = c, .at = line_at};
    return HONE_OK;
}

/* Fine on one that was never opened. */
static void close_corpus(corpus *c)
{
    if (c->data.data) hone_cli_data_close(&c->data);
    hone_text_free(&c->all);
    free(c->line);
}

/* --- train --------------------------------------------------------------------------------------------- */

/* The options of the command line over the defaults of the kind. */
static hone_status read_options(const hone_cli *cli, hone_tokenizer_opts *o)
{
    static const char *const kinds[] = {"ngram", "wordpiece", "bpe", "char"};
    const char *name = hone_cli_value(cli, "--kind");
    hone_tokenizer_kind kind = HONE_TOKENIZER_WORDPIECE;
    if (name && !hone_tokenizer_kind_parse(name, &kind)) {
        const char *near = hone_did_you_mean(name, kinds, 4);
        return hone_fail(HONE_ERR_USAGE, "one of wordpiece, bpe, char, ngram", "--kind %.60s: no such tokenizer%s%s%s",
                         name, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    }
    *o = hone_tokenizer_defaults(kind);
    HONE_TRY(hone_cli_int(cli, "--vocab-size", 2, 100000000, &o->vocab_size));
    HONE_TRY(hone_cli_int(cli, "--min-count", 1, 1000000000, &o->min_count));
    if (hone_cli_value(cli, "--cased")) o->lowercase = false;
    return HONE_OK;
}

/* What was made, to stdout: it is the result of the command. */
static hone_status print_trained(const hone_cli *cli, const hone_tokenizer *t, int64_t texts, const char *path)
{
    const char *kind = hone_tokenizer_kind_name(hone_tokenizer_kind_of(t));
    long long size = (long long)hone_tokenizer_vocab_size(t);
    if (!cli->json) {
        printf("%s: %s, %lld ids, from %lld texts\n", path, kind, size, (long long)texts);
        return HONE_OK;
    }
    hone_text j = {0};
    hone_text_add(&j, "{\"path\":");
    hone_text_json(&j, path);
    hone_text_add(&j, ",\"kind\":\"%s\",\"ids\":%lld,\"texts\":%lld,\"fingerprint\":\"%016llx\"}\n", kind, size,
                  (long long)texts, (unsigned long long)hone_tokenizer_fingerprint(t));
    char *text = hone_text_take(&j);
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the result");
    fputs(text, stdout);
    free(text);
    return HONE_OK;
}

/* Nothing is written before the whole vocabulary is there. */
static hone_status train(const hone_cli *cli)
{
    const char *path = hone_cli_value(cli, "-o");
    hone_tokenizer_opts o;
    hone_texts texts;
    hone_tokenizer *t = NULL;
    corpus c = {0};
    if (cli->arg_count < 2)
        return hone_fail(HONE_ERR_USAGE, "hone tokenizer train DATA -o tokenizer.json", "tokenizer train needs texts");
    HONE_TRY(read_options(cli, &o));
    if (!path) path = "tokenizer.json";
    hone_status status = open_corpus(cli, &c, &texts);
    int threads = cli->threads > 0 ? cli->threads : hone_cpu_count();
    if (status == HONE_OK) status = hone_tokenizer_train(&o, &texts, threads, &t);
    if (status == HONE_OK) status = hone_tokenizer_save(t, path);
    if (status == HONE_OK) status = print_trained(cli, t, texts.count, path);
    hone_tokenizer_free(t);
    close_corpus(&c);
    return status;
}

/* --- show ---------------------------------------------------------------------------------------------- */

/* One text, as if it were a corpus. */
static void text_at(void *arg, int64_t i, int part, const char **text, size_t *bytes)
{
    const hone_text *t = arg;
    (void)i;
    (void)part;
    *text = t->data ? t->data : "";
    *bytes = t->bytes;
}

/* The file's tokenizer; without one, the words and pairs of the text itself, which is what a bag sees. */
static hone_status open_tokenizer(const hone_cli *cli, hone_text *text, hone_tokenizer **out)
{
    const char *path = hone_cli_value(cli, "--tokenizer");
    if (path) return hone_tokenizer_open(path, hone_cli_value(cli, "--cased") == NULL, out);
    hone_tokenizer_opts o = hone_tokenizer_defaults(HONE_TOKENIZER_NGRAM);
    o.lowercase = hone_cli_value(cli, "--cased") == NULL;
    hone_texts texts = {.count = 1, .parts = 1, .arg = text, .at = text_at};
    hone_status status = hone_tokenizer_train(&o, &texts, 1, out);
    if (status != HONE_ERR_DATA) return status;
    o.min_count = 0; /* a text without a word: nothing to learn, and nothing to show */
    return hone_tokenizer_train(&o, &texts, 1, out);
}

/* {"ids":[..],"tokens":[..]}, or a line a token. */
static hone_status print_ids(const hone_cli *cli, const hone_tokenizer *t, const hone_ids *ids)
{
    char token[4096];
    hone_text j = {0};
    if (cli->json) hone_text_add(&j, "{\"ids\":[");
    for (int64_t k = 0; k < ids->count && cli->json; k++) hone_text_add(&j, "%s%d", k ? "," : "", ids->id[k]);
    if (cli->json) hone_text_add(&j, "],\"tokens\":[");
    for (int64_t k = 0; k < ids->count; k++) {
        hone_tokenizer_token(t, ids->id[k], token, sizeof token);
        if (cli->json) {
            hone_text_add(&j, "%s", k ? "," : "");
            hone_text_json(&j, token);
        } else {
            hone_text_add(&j, "%d\t%s\n", ids->id[k], token);
        }
    }
    if (cli->json) hone_text_add(&j, "]}\n");
    char *text = hone_text_take(&j);
    if (!text) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the tokens");
    fputs(text, stdout);
    free(text);
    return HONE_OK;
}

/* Arguments are joined by spaces, so a text needs no quotes. */
static hone_status show(const hone_cli *cli)
{
    hone_text text = {0};
    hone_tokenizer *t = NULL;
    hone_ids ids = {0};
    if (cli->arg_count < 2)
        return hone_fail(HONE_ERR_USAGE, "hone tokenizer show \"some words\"", "tokenizer show needs a text");
    for (int k = 1; k < cli->arg_count; k++) hone_text_add(&text, "%s%s", k > 1 ? " " : "", cli->arg[k]);
    hone_status status =
        text.failed ? hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the text") : open_tokenizer(cli, &text, &t);
    if (status == HONE_OK)
        status = hone_tokenizer_encode(t, text.data ? text.data : "", text.bytes, NULL, 0, 0, &ids, NULL);
    if (status == HONE_OK) status = print_ids(cli, t, &ids);
    hone_ids_free(&ids);
    hone_tokenizer_free(t);
    hone_text_free(&text);
    return status;
}

/* The verb is an argument, so flags may stand anywhere. */
static int tokenizer_run(const hone_cli *cli)
{
    static const char *const verb[] = {"train", "show"};
    const char *what = cli->arg[0];
    if (strcmp(what, "train") == 0) return (int)train(cli);
    if (strcmp(what, "show") == 0) return (int)show(cli);
    const char *near = hone_did_you_mean(what, verb, 2);
    return (int)hone_fail(HONE_ERR_USAGE, "hone help tokenizer shows examples",
                          "tokenizer %.60s: expects train or show%s%s%s", what, near ? " (did you mean " : "",
                          near ? near : "", near ? "?)" : "");
}

static const hone_cli_flag flags[] = {
    {"--kind", "wordpiece|bpe|char|ngram", "train: what to make; default wordpiece"},
    {"--vocab-size", "N", "train: most ids to make (ngram: words); default 30000, ngram: no limit"},
    {"--min-count", "N", "train: rarer words and pairs are left out; default 2, char and ngram 1"},
    {"--cased", NULL, "keep capitals (and accents); bpe always does"},
    {"-o", "FILE", "train: where to write; default tokenizer.json"},
    {"--tokenizer", "FILE|FOLDER", "show: tokenizer.json, vocab.txt, or a folder that holds one"},
    {NULL, NULL, NULL},
};

const hone_cli_command hone_cli_tokenizer_command = {
    .name = "tokenizer",
    .run = tokenizer_run,
    .arguments = "train DATA|FILE.txt... | show TEXT...",
    .summary = "trains a tokenizer from texts, shows the tokens of a text",
    .least = 1,
    .most = -1,
    .flag = flags,
    .details = "train  learns a vocabulary from the training texts of DATA (or a page that names it), or from the\n"
               "       lines of .txt files, and writes tokenizer.json; `text.tokenizer: FILE` in a page uses it.\n"
               "       The same texts give the same file, whatever the threads. WordPiece and BPE files are read\n"
               "       by the Hugging Face `tokenizers` package, too.\n"
               "show   ids and tokens of TEXT; rows of hashed n-grams are written #12. Without --tokenizer: the\n"
               "       words and word pairs that a bag would see.\n"
               "Read: vocab.txt (WordPiece), tokenizer.json (WordPiece, byte-level BPE).",
    .examples = "hone tokenizer train datasets/debian-sections --kind wordpiece --vocab-size 8000 -o pieces.json\n"
                "hone tokenizer train a.txt b.txt --kind bpe\n"
                "hone tokenizer show --tokenizer pieces.json \"a text about kernels\" --json\n"
                "hone tokenizer show free money now",
};
