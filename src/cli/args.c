/* args.c - the command line into a hone_cli: global flags anywhere, the command's own behind it.
 *
 * `--flag=value` and `--flag value` are the same; `--` ends the flags; `-` is an argument. Nothing is
 * guessed: an unknown, repeated, empty or valueless flag is refused with the nearest known one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"

enum {
    FLAG_DEVICE,
    FLAG_THREADS,
    FLAG_SEED,
    FLAG_QUIET,
    FLAG_JSON,
    FLAG_LOG,
    FLAG_HELP,
    FLAG_SHORT_HELP,
    FLAG_VERSION
};

/* Indexed by the enum above. A row without help is understood but not listed. */
const hone_cli_flag hone_cli_global_flags[] = {
    [FLAG_DEVICE] = {"--device", "auto|cpu|cuda[:N]", "where to compute; auto takes CUDA where it can be had"},
    [FLAG_THREADS] = {"--threads", "N", "compute threads; default: all cores this process may use"},
    [FLAG_SEED] = {"--seed", "N", "train.seed of the config"},
    [FLAG_QUIET] = {"--quiet", NULL, "no progress, only results and errors"},
    [FLAG_JSON] = {"--json", NULL, "the result as one JSON object on stdout"},
    [FLAG_LOG] = {"--log-format", "tty|plain|json", "progress on stderr; default: tty on a terminal, else plain"},
    [FLAG_HELP] = {"--help", NULL, "the help page of the command"},
    [FLAG_SHORT_HELP] = {"-h", NULL, NULL},
    [FLAG_VERSION] = {"--version", NULL, "the version of hone"},
    {NULL, NULL, NULL},
};
enum { GLOBAL_COUNT = FLAG_VERSION + 1 };

/* What the parser keeps beside the result: whether each global flag was seen. */
typedef struct parse {
    hone_cli *cli;
    bool seen[GLOBAL_COUNT];
    hone_cli_request *request;
} parse;

/* Rows before the end of a table. */
static int flag_count(const hone_cli_flag *flag)
{
    int n = 0;
    while (flag && flag[n].name) n++;
    return n;
}

/* Row of `name` (of `bytes` characters, without "=value") in a table; -1 if it is not there. */
static int find_flag(const hone_cli_flag *flag, const char *name, size_t bytes)
{
    for (int k = 0; k < flag_count(flag); k++)
        if (strlen(flag[k].name) == bytes && memcmp(flag[k].name, name, bytes) == 0) return k;
    return -1;
}

/* Searches the flags that count here: the global ones and those of the command, if one was named. */
static hone_status unknown_flag(const hone_cli *cli, const char *arg, size_t bytes)
{
    /* aliases without help are left out: proposing -h for a typo helps nobody */
    const char *known[GLOBAL_COUNT + HONE_CLI_MAX_FLAGS];
    char name[64], hint[160];
    int count = 0;
    for (int k = 0; k < GLOBAL_COUNT; k++)
        if (hone_cli_global_flags[k].help) known[count++] = hone_cli_global_flags[k].name;
    const hone_cli_flag *own = cli->command ? cli->command->flag : NULL;
    /* nor is -o for a mistyped --to: two dashes were meant */
    for (int k = 0; k < flag_count(own); k++)
        if (arg[1] != '-' || own[k].name[1] == '-') known[count++] = own[k].name;
    snprintf(name, sizeof name, "%.*s", bytes > 63 ? 63 : (int)bytes, arg);
    const char *near = hone_did_you_mean(name, known, count);
    snprintf(hint, sizeof hint, "hone help%s%s lists the flags", cli->command ? " " : "",
             cli->command ? cli->command->name : "");
    return hone_fail(HONE_ERR_USAGE, hint, "unknown flag '%s'%s%s%s", name, near ? " (did you mean " : "",
                     near ? near : "", near ? "?)" : "");
}

/* The same strict integers as in a page: no sign tricks, no 1e3, no leading zeros. */
hone_status hone_cli_parse_int(const char *name, const char *text, int64_t least, int64_t most, int64_t *out)
{
    hone_yaml n = {.kind = HONE_YAML_SCALAR, .text = (char *)(uintptr_t)text};
    int64_t value;
    if (!hone_yaml_int(&n, &value) || value < least || value > most)
        return hone_fail(HONE_ERR_USAGE, NULL, "%s expects an integer from %lld to %lld, found '%s'", name,
                         (long long)least, (long long)most, text);
    *out = value;
    return HONE_OK;
}

