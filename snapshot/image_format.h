/* snapshot/image_format.h: what stands in a file with keyed state, version 1: docs/formats-state.md.
 *
 * A page with the head, blocks of payload, blocks of the footer, a page with the tail; all in whole pages. Numbers lie
 * as they do in memory on the machines that we run on, little endian. */
#ifndef WR_SNAPSHOT_IMAGE_FORMAT_H
#define WR_SNAPSHOT_IMAGE_FORMAT_H
#include "base/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WR_IMAGE_VERSION      1u
#define WR_IMAGE_MAGIC        "WEIRKEYS"
#define WR_IMAGE_TAIL_MAGIC   "WEIRTAIL"
#define WR_IMAGE_BLOCK_MAGIC  0x4b4c4257u /* "WBLK" */
#define WR_IMAGE_BLOCK_BYTES  ((uint64_t)WR_MIB(1))
#define WR_IMAGE_LINEAGE_MAX  64u
#define WR_IMAGE_FILES_MAX    65536u
#define WR_IMAGE_FOOTER_MAX   ((uint64_t)WR_MIB(1024))
#define WR_IMAGE_FAMILIES_MAX (WR_FIELDS_MAX + 2u)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files with keyed state are little endian; this machine needs a conversion"
#endif

/* First page of a file. hash: xxh3-128 of the bytes before it, low half first; so in the tail. */
typedef struct wr_image_head {
    char     magic[8];
    uint32_t version, increment; /* increment: 1 = what changed since the base, of all its tables */
    uint64_t id, base;           /* of the snapshot */
    uint32_t epoch, kind;        /* enum wr_snapshot_kind */
    uint64_t lineage_hash;
    char     job[WR_NAME_BYTES_MAX + 8], lineage[WR_IMAGE_LINEAGE_MAX + 8], weir[32];
    char     zero[4080 - 48 - (WR_NAME_BYTES_MAX + 8) - (WR_IMAGE_LINEAGE_MAX + 8) - 32];
    uint64_t hash[2];
} wr_image_head;

/* Last page. */
typedef struct wr_image_tail {
    char     magic[8];
    uint32_t version, footer_blocks;
    uint64_t id, lineage_hash;
    uint64_t footer_at, footer_bytes; /* where its first block begins; bytes of its content */
    uint64_t file_bytes;
    uint64_t head_hash[2], footer_hash[2]; /* footer_hash: of the content */
    char     zero[4080 - 88];
    uint64_t hash[2]; /* the file's: everything is below it by other hashes */
} wr_image_tail;

enum wr_image_block_kind { WR_IMAGE_PAYLOAD = 1, WR_IMAGE_FOOTER };

/* hash: of the hash of the block's bytes behind this head, padding included, followed by the head's bytes before it. */
typedef struct wr_image_block {
    uint32_t magic, sequence; /* sequence: counts payload and footer blocks together */
    uint64_t id, lineage_hash;
    uint32_t bytes, kind; /* bytes: of content, behind this head; zeros follow up to the next page */
    uint64_t at, zero;    /* at: its offset in the file */
    uint64_t hash[2];
} wr_image_block;

enum wr_piece_form {
    WR_PIECE_FULL = 1,  /* all entries */
    WR_PIECE_BITS,      /* a bit for each entry, in words of 64, then those whose bit is set */
    WR_PIECE_POSITIONS, /* 16-bit indices, filled up to 8 bytes, then the entries that they name */
};

/* Entries [first, first + entries) of one group's family, as they were at the barrier. A piece lies in one block. */
typedef struct wr_piece {
    uint32_t group, first, entries; /* group: absolute */
    uint32_t picked;                /* entries that follow */
    uint32_t bytes;                 /* of all that follows */
    uint32_t stride;
    uint16_t table; /* which of the footer's */
    uint8_t  family, form;
    uint32_t zero;
} wr_piece;

_Static_assert(sizeof(wr_image_head) == WR_PAGE_BYTES && sizeof(wr_image_tail) == WR_PAGE_BYTES, "whole pages");
_Static_assert(sizeof(wr_image_block) == 64 && offsetof(wr_image_block, hash) == 48, "");
_Static_assert(sizeof(wr_piece) == 32, "pieces keep their content aligned to 8 bytes");
_Static_assert(WR_IMAGE_FAMILIES_MAX <= 255, "a family fits a byte");

/* Bytes between a piece's head and its entries. */
static inline uint64_t wr_piece_index_bytes(uint32_t form, uint32_t entries, uint32_t picked)
{
    if (form == WR_PIECE_BITS) return ((uint64_t)entries + 63) / 64 * 8;
    if (form == WR_PIECE_POSITIONS) return ((uint64_t)picked * 2 + 7) & ~UINT64_C(7);
    return 0;
}

/* image_hash.c: xxh3-128, low half first. */
void wr_image_hash(const void *bytes, size_t n, uint64_t hash[2]);
void wr_image_block_hash(const void *block, uint64_t bytes, uint64_t hash[2]);
/* Of a block that is being filled. */
typedef struct wr_image_hasher wr_image_hasher;
wr_image_hasher               *wr_image_hasher_new(void); /* NULL: out of memory */
void                           wr_image_hasher_free(wr_image_hasher *hasher);
void                           wr_image_hasher_begin(wr_image_hasher *hasher);
void                           wr_image_hasher_add(wr_image_hasher *hasher, const void *bytes, size_t n);
void     wr_image_hasher_end(wr_image_hasher *hasher, const wr_image_block *head, uint64_t hash[2]);
uint64_t wr_image_lineage_hash(const char *lineage);

#endif
