/* token_cache.c - see token_cache.h. Read by mmap and hashed once, at opening: a flipped bit is found before training,
 * not after. Written through io's layer: whole, synced, renamed. */
#include "text/token_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/file.h"

/* 128 bytes, little endian (the machines hone runs on are). `header_hash` is of the bytes before it. */
typedef struct header {
    char magic[8];
    hone_token_key key;
    int64_t count, tokens, pairs; /* pairs: 1 where `second` is there */
    int64_t cut_texts, cut_tokens;
    uint64_t body_hash;
    uint64_t unused[4];
    uint64_t header_hash;
} header;
_Static_assert(sizeof(header) == 128, "the header of a token cache has 128 bytes");

static const char magic[8] = {'h', 'o', 'n', 'e', 't', 'o', 'k', '1'};

/* Bytes of the body; -1 when the counts can't be those of a file. */
static int64_t body_bytes(const header *h)
{
    int64_t most = INT64_MAX / 32; /* sums below can't overflow */
    if (h->count < 0 || h->tokens < 0 || h->count > most || h->tokens > most || h->pairs < 0 || h->pairs > 1) return -1;
    return (h->count + 1) * 8 + h->tokens * 4 + h->pairs * h->count * 4;
}

/* Offsets ascend from 0 to the end, ids are below the vocabulary's size, second segments begin inside their text. */
static bool contents_fit(const hone_token_set *s, int64_t vocab_size)
{
    if (!s->offset || !s->id) return false; /* never so: for the analyzer, which can't see it */
    if (s->offset[0] != 0 || s->offset[s->count] != s->tokens) return false;
    for (int64_t i = 0; i < s->count; i++) {
        if (s->offset[i + 1] < s->offset[i]) return false;
        if (s->second && (s->second[i] < 0 || s->second[i] > s->offset[i + 1] - s->offset[i])) return false;
    }
    int32_t bad = 0; /* no branch a token: a compiler makes vectors of this */
    for (int64_t k = 0; k < s->tokens; k++) bad |= s->id[k] < 0 || s->id[k] >= vocab_size;
    return !bad;
}

/* What is wrong with a file; NULL when nothing is, and then *out holds it. */
static const char *check(const char *map, size_t bytes, const hone_token_key *key, hone_token_set *out)
{
    const header *h = (const header *)(const void *)map;
    if (bytes < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0) return "it is no token cache of this version";
    if (XXH3_64bits(h, offsetof(header, header_hash)) != h->header_hash) return "its header is damaged";
    /* the key before the body: a stale file need not be read as a whole */
    if (h->key.data != key->data) return "the data changed";
    if (h->key.tokenizer != key->tokenizer || h->key.vocab_size != key->vocab_size) return "the tokenizer changed";
    if (h->key.max_length != key->max_length) return "max_length changed";
    int64_t body = body_bytes(h);
    if (body < 0 || bytes - sizeof *h != (uint64_t)body) return "its length is wrong";
    if (XXH3_64bits(map + sizeof *h, (size_t)body) != h->body_hash) return "its contents are damaged";
    const char *at = map + sizeof *h;
    *out = (hone_token_set){.count = h->count,
                            .tokens = h->tokens,
                            .offset = (const int64_t *)(const void *)at,
                            .id = (const int32_t *)(const void *)(at + 8 * (h->count + 1)),
                            .cut_texts = h->cut_texts,
                            .cut_tokens = h->cut_tokens};
    if (h->pairs) out->second = out->id + h->tokens;
    return contents_fit(out, key->vocab_size) ? NULL : "its contents are out of range";
}

/* Maps a file; NULL with `why` when that can't be had. */
static char *map_file(const char *path, size_t *bytes, const char **why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *why = errno == ENOENT ? "there is none" : strerror(errno);
        return NULL;
    }
    char *map = MAP_FAILED;
    *why = "it is empty";
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        *bytes = (size_t)st.st_size;
        map = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        *why = "it can't be mapped";
    }
    close(fd);
    return map == MAP_FAILED ? NULL : map;
}

/* A file that can't be used is no error: the texts are there, and ids can be made again. */
hone_status hone_token_cache_open(const char *path, const hone_token_key *key, bool *found, hone_token_set *out,
                                  char *why, size_t why_bytes)
{
    size_t bytes = 0;
    const char *reason = NULL;
    char *map = map_file(path, &bytes, &reason);
    *found = false;
    *out = (hone_token_set){0};
    if (map) {
        reason = check(map, bytes, key, out);
        *found = reason == NULL;
        if (*found) {
            out->map = map;
            out->map_bytes = bytes;
        } else {
            munmap(map, bytes);
            *out = (hone_token_set){0};
        }
    }
    if (why && why_bytes) snprintf(why, why_bytes, "%s", reason ? reason : "");
    return HONE_OK;
}

