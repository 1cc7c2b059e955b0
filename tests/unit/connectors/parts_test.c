/* The file sink, exactly once: what readers of the folder see before and after a commit, a crash and a restart. */
#include "operators/saver.h"
#include "tests/unit/connectors/drive.h"
#include <dirent.h>
#include <sys/stat.h>

typedef struct number {
    uint64_t n;
} number;
static const weir_field number_fields[] = {FIELD(number, n, WEIR_U64)};
static const weir_type  number_type = TYPE(number, number_fields);

/* One subtask of the sink, and what its last barrier gave. */
typedef struct task {
    drive     d;
    wr_ack_op saved;
} task;

static void forget_items(task *t)
{
    for (uint32_t i = 0; i < t->saved.items; i++) free(t->saved.item[i].data);
    free(t->saved.item);
    t->saved = (wr_ack_op){0};
}

/* options: what follows "file:FOLDER/out". */
static void prepare_task(task *t, const folder *f, const char *options, uint32_t subtask, uint32_t subtasks)
{
    static char uri[512];
    snprintf(uri, sizeof uri, "file:%s/out%s", f->path, options);
    memset(t, 0, sizeof *t);
    if (!drive_init(&t->d, (wr_endpoint_spec){.type = &number_type, .uri = uri, .sink = true, .name = "my sums"}))
        fail_msg("%s", t->d.problem.text);
    t->d.subtask = subtask;
    t->d.subtasks = subtasks;
    t->d.home.job = "shop";
    t->d.home.lineage = "5eed";
    t->d.home.snapshots = true;
}

/* saved: by whom this task was before a crash; epoch: of that snapshot. */
static bool start(task *t, const wr_ack_op *saved, uint32_t were, uint64_t epoch)
{
    drive *d = &t->d;
    d->op = (wr_op){.def = d->node.op,
                    .node = &d->node,
                    .home = &d->home,
                    .endpoint = d->endpoint,
                    .subtask = d->subtask,
                    .subtasks = d->subtasks};
    assert_int_equal(wr_op_init(&d->op, &d->problem), WR_OK);
    if (saved != NULL) {
        wr_manifest_op op = {.item = saved->item, .items = saved->items, .parallelism = were};
        assert_int_equal(d->op.kernel->load(&d->op, &op, "", NULL), WR_OK);
    }
    d->home.epoch = epoch;
    return wr_op_open(&d->op, &d->problem) == WR_OK;
}

static void begin(task *t, const folder *f, const char *options)
{
    prepare_task(t, f, options, 0, 1);
    if (!start(t, NULL, 0, 0)) fail_msg("%s", t->d.problem.text);
}

/* As if the process had been killed: nothing is finished, whatever is open is closed by the system. */
static void kill_task(task *t)
{
    drive_close(&t->d);
    drive_fini(&t->d);
}

static void end(task *t)
{
    kill_task(t);
    forget_items(t);
}

static void write_numbers(task *t, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) drive_write(&t->d, &(number){i}, 1);
    assert_int_equal(t->d.op.failure.code, WR_OK);
}

static wr_err barrier(task *t, uint64_t id)
{
    wr_barrier b = {.id = id, .kind = WR_SNAPSHOT};
    wr_saver   saver = {.to = &t->saved, .from = t->d.subtask};
    forget_items(t);
    wr_err err = t->d.op.kernel->save(&t->d.op, &b, &saver, NULL);
    t->d.home.epoch = id;
    return err;
}

