/* States of a snapshot in tables of another schema or layout, through an upgrade, and without any pipeline.
 * ctest: timeout=120 */
#include "snapshot/image_convert.h"
#include "tests/unit/snapshot/image_kit.h"

/* kit_note, kit_point and kit_keep after a year of changes: fields moved, added, removed and widened. */
typedef struct note2 {
    int64_t  value;
    weir_str more;
    weir_str name;
} note2;
typedef struct point2 {
    uint64_t y;
    int64_t  x;
} point2;
typedef struct keep2 {
    weir_cell points;
    uint8_t   added[100];
    weir_cell table;
    uint64_t  count;
    weir_text text;
    weir_cell value, list;
    uint64_t  id;
} keep2;
static const weir_field note2_fields[] = {KIT_FIELD(note2, value, WEIR_I64, .ttl = 0),
                                          KIT_FIELD(note2, more, WEIR_STR, .ttl = 0),
                                          KIT_FIELD(note2, name, WEIR_STR, .ttl = 0)};
static const weir_type  note2_type = KIT_TYPE(note2, note2_fields);
static const weir_field point2_fields[] = {KIT_FIELD(point2, y, WEIR_U64, .ttl = 0),
                                           KIT_FIELD(point2, x, WEIR_I64, .ttl = 0)};
static const weir_type  point2_type = KIT_TYPE(point2, point2_fields);
static const weir_field keep2_fields[] = {
    KIT_FIELD(keep2, points, WEIR_CELL_LIST, .element = &point2_type),
    KIT_FIELD(keep2, added, WEIR_ARRAY | WEIR_U8, .ttl = 0),
    KIT_FIELD(keep2, table, WEIR_CELL_TABLE, .element = &point2_type, .key = 8, .key_kind = WEIR_I64),
    KIT_FIELD(keep2, count, WEIR_U64, .ttl = 0),
    KIT_FIELD(keep2, text, WEIR_TEXT, .ttl = 0),
    KIT_FIELD(keep2, value, WEIR_CELL_VALUE, .element = &note2_type),
    KIT_FIELD(keep2, list, WEIR_CELL_LIST, .element = &note2_type),
    KIT_FIELD(keep2, id, WEIR_U64, .ttl = 0)};
static const weir_type keep2_type = KIT_TYPE(keep2, keep2_fields);
/* The key's record has changed, too: fields elsewhere, one of them wider. */
typedef struct event2 {
    weir_str name;
    double   other;
    int64_t  user;
} event2;
static const weir_field event2_fields[] = {KIT_FIELD(event2, name, WEIR_STR, .ttl = 0),
                                           KIT_FIELD(event2, other, WEIR_F64, .ttl = 0),
                                           KIT_FIELD(event2, user, WEIR_I64, .ttl = 0)};
static const weir_type  event2_type = KIT_TYPE(event2, event2_fields);
static const weir_key   keys2[] = {
      {.count = 1, .field = {{offsetof(event2, user), WEIR_I64}}},
      {.count = 1, .field = {{offsetof(event2, name), WEIR_STR}}},
      {.count = 2, .field = {{offsetof(event2, name), WEIR_STR}, {offsetof(event2, user), WEIR_I64}}}};

static wr_manifest_layer layer[2];
static wr_manifest_op    op;

/* A table after some work, as a full snapshot and one increment. */
static void begin(kit *k, uint64_t seed)
{
    wr_state_file file;
    kit_begin(k, seed);
    assert_int_equal(wr_table_mark(k->table, true, NULL), WR_OK);
    kit_batches(k, 300);
    kit_write(wr_env_real(), k->table, 1, 0, true, &file);
    layer[0] = (wr_manifest_layer){.file = file, .snapshot = 1};
    wr_capture_outcome(k->table, true);
    kit_batches(k, 20);
    kit_write(wr_env_real(), k->table, 2, 1, false, &file);
    layer[1] = (wr_manifest_layer){.file = file, .snapshot = 2, .order = 1};
    op = (wr_manifest_op){.uid = "keeper",
                          .max_parallelism = KIT_GROUPS,
                          .layer = layer,
                          .layers = 2,
                          .record = &kit_event_type,
                          .state = k->cells ? &kit_keep_type : &kit_tally_type,
                          .key = kit_keys[k->key]};
}

