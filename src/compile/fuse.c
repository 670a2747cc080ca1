/* fuse.c - rewrites pairs of nodes into fused rows, where the backend's table has the row.
 *
 * One table of pairs, each applied until nothing matches; longer chains come about pair by pair
 * (conv + relu, then conv_act + maxpool), so every intermediate row must be in the table too. The
 * inner value disappears, so it must be read by the pair alone and not be kept, unless the fused row
 * gives it as an output. No arithmetic here, and no case that the table below does not show.
 *
 * Why it pays: a fused row saves writing and reading the inner value, which for elementwise ops is all
 * their time. Why pairs: forward and backward fuse independently, and a row that a backend lacks only
 * ends a chain early. Where the derivative of an activation needs its input (gelu, silu), that is a second output of
 * the product: it saves a read forward, and a read and a write backward. */
#include <stdlib.h>
#include <string.h>

#include "compile/pass.h"

/* Operands of a fused row, by where they stand in the pair; 0 = absent. */
#define IN(node, k)  (1 + (node)*8 + (k))
#define OUT(node, k) (17 + (node)*4 + (k))
#define BETA         29 /* of the norm whose gradient the second node makes, a batchnorm_dx           */
#define OTHER        30 /* the input of the second node that is not the inner value               */
#define POOLED       31 /* y of the pool whose `at` input 1 of the first node is                   */

enum { ANY_ACT = HONE_OP_COUNT, ANY_ACT_DX, X_ACT, X_ACT_DX }; /* X: whose derivative reads its input */

typedef struct pair {
    hone_op fused;
    int first, second; /* hone_op, or a kind of those above                                      */
    int link;          /* input of the second node that is the inner value; -1: either of two,
                              -2: none, the nodes have the same inputs                             */
    int8_t in[HONE_MAX_IN], out[HONE_MAX_OUT];
    int8_t attr;   /* whose attributes (window, norm, loss) the fused node takes           */
    int8_t pool;   /* 1 + the node whose window becomes attr.pool; 0: none                 */
    bool at_first; /* stands where the first node stood, else where the second did         */
} pair;

#define CONV_IN                                                                                                        \
    {                                                                                                                  \
        IN(0, 0), IN(0, 1), IN(0, 2)                                                                                   \
    }
#define NORM_IN                                                                                                        \
    {                                                                                                                  \
        IN(0, 0), IN(0, 1), IN(0, 2), IN(0, 3), IN(0, 4)                                                               \
    }
#define NORMR_IN                                                                                                       \
    {                                                                                                                  \
        IN(0, 0), IN(0, 1), IN(0, 2), IN(0, 3), IN(0, 4), OTHER                                                        \
    }
#define NORM_OUT                                                                                                       \
    {                                                                                                                  \
        OUT(1, 0), OUT(0, 1), OUT(0, 2)                                                                                \
    }
#define NORM_DX                                                                                                        \
    {                                                                                                                  \
        IN(1, 0), IN(1, 1), IN(1, 2), IN(1, 3), IN(0, 0), IN(0, 1)                                                     \
    }
#define REMADE_DX                                                                                                      \
    {                                                                                                                  \
        IN(1, 0), IN(1, 1), IN(1, 2), IN(1, 3), BETA, IN(0, 1)                                                         \
    }
#define JOINED_DX                                                                                                      \
    {                                                                                                                  \
        IN(1, 0), IN(1, 1), IN(1, 2), IN(1, 3), IN(1, 4), IN(0, 0), IN(0, 1)                                           \
    }

