/* emit_token.c - emitters of joins and tokens: residual, group, patches, positions, attention, the
 * transformer encoder, token pooling. Tokens are (N, T, C), or rows of texts (T, C); see emit.h for the contract. */
#include <stdio.h>
#include <string.h>

#include "model/emit.h"

enum { RANK_TOKENS = 1u << 3, RANK_IMAGE = 1u << 4 };

/* --- joins -------------------------------------------------------------------------------------------- */

/* Only a level in the names: nothing to compute. */
HONE_EMITTER(group) { return hone_emit_list(e, &l->body, v); }

/* v + shortcut, equal shapes. Both must agree on the order of a flattened image, or a later linear could
 * not tell in which order its weight is stored. */
static hone_status add_values(hone_emit *e, const hone_layer *l, const hone_value *shortcut, hone_value *v)
{
    const hone_tensor *a = hone_emit_tensor(e, v), *b = hone_emit_tensor(e, shortcut);
    char left[96], right[96];
    if (a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) != 0)
        return hone_emit_fail(l, "let the layers keep the shape, or give `shortcut:` layers that change it alike",
                              "the layers give %s, but the shortcut %s", hone_emit_shape(e, v, left),
                              hone_emit_shape(e, shortcut, right));
    if (memcmp(v->hwc, shortcut->hwc, sizeof v->hwc) != 0)
        return hone_emit_fail(l, "flatten before the residual, or in neither branch",
                              "the layers and the shortcut flatten an image in different orders");
    return hone_emit_node(e, l, HONE_OP_add, (hone_tid[]){v->t, shortcut->t}, NULL, 1u, true, v);
}

/* after(drop_path(layers(x)) + shortcut(x)); streams of dropout are numbered in this order. */
HONE_EMITTER(residual)
{
    /* a value is an id: both branches read the same tensor, nothing is copied */
    hone_value shortcut = *v;
    if (l->args.p > 0) HONE_TRY(hone_emit_no_text(l, v, "drop_path drops whole samples, not rows of a text"));
    HONE_TRY(hone_emit_list(e, &l->body, v));
    HONE_TRY(hone_emit_drop(e, l, HONE_OP_drop_path, l->args.p, v));
    HONE_TRY(hone_emit_list(e, &l->shortcut, &shortcut));
    HONE_TRY(add_values(e, l, &shortcut, v));
    return hone_emit_list(e, &l->after, v);
}

/* --- patches and positions ------------------------------------------------------------------------------ */

/* Patches as timm's PatchEmbed: a conv with stride = kernel named proj, then (N, H*W, dim). */
HONE_EMITTER(patch_embed)
{
    HONE_TRY(hone_emit_rank(e, l, v, RANK_IMAGE, "an image (N, H, W, C)", "put patch_embed first"));
    const hone_tensor *x = hone_emit_tensor(e, v);
    int64_t size = l->args.size, in = x->dim[3], fan_in = in * size * size, fan_out = l->args.dim * size * size;
    char shape[96];
    if (x->dim[1] % size || x->dim[2] % size)
        return hone_emit_fail(l, "choose image.size as a multiple of the patch size",
                              "patches of %lld do not tile the image %s", (long long)size,
                              hone_emit_shape(e, v, shape));
    hone_attrs attr = {.window = {.kernel = {(int32_t)size, (int32_t)size},
                                  .stride = {(int32_t)size, (int32_t)size},
                                  .dilation = {1, 1},
                                  .groups = 1}};
    hone_param_spec weight = {.suffix = "proj.weight",
                              .role = HONE_ROLE_PARAM,
                              .rank = 4,
                              .dim = {l->args.dim, size, size, in},
                              .layout = HONE_LAYOUT_CONV,
                              .decay = true};
    weight.fill = hone_fill_weight(l, fan_in, fan_out);
    hone_param_spec bias = {.suffix = "proj.bias", .role = HONE_ROLE_PARAM, .rank = 1, .dim = {l->args.dim}};
    bias.fill = hone_fill_bias(l, fan_in);
    hone_tid wt, bt;
    HONE_TRY(hone_emit_param(e, l, &weight, &wt));
    HONE_TRY(hone_emit_param(e, l, &bias, &bt));
    HONE_TRY(hone_emit_node(e, l, HONE_OP_conv, (hone_tid[]){v->t, wt, bt}, &attr, 1u, false, v));
    const hone_tensor *y = hone_emit_tensor(e, v);
    int64_t dim[3] = {y->dim[0], y->dim[1] * y->dim[2], y->dim[3]};
    return hone_emit_reshape(e, l, 3, dim, v);
}

