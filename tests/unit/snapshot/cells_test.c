/* ctest: threads
 * Cells of keyed states against naive lists and maps, and captures of everything against a copy taken at begin. */
#include "base/env.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/prng.h"
#include "snapshot/piece.h"
#include "snapshot/table_inner.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct event {
    uint64_t user;
} event;
typedef struct note { /* a record with a string, key of a table: its string */
    weir_str name;
    uint32_t value;
} note;
typedef struct point { /* key of a table: x */
    int32_t  x;
    uint32_t y;
} point;
typedef struct keep {
    uint64_t  count;
    weir_text text;
    weir_cell value, list, table, names, points;
} keep;

static const weir_field note_fields[] = {{.name = "name", .offset = 0, .size = 16, .kind = WEIR_STR},
                                         {.name = "value", .offset = 16, .size = 4, .kind = WEIR_U32}};
static const weir_type  note_type = {
     .abi_size = sizeof(weir_type), .fields = 2, .name = "note", .size = sizeof(note), .field = note_fields};
static const weir_field point_fields[] = {{.name = "x", .offset = 0, .size = 4, .kind = WEIR_I32},
                                          {.name = "y", .offset = 4, .size = 4, .kind = WEIR_U32}};
static const weir_type  point_type = {.abi_size = sizeof(weir_type),
                                      .fields = 2,
                                      .name = "point",
                                      .size = sizeof(point),
                                      .align = 4,
                                      .field = point_fields};
static const weir_field event_fields[] = {{.name = "user", .offset = 0, .size = 8, .kind = WEIR_U64}};
static const weir_type  event_type = {
     .abi_size = sizeof(weir_type), .fields = 1, .name = "event", .size = 8, .align = 8, .field = event_fields};
static const weir_field keep_fields[] = {
    {.name = "count", .offset = offsetof(keep, count), .size = 8, .kind = WEIR_U64},
    {.name = "text", .offset = offsetof(keep, text), .size = 16, .kind = WEIR_TEXT},
    {.name = "value", .offset = offsetof(keep, value), .size = 16, .kind = WEIR_CELL_VALUE, .element = &note_type},
    {.name = "list", .offset = offsetof(keep, list), .size = 16, .kind = WEIR_CELL_LIST, .element = &note_type},
    {.name = "table",
     .offset = offsetof(keep, table),
     .size = 16,
     .kind = WEIR_CELL_TABLE,
     .element = &point_type,
     .key = 0,
     .key_kind = WEIR_I32},
    {.name = "names",
     .offset = offsetof(keep, names),
     .size = 16,
     .kind = WEIR_CELL_TABLE,
     .element = &note_type,
     .key = 0,
     .key_kind = WEIR_STR},
    {.name = "points", .offset = offsetof(keep, points), .size = 16, .kind = WEIR_CELL_LIST, .element = &point_type},
};
static const weir_type keep_type = {
    .abi_size = sizeof(weir_type), .fields = 7, .name = "keep", .size = sizeof(keep), .align = 8, .field = keep_fields};

enum { USERS = 60, ROWS = 400, KEYS = 40, BATCH = 32 };

/* ---- the model --------------------------------------------------------------------------------------------------- */

typedef struct model {
    bool     known;
    uint64_t count;
    uint32_t text, value; /* seeds of strings; 0: none */
    uint32_t list[ROWS], lists;
    point    points[ROWS];
    uint32_t pointss;
    point    table[KEYS]; /* in order of first put */
    uint32_t tables;
    struct {
        uint32_t key, value;
    } name[KEYS];
    uint32_t names;
} model;

typedef struct world {
    wr_budget budget;
    wr_table *table;
    wr_prng   prng;
    model     of[USERS];
    void     *state[BATCH];
    uint32_t  user[BATCH];
} world;

static world w;
static char  room[40000];

