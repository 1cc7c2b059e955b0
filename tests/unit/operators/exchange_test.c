/* The edge of a chain: which record goes where, whole batches, long strings, bounds; pools and pipes below it. */
#include "base/hash.h"
#include "operators/exchange.h"
#include "snapshot/key.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct plain {
    uint64_t key, seq;
} plain;
static const weir_field plain_fields[] = {
    {.name = "key", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "seq", .offset = 8, .size = 8, .kind = WEIR_U64},
};
static const weir_type plain_type = {
    .abi_size = sizeof(weir_type), .fields = 2, .name = "plain", .size = 16, .align = 8, .field = plain_fields};
typedef struct text {
    uint64_t seq;
    weir_str a, b;
} text;
static const weir_field text_fields[] = {
    {.name = "seq", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "a", .offset = offsetof(text, a), .size = 16, .kind = WEIR_STR},
    {.name = "b", .offset = offsetof(text, b), .size = 16, .kind = WEIR_STR},
};
static const weir_type text_type = {
    .abi_size = sizeof(weir_type), .fields = 3, .name = "text", .size = sizeof(text), .align = 8, .field = text_fields};

enum { CHANNELS_MAX = 200 };

/* One producer and its consumers, all in this thread. */
typedef struct fixture {
    wr_home     home;
    wr_parker   parker;
    wr_node     node;
    wr_op       op;
    wr_edge     edge;
    wr_pipe    *pipe, *channel[CHANNELS_MAX];
    wr_exchange x;
} fixture;

static void setup(fixture *f, const weir_type *type, uint32_t route, uint32_t channels, uint32_t groups)
{
    memset(f, 0, sizeof *f);
    f->home.env = wr_env_real();
    f->home.parker = &f->parker;
    f->home.random = wr_prng_of(1);
    assert_int_equal(f->home.env->parker_init(f->home.env->self, &f->parker), 0);
    f->node = (wr_node){.uid = "op", .name = "op"};
    f->op.node = &f->node;
    f->op.home = &f->home;
    f->edge = (wr_edge){.route = route, .type = type};
    f->edge.key = (weir_key){.count = 1, .field = {{.offset = 0, .kind = WEIR_U64}}};
    f->pipe = aligned_alloc(64, channels * sizeof(wr_pipe));
    for (uint32_t i = 0; i < channels; i++) {
        f->channel[i] = &f->pipe[i];
        wr_pipe_init(&f->pipe[i], &f->x.pool, &f->parker, &f->parker, 0);
    }
    assert_int_equal(wr_exchange_init(&f->x, &f->edge, &f->op, f->channel, channels, groups), WR_OK);
}

static void teardown(fixture *f)
{
    for (uint32_t i = 0; i < f->x.channels; i++) wr_pipe_fini(f->channel[i]);
    wr_exchange_fini(&f->x);
    f->home.env->parker_fini(f->home.env->self, &f->parker);
    free(f->pipe);
}

static void push(fixture *f, const void *records, uint32_t n)
{
    wr_view view = {.records = records, .n = n};
    wr_exchange_push(&f->x, &view);
}

/* The next batch of records on a channel, or NULL. */
static wr_batch *next(fixture *f, uint32_t channel)
{
    wr_exchange_ready(&f->x);
    return wr_ring_pop(&f->channel[channel]->data);
}

static void give_back(fixture *f, uint32_t channel, wr_batch *b)
{
    wr_pipe_return(f->channel[channel], b, f->home.env);
}

/* All records of a channel, in order, given to each. */
static uint64_t drain(fixture *f, uint32_t channel, void (*each)(void *arg, const void *record), void *arg)
{
    uint64_t n = 0;
    for (wr_batch *b; (b = next(f, channel)) != NULL; give_back(f, channel, b)) {
        for (uint32_t i = 0; b->kind == WR_RECORDS && i < b->n; i++, n++) each(arg, b->records + (size_t)i * b->stride);
    }
    return n;
}

static void make_plain(plain *records, uint32_t n, uint64_t seed)
{
    wr_prng r = wr_prng_of(seed);
    for (uint32_t i = 0; i < n; i++) records[i] = (plain){wr_prng_below(&r, 300), i};
}

