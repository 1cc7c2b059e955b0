#include "base/hash.h"
#include "base/limits.h"
#include "base/prng.h"
#include "fixture.h"

static uint32_t links_of(const wr_exec *x, const wr_link **first)
{
    *first = x->link;
    return x->links;
}

/* Channels of one route from P subtasks to Q, as "from>to from>to ...". */
static const char *shape(uint32_t route, uint32_t producers, uint32_t consumers)
{
    static char text[2000];
    size_t      used = 0;
    text[0] = 0;
    for (uint32_t from = 0; from < producers; from++) {
        uint32_t first, n = wr_channels_of(route, from, producers, consumers, &first);
        for (uint32_t i = 0; i < n; i++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%u>%u", used ? " " : "", from, first + i);
    }
    return text;
}

static void test_routes(void **state)
{
    (void)state;
    assert_string_equal(shape(WR_ROUTE_FORWARD, 3, 3), "0>0 1>1 2>2");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 2, 3), "0>0 0>1 1>2");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 4, 2), "0>0 1>0 2>1 3>1");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 3, 2), "0>0 1>1 2>1");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 2, 4), "0>0 0>1 1>2 1>3");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 2, 2), "0>0 1>1");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 1, 3), "0>0 0>1 0>2");
    assert_string_equal(shape(WR_ROUTE_RESCALE, 3, 1), "0>0 1>0 2>0");
    const uint32_t all[] = {WR_ROUTE_REBALANCE, WR_ROUTE_SHUFFLE, WR_ROUTE_GLOBAL,
                            WR_ROUTE_BROADCAST, WR_ROUTE_OWN,     WR_ROUTE_HASH};
    for (int i = 0; i < 6; i++) assert_string_equal(shape(all[i], 2, 3), "0>0 0>1 0>2 1>0 1>1 1>2");
}

/* Rescale: everybody is connected, the smaller side evenly, and neighbours stay neighbours. */
static void test_rescale_is_even(void **state)
{
    (void)state;
    for (uint32_t p = 1; p <= 40; p++) {
        for (uint32_t q = 1; q <= 40; q++) {
            uint32_t into[40] = {0}, last = 0, least = p > q ? p / q : q / p;
            for (uint32_t from = 0; from < p; from++) {
                uint32_t first, n = wr_channels_of(WR_ROUTE_RESCALE, from, p, q, &first);
                assert_true(n >= 1 && first + n <= q);
                assert_true(from == 0 ? first == 0 : first >= last);
                if (p < q) assert_true(n == least || n == least + 1);
                for (uint32_t i = 0; i < n; i++) into[first + i]++;
                last = first + n - 1;
            }
            for (uint32_t to = 0; to < q; to++) {
                if (p <= q) assert_int_equal(into[to], 1);
                if (p > q) assert_true(into[to] == least || into[to] == least + 1);
            }
        }
    }
}

static void test_key_groups_golden(void **state)
{
    (void)state;
    /* Fixed for ever: snapshots hold them. */
    static const struct {
        uint64_t hash;
        uint32_t max, group;
    } golden[] = {{0, 128, 0},
                  {UINT64_MAX, 128, 127},
                  {UINT64_MAX, 32768, 32767},
                  {UINT64_C(0x8000000000000000), 128, 64},
                  {UINT64_C(0x7fffffffffffffff), 128, 63},
                  {UINT64_C(0x00000000ffffffff), 32768, 0}, /* the low half does not count */
                  {UINT64_C(0x0123456789abcdef), 300, 1},
                  {UINT64_C(0xfedcba9876543210), 300, 298}};
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        assert_int_equal(wr_key_group_of(golden[i].hash, golden[i].max), golden[i].group);
    }
    /* Of the integers 1 to 8, by the hash of keys. */
    static const uint32_t of_int[] = {90, 29, 5, 35, 107, 116, 58, 35};
    for (uint64_t i = 1; i <= 8; i++) assert_int_equal(wr_key_group_of(wr_fmix64(i), 128), of_int[i - 1]);
    assert_int_equal(wr_subtask_of(0, 3, 128), 0);
    assert_int_equal(wr_subtask_of(42, 3, 128), 0);
    assert_int_equal(wr_subtask_of(43, 3, 128), 1);
    assert_int_equal(wr_subtask_of(85, 3, 128), 1);
    assert_int_equal(wr_subtask_of(86, 3, 128), 2);
    assert_int_equal(wr_subtask_of(127, 3, 128), 2);
}

