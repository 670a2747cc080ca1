/* lower_sequence.c - what reads a text's tokens in their order as ONNX: convolutions along them, and gated units.
 *
 * Both want another order of axes than hone's (N,L,C): Conv has channels before the places, GRU has the places first.
 * Weights are PyTorch's, so Conv takes them as they are; GRU wants its gates as z | r | h where PyTorch has r | z | n. */
#include <string.h>

#include "onnx/lower.h"

/* --- convolution ------------------------------------------------------------------------------------------------- */

/* y (N,L,O): x (N,L,I), w (O,I,K). Taps outside a text read zeros: beyond the array by the node's padding, within it
 * because rows of padding are made zero first. A text keeps its length, so the end gets what the front does not. */
hone_status hone_lower_conv1d(hone_lower *l, const hone_node *n)
{
    hone_onnx *m = l->out;
    int64_t k = n->attr.window.kernel[0], front = n->attr.window.pad[0], pads[2] = {front, k - 1 - front};
    if (l->opts->fault == HONE_ONNX_FAULT_PADS) pads[0] = 0, pads[1] = k - 1;
    const char *x = hone_onnx_transpose(m, hone_lower_masked(l, hone_lower_in(l, n, 0)), 3, (int64_t[]){0, 2, 1});
    const char *in[3] = {x, hone_lower_param(l, n->in[1])};
    if (n->in[2] != HONE_NONE) in[2] = hone_lower_param(l, n->in[2]);
    const char *y = hone_onnx_add(m, "Conv", in[2] ? 3 : 2, in);
    hone_onnx_attr_ints(m, "kernel_shape", 1, &k);
    hone_onnx_attr_ints(m, "pads", 2, pads);
    return hone_lower_out(l, n, hone_onnx_transpose(m, y, 3, (int64_t[]){0, 2, 1}));
}

/* --- gated units ------------------------------------------------------------------------------------------------- */

/* Rows of three gates r | z | n (3H, columns) as z | r | h. */
static void reorder(const hone_lower *l, const float *from, int64_t h, int64_t columns, float *to)
{
    static const int right[] = {1, 0, 2}, planted[] = {0, 1, 2};
    const int *gate = l->opts->fault == HONE_ONNX_FAULT_GATES ? planted : right;
    size_t block = (size_t)(h * columns);
    for (size_t k = 0; k < 3; k++) memcpy(to + k * block, from + (size_t)gate[k] * block, block * sizeof *to);
}

/* A weight (1, 3H, columns) of one direction. */
static const char *gates(hone_lower *l, const hone_param *p, int64_t columns)
{
    int64_t dim[3] = {1, p->dim[0], columns};
    float *values = hone_onnx_alloc(l->out, (size_t)p->count * sizeof *values);
    if (values) reorder(l, p->value, p->dim[0] / 3, columns, values);
    return hone_lower_values(l, hone_onnx_text(l->out, "%s.zrh", p->name), 3, dim, values);
}

/* Both biases behind each other (1, 6H): of the input, of the state. One of the input that is left out is zero. */
static const char *gate_biases(hone_lower *l, const hone_param *input, const hone_param *state)
{
    int64_t three = state->count, dim[2] = {1, 2 * three};
    float *values = hone_onnx_alloc(l->out, (size_t)(2 * three) * sizeof *values);
    if (values && input) reorder(l, input->value, three / 3, 1, values);
    if (values) reorder(l, state->value, three / 3, 1, values + three);
    return hone_lower_values(l, hone_onnx_text(l->out, "%s.zrh", state->name), 2, dim, values);
}

/* hone has the inputs' part of the gates as a linear node of its own; ONNX's node holds it. linear_before_reset is the
 * form of PyTorch and cuDNN: r acts on the product with the state, not on the state. */
hone_status hone_lower_gru(hone_lower *l, const hone_node *linear, const hone_node *n)
{
    hone_onnx *m = l->out;
    const hone_param *w = hone_lower_find(l, linear->in[1]), *r = hone_lower_find(l, n->in[1]),
                     *b = linear->in[2] != HONE_NONE ? hone_lower_find(l, linear->in[2]) : NULL;
    const char *x = hone_onnx_transpose(m, hone_lower_in(l, linear, 0), 3, (int64_t[]){1, 0, 2}); /* (L,N,I) */
    const char *lengths = hone_onnx_binary(m, "Squeeze", l->lengths, hone_onnx_i64(m, 1, (int64_t[]){1}));
    lengths = hone_onnx_unary(m, "Cast", lengths); /* (N) */
    hone_onnx_attr_int(m, "to", HONE_ONNX_INT32);
    const char *in[5] = {x, gates(l, w, w->dim[1]), gates(l, r, r->dim[1]),
                         gate_biases(l, b, hone_lower_find(l, n->in[2])), lengths};
    const char *y = hone_onnx_add(m, "GRU", 5, in); /* (L, 1, N, H) */
    bool reverse = n->attr.gru.reverse && l->opts->fault != HONE_ONNX_FAULT_REVERSE;
    hone_onnx_attr_int(m, "hidden_size", r->dim[1]);
    hone_onnx_attr_string(m, "direction", reverse ? "reverse" : "forward");
    hone_onnx_attr_int(m, "linear_before_reset", l->opts->fault != HONE_ONNX_FAULT_RESET);
    y = hone_onnx_binary(m, "Squeeze", y, hone_onnx_i64(m, 1, (int64_t[]){1}));
    l->done[n - l->g->node] = true;
    return hone_lower_out(l, n, hone_onnx_transpose(m, y, 3, (int64_t[]){1, 0, 2}));
}

/* Reached only where something stands between the unit and the product with its inputs. */
hone_status hone_lower_lone_gru(hone_lower *l, const hone_node *n)
{
    return hone_lower_refuse(l, n, "its inputs come from no linear layer of its own");
}
