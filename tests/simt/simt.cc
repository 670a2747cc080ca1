/* simt.cc - the block executor: fibers, barriers, warp operations, shared memory (simt.h).
 *
 * One block at a time (all blocks at once for a cooperative launch). A thread runs until it waits or
 * ends; the schedule picks the next ready one. Whoever completes a barrier or a warp operation does
 * the exchange for all and makes the others ready, so no slot can be overwritten early. */
#include "simt.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "device_memory.h"
#include "fiber.h"
#include "race.h"
#include "schedule.h"

namespace simt {

enum class wait { ready, block, warp, grid, done };

struct thread {
    fiber    context;
    position at;
    unsigned lane, warp;      /* within the block                                                  */
    wait     state;
    site     where;           /* of what it waits at                                               */
    int      kind, value;     /* block barrier: reduction and its input, then its result           */
    warp_op  op;              /* warp operation: all lanes of the mask must ask for the same       */
    unsigned mask;
    uint64_t bits;            /* input, then result                                                */
    int      argument, width;
    void   (*work)(void *const *); /* of warp_op::together                                             */
    char     order[2];        /* tags of its __syncwarps, even and odd ones: a fast lane is at most one ahead */
    unsigned syncs, partners; /* __syncwarps so far; parity of each lane's count in the one just completed    */
};

struct shared_array { const void *key; const char *name; size_t begin, bytes; };

/* What the threads of a warp are doing, so that nobody has to ask all of them */
struct warp_state {
    uint32_t ready = 0;             /* a bit a lane                                                    */
    unsigned waiting = 0, done = 0; /* lanes in a warp operation; lanes that have returned             */
};

struct block {
    std::vector<thread> threads;
    std::vector<warp_state> warps;
    std::vector<shared_array> arrays;
    unsigned char *arena = nullptr; /* SHARED_BYTES, red zones between the arrays                   */
    size_t used = 0, declared = 0, dynamic_begin = 0, dynamic_bytes = 0;
    unsigned live = 0;        /* threads that have not ended                                       */
    unsigned waiting = 0;     /* of them, those at the block's barrier                             */
    unsigned barriers = 0;    /* passed so far                                                     */
    char gate[2];             /* tags of even and odd barriers                                     */
};

static const size_t STATIC_LIMIT = 48u << 10, DYNAMIC_LIMIT = 227u << 10, RED_ZONE = 64, ARENA_BYTES = 512u << 10;
static const unsigned char RED = 0xA5, UNSET = 0xFF; /* UNSET makes floats NaN and indexes huge     */

struct executor {
    fiber   main;
    thread *running = nullptr;
    block  *current = nullptr;
    std::vector<block *> blocks;  /* alive now: one, or all of a cooperative launch                 */
    std::vector<block *> pool;    /* kept with their stacks                                        */
    std::function<void()> body;
    const char *name = "";
    bool     aborted = false;
    unsigned grid_barriers = 0;
    char     begin, end, fence, grid_gate[2]; /* tags (race.h)                                      */
    std::vector<unsigned char *> arenas; /* race.h: one for each block of a launch, or two blocks would share addresses */
    uint64_t launches = 0;
    void   (*handler)(const char *) = nullptr;
    int      faults = 0;
};

static executor &exec()
{
    static executor &e = *new executor; /* lives to the end of the program, after static destructors */
    return e;
}

const position &self()
{
    return exec().running->at;
}

/* The one place where the state of a started thread changes. */
static void turn(block &b, thread &t, wait to)
{
    warp_state &w = b.warps[t.warp];
    if (t.state == wait::ready) w.ready &= ~(1u << t.lane);
    else if (t.state == wait::warp) w.waiting--;
    else if (t.state == wait::block) b.waiting--;
    t.state = to;
    if (to == wait::ready) w.ready |= 1u << t.lane;
    else if (to == wait::warp) w.waiting++;
    else if (to == wait::block) b.waiting++;
    else if (to == wait::done) w.done++;
}

static void leave()
{
    executor &e = exec();
    fiber_switch(e.running->context, e.main);
}

/* Reports; ends the program where no handler is set. */
static void reportv(site at, const char *fmt, va_list args)
{
    executor &e = exec();
    char text[1024];
    int used = snprintf(text, sizeof text, "simt: %s (%s:%d", e.name, at.file ? at.file : "?", at.line);
    if (e.running)
        used += snprintf(text + used, sizeof text - (size_t)used, ", block %u,%u,%u thread %u,%u,%u", e.running->at.block.x,
                         e.running->at.block.y, e.running->at.block.z, e.running->at.thread.x, e.running->at.thread.y, e.running->at.thread.z);
    used += snprintf(text + used, sizeof text - (size_t)used, ", HONE_SIMT=%s): ", schedule_text().c_str());
    vsnprintf(text + used, sizeof text - (size_t)used, fmt, args);
    e.faults++;
    if (!e.handler) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
    e.handler(text);
}

void report(site at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    reportv(at, fmt, args);
    va_end(args);
}

/* With a handler, abandons the launch: no fiber of it runs again. */
void fault(site at, const char *fmt, ...)
{
    executor &e = exec();
    va_list args;
    va_start(args, fmt);
    reportv(at, fmt, args);
    va_end(args);
    e.aborted = true;
    if (e.running)
        for (;;) leave();
    throw 0; /* from the scheduler itself: caught in run_launch */
}

/* --- block barrier --------------------------------------------------------------------------------- */

static void release_block(block &b)
{
    b.barriers++;
    int count = 0, waiting = (int)b.waiting;
    for (thread &t : b.threads) count += t.state == wait::block && t.value;
    for (thread &t : b.threads) {
        if (t.state != wait::block) continue;
        t.value = t.kind == 1 ? count : t.kind == 2 ? count == waiting : t.kind == 3 ? count > 0 : 0;
        turn(b, t, wait::ready);
    }
}

static void try_block(block &b)
{
    if (b.waiting < b.live || b.waiting == 0) return;
    thread *first = nullptr;
    for (thread &t : b.threads)
        if (!first && t.state == wait::block) first = &t;
    for (thread &t : b.threads) {
        if (t.state == wait::done) fault(first->where, "__syncthreads after thread %u,%u,%u returned", t.at.thread.x, t.at.thread.y, t.at.thread.z);
        if (t.where.line != first->where.line || strcmp(t.where.file, first->where.file) != 0)
            fault(first->where, "divergent __syncthreads: other threads wait at %s:%d", t.where.file, t.where.line);
    }
    release_block(b);
}

int barrier(site at, int kind, int value)
{
    executor &e = exec();
    thread &t = *e.running;
    turn(*e.current, t, wait::block);
    t.where = at;
    t.kind = kind;
    t.value = value;
    /* Two tags: with one, a slow thread would also acquire what a fast one releases at the next barrier. */
    char *gate = &e.current->gate[e.current->barriers % 2];
    race_release(gate);
    try_block(*e.current);
    leave();
    race_acquire(gate);
    return t.value;
}

/* --- warp operations ------------------------------------------------------------------------------- */

static uint64_t shuffled(thread *const *lanes, const thread &t)
{
    int lane = (int)t.lane, base = lane & ~(t.width - 1), from = lane;
    switch (t.op) {
    case warp_op::shuffle: from = base + (t.argument & (t.width - 1)); break;
    case warp_op::shuffle_up: from = lane - t.argument < base ? lane : lane - t.argument; break;
    case warp_op::shuffle_down: from = lane + t.argument >= base + t.width ? lane : lane + t.argument; break;
    default: from = lane ^ t.argument; if (from >= base + t.width) from = lane; break; /* xor */
    }
    if (from < 0 || from > 31 || !(t.mask >> from & 1) || !lanes[from])
        fault(t.where, "shuffle reads lane %d, which is not in the mask %08x", from, t.mask);
    return lanes[from]->bits;
}

static uint64_t collected(thread *const *lanes, const thread &t)
{
    uint64_t sum = 0, most = 0, ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(t.mask >> lane & 1)) continue;
        uint64_t v = lanes[lane]->bits;
        sum += v;
        if (v > most) most = v;
        if (v) ballot |= 1ull << lane;
    }
    switch (t.op) {
    case warp_op::ballot: return ballot;
    case warp_op::all: return ballot == t.mask;
    case warp_op::any: return ballot != 0;
    case warp_op::reduce_add: return (unsigned)sum;
    case warp_op::reduce_max: return most;
    default: return 0; /* sync */
    }
}

