/* write.c - a tree as YAML text that reads back as the same tree.
 *
 * Block style for the outer levels, flow style below `flow_depth`. A plain scalar stays plain only
 * where that is safe in both styles; everything else is written in double quotes with escapes. */
#include <stdlib.h>
#include <string.h>

#include "config/page.h"

/* Characters that end or change a plain scalar somewhere in YAML. Stricter than needed, never laxer. */
static bool plain_is_safe(const char *s)
{
    if (!*s || strchr("-?:,[]{}#&*!|>'\"%@` ~=", *s)) {
        bool negative_number = (*s == '-' && s[1] >= '0' && s[1] <= '9') || strcmp(s, "~") == 0;
        if (!negative_number) return false;
    }
    for (const char *p = s; *p; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F || strchr(",[]{}#?\"'\\", *p)) return false;
        bool word = (p[1] >= '0' && p[1] <= '9') || ((p[1] | 32) >= 'a' && (p[1] | 32) <= 'z') || p[1] == '/';
        if (*p == ':' && !word) return false; /* libyaml takes a:b in a flow map, but not a:? or a:, */
        if (*p == ' ' && (p[1] == ' ' || p[1] == '\0')) return false;
    }
    return strcmp(s, "---") != 0 && strcmp(s, "...") != 0;
}

void hone_scalar_append(hone_text *t, const char *s, bool quoted)
{
    if (!quoted && !*s) {
        hone_text_append(t, "~", 1); /* an empty plain scalar is null */
    } else if (!quoted && plain_is_safe(s)) {
        hone_text_append(t, s, strlen(s));
    } else {
        hone_text_json(t, s); /* YAML's double quotes take JSON's escapes */
    }
}

/* On one line, whatever the depth. */
static void append_flow(hone_text *t, const hone_yaml *n)
{
    if (n->kind == HONE_YAML_SCALAR) {
        hone_scalar_append(t, n->text, n->quoted);
        return;
    }
    bool map = n->kind == HONE_YAML_MAP;
    hone_text_append(t, map ? "{" : "[", 1);
    for (int k = 0; k < n->count; k++) {
        if (k) hone_text_append(t, ", ", 2);
        if (map) {
            hone_scalar_append(t, n->key[k]->text, n->key[k]->quoted);
            hone_text_append(t, ": ", 2);
        }
        append_flow(t, n->item[k]);
    }
    hone_text_append(t, map ? "}" : "]", 1);
}

/* A line feed and the indentation of what follows. */
static void new_line(hone_text *t, int indent) { hone_text_add(t, "\n%*s", indent, ""); }

/* Empty maps and lists have no block form. */
static bool is_block(const hone_yaml *n, int flow_depth)
{
    return n->kind != HONE_YAML_SCALAR && n->count > 0 && flow_depth > 0;
}

/* A value that opens a block below its key starts on the next line; all others stay beside it. */
void hone_yaml_append(hone_text *t, const hone_yaml *n, int indent, int flow_depth)
{
    if (!is_block(n, flow_depth)) {
        append_flow(t, n);
        return;
    }
    for (int k = 0; k < n->count; k++) {
        const hone_yaml *item = n->item[k];
        if (k) new_line(t, indent);
        if (n->kind == HONE_YAML_SEQ) {
            hone_text_append(t, "- ", 2);
            hone_yaml_append(t, item, indent + 2, flow_depth - 1);
            continue;
        }
        hone_scalar_append(t, n->key[k]->text, n->key[k]->quoted);
        hone_text_append(t, ":", 1);
        if (is_block(item, flow_depth - 1)) new_line(t, indent + 2);
        else hone_text_append(t, " ", 1);
        hone_yaml_append(t, item, indent + 2, flow_depth - 1);
    }
}

/* For snapshots and model.json; resolved.yaml uses hone_yaml_append with an indentation. */
char *hone_yaml_write(const hone_yaml *n, int flow_depth)
{
    hone_text t = {0};
    hone_yaml_append(&t, n, 0, flow_depth);
    hone_text_append(&t, "\n", 1);
    return hone_text_take(&t);
}
