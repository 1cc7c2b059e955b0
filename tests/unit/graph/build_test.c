/* Validation: every problem by itself, and all of them at once. */
#include "base/limits.h"
#include "fixture.h"

static weir_pipeline *fresh(void)
{
    return wr_job_new("p", NULL, 0);
}

static const wr_job_settings with_connectors = {.connector = fix_connector};

static void test_smallest_job(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    SINK(APPLY(SOURCE(p, "mem:a"), &map), "mem:b", .name = "out");
    const wr_job *job = fix_finish(p, &with_connectors);
    assert_int_equal(job->nodes, 3);
    assert_int_equal(job->edges, 2);
    assert_int_equal(job->parallelism, 1);
    const wr_node *source = fix_node(job, "word"), *sink = fix_node(job, "out");
    assert_ptr_equal(source->op, &fix_mem_source);
    assert_ptr_equal(source->out[0], &fix_word_type);
    assert_int_equal(source->outs, 1);
    assert_ptr_equal(sink->op, &fix_mem_sink);
    assert_ptr_equal(sink->in[0], &fix_word_type);
    assert_int_equal(sink->outs, 0);
    assert_string_equal(fix_node(job, "map")->uid, "map");
    assert_string_equal(source->slot_group, "default");
    assert_int_equal(source->on_error, WEIR_FAIL);
    wr_job_free(p);
}

static void test_all_problems_at_once(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = SOURCE(p, "mem:a?limti=3");
    APPLY(in, &map, .uid = "lost", .parallelism = 40000);
    weir_node twice = APPLY(in, &map, .uid = "a", .chaining = 9);
    SINK(twice, "mem:b", .name = "word");
    SINK(twice, "mmm:b", .name = "s2", .uid = "a");
    PROBLEMS(
        p, &with_connectors, WR_GRAPH, "operator 'lost' (t.c:7): nothing takes its stream; end it in a sink",
        "operator 'lost' (t.c:7): parallelism 40000 is above the maximum of 32768; lower it",
        "operator 'a' (t.c:7): 9 is no .chaining",
        "source 'word' (mem:a?limti=3): 'mem:' has no option 'limti'; did you mean 'limit'?; it has limit, every, ",
        "sink 'word' (mem:b): the name is also that of source 'word' (mem:a?limti=3); give one of them its own .name",
        "sink 's2' (mmm:b): its uid 'a' is also that of operator 'a' (t.c:7); give one of them its own .uid",
        "sink 's2' (mmm:b): there is no connector for 'mmm:'; did you mean 'mem:'?");
}

static void test_names_stay_in_their_line(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    SINK(APPLY(SOURCE(p, "mem:", .name = "in"), &map, .name = "two\nlines", .uid = "an\x1b[2J"), "mem:", .name = "o",
         .slot_group = "g\x7f");
    PROBLEMS(p, &with_connectors, WR_OPTION,
             "its .name has a line break or another control character ('two?lines'); leave it out",
             "its .uid has a line break or another control character ('an?[2J'); leave it out",
             "its .slot_group has a line break or another control character ('g?'); leave it out");
    p = fresh();
    SINK(SOURCE(p, "mem:", .name = "Z\xc3\xa4hler 1"), "mem:", .name = "o");
    fix_finish(p, &with_connectors);
    wr_job_free(p);
}

static void test_errinfo_lists_what_fits(void **state)
{
    (void)state;
    weir_pipeline     *p = fresh();
    const wr_job      *job;
    const char *const *texts;
    wr_errinfo         info = {0};
    for (int i = 0; i < 80; i++) wr_job_problem(p, WR_GRAPH, "number %d %060d;", i, 0);
    assert_int_equal(wr_job_finish(p, NULL, &job, &info), WR_GRAPH);
    assert_null(job);
    assert_non_null(strstr(info.text, "pipeline 'p' has 80 problems\n  number 0 "));
    const char *more = strstr(info.text, "\n  and ");
    assert_non_null(more);
    assert_int_equal(strcmp(more + strlen(more) - 5, " more"), 0);
    assert_int_equal(wr_job_problems(p, &texts), WR_PROBLEMS_MAX + 1);
    assert_string_equal(texts[WR_PROBLEMS_MAX], "and 16 more problems");
    wr_job_free(p);

    p = fresh();
    wr_errinfo_init(&info);
    wr_job_problem(p, WR_URI, "odd; do this");
    assert_int_equal(wr_job_finish(p, NULL, &job, &info), WR_URI);
    assert_string_equal(info.text, "pipeline 'p': odd; do this");
    wr_job_free(p);
}

