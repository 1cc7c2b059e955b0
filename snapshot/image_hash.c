/* snapshot/image_hash.c: checksums of files with keyed state. */
#include "snapshot/image_format.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct wr_image_hasher {
    XXH3_state_t *state;
};

static void give(XXH128_hash_t from, uint64_t hash[2])
{
    hash[0] = from.low64;
    hash[1] = from.high64;
}

void wr_image_hash(const void *bytes, size_t n, uint64_t hash[2])
{
    give(XXH3_128bits(bytes, n), hash);
}

wr_image_hasher *wr_image_hasher_new(void)
{
    wr_image_hasher *hasher = malloc(sizeof *hasher);
    if (hasher == NULL) return NULL;
    hasher->state = XXH3_createState();
    if (hasher->state != NULL) return hasher;
    free(hasher);
    return NULL;
}

void wr_image_hasher_free(wr_image_hasher *hasher)
{
    if (hasher == NULL) return;
    (void)XXH3_freeState(hasher->state);
    free(hasher);
}

void wr_image_hasher_begin(wr_image_hasher *hasher)
{
    (void)XXH3_128bits_reset(hasher->state);
}

void wr_image_hasher_add(wr_image_hasher *hasher, const void *bytes, size_t n)
{
    (void)XXH3_128bits_update(hasher->state, bytes, n);
}

/* In two steps: the content is long, and the head is known only when the block is full. */
static void with_head(XXH128_hash_t content, const void *head, uint64_t hash[2])
{
    char both[sizeof content + offsetof(wr_image_block, hash)];
    memcpy(both, &content, sizeof content);
    memcpy(both + sizeof content, head, offsetof(wr_image_block, hash));
    give(XXH3_128bits(both, sizeof both), hash);
}

void wr_image_hasher_end(wr_image_hasher *hasher, const wr_image_block *head, uint64_t hash[2])
{
    with_head(XXH3_128bits_digest(hasher->state), head, hash);
}

void wr_image_block_hash(const void *block, uint64_t bytes, uint64_t hash[2])
{
    const char *content = (const char *)block + sizeof(wr_image_block);
    with_head(XXH3_128bits(content, bytes - sizeof(wr_image_block)), block, hash);
}

uint64_t wr_image_lineage_hash(const char *lineage)
{
    return XXH3_64bits(lineage, strlen(lineage));
}