static void complete(task *t, uint64_t id)
{
    t->d.op.kernel->complete(&t->d.op, id);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int finished_only(const struct dirent *e)
{
    return e->d_name[0] != '.';
}
static int hidden_only(const struct dirent *e)
{
    return e->d_name[0] == '.' && e->d_name[1] != '.' && e->d_name[1] != 0;
}

/* What a reader finds: the contents of all finished files in the order of their names, separated by '|'. */
static void reader_sees(const folder *f, const char *text)
{
    struct dirent **entry;
    char            all[4096] = "";
    size_t          used = 0;
    int             n = scandir(folder_path(f, "out"), &entry, finished_only, by_name);
    for (int i = 0; i < n; i++) {
        char  path[512];
        FILE *file;
        snprintf(path, sizeof path, "%s/out/%s", f->path, entry[i]->d_name);
        file = fopen(path, "r");
        assert_non_null(file);
        if (i > 0) all[used++] = '|';
        for (int c; (c = getc(file)) != EOF;) all[used++] = c == '\n' ? ' ' : (char)c;
        fclose(file);
        free(entry[i]);
    }
    if (n >= 0) free(entry);
    assert_string_equal(all, text);
}

static void take_away(const char *path)
{
    assert_int_equal(unlink(path), 0);
}
static void append_to(const char *path)
{
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("more\n", file);
    fclose(file);
}

static void each_file(const folder *f, const char *prefix, void (*what)(const char *path))
{
    struct dirent **entry;
    int             n = scandir(folder_path(f, "out"), &entry, NULL, by_name), done = 0;
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/out/%s", f->path, entry[i]->d_name);
        if (strncmp(entry[i]->d_name, prefix, strlen(prefix)) == 0) {
            what(path);
            done++;
        }
        free(entry[i]);
    }
    free(entry);
    assert_int_equal(done, 1);
}

static int hidden(const folder *f, const char *state)
{
    struct dirent **entry;
    int             n = scandir(folder_path(f, "out"), &entry, hidden_only, by_name), count = 0;
    for (int i = 0; i < n; i++) {
        count += strstr(entry[i]->d_name, state) != NULL;
        free(entry[i]);
    }
    if (n >= 0) free(entry);
    return count;
}

static void visible_when_committed(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t;
    begin(&t, &f, "");
    write_numbers(&t, 0, 3);
    assert_int_equal(hidden(&f, ".open"), 1);
    assert_int_equal(barrier(&t, 1), WR_OK);
    assert_int_equal(t.saved.items, 1);
    assert_int_equal(hidden(&f, ".open"), 0);
    assert_int_equal(hidden(&f, ".pending"), 1);
    write_numbers(&t, 3, 5);
    reader_sees(&f, "");
    complete(&t, 1);
    reader_sees(&f, "0 1 2 ");
    barrier(&t, 2); /* not completed: its files come with the next */
    write_numbers(&t, 5, 6);
    barrier(&t, 3);
    assert_int_equal(t.saved.items, 2);
    complete(&t, 3);
    reader_sees(&f, "0 1 2 |3 4 |5 ");
    barrier(&t, 4);
    assert_int_equal(t.saved.items, 0); /* nothing was written */
    complete(&t, 4);
    reader_sees(&f, "0 1 2 |3 4 |5 ");
    assert_int_equal(hidden(&f, ""), 0);
    end(&t);
    folder_remove(&f);
}

static void rolls_by_size_and_time(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t;
    begin(&t, &f, "?roll-bytes=6&roll-every=1s");
    write_numbers(&t, 0, 7);
    assert_int_equal(hidden(&f, ".pending"), 2);
    t.d.home.mono_ns += 2000000000;
    write_numbers(&t, 7, 9);
    assert_int_equal(hidden(&f, ".pending"), 3);
    barrier(&t, 1);
    assert_int_equal(t.saved.items, 4);
    complete(&t, 1);
    reader_sees(&f, "0 1 2 |3 4 5 |6 7 |8 ");
    end(&t);
    folder_remove(&f);
}

/* Killed after the barrier, with more written: what the snapshot holds comes, what came later goes. */
static void a_restart_finishes_what_the_snapshot_holds(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t, u;
    begin(&t, &f, "?roll-bytes=4");
    write_numbers(&t, 0, 3); /* pending: 0 1; open: 2 */
    barrier(&t, 1);
    assert_int_equal(t.saved.items, 2);
    write_numbers(&t, 3, 6); /* pending, of no snapshot: 3 4; open: 5 */
    assert_int_equal(hidden(&f, ""), 4);
    kill_task(&t);
    for (int again = 0; again < 2; again++) { /* and once more from the same snapshot: already committed */
        prepare_task(&u, &f, "?roll-bytes=4", 0, 1);
        if (!start(&u, &t.saved, 1, 1)) fail_msg("%s", u.d.problem.text);
        reader_sees(&f, "0 1 |2 ");
        assert_int_equal(hidden(&f, ""), 0);
        write_numbers(&u, 3, 4); /* the source reads it again */
        if (again == 0) kill_task(&u);
    }
    barrier(&u, 2);
    complete(&u, 2);
    reader_sees(&f, "0 1 |2 |3 ");
    end(&u);
    forget_items(&t);
    folder_remove(&f);
}

