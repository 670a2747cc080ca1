/* table.h - what splitting a table into fields and giving them a meaning share. Internal to table*.c. */
#ifndef HONE_DATA_TABLE_H
#define HONE_DATA_TABLE_H

#include "data/text_sink.h"

typedef struct hone_table {
    const hone_text_job *job;
    char *p, *end;    /* next byte; *end is a '\n' that belongs to nobody                          */
    char delimiter;   /* ',' or '\t'                                                               */
    bool quoted;      /* fields in quotes are undone (CSV; TSV where all of them are whole)        */
    uint32_t line;    /* of p                                                                      */
    uint32_t row;     /* line in which the row begins                                              */
    char *line_begin; /* where the line of p begins: for columns in messages                       */
    hone_span *field; /* (capacity) fields of the row                                              */
    int count, capacity;
} hone_table;

/* Splits the row at p into fields, undoing quotes in place, and steps behind its line end. Errors
 * (DATA): an unclosed quote, something behind a closing quote, a bare CR in CSV. After an error p is at
 * the next line, or at the end for an unclosed quote. */
hone_status hone_table_next(hone_table *t) HONE_MUST_USE;
/* Do all fields of a TSV that begin with a quote also end with one? *plain_line: where one does not (0:
 * no field begins with a quote, or all are whole). */
bool hone_table_tsv_quoted(const char *data, const char *end, uint32_t *plain_line);

#endif
