/* preprocess.c - raw pixels to the net's input inside the graph: resize as Pillow does, crop, cast, normalise.
 *
 * ONNX's own Resize weighs pixels beyond the border otherwise than Pillow, and differs by up to 20 of 255 there. So the
 * graph makes the weights itself, in double, with the 22 bits of src/data/resize.c: along one axis output i is a sum of
 * gathered taps, rounded to 8 bits as there. hone_resize_bilinear goes rows first where that is cheaper; so there are
 * three such steps, of which the first or the last keeps its size. */
#include "onnx/lower.h"

/* Integer arithmetic on vectors of one. */
static const char *num(hone_onnx *m, int64_t v) { return hone_onnx_i64(m, 1, &v); }

/* q + q % 2 where d is odd, q = d / 2: halves go to the even neighbour. */
static const char *half_even(hone_onnx *m, const char *d)
{
    const char *q = hone_onnx_binary(m, "Div", d, num(m, 2)), *h = hone_onnx_binary(m, "Div", q, num(m, 2));
    const char *odd = hone_onnx_binary(m, "Sub", d, hone_onnx_binary(m, "Mul", q, num(m, 2)));
    const char *q_odd = hone_onnx_binary(m, "Sub", q, hone_onnx_binary(m, "Mul", h, num(m, 2)));
    return hone_onnx_binary(m, "Add", q, hone_onnx_binary(m, "Mul", odd, q_odd));
}

/* Height and width of the raw image, and what they are scaled to. */
typedef struct sizes {
    const char *n, *c, *h, *w, *oh, *ow;
} sizes;

/* As fit_shorter (src/data/image.c): the tighter side is met, the other rounds down. */
static void scaled_size(hone_onnx *m, const hone_preprocess *pre, sizes *s)
{
    const char *oh = num(m, pre->height), *ow = num(m, pre->width);
    s->oh = oh;
    s->ow = ow;
    if (pre->resize != HONE_RESIZE_SHORTER) return;
    const char *a = hone_onnx_binary(m, "Mul", s->h, ow), *b = hone_onnx_binary(m, "Mul", s->w, oh);
    const char *by_height = hone_onnx_binary(m, "LessOrEqual", a, b);
    const char *tall = hone_onnx_binary(m, "Div", a, s->w), *wide = hone_onnx_binary(m, "Div", b, s->h);
    s->oh = hone_onnx_add(m, "Where", 3, (const char *[]){by_height, oh, tall});
    s->ow = hone_onnx_add(m, "Where", 3, (const char *[]){by_height, wide, ow});
}

/* A vector of one integer as a double of rank 0. */
static const char *real(hone_onnx *m, const char *v)
{
    v = hone_onnx_unary(m, "Cast", hone_onnx_binary(m, "Squeeze", v, num(m, 0)));
    hone_onnx_attr_int(m, "to", HONE_ONNX_DOUBLE);
    return v;
}

/* 0, 1, .. n - 1 of a vector of one. */
static const char *count_up(hone_onnx *m, const char *n)
{
    const char *end = hone_onnx_binary(m, "Squeeze", n, num(m, 0));
    return hone_onnx_add(m, "Range", 3, (const char *[]){hone_onnx_index(m, 0), end, hone_onnx_index(m, 1)});
}

/* ONNX never converts by itself: operands of one node are of one type. */
static const char *cast_to(hone_onnx *m, const char *x, int64_t type)
{
    x = hone_onnx_unary(m, "Cast", x);
    hone_onnx_attr_int(m, "to", type);
    return x;
}

/* Taps of one axis: index (out, T) into the input, weight double (out, T). */
typedef struct taps {
    const char *index, *weight;
} taps;

/* The triangle filter of resize.c: from `in` places to `out`, both vectors of one. Taps beyond the image have no
 * weight, and the others add up to 1. */
