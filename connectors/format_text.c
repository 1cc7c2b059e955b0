/* connectors/format_text.c: a line is the record's one string field. Bytes are taken as they are. */
#include "connectors/format.h"

static wr_err text_prepare(wr_codec *codec, wr_errinfo *info)
{
    const weir_type *type = codec->type;
    if (type->fields != 1 || !wr_kind_is_string(type->field[0].kind))
        return wr_fail(info, WR_FORMAT,
                       "format text takes one field of type weir_str or weir_bytes, and record %s has %u (%s %s%s); "
                       "use .format = WEIR_CSV, or a record of one string",
                       type->name, type->fields, wr_kind_name(type->field[0].kind), type->field[0].name,
                       type->fields > 1 ? ", ..." : "");
    codec->plain = true;
    return WR_OK;
}

static bool text_frame(const wr_codec *codec, const char *bytes, size_t n, wr_frame *frame, wr_reason *reason)
{
    (void)codec, (void)reason;
    const char *end = memchr(bytes, '\n', n);
    frame->whole = end == NULL ? 0 : (size_t)(end - bytes) + 1;
    frame->content = end == NULL ? n : (size_t)(end - bytes);
    frame->lines = 1;
    if (frame->content > 0 && bytes[frame->content - 1] == '\r') frame->content--;
    return true;
}

static bool text_decode(const wr_codec *codec, const wr_layout *layout, const char *bytes, size_t n, void *record,
                        char *scratch, wr_reason *reason)
{
    (void)layout, (void)scratch, (void)reason;
    weir_str *str = (weir_str *)((char *)record + codec->string[0]);
    *str = weir_str_of(bytes, n);
    return true;
}

static size_t text_bound(const wr_codec *codec, const void *record)
{
    return ((const weir_str *)((const char *)record + codec->string[0]))->len + 1u;
}

static char *text_encode(const wr_codec *codec, const void *record, char *to)
{
    const weir_str *str = (const weir_str *)((const char *)record + codec->string[0]);
    memcpy(to, weir_str_data(str), str->len);
    to += str->len;
    *to++ = '\n';
    return to;
}

const wr_format wr_format_text = {
    .name = "text",
    .summary = "one line per record, into one string field",
    .lines = true,
    .prepare = text_prepare,
    .frame = text_frame,
    .decode = text_decode,
    .bound = text_bound,
    .encode = text_encode,
};
