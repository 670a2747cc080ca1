/* tree.c - the nodes of a page: making, copying, finding, freeing, and typed reads of scalars.
 *
 * The name of the page is counted, not copied: each node holds a use of it, so that a node may move to
 * another tree (a model file merged into a config) and still say where it stands. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/page.h"

enum { MAX_PAGE_BYTES = 16 << 20 };

/* --- the counted name ----------------------------------------------------------------------------- */
/* Atomic, because data sets and models that hold pages may be freed on another thread. */
typedef struct page_name {
    atomic_int users;
    char text[];
} page_name;

/* The counted name around the text that nodes point at. */
static page_name *name_of(const char *file) { return (page_name *)(uintptr_t)(file - offsetof(page_name, text)); }

/* A first use of a name; NULL without memory. */
static const char *name_new(const char *file)
{
    size_t bytes = strlen(file) + 1;
    page_name *name = malloc(sizeof *name + bytes);
    if (!name) return NULL;
    atomic_init(&name->users, 1);
    memcpy(name->text, file, bytes);
    return name->text;
}

/* NULL is fine: a node whose name could not be made is freed too. */
static void name_release(const char *file)
{
    if (file && atomic_fetch_sub(&name_of(file)->users, 1) == 1) free(name_of(file));
}

/* A node beside `sibling` shares its name, so a page has one copy of it per map or list at most. */
static const char *name_share(const hone_yaml *sibling, const char *file)
{
    if (!sibling || strcmp(sibling->file, file) != 0) return name_new(file);
    atomic_fetch_add(&name_of(sibling->file)->users, 1);
    return sibling->file;
}

/* --- nodes ---------------------------------------------------------------------------------------- */
/* `at` lends file, line and column: what a program puts into a page still says where it comes from. */
hone_yaml *hone_yaml_new(hone_yaml_kind kind, const char *text, const hone_yaml *at)
{
    hone_yaml *n = calloc(1, sizeof *n);
    if (!n) return NULL;
    n->kind = kind;
    n->line = at->line;
    n->column = at->column;
    n->file = name_new(at->file);
    if (kind == HONE_YAML_SCALAR) n->text = hone_strdup(text ? text : "");
    if (n->file && (kind != HONE_YAML_SCALAR || n->text)) return n;
    hone_yaml_free(n);
    return NULL;
}

/* Arrays grow by doubling: capacity is the power of two that holds `count`. */
static bool grow(hone_yaml ***array, int count)
{
    if (count & (count - 1)) return true; /* not a power of two: there is room */
                                          /* Doubling: a list of n items moves at most 2n of them. */
    hone_yaml **more = realloc(*array, (count ? (size_t)count * 2 : 1) * sizeof *more);
    if (!more) return false;
    *array = more;
    return true;
}

/* Lists take a NULL key. */
bool hone_yaml_put(hone_yaml *map, hone_yaml *key, hone_yaml *value)
{
    bool ok = value && (key || map->kind == HONE_YAML_SEQ) && grow(&map->item, map->count) &&
              (!key || grow(&map->key, map->count));
    if (!ok) {
        hone_yaml_free(key);
        hone_yaml_free(value);
        return false;
    }
    const char *shared = name_share(map, value->file);
    if (shared) { /* without memory for sharing the node keeps its own copy */
        name_release(value->file);
        value->file = shared;
    }
    map->item[map->count] = value;
    if (key) map->key[map->count] = key;
    map->count++;
    return true;
}

/* Recursion is bounded by the parser: 64 levels. */
void hone_yaml_free(hone_yaml *root)
{
    if (!root) return;
    for (int k = 0; k < root->count; k++) {
        hone_yaml_free(root->item[k]);
        if (root->key) hone_yaml_free(root->key[k]);
    }
    free(root->item);
    free(root->key);
    free(root->text);
    name_release(root->file);
    free(root);
}

/* Deep. NULL without memory, and then nothing is left over; NULL in, NULL out. */
hone_yaml *hone_yaml_copy(const hone_yaml *node)
{
    hone_yaml *copy = node ? hone_yaml_new(node->kind, node->text, node) : NULL;
    if (!copy) return NULL;
    copy->quoted = node->quoted;
    for (int k = 0; k < node->count; k++) {
        bool map = node->kind == HONE_YAML_MAP;
        if (!hone_yaml_put(copy, map ? hone_yaml_copy(node->key[k]) : NULL, hone_yaml_copy(node->item[k]))) {
            hone_yaml_free(copy);
            return NULL;
        }
    }
    return copy;
}

/* Linear: maps of a config are short; repeated keys were refused before. */
int hone_yaml_index(const hone_yaml *map, const char *key)
{
    if (!map || map->kind != HONE_YAML_MAP) return -1;
    for (int k = 0; k < map->count; k++)
        if (strcmp(map->key[k]->text, key) == 0) return k;
    return -1;
}

