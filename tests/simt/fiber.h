/* fiber.h - one stack that can be left and entered again: the emulator's CUDA thread.
 *
 * The switch is hand-written for x86-64 and aarch64 (callee-saved registers only) and ucontext
 * elsewhere. AddressSanitizer and ThreadSanitizer are told of every switch. */
#ifndef HONE_SIMT_FIBER_H
#define HONE_SIMT_FIBER_H

#include <cstddef>

namespace simt
{

struct fiber {
    void *sp = nullptr;    /* saved stack pointer while it does not run                     */
    void *stack = nullptr; /* lowest usable byte; a guard page lies below                   */
    size_t stack_bytes = 0;
    void *fake_stack = nullptr; /* AddressSanitizer's                                            */
    void *tsan = nullptr;       /* ThreadSanitizer's                                             */
};

/* Prepares `f` to run entry() on its first switch; the stack is made once and reused. entry never returns. */
void fiber_prepare(fiber &f, void (*entry)());
void fiber_switch(fiber &from, fiber &to);
/* The first thing that entry does, and every return from fiber_switch does by itself. */
void fiber_arrived(fiber &at, fiber &from);
void fiber_free(fiber &f);

} // namespace simt

#endif
