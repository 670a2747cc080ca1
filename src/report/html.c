/* html.c - text into HTML. Everything a user named (classes, paths, mails) passes here, so that it can neither
 * break the page nor run in it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/report.h"

/* One ASCII character. */
static void plain(hone_text *t, unsigned char c)
{
    switch (c) {
    case '<': hone_text_add(t, "&lt;"); break;
    case '>': hone_text_add(t, "&gt;"); break;
    case '&': hone_text_add(t, "&amp;"); break;
    case '"': hone_text_add(t, "&quot;"); break;
    case '\'': hone_text_add(t, "&#39;"); break;
    default: hone_text_append(t, c < 0x20 && c != '\n' ? " " : c == 0x7F ? " " : (const char *)&c, 1);
    }
}

void hone_html_bytes(hone_text *t, const char *s, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t k = 0; k < bytes;) {
        size_t n = (size_t)hone_text_utf8_length(p + k, bytes - k);
        bool control = n == 2 && p[k] == 0xC2 && p[k + 1] < 0xA0; /* C1: no character of HTML */
        if (n == 0) hone_text_add(t, "\xEF\xBF\xBD");
        else if (n == 1) plain(t, p[k]);
        else if (control) hone_text_add(t, " ");
        else hone_text_append(t, p + k, n);
        k += n ? n : 1;
    }
}

void hone_html(hone_text *t, const char *s)
{
    if (s) hone_html_bytes(t, s, strlen(s));
}

/* The policy forbids all loading: a page that came from somewhere else stays as harmless as ours. */
void hone_html_open(hone_text *t, const char *title)
{
    hone_text_add(t, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
                     "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    hone_html(t, title);
    hone_text_add(t, "</title>\n<style>\n");
    hone_text_append(t, hone_report_style, strlen(hone_report_style));
    hone_text_add(t, "</style>\n</head>\n<body>\n<main>\n");
}

void hone_html_close(hone_text *t) { hone_text_add(t, "</main>\n</body>\n</html>\n"); }

/* Groups of three from the right. */
const char *hone_count_text(int64_t n, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int k = 0; k < length; k++) {
        if (k && (length - k) % 3 == 0 && digits[k - 1] != '-') text[at++] = ',';
        text[at++] = digits[k];
    }
    text[at] = 0;
    return text;
}

const char *hone_seconds_text(double seconds, char text[32])
{
    if (!isfinite(seconds) || seconds < 0) snprintf(text, 32, "unknown");
    else if (seconds < 60) snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 3600) snprintf(text, 32, "%d min %d s", (int)seconds / 60, (int)seconds % 60);
    else snprintf(text, 32, "%lld h %d min", (long long)seconds / 3600, (int)(fmod(seconds, 3600) / 60));
    return text;
}
