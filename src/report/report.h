/* report.h - a run as one page: report.html, self-contained (no script, no network reference), light and dark, for
 * wide screens, phones and paper.
 *
 * The page is made from the files of a run directory (run.json, metrics.jsonl, resolved.yaml), so that it
 * can be made again at any time, and from what only its maker has at hand: an evaluation, the layer table and the
 * samples that were worst. Whatever stands in those files is escaped; a file that is missing costs its section only.
 * Files of this room: html (escaping), chart (curves), matrix (confusion, classes), calibration, thumb (pictures),
 * series (metrics.jsonl), page (the whole), style (CSS); preview (pictures of training, a page of its own). */
#ifndef HONE_REPORT_REPORT_H
#define HONE_REPORT_REPORT_H

#include <jansson.h>
#include <stdint.h>

#include "core/text.h"

/* A sample of the evaluated split: a picture, or a text. Strings are borrowed. */
typedef struct hone_report_sample {
    const char *source, *truth, *predicted;
    double score, loss;    /* of the prediction; -log p(truth)                              */
    double usual;          /* mean probability of the class `predicted` over the samples that are labelled so */
    const uint8_t *pixels; /* (height, width, channels), or NULL                            */
    int height, width, channels;
    const char *text; /* UTF-8 of text_bytes, not NUL-terminated, or NULL              */
    size_t text_bytes;
} hone_report_sample;

typedef struct hone_report_input {
    const char *run_dir;
    const char *evaluation;          /* the object of `hone eval --json`, or NULL              */
    const char *split;               /* what it is about: "test", "val", a path                */
    const char *layers;              /* the layer table as text, or NULL                       */
    const hone_report_sample *worst; /* (worst_count), highest loss first                      */
    int worst_count;
} hone_report_input;

/* Writes the page to `path`, atomically. Errors: RUNTIME (disk), MEMORY, DATA (run.json is no JSON). */
hone_status hone_report_write(const hone_report_input *in, const char *path) HONE_MUST_USE;
/* The same as text; free(). */
hone_status hone_report_html(const hone_report_input *in, char **html) HONE_MUST_USE;

/* --- preview.c: pictures of training, side by side --- */
typedef struct hone_preview {
    const char *title, *settings; /* of the page; `augment:` of the config, resolved          */
    int rows, columns;            /* a row a sample; column 0 is the sample as it is           */
    int height, width, channels;  /* of all pictures                                           */
    const uint8_t *pixels;        /* (rows, columns, height, width, channels)                  */
    const char *const *source;    /* (rows) where a sample comes from                          */
    const char *const *label;     /* (rows, columns): its label, or labels and their shares    */
} hone_preview;
/* Writes the page to `path`, atomically. Errors: RUNTIME (disk), MEMORY. */
hone_status hone_preview_write(const hone_preview *p, const char *path) HONE_MUST_USE;
/* The same as text; free(). */
hone_status hone_preview_html(const hone_preview *p, char **html) HONE_MUST_USE;

/* --- html.c: text into HTML; bytes that are not UTF-8 become U+FFFD, control characters a space --- */
void hone_html(hone_text *t, const char *s);
void hone_html_bytes(hone_text *t, const char *s, size_t bytes);
/* Head of a page with the house's style, up to <main>; and its end. */
void hone_html_open(hone_text *t, const char *title);
void hone_html_close(hone_text *t);
/* 12345678 -> "12,345,678"; returns `text`. */
const char *hone_count_text(int64_t n, char text[32]);
/* 3 h 5 min, 12 min 3 s, 4.2 s; returns `text`. */
const char *hone_seconds_text(double seconds, char text[32]);
extern const char hone_report_style[]; /* style.c */

/* --- chart.c: curves over training as SVG --- */
enum { HONE_CHART_KINDS = 6 };
typedef struct hone_curve {
    const char *name;
    int kind; /* its colour, below HONE_CHART_KINDS; 0 train, 1 val                                             */
    const double *x; /* (count) ascending; values that are not finite are gaps                    */
    const double *y; /* (count)                                                                   */
    int count;
} hone_curve;
typedef struct hone_chart {
    const char *title, *unit; /* unit: text behind the numbers of the y axis: "%", "" */
    bool logarithmic;         /* y in decades, where all values are above 0           */
    double mark;              /* x of a vertical line ("best"); NaN: none             */
    hone_curve curve[HONE_CHART_KINDS];
    int curves;
} hone_chart;
void hone_chart_svg(hone_text *t, const hone_chart *c);
/* At most `most` places between low and high that are 1, 2 or 5 times a power of ten; returns how many. */
int hone_chart_ticks(double low, double high, int most, double *tick);

/* --- matrix.c, calibration.c: sections from the evaluation --- */
void hone_report_confusion(hone_text *t, const json_t *report);
void hone_report_classes(hone_text *t, const json_t *report);
void hone_report_calibration(hone_text *t, const json_t *report);

/* --- thumb.c: <img> with a PNG in a data URI; false where memory ran out or there is no picture --- */
bool hone_thumb(hone_text *t, const hone_report_sample *s);
/* The same, no side longer than `edge` pixels. */
bool hone_picture(hone_text *t, const hone_report_sample *s, int edge);
void hone_base64(hone_text *t, const void *data, size_t bytes);

/* --- series.c: the columns of metrics.jsonl --- */
typedef struct hone_series {
    int count, capacity;
    double *step, *loss, *accuracy, *lr, *grad_norm, *speed; /* (count) NaN where a line has none */
} hone_series;
/* Lines of one split ("train", "val"). A line that is no JSON (the last one of a killed run) is passed over. */
hone_status hone_series_read(const char *metrics, const char *split, hone_series *out) HONE_MUST_USE;
void hone_series_free(hone_series *s);

#endif
