/* connectors/record_print.c: a record as one line for people. Works in a crash handler: no allocation, no lock. */
#include "base/text.h"
#include "connectors/format.h"

enum { SHOWN_BYTES_MAX = 128 }; /* of one string */

/* Caller's storage, one thread. */
typedef struct line {
    char *at, *end; /* one byte behind end is kept for the zero byte */
} line;

static void put(line *l, const char *text, size_t n)
{
    size_t room = (size_t)(l->end - l->at);
    if (n > room) n = room;
    memcpy(l->at, text, n);
    l->at += n;
}

static void put_text(line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_u64(line *l, uint64_t value)
{
    char   text[WR_TEXT_NUMBER_MAX + 1];
    size_t n = wr_text_of_u64(text, value);
    put(l, text, n);
}

static void put_cut(line *l, size_t n)
{
    if (n <= SHOWN_BYTES_MAX) return;
    put_text(l, "...(");
    put_u64(l, n);
    put_text(l, " bytes)");
}

static void put_string(line *l, const weir_str *str)
{
    static const char hex[] = "0123456789abcdef";
    const char       *bytes = weir_str_data(str);
    size_t            n = str->len < SHOWN_BYTES_MAX ? str->len : SHOWN_BYTES_MAX;
    put(l, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') {
            put(l, (char[]){'\\', (char)c}, 2);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            put(l, (char[]){'\\', c == '\n' ? 'n' : c == '\t' ? 't' : 'r'}, 2);
        } else if (c < 0x20 || c == 0x7f) {
            put(l, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
        } else {
            put(l, &bytes[i], 1);
        }
    }
    put(l, "\"", 1);
    put_cut(l, str->len);
}

static void put_bytes(line *l, const weir_str *str)
{
    static const char    digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = (const unsigned char *)weir_str_data(str);
    size_t               n = str->len < SHOWN_BYTES_MAX ? str->len : SHOWN_BYTES_MAX;
    put_text(l, "base64(");
    for (size_t i = 0; i < n; i += 3) {
        size_t   left = n - i;
        uint32_t word = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0u);
        char     four[4] = {digit[word >> 18], digit[word >> 12 & 63], left > 1 ? digit[word >> 6 & 63] : '=',
                        left > 2 ? digit[word & 63] : '='};
        put(l, four, 4);
    }
    put_text(l, ")");
    put_cut(l, str->len);
}

/* Cells of a state: what they are, not what they hold. */
static void put_cell(line *l, const weir_field *field, const void *record)
{
    const weir_cell *cell = (const weir_cell *)(const void *)((const char *)record + field->offset);
    const weir_time *at = (const weir_time *)(const void *)cell;
    char             text[WR_TEXT_NUMBER_MAX + 1];
    switch (field->kind) {
    case WEIR_EVENT_TIMER:
    case WEIR_CLOCK_TIMER:
        if (at->ns == 0)
            put_text(l, "(not set)");
        else
            put(l, text, wr_text_of_time(text, at->ns - 1));
        return;
    case WEIR_TEXT: put_text(l, "(text)"); return;
    case WEIR_CELL_VALUE: put_text(l, cell->count > 0 ? "(value)" : "(none)"); return;
    case WEIR_CELL_LIST: put_text(l, "(list of "); break;
    case WEIR_CELL_TABLE: put_text(l, "(table of "); break;
    default: put_text(l, "(?)"); return;
    }
    put_u64(l, cell->count);
    put_text(l, ")");
}

static void put_field(line *l, const weir_field *field, const void *record)
{
    const char     *from = (const char *)record + field->offset;
    const weir_str *str = (const weir_str *)(const void *)from;
    uint32_t        kind = field->kind & ~(uint32_t)WEIR_ARRAY, size = wr_kind_bytes(kind);
    put_text(l, field->name);
    put_text(l, "=");
    if (field->kind == WEIR_STR)
        put_string(l, str);
    else if (field->kind == WEIR_BYTES)
        put_bytes(l, str);
    else if (size == 0)
        put_cell(l, field, record);
    else if (kind == field->kind) {
        char text[2 * WR_TEXT_NUMBER_MAX];
        put(l, text, (size_t)(wr_value_write(field, WR_UNIT_ISO, record, text) - text));
    } else {
        for (uint32_t at = 0; at < field->size; at += size) {
            weir_field one = {.name = "", .offset = field->offset + at, .size = size, .kind = kind};
            char       text[2 * WR_TEXT_NUMBER_MAX];
            put(l, at > 0 ? " " : "[", 1);
            put(l, text, (size_t)(wr_value_write(&one, WR_UNIT_ISO, record, text) - text));
        }
        put(l, "]", 1);
    }
}

size_t wr_record_print(const weir_type *type, const void *record, char *text, size_t n)
{
    if (n == 0) return 0;
    line l = {text, text + n - 1};
    put(&l, "{", 1);
    for (uint32_t i = 0; i < type->fields; i++) {
        if (i > 0) put(&l, ", ", 2);
        put_field(&l, &type->field[i], record);
    }
    put(&l, "}", 1);
    *l.at = 0;
    return (size_t)(l.at - text);
}