static bool is_shuffle(warp_op op)
{
    return op == warp_op::shuffle || op == warp_op::shuffle_up || op == warp_op::shuffle_down || op == warp_op::shuffle_xor;
}

static void work_together(thread *const *lanes, const thread &t)
{
    void *mine[32];
    for (unsigned lane = 0; lane < 32; lane++) mine[lane] = (void *)(uintptr_t)lanes[lane]->bits;
    t.work(mine);
}

/* Completes the operation of `t` if every lane of its mask has come. */
static void try_warp(block &b, thread &t)
{
    const warp_state &w = b.warps[t.warp];
    /* Others are still on their way. Who can never come is told below, who waits for something else once as many wait as
     * the mask names, or as a deadlock. */
    if (w.waiting < (unsigned)__builtin_popcount(t.mask) && w.done == 0 && (size_t)t.warp * 32 + 32 <= b.threads.size()) return;
    thread *lanes[32] = {nullptr}; /* no heap: a fault may abandon this frame */
    size_t begin = (size_t)t.warp * 32;
    for (size_t k = begin; k < b.threads.size() && k < begin + 32; k++) lanes[k - begin] = &b.threads[k];
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(t.mask >> lane & 1)) continue;
        thread *o = lanes[lane];
        if (!o) fault(t.where, "mask %08x names lane %u, but the block ends before it", t.mask, lane);
        if (o->state == wait::done) fault(t.where, "mask %08x names lane %u, which has returned", t.mask, lane);
        if (o->state != wait::warp) return;
        if (o->op != t.op || o->mask != t.mask || o->where.line != t.where.line || o->work != t.work)
            fault(t.where, "lane %u waits at %s:%d with mask %08x, this one with %08x", lane, o->where.file, o->where.line, o->mask, t.mask);
    }
    if (t.op == warp_op::together) work_together(lanes, t);
    uint64_t result[32];
    unsigned parities = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        if (t.mask >> lane & 1) parities |= lanes[lane]->syncs % 2 << lane;
    const bool each = is_shuffle(t.op);
    const uint64_t all = each ? 0 : collected(lanes, t);
    for (unsigned lane = 0; lane < 32; lane++)
        if (t.mask >> lane & 1) result[lane] = each ? shuffled(lanes, *lanes[lane]) : all;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(t.mask >> lane & 1)) continue;
        lanes[lane]->bits = result[lane];
        lanes[lane]->partners = parities;
        turn(b, *lanes[lane], wait::ready);
    }
}

