/* tests/unit/snapshot/image_kit.h: a table with every kind of cell under random work, what it holds as numbers that can
 * be compared, and storage that is late, out of order or broken. */
#ifndef WR_TESTS_SNAPSHOT_IMAGE_KIT_H
#define WR_TESTS_SNAPSHOT_IMAGE_KIT_H
#include "base/hash.h"
#include "base/prng.h"
#include "snapshot/capture.h"
#include "snapshot/image.h"
#include "snapshot/near.h"
#include "snapshot/table_inner.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses a part of it */

/* ---- types ------------------------------------------------------------------------------------------------------- */

typedef struct kit_event {
    int32_t  user;
    weir_str name;
} kit_event;
typedef struct kit_note { /* a record with a string, key of a table: its string */
    weir_str name;
    uint32_t value;
} kit_note;
typedef struct kit_point { /* key of a table: x */
    int32_t  x;
    uint32_t y;
} kit_point;
typedef struct kit_keep {
    uint64_t  id, count;
    weir_text text;
    weir_cell value, list, table, names, points;
} kit_keep;

#define KIT_FIELD(TYPE, NAME, KIND, ...)                                                                               \
    {                                                                                                                  \
        .name = #NAME, .offset = offsetof(TYPE, NAME), .size = sizeof(((TYPE *)0)->NAME), .kind = (KIND), __VA_ARGS__  \
    }
#define KIT_TYPE(TYPE, FIELDS)                                                                                         \
    {                                                                                                                  \
        .abi_size = sizeof(weir_type), .fields = sizeof FIELDS / sizeof FIELDS[0], .name = #TYPE,                      \
        .size = sizeof(TYPE), .align = _Alignof(TYPE), .field = FIELDS                                                 \
    }
static const weir_field kit_event_fields[] = {KIT_FIELD(kit_event, user, WEIR_I32, .ttl = 0),
                                              KIT_FIELD(kit_event, name, WEIR_STR, .ttl = 0)};
static const weir_type  kit_event_type = KIT_TYPE(kit_event, kit_event_fields);
static const weir_field kit_note_fields[] = {KIT_FIELD(kit_note, name, WEIR_STR, .ttl = 0),
                                             KIT_FIELD(kit_note, value, WEIR_U32, .ttl = 0)};
static const weir_type  kit_note_type = KIT_TYPE(kit_note, kit_note_fields);
static const weir_field kit_point_fields[] = {KIT_FIELD(kit_point, x, WEIR_I32, .ttl = 0),
                                              KIT_FIELD(kit_point, y, WEIR_U32, .ttl = 0)};
static const weir_type  kit_point_type = KIT_TYPE(kit_point, kit_point_fields);
static const weir_field kit_keep_fields[] = {
    KIT_FIELD(kit_keep, id, WEIR_U64, .ttl = 0),
    KIT_FIELD(kit_keep, count, WEIR_U64, .ttl = 0),
    KIT_FIELD(kit_keep, text, WEIR_TEXT, .ttl = 0),
    KIT_FIELD(kit_keep, value, WEIR_CELL_VALUE, .element = &kit_note_type),
    KIT_FIELD(kit_keep, list, WEIR_CELL_LIST, .element = &kit_note_type),
    KIT_FIELD(kit_keep, table, WEIR_CELL_TABLE, .element = &kit_point_type, .key = 0, .key_kind = WEIR_I32),
    KIT_FIELD(kit_keep, names, WEIR_CELL_TABLE, .element = &kit_note_type, .key = 0, .key_kind = WEIR_STR),
    KIT_FIELD(kit_keep, points, WEIR_CELL_LIST, .element = &kit_point_type)};
static const weir_type kit_keep_type = KIT_TYPE(kit_keep, kit_keep_fields);
/* The same without cells: entries are not translated. */
typedef struct kit_tally {
    uint64_t id, count;
} kit_tally;
static const weir_field kit_tally_fields[] = {KIT_FIELD(kit_tally, id, WEIR_U64, .ttl = 0),
                                              KIT_FIELD(kit_tally, count, WEIR_U64, .ttl = 0)};
static const weir_type  kit_tally_type = KIT_TYPE(kit_tally, kit_tally_fields);

