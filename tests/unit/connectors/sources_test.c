/* The sources that are no files: generator, standard input, and what a test pushes. */
#include "tests/unit/connectors/drive.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>

typedef struct made {
    weir_str   name;
    weir_time  at;
    uint32_t   number;
    uint16_t   other;
    double     f;
    bool       b;
    weir_bytes raw;
    weir_str   a_field_with_a_long_name;
    int32_t    array[4];
} made;
static const weir_field made_fields[] = {FIELD(made, name, WEIR_STR),
                                         FIELD(made, at, WEIR_TIME),
                                         FIELD(made, number, WEIR_U32),
                                         FIELD(made, other, WEIR_U16),
                                         FIELD(made, f, WEIR_F64),
                                         FIELD(made, b, WEIR_BOOL),
                                         FIELD(made, raw, WEIR_BYTES),
                                         FIELD(made, a_field_with_a_long_name, WEIR_STR),
                                         FIELD(made, array, WEIR_I32 | WEIR_ARRAY)};
static const weir_type  made_type = TYPE(made, made_fields);

static made *sorted(drive *d)
{
    made *all = (made *)(void *)d->records, *to = calloc(d->count + 1, sizeof *to);
    for (uint32_t i = 0; i < d->count; i++) {
        if (all[i].number >= d->count) fail_msg("record number %u of %u", all[i].number, d->count);
        assert_int_equal(to[all[i].number].name.len, 0); /* each number once */
        to[all[i].number] = all[i];
    }
    return to;
}

static void assert_same_made(const made *a, const made *b)
{
    char x[512], y[512];
    wr_record_print(&made_type, a, x, sizeof x);
    wr_record_print(&made_type, b, y, sizeof y);
    assert_string_equal(x, y);
}

static void generator_is_the_same_in_every_run(void **state)
{
    (void)state;
    static const char *const uris[] = {"generator:?count=5000&keys=50", "generator:?count=5000&keys=50&splits=3",
                                       "generator:?count=5000&keys=50&splits=7"};
    made                    *first = NULL;
    drive                    d[3];
    for (int i = 0; i < 3; i++) {
        assert_true(drive_init(&d[i], (wr_endpoint_spec){.type = &made_type, .uri = uris[i]}));
        assert_true(drive_all(&d[i]));
        assert_int_equal(d[i].count, 5000);
        made *all = sorted(&d[i]);
        for (uint32_t k = 0; k < 5000; k++) {
            assert_true(all[k].at.ns == 1704067200000000000 + (int64_t)k * 1000000);
            assert_true(all[k].other < 50 && all[k].array[3] < 50 && all[k].f >= 0 && all[k].f < 50);
            if (first != NULL) assert_same_made(&all[k], &first[k]);
        }
        if (first == NULL)
            first = all;
        else
            free(all);
    }
    char text[512];
    wr_record_print(&made_type, &first[1], text, sizeof text);
    assert_contains(text, "name=\"name-");
    assert_contains(text, "a_field_with_a_long_name=\"a_field_with_a_long_name-");
    free(first);
    drive other;
    assert_true(
        drive_init(&other, (wr_endpoint_spec){.type = &made_type, .uri = "generator:?count=10&keys=1000000&seed=2"}));
    assert_true(drive_all(&other));
    assert_true(((made *)(void *)other.records)[5].f != ((made *)(void *)d[0].records)[5].f);
    drive_fini(&other);
    for (int i = 0; i < 3; i++) drive_fini(&d[i]);
}

