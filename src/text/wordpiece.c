/* wordpiece.c - BERT's model: the longest piece of the vocabulary that begins the word, then the longest "##" piece
 * that continues it, and so on; a word that can't be covered is one [UNK].
 *
 * The vocabulary is a trie of bytes with two roots, so the longest piece is found in one walk. Pieces are
 * well-formed UTF-8 and so is the word: a piece can't end inside a character. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_private.h"

enum { CHILD_BITS = 24 };

/* Where (node, byte) begins to be looked for. */
static inline uint64_t slot_of(const hone_trie *t, uint64_t key) { return (key * 0x9E3779B97F4A7C15u >> 32) & t->mask; }

/* The child of a node, 0 = none (the root is nobody's child). */
static inline uint32_t child(const hone_trie *t, uint32_t node, uint8_t byte)
{
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    for (uint64_t at = slot_of(t, key);; at = (at + 1) & t->mask) {
        uint64_t slot = t->slot[at];
        if (slot >> CHILD_BITS == key) return slot & ((1u << CHILD_BITS) - 1);
        if (slot == 0) return 0;
    }
}

/* Adds the path of a piece. There is room: one slot and one node for each byte of the vocabulary, twice. */
static void add_piece(hone_trie *t, uint32_t node, const char *text, size_t bytes, int32_t id)
{
    for (size_t k = 0; k < bytes; k++) {
        uint32_t next = child(t, node, (uint8_t)text[k]);
        if (next == 0) {
            uint64_t key = ((uint64_t)node << 8 | (uint8_t)text[k]) + 1, at = slot_of(t, key);
            while (t->slot[at]) at = (at + 1) & t->mask;
            next = t->nodes++;
            t->slot[at] = key << CHILD_BITS | next;
            t->id[next] = -1;
        }
        node = next;
    }
    t->id[node] = id;
}

/* A piece that begins with ## is in both tries: at the start of a word its own two marks are text. */
hone_status hone_wordpiece_prepare(hone_tokenizer *t)
{
    hone_trie *trie = &t->trie;
    uint64_t nodes = 2 * (uint64_t)t->vocab.text_bytes + 3, slots = 1024;
    if (nodes >> CHILD_BITS)
        return hone_fail(HONE_ERR_DATA, "use a smaller vocabulary", "a WordPiece vocabulary of %zu bytes is too large",
                         t->vocab.text_bytes);
    while (slots < 2 * nodes) slots *= 2; /* room for every byte of both tries, half of it free */
    trie->mask = slots - 1;
    trie->slot = calloc(slots, sizeof *trie->slot);
    trie->id = malloc(nodes * sizeof *trie->id);
    if (!trie->slot || !trie->id)
        return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory for the pieces of a vocabulary");
    trie->root = 1;
    trie->inner = 2;
    trie->nodes = 3;
    trie->id[1] = trie->id[2] = -1;
    size_t prefix = strlen(t->prefix), bytes;
    for (int32_t id = 0; id < t->vocab.size; id++) {
        const char *text = hone_vocab_text(&t->vocab, id, &bytes);
        if (!text || bytes == 0) continue;
        add_piece(trie, trie->root, text, bytes, id);
        if (bytes > prefix && memcmp(text, t->prefix, prefix) == 0)
            add_piece(trie, trie->inner, text + prefix, bytes - prefix, id);
    }
    return HONE_OK;
}

/* Code points of a well-formed word. */
static int64_t characters(const char *word, size_t bytes)
{
    int64_t n = 0;
    for (size_t k = 0; k < bytes; k++) n += (word[k] & 0xC0) != 0x80;
    return n;
}

/* One piece that is missing makes the whole word unknown: the pieces before it are taken back. */
void hone_wordpiece_word(const hone_tokenizer *t, const char *word, size_t bytes, hone_ids *ids)
{
    const hone_trie *trie = &t->trie;
    int64_t before = ids->count;
    size_t at = bytes > (size_t)t->max_word_chars && characters(word, bytes) > t->max_word_chars ? SIZE_MAX : 0;
    while (at < bytes) {
        /* the longest piece: the walk goes on past shorter ones until there is no such path */
        uint32_t node = at ? trie->inner : trie->root;
        int32_t id = -1;
        size_t stop = at;
        for (size_t k = at; k < bytes; k++) {
            node = child(trie, node, (uint8_t)word[k]);
            if (node == 0) break;
            if (trie->id[node] >= 0) {
                id = trie->id[node];
                stop = k + 1;
            }
        }
        if (id < 0) break;
        ids->id[ids->count++] = id;
        at = stop;
    }
    if (at == bytes) return; /* covered; an over-long word never is */
    ids->count = before;
    ids->id[ids->count++] = t->unknown;
}
