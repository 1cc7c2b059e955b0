/* Data connections from both ends: proof, patience, and what strangers send to the data port. */
#include "base/log.h"
#include "net/dial.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { JOB = 77, ATTEMPT = 5 };

/* One test's ends. The clock can be moved on. */
typedef struct fixture {
    wr_env       env;
    wr_parker    parker;
    wr_acceptor *acceptor;
    wr_dialer   *dialer;
    bool         known; /* the attempt, by the acceptor */
    char         address[32];
} fixture;

static int64_t skew_ns;
static int64_t skewed(void *self)
{
    return wr_env_real()->mono_ns(self) + skew_ns;
}

static bool secret_of(void *self, uint64_t job, uint32_t attempt, uint8_t secret[32])
{
    fixture *f = self;
    memset(secret, 0x5a, 32);
    return f->known && job == JOB && attempt == ATTEMPT;
}

static void listen_at(fixture *f, const char *address)
{
    wr_acceptor_config config = {.env = &f->env, .listen = address, .secret = secret_of, .self = f};
    assert_int_equal(wr_acceptor_new(&f->acceptor, &config, NULL), WR_OK);
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", wr_acceptor_port(f->acceptor));
}

static void begin(fixture *f, uint8_t secret_byte)
{
    uint8_t secret[32];
    *f = (fixture){.env = *wr_env_real(), .known = true};
    f->env.mono_ns = skewed;
    memset(secret, secret_byte, sizeof secret);
    assert_int_equal(f->env.parker_init(f->env.self, &f->parker), 0);
    assert_int_equal(wr_dialer_new(&f->dialer, &f->env, secret, NULL), WR_OK);
    listen_at(f, "127.0.0.1:0");
}

static void finish(fixture *f)
{
    wr_acceptor_free(f->acceptor);
    wr_dialer_free(f->dialer);
    f->env.parker_fini(f->env.self, &f->parker);
}

/* Steps both until something may have happened. */
static void turn(fixture *f)
{
    int      fd[2];
    uint32_t n = 0;
    int64_t  due = wr_dialer_due_ns(f->dialer), now;
    fd[n++] = wr_dialer_fd(f->dialer);
    if (f->acceptor != NULL) {
        int64_t other = wr_acceptor_due_ns(f->acceptor);
        fd[n++] = wr_acceptor_fd(f->acceptor);
        if (other < due) due = other;
    }
    now = skewed(NULL);
    if (due > now + 1000000000) due = now + 1000000000;
    wr_parker_prepare(&f->parker);
    f->env.park_fds(f->env.self, &f->parker, due > now ? due - now : 0, fd, n);
    wr_dialer_step(f->dialer);
    if (f->acceptor != NULL) wr_acceptor_step(f->acceptor);
}

static void dial(fixture *f, const char *address, uint32_t slot, int64_t wait_ms)
{
    wr_data_hello hello = {.job = JOB, .attempt = ATTEMPT, .from_slot = slot, .to_slot = slot + 1};
    int64_t       deadline = skewed(NULL) + wait_ms * 1000000;
    assert_int_equal(wr_dialer_dial(f->dialer, address, &hello, 1000 + slot, deadline, NULL), WR_OK);
}

static wr_acceptor_stats stats_of(fixture *f)
{
    wr_acceptor_stats stats;
    wr_acceptor_stats_of(f->acceptor, &stats);
    return stats;
}

static void exchange(fixture *f, int a, int b)
{
    const wr_env *e = &f->env;
    char          byte = 'x';
    int64_t       n;
    assert_int_equal(e->send(e->self, a, &(wr_span){&byte, 1}, 1), 1);
    byte = 0;
    while ((n = e->receive(e->self, b, &(wr_span){&byte, 1}, 1)) == -EAGAIN) {}
    assert_int_equal(n, 1);
    assert_int_equal(byte, 'x');
}

