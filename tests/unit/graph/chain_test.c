#include "base/limits.h"
#include "fixture.h"

/* numbers -> a -> b -> sink, with options for a and b; returns whether a -> b is chained. */
static bool chains(uint32_t parallelism, weir_node (*between)(weir_node), weir_options a, weir_options b)
{
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_inputs    in = {.size = sizeof in, .left = READ(p, &numbers, .slot_group = a.slot_group)};
    a.size = b.size = sizeof a;
    a.uid = "a";
    b.uid = "b";
    in.left = weir_graph_op(&map, &in, &a);
    if (between) in.left = between(in.left);
    SINK(weir_graph_op(&map, &in, &b), "mem:");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = parallelism});
    const wr_edge edge = *fix_edge(job, "a", "b");
    bool          same = fix_node(job, "a")->task == fix_node(job, "b")->task;
    assert_int_equal(edge.chained, same);
    wr_job_free(p);
    return same;
}
#define NO        ((weir_options){0})
#define WITH(...) ((weir_options){__VA_ARGS__})

static weir_node rebalance(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_REBALANCE, NULL);
}
static weir_node shuffle(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_SHUFFLE, NULL);
}
static weir_node global(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_GLOBAL, NULL);
}
static weir_node rescale(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_RESCALE, NULL);
}
static weir_node broadcast(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_BROADCAST, NULL);
}
static weir_node own(weir_node s)
{
    return weir_graph_route(s, WEIR_ROUTE_OWN, fix_loop);
}

static void test_options_and_parallelism(void **state)
{
    (void)state;
    assert_true(chains(1, NULL, NO, NO));
    assert_true(chains(4, NULL, NO, NO));
    assert_false(chains(4, NULL, WITH(.parallelism = 2), NO));
    assert_false(chains(1, NULL, NO, WITH(.chaining = WEIR_CHAIN_HEAD)));
    assert_false(chains(1, NULL, NO, WITH(.chaining = WEIR_CHAIN_NEVER)));
    assert_true(chains(1, NULL, WITH(.chaining = WEIR_CHAIN_HEAD), NO));
    assert_false(chains(1, NULL, WITH(.chaining = WEIR_CHAIN_NEVER), NO));
    assert_false(chains(1, NULL, NO, WITH(.slot_group = "heavy")));
    assert_true(chains(1, NULL, WITH(.slot_group = "heavy"), NO)); /* inherited */
    assert_false(chains(1, NULL, NO, WITH(.blocking = true)));
    assert_false(chains(1, NULL, WITH(.blocking = true), NO));
    assert_true(chains(1, NULL, WITH(.blocking = true), WITH(.blocking = true)));
}

static void test_routes(void **state)
{
    (void)state;
    weir_node (*const routes[])(weir_node) = {rebalance, shuffle, global, rescale, broadcast};
    for (int i = 0; i < 5; i++) {
        assert_true(chains(1, routes[i], NO, NO)); /* no record changes its place */
        assert_false(chains(2, routes[i], NO, NO));
    }
    assert_false(chains(1, own, NO, NO)); /* the user's function always runs */
}

/* keyed of 1: the hash edge is a call; of 2: it is not. The sink joins its keyed operator. */
static void test_hash(void **state)
{
    (void)state;
    for (uint32_t parallelism = 1; parallelism <= 2; parallelism++) {
        weir_pipeline *p = wr_job_new("p", NULL, 0);
        SINK(KEYED(APPLY(READ(p, &numbers), &map), &count), "mem:");
        const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = parallelism});
        assert_int_equal(fix_edge(job, "map", "count")->route, WR_ROUTE_HASH);
        assert_int_equal(job->tasks, parallelism);
        if (parallelism == 1) {
            assert_string_equal(job->task[0].name, "numbers -> map -> count -> word");
        } else {
            assert_string_equal(job->task[0].name, "numbers -> map");
            assert_string_equal(job->task[1].name, "count -> word");
        }
        wr_job_free(p);
    }
}

static void test_blocking_defaults(void **state)
{
    (void)state;
    weir_pipeline  *p = wr_job_new("p", NULL, 0);
    weir_node       in = READ(p, &numbers);
    wr_job_settings s = {.connector = fix_connector};
    WRITE(in, &store);
    WRITE(in, &store, .uid = "promised", .blocking = WEIR_ON_SLOT);
    SINK(in, "out:", .name = "o1");
    SINK(in, "out:", .name = "o2", .blocking = WEIR_ON_SLOT);
    SINK(in, "mem:", .name = "m1");
    SINK(in, "mem:", .name = "m2", .blocking = true);
    const wr_job *job = fix_finish(p, &s);
    assert_true(fix_node(job, "store")->blocking);
    assert_false(fix_node(job, "promised")->blocking);
    assert_true(fix_node(job, "o1")->blocking);
    assert_false(fix_node(job, "o2")->blocking);
    assert_false(fix_node(job, "m1")->blocking);
    assert_true(fix_node(job, "m2")->blocking);
    assert_int_equal(job->tasks, 4);
    assert_string_equal(job->task[0].name, "numbers -> (promised, o2, m1)");
    wr_job_free(p);
}

