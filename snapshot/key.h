/* snapshot/key.h: how the keys of an operator lie in its records and in its entries. Pure. */
#ifndef WR_SNAPSHOT_KEY_H
#define WR_SNAPSHOT_KEY_H
#include "base/error.h"
#include "base/hash.h"
#include <stdbool.h>
#include <weir/op.h>

/* One field: an integer widened to 8 bytes, or the 16 bytes of a weir_str. */
typedef struct wr_key_part {
    uint32_t offset; /* in the record */
    uint32_t kind;
    uint32_t place; /* in the entry */
    bool     string;
} wr_key_part;

enum wr_key_shape { WR_KEY_NONE, WR_KEY_INTEGER, WR_KEY_STRING, WR_KEY_COMPOSITE };

/* An entry's key: the fields one after another, then, when one is a string, the hash. */
typedef struct wr_key_layout {
    uint32_t    shape;
    uint32_t    count;
    uint32_t    fields_bytes; /* without the hash */
    uint32_t    bytes;        /* with it */
    uint32_t    strings;
    wr_key_part part[4];
} wr_key_layout;

wr_err wr_key_layout_of(wr_key_layout *layout, const weir_key *key, wr_errinfo *info);
/* Whether a field of this kind is a string; false for what is not a key, in which case *known is false. */
bool wr_key_is_string(uint32_t kind, bool *known);
/* An integer, bool or time at `field`, widened by value. */
uint64_t wr_key_widen(uint32_t kind, const void *field);
void     wr_key_narrow(uint32_t kind, uint64_t value, void *field);
/* Widens the field of n records (pick == NULL: the first n). */
void wr_key_widen_all(uint32_t kind, const char *field, uint32_t stride, const uint32_t *pick, uint32_t n,
                      uint64_t *to);
/* The key of a record as it lies in an entry, without the hash. Far strings are borrowed. */
void wr_key_pack(const wr_key_layout *layout, const void *record, void *packed);
bool wr_key_equal(const wr_key_layout *layout, const void *packed, const void *entry);
/* Of a packed key without looking at a stored hash. */
uint64_t wr_key_hash_packed(const wr_key_layout *layout, const void *packed);
/* wr_fmix64 of n words that lie `stride` bytes apart, for each instruction set; wr_key_hash chooses. */
typedef void    wr_key_words_fn(const char *field, uint32_t stride, uint32_t n, uint64_t *hash);
wr_key_words_fn wr_key_words_plain;
#if defined(__x86_64__)
wr_key_words_fn wr_key_words_avx2, wr_key_words_avx512;
#endif
/* Back into a record. */
void wr_key_scatter(const wr_key_layout *layout, const void *entry, void *record);

/* The bytes of two strings of equal length and more than 12 bytes. Inline: memcmp through the linker costs more than
 * this. */
static inline bool wr_key_far_equal(const char *a, const char *b, uint32_t len)
{
    uint64_t x, y, difference = 0;
    uint32_t i = 0;
    for (; i + 8 < len; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        difference |= x ^ y;
        if (__builtin_expect((i & 63) == 56 && difference != 0, 0)) return false;
    }
    memcpy(&x, a + len - 8, 8);
    memcpy(&y, b + len - 8, 8);
    return (difference | (x ^ y)) == 0;
}

#endif