/* A string out of a seed, short, middle or long. */
static weir_str text_of(uint32_t seed)
{
    uint32_t len = seed % 7 == 0 ? seed % 13 : seed % 31 == 0 ? 9000 + seed % 20000 : 13 + seed % 300;
    for (uint32_t i = 0; i < len; i++) room[i] = (char)('a' + (seed + i * (1 + seed % 5)) % 26);
    return weir_str_of(room, len);
}
static void same_text(const weir_str *s, uint32_t seed)
{
    weir_str expected = text_of(seed);
    assert_true(weir_str_equal(s, &expected));
}
static weir_str key_name(uint32_t key, char *into)
{
    int len = snprintf(into, 64, key % 2 ? "k%u" : "a rather long key %u", key);
    return weir_str_of(into, (size_t)len);
}

static void check_notes(const keep *k, const model *m)
{
    weir_rows rows = wr_cell_rows(w.table, k, &k->list);
    for (uint32_t i = 0; i < m->lists; i++) {
        if (rows.at == rows.end) assert_true(wr_cell_rows_refill(&rows, sizeof(note)));
        const note *n = (const note *)(const void *)rows.at;
        rows.at += sizeof(note);
        assert_int_equal(n->value, m->list[i]);
        same_text(&n->name, m->list[i]);
    }
    assert_true(rows.at == rows.end && !wr_cell_rows_refill(&rows, sizeof(note)));
    assert_int_equal(k->list.count, m->lists);
    rows = wr_cell_rows(w.table, k, &k->names);
    for (uint32_t i = 0; i < m->names; i++) {
        char into[64];
        assert_true(wr_cell_rows_refill(&rows, sizeof(note)));
        const note *n = (const note *)(const void *)rows.at;
        rows.at += sizeof(note);
        weir_str key = key_name(m->name[i].key, into);
        assert_true(weir_str_equal(&n->name, &key));
        assert_int_equal(n->value, m->name[i].value);
        assert_ptr_equal(wr_cell_table_get(w.table, k, &k->names, &key), n);
    }
    assert_false(wr_cell_rows_refill(&rows, sizeof(note)));
}

static void check_user(const keep *k, const model *m)
{
    assert_int_equal(k->count, m->count);
    weir_str text = wr_cell_text_get(&k->text);
    if (m->text == 0)
        assert_int_equal(text.len, 0);
    else
        same_text(&text, m->text);
    const note *value = wr_cell_value_get(w.table, k, &k->value);
    assert_true((value != NULL) == (m->value != 0));
    if (value != NULL) same_text(&value->name, m->value);
    check_notes(k, m);
    weir_rows rows = wr_cell_rows(w.table, k, &k->table);
    for (uint32_t i = 0; i < m->tables; i++) {
        assert_true(wr_cell_rows_refill(&rows, sizeof(point)));
        assert_memory_equal(rows.at, &m->table[i], sizeof(point));
        rows.at += sizeof(point);
        assert_memory_equal(wr_cell_table_get(w.table, k, &k->table, &m->table[i].x), &m->table[i], sizeof(point));
    }
    assert_false(wr_cell_rows_refill(&rows, sizeof(point)));
    int32_t none = -77;
    assert_null(wr_cell_table_get(w.table, k, &k->table, &none));
    rows = wr_cell_rows(w.table, k, &k->points);
    for (uint32_t i = 0; i < m->pointss; i++) {
        if (rows.at == rows.end) assert_true(wr_cell_rows_refill(&rows, sizeof(point)));
        assert_memory_equal(rows.at, &m->points[i], sizeof(point));
        rows.at += sizeof(point);
    }
    assert_true(rows.at == rows.end && !wr_cell_rows_refill(&rows, sizeof(point)));
}

/* ---- random changes ---------------------------------------------------------------------------------------------- */

static uint32_t below(uint32_t bound)
{
    return (uint32_t)wr_prng_below(&w.prng, bound);
}

