#include "cli/options.h"
#include "base/check.h"
#include "base/text.h"
#include "cli/child.h"
#include "cli/lines.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG_BOOL, FLAG_NUMBER, FLAG_TEXT, FLAG_LIST };

typedef struct flag {
    char        key;    /* in wr_verb.flags */
    char        letter; /* -q; 0: none */
    enum kind   kind;
    const char *name, *value, *help;
    size_t      offset; /* in wr_options */
} flag;

#define AT(MEMBER) offsetof(wr_options, MEMBER)
/* Flags that are no setting; those are rows of settings.def. */
static const flag FLAGS[] = {
    {'s', 0, FLAG_LIST, "set", "NAME=URI", "replace the URI of the source or sink NAME; may be given often", AT(set)},
    {'j', 0, FLAG_BOOL, "json", NULL, "print for programs", AT(json)},
    {'P', 0, FLAG_TEXT, "pin", "off|auto|LIST",
     "threads to CPUs: not, where each CPU has one, or as listed (0,2-5); default auto", AT(pin)},
    {'q', 'q', FLAG_BOOL, "quiet", NULL, "no progress and no summary", AT(quiet)},
    {'c', 0, FLAG_LIST, "connector", "FILE.so", "load the connector of a third party; may be given often",
     AT(connector)},
    {'o', 'o', FLAG_TEXT, "output", "FILE.so", "where to put the pipeline; default: beside the source", AT(output)},
    {'d', 0, FLAG_TEXT, "snapshots", "DIR", "take snapshots into DIR, and go on where the newest one there was",
     AT(snapshots)},
    {'F', 0, FLAG_BOOL, "fresh", NULL, "start anew, whatever DIR has", AT(fresh)},
    {'r', 0, FLAG_TEXT, "restore", "PATH", "start from this snapshot or savepoint; of submit also: latest",
     AT(restore)},
    {'A', 0, FLAG_BOOL, "allow-non-restored-state", NULL, "drop state of operators that the pipeline does not have",
     AT(allow_non_restored)},
    {'V', 0, FLAG_TEXT, "savepoint", "DIR", "write a savepoint of the last state into DIR", AT(savepoint)},
    {'D', 0, FLAG_BOOL, "drain", NULL, "first move time to its end, so that every window and timer fires", AT(drain)},
    {'C', 0, FLAG_BOOL, "check", NULL, "only say what would happen", AT(check)},
    {'n', 'n', FLAG_TEXT, "name", "NAME", "of the job; default: the pipeline's", AT(name)},
    {'b', 'd', FLAG_BOOL, "detached", NULL, "return when the job was taken on; otherwise: when it has ended",
     AT(detached)},
    {'f', 0, FLAG_LIST, "file", "FILE", "ship this file: user code opens it by its bare name; may be given often",
     AT(ship)},
    {'w', 'f', FLAG_BOOL, "follow", NULL, "go on with what comes", AT(follow)},
    {'u', 0, FLAG_BOOL, "undo", NULL, "take work again", AT(undo)},
    {'W', 0, FLAG_BOOL, "wait", NULL, "wait for slots that are not there yet; the job goes on meanwhile", AT(wait)},
    {'t', 0, FLAG_NUMBER, "taskmanagers", "N", "how many TaskManagers; default 1", AT(taskmanagers)},
    {'y', 0, FLAG_NUMBER, "parallelism-default", "N", "for graph-here", AT(parallelism_default)},
    {'z', 0, FLAG_NUMBER, "slots", "N", "slots of each; default 2", AT(slots)},
};
enum { FLAG_COUNT_ALL = sizeof FLAGS / sizeof FLAGS[0], NAMES_MAX = FLAG_COUNT_ALL + WR_SETTINGS };

/* Settings that wr_options has as numbers, too. */
static const struct shown {
    wr_setting setting;
    size_t     offset;
    enum { SHOWN_COUNT, SHOWN_BYTES, SHOWN_NS, SHOWN_TEXT } kind;
} SHOWN[] = {
    {WR_SET_PARALLELISM, AT(parallelism), SHOWN_COUNT},
    {WR_SET_STATE_MAX, AT(state_max), SHOWN_BYTES},
    {WR_SET_LOG, AT(log), SHOWN_TEXT},
    {WR_SET_SNAPSHOT_INTERVAL, AT(snapshot_interval_ns), SHOWN_NS},
    {WR_SET_SNAPSHOT_TIMEOUT, AT(snapshot_timeout_ns), SHOWN_NS},
    {WR_SET_SNAPSHOTS_KEEP, AT(snapshots_keep), SHOWN_COUNT},
    {WR_SET_TIMEOUT, AT(timeout_ns), SHOWN_NS},
};
enum { SHOWN_ALL = sizeof SHOWN / sizeof SHOWN[0] };

