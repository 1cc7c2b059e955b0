/* wire/pack.h: msgpack, both ways. Packing goes through msgpack-c; unpacking is a cursor over the bytes, because the
 * library allocates by counts that the bytes only claim. */
#ifndef WR_WIRE_PACK_H
#define WR_WIRE_PACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Owner: the caller, one thread. Zero is an empty one. */
typedef struct wr_pack {
    char  *data; /* wr_pack_free, or take it and free() it */
    size_t bytes, room;
} wr_pack;

void wr_pack_free(wr_pack *p);
void wr_pack_raw(wr_pack *p, const void *bytes, size_t n); /* as they are */
void wr_pack_map(wr_pack *p, uint32_t members);
void wr_pack_array(wr_pack *p, uint32_t elements);
void wr_pack_nil(wr_pack *p);
void wr_pack_bool(wr_pack *p, bool value);
void wr_pack_u64(wr_pack *p, uint64_t value);
void wr_pack_i64(wr_pack *p, int64_t value);
void wr_pack_f64(wr_pack *p, double value);
void wr_pack_str(wr_pack *p, const char *text); /* NULL: nil */
void wr_pack_bin(wr_pack *p, const void *bytes, size_t n);

/* Caller's storage, one thread. After the first problem every function gives 0, false, NULL; look once at the end. */
typedef struct wr_unpack {
    const char *begin, *at, *end;
    const char *problem; /* NULL: none */
    size_t      offset;  /* of the problem, behind `begin` */
    uint32_t    depth;
} wr_unpack;

void wr_unpack_init(wr_unpack *u, const void *bytes, size_t n);
void wr_unpack_fail(wr_unpack *u, const char *problem); /* the first one wins */
/* How many members or elements follow. Never more than there are bytes left for them, so memory may be taken by it.
 * Each is left by wr_unpack_leave once all of them were read. */
uint32_t wr_unpack_map(wr_unpack *u);
uint32_t wr_unpack_array(wr_unpack *u);
void     wr_unpack_leave(wr_unpack *u);
/* The next key of a map: its index in names, or -1 after it has skipped the value of a key that nobody knows. `seen`
 * has a bit per name: a key that comes twice is a problem. At most 64 names. */
int      wr_unpack_key(wr_unpack *u, const char *const names[], uint32_t n, uint64_t *seen);
bool     wr_unpack_is_nil(wr_unpack *u); /* takes it when it is */
bool     wr_unpack_bool(wr_unpack *u);
uint64_t wr_unpack_u64(wr_unpack *u, uint64_t max);
int64_t  wr_unpack_i64(wr_unpack *u);
double   wr_unpack_f64(wr_unpack *u); /* always 8 bytes behind their tag; any value, NaN included */
/* Not ended by a zero byte, which it does not contain; points into the bytes. */
const char *wr_unpack_str(wr_unpack *u, size_t max, size_t *n);
const char *wr_unpack_bin(wr_unpack *u, size_t max, size_t *n);
void        wr_unpack_skip(wr_unpack *u); /* one value with all that is in it */
void        wr_unpack_end(wr_unpack *u);  /* a problem unless nothing is left */

#endif
