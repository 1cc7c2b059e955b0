/* Sources that are started again from what a barrier saved, at any poll: the records go on as if nothing had been. */
#include "base/sabotage.h"
#include "operators/saver.h"
#include "tests/unit/connectors/drive.h"

typedef struct entry {
    uint64_t n;
    weir_str text;
    double   value;
} entry;
static const weir_field entry_fields[] = {FIELD(entry, n, WEIR_U64), FIELD(entry, text, WEIR_STR),
                                          FIELD(entry, value, WEIR_F64)};
static const weir_type  entry_type = TYPE(entry, entry_fields);

static void forget(wr_ack_op *saved)
{
    for (uint32_t i = 0; i < saved->items; i++) free(saved->item[i].data);
    free(saved->item);
    *saved = (wr_ack_op){0};
}

static void make_op(drive *d)
{
    d->op = (wr_op){.def = d->node.op, .node = &d->node, .home = &d->home, .endpoint = d->endpoint, .subtasks = 1};
    assert_int_equal(wr_op_init(&d->op, &d->problem), WR_OK);
    d->taker = (wr_op){
        .def = &d->take_def, .node = &d->node, .home = &d->home, .kernel = &take_kernel, .kernel_state = d};
    d->op.emit[0].target = calloc(1, sizeof(wr_target));
    d->op.emit[0].target[0].op = &d->taker;
    d->op.emit[0].targets = 1;
}

/* False: it cannot be opened, or a split cannot. */
static bool load(drive *d, const wr_ack_op *saved)
{
    wr_manifest_op op = {.item = saved->item, .items = saved->items, .parallelism = 1};
    make_op(d);
    assert_int_equal(d->op.kernel->load(&d->op, &op, "", NULL), WR_OK);
    return wr_op_open(&d->op, &d->problem) == WR_OK && !wr_op_failed(&d->op);
}

static void save(drive *d, wr_ack_op *saved)
{
    wr_barrier b = {.id = 1, .kind = WR_SNAPSHOT};
    wr_saver   saver = {.to = saved};
    forget(saved);
    assert_int_equal(d->op.kernel->save(&d->op, &b, &saver, NULL), WR_OK);
}

/* Reads all with a restart after every `every` polls; 0: none. Returns how many restarts there were. */
static uint32_t read_all(drive *d, wr_endpoint_spec spec, uint32_t every)
{
    wr_ack_op saved = {0};
    uint32_t  restarts = 0;
    if (!drive_init(d, spec)) fail_msg("%s", d->problem.text);
    if (!drive_enumerate(d)) fail_msg("%s", d->enumerator.op.failure.text);
    make_op(d);
    assert_int_equal(wr_op_open(&d->op, &d->problem), WR_OK);
    for (uint32_t i = 0; i < d->enumerator.count; i++) wr_source_add(&d->op, d->enumerator.split[i]);
    enum wr_polled polled = WR_POLLED_MORE;
    for (uint32_t polls = 1; polled != WR_POLLED_EMPTY; polls++) {
        polled = drive_poll(d);
        if (wr_op_failed(&d->op)) fail_msg("%s", d->op.failure.text);
        if (every == 0 || polls % every != 0) continue;
        save(d, &saved);
        uint32_t count = d->count;
        drive_poll(d); /* what comes after the barrier is lost with the process */
        d->count = count;
        drive_close(d);
        if (!load(d, &saved)) fail_msg("%s %s", d->problem.text, d->op.failure.text);
        polled = saved.items > 0 ? WR_POLLED_MORE : WR_POLLED_EMPTY;
        restarts++;
    }
    drive_close(d);
    forget(&saved);
    return restarts;
}

static int by_number(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->n < y->n ? -1 : x->n > y->n;
}