/* The ranges of all subtasks are contiguous, cover every group once, and agree with wr_subtask_of. */
static void test_key_groups_cover_all(void **state)
{
    (void)state;
    wr_prng prng = wr_prng_of(7);
    for (int round = 0; round < 400; round++) {
        uint32_t max = 1 + (uint32_t)(wr_prng_next(&prng) % (round % 4 ? 300 : WR_PARALLELISM_MAX));
        uint32_t p = 1 + (uint32_t)(wr_prng_next(&prng) % max), at = 0;
        for (uint32_t s = 0; s < p; s++) {
            wr_key_groups groups = wr_key_groups_of(s, p, max);
            assert_int_equal(groups.first, at);
            assert_true(groups.end > groups.first);
            assert_int_equal(wr_subtask_of(groups.first, p, max), s);
            assert_int_equal(wr_subtask_of(groups.end - 1, p, max), s);
            at = groups.end;
        }
        assert_int_equal(at, max);
        assert_int_equal(wr_key_group_of(UINT64_MAX, max), max - 1);
    }
}

/* numbers(2) -> map(2) =hash=> count(3) =rebalance=> store(1, own thread); dead letters beside. */
static void test_expansion(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      in = APPLY(READ(p, &numbers), &map, .on_error = WEIR_DEAD_LETTER);
    WRITE(KEYED(in, &count, .parallelism = 3), &store, .parallelism = 1);
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "mem:", .parallelism = 1));
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 2});
    wr_exec      *x;
    assert_int_equal(wr_exec_new(job, &x, NULL), WR_OK);
    assert_int_equal(x->vertices, 5);
    const char    *names[] = {"numbers enumerator", "numbers -> map", "count", "store", "dead-letters -> weir_dead"};
    const uint32_t of[] = {1, 2, 3, 1, 1};
    uint32_t       first = 0;
    for (uint32_t i = 0; i < 5; i++) {
        assert_string_equal(x->vertex[i].name, names[i]);
        assert_int_equal(x->vertex[i].parallelism, of[i]);
        assert_int_equal(x->vertex[i].first_subtask, first);
        first += of[i];
    }
    assert_int_equal(x->vertex[0].kind, WR_VERTEX_ENUMERATOR);
    assert_int_equal(x->vertex[0].node, fix_node(job, "numbers")->id);
    assert_int_equal(x->subtasks, 8);
    assert_int_equal(x->slots, 3);
    assert_int_equal(x->threads, 2); /* the enumerator and the sink */
    const wr_link *link;
    assert_int_equal(links_of(x, &link), 4);
    assert_int_equal(link[0].kind, WR_LINK_SPLITS);
    assert_int_equal(link[0].channels, 2);
    assert_ptr_equal(link[0].type, &fix_word_type);
    assert_int_equal(link[0].edge, WR_NONE);
    assert_int_equal(link[1].channels, 6); /* hash, 2 x 3 */
    assert_int_equal(job->edge[link[1].edge].route, WR_ROUTE_HASH);
    assert_int_equal(link[2].channels, 3); /* to the sink */
    assert_int_equal(link[3].channels, 2); /* dead letters of 2 subtasks */
    assert_int_equal(link[3].from_port, WR_PORT_DEAD);
    assert_int_equal(x->channels, 13);

    const wr_subtask *map1 = &x->subtask[x->vertex[1].first_subtask + 1],
                     *count2 = &x->subtask[x->vertex[2].first_subtask + 2];
    assert_int_equal(map1->index, 1);
    assert_int_equal(map1->attempt, 1);
    assert_int_equal(map1->place, 1);
    assert_false(map1->own_thread);
    assert_int_equal(map1->ins, 1);
    assert_int_equal(map1->outs, 4); /* 3 of the hash, 1 of dead letters */
    assert_int_equal(x->channel[map1->out[1]].to, x->vertex[2].first_subtask + 1);
    assert_int_equal(x->channel[map1->out[1]].from_index, 1);
    assert_int_equal(x->channel[map1->out[1]].to_index, 1);
    assert_int_equal(count2->place, 2);
    assert_int_equal(count2->groups.first, 86);
    assert_int_equal(count2->groups.end, 128);
    assert_int_equal(count2->ins, 2);
    assert_int_equal(x->channel[count2->in[0]].from, x->vertex[1].first_subtask);
    assert_int_equal(x->channel[count2->in[0]].to_index, 0);
    assert_int_equal(x->channel[count2->in[1]].to_index, 1);
    assert_true(x->subtask[0].own_thread);
    assert_int_equal(x->subtask[0].outs, 2);
    assert_true(x->subtask[6].own_thread);
    assert_int_equal(x->subtask[6].place, 1);
    wr_exec_free(x);
    wr_job_free(p);
}