static const pair pairs[] = {
    /* The loss and its gradient read the same logits. */
    {HONE_OP_softmax_xent_both,
     HONE_OP_softmax_xent,
     HONE_OP_softmax_xent_dx,
     -2,
     {IN(0, 0), IN(0, 1), IN(0, 2), IN(0, 3), IN(0, 4), IN(0, 5), IN(0, 6)},
     {OUT(0, 0), OUT(0, 1), OUT(1, 0)},
     0,
     0,
     true},
    /* First of all, as it frees the full-size activation of its last backward reader. */
    {HONE_OP_maxpool_act_dx, HONE_OP_maxpool_dx, ANY_ACT_DX, 1, {POOLED, IN(0, 1), IN(0, 0)}, {OUT(1, 0)}, 0, 0, false},
    /* Forward of a convolution: the pool reads conv_act, so this order makes the triple. */
    {HONE_OP_conv_act, HONE_OP_conv, ANY_ACT, 0, CONV_IN, {OUT(1, 0)}, 0, 0, false},
    {HONE_OP_conv_act_maxpool, HONE_OP_conv_act, HONE_OP_maxpool, 0, CONV_IN, {OUT(1, 0), OUT(1, 1)}, 0, 2, false},
    /* Only where no conv_dx reads the full-size gradient as well: the first layer. */
    {HONE_OP_conv_act_maxpool_dw,
     HONE_OP_maxpool_act_dx,
     HONE_OP_conv_dw,
     1,
     {IN(1, 0), IN(0, 0), IN(0, 1), IN(0, 2)},
     {OUT(1, 0), OUT(1, 1)},
     1,
     1,
     false},
    {HONE_OP_linear_act, HONE_OP_linear, ANY_ACT, 0, CONV_IN, {OUT(1, 0)}, 0, 0, false},
    {HONE_OP_linear_dx_act, HONE_OP_linear_dx, ANY_ACT_DX, 1, {IN(0, 0), IN(0, 1), IN(1, 0)}, {OUT(1, 0)}, 0, 0, false},
    /* Those whose derivative reads what the activation read: that is an output, where a gradient is made. */
    {HONE_OP_linear_act, HONE_OP_linear, X_ACT, 0, CONV_IN, {OUT(1, 0), OUT(0, 0)}, 0, 0, false},
    {HONE_OP_linear_dx_act, HONE_OP_linear_dx, X_ACT_DX, 1, {IN(0, 0), IN(0, 1), IN(1, 0)}, {OUT(1, 0)}, 0, 0, false},
    /* A norm without a join; then joins: add_relu first, since add + batchnorm alone is no row. */
    {HONE_OP_batchnorm_relu, HONE_OP_batchnorm, HONE_OP_relu, 0, NORM_IN, NORM_OUT, 0, 0, false},
    {HONE_OP_batchnorm_infer_relu, HONE_OP_batchnorm_infer, HONE_OP_relu, 0, NORM_IN, {OUT(1, 0)}, 0, 0, false},
    {HONE_OP_batchnorm_relu6, HONE_OP_batchnorm, HONE_OP_relu6, 0, NORM_IN, NORM_OUT, 0, 0, false},
    {HONE_OP_batchnorm_infer_relu6, HONE_OP_batchnorm_infer, HONE_OP_relu6, 0, NORM_IN, {OUT(1, 0)}, 0, 0, false},
    {HONE_OP_batchnorm_relu6_dx,
     HONE_OP_relu6_dx,
     HONE_OP_batchnorm_dx,
     4,
     REMADE_DX,
     {OUT(1, 0), OUT(1, 1), OUT(1, 2)},
     1,
     0,
     false},
    {HONE_OP_add_relu, HONE_OP_add, HONE_OP_relu, 0, {IN(0, 0), IN(0, 1)}, {OUT(1, 0)}, 0, 0, false},
    {HONE_OP_batchnorm_add_relu, HONE_OP_batchnorm, HONE_OP_add_relu, -1, NORMR_IN, NORM_OUT, 0, 0, false},
    {HONE_OP_batchnorm_infer_add_relu,
     HONE_OP_batchnorm_infer,
     HONE_OP_add_relu,
     -1,
     NORMR_IN,
     {OUT(1, 0)},
     0,
     0,
     false},
    {HONE_OP_batchnorm_relu_dx,
     HONE_OP_relu_dx,
     HONE_OP_batchnorm_dx,
     4,
     REMADE_DX,
     {OUT(1, 0), OUT(1, 1), OUT(1, 2)},
     1,
     0,
     false},
    /* A transformer's join and the norm behind it; what the next join adds to is an output, ready before it runs. */
    {HONE_OP_add_layernorm,
     HONE_OP_add,
     HONE_OP_layernorm,
     0,
     {IN(0, 0), IN(0, 1), IN(1, 1), IN(1, 2)},
     {OUT(1, 0), OUT(1, 1), OUT(1, 2), OUT(0, 0)},
     1,
     0,
     true},
    /* Backward: the gradient that goes round the branch joins the one that came through it. */
    {HONE_OP_layernorm_add_dx,
     HONE_OP_layernorm_dx,
     HONE_OP_add,
     -1,
     NORMR_IN,
     {OUT(1, 0), OUT(0, 1), OUT(0, 2)},
     0,
     0,
     false},
    /* With other readers (the shortcut) the inner value is an output, ready before they run. */
    {HONE_OP_batchnorm_add_relu_dx,
     HONE_OP_relu_dx,
     HONE_OP_batchnorm_dx,
     4,
     NORM_DX,
     {OUT(1, 0), OUT(1, 1), OUT(1, 2), OUT(0, 0)},
     1,
     0,
     true},
    /* The sum of a join's gradients, where the norm below alone reads it: it adds them as it goes. */
    {HONE_OP_batchnorm_relu_dx,
     HONE_OP_add,
     HONE_OP_batchnorm_relu_dx,
     5,
     JOINED_DX,
     {OUT(1, 0), OUT(1, 1), OUT(1, 2)},
     1,
     0,
     false},
    {HONE_OP_batchnorm_add_relu_dx,
     HONE_OP_add,
     HONE_OP_batchnorm_add_relu_dx,
     5,
     JOINED_DX,
     {OUT(1, 0), OUT(1, 1), OUT(1, 2), OUT(1, 3)},
     1,
     0,
     false},
};

