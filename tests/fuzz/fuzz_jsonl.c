/* fuzz_jsonl.c - any bytes as JSONL: refused with a place and a fix, or read whole.
 *
 * The first byte chooses task, data.on_error and the second text. What is accepted is written by another hand
 * (hone_text_json) and must read back as the same rows. */
#include "fuzz_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A JSON string of a text that is not NUL-terminated. */
static void add_string(hone_text *t, const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (!copy) abort();
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    hone_text_json(t, copy);
    free(copy);
}

static void read_back(const hone_text_sink *s)
{
    hone_config c = {.task = HONE_TASK_TEXT};
    hone_text_sink again;
    hone_text_job job;
    hone_text t = {0};
    const hone_text_list *l = &s->list[HONE_SPLIT_TRAIN];
    hone_text_add(&t, "%s", "");
    for (int64_t i = 0; i < l->count; i++) {
        hone_text_add(&t, "{\"text\":");
        add_string(&t, l->row[i].text, l->row[i].bytes);
        hone_text_add(&t, ", \"label\" :");
        hone_text_json(&t, s->classes.item[l->row[i].label]);
        hone_text_add(&t, "}\n");
    }
    if (!read_bytes(&c, HONE_FORMAT_JSONL, false, t.data, t.bytes, &again, &job)) abort();
    compare_rows(s, &again);
    hone_text_sink_free(&again);
    hone_text_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_text_sink s;
    hone_text_job job;
    if (size < 1 || size > 4096) return 0;
    hone_config c = {.task = data[0] & 8 ? HONE_TASK_IMAGE : HONE_TASK_TEXT}; /* which names the members have */
    if (data[0] & 2) c.data.columns.second = (char *)"b";
    if (data[0] & 4) c.data.columns.split = (char *)"split";
    if (read_bytes(&c, HONE_FORMAT_JSONL, data[0] & 1, data + 1, size - 1, &s, &job)) read_back(&s);
    hone_text_sink_free(&s);
    return 0;
}