/* ---- hash ---- */

typedef struct owner_check {
    uint32_t channel, channels, groups;
    uint64_t last;
    bool     any;
} owner_check;
static void check_owner(void *arg, const void *record)
{
    owner_check *c = arg;
    plain        p;
    memcpy(&p, record, sizeof p);
    assert_int_equal(wr_subtask_of(wr_key_group_of(wr_fmix64(p.key), c->groups), c->channels, c->groups), c->channel);
    assert_true(!c->any || p.seq > c->last); /* in order */
    c->last = p.seq;
    c->any = true;
}

static void test_hash_goes_to_the_owner_of_the_key_group(void **state)
{
    (void)state;
    static const uint32_t channels[] = {1, 2, 3, 5, 7, 8, 9, 16, 31, 64, 127, 128}, groups[] = {128, 129, 200, 32768};
    static plain          records[2000];
    for (uint32_t c = 0; c < sizeof channels / sizeof channels[0]; c++) {
        for (uint32_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            fixture f;
            setup(&f, &plain_type, WR_ROUTE_HASH, channels[c], groups[g]);
            uint64_t n = 0;
            make_plain(records, 2000, c * 10 + g);
            push(&f, records, 1000);
            push(&f, records + 1000, 7);
            push(&f, records + 1007, 993);
            wr_exchange_send_open(&f.x, INT64_MAX);
            for (uint32_t i = 0; i < channels[c]; i++) {
                owner_check check = {i, channels[c], groups[g], 0, false};
                n += drain(&f, i, check_owner, &check);
            }
            assert_int_equal(n, 2000);
            teardown(&f);
        }
    }
}

/* Hashes at the edges of every range, given by their inverse. */
static void test_hash_bounds(void **state)
{
    (void)state;
    for (uint32_t channels = 2; channels <= 40; channels += 3) {
        for (uint32_t groups = 40; groups <= 400; groups += 45) {
            fixture  f;
            plain    records[3 * 40 + 6];
            uint32_t n = 0;
            setup(&f, &plain_type, WR_ROUTE_HASH, channels, groups);
            uint64_t edges[] = {0, UINT64_C(0xffffffff), UINT64_MAX, UINT64_MAX << 32};
            for (uint32_t i = 0; i < 4; i++, n++) records[n] = (plain){wr_unfmix64(edges[i]), n};
            for (uint32_t c = 1; c < channels; c++) {
                uint64_t first = (uint64_t)f.x.bound[c] << 32;
                records[n] = (plain){wr_unfmix64(first), n};
                n++;
                records[n] = (plain){wr_unfmix64(first - 1), n};
                n++;
                records[n] = (plain){wr_unfmix64(first | UINT64_C(0xffffffff)), n};
                n++;
            }
            push(&f, records, n);
            wr_exchange_send_open(&f.x, INT64_MAX);
            uint64_t got = 0;
            for (uint32_t i = 0; i < channels; i++) {
                owner_check check = {i, channels, groups, 0, false};
                got += drain(&f, i, check_owner, &check);
            }
            assert_int_equal(got, n);
            teardown(&f);
        }
    }
}

static void test_selection_equals_a_plain_loop(void **state)
{
    (void)state;
    wr_prng         r = wr_prng_of(9);
    static uint64_t hash[WR_BATCH_RECORDS_MAX];
    static uint32_t list[WR_BATCH_RECORDS_MAX + 64], value[WR_BATCH_RECORDS_MAX];
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t n = (uint32_t)wr_prng_below(&r, round < 40 ? 40 : WR_BATCH_RECORDS_MAX);
        uint32_t lo = (uint32_t)wr_prng_next(&r), last = (uint32_t)wr_prng_next(&r);
        if (lo > last) lo = last;
        if (round % 5 == 0) lo = 0;
        if (round % 7 == 0) last = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++) {
            hash[i] = wr_prng_one_in(&r, 8)   ? (uint64_t)lo << 32
                      : wr_prng_one_in(&r, 8) ? (uint64_t)last << 32 | 0xffffffff
                                              : wr_prng_next(&r);
            value[i] = (uint32_t)wr_prng_below(&r, 5);
        }
        uint32_t k = wr_select_range(hash, n, lo, last, list), at = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t h = (uint32_t)(hash[i] >> 32);
            if (h < lo || h > last) continue;
            assert_true(at < k);
            assert_int_equal(list[at++], i);
        }
        assert_int_equal(at, k);
        k = wr_select_equal(value, n, 3, list);
        at = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (value[i] == 3) assert_int_equal(list[at++], i);
        }
        assert_int_equal(at, k);
    }
}