static wr_table *table2(kit *k, const weir_type *state, uint32_t first, uint32_t end)
{
    wr_table_config config = {.uid = "keeper",
                              .record = &event2_type,
                              .key = keys2[k->key],
                              .state = state,
                              .max_parallelism = KIT_GROUPS,
                              .group_first = first,
                              .group_end = end,
                              .budget = &k->budget};
    wr_table       *table;
    assert_int_equal(wr_table_new(&table, &config, NULL), WR_OK);
    return table;
}

/* ---- reader ------------------------------------------------------------------------------------------------------ */

static void reader_walks_all(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        static kit_copy truth, seen;
        kit             k;
        wr_errinfo      info = {0};
        begin(&k, seed);
        memset(&truth, 0, sizeof truth);
        memset(&seen, 0, sizeof seen);
        kit_copy_add(&k, k.table, &truth);
        wr_image_reader *r;
        if (wr_image_reader_new(&r, wr_env_real(), kit_folder, &op, &info) != WR_OK) fail_msg("%s", info.text);
        const wr_table *table;
        const void     *key, *state;
        while (wr_image_reader_next(r, &table, &key, &state, &info)) {
            const kit_keep  *s = state;
            char             room[64];
            kit_event        expected = kit_event_of((uint32_t)s->id, room);
            const kit_event *e = key;
            if (k.key != 1) assert_int_equal(e->user, expected.user);
            if (k.key != 0) assert_true(weir_str_equal(&e->name, &expected.name));
            assert_int_equal(seen.hash[s->id], 0);
            seen.hash[s->id] = kit_hash(table, s, k.cells) | 1;
            seen.count++;
        }
        if (info.code != WR_OK) fail_msg("%s", info.text);
        kit_same(&truth, &seen);
        wr_image_reader_free(r);
        kit_end(&k);
        (void)kit_clear();
    }
}

/* ---- conversion -------------------------------------------------------------------------------------------------- */

static uint32_t count_rows(const wr_table *table, const void *state, const weir_cell *cell, size_t size)
{
    weir_rows rows = wr_cell_rows(table, state, cell);
    uint32_t  n = 0;
    while (rows.at != rows.end || wr_cell_rows_refill(&rows, size)) {
        if (rows.at == rows.end) continue;
        rows.at += size;
        n++;
    }
    return n;
}

/* Rows of both, side by side. */
static void same_lists(const wr_table *ta, const kit_keep *a, const weir_cell *ca, const wr_table *tb, const keep2 *b,
                       const weir_cell *cb, bool notes)
{
    size_t    sa = notes ? sizeof(kit_note) : sizeof(kit_point), sb = notes ? sizeof(note2) : sizeof(point2);
    weir_rows ra = wr_cell_rows(ta, a, ca), rb = wr_cell_rows(tb, b, cb);
    assert_int_equal(count_rows(ta, a, ca, sa), count_rows(tb, b, cb, sb));
    for (uint32_t i = 0; i < ca->count; i++) {
        if (ra.at == ra.end) assert_true(wr_cell_rows_refill(&ra, sa));
        if (rb.at == rb.end) assert_true(wr_cell_rows_refill(&rb, sb));
        if (notes) {
            const kit_note *x = (const void *)ra.at;
            const note2    *y = (const void *)rb.at;
            assert_true(weir_str_equal(&x->name, &y->name) && y->value == x->value && y->more.len == 0);
        } else {
            const kit_point *x = (const void *)ra.at;
            const point2    *y = (const void *)rb.at;
            assert_true(x->x == y->x && x->y == y->y);
        }
        ra.at += sa;
        rb.at += sb;
    }
}

static void same_states(const wr_table *ta, const kit_keep *a, const wr_table *tb, const keep2 *b)
{
    assert_true(a->id == b->id && a->count == b->count && b->added[0] == 0 && b->added[99] == 0);
    weir_str x = wr_cell_text_get(&a->text), y = wr_cell_text_get(&b->text);
    assert_true(weir_str_equal(&x, &y));
    const kit_note *va = wr_cell_value_get(ta, a, &a->value);
    const note2    *vb = wr_cell_value_get(tb, b, &b->value);
    assert_true((va == NULL) == (vb == NULL));
    if (va != NULL) assert_true(weir_str_equal(&va->name, &vb->name) && vb->value == va->value);
    same_lists(ta, a, &a->list, tb, b, &b->list, true);
    same_lists(ta, a, &a->points, tb, b, &b->points, false);
    same_lists(ta, a, &a->table, tb, b, &b->table, false);
    for (int64_t i = 0; i < 30; i++) {
        int32_t          narrow = (int32_t)i;
        const kit_point *p = wr_cell_table_get(ta, a, &a->table, &narrow);
        const point2    *q = wr_cell_table_get(tb, b, &b->table, &i);
        assert_true((p == NULL) == (q == NULL) && (p == NULL || p->y == q->y));
    }
}