/* NULL when absent, also on a NULL map or another kind: look-ups chain without checks between them. */
const hone_yaml *hone_yaml_get(const hone_yaml *map, const char *key)
{
    int k = hone_yaml_index(map, key);
    return k < 0 ? NULL : map->item[k];
}

/* k must be in range. */
void hone_yaml_drop(hone_yaml *map, int k)
{
    hone_yaml_free(map->item[k]);
    if (map->key) hone_yaml_free(map->key[k]);
    map->count--;
    /* Order is kept: it is the order of messages and of resolved pages. */
    size_t after = (size_t)(map->count - k);
    memmove(map->item + k, map->item + k + 1, after * sizeof *map->item);
    if (map->key) memmove(map->key + k, map->key + k + 1, after * sizeof *map->key);
}

/* --- typed reads ------------------------------------------------------------------------------------ */
/* Only plain scalars have types: what is quoted is text. */
static bool is_plain(const hone_yaml *n) { return n && n->kind == HONE_YAML_SCALAR && !n->quoted; }

/* Decimal without leading zeros: 010 means 8 to some readers of YAML, so it is no number here. */
bool hone_yaml_int(const hone_yaml *n, int64_t *out)
{
    if (!is_plain(n)) return false;
    const char *s = n->text;
    /* strtoll would take spaces, and saturate where this must refuse. */
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    if (*s < '0' || *s > '9' || (s[0] == '0' && s[1] != '\0')) return false;
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        uint64_t digit = (uint64_t)(*s - '0');
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = negative ? (value == limit ? INT64_MIN : -(int64_t)value) : (int64_t)value;
    return true;
}

/* An integer is a number too. */
bool hone_yaml_float(const hone_yaml *n, double *out) { return is_plain(n) && hone_number_read(n->text, out); }

/* Two words, as YAML 1.2 has it. */
bool hone_yaml_bool(const hone_yaml *n, bool *out)
{
    if (!is_plain(n)) return false;
    *out = strcmp(n->text, "true") == 0;
    return *out || strcmp(n->text, "false") == 0;
}

/* YAML 1.2's core schema: nothing, ~ or null, unquoted. */
bool hone_yaml_null(const hone_yaml *n)
{
    return is_plain(n) && (!*n->text || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0);
}

/* --- files -------------------------------------------------------------------------------------------- */
/* For messages: what a path is instead of a file. */
static const char *kind_of_file(mode_t mode)
{
    return S_ISDIR(mode)                    ? "a folder"
           : S_ISFIFO(mode)                 ? "a named pipe"
           : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
                                            : "no file";
}

/* Reads to the end, not to st_size: the file may grow, and the cap holds for what is read. */
static hone_status read_all(int fd, const char *path, char *text, size_t *bytes)
{
    *bytes = 0;
    for (;;) {
        ssize_t got = read(fd, text + *bytes, (size_t)MAX_PAGE_BYTES + 1 - *bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return hone_fail(HONE_ERR_RUNTIME, NULL, "%s: %s", path, strerror(errno));
        *bytes += (size_t)got;
        if (*bytes > MAX_PAGE_BYTES)
            return hone_fail(HONE_ERR_USAGE, "give a YAML config", "%s: over 16 MiB, no config is that large", path);
        if (got == 0) return HONE_OK;
    }
}

/* NONBLOCK and the check of the kind come before the first read: a pipe would block, /dev/zero never ends. */
hone_status hone_page_load(const char *path, char **text, size_t *bytes)
{
    struct stat st;
    *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* NONBLOCK: a pipe must not hang us */
    if (fd < 0) return hone_fail(HONE_ERR_USAGE, "give the path of a YAML config", "%s: %s", path, strerror(errno));
    hone_status status = HONE_OK;
    if (fstat(fd, &st) != 0) status = hone_fail(HONE_ERR_RUNTIME, NULL, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = hone_fail(HONE_ERR_USAGE, "give the path of a YAML config", "%s: is %s, not a regular file", path,
                           kind_of_file(st.st_mode));
    else if (st.st_size > MAX_PAGE_BYTES)
        status = hone_fail(HONE_ERR_USAGE, "give a YAML config", "%s: over 16 MiB, no config is that large", path);
    else if (!(*text = malloc((size_t)MAX_PAGE_BYTES + 2))) /* untouched pages cost nothing */
        status = hone_fail(HONE_ERR_MEMORY, NULL, "%s: no memory to read it", path);
    if (status == HONE_OK) status = read_all(fd, path, *text, bytes);
    close(fd);
    if (status == HONE_OK && *text) {
        (*text)[*bytes] = '\0';
        char *fit = realloc(*text, *bytes + 1);
        if (fit) *text = fit;
    } else {
        free(*text);
        *text = NULL;
    }
    return status;
}
