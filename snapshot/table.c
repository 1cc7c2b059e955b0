/* snapshot/table.c: find, forget, settle and scan. */
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"
#include <stdlib.h>

/* ---- making and freeing ------------------------------------------------------------------------------------------ */

static wr_err check_config(const wr_table_config *config, wr_errinfo *info)
{
    check(config->record != NULL && config->state != NULL && config->budget != NULL && config->uid != NULL);
    check(config->group_first < config->group_end && config->group_end <= config->max_parallelism);
    check(config->max_parallelism <= WR_PARALLELISM_MAX);
    if (config->state->size > WR_STATE_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "state %s of operator %s has %u bytes; at most %d; use a list or a table",
                       config->state->name, config->uid, config->state->size, WR_STATE_BYTES_MAX);
    check(config->state->fields <= WR_FIELDS_MAX);
    return WR_OK;
}

static void lay_out(wr_table *table)
{
    uint32_t at = table->key.bytes;
    table->id_at = at;
    if (table->has_ids) at += 8;
    table->state_at = at;
}

/* The hashes of key groups [first, end). */
static void hash_range(const wr_table_config *config, uint64_t *low, uint64_t *range)
{
    uint64_t groups = config->max_parallelism;
    uint64_t from = (((uint64_t)config->group_first << 32) + groups - 1) / groups;
    uint64_t to = (((uint64_t)config->group_end << 32) + groups - 1) / groups;
    *low = from << 32;
    *range = (to - from) << 32; /* 0 when it is all of them */
}

static uint64_t hash_at(const void *table, uint32_t position)
{
    return wr_table_hash_at(table, position);
}

static wr_err init(wr_table *table, wr_errinfo *info)
{
    const wr_table_config *config = &table->config;
    WR_TRY(check_config(config, info));
    WR_TRY(wr_key_layout_of(&table->key, &config->key, info));
    WR_TRY(wr_cells_init(table, info));
    lay_out(table);
    uint32_t stride = wr_family_stride((uint64_t)table->state_at + config->state->size);
    WR_TRY(wr_family_init(&table->entries, stride, table->groups, config->budget, &table->bytes, config->large_pages,
                          info));
    if (table->has_blobs) WR_TRY(wr_blobs_init(table, info));
    if (table->has_ids) {
        table->ids = calloc(table->groups, sizeof *table->ids);
        if (table->ids == NULL) return wr_fail(info, WR_MEMORY, "out of memory: a table of operator %s", config->uid);
    }
    uint64_t low, range;
    hash_range(config, &low, &range);
    if (table->key.count == 0) low = range = 0;
    if (table->key.shape == WR_KEY_STRING)
        table->find = wr_find_string();
    else if (table->key.shape != WR_KEY_NONE)
        table->find = wr_find_integer();
    return wr_index_init(&table->index, low, range, hash_at, table, &table->entries, info);
}

wr_err wr_table_new(wr_table **take, const wr_table_config *config, wr_errinfo *info)
{
    *take = NULL;
    wr_table *table = calloc(1, sizeof *table);
    if (table == NULL) return wr_fail(info, WR_MEMORY, "out of memory: a table of operator %s", config->uid);
    table->config = *config;
    table->groups = config->group_end - config->group_first;
    table->generation = 1;
    wr_err err = init(table, info);
    if (err != WR_OK) {
        wr_table_free(table);
        return err;
    }
    *take = table;
    return WR_OK;
}

void wr_table_free(wr_table *table)
{
    if (table == NULL) return;
    wr_capture_fini(table);
    wr_index_fini(&table->index);
    wr_family_fini(&table->entries);
    wr_blobs_fini(table);
    wr_cells_fini(table);
    table->config.budget->bytes -= table->bytes;
    free(table->ids);
    free(table->pending);
    free(table->forgotten);
    free(table);
}

uint64_t wr_table_count(const wr_table *table)
{
    return table->count;
}
uint64_t wr_table_generation(const wr_table *table)
{
    return table->generation;
}
uint64_t wr_table_bytes(const wr_table *table)
{
    return table->bytes;
}
uint32_t wr_table_state_size(const wr_table *table)
{
    return table->config.state->size;
}
const wr_table_config *wr_table_config_of(const wr_table *table)
{
    return &table->config;
}

