/* Sockets of the real table over loopback. ctest: threads */
#include "base/env.h"
#include "base/limits.h"
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* One test's listener, connection and poller. */
typedef struct fixture {
    const wr_env *env;
    wr_parker     parker;
    int           listener, poller, dialed, accepted;
    char          address[32];
} fixture;

static void wait_for(fixture *f)
{
    wr_parker_prepare(&f->parker);
    f->env->park_fds(f->env->self, &f->parker, 10000000000, &f->poller, 1);
}

static void begin(fixture *f)
{
    *f = (fixture){.env = wr_env_real(), .dialed = -1, .accepted = -1};
    assert_int_equal(f->env->parker_init(f->env->self, &f->parker), 0);
    f->listener = f->env->listen(f->env->self, "127.0.0.1:0");
    assert_true(f->listener >= 0);
    f->poller = f->env->poll_new(f->env->self);
    assert_true(f->poller >= 0);
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", f->env->port_of(f->env->self, f->listener));
}

static void join(fixture *f)
{
    const wr_env *e = f->env;
    assert_int_equal(e->accept(e->self, f->listener), -EAGAIN);
    f->dialed = e->connect(e->self, f->address);
    assert_true(f->dialed >= 0);
    assert_int_equal(e->watch(e->self, f->poller, f->listener, WR_WATCH_IN), 0);
    wait_for(f);
    f->accepted = e->accept(e->self, f->listener);
    assert_true(f->accepted >= 0);
    assert_int_equal(e->watch(e->self, f->poller, f->listener, 0), 0);
    assert_int_equal(e->watch(e->self, f->poller, f->dialed, WR_WATCH_OUT), 0);
    while (e->connected(e->self, f->dialed) == -EAGAIN) wait_for(f);
    assert_int_equal(e->connected(e->self, f->dialed), 0);
    assert_int_equal(e->watch(e->self, f->poller, f->dialed, 0), 0);
    assert_int_equal(e->watch(e->self, f->poller, f->dialed, 0), 0); /* once more is fine */
}

static void finish(fixture *f)
{
    const wr_env *e = f->env;
    if (f->dialed >= 0) e->hang_up(e->self, f->dialed);
    if (f->accepted >= 0) e->hang_up(e->self, f->accepted);
    if (f->listener >= 0) e->hang_up(e->self, f->listener);
    e->poll_free(e->self, f->poller);
    e->parker_fini(e->self, &f->parker);
}

static void bytes_travel_in_pieces(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    join(&f);
    const wr_env *e = f.env;
    char          a[3] = "abc", b[5] = "defgh", x[2], y[10];
    wr_span       from[2] = {{a, 3}, {b, 5}}, to[2] = {{x, 2}, {y, 10}};
    assert_int_equal(e->receive(e->self, f.accepted, to, 2), -EAGAIN);
    assert_int_equal(e->send(e->self, f.dialed, from, 2), 8);
    assert_int_equal(e->watch(e->self, f.poller, f.accepted, WR_WATCH_IN), 0);
    wait_for(&f);
    int ready[4];
    assert_int_equal(e->ready(e->self, f.poller, ready, 4), 1);
    assert_int_equal(ready[0], f.accepted);
    assert_int_equal(e->receive(e->self, f.accepted, to, 2), 8);
    assert_memory_equal(x, "ab", 2);
    assert_memory_equal(y, "cdefgh", 6);
    assert_int_equal(e->ready(e->self, f.poller, ready, 4), 0);
    /* The end comes behind what was sent, and the other direction stays open. */
    assert_int_equal(e->half_close(e->self, f.dialed), 0);
    wait_for(&f);
    assert_int_equal(e->receive(e->self, f.accepted, to, 2), 0);
    assert_int_equal(e->send(e->self, f.accepted, from, 1), 3);
    assert_int_equal(e->watch(e->self, f.poller, f.accepted, 0), 0);
    assert_int_equal(e->watch(e->self, f.poller, f.dialed, WR_WATCH_IN), 0);
    wait_for(&f);
    assert_int_equal(e->receive(e->self, f.dialed, to, 2), 3);
    finish(&f);
}

/* A peer that takes nothing: send says so, ready says when it is over, and every byte arrives in order. */
static void full_connection_pushes_back(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    join(&f);
    const wr_env *e = f.env;
    enum { PIECE = 60000 };
    uint8_t *piece = malloc(PIECE), *got = malloc(PIECE);
    assert_true(piece != NULL && got != NULL);
    uint64_t sent = 0, received = 0;
    for (;;) {
        for (uint32_t i = 0; i < PIECE; i++) piece[i] = (uint8_t)((sent + i) * 31 >> 3);
        int64_t n = e->send(e->self, f.dialed, &(wr_span){piece, PIECE}, 1);
        if (n == -EAGAIN) break;
        assert_true(n > 0);
        sent += (uint64_t)n;
    }
    assert_int_equal(e->watch(e->self, f.poller, f.dialed, WR_WATCH_OUT), 0);
    int ready;
    assert_int_equal(e->ready(e->self, f.poller, &ready, 1), 0);
    assert_int_equal(e->half_close(e->self, f.dialed), 0);
    assert_int_equal(e->watch(e->self, f.poller, f.dialed, 0), 0);
    assert_int_equal(e->watch(e->self, f.poller, f.accepted, WR_WATCH_IN), 0);
    for (;;) {
        int64_t n = e->receive(e->self, f.accepted, &(wr_span){got, PIECE}, 1);
        if (n == 0) break;
        if (n == -EAGAIN) {
            wait_for(&f);
            continue;
        }
        assert_true(n > 0);
        for (int64_t i = 0; i < n; i++, received++) assert_int_equal(got[i], (uint8_t)(received * 31 >> 3));
    }
    assert_int_equal(received, sent);
    free(piece);
    free(got);
    finish(&f);
}

