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
#include <lzma.h>

#include "core/text.h"
#include "data/blob.h"
#include "data/files.h"
#include "data/texts.h"
#include "data/utf8.h"
#include "support/data_checks.h"

static hone_config text_config(const char *path)
{
    hone_config c = data_config(path);
    c.task = HONE_TASK_TEXT;
    c.data.val_fraction = 0;
    return c;
}

/* A printable form of rows: "label=text|label=text"; line ends as \n, second texts behind a tilde. */
static char *show(const hone_data *d, const hone_dataset *set)
{
    hone_text t = {0};
    const hone_text_rows *texts = hone_dataset_texts(set);
    hone_text_add(&t, "%s", "");
    for (int64_t i = 0; i < texts->count; i++) {
        const hone_text_row *r = &texts->row[i];
        hone_text_add(&t, "%s%s=", i ? "|" : "", d->class_name[r->label]);
        for (uint32_t k = 0; k < r->bytes; k++) {
            if (r->text[k] == '\n') hone_text_append(&t, "\\n", 2);
            else if (r->text[k] == '\r') hone_text_append(&t, "\\r", 2);
            else if (r->text[k] == '\t') hone_text_append(&t, "\\t", 2);
            else hone_text_append(&t, &r->text[k], 1);
        }
        if (r->second) hone_text_add(&t, "~%.*s", (int)r->second_bytes, r->second);
        if (r->weight != 1) hone_text_add(&t, "*%g", (double)r->weight);
    }
    return hone_text_take(&t);
}

typedef struct text_case {
    const char *name, *file, *content;
    size_t bytes;        /* 0: strlen(content)                                    */
    const char *rows;    /* what must be read, or NULL                            */
    const char *says[3]; /* words of the refusal, or of a note where rows are given */
} text_case;
#define RAW(s) (s), sizeof(s) - 1

#define HEAD "label,text\n"
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

/* --- packing ---------------------------------------------------------------------------------------------- */
static void scratch_xz(const char *root, const char *name, const char *text)
{
    static uint8_t out[65536];
    size_t n = 0;
    assert_int_equal(
        lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text, strlen(text), out, &n, sizeof out),
        LZMA_OK);
    scratch_write(root, name, out, n);
}

static void wanted_rows(const char *path, const char *rows)
{
    hone_config c = text_config(path);
    hone_data *d = opened(&c);
    char *got = show(d, d->train);
    assert_string_equal(got, rows);
    free(got);
    hone_data_free(d);
}

static void refused_text(const hone_config *c, const char *what, const char *where)
{
    hone_data *d = NULL;
    hone_status s = data_open(c, &d);
    const char *m = hone_error_message();
    if (s == HONE_OK || !strstr(m, what) || !strstr(m, where))
        fail_msg("wanted \"%s\" and \"%s\", got %d \"%s\"", what, where, s, m);
    assert_true(*hone_error_hint() != '\0');
}

/* T24 and round trips: the same rows from plain, gz, several gz members and xz, whatever the name says. */
static void test_packed(void **state)
{
    const char *root = *state;
    bytes b = {0};
    const char *text = "label\ttext\nh\tone\ns\ttwo\n";
    bytes_add(&b, text, strlen(text));
    scratch_gzip(root, "a.csv.gz", b);
    scratch_gzip(root, "a.tsv.gz", b);
    scratch_gzip(root, "a.tsv", b); /* T24: packed, though its name doesn't say so */
    scratch_xz(root, "b.tsv.xz", text);
    wanted_rows(scratch_path(root, "a.tsv.gz"), "h=one|s=two");
    wanted_rows(scratch_path(root, "a.tsv"), "h=one|s=two");
    wanted_rows(scratch_path(root, "b.tsv.xz"), "h=one|s=two");
    hone_config c = text_config(scratch_path(root, "a.csv.gz"));
    refused_text(&c, "tabs", "a.csv.gz:1");
    /* cut anywhere, and with something behind: refused */
    uint8_t *data;
    size_t n;
    assert_int_equal(hone_bytes_read(scratch_path(root, "a.tsv.gz"), 1 << 20, &data, &n), HONE_OK);
    for (size_t k = 3; k < n; k++) {
        scratch_write(root, "cut.tsv", data, k);
        c = text_config(scratch_path(root, "cut.tsv"));
        refused_text(&c, "cut.tsv", "");
    }
    bytes two = {0};
    bytes_add(&two, data, n);
    bytes_add(&two, "junk", 4);
    scratch_write(root, "junk.tsv", two.data, two.count);
    c = text_config(scratch_path(root, "junk.tsv"));
    refused_text(&c, "junk.tsv", "");
    free(data);
    free(two.data);
    free(b.data);
    assert_int_equal(hone_bytes_read(scratch_path(root, "b.tsv.xz"), 1 << 20, &data, &n), HONE_OK);
    for (size_t k = 6; k < n; k++) {
        scratch_write(root, "cut.tsv", data, k);
        c = text_config(scratch_path(root, "cut.tsv"));
        refused_text(&c, "cut.tsv", "");
    }
    free(data);
}