enum { KIT_USERS = 6000, KIT_GROUPS = 128, KIT_BATCH = 48 };
static const weir_key kit_keys[] = {
    {.count = 1, .field = {{offsetof(kit_event, user), WEIR_I32}}},
    {.count = 1, .field = {{offsetof(kit_event, name), WEIR_STR}}},
    {.count = 2, .field = {{offsetof(kit_event, name), WEIR_STR}, {offsetof(kit_event, user), WEIR_I32}}}};

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef struct kit {
    wr_budget budget;
    wr_table *table;
    wr_prng   prng;
    uint32_t  key, users; /* users: how many there may be now */
    bool      cells;
    uint32_t  heavy; /* one in so many texts is long */
    wr_near   near;  /* on when near_on */
    bool      near_on;
} kit;

static uint64_t kit_below(kit *k, uint64_t bound)
{
    return wr_prng_below(&k->prng, bound);
}

static kit_event kit_event_of(uint32_t user, char room[64])
{
    int n = snprintf(room, 64, user % 3 == 0 ? "u%u" : "a name that is long: %u", user);
    return (kit_event){.user = (int32_t)user * 7 - 1000, .name = weir_str_of(room, (size_t)n)};
}

static wr_table *kit_table(kit *k, uint32_t first, uint32_t end)
{
    wr_table_config config = {.uid = "keeper",
                              .record = &kit_event_type,
                              .key = kit_keys[k->key],
                              .state = k->cells ? &kit_keep_type : &kit_tally_type,
                              .max_parallelism = KIT_GROUPS,
                              .group_first = first,
                              .group_end = end,
                              .budget = &k->budget};
    wr_errinfo      info = {0};
    wr_table       *table;
    if (wr_table_new(&table, &config, &info) != WR_OK) fail_msg("%s", info.text);
    return table;
}

/* A lookaside for the table that there is now. */
static void kit_near(kit *k)
{
    if (k->near_on) wr_near_fini(&k->near);
    k->near_on = k->key != 2 && wr_near_init(&k->near, k->table, false);
}

static void kit_begin(kit *k, uint64_t seed)
{
    *k = (kit){.prng = wr_prng_of(seed), .key = seed % 3, .users = 40, .cells = seed % 5 != 4, .heavy = 40};
    k->table = kit_table(k, 0, KIT_GROUPS);
    kit_near(k);
}
static void kit_end(kit *k)
{
    if (k->near_on) wr_near_fini(&k->near);
    wr_table_free(k->table);
    assert_int_equal(k->budget.bytes, 0);
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

static weir_str kit_text(kit *k, char *room)
{
    uint64_t len = kit_below(k, 3) == 0 ? kit_below(k, 13) : kit_below(k, 120);
    if (kit_below(k, k->heavy) == 0) len = kit_below(k, 30000);
    uint64_t seed = wr_prng_next(&k->prng);
    for (uint64_t i = 0; i < len; i++) room[i] = (char)('a' + (seed + i * (1 + seed % 5)) % 26);
    return weir_str_of(room, len);
}

static void kit_change_cell(kit *k, kit_keep *s)
{
    static char room[30000];
    char        name[64];
    kit_note    note = {.name = kit_text(k, room), .value = (uint32_t)wr_prng_next(&k->prng)};
    kit_point   point = {.x = (int32_t)kit_below(k, 30), .y = note.value};
    switch (kit_below(k, 14)) {
    case 0: wr_cell_text_set(k->table, s, &s->text, note.name); break;
    case 1: wr_cell_value_set(k->table, s, &s->value, &note); break;
    case 2:
    case 3: wr_cell_list_add(k->table, s, &s->list, &note); break;
    case 4: wr_cell_list_drop(k->table, s, &s->list, (uint32_t)kit_below(k, 4)); break;
    case 5:
    case 6: wr_cell_table_put(k->table, s, &s->table, &point); break;
    case 7: wr_cell_table_remove(k->table, s, &s->table, &point.x); break;
    case 8:
    case 9:
        note.name = weir_str_of(name, (size_t)snprintf(name, 64, "name number %u", (unsigned)kit_below(k, 20)));
        wr_cell_table_put(k->table, s, &s->names, &note);
        break;
    case 10:
        note.name = weir_str_of(name, (size_t)snprintf(name, 64, "name number %u", (unsigned)kit_below(k, 20)));
        wr_cell_table_remove(k->table, s, &s->names, &note.name);
        break;
    case 11:
        for (uint64_t n = kit_below(k, 40); n > 0; n--) wr_cell_list_add(k->table, s, &s->points, &point);
        break;
    case 12: wr_cell_clear(k->table, s, kit_below(k, 2) ? &s->list : &s->points); break;
    default: wr_cell_clear(k->table, s, kit_below(k, 2) ? &s->names : &s->value); break;
    }
}

/* What a loop over lines does: states of known lines are taken as they are, the rest is looked up. */
static void kit_probe(kit *k, const kit_event *event, uint32_t n, const uint64_t *hash, void **state)
{
    weir_near *p = &k->near.probe;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t word[2];
        memcpy(word, (const char *)&event[i] + p->offset, sizeof word);
        state[i] = NULL;
        if (p->bytes == 8) {
            word[0] &= p->mask;
            const weir_near8 *line = (const weir_near8 *)p->line + (word[0] * WEIR_NEAR_MIX >> p->shift);
            if (line->key == word[0]) state[i] = line->state;
        } else if ((uint32_t)word[0] <= WEIR_STR_INLINE) {
            uint64_t           mixed = word[0] ^ word[1] * WEIR_NEAR_MIX;
            const weir_near16 *line = (const weir_near16 *)p->line + (mixed * WEIR_NEAR_MIX >> p->shift);
            if (line->lo == word[0] && line->hi == word[1]) state[i] = line->state;
        }
        if (state[i] == NULL) p->miss[p->misses++] = i;
    }
    assert_true(wr_table_find(k->table, event, n, hash, p->miss, p->misses, state, NULL));
    wr_near_end(&k->near, k->table, event, n, state, true);
}

