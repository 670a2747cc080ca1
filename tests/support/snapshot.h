/* snapshot.h - text that must stay as it is, kept in tests/snapshots/PATH.
 *
 * HONE_UPDATE_SNAPSHOTS=1 writes the files instead of comparing; look at the diff before committing. */
#ifndef HONE_TESTS_SNAPSHOT_H
#define HONE_TESTS_SNAPSHOT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline char *snapshot_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    size_t bytes = 0, capacity = 1 << 16;
    char *text = malloc(capacity);
    for (size_t got; text && (got = fread(text + bytes, 1, capacity - bytes - 1, f)) > 0;) {
        bytes += got;
        if (capacity - bytes - 1 == 0) text = realloc(text, capacity *= 2);
    }
    fclose(f);
    if (text) text[bytes] = '\0';
    return text;
}

static inline void snapshot_difference(const char *path, const char *expected, const char *text)
{
    int line = 1;
    while (*expected && *text) {
        size_t a = strcspn(expected, "\n"), b = strcspn(text, "\n");
        if (a != b || strncmp(expected, text, a) != 0) break;
        expected += a + (expected[a] == '\n');
        text += b + (text[b] == '\n');
        line++;
    }
    fprintf(stderr, "%s:%d differs\n  expected: %.*s\n  got:      %.*s\n", path, line, (int)strcspn(expected, "\n"),
            expected, (int)strcspn(text, "\n"), text);
}

/* True when `text` equals the file; else the first line that differs is printed. */
static inline bool snapshot_matches(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/snapshots/%s", HONE_TESTS_DIR, path);
    const char *update = getenv("HONE_UPDATE_SNAPSHOTS");
    if (update && strcmp(update, "1") == 0) {
        FILE *f = fopen(full, "wb");
        bool ok = f && fputs(text, f) >= 0;
        if (f) ok &= fclose(f) == 0;
        return ok;
    }
    char *expected = snapshot_read(full);
    if (!expected) {
        fprintf(stderr, "%s is missing (HONE_UPDATE_SNAPSHOTS=1 writes it)\n", full);
        return false;
    }
    bool same = strcmp(expected, text) == 0;
    if (!same) snapshot_difference(full, expected, text);
    free(expected);
    return same;
}

#endif
