/* snapshot/table.h: keyed state of one operator in one slot: a table from key to state, and the cells of the states.
 *
 * Owner: the slot that runs the operator; one thread; nothing here takes a lock. All memory of state is counted in
 * the slot's wr_budget. One batch goes: wr_key_hash, wr_table_find, the user's loop (cells, wr_table_forget),
 * wr_table_settle. */
#ifndef WR_SNAPSHOT_TABLE_H
#define WR_SNAPSHOT_TABLE_H
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <weir/op.h>

/* Owner: a slot, its thread. Memory of keyed state: counted, and bounded by --state-max. `exceeded` stays set; state
 * handed out is complete all the same, and the caller fails the task after the batch. Zero: no bound. */
struct wr_ahead;
typedef struct wr_budget {
    uint64_t         bytes;     /* now: regions, index, bitmaps, undo */
    uint64_t         bytes_max; /* 0: no bound */
    bool             exceeded;
    struct wr_ahead *ahead; /* touches the memory of large tables in advance; NULL: nobody does */
} wr_budget;

typedef struct wr_table wr_table;

/* Caller's storage, read during wr_table_new only; uid, record, state and budget must outlive the table. */
typedef struct wr_table_config {
    const char      *uid;    /* for messages */
    const weir_type *record; /* what the keys are taken from; its size is the stride of `records` below */
    weir_key         key;    /* bool, integers, time, str, bytes */
    const weir_type *state;  /* state[i] points at one of these, zeroed when new, aligned to 8 */
    uint32_t         max_parallelism;
    uint32_t         group_first, group_end; /* key groups of this subtask: [first, end) */
    wr_budget       *budget;
    bool             large_pages; /* ask for huge pages once the table is large */
    int64_t          ttl_ns;      /* of a key's whole state, by wr_table_now; 0: for ever */
    uint32_t         ttl_rule;    /* enum weir_ttl_rule */
} wr_table_config;

/* WR_MEMORY when the system has no address space, WR_LIMIT when a bound of base/limits.h is exceeded, WR_NOT_YET for
 * a kind of key or cell that is not available. */
wr_err wr_table_new(wr_table **take, const wr_table_config *config, wr_errinfo *info);
void   wr_table_free(wr_table *table); /* NULL is nothing */

/* Hash of the keys of n records that lie `stride` bytes apart: integers widened by value through wr_fmix64, strings by
 * wr_hash_str, composite keys by wr_hash_fold in field order, no key: 0. Any thread. */
void wr_key_hash(const weir_key *key, const void *records, uint32_t stride, uint32_t n, uint64_t *hash);
/* The same for the picked records only: fills hash[pick[j]]. */
void wr_key_hash_picked(const weir_key *key, const void *records, uint32_t stride, const uint32_t *pick,
                        uint32_t pick_n, uint64_t *hash);

/* Finds or creates the states of all n records, or of the picked ones (pick == NULL: 0 to n-1; indices ascending or
 * not). Fills state[i] and, unless fresh is NULL, fresh[i]: 1 = made for this record. Entries are marked for the
 * snapshot. Pointers stay valid until wr_table_settle. n <= WR_BATCH_RECORDS_MAX. False when the budget is exceeded:
 * state[] is complete. */
bool wr_table_find(wr_table *table, const void *records, uint32_t n, const uint64_t *hash, const uint32_t *pick,
                   uint32_t pick_n, void **state, uint8_t *fresh);
#define WR_PLACE_BITS 8u /* of a word of places: which are in use; above them the lowest number */
/* States with values of several numbers, number m in place m mod places. One word says which are there: bits [8, 64)
 * the lowest number, bit p < 8 whether place p is in use. */
typedef struct wr_table_place {
    int64_t  number;
    uint32_t word;  /* its offset in the state */
    uint32_t value; /* the offset of its value there */
    uint32_t place, places;
    int64_t  alive;  /* numbers below it are over: what their places hold is nothing */
    uint32_t others; /* the offset of a uint32_t: how many numbers lie elsewhere */
    uint32_t words; /* 8 bytes each, of a value: zero when the number takes the place; 0: only the caller may take it */
} wr_table_place;
static inline uint32_t wr_table_placed(const wr_table_place *in, uint64_t word)
{
    uint64_t above = (uint64_t)in->number - (uint64_t)((int64_t)word >> WR_PLACE_BITS);
    return (uint32_t)(above < in->places) & (uint32_t)(word >> in->place) & 1;
}
/* Whether no place is in use, or only that of a number that is over: so it is nearly always, where one number comes
 * after the other. */
