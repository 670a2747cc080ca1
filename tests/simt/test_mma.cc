/* test_mma.cc - the words of kernels/cuda/mma.cuh on the emulator: a whole product of 16 x 8 x 16 by every way to load its
 * operands, equal to the bit on small integers, in both types of 16 bits; and each known mistake planted once, which must be
 * noticed: a wrong result or a fault. Prints the list. The layout is written here a second time, by register, as the comment
 * of mma.cuh has it: tests/simt/mma.cc has it by element, as the PTX ISA has. No GPU has confirmed either. */
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "mma.cuh"

static int fault_count;
static char last_fault[1200];
static void remember(const char *message)
{
    fault_count++;
    snprintf(last_fault, sizeof last_fault, "%s", message);
}

enum mistake {
    NONE, SWAPPED_A, SWAPPED_B, SWAPPED_C, SWAPPED_HALVES, NOT_TRANSPOSED, LANE_ABSENT, TWO_PLACES, TWO_TYPES, MISALIGNED_ROW,
    ROW_NOT_SHARED, NO_WAIT, SHORT_WAIT, OVERWRITTEN, MISTAKES
};
static const char *mistake_name[] = {
    "none", "two registers of a swapped", "two registers of b swapped", "rows of the result swapped", "halves of a pair swapped",
    "b loaded without transposing", "a lane has returned", "lanes at two products", "lanes at products of two types",
    "a row at no multiple of 16 bytes", "a row outside shared memory", "no wait for a copy", "a wait that leaves the last copy out", "a copy begins over what is still read"};

/* How the operands come into registers */
enum path { BY_HAND, BY_LDMATRIX, BY_TRANSPOSE, PATHS };

static const int PITCH = 24; /* of shared rows, elements */

/* a and b from shared rows, register by register, without ldmatrix */
template <typename T> static void fragments_by_hand(const T *as, const T *bs, uint32_t *a, uint32_t *b)
{
    const int group = (int)(threadIdx.x & 31) / 4, pair = (int)(threadIdx.x & 31) % 4 * 2;
    auto two = [](const T &low, const T &high) {
        uint16_t l, h;
        memcpy(&l, &low, 2);
        memcpy(&h, &high, 2);
        return (uint32_t)l | (uint32_t)h << 16;
    };
    for (int r = 0; r < 4; r++) {
        const T *row = as + (group + r % 2 * 8) * PITCH + pair + r / 2 * 8;
        a[r] = two(row[0], row[1]);
    }
    for (int r = 0; r < 2; r++) {
        const T *row = bs + group * PITCH + pair + r * 8; /* bs (n, k) */
        b[r] = two(row[0], row[1]);
    }
}

