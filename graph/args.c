#include "graph/args.h"
#include "base/text.h"

static const char *find(const weir_args *args, const char *name)
{
    for (; args; args = args->parent) {
        for (uint32_t i = 0; i < args->count; i++) {
            if (strcmp(args->arg[i].name, name) == 0) return args->arg[i].value;
        }
    }
    return NULL;
}

/* One "name=value" of n bytes into list[*count]. `place` says whose it is. */
static wr_err add(wr_arena *arena, wr_arg *list, uint32_t *count, const char *text, size_t n, const char *place,
                  wr_errinfo *info)
{
    const char *equal = memchr(text, '=', n);
    if (!equal || equal == text) {
        return wr_fail(info, WR_CONFIG, "argument '%.*s' of %s has no value; write NAME=VALUE", (int)n, text, place);
    }
    if (*count == WR_ARGS_MAX) {
        return wr_fail(info, WR_LIMIT, "%s has more than %d arguments; give fewer", place, WR_ARGS_MAX);
    }
    wr_arg arg = {.name = wr_arena_copy(arena, text, (size_t)(equal - text)),
                  .value = wr_arena_copy(arena, equal + 1, n - (size_t)(equal + 1 - text))};
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(list[i].name, arg.name) == 0) {
            return wr_fail(info, WR_CONFIG, "argument '%s' of %s stands twice ('%s' and '%s'); give it once", arg.name,
                           place, list[i].value, arg.value);
        }
    }
    list[(*count)++] = arg;
    return WR_OK;
}

/* The list keeps what could be read: with a problem reported, the build function goes on and may find others. */
wr_err wr_args_new(wr_arena *arena, const char *const texts[], uint32_t count, const weir_args **args, wr_errinfo *info)
{
    weir_args *made = wr_arena_array(arena, weir_args, 1);
    wr_arg    *list = wr_arena_array(arena, wr_arg, WR_ARGS_MAX);
    wr_err     err = WR_OK;
    for (uint32_t i = 0; i < count; i++) {
        wr_err bad = add(arena, list, &made->count, texts[i], strlen(texts[i]), "the pipeline", info);
        if (!err) err = bad;
    }
    made->arg = list;
    *args = made;
    return err;
}

wr_err wr_args_parse(wr_arena *arena, const char *text, const weir_args *parent, const weir_args **args,
                     wr_errinfo *info)
{
    weir_args *made = wr_arena_array(arena, weir_args, 1);
    wr_err     err = WR_OK;
    made->parent = parent;
    *args = made;
    if (!text || !*text) return WR_OK;
    wr_arg *list = wr_arena_array(arena, wr_arg, WR_ARGS_MAX);
    while (*(text += strspn(text, " \t\n"))) {
        size_t n = strcspn(text, " \t\n");
        wr_err bad = add(arena, list, &made->count, text, n, ".args", info);
        if (!err) err = bad;
        text += n;
    }
    made->arg = list;
    return err;
}

weir_args wr_args_view(const weir_args *of, wr_args_bad *bad, void *self)
{
    weir_args view = {.bad = bad, .self = self};
    if (of) {
        view.parent = of->parent;
        view.arg = of->arg;
        view.count = of->count;
    }
    return view;
}

static void report(const weir_args *args, const char *name, const char *value, const char *wanted)
{
    char text[WR_ERROR_BYTES_MAX / 2];
    if (!args->bad) return;
    snprintf(text, sizeof text, "argument %.64s=%.64s is not %s", name, value, wanted);
    args->bad(args->self, text);
}

const char *weir_arg(const weir_args *args, const char *name, const char *otherwise)
{
    const char *value = find(args, name);
    return value ? value : otherwise;
}

int64_t weir_arg_i64(const weir_args *args, const char *name, int64_t otherwise)
{
    const char *value = find(args, name);
    if (value && !wr_text_to_i64(value, strlen(value), &otherwise)) report(args, name, value, "a whole number");
    return otherwise;
}

double weir_arg_f64(const weir_args *args, const char *name, double otherwise)
{
    const char *value = find(args, name);
    if (value && !wr_text_to_f64(value, strlen(value), &otherwise)) report(args, name, value, "a number");
    return otherwise;
}

weir_duration weir_arg_duration(const weir_args *args, const char *name, weir_duration otherwise)
{
    const char *value = find(args, name);
    if (value && !wr_text_to_duration(value, strlen(value), &otherwise)) {
        report(args, name, value, "a duration such as 250ms, 5s or 1h30m");
    }
    return otherwise;
}
