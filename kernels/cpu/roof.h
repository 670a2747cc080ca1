/* roof.h - between roof.c and its vector part. */
#ifndef HONE_KERNELS_CPU_ROOF_H
#define HONE_KERNELS_CPU_ROOF_H

#include "cpu/cpu.h"

HONE_CPU_DECLARE(double, hone_cpu_roof_fma, (int64_t rounds, float *sink));

#endif
