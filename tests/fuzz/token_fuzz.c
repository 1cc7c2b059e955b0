/* weir_next_token against a loop over bytes, with separators that change on the way. */
#include "tests/fuzz/fuzz.h"

/* What the cursor must do, by its description: after a change the separator counts from behind the last token. */
typedef struct naive {
    size_t at;        /* where the next token is looked for */
    int    separator; /* of the last call; -1: none */
} naive;

static bool naive_next(naive *n, const char *text, size_t count, char separator, size_t *from, size_t *to)
{
    n->separator = separator;
    size_t at = n->at;
    while (at < count && text[at] == separator) at++;
    *from = at;
    while (at < count && text[at] != separator) at++;
    *to = at;
    n->at = at < count ? at + 1 : at;
    return *from < *to;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input    in = {bytes, bytes + size};
    uint32_t change = take_u8(&in); /* every so many calls; 0: never */
    char     separators[2] = {(char)take_u8(&in), (char)take_u8(&in)};
    size_t   count = rest(&in);
    char    *text = own(in.at, count); /* its own block: a read outside is seen */
    weir_str str = weir_str_of(text, count), token;
    naive    n = {0, -1};
    size_t   from, to, calls = 0;

    weir_cursor cursor = weir_str_cursor(&str);
    for (;; calls++) {
        char separator = separators[change != 0 && calls / change % 2 != 0];
        bool more = naive_next(&n, weir_str_data(&str), count, separator, &from, &to);
        must(weir_next_token(&cursor, separator, &token) == more);
        if (!more) break;
        must(token.len == to - from);
        must(memcmp(weir_str_data(&token), text + from, to - from) == 0);
        weir_str made = weir_str_of(text + from, to - from);
        must(token.len > WEIR_STR_INLINE || memcmp(&token, &made, sizeof made) == 0);
    }
    must(!weir_next_token(&cursor, separators[change != 0 && calls / change % 2 != 0], &token));
    free(text);
    return 0;
}
