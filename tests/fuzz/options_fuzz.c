/* The command line: one argument per line of the input. Whatever is taken points into the arguments and is within
 * bounds. */
#include "cli/options.h"
#include "cli/pin.h"
#include "tests/fuzz/fuzz.h"

enum { ARGS_MAX = 96 };

static bool inside(const char *text, char *const args[], int count)
{
    for (int i = 0; i < count; i++) {
        if (text >= args[i] && text <= args[i] + strlen(args[i])) return true;
    }
    return text == NULL;
}

/* What is no flag stands in its place: also behind --, where the verb has no pipeline with arguments of its own, and a
 * negative number. */
static void words_of(const wr_options *o, const wr_verb *verb, char *const args[], int count)
{
    const char *word[] = {o->file, o->second, o->third, o->fourth};
    uint32_t    words = 0;
    int         end = 0;
    for (uint32_t i = 0; i < 4; i++) {
        must(inside(word[i], args, count) && (word[i] == NULL || words == i));
        words += word[i] != NULL;
    }
    must(words >= verb->files_min && words <= verb->files_max);
    while (end < count && strcmp(args[end], "--") != 0) end++; /* or it is the value of a flag */
    if (end + 1 >= count || verb->takes_rest || (end > 0 && args[end - 1][0] == '-')) return;
    must(words >= (uint32_t)(count - end - 1) && word[words - 1] == args[count - 1]);
}

/* A list of CPUs names a CPU for each slot, or is refused in words. */
static void pin_to(const char *how, uint32_t slots)
{
    wr_pin     pin;
    wr_errinfo info = {0};
    if (wr_pin_parse(&pin, how, slots, &info) != WR_OK) {
        must(info.code == WR_USAGE && info.text[0] != 0);
        return;
    }
    for (uint32_t i = 0; pin.on && i < slots; i++) must(pin.cpu[i] >= 0 && pin.cpu[i] < 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const verbs[] = {"run",         "build",      "check",    "plan",      "version", "help",
                                        "check-here",  "list",       "snapshot", "savepoint", "stop",    "snapshots",
                                        "taskmanager", "jobmanager", "config",   "state"};
    input                    in = {bytes, bytes + size};
    char                    *args[ARGS_MAX];
    wr_errinfo               info = {0}, unknown = {0};
    wr_options               o;
    bool                     help = false;
    int                      count = 0;
    const wr_verb           *verb = wr_verb_find(verbs[take_u8(&in) % (sizeof verbs / sizeof verbs[0])], &info);
    must(verb != NULL && info.code == WR_OK);
    while (rest(&in) > 0 && count < ARGS_MAX) args[count++] = take_text(&in, '\n');
    if (count > 0 && wr_verb_find(args[0], &unknown) == NULL) must(unknown.code == WR_USAGE);

    wr_err err = wr_options_parse(&o, verb, count, args, &help, &info);
    must(err == info.code);
    if (err == WR_OK && !help) {
        must(inside(o.file, args, count) && inside(o.pin, args, count) && inside(o.log, args, count));
        must(inside(o.output, args, count) && o.parallelism <= WR_SLOTS_MAX);
        must((int)o.rests <= count);
        words_of(&o, verb, args, count);
        must(o.set.count <= WR_CLI_LIST_MAX && o.connector.count <= WR_CLI_LIST_MAX);
        for (uint32_t i = 0; i < o.set.count; i++) must(o.set.text[i][0] != 0 && inside(o.set.text[i], args, count));
        must(o.rests == 0 || verb->takes_rest);
        pin_to(o.pin, o.parallelism > 0 ? o.parallelism : 1);
    } else if (err != WR_OK) {
        must(info.text[0] != 0 && err == WR_USAGE);
    }
    for (int i = 0; i < count; i++) free(args[i]);
    return 0;
}
