/* test_json.c - hone_json_parse against jansson's own reader: the same trees, the same refusals, on documents of every kind
 * of value, cut at every byte and mutated; and builders that turn into NULL instead of leaving something out.
 * rooms: core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

/* Between them: every kind of value, every escape, UTF-8 of every length, limits of numbers, white space. */
static const char *const documents[] = {
    "{}",
    "[]",
    " \t\r\n[ ] \n",
    "[1,-1,0,-0,9223372036854775807,-9223372036854775808]",
    "[1.5,-0.0,1e3,1E-3,2.5e+10,1e308,4.9e-324,0.1234567890123456789012345678901234567890123456789012345678901234]",
    "{\"a\":true,\"b\":false,\"c\":null,\"d\":{\"e\":[[],[{}]]}}",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"]",
    "[\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\", \"\"]",
    "{\"format\":\"hone-model\",\"classes\":[\"cat\",\"dog\"],\"mean\":[0.28600001335144043],\"deep\":[[[[1]]]]}",
};

/* What must be refused, whatever else holds. */
static const char *const refusals[] = {
    "",
    " ",
    "1",
    "\"a\"",
    "null",
    "[",
    "]",
    "[1",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "[01]",
    "[-]",
    "[+1]",
    "[1.]",
    "[.5]",
    "[1e]",
    "[1e+]",
    "[0x1]",
    "[NaN]",
    "[Infinity]",
    "[-Infinity]",
    "[tru]",
    "[truex]",
    "[nul]",
    "[\"]",
    "[\"\\x\"]",
    "[\"\\u12\"]",
    "[\"\\ud800\"]",
    "[\"\\ud800\\u0041\"]",
    "[\"\\udc00\"]",
    "[\"a\tb\"]",
    "[\"\\\"]",
    "{}x",
    "[][]",
    "{}{}",
    "[1e400]",
    "[9223372036854775808]",
    "[-9223372036854775809]",
    "[\"\x80\"]",
    "[\"\xC0\x80\"]",
    "[\"\xED\xA0\x80\"]",
    "[\"\xF4\x90\x80\x80\"]",
    "[\"\xE2\x82\"]",
    "\xEF\xBB\xBF{}",
    "[1]//x",
};

typedef struct counts {
    int tried, accepted, refused;
} counts;

/* Exactly `bytes` bytes, so that a sanitizer sees a read too far. */
static void compare(const char *text, size_t bytes, size_t flags, counts *n)
{
    char *exact = malloc(bytes ? bytes : 1);
    json_error_t mine_error, error;
    json_t *mine;
    assert_non_null(exact);
    memcpy(exact, text, bytes);
    assert_int_equal(hone_json_parse(exact, bytes, flags, &mine, &mine_error), HONE_OK);
    json_t *theirs = json_loadb(exact, bytes, flags, &error);
    if (!mine != !theirs)
        fail_msg("%.*s: %s, jansson: %s", (int)bytes, text, mine ? "accepted" : mine_error.text,
                 theirs ? "accepted" : error.text);
    if (mine && !json_equal(mine, theirs)) fail_msg("%.*s: another tree", (int)bytes, text);
    if (!mine && (!mine_error.text[0] || mine_error.position > (int)bytes || mine_error.line < 1))
        fail_msg("%.*s: refused without a place", (int)bytes, text);
    n->tried++;
    *(mine ? &n->accepted : &n->refused) += 1;
    json_decref(mine);
    json_decref(theirs);
    free(exact);
}

static void the_same_as_jansson(void **state)
{
    static const size_t flags[] = {0, JSON_REJECT_DUPLICATES, JSON_ALLOW_NUL, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL};
    static const char bytes[] = "{}[]\",:\\u0dD8etn-+.19E \n\x01\x80\xC3\xED\xF0";
    counts n = {0};
    uint32_t random = 1;
    (void)state;
    for (size_t k = 0; k < sizeof documents / sizeof *documents; k++) {
        char text[256];
        size_t length = strlen(documents[k]);
        for (int f = 0; f < 4; f++) compare(documents[k], length, flags[f], &n);
        for (size_t cut = 0; cut < length; cut++) compare(documents[k], cut, 0, &n);
        for (int m = 0; m < 4000; m++) { /* one to three bytes replaced */
            memcpy(text, documents[k], length);
            for (int edit = 0; edit <= m % 3; edit++) {
                random = random * 1664525u + 1013904223u;
                text[(random >> 8) % length] = bytes[(random >> 20) % (sizeof bytes - 1)];
            }
            compare(text, length, flags[m % 4], &n);
        }
    }
    for (size_t k = 0; k < sizeof refusals / sizeof *refusals; k++) {
        int before = n.refused;
        compare(refusals[k], strlen(refusals[k]), 0, &n);
        if (n.refused == before) fail_msg("%s was accepted", refusals[k]);
    }
    compare("[\"\\u0000\"]", 10, 0, &n);
    compare("[\"\\u0000\"]", 10, JSON_ALLOW_NUL, &n);
    compare("{\"\\u0000\":1}", 12, JSON_ALLOW_NUL, &n);
    compare("{\"a\":1,\"\\u0061\":2}", 19, 0, &n);
    compare("{\"a\":1,\"\\u0061\":2}", 19, JSON_REJECT_DUPLICATES, &n);
    print_message("%d documents: %d accepted, %d refused\n", n.tried, n.accepted, n.refused);
    assert_true(n.accepted > 1000 && n.refused > 10000); /* both kinds are there */
}

