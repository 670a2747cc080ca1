/* test_registry.c - opening dialects by name, and the verbs of those that live in host memory.
 * rooms: kernels graph core
 *
 * What can't be had is refused with the reason and a hint, never replaced. Whether a CUDA plugin is
 * installed differs between machines, so "cuda" may succeed; it must not succeed as something else. */
#include "hone/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <string.h>
#include <sys/resource.h>

static hone_backend *open_device(const char *name, int threads)
{
    hone_backend *b = NULL;
    assert_int_equal(hone_backend_open(name, threads, &b), HONE_OK);
    assert_non_null(b);
    return b;
}

static void test_names(void **state)
{
    (void)state;
    static const char *const name[] = {"ref", "ref64", "cpu"};
    for (int k = 0; k < 3; k++) {
        char text[256];
        hone_backend *b = open_device(name[k], 3);
        assert_string_equal(b->name, name[k]);
        assert_int_equal(b->real, strcmp(name[k], "ref64") == 0 ? HONE_F64 : HONE_F32);
        assert_int_equal(b->threads, 3);
        assert_ptr_equal(hone_backend_describe(b, text, sizeof text), text);
        assert_non_null(strstr(text, name[k]));
        assert_non_null(strstr(text, "3 threads"));
        hone_backend_close(b);
    }
    hone_backend *b = open_device("ref", 0);
    assert_true(b->threads >= 1);
    hone_backend_close(b);
    hone_backend_close(NULL);
}

static void test_complete(void **state)
{
    (void)state;
    static const char *const name[] = {"ref", "ref64", "cpu"};
    for (int k = 0; k < 3; k++) {
        hone_backend *b = open_device(name[k], 1);
        for (int op = 0; op < HONE_OP_COUNT; op++)
            if (op != HONE_OP_reshape && !b->kernel[op].launch)
                fail_msg("%s lacks %s", name[k], hone_op_name((hone_op)op));
        assert_null(b->kernel[HONE_OP_reshape].launch); /* an alias: nobody may launch it */
        hone_backend_close(b);
    }
}

static void test_unknown(void **state)
{
    (void)state;
    static const char *const name[] = {"",        "gpu",   "CPU",     "cuda:",           "cuda:x",
                                       "cuda:1x", "cuda0", "cuda:-1", "cuda:99999999999"};
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        hone_backend *b = (hone_backend *)&b;
        assert_int_equal(hone_backend_open(name[k], 0, &b), HONE_ERR_USAGE);
        assert_null(b);
        assert_non_null(strstr(hone_error_message(), "unknown device"));
        assert_non_null(strstr(hone_error_hint(), "cpu"));
    }
}

/* Without plugin or device: exit code 6, the reason and the fix. */
static void test_cuda(void **state)
{
    (void)state;
    hone_backend *b = NULL;
    hone_status status = hone_backend_open("cuda:0", 0, &b);
    if (status == HONE_OK) {
        assert_string_equal(b->name, "cuda");
        hone_backend_close(b);
        return;
    }
    assert_int_equal(status, HONE_ERR_DEVICE);
    assert_null(b);
    assert_non_null(strstr(hone_error_message(), "cuda"));
    assert_non_null(strstr(hone_error_hint(), "cpu"));
}

static void test_auto(void **state)
{
    (void)state;
    hone_backend *b = open_device("auto", 1), *cuda = NULL;
    if (hone_backend_open("cuda", 1, &cuda) == HONE_OK) assert_string_equal(b->name, "cuda");
    else assert_string_equal(b->name, "cpu");
    hone_backend_close(cuda);
    hone_backend_close(b);
}

static void test_memory(void **state)
{
    (void)state;
    static const size_t size[] = {0, 1, 63, 64, 65, 4097, 1 << 20};
    hone_backend *b = open_device("ref", 1);
    for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
        void *memory = NULL;
        assert_int_equal(b->alloc(b, size[k], &memory), HONE_OK);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (size_t i = 0; i < size[k]; i++) assert_int_equal(((unsigned char *)memory)[i], 0);
        unsigned char sent = 7, back = 0;
        if (size[k]) {
            assert_int_equal(b->upload(b, (char *)memory + size[k] - 1, &sent, 1), HONE_OK);
            assert_int_equal(b->download(b, &back, (char *)memory + size[k] - 1, 1), HONE_OK);
            assert_int_equal(back, 7);
        }
        assert_int_equal(b->sync(b), HONE_OK);
        b->free(b, memory);
    }
    void *none = &none;
    assert_int_equal(b->alloc(b, SIZE_MAX - 1, &none), HONE_ERR_MEMORY);
    assert_null(none);
    b->free(b, NULL);
    hone_backend_close(b);
}

/* The most memory that this process has had, in KiB. */
static long peak_kib(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* Where no driver is, "auto" must not pay for the plugin of another device: loading cuBLASLt takes 190 MiB. */
static void test_auto_without_driver(void **state)
{
    (void)state;
    if (dlopen("libcuda.so.1", RTLD_LAZY)) skip();
    long before = peak_kib();
    hone_backend_close(open_device("auto", 1));
    assert_true(peak_kib() - before < 32 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_without_driver), /* first: peaks stay */
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_cuda),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
