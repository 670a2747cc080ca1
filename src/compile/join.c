/* join.c - products of one input whose results stand side by side become one product.
 *
 *     q = x Wq' + bq                                   W = | Wq |   b = | bq |
 *     k = x Wk' + bk    concat(concat(q, k), v)   =>       | Wk |       | bk |    x W' + b
 *     v = x Wv' + bv                                       | Wv |       | bv |
 *
 * Files such as BERT's name query, key and value apart. Memory need not: rows of weights that follow each other in PARAM
 * are one matrix, so W and b are views over the parts (flag FLAT), and nothing is copied. Backward then makes one dW and
 * one dx where it made three and two sums; the parts keep their names, and their gradients are views of the whole's.
 *
 * Runs first, so that backward, shadows and the update see one product. Places come later (update.c puts the parts of a
 * whole one behind the other); a sharer whose owner's parts are no neighbours keeps the products. */
#include <stdio.h>
#include <string.h>

#include "compile/pass.h"

enum { MOST = HONE_JOIN_PARTS, WEIGHT = 1, BIAS = 2 };

/* A chain of concat nodes, from its end: the products left to right, and the nodes that go. */
typedef struct chain {
    hone_nid product[MOST], gone[2 * MOST];
    int products, gone_count;
} chain;

/* Of one tensor, in all nodes. */
static int readers_of(const hone_graph *g, hone_tid t)
{
    int count = 0;
    for (hone_nid i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i].in_count; k++) count += g->node[i].in[k] == t;
    return count;
}

/* The node that makes `t` for one reader and nobody else; HONE_NONE. */
static hone_nid maker_of(const hone_graph *g, hone_tid t)
{
    hone_nid i = g->tensor[t].producer;
    if (i == HONE_NONE || g->node[i].out[0] != t || readers_of(g, t) != 1) return HONE_NONE;
    return g->tensor[t].flags & HONE_TENSOR_KEEP ? HONE_NONE : i;
}

/* Follows the left inputs down. False: something else than products stands side by side. */
static bool collect(const hone_graph *g, hone_nid last, chain *c)
{
    hone_nid right[MOST] = {HONE_NONE};
    int count = 0;
    *c = (chain){.gone_count = 0};
    hone_nid i = last;
    for (; i != HONE_NONE && g->node[i].op == HONE_OP_concat; i = maker_of(g, g->node[i].in[0])) {
        if (count == MOST - 1) return false;
        right[count++] = maker_of(g, g->node[i].in[1]);
        if (i != last) c->gone[c->gone_count++] = i;
    }
    c->product[c->products++] = i;
    while (count > 0) c->product[c->products++] = right[--count];
    for (int k = 0; k < c->products; k++) {
        if (c->product[k] == HONE_NONE || g->node[c->product[k]].op != HONE_OP_linear) return false;
        c->gone[c->gone_count++] = c->product[k];
    }
    return true;
}

/* Parameters of one kind, each read by its product alone. Views have no padding between the parts. */
static bool parts_agree(const hone_graph *g, const chain *c, int input)
{
    const hone_node *first = &g->node[c->product[0]];
    for (int k = 0; k < c->products; k++) {
        hone_tid t = g->node[c->product[k]].in[input], f = first->in[input];
        if ((t == HONE_NONE) != (f == HONE_NONE)) return false;
        if (t == HONE_NONE) continue;
        const hone_tensor *x = &g->tensor[t], *y = &g->tensor[f];
        if (x->role != HONE_ROLE_PARAM || x->layout != HONE_LAYOUT_PLAIN || readers_of(g, t) != 1) return false;
        if (x->flags != y->flags || x->dtype != y->dtype || x->lr_scale != y->lr_scale) return false;
        if (hone_tensor_bytes(x) % HONE_ALIGN_BYTES != 0) return false;
    }
    return true;
}

/* A sharer takes the owner's places: one behind the other where the owner joined them, or laid them so without. */
static bool places_follow(const hone_program *p, const chain *c, int input)
{
    const hone_graph *g = p->graph, *og = p->owner ? p->owner->graph : NULL;
    int64_t at = -1;
    for (int k = 0; og && k < c->products; k++) {
        hone_tid t = g->node[c->product[k]].in[input], o;
        if (t == HONE_NONE) continue;
        if ((o = hone_graph_find(og, g->tensor[t].name)) == HONE_NONE) return false;
        if (at >= 0 && og->tensor[o].offset != at) return false;
        at = og->tensor[o].offset + (int64_t)hone_tensor_bytes(&og->tensor[o]);
    }
    return true;
}

static bool can_join(const hone_program *p, const chain *c)
{
    const hone_graph *g = p->graph;
    if (p->join_count + 2 > HONE_JOINS_MAX) return false;
    for (int k = 1; k < c->products; k++)
        if (g->node[c->product[k]].in[0] != g->node[c->product[0]].in[0]) return false;
    for (int input = WEIGHT; input <= BIAS; input++)
        if (!parts_agree(g, c, input) || !places_follow(p, c, input)) return false;
    return true;
}