static void test_empty_and_unconnected(void **state)
{
    (void)state;
    PROBLEMS(fresh(), NULL, WR_GRAPH, "the pipeline is empty; it needs a source and a sink");

    weir_pipeline *p = fresh();
    SINK((weir_node){0}, "mem:"); /* a stream that was never assigned */
    PROBLEMS(p, NULL, WR_GRAPH, "word: this stream was never assigned",
             "its input is a stream that was never assigned");

    p = fresh();
    SINK(((weir_node){.pipeline = p, .id = 77}), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "its input names no stream; build its input in this pipeline");

    p = fresh();
    weir_pipeline *other = fresh();
    weir_inputs    in = {.size = sizeof in, .left = READ(p, &numbers)};
    in.left.pipeline = p;
    weir_node theirs = READ(other, &numbers);
    SINK(weir_graph_union(2, in.left, theirs), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "its input belongs to another pipeline");
    wr_job_free(other);

    p = fresh();
    weir_node read = READ(p, &numbers);
    read.port = 3;
    SINK(read, "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "it takes output 3 of 'numbers', which has 1", "nothing takes its stream");
}

static void test_streams_that_lead_nowhere(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers), other = READ(p, &numbers, .uid = "n2");
    weir_graph_route(in, WEIR_ROUTE_REBALANCE, NULL);
    weir_graph_route(in, WEIR_ROUTE_OWN, fix_loop);
    weir_graph_union(2, in, other);
    SINK(in, "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "source 'numbers' (t.c:7): its stream is rebalance, but nothing takes the result",
             "source 'numbers' (t.c:7): its stream is partitioned, but nothing takes the result",
             "source 'numbers' (t.c:7): nothing takes the union", "source 'n2' (t.c:7): nothing takes its stream");

    /* One of several outputs is enough; and tests may ask for loose ends. */
    p = fresh();
    SINK(APPLY(READ(p, &numbers), &split), "mem:");
    fix_finish(p, NULL);
    wr_job_free(p);
    p = fresh();
    APPLY(READ(p, &numbers), &split);
    fix_finish(p, &(wr_job_settings){.loose_ends = true});
    wr_job_free(p);
    p = fresh();
    APPLY(READ(p, &numbers), &split);
    PROBLEMS(p, NULL, WR_GRAPH, "operator 'split' (t.c:7): nothing takes any of its streams");
}

static void test_cycles(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    READ(p, &numbers);
    weir_node ahead = {.pipeline = p, .id = 2}; /* by hand: the node that is made next but one */
    weir_node first = APPLY(weir_graph_union(2, (weir_node){.pipeline = p, .id = 0}, ahead), &map, .uid = "a");
    (void)first;
    PROBLEMS(p, NULL, WR_GRAPH, "operators feed themselves ('a' <- ...) without weir_feedback"); /* a takes its own */

    p = fresh();
    weir_node source = READ(p, &numbers); /* 0 */
    weir_node b = {.pipeline = p, .id = 3};
    weir_node a = APPLY(weir_graph_union(2, source, b), &map, .uid = "a"); /* union 1, a 2 */
    b = APPLY(a, &map, .uid = "b");                                        /* b 3 */
    SINK(APPLY(b, &map, .uid = "behind"), "mem:");
    const wr_job *job;
    wr_errinfo    info = {0};
    assert_int_equal(wr_job_finish(p, NULL, &job, &info), WR_GRAPH);
    assert_non_null(strstr(info.text, "'a'"));
    assert_non_null(strstr(info.text, "'b'"));
    assert_null(strstr(info.text, "'behind'"));
    assert_non_null(strstr(info.text, "without weir_feedback"));
    wr_job_free(p);

    p = fresh();
    source = READ(p, &numbers);
    weir_node own = {.pipeline = p, .id = 1};
    SINK(weir_graph_union(2, source, own), "mem:"); /* union 1 of itself */
    PROBLEMS(p, NULL, WR_GRAPH, "its input is made of itself");
}

