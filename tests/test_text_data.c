/* test_text_data.c - readers of text: what every format gives, and the table of bad inputs T1 to T24.
 * rooms: data config io core
 *
 * A case is the content of a file and what must come of it: the rows in one line, or the words of the
 * refusal. All files are made here, in a folder that goes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "data/files.h"
#include "data/utf8.h"
#include "support/text_rows.h"

typedef struct text_case {
    const char *name, *file, *content;
    size_t bytes;        /* 0: strlen(content)                                    */
    const char *rows;    /* what must be read, or NULL                            */
    const char *says[3]; /* words of the refusal, or of a note where rows are given */
} text_case;
static const text_case cases[] = {
    {"T1 BOM", "a.csv", RAW("\xEF\xBB\xBFlabel,text\nh,x\n"), "h=x", {NULL}},
    {"T1 BOM JSONL", "a.jsonl", RAW("\xEF\xBB\xBF{\"label\":\"h\",\"text\":\"x\"}\n"), "h=x", {NULL}},
    {"T1 BOM fastText", "a.txt", RAW("\xEF\xBB\xBF__label__h x\n"), "h=x", {NULL}},
    {"UTF-16 BOM", "a.csv", RAW("\xFF\xFEl\0a\0b\0"), NULL, {"a.csv:1:1", "UTF-16 (little-endian)"}},
    {"UTF-16 BE BOM", "a.csv", RAW("\xFE\xFF\0l\0a"), NULL, {"UTF-16 (big-endian)"}},
    {"UTF-32 BOM", "a.csv", RAW("\xFF\xFE\0\0l\0\0\0"), NULL, {"UTF-32 (little-endian)"}},
    {"T2 header only", "a.csv", RAW(HEAD), NULL, {"no training rows"}},
    {"T2 empty file", "a.csv", RAW(""), NULL, {"a.csv:1", "the file is empty"}},
    {"T2 line ends only", "a.csv", RAW("\n\r\n\n"), NULL, {"the file is empty"}},
    {"T3 no header",
     "a.csv",
     RAW("spam,Buy now\nham,Hi\n"),
     NULL,
     {"a.csv:1", "no column \"text\"", "the columns are \"spam\", \"Buy now\""}},
    {"T4 duplicate column",
     "a.csv",
     RAW("label,text,text\nh,x,y\n"),
     NULL,
     {"a.csv:1", "two columns are called \"text\""}},
    {"T4 duplicate of no interest", "a.csv", RAW("label,text,id,id\nh,x,1,2\n"), "h=x", {NULL}},
    {"T5 no label column",
     "a.csv",
     RAW("lable,text\nh,x\n"),
     NULL,
     {"no column \"label\"", "the columns are \"lable\", \"text\"", "did you mean \"lable\"?"}},
    {"T5 JSONL",
     "a.jsonl",
     RAW("{\"lable\":\"h\",\"text\":\"x\"}\n"),
     NULL,
     {"a.jsonl:1", "no \"label\"", "did you mean \"lable\"?"}},
    {"T6 a field more", "a.csv", RAW(HEAD "h,x\nh,x,y"), NULL, {"a.csv:3", "3 columns, the first row has 2"}},
    {"T6 a field less", "a.csv", RAW(HEAD "h,x\nh"), NULL, {"a.csv:3", "1 column, the first row has 2"}},
    {"T6 TSV", "a.tsv", RAW("label\ttext\nh\tx\ty\n"), NULL, {"a.tsv:2", "3 columns"}},
    {"T7 unclosed quote", "a.csv", RAW(HEAD "h,x\nh,\"y\nz\n"), NULL, {"a.csv:3:3", "never closed"}},
    {"T7 unclosed, at the end", "a.csv", RAW(HEAD "h,\""), NULL, {"a.csv:2:3", "never closed"}},
    {"T8 quotes",
     "a.csv",
     RAW(HEAD "h,\"a \"\"b\"\" c\"\r\nh,\"x\r\ny\"\r\nh,\"p,q\"\r\nh,\"\"\r\n"),
     "h=a \"b\" c|h=x\\r\\ny|h=p,q|h=",
     {"1 text is empty", "a.csv:6"}},
    {"T8 quote inside", "a.csv", RAW(HEAD "h,5\" pipe\n"), "h=5\" pipe", {NULL}},
    {"T8 behind the quote", "a.csv", RAW(HEAD "h,\"a\"b\n"), NULL, {"a.csv:2:6", "follows the quote"}},
    {"T8 lines count in quotes", "a.csv", RAW(HEAD "h,\"a\nb\"\nh,x,y\n"), NULL, {"a.csv:4", "3 columns"}},
    {"T8 TSV with quotes",
     "a.tsv",
     RAW("label\ttext\n\"h\"\t\"a \"\"b\"\"\tc\"\nh\t5\"\n"),
     "h=a \"b\"\\tc|h=5\"",
     {NULL}},
    {"T8 TSV without",
     "a.tsv",
     RAW("label\ttext\nh\t\"a\" b\nh\t\"c\"\n"),
     "h=\"a\" b|h=\"c\"",
     {"quotes are plain", "line 2"}},
    {"T8 TSV, two unpaired",
     "a.tsv",
     RAW("label\ttext\nh\t\"a\nh\tb\"\nh\tc\n"),
     "h=\"a|h=b\"|h=c",
     {"quotes are plain"}},
    {"T9 NUL", "a.csv", RAW(HEAD "h,x\nh,a\0b\n"), NULL, {"a.csv:3:4", "NUL", "byte 18"}},
    {"T10 overlong", "a.csv", RAW(HEAD "h,\xC0\x80\n"), NULL, {"a.csv:2:3", "0xC0 at offset 13", "overlong"}},
    {"T10 overlong 3", "a.tsv", RAW("label\ttext\nh\t\xE0\x80\x80\n"), NULL, {"a.tsv:2:3", "overlong"}},
    {"T10 continuation",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"\x80\"}\n"),
     NULL,
     {"a.jsonl:1:22", "continuation"}},
    {"T10 surrogate", "a.txt", RAW("__label__h \xED\xA0\x80\n"), NULL, {"a.txt:1:12", "a surrogate"}},
    {"T10 above", "a.csv", RAW(HEAD "h,\xF4\x90\x80\x80\n"), NULL, {"above U+10FFFF"}},
    {"T10 cut at the end", "a.csv", RAW(HEAD "h,\xE2\x82"), NULL, {"a.csv:2:3", "cut off"}},
    {"T10 Latin-1", "a.csv", RAW(HEAD "h,caf\xE9 noir\n"), NULL, {"a.csv:2:6", "0xE9 at offset 16"}},
    {"T11 lone surrogate",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"\\ud800x\"}\n"),
     NULL,
     {"a.jsonl:1:22", "first half"}},
    {"T11 lone second half", "a.jsonl", RAW("{\"label\":\"h\",\"text\":\"\\udc00\"}\n"), NULL, {"second half"}},
    {"T11 pair",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"\\ud83d\\ude00\\u00e9\\n\"}\n"),
     "h=\xF0\x9F\x98\x80\xC3\xA9\\n",
     {NULL}},
    {"T11 NUL", "a.jsonl", RAW("{\"label\":\"h\",\"text\":\"\\u0000\"}\n"), NULL, {"a.jsonl:1:22", "NUL"}},
    {"T13 white space", "a.csv", RAW(HEAD "h,   \nh,\nh,x\n"), "h=   |h=|h=x", {"2 texts are empty", "a.csv:2"}},
    {"T14 spaces and case",
     "a.csv",
     RAW(HEAD "spam,a\nspam ,b\nSpam,c\n"),
     "spam=a|spam =b|Spam=c",
     {"differ only in case or spaces"}},
    {"T15 labels",
     "a.csv",
     RAW(HEAD "NaN,a\n-1,b\n3.0,c\n1099511627776,d\n"),
     "NaN=a|-1=b|3.0=c|1099511627776=d",
     {NULL}},
    {"T15 empty label", "a.csv", RAW(HEAD "h,x\n,y\n"), NULL, {"a.csv:3", "the label is empty"}},
    {"T15 JSON numbers",
     "a.jsonl",
     RAW("{\"label\":-1,\"text\":\"x\"}\n{\"label\":1099511627776,\"text\":\"y\"}\n{\"label\":true,\"text\":\"z\"}\n"),
     "-1=x|1099511627776=y|true=z",
     {NULL}},
    {"T15 JSON 3.0",
     "a.jsonl",
     RAW("{\"label\":3.0,\"text\":\"x\"}\n"),
     NULL,
     {"a.jsonl:1", "label 3.0 is no class name"}},
    {"T15 JSON null", "a.jsonl", RAW("{\"label\":null,\"text\":\"x\"}\n"), NULL, {"\"label\" is null"}},
    {"T15 columns swapped",
     "a.csv",
     RAW("text,label\nh,long long long long long long long long long long long long long long long long long long long "
         "long long long long long long long long long long long long long long long long long long long long long "
         "long long long "
         "long long long long long long long long long long long long long long long\n"),
     NULL,
     {"is it the text?"}},
    {"T16 blank lines",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\"}\n\n  \r\n{\"label\":\"h\",\"text\":\"y\"}\n"),
     "h=x|h=y",
     {"2 blank lines", "a.jsonl:2"}},
    {"T16 trailing comma",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\",}\n"),
     NULL,
     {"a.jsonl:1:25", "a key in quotes"}},
    {"T16 array", "a.json", RAW("[{\"label\":\"h\",\"text\":\"x\"}]\n"), NULL, {"a.json:1:1", "a JSON array"}},
    {"T16 two objects",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\"}{\"label\":\"h\",\"text\":\"y\"}\n"),
     NULL,
     {"a.jsonl:1:25", "more text behind"}},
    {"T16 object over lines", "a.jsonl", RAW("{\"label\":\"h\",\n\"text\":\"x\"}\n"), NULL, {"a.jsonl:1:14"}},
    {"T16 NaN",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\",\"weight\":NaN}\n"),
     NULL,
     {"a.jsonl:1:34", "not a JSON value"}},
    {"T16 Infinity",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\",\"weight\":-Infinity}\n"),
     NULL,
     {"a.jsonl:1:35", "broken number"}},
    {"T16 1e400",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\",\"weight\":1e400}\n"),
     NULL,
     {"weight 1e400 is no weight"}},
    {"T16 duplicate key",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":\"x\",\"t\\u0065xt\":\"y\"}\n"),
     NULL,
     {"a.jsonl:1:25", "\"text\" stands there twice"}},
    {"T16 not a string",
     "a.jsonl",
     RAW("{\"label\":\"h\",\"text\":[1,{\"a\":null}]}\n"),
     NULL,
     {"\"text\" is an array or object"}},
    {"T16 other members",
     "a.jsonl",
     RAW("{\"id\":[1,2,{\"x\":{}}],\"text\":\"x\",\"n\":-0.5e-3,\"label\":\"h\"}\n"),
     "h=x",
     {NULL}},
    {"T16 broken other member",
     "a.jsonl",
     RAW("{\"id\":[1,2,],\"text\":\"x\",\"label\":\"h\"}\n"),
     NULL,
     {"a.jsonl:1:12"}},
    {"T16 leading zero", "a.jsonl", RAW("{\"id\":01,\"text\":\"x\",\"label\":\"h\"}\n"), NULL, {"broken number"}},
    {"T16 control character",
     "a.jsonl",
     RAW("{\"text\":\"a\tb\",\"label\":\"h\"}\n"),
     NULL,
     {"a.jsonl:1:11", "control character"}},
    {"T17 semicolons", "a.csv", RAW("label;text\nh;x\n"), NULL, {"one column only", "semicolons"}},
    {"T17 tabs in CSV", "a.csv", RAW("label\ttext\nh\tx\n"), NULL, {"tabs: set data.format: tsv"}},
    {"T17 commas in TSV", "a.tsv", RAW(HEAD "h,x\n"), NULL, {"commas: set data.format: csv"}},
    {"T18 no line end", "a.csv", RAW(HEAD "h,x"), "h=x", {NULL}},
    {"T18 no line end TSV", "a.tsv", RAW("label\ttext\nh\tx"), "h=x", {NULL}},
    {"T18 quoted, no line end", "a.csv", RAW(HEAD "h,\"x\""), "h=x", {NULL}},
    {"T18 comma at the end", "a.csv", RAW(HEAD "h,"), "h=", {NULL}},
    {"T19 mixed line ends",
     "a.csv",
     RAW("label,text\r\nh,x\nh,y\r\n\nh,z"),
     "h=x|h=y|h=z",
     {"1 blank line", "a.csv:4"}},
    {"T19 CR in CSV", "a.csv", RAW(HEAD "h,x\rh,y\n"), NULL, {"a.csv:2:4", "a CR without LF"}},
    {"T19 CR at the end", "a.csv", RAW(HEAD "h,x\r"), "h=x", {NULL}},
    {"T19 old Mac TSV", "a.tsv", RAW("label\ttext\rh\tx\r"), NULL, {"no column \"text\""}},
    {"T20 scripts",
     "a.tsv",
     RAW("label\ttext\nh\t\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 \xD7\xA9\xD7\x9C\xE2\x80\xA8x\n"),
     "h=\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 \xD7\xA9\xD7\x9C\xE2\x80\xA8x",
     {NULL}},
    {"fastText",
     "a.txt",
     RAW("__label__h one two\r\n __label__s\tthree __label\n"),
     "h=one two|s=three __label",
     {NULL}},
    {"fastText two labels",
     "a.txt",
     RAW("__label__h x\n__label__h __label__s y\n"),
     NULL,
     {"a.txt:2:12", "a second label"}},
    {"fastText late label",
     "a.txt",
     RAW("__label__h x\n__label__h y __label__s\n"),
     NULL,
     {"a.txt:2:14", "a second label"}},
    {"fastText none", "a.txt", RAW("__label__h x\nno label here\n"), NULL, {"a.txt:2:1", "no __label__"}},
    {"fastText empty label", "a.txt", RAW("__label__h x\n__label__ y\n"), NULL, {"a.txt:2", "the label is empty"}},
    {"weights", "a.csv", RAW("label,text,weight\nh,x,2\nh,y,0.5\n"), "h=x*2|h=y*0.5", {NULL}},
    {"a bad weight", "a.csv", RAW("label,text,weight\nh,x,-1\n"), NULL, {"a.csv:2", "weight \"-1\""}},
    {"a hexadecimal weight", "a.csv", RAW("label,text,weight\nh,x,0x10\n"), NULL, {"weight \"0x10\""}},
    {"an infinite weight", "a.csv", RAW("label,text,weight\nh,x,1e999\n"), NULL, {"weight \"1e999\""}},
    {"other names", "a.csv", RAW("target,review\nh,x\n"), "h=x", {NULL}},
    {"zip", "a.csv", RAW("PK\3\4xxxx"), NULL, {"a zip archive"}},
    {"unknown", "a.txt", RAW("hello\n"), NULL, {"a.txt:1", "neither a table"}},
    {"told by content, TSV", "a.txt", RAW("label\ttext\nh\tx\n"), "h=x", {NULL}},
    {"told by content, JSONL", "data", RAW("\n{\"label\":\"h\",\"text\":\"x\"}\n"), "h=x", {"1 blank line"}},
};

