/* lower_ragged.c - texts of tokens as ONNX: hone's rows (T,C) of ragged texts become (N,L,C) with a mask.
 *
 * The graph takes input_ids and attention_mask (N,L), as Hugging Face's tokenizers make them, and token_type_ids where
 * the net reads segments. Tokens whose mask is 0 are padding wherever they stand: the others are moved to the front
 * first, in their order, so that "the first token", places and neighbours mean what they mean in hone.
 *
 *   input_ids       0 7 0 4 9      ids  7 4 9 0 0      lengths  3
 *   attention_mask  0 1 0 1 1      mask 1 1 1 0 0
 *
 * What works row by row needs no mask. Rows of padding hold anything finite; whatever joins rows (pools, attention,
 * convolutions, recurrences) leaves them out. A text without tokens gives zeros, as in hone. */
#include <float.h>
#include <string.h>

#include "onnx/lower.h"

/* --- the graph's inputs ---------------------------------------------------------------------------------------- */

static void add_input(hone_onnx *m, const char *name)
{
    *hone_onnx_push_value(m, false) =
        (hone_onnx_value){.name = name, .type = HONE_ONNX_INT64, .rank = 2, .param = {"N", "L"}};
}

static const char *cast(hone_onnx *m, const char *x, hone_onnx_type type)
{
    const char *y = hone_onnx_unary(m, "Cast", x);
    hone_onnx_attr_int(m, "to", type);
    return y;
}

/* How the tokens of all texts move to the front. */
typedef struct moves {
    const char *target; /* (N,L) where each token goes; padding goes to place L              */
    const char *room;   /* (2) = [N, L + 1]                                                     */
} moves;

/* x (N,L) with its tokens in front; behind them zeros. */
static const char *to_front(hone_onnx *m, const moves *w, const char *x)
{
    const char *zeros = hone_onnx_binary(m, "Expand", hone_onnx_i64(m, 1, (int64_t[]){0}), w->room);
    const char *y = hone_onnx_add(m, "ScatterElements", 3, (const char *[]){zeros, w->target, x});
    hone_onnx_attr_int(m, "axis", 1);
    /* without place L, which only padding was written to */
    const char *from = hone_onnx_i64(m, 1, (int64_t[]){0}), *to = hone_onnx_i64(m, 1, (int64_t[]){-1});
    return hone_onnx_add(m, "Slice", 4, (const char *[]){y, from, to, hone_onnx_i64(m, 1, (int64_t[]){1})});
}

/* lengths (N,1), places (L), live (N,L) and mask (N,L,1) of the moved tokens, out of how many there are. */
static void make_masks(hone_lower *l, const char *ones, const char *length)
{
    hone_onnx *m = l->out;
    const char *axis = hone_onnx_i64(m, 1, (int64_t[]){2});
    l->lengths = hone_onnx_reduce(m, "ReduceSum", ones, 1, true);
    l->places = hone_onnx_add(m, "Range", 3, (const char *[]){hone_onnx_index(m, 0), length, hone_onnx_index(m, 1)});
    l->live = hone_onnx_binary(m, "Less", l->places, l->lengths);
    l->mask = hone_onnx_binary(m, "Unsqueeze", cast(m, l->live, HONE_ONNX_FLOAT), axis);
    l->nonempty = hone_onnx_binary(m, "Less", hone_onnx_i64(m, 1, (int64_t[]){0}), l->lengths);
}

