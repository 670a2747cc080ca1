/* settings.h - what an import must know beside the weights: classes and how pictures are prepared. */
#ifndef HONE_IMPORT_SETTINGS_H
#define HONE_IMPORT_SETTINGS_H

#include "core/text.h"
#include "export/architecture.h"
#include "hone/io.h"

typedef struct hone_import_settings {
    hone_preprocess pre;
    int classes;
    char **name; /* (classes) */
    bool named;  /* by config.json */
    hone_text notes;
} hone_import_settings;

/* FOLDER/config.json as timm writes it; without one the defaults of torchvision. Channels and classes are the file's.
 * DATA where config.json contradicts the weights. Free in any case. */
hone_status hone_import_settings_read(const char *folder, const hone_safetensors *file, const hone_architecture *a,
                                      hone_import_settings *out) HONE_MUST_USE;
void hone_import_settings_free(hone_import_settings *s);

#endif
