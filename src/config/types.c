/* types.c - what is known of each scalar type of the schema: how a value is read from a page, checked,
 * written back, described in words and in JSON Schema. Types that take lists and maps: types_list.c.
 *
 * One sentence serves all mistakes of a value: what the key expects (type and range) and what it found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/types.h"
#include "core/json.h"

/* --- messages --------------------------------------------------------------------------------------- */
/* The fix, where the value itself tells it. */
static const char *fix_for(const hone_row *row, const hone_yaml *n)
{
    /* YAML 1.1 reads these as booleans, JSON and YAML 1.2 do not: so they are refused with their meaning. */
    static const char *const truth[][2] = {{"yes", " (write true)"},  {"on", " (write true)"},
                                           {"True", " (write true)"}, {"no", " (write false)"},
                                           {"off", " (write false)"}, {"False", " (write false)"}};
    double number;
    if (n->kind != HONE_YAML_SCALAR) return "";
    /* quoted text has no type, which surprises whoever quotes everything */
    if (n->quoted &&
        (hone_number_read(n->text, &number) || strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0))
        return " (remove the quotes)";
    for (int k = 0; k < 6 && row->type == HONE_TYPE_BOOL; k++)
        if (strcmp(n->text, truth[k][0]) == 0) return truth[k][1];
    return "";
}

/* One sentence for all mistakes of a value. */
void hone_expected(const hone_row *row, const hone_yaml *n, hone_diag *d)
{
    hone_text t = {0};
    char found[80];
    hone_type_table[row->type].describe(row, &t);
    hone_diag_add(d, n, row->key, "expects %s, found %s%s", t.data ? t.data : "another value",
                  hone_yaml_found(n, found, sizeof found), fix_for(row, n));
    hone_text_free(&t);
}

/* Closed ranges read "from a to b"; open ends are spelt out. */
void hone_describe_range(const hone_row *row, const char *noun, hone_text *t)
{
    char low[32], high[32];
    hone_number_write(row->min, low, sizeof low);
    hone_number_write(row->max, high, sizeof high);
    bool open = row->flags & (HONE_ROW_ABOVE_MIN | HONE_ROW_BELOW_MAX);
    if (!open) hone_text_add(t, "%s from %s to %s", noun, low, high);
    else
        hone_text_add(t, "%s %s %s and %s %s", noun, row->flags & HONE_ROW_ABOVE_MIN ? "above" : "of at least", low,
                      row->flags & HONE_ROW_BELOW_MAX ? "below" : "at most", high);
}

/* A bound is left out where its flag says so: lr is above 0, a probability below 1. */
bool hone_in_range(const hone_row *row, double x)
{
    if (row->flags & HONE_ROW_ABOVE_MIN ? x <= row->min : x < row->min) return false;
    return row->flags & HONE_ROW_BELOW_MAX ? x < row->max : x <= row->max;
}

/* Integers are written as such: some editors reject 1.0 for an integer bound. */
json_t *hone_schema_range(const hone_row *row, const char *type)
{
    json_t *s = json_pack("{s:s}", "type", type);
    bool whole = strcmp(type, "integer") == 0;
    json_t *low = whole ? json_integer((json_int_t)row->min) : json_real(row->min);
    json_t *high = whole ? json_integer((json_int_t)row->max) : json_real(row->max);
    s = hone_json_with(s, row->flags & HONE_ROW_ABOVE_MIN ? "exclusiveMinimum" : "minimum", low);
    s = hone_json_with(s, row->flags & HONE_ROW_BELOW_MAX ? "exclusiveMaximum" : "maximum", high);
    return s;
}

/* Appends a number in the shortest form. */
static void write_number(double x, hone_text *t)
{
    char number[32];
    hone_text_add(t, "%s", hone_number_write(x, number, sizeof number));
}