/* In the order of hone_log_format. */
static hone_status parse_log_format(const char *value, hone_log_format *out)
{
    static const char *const word[] = {"tty", "plain", "json"};
    for (int k = 0; k < 3; k++)
        if (strcmp(value, word[k]) == 0) {
            *out = (hone_log_format)k;
            return HONE_OK;
        }
    return hone_fail(HONE_ERR_USAGE, NULL, "--log-format expects tty, plain or json, found '%s'", value);
}

/* Values were checked for presence; here they get their meaning. */
static hone_status set_global(parse *p, int flag, const char *value)
{
    hone_cli *cli = p->cli;
    int64_t threads = 0;
    switch (flag) {
    case FLAG_DEVICE: cli->device = value; return HONE_OK;
    case FLAG_THREADS:
        HONE_TRY(hone_cli_parse_int("--threads", value, 1, 1024, &threads));
        cli->threads = (int)threads;
        return HONE_OK;
    case FLAG_SEED: cli->seed_given = true; return hone_cli_parse_int("--seed", value, 0, INT64_MAX / 2, &cli->seed);
    case FLAG_QUIET: cli->quiet = true; return HONE_OK;
    case FLAG_JSON: cli->json = true; return HONE_OK;
    case FLAG_LOG: return parse_log_format(value, &cli->log_format);
    case FLAG_VERSION: *p->request = HONE_CLI_WANTS_VERSION; return HONE_OK;
    default: *p->request = HONE_CLI_WANTS_HELP; return HONE_OK;
    }
}

