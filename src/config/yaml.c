/* yaml.c - a page of YAML into a tree of hone_yaml, by libyaml's events.
 *
 * The subset is what a config needs: maps with plain keys, lists, scalars. Anchors, aliases, tags,
 * second documents and non-scalar keys are refused with their place, because a reader would have to
 * compute what they mean. Input is hostile: size, nesting and node count are bounded, and text that
 * is not UTF-8 never reaches libyaml. Must not interpret values. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/page.h"

enum { MAX_DEPTH = 64, MAX_NODES = 200000 };

/* `placeless`: the text is an override of the command line, which has no lines worth naming. */
typedef struct parser {
    yaml_parser_t yaml;
    const char *name;
    hone_diag *diag;
    bool placeless;
    int node_count;
    hone_status status; /* USAGE once the text can't be read on (the reason is in diag), MEMORY */
} parser;

/* A stand-in for messages about a place that has no node. */
static hone_yaml place_of(const parser *p, size_t line, size_t column)
{
    return (hone_yaml){
        .file = p->name, .line = p->placeless ? 0 : (int)line + 1, .column = p->placeless ? 0 : (int)column + 1};
}

/* Only the first syntax error is told: what follows it is read wrong anyway. */
static void refuse(parser *p, yaml_mark_t mark, const char *what)
{
    if (p->status != HONE_OK) return;
    hone_yaml at = place_of(p, mark.line, mark.column);
    hone_diag_add(p->diag, &at, NULL, "%s", what);
    p->status = HONE_ERR_USAGE;
}

/* libyaml's words, with the fix for the two that users meet most. */
static void refuse_syntax(parser *p)
{
    const char *problem = p->yaml.problem ? p->yaml.problem : "the text can't be read";
    char what[320];
    if (p->yaml.error == YAML_MEMORY_ERROR) {
        p->status = HONE_ERR_MEMORY;
        return;
    }
    const char *fix =
        strstr(problem, "cannot start any token")        ? " (tabs can't indent, and text with %, @ or ` needs quotes)"
        : strstr(problem, "mapping values are not all")  ? " (text with ': ' needs quotes; check the indentation)"
        : strstr(problem, "expected ',' or")             ? " (a bracket is not closed)"
        : strstr(problem, "could not find expected ':'") ? " (a key needs ': ' behind it)"
                                                         : "";
    snprintf(what, sizeof what, "not YAML: %s%s%s%s", p->yaml.context ? p->yaml.context : "",
             p->yaml.context ? ", " : "", problem, fix);
    refuse(p, p->yaml.problem_mark, what);
}

/* False after an error, which is then recorded in p->status. */
static bool next_event(parser *p, yaml_event_t *event)
{
    if (yaml_parser_parse(&p->yaml, event)) return true;
    refuse_syntax(p);
    return false;
}

/* --- nodes ---------------------------------------------------------------------------------------- */
/* Counts nodes: a page of 16 MiB could otherwise become a gigabyte of tree. */
static hone_yaml *new_node(parser *p, const yaml_event_t *e, hone_yaml_kind kind, const char *text)
{
    hone_yaml at = place_of(p, e->start_mark.line, e->start_mark.column);
    if (++p->node_count > MAX_NODES) {
        refuse(p, e->start_mark, "the page has over 200000 values");
        return NULL;
    }
    hone_yaml *n = hone_yaml_new(kind, text, &at);
    if (!n) p->status = HONE_ERR_MEMORY;
    return n;
}

/* Text as it is; whether it was quoted decides later if it can be a number. */
static hone_yaml *parse_scalar(parser *p, const yaml_event_t *e)
{
    if (e->data.scalar.anchor || e->data.scalar.tag) {
        refuse(p, e->start_mark, "anchors (&) and tags (!) are not part of a config; quote the text if it is meant");
        return NULL;
    }
    hone_yaml *n = new_node(p, e, HONE_YAML_SCALAR, (const char *)e->data.scalar.value);
    if (n) n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return n;
}

/* For qsort: equal keys become neighbours, the first in the page first. */
static int by_text_then_place(const void *a, const void *b)
{
    const hone_yaml *x = *(hone_yaml *const *)a, *y = *(hone_yaml *const *)b;
    int order = strcmp(x->text, y->text);
    if (order == 0) order = x->line - y->line;
    return order ? order : x->column - y->column;
}