static void change_table(keep *k, model *m)
{
    point    p = {(int32_t)below(KEYS) - 5, below(1000)};
    uint32_t at = 0;
    while (at < m->tables && m->table[at].x != p.x) at++;
    if (below(3) == 0) {
        assert_int_equal(wr_cell_table_remove(w.table, k, &k->table, &p.x), at < m->tables);
        if (at == m->tables) return;
        m->tables--;
        memmove(&m->table[at], &m->table[at + 1], (m->tables - at) * sizeof *m->table);
        return;
    }
    assert_int_equal(wr_cell_table_put(w.table, k, &k->table, &p), WR_OK);
    m->table[at] = p;
    if (at == m->tables) m->tables++;
}

static void change_names(keep *k, model *m)
{
    char     into[64];
    uint32_t key = below(KEYS), value = below(1000), at = 0;
    note     n = {key_name(key, into), value};
    while (at < m->names && m->name[at].key != key) at++;
    if (below(3) == 0) {
        assert_int_equal(wr_cell_table_remove(w.table, k, &k->names, &n.name), at < m->names);
        if (at == m->names) return;
        m->names--;
        memmove(&m->name[at], &m->name[at + 1], (m->names - at) * sizeof *m->name);
        return;
    }
    assert_int_equal(wr_cell_table_put(w.table, k, &k->names, &n), WR_OK);
    m->name[at].key = key;
    m->name[at].value = value;
    if (at == m->names) m->names++;
}

static void change_list(keep *k, model *m)
{
    if (m->lists == ROWS || below(5) == 0) {
        uint32_t oldest = below(m->lists + 2), gone = oldest < m->lists ? oldest : m->lists;
        wr_cell_list_drop(w.table, k, &k->list, oldest);
        m->lists -= gone;
        memmove(m->list, m->list + gone, m->lists * sizeof *m->list);
        return;
    }
    uint32_t seed = 1 + below(100000);
    note     n = {text_of(seed), seed};
    assert_int_equal(wr_cell_list_add(w.table, k, &k->list, &n), WR_OK);
    m->list[m->lists++] = seed;
}

/* Takes rows out while they are walked. */
static void thin_points(keep *k, model *m)
{
    weir_rows rows = wr_cell_rows(w.table, k, &k->points);
    uint32_t  kept = 0, n = m->pointss;
    for (uint32_t i = 0; i < n; i++) {
        if (rows.at == rows.end) assert_true(wr_cell_rows_refill(&rows, sizeof(point)));
        point p = *(const point *)(const void *)rows.at;
        rows.at += sizeof(point);
        assert_memory_equal(&p, &m->points[i], sizeof p);
        if (below(3) == 0)
            wr_cell_rows_remove(w.table, k, &k->points, &rows);
        else
            m->points[kept++] = p;
    }
    m->pointss = kept;
}

static void thin_table(keep *k, model *m)
{
    weir_rows rows = wr_cell_rows(w.table, k, &k->table);
    uint32_t  kept = 0;
    for (uint32_t i = 0; i < m->tables; i++) {
        assert_true(wr_cell_rows_refill(&rows, sizeof(point)));
        rows.at += sizeof(point);
        if (below(3) == 0)
            wr_cell_rows_remove(w.table, k, &k->table, &rows);
        else
            m->table[kept++] = m->table[i];
    }
    m->tables = kept;
}

static void change_points(keep *k, model *m)
{
    if (m->pointss == ROWS || below(20) == 0) {
        thin_points(k, m);
        return;
    }
    point p = {(int32_t)below(100), below(100)};
    assert_int_equal(wr_cell_list_add(w.table, k, &k->points, &p), WR_OK);
    m->points[m->pointss++] = p;
}

static void clear_one(keep *k, model *m)
{
    switch (below(6)) {
    case 0:
        wr_cell_clear(w.table, k, &k->text.cell);
        m->text = 0;
        break;
    case 1:
        wr_cell_clear(w.table, k, &k->value);
        m->value = 0;
        break;
    case 2:
        wr_cell_clear(w.table, k, &k->list);
        m->lists = 0;
        break;
    case 3:
        wr_cell_clear(w.table, k, &k->table);
        m->tables = 0;
        break;
    case 4:
        wr_cell_clear(w.table, k, &k->names);
        m->names = 0;
        break;
    default:
        wr_cell_clear(w.table, k, &k->points);
        m->pointss = 0;
        break;
    }
}

