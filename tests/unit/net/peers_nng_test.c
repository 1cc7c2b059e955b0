/* Control connections over nng, real sockets of this machine: greeting, messages, and what strangers send. */
#include "base/log.h"
#include "net/peers_nng.h"
#include "wire/control.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define TOKEN "0123456789abcdef0123456789abcdef"

/* One test's tables: a JobManager's and somebody's who dials, each with its parker. The clock can be moved on. */
typedef struct fixture {
    wr_env        env;
    wr_parker     jm_parker, tm_parker;
    wr_peers_nng *jm_nng, *tm_nng;
    wr_peers     *jm, *tm;
    uint64_t      leader;
} fixture;

static int64_t skew_ns;
static int64_t skewed(void *self)
{
    return wr_env_real()->mono_ns(self) + skew_ns;
}

static void begin_with(fixture *f, const char *token, uint32_t role)
{
    *f = (fixture){.env = *wr_env_real(), .leader = 9};
    f->env.mono_ns = skewed;
    assert_int_equal(f->env.parker_init(f->env.self, &f->jm_parker), 0);
    assert_int_equal(f->env.parker_init(f->env.self, &f->tm_parker), 0);
    wr_peers_nng_config jm = {
        .env = &f->env, .parker = &f->jm_parker, .listen = "127.0.0.1:0", .token = TOKEN, .leader = &f->leader};
    wr_peers_nng_config tm = {.env = &f->env, .parker = &f->tm_parker, .token = token, .role = role};
    assert_int_equal(wr_peers_nng_new(&f->jm_nng, &jm, NULL), WR_OK);
    assert_int_equal(wr_peers_nng_new(&f->tm_nng, &tm, NULL), WR_OK);
    f->jm = wr_peers_nng_table(f->jm_nng);
    f->tm = wr_peers_nng_table(f->tm_nng);
}

static void begin(fixture *f)
{
    begin_with(f, TOKEN, WR_ROLE_TASKMANAGER);
}

static void finish(fixture *f)
{
    wr_peers_nng_free(f->tm_nng);
    wr_peers_nng_free(f->jm_nng);
    f->env.parker_fini(f->env.self, &f->jm_parker);
    f->env.parker_fini(f->env.self, &f->tm_parker);
}

/* Waits for one side's next event. The other side's events of these tests wait meanwhile. */
static void wait_next(fixture *f, wr_peers *t, wr_peer_event *event)
{
    wr_parker *parker = t == f->jm ? &f->jm_parker : &f->tm_parker;
    int64_t    until = wr_env_real()->mono_ns(NULL) + 20000000000;
    for (;;) {
        wr_parker_prepare(parker);
        if (t->next(t->self, event)) break;
        assert_true(wr_env_real()->mono_ns(NULL) < until);
        f->env.park(f->env.self, parker, 1000000000);
    }
    wr_parker_cancel(parker);
}

/* Steps both sides until one of them has an event; true: it is the JobManager's. */
static bool wait_either(fixture *f, wr_peer_event *event)
{
    int64_t until = wr_env_real()->mono_ns(NULL) + 20000000000;
    for (;;) {
        wr_parker_prepare(&f->jm_parker);
        if (f->jm->next(f->jm->self, event)) return true;
        if (f->tm->next(f->tm->self, event)) return false;
        assert_true(wr_env_real()->mono_ns(NULL) < until);
        int other = f->tm_parker.fd;
        wr_parker_prepare(&f->tm_parker);
        if (f->tm->next(f->tm->self, event)) return false;
        f->env.park_fds(f->env.self, &f->jm_parker, 100000000, &other, 1);
        f->env.park(f->env.self, &f->tm_parker, 0); /* away with what woke it */
    }
}

static void join(fixture *f, uint64_t *at_tm, uint64_t *at_jm)
{
    wr_peer_event event;
    uint32_t      opened = 0;
    *at_tm = f->tm->dial(f->tm->self, wr_peers_nng_address(f->jm_nng));
    assert_true(*at_tm != 0);
    while (opened < 2) {
        bool jm = wait_either(f, &event);
        assert_int_equal(event.kind, WR_PEER_OPENED);
        assert_int_equal(event.dialed, !jm);
        if (jm)
            *at_jm = event.peer;
        else
            assert_int_equal(event.peer, *at_tm);
        if (jm) assert_int_equal(event.role, WR_ROLE_TASKMANAGER);
        opened++;
    }
}

