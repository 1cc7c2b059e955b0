/* weir/types.h: strings, time, field kinds and the schema of a record. libc only. Everything here is plain data: no
 * function takes a lock, allocates or needs a particular thread. */
#ifndef WEIR_TYPES_H
#define WEIR_TYPES_H
#include <weir/base.h>
WEIR_EXTERN_C_BEGIN_

/* ---- strings -----------------------------------------------------------------------------------------------------
 * 16 bytes, copied by value. Up to 12 bytes lie inside, longer ones are borrowed from whoever made the string. THE
 * RULE: a string you are given is valid until your function returns; emit, set, add and put copy what they take;
 * there is no other way to keep one. Unused inline bytes are zero: equal short strings are equal in all 16 bytes. */
typedef struct weir_str {
    uint32_t len;     /* bytes */
    char     head[4]; /* the first four bytes, always: most comparisons end here */
    union {
        char        tail[8];
        const char *far;
    } u;
} weir_str;

/* The same bytes, but not text: formats print it as base64, CSV refuses it. */
typedef struct weir_bytes {
    weir_str raw;
} weir_bytes;

#define WEIR_STR_INLINE 12u /* the longest string that lies inside */

/* The bytes of *s, not zero-terminated. Points into *s itself when s->len <= 12: do not outlive it. */
WEIR_FN_ const char *weir_str_data(const weir_str *s)
{
    return s->len <= WEIR_STR_INLINE ? (const char *)s + offsetof(weir_str, head) : s->u.far;
}

/* A string over `bytes`; borrows them when len > 12. len must be below 4 GiB. */
WEIR_FN_ weir_str weir_str_of(const char *bytes, size_t len)
{
    weir_str s;
    memset(&s, 0, sizeof s);
    s.len = (uint32_t)len;
    if (len <= WEIR_STR_INLINE) {
        if (len) memcpy((char *)&s + offsetof(weir_str, head), bytes, len);
    } else {
        memcpy(s.head, bytes, 4);
        s.u.far = bytes;
    }
    return s;
}

/* A string literal as a weir_str; lives for ever. */
#define weir_lit(LITERAL) weir_str_of("" LITERAL, sizeof(LITERAL) - 1)

WEIR_FN_ bool weir_str_equal(const weir_str *a, const weir_str *b)
{
    if (memcmp(a, b, 8) != 0) return false; /* length and prefix */
    if (a->len <= WEIR_STR_INLINE) return memcmp(a->u.tail, b->u.tail, 8) == 0;
    return memcmp(a->u.far, b->u.far, a->len) == 0;
}

/* Whole string or false; *value is untouched then. */
bool weir_str_to_i64(const weir_str *s, int64_t *value);
bool weir_str_to_f64(const weir_str *s, double *value);

/* ---- time: an instant is a struct, a duration is a number, so they cannot be mixed ------------------------------- */
typedef struct weir_time {
    int64_t ns; /* since 1970-01-01 UTC */
} weir_time;
typedef int64_t weir_duration; /* nanoseconds */
typedef struct weir_span {
    weir_time start, end; /* [start, end) */
} weir_span;

#define WEIR_MICROSECOND INT64_C(1000)
#define WEIR_MILLISECOND INT64_C(1000000)
#define WEIR_SECOND      INT64_C(1000000000)
#define WEIR_MINUTE      (60 * WEIR_SECOND)
#define WEIR_HOUR        (60 * WEIR_MINUTE)
#define WEIR_DAY         (24 * WEIR_HOUR)
#define WEIR_NO_TIME     INT64_MIN /* "no event time", "no watermark in this record", "timer not set" */

/* t + d, saturating at the ends of time, so that "never" stays never. */
WEIR_FN_ weir_time weir_after(weir_time t, weir_duration d)
{
    int64_t ns;
    if (__builtin_add_overflow(t.ns, d, &ns)) ns = d > 0 ? INT64_MAX : INT64_MIN + 1;
    t.ns = ns;
    return t;
}
WEIR_FN_ weir_duration weir_between(weir_time from, weir_time to)
{
    return to.ns - from.ns;
}

/* ---- schema: one row per field; the only source for wire, keys, formats, snapshots, `weir state` ----------------- */
enum weir_kind {
    WEIR_NOT_A_KIND = 0,
    WEIR_BOOL,
    WEIR_I8,
    WEIR_I16,
    WEIR_I32,
    WEIR_I64,
    WEIR_U8,
    WEIR_U16,
    WEIR_U32,
    WEIR_U64,
    WEIR_F32,
    WEIR_F64,
    WEIR_TIME,
    WEIR_STR,
    WEIR_BYTES, /* records */
    WEIR_TEXT,
    WEIR_EVENT_TIMER,
    WEIR_CLOCK_TIMER,
    WEIR_CELL_VALUE,
    WEIR_CELL_LIST,
    WEIR_CELL_TABLE,   /* state only */
    WEIR_ARRAY = 0x40, /* flag: fixed array of a numeric kind */
    /* flag, reserved: the field may be null, by a presence bitmap. Engines of this ABI refuse it */
    WEIR_OPTIONAL = 0x80
};

typedef struct weir_type weir_type;
typedef struct weir_field {
    const char      *name;
    uint32_t         offset, size; /* bytes in the struct */
    uint32_t         kind;         /* enum weir_kind, with flags */
    uint32_t         key;          /* tables: byte offset of the key field in the element */
    const weir_type *element;      /* value, list, table: what they hold */
    weir_duration    ttl;          /* list, table: of each element; 0 = for ever */
    uint32_t         key_kind;     /* tables: enum weir_kind of the key field */
    uint32_t         logical;      /* reserved, 0: a logical type over the kind (decimal, date, uuid) */
    uint64_t         reserved[2];  /* 0 */
} weir_field;
struct weir_type {
    uint32_t          abi_size; /* sizeof(weir_type) in the author's header */
    uint32_t          fields;
    const char       *name;
    uint32_t          size, align; /* bytes */
    const weir_field *field;
    const weir_field *keys;     /* accumulators: fields of the input that results take from the key; up to one without a
                                 * name; NULL: nobody has said */
    uint64_t          reserved; /* 0 */
};

/* Cells: fields of a state that own memory outside the struct. Opaque; all zero is empty. */
typedef struct weir_cell {
    uint64_t body;
    uint32_t count, flags;
} weir_cell;
typedef struct weir_text {
    weir_cell cell;
} weir_text;
typedef struct weir_event_timer {
    weir_time at; /* due time + 1 ns, so that a zeroed state has no timer and a timer at 0 ns can be; 0: not set */
} weir_event_timer;
typedef struct weir_clock_timer {
    weir_time at; /* as above */
} weir_clock_timer;

/* An iterator over stored rows; chunks come from the engine. Valid until the cell changes or the function returns. */
typedef struct weir_rows {
    const char *at, *end;
    void       *source;
    uint64_t    left;
    uint64_t    reserved[2];
} weir_rows;
bool weir_rows_refill(weir_rows *rows, size_t size);
WEIR_EXTERN_C_END_
#include <weir/kind.h>
#include <weir/token.h>
#endif
