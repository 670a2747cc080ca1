/* hone.h - the whole public interface. A complete small program:
 *
 *     #include <hone/hone.h>
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *
 *     int main(int argc, char **argv)                      // app RUN IMAGE
 *     {
 *         hone_predictor *p = NULL;
 *         unsigned char *pixels = NULL;                    // (H, W, C) of the model's input
 *         float *probability = NULL;                       // (classes)
 *         if (argc < 3 || hone_predictor_open(argv[1], "cpu", 1, &p) != HONE_OK) goto fail;
 *         const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
 *         int classes = hone_model_classes(hone_predictor_model(p)), best = 0;
 *         pixels = malloc((size_t)pre->height * (size_t)pre->width * (size_t)pre->channels);
 *         probability = malloc((size_t)classes * sizeof *probability);
 *         if (!pixels || !probability) goto fail;
 *         if (hone_image_file(argv[2], pre, pixels) != HONE_OK) goto fail;
 *         if (hone_predictor_run(p, pixels, 1, probability) != HONE_OK) goto fail;
 *         for (int k = 1; k < classes; k++) best = probability[k] > probability[best] ? k : best;
 *         printf("%s %.3f\n", hone_model_class_name(hone_predictor_model(p), best), probability[best]);
 *         free(probability), free(pixels), hone_predictor_close(p);
 *         return 0;
 *     fail:
 *         fprintf(stderr, "%s\n  fix: %s\n", hone_error_message(), hone_error_hint());
 *         return 1;
 *     }
 */
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
#include "hone/io.h"

#define HONE_VERSION "0.1.0"

#endif
