/* calibration.c - does 90 % mean 90 %? The reliability diagram (DeGroot and Fienberg 1983) of the predicted class's
 * score, with the expected calibration error (Naeini et al. 2015) that the evaluation computed. */
#include "report/report.h"

enum { SIDE = 300, LEFT = 46, TOP = 10, WIDTH = LEFT + SIDE + 12, HEIGHT = TOP + SIDE + 44 };

static double x_of(double v) { return LEFT + v * SIDE; }
static double y_of(double v) { return TOP + (1 - v) * SIDE; }

/* Bars reach to the accuracy of their bin; the dashed diagonal is what honest scores would give. */
static void draw(hone_text *t, const json_t *bins)
{
    size_t k, count = json_array_size(bins);
    const json_t *b;
    hone_text_add(
        t, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"accuracy by confidence\" style=\"max-width:420px\">\n",
        WIDTH, HEIGHT);
    for (int v = 0; v <= 10; v += 2) {
        hone_text_add(t, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, LEFT + SIDE,
                      y_of(v / 10.0), y_of(v / 10.0));
        hone_text_add(t, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>", LEFT - 6, y_of(v / 10.0) + 4,
                      v / 10.0);
        hone_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n", x_of(v / 10.0),
                      TOP + SIDE + 17, v / 10.0);
    }
    json_array_foreach(bins, k, b)
    {
        double accuracy = json_number_value(json_object_get(b, "accuracy")), w = (double)SIDE / (double)count;
        long long n = (long long)json_integer_value(json_object_get(b, "n"));
        if (n == 0) continue;
        hone_text_add(t,
                      "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                      "opacity=\".75\"><title>%lld samples, "
                      "mean score %.3f, accuracy %.3f</title></rect>\n",
                      LEFT + (double)k * w + 1, y_of(accuracy), w - 2, accuracy * SIDE, n,
                      json_number_value(json_object_get(b, "confidence")), accuracy);
    }
    hone_text_add(t, "<line class=\"ideal\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x_of(0), y_of(0),
                  x_of(1), y_of(1));
    hone_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">score of the predicted class</text></svg>\n",
                  x_of(0.5), HEIGHT - 6);
}

void hone_report_calibration(hone_text *t, const json_t *report)
{
    const json_t *c = json_object_get(report, "calibration"), *bins = json_object_get(c, "bins");
    if (json_array_size(bins) == 0) return;
    hone_text_add(t,
                  "<h2>Calibration</h2>\n<p class=\"soft\">Accuracy of the samples whose score fell into a bin; the "
                  "dashed line is "
                  "where a score equals the share of hits.</p>\n<figure style=\"max-width:460px\"><figcaption>"
                  "<b>expected calibration error %.4f</b></figcaption>\n",
                  json_number_value(json_object_get(c, "ece")));
    draw(t, bins);
    hone_text_add(t, "</figure>\n");
}
