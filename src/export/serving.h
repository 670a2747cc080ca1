/* serving.h - folders that model servers read, around an ONNX file that onnx/export.h has checked.
 *
 * Inputs and outputs are those of the file that was written, read back from it, so that a config can't say otherwise. */
#ifndef HONE_EXPORT_SERVING_H
#define HONE_EXPORT_SERVING_H

#include "onnx/export.h"

/* REPOSITORY/NAME/{config.pbtxt,labels.txt,1/model.onnx} of NVIDIA Triton. NAME: letters, digits, _ and - (USAGE else). */
hone_status hone_export_triton(const char *model_path, const char *repository, const char *name,
                               const hone_onnx_export_opts *o, hone_onnx_report *report) HONE_MUST_USE;
/* FOLDER/{MLmodel,model.onnx,requirements.txt,conda.yaml,python_env.yaml,labels.txt,README.md} of MLflow's onnx flavor. */
hone_status hone_export_mlflow(const char *model_path, const char *folder, const hone_onnx_export_opts *o,
                               hone_onnx_report *report) HONE_MUST_USE;

#endif