/* What a page states besides need not be stated, but must be true. */
static hone_status check_size(const hone_layer *l, const char *arg, int64_t given, int64_t have)
{
    if (given == 0 || given == have) return HONE_OK;
    return hone_emit_fail(l, "leave it out to take the input's", "%s is %lld, but the input has %lld", arg,
                          (long long)given, (long long)have);
}

/* One learned token before the others; (1, 1, C) in files, as timm's cls_token. The path is its name. */
HONE_EMITTER(class_token)
{
    HONE_TRY(hone_emit_rank(e, l, v, RANK_TOKENS, "tokens (N, T, C)", "put patch_embed before it"));
    int64_t c = hone_emit_tensor(e, v)->dim[2];
    HONE_TRY(check_size(l, "dim", l->args.dim, c));
    hone_param_spec s = {.suffix = "",
                         .role = HONE_ROLE_PARAM,
                         .rank = 1,
                         .dim = {c},
                         .file_lead = 2,
                         .decay = true,
                         .fill = {HONE_FILL_NORMAL, 0.02}};
    hone_tid token;
    HONE_TRY(hone_emit_param(e, l, &s, &token));
    return hone_emit_node(e, l, HONE_OP_prepend_token, (hone_tid[]){v->t, token}, NULL, 1u, false, v);
}

/* Positions by the place in the text: a table PATH.weight (length, C), as Hugging Face's position_embeddings; of the
 * longest text's length unless the page says more. sincos as below, kept as PATH. */
static hone_status emit_places(hone_emit *e, const hone_layer *l, hone_value *v)
{
    bool learned = l->args.form == 0;
    int64_t length = l->args.length ? l->args.length : e->longest;
    if (length == 0 || e->longest > length || (e->longest == 0 && learned))
        return hone_emit_fail(l, "give position a length of text.max_length or more, or lower text.max_length",
                              "%lld positions for texts of up to %lld tokens (0: any number)", (long long)length,
                              (long long)e->longest);
    hone_param_spec s = {.suffix = learned ? "weight" : "", .rank = 2, .dim = {length, hone_emit_width(e, v)}};
    s.decay = learned;
    s.role = learned ? HONE_ROLE_PARAM : HONE_ROLE_STATE;
    s.fill = learned ? (hone_fill){HONE_FILL_NORMAL, 0.02} : (hone_fill){HONE_FILL_SINCOS, 0};
    hone_tid p;
    HONE_TRY(hone_emit_param(e, l, &s, &p));
    return hone_emit_node(e, l, HONE_OP_ragged_add, (hone_tid[]){v->t, p, e->offset}, NULL, 1u, false, v);
}

/* Positions added to the tokens; (1, T, C) in files, as timm's pos_embed. The path is its name.
 * sincos: fixed (Vaswani et al. 2017, section 3.5), kept with the running statistics. */
HONE_EMITTER(position)
{
    HONE_TRY(hone_emit_tokens(e, l, v));
    if (v->ragged) return emit_places(e, l, v);
    const hone_tensor *x = hone_emit_tensor(e, v);
    bool learned = l->args.form == 0;
    HONE_TRY(check_size(l, "length", l->args.length, x->dim[1]));
    hone_param_spec s = {.suffix = "", .rank = 2, .dim = {x->dim[1], x->dim[2]}, .file_lead = 1, .decay = learned};
    s.role = learned ? HONE_ROLE_PARAM : HONE_ROLE_STATE;
    s.fill = learned ? (hone_fill){HONE_FILL_NORMAL, 0.02} : (hone_fill){HONE_FILL_SINCOS, 0};
    hone_tid p;
    HONE_TRY(hone_emit_param(e, l, &s, &p));
    return hone_emit_node(e, l, HONE_OP_add_rows, (hone_tid[]){v->t, p}, NULL, 1u, false, v);
}

