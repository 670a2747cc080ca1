/* test_config_words.c - defaults of one word skip the YAML parser: the parser must agree about each such word.
 * rooms: config core
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "config/page.h"
#include "config/schema.h"

/* What libyaml makes of it: a scalar without quotes that holds the same text. */
static bool is_plain_scalar(const char *text)
{
    hone_yaml *root = NULL;
    bool plain = false;
    if (hone_yaml_read_text("word", text, strlen(text), &root) == HONE_OK)
        plain = root->kind == HONE_YAML_SCALAR && !root->quoted && strcmp(root->text, text) == 0;
    hone_yaml_free(root);
    return plain;
}

/* All texts of up to four signs out of those that YAML could read in two ways; more signs bring no new rule. */
static void words_are_words_to_yaml(void **state)
{
    (void)state;
    static const char sign[] = "a0-._+~:#[{'\" \n,&*!|>%@`?=";
    int count = (int)sizeof sign - 1, words = 0;
    char text[5];
    for (int length = 0; length <= 4; length++) {
        int all = 1;
        for (int k = 0; k < length; k++) all *= count;
        for (int k = 0; k < all; k++) {
            memset(text, 0, sizeof text);
            for (int at = 0, left = k; at < length; at++, left /= count) text[at] = sign[left % count];
            if (!hone_page_plain_word(text)) continue;
            words++;
            if (!is_plain_scalar(text)) fail_msg("'%s' is no plain scalar", text);
        }
    }
    assert_true(words > 2 * 4 * 4 * 4);           /* a letter or a digit, then three of those that may follow */
    assert_false(is_plain_scalar("- a"));         /* the checker can say no */
    assert_false(hone_page_plain_word("[0, 1]")); /* so can the function */
}

/* If the short way were never taken, nothing above would matter. */
static void most_defaults_are_words(void **state)
{
    (void)state;
    int words = 0, others = 0;
    for (int k = 0; k < hone_schema_count; k++) {
        const char *text = hone_schema[k].fallback;
        if (!text) continue;
        bool word = hone_page_plain_word(text);
        if (word) assert_true(is_plain_scalar(text));
        words += word;
        others += !word;
    }
    assert_true(words > 10 * others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_words_to_yaml),
        cmocka_unit_test(most_defaults_are_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