static void *find2(wr_table *table, uint32_t key, const kit_keep *s)
{
    char      room[64];
    kit_event e = kit_event_of((uint32_t)s->id, room);
    event2    event = {.user = e.user, .name = e.name};
    uint64_t  hash;
    void     *state;
    wr_key_hash(&keys2[key], &event, sizeof event, 1, &hash);
    if (wr_table_group_of(table, hash) >= table->groups) return NULL;
    wr_table_peek(table, &event, 1, &hash, NULL, 0, &state);
    return state;
}

static void fields_move_and_widen(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        kit        k;
        wr_errinfo info = {0};
        if (seed % 5 == 4) continue; /* without cells */
        begin(&k, seed);
        uint64_t found = 0;
        assert_int_equal(wr_schema_match(&kit_keep_type, &keep2_type, NULL, &info), WR_SCHEMA_CONVERT);
        for (uint32_t p = 0; p < 3; p++) {
            wr_table *part = table2(&k, &keep2_type, p * KIT_GROUPS / 3, (p + 1) * KIT_GROUPS / 3);
            if (wr_image_load(part, wr_env_real(), kit_folder, &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
            wr_table_scan scan = {0};
            void         *state[64];
            for (uint32_t n; (n = wr_table_scan_next(k.table, &scan, state, NULL, 64)) != 0;) {
                for (uint32_t i = 0; i < n; i++) {
                    const keep2 *b = find2(part, k.key, state[i]);
                    if (b == NULL) continue;
                    same_states(k.table, state[i], part, b);
                    found++;
                }
            }
            assert_true(wr_table_count(part) != 0);
            wr_table_free(part);
        }
        assert_int_equal(found, wr_table_count(k.table));
        kit_end(&k);
        (void)kit_clear();
    }
}

/* ---- upgrades ---------------------------------------------------------------------------------------------------- */

static wr_table       *new_table;
static const wr_table *old_table;

static void upgrade_loop(weir_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->n; i++) {
        const kit_keep *from = ctx->other[i];
        kit_tally      *to = ctx->state[i];
        assert_true(to->id == 0 && to->count == 0 && old_table != NULL);
        to->id = from->id;
        to->count = from->count * 1000 + count_rows(old_table, from, &from->list, sizeof(kit_note));
    }
}
static void call_upgrade(weir_ctx *ctx, const weir_upgrade *upgrade)
{
    upgrade->loop(ctx);
}
static void failing_loop(weir_ctx *ctx)
{
    ctx->failed = 1;
}