/* The view over one parameter of each product; HONE_NONE where they have none. */
static hone_status make_whole(hone_program *p, const chain *c, int input, hone_tid *out)
{
    hone_graph *g = p->graph;
    hone_join j = {.parts = c->products};
    char name[HONE_NAME_BYTES];
    *out = HONE_NONE;
    for (int k = 0; k < c->products; k++) j.part[k] = g->node[c->product[k]].in[input];
    if (j.part[0] == HONE_NONE) return HONE_OK;
    /* the number makes it unique, whatever is cut off: what kernels keep of a parameter is found by its name */
    snprintf(name, sizeof name, "joined %d: %.*s", p->join_count, (int)sizeof name - 16, g->tensor[j.part[0]].name);
    HONE_TRY(hone_graph_like(g, name, j.part[0], HONE_ROLE_PARAM, &j.whole));
    hone_tensor *x = &g->tensor[j.whole];
    x->flags = g->tensor[j.part[0]].flags | HONE_TENSOR_FLAT;
    x->lr_scale = g->tensor[j.part[0]].lr_scale;
    for (int k = 1; k < j.parts; k++) x->dim[0] += g->tensor[j.part[k]].dim[0];
    p->join[p->join_count++] = j;
    *out = j.whole;
    return HONE_OK;
}

/* Nodes of the chain out, producers renumbered. */
static void close_up(hone_graph *g, const chain *c)
{
    hone_nid to = 0;
    for (hone_nid i = 0; i < g->node_count; i++) {
        bool gone = false;
        for (int k = 0; k < c->gone_count; k++) gone |= c->gone[k] == i;
        if (gone) continue;
        g->node[to] = g->node[i];
        for (int k = 0; k < g->node[to].out_count; k++)
            if (g->node[to].out[k] != HONE_NONE) g->tensor[g->node[to].out[k]].producer = to;
        to++;
    }
    g->node_count = to;
}

/* The product stands where the last concat stood, and gives the same tensor. */
static hone_status join(hone_program *p, hone_nid last, const chain *c)
{
    hone_graph *g = p->graph;
    hone_tid weight, bias;
    HONE_TRY(make_whole(p, c, WEIGHT, &weight));
    HONE_TRY(make_whole(p, c, BIAS, &bias));
    hone_node n = g->node[c->product[0]];
    n.in[WEIGHT] = weight;
    n.in[BIAS] = bias;
    memcpy(n.out, g->node[last].out, sizeof n.out);
    g->node[last] = n;
    close_up(g, c);
    return HONE_OK;
}

/* From the end, so that the longest chain is met first. */
hone_status hone_pass_join(hone_program *p)
{
    chain c;
    if (!p->backend->fuses || p->opts.no_fuse) return HONE_OK;
    for (hone_nid i = p->graph->node_count - 1; i >= 0; i--) {
        if (i >= p->graph->node_count || p->graph->node[i].op != HONE_OP_concat) continue;
        if (collect(p->graph, i, &c) && can_join(p, &c)) HONE_TRY(join(p, i, &c));
    }
    return HONE_OK;
}

/* Of the parameter at the head of a whole, which is placed together with its other parts. */
const hone_join *hone_join_at(const hone_program *p, hone_tid head)
{
    for (int k = 0; k < p->join_count; k++)
        if (p->join[k].part[0] == head) return &p->join[k];
    return NULL;
}

bool hone_join_follows(const hone_program *p, hone_tid t)
{
    for (int k = 0; k < p->join_count; k++)
        for (int i = 1; i < p->join[k].parts; i++)
            if (p->join[k].part[i] == t) return true;
    return false;
}

/* After the parts have places. Parts of a whole that has a gradient get the views of it that bear their names. */
hone_status hone_join_views(hone_program *p)
{
    hone_graph *g = p->graph;
    for (int k = 0; k < p->join_count; k++) {
        const hone_join *j = &p->join[k];
        g->tensor[j->whole].offset = g->tensor[j->part[0]].offset;
        hone_tid grad = g->tensor[j->whole].grad;
        if (grad == HONE_NONE) continue;
        g->tensor[grad].offset = g->tensor[j->whole].offset;
        for (int i = 0; i < j->parts; i++) {
            char name[HONE_NAME_BYTES + 8];
            hone_tid view;
            snprintf(name, sizeof name, "%s.grad", g->tensor[j->part[i]].name);
            HONE_TRY(hone_graph_like(g, name, j->part[i], HONE_ROLE_GRAD, &view));
            g->tensor[view].offset = g->tensor[j->part[i]].offset;
            g->tensor[j->part[i]].grad = view;
        }
    }
    return HONE_OK;
}
