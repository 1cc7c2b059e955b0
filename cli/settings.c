#include "cli/settings.h"
#include "base/check.h"
#include "base/env.h"
#include "base/text.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind {
    TEXT,
    PATH,
    ADDRESS,
    BOOL,
    COUNT,
    COUNT0,
    KEPT,
    BYTES,
    DURATION,
    DURATION0,
    LEVEL,
    RESTART,
    FACTOR,
    THREADS
};

/* One row of settings.def. Const. */
typedef struct row {
    const char *key, *flag;
    uint32_t    groups;
    enum kind   kind;
    const char *value, *takes, *help;
} row;

static const row ROWS[WR_SETTINGS] = {
#define X(NAME, KEY, FLAG, GROUP, KIND, DEFAULT, VALUE, HELP)                                                          \
    [WR_SET_##NAME] = {KEY, FLAG, GROUP, KIND, DEFAULT, VALUE, HELP},
#include "cli/settings.def"
#undef X
};

const char *wr_setting_key(wr_setting s)
{
    return ROWS[s].key;
}

const char *wr_setting_flag(wr_setting s)
{
    return ROWS[s].flag != NULL ? ROWS[s].flag : ROWS[s].key;
}

const char *wr_setting_help(wr_setting s)
{
    return ROWS[s].help;
}

const char *wr_setting_default(wr_setting s)
{
    return ROWS[s].value;
}

const char *wr_setting_takes(wr_setting s)
{
    return ROWS[s].takes;
}

uint32_t wr_setting_groups(wr_setting s)
{
    return ROWS[s].groups;
}

void wr_setting_variable(wr_setting s, char to[64])
{
    size_t n = (size_t)snprintf(to, 64, "WEIR_%s", ROWS[s].key);
    for (size_t i = 0; i < n; i++) to[i] = to[i] == '-' ? '_' : (char)toupper((unsigned char)to[i]);
}

int wr_setting_find(const char *key)
{
    for (int i = 0; i < WR_SETTINGS; i++)
        if (strcmp(ROWS[i].key, key) == 0) return i;
    return -1;
}

/* ---- checks ---- */

static const char *const STRATEGIES[] = {"none", "fixed", "exponential", "failure-rate"};
static const char *const LEVELS[] = {"error", "warn", "info", "debug", "trace"};

static bool one_of(const char *text, const char *const list[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, list[i]) == 0) return true;
    return false;
}

/* HOST:PORT, [V6]:PORT. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t    port = 0;
    if (colon == NULL || colon == text || !isdigit((unsigned char)colon[1])) return false;
    for (const char *c = text; c < colon; c++)
        if (*c == '/' || *c == ' ' || (*c == ':' && text[0] != '[')) return false;
    return wr_text_to_u64(colon + 1, strlen(colon + 1), &port) && port <= 65535;
}

static bool to_factor(const char *text, uint32_t *permille)
{
    double f = 0;
    if (!wr_text_to_f64(text, strlen(text), &f) || !(f >= 1 && f <= 100)) return false;
    *permille = (uint32_t)(f * 1000 + 0.5);
    return true;
}

/* NULL: it is a value; else what would be one. */
static const char *wanted(enum kind kind, const char *text)
{
    size_t   n = strlen(text);
    uint64_t number = 0;
    int64_t  ns = 0;
    uint32_t permille;
    bool     on;
    if (n == 0 || n >= WR_PATH_BYTES_MAX) return "a value of less than 4096 bytes";
    switch (kind) {
    case TEXT: return n < WR_NAME_BYTES_MAX ? NULL : "a text of less than 128 bytes";
    case PATH: return NULL;
    case ADDRESS: return is_address(text) ? NULL : "an address: HOST:PORT";
    case BOOL: return wr_text_to_bool(text, n, &on) ? NULL : "yes or no";
    case COUNT:
    case COUNT0:
        return wr_text_to_u64(text, n, &number) && number <= WR_SLOTS_MAX && (number > 0 || kind == COUNT0) ? NULL
               : kind == COUNT ? "a number from 1 to 256"
                               : "a number from 0 to 256";
    case KEPT:
        return wr_text_to_u64(text, n, &number) && number > 0 && number <= WR_SNAPSHOTS_KEEP_MAX
                   ? NULL
                   : "a number from 1 to 64";
    case BYTES: return wr_text_to_size(text, n, &number) && number > 0 ? NULL : "a size (65536, 512MiB, 4GiB)";
    case DURATION:
    case DURATION0:
        return wr_text_to_duration(text, n, &ns) && (ns > 0 || (ns == 0 && kind == DURATION0))
                   ? NULL
                   : "a time (500ms, 10s, 5m)";
    case LEVEL: return one_of(text, LEVELS, 5) ? NULL : "error, warn, info, debug or trace";
    case RESTART: return one_of(text, STRATEGIES, 4) ? NULL : "none, fixed, exponential or failure-rate";
    case THREADS:
        return strcmp(text, "auto") == 0 || (wr_text_to_u64(text, n, &number) && number <= WR_SLOTS_MAX)
                   ? NULL
                   : "auto or a number to 256";
    case FACTOR: return to_factor(text, &permille) ? NULL : "a factor from 1 to 100";
    }
    return NULL;
}
_Static_assert(WR_SLOTS_MAX == 256 && WR_SNAPSHOTS_KEEP_MAX == 64 && WR_PATH_BYTES_MAX == 4096 &&
                   WR_NAME_BYTES_MAX == 128,
               "the texts above say so");

