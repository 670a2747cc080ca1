/* machine.c - see machine.h. Reads /proc and the container's limits; a file that is not there only means
 * that the fact is not told. */
#include "cli/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>

#include "core/json.h"
#include "data/image.h"
#include "hone/backend.h"

/* A number behind `key` in a file of "key: number kB" lines, in bytes; 0 if it is not there. */
static size_t proc_kilobytes(const char *path, const char *key)
{
    char line[256];
    size_t found = 0;
    FILE *f = fopen(path, "r");
    while (f && !found && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) found = (size_t)strtoull(line + strlen(key), NULL, 10) * 1024;
    if (f) fclose(f);
    return found;
}

/* The only number of a file; 0 where there is none ("max"). */
static size_t file_number(const char *path)
{
    char line[64] = "";
    FILE *f = fopen(path, "r");
    if (f && !fgets(line, sizeof line, f)) line[0] = '\0';
    if (f) fclose(f);
    return (size_t)strtoull(line, NULL, 10);
}

/* A container may be allowed less than the machine has (cgroup v2). */
size_t hone_machine_memory(void)
{
    size_t total = proc_kilobytes("/proc/meminfo", "MemTotal:"), limit = file_number("/sys/fs/cgroup/memory.max");
    return limit && limit < total ? limit : total;
}

/* The kernel's own estimate, or what the container has left, whichever is less. */
size_t hone_machine_free_memory(void)
{
    size_t available = proc_kilobytes("/proc/meminfo", "MemAvailable:");
    size_t limit = file_number("/sys/fs/cgroup/memory.max"), used = file_number("/sys/fs/cgroup/memory.current");
    return limit && limit > used && limit - used < available ? limit - used : available;
}

/* Of the whole process, libraries included: what a user would see in top. */
size_t hone_machine_peak_memory(void)
{
    /* VmHWM and not ru_maxrss: the latter starts from what the parent had before exec, if it was larger. */
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %zu kB", &kib) == 1) break;
    if (f) fclose(f);
    struct rusage u;
    if (kib == 0 && getrusage(RUSAGE_SELF, &u) == 0) kib = (size_t)u.ru_maxrss; /* Linux counts KiB */
    return kib * 1024;
}

/* Value behind the first "key<tab>: value" of /proc/cpuinfo. */
static void cpuinfo(const char *key, char *value, size_t value_bytes)
{
    char line[8192];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(value, value_bytes, "?");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(value, value_bytes, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f) fclose(f);
}

/* The first core stands for all. */
void hone_machine_cpu(char *name, size_t name_bytes, char *features, size_t features_bytes)
{
    static const char *const of_interest[] = {"sse4_2",      "avx",         "avx2",     "fma",  "avx512f",
                                              "avx512_bf16", "avx512_vnni", "amx_tile", "asimd"};
    char all[8192], padded[8200];
    size_t used = 0;
    cpuinfo("model name", name, name_bytes);
    cpuinfo("flags", all, sizeof all);
    if (strcmp(all, "?") == 0) cpuinfo("Features", all, sizeof all); /* aarch64 */
    snprintf(padded, sizeof padded, " %s ", all);
    features[0] = '\0';
    for (size_t k = 0; k < sizeof of_interest / sizeof *of_interest; k++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", of_interest[k]);
        if (strstr(padded, word) && used < features_bytes)
            used += (size_t)snprintf(features + used, features_bytes - used, "%s%s", used ? " " : "", of_interest[k]);
    }
}

/* Only what is linked: the compute kernels are hone's own, and backends describe themselves. */
json_t *hone_machine_libraries(void)
{
    json_t *list = json_object();
    char xxhash[32];
    unsigned version = XXH_versionNumber(); /* 802 is 0.8.2 */
    snprintf(xxhash, sizeof xxhash, "%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    list = hone_json_with(list, "JPEG", hone_json_string(hone_jpeg_library()));
    list = hone_json_with(list, "libyaml", hone_json_string(yaml_get_version_string()));
    list = hone_json_with(list, "jansson", hone_json_string(jansson_version_str()));
    list = hone_json_with(list, "zlib", hone_json_string(zlibVersion()));
    list = hone_json_with(list, "xxhash", hone_json_string(xxhash));
    return list;
}