/* Whatever the system returns at once, the content is the same: 1, 2, 3 and 4096 bytes a read. */
static void test_chunks(void **state)
{
    const char *root = *state;
    bytes text = {0}, two = {0};
    for (int k = 0; k < 3000; k++) bytes_u8(&text, k % 60 == 59 ? '\n' : (unsigned)(' ' + k * 7 % 90));
    scratch_write(root, "plain", text.data, text.count);
    scratch_gzip(root, "gz", text);
    uint8_t *gz;
    size_t n;
    assert_int_equal(hone_bytes_read(scratch_path(root, "gz"), 1 << 20, &gz, &n), HONE_OK);
    bytes_add(&two, gz, n); /* two members, zeros between and behind */
    bytes_add(&two, "\0\0\0", 3);
    bytes_add(&two, gz, n);
    bytes_add(&two, "\0", 1);
    scratch_write(root, "members", two.data, two.count);
    bytes_u8(&text, 0);
    scratch_xz(root, "xz", (const char *)text.data);
    static const char *const name[] = {"plain", "gz", "members", "xz"};
    static const size_t chunk[] = {1, 2, 3, 4096, 0};
    for (size_t f = 0; f < 4; f++)
        for (size_t k = 0; k < 5; k++) {
            hone_blob blob;
            if (hone_blob_read(scratch_path(root, name[f]), 1 << 20, chunk[k], &blob) != HONE_OK)
                fail_msg("%s", hone_error_message());
            size_t times = f == 2 ? 2 : 1;
            assert_int_equal(blob.bytes, times * 3000);
            for (size_t i = 0; i < times; i++) assert_memory_equal(blob.data + i * 3000, text.data, 3000);
            assert_int_equal(blob.data[blob.bytes], '\n');
            free(blob.memory);
        }
    hone_blob blob;
    assert_int_equal(hone_blob_read(scratch_path(root, "gz"), 2999, 0, &blob),
                     HONE_ERR_DATA); /* a bomb meets its limit */
    assert_int_equal(hone_blob_read(scratch_path(root, "xz"), 2999, 0, &blob), HONE_ERR_DATA);
    assert_int_equal(hone_blob_read(scratch_path(root, "plain"), 2999, 0, &blob), HONE_ERR_DATA);
    free(gz);
    free(text.data);
    free(two.data);
}

/* --- splits ----------------------------------------------------------------------------------------------- */
static void test_folder_of_tables(void **state)
{
    const char *root = *state;
    scratch_text(root, "set/train.tsv", "label\ttext\nb\tone\na\ttwo\nc\tthree\n");
    scratch_text(root, "set/valid.csv", "text,label\nfour,a\n");
    scratch_text(root, "set/test.jsonl", "{\"text\":\"five\",\"label\":\"c\"}\n");
    scratch_text(root, "set/README.md", "not data");
    hone_config c = text_config(scratch_path(root, "set"));
    hone_data *d = opened(&c);
    char place[64];
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->class_name[0], "a"); /* sorted, not in the order of rows */
    assert_int_equal(hone_dataset_labels(d->train)[0], 1);
    assert_int_equal(hone_dataset_count(d->val), 1);
    assert_int_equal(hone_dataset_labels(d->val)[0], 0);
    assert_int_equal(hone_dataset_labels(d->test)[0], 2);
    assert_string_equal(hone_dataset_source(d->train, 2, place, sizeof place), "train.tsv:4");
    assert_null(hone_dataset_weights(d->train));
    uint64_t before = d->fingerprint;
    hone_data_free(d);
    /* T14: a class that only val has */
    scratch_text(root, "set/valid.csv", "text,label\nfour,a\nfive,d\n");
    refused_text(&c, "class \"d\" is in val (first: valid.csv:3), but not in train", "");
    scratch_text(root, "set/valid.csv", "text,label\nfour,b\n");
    d = opened(&c);
    assert_true(d->fingerprint != before); /* D14: other content is other data */
    hone_data_free(d);
    scratch_text(root, "set/val.tsv", "label\ttext\na\tx\n");
    refused_text(&c, "both val.tsv and valid.csv are there", "set");
    unlink(scratch_path(root, "set/val.tsv"));
    scratch_text(root, "two/one.csv", HEAD "h,x\n");
    scratch_text(root, "two/other.csv", HEAD "h,x\n");
    c = text_config(scratch_path(root, "two"));
    refused_text(&c, "several tables (one.csv, other.csv)", "two");
    c = text_config(scratch_path(root, "none"));
    refused_text(&c, "no such file or folder", "none");
    scratch_text(root, "odd/file.bin", "x");
    c = text_config(scratch_path(root, "odd"));
    refused_text(&c, "no text data of a known format", "odd");
}