/* Header and arrays to an open file. */
static hone_status write_all(hone_out *o, const header *h, const hone_token_set *s)
{
    HONE_TRY(hone_out_write(o, h, sizeof *h));
    HONE_TRY(hone_out_write(o, s->offset, (size_t)(s->count + 1) * 8));
    HONE_TRY(hone_out_write(o, s->id, (size_t)s->tokens * 4));
    return s->second ? hone_out_write(o, s->second, (size_t)s->count * 4) : HONE_OK;
}

/* The hash of what write_all writes behind the header. */
static uint64_t hash_body(const hone_token_set *s, bool *ok)
{
    XXH3_state_t *state = XXH3_createState();
    uint64_t hash = 0;
    *ok = state != NULL;
    if (!state) return 0;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, s->offset, (size_t)(s->count + 1) * 8);
    XXH3_64bits_update(state, s->id, (size_t)s->tokens * 4);
    if (s->second) XXH3_64bits_update(state, s->second, (size_t)s->count * 4);
    hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* Under a temporary name first: a reader sees the old file or the new one, never half of it. */
hone_status hone_token_cache_write(const char *path, const hone_token_key *key, const hone_token_set *s)
{
    bool hashed;
    header h = {.key = *key,
                .count = s->count,
                .tokens = s->tokens,
                .pairs = s->second != NULL,
                .cut_texts = s->cut_texts,
                .cut_tokens = s->cut_tokens,
                .body_hash = hash_body(s, &hashed)};
    memcpy(h.magic, magic, sizeof magic);
    h.header_hash = XXH3_64bits(&h, offsetof(header, header_hash));
    char *temporary = hone_path_temporary(path);
    if (!temporary || !hashed) {
        free(temporary);
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory while writing %s", path);
    }
    hone_out o = {.fd = -1};
    hone_status status = hone_out_open(&o, temporary, sizeof h + (uint64_t)body_bytes(&h));
    if (status == HONE_OK) status = write_all(&o, &h, s);
    if (status == HONE_OK) status = hone_out_close(&o, NULL);
    if (status == HONE_OK) status = hone_io_rename(temporary, path);
    if (status != HONE_OK) {
        hone_out_abort(&o);
        unlink(temporary);
    }
    free(temporary);
    return status;
}

/* The number of texts is compared, too: a fingerprint of the data that misses some must not hand out wrong rows. */
hone_status hone_token_cache_get(const char *path, uint64_t data_fingerprint, const hone_tokenizer *t,
                                 const hone_texts *texts, int64_t max_length, int threads, hone_token_set *out,
                                 char *note, size_t note_bytes)
{
    hone_token_key key = {data_fingerprint, hone_tokenizer_fingerprint(t), max_length, hone_tokenizer_vocab_size(t)};
    bool found = false;
    if (note && note_bytes) *note = '\0';
    if (path) HONE_TRY(hone_token_cache_open(path, &key, &found, out, NULL, 0));
    /* the map stays open for as long as the set lives; replacing the file does not touch it */
    if (found && out->count == texts->count && (out->second != NULL) == (texts->parts == 2)) return HONE_OK;
    if (found) hone_token_set_free(out);
    HONE_TRY(hone_tokenizer_encode_all(t, texts, max_length, threads, out));
    if (path && hone_token_cache_write(path, &key, out) != HONE_OK && note && note_bytes)
        snprintf(note, note_bytes, "token cache not written: %s", hone_error_message());
    return HONE_OK;
}

/* The texts as they are given out, not the files: which rows a split has also depends on seeds and columns. Hashing
 * runs at memory speed, so that asking costs next to nothing. */
hone_status hone_texts_fingerprint(const hone_texts *texts, uint64_t *out)
{
    XXH3_state_t *state = XXH3_createState();
    if (!state) return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, &texts->parts, sizeof texts->parts);
    for (int64_t i = 0; i < texts->count; i++)
        for (int part = 0; part < texts->parts; part++) {
            const char *text = NULL;
            size_t bytes = 0;
            texts->at(texts->arg, i, part, &text, &bytes);
            uint64_t length = text ? bytes : 0;
            XXH3_64bits_update(state, &length, sizeof length);
            if (length) XXH3_64bits_update(state, text, bytes);
        }
    *out = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return HONE_OK;
}