/* Every channel is in exactly one output list and one input list, in order. */
static void test_lists_are_complete(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      a = READ(p, &numbers, .uid = "a", .parallelism = 3), b = READ(p, &numbers, .uid = "b");
    weir_node      both = weir_graph_union(3, a, weir_graph_route(b, WEIR_ROUTE_RESCALE, NULL), a);
    SINK(KEYED(APPLY(both, &map, .parallelism = 5), &count), "mem:", .parallelism = 4);
    wr_exec *x;
    assert_int_equal(wr_exec_new(fix_finish(p, &(wr_job_settings){.parallelism = 2}), &x, NULL), WR_OK);
    uint8_t *in = calloc(x->channels, 1), *out = calloc(x->channels, 1);
    for (uint32_t i = 0; i < x->subtasks; i++) {
        const wr_subtask *s = &x->subtask[i];
        const wr_vertex  *v = &x->vertex[s->vertex];
        uint32_t          at = 0;
        for (uint32_t k = 0; k < v->ins; k++) {
            for (uint32_t c = 0; at < s->ins && x->channel[s->in[at]].link == v->in[k]; c++, at++) {
                assert_int_equal(x->channel[s->in[at]].to, i);
                assert_int_equal(x->channel[s->in[at]].to_index, c);
                in[s->in[at]]++;
            }
        }
        assert_int_equal(at, s->ins);
        for (at = 0; at < s->outs; at++) {
            assert_int_equal(x->channel[s->out[at]].from, i);
            out[s->out[at]]++;
        }
    }
    for (uint32_t i = 0; i < x->channels; i++) assert_true(in[i] == 1 && out[i] == 1 && x->channel[i].id == i);
    free(in);
    free(out);
    wr_exec_free(x);
    wr_job_free(p);
}

static void test_slot_groups(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      in = READ(p, &numbers, .parallelism = 2);
    weir_node      heavy = KEYED(in, &count, .parallelism = 4, .slot_group = "heavy");
    SINK(heavy, "mem:");
    SINK(weir_graph_union(2, in, heavy), "mem:", .name = "mixed", .parallelism = 3);
    const wr_job *job = fix_finish(p, NULL);
    assert_string_equal(fix_node(job, "word")->slot_group, "heavy");
    assert_string_equal(fix_node(job, "mixed")->slot_group, "default");
    wr_exec *x;
    assert_int_equal(wr_exec_new(job, &x, NULL), WR_OK);
    assert_int_equal(x->slots, 7); /* default: 3, heavy: 4 */
    for (uint32_t i = 0; i < x->subtasks; i++) {
        const wr_subtask *s = &x->subtask[i];
        if (s->own_thread) continue;
        bool is_heavy = strcmp(x->vertex[s->vertex].slot_group, "heavy") == 0;
        assert_int_equal(s->place, s->index + (is_heavy ? 3 : 0));
    }
    wr_exec_free(x);
    wr_job_free(p);
}

static void test_too_many_channels(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    SINK(KEYED(READ(p, &numbers), &count), "mem:");
    wr_exec      *x;
    wr_errinfo    info = {0};
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 2048});
    assert_int_equal(wr_exec_new(job, &x, &info), WR_LIMIT);
    assert_null(x);
    assert_non_null(strstr(info.text, "2048 x 2048 of them into 'count -> word'; lower the parallelism"));
    wr_job_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_rescale_is_even),
        cmocka_unit_test(test_key_groups_golden),
        cmocka_unit_test(test_key_groups_cover_all),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_lists_are_complete),
        cmocka_unit_test(test_slot_groups),
        cmocka_unit_test(test_too_many_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
