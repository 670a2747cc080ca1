/* scope.h - $names of a page of layers: lexical, without copies.
 *
 * A value of the page is a node with the scope in which its $names are looked up (a closure): a
 * block's arguments belong to the caller, its defaults to the page. So a value may be a number, a
 * word or a whole list of layers, nothing is copied, and messages point at where the value stands. */
#ifndef HONE_MODEL_SCOPE_H
#define HONE_MODEL_SCOPE_H

#include "hone/config.h"

typedef struct hone_scope hone_scope;
struct hone_scope {
    const hone_scope *up;          /* page of a block; NULL for the page itself                     */
    const hone_yaml *given;        /* map of values, or NULL                                        */
    const hone_scope *given_scope; /* where the $names of `given` are looked up                     */
    const hone_yaml *standard;     /* map of parameters with defaults (`with:`), or NULL            */
};

typedef struct hone_ref {
    const hone_yaml *node; /* NULL: nothing, or a mistake that has been told */
    const hone_scope *scope;
} hone_ref;

/* Follows $names until a value stands there. `classes` is the node of $classes. An unknown name is
 * told to `d` as a mistake of `path`. */
hone_ref hone_scope_resolve(hone_ref r, const hone_yaml *classes, const char *path, hone_diag *d);
/* Checks `given` against the parameters of `standard`: unknown ones, missing ones. `at` is pointed at
 * for what is missing; `who` names the block ("basic") or "model". `name:` is accepted if may_name. */
void hone_scope_check(const hone_yaml *given, const hone_yaml *standard, const hone_yaml *at, const char *who,
                      bool may_name, hone_diag *d);

#endif
