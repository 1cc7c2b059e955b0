/* connectors/format.c: the table of formats, and what all of them share: preparing a codec and naming fields. */
#include "connectors/format.h"
#include "base/check.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FORMATS(X) X(text) X(csv) X(raw)

static const wr_format *const formats[] = {
#define FORMAT_ENTRY(NAME) &wr_format_##NAME,
    FORMATS(FORMAT_ENTRY)
#undef FORMAT_ENTRY
};
static const char *const format_names[] = {
#define FORMAT_NAME(NAME) #NAME,
    FORMATS(FORMAT_NAME)
#undef FORMAT_NAME
};
/* Names that the public headers know, for formats that come later. */
static const char *const formats_later[] = {"json", "msgpack", "avro"};
#define COUNT(ARRAY) (sizeof(ARRAY) / sizeof((ARRAY)[0]))

const wr_format *wr_format_find(const char *name)
{
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (strcmp(formats[i]->name, name) == 0) return formats[i];
    }
    return NULL;
}

const char *const *wr_format_names(size_t *count)
{
    *count = COUNT(format_names);
    return format_names;
}

bool wr_reason_set(wr_reason *reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason->text, sizeof reason->text, format, args);
    va_end(args);
    return false;
}

static wr_err format_of(const wr_codec_spec *spec, const wr_format **format, wr_errinfo *info)
{
    const char *name = spec->format != NULL ? spec->format : "text";
    *format = wr_format_find(name);
    if (*format != NULL) return WR_OK;
    for (size_t i = 0; i < COUNT(formats_later); i++) {
        if (strcmp(name, formats_later[i]) != 0) continue;
        return wr_fail(info, WR_NOT_YET, "format \"%s\" is not yet available; use text, csv or raw", name);
    }
    const char *near = wr_did_you_mean(name, format_names, COUNT(format_names));
    if (near != NULL) return wr_fail(info, WR_FORMAT, "unknown format \"%s\"; did you mean \"%s\"?", name, near);
    return wr_fail(info, WR_FORMAT, "unknown format \"%s\"; use text, csv or raw", name);
}

static wr_err name_fields(wr_codec *codec, const wr_endpoint_field *given, wr_errinfo *info)
{
    const weir_type *type = codec->type;
    for (uint32_t i = 0; i < type->fields; i++) {
        const char *name = given != NULL && given[i].name != NULL ? given[i].name : type->field[i].name;
        codec->field[i] = (wr_outside){name, strlen(name), given != NULL ? given[i].unit : WR_UNIT_NONE};
        if (codec->field[i].unit != WR_UNIT_NONE && type->field[i].kind != WEIR_TIME)
            return wr_fail(info, WR_OPTION, "fields: field %s of record %s is no weir_time; units are for times only",
                           type->field[i].name, type->name);
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(codec->field[j].name, name) != 0) continue;
            return wr_fail(info, WR_OPTION, "fields: %s and %s are both called \"%s\" outside", type->field[j].name,
                           type->field[i].name, name);
        }
    }
    return WR_OK;
}

static wr_err check_kinds(const weir_type *type, wr_errinfo *info)
{
    if (type->fields == 0 || type->fields > WR_FIELDS_MAX)
        return wr_fail(info, WR_FORMAT, "record %s has %u fields; 1 to %d are possible", type->name, type->fields,
                       WR_FIELDS_MAX);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *field = &type->field[i];
        uint32_t          kind = field->kind & ~(uint32_t)WEIR_ARRAY;
        if (wr_kind_bytes(kind) != 0) continue;
        return wr_fail(info, WR_FORMAT, "record %s, field %s: no format can hold its kind (%u)", type->name,
                       field->name, field->kind);
    }
    return WR_OK;
}

wr_err wr_codec_new(wr_codec **made, const wr_codec_spec *spec, wr_errinfo *info)
{
    const wr_format *format = NULL;
    wr_err           err = WR_OK;
    *made = NULL;
    WR_TRY(format_of(spec, &format, info));
    WR_TRY(check_kinds(spec->type, info));
    wr_codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) return wr_fail(info, WR_MEMORY, "out of memory; codec of record %s", spec->type->name);
    codec->format = format;
    codec->type = spec->type;
    codec->separator = spec->separator != 0 ? spec->separator : ',';
    codec->header = spec->header;
    codec->multiline = spec->multiline;
    for (uint32_t i = 0; i < spec->type->fields; i++) {
        const weir_field *field = &spec->type->field[i];
        if (wr_kind_is_string(field->kind)) codec->string[codec->strings++] = (uint16_t)field->offset;
    }
    WR_GOTO(name_fields(codec, spec->field, info));
    WR_GOTO(format->prepare(codec, info));
out:
    if (err != WR_OK) {
        wr_codec_free(codec);
        return err;
    }
    *made = codec;
    return WR_OK;
}

void wr_codec_free(wr_codec *codec)
{
    free(codec);
}

void wr_layout_init(wr_layout *layout, const wr_codec *codec)
{
    layout->columns = codec->type->fields;
    for (uint32_t i = 0; i < layout->columns; i++) layout->field[i] = (int16_t)i;
}