static void test_parallelism(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .parallelism = 3, .max_parallelism = 20));
    weir_node in = READ(p, &numbers);
    SINK(KEYED(in, &count, .parallelism = 8, .max_parallelism = 64), "mem:", .parallelism = 21);
    PROBLEMS(p, NULL, WR_GRAPH, "sink 'word' (mem:): parallelism 21 is above its max_parallelism of 20");

    p = fresh();
    SINK(READ(p, &numbers), "mem:", .max_parallelism = 65536);
    PROBLEMS(p, (&(wr_job_settings){.parallelism = 300, .parallelism_max = 256}), WR_GRAPH,
             "parallelism 300 of the job is above the maximum of 256; lower -p",
             "max_parallelism 65536 is above the maximum of 32768");

    p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .parallelism = 3));
    SINK(KEYED(READ(p, &numbers), &count, .parallelism = 100), "mem:");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism_default = 5});
    assert_int_equal(job->parallelism, 3);
    assert_int_equal(fix_node(job, "numbers")->parallelism, 3);
    assert_int_equal(fix_node(job, "numbers")->max_parallelism, 128);
    assert_int_equal(fix_node(job, "count")->max_parallelism, 256);
    wr_job_free(p);

    p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .parallelism = 3));
    SINK(READ(p, &numbers), "mem:");
    job = fix_finish(p, &(wr_job_settings){.parallelism = 7, .parallelism_default = 5}); /* the flag wins */
    assert_int_equal(job->parallelism, 7);
    wr_job_free(p);

    assert_int_equal(wr_max_parallelism_of(1), 128);
    assert_int_equal(wr_max_parallelism_of(85), 128);
    assert_int_equal(wr_max_parallelism_of(86), 256);
    assert_int_equal(wr_max_parallelism_of(32768), 32768);
}

static void test_one_state_for_all(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_inputs    in = {.size = sizeof in, .left = READ(p, &numbers), .window = ONE_WINDOW};
    weir_node      all = weir_graph_op(&sum, &in, (const weir_options *)FIX_OPTIONS(weir_state_options, .uid = "all"));
    SINK(all, "one:");
    const wr_job *job = fix_finish(p, &(wr_job_settings){.parallelism = 4, .connector = fix_connector});
    assert_int_equal(fix_node(job, "all")->parallelism, 1);
    assert_int_equal(fix_node(job, "word")->parallelism, 1); /* a connector that runs once */
    wr_job_free(p);

    p = fresh();
    in.left = READ(p, &numbers);
    all = weir_graph_op(&sum, &in, (const weir_options *)FIX_OPTIONS(weir_state_options, .parallelism = 2));
    SINK(all, "one:", .parallelism = 2);
    PROBLEMS(p, &with_connectors, WR_GRAPH,
             "operator 'sum' (t.c:7): it has one state for all records, so its parallelism is 1",
             "it can only run once, so its parallelism is 1, not 2");
}

static void test_types_must_fit(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_graph_sink(READ(p, &numbers), &fix_line_type, FIX_OPTIONS(weir_sink_options, .uri = "mem:"));
    PROBLEMS(p, NULL, WR_GRAPH, "sink 'line' (mem:): it takes record 'line', but 'numbers' gives 'word'; put a map");

    /* Another table with the same content is the same type. */
    static const weir_field copy[] = {FIX_FIELD(fix_word, text, WEIR_STR), FIX_FIELD(fix_word, count, WEIR_U64),
                                      FIX_FIELD(fix_word, shard, WEIR_I32), FIX_FIELD(fix_word, weight, WEIR_F64),
                                      FIX_FIELD(fix_word, at, WEIR_TIME)};
    weir_type               twin = fix_word_type;
    twin.field = copy;
    p = fresh();
    weir_graph_sink(READ(p, &numbers), &twin, FIX_OPTIONS(weir_sink_options, .uri = "mem:"));
    fix_finish(p, NULL);
    wr_job_free(p);
}

