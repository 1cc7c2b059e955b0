/* Snapshots of tables that change while they are written, against what the table held at the barrier: full ones,
 * increments, failed and aborted ones; loaded at once and by other parallelisms, and worked on afterwards.
 * ctest: no_uring timeout=120 */
#include "base/sabotage.h"
#include "tests/unit/snapshot/image_kit.h"

enum { CHAIN = 40, PARTS = 3 };

/* What the coordinator would know of one chain. */
typedef struct chain {
    wr_manifest_layer layer[CHAIN];
    wr_manifest_op    op;
} chain;

static void chain_begin(chain *c, const kit *k)
{
    *c = (chain){.op = {.uid = "keeper",
                        .max_parallelism = KIT_GROUPS,
                        .layer = c->layer,
                        .record = &kit_event_type,
                        .state = k->cells ? &kit_keep_type : &kit_tally_type,
                        .key = kit_keys[k->key]}};
}

static void chain_add(chain *c, const wr_state_file *file, uint64_t id, uint32_t from)
{
    if (!file->increment && from == 0) c->op.layers = 0;
    uint32_t order = 0;
    for (uint32_t i = 0; i < c->op.layers; i++) order += c->layer[i].from == from;
    c->layer[c->op.layers++] = (wr_manifest_layer){.file = *file, .snapshot = id, .from = from, .order = order};
}

static wr_table *load(kit *k, const wr_env *env, const chain *c, uint32_t first, uint32_t end)
{
    wr_errinfo info = {0};
    wr_table  *table = kit_table(k, first, end);
    if (wr_image_load(table, env, kit_folder, &c->op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    return table;
}

static void check_files(const wr_env *env, const chain *c)
{
    for (uint32_t i = 0; i < c->op.layers; i++) {
        wr_errinfo info = {0};
        if (wr_image_check(env, kit_folder, &c->layer[i].file, &info) != WR_OK) fail_msg("%s", info.text);
    }
}

/* The snapshot's files give what the table held, whoever loads them. */
static void same_as_files(kit *k, const wr_env *env, const chain *c, const kit_copy *truth, uint32_t parallelism)
{
    static kit_copy loaded;
    memset(&loaded, 0, sizeof loaded);
    for (uint32_t p = 0; p < parallelism; p++) {
        wr_table *part = load(k, env, c, p * KIT_GROUPS / parallelism, (p + 1) * KIT_GROUPS / parallelism);
        kit_copy_add(k, part, &loaded);
        wr_table_free(part);
    }
    kit_same(truth, &loaded);
}

/* Writes one snapshot in small steps with batches in between. False: it failed or was given up. */
static bool snapshot(kit *k, const wr_env *env, chain *c, uint64_t id, uint64_t base, bool full, bool give_up,
                     bool *undone)
{
    wr_image_writer   *w = kit_writer(env, k->table, id, base, full);
    wr_errinfo         info = {0};
    enum wr_image_step step = WR_IMAGE_MORE;
    uint64_t           busy = kit_below(k, 4), quantum = kit_below(k, 3) == 0 ? 1 : 1 + kit_below(k, 300000), bytes;
    while (step == WR_IMAGE_MORE || step == WR_IMAGE_WAIT) {
        if (give_up && kit_below(k, 20) == 0) break;
        kit_batches(k, busy);
        *undone |= wr_image_writer_undo_bytes(w) > 64;
        step = wr_image_writer_step(w, quantum, &info);
    }
    bool durable = step == WR_IMAGE_DURABLE;
    if (durable) {
        wr_state_file file;
        wr_image_writer_result(w, &file, &bytes);
        assert_true(file.increment == !full && file.bytes % 4096 == 0);
        chain_add(c, &file, id, 0);
    } else {
        assert_true(give_up || info.code != WR_OK);
    }
    wr_image_writer_free(w);
    wr_capture_outcome(k->table, durable);
    return durable;
}

static void follows_the_table(uint64_t seed, bool increments, const wr_env *env, kit_storage *broken)
{
    static kit_copy truth;
    kit             k;
    chain           c;
    bool            undone = false;
    uint64_t        base = 0;
    kit_begin(&k, seed);
    chain_begin(&c, &k);
    wr_errinfo info = {0};
    if (increments) assert_int_equal(wr_table_mark(k.table, true, &info), WR_OK);
    for (uint64_t id = 1; id <= 14; id++) {
        kit_batches(&k, kit_below(&k, 60));
        memset(&truth, 0, sizeof truth);
        kit_copy_add(&k, k.table, &truth);
        bool bad = broken != NULL && kit_below(&k, 3) == 0;
        if (bad) broken->fail_after = (int)kit_below(&k, 2);
        bool full = base == 0 || !increments || kit_below(&k, 6) == 0;
        bool durable = snapshot(&k, env, &c, id, base, full, kit_below(&k, 4) == 0, &undone);
        if (broken != NULL) broken->fail_after = -1;
        if (!durable) continue;
        base = id;
        check_files(env, &c);
        same_as_files(&k, env, &c, &truth, 1 + (uint32_t)kit_below(&k, 5));
        if (kit_below(&k, 3) != 0) continue;
        /* go on with what was loaded: its free lists, counters and indexes must be as good */
        wr_table *loaded = load(&k, env, &c, 0, KIT_GROUPS);
        wr_table_free(k.table);
        k.table = loaded;
        kit_near(&k);
        base = 0;
        if (increments) assert_int_equal(wr_table_mark(k.table, true, &info), WR_OK);
    }
    assert_true(undone);
    kit_end(&k);
    (void)kit_clear();
}

/* WEIR_SEEDS=N: so many times as many. */
static uint64_t seeds(uint64_t n)
{
    const char *times = getenv("WEIR_SEEDS");
    return times != NULL ? n * strtoull(times, NULL, 10) : n;
}

static void full_snapshots(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(8); seed++) follows_the_table(seed, false, wr_env_real(), NULL);
}
static void increments(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(10); seed++) follows_the_table(10000 + seed, true, wr_env_real(), NULL);
}
static void plain_storage(void **unused)
{
    wr_env env = *wr_env_real();
    env.io_new = NULL;
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(3); seed++) follows_the_table(20000 + seed, true, &env, NULL);
}
static void late_and_broken_storage(void **unused)
{
    static kit_storage storage;
    uint32_t           synced = 0, most = 0;
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(10); seed++) {
        kit_storage_begin(&storage, seed);
        follows_the_table(30000 + seed, true, &storage.env, &storage);
        synced += storage.synced;
        if (storage.flying_max > most) most = storage.flying_max;
    }
    assert_true(synced > 10 && most > 1);
}

