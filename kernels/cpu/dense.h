/* dense.h - launch and prepare functions of the dense rows, for table.c. */
#ifndef HONE_KERNELS_CPU_DENSE_H
#define HONE_KERNELS_CPU_DENSE_H

#include "cpu/cpu.h"

hone_cpu_prepare_fn hone_cpu_linear_prepare;
hone_cpu_release_fn hone_cpu_linear_release;
hone_cpu_launch_fn hone_cpu_linear, hone_cpu_linear_dx, hone_cpu_linear_dw;

hone_cpu_prepare_fn hone_cpu_conv_prepare;
hone_cpu_launch_fn hone_cpu_conv_forward, hone_cpu_conv_dx, hone_cpu_conv_dw;
hone_cpu_release_fn hone_cpu_conv_release;

/* conv1d.c: along ragged texts */
hone_cpu_prepare_fn hone_cpu_conv1d_prepare;
hone_cpu_launch_fn hone_cpu_conv1d, hone_cpu_conv1d_dx, hone_cpu_conv1d_dw;

#endif
