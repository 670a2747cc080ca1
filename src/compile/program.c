/* program.c - the host's view of a bound program: steps, tensors in and out, the step block, memory.
 *
 * Host data is f32 even where the backend computes in double. Writing a parameter or state restarts its moving
 * average, so a fresh or reloaded model begins with average = value; a resume writes the average
 * afterwards. Nothing here computes.
 *
 * Reads wait for the device, writes do not: a step after a write sees what was written. An activation
 * can be read only if it is kept (HONE_TENSOR_KEEP) or if the program reuses nothing; reading what has
 * been overwritten would be a silent error, so it is refused by name. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

const hone_graph *hone_program_graph(const hone_program *p) { return p->graph; }
hone_backend *hone_program_backend(const hone_program *p) { return p->backend; }
hone_precision hone_program_precision(const hone_program *p) { return p->graph->precision; }

/* The three ranges a host may run; all else in this file moves data. */
hone_status hone_program_forward_backward(hone_program *p)
{
    HONE_TRY(hone_shadow_refresh(p));
    return hone_range_run(p, &p->forward_backward);
}

/* Keeps the parameters' 16-bit copies itself; the average's is made when it is read. */
hone_status hone_program_update(hone_program *p)
{
    hone_shadow_note(p, false);
    return hone_range_run(p, &p->update);
}

hone_status hone_program_step(hone_program *p)
{
    HONE_TRY(hone_shadow_refresh(p));
    hone_shadow_note(p, false);
    return p->wanted ? hone_held_step(p) : hone_range_run(p, &p->whole);
}

/* --- transfers ---------------------------------------------------------------------------------------- */

/* A wrong size is nearly always a wrong tensor id, so both are shown. */
static hone_status bad_size(const char *name, size_t bytes, size_t want)
{
    return hone_fail(HONE_ERR_USAGE, "pass exactly the tensor's bytes", "tensor '%s': %zu bytes given, it has %zu",
                     name, bytes, want);
}

/* `bytes` may be those of the tensor's own type, or fp32's. */
static hone_status check_size(const hone_tensor *t, size_t bytes)
{
    bool real = t->dtype == HONE_F64 || t->dtype == HONE_BF16 || t->dtype == HONE_F16;
    if (bytes == hone_tensor_bytes(t) || (real && bytes == (size_t)hone_tensor_count(t) * sizeof(float)))
        return HONE_OK;
    return bad_size(t->name, bytes, hone_tensor_bytes(t));
}

/* The tensor's bytes at `address`, from fp32 where it is stored otherwise: rounded once. */
static hone_status upload_reals(hone_program *p, const hone_tensor *t, void *address, const void *host, size_t bytes)
{
    HONE_TRY(check_size(t, bytes));
    if (bytes == hone_tensor_bytes(t)) return p->backend->upload(p->backend, address, host, bytes);
    void *stored = malloc(hone_tensor_bytes(t));
    if (!stored) return hone_fail(HONE_ERR_MEMORY, NULL, "tensor '%s': no host memory to convert it", t->name);
    hone_reals_from_f32(t->dtype, host, stored, hone_tensor_count(t));
    hone_status status = p->backend->upload(p->backend, address, stored, hone_tensor_bytes(t));
    if (status == HONE_OK) status = p->backend->sync(p->backend);
    free(stored);
    return status;
}

/* The way back; exact from 16 bits, from doubles rounded once. */
static hone_status download_reals(hone_program *p, const hone_tensor *t, const void *address, void *host, size_t bytes)
{
    HONE_TRY(check_size(t, bytes));
    if (bytes == hone_tensor_bytes(t)) return p->backend->download(p->backend, host, address, bytes);
    void *stored = malloc(hone_tensor_bytes(t));
    if (!stored) return hone_fail(HONE_ERR_MEMORY, NULL, "tensor '%s': no host memory to convert it", t->name);
    hone_status status = p->backend->download(p->backend, stored, address, hone_tensor_bytes(t));
    if (status == HONE_OK) hone_reals_to_f32(t->dtype, stored, host, hone_tensor_count(t));
    free(stored);
    return status;
}

