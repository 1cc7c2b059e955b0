/* snapshot/image_hash.c: checksums of files with keyed state. */
#include "base/sum.h"
#include "snapshot/image_format.h"
#include <stdlib.h>
#include <string.h>

/* Owner: its writer, whichever thread that is. */
struct wr_image_hasher {
    const wr_sum *sum;
    wr_sum_state  state;
};

void wr_image_hash(const void *bytes, size_t n, uint64_t hash[2])
{
    wr_sum_best()->of128(bytes, n, hash);
}

wr_image_hasher *wr_image_hasher_new(void)
{
    wr_image_hasher *hasher = aligned_alloc(_Alignof(wr_image_hasher), sizeof *hasher);
    if (hasher != NULL) hasher->sum = wr_sum_best();
    return hasher;
}

void wr_image_hasher_free(wr_image_hasher *hasher)
{
    free(hasher);
}

void wr_image_hasher_begin(wr_image_hasher *hasher)
{
    hasher->sum->begin(&hasher->state);
}

void wr_image_hasher_add(wr_image_hasher *hasher, const void *bytes, size_t n)
{
    hasher->sum->add(&hasher->state, bytes, n);
}

/* In two steps: the content is long, and the head is known only when the block is full. */
static void with_head(const uint64_t content[2], const void *head, uint64_t hash[2])
{
    char both[16 + offsetof(wr_image_block, hash)];
    memcpy(both, content, 16);
    memcpy(both + 16, head, offsetof(wr_image_block, hash));
    wr_image_hash(both, sizeof both, hash);
}

void wr_image_hasher_end(wr_image_hasher *hasher, const wr_image_block *head, uint64_t hash[2])
{
    uint64_t content[2];
    hasher->sum->end(&hasher->state, content);
    with_head(content, head, hash);
}

void wr_image_block_hash(const void *block, uint64_t bytes, uint64_t hash[2])
{
    uint64_t content[2];
    wr_image_hash((const char *)block + sizeof(wr_image_block), bytes - sizeof(wr_image_block), content);
    with_head(content, block, hash);
}

uint64_t wr_image_lineage_hash(const char *lineage)
{
    return wr_sum_best()->of64(lineage, strlen(lineage), 0);
}
