/* dnn_plans.c - from a library's candidates to plans, by the rules.
 *
 * Contract: candidates are passed over by their notes and their workspace, never by their place in the list;
 * engines that compile on first use are taken only where nothing else plans (each may cost seconds, and none of
 * them could be proven without a GPU). Must not time anything and must not know a backend. */
#include "dnn.h"

/* One pass over a list: candidates of one way of compiling. */
static hone_status plan_pass(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_rules *rules,
                             const hone_dnn_list *list, bool at_run_time, int most, hone_dnn_plan **plan, int *count,
                             hone_dnn_fate *f)
{
    for (int k = 0; k < list->count && *count < most; k++) {
        if (list->item[k].at_run_time != at_run_time) continue;
        if (hone_dnn_refusal(&list->item[k], g->dtype, rules)) {
            f->against_rules++;
            continue;
        }
        hone_dnn_plan *made = NULL;
        hone_status status = hone_dnn_plan_new(dnn, g, list, k, &made);
        if (status == HONE_ERR_MEMORY) return status;
        if (status != HONE_OK) {
            hone_error_clear(); /* the next one may plan; the count says how many did not */
            f->unplanned++;
        } else if (hone_dnn_plan_work_bytes(made) > rules->work_most_bytes) {
            hone_dnn_plan_free(made);
            f->too_large++;
        } else {
            plan[(*count)++] = made;
        }
    }
    return HONE_OK;
}

/* Two passes, because an engine that compiles on first use may stand before one that is ready. */
hone_status hone_dnn_plans(hone_dnn *dnn, const hone_dnn_graph *g, const hone_dnn_rules *rules, int most,
                           hone_dnn_plan **plan, int *count, hone_dnn_fate *fate)
{
    hone_dnn_list list;
    *fate = (hone_dnn_fate){0};
    *count = 0;
    HONE_TRY(hone_dnn_ask(dnn, g, &list));
    fate->offered = list.count;
    for (int k = 0; k < list.count; k++) fate->at_run_time += list.item[k].at_run_time;
    hone_status status = plan_pass(dnn, g, rules, &list, false, most, plan, count, fate);
    if (status == HONE_OK && *count == 0) status = plan_pass(dnn, g, rules, &list, true, most, plan, count, fate);
    hone_dnn_list_free(&list);
    while (status != HONE_OK && *count > 0) hone_dnn_plan_free(plan[--*count]);
    return status;
}