/* --- strings, words, choices ------------------------------------------------------------------------ */
/* `~` for optional keys, the word none where the row has it; quoted, both are ordinary text. */
static bool means_nothing(const hone_row *row, const hone_yaml *n)
{
    if ((row->flags & HONE_ROW_OPTIONAL) && hone_yaml_null(n)) return true;
    return (row->flags & HONE_ROW_NONE) && n->kind == HONE_YAML_SCALAR && !n->quoted && strcmp(n->text, "none") == 0;
}

/* Takes a copy; the earlier value of the field (its default) is freed. */
static void set_string(const hone_row *row, hone_config *c, const char *value, hone_diag *d)
{
    char **field = HONE_FIELD(c, row, char *);
    free(*field);
    *field = hone_strdup(value);
    d->no_memory |= value && !*field; /* a key that silently is not set would be another experiment */
}

/* Any scalar but an empty one; numbers are taken as their text. */
static void read_string(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    if (means_nothing(row, n)) set_string(row, c, NULL, d);
    else if (n->kind != HONE_YAML_SCALAR || hone_yaml_null(n) || !*n->text) hone_expected(row, n, d);
    else set_string(row, c, n->text, d);
}

/* NULL is written as the word that reads back as NULL. */
static void write_string(const hone_row *row, const hone_config *c, hone_text *t)
{
    const char *s = *HONE_FIELD(c, row, char *);
    if (!s) hone_text_add(t, row->flags & HONE_ROW_NONE ? "none" : "~");
    else /* words with a meaning of their own are quoted */
        hone_scalar_append(t, s, strcmp(s, "none") == 0 || strcmp(s, "~") == 0 || strcmp(s, "null") == 0);
}

/* Any text. */
static void describe_string(const hone_row *row, hone_text *t)
{
    hone_text_add(t, row->flags & HONE_ROW_NONE ? "a text or none" : "a text");
}

/* JSON null stands for `~`. */
static json_t *schema_string(const hone_row *row)
{
    if (row->flags & HONE_ROW_OPTIONAL) return json_pack("{s:[ss],s:i}", "type", "string", "null", "minLength", 1);
    return json_pack("{s:s,s:i}", "type", "string", "minLength", 1);
}

/* Index of the choice that `n` names; -1 after a message with the nearest one. */
static int read_choice(const hone_row *row, const hone_yaml *n, hone_diag *d)
{
    if (n->kind != HONE_YAML_SCALAR || hone_yaml_null(n)) {
        hone_expected(row, n, d);
        return -1;
    }
    /* Quotes make no difference here: a choice is a word either way. */
    int index = hone_choice_index(row->choices, n->text);
    if (index >= 0) return index;
    char storage[256], found[64];
    const char *choice[16];
    hone_text t = {0};
    int count = hone_choice_list(row->choices, storage, sizeof storage, choice);
    const char *near = hone_did_you_mean(n->text, choice, count);
    hone_type_table[row->type].describe(row, &t);
    hone_diag_add(d, n, row->key, "expects %s, found '%s'%s%s%s", t.data ? t.data : "a choice",
                  hone_yaml_quote(n, found, sizeof found), near ? " (did you mean " : "", near ? near : "",
                  near ? "?)" : "");
    hone_text_free(&t);
    return -1;
}

/* "a, b or c". */
static void describe_choice(const hone_row *row, hone_text *t)
{
    char storage[256];
    const char *choice[16];
    int count = hone_choice_list(row->choices, storage, sizeof storage, choice);
    for (int k = 0; k < count; k++) hone_text_add(t, "%s%s", k == 0 ? "" : k == count - 1 ? " or " : ", ", choice[k]);
}

/* The same list as an enum. */
static json_t *schema_choice(const hone_row *row)
{
    char storage[256];
    const char *choice[16];
    int count = hone_choice_list(row->choices, storage, sizeof storage, choice);
    json_t *list = json_array();
    for (int k = 0; k < count; k++) list = hone_json_added(list, json_string(choice[k]));
    return json_pack("{s:o}", "enum", list);
}

/* Stored as the word itself. */
static void read_word(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    if (read_choice(row, n, d) >= 0) set_string(row, c, n->text, d);
}