/* Written by three subtasks, each with its own chain of layers. */
static void from_many_to_many(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(4); seed++) {
        static kit_copy truth;
        kit             k;
        chain           whole, parts;
        bool            undone = false;
        wr_table       *part[PARTS];
        kit_begin(&k, 40000 + seed);
        chain_begin(&whole, &k);
        chain_begin(&parts, &k);
        kit_batches(&k, 200);
        assert_true(snapshot(&k, wr_env_real(), &whole, 1, 0, true, false, &undone));
        for (uint32_t p = 0; p < PARTS; p++) {
            part[p] = load(&k, wr_env_real(), &whole, p * KIT_GROUPS / PARTS, (p + 1) * KIT_GROUPS / PARTS);
            assert_int_equal(wr_table_mark(part[p], true, NULL), WR_OK);
        }
        wr_state_file file;
        for (uint64_t id = 2; id < 6; id++) {
            memset(&truth, 0, sizeof truth);
            for (uint32_t p = 0; p < PARTS; p++) {
                kit_copy_add(&k, part[p], &truth);
                if (id > 2 && (id + p) % 3 == 0) continue; /* unchanged since: its chain is shorter */
                kit_write(wr_env_real(), part[p], id, id == 2 ? 0 : id - 1, id == 2, &file);
                wr_capture_outcome(part[p], true);
                chain_add(&parts, &file, id, p);
            }
        }
        same_as_files(&k, wr_env_real(), &parts, &truth, 1);
        same_as_files(&k, wr_env_real(), &parts, &truth, 2);
        same_as_files(&k, wr_env_real(), &parts, &truth, 7);
        for (uint32_t p = 0; p < PARTS; p++) wr_table_free(part[p]);
        kit_end(&k);
        (void)kit_clear();
    }
}

/* A chain of operators has several tables; they share the writer and the file. */
static void two_tables_in_one_file(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < seeds(4); seed++) {
        static kit_copy truth[2];
        kit             k[2];
        wr_errinfo      info = {0};
        wr_state_file   file;
        uint64_t        bytes;
        for (uint32_t i = 0; i < 2; i++) {
            kit_begin(&k[i], 50000 + seed * 7 + i);
            kit_batches(&k[i], 100 + 200 * i);
            memset(&truth[i], 0, sizeof truth[i]);
            kit_copy_add(&k[i], k[i].table, &truth[i]);
        }
        wr_image_writer *w = kit_writer(wr_env_real(), k[0].table, 1, 0, true);
        if (wr_image_writer_add(w, "other", k[1].table, true, &info) != WR_OK) fail_msg("%s", info.text);
        while (wr_image_writer_step(w, 100000, &info) != WR_IMAGE_DURABLE) {
            kit_batch(&k[0]);
            kit_batch(&k[1]);
        }
        wr_image_writer_result(w, &file, &bytes);
        wr_image_writer_free(w);
        for (uint32_t i = 0; i < 2; i++) {
            chain c;
            chain_begin(&c, &k[i]);
            chain_add(&c, &file, 1, 0);
            if (i == 1) c.op.uid = "other";
            check_files(wr_env_real(), &c);
            for (uint32_t parts = 1; parts <= 3; parts++) same_as_files(&k[i], wr_env_real(), &c, &truth[i], parts);
            kit_end(&k[i]);
        }
        (void)kit_clear();
    }
}

