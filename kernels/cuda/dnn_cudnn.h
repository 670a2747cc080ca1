/* dnn_cudnn.h - what the three files behind dnn.h share: the opened library, descriptors, errors.
 *
 * cuDNN's backend interface has five verbs on descriptors and typed attributes; everything here is named after
 * them. Documentation: NVIDIA cuDNN backend API reference, "cudnn_graph". Only dnn_cudnn*.c may include this. */
#ifndef HONE_KERNELS_CUDA_DNN_CUDNN_H
#define HONE_KERNELS_CUDA_DNN_CUDNN_H

#include <cudnn_graph.h>

#include "dnn.h"

/* Functions are looked up in a library opened at run time: a machine without it gets a sentence, not a loader error. */
typedef struct cudnn_calls {
    void *library;
    size_t (*version)(void);
    const char *(*error_string)(cudnnStatus_t);
    void (*last_error)(char *, size_t);
    cudnnStatus_t (*create)(cudnnHandle_t *);
    cudnnStatus_t (*destroy)(cudnnHandle_t);
    cudnnStatus_t (*set_stream)(cudnnHandle_t, cudaStream_t);
    cudnnStatus_t (*make)(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t *);
    cudnnStatus_t (*drop)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t);
    cudnnStatus_t (*set)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                         const void *);
    cudnnStatus_t (*get)(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t, cudnnBackendAttributeType_t, int64_t,
                         int64_t *, void *);
    cudnnStatus_t (*execute)(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t);
} cudnn_calls;

typedef struct cudnn_asked cudnn_asked; /* dnn_cudnn_plan.c */

struct hone_dnn {
    cudnn_asked *asked; /* questions with their answers */
    char library[32];   /* name and version */
    cudnn_calls call;
    cudnnHandle_t handle;               /* NULL where plans are made for a described chip */
    cudnnBackendDescriptor_t described; /* the chip's description, NULL with a handle     */
};

/* Descriptors that live and die together: each may refer to those before it. */
enum { BAG_MAX = 96 };
typedef struct cudnn_bag {
    cudnnBackendDescriptor_t item[BAG_MAX];
    int count, users; /* a list and its plans share one */
} cudnn_bag;

/* Errors of the library become RUNTIME with its own last words. */
hone_status hone_cudnn_failed(const cudnn_calls *call, cudnnStatus_t status, const char *what);
#define CUDNN_TRY(call, what, expr)                                                                                    \
    do {                                                                                                               \
        cudnnStatus_t cudnn_try_status_ = (expr);                                                                      \
        if (cudnn_try_status_ != CUDNN_STATUS_SUCCESS) return hone_cudnn_failed((call), cudnn_try_status_, (what));    \
    } while (0)

/* A new descriptor, owned by the bag from the start. */
hone_status hone_cudnn_make(hone_dnn *dnn, cudnn_bag *bag, cudnnBackendDescriptorType_t type,
                            cudnnBackendDescriptor_t *out) HONE_MUST_USE;
void hone_cudnn_bag_free(hone_dnn *dnn, cudnn_bag *bag); /* one user less; NULL is fine */

/* Drops all answers; plans made of them must be gone (dnn_cudnn_plan.c). */
void hone_cudnn_forget_all(hone_dnn *dnn);
/* The finalized operation graph of a checked description (dnn_cudnn_graph.c). */
hone_status hone_cudnn_graph(hone_dnn *dnn, cudnn_bag *bag, const hone_dnn_graph *g,
                             cudnnBackendDescriptor_t *out) HONE_MUST_USE;

#endif
