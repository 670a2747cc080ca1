/* progress.c - see progress.h. Three formats of the same events: a live line with a bar where stderr is
 * a terminal, `key=value` lines without control characters, JSON lines. It computes nothing. */
#include "cli/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/evaluate.h"
#include "train/metrics.h"

enum { BAR_CELLS = 20 };

/* "2h05m", "3m20s", "41s"; "?" where unknown. */
static const char *duration(double seconds, char text[24])
{
    long s = isfinite(seconds) && seconds >= 0 && seconds < 1e8 ? (long)(seconds + 0.5) : -1;
    if (s < 0) snprintf(text, 24, "?");
    else if (s >= 3600) snprintf(text, 24, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60) snprintf(text, 24, "%ldm%02lds", s / 60, s % 60);
    else snprintf(text, 24, "%lds", s);
    return text;
}

/* What is printed next begins on a line of its own. */
void hone_cli_progress_close(hone_cli_progress *p)
{
    if (p->line_open) fputs("\n", stderr);
    p->line_open = false;
}

/* --- terminal ------------------------------------------------------------------------------------------- */

/* Rewritten in place: \r, then "erase to the end of the line". */
static void live_line(hone_cli_progress *c, const hone_progress *p)
{
    char bar[BAR_CELLS + 1], eta[24], memory[32];
    double whole = floor(p->epoch), share = p->epoch - whole;
    if (share == 0 && p->epoch > 0) { /* the very end of an epoch is a full bar, not an empty one */
        share = 1;
        whole -= 1;
    }
    /* ASCII: a log that is looked at elsewhere has no fonts to rely on */
    for (int k = 0; k < BAR_CELLS; k++) bar[k] = k < (int)(share * BAR_CELLS + 0.5) ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r\033[Kepoch %.0f/%.0f [%s] loss %.4f  acc %.2f%%  %.0f/s  wait %.0f%%  %s  eta %s", whole + 1,
            ceil(p->epochs_total), bar, p->loss, 100 * p->accuracy, p->samples_per_second, 100 * p->data_wait,
            hone_cli_bytes((double)p->memory_bytes, memory, sizeof memory), duration(p->eta_seconds, eta));
    fflush(stderr);
    c->line_open = true;
}

/* Replaces the live line and stays. */
static void epoch_line(const hone_progress *p)
{
    fprintf(stderr, "\r\033[Kepoch %-4.4g step %-7lld loss %.4f  acc %.2f%%", p->epoch, (long long)p->step, p->loss,
            100 * p->accuracy);
    if (isfinite(p->val_loss)) fprintf(stderr, "  |  val loss %.4f  acc %.2f%%", p->val_loss, 100 * p->val_accuracy);
    fprintf(stderr, "%s\n", p->best && isfinite(p->val_loss) ? "  best" : "");
}

/* Checkpoints come too often to deserve a line each. */
static void show_tty(hone_cli_progress *c, const hone_progress *p)
{
    /* one line that is written over and over, until the epoch's own line takes its place */
    if (strcmp(p->what, "step") == 0 || strcmp(p->what, "tick") == 0) {
        live_line(c, p);
    } else if (strcmp(p->what, "epoch") == 0) {
        epoch_line(p);
        c->line_open = false;
    } else if (p->text && strcmp(p->what, "checkpoint") != 0 && strcmp(p->what, "done") != 0) {
        if (c->line_open) fputs("\r\033[K", stderr);
        c->line_open = false;
        fprintf(stderr, "%s%s\n", strcmp(p->what, "warn") == 0 ? "warning: " : "", p->text);
    }
}

/* --- plain and JSON --------------------------------------------------------------------------------------- */

/* One number of a line, plain or JSON. */
typedef struct figure {
    const char *key;
    double value;
} figure;

/* The same pairs for plain and JSON; those that are not finite are left out or null. */
static int figures(const hone_progress *p, figure out[12])
{
    int n = 0;
    bool epoch = strcmp(p->what, "epoch") == 0;
    out[n++] = (figure){"step", (double)p->step};
    out[n++] = (figure){"steps", (double)p->steps_total};
    out[n++] = (figure){"epoch", p->epoch};
    out[n++] = (figure){"loss", p->loss};
    out[n++] = (figure){"accuracy", p->accuracy};
    out[n++] = (figure){"lr", p->lr};
    if (epoch) {
        out[n++] = (figure){"val_loss", p->val_loss};
        out[n++] = (figure){"val_accuracy", p->val_accuracy};
        out[n++] = (figure){"best", p->best};
        return n;
    }
    /* what only a step line has */
    out[n++] = (figure){"grad_norm", p->grad_norm};
    out[n++] = (figure){"samples_per_second", p->samples_per_second};
    out[n++] = (figure){"data_wait", p->data_wait};
    out[n++] = (figure){"memory_bytes", (double)p->memory_bytes};
    out[n++] = (figure){"eta_seconds", p->eta_seconds};
    return n;
}

