/* TLS of the control plane, and the file of the token. The certificates of testdata/ are made for this test alone: the
 * authority ca.pem (nobody has its key any more) has signed localhost.pem and client.pem, other-ca.pem has not. */
#include "base/log.h"
#include "net/address.h"
#include "net/peers_nng.h"
#include "wire/control.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA  "tests/unit/net/testdata/"
#define TOKEN "0123456789abcdef0123456789abcdef"

/* One test's two ends. */
typedef struct fixture {
    const wr_env *env;
    wr_parker     parker; /* of both: one thread */
    wr_peers_nng *jm_nng, *tm_nng;
    wr_peers     *jm, *tm;
} fixture;

static void begin(fixture *f, const wr_peers_nng_config *jm, const wr_peers_nng_config *tm)
{
    *f = (fixture){.env = wr_env_real()};
    wr_peers_nng_config a = *jm, b = *tm;
    assert_int_equal(f->env->parker_init(f->env->self, &f->parker), 0);
    a.env = b.env = f->env;
    a.parker = b.parker = &f->parker;
    a.token = b.token = TOKEN;
    a.listen = "localhost:0";
    b.role = WR_ROLE_CLIENT;
    assert_int_equal(wr_peers_nng_new(&f->jm_nng, &a, NULL), WR_OK);
    assert_int_equal(wr_peers_nng_new(&f->tm_nng, &b, NULL), WR_OK);
    f->jm = wr_peers_nng_table(f->jm_nng);
    f->tm = wr_peers_nng_table(f->tm_nng);
}

static void finish(fixture *f)
{
    wr_peers_nng_free(f->tm_nng);
    wr_peers_nng_free(f->jm_nng);
    f->env->parker_fini(f->env->self, &f->parker);
}

/* True: an event of the JobManager's. */
static bool wait_either(fixture *f, wr_peer_event *event)
{
    int64_t until = f->env->mono_ns(f->env->self) + 20000000000;
    for (;;) {
        wr_parker_prepare(&f->parker);
        if (f->jm->next(f->jm->self, event)) return true;
        if (f->tm->next(f->tm->self, event)) return false;
        assert_true(f->env->mono_ns(f->env->self) < until);
        f->env->park(f->env->self, &f->parker, 1000000000);
    }
}

