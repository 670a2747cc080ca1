/* run_math.c - ONNX's elementwise operators with NumPy's broadcasting, reductions, casts, quantisation (run.h).
 * Floats are computed in float or wider, integers in 64 bits. */
#include <math.h>
#include <string.h>

#include "onnx/run.h"

/* --- elements ---------------------------------------------------------------------------------------------------- */

/* Element k of any type, as a double: integers here are sizes and ids, far below 2^53. */
static double get(const hone_onnx_array *a, int64_t k)
{
    float half;
    switch (a->type) {
    case HONE_ONNX_FLOAT: return (double)((const float *)a->data)[k];
    case HONE_ONNX_DOUBLE: return ((const double *)a->data)[k];
    case HONE_ONNX_INT64: return (double)((const int64_t *)a->data)[k];
    case HONE_ONNX_INT32: return ((const int32_t *)a->data)[k];
    case HONE_ONNX_INT8: return ((const int8_t *)a->data)[k];
    case HONE_ONNX_FLOAT16: hone_reals_to_f32(HONE_F16, (const uint16_t *)a->data + k, &half, 1); return (double)half;
    default: return ((const uint8_t *)a->data)[k];
    }
}

/* Out of range stays at the end of the range, where C leaves it open. */
static double within(double x, double least, double most) { return !(x > least) ? least : x < most ? x : most; }

/* Rounds to the element's type as ONNX's Cast does for values in range; out of it C has no answer, so that the
 * end of the range is taken. */
static void put(hone_onnx_array *a, int64_t k, double x)
{
    float narrow = (float)x;
    switch (a->type) {
    case HONE_ONNX_FLOAT: ((float *)a->data)[k] = narrow; break;
    case HONE_ONNX_DOUBLE: ((double *)a->data)[k] = x; break;
    case HONE_ONNX_INT64: ((int64_t *)a->data)[k] = (int64_t)within(x, -9e18, 9e18); break;
    case HONE_ONNX_INT32: ((int32_t *)a->data)[k] = (int32_t)within(x, INT32_MIN, INT32_MAX); break;
    case HONE_ONNX_INT8: ((int8_t *)a->data)[k] = (int8_t)within(x, -128, 127); break;
    case HONE_ONNX_FLOAT16: hone_reals_from_f32(HONE_F16, &narrow, (uint16_t *)a->data + k, 1); break;
    case HONE_ONNX_BOOL: ((uint8_t *)a->data)[k] = x != 0; break;
    default: ((uint8_t *)a->data)[k] = (uint8_t)within(x, 0, 255); break;
    }
}

/* --- broadcasting ------------------------------------------------------------------------------------------------ */

enum { OPERANDS = 3 };

/* Steps of each operand along each axis of the result, in elements; 0 where it is repeated. */
typedef struct walk {
    int operands, rank; /* of the result */
    int64_t dim[HONE_ONNX_RANK], step[OPERANDS][HONE_ONNX_RANK];
} walk;

/* One row of the result: `at` and `step` of the operands along it, (n) elements from `to` on. */
typedef void (*row_fn)(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n);

/* Shapes align at their ends; sizes are equal, or 1 on one side. */
static hone_status open_walk(const hone_onnx_call *c, int operands, walk *w)
{
    *w = (walk){.operands = operands};
    for (int i = 0; i < operands; i++)
        if (c->in[i]->rank > w->rank) w->rank = c->in[i]->rank;
    for (int k = 0; k < w->rank; k++) w->dim[k] = 1;
    for (int i = 0; i < operands; i++)
        for (int k = 0; k < c->in[i]->rank; k++) {
            int64_t *d = &w->dim[w->rank - c->in[i]->rank + k], mine = c->in[i]->dim[k];
            if (mine != *d && mine != 1 && *d != 1) return hone_onnx_call_fail(c, "shapes that do not broadcast");
            if (mine != 1) *d = mine;
        }
    /* from the last axis on, as memory lies */
    for (int i = 0; i < operands; i++) {
        int64_t step = 1;
        for (int k = c->in[i]->rank - 1; k >= 0; k--) {
            w->step[i][w->rank - c->in[i]->rank + k] = c->in[i]->dim[k] == 1 ? 0 : step;
            step *= c->in[i]->dim[k];
        }
    }
    return HONE_OK;
}

