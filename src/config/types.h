/* types.h - the functions behind hone_type_table that types.c and types_list.c share. */
#ifndef HONE_CONFIG_TYPES_H
#define HONE_CONFIG_TYPES_H

#include "config/schema.h"

/* The field of a row in a config, as a pointer to `type`; const is the caller's affair. */
#define HONE_FIELD(c, row, type) ((type *)(void *)((char *)(uintptr_t)(c) + (row)->offset))

/* Adds "KEY: expects an integer from 1 to 64, found 'x'". */
void hone_expected(const hone_row *row, const hone_yaml *n, hone_diag *d);
bool hone_in_range(const hone_row *row, double x);
/* "a number from 0 to 1". */
void hone_describe_range(const hone_row *row, const char *noun, hone_text *t);
json_t *hone_schema_range(const hone_row *row, const char *type);

#define HONE_TYPE_DECLARE(name)                                                                                        \
    void hone_read_##name(const hone_row *row, const hone_yaml *n, hone_config *c, hone_diag *d);                      \
    void hone_write_##name(const hone_row *row, const hone_config *c, hone_text *t);                                   \
    void hone_describe_##name(const hone_row *row, hone_text *t);                                                      \
    json_t *hone_schema_##name(const hone_row *row)
HONE_TYPE_DECLARE(pair);
HONE_TYPE_DECLARE(int_pair);
HONE_TYPE_DECLARE(size);
HONE_TYPE_DECLARE(shape);
HONE_TYPE_DECLARE(channels);
HONE_TYPE_DECLARE(strings);
HONE_TYPE_DECLARE(weights);

#endif
