/* isa_simd.c - can the running CPU execute what this file is compiled for?
 *
 * The predicate of each instruction set is a macro chosen by name, so that no #if is needed. The functions
 * must hold no vector code: they run before the answer is known. */
#include "cpu/simd.h"
#include "cpu/cpu.h"

#define SUPPORTED_base 1
#define SUPPORTED_avx2 __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
#define SUPPORTED_avx512                                                                                               \
    __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&   \
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2")

HONE_CPU_DECLARE(int, hone_cpu_supported, (void));

int SIMD(hone_cpu_supported)(void) { return SIMD_CAT(SUPPORTED, HONE_ISA); }
