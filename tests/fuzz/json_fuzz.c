/* Names and paths from outside go into JSON: whatever the bytes, the text is ASCII or valid UTF-8 without a bare
 * quote or control character, and a buffer that is too small is cut, not overrun. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

/* Length of the well-formed UTF-8 sequence at `at`, or 0. */
static size_t utf8(const unsigned char *at, size_t n)
{
    size_t   more = at[0] < 0x80 ? 0 : at[0] >> 5 == 6 ? 1 : at[0] >> 4 == 14 ? 2 : at[0] >> 3 == 30 ? 3 : 9;
    uint32_t code = at[0] & (more == 0 ? 0x7f : 0x3f >> more);
    if (more >= n) return 0;
    for (size_t i = 1; i <= more; i++) {
        if (at[i] >> 6 != 2) return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || code >> 11 == 0x1b) return 0;
    return more + 1;
}

/* The string literal at text[0..n) ends with its closing quote. */
static void literal(const unsigned char *text, size_t n)
{
    must(n >= 2 && text[0] == '"' && text[n - 1] == '"');
    for (size_t at = 1; at < n - 1;) {
        must(text[at] >= 0x20 && text[at] != '"');
        if (text[at] == '\\') {
            must(at + 1 < n - 1 && strchr("\"\\/bfnrtu", text[at + 1]) != NULL && text[at + 1] != 0);
            if (text[at + 1] == 'u')
                must(at + 6 <= n - 1 && strspn((const char *)text + at + 2, "0123456789abcdefABCDEF") >= 4);
            at += text[at + 1] == 'u' ? 6 : 2;
            continue;
        }
        size_t bytes = utf8(text + at, n - 1 - at);
        must(bytes > 0);
        at += bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input   in = {bytes, bytes + size};
    size_t  cap = 1 + take_u8(&in), n = rest(&in), room = 6 * n + 16;
    wr_json json;
    char   *text = malloc(room), *small = malloc(cap), *from = own(in.at, n);
    must(text != NULL && small != NULL);
    wr_json_init_text(&json, text, room);
    wr_json_bytes(&json, NULL, from, n);
    must(wr_json_ok(&json) && strlen(text) == json.count);
    literal((const unsigned char *)text, json.count);

    size_t whole = json.count;
    wr_json_init_text(&json, small, cap);
    wr_json_bytes(&json, NULL, from, n);
    must(json.count == whole && strlen(small) < cap);
    must(strncmp(small, text, strlen(small)) == 0);
    must(wr_json_ok(&json) == (whole < cap));
    free(from);
    free(small);
    free(text);
    return 0;
}