static void kit_batch(kit *k)
{
    kit_event event[KIT_BATCH + 1]; /* 8 readable bytes behind the last one */
    uint64_t  hash[KIT_BATCH];
    void     *state[KIT_BATCH];
    char      room[KIT_BATCH][64];
    uint32_t  user[KIT_BATCH], n = 1 + (uint32_t)kit_below(k, KIT_BATCH);
    bool      many_go = kit_below(k, 40) == 0, some_go = kit_below(k, 4) == 0;
    if (kit_below(k, 4) == 0 && k->users < KIT_USERS) k->users += (uint32_t)kit_below(k, 1 + k->users / 8);
    for (uint32_t i = 0; i < n; i++) {
        user[i] = (uint32_t)kit_below(k, k->users < KIT_USERS ? k->users : KIT_USERS);
        event[i] = kit_event_of(user[i], room[i]);
    }
    wr_key_hash(&kit_keys[k->key], event, sizeof *event, n, hash);
    if (k->near_on && wr_near_begin(&k->near, k->table, n))
        kit_probe(k, event, n, hash, state);
    else
        assert_true(wr_table_find(k->table, event, n, hash, NULL, 0, state, NULL));
    for (uint32_t i = 0; i < n; i++) {
        kit_keep *s = state[i];
        s->id = user[i];
        s->count++;
        if (k->cells) kit_change_cell(k, s);
        if (many_go || (some_go && kit_below(k, 3) == 0)) wr_table_forget(k->table, s);
    }
    wr_table_settle(k->table);
}

static void kit_batches(kit *k, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) kit_batch(k);
}

/* ---- what a table holds ------------------------------------------------------------------------------------------ */

typedef struct kit_copy {
    uint64_t hash[KIT_USERS]; /* 0: there is no such user */
    uint64_t count;
} kit_copy;

static uint64_t kit_mix_str(uint64_t hash, const weir_str *s)
{
    return wr_hash_fold(hash, wr_hash_bytes(weir_str_data(s), s->len));
}