static size_t size_of(uint32_t i)
{
    static const size_t SIZES[] = {1, 2, 3, 5, 17, 4096, 16380, 16381, 65533, 300000};
    return SIZES[i % (sizeof SIZES / sizeof SIZES[0])];
}

static char *message(uint32_t i, size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t k = 0; k < n; k++) bytes[k] = (char)(i * 7 + k * 13);
    return bytes;
}

static void expect_message(const wr_peer_event *event, uint64_t peer, uint32_t i, size_t n)
{
    assert_int_equal(event->kind, WR_PEER_MESSAGE);
    assert_int_equal(event->peer, peer);
    assert_int_equal(event->n, n);
    char *same = message(i, n);
    assert_memory_equal(event->bytes, same, n);
    free(same);
    free(event->bytes);
}

static wr_peers_stats stats_of(wr_peers *t)
{
    wr_peers_stats stats;
    t->stats(t->self, &stats);
    return stats;
}

static void messages_keep_their_order(void **state)
{
    (void)state;
    fixture  f;
    uint64_t jm, tm; /* as the other side knows it */
    enum { COUNT = 300 };
    begin(&f);
    join(&f, &jm, &tm);
    assert_int_equal(stats_of(f.jm).open, 1);
    assert_int_equal(stats_of(f.jm).half_open, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        f.tm->send(f.tm->self, jm, message(i, size_of(i)), size_of(i));
        f.jm->send(f.jm->self, tm, message(i + 1, size_of(i + 1)), size_of(i + 1));
    }
    for (uint32_t up = 0, down = 0; up < COUNT || down < COUNT;) {
        wr_peer_event event;
        if (wait_either(&f, &event)) {
            expect_message(&event, tm, up, size_of(up));
            up++;
        } else {
            expect_message(&event, jm, down + 1, size_of(down + 1));
            down++;
        }
    }
    f.jm->send(f.jm->self, 12345, message(0, 1), 1); /* nobody: nothing happens */
    finish(&f);
}

static void large_message(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      jm, tm;
    wr_peer_event event;
    begin(&f);
    join(&f, &jm, &tm);
    f.tm->send(f.tm->self, jm, message(3, WR_MESSAGE_BYTES_MAX), WR_MESSAGE_BYTES_MAX);
    assert_true(wait_either(&f, &event));
    expect_message(&event, tm, 3, WR_MESSAGE_BYTES_MAX);
    finish(&f);
}

/* What is sent before the greeting is over goes out behind it; what was sent before a close arrives before it. */
static void early_and_late_words(void **state)
{
    (void)state;
    fixture       f;
    wr_peer_event event;
    begin(&f);
    uint64_t jm = f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng)), tm = 0;
    for (uint32_t i = 0; i < 40; i++) f.tm->send(f.tm->self, jm, message(i, size_of(i)), size_of(i));
    bool closed = false;
    for (uint32_t i = 0; i < 40;) {
        bool at_jm = wait_either(&f, &event);
        if (event.kind == WR_PEER_OPENED && !at_jm) {
            f.tm->close(f.tm->self, jm);
            f.tm->send(f.tm->self, jm, message(0, 1), 1);
            closed = true;
        } else if (event.kind == WR_PEER_OPENED) {
            tm = event.peer;
        } else {
            assert_true(at_jm);
            expect_message(&event, tm, i, size_of(i));
            i++;
        }
    }
    assert_true(closed);
    assert_true(wait_either(&f, &event)); /* never an event of the one that was closed */
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.peer, tm);
    assert_int_equal(stats_of(f.jm).open, 0);
    assert_int_equal(stats_of(f.tm).open, 0);
    finish(&f);
}

static void free_table(void *table)
{
    wr_peers_nng_free(table);
}

/* A client that says one thing and ends at once. */
static void last_word_of_a_process(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      jm, tm;
    wr_peer_event event;
    begin(&f);
    join(&f, &jm, &tm);
    f.tm->send(f.tm->self, jm, message(1, 3000000), 3000000);
    f.tm->close(f.tm->self, jm);
    wr_thread *end; /* free waits until it is out */
    assert_int_equal(f.env.thread_start(f.env.self, &end, free_table, f.tm_nng, "end", -1), 0);
    wait_next(&f, f.jm, &event);
    expect_message(&event, tm, 1, 3000000);
    wait_next(&f, f.jm, &event);
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    f.env.thread_join(f.env.self, end);
    f.tm_nng = NULL;
    finish(&f);
}

