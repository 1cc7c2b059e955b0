/* snapshot/rows_format.h: what stands in a file of logical rows, version 1: docs/formats-savepoint.md.
 *
 * A frame (wire/frame.h) whose body is a msgpack map with the schemas; blocks; an end block. A block holds items: a key
 * with the plain fields of its state, and behind it rows of its cells, perhaps on into the next blocks. */
#ifndef WR_SNAPSHOT_ROWS_FORMAT_H
#define WR_SNAPSHOT_ROWS_FORMAT_H
#include "snapshot/rows.h"
#include "wire/pack.h"
#include <xxhash.h>

#define WR_ROWS_VERSION     1u
#define WR_ROWS_BLOCK_MAGIC 0x53574f52u           /* "ROWS" */
#define WR_ROWS_END_MAGIC   0x53444e45u           /* "ENDS" */
#define WR_ROWS_BLOCK_BYTES ((size_t)WR_KIB(256)) /* a block is closed when it has so many */
#define WR_ROWS_BLOCK_MAX   ((size_t)WR_MIB(512)) /* with one very large item */
#define WR_ROWS_HEAD_MAX    ((size_t)WR_MIB(16))

/* Groups: those of all keys whose items are in it, absolute. The end block's body: keys, blocks (8 bytes each). */
typedef struct wr_rows_block {
    uint32_t magic, bytes, keys, group_first, group_end, zero;
    uint64_t hash; /* xxh3-64 of the body, its seed the hash of the offset (8 bytes) and of all before this member */
} wr_rows_block;
_Static_assert(sizeof(wr_rows_block) == 32, "");

enum wr_rows_item {
    WR_ROWS_KEY = 1, /* [stamp] key fields, plain fields */
    WR_ROWS_CELL     /* u16 field, u32 rows; each row: [stamp] record; of a text: u32 length, bytes */
};

/* What the head says. Types are borrowed. */
typedef struct wr_rows_head {
    const char      *job, *lineage, *uid;
    uint64_t         snapshot;
    uint32_t         max_parallelism;
    const weir_type *record, *state;
    weir_key         key;
    wr_rows_stamps   stamps;
} wr_rows_head;

void wr_rows_head_put(wr_pack *file, const wr_rows_head *head); /* with its frame; file is empty */
/* Strings and types go into the arena. n: bytes of the frame. */
wr_err wr_rows_head_read(wr_rows_head *head, wr_arena *arena, const char *bytes, size_t n, const char *path,
                         wr_errinfo *info);

/* A type with the key fields only, and one with all fields of a state but cells and texts; as large as the whole. */
typedef struct wr_rows_types {
    weir_type  key, plain;
    weir_field key_field[WR_KEY_FIELDS_MAX], plain_field[WR_FIELDS_MAX];
} wr_rows_types;
void wr_rows_types_of(wr_rows_types *types, const weir_type *record, const weir_key *key, const weir_type *state);

static inline bool wr_rows_is_cell(uint32_t kind) /* or a text */
{
    return kind == WEIR_TEXT || kind == WEIR_CELL_VALUE || kind == WEIR_CELL_LIST || kind == WEIR_CELL_TABLE;
}

static inline uint64_t wr_rows_hash(const wr_rows_block *head, uint64_t offset, const char *body)
{
    uint64_t words[4] = {offset};
    memcpy(words + 1, head, 24);
    return XXH3_64bits_withSeed(body, head->bytes, XXH3_64bits(words, sizeof words));
}

#endif