/* One problem for each wrong field of a record. */
static void test_field_tables(void **state)
{
    (void)state;
    static const weir_field cells[] = {{.name = "c", .offset = 0, .size = 16, .kind = WEIR_TEXT},
                                       {.name = "o", .offset = 16, .size = 8, .kind = WEIR_U64 | WEIR_OPTIONAL},
                                       {.name = "k", .offset = 24, .size = 8, .kind = 55},
                                       {.name = "s", .offset = 32, .size = 4, .kind = WEIR_U64},
                                       {.name = "a", .offset = 40, .size = 7, .kind = WEIR_U16 | WEIR_ARRAY},
                                       {.name = "b", .offset = 48, .size = 16, .kind = WEIR_STR | WEIR_ARRAY},
                                       {.name = "over", .offset = 41, .size = 1, .kind = WEIR_U8},
                                       {.name = "end", .offset = 92, .size = 8, .kind = WEIR_U64},
                                       {.name = "l", .offset = 72, .size = 8, .kind = WEIR_U64, .logical = 1},
                                       {.name = "l", .offset = 80, .size = 8, .kind = WEIR_U64}};
    const weir_type odd = {.abi_size = sizeof odd, .fields = 10, .name = "odd", .size = 96, .align = 8, .field = cells};
    weir_pipeline  *p = fresh();
    weir_node       in = weir_graph_source(p, &odd, FIX_OPTIONS(weir_source_options, .uri = "mem:"));
    weir_graph_sink(in, &odd, FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = "out"));
    PROBLEMS(p, NULL, WR_GRAPH, "source 'odd' (mem:): field 'c' of record 'odd' is a cell, which only the state",
             "field 'o' of record 'odd' is optional; fields without a value do not run yet",
             "field 'k' of record 'odd' has kind 55", "field 's' of record 'odd' has 4 bytes, but its kind has 8",
             "field 'a' of record 'odd' has 7 bytes",
             "field 'b' of record 'odd' is an array of something that is no number",
             "field 'over' of record 'odd' overlaps field 'a'",
             "field 'end' of record 'odd' ends behind its struct (92 + 8 of 96",
             "field 'l' of record 'odd' has a logical type", "field 'l' of record 'odd' stands twice");

    weir_type many = {
        .abi_size = sizeof many, .fields = WR_FIELDS_MAX + 1, .name = "many", .size = 8, .align = 8, .field = cells};
    weir_type huge = {
        .abi_size = sizeof huge, .fields = 1, .name = "huge", .size = 1 << 20, .align = 3, .field = fix_state_fields};
    weir_type old = {.abi_size = 8, .fields = 1, .name = "old", .size = 8, .align = 8, .field = fix_state_fields};
    weir_type none = {
        .abi_size = sizeof none, .fields = 0, .name = "none", .size = 8, .align = 8, .field = fix_state_fields};
    const weir_type *types[] = {&many, &huge, &old, &none, NULL};
    p = fresh();
    for (int i = 0; i < 5; i++) {
        char      name[8] = {(char)('0' + i)};
        weir_node from = weir_graph_source(p, types[i], FIX_OPTIONS(weir_source_options, .uri = "mem:", .name = name));
        name[1] = 's';
        weir_graph_sink(from, types[i], FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = name));
    }
    PROBLEMS(p, NULL, WR_GRAPH, "record 'many' has 129 fields; at most 128",
             "record 'huge' has 1048576 bytes; at most 32768", "record 'huge' cannot be aligned to 3",
             "a record type has 8 bytes", "record 'none' has no name or no fields",
             "source '4' (mem:): it has no record type", "sink '4s' (mem:): it has no record type");
}

