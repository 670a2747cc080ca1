/* schedule.cc - in order, reverse, random, and one warp as far as it goes (schedule.h). */
#include "schedule.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "simt.h"

namespace simt {

enum class policy { order, reverse, random, greedy, dry };

struct schedule_state {
    policy   kind = policy::order;
    uint64_t seed = 0, draw = 0;
    unsigned warp = ~0u; /* greedy: the warp that runs now */
    bool     read = false;
};

static schedule_state &state()
{
    static schedule_state s;
    return s;
}

/* splitmix64: small, and independent of the generator under test. */
static uint64_t next(schedule_state &s)
{
    uint64_t z = s.seed + 0x9E3779B97F4A7C15u * ++s.draw;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static schedule_state &current()
{
    if (!state().read) set_schedule(nullptr);
    return state();
}

void set_schedule(const char *text)
{
    schedule_state s;
    s.read = true;
    if (!text) text = getenv("HONE_SIMT");
    if (!text) text = "order";
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    s.seed = colon ? strtoull(colon + 1, nullptr, 10) : 1;
    if (!strncmp(text, "reverse", n)) s.kind = policy::reverse;
    else if (!strncmp(text, "random", n)) s.kind = policy::random;
    else if (!strncmp(text, "greedy", n)) s.kind = policy::greedy;
    else if (!strncmp(text, "dry", n)) s.kind = policy::dry;
    state() = s;
}

std::string schedule_text()
{
    static const char *names[] = {"order", "reverse", "random", "greedy", "dry"};
    return std::string(names[(int)current().kind]) + ":" + std::to_string(current().seed);
}

bool schedule_dry() { return current().kind == policy::dry; }

unsigned schedule_stays() { return current().kind == policy::greedy ? current().warp : ~0u; }

void schedule_round(std::vector<unsigned> &ready)
{
    schedule_state &s = current();
    if (s.kind == policy::reverse) std::reverse(ready.begin(), ready.end());
    if (s.kind == policy::random)
        for (size_t k = ready.size(); k > 1; k--) std::swap(ready[k - 1], ready[next(s) % k]);
    if (s.kind != policy::greedy) return;
    if (ready.front() / 32 == s.warp) return; /* the warp that ran last, alone */
    s.warp = ready[next(s) % ready.size()] / 32;
    ready.erase(std::remove_if(ready.begin(), ready.end(), [&](unsigned t) { return t / 32 != s.warp; }), ready.end());
}

uint64_t schedule_block(uint64_t i, uint64_t total)
{
    schedule_state &s = current();
    if (s.kind == policy::reverse) return total - 1 - i;
    if (s.kind == policy::order) return i;
    /* A random rotation with a random direction: every block once, without a table of blocks. */
    uint64_t shift = s.seed * 0x9E3779B97F4A7C15u % total, k = s.seed & 1 ? total - 1 - i : i;
    return (k + shift) % total;
}

} // namespace simt