/* Sorted so that a page with 100,000 keys costs no more than its sorting. */
static void check_repeats(parser *p, const hone_yaml *map)
{
    if (map->count < 2) return;
    hone_yaml **key = malloc((size_t)map->count * sizeof *key);
    if (!key) {
        p->status = HONE_ERR_MEMORY;
        return;
    }
    memcpy(key, map->key, (size_t)map->count * sizeof *key);
    qsort(key, (size_t)map->count, sizeof *key, by_text_then_place);
    for (int first = 0, k = 1; k < map->count; k++) {
        char shown[64];
        if (strcmp(key[first]->text, key[k]->text) != 0) first = k;
        else
            hone_diag_add(p->diag, key[k], NULL, "%s: repeated key (first in line %d)",
                          hone_yaml_quote(key[k], shown, sizeof shown), key[first]->line);
    }
    free(key);
}

/* Lists and maps hold values and are values: the recursion needs the name first. */
static hone_yaml *parse_value(parser *p, const yaml_event_t *e, int depth);

/* Items up to the end of the list; NULL after an error. */
static hone_yaml *parse_seq(parser *p, const yaml_event_t *start, int depth)
{
    hone_yaml *seq = new_node(p, start, HONE_YAML_SEQ, NULL);
    while (seq && p->status == HONE_OK) {
        yaml_event_t e;
        if (!next_event(p, &e)) break;
        bool end = e.type == YAML_SEQUENCE_END_EVENT;
        hone_yaml *item = end ? NULL : parse_value(p, &e, depth);
        yaml_event_delete(&e);
        if (end) return seq;
        if (item && !hone_yaml_put(seq, NULL, item)) p->status = HONE_ERR_MEMORY;
    }
    hone_yaml_free(seq);
    return NULL;
}

/* One key and its value; false at the end of the map or after a failure. */
static bool parse_pair(parser *p, hone_yaml *map, int depth)
{
    yaml_event_t e;
    if (!next_event(p, &e)) return false;
    /* A map or a list as key is YAML, but no config needs it. */
    if (e.type != YAML_SCALAR_EVENT) {
        if (e.type != YAML_MAPPING_END_EVENT) refuse(p, e.start_mark, "a key must be a plain word");
        yaml_event_delete(&e);
        return false;
    }
    hone_yaml *key = parse_scalar(p, &e);
    yaml_event_delete(&e);
    if (!key || !next_event(p, &e)) {
        hone_yaml_free(key);
        return false;
    }
    hone_yaml *value = parse_value(p, &e, depth);
    yaml_event_delete(&e);
    if (!value) {
        hone_yaml_free(key);
        return false;
    }
    if (!hone_yaml_put(map, key, value)) p->status = HONE_ERR_MEMORY;
    return p->status == HONE_OK;
}

/* Pairs up to the end of the map, then the check for repeated keys; NULL after an error. */
static hone_yaml *parse_map(parser *p, const yaml_event_t *start, int depth)
{
    hone_yaml *map = new_node(p, start, HONE_YAML_MAP, NULL);
    while (map && parse_pair(p, map, depth)) {}
    if (map && p->status == HONE_OK) check_repeats(p, map);
    if (p->status == HONE_OK) return map;
    hone_yaml_free(map);
    return NULL;
}

/* Any value that begins with event `e`. `depth` bounds the recursion, and so the stack. */
static hone_yaml *parse_value(parser *p, const yaml_event_t *e, int depth)
{
    if (e->type == YAML_ALIAS_EVENT) {
        refuse(p, e->start_mark, "aliases (*) are not part of a config; quote the text if it is meant");
        return NULL;
    }
    if (e->type == YAML_SCALAR_EVENT) return parse_scalar(p, e);
    bool map = e->type == YAML_MAPPING_START_EVENT;
    if (map ? e->data.mapping_start.anchor || e->data.mapping_start.tag
            : e->data.sequence_start.anchor || e->data.sequence_start.tag) {
        refuse(p, e->start_mark, "anchors (&) and tags (!) are not part of a config");
        return NULL;
    }
    if (depth >= MAX_DEPTH) {
        refuse(p, e->start_mark, "nested over 64 levels deep");
        return NULL;
    }
    return map ? parse_map(p, e, depth + 1) : parse_seq(p, e, depth + 1);
}

/* --- text that libyaml may see --------------------------------------------------------------------- */
/* Length of the character at s (at most `left` bytes), its code in *code; 0 if it is not UTF-8. */
static size_t utf8_read(const unsigned char *s, size_t left, unsigned *code)
{
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xE0) == 0xC0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : (s[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    *code = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    for (size_t k = 1; k < n; k++) {
        if ((s[k] & 0xC0) != 0x80) return 0;
        *code = *code << 6 | (s[k] & 0x3F);
    }
    return *code < least[n] || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000) ? 0 : n;
}