static void test_states(void **state)
{
    (void)state;
    static const weir_field fields[] = {
        {.name = "s", .offset = 0, .size = 16, .kind = WEIR_STR},
        {.name = "t", .offset = 16, .size = 8, .kind = WEIR_EVENT_TIMER},
        {.name = "l", .offset = 24, .size = 16, .kind = WEIR_CELL_LIST, .element = &fix_word_type, .ttl = -5},
        {.name = "m",
         .offset = 40,
         .size = 16,
         .kind = WEIR_CELL_TABLE,
         .element = &fix_word_type,
         .key = 3,
         .key_kind = WEIR_U8},
        {.name = "v", .offset = 56, .size = 16, .kind = WEIR_CELL_VALUE},
        {.name = "x", .offset = 72, .size = 16, .kind = WEIR_TEXT, .ttl = 5}};
    const weir_type odd = {.abi_size = sizeof odd, .fields = 6, .name = "odd", .size = 88, .align = 8, .field = fields};
    weir_op         op = count;
    op.state = &odd;
    weir_pipeline *p = fresh();
    SINK(KEYED(READ(p, &numbers), &op), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "field 's' of state 'odd' is a borrowed string, which cannot be kept; use weir_text",
             "its state has timers, but its descriptor has no on_timer", "field 'l' of state 'odd' has a negative time",
             "field 1 of its key is no field of record 'word'", "field 'v' of state 'odd' does not say what it holds",
             "field 'x' of state 'odd' has a time to live, which only lists and tables have");

    op.state = NULL;
    op.on_timer = fix_loop;
    op.on_left = NULL;
    p = fresh();
    SINK(KEYED(READ(p, &numbers), &op), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "it has no state type; declare one by WEIR_STATE",
             "it has a timer function that would never run", "its descriptor has no on_left");
}

static void test_times_to_live(void **state)
{
    (void)state;
    weir_op        look = count;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers);
    look.name = "look";
    look.flags = WEIR_OP_READS;
    SINK(KEYED(in, &look, .ttl = WEIR_HOUR, .ttl_rule = WEIR_TTL_ON_READ), "mem:", .name = "a");
    SINK(KEYED(in, &look, .uid = "fine", .ttl = WEIR_HOUR), "mem:", .name = "b");
    SINK(KEYED(in, &count, .ttl = -1, .ttl_rule = WEIR_TTL_ON_READ), "mem:", .name = "c");
    SINK(WINDOWED(in, &sum, ((weir_window_spec){.window = weir_count(3, 3)}), .ttl = WEIR_HOUR), "mem:", .name = "d");
    SINK(WINDOWED(in, &sum, ONE_WINDOW, .uid = "one", .ttl = WEIR_HOUR), "mem:", .name = "e");
    SINK(KEYED(in, &count, .uid = "rule", .ttl_rule = WEIR_TTL_ON_READ), "mem:", .name = "f");
    PROBLEMS(p, NULL, WR_GRAPH, ".ttl_rule without .ttl says nothing",
             "operator 'look' (t.c:7): it only reads, so it cannot note when a state was read last",
             "operator 'count' (t.c:7): .ttl is negative", "windows end by themselves and have no time to live");
}

static void test_keys(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers);
    weir_inputs    x = {.size = sizeof x, .left = in, .left_key = {.count = 5}};
    const void    *o = FIX_OPTIONS(weir_state_options, .uid = "five");
    SINK(weir_graph_op(&count, &x, o), "mem:", .name = "a");
    x.left_key = (weir_key){.count = 2,
                            .field = {{offsetof(fix_word, weight), WEIR_F64}, {offsetof(fix_word, count), WEIR_I64}}};
    SINK(weir_graph_op(&count, &x, FIX_OPTIONS(weir_options)),
         "mem:", .name = "b"); /* and the options of another kind */
    x.left_key = fix_key;
    SINK(weir_graph_op(&map, &x, FIX_OPTIONS(weir_options)), "mem:", .name = "c");
    PROBLEMS(p, NULL, WR_GRAPH, "operator 'five' (t.c:7): its key has 5 fields; at most 4",
             "field 'weight' of record 'word' cannot be a key", "field 2 of its key is no field of record 'word'",
             "but weir_state_options has", "operator 'map' (t.c:7): it has no state, so it takes no key");

    weir_op two = count;
    two.kind = WEIR_OP_CO_KEYED;
    two.right = &fix_word_type;
    p = fresh();
    in = READ(p, &numbers);
    x = (weir_inputs){.size = sizeof x, .left = in, .right = in, .left_key = fix_key};
    x.right_key = (weir_key){.count = 1, .field = {{offsetof(fix_word, count), WEIR_U64}}};
    SINK(weir_graph_op(&two, &x, (const weir_options *)FIX_OPTIONS(weir_state_options)), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "the keys of its two inputs differ",
             "two keyed inputs (WEIR_LEFT and WEIR_RIGHT) does not run yet");
}

