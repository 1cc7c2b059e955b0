#include "cli/options.h"
#include "base/check.h"
#include "base/text.h"
#include "cli/lines.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG_BOOL, FLAG_COUNT, FLAG_BYTES, FLAG_DURATION, FLAG_TEXT, FLAG_LIST };

typedef struct flag {
    char        key; /* in wr_verb.flags; also the short flag unless `wordy` */
    bool        wordy;
    enum kind   kind;
    const char *name, *value, *help;
    size_t      offset; /* in wr_options */
} flag;

#define AT(MEMBER) offsetof(wr_options, MEMBER)
static const flag FLAGS[] = {
    {'p', false, FLAG_COUNT, "parallelism", "N", "subtasks of operators that do not say; without it: the usable CPUs",
     AT(parallelism)},
    {'s', true, FLAG_LIST, "set", "NAME=URI", "replace the URI of the source or sink NAME; may be given often",
     AT(set)},
    {'j', true, FLAG_BOOL, "json", NULL, "print for programs", AT(json)},
    {'P', true, FLAG_TEXT, "pin", "off|auto|LIST",
     "threads to CPUs: not, where each CPU has one, or as listed (0,2-5); default auto", AT(pin)},
    {'S', true, FLAG_BYTES, "state-max", "BYTES", "bound of all keyed state (512MiB, 4GiB); without it: none",
     AT(state_max)},
    {'q', false, FLAG_BOOL, "quiet", NULL, "no progress and no summary", AT(quiet)},
    {'c', true, FLAG_LIST, "connector", "FILE.so", "load the connector of a third party; may be given often",
     AT(connector)},
    {'l', true, FLAG_TEXT, "log", "LEVEL", "error, warn, info, debug or trace; default warn", AT(log)},
    {'o', false, FLAG_TEXT, "output", "FILE.so", "where to put the pipeline; default: beside the source", AT(output)},
    {'d', true, FLAG_TEXT, "snapshots", "DIR", "take snapshots into DIR, and go on where the newest one there was",
     AT(snapshots)},
    {'i', true, FLAG_DURATION, "snapshot-interval", "TIME", "between two snapshots (500ms, 10s, 5m); default 10s",
     AT(snapshot_interval_ns)},
    {'t', true, FLAG_DURATION, "snapshot-timeout", "TIME", "a snapshot that takes longer fails; default 10m",
     AT(snapshot_timeout_ns)},
    {'k', true, FLAG_COUNT, "snapshots-keep", "N", "snapshots that stay in DIR; default 3", AT(snapshots_keep)},
    {'F', true, FLAG_BOOL, "fresh", NULL, "start anew, whatever DIR has", AT(fresh)},
    {'r', true, FLAG_TEXT, "restore", "PATH", "start from this snapshot or savepoint", AT(restore)},
    {'A', true, FLAG_BOOL, "allow-non-restored-state", NULL, "drop state of operators that the pipeline does not have",
     AT(allow_non_restored)},
    {'V', true, FLAG_TEXT, "savepoint", "DIR", "write a savepoint of the last state into DIR", AT(savepoint)},
    {'D', true, FLAG_BOOL, "drain", NULL, "first move time to its end, so that every window and timer fires",
     AT(drain)},
    {'C', true, FLAG_BOOL, "check", NULL, "only say what would happen", AT(check)},
    {'T', true, FLAG_DURATION, "timeout", "TIME", "wait at most so long; without it: as long as it takes",
     AT(timeout_ns)},
};
enum { FLAG_COUNT_ALL = sizeof FLAGS / sizeof FLAGS[0] };