/* ---- find -------------------------------------------------------------------------------------------------------- */

uint64_t wr_table_hash_at(const wr_table *table, uint32_t position)
{
    const char *entry = wr_family_at(&table->entries, position);
    if (table->key.strings == 0) return wr_key_hash_packed(&table->key, entry);
    uint64_t hash;
    memcpy(&hash, entry + table->key.fields_bytes, 8);
    return hash;
}

static bool same_key(const wr_table *table, const void *key, const void *entry)
{
    if (table->key.shape != WR_KEY_INTEGER) return wr_key_equal(&table->key, key, entry);
    uint64_t a, b;
    memcpy(&a, key, 8);
    memcpy(&b, entry, 8);
    return a == b;
}

/* The state of a packed key, or NULL. */
static void *look_up(const wr_table *table, const void *key, uint64_t hash)
{
    wr_probe probe = wr_probe_begin(&table->index, hash);
    for (uint32_t position; (position = wr_probe_next(&probe)) != 0;) {
        char *entry = wr_family_at(&table->entries, position);
        if (same_key(table, key, entry)) return entry + table->state_at;
    }
    return NULL;
}

/* Far strings of a new entry's key become blobs of its group. */
static void own_key(wr_table *table, uint32_t group, char *entry, uint64_t hash)
{
    for (uint32_t i = 0; i < table->key.count; i++) {
        if (!table->key.part[i].string) continue;
        weir_str *s = (weir_str *)(void *)(entry + table->key.part[i].place);
        if (s->len > WEIR_STR_INLINE) s->u.far = wr_blob_new(table, group, s->u.far, s->len);
    }
    memcpy(entry + table->key.fields_bytes, &hash, 8);
}

/* A new entry with its state zeroed, not yet in the index. */
static uint32_t make_entry(wr_table *table, const void *key, uint64_t hash)
{
    uint32_t group = wr_table_group_of(table, hash);
    dcheck(group < table->groups);
    uint32_t position = wr_family_append(&table->entries, group);
    char    *entry = wr_family_at(&table->entries, position);
    if (table->entries.stride == 32)
        memset(entry, 0, 32); /* the common sizes, inline */
    else if (table->entries.stride == 64)
        memset(entry, 0, 64);
    else
        memset(entry, 0, table->entries.stride);
    if (table->key.shape == WR_KEY_INTEGER)
        memcpy(entry, key, 8);
    else
        memcpy(entry, key, table->key.fields_bytes);
    if (table->key.strings != 0) own_key(table, group, entry, hash);
    if (table->has_ids) {
        uint64_t id = (uint64_t)(table->config.group_first + group) << 48 | ++table->ids[group];
        memcpy(entry + table->id_at, &id, 8);
    }
    table->count++;
    return position;
}

static void *insert(wr_table *table, const void *key, uint64_t hash)
{
    uint32_t position = make_entry(table, key, hash);
    wr_index_insert(&table->index, hash, position);
    return wr_family_at(&table->entries, position) + table->state_at;
}

/* n <= WR_FIND_MAX keys that lie `stride` bytes apart as they do in entries. */
typedef struct wr_keys {
    const char     *at;
    uint32_t        stride;
    const uint64_t *hash;
    uint64_t        room[WR_FIND_MAX * 2], hashes[WR_FIND_MAX];
    char           *packed; /* composite keys */
} wr_keys;

#define PACKED_BYTES_MAX (WR_KEY_FIELDS_MAX * 16u)

