/* preview.c - samples of training side by side: as they are, and as the net sees them in some epochs. A page like the
 * report: self-contained, nothing is loaded, names are escaped. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "report/report.h"

enum { PREVIEW_EDGE = 256 }; /* the browser shows 128 pixels; twice that on fine screens */

/* What is seen, how to read it, and the settings that made it: a page that was saved must explain itself. */
static void add_head(hone_text *t, const hone_preview *p)
{
    hone_html_open(t, p->title);
    hone_text_add(t, "<h1>");
    hone_html(t, p->title);
    hone_text_add(
        t,
        "</h1>\n<p class=\"soft\">%d samples of the first batch, %d x %d x %d. The first column is the sample "
        "as it is; then the same batch as the net sees it when its epoch is 0, 1, 2 and so on. Mixing takes "
        "the next sample of the batch.</p>\n<pre>",
        p->rows, p->height, p->width, p->channels);
    hone_html(t, p->settings);
    hone_text_add(t, "</pre>\n<table class=\"preview\">\n<tr><th>sample</th>");
    for (int c = 1; c < p->columns; c++) hone_text_add(t, "<th>epoch %d</th>", c - 1);
    hone_text_add(t, "</tr>\n");
}

/* A picture, its label below, and for the untouched one where it comes from. */
static void add_cell(hone_text *t, const hone_preview *p, int row, int column)
{
    size_t at = (size_t)row * (size_t)p->columns + (size_t)column;
    size_t bytes = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    hone_report_sample s = {
        .pixels = p->pixels + at * bytes, .height = p->height, .width = p->width, .channels = p->channels};
    hone_text_add(t, "<td>");
    /* sizes were checked when the data were opened, so a picture that can't be made means that memory ran out */
    if (!hone_picture(t, &s, PREVIEW_EDGE)) t->failed = true;
    hone_text_add(t, "<br>");
    hone_html(t, p->label[at]);
    if (column == 0) {
        hone_text_add(t, "<br><span class=\"soft\">");
        hone_html(t, p->source[row]);
        hone_text_add(t, "</span>");
    }
    hone_text_add(t, "</td>");
}

/* Rows are samples, so that what happens to one of them is read from left to right. */
hone_status hone_preview_html(const hone_preview *p, char **html)
{
    hone_text t = {0};
    add_head(&t, p);
    for (int r = 0; r < p->rows; r++) {
        hone_text_add(&t, "<tr>");
        for (int c = 0; c < p->columns; c++) add_cell(&t, p, r, c);
        hone_text_add(&t, "</tr>\n");
    }
    hone_text_add(&t, "</table>\n");
    hone_html_close(&t);
    *html = hone_text_take(&t);
    return *html ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the preview");
}

/* As report.html is written: another process sees the old page or the new one. */
hone_status hone_preview_write(const hone_preview *p, const char *path)
{
    char *html;
    HONE_TRY(hone_preview_html(p, &html));
    hone_status status = hone_file_write(path, html, strlen(html));
    free(html);
    return status;
}