/* ---- other routes ---- */

static void count_one(void *arg, const void *record)
{
    (void)record;
    ++*(uint64_t *)arg;
}

static void counts_of(uint32_t route, uint32_t channels, uint32_t batches, uint32_t n, uint64_t *count)
{
    static plain records[3000];
    fixture      f;
    setup(&f, &plain_type, route, channels, 128);
    make_plain(records, n, route);
    memset(count, 0, channels * sizeof *count);
    for (uint32_t i = 0; i < batches; i++) {
        push(&f, records, n);
        wr_exchange_send_open(&f.x, INT64_MAX);
        for (uint32_t c = 0; c < channels; c++) drain(&f, c, count_one, &count[c]);
    }
    teardown(&f);
}

static void test_routes_share_out(void **state)
{
    (void)state;
    uint64_t count[7];
    counts_of(WR_ROUTE_BROADCAST, 7, 2, 2000, count);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(count[i], 4000);
    counts_of(WR_ROUTE_REBALANCE, 7, 70, 3, count); /* small batches are spread as well */
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(count[i], 30);
    counts_of(WR_ROUTE_RESCALE, 5, 1, 3000, count);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(count[i], 600);
    counts_of(WR_ROUTE_SHUFFLE, 4, 10, 1000, count);
    for (uint32_t i = 0; i < 4; i++) assert_true(count[i] > 2300 && count[i] < 2700);
    assert_int_equal(count[0] + count[1] + count[2] + count[3], 10000);
    counts_of(WR_ROUTE_GLOBAL, 1, 1, 100, count);
    assert_int_equal(count[0], 100);
}

static void partition_by_seq(weir_ctx *ctx)
{
    const plain *in = ctx->in;
    for (uint32_t i = 0; i < ctx->n; i++)
        ctx->verdict[i] = (uint32_t)(in[i].seq % 5 == 4 ? ctx->channels : in[i].seq % ctx->channels);
}
static void partition_to_last(weir_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->n; i++) ctx->verdict[i] = ctx->channels - 1;
}

static void test_own_partitioner(void **state)
{
    (void)state;
    plain   records[10];
    fixture f;
    make_plain(records, 10, 1);
    setup(&f, &plain_type, WR_ROUTE_OWN, 3, 128);
    f.edge.own = partition_to_last;
    push(&f, records, 10);
    wr_exchange_send_open(&f.x, INT64_MAX);
    uint64_t n = 0;
    drain(&f, 2, count_one, &n);
    assert_int_equal(n, 10);
    f.edge.own = partition_by_seq;
    push(&f, records, 10);
    assert_int_equal(f.op.failure.code, WR_USER_FAIL);
    assert_non_null(strstr(f.op.failure.text, "chose channel 3 of 3; record 4"));
    teardown(&f);
}

/* ---- strings ---- */

static void fill(char *to, uint32_t n, uint64_t seq)
{
    for (uint32_t i = 0; i < n; i++) to[i] = (char)('a' + (seq + i) % 26);
}

typedef struct text_check {
    uint64_t        seq;
    const uint32_t *length;
} text_check;
static void check_str(weir_str s, uint32_t length, uint64_t seq)
{
    assert_int_equal(s.len, length);
    const char *bytes = weir_str_data(&s);
    for (uint32_t i = 0; i < length; i++) assert_int_equal(bytes[i], 'a' + (seq + i) % 26);
}
static void check_text(void *arg, const void *record)
{
    text_check *c = arg;
    text        t;
    memcpy(&t, record, sizeof t);
    assert_int_equal(t.seq, c->seq);
    check_str(t.a, c->length[t.seq], t.seq);
    check_str(t.b, (uint32_t)(t.seq * 3 % 40), t.seq + 1);
    c->seq++;
}