/* Brings the keys of records [first, first + n), or of the picked ones, into one shape. */
static void gather(const wr_table *table, wr_keys *keys, const char *records, const uint64_t *hash,
                   const uint32_t *pick, uint32_t n)
{
    const wr_key_layout *layout = &table->key;
    uint32_t             size = table->config.record->size;
    keys->hash = hash;
    if (pick != NULL) {
        for (uint32_t i = 0; i < n; i++) keys->hashes[i] = hash[pick[i]];
        keys->hash = keys->hashes;
    }
    const char *field = records + layout->part[0].offset;
    uint32_t    kind = layout->part[0].kind;
    keys->at = field;
    keys->stride = size;
    bool as_it_lies = layout->shape == WR_KEY_STRING || kind == WEIR_I64 || kind == WEIR_U64 || kind == WEIR_TIME;
    if (layout->shape != WR_KEY_COMPOSITE && pick == NULL && as_it_lies) return;
    keys->at = (const char *)keys->room;
    if (layout->shape == WR_KEY_INTEGER) {
        wr_key_widen_all(kind, field, size, pick, n, keys->room);
        keys->stride = 8;
    } else if (layout->shape == WR_KEY_STRING) {
        for (uint32_t i = 0; i < n; i++) memcpy(&keys->room[(uint64_t)i * 2], field + (uint64_t)pick[i] * size, 16);
        keys->stride = 16;
    } else {
        keys->at = keys->packed;
        keys->stride = layout->fields_bytes;
        for (uint32_t i = 0; i < n; i++)
            wr_key_pack(layout, records + (uint64_t)(pick != NULL ? pick[i] : i) * size,
                        keys->packed + (uint64_t)i * keys->stride);
    }
}

/* Composite keys: the kernel has compared the first 8 bytes only. Adds what differs in the rest to the misses. */
static uint32_t compare_rest(const wr_table *table, const wr_keys *keys, uint32_t n, void **state, uint32_t *miss,
                             uint32_t misses)
{
    uint32_t all[WR_FIND_MAX], count = 0, next = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (next < misses && miss[next] == i) {
            all[count++] = i;
            next++;
        } else if (!wr_key_equal(&table->key, keys->at + (uint64_t)i * keys->stride,
                                 (char *)state[i] - table->state_at)) {
            all[count++] = i;
        }
    }
    memcpy(miss, all, count * sizeof *miss);
    return count;
}

static uint32_t find_known(const wr_table *table, const wr_keys *keys, uint32_t n, void **state, uint32_t *miss)
{
    if (table->find == NULL) { /* no key */
        for (uint32_t i = 0; i < n; i++) miss[i] = i;
        return n;
    }
    uint32_t misses = table->find(&table->index, table->entries.base, table->entries.stride, keys->at, keys->stride,
                                  keys->hash, n, table->state_at, state, miss);
    if (table->key.shape == WR_KEY_COMPOSITE) return compare_rest(table, keys, n, state, miss, misses);
    return misses;
}

/* Misses are resolved one by one, but what that will touch is asked for 32 at a time, in two steps. */
#define ASK_AT_ONCE 32u

static inline void ask_ahead(const wr_table *table, const wr_keys *keys, const uint32_t *miss, uint32_t misses,
                             uint32_t q, bool inserts)
{
    if (q % ASK_AT_ONCE != 0) return;
    uint32_t end = misses - q < ASK_AT_ONCE ? misses : q + ASK_AT_ONCE;
    for (uint32_t i = q; i < end; i++) wr_index_ask_bucket(&table->index, keys->hash[miss[i]]);
    for (uint32_t i = q; inserts && i < end; i++) {
        const wr_group *group = &table->entries.group[wr_table_group_of(table, keys->hash[miss[i]])];
        __builtin_prefetch(wr_family_at(&table->entries, group->tail), 1);
    }
    for (uint32_t i = q; i < end; i++) wr_index_ask_entry(&table->index, keys->hash[miss[i]]);
}

static void find_or_make(wr_table *table, const wr_keys *keys, void **state, uint8_t *fresh, const uint32_t *miss,
                         uint32_t misses)
{
    for (uint32_t q = 0; q < misses; q++) {
        uint32_t    i = miss[q];
        uint64_t    hash = keys->hash[i];
        const char *key = keys->at + (uint64_t)i * keys->stride;
        wr_bucket  *bucket;
        uint32_t    slot;
        ask_ahead(table, keys, miss, misses, q, true);
        if (wr_index_room(&table->index, hash, &bucket, &slot)) {
            uint32_t position = make_entry(table, key, hash);
            wr_index_fill(&table->index, hash, bucket, slot, position);
            state[i] = wr_family_at(&table->entries, position) + table->state_at;
        } else {
            state[i] = look_up(table, key, hash);
            if (state[i] != NULL) continue;
            state[i] = insert(table, key, hash);
        }
        if (fresh != NULL) fresh[i] = 1;
    }
}

