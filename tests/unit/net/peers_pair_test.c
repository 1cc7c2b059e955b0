/* Messages and descriptors through socket pairs: in order, whole, bounded, and whatever else comes is closed and
 * counted. */
#include "net/boxes.h"
#include "net/peers_pair.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Two tables, joined by a pair. */
typedef struct fixture {
    const wr_env  *env;
    wr_parker      parker;
    wr_peers_pair *a, *b;
    wr_peers      *at, *bt;
    uint64_t       ab, ba; /* b as a knows it, and the other way */
} fixture;

static void join(wr_peers_pair *a, wr_peers_pair *b, uint64_t *ab, uint64_t *ba)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *ab = wr_peers_pair_add(a, pair[0]);
    *ba = wr_peers_pair_add(b, pair[1]);
}

static void begin(fixture *f)
{
    *f = (fixture){.env = wr_env_real()};
    assert_int_equal(f->env->parker_init(f->env->self, &f->parker), 0);
    assert_int_equal(wr_peers_pair_new(&f->a, f->env, NULL), WR_OK);
    assert_int_equal(wr_peers_pair_new(&f->b, f->env, NULL), WR_OK);
    f->at = wr_peers_pair_table(f->a);
    f->bt = wr_peers_pair_table(f->b);
    join(f->a, f->b, &f->ab, &f->ba);
}

static void finish(fixture *f)
{
    wr_peers_pair_free(f->a);
    wr_peers_pair_free(f->b);
    f->env->parker_fini(f->env->self, &f->parker);
}

static bool wait_next(fixture *f, wr_peers_pair *p, wr_peer_event *event)
{
    wr_peers *t = wr_peers_pair_table(p);
    int       fd = wr_peers_pair_fd(p);
    int64_t   until = f->env->mono_ns(f->env->self) + 20000000000;
    while (!t->next(t->self, event)) {
        if (f->env->mono_ns(f->env->self) > until) return false;
        wr_parker_prepare(&f->parker);
        f->env->park_fds(f->env->self, &f->parker, 1000000000, &fd, 1);
    }
    return true;
}

static size_t size_of(uint32_t i)
{
    static const size_t SIZES[] = {1, 2, 3, 5, 17, 4096, 65531, 65532, 65533, 200000};
    return SIZES[i % (sizeof SIZES / sizeof SIZES[0])] + (i / 10 > 60 ? 60 : i / 10);
}

static char *message(uint32_t i, size_t n)
{
    char *bytes = malloc(n);
    assert_non_null(bytes);
    for (size_t k = 0; k < n; k++) bytes[k] = (char)(i * 7 + k * 13);
    return bytes;
}

static void expect_message(const wr_peer_event *event, uint64_t peer, uint32_t i)
{
    assert_int_equal(event->kind, WR_PEER_MESSAGE);
    assert_int_equal(event->peer, peer);
    assert_int_equal(event->n, size_of(i));
    char *same = message(i, event->n);
    assert_memory_equal(event->bytes, same, event->n);
    free(same);
    free(event->bytes);
}

static void messages_keep_their_order(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    enum { COUNT = 400 };
    for (uint32_t i = 0; i < COUNT; i++) f.at->send(f.at->self, f.ab, message(i, size_of(i)), size_of(i));
    f.bt->send(f.bt->self, f.ba, message(9, size_of(9)), size_of(9));
    wr_peer_event event;
    for (uint32_t i = 0; i < COUNT; i++) {
        while (!f.bt->next(f.bt->self, &event)) {
            wr_peer_event back; /* a sends the rest when it is asked for what came */
            if (f.at->next(f.at->self, &back)) expect_message(&back, f.ab, 9);
        }
        expect_message(&event, f.ba, i);
    }
    assert_false(f.bt->next(f.bt->self, &event));
    /* To whom nobody knows: nothing happens. */
    f.at->send(f.at->self, f.ab + (1 << 16), message(0, 1), 1);
    f.at->send(f.at->self, 0, message(0, 1), 1);
    finish(&f);
}

