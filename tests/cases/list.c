/* list.c - the rows of cases.def as two arrays. Nothing else. */
#include "cases/cases.h"

#define CASE(op, dtype, tolerance, shapes, ...) {HONE_OP_##op, HONE_##dtype, tolerance, shapes, {__VA_ARGS__}},
#define PERF(op, shapes, ...)
const case_row case_list[] = {
#include "cases.def"
};
const int case_count = (int)(sizeof case_list / sizeof *case_list);
#undef CASE
#undef PERF

#define CASE(op, dtype, tolerance, shapes, ...)
#define PERF(op, shapes, ...) {HONE_OP_##op, HONE_F32, CLOSE, shapes, {__VA_ARGS__}},
const case_row perf_list[] = {
#include "cases.def"
};
const int perf_count = (int)(sizeof perf_list / sizeof *perf_list);