/* YAML 1.1, section 4.1: the characters a page may hold. */
static bool printable(unsigned c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0x7E) || c == 0x85 || (c >= 0xA0 && c <= 0xD7FF) ||
           (c >= 0xE000 && c <= 0xFFFD && c != 0xFEFF) || c >= 0x10000;
}

/* Names the first byte that YAML forbids, by line and column as libyaml counts them. */
static void check_characters(parser *p, const unsigned char *s, size_t bytes)
{
    yaml_mark_t mark = {0};
    for (size_t k = 0; k < bytes;) {
        unsigned code = 0;
        size_t n = utf8_read(s + k, bytes - k, &code);
        char what[96];
        if (n == 0) {
            snprintf(what, sizeof what, "byte 0x%02x is not UTF-8; save the page as UTF-8", s[k]);
            refuse(p, mark, what);
            return;
        }
        if (!printable(code)) {
            snprintf(what, sizeof what, code ? "control character U+%04X in the page" : "NUL byte in the page", code);
            refuse(p, mark, what);
            return;
        }
        k += n;
        /* CRLF is one line end and a lone CR is one, as libyaml counts. */
        bool line_end = code == '\n' || (code == '\r' && (k == bytes || s[k] != '\n'));
        mark.column = line_end ? 0 : mark.column + 1;
        mark.line += line_end;
    }
}

/* The single document of a stream; an empty one is refused. */
static hone_yaml *parse_stream(parser *p)
{
    hone_yaml *root = NULL;
    for (bool end = false; !end && p->status == HONE_OK;) {
        yaml_event_t e;
        if (!next_event(p, &e)) break;
        switch (e.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT: break;
        case YAML_DOCUMENT_START_EVENT:
            if (root) refuse(p, e.start_mark, "a second document (---) in the page");
            break;
        case YAML_STREAM_END_EVENT:
            if (!root) refuse(p, (yaml_mark_t){0}, "the page is empty");
            end = true;
            break;
        default: root = parse_value(p, &e, 0); break;
        }
        yaml_event_delete(&e);
    }
    return root;
}

bool hone_page_plain_word(const char *text)
{
    size_t k = 0;
    if (strcmp(text, "~") == 0) return true;
    /* a sign in front of a digit begins a number; in front of anything else it is a list's, or a marker's (---) */
    if (text[0] == '-' && text[1] >= '0' && text[1] <= '9') k = 1;
    else if (!*text || strchr("._+-", *text)) return false;
    for (char c; (c = text[k]); k++) {
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && !strchr("._+-", c)) return false;
    }
    return true;
}

/* Encoding first, then characters, then YAML: each check may rely on the one before. */
hone_status hone_page_parse(const char *name, const char *text, size_t bytes, bool placeless, hone_diag *d,
                            hone_yaml **out)
{
    parser p = {.name = name, .diag = d, .placeless = placeless};
    const unsigned char *s = (const unsigned char *)text;
    *out = NULL;
    if (bytes >= 2 && ((s[0] == 0xFF && s[1] == 0xFE) || (s[0] == 0xFE && s[1] == 0xFF)))
        refuse(&p, (yaml_mark_t){0}, "the page is UTF-16; save it as UTF-8");
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark says nothing in UTF-8 */
        text += 3;
        bytes -= 3;
    }
    if (p.status == HONE_OK) check_characters(&p, (const unsigned char *)text, bytes);
    if (p.status != HONE_OK) return HONE_OK;
    if (!yaml_parser_initialize(&p.yaml)) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory to parse it", name);
    yaml_parser_set_input_string(&p.yaml, (const unsigned char *)text, bytes);
    /* Said, not guessed: the characters were checked as UTF-8. */
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    hone_yaml *root = parse_stream(&p);
    yaml_parser_delete(&p.yaml);
    if (p.status != HONE_OK) {
        hone_yaml_free(root);
        root = NULL;
    }
    *out = root;
    return p.status == HONE_ERR_MEMORY ? hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory for the page", name) : HONE_OK;
}

/* For callers without a list of their own: all mistakes of the page in one error. */
hone_status hone_yaml_read_text(const char *name, const char *text, size_t bytes, hone_yaml **out)
{
    hone_diag d = {0};
    hone_status status = hone_page_parse(name, text, bytes, false, &d, out);
    if (status == HONE_OK) status = hone_diag_status(&d);
    if (status != HONE_OK) {
        hone_yaml_free(*out);
        *out = NULL;
    }
    hone_diag_free(&d);
    return status;
}

/* As above, for a regular file. */
hone_status hone_yaml_read_file(const char *path, hone_yaml **out)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    HONE_TRY(hone_page_load(path, &text, &bytes));
    hone_status status = hone_yaml_read_text(path, text, bytes, out);
    free(text);
    return status;
}
