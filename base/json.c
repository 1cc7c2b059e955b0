#include "base/json.h"
#include "base/check.h"
#include "base/text.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

void wr_json_init_file(wr_json *json, FILE *file)
{
    memset(json, 0, sizeof *json);
    json->file = file;
}

void wr_json_init_text(wr_json *json, char *text, size_t cap)
{
    check(cap > 0);
    memset(json, 0, sizeof *json);
    json->text = text;
    json->cap = cap;
    text[0] = 0;
}

bool wr_json_ok(const wr_json *json)
{
    if (json->depth != 0) return false;
    return json->file != NULL ? !ferror(json->file) : json->count < json->cap;
}

static void put(wr_json *json, const char *text, size_t count)
{
    if (json->file != NULL) {
        fwrite(text, 1, count, json->file);
    } else if (json->count < json->cap) {
        size_t room = json->cap - 1 - json->count, take = count < room ? count : room;
        memcpy(json->text + json->count, text, take);
        json->text[json->count + take] = 0;
    }
    json->count += count;
}

static void put_str(wr_json *json, const char *text)
{
    put(json, text, strlen(text));
}

/* Bytes of the UTF-8 character at `at`, or 0 when it is none: too short, overlong, a surrogate, above U+10FFFF. */
static size_t utf8_bytes(const unsigned char *at, size_t rest)
{
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80) return 1;
    size_t count = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || count > rest) return 0;
    uint32_t code = at[0] & (0x7fu >> count);
    for (size_t i = 1; i < count; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (code < LEAST[count] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    return count;
}

static void put_escaped(wr_json *json, const char *text, size_t count)
{
    static const char    NAMED[] = "\"\\\b\f\n\r\t", LETTER[] = "\"\\bfnrt";
    const unsigned char *bytes = (const unsigned char *)text;
    size_t               from = 0;
    put(json, "\"", 1);
    for (size_t i = 0; i < count;) {
        size_t width = utf8_bytes(bytes + i, count - i);
        if (width > 1 || (width == 1 && bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\')) {
            i += width;
            continue;
        }
        put(json, text + from, i - from);
        char        code[8];
        const char *named = width == 1 && bytes[i] != 0 ? strchr(NAMED, bytes[i]) : NULL;
        if (width == 0)
            put_str(json, "\xef\xbf\xbd");
        else if (named != NULL)
            put(json, (char[2]){'\\', LETTER[named - NAMED]}, 2);
        else
            put(json, code, (size_t)snprintf(code, sizeof code, "\\u%04x", bytes[i]));
        from = ++i;
    }
    put(json, text + from, count - from);
    put(json, "\"", 1);
}

static void new_line(wr_json *json)
{
    if (!json->pretty) return;
    put(json, "\n", 1);
    for (uint32_t i = 0; i < json->depth; i++) put(json, "  ", 2);
}

/* What stands before a value: a comma, the key. */
static void before(wr_json *json, const char *key)
{
    check((key != NULL) == (json->depth > 0 && json->open[json->depth - 1] == '{'));
    if (json->filled[json->depth]) {
        check(json->depth > 0); /* one value at the top */
        put(json, ",", 1);
    }
    json->filled[json->depth] = true;
    if (json->depth > 0) new_line(json);
    if (key == NULL) return;
    put_escaped(json, key, strlen(key));
    put_str(json, json->pretty ? ": " : ":");
}

static void open_level(wr_json *json, const char *key, char kind)
{
    before(json, key);
    check(json->depth < WR_JSON_DEPTH_MAX);
    json->open[json->depth++] = kind;
    json->filled[json->depth] = false;
    put(json, &kind, 1);
}

void wr_json_object(wr_json *json, const char *key)
{
    open_level(json, key, '{');
}

void wr_json_array(wr_json *json, const char *key)
{
    open_level(json, key, '[');
}

void wr_json_end(wr_json *json)
{
    check(json->depth > 0);
    bool filled = json->filled[json->depth--];
    if (filled) new_line(json);
    put(json, json->open[json->depth] == '{' ? "}" : "]", 1);
    if (json->depth == 0 && json->file != NULL) put(json, "\n", 1);
}

void wr_json_bytes(wr_json *json, const char *key, const char *text, size_t count)
{
    before(json, key);
    put_escaped(json, text, count);
}

void wr_json_str(wr_json *json, const char *key, const char *text)
{
    if (text == NULL)
        wr_json_null(json, key);
    else
        wr_json_bytes(json, key, text, strlen(text));
}

void wr_json_i64(wr_json *json, const char *key, int64_t value)
{
    char text[WR_TEXT_NUMBER_MAX + 1];
    before(json, key);
    put(json, text, wr_text_of_i64(text, value));
}

void wr_json_u64(wr_json *json, const char *key, uint64_t value)
{
    char text[WR_TEXT_NUMBER_MAX + 1];
    before(json, key);
    put(json, text, wr_text_of_u64(text, value));
}

void wr_json_f64(wr_json *json, const char *key, double value)
{
    char text[WR_TEXT_NUMBER_MAX + 1];
    before(json, key);
    if (isfinite(value))
        put(json, text, wr_text_of_f64(text, value));
    else
        put_str(json, "null");
}

void wr_json_bool(wr_json *json, const char *key, bool value)
{
    before(json, key);
    put_str(json, value ? "true" : "false");
}

void wr_json_null(wr_json *json, const char *key)
{
    before(json, key);
    put_str(json, "null");
}

void wr_json_printf(wr_json *json, const char *key, const char *format, ...)
{
    char    text[WR_ERROR_BYTES_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    wr_json_str(json, key, text);
}
