/* isa.c - which instruction set the dialect runs on: the best that build and CPU have, never above
 * what HONE_CPU_ISA names (tests use it to run the smaller sets on a larger machine). */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

HONE_CPU_DECLARE(int, hone_cpu_supported, (void));

/* in the order of hone_cpu_isa */
static const char *const isa_name[HONE_CPU_ISA_COUNT] = {"base", "avx2", "avx512"};

const char *hone_cpu_isa_name(hone_cpu_isa isa) { return isa_name[isa]; }

hone_cpu_isa hone_cpu_isa_pick(void)
{
    int (*const supported[])(void) = HONE_CPU_EACH(hone_cpu_supported);
    const char *wanted = getenv("HONE_CPU_ISA");
    int best = HONE_CPU_ISA_COUNT - 1;
    if (wanted)
        for (int i = 0; i < HONE_CPU_ISA_COUNT; i++)
            if (strcmp(wanted, isa_name[i]) == 0) best = i;
    /* down to a set that exists in the build and on this CPU; base always does */
    while (best > HONE_CPU_BASE && !(supported[best] && supported[best]())) best--;
    return (hone_cpu_isa)best;
}
