/* predict_text.h - `hone predict` with a text model: arguments, or the lines of stdin at full speed. */
#ifndef HONE_CLI_PREDICT_TEXT_H
#define HONE_CLI_PREDICT_TEXT_H

#include "cli/predict_print.h"
#include "hone/predictor.h"

/* Every text gives one answer, in order; an empty line too, so that answers can be pasted beside their lines. */
hone_status hone_predict_texts(const hone_cli *cli, hone_predictor *p, hone_printing *print,
                               bool from_stdin) HONE_MUST_USE;

#endif