/* The depth that jansson itself stops at, one less and one more. */
static void depth_is_bounded(void **state)
{
    enum { MOST = 2048 };
    char *text = malloc(2 * (MOST + 1) + 1);
    counts n = {0};
    (void)state;
    assert_non_null(text);
    for (int depth = MOST - 1; depth <= MOST + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        compare(text, 2 * (size_t)depth, 0, &n);
    }
    assert_true(n.accepted > 0 && n.refused > 0);
    free(text);
    enum { HOSTILE = 1 << 20 };
    json_t *out;
    text = malloc(HOSTILE);
    assert_non_null(text);
    memset(text, '[', HOSTILE);
    assert_int_equal(hone_json_parse(text, HOSTILE, 0, &out, NULL), HONE_OK); /* no reader of `error`: fine, too */
    assert_null(out);
    free(text);
}

static void mistakes_have_a_place(void **state)
{
    static const char text[] = "{\n \"a\": 1,\n \"b\": tru\n}\n";
    json_error_t e;
    json_t *out;
    (void)state;
    assert_int_equal(hone_json_parse(text, sizeof text - 1, 0, &out, &e), HONE_OK);
    assert_null(out);
    assert_int_equal(e.line, 3);
    assert_int_equal(e.column, 7);
    assert_string_equal(e.text, "a value is wanted here");
}

/* A locale that writes 0,5 must not change what 0.5 means. */
static void numbers_do_not_follow_the_locale(void **state)
{
    static const char *const name[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
    json_t *out;
    bool set = false;
    (void)state;
    for (size_t k = 0; k < 4 && !set; k++) set = setlocale(LC_ALL, name[k]) != NULL;
    assert_int_equal(hone_json_parse("[0.5]", 5, 0, &out, NULL), HONE_OK);
    assert_true(json_real_value(json_array_get(out, 0)) == 0.5);
    json_decref(out);
    setlocale(LC_ALL, "C");
    if (!set) print_message("no locale with a decimal comma is installed: that half was not tested\n");
}

static void builders_lose_nothing(void **state)
{
    char *text;
    (void)state;
    json_t *o = hone_json_with(json_object(), "a", hone_json_string("caf\xE9")); /* Latin-1: repaired, not left out */
    o = hone_json_with(o, "b", hone_json_string(NULL));
    o = hone_json_with(o, "c", hone_json_real(1.0 / 0.0));
    o = hone_json_with(o, "d", hone_json_floats((const float[]){0.1f, 16777216.0f}, 2));
    assert_int_equal(hone_json_print(o, JSON_COMPACT | JSON_REAL_PRECISION(9), "x", &text), HONE_OK);
    assert_string_equal(text, "{\"a\":\"caf\xEF\xBF\xBD\",\"b\":null,\"c\":null,\"d\":[0.100000001,16777216.0]}");
    free(text);
    /* a member that could not be made makes the whole NULL, through whatever follows */
    o = hone_json_with(json_object(), "a", json_integer(1));
    o = hone_json_with(o, "b", NULL);
    assert_null(o);
    o = hone_json_with(o, "c", json_integer(2));
    assert_null(o);
    json_t *list = hone_json_added(hone_json_added(json_array(), NULL), json_integer(1));
    assert_null(list);
    assert_int_equal(hone_json_print(list, 0, "the list", &text), HONE_ERR_MEMORY);
    assert_null(text);
    assert_non_null(strstr(hone_error_message(), "no memory for the list"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_as_jansson),   cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(mistakes_have_a_place), cmocka_unit_test(numbers_do_not_follow_the_locale),
        cmocka_unit_test(builders_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
