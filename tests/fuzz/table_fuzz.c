/* Keyed state against an array: the input says which keys (chosen by an enemy who can invert the hash, too) are found,
 * written, forgotten and looked for, in which batches. */
#include "base/hash.h"
#include "snapshot/table.h"
#include "tests/fuzz/fuzz.h"

enum { IDS = 2048, BATCH = 256, STEPS = 64 };

typedef struct record {
    uint64_t wide;
    weir_str name;
    int32_t  narrow;
} record;
static const weir_field record_fields[] = {FUZZ_FIELD(record, wide, WEIR_U64), FUZZ_FIELD(record, name, WEIR_STR),
                                           FUZZ_FIELD(record, narrow, WEIR_I32)};
static const weir_type  record_type = FUZZ_TYPE(record, record_fields);
typedef struct tally {
    uint64_t id, seen;
} tally;
static const weir_field tally_fields[] = {FUZZ_FIELD(tally, id, WEIR_U64), FUZZ_FIELD(tally, seen, WEIR_U64)};
static const weir_type  tally_type = FUZZ_TYPE(tally, tally_fields);

#define WIDE                                                                                                           \
    {                                                                                                                  \
        offsetof(record, wide), WEIR_U64                                                                               \
    }
#define NAME                                                                                                           \
    {                                                                                                                  \
        offsetof(record, name), WEIR_STR                                                                               \
    }
#define NARROW                                                                                                         \
    {                                                                                                                  \
        offsetof(record, narrow), WEIR_I32                                                                             \
    }
static const weir_key keys[] = {{.count = 1, .field = {WIDE}},
                                {.count = 1, .field = {NAME}},
                                {.count = 1, .field = {NARROW}},
                                {.count = 3, .field = {NARROW, NAME, WIDE}}};

/* What an id should be in the table. */
typedef struct known {
    bool     there, forgotten;
    uint64_t seen;
} known;

/* Caller's storage, one thread. */
typedef struct world {
    wr_table *table;
    wr_budget budget;
    uint32_t  craft, key;
    uint64_t  count;
    known     id[IDS];
} world;

/* Hashes alike in their upper bits, lower bits, or both: the same bucket and the same tag. */
static uint64_t wide_of(uint32_t craft, uint32_t id)
{
    switch (craft) {
    case 0: return id;
    case 1: return wr_unfmix64(UINT64_C(0xabcdef1234000000) | id);
    case 2: return wr_unfmix64(UINT64_C(0xabcdef1234000011) | (uint64_t)id << 7);
    case 3: return wr_unfmix64((uint64_t)id << 44 | 0x55);
    case 4: return wr_unfmix64((uint64_t)(id & 7) << 61 | id >> 3);
    default: return id * UINT64_C(0x9e3779b97f4a7c15);
    }
}

static record record_of(const world *w, uint32_t id, char room[48])
{
    record r = {.wide = wide_of(w->craft, id), .narrow = -(int32_t)id};
    int    n = id % 3 == 0 ? snprintf(room, 48, "%u", id) : snprintf(room, 48, "name of %0*u", (int)(4 + id % 30), id);
    r.name = weir_str_of(room, (size_t)n);
    return r;
}

static bool gone(const known *k)
{
    return k->forgotten && k->seen == 0;
}

/* Finds n ids; the loop writes each state but forgets those that `forget` picks. */
static void touch(world *w, const uint32_t *id, uint32_t n, uint8_t forget)
{
    static record   r[BATCH];
    static char     room[BATCH][48];
    static uint64_t hash[BATCH];
    static void    *state[BATCH];
    static uint8_t  fresh[BATCH];
    for (uint32_t i = 0; i < n; i++) r[i] = record_of(w, id[i], room[i]);
    wr_key_hash(&keys[w->key], r, sizeof *r, n, hash);
    bool room_left = wr_table_find(w->table, r, n, hash, NULL, n, state, fresh);
    must(room_left == !w->budget.exceeded);
    for (uint32_t i = 0; i < n; i++) {
        known *k = &w->id[id[i]];
        tally *t = state[i];
        must(t != NULL && (uintptr_t)t % 8 == 0);
        must(fresh[i] == !k->there);
        must(t->seen == k->seen && t->id == (k->seen > 0 ? id[i] : 0));
        w->count += !k->there;
        k->there = true;
        if (forget != 0 && (id[i] + i) % forget == 0) {
            wr_table_forget(w->table, t);
            must(t->seen == 0 && t->id == 0);
            k->forgotten = true;
            k->seen = 0;
        } else {
            t->id = id[i];
            t->seen = ++k->seen;
        }
    }
}