static bool has_note(const hone_data *d, const char *words)
{
    for (int k = 0; k < d->note_count; k++)
        if (strstr(d->note[k], words)) return true;
    return false;
}

static void check_case(const char *root, const text_case *t)
{
    scratch_write(root, t->file, t->content, t->bytes);
    hone_config c = text_config(scratch_path(root, t->file));
    hone_data *d = NULL;
    hone_status s = data_open(&c, &d);
    if (t->rows) {
        if (s != HONE_OK) fail_msg("%s: %s", t->name, hone_error_message());
        char *rows = show(d, d->train);
        if (strcmp(rows, t->rows) != 0) fail_msg("%s: wanted \"%s\", got \"%s\"", t->name, t->rows, rows);
        for (int k = 0; k < 3 && t->says[k]; k++)
            if (!has_note(d, t->says[k])) fail_msg("%s: no note says \"%s\"", t->name, t->says[k]);
        free(rows);
        hone_data_free(d);
    } else {
        if (s != HONE_ERR_DATA) fail_msg("%s: status %d, wanted 3", t->name, s);
        for (int k = 0; k < 3 && t->says[k]; k++)
            if (!strstr(hone_error_message(), t->says[k]))
                fail_msg("%s: wanted \"%s\" in \"%s\"", t->name, t->says[k], hone_error_message());
        if (!*hone_error_hint()) fail_msg("%s: no fix is named", t->name);
    }
    unlink(scratch_path(root, t->file));
}