/* No key: one state. */
static void find_only(wr_table *table, void **state, uint8_t *fresh, uint32_t n)
{
    wr_group *group = &table->entries.group[0];
    if (group->count == 0) {
        insert(table, "", 0);
        if (fresh != NULL && n != 0) fresh[0] = 1;
    }
    void *only = wr_family_at(&table->entries, wr_family_place(&table->entries, 0, 0)) + table->state_at;
    for (uint32_t i = 0; i < n; i++) state[i] = only;
}

static void find_block(wr_table *table, wr_keys *keys, void **state, uint8_t *fresh, uint32_t n)
{
    uint32_t miss[WR_FIND_MAX + 1];
    if (fresh != NULL) memset(fresh, 0, n);
    if (table->find == NULL) {
        find_only(table, state, fresh, n);
    } else {
        uint32_t misses = find_known(table, keys, n, state, miss);
        if (misses != 0) find_or_make(table, keys, state, fresh, miss, misses);
    }
    wr_table_touch(table, state, n);
}

bool wr_table_find(wr_table *table, const void *records, uint32_t n, const uint64_t *hash, const uint32_t *pick,
                   uint32_t pick_n, void **state, uint8_t *fresh)
{
    uint32_t size = table->config.record->size, count = pick != NULL ? pick_n : n;
    check(count <= WR_BATCH_RECORDS_MAX);
    char    packed[table->key.shape == WR_KEY_COMPOSITE ? WR_FIND_MAX * PACKED_BYTES_MAX : 1];
    wr_keys keys;
    keys.packed = packed;
    for (uint32_t at = 0; at < count; at += WR_FIND_MAX) {
        uint32_t block = count - at < WR_FIND_MAX ? count - at : WR_FIND_MAX;
        if (pick == NULL) {
            gather(table, &keys, (const char *)records + (uint64_t)at * size, hash + at, NULL, block);
            find_block(table, &keys, state + at, fresh != NULL ? fresh + at : NULL, block);
            continue;
        }
        void   *found[WR_FIND_MAX];
        uint8_t made[WR_FIND_MAX];
        gather(table, &keys, records, hash, pick + at, block);
        find_block(table, &keys, found, made, block);
        for (uint32_t i = 0; i < block; i++) state[pick[at + i]] = found[i];
        for (uint32_t i = 0; fresh != NULL && i < block; i++) fresh[pick[at + i]] = made[i];
    }
    return !table->config.budget->exceeded;
}

static void peek_block(const wr_table *table, const wr_keys *keys, void **state, uint32_t n)
{
    uint32_t miss[WR_FIND_MAX + 1];
    if (table->find == NULL) {
        void *only = NULL;
        if (table->count != 0)
            only = wr_family_at(&table->entries, wr_family_place(&table->entries, 0, 0)) + table->state_at;
        for (uint32_t i = 0; i < n; i++) state[i] = only;
        return;
    }
    uint32_t misses = find_known(table, keys, n, state, miss);
    for (uint32_t q = 0; q < misses; q++) {
        ask_ahead(table, keys, miss, misses, q, false);
        state[miss[q]] = look_up(table, keys->at + (uint64_t)miss[q] * keys->stride, keys->hash[miss[q]]);
    }
}

void wr_table_peek(const wr_table *table, const void *records, uint32_t n, const uint64_t *hash, const uint32_t *pick,
                   uint32_t pick_n, void **state)
{
    uint32_t size = table->config.record->size, count = pick != NULL ? pick_n : n;
    check(count <= WR_BATCH_RECORDS_MAX);
    char    packed[table->key.shape == WR_KEY_COMPOSITE ? WR_FIND_MAX * PACKED_BYTES_MAX : 1];
    wr_keys keys;
    keys.packed = packed;
    for (uint32_t at = 0; at < count; at += WR_FIND_MAX) {
        uint32_t block = count - at < WR_FIND_MAX ? count - at : WR_FIND_MAX;
        if (pick == NULL) {
            gather(table, &keys, (const char *)records + (uint64_t)at * size, hash + at, NULL, block);
            peek_block(table, &keys, state + at, block);
            continue;
        }
        void *found[WR_FIND_MAX];
        gather(table, &keys, records, hash, pick + at, block);
        peek_block(table, &keys, found, block);
        for (uint32_t i = 0; i < block; i++) state[pick[at + i]] = found[i];
    }
}