/* Allocates a result of `type` and computes it row by row. */
static hone_status broadcast(hone_onnx_call *c, int operands, int64_t type, row_fn row)
{
    walk w;
    HONE_TRY(open_walk(c, operands, &w));
    HONE_TRY(hone_onnx_call_out(c, type, w.rank, w.dim));
    int64_t n = w.rank ? w.dim[w.rank - 1] : 1, place[HONE_ONNX_RANK] = {0}, at[OPERANDS] = {0}, step[OPERANDS] = {0};
    for (int i = 0; w.rank && i < operands; i++) step[i] = w.step[i][w.rank - 1];
    for (int64_t to = 0; to < c->out.count; to += n) {
        row(c, at, step, to, n);
        for (int k = w.rank - 2; k >= 0; k--) { /* the next row: count up, the last axis but one first */
            for (int i = 0; i < operands; i++) at[i] += w.step[i][k];
            if (++place[k] < w.dim[k]) break;
            for (int i = 0; i < operands; i++) at[i] -= w.dim[k] * w.step[i][k];
            place[k] = 0;
        }
    }
    return HONE_OK;
}

/* --- two operands ---------------------------------------------------------------------------------------------- */

/* What an operator does, by the first letters of its name that tell it apart. */
static double real_of(const char *op, double a, double b)
{
    switch (op[0]) {
    case 'A': return a + b;
    case 'S': return a - b;
    case 'D': return a / b;
    case 'P': return pow(a, b);
    default: break;
    }
    if (op[1] == 'u') return a * b; /* Mul, Max, Min */
    return op[1] == 'a' ? (a > b ? a : b) : (a < b ? a : b);
}

/* Sums wrap as in two's complement; a division by zero gives zero here instead of ending the process. */
static int64_t int_of(const char *op, int64_t a, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (op[0]) {
    case 'A': return (int64_t)(x + y);
    case 'S': return (int64_t)(x - y);
    case 'D': return b == 0 ? 0 : b == -1 ? (int64_t)(0 - x) : a / b;
    default: break;
    }
    if (op[1] == 'u') return (int64_t)(x * y);
    return op[1] == 'a' ? (a > b ? a : b) : (a < b ? a : b);
}

/* Through double: a sum of two floats is rounded once either way. */
static void float_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    const float *a = (const float *)c->in[0]->data + at[0], *b = (const float *)c->in[1]->data + at[1];
    float *y = (float *)c->out.data + to;
    for (int64_t k = 0; k < n; k++) y[k] = (float)real_of(c->node->op, (double)a[k * step[0]], (double)b[k * step[1]]);
}

/* Weights of a resize, which must come out as hone's own (preprocess.c). */
static void double_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    const double *a = (const double *)c->in[0]->data + at[0], *b = (const double *)c->in[1]->data + at[1];
    double *y = (double *)c->out.data + to;
    for (int64_t k = 0; k < n; k++) y[k] = real_of(c->node->op, a[k * step[0]], b[k * step[1]]);
}

/* Sizes and places: shapes are computed in the graph. */
static void int_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    const int64_t *a = (const int64_t *)c->in[0]->data + at[0], *b = (const int64_t *)c->in[1]->data + at[1];
    int64_t *y = (int64_t *)c->out.data + to;
    for (int64_t k = 0; k < n; k++) y[k] = int_of(c->node->op, a[k * step[0]], b[k * step[1]]);
}

/* Both operands are of one type, as ONNX demands. */
static hone_status arithmetic(hone_onnx_call *c)
{
    HONE_TRY(hone_onnx_call_want(c, 1, c->in[0]->type));
    if (c->in[0]->type == HONE_ONNX_FLOAT) return broadcast(c, 2, HONE_ONNX_FLOAT, float_row);
    if (c->in[0]->type == HONE_ONNX_DOUBLE) return broadcast(c, 2, HONE_ONNX_DOUBLE, double_row);
    if (c->in[0]->type == HONE_ONNX_INT64 && c->node->op[0] != 'P') return broadcast(c, 2, HONE_ONNX_INT64, int_row);
    return hone_onnx_call_fail(c, "operands of a type that hone never writes");
}

