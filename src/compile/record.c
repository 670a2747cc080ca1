/* record.c - runs ranges of launches, and records them where the backend can.
 *
 * The first two runs are eager (libraries initialise themselves lazily then, and they are real
 * steps), the third is recorded and replayed, all later ones are replays. Between record_begin and
 * record_end launches are noted, not executed. A run allocates nothing and cannot fail but for the
 * device itself.
 *
 * Three ranges can be recorded, each on its own third run: the whole step, forward and backward, the
 * update; several whole steps in one: together.c. A change of address (another pool, the moving average) drops the recordings. */
#include "compile/pass.h"

/* The hot path of a CPU step: one indirect call a node, and the branch on `check`. */
hone_status hone_launch_run(hone_program *p, const hone_launch *l)
{
    char text[256];
    p->backend->kernel[l->node->op].launch(p->backend, l);
    if (!p->check) return HONE_OK;
    hone_status status = p->backend->sync(p->backend);
    if (status == HONE_OK) status = hone_guards_check(p);
    if (status != HONE_OK) hone_error_context("%s", hone_node_text(p, l->node, text, sizeof text));
    return status;
}

/* On a device this only enqueues; nothing waits. */
static hone_status run_eagerly(hone_program *p, const hone_range *r)
{
    for (int32_t i = r->begin; i < r->end; i++) HONE_TRY(hone_launch_run(p, &p->launch[i]));
    return HONE_OK;
}

/* If recording fails the error ends the step; half a recording is never replayed. */
static hone_status record(hone_program *p, hone_range *r)
{
    HONE_TRY(p->backend->record_begin(p->backend));
    for (int32_t i = r->begin; i < r->end; i++)
        p->backend->kernel[p->launch[i].node->op].launch(p->backend, &p->launch[i]);
    return p->backend->record_end(p->backend, &r->recorded);
}

/* A plan without memory has no launches: refused here, for all three public calls. */
hone_status hone_range_run(hone_program *p, hone_range *r)
{
    bool can_record = p->backend->record_begin && !p->opts.eager && !p->check;
    HONE_TRY(hone_held_none(p));
    if (!p->launch)
        return hone_fail(HONE_ERR_USAGE, "compile it with hone_compile", "a planned program has no memory to run in");
    if (!can_record || (!r->recorded && r->runs < 2)) {
        r->runs++;
        return run_eagerly(p, r);
    }
    if (!r->recorded) HONE_TRY(record(p, r));
    return p->backend->replay(p->backend, r->recorded);
}

/* `runs` stays: libraries are initialised already, so the next run may record at once. */
static void forget(hone_program *p, hone_range *r)
{
    if (r->recorded) p->backend->record_free(p->backend, r->recorded);
    r->recorded = NULL;
}

/* Also when an address changes: a recording holds the old one. */
void hone_record_free(hone_program *p)
{
    forget(p, &p->whole);
    forget(p, &p->forward_backward);
    forget(p, &p->update);
    hone_together_forget(p);
}