/* A worker that was taken for dead and wakes up again: neither what it writes nor its clearing up meets the files of
 * the attempt that has taken over. */
static void a_zombie_does_not_touch_files_of_the_next_attempt(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   zombie, late, next;
    begin(&zombie, &f, "");
    zombie.d.home.attempt = 1;
    write_numbers(&zombie, 0, 2);
    barrier(&zombie, 1);
    write_numbers(&zombie, 2, 4); /* and here it stands still */
    prepare_task(&next, &f, "", 0, 1);
    next.d.home.attempt = 3;
    if (!start(&next, &zombie.saved, 1, 1)) fail_msg("%s", next.d.problem.text);
    write_numbers(&next, 2, 5);
    barrier(&next, 2);
    write_numbers(&next, 5, 6);
    assert_int_equal(hidden(&f, ".open"), 1);
    assert_int_equal(hidden(&f, ".pending"), 1);
    /* One of an attempt in between begins only now, and clears up what its snapshot does not know. */
    prepare_task(&late, &f, "", 0, 1);
    late.d.home.attempt = 2;
    if (!start(&late, &zombie.saved, 1, 1)) fail_msg("%s", late.d.problem.text);
    assert_int_equal(hidden(&f, ".open"), 1);
    assert_int_equal(hidden(&f, ".pending"), 1);
    write_numbers(&late, 2, 3);
    /* The first one goes on: its open file is gone, and the one that has its place is not its own. */
    assert_int_not_equal(barrier(&zombie, 2), WR_OK);
    complete(&next, 2);
    reader_sees(&f, "0 1 |2 3 4 ");
    barrier(&next, 3);
    complete(&next, 3);
    reader_sees(&f, "0 1 |2 3 4 |5 ");
    end(&zombie);
    end(&late);
    end(&next);
    folder_remove(&f);
}

/* A job that fails once a minute comes to six digits within three months. */
static void attempts_may_have_many_digits(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   one, next;
    begin(&one, &f, "");
    one.d.home.attempt = 123456;
    write_numbers(&one, 0, 2);
    barrier(&one, 1);
    complete(&one, 1);
    write_numbers(&one, 2, 4);
    assert_int_equal(hidden(&f, ".open"), 1);
    prepare_task(&next, &f, "", 0, 1);
    next.d.home.attempt = 123455; /* an older one, which wakes up */
    if (!start(&next, &one.saved, 1, 1)) fail_msg("%s", next.d.problem.text);
    assert_int_equal(hidden(&f, ".open"), 1);
    kill_task(&next);
    kill_task(&one);
    prepare_task(&next, &f, "", 0, 1);
    next.d.home.attempt = 123457;
    if (!start(&next, &one.saved, 1, 1)) fail_msg("%s", next.d.problem.text);
    assert_int_equal(hidden(&f, ".open"), 0);
    reader_sees(&f, "0 1 ");
    forget_items(&one);
    end(&next);
    folder_remove(&f);
}

static int64_t lease_clock_ns;
static int64_t lease_clock(void *self)
{
    (void)self;
    return lease_clock_ns;
}

/* Whose lease is over publishes nothing. */
static void without_a_lease_nothing_is_published(void **unused)
{
    (void)unused;
    folder          f = folder_make();
    wr_env          env = *wr_env_real();
    _Atomic int64_t until = 1000;
    task            t;
    env.mono_ns = lease_clock;
    begin(&t, &f, "");
    t.d.home.env = &env;
    t.d.home.lease_until_ns = &until;
    lease_clock_ns = 999;
    write_numbers(&t, 0, 2);
    assert_int_equal(barrier(&t, 1), WR_OK);
    write_numbers(&t, 2, 4);
    lease_clock_ns = 1001;
    barrier(&t, 2);
    assert_int_equal(t.d.op.failure.code, WR_UNREACHABLE);
    assert_int_equal(hidden(&f, ".pending"), 1);
    assert_int_equal(hidden(&f, ".open"), 1);
    complete(&t, 1);
    reader_sees(&f, "");
    t.d.home.env = wr_env_real();
    end(&t);
    folder_remove(&f);
}