/* Long ones get batches of their own, and nothing overtakes them. */
static void test_strings_of_any_length_arrive_in_order(void **state)
{
    (void)state;
    enum { N = 400 };
    static uint32_t length[N];
    static text     records[N];
    wr_prng         r = wr_prng_of(3);
    fixture         f;
    setup(&f, &text_type, WR_ROUTE_FORWARD, 1, 128);
    for (uint32_t i = 0; i < N; i++) {
        length[i] = wr_prng_one_in(&r, 40)   ? WR_BATCH_HEAP_BYTES - 20 + (uint32_t)wr_prng_below(&r, 40)
                    : wr_prng_one_in(&r, 60) ? WR_BATCH_HEAP_BYTES + (uint32_t)wr_prng_below(&r, 900000)
                                             : (uint32_t)wr_prng_below(&r, 700);
        char *a = malloc(length[i] + 1), *b = malloc(41);
        fill(a, length[i], i);
        fill(b, i * 3 % 40, i + 1);
        records[i] = (text){i, weir_str_of(a, length[i]), weir_str_of(b, i * 3 % 40)};
        if (length[i] <= WEIR_STR_INLINE) free(a);
        if (i * 3 % 40 <= WEIR_STR_INLINE) free(b);
    }
    push(&f, records, N);
    wr_exchange_send_open(&f.x, INT64_MAX);
    for (uint32_t i = 0; i < N; i++) { /* what was pushed is the exchange's own now */
        if (records[i].a.len > WEIR_STR_INLINE) free((void *)(uintptr_t)records[i].a.u.far);
        if (records[i].b.len > WEIR_STR_INLINE) free((void *)(uintptr_t)records[i].b.u.far);
    }
    text_check check = {0, length};
    assert_int_equal(drain(&f, 0, check_text, &check), N);
    assert_int_equal(f.op.failure.code, WR_OK);
    wr_exchange_ready(&f.x);
    for (uint32_t i = 0; i < f.x.channels; i++) wr_pipe_reclaim(f.channel[i]);
    assert_int_equal(f.x.pool.out, 0);
    teardown(&f);
}

static void test_a_record_beyond_the_maximum_fails(void **state)
{
    (void)state;
    fixture f;
    char   *much = calloc(1, WR_RECORD_BYTES_MAX);
    setup(&f, &text_type, WR_ROUTE_FORWARD, 1, 128);
    text record = {0, weir_str_of(much, WR_RECORD_BYTES_MAX - sizeof(text)), weir_str_of("", 0)};
    push(&f, &record, 1); /* as large as it may be */
    assert_int_equal(f.op.failure.code, WR_OK);
    record.a = weir_str_of(much, WR_RECORD_BYTES_MAX - sizeof(text) + 1);
    push(&f, &record, 1);
    assert_int_equal(f.op.failure.code, WR_RECORD_TOO_LARGE);
    assert_non_null(strstr(f.op.failure.text, "16 MiB; output of operator op subtask 0"));
    teardown(&f);
    free(much);
}

static void test_overdraft_has_a_bound(void **state)
{
    (void)state;
    static plain records[2048];
    fixture      f;
    uint64_t     pushed = 0;
    setup(&f, &plain_type, WR_ROUTE_FORWARD, 1, 128);
    make_plain(records, 2048, 1);
    static const weir_op def = {.kind = WEIR_OP_FLAT_MAP, .flags = WEIR_OP_TRACKS};
    f.op.def = &def;
    f.op.ctx.n = 2;
    wr_user was = wr_user_enter((wr_user){.op = &f.op}); /* all of it in one call of its function */
    while (f.op.failure.code == WR_OK && pushed < UINT64_C(1) << 32) {
        push(&f, records, 2048);
        pushed += sizeof records;
    }
    assert_int_equal(f.op.failure.code, WR_OVERDRAFT);
    assert_true(pushed > WR_OVERDRAFT_BYTES_MAX / 2 && pushed < 3ull * WR_OVERDRAFT_BYTES_MAX);
    assert_non_null(strstr(f.op.failure.text,
                           "one call emitted more than 64 MiB beyond its room; operator op subtask 0, "
                           "record 1 of 2 of its batch"));
    wr_user_leave(was);
    assert_false(wr_exchange_ready(&f.x));
    teardown(&f);
}

