/* small_open.c - reading a small file (small.h). Every byte is hostile: what the metadata say is held against the
 * shapes, and the model against the tokenizer, before a number is used. */
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text.h"
#include "train/small.h"

static const char damaged[] = "the file is damaged or was not written by hone export --to small";

/* Enough of a header to hold the metadata, which the writer puts first. */
enum { PEEK_BYTES = 4096 };

bool hone_small_is(const char *path)
{
    char head[PEEK_BYTES + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, head, PEEK_BYTES);
    close(fd);
    if (n < 10 || head[8] != '{') return false;
    head[n] = '\0';
    return strstr(head + 8, "\"" HONE_SMALL_MARK "\"") != NULL;
}

/* A text of the file; free() it. */
static hone_status read_text(const hone_safetensors *file, const char *path, const char *name, char **out)
{
    const hone_blob *b = hone_safetensors_find(file, name);
    if (!b || b->dtype != HONE_U8) return hone_fail(HONE_ERR_DATA, damaged, "%s: it holds no %s", path, name);
    if (!(*out = malloc(b->bytes + 1))) return hone_fail(HONE_ERR_MEMORY, NULL, "%s: out of memory", path);
    memcpy(*out, b->data, b->bytes);
    (*out)[b->bytes] = '\0';
    return HONE_OK;
}

/* An array of the table by its shape; DATA where it is not that. */
static hone_status find_part(const hone_safetensors *file, const char *path, const hone_param *p, const char *suffix,
                             hone_dtype dtype, int64_t columns, const void **out)
{
    char name[HONE_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s%s", p->name, suffix);
    const hone_blob *b = hone_safetensors_find(file, name);
    bool fits = b && b->dtype == dtype && b->rank == (columns ? 2 : 1) && b->dim[0] == p->dim[0];
    if (!fits || (columns && b->dim[1] != columns))
        return hone_fail(HONE_ERR_DATA, damaged, "%s: %s is not there, or not in the model's shape", path, name);
    *out = b->data;
    return HONE_OK;
}

/* Levels -> numbers, row by row. */
static hone_status read_table(const hone_safetensors *file, const char *path, hone_param *p, int bits)
{
    const void *levels = NULL, *scales = NULL;
    int64_t C = p->dim[1], row_bytes = bits == 8 ? C : (C + 1) / 2;
    HONE_TRY(find_part(file, path, p, ".levels", HONE_U8, row_bytes, &levels));
    HONE_TRY(find_part(file, path, p, ".scale", HONE_F32, 0, &scales));
    for (int64_t r = 0; r < p->dim[0]; r++) {
        const uint8_t *level = (const uint8_t *)levels + r * row_bytes;
        float scale = ((const float *)scales)[r], *x = p->value + r * C;
        /* times 128, the largest level, it must be a float, too */
        if (!(fabsf(scale) <= FLT_MAX / 128))
            return hone_fail(HONE_ERR_DATA, damaged, "%s: the scale of row %lld is out of range", path, (long long)r);
        for (int64_t c = 0; c < C; c++)
            x[c] = scale * (float)(bits == 8 ? level[c] - 128 : (level[c / 2] >> c % 2 * 4 & 15) - 8);
    }
    return HONE_OK;
}

/* The table by its levels, the others as weights of any file. */
static hone_status read_params(const hone_safetensors *file, const char *path, hone_model *m)
{
    const char *table = hone_safetensors_metadata(file, HONE_SMALL_TABLE),
               *bits = hone_safetensors_metadata(file, HONE_SMALL_BITS);
    hone_param *p = table ? hone_model_find_param(m, table) : NULL;
    hone_weights_report report;
    if (!p || p->rank != 2 || !bits || (strcmp(bits, "8") != 0 && strcmp(bits, "4") != 0))
        return hone_fail(HONE_ERR_DATA, damaged, "%s: the metadata name no table of 8 or 4 bits", path);
    HONE_TRY(hone_weights_load(m, file, path, false, &report));
    int loaded = report.loaded;
    free(report.notes);
    if (loaded != report.params - 1 || hone_safetensors_find(file, p->name))
        return hone_fail(HONE_ERR_DATA, damaged, "%s: %d of %d parameters besides the table are there", path, loaded,
                         report.params - 1);
    return read_table(file, path, p, *bits - '0');
}

/* The mark was seen in the first bytes; here it is read properly. */
static hone_status read_all(const hone_safetensors *file, const char *path, hone_saved *out)
{
    const char *mark = hone_safetensors_metadata(file, HONE_SMALL_MARK);
    char *model = NULL;
    if (!mark || strcmp(mark, "1") != 0)
        return hone_fail(HONE_ERR_DATA, "write it again with this hone, or read it with the one that wrote it",
                         "%s: a small file of kind %.20s; this hone knows 1", path, mark ? mark : "?");
    HONE_TRY(read_text(file, path, "tokenizer.json", &out->tokenizer_json));
    HONE_TRY(read_text(file, path, "model.json", &model));
    hone_status status = hone_model_parse_json(path, model, strlen(model), &out->model);
    free(model);
    HONE_TRY(status);
    return read_params(file, path, out->model);
}

hone_status hone_small_open(const char *path, hone_saved *out)
{
    hone_safetensors *file;
    HONE_TRY(hone_safetensors_open(path, &file));
    hone_status status = read_all(file, path, out);
    hone_safetensors_close(file);
    return status;
}
