/* data_config.h - a config that names data and nothing else, and an image spec that takes all from the data. */
#ifndef HONE_TESTS_DATA_CONFIG_H
#define HONE_TESTS_DATA_CONFIG_H

#include <string.h>

#include "hone/data.h"

static inline hone_config data_config(const char *path)
{
    hone_config c;
    memset(&c, 0, sizeof c);
    c.data.path = (char *)path;
    c.data.val_fraction = 0.1;
    c.data.decode_threads = 2;
    c.data.prefetch = 2;
    c.data.memory_limit_mb = 256;
    c.train.seed = 1;
    return c;
}

static inline hone_status data_open(const hone_config *c, hone_data **out)
{
    return hone_data_open(c, &(hone_image_spec){0}, out);
}

#endif