static void connections_are_proved(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    fixture       f;
    int           dialed[COUNT], accepted[COUNT];
    uint32_t      through = 0, in = 0;
    wr_data_hello hello;
    begin(&f, 0x5a);
    for (uint32_t i = 0; i < COUNT; i++) dial(&f, f.address, i, 20000);
    while (through < COUNT || in < COUNT) {
        uint64_t   tag;
        int        s;
        wr_errinfo info = {0};
        turn(&f);
        while (wr_dialer_take(f.dialer, &tag, &s, &info)) {
            assert_true(s >= 0);
            dialed[tag - 1000] = s;
            through++;
        }
        while (wr_acceptor_take(f.acceptor, &s, &hello)) {
            assert_int_equal(hello.job, JOB);
            assert_int_equal(hello.attempt, ATTEMPT);
            assert_int_equal(hello.to_slot, hello.from_slot + 1);
            accepted[hello.from_slot] = s;
            in++;
        }
    }
    wr_acceptor_stats stats = stats_of(&f);
    assert_int_equal(stats.proved, COUNT);
    assert_int_equal(stats.half_open, 0);
    assert_int_equal(stats.garbage + stats.unproved + stats.slow + stats.refused, 0);
    assert_int_equal(wr_acceptor_due_ns(f.acceptor), INT64_MAX);
    assert_int_equal(wr_dialer_due_ns(f.dialer), INT64_MAX);
    for (uint32_t i = 0; i < COUNT; i++) { /* not a byte more was read than the hello, and both directions work */
        exchange(&f, dialed[i], accepted[i]);
        exchange(&f, accepted[i], dialed[i]);
        f.env.hang_up(f.env.self, dialed[i]);
        f.env.hang_up(f.env.self, accepted[i]);
    }
    finish(&f);
}

/* The other TaskManager is not there yet: the dialer tries until it is. */
static void dialer_is_patient(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      tag;
    int           a = -1, b = -1;
    wr_data_hello hello;
    begin(&f, 0x5a);
    char address[32];
    snprintf(address, sizeof address, "%s", f.address);
    wr_acceptor_free(f.acceptor);
    f.acceptor = NULL;
    dial(&f, address, 1, 60000);
    for (uint32_t i = 0; i < 5; i++) turn(&f);
    assert_false(wr_dialer_take(f.dialer, &tag, &a, NULL));
    listen_at(&f, address);
    while (!wr_dialer_take(f.dialer, &tag, &a, NULL)) turn(&f);
    while (!wr_acceptor_take(f.acceptor, &b, &hello)) turn(&f);
    assert_true(a >= 0 && b >= 0);
    f.env.hang_up(f.env.self, a);
    f.env.hang_up(f.env.self, b);
    finish(&f);
}

static void dialer_gives_up(void **state)
{
    (void)state;
    fixture    f;
    uint64_t   tag;
    int        s = 0;
    wr_errinfo info = {0};
    begin(&f, 0x5a);
    char address[32];
    snprintf(address, sizeof address, "%s", f.address);
    wr_acceptor_free(f.acceptor);
    f.acceptor = NULL;
    dial(&f, address, 1, 300);
    while (!wr_dialer_take(f.dialer, &tag, &s, &info)) turn(&f);
    assert_int_equal(s, -1);
    assert_int_equal(tag, 1001);
    assert_int_equal(info.code, WR_UNREACHABLE);
    assert_non_null(strstr(info.text, address));
    assert_non_null(strstr(info.text, "refused"));
    /* What can never work is told at once. */
    info = (wr_errinfo){0};
    dial(&f, "nonsense", 2, 3600000);
    assert_true(wr_dialer_take(f.dialer, &tag, &s, &info));
    assert_non_null(strstr(info.text, "HOST:PORT"));
    finish(&f);
}

/* Somebody accepts and then says nothing: that, too, ends at the deadline. */
static void silent_listener(void **state)
{
    (void)state;
    fixture    f;
    uint64_t   tag;
    int        s = 0;
    wr_errinfo info = {0};
    begin(&f, 0x5a);
    int  mute = f.env.listen(f.env.self, "127.0.0.1:0");
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", f.env.port_of(f.env.self, mute));
    dial(&f, address, 1, 30000);
    turn(&f);
    assert_false(wr_dialer_take(f.dialer, &tag, &s, &info));
    skew_ns += 6000000000; /* this try is given up, another one begins */
    turn(&f);
    assert_false(wr_dialer_take(f.dialer, &tag, &s, &info));
    skew_ns += 30000000000;
    while (!wr_dialer_take(f.dialer, &tag, &s, &info)) turn(&f);
    assert_int_equal(s, -1);
    assert_int_equal(info.code, WR_UNREACHABLE);
    f.env.hang_up(f.env.self, mute);
    finish(&f);
}