/* One line an event, no control characters: for log files and pipes. */
static void show_plain(const hone_progress *p)
{
    figure pairs[12];
    int n = p->text ? 0 : figures(p, pairs);
    if (p->text) fprintf(stderr, "event=%s %s\n", p->what, p->text);
    else fprintf(stderr, "event=%s", p->what);
    for (int k = 0; k < n; k++)
        if (isfinite(pairs[k].value)) fprintf(stderr, " %s=%.9g", pairs[k].key, pairs[k].value);
    if (n) fputs("\n", stderr);
}

/* One object a line. */
static void show_json(const hone_progress *p)
{
    figure pairs[12];
    int n = p->text ? 0 : figures(p, pairs);
    hone_text t = {0};
    hone_text_add(&t, "{\"event\":");
    hone_text_json(&t, p->what);
    if (p->text) {
        hone_text_add(&t, ",\"text\":");
        hone_text_json(&t, p->text);
    }
    for (int k = 0; k < n; k++) {
        hone_text_add(&t, ",\"%s\":", pairs[k].key);
        hone_json_number(&t, pairs[k].value);
    }
    hone_text_add(&t, "}\n");
    /* one call a line, so that lines of two processes do not mix; without memory the line is left out */
    if (!t.failed) fputs(t.data, stderr);
    hone_text_free(&t);
}

/* Warnings are shown even when quiet. */
void hone_cli_progress_show(void *arg, const hone_progress *p)
{
    hone_cli_progress *c = arg;
    bool warning = strcmp(p->what, "warn") == 0;
    if (c->quiet && !warning) return;
    if (c->format == HONE_LOG_TTY) {
        show_tty(c, p);
        return;
    }
    /* ticks come several times a second: log files would drown */
    if (strcmp(p->what, "tick") == 0) return; /* for eyes only */
    if (c->format == HONE_LOG_JSON) show_json(p);
    else show_plain(p);
}

/* --- the table at the end ----------------------------------------------------------------------------------- */

/* Column width for the class names, at least that of its title. */
static int name_width(const hone_evaluation *e)
{
    size_t width = 5;
    for (int c = 0; c < e->classes; c++)
        if (strlen(e->class_name[c]) > width) width = strlen(e->class_name[c]);
    return width > 40 ? 40 : (int)width;
}

/* Shares are of the true class: 147 of 1000 shirts. */
static void print_confused(FILE *f, const hone_evaluation *e)
{
    /* five: what is worth looking at first; confusion.csv has the rest */
    hone_confused pair[5];
    int n = hone_evaluation_confused(e, 5, pair);
    if (n == 0) return;
    fprintf(f, "\nmost confused (truth -> predicted)\n");
    for (int k = 0; k < n; k++) {
        double share = e->support[pair[k].truth] ? (double)pair[k].count / (double)e->support[pair[k].truth] : 0;
        fprintf(f, "  %s -> %s: %lld (%.1f%% of its %lld)\n", e->class_name[pair[k].truth],
                e->class_name[pair[k].predicted], (long long)pair[k].count, 100 * share,
                (long long)e->support[pair[k].truth]);
    }
}

/* Widths are fixed but for the names, so runs can be compared by eye. */
void hone_cli_print_evaluation(FILE *f, const hone_evaluation *e)
{
    int width = name_width(e);
    fprintf(f, "%-*s  precision  recall      f1  support\n", width, "class");
    for (int c = 0; c < e->classes; c++)
        fprintf(f, "%-*.40s  %9.4f  %6.4f  %6.4f  %7lld\n", width, e->class_name[c], e->precision[c], e->recall[c],
                e->f1[c], (long long)e->support[c]);
    fprintf(
        f,
        "\naccuracy %.4f  (95%% interval %.4f to %.4f, n = %lld)\nf1_macro %.4f\nloss     %.4f\ncomputed on %s in %s\n",
        e->accuracy, e->accuracy_low, e->accuracy_high, (long long)e->n, e->f1_macro, e->loss, e->device,
        hone_precision_name(e->computed_in));
    print_confused(f, e);
    if (e->mistakes && *e->mistakes)
        fprintf(f, "\nsurest mistakes (truth -> predicted, score, where)\n%s", e->mistakes);
}