/* Less, LessOrEqual, GreaterOrEqual, Equal of a - b as -1, 0, 1 (2: not comparable). */
static bool holds(const char *op, int order)
{
    if (order == 2) return false;
    if (op[0] == 'E') return order == 0;
    if (op[0] == 'G') return order >= 0;
    return op[4] == 'O' ? order <= 0 : order < 0;
}

/* Places of both operands are followed in elements, so that a scalar is read again and again. */
static void compare_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    uint8_t *y = (uint8_t *)c->out.data + to;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = at[0] + k * step[0], j = at[1] + k * step[1];
        int order;
        if (c->in[0]->type == HONE_ONNX_INT64) {
            int64_t a = ((const int64_t *)c->in[0]->data)[i], b = ((const int64_t *)c->in[1]->data)[j];
            order = (a > b) - (a < b);
        } else {
            double a = get(c->in[0], i), b = get(c->in[1], j);
            order = a > b ? 1 : a < b ? -1 : a == b ? 0 : 2;
        }
        y[k] = holds(c->node->op, order);
    }
}

/* One result for each pair of elements, a byte each. */
static hone_status compare(hone_onnx_call *c)
{
    HONE_TRY(hone_onnx_call_want(c, 1, c->in[0]->type));
    return broadcast(c, 2, HONE_ONNX_BOOL, compare_row);
}

/* Bytes that are not zero count as true. */
static void and_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    const uint8_t *a = (const uint8_t *)c->in[0]->data + at[0], *b = (const uint8_t *)c->in[1]->data + at[1];
    uint8_t *y = (uint8_t *)c->out.data + to;
    for (int64_t k = 0; k < n; k++) y[k] = a[k * step[0]] && b[k * step[1]];
}

/* Of comparisons only: no other op gives bools. */
static hone_status logical_and(hone_onnx_call *c)
{
    for (int k = 0; k < 2; k++) HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_BOOL));
    return broadcast(c, 2, HONE_ONNX_BOOL, and_row);
}

/* Any type: the bytes of the element that was chosen. */
static void where_row(const hone_onnx_call *c, const int64_t *at, const int64_t *step, int64_t to, int64_t n)
{
    size_t size = hone_onnx_type_bytes(c->out.type);
    const uint8_t *condition = (const uint8_t *)c->in[0]->data + at[0];
    for (int64_t k = 0; k < n; k++) {
        int which = condition[k * step[0]] ? 1 : 2;
        const char *from = (const char *)c->in[which]->data + (size_t)(at[which] + k * step[which]) * size;
        memcpy((char *)c->out.data + (size_t)(to + k) * size, from, size);
    }
}

/* Three operands broadcast together; the two to choose from are of one type. */
static hone_status where(hone_onnx_call *c)
{
    HONE_TRY(hone_onnx_call_want(c, 0, HONE_ONNX_BOOL));
    HONE_TRY(hone_onnx_call_want(c, 2, c->in[1]->type));
    return broadcast(c, 3, c->in[1]->type, where_row);
}

/* --- one operand ------------------------------------------------------------------------------------------------- */

/* In double, rounded once to the element's type. */
static double unary_of(const char *op, double x)
{
    switch (op[0]) {
    case 'E': return op[1] == 'r' ? erf(x) : exp(x); /* Erf, Exp */
    case 'F': return floor(x);
    case 'C': return ceil(x);
    case 'A': return fabs(x);
    default: return sqrt(x);
    }
}

/* Floats and doubles; the shape stays. */
static hone_status unary(hone_onnx_call *c)
{
    if (c->in[0]->type != HONE_ONNX_DOUBLE) HONE_TRY(hone_onnx_call_want(c, 0, HONE_ONNX_FLOAT));
    HONE_TRY(hone_onnx_call_out(c, c->in[0]->type, c->in[0]->rank, c->in[0]->dim));
    for (int64_t k = 0; k < c->out.count; k++) put(&c->out, k, unary_of(c->node->op, get(c->in[0], k)));
    return HONE_OK;
}

