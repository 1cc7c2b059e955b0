/* snapshot/image_inner.h: what the files image*.c know of each other. */
#ifndef WR_SNAPSHOT_IMAGE_INNER_H
#define WR_SNAPSHOT_IMAGE_INNER_H
#include "snapshot/image.h"
#include "snapshot/piece.h"
#include "snapshot/table_inner.h"
#include <string.h>

/* ---- image_bytes.c: bytes that grow, and bytes that are read with every step checked ----------------------------- */

/* Owner: who writes. failed: out of memory; everything after it does nothing. */
typedef struct wr_bytes {
    char  *at;
    size_t n, max;
    bool   failed;
} wr_bytes;
void wr_bytes_put(wr_bytes *bytes, const void *from, size_t n);
void wr_bytes_u32(wr_bytes *bytes, uint32_t value);
void wr_bytes_u64(wr_bytes *bytes, uint64_t value);
void wr_bytes_text(wr_bytes *bytes, const char *text);
/* At the end it gives zeros and `failed`. */
typedef struct wr_reading {
    const char *at, *end, *begin;
    bool        failed;
} wr_reading;
const char *wr_reading_take(wr_reading *reading, size_t n); /* NULL: not there */
uint32_t    wr_reading_u32(wr_reading *reading);
uint64_t    wr_reading_u64(wr_reading *reading);

/* image_create.c: around the page cache where the file system can. */
#define WR_IMAGE_NEW (WR_OPEN_CREATE | WR_OPEN_EXCLUSIVE)
int wr_image_open_write(const wr_env *env, const char *path, int flags);

/* The layout of a table's entries, so that equal bytes mean that entries may be copied. */
void wr_layout_put(wr_bytes *bytes, const wr_table *table);

/* ---- image_file.c, image_footer.c: a file as it was read --------------------------------------------------------- */

typedef struct wr_footer_block {
    uint64_t at;
    uint32_t size, bytes; /* size: with head and padding */
    uint64_t hash[2];
} wr_footer_block;

/* Of one key group in one file. */
typedef struct wr_footer_group {
    uint64_t    start; /* block << 32 | offset in its content: of its first piece, or where it would be */
    uint64_t    ids;
    const char *counts; /* per family: count, free; u32 each, unaligned */
    const char *frees;  /* free_count times class, head */
    uint32_t    free_count;
} wr_footer_group;

typedef struct wr_footer_table {
    char             uid[WR_NAME_BYTES_MAX + 1];
    uint32_t         max_parallelism, group_first, group_end, families;
    bool             increment;
    uint32_t         stride[WR_IMAGE_FAMILIES_MAX]; /* 0: there is no such family */
    const char      *layout;
    uint32_t         layout_bytes;
    uint64_t         keys;
    wr_footer_group *group; /* group_end - group_first of them, and one more for the end of the last one's pieces */
} wr_footer_table;

/* Owner: who opened the file, one thread. */
typedef struct wr_image_file {
    const wr_env    *env;
    char             path[WR_PATH_BYTES_MAX];
    int              file;
    wr_image_head   *head; /* aligned to pages, and so is the tail */
    wr_image_tail   *tail;
    char            *footer;
    wr_footer_block *block;
    uint32_t         blocks, tables;
    wr_footer_table *table;
} wr_image_file;

/* Opens and reads everything but the payload; what is wrong is named. `state` says what the file must be. Zeroed by
 * this; wr_image_file_close at any time. */
wr_err wr_image_file_open(wr_image_file *f, const wr_env *env, const char *folder, const wr_state_file *state,
                          wr_errinfo *info);
void   wr_image_file_close(wr_image_file *f);
/* Out of n bytes of content: everything is checked that can be checked without the payload. Borrows them. */
wr_err wr_footer_read(wr_image_file *f, const char *bytes, size_t n, wr_errinfo *info);
wr_err wr_image_damaged(const wr_image_file *f, uint64_t offset, wr_errinfo *info, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Reads all of [offset, offset + n); whole pages, `to` is aligned to them. */
/* The first 8 bytes, zeros where it is shorter; 0 or -errno. */
int    wr_image_first_bytes(const wr_env *env, const char *path, char first[8]);
wr_err wr_image_file_read(const wr_image_file *f, void *to, size_t n, uint64_t offset, wr_errinfo *info);
/* A block as it was read from `at`: its head and its checksum. */
wr_err wr_image_block_check(const wr_image_file *f, const char *block, uint64_t size, uint64_t at, uint32_t kind,
                            uint32_t sequence, wr_errinfo *info);

static inline uint32_t wr_footer_count(const wr_footer_table *table, uint32_t group, uint32_t family)
{
    uint32_t value;
    memcpy(&value, table->group[group - table->group_first].counts + family * 8u, 4);
    return value;
}
static inline uint32_t wr_footer_free(const wr_footer_table *table, uint32_t group, uint32_t family)
{
    uint32_t value;
    memcpy(&value, table->group[group - table->group_first].counts + family * 8u + 4, 4);
    return value;
}

/* ---- image_stream.c: the pieces of a file, in order -------------------------------------------------------------- */

/* Memory and a queue for reading; used by one file after the other. Owner: who loads, one thread. */
typedef struct wr_image_reads {
    const wr_env *env;
    wr_parker     parker;
    wr_io        *io; /* NULL: plain reads */
    char         *base;
    bool          has_parker;
} wr_image_reads;
wr_err wr_image_reads_init(wr_image_reads *reads, const wr_env *env, wr_errinfo *info);
void   wr_image_reads_fini(wr_image_reads *reads);

/* Some groups of one table. */
typedef struct wr_image_range {
    uint32_t table, group_first, group_end; /* groups: absolute, within the file's */
} wr_image_range;
/* Calls `each` for every piece of the range (NULL: of the file), verified against its block's checksum and the footer:
 * it is of a known table, group and family, within the count, in order, and a full image leaves nothing out. Ends with
 * the first error of `each`. */
typedef wr_err wr_image_each(void *arg, const wr_piece *piece, wr_errinfo *info);
wr_err wr_image_pieces(wr_image_file *f, wr_image_reads *reads, const wr_image_range *range, wr_image_each *each,
                       void *arg, wr_errinfo *info);

/* ---- image_link.c ------------------------------------------------------------------------------------------------ */

/* Scratch memory of linking; zero to begin. */
typedef struct wr_linking {
    uint64_t *bits[WR_IMAGE_FAMILIES_MAX]; /* free entries */
    uint64_t  words[WR_IMAGE_FAMILIES_MAX];
} wr_linking;
void wr_linking_fini(wr_linking *linking);
/* All entries of the group are there: numbers become addresses, what entries say of each other is checked, and they go
 * into the indexes. `path` is for messages. */
wr_err wr_group_link(wr_table *table, uint32_t group, wr_linking *linking, const char *path, wr_errinfo *info);

#endif
