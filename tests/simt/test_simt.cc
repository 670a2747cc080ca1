/* test_simt.cc - the emulator must catch what it is there to catch: each known kind of kernel mistake
 * is planted once and must be seen under at least one of the four schedules, and the same kernel
 * without the mistake must pass under all of them. Prints the list. Built with ThreadSanitizer, missing orders
 * must be seen under the first schedule already, and two more kinds of them. */
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "simt.h"

static int fault_count;
static char last_fault[1200];
static void remember(const char *message)
{
    fault_count++;
    snprintf(last_fault, sizeof last_fault, "%s", message);
}

template <typename T> static T *shared_array(const void *key, const char *name, size_t count)
{
    return (T *)simt::shared(key, name, count * sizeof(T), alignof(T));
}

/* ThreadSanitizer's reports, in builds that have it: it sees a missing order whatever the schedule. */
static volatile int race_count;
#if defined(__SANITIZE_THREAD__)
static const bool RACES = true;
extern "C" const char *__tsan_default_options() { return "exitcode=0 symbolize=0 suppress_equal_addresses=0"; }
extern "C" __attribute__((no_sanitize("thread"))) void __tsan_on_report(const void *) { race_count = race_count + 1; }
#else
static const bool RACES = false;
#endif

enum mistake {
    NONE, NO_BARRIER_AFTER_WRITE, NO_BARRIER_BEFORE_REUSE, SAME_PLACE, SAME_PLACE_AS_NEIGHBOUR, NO_SYNCWARP, OFF_BY_ONE_SHARED, OFF_BY_ONE_GLOBAL, LOST_TAIL, EARLY_RETURN,
    DIVERGENT_BARRIER, LANE_OUTSIDE_MASK, CALLER_OUTSIDE_MASK, WRONG_LANE, FULL_MASK_SHORT_WARP, UNSET_SHARED, TOO_MANY_THREADS,
    NO_SYNCHRONISE, MISTAKES
};
static const char *mistake_name[] = {
    "none", "dropped barrier after a shared write", "dropped barrier before shared memory is used again",
    "two threads write one place", "two blocks write one place", "no __syncwarp between lanes",
    "write one past a shared array", "write one past a device array", "lost tail", "return before a barrier",
    "barriers at two places", "shuffle from a lane outside the mask", "calling lane not in its mask", "shuffle from a wrong lane",
    "full mask in a short warp", "shared memory read before it is written", "1025 threads", "host reads before synchronising"};

static const int THREADS = 96, N = 1000;

/* Block sums of x and of x*x, one after the other through the same shared array. */
static float block_sum(float v, float *s, int m)
{
    int t = (int)threadIdx.x;
    for (int d = 16; d > 0; d /= 2) v += m == WRONG_LANE && d == 8 ? __shfl_down_sync(0xffffffffu, v, d + 1) : __shfl_down_sync(0xffffffffu, v, d);
    if (m != NO_BARRIER_BEFORE_REUSE) __syncthreads();
    if (t % 32 == 0) s[t / 32] = v;
    if (m != NO_BARRIER_AFTER_WRITE) __syncthreads();
    float sum = 0;
    for (int w = 0; w < THREADS / 32; w++) sum += s[w];
    return sum;
}

static void sums_k(const float *x, float *y, int n, int m)
{
    static const char key = 0;
    float *s = shared_array<float>(&key, "s", THREADS / 32);
    int t = (int)threadIdx.x, i = (int)(blockIdx.x * blockDim.x) + t;
    if (m == UNSET_SHARED && t == 0) y[0] = s[0];
    if (m == EARLY_RETURN && i >= n) return;
    float v = i < n - (m == LOST_TAIL) ? x[i] : 0;
    float sum = block_sum(v, s, m);
    float squares = block_sum(v * v, s, m); /* a line of its own: ThreadSanitizer says equal call stacks once */
    if (m == DIVERGENT_BARRIER) {
        if (t < 32) __syncthreads();
        else { __syncthreads(); }
    }
    if (m == LANE_OUTSIDE_MASK && t < 16) sum += 0 * __shfl_sync(0x0000ffffu, v, 20);
    if (m == CALLER_OUTSIDE_MASK) sum += 0 * __shfl_sync(0x0000ffffu, v, 2);
    static const char pair_key = 0;
    float *pair = shared_array<float>(&pair_key, "pair", THREADS);
    pair[t] = v;
    if (m != NO_SYNCWARP) __syncwarp();
    sum += 0 * pair[t ^ 1];
    if (m == SAME_PLACE && t < 2) y[2 * blockIdx.x] = 0;
    if (m == SAME_PLACE_AS_NEIGHBOUR && t == 0) y[0] = 0;
    if (t == 0) {
        y[2 * blockIdx.x] = sum;
        y[2 * blockIdx.x + 1] = squares;
        if (m == OFF_BY_ONE_SHARED) s[THREADS / 32] = 1;
        if (m == OFF_BY_ONE_GLOBAL && blockIdx.x + 1 == gridDim.x) y[2 * gridDim.x] = 1;
    }
}