static inline bool wr_table_all_over(const wr_table_place *in, uint64_t word)
{
    int64_t  base = (int64_t)word >> WR_PLACE_BITS;
    uint64_t used = word & ((1u << WR_PLACE_BITS) - 1), lowest = UINT64_C(1) << ((uint32_t)base & (in->places - 1));
    return (used == 0) | ((used == lowest) & (base < in->alive));
}
/* The number takes its place, alone; its value is zero. */
static inline void wr_table_put_place(const wr_table_place *in, char *state)
{
    uint64_t alone = (uint64_t)in->number << WR_PLACE_BITS | UINT64_C(1) << in->place;
    memcpy(state + in->word, &alone, 8);
    if (in->words == 2) { /* most are a sum and a count */
        memset(state + in->value, 0, 16);
        return;
    }
    for (uint32_t i = 0; i < in->words; i++) memset(state + in->value + i * 8u, 0, 8);
}
/* The same in a state where all is over and nothing lies elsewhere; false: it is not such a one. */
static inline bool wr_table_take_place(const wr_table_place *in, char *state)
{
    uint64_t word;
    uint32_t others;
    memcpy(&word, state + in->word, 8);
    memcpy(&others, state + in->others, 4);
    if (__builtin_expect((others != 0) | !wr_table_all_over(in, word), 0)) return false;
    wr_table_put_place(in, state);
    return true;
}
/* Whether wr_table_find_place is there for this table: its key is one integer. */
bool wr_table_has_find_place(const wr_table *table);
/* As wr_table_find of all n records, but value[] says where the number's value lies. At once, as the word has come from
 * memory with the key, numbers take their places (wr_table_take_place) while no snapshot is being taken; rest[] lists
 * those whose state does not have the number in its place then, new states among them; those of one key in their order.
 * How many: *rests. */
bool wr_table_find_place(wr_table *table, const void *records, uint32_t n, const uint64_t *hash,
                         const wr_table_place *place, void **value, uint8_t *fresh, uint32_t *rest, uint32_t *rests);
/* Looks only: state[i] = NULL when the key is unknown; marks nothing. What it gives must not be written. */
void wr_table_peek(const wr_table *table, const void *records, uint32_t n, const uint64_t *hash, const uint32_t *pick,
                   uint32_t pick_n, void **state);

/* Zeroes a state that wr_table_find gave in this batch, and releases what its cells own. The entry goes at
 * wr_table_settle, unless its state is no longer zero then: a later record of the batch has used it again. */
void wr_table_forget(wr_table *table, void *state);
/* After each batch in which find, forget or a cell was used: removes forgotten entries (the group's last entry fills
 * the hole) and lets freed cells be used again. All pointers into the table are invalid after it. Costs nothing when
 * there is nothing. */
void wr_table_settle(wr_table *table);

uint64_t wr_table_count(const wr_table *table); /* keys */
uint64_t wr_table_generation(
    const wr_table *table); /* changes when an entry may have moved: lookaside lines are dropped */
uint64_t               wr_table_bytes(const wr_table *table); /* this table's share of the budget */
uint32_t               wr_table_state_size(const wr_table *table);
const wr_table_config *wr_table_config_of(const wr_table *table);

/* A walk over all entries in key-group order. Zero to begin. No find that creates, and no settle, in between. */
typedef struct wr_table_scan {
    uint32_t group; /* next one, relative to group_first */
    uint32_t entry; /* next one in the group */
} wr_table_scan;
/* Up to n entries: their states, and in keys[] (may be NULL) n records of the record type with only the key fields
 * set, all else zero; strings point into the table. Returns how many; 0 at the end. Marks nothing: to write,
 * wr_table_touch first. */
uint32_t wr_table_scan_next(wr_table *table, wr_table_scan *scan, void **state, void *keys, uint32_t n);
/* A walk that may forget what it has come by: group by group, each from its last entry to its first. Gives up to n
 * entries that lie side by side in one group (*group: absolute), in order of address. wr_table_forget of entries given
 * so far and wr_table_settle are allowed between two calls; finds that create are not. Zero to begin. */
typedef struct wr_table_sweep {
    uint32_t group, left; /* left: entries of the group that were not given yet */
    bool     inside;
} wr_table_sweep;
uint32_t wr_table_sweep_next(wr_table *table, wr_table_sweep *sweep, void **state, uint32_t n, uint32_t *group);
/* A walk over all entries in order of address, which is how memory gives them fastest: half of the time of the other
 * walks in a large table. Gives the state of the first of up to `most` >= WR_TABLE_RUN_MIN entries that lie side by
 * side, wr_table_stride bytes apart. *n: how many, 0 at the end. No find that creates, forget or settle in between.
 * Zero to begin. */