static const wr_verb VERBS[] = {
    {"run", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "run a pipeline in this process until its input ends",
     "psjPSqclditkFrA",
     "Ends when all sources have ended. The first SIGINT or SIGTERM stops the sources: what was read is\n"
     "processed, results are written, and the exit code is 0. A second one cancels (130).\n"
     "With --snapshots the job survives a crash: the same command goes on where the newest snapshot in DIR was.\n"
     "There the first signal takes a last snapshot, and the same command goes on from it. A job that has finished\n"
     "says so, and ends with exit code 0. The pipeline may name the folder itself; flags win.\n"
     "Standard output carries data only; progress and the summary go to standard error. With --json the\n"
     "summary is one JSON object, the last line of standard error.\n"
     "What stands behind -- are arguments of the pipeline.",
     1, 1, true, false, wr_cli_run},
    {"build", "SOURCE.c [-o FILE.so] [-- COMPILER FLAGS...]", "compile a pipeline", "oq",
     "Calls $CC (cc without it; $CXX or c++ for .cc, .cpp and .cxx) with the flags of `pkg-config --cflags weir`.", 1,
     1, true, false, wr_cli_build},
    {"check", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "validate a pipeline without running it", "psjc",
     "Loads the file and runs its build function in a process of its own: ABI, CPU, graph, URIs, options, formats.", 1,
     1, true, false, wr_cli_check},
    {"plan", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "show job graph, chains and execution graph", "psjc", "", 1, 1,
     true, false, wr_cli_plan},
    {"list", "[--json]", "show the jobs that run here", "jqT", "Jobs of this user on this machine.", 0, 0, false, false,
     wr_cli_list},
    {"snapshot", "JOB", "let a job take a snapshot now", "jqT",
     "JOB is a name or a process id, as `weir list` shows them. Returns when the snapshot is complete.", 1, 1, false,
     false, wr_cli_snapshot},
    {"savepoint", "JOB DIR", "let a job write a savepoint into DIR", "jqT",
     "A savepoint stands for itself: it needs no other file, commits nothing, and Weir never deletes it.", 2, 2, false,
     false, wr_cli_savepoint},
    {"stop", "JOB [--savepoint DIR] [--drain]", "end a job so that it can go on", "jqVDT",
     "Pauses the sources and takes a last snapshot, which commits what sinks have prepared; then the job ends.\n"
     "With --drain the sources end as if their input had ended: all results come, and the job has finished.",
     1, 1, false, false, wr_cli_stop},
    {"snapshots", "JOB", "show the last snapshots of a job", "jT",
     "Newest first: what each took, per phase that of its slowest subtask. --json has every subtask.", 1, 1, false,
     false, wr_cli_snapshots},
    {"state", "PATH [ls | dump [OPERATOR] | get OPERATOR KEY | diff OTHER]", "show what a snapshot or savepoint holds",
     "j",
     "PATH is a snapshot folder (its newest is meant), a manifest (*.wman), or a savepoint's folder. The pipeline\n"
     "is not needed. dump, get and diff print a JSON object per key; diff marks what only PATH (-) and only\n"
     "OTHER (+) has. "
     "KEY is the key as text; several fields are joined by commas.",
     1, 4, false, false, wr_cli_state},
    {"restore", "PATH PIPELINE.so --check [FLAGS] [-- NAME=VALUE...]", "say what a pipeline would make of a snapshot",
     "CApsjc",
     "Per operator: same, converted (field by field), upgraded (by its WEIR_UPGRADE), new, missing (its state would\n"
     "be dropped, which needs --allow-non-restored-state) or refused, with the field. All files are read and\n"
     "verified. Exit code 7 when the pipeline cannot start from it. Nothing runs.",
     2, 2, true, false, wr_cli_restore},
    {"version", "[--json]", "show the version", "j", "", 0, 0, false, false, wr_cli_version},
    {"help", "[VERB]", "show this, or the flags of a verb", "", "", 0, 1, false, false, wr_cli_help},
    {"check-here", "PIPELINE.so", "what `check` runs in its child", "psjc", "", 1, 1, true, true, wr_cli_check_here},
};
enum { VERB_COUNT = sizeof VERBS / sizeof VERBS[0] };

static bool takes(const wr_verb *verb, const flag *f)
{
    return strchr(verb->flags, f->key) != NULL;
}

/* ---- help ---- */

static void print_flags(FILE *file, const wr_verb *verb)
{
    for (int i = 0; i < FLAG_COUNT_ALL; i++) {
        const flag *f = &FLAGS[i];
        if (!takes(verb, f)) continue;
        char left[64];
        int  n = f->wordy ? snprintf(left, sizeof left, "      --%s", f->name)
                          : snprintf(left, sizeof left, "  -%c, --%s", f->key, f->name);
        if (f->value != NULL) snprintf(left + n, sizeof left - (size_t)n, " %s", f->value);
        fprintf(file, "%-28s %s\n", left, f->help);
    }
}

static void print_verb(FILE *file, const wr_verb *verb)
{
    fprintf(file, "usage: weir %s %s\n%s\n", verb->name, verb->synopsis, verb->summary);
    if (verb->help[0] != 0) fprintf(file, "\n%s\n", verb->help);
    if (verb->flags[0] != 0) fputs("\n", file);
    print_flags(file, verb);
}

static void print_usage(FILE *file)
{
    fputs("usage: weir VERB [ARGUMENTS]\n", file);
    for (int i = 0; i < VERB_COUNT; i++)
        if (!VERBS[i].hidden) fprintf(file, "  %-9s %s\n", VERBS[i].name, VERBS[i].summary);
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
    const char *names[VERB_COUNT];
    for (int i = 0; i < VERB_COUNT; i++) {
        if (strcmp(VERBS[i].name, name) == 0) return &VERBS[i];
        names[i] = VERBS[i].hidden ? NULL : VERBS[i].name;
    }
    const char *near = wr_did_you_mean(name, names, VERB_COUNT);
    if (near != NULL)
        wr_fail(info, WR_USAGE, "unknown verb: %s; did you mean `weir %s`?", name, near);
    else
        wr_fail(info, WR_USAGE, "unknown verb: %s; `weir help` lists them", name);
    return NULL;
}