/* Any number but 0 in the mask is a token. */
hone_status hone_lower_tokens(hone_lower *l)
{
    hone_onnx *m = l->out;
    bool ignored = l->opts->fault == HONE_ONNX_FAULT_MASK, types = l->io.type != HONE_NONE;
    add_input(m, "input_ids");
    add_input(m, "attention_mask");
    if (types) add_input(m, "token_type_ids");
    const char *shape = hone_onnx_unary(m, "Shape", "input_ids");
    const char *length = hone_onnx_binary(m, "Gather", shape, hone_onnx_index(m, 1)); /* () */
    hone_onnx_attr_int(m, "axis", 0);
    const char *live = cast(m, "attention_mask", HONE_ONNX_BOOL), *ones = cast(m, live, HONE_ONNX_INT64);
    if (ignored) ones = hone_onnx_binary(m, "Max", ones, hone_onnx_index(m, 1));
    if (ignored) live = cast(m, ones, HONE_ONNX_BOOL);
    const char *before = hone_onnx_binary(m, "CumSum", ones, hone_onnx_index(m, 1)); /* tokens so far, this one too */
    const char *place = hone_onnx_binary(m, "Sub", before, hone_onnx_index(m, 1));
    moves w = {.target = hone_onnx_add(m, "Where", 3, (const char *[]){live, place, length}),
               .room = hone_onnx_binary(m, "Add", shape, hone_onnx_i64(m, 2, (int64_t[]){0, 1}))};
    make_masks(l, ones, length);
    l->name[l->io.token] = to_front(m, &w, "input_ids");
    if (types) l->name[l->io.type] = to_front(m, &w, "token_type_ids");
    return hone_onnx_status(m);
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

/* y (N,L,C) = w[ids]. */
hone_status hone_lower_embedding(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *ids = hone_lower_in(l, n, 1);
    if (l->opts->fault == HONE_ONNX_FAULT_TYPES && n->in[1] == l->io.type)
        ids = hone_onnx_binary(m, "Mul", ids, hone_onnx_index(m, 0));
    const char *y = hone_onnx_binary(m, "Gather", hone_lower_param(l, n->in[0]), ids);
    hone_onnx_attr_int(m, "axis", 0);
    return hone_lower_out(l, n, y);
}

/* x + p[place]; a place behind the table's last row adds nothing. */
hone_status hone_lower_places(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    int64_t rows = hone_lower_desc(l, n, 1)->dim[0];
    const char *place = l->places, *last = hone_onnx_index(m, rows - 1);
    if (l->opts->fault == HONE_ONNX_FAULT_PLACES) place = hone_onnx_binary(m, "Add", place, hone_onnx_index(m, 1));
    const char *row = hone_onnx_binary(m, "Gather", hone_lower_param(l, n->in[1]),
                                       hone_onnx_binary(m, "Min", place, last)); /* (L,C) */
    hone_onnx_attr_int(m, "axis", 0);
    const char *within = cast(m, hone_onnx_binary(m, "LessOrEqual", place, last), HONE_ONNX_FLOAT);
    within = hone_onnx_binary(m, "Unsqueeze", within, hone_onnx_i64(m, 1, (int64_t[]){1}));
    row = hone_onnx_binary(m, "Mul", row, within);
    return hone_lower_out(l, n, hone_onnx_binary(m, "Add", hone_lower_in(l, n, 0), row));
}

/* Rows of padding as zeros: what a tap outside its text reads. */
const char *hone_lower_masked(hone_lower *l, const char *x) { return hone_onnx_binary(l->out, "Mul", x, l->mask); }

/* --- pools ------------------------------------------------------------------------------------------------------ */

/* y (N,C) where the text has tokens, else 0. */
static const char *or_zero(hone_lower *l, const char *y)
{
    return hone_onnx_add(l->out, "Where", 3, (const char *[]){l->nonempty, y, hone_onnx_scalar(l->out, 0)});
}

/* The sum of a text's rows by their number; padding must not count there. */
hone_status hone_lower_ragged_mean(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *x = hone_lower_masked(l, hone_lower_in(l, n, 0));
    if (l->opts->fault == HONE_ONNX_FAULT_MEAN)
        return hone_lower_out(l, n, hone_onnx_reduce(m, "ReduceMean", x, 1, false));
    const char *sum = hone_onnx_reduce(m, "ReduceSum", x, 1, false);
    const char *count =
        hone_onnx_binary(m, "Max", cast(m, l->lengths, HONE_ONNX_FLOAT), hone_onnx_scalar(m, 1)); /* (N,1) */
    return hone_lower_out(l, n, hone_onnx_binary(m, "Div", sum, count));
}

/* Padding is less than every number. */
hone_status hone_lower_ragged_max(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    const char *live = hone_onnx_binary(m, "Unsqueeze", l->live, hone_onnx_i64(m, 1, (int64_t[]){2}));
    const char *x =
        hone_onnx_add(m, "Where", 3, (const char *[]){live, hone_lower_in(l, n, 0), hone_onnx_scalar(m, -FLT_MAX)});
    return hone_lower_out(l, n, or_zero(l, hone_onnx_reduce(m, "ReduceMax", x, 1, false)));
}

/* Tokens stand in front, so a text's first one is that of its row. */
hone_status hone_lower_ragged_first(hone_lower *l, const hone_node *n)
{
    const char *y = hone_onnx_binary(l->out, "Gather", hone_lower_in(l, n, 0), hone_onnx_index(l->out, 0));
    hone_onnx_attr_int(l->out, "axis", 1);
    return hone_lower_out(l, n, or_zero(l, y));
}

/* --- attention -------------------------------------------------------------------------------------------------- */

/* Added to the scores (N,heads,L,L): 0 for keys that are tokens, and for padding so little that nothing is left of it
 * after exp; finite, so that a text of padding alone gives no NaN. Made once for all layers. */
const char *hone_lower_attention_bias(hone_lower *l)
{
    hone_onnx *m = l->out;
    if (l->bias) return l->bias;
    const char *keys = hone_onnx_binary(m, "Unsqueeze", l->live, hone_onnx_i64(m, 2, (int64_t[]){1, 2}));
    l->bias = hone_onnx_add(m, "Where", 3,
                            (const char *[]){keys, hone_onnx_scalar(m, 0), hone_onnx_scalar(m, -1e9f)}); /* (N,1,1,L) */
    return l->bias;
}