static void test_descriptors(void **state)
{
    (void)state;
    weir_op old = map, wide = map, odd = map, empty = map;
    old.abi_size = 16;
    wide.outs = WR_OUTS_MAX + 1;
    odd.kind = 99;
    empty.outs = 0;
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers);
    SINK(APPLY(in, &old), "mem:", .name = "1");
    SINK(APPLY(in, &wide), "mem:", .name = "2");
    SINK(APPLY(in, &odd), "mem:", .name = "3");
    SINK(APPLY(in, NULL), "mem:", .name = "4");
    APPLY(in, &empty, .uid = "5");
    APPLY(in, &numbers, .uid = "6");
    WRITE(in, &map, .uid = "7");
    SINK(READ(p, &store), "mem:", .name = "8");
    weir_graph_source(p, &fix_word_type, &(weir_source_options){.size = 12});
    weir_graph_op(&map, &(weir_inputs){.size = 3, .left = in}, NULL);
    SINK(in, "mem:", .name = "9", .reserved_u32 = 1);
    PROBLEMS(p, NULL, WR_GRAPH, "its descriptor has 16 bytes", "it has 17 outputs; at most 16",
             "an operator of kind 99 cannot stand here", "operator '?': it has no descriptor",
             "operator '5' (t.c:7): its descriptor has no output", "use weir_read for sources and weir_write for sinks",
             "weir_write takes a WEIR_SINK", "weir_read takes a WEIR_SOURCE",
             "its options have 12 bytes, but weir_source_options", "its inputs are of another version of the headers",
             "a reserved option is not 0", "source 'word': nothing takes its stream");
}

static void test_many_of_everything(void **state)
{
    (void)state;
    char           name[WR_NAME_BYTES_MAX + 2];
    weir_pipeline *p = fresh();
    weir_node      in = READ(p, &numbers), all = in;
    for (int i = 0; i < WR_INPUTS_MAX; i++) all = weir_graph_union(2, all, in);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    SINK(all, "mem:", .name = name);
    PROBLEMS(p, NULL, WR_GRAPH, "it takes 17 streams; at most 16", "its .name is longer than 128 bytes");

    p = fresh();
    in = READ(p, &numbers);
    for (int i = 0; i < WR_NODES_MAX; i++) {
        snprintf(name, sizeof name, "%d", i);
        SINK(in, "mem:", .name = name);
    }
    PROBLEMS(p, NULL, WR_LIMIT, "the pipeline has more than 1024 operators");
}