static uint64_t kit_mix_rows(const wr_table *table, const kit_keep *s, const weir_cell *cell, bool notes, uint64_t hash)
{
    size_t    size = notes ? sizeof(kit_note) : sizeof(kit_point);
    weir_rows rows = wr_cell_rows(table, s, cell);
    uint32_t  count = 0;
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, size)) {
        if (rows.at == rows.end) continue;
        const void *row = rows.at;
        rows.at += size;
        count++;
        if (notes) {
            const kit_note *n = row;
            hash = wr_hash_fold(kit_mix_str(hash, &n->name), n->value);
        } else {
            const kit_point *p = row;
            hash = wr_hash_fold(wr_hash_fold(hash, (uint64_t)p->x), p->y);
        }
    }
    assert_int_equal(count, cell->count);
    return wr_hash_fold(hash, count);
}

static uint64_t kit_hash(const wr_table *table, const kit_keep *s, bool cells)
{
    uint64_t hash = wr_hash_fold(s->id + 1, s->count);
    if (!cells) return hash;
    weir_str text = wr_cell_text_get(&s->text);
    hash = kit_mix_str(hash, &text);
    const kit_note *value = wr_cell_value_get(table, s, &s->value);
    if (value != NULL) hash = wr_hash_fold(kit_mix_str(hash, &value->name), value->value);
    hash = kit_mix_rows(table, s, &s->list, true, hash);
    hash = kit_mix_rows(table, s, &s->table, false, hash);
    hash = kit_mix_rows(table, s, &s->names, true, hash);
    hash = kit_mix_rows(table, s, &s->points, false, hash);
    /* elements are found by their keys */
    for (int32_t x = 0; x < 30; x += 7) {
        const kit_point *p = wr_cell_table_get(table, s, &s->table, &x);
        hash = wr_hash_fold(hash, p == NULL ? 0 : p->y + UINT64_C(1));
    }
    return hash;
}

/* Adds what the table holds; the walk and the look-up must agree. */
static void kit_copy_add(const kit *k, wr_table *table, kit_copy *copy)
{
    wr_table_scan scan = {0};
    void         *state[64], *found[64];
    kit_event     event[64];
    char          room[64][64];
    uint64_t      hash[64];
    for (uint32_t n; (n = wr_table_scan_next(table, &scan, state, NULL, 64)) != 0;) {
        for (uint32_t i = 0; i < n; i++) {
            const kit_keep *s = state[i];
            assert_true(s->id < KIT_USERS && copy->hash[s->id] == 0);
            copy->hash[s->id] = kit_hash(table, s, k->cells) | 1;
            copy->count++;
            event[i] = kit_event_of((uint32_t)s->id, room[i]);
        }
        wr_key_hash(&kit_keys[k->key], event, sizeof *event, n, hash);
        wr_table_peek(table, event, n, hash, NULL, 0, found);
        for (uint32_t i = 0; i < n; i++) assert_ptr_equal(found[i], state[i]);
    }
}

static void kit_same(const kit_copy *a, const kit_copy *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < KIT_USERS; i++) {
        if (a->hash[i] != b->hash[i]) fail_msg("user %u differs: %lx, %lx", i, a->hash[i], b->hash[i]);
    }
}

/* ---- storage ----------------------------------------------------------------------------------------------------- */

/* The real files behind a queue that answers late and in any order; or fails from some write on. */
typedef struct kit_storage {
    wr_env   env;
    wr_prng  prng;
    wr_io_op op[64];
    uint32_t ops, deep;
    int      error, fail_after; /* fail_after: writes that still succeed; -1: all */
    uint32_t synced, flying_max;
} kit_storage;

