/* dnn_cudnn.c - opens libcudnn, on a GPU by a handle or without one by a chip's description; descriptors, errors.
 *
 * Contract: a missing or too old library is DEVICE with the fix, never a guess. Nothing is kept between calls
 * but in hone_dnn. Must not know graphs or plans. */
#include "dnn_cudnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Device descriptions came with 9.11; earlier libraries also lack engines that the rules were read off. */
enum { VERSION_LEAST = 91100 };

/* The library explains itself only in its last words; they are many lines, a message is one. */
hone_status hone_cudnn_failed(const cudnn_calls *call, cudnnStatus_t status, const char *what)
{
    char words[512] = "";
    call->last_error(words, sizeof words);
    for (char *c = words; *c; c++)
        if (*c == '\n') *c = ' ';
    return hone_fail(status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ? HONE_ERR_MEMORY : HONE_ERR_RUNTIME,
                     "HONE_CUDA_LIBRARIES=own leaves cuDNN out", "cudnn: %s: %s: %s", what, call->error_string(status),
                     words);
}

/* POSIX lets an object pointer of dlsym be a function; ISO C needs the copy. */
static bool look_up(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* By its name first, so that LD_LIBRARY_PATH and the loader's cache decide; then where the build found it. */
static hone_status load(cudnn_calls *c)
{
    static const char hint[] = "install cuDNN 9.11 or later (libcudnn.so.9 on the loader's path), or set "
                               "HONE_CUDA_LIBRARIES=own for hone's own kernels";
    *c = (cudnn_calls){.library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL)};
    if (!c->library) c->library = dlopen(HONE_CUDNN_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!c->library) return hone_fail(HONE_ERR_DEVICE, hint, "cudnn: the library can't be opened: %s", dlerror());
    /* All of them are in every cuDNN 9; one that is not there is another library of this name. */
    const struct {
        const char *name;
        void *function;
    } wanted[] = {{"cudnnGetVersion", &c->version},
                  {"cudnnGetErrorString", &c->error_string},
                  {"cudnnGetLastErrorString", &c->last_error},
                  {"cudnnCreate", &c->create},
                  {"cudnnDestroy", &c->destroy},
                  {"cudnnSetStream", &c->set_stream},
                  {"cudnnBackendCreateDescriptor", &c->make},
                  {"cudnnBackendDestroyDescriptor", &c->drop},
                  {"cudnnBackendFinalize", &c->finalize},
                  {"cudnnBackendSetAttribute", &c->set},
                  {"cudnnBackendGetAttribute", &c->get},
                  {"cudnnBackendExecute", &c->execute}};
    for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++)
        if (!look_up(c->library, wanted[k].name, wanted[k].function)) {
            dlclose(c->library);
            return hone_fail(HONE_ERR_DEVICE, hint, "cudnn: the library has no %s", wanted[k].name);
        }
    size_t version = c->version();
    if (version >= VERSION_LEAST) return HONE_OK;
    dlclose(c->library);
    return hone_fail(HONE_ERR_DEVICE, hint, "cudnn: the library is version %zu.%zu, hone needs 9.11", version / 10000,
                     version / 100 % 100);
}

/* Major, minor and patch of 90000-style numbers (cuDNN 9 and later). */
static void version_text(const char *name, size_t v, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%s %zu.%zu.%zu", name, v / 10000, v / 100 % 100, v % 100);
}

/* First word of a choice, and of the text that a choice is remembered under. */
const char *hone_dnn_name(void) { return "cudnn"; }
const char *hone_dnn_library(const hone_dnn *dnn) { return dnn->library; }

/* An error of its own is turned into words: the caller asks for a line to print. */
const char *hone_dnn_version(char *text, size_t text_bytes)
{
    cudnn_calls c;
    if (load(&c) != HONE_OK) {
        snprintf(text, text_bytes, "cuDNN missing (%.180s; %.200s)", hone_error_message(), hone_error_hint());
        hone_error_clear();
        return text;
    }
    version_text("cuDNN", c.version(), text, text_bytes);
    dlclose(c.library);
    return text;
}

/* Into the bag before anything is set on it: whatever fails next, the bag frees it. */
hone_status hone_cudnn_make(hone_dnn *dnn, cudnn_bag *bag, cudnnBackendDescriptorType_t type,
                            cudnnBackendDescriptor_t *out)
{
    if (bag->count == BAG_MAX) return hone_fail(HONE_ERR_RUNTIME, NULL, "cudnn: more than %d descriptors", BAG_MAX);
    CUDNN_TRY(&dnn->call, "making a descriptor", dnn->call.make(type, out));
    bag->item[bag->count++] = *out;
    return HONE_OK;
}

/* Last made, first dropped: later ones refer to earlier ones. */
void hone_cudnn_bag_free(hone_dnn *dnn, cudnn_bag *bag)
{
    if (!bag || --bag->users > 0) return;
    while (bag->count > 0) dnn->call.drop(bag->item[--bag->count]);
    free(bag);
}

/* Either a handle on the stream, or the description of a chip that is not here. */
static hone_status meet_device(hone_dnn *dnn, const hone_dnn_device *device)
{
    const cudnn_calls *c = &dnn->call;
    if (!device->description) {
        CUDNN_TRY(c, "opening a handle", c->create(&dnn->handle));
        CUDNN_TRY(c, "setting the stream", c->set_stream(dnn->handle, device->stream));
        return HONE_OK;
    }
    /* Length with the terminating zero, as the library's own descriptions have it. */
    CUDNN_TRY(c, "making a device description", c->make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &dnn->described));
    CUDNN_TRY(c, "describing a device",
              c->set(dnn->described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                     (int64_t)strlen(device->description) + 1, device->description));
    CUDNN_TRY(c, "describing a device", c->finalize(dnn->described));
    return HONE_OK;
}

/* Half-opened ones are closed here, so that the caller has a whole one or none. */
hone_status hone_dnn_open(const hone_dnn_device *device, hone_dnn **out)
{
    *out = NULL;
    hone_dnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn) return hone_fail(HONE_ERR_MEMORY, NULL, "cudnn: no memory");
    hone_status status = load(&dnn->call);
    if (status != HONE_OK) {
        free(dnn);
        return status;
    }
    version_text(hone_dnn_name(), dnn->call.version(), dnn->library, sizeof dnn->library);
    status = meet_device(dnn, device);
    if (status == HONE_OK) *out = dnn;
    else hone_dnn_close(dnn);
    return status;
}

/* The library stays loaded: it has threads and caches of its own that do not survive dlclose. */
void hone_dnn_close(hone_dnn *dnn)
{
    if (!dnn) return;
    hone_cudnn_forget_all(dnn);
    if (dnn->described) dnn->call.drop(dnn->described);
    if (dnn->handle) dnn->call.destroy(dnn->handle);
    free(dnn);
}
