/* connectors/format.h: records from bytes and back, driven by the field table.
 *
 * A codec is a record type, a format and how fields are called outside, prepared once. Decoding never allocates:
 * strings point into the bytes they came from, or into scratch when a quoted text had to be rewritten. */
#ifndef WR_CONNECTORS_FORMAT_H
#define WR_CONNECTORS_FORMAT_H
#include "base/error.h"
#include "graph/endpoint.h"

#define WR_COLUMNS_MAX 1024 /* columns of a CSV file, mapped or not */

typedef struct wr_format wr_format;

/* Caller's storage, one thread. Why a record cannot be read. */
typedef struct wr_reason {
    char text[WR_ERROR_BYTES_MAX];
} wr_reason;
/* Returns false, so that a decoder can say `return wr_reason_set(...)`. */
bool wr_reason_set(wr_reason *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What stood there, fit for a reason: cut to `bytes`, and without control characters. */
const char *wr_shown(char *to, size_t bytes, const char *text, size_t n);

/* A field as it is called outside. Frozen. */
typedef struct wr_outside {
    const char *name;
    size_t      name_bytes;
    uint32_t    unit; /* wr_unit; of times only */
} wr_outside;

/* Frozen after wr_codec_new; any thread. */
typedef struct wr_codec {
    const wr_format *format;
    const weir_type *type;
    char             separator;
    bool             header;
    bool             multiline;             /* CSV: a quoted field may hold line breaks */
    bool             plain;                 /* text into one string field: readers have a loop of their own for it */
    uint32_t         record_bytes;          /* raw without strings: bytes of every record; else 0 */
    uint32_t         strings;               /* fields of kind STR and BYTES */
    uint16_t         string[WR_FIELDS_MAX]; /* their byte offsets in the record */
    wr_outside       field[WR_FIELDS_MAX];
} wr_codec;

/* What a codec is made of; read during wr_codec_new only. */
typedef struct wr_codec_spec {
    const weir_type         *type;
    const char              *format;    /* NULL: text */
    const wr_endpoint_field *field;     /* type->fields of them, or NULL: fields keep their names */
    char                     separator; /* 0: ',' */
    bool                     header;
    bool                     multiline;
} wr_codec_spec;

/* Makes a codec, or says what does not fit: the build step's check and the task's preparation are this one call.
 * Freed by wr_codec_free, which takes NULL; the spec's type and names must outlive it. */
wr_err wr_codec_new(wr_codec **codec, const wr_codec_spec *spec, wr_errinfo *info);
void   wr_codec_free(wr_codec *codec);

/* Which column fills which field. Owner: a reader. */
typedef struct wr_layout {
    uint32_t columns;
    int16_t  field[WR_COLUMNS_MAX]; /* -1: nobody wants it */
} wr_layout;
void wr_layout_init(wr_layout *layout, const wr_codec *codec); /* columns are the fields in their order */
/* Columns as a header line names them. False: a field has no column, or a name stands twice. */
bool wr_layout_of_header(wr_layout *layout, const wr_codec *codec, const char *line, size_t n, wr_reason *reason);

/* Bytes of a record in a stream. */
typedef struct wr_frame {
    size_t content; /* what the decoder gets */
    size_t whole;   /* with what ends it; 0: more bytes are needed */
    size_t lines;   /* line ends in it */
} wr_frame;

/* One row of the table of formats: const, any thread. */
struct wr_format {
    const char *name;
    const char *summary;
    bool        lines; /* records end with a line break */
    wr_err (*prepare)(wr_codec *codec, wr_errinfo *info);
    /* The first record in bytes. frame->whole is 0 when it does not end within them. False: no record begins so. */
    bool (*frame)(const wr_codec *codec, const char *bytes, size_t n, wr_frame *frame, wr_reason *reason);
    /* scratch has room for n bytes. record is not a record when it returns false. */
    bool (*decode)(const wr_codec *codec, const wr_layout *layout, const char *bytes, size_t n, void *record,
                   char *scratch, wr_reason *reason);
    size_t (*bound)(const wr_codec *codec, const void *record); /* greatest size of its encoding */
    char *(*encode)(const wr_codec *codec, const void *record,
                    char *to); /* with what ends it; returns behind the last byte */
};
extern const wr_format wr_format_text, wr_format_csv, wr_format_raw;
const wr_format       *wr_format_find(const char *name);
/* The names of all formats, for "did you mean" and help. */
const char *const *wr_format_names(size_t *count);

/* The header line of a CSV file, with its line end. */
size_t wr_csv_header_bound(const wr_codec *codec);
char  *wr_csv_header(const wr_codec *codec, char *to);

/* Values that are not strings, from text and back. */
uint32_t    wr_kind_bytes(uint32_t kind); /* of one element; 0: not a kind that records hold */
const char *wr_kind_name(uint32_t kind);
bool wr_value_read(const weir_field *field, uint32_t unit, const char *text, size_t n, void *record, wr_reason *reason);
size_t wr_value_bound(const weir_field *field);
char  *wr_value_write(const weir_field *field, uint32_t unit, const void *record, char *to);

/* One line {field=value, ...} for people: crash reports, dead letters, logs. Cut to n - 1 bytes and a zero byte;
 * returns the bytes written. Long strings are cut. Allocates nothing. */
size_t wr_record_print(const weir_type *type, const void *record, char *text, size_t n);

static inline bool wr_kind_is_string(uint32_t kind)
{
    return kind == WEIR_STR || kind == WEIR_BYTES;
}

#endif