static void same_records(wr_endpoint_spec spec, uint32_t restarts_min)
{
    drive whole;
    read_all(&whole, spec, 0);
    for (uint32_t every = 1; every < 6; every += 2) {
        drive    d;
        uint32_t restarts = read_all(&d, spec, every);
        assert_true(restarts >= restarts_min / every);
        assert_int_equal(d.count, whole.count);
        qsort(whole.records, whole.count, sizeof(entry), by_number);
        qsort(d.records, d.count, sizeof(entry), by_number);
        for (uint32_t i = 0; i < d.count; i++) {
            const entry *a = &((const entry *)(const void *)whole.records)[i];
            const entry *b = &((const entry *)(const void *)d.records)[i];
            assert_int_equal(a->n, b->n);
            assert_true(weir_str_equal(&a->text, &b->text));
            assert_memory_equal(&a->value, &b->value, sizeof a->value);
        }
        drive_fini(&d);
    }
    drive_fini(&whole);
}

static void write_csv(const char *path, uint32_t lines, bool header)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    if (header) fprintf(file, "value,n,text,ignored\r\n");
    for (uint32_t i = 0; i < lines; i++) {
        const char *text = i % 7 == 0 ? "\"a \"\"quoted\"\" text, with a comma\"" : i % 5 == 0 ? "" : "plain";
        if (header)
            fprintf(file, "%u.5,%u,%s,x\r\n", i / 3, i, text);
        else
            fprintf(file, "%u,%s,%u.5\n", i, text, i / 3);
    }
    fclose(file);
}

static void files(void **state)
{
    (void)state;
    folder      f = folder_make();
    const char *path = folder_path(&f, "in.csv");
    char        uri[256];
    for (int header = 0; header < 2; header++) {
        write_csv(path, 20000, header);
        for (int cut = 0; cut < 2; cut++) {
            snprintf(uri, sizeof uri, "file:%s?split-bytes=%s", path, cut ? "30KiB" : "0");
            same_records((wr_endpoint_spec){.type = &entry_type, .uri = uri, .format = "csv", .header = header}, 20);
        }
    }
    folder_remove(&f);
}

static void generators(void **state)
{
    (void)state;
    same_records((wr_endpoint_spec){.type = &entry_type, .uri = "generator:?count=20000&splits=3&keys=1000000"}, 20);
    same_records((wr_endpoint_spec){.type = &entry_type, .uri = "generator:?count=1&splits=3"}, 1);
    same_records((wr_endpoint_spec){.type = &entry_type, .uri = "generator:?count=3000&rate=300000"}, 3);
}

/* A file that is not the one from which the position was taken. */
static void files_that_changed(void **state)
{
    (void)state;
    folder      f = folder_make();
    const char *path = folder_path(&f, "in.csv");
    char        uri[256];
    wr_ack_op   saved = {0};
    drive       d;
    snprintf(uri, sizeof uri, "file:%s", path);
    wr_endpoint_spec spec = {.type = &entry_type, .uri = uri, .format = "csv"};
    write_csv(path, 5000, false);
    assert_true(drive_init(&d, spec));
    assert_true(drive_enumerate(&d));
    make_op(&d);
    assert_int_equal(wr_op_open(&d.op, &d.problem), WR_OK);
    wr_source_add(&d.op, d.enumerator.split[0]);
    for (int i = 0; i < 3; i++) assert_int_equal(drive_poll(&d), WR_POLLED_MORE);
    save(&d, &saved);
    uint32_t count = d.count;
    drive_close(&d);

    assert_true(load(&d, &saved)); /* untouched */
    drive_close(&d);
    FILE *file = fopen(path, "a"); /* one that grew is the same file */
    fputs("1,appended,1\n", file);
    fclose(file);
    assert_true(load(&d, &saved));
    drive_close(&d);

    write_csv(path, count / 2, false); /* shorter than the position */
    assert_false(load(&d, &saved));
    assert_contains(d.op.failure.text, "became shorter: it was read up to byte");
    drive_close(&d);
    file = fopen(path, "w"); /* other content, long enough */
    for (int i = 0; i < 50000; i++) fprintf(file, "%d,other,2\n", i);
    fclose(file);
    assert_false(load(&d, &saved));
    assert_contains(d.op.failure.text, "was changed: it was read up to byte");
    assert_contains(d.op.failure.text, "put the file back as it was, or start anew");
    drive_close(&d);
    unlink(path);
    assert_false(load(&d, &saved));
    assert_contains(d.op.failure.text, "cannot open");
    drive_close(&d);
    forget(&saved);
    drive_fini(&d);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(generators),
        cmocka_unit_test(files_that_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
