/* shadow.c - keeps the 16-bit copies of parameters true to their fp32 masters.
 *
 * SHADOW holds a copy of the whole PARAM arena, frozen parameters included, at equal element offsets; behind it,
 * where there is a moving average, a copy of that (K elements). The update kernels write the first copy in the pass
 * that writes the masters; nothing else on the device writes either. What the host does is noted here, and before the
 * next run that reads a copy a `cast` over the flat arena makes it true:
 *   a parameter is written (load, resume, initial values)  -> both copies are stale
 *   an average is written, an update ran                   -> the average's copy is stale
 * The average moves at every step and is read once an epoch, so its copy is made when asked for, not in the update.
 * Memory written behind the program's back (hone_program_address) is not seen. */
#include "compile/pass.h"

/* Of the copy. */
static hone_dtype storage_of(const hone_program *p) { return hone_precision_storage(p->graph->precision); }

/* The one whose arenas all of a family use. */
static hone_program *family(hone_program *p) { return p->owner ? p->owner : p; }

size_t hone_shadow_bytes(const hone_program *p)
{
    size_t ratio = sizeof(float) / hone_dtype_bytes(storage_of(p)), average = p->ema ? (size_t)p->flat_count : 0;
    if (ratio == 1) return 0;
    return (size_t)hone_align_up((int64_t)(p->role_bytes[HONE_ROLE_PARAM] / ratio)) +
           (size_t)hone_align_up((int64_t)(average * hone_dtype_bytes(storage_of(p))));
}

/* Where the copy of the average begins. */
static uint8_t *average_copy(const hone_program *o)
{
    size_t half = o->role_bytes[HONE_ROLE_PARAM] / sizeof(float) * hone_dtype_bytes(storage_of(o));
    return (uint8_t *)o->arena[HONE_ROLE_SHADOW] + hone_align_up((int64_t)half);
}

void *hone_shadow_of_average(const hone_program *p, hone_tid t)
{
    const hone_program *o = p->owner ? p->owner : p;
    const hone_tensor *x = &p->graph->tensor[t];
    int64_t end = o->flat_count * (int64_t)hone_dtype_bytes(x->dtype);
    if (x->role != HONE_ROLE_SHADOW || !o->ema || x->offset >= end) return NULL; /* frozen ones lie behind K */
    return average_copy(o) + x->offset;
}

/* One launch over `count` elements, outside of any recording. */
static hone_status cast(hone_program *o, const void *from, void *to, int64_t count)
{
    hone_tensor x = {.dtype = HONE_F32, .rank = 1, .dim = {count}},
                y = {.dtype = storage_of(o), .rank = 1, .dim = {count}};
    hone_node n = {.op = HONE_OP_cast, .in_count = 1, .out_count = 1};
    hone_launch l = {.node = &n, .in_desc = {&x}, .out_desc = {&y}, .in = {(void *)from}, .out = {to}};
    o->backend->kernel[HONE_OP_cast].launch(o->backend, &l); /* reads its descriptions before it returns */
    return HONE_OK;
}

void hone_shadow_note(hone_program *p, bool parameters)
{
    hone_program *o = family(p);
    if (parameters) o->shadow_stale = true;
    if (parameters) hone_frozen_empty(o->rooms);
    o->average_stale = true;
}

hone_status hone_shadow_refresh(hone_program *p)
{
    hone_program *o = family(p);
    if (!o->arena[HONE_ROLE_SHADOW]) return HONE_OK;
    if (o->shadow_stale)
        HONE_TRY(cast(o, o->arena[HONE_ROLE_PARAM], o->arena[HONE_ROLE_SHADOW],
                      (int64_t)(o->role_bytes[HONE_ROLE_PARAM] / sizeof(float))));
    o->shadow_stale = false;
    if (!p->reads_average || !o->average_stale) return HONE_OK;
    const uint8_t *average =
        (const uint8_t *)o->arena[HONE_ROLE_OPT] + (size_t)o->slot_count * (size_t)o->flat_count * sizeof(float);
    HONE_TRY(cast(o, average, average_copy(o), o->flat_count));
    o->average_stale = false;
    return HONE_OK;
}
