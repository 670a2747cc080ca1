/* mma.cc - the tensor cores' m16n8k16 and ldmatrix, element by element as the PTX ISA documents their fragments.
 *
 * A warp holds a matrix in pieces: element i of lane l of an operand is a fixed place of the matrix. The three tables of
 * "Matrix Fragments for mma.m16n8k16" stand below as functions; nothing else here knows a layout. A product is computed by
 * the lane that comes last, in float, k in order: exact on small integers, elsewhere as good as any order of the sum. */
#include "simt.h"

namespace simt
{

struct place {
    unsigned row, column;
};

/* a: 16 x 16, eight elements a lane */
static place place_of_a(unsigned lane, unsigned i)
{
    const unsigned group = lane >> 2, in_group = lane % 4;
    const bool upper = (i < 2) || (4 <= i && i < 6);
    return {upper ? group : group + 8, in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
}

/* b: 16 x 8, four elements a lane */
static place place_of_b(unsigned lane, unsigned i)
{
    return {lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0), lane >> 2};
}

/* c: 16 x 8, four elements a lane */
static place place_of_c(unsigned lane, unsigned i)
{
    return {i < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (i & 1)};
}

static float value_of(uint32_t pair, unsigned high, bool brain)
{
    const uint16_t half = (uint16_t)(high ? pair >> 16 : pair);
    const uint32_t wide = (uint32_t)half << 16;
    _Float16 f;
    float v;
    if (brain) memcpy(&v, &wide, sizeof v);
    else memcpy(&f, &half, sizeof f), v = (float)f;
    return v;
}

struct operands {
    float *c;          /* 4 */
    const uint32_t *a; /* 4 pairs */
    const uint32_t *b; /* 2 pairs */
};

template <bool BRAIN> static void multiply(void *const *lanes)
{
    float a[16][16], b[16][8];
    for (unsigned lane = 0; lane < 32; lane++) {
        const operands &o = *(const operands *)lanes[lane];
        for (unsigned i = 0; i < 8; i++) {
            const place p = place_of_a(lane, i);
            a[p.row][p.column] = value_of(o.a[i / 2], i % 2, BRAIN);
        }
        for (unsigned i = 0; i < 4; i++) {
            const place p = place_of_b(lane, i);
            b[p.row][p.column] = value_of(o.b[i / 2], i % 2, BRAIN);
        }
    }
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned i = 0; i < 4; i++) {
            const place p = place_of_c(lane, i);
            float &sum = ((const operands *)lanes[lane])->c[i];
            for (unsigned k = 0; k < 16; k++) sum += a[p.row][k] * b[k][p.column];
        }
}

void mma_bf16(site at, float *c, const uint32_t *a, const uint32_t *b)
{
    operands mine = {c, a, b};
    together(at, multiply<true>, &mine);
}

void mma_fp16(site at, float *c, const uint32_t *a, const uint32_t *b)
{
    operands mine = {c, a, b};
    together(at, multiply<false>, &mine);
}

struct row_of_lane {
    const void *own, **all;
};

static void tell_rows(void *const *lanes)
{
    for (unsigned to = 0; to < 32; to++)
        for (unsigned from = 0; from < 32; from++)
            ((const row_of_lane *)lanes[to])->all[from] = ((const row_of_lane *)lanes[from])->own;
}

void matrix_rows(site at, const void *row, const void **rows)
{
    if ((uintptr_t)row % 16) fault(at, "ldmatrix: the address of a row is no multiple of 16 bytes");
    if (!in_shared(row, 16)) fault(at, "ldmatrix: a row outside the block's shared memory");
    row_of_lane mine = {row, rows};
    together(at, tell_rows, &mine);
}

} // namespace simt
