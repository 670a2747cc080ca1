/* scope.c - see scope.h. */
#include "model/scope.h"

#include <stdio.h>
#include <string.h>

enum { SUGGEST_MAX = 64, NAME_BYTES = 64 };

/* All parameter names that a scope sees, as "$name", for "did you mean". */
static void suggest(const hone_scope *s, const char *name, const char *path, const hone_yaml *at, hone_diag *d)
{
    /* always known, whatever the page declares */
    static char classes[] = "$classes";
    char text[SUGGEST_MAX][NAME_BYTES];
    const char *candidate[SUGGEST_MAX + 1] = {classes};
    int count = 1;
    for (; s; s = s->up)
        for (int k = 0; s->standard && k < s->standard->count && count < SUGGEST_MAX; k++, count++) {
            snprintf(text[count], NAME_BYTES, "$%s", s->standard->key[k]->text);
            candidate[count] = text[count];
        }
    const char *best = hone_did_you_mean(name, candidate, count);
    if (best) hone_diag_add(d, at, path, "unknown parameter %s (did you mean %s?)", name, best);
    else hone_diag_add(d, at, path, "unknown parameter %s (`with:` declares parameters)", name);
}

hone_ref hone_scope_resolve(hone_ref r, const hone_yaml *classes, const char *path, hone_diag *d)
{
    /* Ends: a value is looked up in a scope strictly outside of the one that names it. */
    while (r.node && r.node->kind == HONE_YAML_SCALAR && !r.node->quoted && r.node->text[0] == '$') {
        const char *name = r.node->text + 1;
        const hone_scope *s = r.scope;
        const hone_yaml *found = NULL;
        for (; s && !found; s = found ? s : s->up) {
            const hone_yaml *standard = s->standard ? hone_yaml_get(s->standard, name) : NULL;
            /* an inner scope hides outer parameters of the same name */
            if (!standard) continue; /* only declared names are parameters */
            const hone_yaml *given = s->given ? hone_yaml_get(s->given, name) : NULL;
            found = given ? given : standard;
            r.scope = given ? s->given_scope : s->up;
            if (!given && hone_yaml_null(standard)) return (hone_ref){NULL, NULL}; /* missing: told by the check */
            break;
        }
        if (!found && strcmp(name, "classes") == 0) return (hone_ref){classes, NULL};
        if (!found) {
            suggest(r.scope, r.node->text, path, r.node, d);
            return (hone_ref){NULL, NULL};
        }
        r.node = found;
    }
    return r;
}

/* Called once a use: what is given but not declared, and what is declared without default and not given. */
void hone_scope_check(const hone_yaml *given, const hone_yaml *standard, const hone_yaml *at, const char *who,
                      bool may_name, hone_diag *d)
{
    const char *candidate[SUGGEST_MAX];
    int count = 0;
    if (may_name) candidate[count++] = "name";
    for (int k = 0; standard && k < standard->count && count < SUGGEST_MAX; k++)
        candidate[count++] = standard->key[k]->text;
    for (int k = 0; given && k < given->count; k++) {
        const char *key = given->key[k]->text;
        if ((may_name && strcmp(key, "name") == 0) || (standard && hone_yaml_get(standard, key))) continue;
        const char *best = hone_did_you_mean(key, candidate, count);
        hone_diag_add(d, given->key[k], who, "unknown parameter %s%s%s%s", key, best ? " (did you mean " : "",
                      best ? best : "", best ? "?)" : "");
    }
    for (int k = 0; standard && k < standard->count; k++)
        if (hone_yaml_null(standard->item[k]) && !(given && hone_yaml_get(given, standard->key[k]->text)))
            hone_diag_add(d, at, who, "needs the parameter %s", standard->key[k]->text);
}