/* Runs one mistake; true when it is noticed: a fault, a refused launch, or a wrong result. */
static bool noticed(int m)
{
    int blocks = (N + THREADS - 1) / THREADS, before = fault_count, races = race_count;
    std::vector<float> x(N), y(2 * (size_t)blocks, -1);
    for (int i = 0; i < N; i++) x[(size_t)i] = (float)(i % 7 + 1);
    float *dx = (float *)simt::device_alloc(N * sizeof(float)), *dy = (float *)simt::device_alloc(y.size() * sizeof(float));
    simt::copy(dx, x.data(), N * sizeof(float), true);
    int threads = m == TOO_MANY_THREADS ? 1025 : m == FULL_MASK_SHORT_WARP ? 80 : THREADS;
    int refused = simt::launch_kernel({dim3((unsigned)blocks), dim3((unsigned)threads), 0, false, 0, "sums_k"}, sums_k, dx, dy, N, m);
    simt::copy(y.data(), dy, y.size() * sizeof(float), false);
    if (m != NO_SYNCHRONISE) simt::synchronize();
    bool wrong = false;
    for (int b = 0; b < blocks; b++) {
        float sum = 0, squares = 0;
        for (int i = b * THREADS; i < (b + 1) * THREADS && i < N; i++) {
            sum += x[(size_t)i];
            squares += x[(size_t)i] * x[(size_t)i];
        }
        if (y[2 * (size_t)b] != sum || y[2 * (size_t)b + 1] != squares) wrong = true; /* small integers: exact */
    }
    simt::synchronize();
    simt::device_free(dx);
    simt::device_free(dy);
    return refused || wrong || fault_count > before || race_count > races;
}

/* Under ASan an overrun ends the program by design; the release build of this test plants those. */
static bool asan_ends_it(int m)
{
#if defined(__SANITIZE_ADDRESS__)
    return m == OFF_BY_ONE_SHARED || m == OFF_BY_ONE_GLOBAL;
#else
    (void)m;
    return false;
#endif
}

/* Mistakes whose result is right under the schedules here: only a look at the order shows them. */
static bool only_races_show(int m) { return m == SAME_PLACE || m == SAME_PLACE_AS_NEIGHBOUR; }

static int total_k_calls;
static void grid_k(int *counter, int *out)
{
    if (threadIdx.x == 0) atomicAdd(counter, 1);
    simt::grid_sync(SIMT_SITE);
    if (threadIdx.x == 0) out[blockIdx.x] = *counter; /* every block has arrived */
    __atomic_fetch_add(&total_k_calls, 1, __ATOMIC_RELAXED);
}

static int check_grid_sync()
{
    int zero = 0, out[5] = {0};
    int *dc = (int *)simt::device_alloc(sizeof(int)), *dout = (int *)simt::device_alloc(sizeof out);
    simt::copy(dc, &zero, sizeof zero, true);
    simt::launch_kernel({dim3(5), dim3(33), 0, true, 0, "grid_k"}, grid_k, dc, dout);
    simt::copy(out, dout, sizeof out, false);
    simt::synchronize();
    simt::device_free(dc);
    simt::device_free(dout);
    for (int b = 0; b < 5; b++)
        if (out[b] != 5) return 1;
    return total_k_calls % (5 * 33) != 0;
}

int main()
{
    static const char *schedules[] = {"order", "reverse", "random:1", "random:2", "greedy:1", "greedy:2"};
    simt::on_fault(remember);
    int failed = 0, caught = 0, planted = 0;
    for (const char *s : schedules) {
        simt::set_schedule(s);
        if (noticed(NONE)) printf("FAILED: the right kernel under %s: %s\n", s, last_fault), failed++;
        if (check_grid_sync()) printf("FAILED: grid barrier under %s\n", s), failed++;
    }
    for (int m = NONE + 1; m < MISTAKES; m++) {
        if (asan_ends_it(m) || (only_races_show(m) && !RACES)) continue;
        planted++;
        char by[128] = "";
        for (const char *s : schedules) {
            simt::set_schedule(s);
            if (noticed(m) && strlen(by) < 100) strcat(strcat(by, " "), s);
        }
        printf("%-52s %s%s\n", mistake_name[m], *by ? "caught by" : "MISSED", by);
        /* Where races are looked for, the first schedule must do, which is blind to most; equal ones are said once. */
        if (*by && strstr(by, RACES && m <= NO_SYNCWARP ? schedules[0] : "")) caught++;
        else failed++;
    }
    printf("%d of %d planted mistakes caught\n", caught, planted);
    return failed != 0;
}