/* Behind a __syncwarp: what its lanes wrote before it is seen. */
static void pass_warp(block &b, thread &t)
{
    t.syncs++;
    for (unsigned lane = 0; RACES && lane < 32; lane++)
        if (t.mask >> lane & 1) race_acquire(&b.threads[(size_t)t.warp * 32 + lane].order[t.partners >> lane & 1]);
}

static uint64_t meet(site at, warp_op op, unsigned mask, uint64_t value, int argument, int width, void (*work)(void *const *))
{
    executor &e = exec();
    thread &t = *e.running;
    if (!(mask >> t.lane & 1)) fault(at, "mask %08x does not name the calling lane %u", mask, t.lane);
    if (width < 1 || width > 32 || (width & (width - 1))) fault(at, "width %d is not a power of two up to 32", width);
    turn(*e.current, t, wait::warp);
    t.where = at;
    t.op = op;
    t.mask = mask;
    t.bits = value;
    t.argument = argument;
    t.width = width;
    t.work = work;
    if (op == warp_op::sync) race_release(&t.order[t.syncs % 2]);
    try_warp(*e.current, t);
    leave();
    if (op == warp_op::sync) pass_warp(*e.current, t);
    return t.bits;
}

uint64_t warp(site at, warp_op op, unsigned mask, uint64_t value, int argument, int width)
{
    return meet(at, op, mask, value, argument, width, nullptr);
}

void together(site at, void (*work)(void *const *), void *mine)
{
    meet(at, warp_op::together, 0xffffffffu, (uint64_t)(uintptr_t)mine, 0, 32, work);
}

/* --- grid barrier and turns ---------------------------------------------------------------------- */

