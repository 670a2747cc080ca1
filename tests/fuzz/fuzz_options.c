/* fuzz_options.c - what ASan does in every fuzzer unless ASAN_OPTIONS says otherwise.
 *
 * By default it keeps 256 MB of freed blocks, and 30 frames of each allocation. An input lives for a thousandth of a second
 * and holds some MB: 16 MB outlive it many times, and stay in the caches. To see more frames of a finding, run its input
 * again with ASAN_OPTIONS=malloc_context_size=30. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "quarantine_size_mb=16:malloc_context_size=6"; }