static void change(keep *k, model *m)
{
    uint32_t seed = 1 + below(100000);
    m->known = true;
    k->count = ++m->count;
    switch (below(9)) {
    case 0:
        assert_int_equal(wr_cell_text_set(w.table, k, &k->text, text_of(seed)), WR_OK);
        m->text = seed;
        break;
    case 1: {
        note n = {text_of(seed), seed};
        assert_int_equal(wr_cell_value_set(w.table, k, &k->value, &n), WR_OK);
        m->value = seed;
        break;
    }
    case 2:
    case 3: change_list(k, m); break;
    case 4: change_table(k, m); break;
    case 5: change_names(k, m); break;
    case 6: change_points(k, m); break;
    case 7:
        if (below(4) == 0) thin_table(k, m);
        break;
    default:
        if (below(8) == 0) clear_one(k, m);
    }
    if (below(40) == 0) {
        wr_table_forget(w.table, k);
        *m = (model){0};
    }
}

static void batch(void)
{
    event          events[BATCH];
    uint64_t       hash[BATCH];
    const weir_key key = {1, {{0, WEIR_U64}}};
    uint32_t       n = 1 + below(BATCH);
    for (uint32_t i = 0; i < n; i++) events[i].user = w.user[i] = below(USERS);
    wr_key_hash(&key, events, sizeof *events, n, hash);
    assert_true(wr_table_find(w.table, events, n, hash, NULL, 0, w.state, NULL));
    for (uint32_t i = 0; i < n; i++) change(w.state[i], &w.of[w.user[i]]);
    wr_table_settle(w.table);
}

static void check_all(void)
{
    static event  keys[USERS];
    static void  *state[USERS];
    wr_table_scan scan = {0};
    uint32_t      known = 0;
    for (uint32_t i = 0; i < USERS; i++) known += w.of[i].known;
    uint32_t n = wr_table_scan_next(w.table, &scan, state, keys, USERS);
    assert_int_equal(n, known);
    assert_int_equal(wr_table_count(w.table), known);
    for (uint32_t i = 0; i < n; i++) check_user(state[i], &w.of[keys[i].user]);
}

static void begin_world(uint64_t seed, uint32_t groups)
{
    memset(&w, 0, sizeof w);
    w.prng = wr_prng_of(seed);
    wr_table_config config = {.uid = "test",
                              .record = &event_type,
                              .key = {1, {{0, WEIR_U64}}},
                              .state = &keep_type,
                              .max_parallelism = groups,
                              .group_end = groups,
                              .budget = &w.budget};
    assert_int_equal(wr_table_new(&w.table, &config, NULL), WR_OK);
}

static void end_world(void)
{
    wr_table_free(w.table);
    assert_int_equal(w.budget.bytes, 0);
}

static void follows_the_model(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        begin_world(seed, seed % 2 ? 128 : 1);
        for (uint32_t b = 0; b < 1500; b++) {
            batch();
            if (b % 50 == 0) check_all();
        }
        check_all();
        end_world();
    }
}

static void freed_memory_is_used_again(void **unused)
{
    (void)unused;
    begin_world(99, 16);
    uint64_t half = 0;
    for (uint32_t b = 0; b < 8000; b++) {
        batch();
        if (b == 4000) half = w.budget.bytes;
    }
    assert_true(w.budget.bytes < half + half / 4);
    end_world();
}