static void settle(world *w)
{
    wr_table_settle(w->table);
    for (uint32_t i = 0; i < IDS; i++) {
        known *k = &w->id[i];
        if (k->there && gone(k)) {
            *k = (known){0};
            w->count--;
        }
        k->forgotten = false;
    }
    must(wr_table_count(w->table) == w->count);
}

static void look(world *w, uint32_t first, uint32_t n)
{
    static record   r[BATCH];
    static char     room[BATCH][48];
    static uint64_t hash[BATCH];
    static void    *state[BATCH];
    for (uint32_t i = 0; i < n; i++) r[i] = record_of(w, (first + i) % IDS, room[i]);
    wr_key_hash(&keys[w->key], r, sizeof *r, n, hash);
    wr_table_peek(w->table, r, n, hash, NULL, n, state);
    for (uint32_t i = 0; i < n; i++) {
        const known *k = &w->id[(first + i) % IDS];
        const tally *t = state[i];
        must((t != NULL) == k->there);
        if (t != NULL) must(t->seen == k->seen && (k->seen == 0 || t->id == (first + i) % IDS));
    }
}

/* The walk gives each entry once, with its key. */
static void walk(world *w)
{
    wr_table_scan scan = {0};
    void         *state[100];
    record        key[100];
    char          room[48];
    uint64_t      all = 0;
    static bool   seen[IDS];
    memset(seen, 0, sizeof seen);
    for (uint32_t n; (n = wr_table_scan_next(w->table, &scan, state, key, 100)) > 0; all += n) {
        for (uint32_t i = 0; i < n; i++) {
            const tally *t = state[i];
            must(t->id < IDS && w->id[t->id].there && !seen[t->id] && t->seen == w->id[t->id].seen);
            seen[t->id] = true;
            record like = record_of(w, (uint32_t)t->id, room);
            must(w->key == 1 || w->key == 2 || key[i].wide == like.wide);
            must(w->key == 0 || w->key == 2 || weir_str_equal(&key[i].name, &like.name));
            must(w->key < 2 || key[i].narrow == like.narrow);
        }
    }
    must(all == w->count);
}

static void step(world *w, input *in)
{
    uint32_t id[BATCH];
    uint8_t  what = take_u8(in), n = take_u8(in), forget = take_u8(in);
    uint32_t first = take_u16(in) % IDS, stride = 1 + (what >> 4);
    switch (what & 7) {
    case 0: look(w, first, n); return;
    case 1: walk(w); return;
    case 2: /* ids as they stand in the input, some of them twice */
        n = n % 32;
        for (uint32_t i = 0; i < n; i++) id[i] = take_u8(in);
        break;
    default:
        for (uint32_t i = 0; i < n; i++) id[i] = (first + i * stride) % IDS;
    }
    if (n == 0) return;
    touch(w, id, n, what & 8 ? forget : 0);
    if (forget & 1) touch(w, id, n, 0); /* two operators' worth in one batch */
    settle(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static world w; /* large */
    input        in = {bytes, bytes + size};
    uint8_t      kind = take_u8(&in), bound = take_u8(&in);
    memset(&w, 0, sizeof w);
    w.craft = kind & 7;
    w.key = kind >> 3 & 3;
    w.budget.bytes_max = bound & 1 ? (uint64_t)bound << 10 : 0;
    uint32_t        groups = kind & 0x80 ? 1024 : 128;
    wr_table_config config = {.uid = "it",
                              .record = &record_type,
                              .key = keys[w.key],
                              .state = &tally_type,
                              .max_parallelism = groups,
                              .group_end = groups,
                              .budget = &w.budget};
    must(wr_table_new(&w.table, &config, NULL) == WR_OK);
    for (int i = 0; i < STEPS && rest(&in) > 0; i++) step(&w, &in);
    walk(&w);
    look(&w, 0, BATCH - 1);
    wr_table_free(w.table);
    must(w.budget.bytes == 0);
    return 0;
}
