/* signature.c - parses signature lines and unifies them with tensors (signature.h).
 *
 * Kept apart from the table so that a shape rule is data: most operations need no code at all. It
 * must not know any operation by name.
 *
 * Grammar:  line    = operands "->" operands
 *           operand = name ["?"] [":" ("i" | "u")] ["#" | dims],  separated by ","
 *           dims    = one of "A".."Z", "1", ".." each, the run at most once
 * Lines are parsed anew at each call: a graph is built once, and a parsed copy would be a mutable global. */
#include "graph/signature.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Spaces separate; they never matter. */
static const char *skip_spaces(const char *s)
{
    while (*s == ' ') s++;
    return s;
}

/* name [?] [:t | #] DIMS; returns the character after the operand, NULL where it is malformed. */
static const char *parse_operand(const char *s, hone_operand *o)
{
    memset(o, 0, sizeof *o);
    size_t n = 0; /* lower case is a name, upper case a size: no separator needed between them */
    while ((islower((unsigned char)*s) || *s == '_' || isdigit((unsigned char)*s)) && n + 1 < sizeof o->name)
        o->name[n++] = *s++;
    if (n == 0) return NULL;
    if (*s == '?') {
        o->optional = true;
        s++;
    }
    o->type = 'f';
    if (*s == ':') {
        o->type = s[1];
        s += 2;
    }
    s = skip_spaces(s);
    for (; *s && *s != ',' && *s != ' '; s++) {
        if (*s == '#') o->type = '#';
        else if (o->count == (int)sizeof o->dim) return NULL;
        else if (*s == '.' && s[1] == '.') o->dim[o->count++] = *s++;
        else if (isupper((unsigned char)*s) || *s == '1') o->dim[o->count++] = *s;
        else return NULL;
    }
    return s;
}

/* Hand-written, as the grammar is regular: inputs, "->", outputs, commas between operands. */
bool hone_signature_parse(const char *line, hone_signature *out)
{
    memset(out, 0, sizeof *out);
    bool outputs = false;
    const char *s = skip_spaces(line);
    while (*s) {
        if (s[0] == '-' && s[1] == '>') {
            if (outputs) return false;
            outputs = true;
            s = skip_spaces(s + 2);
            continue;
        }
        int *count = outputs ? &out->out_count : &out->in_count;
        if (*count == (outputs ? HONE_MAX_OUT : HONE_MAX_IN)) return false;
        s = parse_operand(s, outputs ? &out->out[*count] : &out->in[*count]);
        if (!s) return false;
        (*count)++;
        s = skip_spaces(s);
        if (*s == ',') s = skip_spaces(s + 1);
    }
    return outputs;
}

/* --- messages ------------------------------------------------------------------------------------ */

/* How messages show an operand: "w (O, I)", "label i32 (N)". */
static void add_operand(hone_text *t, const hone_operand *o)
{
    hone_text_add(t, "%s%s ", o->name, o->optional ? "?" : "");
    if (o->type == '#') {
        hone_text_add(t, "(step block)");
        return;
    }
    if (o->type == 'i' || o->type == 'u') hone_text_add(t, "%s ", o->type == 'i' ? "i32" : "u8");
    for (int k = 0; k < o->count; k++) {
        hone_text_add(t, k ? ", " : "(");
        if (o->dim[k] == '.') hone_text_add(t, "..");
        else hone_text_add(t, "%c", o->dim[k]);
    }
    hone_text_add(t, o->count ? ")" : "()");
}