static void large_texts(void **unused)
{
    (void)unused;
    begin_world(1, 2);
    event                 e = {1};
    uint64_t              hash = wr_fmix64(1);
    char                 *bytes = malloc(WR_CELL_BYTES_MAX + 1);
    static const uint32_t sizes[] = {0,    1,    12,    13,    16,    17,     8191,
                                     8192, 8193, 12288, 16384, 16385, 100000, WR_CELL_BYTES_MAX};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *state;
            memset(bytes, 'a' + (int)i, sizes[i]);
            wr_table_find(w.table, &e, 1, &hash, NULL, 0, &state, NULL);
            keep *k = state;
            assert_int_equal(wr_cell_text_set(w.table, k, &k->text, weir_str_of(bytes, sizes[i])), WR_OK);
            wr_table_settle(w.table);
            weir_str got = wr_cell_text_get(&k->text);
            assert_int_equal(got.len, sizes[i]);
            assert_memory_equal(weir_str_data(&got), bytes, sizes[i]);
            assert_int_equal(wr_cell_text_set(w.table, k, &k->text, weir_str_of(bytes, WR_CELL_BYTES_MAX + 1)),
                             WR_RECORD_TOO_LARGE);
            assert_int_equal(wr_cell_text_get(&k->text).len, sizes[i]);
        }
    }
    assert_true(w.budget.bytes < 40u << 20); /* the 16 MiB were used again */
    free(bytes);
    end_world();
}

/* ---- accumulators with strings ----------------------------------------------------------------------------------- */

typedef struct best {
    weir_str a, b;
    uint64_t n;
} best;
static const weir_field best_fields[] = {{.name = "a", .offset = 0, .size = 16, .kind = WEIR_STR},
                                         {.name = "b", .offset = 16, .size = 16, .kind = WEIR_STR},
                                         {.name = "n", .offset = 32, .size = 8, .kind = WEIR_U64}};
static const weir_type  best_type = {
     .abi_size = sizeof(weir_type), .fields = 3, .name = "best", .size = sizeof(best), .field = best_fields};

static void records_are_owned(void **unused)
{
    (void)unused;
    wr_budget       budget = {0};
    wr_table_config config = {.uid = "test",
                              .record = &event_type,
                              .key = {0, {{0, 0}}},
                              .state = &best_type,
                              .max_parallelism = 128,
                              .group_end = 128,
                              .budget = &budget};
    wr_table       *table;
    assert_int_equal(wr_table_new(&table, &config, NULL), WR_OK);
    uint64_t hash = 0, after = 0;
    event    e = {0};
    void    *state;
    for (uint32_t i = 0; i < 1000; i++) {
        wr_table_find(table, &e, 1, &hash, NULL, 0, &state, NULL);
        char a[100], b[100];
        memset(a, 'a' + (int)(i % 26), sizeof a);
        memset(b, 'A' + (int)(i % 26), sizeof b);
        best made = {weir_str_of(a, 50 + i % 50), weir_str_of(b, 5 + i % 20), i};
        assert_int_equal(wr_cell_record_own(table, wr_table_config_of(table)->state, state, &made), WR_OK);
        best swapped = *(best *)state; /* strings of the state itself, in other places */
        swapped.a = ((best *)state)->b;
        swapped.b = ((best *)state)->a;
        assert_int_equal(wr_cell_record_own(table, wr_table_config_of(table)->state, state, &swapped), WR_OK);
        best again = *(best *)state;
        again.n++;
        assert_int_equal(wr_cell_record_own(table, wr_table_config_of(table)->state, state, &again),
                         WR_OK); /* unchanged strings stay where they are */
        assert_memory_equal(&((best *)state)->a, &again.a, 16);
        memset(a, 0, sizeof a);
        wr_table_settle(table);
        const best *now = state;
        assert_int_equal(now->n, i + 1);
        assert_int_equal(now->b.len, 50 + i % 50);
        assert_int_equal(weir_str_data(&now->b)[now->b.len - 1], 'a' + (int)(i % 26));
        assert_int_equal(weir_str_data(&now->a)[now->a.len - 1], 'A' + (int)(i % 26));
        if (i == 200) after = budget.bytes;
    }
    assert_int_equal(budget.bytes, after);
    wr_table_free(table);
}

/* ---- captures ---------------------------------------------------------------------------------------------------- */