/* Stored as the place in the list, which is the value of the C enum (a test would fail on a gap). */
static void read_enum(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int index = read_choice(row, n, d);
    if (index >= 0) *HONE_FIELD(c, row, int) = index; /* all enums of hone_config are int-sized */
}

/* The word at that place. */
static void write_enum(const hone_row *row, const hone_config *c, hone_text *t)
{
    char storage[256];
    const char *choice[16];
    int count = hone_choice_list(row->choices, storage, sizeof storage, choice), index = *HONE_FIELD(c, row, int);
    if (index >= 0 && index < count) hone_text_add(t, "%s", choice[index]);
}

/* --- switches and numbers ----------------------------------------------------------------------------- */
/* true and false only: yes, on and 1 mean different things to different readers of YAML. */
static void read_bool(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    if (!hone_yaml_bool(n, HONE_FIELD(c, row, bool))) hone_expected(row, n, d);
}
/* As YAML reads it back. */
static void write_bool(const hone_row *row, const hone_config *c, hone_text *t)
{
    hone_text_add(t, *HONE_FIELD(c, row, bool) ? "true" : "false");
}
static void describe_bool(const hone_row *row, hone_text *t)
{
    (void)row;
    hone_text_add(t, "true or false");
}
static json_t *schema_bool(const hone_row *row)
{
    (void)row;
    return json_pack("{s:s}", "type", "boolean");
}

/* An integer of the row's range, or one of its choices (1|3); false after a message. */
static bool read_integer(const hone_row *row, const hone_yaml *n, hone_diag *d, int64_t *out)
{
    /* 1e6 is refused too: a count is written in full, or it was meant as something else. */
    bool ok = hone_yaml_int(n, out) && hone_in_range(row, (double)*out);
    if (ok && row->choices) ok = hone_choice_index(row->choices, n->text) >= 0;
    if (!ok) hone_expected(row, n, d);
    return ok;
}

/* 0 stands for "that of the data" in optional integers. */
static void read_int(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t value = 0;
    if (means_nothing(row, n) || read_integer(row, n, d, &value)) *HONE_FIELD(c, row, int) = (int)value;
}
/* Optional and 0: not given. */
static void write_int(const hone_row *row, const hone_config *c, hone_text *t)
{
    int value = *HONE_FIELD(c, row, int);
    if ((row->flags & HONE_ROW_OPTIONAL) && value == 0) hone_text_add(t, "~");
    else hone_text_add(t, "%d", value);
}
static void read_int64(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t value = 0;
    if (read_integer(row, n, d, &value)) *HONE_FIELD(c, row, int64_t) = value;
}
static void write_int64(const hone_row *row, const hone_config *c, hone_text *t)
{
    hone_text_add(t, "%lld", (long long)*HONE_FIELD(c, row, int64_t));
}
/* A double that holds an integer: fractions come only through other keys. */
static void read_whole(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    int64_t value = 0;
    if (read_integer(row, n, d, &value)) *HONE_FIELD(c, row, double) = (double)value;
}
static void describe_integer(const hone_row *row, hone_text *t)
{
    if (row->choices) describe_choice(row, t);
    else hone_describe_range(row, "an integer", t);
}
/* The range, or the list where only some integers are meant. */
static json_t *schema_integer(const hone_row *row)
{
    if (row->choices) { /* the choices of an integer are integers */
        json_t *list = json_array();
        for (const char *s = row->choices; s; s = strchr(s, '|') ? strchr(s, '|') + 1 : NULL)
            list = hone_json_added(list, json_integer(strtol(s, NULL, 10)));
        if (row->flags & HONE_ROW_OPTIONAL) list = hone_json_added(list, json_null());
        return json_pack("{s:o}", "enum", list);
    }
    return hone_schema_range(row, "integer");
}

