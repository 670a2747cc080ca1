/* override.c - "key.sub=value" of the command line, put into the page as if it had been written there,
 * and the words that help with a key that does not exist.
 *
 * The new nodes carry the name "override key=value" and no line, so every later message about them says
 * where they came from. A value `~` takes the key out of the page. */
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"

/* The map at `key` up to its last component, made where it is missing; NULL after a message or
 * without memory (*status). *last: the last component. */
static hone_yaml *map_above(hone_yaml *page, const char *key, const hone_yaml *at, hone_diag *d, const char **last,
                            hone_status *status)
{
    hone_yaml *map = page;
    for (const char *dot; (dot = strchr(key, '.')); key = dot + 1) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", dot - key > 63 ? 63 : (int)(dot - key), key);
        int k = hone_yaml_index(map, word);
        if (k >= 0 && hone_yaml_null(map->item[k])) { /* `train:` with nothing below it */
            hone_yaml_drop(map, k);
            k = -1;
        }
        if (k < 0) {
            hone_yaml *group = hone_yaml_new(HONE_YAML_MAP, NULL, at);
            if (!hone_yaml_put(map, hone_yaml_new(HONE_YAML_SCALAR, word, at), group)) {
                *status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
                return NULL;
            }
            k = map->count - 1;
        }
        map = map->item[k];
        if (map->kind != HONE_YAML_MAP) {
            hone_diag_add(d, at, NULL, "%s is not a map", word);
            return NULL;
        }
    }
    *last = key;
    return map;
}

/* Replaces what the page says; a group given as a whole replaces the whole group. */
static hone_status put_value(hone_yaml *page, const char *key, const hone_yaml *at, hone_yaml *value, hone_diag *d)
{
    hone_status status = HONE_OK;
    const char *last = NULL;
    hone_yaml *map = map_above(page, key, at, d, &last, &status);
    int k = map ? hone_yaml_index(map, last) : -1;
    /* `data.path=~ data.train=x` moves a page from one way of naming data to the other. */
    bool remove = hone_yaml_null(value);
    if (map && remove && k < 0 && !hone_schema_find(key) && strncmp(key, "model.", 6) != 0)
        remove = false; /* an unknown key is refused even when it is taken out */
    if (k >= 0) hone_yaml_drop(map, k);
    if (!map || remove) {
        hone_yaml_free(value);
        return status;
    }
    if (!hone_yaml_put(map, hone_yaml_new(HONE_YAML_SCALAR, last, at), value))
        return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the config");
    return HONE_OK;
}

/* The value is a page of its own: [a, b] and {pad: 4} work as they do in the file. */
hone_status hone_override_apply(hone_yaml *page, const char *text, hone_diag *d)
{
    char name[96], key[160];
    const char *equals = strchr(text, '=');
    hone_yaml shown = {.kind = HONE_YAML_SCALAR, .text = (char *)(uintptr_t)text};
    char cut[64];
    snprintf(name, sizeof name, "override %s", hone_yaml_quote(&shown, cut, sizeof cut));
    /* Line 0: messages then begin with the name alone. */
    hone_yaml at = {.file = name};
    if (!equals || equals == text || equals[-1] == '.' || text[0] == '.' || strstr(text, "..")) {
        hone_diag_add(d, &at, NULL, "an override reads key.sub=value");
        return HONE_OK;
    }
    if (!equals[1]) {
        hone_diag_add(d, &at, NULL, "has no value (~ takes the key out of the page)");
        return HONE_OK;
    }
    snprintf(key, sizeof key, "%.*s", equals - text > 159 ? 159 : (int)(equals - text), text);
    hone_yaml *value = NULL;
    HONE_TRY(hone_page_parse(name, equals + 1, strlen(equals + 1), true, d, &value));
    if (!value) return HONE_OK; /* the reason is in the list */
    return put_value(page, key, &at, value, d);
}

/* --- words for unknown keys -------------------------------------------------------------------------------- */
/* Names that other programs use. */
static const char *const foreign[][2] = {
    {"batch_size", "train.batch"},          {"learning_rate", "train.optimizer.lr"},
    {"num_epochs", "train.epochs"},         {"max_epochs", "train.epochs"},
    {"num_workers", "data.decode_threads"}, {"dataset", "data"},
    {"lr_scheduler", "train.schedule"},     {"scheduler", "train.schedule"},
    {"grad_clip", "train.clip_norm"},       {"label_smooth", "train.loss.label_smoothing"},
    {"input_size", "image.size"},           {"augmentation", "augment"},
};

/* Keys of a group by their last component; returns how many. */
static int sibling_keys(const char *group, const char *word[128])
{
    int count = 0;
    size_t n = strlen(group);
    for (int k = 0; k < hone_schema_count && count < 128; k++) {
        const char *key = hone_schema[k].key;
        if (n && (strncmp(key, group, n) != 0 || key[n] != '.')) continue;
        const char *leaf = n ? key + n + 1 : key;
        if (!strchr(leaf, '.')) word[count++] = leaf;
    }
    return count;
}

/* The only key of the whole table whose last component is `word`; NULL if there are none or several. */
static const char *only_key_named(const char *word)
{
    const char *found = NULL;
    for (int k = 0; k < hone_schema_count; k++) {
        const char *key = hone_schema[k].key, *dot = strrchr(key, '.');
        if (strcmp(dot ? dot + 1 : key, word) != 0 || (found && strcmp(found, key) == 0)) continue;
        if (found) return NULL;
        found = key;
    }
    return found;
}

/* Nearest sibling, else the same word elsewhere, else what other programs call it. */
void hone_key_suggest(const char *group, const char *word, hone_text *t)
{
    const char *sibling[128];
    const char *near = hone_did_you_mean(word, sibling, sibling_keys(group, sibling));
    if (near) {
        hone_text_add(t, " (did you mean %s%s%s?)", group, *group ? "." : "", near);
        return;
    }
    const char *elsewhere = hone_schema_find(word) ? NULL : only_key_named(word);
    if (strchr(word, '.') && hone_schema_find(word)) { /* `train.batch: 64` in one line */
        hone_text_add(t, " (a page nests its keys: `%.*s:` and `%s` below it)", (int)strcspn(word, "."), word,
                      strchr(word, '.') + 1);
        return;
    }
    if (!elsewhere && *group && hone_schema_find(word)) elsewhere = word; /* `data:` inside of train: */
    for (size_t k = 0; !elsewhere && k < sizeof foreign / sizeof *foreign; k++)
        if (strcmp(foreign[k][0], word) == 0) elsewhere = foreign[k][1];
    if (elsewhere) hone_text_add(t, " (did you mean %s?)", elsewhere);
}