/* The activations that fused rows know. by_x: the derivative reads the input, which must then be stored besides. */
static const struct {
    hone_op op, dx;
    hone_act act;
    bool by_x;
} act_table[] = {
    {HONE_OP_relu, HONE_OP_relu_dx, HONE_ACT_RELU, false},
    {HONE_OP_relu6, HONE_OP_relu6_dx, HONE_ACT_RELU6, false},
    {HONE_OP_leaky_relu, HONE_OP_leaky_relu_dx, HONE_ACT_LEAKY_RELU, false},
    {HONE_OP_tanh, HONE_OP_tanh_dx, HONE_ACT_TANH, false},
    {HONE_OP_sigmoid, HONE_OP_sigmoid_dx, HONE_ACT_SIGMOID, false},
    {HONE_OP_gelu, HONE_OP_gelu_dx, HONE_ACT_GELU, true},
    {HONE_OP_gelu_tanh, HONE_OP_gelu_tanh_dx, HONE_ACT_GELU_TANH, true},
    {HONE_OP_silu, HONE_OP_silu_dx, HONE_ACT_SILU, true},
};
enum { ACT_COUNT = sizeof act_table / sizeof *act_table };

/* Of an activation or of its derivative; NONE for every other op. */
static hone_act act_of(hone_op op)
{
    for (int k = 0; k < ACT_COUNT; k++)
        if (op == act_table[k].op || op == act_table[k].dx) return act_table[k].act;
    return HONE_ACT_NONE;
}

/* Matches one op, or an activation (derivative) of the table above; those by x where the dialect gains by them. */
static bool is_kind(const hone_backend *b, hone_op op, int kind)
{
    if (kind < HONE_OP_COUNT) return (int)op == kind;
    for (int k = 0; k < ACT_COUNT; k++) {
        bool by_x = kind == X_ACT || kind == X_ACT_DX;
        if (act_table[k].by_x != by_x || (by_x && !(b->input_acts >> act_table[k].act & 1u))) continue;
        if (op == (kind == ANY_ACT || kind == X_ACT ? act_table[k].op : act_table[k].dx)) return true;
    }
    return false;
}

/* Nodes are marked dead and removed at the end, so that ids stay valid while pairs are searched. */
typedef struct fuser {
    hone_program *p;
    hone_graph *g;
    bool *dead;       /* (node_count)                         */
    int32_t *readers; /* (tensor_count) live nodes reading it */
} fuser;

