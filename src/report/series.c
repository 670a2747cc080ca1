/* series.c - metrics.jsonl as columns. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "report/report.h"

/* null and missing keys are gaps. */
static double number(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static double **column(hone_series *s, int k)
{
    double **all[] = {&s->step, &s->loss, &s->accuracy, &s->lr, &s->grad_norm, &s->speed};
    return all[k];
}

enum { COLUMNS = 6 };
static const char *const keys[COLUMNS] = {"step", "loss", "accuracy", "lr", "grad_norm", "samples_per_second"};

static bool grow(hone_series *s)
{
    if (s->count < s->capacity) return true;
    int capacity = s->capacity ? s->capacity * 2 : 256;
    for (int k = 0; k < COLUMNS; k++) {
        double *more = realloc(*column(s, k), (size_t)capacity * sizeof *more);
        if (!more) return false;
        *column(s, k) = more;
    }
    s->capacity = capacity;
    return true;
}

hone_status hone_series_read(const char *metrics, const char *split, hone_series *out)
{
    *out = (hone_series){0};
    for (const char *at = metrics, *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        json_t *line;
        hone_status status = hone_json_parse(at, (size_t)(end - at), 0, &line, NULL); /* a torn last line is a gap */
        const char *name = json_string_value(json_object_get(line, "split"));
        bool mine = name && strcmp(name, split) == 0;
        if (mine && !grow(out)) status = hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the curves of a report");
        if (status != HONE_OK) {
            json_decref(line);
            hone_series_free(out);
            return status;
        }
        if (mine) {
            for (int k = 0; k < COLUMNS; k++) (*column(out, k))[out->count] = number(line, keys[k]);
            out->count++;
        }
        json_decref(line);
    }
    return HONE_OK;
}

void hone_series_free(hone_series *s)
{
    for (int k = 0; k < COLUMNS; k++) free(*column(s, k));
    *s = (hone_series){0};
}
