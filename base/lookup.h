/* base/lookup.h: numbers of things, found again by the hash of their names. For lists that may be long and are looked
 * through for each new name: files, splits; not per record. */
#ifndef WR_BASE_LOOKUP_H
#define WR_BASE_LOOKUP_H
#include <stdbool.h>
#include <stdint.h>

#define WR_LOOKUP_NONE UINT32_MAX

typedef struct wr_lookup_place {
    uint64_t hash;
    uint32_t number; /* + 1; 0: free */
} wr_lookup_place;

/* One owner, one thread. Zero is an empty one; at most half of its places are taken. */
typedef struct wr_lookup {
    wr_lookup_place *place;
    uint32_t         count, room; /* room: 0 or a power of two */
} wr_lookup;

void wr_lookup_fini(wr_lookup *lookup); /* empty after it */
/* number: less than WR_LOOKUP_NONE - 1. Several may have the same hash. False: no memory, and nothing is changed. */
bool wr_lookup_add(wr_lookup *lookup, uint64_t hash, uint32_t number);
/* The next number with this hash, or WR_LOOKUP_NONE; *step is 0 at first, and belongs to this call. What has the hash
 * may still have another name: the caller compares. */
uint32_t wr_lookup_next(const wr_lookup *lookup, uint64_t hash, uint32_t *step);

#endif