static void test_cases(void **state)
{
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) check_case(*state, &cases[k]);
}

/* --- against Python's csv module ---------------------------------------------------------------------------- */
/* Bytes of a run of hexadecimal digits; moves *p behind it. */
static bytes from_hex(const char **p)
{
    bytes b = {0};
    unsigned v;
    for (; sscanf(*p, "%2x", &v) == 1 && strspn(*p, "0123456789abcdef") >= 2; *p += 2) bytes_u8(&b, v);
    bytes_add(&b, "", 0);
    return b;
}

/* The rows of one case: hexadecimal label=text pairs. */
static void compare_golden(const hone_data *d, const char *p, int line)
{
    const hone_text_rows *t = hone_dataset_texts(d->train);
    int64_t n = 0;
    for (; *p == ' '; n++) {
        p++;
        bytes label = from_hex(&p);
        p += *p == '=';
        bytes text = from_hex(&p);
        if (n >= t->count) fail_msg("csv.txt:%d: %lld rows, more are wanted", line, (long long)t->count);
        const char *name = d->class_name[t->row[n].label];
        if (strlen(name) != label.count || memcmp(name, label.data, label.count) != 0 ||
            t->row[n].bytes != text.count || memcmp(t->row[n].text, text.data, text.count) != 0)
            fail_msg("csv.txt:%d: row %lld is \"%s\", \"%.*s\"", line, (long long)n, name, (int)t->row[n].bytes,
                     t->row[n].text);
        free(label.data);
        free(text.data);
    }
    if (n != t->count) fail_msg("csv.txt:%d: %lld rows, %lld are wanted", line, (long long)t->count, (long long)n);
}

