/* fuzz_config.c - hostile pages: the YAML reader, the whole config reader, the writer.
 *
 * Bytes up to the first NUL are the page, what follows is an override. A page that is accepted must
 * survive its own resolved form; a tree that was read must read back from its written form. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hone/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Flow style and block style must both read back. */
static void write_back(const hone_yaml *root)
{
    for (int depth = 0; depth < 4; depth += 3) {
        hone_yaml *again = NULL;
        char *text = hone_yaml_write(root, depth);
        if (!text || hone_yaml_read_text("again", text, strlen(text), &again) != HONE_OK) {
            fprintf(stderr, "written form is refused: %s\n%s\n", hone_error_message(), text ? text : "");
            abort();
        }
        hone_yaml_free(again);
        free(text);
    }
}

static void resolve_again(const hone_config *c)
{
    hone_config *again = NULL;
    char *page = hone_config_resolved(c);
    if (!page || hone_config_read_text("resolved", page, NULL, 0, &again) != HONE_OK) {
        fprintf(stderr, "resolved page is refused: %s\n%s\n", hone_error_message(), page ? page : "");
        abort();
    }
    hone_config_free(again);
    free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    hone_yaml *root = NULL;
    hone_config *c = NULL;
    if (bytes > 4096) return 0; /* long pages find nothing that short ones do not */
    if (hone_yaml_read_text("page", (const char *)data, bytes, &root) == HONE_OK) write_back(root);
    hone_yaml_free(root);
    char *text = malloc(bytes + 2);
    if (!text) return 0;
    memcpy(text, data, bytes);
    text[bytes] = text[bytes + 1] = '\0';
    const char *override = text + strlen(text) + 1; /* "" where the page has no NUL */
    if (override > text + bytes) override = text + bytes;
    if (hone_config_read_text("page", text, &override, *override ? 1 : 0, &c) == HONE_OK) resolve_again(c);
    hone_config_free(c);
    free(text);
    return 0;
}