static void lost_peers_are_told(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      jm, tm;
    wr_peer_event event;
    begin(&f);
    join(&f, &jm, &tm);
    wr_peers_nng_free(f.tm_nng);
    f.tm_nng = NULL;
    wait_next(&f, f.jm, &event);
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.peer, tm);
    assert_false(event.dialed);
    finish(&f);
}

static void dials_that_fail(void **state)
{
    (void)state;
    fixture       f;
    wr_peer_event event;
    begin(&f);
    char address[64];
    snprintf(address, sizeof address, "%s", wr_peers_nng_address(f.jm_nng));
    wr_peers_nng_free(f.jm_nng);
    f.jm_nng = NULL;
    static const struct {
        const char *address;
        wr_err      code;
    } CASES[] = {{NULL, WR_UNREACHABLE}, {"nonsense", WR_CONFIG}, {"127.0.0.1:0", WR_CONFIG}, {"a/b:7", WR_CONFIG}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *to = CASES[i].address != NULL ? CASES[i].address : address;
        uint64_t    number = f.tm->dial(f.tm->self, to);
        wait_next(&f, f.tm, &event);
        assert_int_equal(event.kind, WR_PEER_CLOSED);
        assert_int_equal(event.peer, number);
        assert_true(event.dialed);
        assert_int_equal(event.info.code, CASES[i].code);
        assert_non_null(strstr(event.info.text, to));
    }
    /* One that is given up on the way tells nothing. */
    uint64_t number = f.tm->dial(f.tm->self, address);
    f.tm->close(f.tm->self, number);
    assert_false(f.tm->next(f.tm->self, &event));
    finish(&f);
}

static void wrong_token(void **state)
{
    (void)state;
    fixture       f;
    wr_peer_event event;
    begin_with(&f, "another-token-altogether", WR_ROLE_CLIENT);
    f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng));
    assert_false(wait_either(&f, &event)); /* the JobManager has no event of it */
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.info.code, WR_PERMISSION);
    assert_non_null(strstr(event.info.text, "token"));
    assert_int_equal(stats_of(f.jm).wrong_token, 1);
    assert_int_equal(stats_of(f.jm).half_open + stats_of(f.jm).open, 0);
    finish(&f);
}

static void unknown_role(void **state)
{
    (void)state;
    fixture       f;
    wr_peer_event event;
    begin_with(&f, TOKEN, 7);
    f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng));
    assert_false(wait_either(&f, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(stats_of(f.jm).garbage, 1);
    finish(&f);
}

/* ---- strangers: plain sockets ---- */

static int stranger(fixture *f)
{
    const wr_env *e = &f->env;
    int           s = e->connect(e->self, wr_peers_nng_address(f->jm_nng));
    wr_peer_event event;
    assert_true(s >= 0);
    while (e->connected(e->self, s) == -EAGAIN) { /* the system's queue of callers may be full */
        wr_parker_prepare(&f->jm_parker);
        assert_false(f->jm->next(f->jm->self, &event));
        f->env.park(f->env.self, &f->jm_parker, 1000000);
    }
    return s;
}

static void say(fixture *f, int s, const void *bytes, size_t n)
{
    assert_int_equal(f->env.send(f->env.self, s, &(wr_span){(void *)(uintptr_t)bytes, n}, 1), n);
}

/* Reads until the JobManager hangs up. */
static void until_hung_up(fixture *f, int s)
{
    char          bytes[4096];
    wr_peer_event event;
    int64_t       n, until = wr_env_real()->mono_ns(NULL) + 20000000000;
    while ((n = f->env.receive(f->env.self, s, &(wr_span){bytes, sizeof bytes}, 1)) == -EAGAIN || n > 0) {
        assert_false(f->jm->next(f->jm->self, &event));
        assert_true(wr_env_real()->mono_ns(NULL) < until);
        wr_parker_prepare(&f->jm_parker);
        f->env.park(f->env.self, &f->jm_parker, 1000000);
    }
    f->env.hang_up(f->env.self, s);
}

/* A neighbour's connection works before, meanwhile and after. */
static void expect_neighbour(fixture *f, uint64_t jm, uint64_t tm, uint32_t i)
{
    wr_peer_event event;
    f->tm->send(f->tm->self, jm, message(i, 50), 50);
    assert_true(wait_either(f, &event));
    expect_message(&event, tm, i, 50);
}

static void garbage_is_closed_and_counted(void **state)
{
    (void)state;
    fixture  f;
    uint64_t jm, tm, bits = 5;
    begin(&f);
    join(&f, &jm, &tm);
    enum { ROUNDS = 100 };
    uint8_t bytes[600];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        int s = stranger(&f);
        for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)((bits = bits * 6364136223846793005u + 99) >> 56);
        if (i % 2 == 0) memcpy(bytes, "\x54\2\0\0", 4); /* a head that is fine, 596 bytes of nonsense behind it */
        if (i % 10 == 3) memcpy(bytes, "GET / HTTP/1.1\r\n\r\n", 18);
        say(&f, s, bytes, sizeof bytes);
        until_hung_up(&f, s);
    }
    assert_int_equal(stats_of(f.jm).garbage, ROUNDS);
    assert_int_equal(stats_of(f.jm).half_open, 0);
    assert_int_equal(stats_of(f.jm).open, 1);
    expect_neighbour(&f, jm, tm, 4);
    finish(&f);
}