static bool takes(const wr_verb *verb, const flag *f)
{
    return strchr(verb->flags, f->key) != NULL;
}

static bool takes_setting(const wr_verb *verb, int setting)
{
    return (verb->groups & wr_setting_groups((wr_setting)setting)) != 0;
}

static char letter_of(int setting)
{
    return setting == WR_SET_PARALLELISM ? 'p' : 0;
}

/* ---- help ---- */

static void print_flag(FILE *file, char letter, const char *name, const char *value, const char *help,
                       const char *standard)
{
    char left[80];
    int  n = letter == 0 ? snprintf(left, sizeof left, "      --%s", name)
                         : snprintf(left, sizeof left, "  -%c, --%s", letter, name);
    if (value != NULL) snprintf(left + n, sizeof left - (size_t)n, " %s", value);
    fprintf(file, "%-32s %s%s%s\n", left, help, standard[0] != 0 ? "; default " : "", standard);
}

static void print_flags(FILE *file, const wr_verb *verb)
{
    for (int i = 0; i < FLAG_COUNT_ALL; i++) {
        const flag *f = &FLAGS[i];
        if (takes(verb, f)) print_flag(file, f->letter, f->name, f->value, f->help, "");
    }
    for (int i = 0; i < WR_SETTINGS; i++) {
        wr_setting s = (wr_setting)i;
        if (!takes_setting(verb, i)) continue;
        print_flag(file, letter_of(i), wr_setting_flag(s), wr_setting_takes(s), wr_setting_help(s),
                   wr_setting_takes(s) != NULL ? wr_setting_default(s) : "");
    }
    if (verb->groups != 0)
        print_flag(file, 0, "config", "FILE", "the configuration file; `weir help config` says which one otherwise",
                   "");
}

static void print_verb(FILE *file, const wr_verb *verb)
{
    fprintf(file, "usage: weir %s %s\n%s\n", verb->name, verb->synopsis, verb->summary);
    if (verb->help[0] != 0) fprintf(file, "\n%s\n", verb->help);
    if (verb->flags[0] != 0 || verb->groups != 0) fputs("\n", file);
    print_flags(file, verb);
}

static void print_usage(FILE *file)
{
    fputs("usage: weir VERB [ARGUMENTS]\n", file);
    for (uint32_t i = 0; i < wr_verbs; i++)
        if (!wr_verb_at[i].hidden) fprintf(file, "  %-11s %s\n", wr_verb_at[i].name, wr_verb_at[i].summary);
    fputs("`weir help VERB` shows its flags; weir(1) has the exit codes.\n", file);
}

int wr_cli_help(const wr_options *options)
{
    if (options->file == NULL) {
        print_usage(stdout);
        return WR_EXIT_OK;
    }
    wr_errinfo     info = {0};
    const wr_verb *verb = wr_verb_find(options->file, &info);
    if (verb == NULL) return wr_cli_fail(&info);
    print_verb(stdout, verb);
    return WR_EXIT_OK;
}

/* ---- parse ---- */

const wr_verb *wr_verb_find(const char *name, wr_errinfo *info)
{
    const char *names[WR_VERBS_MAX];
    check(wr_verbs <= WR_VERBS_MAX);
    for (uint32_t i = 0; i < wr_verbs; i++) {
        if (strcmp(wr_verb_at[i].name, name) == 0) return &wr_verb_at[i];
        names[i] = wr_verb_at[i].hidden ? NULL : wr_verb_at[i].name;
    }
    const char *near = wr_did_you_mean(name, names, wr_verbs);
    if (near != NULL)
        wr_fail(info, WR_USAGE, "unknown verb: %s; did you mean `weir %s`?", name, near);
    else
        wr_fail(info, WR_USAGE, "unknown verb: %s; `weir help` lists them", name);
    return NULL;
}

static bool is_name(const char *name, const char *text, size_t n)
{
    return strlen(name) == n && memcmp(name, text, n) == 0;
}

/* A flag by its text behind the dashes: n bytes. */
static const flag *find_flag(const wr_verb *verb, const char *text, size_t n, bool wordy)
{
    for (int i = 0; i < FLAG_COUNT_ALL; i++) {
        const flag *f = &FLAGS[i];
        if (takes(verb, f) && (wordy ? is_name(f->name, text, n) : f->letter == text[0])) return f;
    }
    return NULL;
}

static int find_setting(const wr_verb *verb, const char *text, size_t n, bool wordy)
{
    for (int i = 0; i < WR_SETTINGS; i++) {
        if (!takes_setting(verb, i)) continue;
        if (wordy ? is_name(wr_setting_flag((wr_setting)i), text, n) : letter_of(i) == text[0]) return i;
    }
    return -1;
}