/* Finite numbers of the range; nan, inf and 1e309 are none. */
static void read_float(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    double value;
    if (hone_yaml_float(n, &value) && hone_in_range(row, value)) *HONE_FIELD(c, row, double) = value;
    else hone_expected(row, n, d);
}
/* Shortest form. */
static void write_float(const hone_row *row, const hone_config *c, hone_text *t)
{
    write_number(*HONE_FIELD(c, row, double), t);
}
static void describe_float(const hone_row *row, hone_text *t) { hone_describe_range(row, "a number", t); }
static json_t *schema_float(const hone_row *row) { return hone_schema_range(row, "number"); }

/* --- times and intervals ------------------------------------------------------------------------------- */
/* "90s", "20m", "1.5h" in seconds; false for all else. */
static bool parse_time(const char *s, double *seconds)
{
    char number[32];
    size_t length = strlen(s);
    if (length < 2 || length > sizeof number) return false;
    /* One letter, as in sleep(1); days are left out because no run should need them. */
    double unit = s[length - 1] == 's' ? 1 : s[length - 1] == 'm' ? 60 : s[length - 1] == 'h' ? 3600 : 0;
    memcpy(number, s, length - 1);
    number[length - 1] = '\0';
    if (unit == 0 || !hone_number_read(number, seconds)) return false;
    *seconds *= unit;
    return true;
}

/* 0 needs no unit; every other number does, because 20 could be seconds or minutes. */
static void read_time(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    double seconds;
    bool scalar = n->kind == HONE_YAML_SCALAR;
    if (scalar && strcmp(n->text, "0") == 0) *HONE_FIELD(c, row, double) = 0;
    else if (scalar && parse_time(n->text, &seconds) && hone_in_range(row, seconds))
        *HONE_FIELD(c, row, double) = seconds;
    else hone_expected(row, n, d);
}
/* In seconds, which any time can be written in. */
static void write_time(const hone_row *row, const hone_config *c, hone_text *t)
{
    double seconds = *HONE_FIELD(c, row, double);
    write_number(seconds, t);
    if (seconds != 0) hone_text_add(t, "s");
}
/* With examples, because units are what is forgotten. */
static void describe_time(const hone_row *row, hone_text *t)
{
    (void)row;
    hone_text_add(t, "a time (90s, 20m, 3h) or 0");
}
/* Editors can check the form, not the range. */
static json_t *schema_time(const hone_row *row)
{
    (void)row;
    return json_pack("{s:[{s:s,s:s},{s:i}]}", "anyOf", "type", "string", "pattern", "^[0-9.]+[smh]$", "const", 0);
}

/* "12 epochs" -> 12 and the rest "epochs"; false where it is no positive integer and one word. */
static bool parse_count(const char *s, double *count, const char **unit)
{
    char number[24];
    /* A count and its word stand apart: "500steps" is more often a typo than a wish. */
    size_t length = strspn(s, "0123456789");
    if (length == 0 || length >= sizeof number || s[length] != ' ') return false;
    memcpy(number, s, length);
    number[length] = '\0';
    *unit = s + length + strspn(s + length, " ");
    return hone_number_read(number, count) && *count >= 1 && *count <= 1e15;
}

/* none, a time, or a count of epochs or steps; false leaves *out alone. */
static bool parse_interval(const char *s, hone_interval *out)
{
    const char *unit;
    double value;
    if (strcmp(s, "none") == 0) {
        *out = (hone_interval){HONE_EVERY_NONE, 0};
    } else if (parse_time(s, &value) && value > 0) {
        *out = (hone_interval){HONE_EVERY_SECONDS, value};
    } else if (parse_count(s, &value, &unit)) {
        bool epochs = strcmp(unit, "epoch") == 0 || strcmp(unit, "epochs") == 0;
        if (!epochs && strcmp(unit, "step") != 0 && strcmp(unit, "steps") != 0) return false;
        *out = (hone_interval){epochs ? HONE_EVERY_EPOCHS : HONE_EVERY_STEPS, value};
    } else {
        return false;
    }
    return true;
}