/* Dials, and says and hears something. */
static void expect_fine(const wr_peers_nng_config *jm, const wr_peers_nng_config *tm)
{
    fixture       f;
    wr_peer_event event;
    enum { BYTES = 3000000 };
    begin(&f, jm, tm);
    uint64_t number = f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng)), other = 0;
    char    *bytes = malloc(BYTES);
    assert_non_null(bytes);
    memset(bytes, 'x', BYTES);
    f.tm->send(f.tm->self, number, bytes, BYTES);
    bool got = false;
    while (!got) {
        bool at_jm = wait_either(&f, &event);
        assert_int_not_equal(event.kind, WR_PEER_CLOSED);
        if (event.kind == WR_PEER_OPENED && at_jm) other = event.peer;
        if (event.kind != WR_PEER_MESSAGE) continue;
        assert_true(at_jm);
        assert_int_equal(event.n, BYTES);
        for (size_t i = 0; i < BYTES; i++) assert_int_equal(event.bytes[i], 'x');
        free(event.bytes);
        got = true;
    }
    /* The last word before a close comes through here, too. */
    bytes = malloc(1000000);
    assert_non_null(bytes);
    memset(bytes, 'y', 1000000);
    f.jm->send(f.jm->self, other, bytes, 1000000);
    f.jm->close(f.jm->self, other);
    do assert_false(wait_either(&f, &event));
    while (event.kind == WR_PEER_OPENED);
    assert_int_equal(event.kind, WR_PEER_MESSAGE);
    assert_int_equal(event.n, 1000000);
    free(event.bytes);
    assert_false(wait_either(&f, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    finish(&f);
}

/* code: WR_OK: one of two. */
static void expect_refused(const wr_peers_nng_config *jm, const wr_peers_nng_config *tm, wr_err code)
{
    fixture       f;
    wr_peer_event event;
    begin(&f, jm, tm);
    f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng));
    assert_false(wait_either(&f, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_true(event.dialed);
    /* A certificate that is missing is noticed by the other side: its alert may be lost with the connection. */
    assert_true(event.info.code == code || (code == WR_OK && event.info.code == WR_PERMISSION) ||
                (code == WR_OK && event.info.code == WR_UNREACHABLE));
    finish(&f);
}

static const wr_peers_nng_config PLAIN = {0}, SERVER = {.cert = DATA "localhost.pem", .key = DATA "localhost.key"},
                                 STRICT = {.cert = DATA "localhost.pem",
                                           .key = DATA "localhost.key",
                                           .ca = DATA "ca.pem"},
                                 VISITOR = {.ca = DATA "ca.pem"}, STRANGER = {.ca = DATA "other-ca.pem"},
                                 FRIEND = {.cert = DATA "client.pem", .key = DATA "client.key", .ca = DATA "ca.pem"};

static void certificates(void **state)
{
    (void)state;
    expect_fine(&SERVER, &VISITOR);
    expect_fine(&STRICT, &FRIEND);
    expect_refused(&SERVER, &STRANGER, WR_PERMISSION); /* of an authority that it does not know */
}

static void who_has_none(void **state)
{
    (void)state;
    expect_refused(&STRICT, &VISITOR, WR_OK);
    expect_refused(&SERVER, &PLAIN, WR_UNREACHABLE);
    expect_refused(&PLAIN, &VISITOR, WR_OK);
}

/* Plain bytes, and nothing at all, at a port that speaks TLS: a friend still gets through, and they go. */
static void strangers_at_a_tls_port(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    fixture       f;
    wr_peer_event event;
    int           s[COUNT];
    const wr_env *e = wr_env_real();
    begin(&f, &SERVER, &VISITOR);
    for (uint32_t i = 0; i < COUNT; i++) {
        s[i] = e->connect(e->self, wr_peers_nng_address(f.jm_nng));
        assert_true(s[i] >= 0);
        while (e->connected(e->self, s[i]) == -EAGAIN) assert_false(f.jm->next(f.jm->self, &event));
        static const char *const SAYS[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                           "\x20"};
        if (i % 4 < 3) e->send(e->self, s[i], &(wr_span){(void *)(uintptr_t)SAYS[i % 4], strlen(SAYS[i % 4])}, 1);
    }
    f.tm->dial(f.tm->self, wr_peers_nng_address(f.jm_nng));
    for (uint32_t opened = 0; opened < 2; opened++) {
        wait_either(&f, &event);
        assert_int_equal(event.kind, WR_PEER_OPENED);
    }
    for (uint32_t i = 0; i < COUNT; i++) e->hang_up(e->self, s[i]);
    wr_peers_stats stats;
    int64_t        until = e->mono_ns(e->self) + 20000000000;
    do {
        wr_parker_prepare(&f.parker);
        assert_false(f.jm->next(f.jm->self, &event));
        f.jm->stats(f.jm->self, &stats);
        assert_true(e->mono_ns(e->self) < until);
        if (stats.accepted < COUNT + 1 || stats.half_open > 0) e->park(e->self, &f.parker, 10000000);
    } while (stats.accepted < COUNT + 1 || stats.half_open > 0);
    assert_int_equal(stats.open, 1);
    assert_int_equal(stats.refused + stats.garbage + stats.slow, COUNT);
    finish(&f);
}

static void wrong_files(void **state)
{
    (void)state;
    static const wr_peers_nng_config CASES[] = {
        {.cert = DATA "localhost.pem"},
        {.key = DATA "localhost.key", .ca = DATA "ca.pem", .cert = DATA "missing.pem"},
        {.cert = DATA "localhost.key", .key = DATA "localhost.pem", .ca = DATA "ca.pem"},
        {.ca = "net/README.md"},
        {.ca = "/dev/null"},
    };
    wr_parker     parker;
    const wr_env *env = wr_env_real();
    assert_int_equal(env->parker_init(env->self, &parker), 0);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        for (int listens = 0; listens < 2; listens++) {
            wr_peers_nng       *p;
            wr_errinfo          info = {0};
            wr_peers_nng_config config = CASES[i];
            config.env = env;
            config.parker = &parker;
            config.token = TOKEN;
            config.listen = listens && config.cert != NULL ? "127.0.0.1:0" : NULL;
            assert_int_not_equal(wr_peers_nng_new(&p, &config, &info), WR_OK);
            assert_true(info.code == WR_CONFIG || info.code == WR_NOT_FOUND);
        }
    }
    env->parker_fini(env->self, &parker);
}