/* What is of many calls is not one call's. */
static void test_overdraft_of_many_calls_is_of_none(void **state)
{
    (void)state;
    static const weir_op def = {.kind = WEIR_OP_FLAT_MAP, .flags = WEIR_OP_TRACKS};
    static plain         records[2048];
    fixture              f;
    setup(&f, &plain_type, WR_ROUTE_FORWARD, 1, 128);
    make_plain(records, 2048, 1);
    f.op.def = &def;
    f.op.ctx.n = WR_BATCH_RECORDS_MAX;
    wr_user was = wr_user_enter((wr_user){.op = &f.op});
    for (uint64_t pushed = 0; pushed < WR_OVERDRAFT_BYTES_MAX * 3ull / 2; pushed += sizeof records) {
        f.op.ctx.at++;
        push(&f, records, 2048);
    }
    wr_user_leave(was);
    assert_int_equal(f.op.failure.code, WR_OK);
    teardown(&f);
}

/* Nor are calls for the same number of a record, as of results that are made one at a time. */
static void test_overdraft_of_calls_for_one_record_each_is_of_none(void **state)
{
    (void)state;
    static const weir_op def = {.kind = WEIR_OP_WINDOW, .flags = WEIR_OP_TRACKS};
    static plain         records[2048];
    fixture              f;
    setup(&f, &plain_type, WR_ROUTE_FORWARD, 1, 128);
    make_plain(records, 2048, 1);
    f.op.def = &def;
    f.op.ctx.n = 1;
    for (uint64_t pushed = 0; pushed < WR_OVERDRAFT_BYTES_MAX * 3ull / 2; pushed += sizeof records) {
        wr_user was = wr_user_enter((wr_user){.op = &f.op});
        push(&f, records, 2048);
        wr_user_leave(was);
    }
    assert_int_equal(f.op.failure.code, WR_OK);
    teardown(&f);
}

/* Heaps of batches are for strings, and short ones need none. */
static void test_overdraft_is_what_was_emitted(void **state)
{
    (void)state;
    static const weir_op def = {.kind = WEIR_OP_FLAT_MAP};
    static text          records[1024];
    fixture              f;
    setup(&f, &text_type, WR_ROUTE_FORWARD, 1, 128);
    f.op.def = &def;
    f.op.ctx.n = 1;
    wr_user was = wr_user_enter((wr_user){.op = &f.op}); /* all of it in one call of its function */
    for (uint64_t pushed = 0; pushed < WR_OVERDRAFT_BYTES_MAX * 3ull / 4; pushed += sizeof records)
        push(&f, records, 1024);
    assert_int_equal(f.op.failure.code, WR_OK);
    for (uint64_t pushed = 0; pushed < WR_OVERDRAFT_BYTES_MAX / 2; pushed += sizeof records) push(&f, records, 1024);
    assert_int_equal(f.op.failure.code, WR_OVERDRAFT);
    wr_user_leave(was);
    teardown(&f);
}

/* ---- pipes ---- */

static void test_overdraft_leaves_in_order(void **state)
{
    (void)state;
    enum { N = 500 };
    fixture f;
    setup(&f, &plain_type, WR_ROUTE_FORWARD, 1, 128);
    uint64_t at = 0;
    for (uint64_t i = 0; i < N; i++) {
        plain p = {0, i};
        push(&f, &p, 1);
        wr_exchange_send_open(&f.x, INT64_MAX);
        if (i == 100) { /* room while others wait: nothing may overtake them */
            for (; at < 4; at++) give_back(&f, 0, wr_ring_pop(&f.channel[0]->data));
        }
        if (i == N / 2) wr_exchange_control(&f.x, WR_WATERMARK, 77);
    }
    assert_false(wr_exchange_ready(&f.x)); /* the ring is full */
    bool marked = false;
    for (wr_batch *b; (b = next(&f, 0)) != NULL; give_back(&f, 0, b)) {
        if (b->kind == WR_WATERMARK) {
            assert_int_equal(b->at, 77);
            assert_int_equal(at, N / 2 + 1);
            marked = true;
            continue;
        }
        plain p;
        memcpy(&p, b->records, sizeof p);
        assert_int_equal(p.seq, at++);
    }
    assert_int_equal(at, N);
    assert_true(marked);
    assert_true(wr_exchange_ready(&f.x));
    teardown(&f);
}