wr_err wr_setting_check(wr_setting s, const char *text, const char *where, wr_errinfo *info)
{
    const char *want = wanted(ROWS[s].kind, text);
    if (want == NULL) return WR_OK;
    /* A flag is wrong use, anything else a wrong configuration. */
    return wr_fail(info, where[0] == '-' ? WR_USAGE : WR_CONFIG, "%s takes %s, not \"%.200s\"", where, want, text);
}

/* ---- reading ---- */

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r", text[n - 1]) != NULL) text[--n] = 0;
    return text;
}

/* The key that may be meant, or NULL. */
static const char *near_key(const char *key)
{
    const char *keys[WR_SETTINGS];
    for (int i = 0; i < WR_SETTINGS; i++) keys[i] = ROWS[i].key;
    const char *near = wr_did_you_mean(key, keys, WR_SETTINGS);
    for (int i = 0; i < WR_SETTINGS && near == NULL; i++) /* the name of a flag */
        if (ROWS[i].flag != NULL && strcmp(ROWS[i].flag, key) == 0) near = keys[i];
    return near;
}

static wr_err unknown_key(const char *key, const char *path, uint32_t line, wr_errinfo *info)
{
    const char *near = near_key(key);
    if (near != NULL)
        return wr_fail(info, WR_CONFIG, "unknown key: %.100s; %s:%u; did you mean %s?", key, path, line, near);
    return wr_fail(info, WR_CONFIG, "unknown key: %.100s; %s:%u; `weir config` lists them", key, path, line);
}

static wr_err take_line(wr_settings *s, char *text, const char *path, uint32_t line, uint32_t source, wr_errinfo *info)
{
    char *equals = strchr(text, '='), where[WR_PATH_BYTES_MAX + 256];
    if (equals == NULL) return wr_fail(info, WR_CONFIG, "not KEY = VALUE: %.100s; %s:%u", text, path, line);
    *equals = 0;
    const char *key = trim(text), *value = trim(equals + 1);
    int         i = wr_setting_find(key);
    if (i < 0) return unknown_key(key, path, line, info);
    snprintf(where, sizeof where, "%s (%s:%u)", key, path, line);
    WR_TRY(wr_setting_check((wr_setting)i, value, where, info));
    if (s->source[i] == source)
        return wr_fail(info, WR_CONFIG, "%s is given twice; %s:%u and line %u", key, path, line, s->line[i]);
    if (s->source[i] > source) return WR_OK;
    s->value[i] = value;
    s->source[i] = (uint8_t)source;
    s->line[i] = line;
    return WR_OK;
}

wr_err wr_settings_parse(wr_settings *s, char *text, const char *path, uint32_t source, wr_errinfo *info)
{
    uint32_t line = 0;
    for (char *next; text != NULL; text = next) {
        next = strchr(text, '\n');
        if (next != NULL) *next++ = 0;
        line++;
        char *at = trim(text);
        if (at[0] == 0 || at[0] == '#') continue;
        WR_TRY(take_line(s, at, path, line, source, info));
    }
    return WR_OK;
}

