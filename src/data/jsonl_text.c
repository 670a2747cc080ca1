/* jsonl_text.c - JSONL as data: one object a line, its members by name (data.columns, as for tables).
 *
 * RFC 8259 to the letter, without a tree: each line is walked once, strings of the members that are
 * wanted are unescaped in place (an escape is never shorter than what it means). Everything else on the
 * line is checked as strictly and passed over. Refused with their place: text behind the object, arrays
 * at the top, trailing commas, NaN and Infinity, halves of surrogate pairs, \u0000, a key twice, nesting
 * over 64. A label may be a string, a whole number, or true and false; its text is the class name. */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "data/text_sink.h"
#include "data/utf8.h"

/* Deeper or wider lines are not data that somebody meant to train on; both bound work on hostile input. */
enum { DEPTH_MAX = 64, KEYS_MAX = 256 };

/* What a line may hold for us, in the order of data.columns. */
typedef enum member { MEMBER_INPUT, MEMBER_LABEL, MEMBER_SECOND, MEMBER_WEIGHT, MEMBER_SPLIT, MEMBER_COUNT } member;
/* Kinds of JSON values; MISSING: the line has no such member. */
typedef enum kind { KIND_MISSING, KIND_STRING, KIND_NUMBER, KIND_TRUE, KIND_FALSE, KIND_NULL, KIND_OTHER } kind;

typedef struct value {
    kind kind;
    hone_span text; /* STRING: unescaped; others: as written                                          */
} value;

/* One line being walked. */
typedef struct walk {
    hone_text_job *job;
    char *begin, *p, *end; /* *end is the line end                                                    */
    uint32_t line;
    hone_span key[KEYS_MAX]; /* unescaped, in the order of the line: for repeats and for messages     */
    int keys;
    value wanted[MEMBER_COUNT];
    const char *name[MEMBER_COUNT][3]; /* names of a member, best first; NULL: none                  */
    bool must[MEMBER_COUNT];           /* the line is refused without it                                       */
    int name_at[MEMBER_COUNT];         /* which of them was met                                               */
} walk;

/* At the byte that is wrong. */
static hone_status bad(const walk *w, const char *hint, const char *what)
{
    return hone_text_fail(w->job, w->line, (uint32_t)(w->p - w->begin) + 1, hint, "%s", what);
}

/* RFC 8259, section 2. */
static void skip_space(walk *w)
{
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\t' || *w->p == '\r')) w->p++;
}