static taps make_taps(hone_onnx *m, const char *in, const char *out)
{
    const char *one = hone_onnx_double(m, 1), *half = hone_onnx_double(m, 0.5), *last = num(m, 1);
    const char *scale = hone_onnx_binary(m, "Div", real(m, in), real(m, out));
    const char *widen = hone_onnx_binary(m, "Max", scale, one);         /* half of the reach */
    const char *place = cast_to(m, count_up(m, out), HONE_ONNX_DOUBLE); /* (out) */
    const char *center = hone_onnx_binary(m, "Mul", hone_onnx_binary(m, "Add", place, half), scale);
    const char *low = hone_onnx_binary(m, "Add", hone_onnx_binary(m, "Sub", center, widen), half);
    const char *first =
        hone_onnx_binary(m, "Max", hone_onnx_unary(m, "Floor", low), hone_onnx_double(m, 0)); /* (out) */
    const char *room = cast_to(m, hone_onnx_unary(m, "Ceil", widen), HONE_ONNX_INT64);
    room = hone_onnx_binary(m, "Mul", hone_onnx_binary(m, "Add", room, num(m, 1)), num(m, 2));       /* T, (1) */
    const char *tap = cast_to(m, count_up(m, room), HONE_ONNX_DOUBLE);                               /* (T) */
    const char *at = hone_onnx_binary(m, "Add", hone_onnx_binary(m, "Unsqueeze", first, last), tap); /* (out, T) */
    const char *away = hone_onnx_binary(m, "Sub", at, hone_onnx_binary(m, "Unsqueeze", center, last));
    away = hone_onnx_unary(m, "Abs", hone_onnx_binary(m, "Div", hone_onnx_binary(m, "Add", away, half), widen));
    const char *zero = hone_onnx_double(m, 0),
               *weight = hone_onnx_binary(m, "Max", hone_onnx_binary(m, "Sub", one, away), zero);
    const char *inside = hone_onnx_binary(m, "Less", at, real(m, in)); /* (out, T) */
    weight = hone_onnx_add(m, "Where", 3, (const char *[]){inside, weight, zero});
    weight = hone_onnx_binary(m, "Div", weight, hone_onnx_reduce(m, "ReduceSum", weight, 1, true));
    const char *unit = hone_onnx_double(m, 1 << 22); /* FRACTION_BITS */
    weight = hone_onnx_unary(m, "Floor", hone_onnx_binary(m, "Add", hone_onnx_binary(m, "Mul", weight, unit), half));
    weight = hone_onnx_binary(m, "Div", weight, unit);
    const char *top = hone_onnx_binary(m, "Sub", in, num(m, 1));
    return (taps){hone_onnx_binary(m, "Min", cast_to(m, at, HONE_ONNX_INT64), top), weight};
}

/* x (N,C,h,w) double, axis 2 or 3 from `in` to `out`. Products of 8 and 22 bits add up
 * exactly, so that this rounds as the integers of resize.c do, to the bit. */
static const char *resize(hone_onnx *m, const char *x, int64_t axis, const char *in, const char *out)
{
    taps t = make_taps(m, in, out);
    const char *y = hone_onnx_binary(m, "Gather", x, t.index); /* (N,C,out,T,w) or (N,C,h,out,T) */
    hone_onnx_attr_int(m, "axis", axis);
    if (axis == 2) t.weight = hone_onnx_binary(m, "Unsqueeze", t.weight, num(m, 2));
    y = hone_onnx_reduce(m, "ReduceSum", hone_onnx_binary(m, "Mul", y, t.weight), axis + 1, false);
    return hone_onnx_unary(m, "Floor", hone_onnx_binary(m, "Add", y, hone_onnx_double(m, 0.5)));
}

