/* export.c - the order of an export: lower, write under another name, read back, try, rename (export.h). */
#include "onnx/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "onnx/quantize.h"

enum { SAMPLES = 16, CALIBRATION = 512, JUDGED = 10000 };

/* Rounding differs between kernels by some 1e-7 of a probability; anything a mistake does is larger. 16-bit weights
 * are other weights. */
static const double TOLERANCE = 1e-5, TOLERANCE_FP16 = 2e-2, ROUNDING = 1e-3;

/* Quantisation that costs more than this is a mistake, or of no use. */
static const double WORST_LOSS = 0.05;

static hone_status no_memory(void) { return hone_fail(HONE_ERR_MEMORY, NULL, "out of memory"); }

/* A folder beside the target that holds the file under its final name: external data are named in it. */
typedef struct place {
    char *folder, *file, *data, *target, *target_data;
} place;

/* External data are called by the file they belong to; write.c makes the same name. */
static char *with_suffix(const char *path)
{
    size_t n = strlen(path) + sizeof ".data";
    char *name = malloc(n);
    if (name) snprintf(name, n, "%s.data", path);
    return name;
}

/* The folder lies beside the target, so that the renames at the end stay within one file system and replace
 * what was there in one step. */
static hone_status open_place(const char *path, place *p)
{
    const char *slash = strrchr(path, '/');
    *p = (place){.folder = hone_path_temporary(path)};
    if (p->folder) p->file = hone_io_join(p->folder, slash ? slash + 1 : path);
    if (p->file) p->data = with_suffix(p->file);
    p->target_data = with_suffix(path);
    if (!p->data || !p->target_data) return no_memory();
    return hone_io_mkdir(p->folder);
}

/* Names only: the folder itself is taken away by hone_io_remove_tree. */
static void close_place(place *p)
{
    free(p->folder);
    free(p->file);
    free(p->data);
    free(p->target_data);
}

/* Data first: a file without them would be no model. Data of an older file of that name are gone then. */
static hone_status move_in(const place *p, const char *path)
{
    struct stat s; /* only whether there are data */
    char *dir = hone_path_parent(path);
    hone_status status = dir ? HONE_OK : no_memory();
    bool data = stat(p->data, &s) == 0;
    if (status == HONE_OK && data) status = hone_io_rename(p->data, p->target_data);
    if (status == HONE_OK) status = hone_io_rename(p->file, path);
    if (status == HONE_OK && !data) unlink(p->target_data);
    if (status == HONE_OK) status = hone_io_sync_dir(dir);
    free(dir);
    return status;
}

/* 0 for a file that is not there: data beside the graph are the exception. */
static uint64_t file_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_size : 0;
}

/* Written, read back, tried. cpu's quick convolutions may round a sharp net's answers further apart than a mistake
 * would be allowed to: then the definition decides. */
static hone_status write_and_try(const hone_onnx *m, const place *p, const char *model_path, hone_onnx_samples *s,
                                 const hone_onnx_export_opts *o, hone_onnx_report *report)
{
    double tolerance = o->fp16 ? TOLERANCE_FP16 : TOLERANCE;
    HONE_TRY(hone_onnx_write(m, p->file, o->external_over ? o->external_over : hone_onnx_external_over));
    snprintf(report->source, sizeof report->source, "%s", s->source);
    hone_status status = hone_onnx_verify(p->file, s, tolerance, o->threads, report);
    if (status != HONE_ERR_VERIFY || !(report->difference < ROUNDING)) return status;
    report->by_definition = true;
    HONE_TRY(hone_onnx_samples_predict(s, model_path, "ref", o->threads));
    return hone_onnx_verify(p->file, s, tolerance, o->threads, report);
}

/* The checked graph in 8 bits, over the file of the same place: calibrated on samples of val, judged on all of them. */
static hone_status quantise(hone_onnx *m, const place *p, const hone_saved *saved, const char *model_path,
                            const hone_onnx_export_opts *o, hone_onnx_report *report)
{
    hone_onnx_samples s;
    float *ranges = NULL;
    HONE_TRY(hone_onnx_samples_open(saved, model_path, JUDGED, o->threads, &s));
    hone_status status = HONE_OK;
    if (!s.label)
        status = hone_fail(HONE_ERR_DATA, "export it where its data are, or without --int8",
                           "--int8 is calibrated on the validation split: %s", s.source);
    if (status == HONE_OK) status = hone_onnx_ranges(m, &s, CALIBRATION, o->threads, &ranges);
    if (status == HONE_OK) status = hone_onnx_int8(m, ranges);
    if (status == HONE_OK)
        status = hone_onnx_write(m, p->file, o->external_over ? o->external_over : hone_onnx_external_over);
    if (status == HONE_OK) status = hone_onnx_accuracy(p->file, &s, o->threads, &report->accuracy_after);
    if (status == HONE_OK) {
        report->accuracy_before = hone_onnx_expected_accuracy(&s);
        report->judged = s.count;
        report->nodes = m->node_count;
    }
    if (status == HONE_OK && !(report->accuracy_after >= report->accuracy_before - WORST_LOSS))
        status = hone_fail(HONE_ERR_VERIFY, "export it without --int8",
                           "8 bits cost too much: accuracy %.4f before, %.4f after, on %s", report->accuracy_before,
                           report->accuracy_after, s.source);
    free(ranges);
    hone_onnx_samples_close(&s);
    return status;
}

/* The order is that of what is cheapest to refuse: a layer without a place in ONNX before any sample is read, and
 * all of it before a name changes on disk. The folder goes away whatever happened. */
static hone_status export_saved(hone_saved *s, const char *model_path, const char *path, const hone_onnx_export_opts *o,
                                hone_onnx_report *report)
{
    hone_onnx m = {0};
    hone_onnx_samples samples = {0};
    place p = {0};
    hone_status status;
    HONE_GOTO(status, hone_onnx_lower(s->model, &o->lower, &m), done);
    HONE_GOTO(status, hone_onnx_describe(s, o, &m), done);
    if (o->fp16) HONE_GOTO(status, hone_onnx_half(&m), done);
    HONE_GOTO(status, hone_onnx_samples_open(s, model_path, o->samples ? o->samples : SAMPLES, o->threads, &samples),
              done);
    HONE_GOTO(status, open_place(path, &p), done);
    status = write_and_try(&m, &p, model_path, &samples, o, report);
    if (status == HONE_OK && o->int8) status = quantise(&m, &p, s, model_path, o, report);
    if (status == HONE_OK) report->bytes = file_bytes(p.file) + file_bytes(p.data);
    if (status == HONE_OK) status = move_in(&p, path);
    /* taking the folder away must not hide why the export failed */
    hone_error why;
    hone_error_save(&why, status);
    hone_status removed = hone_io_remove_tree(p.folder);
    if (status != HONE_OK) hone_error_restore(&why);
    else status = removed;
done:
    close_place(&p);
    hone_onnx_samples_close(&samples);
    hone_onnx_free(&m);
    return status;
}

/* Weights of the graph are the saved model's own memory: it stays open until the file is written. */
hone_status hone_onnx_export(const char *model_path, const char *path, const hone_onnx_export_opts *o,
                             hone_onnx_report *report)
{
    hone_saved saved;
    *report = (hone_onnx_report){0};
    HONE_TRY(hone_saved_open(model_path, &saved));
    hone_status status = export_saved(&saved, model_path, path, o, report);
    hone_saved_close(&saved);
    return status;
}