/* Right messages at the wrong time, and of versions that nobody has yet. */
static void greetings_that_are_refused(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    static const struct {
        uint32_t kind, protocol, protocol_min;
        uint32_t wrong_version, wrong_token, garbage;
    } CASES[] = {
        {WR_MSG_HELLO, 9, 9, 1, 0, 0},   {WR_MSG_HELLO, 0, 0, 1, 0, 0},     {WR_MSG_HELLO, 9, 1, 0, 1, 0},
        {WR_MSG_WELCOME, 1, 1, 0, 0, 1}, {WR_MSG_CHALLENGE, 1, 1, 0, 0, 1}, {WR_MSG_HEARTBEAT, 0, 0, 0, 0, 1},
        {WR_MSG_REQUEST, 0, 0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        wr_peers_stats before = stats_of(f.jm);
        wr_message     m = {.kind = CASES[i].kind};
        if (m.kind <= WR_MSG_WELCOME)
            m.greeting = (wr_greeting){.protocol = CASES[i].protocol,
                                       .protocol_min = CASES[i].protocol_min,
                                       .role = WR_ROLE_CLIENT,
                                       .weir = "test"};
        if (m.kind == WR_MSG_REQUEST) m.ask = (wr_request){.verb = "list", .job = "", .path = ""};
        char  *bytes;
        size_t n;
        assert_int_equal(wr_message_encode(&m, &bytes, &n, NULL), WR_OK);
        uint8_t head[4] = {(uint8_t)n, (uint8_t)(n >> 8)};
        int     s = stranger(&f);
        say(&f, s, head, 4);
        say(&f, s, bytes, n);
        free(bytes);
        until_hung_up(&f, s);
        wr_peers_stats after = stats_of(f.jm);
        assert_int_equal(after.wrong_version - before.wrong_version, CASES[i].wrong_version);
        assert_int_equal(after.wrong_token - before.wrong_token, CASES[i].wrong_token);
        assert_int_equal(after.garbage - before.garbage, CASES[i].garbage);
        assert_int_equal(after.half_open + after.open, 0);
    }
    finish(&f);
}

/* A dialer that meets something else: garbage, a later version, one that does not know the token. */
static void listeners_that_are_none(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    const wr_env *e = &f.env;
    static const struct {
        uint32_t kind, protocol, protocol_min;
        wr_err   code;
    } CASES[] = {{0, 0, 0, WR_UNREACHABLE},
                 {WR_MSG_CHALLENGE, 9, 8, WR_NEWER},
                 {WR_MSG_WELCOME, 1, 1, WR_UNREACHABLE},
                 {WR_MSG_CHALLENGE, 1, 1, WR_PERMISSION}};
    int  listener = e->listen(e->self, "127.0.0.1:0");
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", e->port_of(e->self, listener));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        wr_peer_event event;
        f.tm->dial(f.tm->self, address);
        int s;
        while ((s = e->accept(e->self, listener)) == -EAGAIN) (void)f.tm->next(f.tm->self, &event);
        for (uint32_t kind = CASES[i].kind; kind <= WR_MSG_WELCOME; kind += 2) {
            wr_message m = {.kind = kind};
            char      *bytes = NULL;
            size_t     n = 5;
            m.greeting = (wr_greeting){
                .protocol = CASES[i].protocol, .protocol_min = CASES[i].protocol_min, .weir = "\33[31m\n9.9"};
            if (kind != 0) assert_int_equal(wr_message_encode(&m, &bytes, &n, NULL), WR_OK);
            uint8_t head[4] = {(uint8_t)n};
            say(&f, s, head, 4);
            say(&f, s, kind != 0 ? bytes : "hello", n);
            free(bytes);
            if (CASES[i].code != WR_PERMISSION) break; /* the last one also says a WELCOME */
        }
        wait_next(&f, f.tm, &event);
        assert_int_equal(event.kind, WR_PEER_CLOSED);
        assert_int_equal(event.info.code, CASES[i].code);
        for (const char *c = event.info.text; *c != 0; c++) assert_true(*c >= ' '); /* nothing for terminals */
        e->hang_up(e->self, s);
    }
    e->hang_up(e->self, listener);
    finish(&f);
}

