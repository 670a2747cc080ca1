/* signature.h - the shapes of an operation as one line of text, and their unification.
 *
 * "x ..I, w OI, b? O -> y ..O": operands are `name`, an optional "?", an optional type, then one
 * character per dimension. An upper-case letter is a size that must agree wherever it occurs, ".." a
 * run of any number of dimensions, "1" a literal one. R is always the product of the run. Types:
 * none = stored floating point (equal for all of an op: f32, or 16 bits where a program stores in 16 bits),
 * ":w" wide: floating point that is f32 whatever is stored (masters, their gradients, statistics, losses; f64
 * where the op computes in double), ":i" i32, ":u" u8, "#" the step block.
 * This header is of the room alone; it must not know about graphs or memory. */
#ifndef HONE_GRAPH_SIGNATURE_H
#define HONE_GRAPH_SIGNATURE_H

#include "core/text.h"
#include "hone/graph.h"

typedef struct hone_operand {
    char name[20];
    bool optional;
    char type;   /* 'f', 'w', 'i', 'u' or '#'                           */
    int count;   /* characters of dim                                   */
    char dim[6]; /* 'A'..'Z', '1', or '.' for the run                   */
} hone_operand;

typedef struct hone_signature {
    hone_operand in[HONE_MAX_IN], out[HONE_MAX_OUT];
    int in_count, out_count;
} hone_signature;

/* What the letters stand for so far; 0 = not known yet (no size is 0). */
typedef struct hone_sizes {
    int64_t letter[26];
    int run_rank; /* -1: not known yet                             */
    int64_t run[HONE_MAX_RANK];
} hone_sizes;

/* One question to the shape rules: what does `op` of these inputs give? */
typedef struct hone_shape_call {
    hone_op op;
    const hone_attrs *attr;
    const hone_tensor *in[HONE_MAX_IN]; /* NULL where absent         */
    hone_tensor out[HONE_MAX_OUT];      /* answer: dtype, rank, dim  */
    hone_signature sig;
    hone_sizes size;
    hone_dtype real; /* dtype of the stored operands, HONE_DTYPE_COUNT: none yet */
    hone_dtype wide; /* of the wide ones                                         */
} hone_shape_call;

/* Parses one line; false where it is malformed, which is a bug of the table (a test parses all). */
bool hone_signature_parse(const char *line, hone_signature *out);
/* Binds letters from the inputs. Errors: USAGE naming op, shapes and the size that disagrees. */
hone_status hone_signature_unify(hone_shape_call *c) HONE_MUST_USE;
/* Fills out[] from the letters, which the inputs and the op's own rule have bound by now. */
hone_status hone_signature_outputs(hone_shape_call *c) HONE_MUST_USE;
/* USAGE: "op: inputs with their shapes: expected ...: what is wrong". */
hone_status hone_shape_fail(const hone_shape_call *c, const char *fmt, ...) HONE_PRINTF(2, 3);

/* The whole rule of shape.c: letters, the op's own arithmetic, outputs. */
hone_status hone_shape_infer(hone_shape_call *c) HONE_MUST_USE;
/* The signature line of an op; NULL where the table has no row. */
const char *hone_shape_signature(hone_op op);
/* Types of all operands of an op, as in hone_operand: what a precision pass goes by. false: no row. */
bool hone_signature_types(hone_op op, char in[HONE_MAX_IN], char out[HONE_MAX_OUT]);

#endif