static void what_was_sent_comes_before_the_end(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    for (uint32_t i = 0; i < 50; i++) f.at->send(f.at->self, f.ab, message(i, size_of(i)), size_of(i));
    f.at->close(f.at->self, f.ab); /* most of it is still in the box */
    f.at->send(f.at->self, f.ab, message(0, 1), 1);
    wr_peer_event  event;
    wr_peers_stats stats;
    for (uint32_t i = 0; i < 50; i++) {
        while (!f.bt->next(f.bt->self, &event)) assert_false(f.at->next(f.at->self, &event));
        expect_message(&event, f.ba, i);
    }
    while (!f.bt->next(f.bt->self, &event)) assert_false(f.at->next(f.at->self, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.peer, f.ba);
    assert_int_equal(event.info.code, WR_UNREACHABLE);
    f.bt->stats(f.bt->self, &stats);
    assert_int_equal(stats.open, 0);
    finish(&f);
}

/* A worker that died: what it said before is heard, then that it is gone, although we can no longer send to it. */
static void last_words_are_heard(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    f.at->send(f.at->self, f.ab, message(4, size_of(4)), size_of(4));
    wr_peers_pair_free(f.a);
    f.a = NULL;
    f.bt->send(f.bt->self, f.ba, message(5, size_of(5)), size_of(5));
    f.bt->send(f.bt->self, f.ba, message(5, size_of(5)), size_of(5));
    wr_peer_event event;
    assert_true(wait_next(&f, f.b, &event));
    expect_message(&event, f.ba, 4);
    assert_true(wait_next(&f, f.b, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    finish(&f);
}

static void descriptors_travel_behind_messages(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    int pipes[3][2];
    for (uint32_t i = 0; i < 3; i++) {
        char note[100];
        assert_int_equal(pipe(pipes[i]), 0);
        memset(note, 'a' + (int)i, sizeof note);
        f.at->send(f.at->self, f.ab, message(i, size_of(i)), size_of(i));
        wr_peers_pair_give(f.a, f.ab, pipes[i][1], note, 72 + i);
        assert_int_equal(fcntl(pipes[i][1], F_GETFD), -1); /* ours is closed */
    }
    wr_peer_event event;
    char          note[100];
    size_t        n;
    assert_int_equal(wr_peers_pair_take(f.b, f.ba, note, sizeof note, &n), -1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(wait_next(&f, f.b, &event));
        expect_message(&event, f.ba, i);
    }
    assert_false(f.bt->next(f.bt->self, &event));
    for (uint32_t i = 0; i < 3; i++) {
        int got = wr_peers_pair_take(f.b, f.ba, note, sizeof note, &n);
        assert_true(got >= 0);
        assert_int_equal(n, 72 + i);
        assert_int_equal(note[71], 'a' + (int)i);
        char byte = (char)i;
        assert_int_equal(write(got, &byte, 1), 1);
        assert_int_equal(read(pipes[i][0], &byte, 1), 1);
        assert_int_equal(byte, (char)i);
        close(got);
        close(pipes[i][0]);
    }
    assert_int_equal(wr_peers_pair_take(f.b, f.ba, note, sizeof note, &n), -1);
    finish(&f);
}

/* Descriptors amid more bytes than the socket holds, taken from the box piece by piece. */
static void descriptors_amid_much(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    enum { COUNT = 120 };
    for (uint32_t i = 0; i < COUNT; i++) {
        f.at->send(f.at->self, f.ab, message(i, size_of(i)), size_of(i));
        char note = (char)i;
        int  file = open("/dev/null", O_RDONLY);
        assert_true(file >= 0);
        wr_peers_pair_give(f.a, f.ab, file, &note, 1);
    }
    wr_peer_event event;
    uint32_t      gifts = 0;
    for (uint32_t i = 0; i < COUNT || gifts < COUNT;) {
        wr_peer_event none;
        assert_false(f.at->next(f.at->self, &none));
        if (f.bt->next(f.bt->self, &event)) expect_message(&event, f.ba, i++);
        char   note;
        size_t n;
        int    got;
        while ((got = wr_peers_pair_take(f.b, f.ba, &note, 1, &n)) >= 0) {
            assert_int_equal(note, (char)gifts++);
            assert_true(gifts <= i); /* never before the message in front of it */
            close(got);
        }
    }
    finish(&f);
}

static void overflow_closes(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    enum { PIECE = 60 * 1024 * 1024 };
    wr_peer_event  event;
    wr_peers_stats stats;
    for (uint32_t i = 0; i < 6; i++) {
        char *bytes = calloc(1, PIECE);
        assert_non_null(bytes);
        f.at->send(f.at->self, f.ab, bytes, PIECE);
    }
    assert_true(wait_next(&f, f.a, &event));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    f.at->stats(f.at->self, &stats);
    assert_int_equal(stats.overflowed, 1);
    assert_int_equal(stats.open, 0);
    finish(&f);
}

static void nonsense(const void *bytes, size_t n, int descriptor, bool oversized)
{
    fixture f;
    begin(&f);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    uint64_t bad = wr_peers_pair_add(f.b, pair[1]);
    union {
        char           bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } beside = {0};
    struct iovec  vector = {(void *)(uintptr_t)bytes, n};
    struct msghdr raw = {.msg_iov = &vector, .msg_iovlen = 1};
    if (descriptor >= 0) {
        raw.msg_control = beside.bytes;
        raw.msg_controllen = sizeof beside.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&raw);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    assert_int_equal(sendmsg(pair[0], &raw, 0), n);
    if (descriptor >= 0) assert_int_equal(sendmsg(pair[0], &raw, 0), n);
    wr_peer_event  event;
    wr_peers_stats stats;
    do assert_true(wait_next(&f, f.b, &event));
    while (event.kind == WR_PEER_MESSAGE && (free(event.bytes), true));
    assert_int_equal(event.kind, WR_PEER_CLOSED);
    assert_int_equal(event.peer, bad);
    f.bt->stats(f.bt->self, &stats);
    assert_int_equal(stats.oversized, oversized);
    assert_int_equal(stats.garbage, !oversized);
    /* The neighbour does not notice. */
    f.at->send(f.at->self, f.ab, message(3, size_of(3)), size_of(3));
    assert_true(wait_next(&f, f.b, &event));
    expect_message(&event, f.ba, 3);
    close(pair[0]);
    finish(&f);
}

static void nonsense_is_closed_and_counted(void **state)
{
    (void)state;
    nonsense("\0\0\0\0", 4, -1, true);         /* an empty message */
    nonsense("\xff\xff\xff\x7f", 4, -1, true); /* one of 2 GiB */
    nonsense("\1\0\0\x80x", 5, -1, false);     /* a descriptor that is not there */
    nonsense("\1\0\0\0x", 5, 0, false);        /* descriptors that belong to no message */
    nonsense("\xff\xff\xff\xff", 4, -1, true);
}

static void numbers_are_never_used_again(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    uint64_t seen[50];
    for (uint32_t i = 0; i < 50; i++) {
        uint64_t ba;
        join(f.a, f.b, &seen[i], &ba);
        for (uint32_t k = 0; k < i; k++) assert_int_not_equal(seen[i], seen[k]);
        f.at->close(f.at->self, seen[i]);
        f.at->close(f.at->self, seen[i]);
    }
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_keep_their_order),      cmocka_unit_test(what_was_sent_comes_before_the_end),
        cmocka_unit_test(last_words_are_heard),           cmocka_unit_test(descriptors_travel_behind_messages),
        cmocka_unit_test(descriptors_amid_much),          cmocka_unit_test(overflow_closes),
        cmocka_unit_test(nonsense_is_closed_and_counted), cmocka_unit_test(numbers_are_never_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