static wr_err unknown_flag(const wr_verb *verb, const char *text, size_t n, wr_errinfo *info)
{
    const char *names[NAMES_MAX];
    char        word[64];
    snprintf(word, sizeof word, "%.*s", (int)(n < 60 ? n : 60), text);
    for (int i = 0; i < FLAG_COUNT_ALL; i++) names[i] = takes(verb, &FLAGS[i]) ? FLAGS[i].name : NULL;
    for (int i = 0; i < WR_SETTINGS; i++)
        names[FLAG_COUNT_ALL + i] = takes_setting(verb, i) ? wr_setting_flag((wr_setting)i) : NULL;
    const char *bare = word + strspn(word, "-");
    const char *near = strlen(bare) > 1 ? wr_did_you_mean(bare, names, NAMES_MAX) : NULL;
    if (near != NULL)
        return wr_fail(info, WR_USAGE, "unknown flag of `weir %s`: %s; did you mean --%s?", verb->name, word, near);
    return wr_fail(info, WR_USAGE, "unknown flag of `weir %s`: %s; `weir help %s` lists its flags", verb->name, word,
                   verb->name);
}

static wr_err store(wr_options *options, const flag *f, const char *value, wr_errinfo *info)
{
    char    *to = (char *)options + f->offset;
    uint64_t number = 0;
    switch (f->kind) {
    case FLAG_BOOL: *(bool *)to = true; break;
    case FLAG_NUMBER:
        if (!wr_text_to_u64(value, strlen(value), &number) || number == 0 || number > WR_SLOTS_MAX)
            return wr_fail(info, WR_USAGE, "--%s takes a number from 1 to %d, not \"%s\"", f->name, WR_SLOTS_MAX,
                           value);
        *(uint32_t *)(void *)to = (uint32_t)number;
        break;
    case FLAG_TEXT: *(const char **)(void *)to = value; break;
    case FLAG_LIST: {
        wr_texts *list = (wr_texts *)(void *)to;
        if (list->count == WR_CLI_LIST_MAX)
            return wr_fail(info, WR_USAGE, "--%s is given more than %d times", f->name, WR_CLI_LIST_MAX);
        list->text[list->count++] = value;
        break;
    }
    }
    return WR_OK;
}

/* From the checked texts of settings to the members that show them. */
static void show(wr_options *o, wr_setting setting)
{
    for (int i = 0; i < SHOWN_ALL; i++) {
        if (SHOWN[i].setting != setting) continue;
        char       *to = (char *)o + SHOWN[i].offset;
        const char *text = wr_setting_text(&o->settings, setting);
        switch (SHOWN[i].kind) {
        case SHOWN_COUNT: *(uint32_t *)(void *)to = wr_setting_count(&o->settings, setting); break;
        case SHOWN_BYTES: *(uint64_t *)(void *)to = wr_setting_bytes(&o->settings, setting); break;
        case SHOWN_NS: check(wr_text_to_duration(text, strlen(text), (int64_t *)(void *)to)); break;
        case SHOWN_TEXT: *(const char **)(void *)to = text; break;
        }
    }
}

static wr_err store_setting(wr_options *o, int setting, const char *value, wr_errinfo *info)
{
    char where[80];
    snprintf(where, sizeof where, "--%s", wr_setting_flag((wr_setting)setting));
    WR_TRY(wr_setting_check((wr_setting)setting, value, where, info));
    o->settings.value[setting] = value;
    o->settings.source[setting] = WR_FROM_FLAG;
    show(o, (wr_setting)setting);
    return WR_OK;
}

/* One flag; *i is the index of its argument and moves on when the value is an argument of its own. */
static wr_err parse_flag(wr_options *options, const wr_verb *verb, int argc, char *const argv[], int *i,
                         wr_errinfo *info)
{
    const char *arg = argv[*i], *value = NULL;
    bool        wordy = arg[1] == '-';
    const char *text = arg + (wordy ? 2 : 1);
    size_t      n = wordy ? strcspn(text, "=") : 1;
    const flag *f = find_flag(verb, text, n, wordy);
    int         setting = f == NULL ? find_setting(verb, text, n, wordy) : -1;
    bool        config = verb->groups != 0 && wordy && is_name("config", text, n);
    if (f == NULL && setting < 0 && !config) return unknown_flag(verb, arg, wordy ? n + 2 : strlen(arg), info);
    const char *name = f != NULL ? f->name : config ? "config" : wr_setting_flag((wr_setting)setting);
    const char *wants = f != NULL ? f->value : config ? "FILE" : wr_setting_takes((wr_setting)setting);
    if (wordy && text[n] == '=') value = text + n + 1;
    if (!wordy && text[1] != 0) value = text + 1 + (text[1] == '=');
    if (wants == NULL) {
        if (value != NULL) return wr_fail(info, WR_USAGE, "--%s takes no value: %s", name, arg);
        return f != NULL ? store(options, f, NULL, info) : store_setting(options, setting, "yes", info);
    }
    if (value == NULL && *i + 1 < argc) value = argv[++*i];
    if (value == NULL || value[0] == 0) return wr_fail(info, WR_USAGE, "--%s needs a value: %s", name, wants);
    if (config) {
        options->config = value;
        return WR_OK;
    }
    return f != NULL ? store(options, f, value, info) : store_setting(options, setting, value, info);
}