static void lost_connection_is_seen(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    join(&f);
    const wr_env *e = f.env;
    char          byte = 0;
    assert_int_equal(e->send(e->self, f.accepted, &(wr_span){&byte, 1}, 1), 1);
    e->hang_up(e->self, f.dialed); /* with a byte unread perhaps: the other side sees an end or a reset */
    f.dialed = -1;
    assert_int_equal(e->watch(e->self, f.poller, f.accepted, WR_WATCH_IN), 0);
    wait_for(&f);
    int64_t n = e->receive(e->self, f.accepted, &(wr_span){&byte, 1}, 1);
    assert_true(n == 0 || n == -ECONNRESET);
    /* Sends fail without a signal, at the latest when the other side has answered to the first. */
    while ((n = e->send(e->self, f.accepted, &(wr_span){&byte, 1}, 1)) > 0) {}
    assert_true(n == -EPIPE || n == -ECONNRESET);
    finish(&f);
}

/* What comes for this socket is thrown away before its machine acknowledges it. */
static void cut(int socket)
{
    struct sock_filter nothing = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog  program = {.len = 1, .filter = &nothing};
    assert_int_equal(setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

/* Waits for what the system does within seconds: true when it has come. */
static bool comes(fixture *f, bool (*what)(fixture *f))
{
    for (int i = 0; i < 600; i++) {
        if (what(f)) return true;
        wr_parker_prepare(&f->parker);
        f->env->park(f->env->self, &f->parker, 50000000);
    }
    return false;
}

static bool is_unheard(fixture *f)
{
    return f->env->unheard_ms(f->env->self, f->dialed) >= WR_UNHEARD_MS;
}

/* Bytes that nobody acknowledges; beside it, a process that does not read, whose machine does. */
static void a_cut_cable_is_noticed(void **state)
{
    (void)state;
    fixture f, slow;
    char    many[4096] = "";
    wr_span all = {many, sizeof many};
    begin(&f);
    join(&f);
    begin(&slow);
    join(&slow);
    const wr_env *e = f.env;
    assert_int_equal(e->unheard_ms(e->self, f.dialed), 0);
    while (e->send(e->self, slow.dialed, &all, 1) > 0) {}
    cut(f.accepted);
    assert_int_equal(e->send(e->self, f.dialed, &all, 1), sizeof many);
    assert_true(comes(&f, is_unheard));
    assert_true(e->unheard_ms(e->self, slow.dialed) < WR_UNHEARD_MS);
    assert_int_equal(e->unheard_ms(e->self, f.listener), 0);
    finish(&f);
    finish(&slow);
}

static bool is_lost(fixture *f)
{
    char byte;
    return f->env->receive(f->env->self, f->dialed, &(wr_span){&byte, 1}, 1) == -ETIMEDOUT;
}

/* Nothing is under way: the system asks. */
static void a_silent_connection_is_noticed(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    join(&f);
    cut(f.accepted);
    assert_true(comes(&f, is_lost));
    finish(&f);
}

static void nobody_listens(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    const wr_env *e = f.env;
    e->hang_up(e->self, f.listener);
    f.listener = -1;
    int s = e->connect(e->self, f.address);
    int result = s;
    if (s >= 0) {
        assert_int_equal(e->watch(e->self, f.poller, s, WR_WATCH_OUT), 0);
        while ((result = e->connected(e->self, s)) == -EAGAIN) wait_for(&f);
        e->hang_up(e->self, s);
    }
    assert_int_equal(result, -ECONNREFUSED);
    finish(&f);
}

/* A socket that is bound to the port which it dials connects to itself: that is nobody. */
static void dialing_oneself_is_refused(void **state)
{
    (void)state;
    const wr_env      *e = wr_env_real();
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int                s = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s >= 0);
    assert_int_equal(bind(s, (struct sockaddr *)&name, sizeof name), 0);
    name.sin_port = htons((uint16_t)e->port_of(e->self, s));
    assert_int_equal(connect(s, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(e->connected(e->self, s), -ECONNREFUSED);
    e->hang_up(e->self, s);
}

static void wrong_addresses(void **state)
{
    (void)state;
    const wr_env            *e = wr_env_real();
    static const char *const WRONG[] = {"",       "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                                        "::1:80", "host:-1"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        assert_int_equal(e->connect(e->self, WRONG[i]), -EINVAL);
        assert_int_equal(e->listen(e->self, WRONG[i]), -EINVAL);
    }
    assert_true(e->connect(e->self, "no-such-host.invalid:1") < 0);
    int first = e->listen(e->self, "127.0.0.1:0");
    assert_true(first >= 0);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", e->port_of(e->self, first));
    assert_int_equal(e->listen(e->self, address), -EADDRINUSE);
    e->hang_up(e->self, first);
    int sixth = e->listen(e->self, "[::1]:0"); /* where there is IPv6 */
    if (sixth >= 0) {
        assert_true(e->port_of(e->self, sixth) > 0);
        e->hang_up(e->self, sixth);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_travel_in_pieces),     cmocka_unit_test(full_connection_pushes_back),
        cmocka_unit_test(lost_connection_is_seen),    cmocka_unit_test(nobody_listens),
        cmocka_unit_test(a_cut_cable_is_noticed),     cmocka_unit_test(a_silent_connection_is_noticed),
        cmocka_unit_test(dialing_oneself_is_refused), cmocka_unit_test(wrong_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
