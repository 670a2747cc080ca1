/* fuzz_csv.c - any bytes as CSV, TSV or fastText lines: refused with a place and a fix, or read whole.
 *
 * The first byte chooses task, format, data.on_error, and columns by name or number. What is accepted is
 * written as CSV after RFC 4180 and must read back as the same rows. */
#include "fuzz_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_quoted(hone_text *t, const char *text, size_t bytes)
{
    hone_text_append(t, "\"", 1);
    for (size_t k = 0; k < bytes; k++) {
        if (text[k] == '"') hone_text_append(t, "\"", 1);
        hone_text_append(t, &text[k], 1);
    }
    hone_text_append(t, "\"", 1);
}

static void read_back(const hone_text_sink *s)
{
    hone_config c = {.task = HONE_TASK_TEXT};
    hone_text_sink again;
    hone_text_job job;
    hone_text t = {0};
    const hone_text_list *l = &s->list[HONE_SPLIT_TRAIN];
    hone_text_add(&t, "label,text\r\n");
    for (int64_t i = 0; i < l->count; i++) {
        const char *name = s->classes.item[l->row[i].label];
        add_quoted(&t, name, strlen(name));
        hone_text_append(&t, ",", 1);
        add_quoted(&t, l->row[i].text, l->row[i].bytes);
        hone_text_append(&t, i % 2 ? "\r\n" : "\n", i % 2 ? 2 : 1);
    }
    if (!read_bytes(&c, HONE_FORMAT_CSV, false, t.data, t.bytes, &again, &job)) abort();
    compare_rows(s, &again);
    hone_text_sink_free(&again);
    hone_text_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const hone_format format[] = {HONE_FORMAT_CSV, HONE_FORMAT_TSV, HONE_FORMAT_FASTTEXT, HONE_FORMAT_CSV};
    hone_text_sink s;
    hone_text_job job;
    if (size < 1 || size > 4096) return 0;
    uint8_t how = data[0];
    hone_config c = {.task = how & 32 ? HONE_TASK_IMAGE : HONE_TASK_TEXT}; /* which names the columns have */
    if (how & 8) {
        c.data.columns.label = (char *)"1";
        c.data.columns.input = (char *)"2";
    }
    if (how & 16) c.data.columns.split = (char *)(how & 8 ? "3" : "split");
    if (read_bytes(&c, format[how & 3], how & 4, data + 1, size - 1, &s, &job)) read_back(&s);
    hone_text_sink_free(&s);
    return 0;
}