static void token_file(void **state)
{
    (void)state;
    char        folder[] = "/tmp/weir-token-XXXXXX", path[64], token[WR_TOKEN_BYTES_MAX], again[WR_TOKEN_BYTES_MAX];
    wr_errinfo  info = {0};
    struct stat about;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/token", folder);
    assert_int_equal(wr_token_read(path, false, token, sizeof token, &info), WR_NOT_FOUND);
    assert_int_equal(wr_token_read(path, true, token, sizeof token, NULL), WR_OK);
    assert_int_equal(strlen(token), 64);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(wr_token_read(path, true, again, sizeof again, NULL), WR_OK);
    assert_string_equal(token, again);                                        /* made once */
    assert_int_equal(wr_token_read(path, false, again, 64, NULL), WR_CONFIG); /* no room for it */
    /* For nobody else to read. */
    assert_int_equal(chmod(path, 0640), 0);
    info = (wr_errinfo){0};
    assert_int_equal(wr_token_read(path, false, token, sizeof token, &info), WR_PERMISSION);
    assert_non_null(strstr(info.text, "chmod 600"));
    static const char *const WRONG[] = {"", "too short", "\n\n\n"};
    for (size_t i = 0; i < 3; i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(WRONG[i], file);
        fclose(file);
        chmod(path, 0600);
        assert_int_equal(wr_token_read(path, false, token, sizeof token, NULL), WR_CONFIG);
    }
    unlink(path);
    assert_int_equal(wr_token_read(folder, false, token, sizeof token, NULL), WR_PERMISSION);
    snprintf(path, sizeof path, "%s/no/token", folder);
    assert_int_equal(wr_token_read(path, true, token, sizeof token, NULL), WR_NOT_FOUND);
    assert_int_equal(rmdir(folder), 0);
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address, *host;
        int         port;
        bool        loopback;
    } CASES[] = {
        {"127.0.0.1:80", "127.0.0.1", 80, true},
        {"127.9.9.9:0", "127.9.9.9", 0, true},
        {"localhost:1", "localhost", 1, true},
        {"[::1]:5", "::1", 5, true},
        {"[::]:5", "::", 5, false},
        {":7", "", 7, false},
        {"0.0.0.0:7", "0.0.0.0", 7, false},
        {"10.0.0.1:7", "10.0.0.1", 7, false},
        {"a.example:7", "a.example", 7, false},
        {"128.0.0.1:7", "128.0.0.1", 7, false},
        {"::1:5", NULL, 0, false},
        {"a", NULL, 0, false},
        {"a:", NULL, 0, false},
        {"a:65536", NULL, 0, false},
        {"a b:1", NULL, 0, false},
        {"a/b:1", NULL, 0, false},
        {"u@h:1", NULL, 0, false},
        {"localhost.example:1", "localhost.example", 1, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char     host[WR_HOST_BYTES_MAX];
        uint16_t port;
        wr_err   err = wr_address_split(CASES[i].address, host, &port, NULL);
        assert_int_equal(err, CASES[i].host != NULL ? WR_OK : WR_CONFIG);
        if (err == WR_OK) assert_string_equal(host, CASES[i].host);
        if (err == WR_OK) assert_int_equal(port, CASES[i].port);
        assert_int_equal(wr_address_loopback(CASES[i].address), CASES[i].loopback);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates), cmocka_unit_test(who_has_none),
        cmocka_unit_test(wrong_files),  cmocka_unit_test(strangers_at_a_tls_port),
        cmocka_unit_test(token_file),   cmocka_unit_test(addresses),
    };
    wr_log_setup(2, WR_LOG_ERROR, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