/* Address of a tensor that the host may touch; an activation that shares its memory is refused. */
static hone_status find_address(hone_program *p, hone_tid t, bool reads, void **address)
{
    HONE_TRY(hone_held_none(p));
    if (t < 0 || t >= p->graph->tensor_count)
        return hone_fail(HONE_ERR_USAGE, "pass an id of the compiled graph", "there is no tensor %d", t);
    const hone_tensor *x = &p->graph->tensor[t];
    *address = hone_program_address(p, t);
    if (!*address)
        return hone_fail(HONE_ERR_USAGE, "flag it HONE_TENSOR_KEEP before compiling, or bind the pool",
                         "tensor '%s' is not in memory", x->name);
    bool planned = p->graph->tensor[hone_alias_root(p->graph, t)].role == HONE_ROLE_ACT;
    if (reads && planned && x->producer != HONE_NONE && !(x->flags & HONE_TENSOR_KEEP) && !p->opts.no_reuse)
        return hone_fail(HONE_ERR_USAGE, "flag it HONE_TENSOR_KEEP before compiling",
                         "tensor '%s' shares its memory with later ones", x->name);
    return HONE_OK;
}

/* NULL for what is not in memory, never an error: tests and resident pools probe with it. */
void *hone_program_address(hone_program *p, hone_tid t)
{
    return p->address && t >= 0 && t < p->graph->tensor_count ? p->address[t] : NULL;
}

/* --- optimizer slots -------------------------------------------------------------------------------------- */

/* The program whose OPT arena this one uses. */
static hone_program *slot_owner(const hone_program *p)
{
    hone_program *o = p->owner && p->owner->role_bytes[HONE_ROLE_OPT] > 0 ? p->owner : (hone_program *)p;
    return o->arena[HONE_ROLE_OPT] ? o : NULL;
}

/* Asked by checkpoints, which hold exactly the slots there are. */
bool hone_program_has_slot(const hone_program *p, int slot)
{
    const hone_program *o = slot_owner(p);
    if (!o) return false;
    return slot == HONE_SLOT_EMA ? o->ema : slot >= 0 && slot < o->slot_count;
}

/* Address of slot k of a parameter: k * K elements + the parameter's own offset; the average is behind
 * the slots, and behind that the average of STATE. NULL where there is none. */
static void *slot_address(const hone_program *p, hone_tid param, int slot)
{
    const hone_tensor *t = &p->graph->tensor[param];
    bool trained = t->role == HONE_ROLE_PARAM && (t->flags & HONE_TENSOR_TRAINABLE);
    bool followed = t->role == HONE_ROLE_STATE && slot == HONE_SLOT_EMA; /* statistics have no other slot */
    if (!hone_program_has_slot(p, slot) || (t->flags & HONE_TENSOR_FLAT) || !(trained || followed)) return NULL;
    const hone_program *o = slot_owner(p);
    if (t->flags & HONE_TENSOR_SPARSE)
        return slot == HONE_SLOT_EMA ? NULL : (uint8_t *)o->arena[HONE_ROLE_OPT] + hone_sparse_slot_offset(o, t, slot);
    size_t block = (size_t)o->flat_count * hone_dtype_bytes(t->dtype);
    size_t index = (size_t)(slot == HONE_SLOT_EMA ? o->slot_count + followed : slot);
    return (uint8_t *)o->arena[HONE_ROLE_OPT] + index * block + (size_t)t->offset;
}

/* With the parameter's name in the message: checkpoints loop over names. */
static hone_status find_slot(hone_program *p, hone_tid param, int slot, void **address)
{
    HONE_TRY(find_address(p, param, false, address));
    *address = slot_address(p, param, slot);
    if (*address) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "ask hone_program_has_slot; frozen parameters have no slots",
                     "parameter '%s' has no optimizer slot %d", p->graph->tensor[param].name, slot);
}