/* A raw copy of every family, by group and number. */
typedef struct copy {
    char    *bytes[16][8]; /* group, family */
    uint32_t count[16][8], free[16][8];
    uint64_t ids[16];
} copy;

static wr_family *family(uint32_t i)
{
    if (i == 0) return &w.table->entries;
    if (i == 1) return &w.table->blobs;
    return w.table->cell[i - 2].has_family ? &w.table->cell[i - 2].family : NULL;
}

/* Far strings as a file has them. */
static void number(char *entry, uint32_t f)
{
    const wr_strings *s = &w.table->strings[f];
    for (uint32_t i = 0; i < s->rows * s->count; i++) {
        weir_str *at = (weir_str *)(void *)(entry + s->at + i / s->count * s->step + s->offset[i % s->count]);
        if (at->len <= WEIR_STR_INLINE) continue;
        uint64_t blob = (uint64_t)(at->u.far - w.table->blobs.base) / 16, none = UINT64_MAX;
        if (at->u.far >= w.table->blobs.base && blob < w.table->blobs.next)
            none = wr_family_number_of(&w.table->blobs, (uint32_t)blob);
        memcpy(&at->u, &none, 8);
    }
}

static void take_copy(copy *c)
{
    memset(c, 0, sizeof *c);
    assert_true(wr_table_strings(w.table));
    for (uint32_t g = 0; g < w.table->groups; g++) {
        for (uint32_t f = 0; f < wr_capture_families(w.table); f++) {
            wr_family *from = family(f);
            if (from == NULL) continue;
            uint32_t count = c->count[g][f] = from->group[g].count;
            c->free[g][f] = from->group[g].free;
            c->bytes[g][f] = malloc((size_t)count * from->stride + 1);
            for (uint32_t i = 0; i < count; i++) {
                char *entry = c->bytes[g][f] + (size_t)i * from->stride;
                memcpy(entry, wr_family_at(from, wr_family_place(from, g, i)), from->stride);
                number(entry, f);
            }
        }
        c->ids[g] = w.table->ids[g];
    }
}

static void free_copy(copy *c)
{
    for (uint32_t g = 0; g < 16; g++)
        for (uint32_t f = 0; f < 8; f++) free(c->bytes[g][f]);
}

/* What was never written below the count may hold anything; a blob's last unit may be garbage behind its bytes: but
 * nothing may change between begin and capture, so all bytes are compared. Applies pieces to `onto`: increments bring
 * some entries only. */
static void apply(copy *onto, const char *pieces, uint64_t n)
{
    for (uint64_t at = 0; at < n;) {
        const wr_piece *p = (const wr_piece *)(const void *)(pieces + at);
        const char     *index = (const char *)(p + 1);
        const char     *from = index + wr_piece_index_bytes(p->form, p->entries, p->picked);
        assert_string_equal(wr_piece_problem(p, n - at), "");
        for (uint32_t i = 0, k = 0; i < p->entries; i++) {
            bool there = p->form == WR_PIECE_FULL;
            if (p->form == WR_PIECE_BITS) there = ((const uint64_t *)(const void *)index)[i / 64] >> (i % 64) & 1;
            if (p->form == WR_PIECE_POSITIONS) there = k < p->picked && ((const uint16_t *)(const void *)index)[k] == i;
            if (!there) continue;
            memcpy(onto->bytes[p->group][p->family] + (size_t)(p->first + i) * p->stride, from + (size_t)k * p->stride,
                   p->stride);
            k++;
        }
        at += sizeof *p + p->bytes;
    }
}

static void same_copy(const copy *a, const copy *b)
{
    for (uint32_t g = 0; g < w.table->groups; g++) {
        for (uint32_t f = 0; f < wr_capture_families(w.table); f++) {
            if (family(f) == NULL) continue;
            assert_int_equal(a->count[g][f], b->count[g][f]);
            assert_memory_equal(a->bytes[g][f], b->bytes[g][f], (size_t)a->count[g][f] * family(f)->stride);
        }
    }
}

