/* json.c - see json.h. jansson drops a character of a string where its buffer can't grow, and says nothing: whether
 * memory ran out is seen at its allocator, which ours wraps. Blocks come from and go to the one that was there before,
 * so that a program that uses jansson beside libhone notices nothing. */
#include "io/json.h"

#include <pthread.h>
#include <stdbool.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static json_malloc_t inner; /* set once, before any thread reads it */
static _Thread_local bool failed;

static void *watched(size_t bytes)
{
    void *p = inner(bytes);
    if (!p) failed = true;
    return p;
}

static void watch(void)
{
    json_free_t release;
    json_get_alloc_funcs(&inner, &release);
    json_set_alloc_funcs(watched, release);
}

hone_status hone_json_parse(const char *text, size_t bytes, size_t flags, json_t **out, json_error_t *error)
{
    pthread_once(&once, watch);
    failed = false;
    *out = json_loadb(text, bytes, flags, error);
    if (!failed) return HONE_OK;
    json_decref(*out);
    *out = NULL;
    return hone_fail(HONE_ERR_MEMORY, NULL, "no memory to parse %zu bytes of JSON", bytes);
}
