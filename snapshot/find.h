/* snapshot/find.h: the batch look-ups of find_kernel.h, and which of them this CPU runs. */
#ifndef WR_SNAPSHOT_FIND_H
#define WR_SNAPSHOT_FIND_H
#include "snapshot/index.h"
#include "snapshot/table.h"

#define WR_FIND_MAX 1024u /* keys in one call */

/* state[i] = the state of key i, or anything when i stands in miss[]; returns how many stand there. key: the first
 * key (8 bytes, or a weir_str), which an entry begins with; the state lies state_at behind. */
typedef uint32_t wr_find_fn(const wr_index *index, char *base, uint32_t stride, const char *key, uint32_t key_stride,
                            const uint64_t *hash, uint32_t n, uint32_t state_at, void **state, uint32_t *miss);

/* As wr_find_fn for integers, but state[i] is where the number's value lies; the keys that are there but do not have
 * the number in its place go to rest[]. */
typedef uint32_t wr_find_place_fn(const wr_index *index, char *base, uint32_t stride, const char *key,
                                  uint32_t key_stride, const uint64_t *hash, uint32_t n, uint32_t state_at,
                                  void **state, uint32_t *miss, const wr_table_place *place, uint32_t *rest,
                                  uint32_t *rests);

wr_find_place_fn wr_find_in_place_plain;
wr_find_fn       wr_find_integer_plain, wr_find_string_plain;
#if defined(__x86_64__)
wr_find_fn       wr_find_integer_avx2, wr_find_string_avx2;
wr_find_fn       wr_find_integer_avx512, wr_find_string_avx512;
wr_find_place_fn wr_find_in_place_avx2, wr_find_in_place_avx512;
bool             wr_find_has_avx2(void);
bool             wr_find_has_avx512(void);
#endif
wr_find_fn       *wr_find_integer(void);
wr_find_fn       *wr_find_string(void);
wr_find_place_fn *wr_find_in_place(void);

#endif