static void upgrades_run(void **unused)
{
    kit        k;
    wr_errinfo info = {0};
    (void)unused;
    begin(&k, 1);
    weir_upgrade        good = {&kit_keep_type, &kit_tally_type, upgrade_loop};
    weir_upgrade        other = {&keep2_type, &kit_tally_type, failing_loop};
    const weir_upgrade *list[] = {&other, &good, NULL}, *none[] = {&other, NULL};
    assert_int_equal(wr_schema_match(&kit_keep_type, &kit_tally_type, list, &info), WR_SCHEMA_UPGRADE);
    assert_int_equal(wr_schema_match(&kit_keep_type, &kit_tally_type, none, &info), WR_SCHEMA_CONVERT);
    weir_ctx     ctx = {.abi_size = sizeof ctx};
    wr_upgrading how = {.upgrade = list, .ctx = &ctx, .call = call_upgrade, .old = &old_table};
    new_table = table2(&k, &kit_tally_type, 0, KIT_GROUPS);
    if (wr_image_upgrade(new_table, wr_env_real(), kit_folder, &op, &how, &info) != WR_OK) fail_msg("%s", info.text);
    assert_null(old_table);
    assert_int_equal(wr_table_count(new_table), wr_table_count(k.table));
    wr_table_scan scan = {0};
    void         *state[64];
    for (uint32_t n; (n = wr_table_scan_next(k.table, &scan, state, NULL, 64)) != 0;) {
        for (uint32_t i = 0; i < n; i++) {
            const kit_keep  *a = state[i];
            const kit_tally *b = find2(new_table, k.key, a);
            assert_non_null(b);
            assert_int_equal(b->count, a->count * 1000 + a->list.count);
        }
    }
    wr_table_free(new_table);
    /* without a ctx it is refused; a loop that fails, fails the load */
    new_table = table2(&k, &kit_tally_type, 0, KIT_GROUPS);
    assert_int_equal(wr_image_load(new_table, wr_env_real(), kit_folder, &op, list, &info), WR_STATE);
    assert_non_null(strstr(info.text, "WEIR_UPGRADE"));
    info = (wr_errinfo){0};
    good.loop = failing_loop;
    assert_int_equal(wr_image_upgrade(new_table, wr_env_real(), kit_folder, &op, &how, &info), WR_USER_FAIL);
    wr_table_free(new_table);
    kit_end(&k);
    (void)kit_clear();
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void refused(const weir_type *from, const weir_type *to, const char *says)
{
    wr_errinfo info = {0};
    assert_int_equal(wr_schema_match(from, to, NULL, &info), WR_SCHEMA_REFUSED);
    assert_int_equal(info.code, WR_STATE);
    if (strstr(info.text, says) == NULL) fail_msg("%s: %s", says, info.text);
}

static void schemas_that_do_not_fit(void **unused)
{
    static const uint32_t fits[][2] = {
        {WEIR_I8, WEIR_I64}, {WEIR_U8, WEIR_I16}, {WEIR_U32, WEIR_U64}, {WEIR_F32, WEIR_F64}, {WEIR_I32, WEIR_I32}};
    static const uint32_t not [][2] = {{WEIR_I64, WEIR_I32},  {WEIR_I8, WEIR_U64},   {WEIR_U64, WEIR_I64},
                                       {WEIR_F64, WEIR_F32},  {WEIR_I64, WEIR_F64},  {WEIR_BOOL, WEIR_I8},
                                       {WEIR_TIME, WEIR_I64}, {WEIR_STR, WEIR_BYTES}};
    static const uint32_t bytes[] = {0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8, 8, 16, 16};
    (void)unused;
    for (uint32_t i = 0; i < 13; i++) {
        bool            good = i < 5;
        const uint32_t *pair = good ? fits[i] : not [i - 5];
        weir_field      a = {.name = "amount", .kind = pair[0], .size = bytes[pair[0]]}, b = a;
        b.kind = pair[1];
        b.size = bytes[pair[1]];
        weir_type x = {.fields = 1, .name = "x", .size = 16, .align = 8, .field = &a}, y = x;
        y.field = &b;
        wr_errinfo info = {0};
        if (!good)
            refused(&x, &y, "field amount of x was");
        else
            assert_true(wr_schema_match(&x, &y, NULL, &info) <= WR_SCHEMA_CONVERT);
        a.kind |= WEIR_ARRAY;
        b.kind |= WEIR_ARRAY;
        a.size *= 2;
        if (pair[0] >= WEIR_I8 && pair[0] <= WEIR_F64) refused(&x, &y, "array");
    }
    weir_field keyed = keep2_fields[2];
    weir_type  rekeyed = {.fields = 1, .name = "rekeyed", .size = sizeof(keep2), .align = 8, .field = &keyed};
    keyed.key = 0;
    keyed.key_kind = WEIR_U64;
    refused(&kit_keep_type, &rekeyed, "keyed by x in the snapshot and is by y");
}

/* What is told of a conversion: fields, and those of elements, as far as there is room. */
static void changes_are_named(void **unused)
{
    char text[64];
    (void)unused;
    wr_schema_changes(&kit_keep_type, &kit_keep_type, text, sizeof text);
    assert_string_equal(text, "");
    const weir_field a[] = {{.name = "x", .kind = WEIR_I32, .size = 4}, {.name = "y", .kind = WEIR_I32, .size = 4}};
    const weir_field b[] = {{.name = "z", .kind = WEIR_I64, .size = 8}, {.name = "y", .kind = WEIR_I64, .size = 8}};
    const weir_type  of_a = {.fields = 2, .name = "a", .field = a}, of_b = {.fields = 2, .name = "b", .field = b};
    wr_schema_changes(&of_a, &of_b, text, sizeof text);
    assert_string_equal(text, "adds z, changes y, drops x");
    const weir_field list_a = {.name = "rows", .kind = WEIR_CELL_LIST, .size = 16, .element = &of_a};
    const weir_field list_b = {.name = "rows", .kind = WEIR_CELL_LIST, .size = 16, .element = &of_b};
    const weir_type  all_a = {.fields = 1, .name = "all", .field = &list_a},
                    all_b = {.fields = 1, .name = "all", .field = &list_b};
    wr_schema_changes(&all_a, &all_b, text, sizeof text);
    assert_string_equal(text, "adds rows.z, changes rows.y, drops rows.x");
    for (uint32_t room = 1; room < 30; room++) {
        wr_schema_changes(&all_a, &all_b, text, room);
        assert_int_equal(strlen(text), room - 1);
    }
}

static void keys_that_do_not_fit(void **unused)
{
    kit        k;
    wr_errinfo info = {0};
    (void)unused;
    begin(&k, 3); /* by user */
    assert_int_equal(k.key, 0);
    k.key = 1;
    wr_table *table = table2(&k, &keep2_type, 0, KIT_GROUPS);
    assert_int_equal(wr_image_load(table, wr_env_real(), kit_folder, &op, NULL, &info), WR_STATE);
    assert_non_null(strstr(info.text, "key of operator keeper"));
    wr_table_free(table);
    kit_end(&k);
    (void)kit_clear();
}

/* A field of the same type that is called otherwise is another one: the states are not its keys' states. */
static void keys_of_another_name(void **unused)
{
    const weir_field fields[] = {KIT_FIELD(kit_event, user, WEIR_I32, .ttl = 0),
                                 KIT_FIELD(kit_event, name, WEIR_STR, .ttl = 0)};
    weir_field       renamed[] = {fields[0], fields[1]};
    const weir_type  before = KIT_TYPE(kit_event, fields), after = KIT_TYPE(kit_event, renamed);
    (void)unused;
    for (uint32_t key = 0; key < 3; key++) {
        wr_errinfo        info = {0};
        const wr_keyed_by was = {&before, &kit_keys[key]}, is = {&after, &kit_keys[key]};
        renamed[0].name = "user";
        assert_int_equal(wr_key_match(&was, &is, "keeper", &info), WR_OK);
        renamed[0].name = "other";
        assert_int_equal(wr_key_match(&was, &is, "keeper", &info), key == 1 ? WR_OK : WR_STATE);
        assert_true(key == 1 || strstr(info.text, "was user in the snapshot and is other now") != NULL);
    }
    const weir_key    swapped = {.count = 2, .field = {kit_keys[2].field[1], kit_keys[2].field[0]}};
    const wr_keyed_by was = {&before, &kit_keys[2]}, is = {&before, &swapped};
    assert_int_equal(wr_key_match(&was, &is, "keeper", NULL), WR_STATE);
}

/* What had no state has none now, whatever its key was: the uid was that of another kind of operator. */
static void nothing_to_take_over(void **unused)
{
    kit        k;
    wr_errinfo info = {0};
    (void)unused;
    begin(&k, 4);
    const wr_manifest_op none = {.uid = "keeper"};
    wr_table            *table = table2(&k, &keep2_type, 0, KIT_GROUPS);
    assert_int_equal(wr_image_load(table, wr_env_real(), kit_folder, &none, NULL, &info), WR_OK);
    wr_table_free(table);
    kit_end(&k);
    (void)kit_clear();
}

/* ---- stamps ------------------------------------------------------------------------------------------------------ */

/* Every state of `moved` has the stamp of the table that it came from. How many. */
static uint64_t same_stamps(kit *k, wr_table *moved)
{
    wr_table_scan scan = {0};
    void         *at[64], *found;
    uint32_t      stamps = 0;
    for (uint32_t n; (n = wr_table_scan_next(moved, &scan, at, NULL, 64)) != 0;) {
        for (uint32_t i = 0; i < n; i++) {
            const kit_keep *s = at[i];
            char            room[64];
            kit_event       e = kit_event_of((uint32_t)s->id, room);
            uint64_t        hash;
            int64_t         a, b;
            wr_key_hash(&kit_keys[k->key], &e, sizeof e, 1, &hash);
            wr_table_peek(k->table, &e, 1, &hash, NULL, 0, &found);
            memcpy(&a, wr_table_entry_of(k->table, found) + k->table->stamp_at, 8);
            memcpy(&b, wr_table_entry_of(moved, s) + moved->stamp_at, 8);
            assert_int_equal(a, b);
            stamps += a > 0 && a <= 100 * WEIR_SECOND;
        }
    }
    return stamps;
}

static void one_file(const kit *k, const weir_type *state)
{
    wr_state_file file;
    kit_write(wr_env_real(), k->table, 1, 0, true, &file);
    layer[0] = (wr_manifest_layer){.file = file, .snapshot = 1};
    op = (wr_manifest_op){.uid = "keeper",
                          .max_parallelism = KIT_GROUPS,
                          .layer = layer,
                          .layers = 1,
                          .record = &kit_event_type,
                          .state = state,
                          .key = kit_keys[k->key]};
}

static void stamps_come_along(void **unused)
{
    kit        k;
    wr_errinfo info = {0};
    (void)unused;
    kit_begin(&k, 1);
    wr_table_free(k.table);
    weir_field fields[8];
    memcpy(fields, kit_keep_fields, sizeof fields);
    fields[4].ttl = fields[5].ttl = 1000 * WEIR_SECOND;
    weir_type state = kit_keep_type;
    state.field = fields;
    wr_table_config config = {.uid = "keeper",
                              .record = &kit_event_type,
                              .key = kit_keys[k.key],
                              .state = &state,
                              .max_parallelism = KIT_GROUPS,
                              .group_end = KIT_GROUPS,
                              .budget = &k.budget,
                              .ttl_ns = 1000 * WEIR_SECOND};
    assert_int_equal(wr_table_new(&k.table, &config, &info), WR_OK);
    for (uint32_t i = 1; i <= 100; i++) {
        wr_table_now(k.table, i * WEIR_SECOND);
        kit_batch(&k);
    }
    one_file(&k, &state);
    static kit_copy truth, copied, converted;
    memset(&truth, 0, sizeof truth);
    memset(&copied, 0, sizeof copied);
    memset(&converted, 0, sizeof converted);
    kit_copy_add(&k, k.table, &truth);
    wr_table *same = NULL, *bare = kit_table(&k, 0, KIT_GROUPS), *moved = NULL;
    assert_int_equal(wr_table_new(&same, &config, &info), WR_OK);
    if (wr_image_load(same, wr_env_real(), kit_folder, &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    kit_copy_add(&k, same, &copied);
    kit_same(&truth, &copied);
    if (wr_image_load(bare, wr_env_real(), kit_folder, &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    kit_copy_add(&k, bare, &converted);
    kit_same(&truth, &converted);
    /* another layout that has stamps as well: they are the old ones */
    weir_field more[9];
    memcpy(more, fields, sizeof fields);
    more[8] = (weir_field){.name = "more", .offset = sizeof(kit_keep), .size = 8, .kind = WEIR_U64};
    weir_type larger = {.abi_size = sizeof larger,
                        .fields = 9,
                        .name = "larger",
                        .size = sizeof(kit_keep) + 8,
                        .align = 8,
                        .field = more};
    config.state = &larger;
    assert_int_equal(wr_table_new(&moved, &config, &info), WR_OK);
    wr_table_now(moved, 500 * WEIR_SECOND);
    if (wr_image_load(moved, wr_env_real(), kit_folder, &op, NULL, &info) != WR_OK) fail_msg("%s", info.text);
    memset(&converted, 0, sizeof converted);
    kit_copy_add(&k, moved, &converted);
    kit_same(&truth, &converted);
    assert_int_equal(same_stamps(&k, moved), truth.count);
    wr_table_free(same);
    wr_table_free(bare);
    wr_table_free(moved);
    kit_end(&k);
    (void)kit_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_walks_all),     cmocka_unit_test(fields_move_and_widen),
        cmocka_unit_test(upgrades_run),         cmocka_unit_test(schemas_that_do_not_fit),
        cmocka_unit_test(changes_are_named),    cmocka_unit_test(keys_that_do_not_fit),
        cmocka_unit_test(keys_of_another_name), cmocka_unit_test(nothing_to_take_over),
        cmocka_unit_test(stamps_come_along),
    };
    return cmocka_run_group_tests(tests, kit_folder_begin, kit_folder_end);
}