static void test_control_sends_what_is_open_first(void **state)
{
    (void)state;
    plain   records[3];
    fixture f;
    make_plain(records, 3, 1);
    setup(&f, &plain_type, WR_ROUTE_BROADCAST, 2, 128);
    push(&f, records, 3);
    assert_null(next(&f, 0)); /* a partial batch waits */
    wr_exchange_control(&f.x, WR_BARRIER, 5);
    for (uint32_t c = 0; c < 2; c++) {
        wr_batch *b = next(&f, c);
        assert_int_equal(b->kind, WR_RECORDS);
        assert_int_equal(b->n, 3);
        give_back(&f, c, b);
        b = next(&f, c);
        assert_int_equal(b->kind, WR_BARRIER);
        assert_int_equal(b->at, 5);
        give_back(&f, c, b);
        assert_null(next(&f, c));
    }
    assert_int_equal(f.x.open, 0);
    teardown(&f);
}

static void test_open_batches_leave_by_age(void **state)
{
    (void)state;
    plain   record = {1, 1};
    fixture f;
    setup(&f, &plain_type, WR_ROUTE_FORWARD, 1, 128);
    f.home.mono_ns = 1000;
    push(&f, &record, 1);
    wr_exchange_send_open(&f.x, 999);
    assert_null(next(&f, 0));
    wr_exchange_send_open(&f.x, 1000);
    wr_batch *b = next(&f, 0);
    assert_non_null(b);
    give_back(&f, 0, b);
    teardown(&f);
}

/* ---- event times ---- */

static void setup_timed(fixture *f, const weir_type *type, uint32_t route, uint32_t channels)
{
    setup(f, type, route, channels, 128);
    wr_exchange_fini(&f->x);
    f->op.timed = true;
    assert_int_equal(wr_exchange_init(&f->x, &f->edge, &f->op, f->channel, channels, 128), WR_OK);
}

static void by_seq(weir_ctx *ctx)
{
    for (uint32_t i = 0; i < ctx->n; i++) {
        assert_int_equal(ctx->time[i].ns, -(int64_t)((const plain *)ctx->in)[i].key);
        ctx->verdict[i] = (uint32_t)(((const plain *)ctx->in)[i].key % ctx->channels);
    }
}

/* Each record arrives with the time that it left with: the time is minus the first field. */
static uint64_t drain_timed(fixture *f, uint32_t channel, uint64_t *sum)
{
    uint64_t n = 0;
    for (wr_batch *b; (b = next(f, channel)) != NULL; give_back(f, channel, b)) {
        assert_non_null(b->time);
        for (uint32_t i = 0; i < b->n; i++, n++) {
            uint64_t first;
            memcpy(&first, b->records + (size_t)i * b->stride, sizeof first);
            assert_int_equal(b->time[i].ns, -(int64_t)first);
            *sum += first;
        }
    }
    return n;
}

static const uint32_t all_routes[] = {WR_ROUTE_HASH,   WR_ROUTE_REBALANCE, WR_ROUTE_RESCALE, WR_ROUTE_SHUFFLE,
                                      WR_ROUTE_GLOBAL, WR_ROUTE_BROADCAST, WR_ROUTE_OWN,     WR_ROUTE_FORWARD};

