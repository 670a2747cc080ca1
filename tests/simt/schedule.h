/* schedule.h - who runs next. No single order shows every race: tests run all four. */
#ifndef HONE_SIMT_SCHEDULE_H
#define HONE_SIMT_SCHEDULE_H

#include <cstdint>
#include <string>
#include <vector>

namespace simt
{
/* The warp (thread / 32) that greedy goes on with while any of its threads is ready; ~0u: no other schedule does. */
unsigned schedule_stays();
/* Orders (and for greedy: cuts down to one warp) the ready threads of a round: those of the warp that stays alone, or,
 * where it has none, all. */
void schedule_round(std::vector<unsigned> &ready);
/* The i-th block to run of `total`. */
uint64_t schedule_block(uint64_t i, uint64_t total);
/* HONE_SIMT=dry: launches are checked and counted, nothing runs and no memory is touched, so that steps of
 * any size can be counted. */
bool schedule_dry();
std::string schedule_text(); /* "random:7", to reproduce */
} // namespace simt

#endif