/* A reader may take results away at any time; a start after that neither brings them back nor uses their names. */
static void results_may_be_taken_away(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t, u;
    begin(&t, &f, "");
    write_numbers(&t, 0, 1);
    barrier(&t, 1);
    complete(&t, 1);
    reader_sees(&f, "0 ");
    each_file(&f, "shop-", take_away);
    kill_task(&t);
    prepare_task(&u, &f, "", 0, 1);
    assert_true(start(&u, &t.saved, 1, 1));
    reader_sees(&f, "");
    write_numbers(&u, 1, 2);
    barrier(&u, 2);
    complete(&u, 2);
    reader_sees(&f, "1 ");
    end(&u);
    forget_items(&t);
    folder_remove(&f);
}

static void heirs_of_subtasks(void **unused)
{
    (void)unused;
    folder    f = folder_make();
    task      t[3], u;
    wr_ack_op all = {.item = calloc(3, sizeof(wr_item))};
    for (uint32_t i = 0; i < 3; i++) {
        prepare_task(&t[i], &f, "", i, 3);
        assert_true(start(&t[i], NULL, 0, 0));
        write_numbers(&t[i], 10 * i, 10 * i + 1);
        barrier(&t[i], 1);
        all.item[all.items++] = t[i].saved.item[0];
        write_numbers(&t[i], 10 * i + 1, 10 * i + 2);
    }
    assert_int_equal(hidden(&f, ".open"), 3);
    for (uint32_t i = 0; i < 3; i++) kill_task(&t[i]);
    for (uint32_t i = 0; i < 2; i++) { /* two where three were; each takes what is its own, and nothing else */
        prepare_task(&u, &f, "", i, 2);
        assert_true(start(&u, &all, 3, 1));
        assert_int_equal(hidden(&f, ".open"), i == 0 ? 1 : 0);
        kill_task(&u);
    }
    reader_sees(&f, "0 |10 |20 ");
    assert_int_equal(hidden(&f, ""), 0);
    for (uint32_t i = 0; i < 3; i++) forget_items(&t[i]);
    free(all.item);
    folder_remove(&f);
}

static void results_of_others_are_refused(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t, u;
    begin(&t, &f, "");
    write_numbers(&t, 0, 1);
    barrier(&t, 1);
    complete(&t, 1);
    write_numbers(&t, 1, 2);
    end(&t);
    for (int i = 0; i < 300; i++) { /* however much is hidden before them */
        char name[100];
        snprintf(name, sizeof name, "out/.shop-my_sums-%08x-00000-0000000000-000000.csv.open", i);
        file_write_text(folder_path(&f, name), "");
    }
    prepare_task(&u, &f, "", 0, 1);
    assert_false(start(&u, NULL, 0, 0));
    assert_contains(u.d.problem.text, "has results of an earlier run (shop-my_sums-");
    assert_contains(u.d.problem.text, "?overwrite=true");
    end(&u);
    prepare_task(&u, &f, "", 1, 2); /* another subtask's are not its business: they may be of this very run */
    assert_true(start(&u, NULL, 0, 0));
    end(&u);
    file_write_text(folder_path(&f, "out/notes"), "not ours\n");
    begin(&u, &f, "?overwrite=true");
    write_numbers(&u, 5, 6);
    reader_sees(&f, "not ours |0 "); /* another task may yet refuse the job */
    kill_task(&u);
    reader_sees(&f, "not ours |0 ");
    begin(&u, &f, "?overwrite=true");
    write_numbers(&u, 5, 6);
    barrier(&u, 1);
    reader_sees(&f, "not ours ");
    assert_int_equal(hidden(&f, ""), 1); /* its own, prepared */
    complete(&u, 1);
    write_numbers(&u, 6, 7);
    barrier(&u, 2);
    complete(&u, 2);
    reader_sees(&f, "not ours |5 |6 ");
    end(&u);
    prepare_task(&u, &f, "/notes", 0, 1);
    assert_false(start(&u, NULL, 0, 0));
    assert_contains(u.d.problem.text, "is a file, but exactly once needs a folder of files");
    end(&u);
    folder_remove(&f);
}

