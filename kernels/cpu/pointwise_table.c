/* pointwise_table.c - rows of the CPU dialect that are neither plain linear nor plain conv.
 *
 * Which ops these are is listed once, in pointwise.h; each launch exists once per instruction set. */
#include "cpu/pointwise.h"

#define DECLARE(op, prepare) HONE_CPU_DECLARE(void, cpu_##op, (hone_backend * b, const hone_launch *l));
HONE_CPU_POINTWISE(DECLARE)

#define ROW(op, prepare) {HONE_OP_##op, prepare, HONE_CPU_EACH(cpu_##op), NULL},
const hone_cpu_row hone_cpu_pointwise_rows[] = {
    HONE_CPU_POINTWISE(ROW){HONE_OP_COUNT, NULL, {NULL, NULL, NULL}, NULL},
};