/* *text: the file's content with a zero byte behind it; NULL when it is not there. */
static wr_err read_file(const char *path, char **text, wr_errinfo *info)
{
    *text = NULL;
    FILE *file = fopen(path, "re");
    if (file == NULL) return errno == ENOENT ? WR_OK : wr_fail_errno(info, errno, "cannot read %s", path);
    char  *to = malloc(WR_CONFIG_BYTES_MAX + 1);
    size_t n = to != NULL ? fread(to, 1, WR_CONFIG_BYTES_MAX + 1, file) : 0;
    bool   whole = to != NULL && ferror(file) == 0;
    fclose(file);
    if (to == NULL) return wr_fail(info, WR_MEMORY, "no memory to read %s", path);
    if (!whole || n > WR_CONFIG_BYTES_MAX || memchr(to, 0, n) != NULL) {
        free(to);
        return wr_fail(info, WR_CONFIG, "%s is no configuration file: lines KEY = VALUE, at most %d bytes", path,
                       WR_CONFIG_BYTES_MAX);
    }
    to[n] = 0;
    *text = to;
    return WR_OK;
}

static wr_err read_configuration(wr_settings *s, const char *config, wr_errinfo *info)
{
    const char *named = config != NULL ? config : getenv("WEIR_CONFIG"), *home = getenv("XDG_CONFIG_HOME");
    if (named != NULL) {
        if (named[0] == 0) return WR_OK; /* none is wanted */
        WR_TRY(read_file(named, &s->bytes[0], info));
        if (s->bytes[0] == NULL) return wr_fail(info, WR_NOT_FOUND, "there is no configuration file %s", named);
        snprintf(s->file, sizeof s->file, "%s", named);
        return wr_settings_parse(s, s->bytes[0], s->file, WR_FROM_FILE, info);
    }
    if (home != NULL && home[0] == '/')
        snprintf(s->file, sizeof s->file, "%s/weir/weir.conf", home);
    else if (getenv("HOME") != NULL)
        snprintf(s->file, sizeof s->file, "%s/.config/weir/weir.conf", getenv("HOME"));
    if (s->file[0] != 0) WR_TRY(read_file(s->file, &s->bytes[0], info));
    if (s->bytes[0] == NULL) {
        snprintf(s->file, sizeof s->file, "/etc/weir/weir.conf");
        WR_TRY(read_file(s->file, &s->bytes[0], info));
    }
    if (s->bytes[0] != NULL) return wr_settings_parse(s, s->bytes[0], s->file, WR_FROM_FILE, info);
    s->file[0] = 0;
    return WR_OK;
}

/* Variables that are no settings: of the program, of its workers, and of its tests. */
static bool known_variable(const char *name, size_t n)
{
    static const char *const OTHERS[] = {
        "CONFIG",  "IO",     "FAILPOINT",      "PATIENCE",   "SANITIZE",          "GOLDEN", "SEEDS", "BUILD",
        "VERBOSE", "PLACES", "WORKER_HANG_MS", "WORKER_LOG", "WORKER_FILES_GROUP"};
    const char *own = name + sizeof "WEIR_" - 1;
    for (size_t i = 0; i < sizeof OTHERS / sizeof OTHERS[0]; i++)
        if (strlen(OTHERS[i]) + sizeof "WEIR_" - 1 == n && strncmp(own, OTHERS[i], strlen(OTHERS[i])) == 0) return true;
    for (int i = 0; i < WR_SETTINGS; i++) {
        char key[64];
        wr_setting_variable((wr_setting)i, key);
        if (strlen(key) == n && strncmp(key, name, n) == 0) return true;
    }
    return false;
}

static wr_err unknown_variable(const char *name, size_t n, wr_errinfo *info)
{
    char word[64], variable[64];
    snprintf(word, sizeof word, "%.*s", (int)(n < 60 ? n : 60), name);
    for (char *c = word; *c != 0; c++) *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    const char *near = near_key(word + sizeof "WEIR_" - 1);
    if (near == NULL)
        return wr_fail(info, WR_CONFIG,
                       "unknown variable: %.*s; no setting is called so, and names that begin with WEIR_ are Weir's; "
                       "`weir config` lists them",
                       (int)(n < 100 ? n : 100), name);
    wr_setting_variable((wr_setting)wr_setting_find(near), variable);
    return wr_fail(info, WR_CONFIG, "unknown variable: %.*s; did you mean %s?", (int)(n < 100 ? n : 100), name,
                   variable);
}