/* Min and max are scalars, left out where there is no bound. */
static hone_status clip(hone_onnx_call *c)
{
    float least = -INFINITY, most = INFINITY; /* no bound */
    HONE_TRY(hone_onnx_call_want(c, 0, HONE_ONNX_FLOAT));
    for (int k = 1; k < 3; k++) {
        if (!c->in[k]) continue;
        HONE_TRY(hone_onnx_call_want(c, k, HONE_ONNX_FLOAT));
        if (c->in[k]->count != 1) return hone_onnx_call_fail(c, "a bound that is no scalar");
    }
    if (c->in[1]) least = *(const float *)c->in[1]->data;
    if (c->in[2]) most = *(const float *)c->in[2]->data;
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, c->in[0]->rank, c->in[0]->dim));
    for (int64_t k = 0; k < c->out.count; k++) {
        float x = ((const float *)c->in[0]->data)[k];
        ((float *)c->out.data)[k] = x < least ? least : x > most ? most : x;
    }
    return HONE_OK;
}

/* Floats to integers cut the fraction, as C does and ONNX says. */
static hone_status cast(hone_onnx_call *c)
{
    int64_t type = hone_onnx_get_int(c->node, "to", 0);
    if (hone_onnx_type_bytes(type) == 0) return hone_onnx_call_fail(c, "a type that hone never writes");
    HONE_TRY(hone_onnx_call_out(c, type, c->in[0]->rank, c->in[0]->dim));
    for (int64_t k = 0; k < c->out.count; k++) put(&c->out, k, get(c->in[0], k));
    return HONE_OK;
}

/* --- reductions ----------------------------------------------------------------------------------------------------- */

/* ReduceMean, ReduceSum, ReduceMax of floats or int64 over one axis. */
static hone_status reduce(hone_onnx_call *c)
{
    const hone_onnx_array *x = c->in[0];
    int64_t list[HONE_ONNX_RANK], dim[HONE_ONNX_RANK], outer = 1, inner = 1;
    int count, rank = 0;
    bool keep = hone_onnx_get_int(c->node, "keepdims", 1) != 0, max = strcmp(c->node->op, "ReduceMax") == 0;
    HONE_TRY(hone_onnx_call_list(c, "axes", c->node->in_count > 1 ? 1 : -1, &count, list));
    if (count != 1 || !hone_onnx_axis(&list[0], x->rank)) return hone_onnx_call_fail(c, "not one axis");
    if (x->type != HONE_ONNX_FLOAT && x->type != HONE_ONNX_INT64 && x->type != HONE_ONNX_DOUBLE)
        return hone_onnx_call_fail(c, "a wrong type");
    for (int k = 0; k < x->rank; k++) {
        if (k < list[0]) outer *= x->dim[k];
        if (k > list[0]) inner *= x->dim[k];
        if (k != list[0] || keep) dim[rank++] = k == list[0] ? 1 : x->dim[k];
    }
    int64_t n = x->dim[list[0]]; /* elements behind each result */
    HONE_TRY(hone_onnx_call_out(c, x->type, rank, dim));
    for (int64_t k = 0; k < outer * inner; k++) {
        double sum = max ? -INFINITY : 0; /* of nothing */
        for (int64_t i = 0; i < n; i++) {
            double v = get(x, (k / inner * n + i) * inner + k % inner);
            sum = !max ? sum + v : v > sum ? v : sum;
        }
        put(&c->out, k, strcmp(c->node->op, "ReduceMean") == 0 ? sum / (double)n : sum);
    }
    return HONE_OK;
}

/* --- quantisation ------------------------------------------------------------------------------------------------- */

/* Elements that share a scale lie `inner` at a time; scales: one, or one for each place of `axis`. */
static hone_status scales(const hone_onnx_call *c, int64_t *channels, int64_t *inner)
{
    const hone_onnx_array *x = c->in[0], *scale = c->in[1];
    int64_t axis = hone_onnx_get_int(c->node, "axis", 1);
    HONE_TRY(hone_onnx_call_want(c, 1, HONE_ONNX_FLOAT));
    if (c->in[2] && c->in[2]->count != scale->count)
        return hone_onnx_call_fail(c, "scales and zero points that differ");
    *channels = 1;
    *inner = x->count ? x->count : 1;
    if (scale->rank == 0 || scale->count == 1) return HONE_OK;
    if (!hone_onnx_axis(&axis, x->rank) || scale->count != x->dim[axis])
        return hone_onnx_call_fail(c, "scales that do not fit the axis");
    *channels = scale->count;
    *inner = 1;
    for (int k = (int)axis + 1; k < x->rank; k++) *inner *= x->dim[k];
    return HONE_OK;
}