void grid_sync(site at)
{
    executor &e = exec();
    turn(*e.current, *e.running, wait::grid);
    e.running->where = at;
    char *gate = &e.grid_gate[e.grid_barriers % 2];
    race_release(gate);
    unsigned waiting = 0, live = 0;
    for (block *b : e.blocks) {
        live += b->live;
        for (thread &t : b->threads) waiting += t.state == wait::grid;
    }
    if (waiting == live) {
        e.grid_barriers++;
        for (block *b : e.blocks)
            for (thread &t : b->threads)
                if (t.state == wait::grid) turn(*b, t, wait::ready);
    }
    leave();
    race_acquire(gate);
}

void yield() { leave(); }

/* Whoever fences comes behind all who have: more order than CUDA gives, which needs an atomic both have met at. */
void fence()
{
    race_acquire(&exec().fence);
    race_release(&exec().fence);
}

/* --- shared memory ---------------------------------------------------------------------------------- */

static size_t place(block &b, size_t bytes, size_t align, site at, const char *name)
{
    size_t begin = (b.used + RED_ZONE + align - 1) / align * align;
    if (begin + bytes + RED_ZONE > ARENA_BYTES) fault(at, "shared memory '%s' does not fit", name);
    guard_close(b.arena + b.used, begin - b.used);
    guard_open(b.arena + begin, bytes);
    RACES ? race_fill(b.arena + begin, UNSET, bytes) : (void)memset(b.arena + begin, UNSET, bytes);
    b.used = begin + bytes;
    return begin;
}

void *shared(const void *key, const char *name, size_t bytes, size_t align)
{
    block &b = *exec().current;
    for (const shared_array &a : b.arrays)
        if (a.key == key) return b.arena + a.begin;
    b.declared += bytes;
    if (b.declared > STATIC_LIMIT) fault({name, 0}, "static shared memory of %zu bytes, at most %zu", b.declared, STATIC_LIMIT);
    size_t begin = place(b, bytes, align < 16 ? 16 : align, {name, 0}, name);
    b.arrays.push_back({key, name, begin, bytes});
    return b.arena + begin;
}

bool in_shared(const void *at, size_t bytes)
{
    const block &b = *exec().current;
    return (const unsigned char *)at >= b.arena && (const unsigned char *)at + bytes <= b.arena + b.used;
}

void *dynamic_shared()
{
    block &b = *exec().current;
    return b.arena + b.dynamic_begin;
}

/* Red zones must still hold RED: catches overruns in builds without AddressSanitizer. */
static void check_red_zones(block &b)
{
    size_t at = 0;
    auto check = [&](size_t until, const char *after) {
        for (; at < until; at++)
            if (b.arena[at] != RED) fault({after, 0}, "write past shared array '%s', byte %zu of the block's memory", after, at);
    };
    guard_open(b.arena, ARENA_BYTES);
    const char *before = "(start)";
    if (b.dynamic_bytes) {
        check(b.dynamic_begin, before);
        at = b.dynamic_begin + b.dynamic_bytes;
        before = "(dynamic)";
    }
    for (const shared_array &a : b.arrays) {
        check(a.begin, before);
        at = a.begin + a.bytes;
        before = a.name;
    }
    check(at + RED_ZONE, before);
}

/* --- running ------------------------------------------------------------------------------------------ */

static void thread_main()
{
    executor &e = exec();
    fiber_arrived(e.running->context, e.main);
    race_acquire(&e.begin);
    e.body();
    race_release(&e.end);
    turn(*e.current, *e.running, wait::done);
    e.current->live--;
    try_block(*e.current); /* a barrier that waited for this thread is an error, said there */
    for (;;) leave();
}

/* The arena of one block of a launch; launches follow each other, so the next one takes the same. */
static unsigned char *own_arena(uint3 index, dim3 grid)
{
    std::vector<unsigned char *> &a = exec().arenas;
    size_t number = index.x + (size_t)grid.x * (index.y + (size_t)grid.y * index.z);
    if (a.size() <= number) a.resize(number + 1, nullptr);
    if (!a[number]) a[number] = (unsigned char *)malloc(ARENA_BYTES);
    return a[number];
}