/* The table as the chain of captures has it: sizes it to the counts at begin. */
static void resize(copy *c)
{
    for (uint32_t g = 0; g < w.table->groups; g++) {
        for (uint32_t f = 0; f < wr_capture_families(w.table); f++) {
            if (family(f) == NULL) continue;
            wr_group_image group = wr_capture_group(w.table, g, f);
            c->bytes[g][f] = realloc(c->bytes[g][f], (size_t)group.count * family(f)->stride + 1);
            if (group.count > c->count[g][f]) { /* new entries that were never written are zero */
                size_t more = group.count - c->count[g][f], stride = family(f)->stride;
                memset(c->bytes[g][f] + c->count[g][f] * stride, 0, more * stride);
            }
            c->count[g][f] = group.count;
        }
    }
}

static char pieces[300000] __attribute__((aligned(64)));

static void capture_once(copy *restored, bool full, uint32_t batches_between, bool *undone)
{
    copy truth;
    take_copy(&truth);
    assert_int_equal(wr_capture_begin(w.table, full, NULL), WR_OK);
    resize(restored);
    for (uint32_t g = 0; g < w.table->groups; g++) assert_int_equal(wr_capture_group(w.table, g, 0).ids, truth.ids[g]);
    wr_capture_walk  walk = {0};
    wr_pieces_result got;
    for (uint32_t b = 0; b < batches_between; b++) batch();
    *undone |= wr_capture_undo_bytes(w.table) > 0;
    for (enum wr_pieces more = WR_PIECES_SOME; more != WR_PIECES_ALL;) {
        more = wr_capture_pieces(w.table, &walk, 0, pieces, sizeof pieces - below(2) * 200000, &got);
        assert_int_not_equal(more, WR_PIECES_NO_ROOM);
        apply(restored, pieces, got.bytes);
        if (batches_between != 0 && below(3) == 0) batch();
    }
    same_copy(restored, &truth);
    wr_capture_end(w.table);
    free_copy(&truth);
}

static void captured_image_is_the_state_at_begin(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        bool undone = false;
        begin_world(seed * 7, seed % 2 ? 16 : 1);
        if (seed >= 3) assert_int_equal(wr_table_mark(w.table, true, NULL), WR_OK);
        for (uint32_t round = 0; round < 12; round++) {
            for (uint32_t b = 0; b < 100; b++) batch();
            copy restored = {0};
            capture_once(&restored, true, round, &undone);
            wr_capture_outcome(w.table, true);
            free_copy(&restored);
        }
        assert_true(undone);
        check_all();
        end_world();
    }
}

static void increments_add_up(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        bool undone = false;
        begin_world(seed * 31, seed % 2 ? 16 : 1);
        assert_int_equal(wr_table_mark(w.table, true, NULL), WR_OK);
        copy restored = {0};
        for (uint32_t round = 0; round < 20; round++) {
            for (uint32_t b = 0; b < 1 + round * 3; b++) batch();
            if (round % 4 == 3) { /* one that fails: its bits must be in the next one */
                copy             lost = {0};
                wr_capture_walk  walk = {0};
                wr_pieces_result got;
                assert_int_equal(wr_capture_begin(w.table, false, NULL), WR_OK);
                resize(&lost);
                batch();
                for (uint32_t i = 0; i < 2; i++)
                    (void)wr_capture_pieces(w.table, &walk, 0, pieces, sizeof pieces, &got);
                wr_capture_end(w.table);
                wr_capture_outcome(w.table, false);
                free_copy(&lost);
                continue;
            }
            capture_once(&restored, round == 0, round % 5, &undone);
            wr_capture_outcome(w.table, true);
        }
        assert_true(undone);
        free_copy(&restored);
        check_all();
        end_world();
    }
}