static void test_sets(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    SINK(APPLY(SOURCE(p, "kafka://x", .name = "lines", .options = "group=1 nosuch=2", .format = "csv", .header = true),
               &map),
         "print:", .name = "out", .format = "json");
    WRITE(READ(p, &numbers), &store);
    const char     *sets[] = {"lines=mem:x?limit=3", "out=out:", "numbers=mem:n", "store=mem:s?format=text"};
    wr_job_settings s = {.set = sets, .sets = 4, .connector = fix_connector};
    const wr_job   *job = fix_finish(p, &s);
    const wr_node  *lines = fix_node(job, "lines");
    assert_string_equal(lines->uri, "mem:x?limit=3");
    assert_string_equal(lines->format, "csv");
    assert_true(lines->header);
    assert_null(fix_node(job, "out")->format); /* "out" takes none: what was said for the old URI is dropped */
    assert_true(fix_node(job, "out")->blocking);
    assert_int_equal(fix_node(job, "numbers")->kind, WR_NODE_SOURCE);
    assert_ptr_equal(fix_node(job, "numbers")->op, &fix_mem_source);
    assert_ptr_equal(fix_node(job, "numbers")->out[0], &fix_word_type);
    assert_int_equal(fix_node(job, "store")->kind, WR_NODE_SINK);
    assert_string_equal(fix_node(job, "store")->format, "text");
    wr_job_free(p);

    p = fresh();
    SINK(READ(p, &numbers), "mem:", .name = "result");
    const char *wrong[] = {"results=mem:", "qqqqqq=mem:", "result", "result=mem:a", "result=mem:b"};
    s = (wr_job_settings){.set = wrong, .sets = 5, .connector = fix_connector};
    PROBLEMS(p, &s, WR_USAGE, "--set results=mem:: no source or sink has this name; did you mean 'result'?",
             "--set qqqqqq=mem:: no source or sink has this name; weir plan shows the names",
             "--set result is not NAME=URI", "--set result=mem:b: 'result' is replaced twice");
}

static void test_uris(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_node      in = SOURCE(p, "/var/log/syslog", .name = "1");
    SINK(in, "", .name = "2");
    SINK(in, "nosuch://x", .name = "3");
    SINK(in, "bad:", .name = "4");
    SINK(SOURCE(p, "out:", .name = "5"), "mem:%zz?limit", .name = "6");
    SINK(in, "mem:?limit=-3&every=5&chunk=x&follow=maybe&limit=4", .name = "7");
    PROBLEMS(p, &with_connectors, WR_GRAPH,
             "source '1' (/var/log/syslog): its URI has no scheme; did you mean 'file:///var/log/syslog'?",
             "sink '2' (): it has no URI; give one", "there is no connector for 'nosuch:'",
             "connector 'bad' is for another version of Weir", "'out:' cannot be a source, only a sink",
             "'%zz' has a '%' that no two hex digits follow", "option 'limit' has no value",
             "option limit=-3 is not a whole number, 0 or more; how many records", "option every=5 is not a duration",
             "option chunk=x is not a size", "option follow=maybe is not true or false",
             "option 'limit' stands twice (-3 and 4)");
}

static void test_dead_letters(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .on_error = WEIR_DEAD_LETTER));
    SINK(APPLY(READ(p, &numbers), &map, .on_error = WEIR_SKIP), "mem:");
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = "dead"));
    const wr_job  *job = fix_finish(p, &(wr_job_settings){.parallelism = 2});
    const wr_node *letters = fix_node(job, "dead-letters");
    assert_int_equal(letters->kind, WR_NODE_DEAD_LETTERS);
    assert_int_equal(letters->parallelism, 1);
    assert_int_equal(letters->in_edges, 2); /* of the source and of the sink */
    assert_true(fix_node(job, "numbers")->dead);
    assert_false(fix_node(job, "map")->dead);
    assert_int_equal(fix_node(job, "map")->on_error, WEIR_SKIP);
    assert_int_equal(fix_node(job, "dead")->on_error, WEIR_FAIL); /* no dead letters about dead letters */
    assert_int_equal(letters->on_error, WEIR_FAIL);
    const wr_edge *e = fix_edge(job, "numbers", "dead-letters");
    assert_int_equal(e->from_port, WR_PORT_DEAD);
    assert_int_equal(e->route, WR_ROUTE_REBALANCE);
    assert_ptr_equal(e->type, &wr_dead_type);
    wr_job_free(p);

    p = fresh();
    SINK(APPLY(READ(p, &numbers), &map, .on_error = WEIR_DEAD_LETTER), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "operator 'map' (t.c:7): on_error is WEIR_DEAD_LETTER, but nothing takes dead letters");

    p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .on_error = WEIR_DEAD_LETTER));
    SINK(APPLY(READ(p, &numbers), &map), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "weir_configure: on_error is WEIR_DEAD_LETTER, but nothing takes dead letters");

    p = fresh();
    SINK(READ(p, &numbers), "mem:");
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = "dead"));
    PROBLEMS(p, NULL, WR_GRAPH, "the dead letters: no operator makes any");

    p = fresh();
    SINK(READ(p, &numbers, .on_error = WEIR_DEAD_LETTER), "mem:");
    weir_graph_sink(weir_graph_dead_letters(p), &wr_dead_type,
                    FIX_OPTIONS(weir_sink_options, .uri = "mem:", .name = "dead", .on_error = WEIR_DEAD_LETTER));
    PROBLEMS(p, NULL, WR_GRAPH, "sink 'dead' (mem:): it takes dead letters, so it cannot make some");
}