/* The key of a state, for one. No flag has a digit for its letter. */
static bool is_negative_number(const char *arg)
{
    return arg[0] == '-' && arg[1] >= '0' && arg[1] <= '9';
}

static wr_err take_word(wr_options *options, const wr_verb *verb, uint32_t *words, const char *arg, wr_errinfo *info)
{
    const char **place[] = {&options->file, &options->second, &options->third, &options->fourth};
    if (*words == verb->files_max) {
        const char *hint = verb->takes_rest && strchr(arg, '=') ? "; arguments of the pipeline stand behind --" : "";
        return wr_fail(info, WR_USAGE, "one argument too many: %s%s; usage: weir %s %s", arg, hint, verb->name,
                       verb->synopsis);
    }
    *place[(*words)++] = arg;
    return WR_OK;
}

wr_err wr_options_parse(wr_options *options, const wr_verb *verb, int argc, char *const argv[], bool *help,
                        wr_errinfo *info)
{
    memset(options, 0, sizeof *options);
    *help = false;
    uint32_t files = 0;
    int      i = 0;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            *help = true;
            return WR_OK;
        }
        bool word = arg[0] != '-' || arg[1] == 0 || (is_negative_number(arg) && files < verb->files_max);
        WR_TRY(word ? take_word(options, verb, &files, arg, info) : parse_flag(options, verb, argc, argv, &i, info));
    }
    if (i < argc && verb->takes_rest) {
        options->rest = (const char *const *)argv + i + 1;
        options->rests = (uint32_t)(argc - i - 1);
    } else {
        while (++i < argc) WR_TRY(take_word(options, verb, &files, argv[i], info)); /* -- ends the flags */
    }
    if (files < verb->files_min)
        return wr_fail(info, WR_USAGE, "which one? usage: weir %s %s", verb->name, verb->synopsis);
    return WR_OK;
}

int wr_cli_fail(const wr_errinfo *info)
{
    check(info->code != WR_OK);
    fflush(stdout);
    wr_err_print(stderr, info);
    return wr_err_exit(info->code);
}

static wr_err load(wr_options *options, const wr_verb *verb, wr_errinfo *info)
{
    WR_TRY(wr_settings_load(&options->settings, options->config, strcmp(verb->name, "jobmanager") != 0, info));
    for (int i = 0; i < SHOWN_ALL; i++)
        if (wr_setting_given(&options->settings, SHOWN[i].setting)) show(options, SHOWN[i].setting);
    return WR_OK;
}

/* What is printed to a full disk is not printed, whatever the verb. */
static int all_is_printed(int exit_code)
{
    wr_errinfo info = {0};
    errno = 0;
    bool good = fflush(stdout) == 0 && ferror(stdout) == 0;
    bool went_well = exit_code == WR_EXIT_OK || exit_code == WR_CHILD_CHECKED;
    if (good || !went_well) return exit_code;
    if (errno != 0)
        wr_fail_errno(&info, errno, "cannot write to standard output");
    else
        wr_fail(&info, WR_IO, "cannot write to standard output: it did not take all"); /* why is long forgotten */
    return wr_cli_fail(&info);
}

int wr_cli_main(int argc, char *const argv[])
{
    wr_errinfo info = {0};
    wr_options options;
    bool       help = false;
    if (argc < 2) {
        print_usage(stderr);
        return WR_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    if (strcmp(name, wr_cli_lines_program[1]) == 0) return wr_cli_lines(argc - 2, argv + 2);
    const wr_verb *verb = wr_verb_find(name, &info);
    if (verb == NULL) return wr_cli_fail(&info);
    if (wr_options_parse(&options, verb, argc - 2, argv + 2, &help, &info) != WR_OK) return wr_cli_fail(&info);
    if (help) {
        print_verb(stdout, verb);
        return all_is_printed(WR_EXIT_OK);
    }
    if (verb->groups != 0 && load(&options, verb, &info) != WR_OK) {
        wr_settings_free(&options.settings);
        return wr_cli_fail(&info);
    }
    int exit_code = verb->run(&options);
    wr_settings_free(&options.settings);
    return all_is_printed(exit_code);
}