static int kit_io_new(void *self, wr_io **io, wr_parker *parker, uint32_t depth)
{
    kit_storage *s = self;
    (void)parker;
    assert_true(s->ops == 0 && depth <= 64);
    s->deep = depth;
    *io = (wr_io *)(void *)s;
    return 0;
}
static int64_t kit_io_do(kit_storage *s, const wr_io_op *op)
{
    const wr_env *real = wr_env_real();
    if (op->kind == WR_IO_WRITE && s->fail_after >= 0 && s->fail_after-- == 0) {
        s->fail_after = 0;
        return -s->error;
    }
    if (op->kind == WR_IO_SYNC) {
        s->synced++;
        return real->fsync(real->self, op->file);
    }
    if (op->kind == WR_IO_READ) return real->pread(real->self, op->file, op->at, op->bytes, op->offset);
    assert_true(op->bytes % 4096 == 0 && op->offset % 4096 == 0 && (uintptr_t)op->at % 4096 == 0);
    return real->pwrite(real->self, op->file, op->at, op->bytes, op->offset);
}
static void kit_io_free(void *self, wr_io *io)
{
    kit_storage *s = self;
    (void)io;
    for (uint32_t i = 0; i < s->ops; i++) (void)kit_io_do(s, &s->op[i]);
    s->ops = 0;
}
static int kit_io_submit(void *self, wr_io *io, const wr_io_op *op)
{
    kit_storage *s = self;
    (void)io;
    if (s->ops == s->deep || (s->ops != 0 && wr_prng_one_in(&s->prng, 5))) return -EAGAIN;
    s->op[s->ops++] = *op;
    if (s->ops > s->flying_max) s->flying_max = s->ops;
    return 0;
}
static uint32_t kit_io_reap(void *self, wr_io *io, wr_io_done *done, uint32_t n)
{
    kit_storage *s = self;
    uint32_t     count = 0;
    (void)io;
    while (count < n && s->ops != 0 && !wr_prng_one_in(&s->prng, 3)) {
        uint32_t i = (uint32_t)wr_prng_below(&s->prng, s->ops);
        done[count++] = (wr_io_done){.tag = s->op[i].tag, .result = kit_io_do(s, &s->op[i])};
        s->op[i] = s->op[--s->ops];
    }
    return count;
}
static void kit_storage_begin(kit_storage *s, uint64_t seed)
{
    *s = (kit_storage){.env = *wr_env_real(), .prng = wr_prng_of(seed), .fail_after = -1, .error = ENOSPC};
    s->env.self = s;
    s->env.io_new = kit_io_new;
    s->env.io_free = kit_io_free;
    s->env.io_submit = kit_io_submit;
    s->env.io_reap = kit_io_reap;
}

/* A folder of this test; removed with all that is in it. */
static char kit_folder[64];

static int kit_folder_in(const char *top)
{
    snprintf(kit_folder, sizeof kit_folder, "%s/weir-image-XXXXXX", top);
    return mkdtemp(kit_folder) == NULL;
}
static int kit_folder_begin(void **unused)
{
    (void)unused;
    return kit_folder_in("/tmp");
}
static bool kit_unlink(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", kit_folder, name);
    (void)unlink(path);
    ++*(uint32_t *)arg;
    return true;
}
/* How many files there were. */
static uint32_t kit_clear(void)
{
    uint32_t files = 0;
    assert_int_equal(wr_env_real()->list(NULL, kit_folder, kit_unlink, &files), 0);
    return files;
}
static int kit_folder_end(void **unused)
{
    (void)unused;
    (void)kit_clear();
    return rmdir(kit_folder);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

static wr_image_writer *kit_writer(const wr_env *env, wr_table *table, uint64_t id, uint64_t base, bool full)
{
    char            name[64];
    wr_errinfo      info = {0};
    wr_image_config config = {.env = env,
                              .folder = kit_folder,
                              .name = name,
                              .job = "kit",
                              .lineage = "a lineage",
                              .barrier = {.id = id, .base = base, .kind = WR_SNAPSHOT, .epoch = 3}};
    snprintf(name, sizeof name, "s-%lu-%u.wst", id, table->config.group_first);
    wr_image_writer *w;
    if (wr_image_writer_new(&w, &config, &info) != WR_OK) fail_msg("%s", info.text);
    if (wr_image_writer_add(w, "keeper", table, full, &info) != WR_OK) fail_msg("%s", info.text);
    return w;
}

/* To the end, without any work in between. */
static void kit_write(const wr_env *env, wr_table *table, uint64_t id, uint64_t base, bool full, wr_state_file *file)
{
    wr_image_writer   *w = kit_writer(env, table, id, base, full);
    wr_errinfo         info = {0};
    uint64_t           bytes_full;
    enum wr_image_step step;
    while ((step = wr_image_writer_step(w, UINT64_MAX, &info)) != WR_IMAGE_DURABLE) {
        if (step == WR_IMAGE_FAILED) fail_msg("%s", info.text);
    }
    wr_image_writer_result(w, file, &bytes_full);
    wr_image_writer_free(w);
}

#endif