/* 500 files: the fields that Python reads in strict mode, or a refusal where it refuses. */
static void test_golden_csv(void **state)
{
    FILE *f = fopen(HONE_TESTS_DIR "/golden/csv.txt", "r");
    static char text[1 << 14];
    int line = 0, refusals = 0;
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        const char *p = text;
        bytes content = from_hex(&p);
        scratch_write(*state, "g.csv", content.data, content.count);
        hone_config c = text_config(scratch_path(*state, "g.csv"));
        hone_data *d = NULL;
        hone_status s = data_open(&c, &d);
        line++;
        bool wanted = p[1] != '!';
        if ((s == HONE_OK) != wanted) fail_msg("csv.txt:%d: %s", line, wanted ? hone_error_message() : "is accepted");
        if (wanted) compare_golden(d, p, line);
        refusals += !wanted;
        hone_data_free(d);
        free(content.data);
    }
    fclose(f);
    assert_int_equal(line, 500);
    assert_true(refusals > 100 && refusals < 400); /* both kinds are there */
}

/* --- size ------------------------------------------------------------------------------------------------- */
/* T12, T16: one very long line, and nesting of 100,000; quick, and without deep recursion. */
static void test_large(void **state)
{
    const char *root = *state;
    size_t n = 20u << 20;
    char *big = malloc(n);
    assert_non_null(big);
    memset(big, 'x', n);
    memcpy(big, "label\ttext\nh\t", 13);
    scratch_write(root, "big.tsv", big, n);
    hone_config c = text_config(scratch_path(root, "big.tsv"));
    hone_data *d = opened(&c);
    assert_int_equal(hone_dataset_texts(d->train)->row[0].bytes, n - 13);
    hone_data_free(d);
    memset(big, '[', n);
    memcpy(big, "{\"label\":", 9);
    scratch_write(root, "deep.jsonl", big, 100000);
    c = text_config(scratch_path(root, "deep.jsonl"));
    refused_text(&c, "nested too deeply", "deep.jsonl:1:73");
    /* T13: a million words; T20: ten thousand marks on one letter */
    for (size_t k = 0; k < 2000000; k++) big[k] = k % 2 ? ' ' : 'w';
    memcpy(big, "__label__h ", 11);
    scratch_write(root, "words.txt", big, 2000000);
    c = text_config(scratch_path(root, "words.txt"));
    d = opened(&c);
    assert_int_equal(hone_dataset_texts(d->train)->row[0].bytes, 2000000 - 13);
    hone_data_free(d);
    memcpy(big, "label\ttext\nh\ta", 14);
    for (size_t k = 0; k < 10000; k++) memcpy(big + 14 + 2 * k, "\xCC\x81", 2);
    scratch_write(root, "marks.tsv", big, 14 + 20000);
    c = text_config(scratch_path(root, "marks.tsv"));
    d = opened(&c);
    assert_int_equal(hone_dataset_texts(d->train)->row[0].bytes, 20001);
    hone_data_free(d);
    free(big);
}