/* A tree with side outputs, a diamond, and a stream that is united with itself. */
static void test_trees_and_unions(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      parts = APPLY(READ(p, &numbers), &split), side = parts;
    side.port = 1;
    weir_node left = APPLY(parts, &map, .uid = "l"), right = APPLY(side, &map, .uid = "r");
    SINK(APPLY(weir_graph_union(2, left, right), &map, .uid = "joined"), "mem:");
    SINK(weir_graph_union(2, side, side), "mem:", .name = "twice");
    const wr_job *job = fix_finish(p, NULL);
    assert_int_equal(job->tasks, 3);
    assert_string_equal(job->task[0].name, "numbers -> split -> (l, r)");
    assert_int_equal(job->task[0].n, 4);
    assert_int_equal(job->task[0].nodes[0], fix_node(job, "numbers")->id);
    assert_string_equal(job->task[1].name, "joined -> word");
    assert_int_equal(fix_edge(job, "split", "r")->from_port, 1);
    assert_int_equal(fix_node(job, "twice")->in_edges, 2);
    for (uint32_t i = 0; i < job->nodes; i++) {
        const wr_node *n = &job->node[i];
        for (uint32_t k = 0; k < n->in_edges; k++) assert_int_equal(job->edge[n->in_edge[k]].to, i);
        for (uint32_t k = 0; k < n->out_edges; k++) assert_int_equal(job->edge[n->out_edge[k]].from, i);
    }
    wr_job_free(p);
}

static void test_route_nearest_to_the_consumer_counts(void **state)
{
    (void)state;
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      a = READ(p, &numbers, .uid = "a"), b = READ(p, &numbers, .uid = "b");
    SINK(APPLY(shuffle(weir_graph_union(2, rebalance(a), b)), &map), "mem:");
    SINK(weir_graph_union(2, rebalance(a), b), "mem:", .name = "plain");
    SINK(KEYED(rebalance(a), &count), "mem:", .name = "keyed");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 2});
    assert_int_equal(fix_edge(job, "a", "map")->route, WR_ROUTE_SHUFFLE);
    assert_int_equal(fix_edge(job, "b", "map")->route, WR_ROUTE_SHUFFLE);
    assert_int_equal(fix_edge(job, "a", "plain")->route, WR_ROUTE_REBALANCE);
    assert_int_equal(fix_edge(job, "b", "plain")->route, WR_ROUTE_FORWARD);
    assert_int_equal(fix_edge(job, "a", "count")->route, WR_ROUTE_HASH);
    wr_job_free(p);
}

static void test_chains_have_an_end(void **state)
{
    (void)state;
    char           name[16];
    weir_pipeline *p = wr_job_new("p", NULL, 0);
    weir_node      at = READ(p, &numbers);
    for (int i = 0; i < 2 * WR_CHAIN_MAX; i++) {
        snprintf(name, sizeof name, "m%d", i);
        at = APPLY(at, &map, .uid = name);
    }
    SINK(at, "mem:");
    const wr_job *job = fix_finish(p, NULL);
    assert_int_equal(job->tasks, 3);
    uint32_t all = 0;
    for (uint32_t i = 0; i < job->tasks; i++) {
        assert_true(job->task[i].n <= WR_CHAIN_MAX);
        all += job->task[i].n;
        for (uint32_t k = 1; k < job->task[i].n; k++) {
            assert_int_equal(job->edge[job->node[job->task[i].nodes[k]].in_edge[0]].from, job->task[i].nodes[k - 1]);
        }
    }
    assert_int_equal(all, job->nodes);
    wr_job_free(p);
}

/* The fingerprint is equal for equal jobs, and every part of the structure changes it. */
static uint64_t print_of(int change)
{
    weir_pipeline  *p = wr_job_new(change == 1 ? "another name" : "p", NULL, 0);
    weir_type       type = fix_word_type;
    weir_field      fields[5];
    weir_op         keyed = count;
    wr_job_settings s = {.parallelism = change == 3 ? 3 : 2};
    memcpy(fields, fix_word_fields, sizeof fields);
    if (change == 4) fields[2].name = "part";
    if (change == 5) fields[2].kind = WEIR_U32;
    type.field = fields;
    weir_node in = weir_graph_source(p, &type, FIX_OPTIONS(weir_source_options, .uri = change == 2 ? "mem:2" : "mem:"));
    if (change == 6) in = rebalance(in);
    weir_inputs x = {.size = sizeof x, .left = in, .left_key = fix_key};
    if (change == 7) x.left_key = (weir_key){.count = 1, .field = {{offsetof(fix_word, count), WEIR_U64}}};
    const weir_type   *out[] = {&type};
    weir_state_options o = {
        .size = sizeof o, .uid = change == 8 ? "c2" : "c", .max_parallelism = change == 9 ? 300 : 0};
    weir_op step = map;
    keyed.left = step.left = &type;
    keyed.out = step.out = out;
    if (change == 10) step.kind = WEIR_OP_FLAT_MAP;
    x.left_key = change == 7 ? x.left_key : fix_key;
    in = weir_graph_op(&keyed, &x, (const weir_options *)&o);
    in = APPLY(in, &step, .blocking = change == 11);
    weir_graph_sink(in, &type, FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = "out"));
    uint64_t made = fix_finish(p, &s)->fingerprint;
    wr_job_free(p);
    return made;
}

static void test_fingerprint(void **state)
{
    (void)state;
    uint64_t all[12];
    for (int i = 0; i < 12; i++) all[i] = print_of(i);
    assert_true(all[0] == print_of(0));
    assert_true(all[0] == all[1]); /* a name and a URI are no structure */
    assert_true(all[0] == all[2]);
    assert_true(all[0] == all[6]); /* the key wins over the route before it */
    for (int i = 3; i < 12; i++) {
        for (int k = 0; k < i; k++) assert_true(all[i] != all[k] || i == 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_parallelism),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_blocking_defaults),
        cmocka_unit_test(test_trees_and_unions),
        cmocka_unit_test(test_route_nearest_to_the_consumer_counts),
        cmocka_unit_test(test_chains_have_an_end),
        cmocka_unit_test(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