static void test_times_go_along_every_route(void **state)
{
    (void)state;
    static plain          records[3000];
    static weir_time      time[3000];
    static const uint32_t channels[] = {1, 3, 40};
    for (uint32_t i = 0; i < 3000; i++) {
        records[i] = (plain){i + 1, i};
        time[i].ns = -(int64_t)(i + 1);
    }
    for (uint32_t r = 0; r < sizeof all_routes / sizeof all_routes[0]; r++) {
        for (uint32_t c = 0; c < 3; c++) {
            fixture  f;
            uint64_t n = 0, sum = 0, times = all_routes[r] == WR_ROUTE_BROADCAST ? channels[c] : 1;
            setup_timed(&f, &plain_type, all_routes[r], channels[c]);
            f.edge.own = by_seq;
            for (uint32_t at = 0, by; at < 3000; at += by) {
                by = at + 700 < 3000 ? 700 : 3000 - at;
                wr_view view = {.records = (const char *)&records[at], .n = by, .time = &time[at]};
                wr_exchange_push(&f.x, &view);
                for (uint32_t k = 0; k < channels[c]; k++) n += drain_timed(&f, k, &sum);
            }
            wr_exchange_send_open(&f.x, INT64_MAX);
            for (uint32_t k = 0; k < channels[c]; k++) n += drain_timed(&f, k, &sum);
            assert_int_equal(n, 3000 * times);
            assert_int_equal(sum, UINT64_C(3000) * 3001 / 2 * times);
            teardown(&f);
        }
    }
}

static void test_times_go_along_with_strings(void **state)
{
    (void)state;
    static char      bytes[WR_BATCH_HEAP_BYTES * 2];
    static text      records[300];
    static weir_time time[300];
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < 300; i++) {
        size_t n = i == 77 ? sizeof bytes : i * 7 % 900; /* one has a batch of its own */
        records[i] = (text){.seq = i + 1, .a = weir_str_of(bytes, n), .b = weir_str_of(bytes, i % 40)};
        time[i].ns = -(int64_t)(i + 1);
    }
    for (uint32_t r = 0; r < sizeof all_routes / sizeof all_routes[0]; r++) {
        if (all_routes[r] == WR_ROUTE_OWN) continue;
        fixture  f;
        uint64_t n = 0, sum = 0, times = all_routes[r] == WR_ROUTE_BROADCAST ? 3 : 1;
        setup_timed(&f, &text_type, all_routes[r], 3);
        wr_view view = {.records = (const char *)records, .n = 300, .time = time};
        wr_exchange_push(&f.x, &view);
        wr_exchange_send_open(&f.x, INT64_MAX);
        for (uint32_t k = 0; k < 3; k++) n += drain_timed(&f, k, &sum);
        assert_int_equal(n, 300 * times);
        assert_int_equal(sum, UINT64_C(300) * 301 / 2 * times);
        teardown(&f);
    }
}

static void test_streams_without_time_carry_none(void **state)
{
    (void)state;
    fixture f;
    plain   one = {1, 2};
    setup(&f, &plain_type, WR_ROUTE_GLOBAL, 1, 128);
    push(&f, &one, 1);
    wr_exchange_send_open(&f.x, INT64_MAX);
    wr_batch *b = next(&f, 0);
    assert_non_null(b);
    assert_null(b->time);
    give_back(&f, 0, b);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_go_along_every_route),
        cmocka_unit_test(test_times_go_along_with_strings),
        cmocka_unit_test(test_streams_without_time_carry_none),
        cmocka_unit_test(test_hash_goes_to_the_owner_of_the_key_group),
        cmocka_unit_test(test_hash_bounds),
        cmocka_unit_test(test_selection_equals_a_plain_loop),
        cmocka_unit_test(test_routes_share_out),
        cmocka_unit_test(test_own_partitioner),
        cmocka_unit_test(test_strings_of_any_length_arrive_in_order),
        cmocka_unit_test(test_a_record_beyond_the_maximum_fails),
        cmocka_unit_test(test_overdraft_has_a_bound),
        cmocka_unit_test(test_overdraft_of_many_calls_is_of_none),
        cmocka_unit_test(test_overdraft_of_calls_for_one_record_each_is_of_none),
        cmocka_unit_test(test_overdraft_is_what_was_emitted),
        cmocka_unit_test(test_overdraft_leaves_in_order),
        cmocka_unit_test(test_control_sends_what_is_open_first),
        cmocka_unit_test(test_open_batches_leave_by_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