void wr_table_touch(wr_table *table, void *const *state, uint32_t n)
{
    if (__builtin_expect(table->entries.mark == WR_MARK_OFF, 1)) return;
    if (table->entries.mark == WR_MARK_DIRTY) {
        uint64_t *dirty = table->entries.capture.dirty;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t position = wr_table_position_of(table, state[i]);
            dirty[position >> 6] |= UINT64_C(1) << (position & 63);
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++) wr_family_touch_slow(&table->entries, wr_table_position_of(table, state[i]));
}

/* ---- forget and settle ------------------------------------------------------------------------------------------- */

static void *grown(void *array, uint32_t *max, size_t size)
{
    *max = *max == 0 ? 256 : *max * 2;
    array = realloc(array, *max * size);
    check(array != NULL);
    return array;
}

void wr_table_pend(wr_table *table, wr_family *family, uint32_t position, uint32_t class)
{
    if (table->pendings == table->pendings_max)
        table->pending = grown(table->pending, &table->pendings_max, sizeof *table->pending);
    table->pending[table->pendings++] = (wr_pending){family, position, class};
}

void wr_table_forget(wr_table *table, void *state)
{
    if (table->owns) wr_cells_release(table, state);
    memset(state, 0, table->config.state->size);
    uint32_t position = wr_table_position_of(table, state);
    if (table->forgottens == table->forgottens_max)
        table->forgotten = grown(table->forgotten, &table->forgottens_max, sizeof *table->forgotten);
    uint64_t where = table->entries.where[position >> table->entries.granule_log2];
    table->forgotten[table->forgottens++] = where + (position & ((1u << table->entries.granule_log2) - 1));
}

static void sift(uint64_t *heap, uint32_t at, uint32_t n)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[at] >= heap[child]) return;
        uint64_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static bool all_zero(const char *bytes, uint32_t n)
{
    uint64_t any = 0, word = 0;
    for (; n >= 8; n -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        any |= word;
    }
    word = 0;
    memcpy(&word, bytes, n);
    return (any | word) == 0;
}

/* Takes an entry out; its group's last entry fills the hole. Both positions go through the snapshot hook: the hole
 * is written here, the last one when it is used again. */
static void remove_entry(wr_table *table, uint32_t group, uint32_t number)
{
    wr_family *entries = &table->entries;
    uint32_t   hole = wr_family_place(entries, group, number);
    uint32_t   last = wr_family_place(entries, group, entries->group[group].count - 1);
    char      *entry = wr_family_at(entries, hole);
    for (uint32_t i = 0; i < table->key.count; i++) {
        const weir_str *s = (const weir_str *)(const void *)(entry + table->key.part[i].place);
        if (table->key.part[i].string && s->len > WEIR_STR_INLINE) wr_blob_free(table, s->u.far, s->len);
    }
    wr_index_remove(&table->index, wr_table_hash_at(table, hole), hole);
    if (last != hole) {
        wr_family_touch(entries, hole);
        wr_index_move(&table->index, wr_table_hash_at(table, last), last, hole);
        memcpy(entry, wr_family_at(entries, last), entries->stride);
    }
    wr_family_pop(entries, group);
    table->count--;
}

/* What the removal of the next entries will touch: their buckets, the last entries of their groups and the buckets of those.
 * where: group << 32 | number, ascending; the last ones come first. */
static void ask_removals(const wr_table *table, const uint64_t *where, uint32_t n)
{
    const wr_family *entries = &table->entries;
    uint32_t         last[ASK_AT_ONCE], lasts = 0, before = UINT32_MAX, same = 0;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t group = (uint32_t)(where[i] >> 32), position = wr_family_place(entries, group, (uint32_t)where[i]);
        wr_index_ask_home(&table->index, wr_table_hash_at(table, position));
        same = group == before ? same + 1 : 0;
        before = group;
        if (same >= entries->group[group].count) continue;
        last[lasts] = wr_family_place(entries, group, entries->group[group].count - 1 - same);
        __builtin_prefetch(wr_family_at(entries, last[lasts++]));
    }
    for (uint32_t i = 0; i < lasts; i++) wr_index_ask_home(&table->index, wr_table_hash_at(table, last[i]));
}