/* y = saturate(round(x / scale) + zero), halves to even. */
static hone_status quantize(hone_onnx_call *c)
{
    int64_t channels = 1, inner = 1;
    HONE_TRY(scales(c, &channels, &inner));
    HONE_TRY(hone_onnx_call_want(c, 0, HONE_ONNX_FLOAT));
    int64_t type = c->in[2] ? c->in[2]->type : HONE_ONNX_UINT8; /* that of the zero point */
    HONE_TRY(hone_onnx_call_out(c, type, c->in[0]->rank, c->in[0]->dim));
    for (int64_t k = 0; k < c->out.count; k++) {
        int64_t q = k / inner % channels;
        float ratio = ((const float *)c->in[0]->data)[k] / ((const float *)c->in[1]->data)[q];
        put(&c->out, k, rint((double)ratio) + (c->in[2] ? get(c->in[2], q) : 0));
    }
    return HONE_OK;
}

/* y = (x - zero) scale. */
static hone_status dequantize(hone_onnx_call *c)
{
    int64_t channels = 1, inner = 1;
    HONE_TRY(scales(c, &channels, &inner));
    HONE_TRY(hone_onnx_call_out(c, HONE_ONNX_FLOAT, c->in[0]->rank, c->in[0]->dim));
    for (int64_t k = 0; k < c->out.count; k++) {
        int64_t q = k / inner % channels;
        double whole = get(c->in[0], k) - (c->in[2] ? get(c->in[2], q) : 0);
        ((float *)c->out.data)[k] = (float)whole * ((const float *)c->in[1]->data)[q];
    }
    return HONE_OK;
}

const hone_onnx_op hone_onnx_math_ops[] = {
    {"Add", arithmetic, 2, 2},              /* a + b */
    {"Sub", arithmetic, 2, 2},              /* a - b */
    {"Mul", arithmetic, 2, 2},              /* a b */
    {"Div", arithmetic, 2, 2},              /* a / b; of integers towards zero */
    {"Pow", arithmetic, 2, 2},              /* a to the b; floats */
    {"Max", arithmetic, 2, 2},              /* the larger */
    {"Min", arithmetic, 2, 2},              /* the smaller */
    {"Less", compare, 2, 2},                /* a < b */
    {"LessOrEqual", compare, 2, 2},         /* a <= b */
    {"GreaterOrEqual", compare, 2, 2},      /* a >= b */
    {"Equal", compare, 2, 2},               /* a = b */
    {"And", logical_and, 2, 2},             /* of bools */
    {"Where", where, 3, 3},                 /* condition, then, else */
    {"Erf", unary, 1, 1},                   /* of the normal distribution's integral */
    {"Exp", unary, 1, 1},                   /* e to the x */
    {"Sqrt", unary, 1, 1},                  /* NaN below zero */
    {"Floor", unary, 1, 1},                 /* down to a whole number */
    {"Ceil", unary, 1, 1},                  /* up to one */
    {"Abs", unary, 1, 1},                   /* without the sign */
    {"Clip", clip, 1, 3},                   /* x, least, most */
    {"Cast", cast, 1, 1},                   /* {to} */
    {"ReduceMean", reduce, 1, 2},           /* {axes, keepdims}; operand from 18 on */
    {"ReduceSum", reduce, 1, 2},            /* axes are an operand since 13 */
    {"ReduceMax", reduce, 1, 2},            /* of nothing: minus infinity */
    {"QuantizeLinear", quantize, 2, 3},     /* x, scale, zero point {axis} */
    {"DequantizeLinear", dequantize, 2, 3}, /* the way back {axis} */
    {NULL, NULL, 0, 0},
};