/* What is spelled wrong must not be silently without effect: as in the file. Empty ones say nothing. */
static wr_err check_names(wr_errinfo *info)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, "WEIR_", 5) != 0 || equals == NULL || equals[1] == 0) continue;
        size_t n = (size_t)(equals - *at);
        if (!known_variable(*at, n)) return unknown_variable(*at, n, info);
    }
    return WR_OK;
}

static wr_err read_environment(wr_settings *s, wr_errinfo *info)
{
    WR_TRY(check_names(info));
    for (int i = 0; i < WR_SETTINGS; i++) {
        char name[64];
        wr_setting_variable((wr_setting)i, name);
        const char *value = getenv(name);
        if (value == NULL || value[0] == 0 || s->source[i] > WR_FROM_VARIABLE) continue;
        WR_TRY(wr_setting_check((wr_setting)i, value, name, info));
        s->value[i] = value;
        s->source[i] = WR_FROM_VARIABLE;
    }
    return WR_OK;
}

wr_err wr_settings_load(wr_settings *s, const char *config, bool cluster, wr_errinfo *info)
{
    WR_TRY(read_environment(s, info));
    WR_TRY(read_configuration(s, config, info));
    char       folder[WR_PATH_BYTES_MAX];
    wr_errinfo none = {0};
    if (!cluster) return WR_OK;
    if (wr_cluster_dir(s, folder, &none) != WR_OK) return WR_OK; /* no home: no cluster of ours either */
    if (snprintf(s->cluster, sizeof s->cluster, "%s/client.conf", folder) >= (int)sizeof s->cluster) return WR_OK;
    WR_TRY(read_file(s->cluster, &s->bytes[1], info));
    if (s->bytes[1] == NULL) {
        s->cluster[0] = 0;
        return WR_OK;
    }
    return wr_settings_parse(s, s->bytes[1], s->cluster, WR_FROM_CLUSTER, info);
}

void wr_settings_free(wr_settings *s)
{
    for (int i = 0; i < 2; i++) free(s->bytes[i]);
    memset(s, 0, sizeof *s);
}

/* ---- values ---- */

const char *wr_setting_text(const wr_settings *s, wr_setting which)
{
    return s->value[which] != NULL ? s->value[which] : ROWS[which].value;
}

bool wr_setting_given(const wr_settings *s, wr_setting which)
{
    return s->source[which] != WR_FROM_DEFAULT;
}

int64_t wr_setting_ms(const wr_settings *s, wr_setting which)
{
    const char *text = wr_setting_text(s, which);
    int64_t     ns = 0;
    check(text[0] == 0 || wr_text_to_duration(text, strlen(text), &ns));
    return ns > 0 && ns < 1000000 ? 1 : ns / 1000000;
}

uint64_t wr_setting_bytes(const wr_settings *s, wr_setting which)
{
    const char *text = wr_setting_text(s, which);
    uint64_t    bytes = 0;
    check(text[0] == 0 || wr_text_to_size(text, strlen(text), &bytes));
    return bytes;
}

uint32_t wr_setting_count(const wr_settings *s, wr_setting which)
{
    const char *text = wr_setting_text(s, which);
    uint64_t    n = 0;
    check(text[0] == 0 || wr_text_to_u64(text, strlen(text), &n));
    return (uint32_t)n;
}

uint32_t wr_setting_threads(const wr_settings *s, wr_setting which, uint32_t cpus, uint32_t slots)
{
    if (strcmp(wr_setting_text(s, which), "auto") == 0) return cpus > slots ? cpus - slots : 0;
    return wr_setting_count(s, which);
}

bool wr_setting_on(const wr_settings *s, wr_setting which)
{
    const char *text = wr_setting_text(s, which);
    bool        on = false;
    check(text[0] == 0 || wr_text_to_bool(text, strlen(text), &on));
    return on;
}

uint32_t wr_setting_permille(const wr_settings *s, wr_setting which)
{
    uint32_t permille = 0;
    check(to_factor(wr_setting_text(s, which), &permille));
    return permille;
}
