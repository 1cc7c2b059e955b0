/* wire/members.h: structs described by tables, to and from msgpack maps. One table serves both directions, so they
 * cannot part, and every bound in it holds for both: what cannot be read is not written.
 *
 * Written are all members, in the table's order. When reading, any order will do, members that nobody knows are
 * skipped, none may stand twice, and none may be missing unless it is optional. */
#ifndef WR_WIRE_MEMBERS_H
#define WR_WIRE_MEMBERS_H
#include "base/arena.h"
#include "wire/pack.h"

typedef enum wr_member_kind {
    WR_IS_BOOL = 1,
    WR_IS_U32, /* max: the greatest value */
    WR_IS_U64, /* likewise */
    WR_IS_I64, /* min 0 when `max` is INT64_MAX, any value when it is UINT64_MAX */
    WR_IS_F64,
    WR_IS_STR,    /* const char *, at most max bytes; NULL is written as "" */
    WR_IS_CHARS,  /* char[max + 1] in the struct */
    WR_IS_FIXED,  /* uint8_t[max] in the struct */
    WR_IS_BYTES,  /* const char * and a uint32_t count of bytes, at most max */
    WR_IS_STRS,   /* const char *const * and a count, each at most max bytes */
    WR_IS_U32S,   /* uint32_t * and a count, each at most max */
    WR_IS_STRUCT, /* in the struct */
    WR_IS_LIST,   /* pointer and a count */
    WR_IS_TYPE,   /* const weir_type *, may be NULL: a schema */
    WR_IS_TYPES,  /* const weir_type *const * and a count; none is NULL */
    WR_IS_KEY,    /* weir_key in the struct */
    WR_IS_KEY_AT  /* const weir_key *, may be NULL */
} wr_member_kind;

typedef struct wr_struct wr_struct;
typedef struct wr_member {
    const char      *name;
    uint32_t         kind;
    uint32_t         at;        /* offset in the struct */
    uint32_t         count_at;  /* of the uint32_t that counts */
    uint32_t         count_max; /* STRS, U32S, LIST, TYPES */
    uint64_t         max;
    const wr_struct *of; /* STRUCT, LIST */
    /* May be missing or nil: then it is zero, but a STR is NULL. Written as nil when it is a NULL text, or a STRUCT
     * whose `empty` says so. */
    bool optional;
} wr_member;

struct wr_struct {
    const wr_member *member;
    uint32_t         members; /* at most 64 */
    uint32_t         bytes;   /* sizeof */
    /* What no single member shows: NULL, or why this is none. Texts are not NULL then, unless they are optional. */
    const char *(*wrong)(const void *it);
    bool (*empty)(const void *it); /* or NULL: never */
};

#define WR_MEMBER(TYPE, NAME, KIND, MAX)                                                                               \
    {                                                                                                                  \
        .name = #NAME, .kind = KIND, .at = offsetof(TYPE, NAME), .max = MAX                                            \
    }
#define WR_MEMBER_OF(TYPE, NAME, OF)                                                                                   \
    {                                                                                                                  \
        .name = #NAME, .kind = WR_IS_STRUCT, .at = offsetof(TYPE, NAME), .of = &(OF)                                   \
    }
/* A pointer and its count: LIST (OF), or STRS, U32S, BYTES, TYPES (MAX). */
#define WR_MEMBER_LIST(TYPE, NAME, COUNT, COUNT_MAX, OF)                                                               \
    {                                                                                                                  \
        .name = #NAME, .kind = WR_IS_LIST, .at = offsetof(TYPE, NAME), .count_at = offsetof(TYPE, COUNT),              \
        .count_max = COUNT_MAX, .of = &(OF)                                                                            \
    }
#define WR_MEMBER_MANY(TYPE, NAME, COUNT, KIND, COUNT_MAX, MAX)                                                        \
    {                                                                                                                  \
        .name = #NAME, .kind = KIND, .at = offsetof(TYPE, NAME), .count_at = offsetof(TYPE, COUNT),                    \
        .count_max = COUNT_MAX, .max = MAX                                                                             \
    }
#define WR_STRUCT(TYPE, MEMBERS, ...)                                                                                  \
    {                                                                                                                  \
        .member = MEMBERS, .members = sizeof MEMBERS / sizeof MEMBERS[0], .bytes = sizeof(TYPE), __VA_ARGS__           \
    }

/* NULL, or the member whose bound it does not keep, or what is wrong with it; then what was packed is worth nothing. */
const char *wr_struct_pack(wr_pack *p, const wr_struct *s, const void *it);
/* Fills *it, which is zeroed before; everything that it points to goes into the arena, which never grows beyond
 * bytes_max. On a problem `u` has it, and *it is not to be used. */
void wr_struct_unpack(wr_unpack *u, wr_arena *arena, size_t bytes_max, const wr_struct *s, void *it);

#endif
