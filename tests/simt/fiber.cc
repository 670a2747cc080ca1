/* fiber.cc - see fiber.h. */
#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ASAN 1
#else
#define ASAN 0
#endif
#if defined(HONE_SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#define TSAN 1
#else
#define TSAN 0
#endif

#if defined(__x86_64__)
/* Saves the six callee-saved registers and the control words, stores sp through rdi, loads it from rsi. */
extern "C" void hone_simt_switch(void **save_sp, void *load_sp);
asm(R"(
.text
.globl hone_simt_switch
.type hone_simt_switch,@function
hone_simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size hone_simt_switch,.-hone_simt_switch
)");
enum { SAVED_WORDS = 6 };
#elif defined(__aarch64__)
extern "C" void hone_simt_switch(void **save_sp, void *load_sp);
asm(R"(
.text
.globl hone_simt_switch
.type hone_simt_switch,%function
hone_simt_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size hone_simt_switch,.-hone_simt_switch
)");
#else
#error "the SIMT emulator knows x86-64 and aarch64"
#endif

namespace simt {

static size_t stack_size()
{
    return ASAN || TSAN ? 256u << 10 : 64u << 10; /* instrumented frames are several times larger, reports larger still */
}

void fiber_prepare(fiber &f, void (*entry)())
{
    if (!f.stack) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = stack_size();
        char *base = (char *)mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED || mprotect(base, page, PROT_NONE) != 0) {
            fprintf(stderr, "simt: no memory for a thread's stack\n");
            abort();
        }
        f.stack = base + page;
        f.stack_bytes = bytes;
    }
    if (TSAN && !f.tsan) {
#if TSAN
        f.tsan = __tsan_create_fiber(0);
#endif
    }
#if ASAN
    ASAN_UNPOISON_MEMORY_REGION(f.stack, f.stack_bytes); /* a fiber that was abandoned left its frames poisoned */
#endif
    uintptr_t top = ((uintptr_t)f.stack + f.stack_bytes) & ~(uintptr_t)15;
    void **sp = (void **)top;
#if defined(__x86_64__)
    *--sp = nullptr;                 /* entry starts with the stack at 16n + 8, as after a call */
    *--sp = (void *)entry;
    for (int k = 0; k < SAVED_WORDS; k++) *--sp = nullptr;
#else
    sp -= 20;
    for (int k = 0; k < 20; k++) sp[k] = nullptr;
    sp[11] = (void *)entry;          /* x30 */
#endif
    f.sp = sp;
    f.fake_stack = nullptr;
}

void fiber_switch(fiber &from, fiber &to)
{
#if ASAN
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
#if TSAN
    __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    hone_simt_switch(&from.sp, to.sp);
    fiber_arrived(from, to);
}

void fiber_arrived(fiber &at, fiber &from)
{
    (void)at;
    (void)from;
#if ASAN
    /* The main context's stack bounds are learned on the first arrival in a fiber. */
    const void *bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(at.fake_stack, &bottom, &bytes);
    if (!from.stack) {
        from.stack = const_cast<void *>(bottom);
        from.stack_bytes = bytes;
    }
#endif
}

void fiber_free(fiber &f)
{
    if (!f.stack) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap((char *)f.stack - page, f.stack_bytes + page);
#if TSAN
    if (f.tsan) __tsan_destroy_fiber(f.tsan);
#endif
    f = fiber{};
}

} // namespace simt