/* From scratch after each rewrite: graphs are small, and a stale count would fuse what is still read. */
static void count_readers(fuser *f)
{
    memset(f->readers, 0, (size_t)f->g->tensor_count * sizeof *f->readers);
    for (hone_nid i = 0; i < f->g->node_count; i++)
        for (int k = 0; !f->dead[i] && k < f->g->node[i].in_count; k++)
            if (f->g->node[i].in[k] != HONE_NONE) f->readers[f->g->node[i].in[k]]++;
}

/* --- matching --------------------------------------------------------------------------------------- */

/* Resolves one operand code of a row; HONE_NONE where absent. */
static hone_tid operand(const fuser *f, int code, hone_nid first, hone_nid second)
{
    const hone_node *a = &f->g->node[first], *b = &f->g->node[second];
    if (code == 0) return HONE_NONE;
    if (code == OTHER) return b->in[0] == a->out[0] ? b->in[1] : b->in[0];
    if (code == BETA) return f->g->node[f->g->tensor[b->in[2]].producer].in[2];
    if (code == POOLED) return f->g->node[f->g->tensor[a->in[1]].producer].out[0];
    const hone_node *n = code >= OUT(0, 0) ? (code >= OUT(1, 0) ? b : a) : (code >= IN(1, 0) ? b : a);
    if (code >= OUT(0, 0)) return n->out[(code - OUT(0, 0)) % 4];
    return n->in[(code - IN(0, 0)) % 8];
}

/* Does the fused row hand out this value of the pair? */
static bool is_output(const pair *r, int code)
{
    for (int k = 0; k < HONE_MAX_OUT; k++)
        if (r->out[k] == code) return true;
    return false;
}

/* Every output of the pair is either an output of the fused row or read by nobody but the pair. */
static bool outputs_survive(const fuser *f, const pair *r, hone_nid first, hone_nid second)
{
    const hone_nid id[2] = {first, second};
    for (int j = 0; j < 2; j++) {
        const hone_node *n = &f->g->node[id[j]];
        for (int k = 0; k < n->out_count; k++) {
            bool inner = j == 0 && k == 0 && r->link != -2;
            if (n->out[k] == HONE_NONE || is_output(r, OUT(j, k))) continue;
            if (f->g->tensor[n->out[k]].flags & HONE_TENSOR_KEEP) return false;
            if (f->readers[n->out[k]] != (inner ? 1 : 0)) return false;
        }
    }
    return true;
}

/* At the first place all inputs must exist already; at the second nobody in between may have read
 * an output that now appears later. */
static bool order_holds(const fuser *f, const pair *r, hone_nid first, hone_nid second)
{
    for (int k = 0; r->at_first && k < HONE_MAX_IN; k++) {
        hone_tid t = operand(f, r->in[k], first, second);
        if (t != HONE_NONE && f->g->tensor[t].producer >= first) return false;
    }
    for (hone_nid i = first + 1; !r->at_first && i < second; i++)
        for (int k = 0; !f->dead[i] && k < f->g->node[i].in_count; k++)
            for (int j = 0; j < f->g->node[first].out_count; j++)
                if (f->g->node[i].in[k] != HONE_NONE && f->g->node[i].in[k] == f->g->node[first].out[j]) return false;
    return true;
}

/* maxpool_act_dx: y of the pool tells the derivative only if the pool read the activation's output. */
static bool pooled_matches(const fuser *f, hone_nid first, hone_nid second)
{
    hone_nid pool = f->g->tensor[f->g->node[first].in[1]].producer;
    return pool != HONE_NONE && f->g->node[pool].op == HONE_OP_maxpool &&
           f->g->node[pool].in[0] == f->g->node[second].in[0];
}

/* A gate that is made again from the norm's input is the norm's own: the activation read nothing but the norm. */
static bool gate_is_the_norms(const fuser *f, hone_nid first, hone_nid second)
{
    hone_nid norm = f->g->tensor[f->g->node[second].in[2]].producer; /* by the mean that it left */
    hone_op op = norm == HONE_NONE ? HONE_OP_COUNT : f->g->node[norm].op;
    return op == (f->g->node[first].op == HONE_OP_relu6_dx ? HONE_OP_batchnorm_relu6 : HONE_OP_batchnorm_relu) &&
           f->g->node[norm].out[0] == f->g->node[first].in[0];
}