/* host (count of param), f32. */
hone_status hone_program_write_slot(hone_program *p, hone_tid param, int slot, const float *host)
{
    void *address = NULL;
    HONE_TRY(find_slot(p, param, slot, &address));
    const hone_tensor *t = &p->graph->tensor[param];
    if (slot == HONE_SLOT_EMA) hone_shadow_note(p, false);
    return upload_reals(p, t, address, host, (size_t)hone_tensor_count(t) * sizeof *host);
}

/* The average of a frozen parameter is the parameter. */
hone_status hone_program_read_slot(hone_program *p, hone_tid param, int slot, float *host)
{
    void *address = NULL;
    HONE_TRY(find_address(p, param, false, &address));
    const hone_tensor *t = &p->graph->tensor[param];
    bool frozen = t->role == HONE_ROLE_PARAM && !(t->flags & HONE_TENSOR_TRAINABLE);
    if (!(slot == HONE_SLOT_EMA && frozen && hone_program_has_slot(p, slot)))
        HONE_TRY(find_slot(p, param, slot, &address));
    HONE_TRY(p->backend->sync(p->backend));
    return download_reals(p, t, address, host, (size_t)hone_tensor_count(t) * sizeof *host);
}

/* Launch records read parameters and running statistics at the average's address; a recording is made anew. */
hone_status hone_program_use_ema(hone_program *p, bool use)
{
    if (use && !hone_program_has_slot(p, HONE_SLOT_EMA))
        return hone_fail(HONE_ERR_USAGE, "compile the owner with update.ema_decay > 0", "there is no moving average");
    for (int32_t i = 0; i < p->launch_count; i++) {
        hone_launch *l = &p->launch[i];
        for (int k = 0; k < l->node->in_count; k++) {
            hone_tid t = l->node->in[k];
            if (t == HONE_NONE || p->graph->tensor[t].flags & HONE_TENSOR_FLAT) continue;
            void *average = use ? slot_address(p, t, HONE_SLOT_EMA) : NULL;
            if (use && !average) average = hone_shadow_of_average(p, t);
            l->in[k] = average ? average : p->address[t];
        }
    }
    p->reads_average = use;
    hone_record_free(p);
    return HONE_OK;
}

/* --- tensors ---------------------------------------------------------------------------------------------- */

/* Nothing waits: the next launch is ordered behind the copy. */
hone_status hone_program_write(hone_program *p, hone_tid t, const void *host, size_t bytes)
{
    void *address = NULL;
    if (p->wanted) return hone_held_write(p, t, host, bytes);
    HONE_TRY(find_address(p, t, false, &address));
    HONE_TRY(upload_reals(p, &p->graph->tensor[t], address, host, bytes));
    if (p->graph->tensor[t].role == HONE_ROLE_PARAM) hone_shadow_note(p, true);
    void *average = slot_address(p, t, HONE_SLOT_EMA);
    return average ? upload_reals(p, &p->graph->tensor[t], average, host, bytes) : HONE_OK;
}

/* Integers and bytes as they are; a front that is longer than its tensor would write over the next one. */
hone_status hone_program_write_front(hone_program *p, hone_tid t, const void *host, size_t bytes)
{
    void *address = NULL;
    HONE_TRY(find_address(p, t, false, &address));
    const hone_tensor *x = &p->graph->tensor[t];
    if (x->role != HONE_ROLE_INPUT || bytes > hone_tensor_bytes(x))
        return bad_size(x->name, bytes, hone_tensor_bytes(x));
    return bytes ? p->backend->upload(p->backend, address, host, bytes) : HONE_OK;
}