static void a_damaged_pending_file_is_lost(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t;
    begin(&t, &f, "");
    write_numbers(&t, 0, 1);
    barrier(&t, 1);
    each_file(&f, ".shop-", append_to);
    complete(&t, 1);
    assert_int_equal(t.d.op.failure.code, WR_COMMIT_LOST);
    end(&t);
    reader_sees(&f, "");
    folder_remove(&f);
}

/* Without snapshots the end commits; and a reader's pattern finds nothing before. */
static void exactly_once_without_snapshots(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t;
    prepare_task(&t, &f, "", 0, 1);
    t.d.node.guarantee = WEIR_EXACTLY_ONCE;
    t.d.home.snapshots = false;
    t.d.home.lineage = NULL;
    assert_true(start(&t, NULL, 0, 0));
    write_numbers(&t, 0, 2);
    reader_sees(&f, "");
    assert_true(wr_op_end(&t.d.op));
    reader_sees(&f, "0 1 ");
    end(&t);
    folder_remove(&f);
}

/* At least once: one file, on the disk at each barrier, which a restart continues. */
static void at_least_once_goes_on_behind(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t, u;
    prepare_task(&t, &f, ".csv?header=true", 0, 1);
    t.d.node.guarantee = WEIR_AT_LEAST_ONCE;
    assert_true(start(&t, NULL, 0, 0));
    write_numbers(&t, 0, 2);
    assert_int_equal(barrier(&t, 1), WR_OK);
    assert_int_equal(t.saved.items, 0);
    write_numbers(&t, 2, 3);
    kill_task(&t);
    prepare_task(&u, &f, ".csv?header=true", 0, 1);
    u.d.node.guarantee = WEIR_AT_LEAST_ONCE;
    assert_true(start(&u, &t.saved, 1, 1));
    write_numbers(&u, 2, 4);
    end(&u);
    char *text = file_read_all(folder_path(&f, "out.csv"));
    assert_string_equal(text, "n\n0\n1\n2\n2\n3\n"); /* 2 is there twice: that is what was asked for */
    free(text);
    prepare_task(&u, &f, "?roll-bytes=5", 0, 1);
    u.d.node.guarantee = WEIR_BEST_EFFORT;
    assert_false(start(&u, NULL, 0, 0));
    assert_contains(u.d.problem.text, "roll-bytes and roll-every are for exactly once");
    end(&u);
    forget_items(&t);
    folder_remove(&f);
}

/* A source that is given the folder reads what is finished, and nothing else. */
static void a_folder_of_results_is_a_source(void **unused)
{
    (void)unused;
    folder f = folder_make();
    task   t;
    drive  d;
    char   uri[256];
    begin(&t, &f, "?roll-bytes=1");
    write_numbers(&t, 0, 4);
    barrier(&t, 1);
    complete(&t, 1);
    write_numbers(&t, 4, 6);
    snprintf(uri, sizeof uri, "file:%s/out", f.path);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &number_type, .uri = uri, .format = "csv"}));
    if (!drive_all(&d)) fail_msg("%s", d.op.failure.text);
    assert_int_equal(d.count, 4);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(((const number *)(const void *)d.records)[i].n, i);
    drive_fini(&d);
    end(&t);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(visible_when_committed),
        cmocka_unit_test(rolls_by_size_and_time),
        cmocka_unit_test(a_restart_finishes_what_the_snapshot_holds),
        cmocka_unit_test(a_zombie_does_not_touch_files_of_the_next_attempt),
        cmocka_unit_test(attempts_may_have_many_digits),
        cmocka_unit_test(without_a_lease_nothing_is_published),
        cmocka_unit_test(results_may_be_taken_away),
        cmocka_unit_test(heirs_of_subtasks),
        cmocka_unit_test(results_of_others_are_refused),
        cmocka_unit_test(a_damaged_pending_file_is_lost),
        cmocka_unit_test(exactly_once_without_snapshots),
        cmocka_unit_test(at_least_once_goes_on_behind),
        cmocka_unit_test(a_folder_of_results_is_a_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
