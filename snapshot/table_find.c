/* snapshot/table_find.c: from records to states: known ones by the batch look-up, the others one by one. */
#include "base/limits.h"
#include "snapshot/table_inner.h"

uint64_t wr_table_hash_at(const wr_table *table, uint32_t position)
{
    const char *entry = wr_family_at(&table->entries, position);
    if (table->key.strings == 0) return wr_key_hash_packed(&table->key, entry);
    uint64_t hash;
    memcpy(&hash, entry + table->key.fields_bytes, 8);
    return hash;
}

static inline bool same_key(const wr_table *table, const void *key, const void *entry)
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
    if (table->stamp_at != 0) memcpy(entry + table->stamp_at, &table->now_ns, 8);
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

/* Many misses: what the next ones will touch is asked for some at a time, in two steps. (Few: the look-up has done
 * it.) */
static inline void ask_ahead(const wr_table *table, const wr_keys *keys, const uint32_t *miss, uint32_t misses,
                             uint32_t q, bool inserts)
{
    if (q % WR_ASK_AT_ONCE != 0) return;
    uint32_t end = misses - q < WR_ASK_AT_ONCE ? misses : q + WR_ASK_AT_ONCE;
    for (uint32_t i = q; i < end; i++) wr_index_ask_bucket(&table->index, keys->hash[miss[i]]);
    for (uint32_t i = q; inserts && i < end; i++) {
        const wr_group *group = &table->entries.group[wr_table_group_of(table, keys->hash[miss[i]])];
        WR_FETCH(wr_family_at(&table->entries, group->tail));
    }
    for (uint32_t i = q; i < end; i++) wr_index_ask_entry(&table->index, keys->hash[miss[i]]);
}

/* Most keys that are not at home are in the bucket behind it: the short way to them. NULL: not seen there. */
static inline void *look_behind(const wr_table *table, const void *key, uint64_t hash)
{
    const wr_bucket *second = wr_index_second(&table->index, hash);
    uint32_t         match = wr_bucket_match(second, wr_index_tag(wr_index_x(&table->index, hash)));
    if (match == 0) return NULL;
    char *entry = wr_family_at(&table->entries, second->position[(uint32_t)__builtin_ctz(match)]);
    return same_key(table, key, entry) ? entry + table->state_at : NULL;
}

static void find_or_make(wr_table *table, const wr_keys *keys, void **state, uint8_t *fresh, const uint32_t *miss,
                         uint32_t misses)
{
    bool many = misses > WR_FIND_MAX / 16;
    for (uint32_t q = 0; q < misses; q++) {
        uint32_t    i = miss[q];
        uint64_t    hash = keys->hash[i];
        const char *key = keys->at + (uint64_t)i * keys->stride;
        wr_bucket  *bucket;
        uint32_t    slot;
        if (many) {
            ask_ahead(table, keys, miss, misses, q, true);
        } else {
            state[i] = look_behind(table, key, hash);
            if (state[i] != NULL) continue;
        }
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

/* Pointers that lie `offset` behind states. */
static void touch(wr_table *table, void *const *at, uint32_t n, uint32_t offset)
{
    uint32_t position[WR_TOUCH_MAX];
    table->met += n;
    if (__builtin_expect(table->entries.mark == WR_MARK_OFF, 1)) return;
    for (uint32_t from = 0, count; from < n; from += count) {
        count = n - from < WR_TOUCH_MAX ? n - from : WR_TOUCH_MAX;
        for (uint32_t i = 0; i < count; i++)
            position[i] = wr_table_position_of(table, (const char *)at[from + i] - offset);
        wr_family_touch_all(&table->entries, position, count);
    }
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
    if (__builtin_expect(table->expires, 0)) wr_ttl_found(table, state, fresh, n);
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

bool wr_table_has_find_place(const wr_table *table)
{
    return table->find_place != NULL && !table->expires;
}

bool wr_table_find_place(wr_table *table, const void *records, uint32_t n, const uint64_t *hash,
                         const wr_table_place *in, void **value, uint8_t *fresh, uint32_t *rest, uint32_t *rests)
{
    uint32_t       size = table->config.record->size, miss[WR_FIND_MAX + 1], listed = 0, more;
    wr_keys        keys;
    wr_table_place place = *in;
    if (table->entries.mark == WR_MARK_CAPTURE) place.words = 0; /* old bytes are saved before anything is written */
    check(n <= WR_BATCH_RECORDS_MAX && wr_table_has_find_place(table));
    if (fresh != NULL) memset(fresh, 0, n);
    for (uint32_t at = 0; at < n; at += WR_FIND_MAX) {
        uint32_t block = n - at < WR_FIND_MAX ? n - at : WR_FIND_MAX;
        gather(table, &keys, (const char *)records + (uint64_t)at * size, hash + at, NULL, block);
        uint32_t misses = table->find_place(&table->index, table->entries.base, table->entries.stride, keys.at,
                                            keys.stride, keys.hash, block, table->state_at, value + at, miss, &place,
                                            rest + listed, &more);
        for (uint32_t i = 0; at != 0 && i < more; i++) rest[listed + i] += at;
        listed += more;
        if (misses != 0) find_or_make(table, &keys, value + at, fresh != NULL ? fresh + at : NULL, miss, misses);
        for (uint32_t q = 0; q < misses; q++) {
            char    *state = value[at + miss[q]];
            uint64_t word;
            memcpy(&word, state + place.word, 8);
            value[at + miss[q]] = state + place.value;
            rest[listed] = at + miss[q];
            listed += !wr_table_placed(&place, word);
        }
        touch(table, value + at, block, place.value);
    }
    *rests = listed;
    return !table->config.budget->exceeded;
}

/* States whose time is over are unknown to readers. */
static void hide_gone(const wr_table *table, void **state, uint32_t n)
{
    for (uint32_t i = 0; table->stamp_at != 0 && i < n; i++) {
        if (state[i] != NULL && wr_ttl_gone(table, wr_table_position_of(table, state[i]))) state[i] = NULL;
    }
}

static void peek_block(const wr_table *table, const wr_keys *keys, void **state, uint32_t n)
{
    uint32_t miss[WR_FIND_MAX + 1];
    if (table->find == NULL) {
        void *only = NULL;
        if (table->count != 0)
            only = wr_family_at(&table->entries, wr_family_place(&table->entries, 0, 0)) + table->state_at;
        for (uint32_t i = 0; i < n; i++) state[i] = only;
        hide_gone(table, state, n);
        return;
    }
    uint32_t misses = find_known(table, keys, n, state, miss);
    bool     many = misses > WR_FIND_MAX / 16;
    for (uint32_t q = 0; q < misses; q++) {
        if (many) ask_ahead(table, keys, miss, misses, q, false);
        state[miss[q]] = look_up(table, keys->at + (uint64_t)miss[q] * keys->stride, keys->hash[miss[q]]);
    }
    hide_gone(table, state, n);
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
    touch(table, state, n, 0);
}