#define WR_TABLE_RUN_MIN 64u
typedef struct wr_table_walk {
    uint32_t granule; /* next one */
} wr_table_walk;
char    *wr_table_walk_next(const wr_table *table, wr_table_walk *walk, uint32_t most, uint32_t *n);
uint32_t wr_table_stride(const wr_table *table); /* bytes from one entry to the next */
/* n records with only the key fields of these entries set, as wr_table_scan_next gives them. */
void wr_table_keys(const wr_table *table, void *const *state, uint32_t n, void *keys);
/* The same into records whose other bytes are zero already. */
void     wr_table_put_keys(const wr_table *table, void *const *state, uint32_t n, void *keys);
uint64_t wr_table_hash_of(const wr_table *table, const void *state); /* of the entry's key */
/* The states of all entries with this hash, at most n: seldom more than one. How many. Marks nothing. */
uint32_t wr_table_by_hash(const wr_table *table, uint64_t hash, void **state, uint32_t n);
/* Marks entries that were not given by wr_table_find in this epoch, before they are written. */
void wr_table_touch(wr_table *table, void *const *state, uint32_t n);

/* ---- time to live: of keys (config.ttl_ns) and of the rows of lists and tables (weir_field.ttl), by wall clock. What
 * is over is never given out: wr_table_find empties it first; wr_ttl_sweep takes it away. ---- */
bool wr_table_expires(const wr_table *table); /* false: none of the following is needed */
/* Wall clock of the batch that begins; what stamps get. */
void wr_table_now(wr_table *table, int64_t now_ns);
/* States that came from elsewhere than wr_table_find (timers): drops their expired rows; counts as a read. */
void wr_ttl_read(wr_table *table, void *const *state, uint32_t n);
/* Around the user's loop, with room for an entry per state: a state that the loop changed gets a new stamp. */
void wr_ttl_before(const wr_table *table, void *const *state, const uint32_t *pick, uint32_t n, uint64_t *seen);
void wr_ttl_after(wr_table *table, void *const *state, const uint32_t *pick, uint32_t n, const uint64_t *seen);
/* Between batches: looks at the next `entries` keys and forgets what is over. True: it has come to the end of the
 * table, and begins anew. */
bool wr_ttl_sweep(wr_table *table, uint32_t entries);
void wr_ttl_sweep_anew(wr_table *table); /* the next step begins at the table's beginning */
/* After a load: what depends on the times to live of this run. */
void wr_ttl_loaded(wr_table *table);

/* ---- cells: the engine's side of weir_text_set and its like ------------------------------------------------------
 * `state` is the state that holds the cell, `cell` points into it; it must be marked (wr_table_find). Setters copy,
 * strings included, and return WR_OK or WR_RECORD_TOO_LARGE (a string longer than WR_CELL_BYTES_MAX; nothing changed
 * then). What a getter gives is valid until wr_table_settle, even when the cell changes. */
weir_str    wr_cell_text_get(const weir_text *cell);
wr_err      wr_cell_text_set(wr_table *table, void *state, weir_text *cell, weir_str text);
const void *wr_cell_value_get(const wr_table *table, const void *state, const weir_cell *cell); /* NULL: none */
wr_err      wr_cell_value_set(wr_table *table, void *state, weir_cell *cell, const void *record);
wr_err      wr_cell_list_add(wr_table *table, void *state, weir_cell *cell, const void *record);
void        wr_cell_list_drop(wr_table *table, void *state, weir_cell *cell, uint32_t oldest);
const void *wr_cell_table_get(const wr_table *table, const void *state, const weir_cell *cell, const void *key);
wr_err      wr_cell_table_put(wr_table *table, void *state, weir_cell *cell, const void *record);
bool        wr_cell_table_remove(wr_table *table, void *state, weir_cell *cell, const void *key);
void        wr_cell_clear(wr_table *table, void *state, weir_cell *cell); /* value, list, table or text */
/* Rows of a list in order of adding, of a table in order of first put, of a value: one or none. */
weir_rows wr_cell_rows(const wr_table *table, const void *state, const weir_cell *cell);
bool      wr_cell_rows_refill(weir_rows *rows, size_t size);
/* Takes the row given last out of its list or table; the iteration goes on. */
void wr_cell_rows_remove(wr_table *table, void *state, weir_cell *cell, weir_rows *rows);
/* The row of a list that weir_rows gave last, for writing; it stays where it is until wr_table_settle. */
void *wr_cell_list_open(wr_table *table, void *state, weir_cell *cell, const weir_rows *rows);
/* The first rows of a list will be looked at soon. */
void wr_cell_list_ask(const wr_table *table, const void *state, const weir_cell *cell);
/* The row added last, not for writing; NULL: none. */
const void *wr_cell_list_last(const wr_table *table, const void *state, const weir_cell *cell);
/* `to` is a record of this type that lies in a state of the table, or in a row of one of its lists, where its strings
 * are fields of the state's or the row's type (an accumulator), and is marked: copies the record with its strings,
 * releases the strings that `to` had. `from` may hold strings of `to`. WR_NOT_FOUND: `to` is not in the table; nothing
 * was done. */
wr_err wr_cell_record_own(wr_table *table, const weir_type *type, void *to, const void *from);

#endif