static void test_named_splits(void **state)
{
    const char *root = *state;
    scratch_text(
        root, "t.csv",
        "w,class,sentence,other,part\n1,h,a,b,train\n2,s,c,d,dev\n3,h,e,f,train\n1,s,g,h,train\n1,h,i,j,test\n");
    hone_config c = text_config(scratch_path(root, "t.csv"));
    c.data.columns.second = (char *)"other";
    c.data.columns.weight = (char *)"w";
    c.data.columns.split = (char *)"part";
    hone_data *d = opened(&c);
    char *rows = show(d, d->train), *val = show(d, d->val), *test = show(d, d->test);
    assert_string_equal(rows, "h=a~b|h=e~f*3|s=g~h");
    assert_string_equal(val, "s=c~d*2");
    assert_string_equal(test, "h=i~j");
    assert_true(hone_dataset_weights(d->train)[1] == 3.0f);
    free(rows), free(val), free(test);
    hone_data_free(d);
    c.data.columns.split = (char *)"other";
    refused_text(&c, "data.columns.second and split are the same column", "t.csv:1");
    c.data.columns.second = NULL;
    refused_text(&c, "split \"b\" is not known", "t.csv:2");
    c.data.columns.split = (char *)"prt";
    refused_text(&c, "no column \"prt\"", "did you mean \"part\"?");
    /* no header: columns by number */
    scratch_text(root, "n.tsv", "spam\tbuy\nham\thello\n");
    c = text_config(scratch_path(root, "n.tsv"));
    c.data.columns.label = (char *)"1";
    refused_text(&c, "numbers, but none for input", "n.tsv:1");
    c.data.columns.input = (char *)"3";
    refused_text(&c, "data.columns.input is 3, but there are 2 columns", "n.tsv:1");
    c.data.columns.input = (char *)"2";
    d = opened(&c);
    rows = show(d, d->train);
    assert_string_equal(rows, "spam=buy|ham=hello");
    free(rows);
    hone_data_free(d);
    /* a header of numbers is a header */
    scratch_text(root, "n.tsv", "1\t2\nham\thello\n");
    d = opened(&c);
    rows = show(d, d->train);
    assert_string_equal(rows, "ham=hello");
    free(rows);
    hone_data_free(d);
    /* quoted, without a header: the first row is split once only */
    scratch_text(root, "n.csv", "h,\"a \"\"b\"\", c\"\nh,x\n");
    c.data.path = (char *)scratch_path(root, "n.csv");
    d = opened(&c);
    rows = show(d, d->train);
    assert_string_equal(rows, "h=a \"b\", c|h=x");
    free(rows);
    hone_data_free(d);
}

static void test_class_folders(void **state)
{
    const char *root = *state;
    scratch_text(root, "mail/train/spam/1", "buy");
    scratch_text(root, "mail/train/spam/2.txt", "now\n");
    scratch_text(root, "mail/train/ham/1.txt", "hello");
    scratch_text(root, "mail/train/ham/.hidden", "x");
    scratch_text(root, "mail/test/ham/9.txt", "bye");
    hone_config c = text_config(scratch_path(root, "mail"));
    hone_data *d = opened(&c);
    char *rows = show(d, d->train), place[64];
    assert_string_equal(rows, "ham=hello|spam=buy|spam=now\\n");
    assert_string_equal(hone_dataset_source(d->train, 1, place, sizeof place), "train/spam/1");
    assert_int_equal(hone_dataset_count(d->test), 1);
    free(rows);
    hone_data_free(d);
    wanted_rows(scratch_path(root, "mail/train"), "ham=hello|spam=buy|spam=now\\n");
    scratch_text(root, "mail/test/junk/1", "x");
    refused_text(&c, "class \"junk\" is in test (first: test/junk/1)", "");
    scratch_write(root, "mail/train/ham/3.txt", "caf\xE9", 4);
    refused_text(&c, "ham/3.txt:1:4: not UTF-8", "0xE9");
}