/* A bare number is refused: it could be epochs or steps. */
static void read_interval(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d)
{
    if (n->kind != HONE_YAML_SCALAR || !parse_interval(n->text, HONE_FIELD(c, row, hone_interval)))
        hone_expected(row, n, d);
}
/* As a page would say it: "1 epoch", "500 steps", "90s". */
static void write_interval(const hone_row *row, const hone_config *c, hone_text *t)
{
    const hone_interval *i = HONE_FIELD(c, row, hone_interval);
    if (i->kind == HONE_EVERY_NONE) {
        hone_text_add(t, "none");
        return;
    }
    write_number(i->value, t);
    const char *unit = i->kind == HONE_EVERY_EPOCHS ? " epoch" : i->kind == HONE_EVERY_STEPS ? " step" : "s";
    hone_text_add(t, "%s%s", unit, i->kind != HONE_EVERY_SECONDS && i->value != 1 ? "s" : "");
}
/* With examples, as above. */
static void describe_interval(const hone_row *row, hone_text *t)
{
    (void)row;
    hone_text_add(t, "`N epochs`, `N steps`, a time (90s, 20m, 3h) or none");
}
/* The pattern is the grammar of parse_interval. */
static json_t *schema_interval(const hone_row *row)
{
    (void)row;
    return json_pack("{s:s,s:s}", "type", "string", "pattern", "^([1-9][0-9]* +(epochs?|steps?)|[0-9.]+[smh]|none)$");
}

/* --- groups and trees: read by config.c and model.c, never through here -------------------------------- */
/* Some groups take one word for their most important key. */
static void describe_group(const hone_row *row, hone_text *t)
{
    hone_text_add(t, row->choices ? "a map, or one word for its `%s`" : "a map", row->choices);
}
static json_t *schema_group(const hone_row *row)
{
    (void)row;
    return json_pack("{s:s}", "type", "object");
}

const hone_type_ops hone_type_table[HONE_TYPE_COUNT] = {
    [HONE_TYPE_GROUP] = {NULL, NULL, describe_group, schema_group},
    [HONE_TYPE_TREE] = {NULL, NULL, describe_group, schema_group},
    [HONE_TYPE_STRING] = {read_string, write_string, describe_string, schema_string},
    [HONE_TYPE_WORD] = {read_word, write_string, describe_choice, schema_choice},
    [HONE_TYPE_ENUM] = {read_enum, write_enum, describe_choice, schema_choice},
    [HONE_TYPE_BOOL] = {read_bool, write_bool, describe_bool, schema_bool},
    [HONE_TYPE_INT] = {read_int, write_int, describe_integer, schema_integer},
    [HONE_TYPE_INT64] = {read_int64, write_int64, describe_integer, schema_integer},
    [HONE_TYPE_WHOLE] = {read_whole, write_float, describe_integer, schema_integer},
    [HONE_TYPE_FLOAT] = {read_float, write_float, describe_float, schema_float},
    [HONE_TYPE_PAIR] = {hone_read_pair, hone_write_pair, hone_describe_pair, hone_schema_pair},
    [HONE_TYPE_INT_PAIR] = {hone_read_int_pair, hone_write_int_pair, hone_describe_int_pair, hone_schema_int_pair},
    [HONE_TYPE_SIZE] = {hone_read_size, hone_write_size, hone_describe_size, hone_schema_size},
    [HONE_TYPE_SHAPE] = {hone_read_shape, hone_write_shape, hone_describe_shape, hone_schema_shape},
    [HONE_TYPE_CHANNELS] = {hone_read_channels, hone_write_channels, hone_describe_channels, hone_schema_channels},
    [HONE_TYPE_INTERVAL] = {read_interval, write_interval, describe_interval, schema_interval},
    [HONE_TYPE_TIME] = {read_time, write_time, describe_time, schema_time},
    [HONE_TYPE_STRINGS] = {hone_read_strings, hone_write_strings, hone_describe_strings, hone_schema_strings},
    [HONE_TYPE_WEIGHTS] = {hone_read_weights, hone_write_weights, hone_describe_weights, hone_schema_weights},
};
