/* snapshot/table_inner.h: what the files of this folder know about a table. */
#ifndef WR_SNAPSHOT_TABLE_INNER_H
#define WR_SNAPSHOT_TABLE_INNER_H
#include "snapshot/find.h"
#include "snapshot/key.h"

#define WR_BLOB_UNIT    16u
#define WR_BLOB_CLASSES 40u /* 1, 2, 3, 4, 6, 8, 12 ... 2^20 units */
#define WR_ASK_AT_ONCE  32u /* look-ups that are prefetched together */
#define WR_NO_CELL      0xffu

/* One field of the state that owns memory outside it. Owner: its table. */
typedef struct wr_cell_plan {
    uint32_t         kind; /* WEIR_TEXT, WEIR_STR (a string of an accumulator), WEIR_CELL_VALUE, _LIST, _TABLE */
    uint32_t         offset;
    const weir_type *element;
    wr_family        family;                /* value: records; list: chunks; table: elements */
    wr_index         index;                 /* table: (id, key of the element) -> position */
    wr_key_layout    key;                   /* table: of the element; one field */
    uint32_t         rows;                  /* list: per chunk */
    uint32_t         record_at;             /* offset of the record in an element, of the first one in a chunk */
    int64_t          ttl_ns;                /* of each row of a list or table; 0: for ever */
    uint32_t         stamp_at;              /* of the time when it was written (8 bytes), of a chunk's first row */
    uint32_t         stamp_log2;            /* tables: stamps are multiples of 2^this ns */
    bool             has_family;            /* value, list, table */
    uint32_t         strings;               /* string fields of the element */
    uint32_t         string[WR_FIELDS_MAX]; /* their offsets */
} wr_cell_plan;

/* A cell's entry that was freed; given back at settle. */
typedef struct wr_pending {
    wr_family *family;
    uint32_t   position;
    uint32_t class; /* blobs: size class */
} wr_pending;

/* Where the strings of a family's entries lie: at + row * step + offset[i]. Owner: its table. */
typedef struct wr_strings {
    uint32_t at, rows, step, count;
    uint32_t offset[WR_FIELDS_MAX + WR_KEY_FIELDS_MAX];
} wr_strings;

struct wr_table {
    wr_table_config   config;
    wr_key_layout     key;
    uint32_t          id_at, state_at; /* offsets in the entry; id_at == 0 with state_at: no id */
    uint32_t          stamp_at;        /* of the time of the last write (8 bytes); 0: keys live for ever */
    bool              has_ids, owns;   /* owns: states hold cells */
    uint32_t          groups;
    wr_family         entries;
    wr_index          index;
    wr_family         blobs; /* units of 16 bytes; there when has_blobs */
    bool              has_blobs, marking, capturing;
    uint32_t         *blob_free; /* groups * classes: number + 1 of the first free blob */
    uint64_t          blob_free_bytes;
    uint64_t         *ids; /* per group: given so far */
    uint64_t          generation, count, bytes;
    uint64_t          met;        /* keys that were found, since wr_table_met */
    struct wr_timers *timers;     /* told of what is forgotten and moved; NULL: none */
    int64_t           now_ns;     /* what stamps get: wr_table_now */
    wr_table_sweep    sweep;      /* for what is over */
    bool              expires;    /* keys or rows have a time to live */
    wr_find_fn       *find;       /* NULL: no key */
    wr_find_place_fn *find_place; /* NULL: the key is not an integer */
    wr_pending       *pending;
    uint64_t         *forgotten; /* group << 32 | number */
    uint32_t          pendings, pendings_max, forgottens, forgottens_max;
    uint32_t          cells;
    wr_cell_plan     *cell;
    uint8_t          *cell_at;   /* state offset / 8 -> cell, or WR_NO_CELL */
    uint64_t         *ids_begin; /* at wr_capture_begin */
    uint32_t         *blob_free_begin;
    wr_strings       *strings;           /* per family; made by wr_table_strings */
    void             *staging;           /* of the writer of files */
    void (*staging_free)(void *staging); /* NULL when there is none */
};