static void generator_goes_on_where_it_was(void **state)
{
    (void)state;
    drive whole, d;
    assert_true(drive_init(&whole, (wr_endpoint_spec){.type = &made_type, .uri = "generator:?count=3000&splits=2"}));
    assert_true(drive_all(&whole));
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &made_type, .uri = "generator:?count=3000&splits=2"}));
    assert_true(drive_enumerate(&d));
    for (uint32_t i = 0; i < d.enumerator.count; i++) {
        char     split[256];
        uint32_t size = d.node.op->state->size;
        memcpy(split, d.enumerator.split[i], size);
        for (bool ended = false; !ended;) { /* a new reader after every poll */
            assert_true(drive_open(&d));
            d.op.emit[0].capacity = 7;
            wr_source_add(&d.op, split);
            ended = drive_poll(&d) == WR_POLLED_EMPTY;
            if (!ended)
                memcpy(split + sizeof(weir_str), (char *)d.op.ctx.state[0] + sizeof(weir_str), size - sizeof(weir_str));
            drive_close(&d);
        }
    }
    assert_int_equal(d.count, 3000);
    for (uint32_t i = 0; i < d.count; i++)
        assert_same_made(&((made *)(void *)d.records)[i], &((made *)(void *)whole.records)[i]);
    drive_fini(&whole);
    drive_fini(&d);
}

/* A clock that the test moves. */
static int64_t clock_ns;
static int64_t moved_ns(void *self)
{
    (void)self;
    return clock_ns;
}

static void generator_keeps_its_rate(void **state)
{
    (void)state;
    drive  d;
    wr_env env = *wr_env_real();
    env.mono_ns = moved_ns;
    clock_ns = 1000;
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &made_type, .uri = "generator:?rate=1000"}));
    assert_true(drive_enumerate(&d));
    d.home.env = &env;
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    int      fd[WR_PARK_FDS_MAX];
    int64_t  until, start = clock_ns;
    uint32_t fds = 0;
    while (clock_ns < start + 2 * WEIR_SECOND) { /* sleeps as it is told, and no longer */
        if (drive_poll(&d) != WR_POLLED_IDLE) continue;
        wr_source_waits(&d.op, fd, &fds, &until);
        assert_int_equal(fds, 0);
        assert_true(until > clock_ns && until <= clock_ns + 2 * WEIR_MILLISECOND);
        clock_ns = until;
    }
    assert_in_range(d.count, 1990, 2001);
    clock_ns += 100 * WEIR_SECOND; /* after a long pause no flood */
    uint32_t before = d.count;
    while (drive_poll(&d) != WR_POLLED_IDLE) {}
    assert_in_range(d.count - before, 90, 101);
    drive_close(&d);
    drive_fini(&d);
}

static void generator_options_are_checked(void **state)
{
    (void)state;
    drive d;
    static const struct {
        const char *uri, *text;
    } wrong[] = {
        {"generator:?start=tomorrow", "option start=tomorrow is not a time such as 2024-01-01T00:00:00Z"},
        {"generator:?splits=32769", "option splits=32769 is above 32768"},
        {"generator:?keys=0", "option keys=0 leaves no value for a field"},
        {"generator:?cout=1", "did you mean 'count'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(drive_init(&d, (wr_endpoint_spec){.type = &made_type, .uri = wrong[i].uri}));
        assert_contains(d.problem.text, wrong[i].text);
        drive_fini(&d);
    }
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &made_type, .uri = "generator:?count=2&splits=5"}));
    assert_true(drive_all(&d));
    assert_int_equal(d.count, 2);
    drive_fini(&d);
}

/* Standard input becomes a pipe; returns its other end. */
static int pipe_to_stdin(int *saved)
{
    int ends[2];
    *saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    return ends[1];
}

