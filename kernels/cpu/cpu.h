/* cpu.h - what the files of the CPU dialect share: instruction sets, rows of the table.
 *
 * Files *_simd.c are compiled once per instruction set; their functions carry the set's name as suffix
 * (simd.h) and are listed as a triple, in which sets that this build lacks are NULL. Which set runs is
 * a function of the CPU's features and of HONE_CPU_ISA (base, avx2, avx512: for tests), never of a clock.
 * Not for anything outside kernels/cpu. */
#ifndef HONE_KERNELS_CPU_CPU_H
#define HONE_KERNELS_CPU_CPU_H

#include "hone/backend.h"

typedef enum hone_cpu_isa { HONE_CPU_BASE, HONE_CPU_AVX2, HONE_CPU_AVX512, HONE_CPU_ISA_COUNT } hone_cpu_isa;

/* The best set that this CPU and this build have, or the lower one that HONE_CPU_ISA names. */
hone_cpu_isa hone_cpu_isa_pick(void);
const char *hone_cpu_isa_name(hone_cpu_isa isa);

/* Declares TYPE NAME_base ARGS and its two siblings. */
#define HONE_CPU_DECLARE(type, name, args)                                                                             \
    extern type name##_base args;                                                                                      \
    extern type name##_avx2 args;                                                                                      \
    extern type name##_avx512 args
/* The three addresses as an initialiser of an array [HONE_CPU_ISA_COUNT]; NULL where the build has no such set
 * (HONE_CPU_X86, 0 or 1, comes from the build). */
#define HONE_CPU_EACH(name)                                                                                            \
    {                                                                                                                  \
        name##_base, HONE_CPU_IF(HONE_CPU_X86, name##_avx2), HONE_CPU_IF(HONE_CPU_X86, name##_avx512)                  \
    }
#define HONE_CPU_IF(flag, x)  HONE_CPU_IF_(flag, x)
#define HONE_CPU_IF_(flag, x) HONE_CPU_IF_##flag(x)
#define HONE_CPU_IF_0(x)      0
#define HONE_CPU_IF_1(x)      x

typedef hone_status hone_cpu_prepare_fn(hone_backend *b, const hone_graph *g, hone_node *n);
typedef void hone_cpu_launch_fn(hone_backend *b, const hone_launch *l);
typedef void hone_cpu_release_fn(hone_backend *b, hone_node *n);

/* One row of the dialect's table; launch has one entry per instruction set (equal ones if it doesn't matter). */
typedef struct hone_cpu_row {
    hone_op op;
    hone_cpu_prepare_fn *prepare;
    hone_cpu_launch_fn *launch[HONE_CPU_ISA_COUNT];
    hone_cpu_release_fn *release;
} hone_cpu_row;

/* Runs job(arg, part, parts) for every part, each on a thread of its own; returns when all are done. The number
 * of parts decides who computes what, so a busy or restricted machine gives the same bits. */
typedef void hone_cpu_job(void *arg, int part, int parts);
void hone_cpu_parallel(const hone_backend *b, int parts, hone_cpu_job *job, void *arg);
/* How many parts work of `flop` operations deserves on `b`: a function of the two alone. */
int hone_cpu_parts(const hone_backend *b, double flop);
/* The part's even share [begin, end) of `count` items. */
void hone_cpu_share(int64_t count, int part, int parts, int64_t *begin, int64_t *end);

/* Replaces rows of `b` (a copy of the ref table) by those of this dialect. */
void hone_cpu_overlay(hone_backend *b);

#endif