static void start_block(block &b, const launch_shape &s, uint3 index)
{
    unsigned count = s.block.x * s.block.y * s.block.z;
    if (RACES) b.arena = own_arena(index, s.grid);
    if (!b.arena) b.arena = (unsigned char *)malloc(ARENA_BYTES);
    guard_open(b.arena, ARENA_BYTES);
    RACES ? race_fill(b.arena, RED, ARENA_BYTES) : (void)memset(b.arena, RED, ARENA_BYTES);
    b.arrays.clear();
    b.arrays.reserve(64); /* here: a kernel's thread must not allocate what another one frees */
    b.used = b.declared = b.dynamic_begin = 0;
    b.dynamic_bytes = s.dynamic_bytes;
    if (b.dynamic_bytes) b.dynamic_begin = place(b, b.dynamic_bytes, 128, {s.name, 0}, "(dynamic)");
    guard_close(b.arena + b.used, ARENA_BYTES - b.used);
    b.live = count;
    b.waiting = 0;
    b.warps.assign((count + 31) / 32, warp_state());
    if (b.threads.size() > count)
        for (size_t k = count; k < b.threads.size(); k++) fiber_free(b.threads[k].context);
    b.threads.resize(count);
    for (unsigned k = 0; k < count; k++) {
        thread &t = b.threads[k];
        t.at = {{k % s.block.x, k / s.block.x % s.block.y, k / (s.block.x * s.block.y)}, index, s.block, s.grid};
        t.lane = k % 32;
        t.warp = k / 32;
        t.state = wait::ready;
        b.warps[t.warp].ready |= 1u << t.lane;
        t.where = {s.name, 0};
        t.syncs = 0;
        fiber_prepare(t.context, thread_main);
    }
    race_release(&exec().begin); /* behind malloc and the host's copies; ends of other blocks are not in it */
}

static void deadlock(executor &e)
{
    std::string text;
    for (block *b : e.blocks)
        for (thread &t : b->threads) {
            if (t.state == wait::done || text.size() > 600) continue;
            char line[160];
            snprintf(line, sizeof line, " [thread %u at %s:%d]", t.at.thread.x, t.where.file, t.where.line);
            text += line;
        }
    e.running = nullptr;
    fault({e.name, 0}, "deadlock: nothing can run;%s", text.c_str());
}

/* The block and, in `number`, the thread within it of a number over all live blocks */
static block *block_of(executor &e, unsigned &number)
{
    size_t k = 0;
    for (; number >= e.blocks[k]->warps.size() * 32; k++) number -= (unsigned)e.blocks[k]->warps.size() * 32;
    return e.blocks[k];
}

static void list_warp(const warp_state &w, unsigned first, std::vector<unsigned> &ready)
{
    for (uint32_t bits = w.ready; bits; bits &= bits - 1) ready.push_back(first + (unsigned)__builtin_ctz(bits));
}

/* The threads that can run, numbered over all live blocks, block-major, each block from a multiple of 32 on; of one warp,
 * or of all for ~0u. False when all have ended. */
static bool list_ready(executor &e, unsigned warp, std::vector<unsigned> &ready)
{
    ready.clear();
    unsigned base = 0, live = 0;
    for (block *b : e.blocks) {
        live += b->live;
        unsigned first = base / 32, count = (unsigned)b->warps.size();
        for (unsigned w = 0; warp == ~0u && w < count; w++) list_warp(b->warps[w], base + 32 * w, ready);
        if (warp >= first && warp - first < count) list_warp(b->warps[warp - first], 32 * warp, ready);
        base += 32 * count;
    }
    return live > 0;
}

/* Runs the blocks of e.blocks to their end. */
static void run_blocks(executor &e)
{
    std::vector<unsigned> ready; /* what a schedule picks from */
    /* One round: the schedule orders the ready threads; greedy hands out only one warp's. */
    while (list_ready(e, schedule_stays(), ready)) {
        if (ready.empty()) list_ready(e, ~0u, ready);
        if (ready.empty()) deadlock(e);
        schedule_round(ready);
        for (unsigned number : ready) {
            block *b = block_of(e, number);
            if (b->threads[number].state != wait::ready) continue;
            e.running = &b->threads[number];
            e.current = b;
            fiber_switch(e.main, e.running->context);
            if (e.aborted) return;
        }
    }
    e.running = nullptr;
    for (block *b : e.blocks) check_red_zones(*b);
}

static block *block_from_pool(executor &e, size_t k)
{
    while (e.pool.size() <= k) e.pool.push_back(new block);
    return e.pool[k];
}