/* After the greeting, too, a message has a bound. */
static void oversized_message(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      jm, tm, tm2;
    wr_peer_event event;
    begin(&f);
    join(&f, &jm, &tm);
    /* A friend that knows the token and then goes wild: played by a listener of ours which the TaskManager dials. */
    wr_peers_nng_config config = {.env = &f.env, .parker = &f.tm_parker, .token = TOKEN, .role = WR_ROLE_CLIENT};
    wr_peers_nng       *wild;
    assert_int_equal(wr_peers_nng_new(&wild, &config, NULL), WR_OK);
    wr_peers *w = wr_peers_nng_table(wild);
    uint64_t  number = w->dial(w->self, wr_peers_nng_address(f.jm_nng));
    do {
        if (!w->next(w->self, &event)) event.kind = 0;
        wr_peer_event at_jm;
        if (f.jm->next(f.jm->self, &at_jm)) tm2 = at_jm.peer;
    } while (event.kind != WR_PEER_OPENED);
    char *head = malloc(4); /* the boxes put a length in front, so what is too large has to be said as raw bytes */
    memcpy(head, "\1\2\3\4", 4);
    w->send(w->self, number, head, 4);
    do wait_next(&f, f.jm, &event);
    while (event.kind == WR_PEER_OPENED);
    assert_int_equal(event.kind, WR_PEER_MESSAGE);
    free(event.bytes);
    (void)tm2;
    wr_peers_nng_free(wild);
    wait_next(&f, f.jm, &event);
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    expect_neighbour(&f, jm, tm, 1);
    finish(&f);
}

/* A thousand that say nothing, or a byte now and then: they hold nobody up, and go when their time is over. */
static void thousand_half_open(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    fixture       f;
    int           s[COUNT];
    uint64_t      jm, tm;
    wr_peer_event event;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &limit);
    begin(&f);
    for (uint32_t i = 0; i < COUNT; i++) {
        s[i] = stranger(&f);
        if (i % 3 == 0) f.env.send(f.env.self, s[i], &(wr_span){"\x20", 1}, 1); /* unless it is closed already */
        if (i % 50 == 0) assert_false(f.jm->next(f.jm->self, &event));
    }
    join(&f, &jm, &tm); /* a friend still gets through */
    expect_neighbour(&f, jm, tm, 2);
    while (stats_of(f.jm).accepted < COUNT + 1) {
        wr_parker_prepare(&f.jm_parker);
        assert_false(f.jm->next(f.jm->self, &event));
        if (stats_of(f.jm).accepted < COUNT + 1) f.env.park(f.env.self, &f.jm_parker, 10000000);
    }
    assert_true(stats_of(f.jm).half_open <= WR_HALF_OPEN_MAX);
    assert_int_equal(stats_of(f.jm).refused, COUNT - stats_of(f.jm).half_open);
    for (uint32_t i = 0; i < COUNT; i++) f.env.hang_up(f.env.self, s[i]);
    while (stats_of(f.jm).half_open > 0) {
        wr_parker_prepare(&f.jm_parker);
        assert_false(f.jm->next(f.jm->self, &event));
        if (stats_of(f.jm).half_open > 0) f.env.park(f.env.self, &f.jm_parker, 10000000);
    }
    expect_neighbour(&f, jm, tm, 3);
    finish(&f);
}

