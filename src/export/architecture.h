/* architecture.h - whether a model is one of the nets that torchvision or timm know by name.
 *
 * A page says layers and no name, so the net is recognised by all that it computes: parameters with their shapes, and
 * the operations of its graph. A net that differs in any of these gets no name: another program would load it wrongly. */
#ifndef HONE_EXPORT_ARCHITECTURE_H
#define HONE_EXPORT_ARCHITECTURE_H

#include "hone/io.h"
#include "hone/model.h"

typedef struct hone_architecture {
    const char *name;         /* of the page in configs/models                                       */
    const char *torchvision;  /* torchvision.models.NAME(num_classes=...), or NULL                    */
    const char *timm;         /* timm.create_model(NAME), or NULL                                     */
    const char *first, *head; /* weights of the first layer and of the classifier                    */
    int arrays;               /* parameters and running statistics                                    */
    int64_t body;             /* elements of the parameters, those of `first`, the head and pos_embed left out */
    int first_kernel;         /* of the first convolution                                             */
    hone_op act;              /* its activation and how often                                         */
    int acts;
    float eps; /* of its norms                                                         */
} hone_architecture;

/* *out NULL where the model is none of them. */
hone_status hone_architecture_find(const hone_model *m, const hone_architecture **out) HONE_MUST_USE;
/* The same of a file of weights: by names and shapes alone. DATA where they belong to no net, naming the likeliest. */
hone_status hone_architecture_of_file(const hone_safetensors *file, const char *name,
                                      const hone_architecture **out) HONE_MUST_USE;

#endif