/* --- attention ---------------------------------------------------------------------------------------------- */

/* Words of parameters: query, key, value, projection. timm and nn.MultiheadAttention store q, k, v as one product. */
static const char *const head_names[][4] = {{"qkv.", NULL, NULL, "proj."},
                                            {"self.query.", "self.key.", "self.value.", "output.dense."},
                                            {"q_lin.", "k_lin.", "v_lin.", "out_lin."}};

/* One product of the input: PATH.PREFIXname. */
static hone_status emit_product(hone_emit *e, const hone_layer *l, const char *prefix, const char *name, int64_t out,
                                bool mha, hone_value *v)
{
    char full[96];
    bool zero_bias = l->args.init.kind == HONE_INIT_DEFAULT; /* as nn.MultiheadAttention */
    snprintf(full, sizeof full, "%s%s", prefix, name);
    hone_linear_spec s = {.prefix = full, .out = out, .bias = l->args.bias, .torch_mha = mha, .zero_bias = zero_bias};
    return hone_emit_dense(e, l, &s, v);
}

/* (.., C) -> (.., 3C) = [q | k | v]: one product, or three that are put side by side where files name them apart. */
static hone_status emit_qkv(hone_emit *e, const hone_layer *l, const char *prefix, int names, hone_value *v)
{
    int64_t c = hone_emit_width(e, v);
    if (names == 0) return emit_product(e, l, prefix, head_names[0][0], 3 * c, true, v);
    /* v becomes q, then [q | k], then [q | k | v]; all three are products of the same input */
    hone_value input = *v;
    HONE_TRY(emit_product(e, l, prefix, head_names[names][0], c, false, v));
    for (int k = 1; k < 3; k++) {
        hone_value part = input;
        hone_attrs attr = {.concat = {.left = (int32_t)(k * c)}};
        HONE_TRY(emit_product(e, l, prefix, head_names[names][k], c, false, &part));
        HONE_TRY(hone_emit_node(e, l, HONE_OP_concat, (hone_tid[]){v->t, part.t}, &attr, 1u, false, v));
    }
    return HONE_OK;
}

/* (B, T, C) or (T, C) -> the same. Dropout acts on the probabilities, inside the attention node. */
hone_status hone_emit_heads(hone_emit *e, const hone_layer *l, const char *prefix, int names, hone_value *v)
{
    int64_t c = hone_emit_width(e, v), heads = l->args.heads;
    if (c % heads)
        return hone_emit_fail(l, "choose heads that divide the width", "%lld heads do not divide a width of %lld",
                              (long long)heads, (long long)c);
    HONE_TRY(emit_qkv(e, l, prefix, names, v));
    hone_attrs attr = {.attention = {.heads = (int32_t)heads}};
    /* a stream is given out only where it is used, so EVAL and p = 0 number alike */
    bool drops = e->mode == HONE_MODE_TRAIN && l->args.p > 0;
    if (drops) {
        attr.attention.p = (float)l->args.p;
        attr.attention.stream = HONE_STREAM_DROPOUT + e->streams++;
    }
    hone_tid step = drops ? e->step : HONE_NONE;
    if (v->ragged)
        HONE_TRY(
            hone_emit_node(e, l, HONE_OP_ragged_attention, (hone_tid[]){v->t, e->offset, step}, &attr, ~0u, false, v));
    else HONE_TRY(hone_emit_node(e, l, HONE_OP_attention, (hone_tid[]){v->t, step}, &attr, ~0u, false, v));
    return emit_product(e, l, prefix, head_names[names][3], c, false, v);
}

/* Self-attention over all tokens of a sample or text, without mask. */
HONE_EMITTER(attention)
{
    HONE_TRY(hone_emit_tokens(e, l, v));
    return hone_emit_heads(e, l, "", (int)l->args.form, v);
}