/* Value of a flag that takes one: behind '=', else the next argument. */
static hone_status take_value(const hone_cli *cli, const hone_cli_flag *flag, const char *equals, int *at,
                              const char **value)
{
    if (equals) {
        *value = equals + 1;
    } else if (*at + 1 < cli->argc && strncmp(cli->argv[*at + 1], "--", 2) != 0) {
        *value = cli->argv[++*at];
    } else {
        return hone_fail(HONE_ERR_USAGE, NULL, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
    }
    if (!**value)
        return hone_fail(HONE_ERR_USAGE, NULL, "%s has an empty value: %s %s", flag->name, flag->name, flag->value);
    return HONE_OK;
}

/* The flag at argv[*at]; moves *at over its value. */
static hone_status parse_flag(parse *p, int *at)
{
    hone_cli *cli = p->cli;
    const char *arg = cli->argv[*at], *equals = strchr(arg, '='), *value = "";
    size_t bytes = equals ? (size_t)(equals - arg) : strlen(arg);
    int global = find_flag(hone_cli_global_flags, arg, bytes);
    const hone_cli_flag *own_table = cli->command ? cli->command->flag : NULL;
    int own = own_table ? find_flag(own_table, arg, bytes) : -1;
    if (global < 0 && own < 0) return unknown_flag(cli, arg, bytes);
    const hone_cli_flag *flag = own >= 0 ? &own_table[own] : &hone_cli_global_flags[global];
    /* Order of the checks is the order in which a user would mend them. */
    if (flag->value) HONE_TRY(take_value(cli, flag, equals, at, &value));
    if (!flag->value && equals) return hone_fail(HONE_ERR_USAGE, NULL, "%s takes no value", flag->name);
    if (own >= 0 ? cli->value[own] != NULL : p->seen[global])
        return hone_fail(HONE_ERR_USAGE, "give it once", "%s is given twice", flag->name);
    if (own >= 0) {
        cli->value[own] = value;
        return HONE_OK;
    }
    p->seen[global] = true;
    return set_global(p, global, value);
}

/* The first word that is no flag. */
static hone_status find_command(hone_cli *cli, const char *name)
{
    cli->command = hone_cli_find(name);
    if (cli->command) return HONE_OK;
    const char *known[64];
    int count = 0;
    for (; count < 64 && hone_cli_commands[count]; count++) known[count] = hone_cli_commands[count]->name;
    const char *near = hone_did_you_mean(name, known, count);
    return hone_fail(HONE_ERR_USAGE, "hone help lists the commands", "unknown command '%.60s'%s%s%s", name,
                     near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

/* Errors: USAGE with the fix in the hint. Arguments are kept as pointers into argv: nothing is copied. */
hone_status hone_cli_parse(hone_cli *cli, hone_cli_request *request)
{
    parse p = {.cli = cli, .request = request};
    /* `--` lets a path begin with a dash. */
    bool flags = true;
    *request = HONE_CLI_WANTS_RUN;
    for (int at = 1; at < cli->argc; at++) {
        const char *arg = cli->argv[at];
        if (flags && strcmp(arg, "--") == 0) flags = false;
        else if (flags && arg[0] == '-' && arg[1]) HONE_TRY(parse_flag(&p, &at));
        else if (!cli->command) HONE_TRY(find_command(cli, arg));
        else cli->arg[cli->arg_count++] = arg;
    }
    return HONE_OK;
}

/* Apart from parsing, because --help needs no arguments. */
hone_status hone_cli_check_arguments(const hone_cli *cli)
{
    const hone_cli_command *c = cli->command;
    char hint[80];
    snprintf(hint, sizeof hint, "hone help %s shows examples", c->name);
    if (cli->arg_count < c->least)
        return hone_fail(HONE_ERR_USAGE, hint, "%s needs %s: hone %s %s", c->name,
                         c->least == 1 ? "an argument" : "more arguments", c->name, c->arguments);
    if (c->most >= 0 && cli->arg_count > c->most)
        return hone_fail(HONE_ERR_USAGE, hint, "%s: one argument too many: '%.60s'", c->name, cli->arg[c->most]);
    return HONE_OK;
}

/* Names are those of the command's table, so a typo in the source shows as a flag that is never set. */
const char *hone_cli_value(const hone_cli *cli, const char *flag)
{
    int k = find_flag(cli->command->flag, flag, strlen(flag));
    return k < 0 ? NULL : cli->value[k];
}

/* Range and wording are those of the global flags. */
hone_status hone_cli_int(const hone_cli *cli, const char *flag, int64_t least, int64_t most, int64_t *out)
{
    const char *value = hone_cli_value(cli, flag);
    return value ? hone_cli_parse_int(flag, value, least, most, out) : HONE_OK;
}

/* The page's own reader of numbers, so that 1e-3 means the same in both places: no hex, no "inf". */
hone_status hone_cli_positive(const hone_cli *cli, const char *flag, double *out)
{
    const char *text = hone_cli_value(cli, flag);
    if (!text) return HONE_OK;
    hone_yaml n = {.kind = HONE_YAML_SCALAR, .text = (char *)(uintptr_t)text};
    double v;
    if (!hone_yaml_float(&n, &v) || !(v > 0))
        return hone_fail(HONE_ERR_USAGE, NULL, "%s expects a number above 0, found '%s'", flag, text);
    *out = v;
    return HONE_OK;
}

/* "wx": looking first and opening then would leave a gap. */
hone_status hone_cli_save_new(const char *path, const char *text)
{
    FILE *f = fopen(path, "wx");
    if (!f)
        return hone_fail(errno == EEXIST ? HONE_ERR_USAGE : HONE_ERR_RUNTIME,
                         errno == EEXIST ? "name another file with -o, or remove it" : "check the path", "%s: %s", path,
                         strerror(errno));
    size_t n = strlen(text);
    bool ok = fprintf(f, n && text[n - 1] == '\n' ? "%s" : "%s\n", text) >= 0; /* whole lines, as editors want them */
    /* a full disk may show only here */
    ok = fclose(f) == 0 && ok;
    return ok ? HONE_OK : hone_fail(HONE_ERR_RUNTIME, "is the disk full?", "%s: could not be written", path);
}

/* Arguments behind the config are overrides; a second path there is a mistake, not ignored. `text`: the
 * page itself, then `path` is only its name; NULL: it is read from `path`. */
static hone_status read_config(const hone_cli *cli, const char *path, const char *text, int first, hone_config **out)
{
    char seed[48];
    const char **override = calloc((size_t)cli->arg_count + 1, sizeof *override);
    if (!override) return hone_fail(HONE_ERR_MEMORY, NULL, "no memory for the arguments");
    int count = 0;
    hone_status status = HONE_OK;
    for (int k = first; k < cli->arg_count && status == HONE_OK; k++) {
        if (!strchr(cli->arg[k], '='))
            status = hone_fail(HONE_ERR_USAGE, "overrides read key.sub=value", "%s: '%.60s' is no override",
                               cli->command->name, cli->arg[k]);
        override[count++] = cli->arg[k];
    }
    if (cli->seed_given) { /* as an override, so that the origin in resolved.yaml is told */
        snprintf(seed, sizeof seed, "train.seed=%lld", (long long)cli->seed);
        override[count++] = seed;
    }
    if (status == HONE_OK)
        status = text ? hone_config_read_text(path, text, override, count, out)
                      : hone_config_read(path, override, count, out);
    free(override);
    return status;
}

hone_status hone_cli_config(const hone_cli *cli, const char *path, int first, hone_config **out)
{
    return read_config(cli, path, NULL, first, out);
}

hone_status hone_cli_config_text(const hone_cli *cli, const char *name, const char *text, int first, hone_config **out)
{
    return read_config(cli, name, text, first, out);
}