static void run_launch(const launch_shape &s, const std::function<void()> &body)
{
    executor &e = exec();
    e.body = body;
    e.name = s.name;
    e.aborted = false;
    e.launches++;
    e.main.tsan = race_context();
    guard_device(false);
    uint64_t total = (uint64_t)s.grid.x * s.grid.y * s.grid.z;
    try {
        e.blocks.clear();
        for (uint64_t i = 0; i < total && !e.aborted; i++) {
            uint64_t n = schedule_block(i, total);
            uint3 index = {(unsigned)(n % s.grid.x), (unsigned)(n / s.grid.x % s.grid.y), (unsigned)(n / s.grid.x / s.grid.y)};
            if (!s.cooperative) e.blocks.clear();
            /* two in turn where races are looked for: neighbours must be different threads to be seen racing */
            block *b = block_from_pool(e, s.cooperative ? (size_t)i : RACES ? i % 2 : 0);
            start_block(*b, s, index);
            e.blocks.push_back(b);
            if (!s.cooperative) run_blocks(e);
        }
        if (s.cooperative && !e.aborted) run_blocks(e);
    } catch (int) {
        /* a fault of the scheduler itself, already reported to the handler */
    }
    e.running = nullptr;
    race_acquire(&e.end); /* only now: were it after each block, blocks would be ordered */
    guard_device(true);
}

/* --- the queue ------------------------------------------------------------------------------------------ */

typedef std::vector<std::function<void()>> work_list;

static work_list &queue()
{
    static work_list &q = *new work_list;
    return q;
}

static work_list *recording = nullptr; /* takes the work instead of the queue while not null */

static bool refused(const launch_shape &s)
{
    uint64_t threads = (uint64_t)s.block.x * s.block.y * s.block.z;
    return !threads || !s.grid.x || !s.grid.y || !s.grid.z || threads > 1024 || s.block.z > 64 || s.grid.y > 65535 ||
           s.grid.z > 65535 || s.grid.x > 2147483647u || s.dynamic_bytes > DYNAMIC_LIMIT ||
           (s.max_threads && threads > (uint64_t)s.max_threads);
}

static int enqueue(std::function<void()> work)
{
    if (schedule_dry()) return 0;
    if (recording) {
        recording->push_back(std::move(work));
        return 0;
    }
    queue().push_back(std::move(work));
    const char *eager = getenv("HONE_SIMT_EAGER");
    return eager && *eager == '1' ? synchronize() : 0;
}

int launch(const launch_shape &shape, std::function<void()> body)
{
    if (refused(shape)) return 1;
    return enqueue([shape, body] { run_launch(shape, body); });
}

int copy(void *to, const void *from, size_t bytes, bool to_device)
{
    /* The host's bytes are taken now (pageable memory, as cudaMemcpyAsync does), the device's when its turn comes. */
    std::vector<unsigned char> host;
    if (schedule_dry()) {
        if (!to_device) memset(to, 0, bytes);
        return 0;
    }
    if (to_device) host.assign((const unsigned char *)from, (const unsigned char *)from + bytes);
    return enqueue([=] {
        guard_device(false);
        memmove(to, to_device ? host.data() : from, bytes);
        guard_device(true);
    });
}

int copy_later(void *to, const void *from, size_t bytes)
{
    return enqueue([=] {
        guard_device(false);
        memmove(to, from, bytes);
        guard_device(true);
    });
}

int fill(void *to, int byte, size_t bytes)
{
    return enqueue([=] {
        guard_device(false);
        memset(to, byte, bytes);
        guard_device(true);
    });
}

int synchronize()
{
    while (!queue().empty()) {
        work_list work;
        work.swap(queue());
        for (auto &w : work) w();
    }
    return 0;
}

void record_begin() { recording = new work_list; }

void *record_end()
{
    work_list *kept = recording;
    recording = nullptr;
    return kept;
}

void record_replay(void *recorded)
{
    for (auto &w : *(work_list *)recorded) enqueue(w);
}

void record_free(void *recorded) { delete (work_list *)recorded; }

uint64_t launches() { return exec().launches; }
void     on_fault(void (*handler)(const char *)) { exec().handler = handler; }
int      faults() { return exec().faults; }

} // namespace simt