/* Waits for the device: a read is the one place where the host needs its results. */
hone_status hone_program_read(hone_program *p, hone_tid t, void *host, size_t bytes)
{
    void *address = NULL;
    HONE_TRY(find_address(p, t, true, &address));
    HONE_TRY(p->backend->sync(p->backend));
    return download_reals(p, &p->graph->tensor[t], address, host, bytes);
}

/* The caller keeps the memory; binding the same address again costs nothing. */
hone_status hone_program_bind_pool(hone_program *p, hone_tid t, void *device_memory)
{
    if (t < 0 || t >= p->graph->tensor_count || p->graph->tensor[t].role != HONE_ROLE_POOL || !p->address)
        return hone_fail(HONE_ERR_USAGE, "pass the id of a POOL tensor of a compiled program", "tensor %d is no pool",
                         t);
    if (p->address[t] == device_memory) return HONE_OK;
    p->address[t] = device_memory;
    for (int32_t i = 0; i < p->launch_count; i++)
        for (int k = 0; k < p->launch[i].node->in_count; k++)
            if (p->launch[i].node->in[k] == t) p->launch[i].in[k] = device_memory;
    hone_record_free(p);
    return HONE_OK;
}

/* The arena keeps the parameter's place, whose pages are never touched and so cost nothing. */
bool hone_program_lend(hone_program *p, hone_tid t, void *data)
{
    bool stays = p->opts.frozen && !p->owner && p->launch && p->backend->host_memory;
    int k = 0;
    if (!stays || t < 0 || t >= p->graph->tensor_count) return false;
    const hone_tensor *x = &p->graph->tensor[t];
    if (x->role != HONE_ROLE_PARAM || x->dtype != HONE_F32 || hone_shadow_bytes(p) > 0) return false;
    while (k < p->lent_count && p->lent[k].offset != x->offset) k++; /* lent before: now from elsewhere */
    if (k == HONE_LENT_MAX) return false;
    p->lent[k] = (hone_lent){x->offset, data};
    if (k == p->lent_count) p->lent_count++;
    hone_bind_addresses(p);
    hone_shadow_note(p, true);
    return true;
}

/* --- the step block ------------------------------------------------------------------------------------- */

/* The first `bytes` of the block, from the host. */
static hone_status put_step(hone_program *p, const hone_step *step, size_t bytes)
{
    void *address = NULL;
    HONE_TRY(find_address(p, p->step, false, &address));
    return p->backend->upload(p->backend, address, step, bytes);
}

hone_status hone_program_set_step(hone_program *p, const hone_step *step)
{
    if (!p->wanted) return put_step(p, step, offsetof(hone_step, loss_sum)); /* the kernels' fields begin there */
    hone_held_set_step(p, step);
    return HONE_OK;
}

/* All of it: resume, and clearing the sums. */
hone_status hone_program_put_step(hone_program *p, const hone_step *step) { return put_step(p, step, sizeof *step); }

/* The sums are of all steps since the host last cleared them. */
hone_status hone_program_get_step(hone_program *p, hone_step *step)
{
    void *address = NULL;
    HONE_TRY(find_address(p, p->step, false, &address));
    HONE_TRY(p->backend->sync(p->backend));
    return p->backend->download(p->backend, step, address, sizeof *step);
}

/* --- memory ------------------------------------------------------------------------------------------------- */

/* Borrowed arenas count 0 in both, so the totals of sharers add up to the truth. */
void hone_program_memory(const hone_program *p, hone_memory *planned, hone_memory *allocated)
{
    hone_memory none = {.act_no_reuse = p->act_no_reuse}, a = none, b = none;
    for (int role = 0; role < HONE_ROLE_COUNT; role++) {
        a.role_bytes[role] = p->role_bytes[role];
        b.role_bytes[role] = p->arena_bytes[role];
        a.total += p->role_bytes[role];
        b.total += p->arena_bytes[role];
    }
    if (planned) *planned = a;
    if (allocated) *allocated = b;
}