static void sort(uint64_t *where, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;) sift(where, i, n);
    for (uint32_t i = n; i-- > 1;) {
        uint64_t most = where[0];
        where[0] = where[i];
        where[i] = most;
        sift(where, 0, i);
    }
}

/* From the highest number of a group down: so what moves into a hole is never itself still to be removed. */
static void remove_forgotten(wr_table *table)
{
    const wr_family *entries = &table->entries;
    uint64_t        *where = table->forgotten, before = UINT64_MAX;
    uint32_t         n = table->forgottens;
    table->forgottens = 0;
    sort(where, n);
    for (uint32_t done = 0; n > 0; n--, done++) {
        uint32_t ahead = n < ASK_AT_ONCE ? n : ASK_AT_ONCE;
        if (done % ASK_AT_ONCE == 0) ask_removals(table, where + n - ahead, ahead);
        if (where[n - 1] == before) continue; /* forgotten twice */
        before = where[n - 1];
        uint32_t    group = (uint32_t)(before >> 32), number = (uint32_t)before;
        const char *entry = wr_family_at(entries, wr_family_place(entries, group, number));
        if (all_zero(entry + table->state_at, table->config.state->size)) remove_entry(table, group, number);
    }
    table->generation++;
}

void wr_table_settle(wr_table *table)
{
    if (__builtin_expect((table->forgottens | table->pendings) == 0, 1)) return;
    if (table->forgottens != 0) remove_forgotten(table);
    for (uint32_t i = 0; i < table->pendings; i++) {
        const wr_pending *pending = &table->pending[i];
        if (pending->family == &table->blobs)
            wr_blob_give(table, pending->position, pending->class);
        else
            wr_family_give(pending->family, pending->position);
    }
    table->pendings = 0;
}

/* ---- scan -------------------------------------------------------------------------------------------------------- */

/* The keys of n entries that lie side by side, as records. */
static void scatter_keys(const wr_table *table, const char *entry, uint32_t n, char *record)
{
    uint64_t size = table->config.record->size, stride = table->entries.stride;
    uint32_t kind = table->key.part[0].kind;
    memset(record, 0, n * size);
    if (table->key.shape == WR_KEY_INTEGER && (kind == WEIR_U64 || kind == WEIR_I64 || kind == WEIR_TIME)) {
        record += table->key.part[0].offset;
        for (uint32_t i = 0; i < n; i++) memcpy(record + i * size, entry + i * stride, 8);
        return;
    }
    for (uint32_t i = 0; i < n; i++) wr_key_scatter(&table->key, entry + i * stride, record + i * size);
}

uint32_t wr_table_scan_next(wr_table *table, wr_table_scan *scan, void **state, void *keys, uint32_t n)
{
    const wr_family *entries = &table->entries;
    uint32_t         count = 0;
    while (count < n && scan->group < table->groups) {
        const wr_group *group = &entries->group[scan->group];
        if (scan->entry >= group->count) {
            scan->group++;
            scan->entry = 0;
            continue;
        }
        uint32_t first, region = wr_family_region_of(entries, scan->entry, &first);
        uint32_t end = first + wr_family_region_entries(entries, region);
        if (end > group->count) end = group->count;
        if (end - scan->entry > n - count) end = scan->entry + (n - count);
        const char *entry = wr_family_at(entries, group->region[region] + (scan->entry - first));
        uint32_t    more = end - scan->entry;
        if (keys != NULL) scatter_keys(table, entry, more, (char *)keys + (uint64_t)count * table->config.record->size);
        for (uint32_t i = 0; i < more; i++)
            state[count++] = (void *)(uintptr_t)(entry + (uint64_t)i * entries->stride + table->state_at);
        scan->entry = end;
    }
    return count;
}