/* Four hexadecimal digits at p + 2; -1: they are none. */
static int hex4(const walk *w)
{
    int v = 0;
    if (w->end - w->p < 6) return -1;
    for (int k = 2; k < 6; k++) {
        char c = w->p[k];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* \uXXXX, or a pair of them, at p -> UTF-8 at *to. */
static hone_status unescape_unicode(walk *w, char **to)
{
    static const char hint[] = "write the character itself in UTF-8, or both halves of its pair";
    int code = hex4(w), low = -1;
    if (code < 0) return bad(w, "\\u takes four hexadecimal digits", "a broken \\u escape");
    /* refused like the byte itself: what follows texts takes them as free of NUL */
    if (code == 0) return bad(w, "leave it out", "\\u0000: texts hold no NUL");
    if (code >= 0xDC00 && code < 0xE000) return bad(w, hint, "the second half of a surrogate pair without the first");
    if (code >= 0xD800 && code < 0xDC00) {
        char *first = w->p; /* where a message points: at the half that is alone */
        w->p += 6;
        if (w->end - w->p >= 6 && w->p[0] == '\\' && w->p[1] == 'u') low = hex4(w);
        if (low < 0xDC00 || low >= 0xE000) {
            w->p = first;
            return bad(w, hint, "the first half of a surrogate pair without the second");
        }
        /* RFC 8259, section 7: characters above U+FFFF are two escapes */
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    w->p += 6;
    *to += hone_utf8_put((uint32_t)code, *to);
    return HONE_OK;
}

/* A backslash and what follows; RFC 8259, section 7. */
static hone_status unescape(walk *w, char **to)
{
    static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    char c = w->p + 1 < w->end ? w->p[1] : '\0';
    const char *at = c ? strchr(from, c) : NULL;
    if (c == 'u') return unescape_unicode(w, to);
    if (!at) return bad(w, "escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX", "an unknown escape");
    *(*to)++ = means[at - from]; /* two characters become one, so `to` never overtakes p */
    w->p += 2;
    return HONE_OK;
}

/* A string at p, unescaped in place. Long stretches without escapes move at once, or not at all. */
static hone_status read_string(walk *w, hone_span *out)
{
    char *open = w->p++, *to = w->p; /* a string that never closes is told where it opens */
    out->at = to;
    for (;;) {
        char *from = w->p;
        while (w->p < w->end && *w->p != '"' && *w->p != '\\' && (unsigned char)*w->p >= 0x20) w->p++;
        /* in place: before the first escape source and target are the same, and nothing moves */
        if (to != from) memmove(to, from, (size_t)(w->p - from));
        to += w->p - from;
        if (w->p >= w->end) {
            w->p = open;
            return bad(w, "close it with a quote; line ends inside are written \\n",
                       "the string that opens here is never closed");
        }
        if (*w->p == '"') break;
        if ((unsigned char)*w->p < 0x20)
            return bad(w, "write it as an escape (\\t)", "a control character in a string");
        HONE_TRY(unescape(w, &to));
    }
    w->p++;
    out->bytes = (size_t)(to - out->at);
    return HONE_OK;
}

/* A run of digits. */
static bool digits(walk *w)
{
    char *from = w->p;
    while (w->p < w->end && *w->p >= '0' && *w->p <= '9') w->p++;
    return w->p > from;
}

/* RFC 8259, section 6: no leading zeros or plus, digits on both sides of a point. */
static hone_status read_number(walk *w, hone_span *out)
{
    static const char hint[] = "numbers look like -1, 0.5 or 1e-3";
    /* kept as text: labels go by their digits, weights are converted where they are used */
    char *from = w->p;
    if (*w->p == '-') w->p++;
    /* "01" is refused, "0" and "-0" are numbers */
    bool zero = w->p < w->end && *w->p == '0';
    if (!digits(w) || (zero && w->p - from > 1 + (*from == '-'))) return bad(w, hint, "a broken number");
    if (w->p < w->end && *w->p == '.') {
        w->p++;
        if (!digits(w)) return bad(w, hint, "a broken number");
    }
    if (w->p < w->end && (*w->p == 'e' || *w->p == 'E')) {
        w->p++;
        if (w->p < w->end && (*w->p == '+' || *w->p == '-')) w->p++;
        if (!digits(w)) return bad(w, hint, "a broken number");
    }
    *out = (hone_span){from, (size_t)(w->p - from)};
    return HONE_OK;
}

/* true, false, null; NaN and Infinity are Python's, not JSON's. */
static hone_status read_word(walk *w, value *v)
{
    static const struct {
        const char *text;
        kind kind;
    } word[] = {{"true", KIND_TRUE}, {"false", KIND_FALSE}, {"null", KIND_NULL}};
    for (size_t k = 0; k < 3; k++) {
        size_t n = strlen(word[k].text);
        if ((size_t)(w->end - w->p) >= n && memcmp(w->p, word[k].text, n) == 0) {
            *v = (value){word[k].kind, {w->p, n}};
            w->p += n;
            return HONE_OK;
        }
    }
    if (strchr("NI", *w->p)) return bad(w, "JSON has no NaN and no Infinity; leave the member out", "not a JSON value");
    if (*w->p == '\'') return bad(w, "strings stand in double quotes", "not a JSON value");
    return bad(w, "one JSON object a line, for example {\"label\": \"spam\", \"text\": \"...\"}", "not a JSON value");
}

static hone_status read_value(walk *w, value *v, int depth);

/* The members of a nested object or array, checked and forgotten. */
static hone_status read_nested(walk *w, int depth)
{
    /* arrays are objects without keys */
    bool object = *w->p == '{';
    char close = object ? '}' : ']';
    /* the only recursion; its depth is bounded before it goes on */
    if (depth >= DEPTH_MAX) return bad(w, "at most 64 levels are read", "nested too deeply");
    w->p++;
    skip_space(w);
    if (w->p < w->end && *w->p == close) {
        w->p++;
        return HONE_OK;
    }
    for (;;) {
        value v;
        skip_space(w);
        if (object) {
            if (w->p >= w->end || *w->p != '"')
                return bad(w, "no comma behind the last member", "a key in quotes is wanted here");
            HONE_TRY(read_string(w, &v.text));
            skip_space(w);
            if (w->p >= w->end || *w->p != ':') return bad(w, "\"key\": value", "a colon is wanted here");
            w->p++;
        }
        HONE_TRY(read_value(w, &v, depth + 1)); /* checked by the same rules, then forgotten */
        skip_space(w);
        if (w->p < w->end && *w->p == close) break;
        if (w->p >= w->end || *w->p != ',')
            return bad(w, "close it on the same line", "a comma or a closing bracket is wanted here");
        w->p++;
    }
    w->p++;
    return HONE_OK;
}

/* Any value. */
static hone_status read_value(walk *w, value *v, int depth)
{
    skip_space(w);
    if (w->p >= w->end) return bad(w, "each object stands on one line", "the line ends where a value is wanted");
    char c = *w->p;
    /* told by the first character, as the grammar allows */
    v->kind = c == '"' ? KIND_STRING : c == '{' || c == '[' ? KIND_OTHER : KIND_NUMBER;
    v->text = (hone_span){w->p, 1};
    if (c == '"') return read_string(w, &v->text);
    if (c == '{' || c == '[') return read_nested(w, depth);
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(w, &v->text);
    return read_word(w, v);
}

/* True for equal bytes. */
static bool same(hone_span a, const char *b) { return strlen(b) == a.bytes && memcmp(a.at, b, a.bytes) == 0; }

/* A key once more would make one of two values disappear, whichever program reads it. */
static hone_status remember_key(walk *w, hone_span key)
{
    for (int k = 0; k < w->keys; k++)
        if (w->key[k].bytes == key.bytes && memcmp(w->key[k].at, key.at, key.bytes) == 0)
            return hone_text_fail(w->job, w->line, (uint32_t)(key.at - w->begin), "keep one of them",
                                  "the key \"%s\" stands there twice", hone_span_shown(key));
    /* comparing all pairs is quickest for the few members that lines have; this bounds it */
    if (w->keys == KEYS_MAX) return bad(w, "keep the members that are needed", "more than 256 members");
    w->key[w->keys++] = key;
    return HONE_OK;
}

/* Stores a value under each role whose name it has; a better name goes before. */
static void keep(walk *w, hone_span key, value v)
{
    /* one member may serve two roles only if the page says so, by naming it twice */
    for (member k = 0; k < MEMBER_COUNT; k++)
        for (int i = 0; i < 3 && w->name[k][i]; i++)
            if (same(key, w->name[k][i]) && (w->wanted[k].kind == KIND_MISSING || i < w->name_at[k])) {
                w->wanted[k] = v;
                w->name_at[k] = i;
            }
}

/* One line: an object and nothing behind it. */
static hone_status read_object(walk *w)
{
    /* nothing of the line before may shine through */
    w->keys = 0;
    for (member k = 0; k < MEMBER_COUNT; k++) w->wanted[k].kind = KIND_MISSING;
    if (*w->p == '[')
        return bad(w, "one object a line; of one array: jq -c '.[]' FILE > NEW", "a JSON array, not JSONL");
    if (*w->p != '{')
        return bad(w, "one object a line, for example {\"label\": \"spam\", \"text\": \"...\"}",
                   "an object is wanted here");
    w->p++;
    skip_space(w);
    bool empty = w->p < w->end && *w->p == '}';
    while (!empty) {
        hone_span key;
        value v;
        skip_space(w);
        if (w->p >= w->end || *w->p != '"')
            return bad(w, "keys stand in quotes, no comma behind the last member, one object a line",
                       "a key in quotes is wanted here");
        HONE_TRY(read_string(w, &key));
        HONE_TRY(remember_key(w, key)); /* after unescaping: "t\u0065xt" is "text" */
        skip_space(w);
        if (w->p >= w->end || *w->p != ':') return bad(w, "\"key\": value", "a colon is wanted here");
        w->p++;
        HONE_TRY(read_value(w, &v, 1));
        keep(w, key, v); /* a span: the text stays where it is in the line */
        skip_space(w);
        if (w->p < w->end && *w->p == '}') break;
        if (w->p >= w->end || *w->p != ',')
            return bad(w, "each object stands on one line", "a comma or } is wanted here");
        w->p++;
    }
    w->p++;
    skip_space(w); /* a CR before the line end is white space, so CRLF needs no care */
    return w->p < w->end ? bad(w, "one object a line", "more text behind the object") : HONE_OK;
}

/* Names what the line has instead. */
static hone_status no_member(const walk *w, member k)
{
    hone_text t = {0};
    hone_names known = {0};
    for (int i = 0; i < w->keys && i < 20; i++) {
        hone_text_add(&t, "%s\"%s\"", i ? ", " : "", hone_span_shown(w->key[i]));
        if (hone_names_addf(&known, "%s", hone_span_shown(w->key[i])) != HONE_OK) break;
    }
    /* the first name is the one that the page gives, or the usual one */
    const char *near = hone_did_you_mean(w->name[k][0], (const char *const *)known.item, known.count);
    if (near) hone_text_add(&t, " (did you mean \"%s\"?)", near);
    char *list = hone_text_take(&t);
    hone_status s =
        hone_text_fail(w->job, w->line, 0, "name the members with data.columns: {input: NAME, label: NAME}",
                       "no \"%s\"; the members are %s", hone_shown(w->name[k][0]), list && *list ? list : "none");
    free(list);
    hone_names_free(&known);
    return s;
}

/* A value of another kind than its role takes. */
static hone_status wrong_kind(const walk *w, member k, const char *wanted)
{
    static const char *const name[] = {"nothing", "a string", "a number",          "true",
                                       "false",   "null",     "an array or object"};
    return hone_text_fail(w->job, w->line, 0, wanted, "\"%s\" is %s", hone_shown(w->name[k][w->name_at[k]]),
                          name[w->wanted[k].kind]);
}

/* Whole numbers go by their digits: 2^40 is as good a name as 7. */
static hone_status check_label(const walk *w)
{
    value v = w->wanted[MEMBER_LABEL];
    /* 3.0 and 3 would be two names for what was one number once, so fractions are refused */
    bool whole = v.kind == KIND_NUMBER && !memchr(v.text.at, '.', v.text.bytes) &&
                 !memchr(v.text.at, 'e', v.text.bytes) && !memchr(v.text.at, 'E', v.text.bytes);
    if (v.kind == KIND_NUMBER && !whole)
        return hone_text_fail(w->job, w->line, 0, "labels are strings or whole numbers", "label %s is no class name",
                              hone_span_shown(v.text));
    bool ok = whole || v.kind == KIND_STRING || v.kind == KIND_TRUE || v.kind == KIND_FALSE;
    return ok ? HONE_OK : wrong_kind(w, MEMBER_LABEL, "labels are strings or whole numbers");
}

/* A text of the row. */
static hone_status take_text(const walk *w, member k, const char **text, uint32_t *bytes)
{
    if (w->wanted[k].kind == KIND_MISSING) return HONE_OK;
    /* null is no empty text: somebody has to say what it means */
    if (w->wanted[k].kind != KIND_STRING) return wrong_kind(w, k, "texts are strings");
    if (w->wanted[k].text.bytes > UINT32_MAX)
        return hone_text_fail(w->job, w->line, 0, "cut it", "a text of more than 4 GiB");
    *text = w->wanted[k].text.at;
    *bytes = (uint32_t)w->wanted[k].text.bytes;
    return HONE_OK;
}

/* From members to a row of the sink. */
static hone_status take_row(const walk *w)
{
    /* members are known by now; what is missing is told with what is there */
    hone_text_row row = {.weight = 1.0f, .line = w->line};
    hone_split split = w->job->split;
    for (member k = 0; k < MEMBER_COUNT; k++)
        if (w->must[k] && w->wanted[k].kind == KIND_MISSING) return no_member(w, k);
    HONE_TRY(take_text(w, MEMBER_INPUT, &row.text, &row.bytes));
    HONE_TRY(take_text(w, MEMBER_SECOND, &row.second, &row.second_bytes));
    HONE_TRY(check_label(w));
    const value *weight = &w->wanted[MEMBER_WEIGHT], *at = &w->wanted[MEMBER_SPLIT];
    if (weight->kind != KIND_MISSING) {
        w->job->sink->weight = true;
        if (weight->kind != KIND_NUMBER) return wrong_kind(w, MEMBER_WEIGHT, "weights are numbers of 0 and above");
        if (!hone_weight_parse(weight->text, &row.weight))
            return hone_text_fail(w->job, w->line, 0, "weights are numbers of 0 and above", "weight %s is no weight",
                                  hone_span_shown(weight->text));
    }
    if (at->kind != KIND_MISSING) {
        if (at->kind != KIND_STRING) return wrong_kind(w, MEMBER_SPLIT, "train, val or test");
        split = hone_split_parse(at->text.at, at->text.bytes);
        /* a row in the wrong split is worse than no row */
        if (split == HONE_SPLIT_COUNT)
            return hone_text_fail(w->job, w->line, 0, "the split is train, val or test", "split \"%s\" is not known",
                                  hone_span_shown(at->text));
    }
    return hone_text_sink_add(w->job, split, w->wanted[MEMBER_LABEL].text, row);
}

/* Names from the page; without one the same usual names as in tables. */
static void set_names(walk *w)
{
    static const char *const usual[MEMBER_COUNT][3] = {
        {NULL}, {"label", "target", "class"}, {NULL}, {"weight"}, {NULL}};
    const hone_config *c = w->job->config;
    const char *given[MEMBER_COUNT] = {c->data.columns.input, c->data.columns.label, c->data.columns.second,
                                       c->data.columns.weight, c->data.columns.split};
    for (member k = 0; k < MEMBER_COUNT; k++) {
        if (given[k]) w->name[k][0] = given[k];
        else memcpy(w->name[k], k == MEMBER_INPUT ? hone_input_names(c) : usual[k], sizeof usual[k]);
        w->must[k] = given[k] || k == MEMBER_INPUT || k == MEMBER_LABEL;
    }
    /* each line must have it then, or it is refused */
    w->job->sink->second |= given[MEMBER_SECOND] != NULL;
}

/* One line; the whole file may not have been UTF-8. */
static hone_status read_line(walk *w)
{
    const char *why = NULL;
    size_t bytes = (size_t)(w->end - w->p);
    if (!w->job->checked && hone_utf8_check(w->p, bytes, &why) != bytes)
        return hone_text_fail(w->job, w->line, 0, "convert the file to UTF-8", "not UTF-8: %s", why);
    HONE_TRY(read_object(w));
    return take_row(w);
}

/* A walk is 4 KiB of keys, so it is made once for all lines. */
hone_status hone_jsonl_read(hone_text_job *job)
{
    walk *w = calloc(1, sizeof *w);
    if (!w) return hone_no_memory("a reader", sizeof *w);
    char *end = job->blob.data + job->blob.bytes;
    hone_status s = HONE_OK;
    w->job = job;
    set_names(w);
    for (char *p = job->blob.data; s == HONE_OK && p < end;) {
        char *nl = memchr(p, '\n', (size_t)(end - p));
        w->begin = w->p = p; /* columns in messages count bytes from here */
        w->end = nl ? nl : end;
        w->line++;
        skip_space(w);
        if (w->p >= w->end) hone_text_sink_blank(job, w->line);
        /* a broken line ends with its line end, so the next one is read as if nothing had been */
        else if ((s = read_line(w)) != HONE_OK) s = hone_text_sink_broken(job, s);
        p = nl ? nl + 1 : end;
    }
    free(w);
    return s;
}
