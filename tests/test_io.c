/* test_io.c - safetensors, small files, the run directory: hostile bytes are refused by name, what is
 * written is read back, and a failure at any single I/O call leaves the old file or the new one.
 * rooms: io core */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"
#include "io/run_dir.h"
#include "io/safetensors.h"

/* --- a scratch folder a test ------------------------------------------------------------------------- */

static int make_scratch(void **state)
{
    /* memory where there is some: these tests fsync thousands of times */
    char template[64];
    snprintf(template, sizeof template, "%s/hone-io-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_scratch(void **state)
{
    hone_fault_set(0, HONE_FAULT_NONE);
    int failed = hone_io_remove_tree(*state) != HONE_OK;
    free(*state);
    return failed;
}

static char *in(void **state, const char *name)
{
    static char path[4][512];
    static int turn;
    char *p = path[turn++ & 3];
    snprintf(p, 512, "%s/%s", (const char *)*state, name);
    return p;
}

static void put_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* --- hostile safetensors -------------------------------------------------------------------------------- */

/* Length prefix, header, `data_bytes` bytes counting up. */
static hone_status open_made(const char *header, size_t header_bytes, uint64_t claimed, size_t data_bytes,
                             hone_safetensors **s)
{
    size_t bytes = 8 + header_bytes + data_bytes;
    char *file = malloc(bytes);
    assert_non_null(file);
    for (int k = 0; k < 8; k++) file[k] = (char)(claimed >> (8 * k));
    memcpy(file + 8, header, header_bytes);
    for (size_t k = 0; k < data_bytes; k++) file[8 + header_bytes + k] = (char)k;
    return hone_safetensors_from_memory("made.safetensors", file, bytes, s);
}

typedef struct hostile {
    const char *what, *header;
    size_t data_bytes;
    const char *message; /* part that must be in the message; NULL: the file is good */
} hostile;

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const hostile cases[] = {
    {"good", "{" T("a", "F32", "[2]", 0, 8) "," T("b", "U8", "[3]", 8, 11) "}", 11, NULL},
    {"trailing spaces", "{" T("a", "F32", "[2]", 0, 8) "}     ", 8, NULL},
    {"rank 0", "{" T("a", "F32", "[]", 0, 4) "}", 4, NULL},
    {"size 0", "{" T("a", "F32", "[0]", 0, 0) "," T("b", "F32", "[1]", 0, 4) "}", 4, NULL},
    {"size 0 at the end", "{" T("b", "F32", "[1]", 0, 4) "," T("a", "F32", "[3,0]", 4, 4) "}", 4, NULL},
    {"size 0 with a huge dimension", "{" T("a", "F32", "[0,9000000000000000000,9000000000000000000]", 0, 0) "}", 0,
     NULL},
    {"no tensors", "{}", 0, NULL},
    {"misaligned", "{" T("b", "U8", "[3]", 0, 3) "," T("a", "F64", "[2]", 3, 19) "}", 19, NULL},
    {"metadata", "{\"__metadata__\":{\"k\":\"v\"}," T("a", "I64", "[1]", 0, 8) "}", 8, NULL},
    {"not an object", "[1]", 0, "begin with {"},
    {"leading space", " {}", 0, "begin with {"},
    {"empty header", "", 0, "begin with {"},
    {"trailing garbage", "{}x", 0, "JSON"},
    {"two objects", "{}{}", 0, "JSON"},
    {"not UTF-8", "{" T("\xff\xfe", "F32", "[1]", 0, 4) "}", 4, "JSON"},
    {"surrogate", "{" T("\\ud800", "F32", "[1]", 0, 4) "}", 4, "JSON"},
    {"NUL in a name", "{" T("a\\u0000b", "F32", "[1]", 0, 4) "}", 4, "JSON"},
    {"duplicate", "{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "JSON"},
    {"duplicate by escape", "{" T("a", "F32", "[1]", 0, 4) "," T("\\u0061", "F32", "[1]", 4, 8) "}", 8, "JSON"},
    {"overlap", "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, "overlap"},
    {"equal ranges", "{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 0, 8) "}", 8, "overlap"},
    {"hole", "{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12, "belong to none"},
    {"hole at the start", "{" T("a", "F32", "[1]", 4, 8) "}", 8, "belong to none"},
    {"extra bytes", "{" T("a", "F32", "[1]", 0, 4) "}", 5, "belong to none"},
    {"extra bytes, no tensors", "{}", 5, "belong to none"},
    {"reversed", "{" T("a", "F32", "[1]", 8, 4) "}", 8, "backwards"},
    {"past the end", "{" T("a", "F32", "[2]", 0, 8) "}", 7, "cut off"},
    {"far past the end", "{" T("a", "F32", "[2]", 9223372036854775800, 9223372036854775807) "}", 8, "cut off"},
    {"offset over 2^63", "{" T("a", "F32", "[1]", 0, 9223372036854775812) "}", 4, "JSON"},
    {"negative offset", "{" T("a", "F32", "[1]", -4, 0) "}", 4, "whole numbers"},
    {"real offset", "{" T("a", "F32", "[1]", 0, 4.0) "}", 4, "whole numbers"},
    {"three offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "whole numbers"},
    {"shape overflow", "{" T("a", "F32", "[4294967296,4294967296]", 0, 4) "}", 4, "overflows"},
    {"shape overflows to the right size", "{" T("a", "F32", "[4611686018427387905]", 0, 4) "}", 4, "overflows"},
    {"negative dimension", "{" T("a", "F32", "[-1]", 0, 4) "}", 4, "whole number"},
    {"dimension 1e20", "{" T("a", "F32", "[1e20]", 0, 4) "}", 4, "whole number"},
    {"dimension 1.0", "{" T("a", "F32", "[1.0]", 0, 4) "}", 4, "whole number"},
    {"dimension of text", "{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, "whole number"},
    {"rank 9", "{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "rank"},
    {"shape is no list", "{" T("a", "F32", "1", 0, 4) "}", 4, "not a list"},
    {"unknown dtype", "{" T("a", "F4", "[2]", 0, 1) "}", 1, "dtype F4"},
    {"dtype and size", "{" T("a", "F64", "[2]", 0, 8) "}", 8, "need 16"},
    {"entry is a number", "{\"a\":1}", 0, "exactly"},
    {"extra key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "exactly"},
    {"missing key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"y\":[0,1]}}", 1, "exactly"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, "__metadata__"},
    {"metadata of numbers", "{\"__metadata__\":{\"k\":1}}", 0, "__metadata__"},
    {"NaN", "{" T("a", "F32", "[NaN]", 0, 4) "}", 4, "JSON"},
};

static void test_hostile_headers(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const hostile *c = &cases[k];
        hone_safetensors *s = NULL;
        hone_status status = open_made(c->header, strlen(c->header), strlen(c->header), c->data_bytes, &s);
        if (!c->message) {
            if (status != HONE_OK) fail_msg("%s: refused: %s", c->what, hone_error_message());
            hone_safetensors_close(s);
            continue;
        }
        if (status == HONE_OK) fail_msg("%s: accepted", c->what);
        if (status != HONE_ERR_DATA) fail_msg("%s: status %d", c->what, status);
        if (!strstr(hone_error_message(), c->message) || !strstr(hone_error_message(), "made.safetensors"))
            fail_msg("%s: message is \"%s\"", c->what, hone_error_message());
    }
}

static void test_header_lengths(void **state)
{
    (void)state;
    static const uint64_t claims[] = {3, 100000001, 1ull << 63, UINT64_MAX, UINT64_MAX - 7, 1ull << 32};
    hone_safetensors *s = NULL;
    for (size_t k = 0; k < sizeof claims / sizeof *claims; k++)
        assert_int_equal(open_made("{}", 2, claims[k], 0, &s), HONE_ERR_DATA);
    for (size_t bytes = 0; bytes < 8; bytes++)
        assert_int_equal(hone_safetensors_from_memory("short", calloc(bytes + 1, 1), bytes, &s), HONE_ERR_DATA);
}

static void test_nesting_and_floods(void **state)
{
    (void)state;
    enum { DEEP = 300000 };
    hone_safetensors *s = NULL;
    char *text = malloc(DEEP + 8);
    assert_non_null(text);
    text[0] = '{';
    memcpy(text + 1, "\"a\":", 4);
    memset(text + 5, '[', DEEP - 5);
    assert_int_equal(open_made(text, DEEP, DEEP, 0, &s), HONE_ERR_DATA);
    free(text);
    enum { FLOOD = 4000002 };
    text = malloc(FLOOD + 1);
    assert_non_null(text);
    memset(text, ',', FLOOD + 1);
    text[0] = '{';
    assert_int_equal(open_made(text, FLOOD + 1, FLOOD + 1, 0, &s), HONE_ERR_DATA);
    assert_non_null(strstr(hone_error_message(), "values"));
    free(text);
}

static void test_misaligned_is_aligned(void **state)
{
    (void)state;
    hone_safetensors *s = NULL;
    const char *header = "{" T("b", "U8", "[3]", 0, 3) "," T("a", "F64", "[2]", 3, 19) "}";
    assert_int_equal(open_made(header, strlen(header), strlen(header), 19, &s), HONE_OK);
    const hone_blob *a = hone_safetensors_find(s, "a");
    assert_non_null(a);
    assert_int_equal((uintptr_t)a->data % 8, 0);
    for (int k = 0; k < 16; k++) assert_int_equal(((const unsigned char *)a->data)[k], k + 3);
    assert_null(hone_safetensors_find(s, "c"));
    hone_safetensors_close(s);
}

/* --- writing --------------------------------------------------------------------------------------------- */

enum { BLOBS = 4 };
static const float weights[6] = {1.5f, -2.0f, 0.0f, -0.0f, 3e-45f, 3.4e38f};
static const int64_t counter = 1234567890123;
static const uint8_t bytes3[3] = {7, 8, 9};

static void make_blobs(hone_blob blob[BLOBS])
{
    blob[0] = (hone_blob){"z.weight", HONE_F32, 2, {2, 3}, weights, sizeof weights};
    blob[1] = (hone_blob){"quote\"\\\n", HONE_U8, 1, {3}, bytes3, sizeof bytes3};
    blob[2] = (hone_blob){"a.bias", HONE_F32, 0, {0}, weights + 1, 4};
    blob[3] = (hone_blob){"count", HONE_I64, 1, {1}, &counter, 8};
}

static void test_write_and_read(void **state)
{
    hone_blob blob[BLOBS];
    const char *const metadata[] = {"epoch", "3", NULL};
    const char *const order[] = {"count", "a.bias", "z.weight", "quote\"\\\n"}; /* dtype size down, then name */
    hone_safetensors *s;
    char *raw, *path = in(state, "m.safetensors");
    size_t bytes;
    make_blobs(blob);
    assert_int_equal(hone_safetensors_write(path, blob, BLOBS, metadata), HONE_OK);
    assert_int_equal(hone_file_read(path, 1 << 20, &raw, &bytes), HONE_OK);
    assert_int_equal((unsigned char)raw[0] % 8, 0);
    assert_memory_equal(raw + 8, "{\"__metadata__\":{\"format\":\"pt\",\"epoch\":\"3\"}", 43);
    free(raw);
    assert_int_equal(hone_safetensors_open(path, &s), HONE_OK);
    assert_int_equal(hone_safetensors_count(s), BLOBS);
    for (int k = 0; k < BLOBS; k++) assert_string_equal(hone_safetensors_blob(s, k)->name, order[k]);
    for (int k = 0; k < BLOBS; k++) {
        const hone_blob *b = hone_safetensors_find(s, blob[k].name);
        assert_non_null(b);
        assert_int_equal(b->dtype, blob[k].dtype);
        assert_int_equal(b->rank, blob[k].rank);
        assert_int_equal(b->bytes, blob[k].bytes);
        assert_memory_equal(b->data, blob[k].data, b->bytes);
    }
    assert_string_equal(hone_safetensors_metadata(s, "epoch"), "3");
    assert_null(hone_safetensors_metadata(s, "none"));
    hone_safetensors_close(s);
}

static void test_write_refuses(void **state)
{
    hone_blob blob[BLOBS];
    make_blobs(blob);
    blob[2].name = "z.weight";
    assert_int_equal(hone_safetensors_write(in(state, "m"), blob, BLOBS, NULL), HONE_ERR_USAGE);
    make_blobs(blob);
    blob[0].dim[0] = 3;
    assert_int_equal(hone_safetensors_write(in(state, "m"), blob, BLOBS, NULL), HONE_ERR_USAGE);
    make_blobs(blob);
    assert_int_equal(hone_safetensors_write(in(state, "no/such/m"), blob, BLOBS, NULL), HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "no/such/m"));
}

static void test_truncated(void **state)
{
    hone_blob blob[BLOBS];
    char *raw, *path = in(state, "m.safetensors"), *cut = in(state, "cut.safetensors");
    size_t bytes;
    make_blobs(blob);
    assert_int_equal(hone_safetensors_write(path, blob, BLOBS, NULL), HONE_OK);
    assert_int_equal(hone_file_read(path, 1 << 20, &raw, &bytes), HONE_OK);
    for (size_t k = 0; k < 64; k++) {
        hone_safetensors *s;
        put_file(cut, raw, bytes * k / 64);
        assert_int_equal(hone_safetensors_open(cut, &s), HONE_ERR_DATA);
    }
    free(raw);
}

/* --- small files -------------------------------------------------------------------------------------------- */

static void test_read_refuses(void **state)
{
    char *data;
    size_t bytes;
    put_file(in(state, "f"), "12345", 5);
    assert_int_equal(hone_file_read(in(state, "f"), 5, &data, &bytes), HONE_OK);
    assert_string_equal(data, "12345");
    assert_int_equal(bytes, 5);
    free(data);
    assert_int_equal(hone_file_read(in(state, "f"), 4, &data, &bytes), HONE_ERR_RUNTIME);
    assert_int_equal(hone_file_read(in(state, "none"), 4, &data, &bytes), HONE_ERR_RUNTIME);
    assert_int_equal(hone_file_read(*state, 4, &data, &bytes), HONE_ERR_RUNTIME);
    assert_int_equal(hone_file_read("/dev/zero", 4, &data, &bytes), HONE_ERR_RUNTIME);
    assert_int_equal(mkfifo(in(state, "fifo"), 0600), 0); /* must not block */
    assert_int_equal(hone_file_read(in(state, "fifo"), 4, &data, &bytes), HONE_ERR_RUNTIME);
    assert_int_equal(symlink("loop", in(state, "loop")), 0);
    assert_int_equal(hone_file_read(in(state, "loop"), 4, &data, &bytes), HONE_ERR_RUNTIME);
}

static void test_make_dirs(void **state)
{
    char *path = in(state, "a//b/c/");
    struct stat s;
    assert_int_equal(hone_make_dirs(path), HONE_OK);
    assert_int_equal(hone_make_dirs(path), HONE_OK);
    assert_int_equal(stat(path, &s), 0);
    put_file(in(state, "file"), "", 0);
    assert_int_equal(hone_make_dirs(in(state, "file/x")), HONE_ERR_RUNTIME);
    assert_int_equal(hone_make_dirs(in(state, "file")), HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "in the way"));
}

/* After a fault at call k of replacing "old" by "new": which is there? Never anything else, and where
 * the write said OK, it is the new one. */
static void check_replaced(const char *path, bool said_ok)
{
    char *data;
    assert_int_equal(hone_file_read(path, 100, &data, NULL), HONE_OK);
    if (strcmp(data, "new") != 0) assert_false(said_ok);
    if (strcmp(data, "new") != 0) assert_string_equal(data, "old");
    free(data);
}

static void test_every_fault_of_a_small_file(void **state)
{
    char *path = in(state, "f");
    hone_fault_set(0, HONE_FAULT_NONE);
    assert_int_equal(hone_file_write(path, "old", 3), HONE_OK);
    int64_t calls = hone_fault_calls();
    assert_in_range(calls, 7, 12); /* open write fsync close rename, and open fsync close of the folder */
    for (int64_t k = 1; k <= calls; k++) {
        for (int mode = HONE_FAULT_KILL; mode <= HONE_FAULT_SHORT; mode++) {
            put_file(path, "old", 3);
            pid_t child = mode == HONE_FAULT_KILL ? fork() : 0;
            if (child == 0) {
                hone_fault_set(k, (hone_fault_mode)mode);
                hone_status status = hone_file_write(path, "new", 3);
                hone_fault_set(0, HONE_FAULT_NONE);
                if (mode == HONE_FAULT_KILL) _exit(1); /* the switch did not fire */
                bool harmless = mode == HONE_FAULT_EINTR || mode == HONE_FAULT_SHORT;
                assert_int_equal(status, harmless ? HONE_OK : HONE_ERR_RUNTIME);
                if (!harmless) assert_non_null(strstr(hone_error_message(), (char *)*state));
                check_replaced(path, status == HONE_OK);
            } else {
                int how;
                waitpid(child, &how, 0);
                assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
                check_replaced(path, false);
            }
        }
    }
}

static void test_disk_full_names_bytes(void **state)
{
    hone_blob blob[BLOBS];
    make_blobs(blob);
    hone_fault_set(2, HONE_FAULT_ENOSPC);
    hone_status status = hone_safetensors_write(in(state, "m.safetensors"), blob, BLOBS, NULL);
    hone_fault_set(0, HONE_FAULT_NONE);
    assert_int_equal(status, HONE_ERR_RUNTIME);
    assert_non_null(strstr(hone_error_message(), "m.safetensors"));
    assert_non_null(strstr(hone_error_message(), "needs "));
    assert_non_null(strstr(hone_error_message(), "bytes"));
    assert_int_equal(access(in(state, "m.safetensors"), F_OK), -1);
}

/* --- run directory --------------------------------------------------------------------------------------- */

static void test_lock(void **state)
{
    hone_run_dir r, again;
    assert_int_equal(hone_run_dir_open(in(state, "run"), &r), HONE_OK);
    assert_int_equal(hone_run_dir_open(in(state, "run"), &again), HONE_ERR_RUNTIME);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(hone_error_message(), pid));
    hone_run_dir_close(&r);
    assert_int_equal(hone_run_dir_open(in(state, "run"), &again), HONE_OK);
    hone_run_dir_close(&again);
}

static void check_text(const char *path, const char *text)
{
    char *data;
    assert_int_equal(hone_file_read(path, 1000, &data, NULL), HONE_OK);
    assert_string_equal(data, text);
    free(data);
}

static void test_logs_are_cut_back(void **state)
{
    hone_run_dir r;
    int64_t lost;
    char *metrics = in(state, "run/metrics.jsonl");
    assert_int_equal(hone_run_dir_open(in(state, "run"), &r), HONE_OK);
    assert_int_equal(hone_run_dir_start_logs(&r, 0, 0, &lost), HONE_OK);
    assert_int_equal(hone_log_append(&r.metrics, "one"), HONE_OK);
    int64_t at = r.metrics.bytes;
    assert_int_equal(hone_log_append(&r.metrics, "two"), HONE_OK);
    hone_run_dir_note(&r, "note", "first");
    hone_run_dir_close(&r);
    check_text(metrics, "one\ntwo\n");
    assert_int_equal(hone_run_dir_open(in(state, "run"), &r), HONE_OK);
    assert_int_equal(hone_run_dir_start_logs(&r, at, 0, &lost), HONE_OK);
    assert_int_equal(lost, 0);
    assert_int_equal(hone_log_append(&r.metrics, "2"), HONE_OK);
    hone_run_dir_close(&r);
    check_text(metrics, "one\n2\n");
    assert_int_equal(hone_run_dir_open(in(state, "run"), &r), HONE_OK);
    assert_int_equal(hone_run_dir_start_logs(&r, 100, 0, &lost), HONE_OK);
    assert_int_equal(lost, 94);
    hone_run_dir_close(&r);
    check_text(metrics, "one\n2\n");
}

static void test_log_waits_for_space(void **state)
{
    hone_run_dir r;
    assert_int_equal(hone_run_dir_open(in(state, "run"), &r), HONE_OK);
    assert_int_equal(hone_run_dir_start_logs(&r, 0, 0, NULL), HONE_OK);
    assert_int_equal(hone_log_append(&r.metrics, "one"), HONE_OK);
    hone_fault_set(1, HONE_FAULT_ENOSPC);
    assert_int_equal(hone_log_append(&r.metrics, "two"), HONE_ERR_RUNTIME);
    hone_fault_set(0, HONE_FAULT_NONE);
    check_text(in(state, "run/metrics.jsonl"), "one\n");
    assert_int_equal(hone_log_append(&r.metrics, "three"), HONE_OK);
    check_text(in(state, "run/metrics.jsonl"), "one\ntwo\nthree\n");
    hone_run_dir_close(&r);
}

int main(void)
{
#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, make_scratch, remove_scratch)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_headers),
        cmocka_unit_test(test_header_lengths),
        cmocka_unit_test(test_nesting_and_floods),
        cmocka_unit_test(test_misaligned_is_aligned),
        WITH_SCRATCH(test_write_and_read),
        WITH_SCRATCH(test_write_refuses),
        WITH_SCRATCH(test_truncated),
        WITH_SCRATCH(test_read_refuses),
        WITH_SCRATCH(test_make_dirs),
        WITH_SCRATCH(test_every_fault_of_a_small_file),
        WITH_SCRATCH(test_disk_full_names_bytes),
        WITH_SCRATCH(test_lock),
        WITH_SCRATCH(test_logs_are_cut_back),
        WITH_SCRATCH(test_log_waits_for_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
