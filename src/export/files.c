/* files.c - the small files that exports share (export.h). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "export/export.h"
#include "io/file.h"

enum { COPY_LIMIT_BYTES = 1 << 30 };

/* Replaced atomically, like all small files. */
hone_status hone_export_file(const char *folder, const char *name, const char *text)
{
    char *path = text ? hone_io_join(folder, name) : NULL;
    hone_status status =
        path ? hone_file_write(path, text, strlen(text)) : hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", name);
    free(path);
    return status;
}

hone_status hone_export_json(const char *folder, const char *name, json_t *root)
{
    char *text;
    HONE_TRY(hone_json_print(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER, name, &text));
    hone_status status = hone_export_file(folder, name, text);
    free(text);
    return status;
}

/* Byte for byte: the reader of the copy must see what the run's reader sees. */
hone_status hone_export_copy(const char *run_dir, const char *folder, const char *name)
{
    char *from = hone_io_join(run_dir, name), *to = hone_io_join(folder, name), *data = NULL;
    size_t bytes = 0;
    hone_status status = from && to ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", name);
    if (status == HONE_OK) status = hone_file_read(from, COPY_LIMIT_BYTES, &data, &bytes);
    if (status == HONE_OK) status = hone_file_write(to, data, bytes);
    free(data);
    free(from);
    free(to);
    return status;
}

/* A small file carries its tokenizer within itself. Where a file of that name is not to be replaced, it is the user's. */
hone_status hone_export_tokenizer(const hone_saved *s, const char *folder, bool replace)
{
    char *path = hone_io_join(folder, "tokenizer.json");
    bool wanted = hone_model_preprocess(s->model)->vocab > 0 && path && (replace || access(path, F_OK) != 0);
    hone_status status = path ? HONE_OK : hone_fail(HONE_ERR_MEMORY, NULL, "out of memory");
    free(path);
    if (!wanted) return status;
    if (s->tokenizer_json) return hone_export_file(folder, "tokenizer.json", s->tokenizer_json);
    return hone_export_copy(s->run_dir, folder, "tokenizer.json");
}

/* The line number is the class: a name of two lines would shift all that follow. */
hone_status hone_export_labels(const hone_model *m, const char *folder)
{
    hone_text t = {0};
    for (int k = 0; k < hone_model_classes(m); k++) {
        const char *name = hone_model_class_name(m, k);
        if (strpbrk(name, "\r\n")) {
            hone_text_free(&t);
            return hone_fail(HONE_ERR_USAGE, "rename the class", "labels.txt: the name of class %d holds a line feed",
                             k);
        }
        hone_text_add(&t, "%s\n", name);
    }
    char *text = hone_text_take(&t);
    hone_status status = hone_export_file(folder, "labels.txt", text);
    free(text);
    return status;
}
