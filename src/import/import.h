/* import.h - weights that torchvision or timm wrote, as a model of hone: a folder that predict, eval and train.init read. */
#ifndef HONE_IMPORT_IMPORT_H
#define HONE_IMPORT_IMPORT_H

#include "train/saved.h"

/* What an import met. Texts are owned: hone_import_free. */
typedef struct hone_import {
    char architecture[32]; /* "resnet18": of the page in configs/models                        */
    char *file;            /* the weights that were read                                       */
    int classes;
    bool named;                  /* class names are the file's; else 0, 1, 2...                      */
    hone_weights_report weights; /* what matched and what did not                                    */
    char *notes;                 /* a line for each setting of config.json that hone does otherwise  */
} hone_import;

/* FOLDER with model.safetensors (or one .safetensors of any name) and, where it is there, config.json of timm:
 * classes, size, mean and std come from it; without one, size 224 and ImageNet's mean and std. The net is known by its
 * arrays, not by what the file calls it. `out` becomes a model folder: model.json, best.safetensors. Errors: USAGE where
 * there are no weights or `out` holds a model, DATA where they belong to no net of the zoo, naming the likeliest. */
hone_status hone_import_folder(const char *folder, const char *out, hone_import *report) HONE_MUST_USE;
void hone_import_free(hone_import *report);

/* A page of configs/models by name, as text; NULL where there is none. Built in: an import needs no other file. */
const char *hone_zoo_page(const char *name);

#endif