static inline uint32_t wr_table_group_of(const wr_table *table, uint64_t hash)
{
    if (table->key.count == 0) return 0;
    return (uint32_t)(((hash >> 32) * table->config.max_parallelism) >> 32) - table->config.group_first;
}
static inline char *wr_table_entry_of(const wr_table *table, const void *state)
{
    return (char *)(uintptr_t)state - table->state_at;
}
static inline uint32_t wr_table_position_of(const wr_table *table, const void *state)
{
    return wr_family_position(&table->entries, wr_table_entry_of(table, state));
}
static inline uint32_t wr_table_state_group(const wr_table *table, const void *state)
{
    return wr_family_group_of(&table->entries, wr_table_position_of(table, state));
}
uint64_t wr_table_hash_at(const wr_table *table, uint32_t position);
/* A cell has changed in a way that its bytes in the state may not show. */
static inline void wr_table_wrote(const wr_table *table, void *state)
{
    if (table->stamp_at != 0) memcpy(wr_table_entry_of(table, state) + table->stamp_at, &table->now_ns, 8);
}
/* Later: at settle. */
void wr_table_pend(wr_table *table, wr_family *family, uint32_t position, uint32_t class);

/* cells.c */
wr_err        wr_cells_init(wr_table *table, wr_errinfo *info);
void          wr_cells_fini(wr_table *table);
void          wr_cells_release(wr_table *table,
                               void     *state); /* everything that the state owns; the state is zeroed by the caller */
wr_cell_plan *wr_cell_of(const wr_table *table, const void *state, const void *cell);
/* Copies a record's strings into blobs of the group, and repoints them; all or nothing. */
wr_err wr_cell_own_strings(wr_table *table, uint32_t group, const wr_cell_plan *plan, char *record);
void   wr_cell_free_strings(wr_table *table, const wr_cell_plan *plan, const char *record);
void   wr_cell_free_value(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell);

/* timer.c */
void wr_timers_forgotten(struct wr_timers *timers, const void *state); /* about to be zeroed */
void wr_timers_moved(struct wr_timers *timers, uint32_t position);     /* an entry has come here */

/* ttl.c */
void wr_ttl_found(wr_table *table, void *const *state, uint8_t *fresh, uint32_t n); /* marked */
bool wr_ttl_gone(const wr_table *table, uint32_t position);                         /* the key's time is over */
void wr_ttl_cells(wr_table *table, void *state); /* drops the rows whose time is over; marked */
bool wr_list_expired(const wr_table *table, const void *state, const wr_cell_plan *plan, const weir_cell *cell);
void wr_list_expire(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell);
bool wr_element_expired(const wr_table *table, const wr_cell_plan *plan, const weir_cell *cell); /* perhaps */
void wr_element_expire(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell);

static inline bool wr_ttl_over(const wr_table *table, int64_t stamp, int64_t ttl_ns)
{
    return (int64_t)((uint64_t)table->now_ns - (uint64_t)stamp) >= ttl_ns;
}

/* capture.c */
void wr_capture_fini(wr_table *table);
/* The i-th family in the order of files, or NULL when the table has no such. */
wr_family *wr_table_family(const wr_table *table, uint32_t i);
/* piece.c: of all families; false: out of memory. */
bool wr_table_strings(wr_table *table);

/* list.c, element.c */
void     wr_list_clear(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell);
bool     wr_list_refill(wr_cell_plan *plan, weir_rows *rows);
void     wr_list_rows_remove(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell, weir_rows *rows);
void     wr_element_clear(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell);
bool     wr_element_refill(wr_cell_plan *plan, weir_rows *rows);
void     wr_element_rows_remove(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell, weir_rows *rows);
uint64_t wr_element_hash_at(const void *plan, uint32_t position);

/* blob.c: immutable bytes. */
wr_err wr_blobs_init(wr_table *table, wr_errinfo *info);
void   wr_blobs_fini(wr_table *table);
char *wr_blob_new(wr_table *table, uint32_t group, const char *bytes, uint32_t len); /* 12 < len <= WR_CELL_BYTES_MAX */
void  wr_blob_free(wr_table *table, const char *bytes, uint32_t len);                /* at settle */
void  wr_blob_give(wr_table *table, uint32_t position, uint32_t class);
uint32_t wr_blob_class(uint32_t len);
uint64_t wr_blob_class_units(uint32_t class);

#endif