static void wrong_secret_is_turned_away(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      tag;
    int           s;
    wr_data_hello hello;
    begin(&f, 0x5b);
    dial(&f, f.address, 1, 20000);
    while (stats_of(&f).unproved == 0) turn(&f);
    assert_false(wr_acceptor_take(f.acceptor, &s, &hello));
    assert_int_equal(stats_of(&f).half_open, 0);
    /* The dialer was through; then the connection ends. */
    while (!wr_dialer_take(f.dialer, &tag, &s, NULL)) turn(&f);
    assert_true(s >= 0);
    char    byte;
    int64_t n;
    while ((n = f.env.receive(f.env.self, s, &(wr_span){&byte, 1}, 1)) == -EAGAIN) {}
    assert_true(n <= 0);
    f.env.hang_up(f.env.self, s);
    finish(&f);
}

/* The dialer's TaskManager has heard of the attempt earlier than ours. */
static void attempt_becomes_known(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      tag;
    int           a, b;
    wr_data_hello hello;
    begin(&f, 0x5a);
    f.known = false;
    dial(&f, f.address, 1, 20000);
    while (!wr_dialer_take(f.dialer, &tag, &a, NULL)) turn(&f);
    for (uint32_t i = 0; i < 10; i++) turn(&f);
    assert_false(wr_acceptor_take(f.acceptor, &b, &hello));
    assert_int_equal(stats_of(&f).half_open, 1);
    f.known = true;
    while (!wr_acceptor_take(f.acceptor, &b, &hello)) turn(&f);
    exchange(&f, a, b);
    f.env.hang_up(f.env.self, a);
    f.env.hang_up(f.env.self, b);
    /* And one that never does. */
    f.known = false;
    dial(&f, f.address, 2, 20000);
    while (!wr_dialer_take(f.dialer, &tag, &a, NULL)) turn(&f);
    for (uint32_t i = 0; i < 5; i++) turn(&f);
    skew_ns += 6000000000;
    while (stats_of(&f).unproved == 0) turn(&f);
    assert_int_equal(stats_of(&f).half_open, 0);
    f.env.hang_up(f.env.self, a);
    finish(&f);
}

static int stranger(fixture *f)
{
    const wr_env *e = &f->env;
    int           s = e->connect(e->self, f->address);
    assert_true(s >= 0);
    while (e->connected(e->self, s) == -EAGAIN) {}
    assert_int_equal(e->connected(e->self, s), 0);
    return s;
}

static void garbage_is_closed_and_counted(void **state)
{
    (void)state;
    fixture  f;
    uint8_t  bytes[WR_HELLO_BYTES];
    uint64_t bits = 1;
    begin(&f, 0x5a);
    const wr_env *e = &f.env;
    enum { ROUNDS = 200 };
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t before = stats_of(&f).garbage + stats_of(&f).unproved;
        int      s = stranger(&f);
        for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)((bits = bits * 6364136223846793005u + 99) >> 56);
        if (i % 3 == 0) { /* a right beginning */
            wr_data_hello hello = {.job = JOB, .attempt = ATTEMPT, .to_slot = 1};
            wr_data_hello_put(&hello, bytes);
        }
        size_t n = i % 5 == 4 ? i % sizeof bytes : sizeof bytes;
        if (n > 0) assert_int_equal(e->send(e->self, s, &(wr_span){bytes, n}, 1), n);
        if (n < sizeof bytes) {
            e->hang_up(e->self, s);
            s = -1;
        }
        while (stats_of(&f).garbage + stats_of(&f).unproved == before) turn(&f);
        if (s >= 0) e->hang_up(e->self, s);
    }
    assert_int_equal(stats_of(&f).accepted, ROUNDS);
    assert_int_equal(stats_of(&f).proved, 0);
    assert_int_equal(stats_of(&f).half_open, 0);
    assert_true(stats_of(&f).unproved > 0);
    finish(&f);
}