/* The second of a pair without link may have fewer inputs (no step block). */
static bool same_inputs(const hone_node *a, const hone_node *b)
{
    for (int k = 0; k < b->in_count; k++)
        if (a->in[k] != b->in[k]) return false;
    return true;
}

/* All conditions but the link, which `match` has followed. */
static bool fits(const fuser *f, const pair *r, hone_nid first, hone_nid second)
{
    const hone_node *a = &f->g->node[first], *b = &f->g->node[second];
    if (f->dead[first] || !is_kind(f->p->backend, a->op, r->first) || first >= second) return false;
    if (r->link == -2 && !same_inputs(a, b)) return false;
    bool remade = r->fused == HONE_OP_batchnorm_relu_dx || r->fused == HONE_OP_batchnorm_relu6_dx;
    if (remade && r->second == HONE_OP_batchnorm_dx && !gate_is_the_norms(f, first, second)) return false;
    if (r->fused == HONE_OP_maxpool_act_dx && !pooled_matches(f, first, second)) return false;
    if ((int)r->fused == r->second && b->in[6] != HONE_NONE) return false; /* it adds two, not three */
    /* the sum of a parameter's gradients is fp32 in the arena, and in place: no fused row's business */
    if (b->op == HONE_OP_add && f->g->tensor[b->out[0]].role != HONE_ROLE_ACT) return false;
    return outputs_survive(f, r, first, second) && order_holds(f, r, first, second);
}

/* The first node of a pair whose second is `second`; HONE_NONE where there is none. */
static hone_nid match(const fuser *f, const pair *r, hone_nid second)
{
    const hone_node *b = &f->g->node[second];
    if (f->dead[second] || !is_kind(f->p->backend, b->op, r->second)) return HONE_NONE;
    if (r->link == -2) {
        for (hone_nid i = 0; i < second; i++)
            if (fits(f, r, i, second)) return i;
        return HONE_NONE;
    }
    for (int k = r->link < 0 ? 0 : r->link; k <= (r->link < 0 ? 1 : r->link); k++) {
        hone_tid t = b->in[k];
        hone_nid first = t == HONE_NONE ? HONE_NONE : f->g->tensor[t].producer;
        if (first != HONE_NONE && f->g->node[first].out[0] == t && fits(f, r, first, second)) return first;
    }
    return HONE_NONE;
}

/* --- rewriting -------------------------------------------------------------------------------------- */

/* Attributes of both nodes in one: hone_attrs is a struct, not a union, for this. */
static hone_attrs merged_attrs(const fuser *f, const pair *r, hone_nid first, hone_nid second)
{
    const hone_node *n[2] = {&f->g->node[first], &f->g->node[second]};
    hone_attrs a = n[r->attr]->attr;
    if (r->pool) a.pool = n[r->pool - 1]->attr.window;
    for (int j = 0; j < 2; j++) {
        hone_act act = act_of(n[j]->op) != HONE_ACT_NONE ? act_of(n[j]->op) : n[j]->attr.act;
        if (act == HONE_ACT_NONE) continue;
        a.act = act;
        a.leaky = n[j]->attr.leaky;
    }
    return a;
}

/* An inner value that the fused row could hand out, but that only the pair reads, is not stored. */
static void drop_inner(const fuser *f, hone_tid inner, hone_node *n)
{
    if (f->readers[inner] != 1 || (f->g->tensor[inner].flags & HONE_TENSOR_KEEP)) return;
    for (int k = 0; k < HONE_MAX_OUT; k++)
        if (n->out[k] == inner) n->out[k] = HONE_NONE;
}