static void stdin_back(int saved)
{
    if (saved < 0) {
        close(STDIN_FILENO);
        return;
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
}

/* Stands before the C library's: now and then a signal comes. */
static int signals;
int        poll(struct pollfd *fd, nfds_t n, int timeout_ms)
{
    struct timespec time = {.tv_nsec = timeout_ms * 1000000};
    if (signals == 0) return ppoll(fd, n, &time, NULL);
    signals--;
    errno = EINTR;
    return -1;
}

/* Nothing is there to be read, and nobody may wait for it. */
static void stdin_does_not_block_after_a_signal(void **state)
{
    (void)state;
    drive d;
    int   saved, to = pipe_to_stdin(&saved);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &line_type, .uri = "stdin:"}));
    assert_true(drive_enumerate(&d));
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    signals = 1;
    alarm(20); /* else it would read for ever */
    assert_int_equal(drive_poll(&d), WR_POLLED_IDLE);
    assert_int_equal(signals, 0);
    alarm(0);
    assert_int_equal(write(to, "one\n", 4), 4);
    close(to);
    while (drive_poll(&d) != WR_POLLED_EMPTY) {}
    assert_int_equal(d.count, 1);
    drive_close(&d);
    drive_fini(&d);
    stdin_back(saved);
}

static void stdin_waits_and_ends(void **state)
{
    (void)state;
    drive    d;
    int      saved, to = pipe_to_stdin(&saved), fd[WR_PARK_FDS_MAX];
    uint32_t fds = 0;
    int64_t  until;
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &line_type, .uri = "stdin:"}));
    assert_true(drive_enumerate(&d));
    assert_int_equal(d.enumerator.count, 1);
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    assert_int_equal(drive_poll(&d), WR_POLLED_IDLE); /* nothing there: does not block */
    wr_source_waits(&d.op, fd, &fds, &until);
    assert_int_equal(fds, 1);
    assert_int_equal(fd[0], STDIN_FILENO);
    assert_int_equal(write(to, "one\ntwo\nthr", 11), 11);
    while (drive_poll(&d) != WR_POLLED_IDLE) {}
    assert_int_equal(d.count, 2);
    assert_int_equal(write(to, "ee\r\nfour", 8), 8);
    while (drive_poll(&d) != WR_POLLED_IDLE) {}
    assert_int_equal(d.count, 3);
    close(to);
    while (drive_poll(&d) != WR_POLLED_EMPTY) {}
    assert_int_equal(d.count, 4);
    const line *l = (const line *)(const void *)d.records;
    assert_str(&l[2].text, "three");
    assert_str(&l[3].text, "four");
    drive_close(&d);
    drive_fini(&d);
    stdin_back(saved);
}

typedef struct pair {
    int32_t  n;
    weir_str s;
} pair;
static const weir_field pair_fields[] = {FIELD(pair, n, WEIR_I32), FIELD(pair, s, WEIR_STR)};
static const weir_type  pair_type = TYPE(pair, pair_fields);

static void stdin_reads_csv_with_a_header(void **state)
{
    (void)state;
    drive d;
    int   saved, to = pipe_to_stdin(&saved);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &pair_type, .uri = "stdin:?header=true", .format = "csv"}));
    assert_true(drive_enumerate(&d));
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    const char *text = "s,n\nabc,1\nd,x\n";
    for (size_t i = 0; text[i] != 0 && !wr_op_failed(&d.op); i++) { /* byte by byte */
        assert_int_equal(write(to, text + i, 1), 1);
        while (drive_poll(&d) != WR_POLLED_IDLE && !wr_op_failed(&d.op)) {}
    }
    assert_int_equal(d.count, 1);
    assert_contains(d.op.failure.text, "field n: 'x' is not a whole number; operator it, standard input:3;");
    close(to);
    drive_close(&d);
    drive_fini(&d);
    stdin_back(saved);
}