/* Without a layer in the middle the entries that only it has would be holes. */
static void a_missing_layer_is_noticed(void **unused)
{
    kit           k;
    chain         c;
    wr_state_file file;
    wr_errinfo    info = {0};
    (void)unused;
    kit_begin(&k, 11);
    chain_begin(&c, &k);
    assert_int_equal(wr_table_mark(k.table, true, NULL), WR_OK);
    for (uint64_t id = 1; id <= 3; id++) {
        kit_batches(&k, 60);
        kit_write(wr_env_real(), k.table, id, id - 1, id == 1, &file);
        wr_capture_outcome(k.table, true);
        chain_add(&c, &file, id, 0);
    }
    wr_table *table = load(&k, wr_env_real(), &c, 0, KIT_GROUPS);
    wr_table_free(table);
    c.layer[1] = c.layer[2];
    c.op.layers = 2;
    table = kit_table(&k, 0, KIT_GROUPS);
    assert_int_equal(wr_image_load(table, wr_env_real(), kit_folder, &c.op, NULL, &info), WR_DAMAGED);
    assert_non_null(strstr(info.text, "s-3-0.wst: it does not continue the file before"));
    wr_table_free(table);
    kit_end(&k);
    (void)kit_clear();
}

/* A step does not do more than it was asked for; bits come back when a snapshot is given up. */
static void steps_are_small(void **unused)
{
    kit k;
    (void)unused;
    kit_begin(&k, 4);
    for (uint32_t i = 0; i < 3000; i++) kit_batch(&k);
    wr_image_writer *w = kit_writer(wr_env_real(), k.table, 1, 0, true);
    uint32_t         steps = 0;
    wr_errinfo       info = {0};
    while (!wr_image_writer_captured(w)) {
        assert_int_not_equal(wr_image_writer_step(w, 16384, &info), WR_IMAGE_FAILED);
        steps++;
    }
    assert_true(steps > 10);
    wr_image_writer_free(w);
    assert_int_equal(kit_clear(), 0); /* the unfinished file is gone */
    kit_end(&k);
}

/* Whether 40 snapshots between batches show what is broken. */
static bool notices(uint64_t seed, bool increments)
{
    static kit_copy truth, seen;
    kit             k;
    chain           c;
    bool            undone = false, noticed = false;
    kit_begin(&k, seed);
    chain_begin(&c, &k);
    if (increments) assert_int_equal(wr_table_mark(k.table, true, NULL), WR_OK);
    for (uint64_t id = 1; id <= 40 && !noticed; id++) {
        kit_batches(&k, 10);
        memset(&truth, 0, sizeof truth);
        memset(&seen, 0, sizeof seen);
        kit_copy_add(&k, k.table, &truth);
        bool full = !increments || id % 20 == 1;
        assert_true(snapshot(&k, wr_env_real(), &c, id, full ? 0 : id - 1, full, false, &undone));
        wr_errinfo info = {0};
        wr_table  *table = kit_table(&k, 0, KIT_GROUPS);
        noticed = wr_image_load(table, wr_env_real(), kit_folder, &c.op, NULL, &info) != WR_OK;
        if (!noticed) kit_copy_add(&k, table, &seen);
        noticed |= memcmp(&truth, &seen, sizeof truth) != 0;
        wr_table_free(table);
    }
    kit_end(&k);
    (void)kit_clear();
    return noticed;
}

/* The switches that break a rule: without them nothing is seen, with each of them something is. */
static void sabotage_is_noticed(void **unused)
{
    (void)unused;
    assert_false(notices(6, true));
    assert_false(notices(6, false));
    wr_sabotage.skip_undo = true;
    assert_true(notices(6, false));
    wr_sabotage = (wr_sabotage_switches){.lose_dirty_bit = true};
    assert_true(notices(6, true));
    wr_sabotage = (wr_sabotage_switches){.stale_lookaside = true};
    assert_true(notices(6, true));
    wr_sabotage = (wr_sabotage_switches){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_snapshots),
        cmocka_unit_test(increments),
        cmocka_unit_test(plain_storage),
        cmocka_unit_test(late_and_broken_storage),
        cmocka_unit_test(from_many_to_many),
        cmocka_unit_test(steps_are_small),
        cmocka_unit_test(a_missing_layer_is_noticed),
        cmocka_unit_test(two_tables_in_one_file),
        cmocka_unit_test(sabotage_is_noticed),
    };
    return cmocka_run_group_tests(tests, kit_folder_begin, kit_folder_end);
}