/* A thousand that say nothing, some of them a byte now and then: they hold nobody up, and go. */
static void thousand_half_open(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    fixture       f;
    struct rlimit limit;
    int           s[COUNT], a, b;
    uint64_t      tag;
    wr_data_hello hello;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    begin(&f, 0x5a);
    const wr_env *e = &f.env;
    for (uint32_t i = 0; i < COUNT; i++) {
        s[i] = stranger(&f);
        if (i % 3 == 0) assert_int_equal(e->send(e->self, s[i], &(wr_span){"W", 1}, 1), 1);
        if (i % 40 == 0) turn(&f);
    }
    dial(&f, f.address, 1, 20000);
    while (!wr_dialer_take(f.dialer, &tag, &a, NULL)) turn(&f);
    while (!wr_acceptor_take(f.acceptor, &b, &hello)) turn(&f);
    assert_true(a >= 0);
    exchange(&f, a, b);
    e->hang_up(e->self, a);
    e->hang_up(e->self, b);
    while (stats_of(&f).accepted < COUNT + 1) turn(&f);
    assert_true(stats_of(&f).half_open <= WR_HALF_OPEN_MAX);
    assert_true(stats_of(&f).refused >= COUNT - WR_HALF_OPEN_MAX);
    skew_ns += 6000000000;
    while (stats_of(&f).half_open > 0) turn(&f);
    assert_int_equal(stats_of(&f).slow + stats_of(&f).refused, COUNT);
    assert_int_equal(wr_acceptor_due_ns(f.acceptor), INT64_MAX);
    for (uint32_t i = 0; i < COUNT; i++) e->hang_up(e->self, s[i]);
    finish(&f);
}

/* No descriptors are left: it rests, does not spin, and goes on when there are some. */
static void no_descriptors_left(void **state)
{
    (void)state;
    fixture       f;
    struct rlimit old, limit;
    uint64_t      tag;
    int           a, b;
    wr_data_hello hello;
    begin(&f, 0x5a);
    int guard = stranger(&f); /* its number is the highest now */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;
    limit.rlim_cur = (rlim_t)guard + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    wr_acceptor_step(f.acceptor);
    assert_int_equal(stats_of(&f).accepted, 0);
    int64_t due = wr_acceptor_due_ns(f.acceptor), now = skewed(NULL);
    assert_true(due > now && due < now + 1000000000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    f.env.hang_up(f.env.self, guard);
    dial(&f, f.address, 1, 20000);
    while (!wr_dialer_take(f.dialer, &tag, &a, NULL)) turn(&f);
    while (!wr_acceptor_take(f.acceptor, &b, &hello)) turn(&f);
    f.env.hang_up(f.env.self, a);
    f.env.hang_up(f.env.self, b);
    finish(&f);
}

static void wrong_listeners(void **state)
{
    (void)state;
    fixture      f;
    wr_acceptor *other;
    wr_errinfo   info = {0};
    begin(&f, 0x5a);
    wr_acceptor_config config = {.env = &f.env, .listen = f.address, .secret = secret_of, .self = &f};
    assert_int_equal(wr_acceptor_new(&other, &config, &info), WR_BUSY);
    info = (wr_errinfo){0};
    config.listen = "here";
    assert_int_equal(wr_acceptor_new(&other, &config, &info), WR_CONFIG);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_proved),
        cmocka_unit_test(dialer_is_patient),
        cmocka_unit_test(dialer_gives_up),
        cmocka_unit_test(silent_listener),
        cmocka_unit_test(wrong_secret_is_turned_away),
        cmocka_unit_test(attempt_becomes_known),
        cmocka_unit_test(garbage_is_closed_and_counted),
        cmocka_unit_test(thousand_half_open),
        cmocka_unit_test(no_descriptors_left),
        cmocka_unit_test(wrong_listeners),
    };
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