/* data.val_fraction: of each class, the same rows for the same seed, all rows in one of the two. */
static void test_val_fraction(void **state)
{
    const char *root = *state;
    hone_text t = {0};
    hone_text_add(&t, "label\ttext\n");
    for (int i = 0; i < 200; i++) hone_text_add(&t, "%s\trow %d\n", i % 4 ? "many" : "few", i);
    scratch_text(root, "v.tsv", t.data);
    hone_text_free(&t);
    hone_config c = text_config(scratch_path(root, "v.tsv"));
    c.data.val_fraction = 0.1;
    hone_data *d = opened(&c), *again = opened(&c);
    assert_int_equal(hone_dataset_count(d->val), 20);
    int few = 0, seen[200] = {0};
    for (int64_t i = 0; i < 20; i++) few += hone_dataset_labels(d->val)[i] == 0;
    assert_int_equal(few, 5);
    for (int k = 0; k < 2; k++) {
        const hone_text_rows *a = hone_dataset_texts(k ? d->val : d->train),
                             *b = hone_dataset_texts(k ? again->val : again->train);
        for (int64_t i = 0; i < a->count; i++) {
            assert_int_equal(a->row[i].line, b->row[i].line);
            seen[a->row[i].line - 2]++;
        }
    }
    for (int i = 0; i < 200; i++) assert_int_equal(seen[i], 1);
    /* eval finds the same cut, and the whole set as "test" */
    hone_dataset *e = NULL;
    hone_preprocess pre = {0};
    const char *const names[] = {"many", "few"}; /* the model's own order */
    assert_int_equal(hone_data_open_eval(NULL, "val", &c, &pre, 2, names, &e), HONE_OK);
    assert_int_equal(hone_dataset_count(e), 20);
    for (int64_t i = 0; i < 20; i++) {
        assert_int_equal(hone_dataset_texts(e)->row[i].line, hone_dataset_texts(d->val)->row[i].line);
        assert_int_equal(hone_dataset_labels(e)[i], 1 - hone_dataset_labels(d->val)[i]);
    }
    hone_dataset_free(e);
    assert_int_equal(hone_data_open_eval(c.data.path, NULL, &c, &pre, 2, names, &e), HONE_OK);
    assert_int_equal(hone_dataset_count(e), 200);
    hone_dataset_free(e);
    const char *const other[] = {"many", "fewer"};
    assert_int_equal(hone_data_open_eval(c.data.path, NULL, &c, &pre, 2, other, &e), HONE_ERR_DATA);
    assert_non_null(
        strstr(hone_error_message(), "class \"few\" is in the data (first: v.tsv:2), but not in the model"));
    assert_int_equal(hone_data_open_eval(NULL, "tset", &c, &pre, 2, names, &e), HONE_ERR_USAGE);
    hone_data_free(d);
    hone_data_free(again);
    c.train.seed = 2;
    again = opened(&c);
    hone_data_free(again);
}

/* on_error: skip names, counts and leaves out; only what is broken. */
static void test_skip(void **state)
{
    const char *root = *state;
    scratch_write(root, "s.csv", RAW("label,text\nh,a\nh,caf\xE9\nh,b,c\n,d\nh,\"e\"f\nh,g\n"));
    scratch_text(root, "s.jsonl",
                 "{\"label\":\"h\",\"text\":\"a\"}\n{\"label\":\"h\"}\nnonsense\n{\"label\":\"h\",\"text\":\"b\"}\n");
    scratch_text(root, "s.txt", "__label__h a\nno\n__label__h __label__i b\n__label__h b\n");
    static const char *const file[] = {"s.csv", "s.jsonl", "s.txt"}, *const rows[] = {"h=a|h=g", "h=a|h=b", "h=a|h=b"};
    static const char *const first[] = {"s.csv:3: not UTF-8", "s.jsonl:2: no \"text\"", "s.txt:2:1: no __label__"};
    static const int count[] = {4, 2, 2};
    for (int k = 0; k < 3; k++) {
        hone_config c = text_config(scratch_path(root, file[k]));
        c.data.on_error = HONE_ON_ERROR_SKIP;
        hone_data *d = opened(&c);
        const char *const *reason;
        char *got = show(d, d->train);
        assert_string_equal(got, rows[k]);
        assert_int_equal(hone_dataset_skipped(d->train, &reason), count[k]);
        if (!strstr(reason[0], first[k])) fail_msg("wanted \"%s\" in \"%s\"", first[k], reason[0]);
        free(got);
        hone_data_free(d);
    }
    /* an open quote swallows the rest: no row can be told from another, so that stays an error */
    scratch_text(root, "s.csv", HEAD "h,\"x\nh,y\n");
    hone_config c = text_config(scratch_path(root, "s.csv"));
    c.data.on_error = HONE_ON_ERROR_SKIP;
    refused_text(&c, "no training rows", "s.csv");
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
        cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_of_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_named_splits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_class_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_val_fraction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
