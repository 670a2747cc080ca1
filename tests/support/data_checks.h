/* data_checks.h - opening data sets in tests: what must open, what must be refused, a scratch folder. */
#ifndef HONE_TESTS_DATA_CHECKS_H
#define HONE_TESTS_DATA_CHECKS_H

#include "support/data_config.h"
#include "support/scratch.h"

static inline int setup(void **state)
{
    *state = strdup(scratch_make());
    return 0;
}

static inline int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Opening `path` must fail as DATA with all of the texts in its message. */
static inline void refused(const char *path, const char *what, const char *where)
{
    hone_config c = data_config(path);
    hone_data *d = NULL;
    hone_status s = data_open(&c, &d);
    const char *m = hone_error_message();
    if (s != HONE_ERR_DATA || !strstr(m, what) || !strstr(m, where))
        fail_msg("wanted \"%s\" and \"%s\", got %d \"%s\"", what, where, s, m);
    assert_null(d);
    assert_true(*hone_error_hint() != '\0'); /* each refusal says how to mend it */
}

static inline hone_data *opened(const hone_config *c)
{
    hone_data *d = NULL;
    hone_status s = data_open(c, &d);
    if (s != HONE_OK) fail_msg("%s", hone_error_message());
    return d;
}

static inline void load(hone_dataset *d, int threads)
{
    if (hone_dataset_load(d, threads, NULL) != HONE_OK) fail_msg("%s", hone_error_message());
}

#endif