/* The fused node takes one place of the pair; the other dies and is closed up at the end. */
static void rewrite(fuser *f, const pair *r, hone_nid first, hone_nid second)
{
    hone_nid place = r->at_first ? first : second, gone = r->at_first ? second : first;
    hone_node n = f->g->node[place];
    n.op = r->fused;
    n.attr = merged_attrs(f, r, first, second);
    n.accumulate = f->g->node[first].accumulate | f->g->node[second].accumulate;
    n.layer = f->g->node[r->attr ? second : first].layer; /* the layer with the weights names it */
    n.in_count = hone_op_inputs(r->fused);
    n.out_count = hone_op_outputs(r->fused);
    for (int k = 0; k < HONE_MAX_IN; k++) n.in[k] = operand(f, r->in[k], first, second);
    for (int k = 0; k < HONE_MAX_OUT; k++) n.out[k] = operand(f, r->out[k], first, second);
    if (r->link != -2) drop_inner(f, f->g->node[first].out[0], &n);
    f->g->tensor[f->g->node[first].out[0]].producer = HONE_NONE;
    for (int k = 0; k < HONE_MAX_OUT; k++)
        if (n.out[k] != HONE_NONE) f->g->tensor[n.out[k]].producer = place;
    f->g->node[place] = n;
    f->dead[gone] = true;
    count_readers(f);
}

/* Dead nodes out, producers renumbered. */
static void compact(fuser *f)
{
    hone_nid to = 0;
    for (hone_nid i = 0; i < f->g->node_count; i++) {
        if (f->dead[i]) continue;
        f->g->node[to] = f->g->node[i];
        for (int k = 0; k < f->g->node[to].out_count; k++)
            if (f->g->node[to].out[k] != HONE_NONE) f->g->tensor[f->g->node[to].out[k]].producer = to;
        to++;
    }
    f->g->node_count = to;
}

/* The ReLU behind a join: in 16-bit storage the norm's thread has eight channels at hand and can leave a byte that says
 * which are above 0: an element's eighth of a byte, written and read, in place of the two bytes of y that the gradient would
 * read. In fp32 a thread has four channels, and the bits would be a pass of their own. */
static hone_status leave_bits(hone_graph *g)
{
    enum { DX_Y = 4, DX_OPEN = 7, NORM_OPEN = 3 };
    if (hone_dtype_bytes(hone_precision_storage(g->precision)) != 2) return HONE_OK;
    for (hone_nid i = 0; i < g->node_count; i++) {
        hone_tid y = g->node[i].op == HONE_OP_batchnorm_add_relu_dx ? g->node[i].in[DX_Y] : HONE_NONE, open;
        hone_nid join = y == HONE_NONE ? HONE_NONE : g->tensor[y].producer;
        if (join == HONE_NONE || g->node[join].op != HONE_OP_batchnorm_add_relu || g->node[join].out[0] != y) continue;
        if (g->tensor[y].dim[g->tensor[y].rank - 1] % 8 != 0) continue;
        open = g->node[join].out[NORM_OPEN];
        if (open == HONE_NONE) HONE_TRY(hone_graph_want(g, join, NORM_OPEN, &open));
        g->node[i].in[DX_OPEN] = open;
        g->node[i].in[DX_Y] = HONE_NONE;
    }
    return HONE_OK;
}

/* Row after row: the order of the table is part of its meaning. */
hone_status hone_pass_fuse(hone_program *p)
{
    fuser f = {.p = p, .g = p->graph};
    if (!p->backend->fuses || p->opts.no_fuse || p->graph->node_count == 0) return HONE_OK;
    f.dead = calloc((size_t)p->graph->node_count, sizeof *f.dead);
    f.readers = calloc((size_t)p->graph->tensor_count, sizeof *f.readers);
    if (!f.dead || !f.readers) {
        free(f.dead);
        free(f.readers);
        return hone_fail(HONE_ERR_MEMORY, NULL, "fuse: no host memory");
    }
    count_readers(&f);
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        if (!p->backend->kernel[pairs[k].fused].launch) continue;
        for (hone_nid i = 0; i < p->graph->node_count; i++) {
            hone_nid first = match(&f, &pairs[k], i);
            if (first != HONE_NONE) rewrite(&f, &pairs[k], first, i);
        }
    }
    compact(&f);
    free(f.dead);
    free(f.readers);
    return leave_bits(p->graph);
}