/* c (16, 8) = a (16, 16) b^T, b (8, 16); one warp; a second product, of zeros, is added. */
template <typename T> static void product_k(const T *a_in, const T *b_in, float *c_out, int path, int m)
{
    static const char a_key = 0, b_key = 0, t_key = 0;
    T *as = (T *)simt::shared(&a_key, "as", 16 * PITCH * 2, 16), *bs = (T *)simt::shared(&b_key, "bs", 16 * PITCH * 2, 16);
    T *ts = (T *)simt::shared(&t_key, "ts", 16 * PITCH * 2, 16);
    const int lane = (int)threadIdx.x, group = lane / 4, pair = lane % 4 * 2;
    async_copies copies;
    copies.copy16(as + lane / 2 * PITCH + lane % 2 * 8, a_in + lane * 8, true);
    copies.commit();
    copies.copy16(bs + lane / 2 * PITCH + lane % 2 * 8, b_in + lane % 16 * 8, lane < 16); /* rows 8..15: zeros */
    copies.commit();
    if (m == SHORT_WAIT) copies.wait<1>();
    else if (m != NO_WAIT) copies.wait<0>();
    __syncthreads();
    for (int i = lane; i < 16 * 8; i += 32) ts[i / 8 * PITCH + i % 8] = bs[i % 8 * PITCH + i / 8]; /* (k, n) */
    for (int i = lane; i < 16 * 8; i += 32) ts[i / 8 * PITCH + 8 + i % 8] = from_float<T>(0);
    __syncthreads();
    if (m == OVERWRITTEN) copies.copy16(as + lane / 2 * PITCH + lane % 2 * 8, a_in + (31 - lane) * 8, true);
    uint32_t a[4], b[4], other[2] = {0, 0};
    float c[4] = {1, 2, 3, 4}, none[4] = {0, 0, 0, 0};
    if (path == BY_HAND) fragments_by_hand(as, bs, a, b);
    else {
        const void *row = as + (lane & 15) * PITCH + lane / 16 * 8;
        if (m == MISALIGNED_ROW) row = (const char *)row + 2;
        if (m == ROW_NOT_SHARED) row = a_in;
        ldmatrix(a, row);
        if (path == BY_LDMATRIX) ldmatrix(b, bs + ((lane & 7) + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8);
        else if (m == NOT_TRANSPOSED) ldmatrix(b, ts + (lane & 15) * PITCH + lane / 16 * 8);
        else ldmatrix_transposed(b, ts + (lane & 15) * PITCH + lane / 16 * 8);
        memcpy(other, b + 2, sizeof other); /* columns 8..15: zeros */
    }
    if (m == SWAPPED_A) std::swap(a[1], a[2]);
    if (m == SWAPPED_B) std::swap(b[0], b[1]);
    if (m == SWAPPED_HALVES) a[3] = a[3] >> 16 | a[3] << 16;
    if (m == LANE_ABSENT && lane == 5) return;
    if (m == TWO_TYPES && lane >= 16) mma_16816(c, a, b[0], b[1], fp16());
    else if (m == TWO_TYPES) mma_16816(c, a, b[0], b[1], bf16());
    else if (m == TWO_PLACES && lane % 2) mma_16816(c, a, b[0], b[1], T());
    else mma_16816(c, a, b[0], b[1], T());
    mma_16816(none, a, other[0], other[1], T());
    for (int i = 0; i < 4; i++) c[i] += none[i];
    if (m == SWAPPED_C) std::swap(c[0], c[2]);
    for (int i = 0; i < 4; i++) c_out[(group + i / 2 * 8) * 8 + pair + i % 2] = c[i];
}

/* Runs one path with one mistake; true where it is noticed. */
template <typename T> static bool noticed(int path, int m)
{
    const int before = fault_count;
    std::vector<T> a(16 * 16), b(8 * 16);
    std::vector<float> c(16 * 8);
    for (int i = 0; i < 256; i++) a[(size_t)i] = from_float<T>((float)((i * 7 + i / 16 * 5) % 19 - 9));
    for (int i = 0; i < 128; i++) b[(size_t)i] = from_float<T>((float)((i * 11 + i / 16 * 3) % 17 - 8));
    T *da = (T *)simt::device_alloc(512), *db = (T *)simt::device_alloc(256);
    float *dc = (float *)simt::device_alloc(512);
    simt::copy(da, a.data(), 512, true);
    simt::copy(db, b.data(), 256, true);
    simt::launch_kernel({dim3(1), dim3(32), 0, false, 0, "product_k"}, product_k<T>, da, db, dc, path, m);
    simt::copy(c.data(), dc, 512, false);
    simt::synchronize();
    bool wrong = false;
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float want = (float)(1 + j % 2 + i / 8 * 2); /* what the accumulators began with */
            for (int k = 0; k < 16; k++) want += to_float(a[(size_t)(i * 16 + k)]) * to_float(b[(size_t)(j * 16 + k)]);
            wrong = wrong || c[(size_t)(i * 8 + j)] != want;
        }
    simt::device_free(da);
    simt::device_free(db);
    simt::device_free(dc);
    return wrong || fault_count > before;
}

/* A mistake that this path does not have: its operands come another way. */
static bool has(int path, int m)
{
    if (m == NOT_TRANSPOSED) return path == BY_TRANSPOSE;
    return path != BY_HAND || (m != MISALIGNED_ROW && m != ROW_NOT_SHARED);
}

int main()
{
    static const char *schedules[] = {"order", "reverse", "random:1", "greedy:1"}, *paths[] = {"by hand", "ldmatrix", "ldmatrix.trans"};
    int failed = 0, planted = 0, caught = 0;
    simt::on_fault(remember);
    for (const char *s : schedules) {
        simt::set_schedule(s);
        for (int p = 0; p < PATHS; p++) {
            if (!noticed<bf16>(p, NONE) && !noticed<fp16>(p, NONE)) continue;
            printf("FAILED: the right product, %s, under %s: %s\n", paths[p], s, last_fault);
            failed++;
        }
    }
    for (int m = NONE + 1; m < MISTAKES; m++)
        for (int p = 0; p < PATHS; p++) {
            if (!has(p, m)) continue;
            last_fault[0] = '\0';
            planted++;
            bool seen = noticed<bf16>(p, m) && noticed<fp16>(p, m);
            printf("%-40s %-15s %s %.110s\n", mistake_name[m], paths[p], seen ? "caught" : "MISSED", last_fault);
            caught += seen;
        }
    printf("%d of %d planted mistakes caught\n", caught, planted);
    return failed || caught != planted;
}
