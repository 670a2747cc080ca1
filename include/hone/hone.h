/* hone.h - the whole public interface. A complete small program:
 *
 *     #include <hone/hone.h>
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv)                      // cc app.c -lhone ; ./a.out RUN IMAGE
 *     {
 *         hone_predictor *p = NULL;
 *         if (argc < 3 || hone_predictor_open(argv[1], "cpu", 1, &p) != HONE_OK) goto fail;
 *         const hone_preprocess *pre = hone_model_preprocess(hone_predictor_model(p));
 *         unsigned char pixels[512 * 512 * 3];             // (H, W, C) of the model's input
 *         float probability[1000];                         // (classes)
 *         if (hone_image_file(argv[2], pre, pixels) != HONE_OK) goto fail;
 *         if (hone_predictor_run(p, pixels, 1, probability) != HONE_OK) goto fail;
 *         printf("%s %.3f\n", hone_model_class_name(hone_predictor_model(p), 0), probability[0]);
 *         hone_predictor_close(p);
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
