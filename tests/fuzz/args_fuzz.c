/* Arguments of a pipeline (each a text) and of an operator (one text, parted by blanks): what is asked for is what a
 * plain search finds, and whatever is no argument is refused in words. */
#include "base/text.h"
#include "graph/args.h"
#include "tests/fuzz/fuzz.h"

enum { TEXTS_MAX = WR_ARGS_MAX + 8 };

static void complain(void *self, const char *text)
{
    must(text[0] != 0);
    ++*(uint32_t *)self;
}

/* The value of `name` among n texts "name=value", or NULL. *good: all of them are arguments, and no name stands
 * twice. */
static const char *naive_find(char *const texts[], uint32_t n, const char *name, bool *good)
{
    const char *found = NULL;
    *good = n <= WR_ARGS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const char *equal = strchr(texts[i], '=');
        if (equal == NULL || equal == texts[i]) {
            *good = false;
            continue;
        }
        size_t bytes = (size_t)(equal - texts[i]);
        for (uint32_t k = 0; k < i; k++) *good &= strncmp(texts[k], texts[i], bytes + 1) != 0;
        if (found == NULL && strlen(name) == bytes && memcmp(name, texts[i], bytes) == 0) found = equal + 1;
    }
    return found;
}

/* Asks for `name` in all the ways there are. */
static void ask(const weir_args *args, const char *name, const char *wanted)
{
    uint32_t    complaints = 0, expected = 0;
    int64_t     i = -5, ns = -5;
    double      d = -5;
    weir_args   view = wr_args_view(args, complain, &complaints);
    size_t      n = wanted != NULL ? strlen(wanted) : 0;
    const char *got = weir_arg(&view, name, NULL);
    must((got == NULL) == (wanted == NULL));
    if (wanted != NULL) must(strcmp(got, wanted) == 0);
    if (wanted != NULL) expected += !wr_text_to_i64(wanted, n, &i);
    must(weir_arg_i64(&view, name, -5) == i && complaints == expected);
    if (wanted != NULL) expected += !wr_text_to_duration(wanted, n, &ns);
    must(weir_arg_duration(&view, name, -5) == ns && complaints == expected);
    if (wanted != NULL) expected += !wr_text_to_f64(wanted, n, &d);
    double value = weir_arg_f64(&view, name, -5);
    must(complaints == expected && (value == d || (value != value && d != d)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"limit", "a", "", "unit"};
    input                    in = {bytes, bytes + size};
    char                    *text = take_text(&in, 0), *texts[TEXTS_MAX], *blank[TEXTS_MAX];
    const weir_args         *program = NULL, *own_args = NULL;
    wr_errinfo               info = {0}, own_info = {0};
    wr_arena                 arena = {0};
    uint32_t                 count = 0, blanks = 0;
    bool                     good, own_good;
    while (rest(&in) > 0 && count < TEXTS_MAX) texts[count++] = take_text(&in, '\n');
    char *copy = own_text(text, strlen(text)), *save = NULL;
    for (char *part = strtok_r(copy, " \t\n", &save); part != NULL && blanks < TEXTS_MAX;
         part = strtok_r(NULL, " \t\n", &save))
        blank[blanks++] = part;

    wr_err err = wr_args_new(&arena, (const char *const *)texts, count, &program, &info);
    wr_err own_err = wr_args_parse(&arena, text, program, &own_args, &own_info);
    must(program->count <= WR_ARGS_MAX && own_args->count <= WR_ARGS_MAX);
    must((err == WR_OK) == (info.code == WR_OK) && (own_err == WR_OK) == (own_info.code == WR_OK));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = naive_find(texts, count, names[i], &good);
        const char *own_value = naive_find(blank, blanks, names[i], &own_good);
        must(good == (err == WR_OK) && (own_good == (own_err == WR_OK) || blanks == TEXTS_MAX));
        if (good) ask(program, names[i], value);
        if (good && own_good) ask(own_args, names[i], own_value != NULL ? own_value : value);
    }
    wr_arena_fini(&arena);
    for (uint32_t i = 0; i < count; i++) free(texts[i]);
    free(copy);
    free(text);
    return 0;
}