/* First what was given, then what is wrong, then what the op expects: in the order a reader asks. */
hone_status hone_shape_fail(const hone_shape_call *c, const char *fmt, ...)
{
    hone_text t = {0};
    char shape[96];
    hone_text_add(&t, "%s(", hone_op_name(c->op));
    for (int k = 0, first = 1; k < c->sig.in_count; k++) { /* absent inputs are left out */
        if (!c->in[k]) continue;
        hone_text_add(&t, "%s%s", first ? "" : ", ", c->sig.in[k].name);
        if (c->in[k]->name[0]) hone_text_add(&t, " '%s'", c->in[k]->name);
        hone_text_add(&t, " %s %s", hone_dtype_name(c->in[k]->dtype),
                      hone_tensor_shape_text(c->in[k], shape, sizeof shape));
        first = 0;
    }
    hone_text_add(&t, "): ");
    va_list args;
    va_start(args, fmt);
    hone_text_addv(&t, fmt, args);
    va_end(args);
    hone_text_add(&t, "; expected ");
    for (int k = 0; k < c->sig.in_count; k++) {
        hone_text_add(&t, k ? ", " : "");
        add_operand(&t, &c->sig.in[k]);
    }
    hone_status status = hone_fail(HONE_ERR_USAGE, "give the op inputs of the shapes it expects", "%s",
                                   t.data ? t.data : hone_op_name(c->op));
    hone_text_free(&t);
    return status;
}

/* --- unification ----------------------------------------------------------------------------------- */

/* bf16 and f16 are storage of activations on a GPU; the rules are the same. */
static bool is_float(hone_dtype d) { return d == HONE_F32 || d == HONE_F64 || d == HONE_BF16 || d == HONE_F16; }

/* Stored operands agree with the first of them, wide ones likewise; wide is f32 beside 16-bit storage, and
 * double beside double: no op converts silently. */
static hone_status check_real(hone_shape_call *c, const hone_operand *o, const hone_tensor *t)
{
    hone_dtype *seen = o->type == 'w' ? &c->wide : &c->real, other = o->type == 'w' ? c->real : c->wide;
    if (!is_float(t->dtype)) return hone_shape_fail(c, "%s must be floating point", o->name);
    if (o->type == 'w' && t->dtype != HONE_F32 && t->dtype != HONE_F64)
        return hone_shape_fail(c, "%s must be f32, whatever the others are stored in", o->name);
    bool agrees = *seen == HONE_DTYPE_COUNT || *seen == t->dtype;
    if (!agrees || (other != HONE_DTYPE_COUNT && (other == HONE_F64) != (t->dtype == HONE_F64)))
        return hone_shape_fail(c, "%s is %s where the inputs before it are %s", o->name, hone_dtype_name(t->dtype),
                               hone_dtype_name(agrees ? other : *seen));
    *seen = t->dtype;
    return HONE_OK;
}

static hone_status check_type(hone_shape_call *c, const hone_operand *o, const hone_tensor *t)
{
    switch (o->type) {
    case 'i': return t->dtype == HONE_I32 ? HONE_OK : hone_shape_fail(c, "%s must be i32", o->name);
    case 'u': return t->dtype == HONE_U8 ? HONE_OK : hone_shape_fail(c, "%s must be u8", o->name);
    case '#':
        if (t->role == HONE_ROLE_SCALAR && hone_tensor_bytes(t) == sizeof(hone_step)) return HONE_OK;
        return hone_shape_fail(c, "%s must be the step block: role SCALAR, %zu bytes", o->name, sizeof(hone_step));
    default: break;
    }
    return check_real(c, o, t);
}

/* The first operand that shows a letter decides its size; later ones must agree. */
static hone_status bind_letter(hone_shape_call *c, const hone_operand *o, char letter, int64_t size)
{
    if (letter == '1') return size == 1 ? HONE_OK : hone_shape_fail(c, "%s must be of size 1", o->name);
    int64_t *known = &c->size.letter[letter - 'A'];
    if (*known == 0) *known = size;
    if (*known != size)
        return hone_shape_fail(c, "%c is %lld, but %s has %lld there", letter, (long long)*known, o->name,
                               (long long)size);
    return HONE_OK;
}

/* R, the product of the run, is bound with it: the rows of a (.., C) tensor. */
static hone_status bind_run(hone_shape_call *c, const hone_operand *o, const int64_t *dim, int rank)
{
    hone_sizes *z = &c->size;
    if (z->run_rank < 0) {
        int64_t product = 1;
        z->run_rank = rank;
        for (int k = 0; k < rank; k++) product *= z->run[k] = dim[k];
        z->letter['R' - 'A'] = product;
        return HONE_OK;
    }
    if (rank != z->run_rank || memcmp(z->run, dim, (size_t)rank * sizeof *dim) != 0)
        return hone_shape_fail(c, "the dimensions '..' of %s differ from those of the inputs before it", o->name);
    return HONE_OK;
}