/* A flag by its text behind the dashes: n bytes. */
static const flag *find_flag(const wr_verb *verb, const char *text, size_t n, bool wordy)
{
    for (int i = 0; i < FLAG_COUNT_ALL; i++) {
        const flag *f = &FLAGS[i];
        if (!takes(verb, f)) continue;
        if (wordy ? strlen(f->name) == n && memcmp(f->name, text, n) == 0 : !f->wordy && f->key == text[0]) return f;
    }
    return NULL;
}

static wr_err unknown_flag(const wr_verb *verb, const char *text, size_t n, wr_errinfo *info)
{
    const char *names[FLAG_COUNT_ALL];
    char        word[64];
    snprintf(word, sizeof word, "%.*s", (int)(n < 60 ? n : 60), text);
    for (int i = 0; i < FLAG_COUNT_ALL; i++) names[i] = takes(verb, &FLAGS[i]) ? FLAGS[i].name : NULL;
    const char *bare = word + strspn(word, "-");
    const char *near = strlen(bare) > 1 ? wr_did_you_mean(bare, names, FLAG_COUNT_ALL) : NULL;
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
    case FLAG_COUNT:
        if (!wr_text_to_u64(value, strlen(value), &number) || number == 0 || number > WR_SLOTS_MAX)
            return wr_fail(info, WR_USAGE, "--%s takes a number from 1 to %d, not \"%s\"", f->name, WR_SLOTS_MAX,
                           value);
        *(uint32_t *)(void *)to = (uint32_t)number;
        break;
    case FLAG_BYTES:
        if (!wr_text_to_size(value, strlen(value), &number) || number == 0)
            return wr_fail(info, WR_USAGE, "--%s takes a size (65536, 512MiB, 4GiB), not \"%s\"", f->name, value);
        *(uint64_t *)(void *)to = number;
        break;
    case FLAG_DURATION:
        if (!wr_text_to_duration(value, strlen(value), (int64_t *)(void *)to) || *(int64_t *)(void *)to <= 0)
            return wr_fail(info, WR_USAGE, "--%s takes a time (500ms, 10s, 5m), not \"%s\"", f->name, value);
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

/* One flag; *i is the index of its argument and moves on when the value is an argument of its own. */
static wr_err parse_flag(wr_options *options, const wr_verb *verb, int argc, char *const argv[], int *i,
                         wr_errinfo *info)
{
    const char *arg = argv[*i], *value = NULL;
    bool        wordy = arg[1] == '-';
    const char *text = arg + (wordy ? 2 : 1);
    size_t      n = wordy ? strcspn(text, "=") : 1;
    const flag *f = find_flag(verb, text, n, wordy);
    if (f == NULL) return unknown_flag(verb, arg, wordy ? n + 2 : strlen(arg), info);
    if (wordy && text[n] == '=') value = text + n + 1;
    if (!wordy && text[1] != 0) value = text + 1 + (text[1] == '=');
    if (f->kind == FLAG_BOOL) {
        if (value != NULL) return wr_fail(info, WR_USAGE, "--%s takes no value: %s", f->name, arg);
        return store(options, f, NULL, info);
    }
    if (value == NULL && *i + 1 < argc) value = argv[++*i];
    if (value == NULL || value[0] == 0) return wr_fail(info, WR_USAGE, "--%s needs a value: %s", f->name, f->value);
    return store(options, f, value, info);
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
        if (arg[0] == '-' && arg[1] != 0) {
            WR_TRY(parse_flag(options, verb, argc, argv, &i, info));
            continue;
        }
        if (++files > verb->files_max) {
            const char *hint = verb->takes_rest && strchr(arg, '=') ? "; arguments of the pipeline stand behind --"
                                                                    : "";
            return wr_fail(info, WR_USAGE, "one argument too many: %s%s; usage: weir %s %s", arg, hint, verb->name,
                           verb->synopsis);
        }
        const char **place[] = {&options->file, &options->second, &options->third, &options->fourth};
        *place[files - 1] = arg;
    }
    if (i < argc) {
        options->rest = (const char *const *)argv + i + 1;
        options->rests = (uint32_t)(argc - i - 1);
        if (!verb->takes_rest) return wr_fail(info, WR_USAGE, "`weir %s` takes nothing behind --", verb->name);
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
        return WR_EXIT_OK;
    }
    return verb->run(&options);
}
