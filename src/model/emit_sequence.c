/* emit_sequence.c - emitters of what reads the order of a text's tokens: conv1d, gru, bigru. See emit.h for the contract.
 *
 * Values are rows of texts (T, C); where texts begin is e->offset. Names and layouts of parameters are PyTorch's. */
#include <stdio.h>

#include "model/emit.h"

/* Neighbours of a token are known in rows of texts alone: an image's tokens have two dimensions. */
static hone_status need_rows(const hone_emit *e, const hone_layer *l, const hone_value *v)
{
    char shape[96];
    if (v->ragged && hone_emit_tensor(e, v)->rank == 2) return HONE_OK;
    return hone_emit_fail(l, "put embedding before it, and set task: text",
                          "%s needs rows of texts (T, C), but its input is %s", l->type->name,
                          hone_emit_shape(e, v, shape));
}

/* --- conv1d ------------------------------------------------------------------------------------------------ */

/* (T, I) -> (T, out); parameters PATH.PREFIXweight (O, I, k) in files, PATH.PREFIXbias. A text keeps its length: as
 * nn.Conv1d(padding="same"), (k - 1) / 2 taps before the token, rounded down, and the rest behind it. */
static hone_status emit_branch(hone_emit *e, const hone_layer *l, const char *prefix, int64_t kernel, hone_value *v)
{
    char name[32];
    int64_t in = hone_emit_tensor(e, v)->dim[1], out = l->args.out;
    hone_attrs attr = {.window = {.kernel = {(int32_t)kernel, 1},
                                  .stride = {1, 1},
                                  .pad = {(int32_t)((kernel - 1) / 2), 0},
                                  .dilation = {1, 1},
                                  .groups = 1}};
    hone_param_spec weight = {
        .role = HONE_ROLE_PARAM, .rank = 3, .dim = {out, kernel, in}, .layout = HONE_LAYOUT_CONV, .decay = true};
    hone_tid w, b = HONE_NONE;
    snprintf(name, sizeof name, "%sweight", prefix);
    weight.suffix = name;
    weight.fill = hone_fill_weight(l, in * kernel, out * kernel);
    HONE_TRY(hone_emit_param(e, l, &weight, &w));
    if (l->args.bias) {
        hone_param_spec bias = {.suffix = name, .role = HONE_ROLE_PARAM, .rank = 1, .dim = {out}};
        snprintf(name, sizeof name, "%sbias", prefix);
        bias.fill = hone_fill_bias(l, in * kernel);
        HONE_TRY(hone_emit_param(e, l, &bias, &b));
    }
    return hone_emit_node(e, l, HONE_OP_conv1d, (hone_tid[]){v->t, w, b, e->offset}, &attr, 1u, true, v);
}

/* `kernel: [3, 4, 5]`: one convolution a kernel, named 0, 1, 2, their channels side by side (T, 3 out). */
HONE_EMITTER(conv1d)
{
    hone_value x = *v;
    HONE_TRY(need_rows(e, l, v));
    if (l->args.kernels == 0) return emit_branch(e, l, "", l->args.sizes[0], v);
    for (int64_t k = 0; k < l->args.kernels; k++) {
        char prefix[16];
        hone_value branch = x; /* an id: all branches read the same rows */
        snprintf(prefix, sizeof prefix, "%d.", (int)k);
        HONE_TRY(emit_branch(e, l, prefix, l->args.sizes[k], &branch));
        if (k == 0) *v = branch;
        else HONE_TRY(hone_emit_node(e, l, HONE_OP_concat, (hone_tid[]){v->t, branch.t}, NULL, 1u, true, v));
    }
    return HONE_OK;
}

/* --- gru ----------------------------------------------------------------------------------------------------- */

/* One parameter of nn.GRU, "KIND_l0" with "_reverse" behind it; all are drawn from U(+-1/sqrt(hidden)). */
static hone_status gate_param(hone_emit *e, const hone_layer *l, const char *kind, bool reverse, int64_t columns,
                              hone_tid *out)
{
    char name[40];
    int64_t hidden = l->args.out;
    snprintf(name, sizeof name, "%s_l0%s", kind, reverse ? "_reverse" : "");
    hone_param_spec s = {
        .suffix = name, .role = HONE_ROLE_PARAM, .rank = columns ? 2 : 1, .dim = {3 * hidden, columns}};
    s.decay = columns > 0; /* as everywhere: not biases */
    s.fill = columns ? hone_fill_weight(l, hidden, 3 * hidden) : hone_fill_bias(l, hidden);
    return hone_emit_param(e, l, &s, out);
}

/* (T, I) -> (T, hidden): the inputs' part of all gates is one product over all tokens, then the recurrence. */
static hone_status emit_direction(hone_emit *e, const hone_layer *l, bool reverse, hone_value *v)
{
    hone_attrs attr = {.gru = {.reverse = reverse}};
    hone_tid w_in, w_state, b_in, b_state;
    HONE_TRY(gate_param(e, l, "weight_ih", reverse, hone_emit_tensor(e, v)->dim[1], &w_in));
    HONE_TRY(gate_param(e, l, "weight_hh", reverse, l->args.out, &w_state));
    HONE_TRY(gate_param(e, l, "bias_ih", reverse, 0, &b_in));
    HONE_TRY(gate_param(e, l, "bias_hh", reverse, 0, &b_state));
    HONE_TRY(hone_emit_node(e, l, HONE_OP_linear, (hone_tid[]){v->t, w_in, b_in}, NULL, 1u, true, v));
    return hone_emit_node(e, l, HONE_OP_gru, (hone_tid[]){v->t, w_state, b_state, e->offset}, &attr, 1u, true, v);
}

/* (T, hidden): row t has read the text up to its token. */
HONE_EMITTER(gru)
{
    HONE_TRY(need_rows(e, l, v));
    return emit_direction(e, l, false, v);
}

/* (T, 2 hidden): what was read up to the token, and from the end down to it. */
HONE_EMITTER(bigru)
{
    hone_value back = *v;
    HONE_TRY(need_rows(e, l, v));
    HONE_TRY(emit_direction(e, l, false, v));
    HONE_TRY(emit_direction(e, l, true, &back));
    return hone_emit_node(e, l, HONE_OP_concat, (hone_tid[]){v->t, back.t}, NULL, 1u, true, v);
}