/* dim characters against dimensions, left to right; the run takes what the letters leave. */
static hone_status unify_operand(hone_shape_call *c, const hone_operand *o, const hone_tensor *t)
{
    HONE_TRY(check_type(c, o, t));
    if (o->type == '#') return HONE_OK;
    int run = t->rank - o->count; /* dimensions the run takes, less its own character */
    bool has_run = memchr(o->dim, '.', (size_t)o->count) != NULL;
    if (has_run ? run < -1 : run != 0)
        return hone_shape_fail(c, "%s has %d dimensions, not %s%d", o->name, t->rank, has_run ? "at least " : "",
                               has_run ? o->count - 1 : o->count);
    for (int k = 0, at = 0; k < o->count; k++) {
        if (o->dim[k] == '.') {
            HONE_TRY(bind_run(c, o, t->dim + at, run + 1));
            at += run + 1;
        } else {
            HONE_TRY(bind_letter(c, o, o->dim[k], t->dim[at++]));
        }
    }
    return HONE_OK;
}

/* Missing inputs are reported before wrong shapes, which may only follow from them. */
hone_status hone_signature_unify(hone_shape_call *c)
{
    memset(&c->size, 0, sizeof c->size);
    c->size.run_rank = -1;
    c->real = c->wide = HONE_DTYPE_COUNT;
    for (int k = 0; k < c->sig.in_count; k++)
        if (!c->in[k] && !c->sig.in[k].optional) return hone_shape_fail(c, "%s is missing", c->sig.in[k].name);
    for (int k = 0; k < c->sig.in_count; k++)
        if (c->in[k]) HONE_TRY(unify_operand(c, &c->sig.in[k], c->in[k]));
    return HONE_OK;
}

/* A letter that is still 0 here is a missing line in the op's rule: reported as a size of 0. */
static hone_status build_output(hone_shape_call *c, const hone_operand *o, hone_tensor *t)
{
    memset(t, 0, sizeof *t);
    bool wide = c->wide == HONE_F64 || c->real == HONE_F64; /* ops without a real input make f32: image_batch */
    t->dtype = o->type == 'i'                                  ? HONE_I32
               : o->type == 'u'                                ? HONE_U8
               : o->type == 'f' && c->real != HONE_DTYPE_COUNT ? c->real
               : wide                                          ? HONE_F64
                                                               : HONE_F32;
    for (int k = 0; k < o->count; k++) {
        int n = o->dim[k] == '.' ? c->size.run_rank : 1;
        if (n < 0 || t->rank + n > HONE_MAX_RANK)
            return hone_shape_fail(c, "%s would have too many dimensions", o->name);
        for (int i = 0; i < n; i++) {
            int64_t size = o->dim[k] == '.' ? c->size.run[i] : o->dim[k] == '1' ? 1 : c->size.letter[o->dim[k] - 'A'];
            if (size < 1) return hone_shape_fail(c, "%s would have size %lld", o->name, (long long)size);
            t->dim[t->rank++] = size;
        }
    }
    return HONE_OK;
}

/* Optional outputs too: whether they are wanted is decided by the builder. */
hone_status hone_signature_outputs(hone_shape_call *c)
{
    for (int k = 0; k < c->sig.out_count; k++) HONE_TRY(build_output(c, &c->sig.out[k], &c->out[k]));
    return HONE_OK;
}

/* By op rather than by graph: the types are the same wherever the op stands. */
bool hone_signature_types(hone_op op, char in[HONE_MAX_IN], char out[HONE_MAX_OUT])
{
    hone_signature sig;
    const char *line = hone_shape_signature(op);
    if (!line || !hone_signature_parse(line, &sig)) return false;
    for (int k = 0; k < HONE_MAX_IN; k++) in[k] = k < sig.in_count ? sig.in[k].type : '\0';
    for (int k = 0; k < HONE_MAX_OUT; k++) out[k] = k < sig.out_count ? sig.out[k].type : '\0';
    return true;
}
