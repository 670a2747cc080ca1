/* test_text_splits.c - files of text as they lie about: packed, cut, in folders, split by name, by column or by chance.
 * rooms: data config io core
 *
 * All files are made here, in a folder that goes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <lzma.h>

#include "data/blob.h"
#include "data/files.h"
#include "support/text_rows.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_of_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_named_splits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_class_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_val_fraction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
