/* chart.c - curves over training as SVG: no script, so every number that matters is in the axes and the captions.
 *
 *   (LEFT, TOP) +--------------------------+ (W - RIGHT, TOP)
 *      y ticks  |  curve 0, curve 1, mark  |
 *               +--------------------------+ (W - RIGHT, H - BOTTOM)
 *                        x ticks
 * Curves of many points are thinned to one minimum and one maximum a column: a spike is never lost. */
#include <math.h>
#include <stdlib.h>

#include "report/report.h"

enum { W = 640, H = 270, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 30, COLUMNS = 280, TICKS = 7 };

/* Data to pixels. */
typedef struct frame {
    double x0, x1, y0, y1; /* y in log10 where `logarithmic` */
    bool logarithmic;
} frame;

static double px(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * (W - LEFT - RIGHT); }
static double py(const frame *f, double y)
{
    double v = f->logarithmic ? log10(y) : y;
    return H - BOTTOM - (v - f->y0) / (f->y1 - f->y0) * (H - TOP - BOTTOM);
}

int hone_chart_ticks(double low, double high, int most, double *tick)
{
    double raw = (high - low) / (most > 1 ? most - 1 : 1);
    if (!(raw > 0) || !isfinite(raw)) return 0;
    double power = pow(10, floor(log10(raw))), part = raw / power;
    double step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
    double first = ceil(low / step - 1e-9); /* in steps; rounding must not cost the tick at an end */
    int count = 0;
    for (; count < most && (first + count) * step <= high + step * 1e-9; count++)
        tick[count] = fabs(first + count) < 1e-9 ? 0 : (first + count) * step;
    return count;
}

/* Ranges over all curves; false where there is nothing to draw. */
static bool fit(const hone_chart *c, frame *f)
{
    bool any = false, positive = true;
    *f = (frame){INFINITY, -INFINITY, INFINITY, -INFINITY, false};
    for (int k = 0; k < c->curves; k++)
        for (int i = 0; i < c->curve[k].count; i++) {
            double x = c->curve[k].x[i], y = c->curve[k].y[i];
            if (!isfinite(x) || !isfinite(y)) continue;
            f->x0 = fmin(f->x0, x), f->x1 = fmax(f->x1, x);
            f->y0 = fmin(f->y0, y), f->y1 = fmax(f->y1, y);
            positive = positive && y > 0;
            any = true;
        }
    if (!any) return false;
    f->logarithmic = c->logarithmic && positive && f->y1 > 20 * f->y0; /* less than that reads better plain */
    if (f->logarithmic) f->y0 = log10(f->y0), f->y1 = log10(f->y1);
    if (f->x1 <= f->x0) f->x0 -= 1, f->x1 += 1;
    double pad = (f->y1 - f->y0) * 0.05;
    if (!(pad > 0)) pad = fabs(f->y1) * 0.05 + 1e-6;
    f->y0 -= pad, f->y1 += pad;
    return true;
}

/* One horizontal line with its number. */
static void y_tick(hone_text *t, const frame *f, double value, double shown, const char *unit)
{
    double y = H - BOTTOM - (value - f->y0) / (f->y1 - f->y0) * (H - TOP - BOTTOM);
    hone_text_add(t, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, W - RIGHT, y, y);
    hone_text_add(t, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g%s</text>\n", LEFT - 6, y + 4, shown, unit);
}

static void grid(hone_text *t, const frame *f, const char *unit)
{
    double tick[TICKS];
    int count;
    if (f->logarithmic) {
        for (int e = (int)ceil(f->y0); e <= f->y1; e++) y_tick(t, f, e, pow(10, e), unit);
    } else {
        count = hone_chart_ticks(f->y0, f->y1, TICKS - 1, tick);
        for (int k = 0; k < count; k++) y_tick(t, f, tick[k], tick[k], unit);
    }
    count = hone_chart_ticks(f->x0, f->x1, TICKS, tick);
    for (int k = 0; k < count; k++)
        hone_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", px(f, tick[k]),
                      H - BOTTOM + 17, tick[k]);
    hone_text_add(t, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, W - RIGHT, H - BOTTOM,
                  H - BOTTOM);
}

/* A point of the path; `pen` says whether the pen is down. */
static void point(hone_text *t, const frame *f, double x, double y, bool *pen)
{
    hone_text_add(t, "%c%.1f %.1f", *pen ? 'L' : 'M', px(f, x), py(f, y));
    *pen = true;
}

/* Points [from, to) as their least and largest, in the order in which they come. */
static void column(hone_text *t, const frame *f, const hone_curve *c, int from, int to, bool *pen)
{
    int low = -1, high = -1;
    for (int i = from; i < to; i++) {
        if (!isfinite(c->y[i])) continue;
        if (low < 0 || c->y[i] < c->y[low]) low = i;
        if (high < 0 || c->y[i] > c->y[high]) high = i;
    }
    if (low < 0) { /* a gap: NaN losses are not bridged */
        *pen = false;
        return;
    }
    int first = low < high ? low : high, second = low < high ? high : low;
    point(t, f, c->x[first], c->y[first], pen);
    if (second != first) point(t, f, c->x[second], c->y[second], pen);
}

static void path(hone_text *t, const frame *f, const hone_curve *c)
{
    bool pen = false;
    int columns = c->count < COLUMNS ? c->count : COLUMNS;
    hone_text_add(t, "<path class=\"k%d\" d=\"", c->kind);
    for (int k = 0; k < columns; k++)
        column(t, f, c, (int)((int64_t)c->count * k / columns), (int)((int64_t)c->count * (k + 1) / columns), &pen);
    hone_text_add(t, "\"/>\n");
    if (c->kind == 0 || c->count > 60) return; /* validations are few: each is a dot that tells its figures */
    for (int i = 0; i < c->count; i++)
        if (isfinite(c->y[i]))
            hone_text_add(
                t, "<circle class=\"dot%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>step %.0f: %.6g</title></circle>\n",
                c->kind, px(f, c->x[i]), py(f, c->y[i]), c->x[i], c->y[i]);
}

/* The last finite value; NaN if there is none. */
static double last_of(const hone_curve *c)
{
    for (int i = c->count - 1; i >= 0; i--)
        if (isfinite(c->y[i])) return c->y[i];
    return NAN;
}

/* The curve's colour, name and last value. */
static void key(hone_text *t, const hone_chart *c, const hone_curve *curve)
{
    hone_text_add(t, "<span class=\"key%d\">", curve->kind);
    hone_html(t, curve->name);
    hone_text_add(t, " %.5g%s</span>", last_of(curve), c->unit);
}

void hone_chart_svg(hone_text *t, const hone_chart *c)
{
    frame f;
    if (!fit(c, &f)) return;
    hone_text_add(t, "<figure><figcaption><b>%s%s</b>", c->title, f.logarithmic ? " (logarithmic)" : "");
    for (int k = 0; k < c->curves; k++)
        if (isfinite(last_of(&c->curve[k]))) key(t, c, &c->curve[k]);
    hone_text_add(
        t, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over the steps of training\">\n", W,
        H, c->title);
    grid(t, &f, c->unit);
    if (isfinite(c->mark) && c->mark >= f.x0 && c->mark <= f.x1)
        hone_text_add(
            t,
            "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"><title>best, step %.0f</title></line>\n",
            px(&f, c->mark), px(&f, c->mark), TOP, H - BOTTOM, c->mark);
    for (int k = 0; k < c->curves; k++)
        if (c->curve[k].count > 0) path(t, &f, &c->curve[k]);
    hone_text_add(t, "</svg></figure>\n");
}