/* A byte now and then does not buy more time. */
static void slow_greeting(void **state)
{
    (void)state;
    fixture       f;
    wr_peer_event event;
    begin(&f);
    int s = stranger(&f);
    while (stats_of(f.jm).half_open == 0) assert_false(f.jm->next(f.jm->self, &event));
    skew_ns += (int64_t)(WR_GREETING_MS - 50) * 1000000; /* when its byte comes there are 50 ms left */
    say(&f, s, "\x20", 1);
    until_hung_up(&f, s);
    assert_int_equal(stats_of(f.jm).slow, 1);
    finish(&f);
}

/* No descriptors are left: it rests, and goes on when there are some. */
static void no_descriptors_left(void **state)
{
    (void)state;
    fixture       f;
    struct rlimit old, limit;
    wr_peer_event event;
    uint64_t      jm, tm;
    begin(&f);
    join(&f, &jm, &tm);
    const wr_env *e = &f.env;
    int           s = e->connect(e->self, wr_peers_nng_address(f.jm_nng));
    int           waits = e->connect(e->self, wr_peers_nng_address(f.jm_nng));
    assert_true(s >= 0 && waits >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    limit = old;
    limit.rlim_cur = 3; /* all numbers below are taken */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int third = e->connect(e->self, wr_peers_nng_address(f.jm_nng));
    assert_true(third < 0);
    expect_neighbour(&f, jm, tm, 3); /* who is there already does not notice */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (stats_of(f.jm).accepted < 3) {
        wr_parker_prepare(&f.jm_parker);
        assert_false(f.jm->next(f.jm->self, &event));
        if (stats_of(f.jm).accepted < 3) e->park(e->self, &f.jm_parker, 10000000);
    }
    e->hang_up(e->self, s);
    e->hang_up(e->self, waits);
    finish(&f);
}

static void takes_nothing(void **state)
{
    (void)state;
    fixture       f;
    uint64_t      jm, tm;
    wr_peer_event event;
    begin(&f);
    join(&f, &jm, &tm);
    enum { PIECE = 60 * 1024 * 1024 };
    for (uint32_t i = 0; i < 6; i++) f.jm->send(f.jm->self, tm, calloc(1, PIECE), PIECE);
    wait_next(&f, f.jm, &event);
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.peer, tm);
    assert_int_equal(stats_of(f.jm).overflowed, 1);
    finish(&f);
}

static void port_is_taken(void **state)
{
    (void)state;
    fixture       f;
    wr_errinfo    info = {0};
    wr_peers_nng *other;
    begin(&f);
    wr_peers_nng_config config = {
        .env = &f.env, .parker = &f.tm_parker, .listen = wr_peers_nng_address(f.jm_nng), .token = TOKEN};
    assert_int_equal(wr_peers_nng_new(&other, &config, &info), WR_BUSY);
    config.listen = "here";
    info = (wr_errinfo){0};
    assert_int_equal(wr_peers_nng_new(&other, &config, &info), WR_CONFIG);
    /* A JobManager that comes back gets its port, whatever the old one's connections are in. */
    uint64_t jm, tm;
    char     address[64];
    join(&f, &jm, &tm);
    snprintf(address, sizeof address, "%s", wr_peers_nng_address(f.jm_nng));
    wr_peers_nng_free(f.jm_nng);
    config.listen = address;
    config.parker = &f.jm_parker;
    assert_int_equal(wr_peers_nng_new(&f.jm_nng, &config, NULL), WR_OK);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_keep_their_order),
        cmocka_unit_test(large_message),
        cmocka_unit_test(early_and_late_words),
        cmocka_unit_test(last_word_of_a_process),
        cmocka_unit_test(lost_peers_are_told),
        cmocka_unit_test(dials_that_fail),
        cmocka_unit_test(wrong_token),
        cmocka_unit_test(unknown_role),
        cmocka_unit_test(garbage_is_closed_and_counted),
        cmocka_unit_test(greetings_that_are_refused),
        cmocka_unit_test(listeners_that_are_none),
        cmocka_unit_test(oversized_message),
        cmocka_unit_test(thousand_half_open),
        cmocka_unit_test(slow_greeting),
        cmocka_unit_test(no_descriptors_left),
        cmocka_unit_test(takes_nothing),
        cmocka_unit_test(port_is_taken),
    };
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
