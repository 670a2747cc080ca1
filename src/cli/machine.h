/* machine.h - facts about this machine that commands print: memory, processor, libraries. */
#ifndef HONE_CLI_MACHINE_H
#define HONE_CLI_MACHINE_H

#include <jansson.h>
#include <stddef.h>

size_t hone_machine_memory(void);      /* bytes of RAM, or of the container's limit where that is less */
size_t hone_machine_free_memory(void); /* bytes that could be used without swapping                    */
size_t hone_machine_peak_memory(void); /* bytes that this process had resident at its largest          */
/* Name of the processor and those of its instruction sets that matter here; "?" where not told. */
void hone_machine_cpu(char *name, size_t name_bytes, char *features, size_t features_bytes);
/* {"library": "version"} of what is linked. */
json_t *hone_machine_libraries(void);

#endif