/* Off behind a capture, on before one; the one before which they were off is a full one. */
static void marks_come_and_go(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        bool marking = false, base = false, undone = false;
        begin_world(seed * 57, seed % 2 ? 16 : 1);
        copy restored = {0};
        for (uint32_t round = 0; round < 24; round++) {
            for (uint32_t b = below(20); b > 0; b--) batch();
            if (!marking && below(2) == 0) {
                marking = true;
                assert_int_equal(wr_table_mark(w.table, true, NULL), WR_OK);
            }
            capture_once(&restored, !base, below(5), &undone);
            batch();
            if (marking && below(3) == 0) { /* whether it is known by then what became of it or not */
                if (below(2) == 0) wr_capture_outcome(w.table, true);
                marking = false;
                assert_int_equal(wr_table_mark(w.table, false, NULL), WR_OK);
            }
            wr_capture_outcome(w.table, true);
            base = marking;
        }
        assert_true(undone);
        free_copy(&restored);
        check_all();
        end_world();
    }
}

/* ---- by another thread ---- */

/* Shared with the thread that captures: `done`. */
static struct {
    char            *bytes;
    uint64_t         n, room;
    uint32_t         calls;
    _Atomic bool     done;
    _Atomic uint32_t batches; /* of the table's thread meanwhile */
} apart;

static void capture_apart(void *unused)
{
    wr_capture_walk  walk = {0};
    wr_pieces_result got;
    (void)unused;
    for (enum wr_pieces more = WR_PIECES_SOME; more != WR_PIECES_ALL; apart.calls++) {
        uint32_t before = atomic_load(&apart.batches);
        check(apart.room - apart.n > sizeof pieces);
        more = wr_capture_pieces(w.table, &walk, 0, apart.bytes + apart.n, sizeof pieces, &got);
        apart.n += got.bytes;
        if (apart.calls % 4 != 0) continue;
        while (atomic_load(&apart.batches) == before) sched_yield(); /* on one processor as well */
    }
    atomic_store(&apart.done, true);
}

static void capture_beside(copy *restored, bool full, bool *undone)
{
    copy          truth;
    wr_thread    *thread;
    const wr_env *env = wr_env_real();
    take_copy(&truth);
    wr_capture_apart(w.table);
    assert_int_equal(wr_capture_begin(w.table, full, NULL), WR_OK);
    resize(restored);
    apart.n = 0;
    atomic_store(&apart.done, false);
    assert_int_equal(env->thread_start(env->self, &thread, capture_apart, NULL, "apart", -1), 0);
    while (!atomic_load(&apart.done)) {
        batch();
        atomic_fetch_add(&apart.batches, 1);
    }
    env->thread_join(env->self, thread);
    *undone |= wr_capture_undo_bytes(w.table) > 0;
    apply(restored, apart.bytes, apart.n);
    same_copy(restored, &truth);
    wr_capture_end(w.table);
    free_copy(&truth);
}

/* While the table's thread goes on, in the middle of its batches. */
static void captured_by_another_thread(void **unused)
{
    (void)unused;
    apart.room = UINT64_C(64) << 20;
    apart.bytes = malloc(apart.room);
    assert_non_null(apart.bytes);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        bool undone = false;
        begin_world(seed * 91, seed % 2 ? 16 : 1);
        if (seed >= 3) assert_int_equal(wr_table_mark(w.table, true, NULL), WR_OK);
        copy restored = {0};
        for (uint32_t round = 0; round < 40; round++) {
            for (uint32_t b = below(30); b > 0; b--) batch();
            capture_beside(&restored, seed < 3 || round % 8 == 0, &undone);
            wr_capture_outcome(w.table, true);
        }
        assert_true(undone);
        free_copy(&restored);
        check_all();
        end_world();
    }
    free(apart.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(freed_memory_is_used_again),
        cmocka_unit_test(large_texts),
        cmocka_unit_test(records_are_owned),
        cmocka_unit_test(captured_image_is_the_state_at_begin),
        cmocka_unit_test(increments_add_up),
        cmocka_unit_test(marks_come_and_go),
        cmocka_unit_test(captured_by_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