/* Every code point of every length, and every fault of two and three bytes, against the definition. */
static void test_utf8(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code += code < 0x3000 ? 1 : 13) {
        char text[5] = {0};
        uint32_t back = 0;
        if (code >= 0xD800 && code < 0xE000) continue;
        int n = hone_utf8_put(code, text);
        assert_int_equal(hone_utf8_check(text, (size_t)n, NULL), n);
        assert_int_equal(hone_utf8_next(text, &back), n);
        assert_int_equal(back, code);
        for (int k = 1; k < n; k++) assert_int_equal(hone_utf8_check(text, (size_t)k, NULL), 0); /* cut */
    }
    int good = 0;
    for (unsigned v = 0; v < 65536; v++) { /* all pairs of bytes: 128^2 of ASCII, 1920 of two */
        char pair[2] = {(char)(v >> 8), (char)v};
        good += hone_utf8_check(pair, 2, NULL) == 2;
    }
    assert_int_equal(good, 128 * 128 + 1920);
    good = 0;
    for (unsigned v = 0; v < 1u << 20; v++) { /* all triples that begin with E0..EF: 63488 - 2048 + ... code points */
        char triple[3] = {(char)(0xE0 | v >> 16), (char)(v >> 8), (char)v};
        good += hone_utf8_check(triple, 3, NULL) == 3;
    }
    assert_int_equal(good, 0x10000 - 0x800 - 0x800); /* U+0800..U+FFFF without surrogates */
    char run[64];                                    /* a fault at every place of a run that is passed in wide steps */
    for (int k = 0; k < 64; k++) {
        memset(run, 'a', sizeof run);
        run[k] = (char)0xFF;
        assert_int_equal(hone_utf8_check(run, sizeof run, NULL), k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cases, setup, teardown),
        cmocka_unit_test_setup_teardown(test_golden_csv, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