static void test_copies_strings(void **state)
{
    (void)state;
    char           uri[16] = "mem:a", name[16] = "n", args[16] = "x=1", sets[16] = "out=mem:z";
    weir_pipeline *p = fresh();
    const char    *set[] = {sets};
    SINK(SOURCE(p, uri, .name = name, .args = args), "mem:", .name = "out");
    memset(uri, '#', 15);
    memset(name, '#', 15);
    memset(args, '#', 15);
    const wr_job *job = fix_finish(p, &(wr_job_settings){.set = set, .sets = 1});
    memset(sets, '#', 15);
    const wr_node *n = fix_node(job, "n");
    assert_string_equal(n->uri, "mem:a");
    assert_string_equal(n->uid, "n");
    assert_string_equal(n->args, "x=1");
    assert_string_equal(weir_arg(n->arguments, "x", ""), "1");
    assert_string_equal(fix_node(job, "out")->uri, "mem:z");
    wr_job_free(p);
}

static void test_job_options(void **state)
{
    (void)state;
    weir_pipeline *p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .on_error = 17));
    weir_graph_job(p, FIX_OPTIONS(weir_job_options));
    SINK(READ(p, &numbers), "mem:");
    PROBLEMS(p, NULL, WR_GRAPH, "weir_configure: 17 is no policy", "weir_configure is called twice");
    static const struct {
        weir_duration every;
        const char   *text;
    } intervals[] = {{-1, "weir_configure: .snapshot_every is -1 ns, and an interval of snapshots is at least 1 ms"},
                     {-WEIR_SECOND, "weir_configure: .snapshot_every is -1000000000 ns"},
                     {999999, "weir_configure: .snapshot_every is 999999 ns"}};
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        p = fresh();
        weir_graph_job(p, FIX_OPTIONS(weir_job_options, .snapshot_every = intervals[i].every, .snapshots = "x"));
        SINK(READ(p, &numbers), "mem:");
        PROBLEMS(p, NULL, WR_OPTION, intervals[i].text);
    }
    p = fresh();
    weir_graph_job(p, FIX_OPTIONS(weir_job_options, .snapshot_every = WEIR_MILLISECOND));
    SINK(READ(p, &numbers), "mem:");
    const wr_job *job = NULL;
    assert_int_equal(wr_job_finish(p, NULL, &job, NULL), WR_OK);
    wr_job_free(p);
    p = fresh();
    weir_graph_job(p, &(weir_job_options){.size = 4});
    SINK(READ(p, &numbers), "mem:");
    PROBLEMS(p, NULL, WR_WRONG_ABI, "weir_job_options are of another version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest_job),
        cmocka_unit_test(test_all_problems_at_once),
        cmocka_unit_test(test_names_stay_in_their_line),
        cmocka_unit_test(test_errinfo_lists_what_fits),
        cmocka_unit_test(test_empty_and_unconnected),
        cmocka_unit_test(test_streams_that_lead_nowhere),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_parallelism),
        cmocka_unit_test(test_one_state_for_all),
        cmocka_unit_test(test_types_must_fit),
        cmocka_unit_test(test_field_tables),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_times_to_live),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_many_of_everything),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_dead_letters),
        cmocka_unit_test(test_copies_strings),
        cmocka_unit_test(test_job_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
