/* quantize.h - a finished graph with smaller weights: 16 bits that are widened when it is loaded, or 8 bits with
 * quantised activations (QDQ form, which onnxruntime turns into integer kernels). */
#ifndef HONE_ONNX_QUANTIZE_H
#define HONE_ONNX_QUANTIZE_H

#include "onnx/samples.h"

/* Every larger float constant becomes FLOAT16 with a Cast behind it. USAGE where a weight is too large for 16 bits. */
hone_status hone_onnx_half(hone_onnx *m) HONE_MUST_USE;

/* Least and largest value that each product's input took (nodes of `m`; NaN: no such input). free() the array of
 * (node_count, 2). */
hone_status hone_onnx_ranges(const hone_onnx *m, const hone_onnx_samples *s, int64_t most, int threads,
                             float **ranges) HONE_MUST_USE;
/* Convolutions and products with constant weights in 8 bits: weights symmetric, -64 to 64, a scale a channel; inputs
 * uint8 by their range; biases int32. Tables that rows are gathered from: a scale a row. */
hone_status hone_onnx_int8(hone_onnx *m, const float *ranges) HONE_MUST_USE;

#endif
