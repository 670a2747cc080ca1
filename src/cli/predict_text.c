/* predict_text.c - see predict_text.h.
 *
 * Lines are gathered in chunks: each chunk is tokenized and run as one batch, and its answers are written at once.
 * A chunk ends where no more input is waiting, so that a person at a terminal, or a program at the other end of a
 * pipe, gets an answer to each line when it asks, while a file runs at full speed. */
#include "cli/predict_text.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_TEXTS = 1024, READ_BYTES = 1 << 18 };

/* Texts of a chunk: `begin` are places in a buffer that may move until the chunk is run. */
typedef struct chunk {
    hone_predictor *predictor;
    hone_printing *print;
    const char *text[CHUNK_TEXTS];
    size_t bytes[CHUNK_TEXTS];
    int count;
    int64_t taken; /* texts so far: the line that an error names */
    bool from_stdin;
    float *probability; /* (CHUNK_TEXTS, classes) */
} chunk;

/* Texts are NUL-terminated: the line's end was overwritten. */
static hone_status run_chunk(chunk *c)
{
    hone_text out = {0};
    if (c->count == 0) return HONE_OK;
    HONE_TRY(hone_predictor_texts(c->predictor, c->text, c->bytes, c->count, c->probability));
    for (int k = 0; k < c->count; k++)
        hone_printing_add(&out, c->print, c->text[k], c->probability + (size_t)k * (size_t)c->print->classes);
    c->count = 0;
    return hone_printing_flush(&out);
}

/* Half a pair is another input than what was learned: told before anything is computed, with its line. */
static hone_status check_pair(const chunk *c, const char *text, size_t bytes)
{
    if (!hone_predictor_takes_pairs(c->predictor) || (bytes && memchr(text, '\t', bytes))) return HONE_OK;
    return hone_fail(HONE_ERR_DATA,
                     c->from_stdin ? "write both texts with a tab between them"
                                   : "give the second text with --second, or both with a tab between them",
                     "%s %lld: the model labels pairs of texts, and \"%.*s\" is a single one",
                     c->from_stdin ? "stdin, line" : "input", (long long)c->taken, (int)(bytes < 40 ? bytes : 40),
                     text);
}

/* One text; its memory stays until the chunk is run. */
static hone_status take(chunk *c, const char *text, size_t bytes)
{
    c->taken++;
    HONE_TRY(check_pair(c, text, bytes));
    c->text[c->count] = text;
    c->bytes[c->count++] = bytes;
    return c->count == CHUNK_TEXTS ? run_chunk(c) : HONE_OK;
}

/* All whole lines of (begin, end), CRLF too; *begin is where the unfinished one starts. */
static hone_status take_lines(chunk *c, char **begin, char *end)
{
    for (char *eol; (eol = memchr(*begin, '\n', (size_t)(end - *begin))); *begin = eol + 1) {
        size_t n = (size_t)(eol - *begin);
        if (n > 0 && (*begin)[n - 1] == '\r') n--;
        (*begin)[n] = '\0';
        HONE_TRY(take(c, *begin, n));
    }
    return run_chunk(c); /* their memory is about to be used again */
}

typedef struct input {
    char *data;
    size_t bytes, room;
} input;

/* Room for one more read and a NUL. */
static hone_status make_room(input *in)
{
    if (in->room - in->bytes > READ_BYTES) return HONE_OK;
    size_t room = in->room * 2 + READ_BYTES + 1;
    char *more = realloc(in->data, room);
    if (!more) return hone_fail(HONE_ERR_MEMORY, "cut the line", "no memory for a line of %zu bytes", in->bytes);
    in->data = more;
    in->room = room;
    return HONE_OK;
}

/* What stdin has now; 0 bytes at its end. */
static hone_status read_some(input *in, ssize_t *got)
{
    HONE_TRY(make_room(in));
    do *got = read(STDIN_FILENO, in->data + in->bytes, READ_BYTES);
    while (*got < 0 && errno == EINTR);
    if (*got < 0) return hone_fail(HONE_ERR_RUNTIME, NULL, "stdin can't be read: %s", strerror(errno));
    in->bytes += (size_t)*got;
    return HONE_OK;
}

/* More is there, or the end: then another read does not wait. */
static bool more_is_waiting(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Until the end; the last line may lack its newline. Pipes give little at a time: read until a chunk is worth it. */
static hone_status take_stdin(chunk *c)
{
    input in = {0};
    hone_status status = HONE_OK;
    for (ssize_t got = 1; status == HONE_OK && got > 0;) {
        status = read_some(&in, &got);
        if (status == HONE_OK && got > 0 && in.bytes < READ_BYTES && more_is_waiting()) continue;
        char *begin = in.data, *end = in.data + in.bytes;
        if (status == HONE_OK) status = take_lines(c, &begin, end);
        in.bytes = (size_t)(end - begin);
        if (status == HONE_OK && got > 0) memmove(in.data, begin, in.bytes);
        if (status == HONE_OK && got == 0 && in.bytes > 0) {
            begin[in.bytes] = '\0';
            status = take(c, begin, in.bytes);
            if (status == HONE_OK) status = run_chunk(c);
        }
    }
    free(in.data);
    return status;
}

/* INPUT --second TEXT: the one pair that needs no tab. Its name in the answer has one all the same. */
static hone_status take_second(chunk *c, const hone_cli *cli, const char *second)
{
    hone_text out = {0}, name = {0};
    const char *first = cli->arg[1];
    if (cli->arg_count != 2 || c->from_stdin)
        return hone_fail(HONE_ERR_USAGE, "give several pairs with a tab between the two texts of each",
                         "--second belongs to a single text");
    HONE_TRY(hone_predictor_pairs(c->predictor, &first, (size_t[]){strlen(first)}, &second, (size_t[]){strlen(second)},
                                  1, c->probability));
    hone_text_add(&name, "%s\t%s", first, second);
    if (name.failed) out.failed = true; /* told by the flush */
    else hone_printing_add(&out, c->print, name.data, c->probability);
    hone_text_free(&name);
    return hone_printing_flush(&out);
}

/* Arguments one by one, or stdin. */
static hone_status take_all(chunk *c, const hone_cli *cli)
{
    const char *second = hone_cli_value(cli, "--second");
    if (second) return take_second(c, cli, second);
    if (c->from_stdin) return take_stdin(c);
    for (int k = 1; k < cli->arg_count; k++) HONE_TRY(take(c, cli->arg[k], strlen(cli->arg[k])));
    return run_chunk(c);
}

hone_status hone_predict_texts(const hone_cli *cli, hone_predictor *p, hone_printing *print, bool from_stdin)
{
    chunk *c = calloc(1, sizeof *c);
    hone_status status = HONE_OK;
    if (c) c->probability = malloc((size_t)CHUNK_TEXTS * (size_t)print->classes * sizeof(float));
    if (!c || !c->probability) {
        free(c);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    }
    c->predictor = p;
    c->print = print;
    c->from_stdin = from_stdin;
    status = take_all(c, cli);
    free(c->probability);
    free(c);
    return status;
}
