/* resolved.c - the whole experiment as one page: every key with its value and where it came from.
 *
 * The page is runnable and stands alone: defaults are written out and the model file's content stands
 * in its place. Read again it gives the same config (a test compares all fields). Written in the order
 * of the schema table, one key a line. */
#include <stdio.h>
#include <string.h>

#include "config/schema.h"

/* Writes the headers of the groups around `key` that are not open yet; `open` is the group of the line
 * before. Returns the depth of the key. */
static int open_groups(hone_text *t, const char *key, char open[64])
{
    const char *leaf = strrchr(key, '.');
    int depth = 0;
    for (const char *s = key; (s = strchr(s, '.')); s++, depth++) {
        size_t n = (size_t)(s - key);
        bool is_open = strncmp(open, key, n) == 0 && (open[n] == '.' || open[n] == '\0');
        if (is_open) continue;
        const char *name = s;
        while (name > key && name[-1] != '.') name--;
        hone_text_add(t, "%*s%.*s:\n", 2 * depth, "", (int)(s - name), name);
    }
    snprintf(open, 64, "%.*s", leaf ? (int)(leaf - key) : 0, key);
    return depth;
}

/* A file's name may hold a line feed, which would end the comment. */
static const char *one_line(const char *name, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%s", name);
    for (char *s = text; *s; s++)
        if ((unsigned char)*s < 0x20) *s = '?';
    return text;
}

static void append_origin(hone_text *t, const hone_yaml *n)
{
    char file[512];
    if (!n) hone_text_add(t, "  # default\n");
    else if (n->line > 0) hone_text_add(t, "  # %s:%d\n", one_line(n->file, file, sizeof file), n->line);
    else hone_text_add(t, "  # %s\n", one_line(n->file, file, sizeof file)); /* "override key=value" */
}

/* The model file stands in place of its name, so that the page needs no other file. */
static void append_model(hone_text *t, const hone_config *c)
{
    const hone_yaml *model = hone_yaml_get(c->page, "model"), *file = hone_yaml_get(model, "file");
    const hone_yaml *at = file ? file : model;
    hone_text_add(t, "model:");
    append_origin(t, at); /* with a file: the line that names it */
    hone_text_add(t, "  ");
    hone_yaml_append(t, c->model.tree, 2, 3); /* a line per layer */
    hone_text_add(t, "\n");
}

char *hone_config_resolved(const hone_config *c)
{
    const hone_origins *origins = c->origins;
    hone_text t = {0};
    char open[64] = "";
    for (int k = 0; k < hone_schema_count; k++) {
        const hone_row *row = &hone_schema[k];
        if (row->type == HONE_TYPE_TREE) append_model(&t, c);
        if (row->type == HONE_TYPE_GROUP || row->type == HONE_TYPE_TREE || !hone_row_applies(row, c)) continue;
        int depth = open_groups(&t, row->key, open);
        const char *leaf = strrchr(row->key, '.');
        hone_text_add(&t, "%*s%s: ", 2 * depth, "", leaf ? leaf + 1 : row->key);
        hone_type_table[row->type].write(row, c, &t);
        append_origin(&t, origins->node[k]);
    }
    return hone_text_take(&t);
}