/* Rows first where they shrink by more than twice as many lines as the columns do (src/data/resize.c). */
static const char *first_height(hone_onnx *m, const sizes *s)
{
    const char *dh = hone_onnx_binary(m, "Sub", s->h, s->oh), *dw = hone_onnx_binary(m, "Sub", s->w, s->ow);
    const char *shrinks = hone_onnx_binary(m, "Less", s->oh, s->h);
    const char *cheaper = hone_onnx_binary(m, "Less", hone_onnx_binary(m, "Mul", dw, num(m, 2)), dh);
    const char *rows_first = hone_onnx_binary(m, "And", shrinks, cheaper);
    return hone_onnx_add(m, "Where", 3, (const char *[]){rows_first, s->oh, s->h});
}

/* The middle of what was scaled. */
static const char *crop(hone_onnx *m, const hone_preprocess *pre, const sizes *s, const char *x)
{
    if (pre->resize != HONE_RESIZE_SHORTER) return x;
    const char *oh = num(m, pre->height), *ow = num(m, pre->width);
    const char *top = half_even(m, hone_onnx_binary(m, "Sub", s->oh, oh));
    const char *left = half_even(m, hone_onnx_binary(m, "Sub", s->ow, ow));
    const char *from = hone_onnx_binary(m, "Concat", top, left); /* (2) */
    hone_onnx_attr_int(m, "axis", 0);
    const char *to =
        hone_onnx_binary(m, "Concat", hone_onnx_binary(m, "Add", top, oh), hone_onnx_binary(m, "Add", left, ow));
    hone_onnx_attr_int(m, "axis", 0);
    return hone_onnx_add(m, "Slice", 4, (const char *[]){x, from, to, hone_onnx_i64(m, 2, (int64_t[]){2, 3})});
}

/* (x / 255 - mean) / std, each channel by its own. */
static const char *normalised(hone_lower *l, const hone_preprocess *pre, const char *x)
{
    hone_onnx *m = l->out;
    int64_t dim[4] = {1, pre->channels, 1, 1};
    const char *y = hone_onnx_binary(m, "Div", x, hone_onnx_scalar(m, 255));
    if (l->opts->fault == HONE_ONNX_FAULT_MEAN) return y;
    y = hone_onnx_binary(m, "Sub", y, hone_onnx_const(m, "pixel_mean", HONE_ONNX_FLOAT, 4, dim, pre->mean));
    return hone_onnx_binary(m, "Div", y, hone_onnx_const(m, "pixel_std", HONE_ONNX_FLOAT, 4, dim, pre->std));
}

/* One size of a shape, a vector of one. */
static const char *size_of(hone_onnx *m, const char *shape, int64_t axis)
{
    const char *y = hone_onnx_binary(m, "Gather", shape, num(m, axis));
    hone_onnx_attr_int(m, "axis", 0);
    return y;
}

/* Height and width are free axes; channels are the model's, because grey and colour are different pictures and no
 * resize. The steps are those of hone_image_fit, in its order. */
const char *hone_lower_preprocess(hone_lower *l, const hone_preprocess *pre)
{
    hone_onnx *m = l->out;
    *hone_onnx_push_value(m, false) = (hone_onnx_value){.name = "input",
                                                        .type = HONE_ONNX_UINT8,
                                                        .rank = 4,
                                                        .dim = {0, 0, 0, pre->channels},
                                                        .param = {"N", "height", "width"}};
    const char *x = hone_onnx_transpose(m, "input", 4, (int64_t[]){0, 3, 1, 2}),
               *shape = hone_onnx_unary(m, "Shape", x);
    sizes s = {size_of(m, shape, 0), size_of(m, shape, 1), size_of(m, shape, 2), size_of(m, shape, 3), NULL, NULL};
    scaled_size(m, pre, &s);
    const char *h = first_height(m, &s);
    x = cast_to(m, x, HONE_ONNX_DOUBLE);
    x = resize(m, x, 2, s.h, h);
    x = resize(m, x, 3, s.w, s.ow);
    x = resize(m, x, 2, h, s.oh);
    return normalised(l, pre, cast_to(m, crop(m, pre, &s, x), HONE_ONNX_FLOAT));
}