/* --- the encoder ---------------------------------------------------------------------------------------------- */

/* C -> ff -> C with dropout behind the activation, as nn.TransformerEncoderLayer. */
static hone_status emit_feed_forward(hone_emit *e, const hone_layer *l, const char *prefix, hone_value *v)
{
    static const hone_op act[] = {HONE_OP_gelu, HONE_OP_gelu_tanh, HONE_OP_relu,
                                  HONE_OP_silu}; /* words of encoder_args */
    int64_t c = hone_emit_width(e, v);
    char fc1[64], fc2[64];
    snprintf(fc1, sizeof fc1, "%smlp.fc1.", prefix);
    snprintf(fc2, sizeof fc2, "%smlp.fc2.", prefix);
    hone_linear_spec up = {.prefix = fc1, .out = l->args.ff ? l->args.ff : 4 * c, .bias = l->args.bias};
    hone_linear_spec down = {.prefix = fc2, .out = c, .bias = l->args.bias};
    HONE_TRY(hone_emit_dense(e, l, &up, v));
    HONE_TRY(hone_emit_unary(e, l, act[l->args.act], NULL, true, v));
    HONE_TRY(hone_emit_drop(e, l, HONE_OP_dropout, l->args.p, v));
    return hone_emit_dense(e, l, &down, v);
}

/* One half of a block: norm before (pre) or after (post) the sum of input and branch, as
 * nn.TransformerEncoderLayer(norm_first=True | False). `half` is 1 (attention) or 2 (feed-forward). */
static hone_status emit_half(hone_emit *e, const hone_layer *l, const char *prefix, int half, hone_value *v)
{
    char norm[64], branch[64];
    hone_value input = *v;
    /* words of the table: pre | post */
    bool pre = l->args.form == 0;
    snprintf(norm, sizeof norm, "%snorm%d.", prefix, half);
    snprintf(branch, sizeof branch, "%s%s", prefix, half == 1 ? "attn." : "");
    if (pre) HONE_TRY(hone_emit_scale_shift(e, l, norm, l->args.eps, v));
    HONE_TRY(half == 1 ? hone_emit_heads(e, l, branch, 0, v) : emit_feed_forward(e, l, branch, v));
    HONE_TRY(hone_emit_drop(e, l, HONE_OP_dropout, l->args.p, v));
    HONE_TRY(add_values(e, l, &input, v));
    return pre ? HONE_OK : hone_emit_scale_shift(e, l, norm, l->args.eps, v);
}

/* Blocks named as timm's: N.norm1, N.attn.qkv, N.attn.proj, N.norm2, N.mlp.fc1, N.mlp.fc2. */
HONE_EMITTER(encoder)
{
    HONE_TRY(hone_emit_tokens(e, l, v));
    HONE_TRY(check_size(l, "dim", l->args.dim, hone_emit_width(e, v)));
    for (int64_t k = 0; k < l->args.layers; k++) {
        /* children 0, 1, 2... as of a repeat; the prefix stands behind the encoder's own path */
        char prefix[24];
        snprintf(prefix, sizeof prefix, "%d.", (int)k);
        HONE_TRY(emit_half(e, l, prefix, 1, v));
        HONE_TRY(emit_half(e, l, prefix, 2, v));
    }
    return HONE_OK;
}

/* (N, T, C), or (T, C) of texts -> (N, C). */
HONE_EMITTER(pool) /* kind: mean | max | first */
{
    static const hone_op dense[] = {HONE_OP_global_avgpool, HONE_OP_global_maxpool, HONE_OP_first_token};
    static const hone_op ragged[] = {HONE_OP_ragged_mean, HONE_OP_ragged_max, HONE_OP_ragged_first};
    HONE_TRY(hone_emit_tokens(e, l, v));
    if (!v->ragged) return hone_emit_unary(e, l, dense[l->args.form], NULL, false, v);
    v->ragged = false;
    return hone_emit_node(e, l, ragged[l->args.form], (hone_tid[]){v->t, e->offset}, NULL, 1u, false, v);
}
