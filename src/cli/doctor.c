/* doctor.c - `hone doctor`: what this machine offers and what is missing, so that a report of trouble
 * starts with facts. Asks each device to open and says why one can't; must not fail because of it. */
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/machine.h"
#include "core/thread.h"
#include "hone/hone.h"

/* `list` and {"name", "available", "detail"} of one device. */
static json_t *with_device(json_t *list, const char *name, int threads)
{
    char text[512];
    hone_backend *b = NULL;
    /* Opening is the only honest test of a device. */
    bool open = hone_backend_open(name, threads, &b) == HONE_OK;
    const char *fix = open ? "" : hone_error_hint();
    snprintf(text, sizeof text, "%s%s%s", open ? hone_backend_describe(b, (char[256]){0}, 256) : hone_error_message(),
             *fix ? "; fix: " : "", fix);
    hone_backend_close(b);
    return hone_json_added(
        list, json_pack("{s:s,s:b,s:o}", "name", name, "available", open, "detail", hone_json_string(text)));
}

/* All facts as one object: both forms of the report are made from it. */
static json_t *examine(const hone_cli *cli)
{
    struct utsname os;
    char cpu[128], features[256], plugin[1024];
    json_t *devices = json_array();
    if (uname(&os) != 0) memset(&os, 0, sizeof os);
    devices = with_device(devices, "cpu", cli->threads);
    devices = with_device(devices, "ref", cli->threads);
    devices = with_device(devices, "cuda", cli->threads);
    hone_machine_cpu(cpu, sizeof cpu, features, sizeof features);
    json_t *libraries = hone_machine_libraries();
    libraries = hone_json_with(libraries, "cuda plugin",
                               hone_json_string(hone_backend_libraries("cuda", plugin, sizeof plugin)));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:o, s:o}", "version", HONE_VERSION, "system", os.release,
                     "cpu", cpu, "features", features, "threads", cli->threads ? cli->threads : hone_cpu_count(),
                     "memory_bytes", (json_int_t)hone_machine_memory(), "memory_free_bytes",
                     (json_int_t)hone_machine_free_memory(), "libraries", libraries, "devices", devices);
}

/* A text of the report; "?" keeps a missing one visible. */
static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "?";
}

/* One fact a line: name, value. */
static void print_report(const json_t *r)
{
    char total[32], free_text[32];
    hone_cli_bytes(json_number_value(json_object_get(r, "memory_bytes")), total, sizeof total);
    hone_cli_bytes(json_number_value(json_object_get(r, "memory_free_bytes")), free_text, sizeof free_text);
    printf("hone       %s\n", text_of(r, "version"));
    printf("cpu        %s\n", text_of(r, "cpu"));
    printf("features   %s\n", text_of(r, "features"));
    printf("threads    %lld\n", (long long)json_integer_value(json_object_get(r, "threads")));
    printf("memory     %s, %s free\n", total, free_text);
    json_t *libraries = json_object_get(r, "libraries"), *devices = json_object_get(r, "devices");
    for (void *i = json_object_iter(libraries); i; i = json_object_iter_next(libraries, i))
        printf("library    %-14s %s\n", json_object_iter_key(i), json_string_value(json_object_iter_value(i)));
    for (size_t k = 0; k < json_array_size(devices); k++) {
        const json_t *value = json_array_get(devices, k);
        printf("device     %-5s %-8s %s\n", text_of(value, "name"),
               json_is_true(json_object_get(value, "available")) ? "ready" : "missing", text_of(value, "detail"));
    }
}

/* Always succeeds: a missing device is an answer. */
static int doctor_run(const hone_cli *cli)
{
    json_t *report = examine(cli);
    if (!report) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the report");
    if (cli->json) return hone_cli_print_json(report, JSON_INDENT(2));
    print_report(report);
    json_decref(report);
    return HONE_OK;
}

const hone_cli_command hone_cli_doctor_command = {
    .name = "doctor",
    .run = doctor_run,
    .arguments = "",
    .summary = "devices, libraries and versions, CPU features, memory, and what is missing",
    .least = 0,
    .most = 0,
    .details = "Devices that can't be had are listed with the reason; that is no error.",
    .examples = "hone doctor\nhone doctor --json",
};
