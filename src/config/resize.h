/* resize.h - the two values of image.resize as they are written in pages, models, packs and ONNX files. */
#ifndef HONE_CONFIG_RESIZE_H
#define HONE_CONFIG_RESIZE_H

#include <string.h>

#include "hone/config.h"

static inline const char *hone_resize_name(hone_resize r) { return r == HONE_RESIZE_SHORTER ? "shorter" : "stretch"; }

/* False where `name` (NULL is fine) is neither. */
static inline bool hone_resize_of(const char *name, hone_resize *out)
{
    *out = name && strcmp(name, "shorter") == 0 ? HONE_RESIZE_SHORTER : HONE_RESIZE_STRETCH;
    return name && strcmp(name, hone_resize_name(*out)) == 0;
}

#endif
