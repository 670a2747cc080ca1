/* hone.h - the whole public interface. A complete small program, built by
 * cc app.c $(pkg-config --cflags --libs hone):
 *
 *     #include <hone/hone.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *     #include <string.h>
 *
 *     int main(int argc, char **argv)                      // app MODEL TEXT: the likeliest label of a text
 *     {
 *         hone_predictor *p = NULL;
 *         float *probability = NULL;                       // (classes)
 *         int best;
 *         if (argc != 3 || hone_predictor_open(argv[1], "cpu", 1, &p) != HONE_OK) goto fail;
 *         probability = malloc((size_t)hone_predictor_classes(p) * sizeof *probability);
 *         const char *text = argv[2];
 *         size_t bytes = strlen(text);
 *         if (!probability || hone_predictor_texts(p, &text, &bytes, 1, probability) != HONE_OK) goto fail;
 *         hone_predictor_top(probability, hone_predictor_classes(p), 1, &best);
 *         printf("%s %.3f\n", hone_predictor_label(p, best), probability[best]);
 *         free(probability), hone_predictor_close(p);
 *         return 0;
 *     fail:
 *         fprintf(stderr, "%s\n  fix: %s\n", hone_error_message(), hone_error_hint());
 *         return 1;
 *     }
 *
 * For pictures hone_predictor_encoded takes a file's bytes; examples/predict.c does both. */
#ifndef HONE_HONE_H
#define HONE_HONE_H

#include "hone/status.h"
#include "hone/tensor.h"
#include "hone/graph.h"
#include "hone/philox.h"
#include "hone/backend.h"
#include "hone/program.h"
#include "hone/config.h"
#include "hone/model.h"
#include "hone/data.h"
#include "hone/train.h"
#include "hone/predictor.h"
#include "hone/io.h"

#define HONE_VERSION "0.1.0"

#endif