/* Longer than what is read at once. */
static void stdin_reads_a_long_header(void **state)
{
    (void)state;
    enum { NAME = 20000 };
    drive d;
    int   saved, to = pipe_to_stdin(&saved);
    char *fields = malloc(NAME + 8);
    memset(fields, 'n', NAME + 2);
    memcpy(fields, "s=", 2);
    fields[NAME + 2] = 0;
    wr_endpoint_spec spec = {.type = &pair_type, .uri = "stdin:?header=true", .format = "csv", .fields = fields};
    assert_true(drive_init(&d, spec));
    assert_true(drive_enumerate(&d));
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    assert_int_equal(write(to, "n,", 2), 2);
    assert_int_equal(write(to, fields + 2, NAME), NAME);
    while (drive_poll(&d) != WR_POLLED_IDLE && !wr_op_failed(&d.op)) {}
    assert_int_equal(write(to, "\n1,abc\n", 7), 7);
    close(to);
    while (!wr_op_failed(&d.op) && drive_poll(&d) != WR_POLLED_EMPTY) {}
    if (wr_op_failed(&d.op)) fail_msg("%.100s", d.op.failure.text);
    assert_int_equal(d.count, 1);
    assert_str(&((const pair *)(const void *)d.records)[0].s, "abc");
    drive_close(&d);
    drive_fini(&d);
    stdin_back(saved);
    free(fields);
}

static void wake_me(void *arg)
{
    ++*(int *)arg;
}

static void tests_push(void **state)
{
    (void)state;
    drive          d;
    int            woken = 0;
    char           text[64];
    wr_test_queue *queue = wr_test_queue_new("it", &pair_type);
    assert_non_null(queue);
    assert_null(wr_test_queue_new("it", &pair_type));
    wr_test_queue_on_push(queue, wake_me, &woken);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &pair_type, .uri = "test:"}));
    assert_true(drive_enumerate(&d));
    assert_true(drive_open(&d));
    wr_source_add(&d.op, d.enumerator.split[0]);
    assert_int_equal(drive_poll(&d), WR_POLLED_IDLE);
    for (int i = 0; i < 1000; i++) {
        int  n = snprintf(text, sizeof text, "number %d of a thousand", i);
        pair p = {.n = i, .s = weir_str_of(text, (size_t)n)};
        wr_test_queue_push(queue, &p);
        memset(text, '?', sizeof text); /* the queue has a copy */
        if (i == 255 || i == 256 || i == 700)
            while (drive_poll(&d) != WR_POLLED_IDLE) {}
        if (i == 700) assert_int_equal(d.count, 701);
    }
    wr_test_queue_end(queue);
    assert_int_equal(woken, 1001);
    while (drive_poll(&d) != WR_POLLED_EMPTY) {}
    assert_int_equal(d.count, 1000);
    drive_close(&d);
    for (uint64_t from = 0; from <= 1000; from += 125) { /* set back, it reads again from there */
        char split[64];
        memcpy(split, d.enumerator.split[0], d.node.op->state->size);
        memcpy(split + sizeof(weir_str), &from, sizeof from);
        d.count = 0;
        assert_true(drive_read(&d, split));
        assert_int_equal(d.count, 1000 - from);
        if (from < 1000) assert_int_equal(((pair *)(void *)d.records)[0].n, from);
    }
    snprintf(text, sizeof text, "number %d of a thousand", 999);
    d.count = 0;
    assert_true(drive_read(&d, d.enumerator.split[0]));
    assert_str(&((pair *)(void *)d.records)[999].s, text);
    drive_fini(&d);
    wr_test_queue_free(queue);
    assert_true(drive_init(&d, (wr_endpoint_spec){.type = &pair_type, .uri = "test:"}));
    assert_false(drive_all(&d));
    assert_contains(d.op.failure.text, "no test pushes into it");
    drive_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generator_is_the_same_in_every_run),
        cmocka_unit_test(generator_goes_on_where_it_was),
        cmocka_unit_test(generator_keeps_its_rate),
        cmocka_unit_test(generator_options_are_checked),
        cmocka_unit_test(stdin_does_not_block_after_a_signal),
        cmocka_unit_test(stdin_waits_and_ends),
        cmocka_unit_test(stdin_reads_csv_with_a_header),
        cmocka_unit_test(stdin_reads_a_long_header),
        cmocka_unit_test(tests_push),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
