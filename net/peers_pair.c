#include "net/peers_pair.h"
#include "base/check.h"
#include "base/log.h"
#include "net/boxes.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = WR_KIB(64), READY_MAX = 64 };

/* A descriptor that has come. */
typedef struct gift {
    struct gift *next;
    int          socket;
    uint32_t     n;
    char         bytes[WR_GIFT_BYTES_MAX];
} gift;

/* One end. Owner: its table. Its number is generation << 16 | index + 1. */
typedef struct end {
    uint64_t  number; /* 0: free */
    int       socket;
    int       loose;   /* a descriptor whose message is not complete yet; -1 */
    bool      broken;  /* nothing can be sent any more; what came before is still to be read */
    bool      closing; /* the owner has closed it: only sends, until due_ns */
    bool      watches_out;
    int64_t   due_ns;
    wr_inbox  in;
    wr_outbox out;
    gift     *gift, *last_gift;
    uint32_t  gifts;
} end;

/* Owner: one thread. */
struct wr_peers_pair {
    const wr_env  *env;
    wr_peers       table;
    int            poller;
    end           *end;
    uint32_t       ends, room, closing;
    uint64_t       generation;
    int            ready[READY_MAX];
    uint32_t       ready_n, ready_at;
    uint64_t       reading; /* whose bytes are in the buffer */
    size_t         at, n;   /* of them */
    wr_peers_stats stats;
    char           buffer[BUFFER_BYTES];
};

static end *find(wr_peers_pair *p, uint64_t number)
{
    uint64_t index = (number & 0xffff) - 1;
    return number != 0 && index < p->ends && p->end[index].number == number ? &p->end[index] : NULL;
}

static void release(wr_peers_pair *p, end *e)
{
    p->env->watch(p->env->self, p->poller, e->socket, 0);
    p->env->hang_up(p->env->self, e->socket);
    if (e->loose >= 0) close(e->loose);
    while (e->gift != NULL) {
        gift *g = e->gift;
        e->gift = g->next;
        close(g->socket);
        free(g);
    }
    wr_inbox_fini(&e->in);
    wr_outbox_fini(&e->out);
    if (e->closing)
        p->closing--;
    else
        p->stats.open--;
    *e = (end){.socket = -1, .loose = -1};
}

/* ---- out ---- */

static int64_t send_some(end *e)
{
    wr_span  span[WR_SPANS_MAX];
    int      descriptor;
    uint32_t n = wr_outbox_spans(&e->out, span, WR_SPANS_MAX, &descriptor);
    union {
        char           bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } beside;
    struct iovec  vector[WR_SPANS_MAX];
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = n};
    for (uint32_t i = 0; i < n; i++) vector[i] = (struct iovec){span[i].at, span[i].bytes};
    if (descriptor >= 0) {
        memset(&beside, 0, sizeof beside);
        message.msg_control = beside.bytes;
        message.msg_controllen = sizeof beside.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    ssize_t count;
    do count = sendmsg(e->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

/* Sends what goes out at once; the poller tells when there is room for the rest. */
static void flush(wr_peers_pair *p, end *e)
{
    while (!e->broken && e->out.first != NULL) {
        int64_t count = send_some(e);
        if (count == -EAGAIN) break;
        /* Too many descriptors are in flight: until the other side has taken some. */
        if (count == -ETOOMANYREFS) break;
        if (count < 0) {
            e->broken = true;
            wr_outbox_fini(&e->out);
        } else {
            wr_outbox_sent(&e->out, (size_t)count);
        }
    }
    bool out = e->out.first != NULL;
    if (out == e->watches_out) return;
    e->watches_out = out;
    int result = p->env->watch(p->env->self, p->poller, e->socket, WR_WATCH_IN | (out ? WR_WATCH_OUT : 0));
    check(result == 0);
}

static void push(wr_peers_pair *p, uint64_t number, char *bytes, size_t n, int descriptor)
{
    end *e = find(p, number);
    if (e == NULL || e->closing || e->broken) {
        free(bytes);
        if (descriptor >= 0) close(descriptor);
        return;
    }
    wr_outbox_push(&e->out, bytes, n, descriptor);
    flush(p, e);
    if (e->out.bytes <= WR_PEER_QUEUE_BYTES_MAX) return;
    p->stats.overflowed++;
    e->broken = true; /* next tells that it is closed */
    wr_outbox_fini(&e->out);
    shutdown(e->socket, SHUT_RDWR);
}

static void pair_send(void *self, uint64_t peer, char *bytes, size_t n)
{
    push(self, peer, bytes, n, -1);
}

void wr_peers_pair_give(wr_peers_pair *p, uint64_t peer, int socket, const void *bytes, size_t n)
{
    check(socket >= 0 && n > 0 && n <= WR_GIFT_BYTES_MAX);
    char *copy = malloc(n);
    check(copy != NULL);
    memcpy(copy, bytes, n);
    push(p, peer, copy, n, socket);
}

static void pair_close(void *self, uint64_t peer)
{
    wr_peers_pair *p = self;
    end           *e = find(p, peer);
    if (e == NULL || e->closing) return;
    p->stats.open--;
    p->closing++;
    e->closing = true;
    e->due_ns = p->env->mono_ns(p->env->self) + (int64_t)WR_LINGER_MS * 1000000;
    if (e->broken || e->out.first == NULL) release(p, e);
}

/* Those that the owner has closed: away with what has sent all, or had its time. */
static void tidy(wr_peers_pair *p)
{
    int64_t now = p->closing > 0 ? p->env->mono_ns(p->env->self) : 0;
    for (uint32_t i = 0; p->closing > 0 && i < p->ends; i++) {
        end *e = &p->end[i];
        if (e->number == 0 || !e->closing) continue;
        flush(p, e);
        if (e->broken || e->out.first == NULL || now >= e->due_ns) release(p, e);
    }
}

/* ---- in ---- */

static void closed(wr_peers_pair *p, end *e, wr_peer_event *event, const char *why)
{
    *event = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = e->number};
    wr_fail(&event->info, WR_UNREACHABLE, "the connection to the other process is closed: %s", why);
    release(p, e);
}

/* Reads what is there into the buffer. False: nothing, or the end, which *event tells then. */
static bool fill(wr_peers_pair *p, end *e, wr_peer_event *event)
{
    union {
        char           bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } beside;
    struct iovec  vector = {p->buffer, sizeof p->buffer};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = beside.bytes, .msg_controllen = sizeof beside.bytes};
    ssize_t count;
    do count = recvmsg(e->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EAGAIN) return false;
    if (count <= 0) {
        closed(p, e, event, count == 0 ? "it has ended" : strerror(errno));
        return false;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        int descriptor;
        memcpy(&descriptor, CMSG_DATA(c), sizeof descriptor);
        if (e->loose >= 0 || e->gifts >= WR_GIFTS_MAX || (message.msg_flags & MSG_CTRUNC)) {
            close(descriptor);
            p->stats.garbage++;
            closed(p, e, event, "it sent descriptors that nobody asked for");
            return false;
        }
        e->loose = descriptor;
    }
    p->reading = e->number;
    p->at = 0;
    p->n = (size_t)count;
    return true;
}

static bool keep_gift(end *e, char *bytes, uint32_t n)
{
    bool fine = e->loose >= 0 && n <= WR_GIFT_BYTES_MAX;
    if (fine) {
        gift *g = malloc(sizeof *g);
        check(g != NULL);
        *g = (gift){.socket = e->loose, .n = n};
        memcpy(g->bytes, bytes, n);
        if (e->gift != NULL)
            e->last_gift->next = g;
        else
            e->gift = g;
        e->last_gift = g;
        e->gifts++;
        e->loose = -1;
    }
    free(bytes);
    return fine;
}

/* The next event out of the buffer. */
static bool parse(wr_peers_pair *p, wr_peer_event *event)
{
    end *e = find(p, p->reading);
    if (e == NULL || e->closing) p->at = p->n;
    while (p->at < p->n) {
        size_t               used;
        char                *bytes;
        uint32_t             n;
        enum wr_inbox_result result = wr_inbox_feed(&e->in, WR_MESSAGE_BYTES_MAX, p->buffer + p->at, p->n - p->at,
                                                    &used, &bytes, &n);
        p->at += used;
        if (result == WR_INBOX_MESSAGE) {
            *event = (wr_peer_event){.kind = WR_PEER_MESSAGE, .peer = e->number, .bytes = bytes, .n = n};
            return true;
        }
        bool wrong = result == WR_INBOX_OVERSIZED || (result == WR_INBOX_GIFT && !keep_gift(e, bytes, n));
        if (!wrong) continue;
        p->at = p->n;
        *(result == WR_INBOX_GIFT ? &p->stats.garbage : &p->stats.oversized) += 1;
        closed(p, e, event, "it sent what is no message");
        return true;
    }
    return false;
}

static end *of_socket(wr_peers_pair *p, int socket)
{
    for (uint32_t i = 0; i < p->ends; i++) {
        if (p->end[i].number != 0 && p->end[i].socket == socket) return &p->end[i];
    }
    return NULL;
}

static bool pair_next(void *self, wr_peer_event *event)
{
    wr_peers_pair *p = self;
    tidy(p);
    event->kind = 0;
    while (!parse(p, event)) {
        if (p->ready_at == p->ready_n) {
            p->ready_at = 0;
            p->ready_n = p->env->ready(p->env->self, p->poller, p->ready, READY_MAX);
            if (p->ready_n == 0) return false;
        }
        end *e = of_socket(p, p->ready[p->ready_at++]);
        if (e == NULL) continue;
        flush(p, e);
        if (e->closing) {
            if (e->broken || e->out.first == NULL) release(p, e);
            continue;
        }
        if (!fill(p, e, event) && event->kind == WR_PEER_CLOSED) return true;
    }
    return true;
}

int wr_peers_pair_take(wr_peers_pair *p, uint64_t peer, void *bytes, size_t room, size_t *n)
{
    end *e = find(p, peer);
    if (e == NULL || e->gift == NULL) return -1;
    gift *g = e->gift;
    int   socket = g->socket;
    *n = g->n < room ? g->n : room;
    memcpy(bytes, g->bytes, *n);
    e->gift = g->next;
    e->gifts--;
    free(g);
    return socket;
}

/* ---- the table ---- */

static uint64_t pair_dial(void *self, const char *address)
{
    (void)self;
    (void)address;
    check(!"a socket pair has nobody to dial");
    return 0;
}

static void pair_stats(void *self, wr_peers_stats *stats)
{
    *stats = ((wr_peers_pair *)self)->stats;
}

wr_err wr_peers_pair_new(wr_peers_pair **take, const wr_env *env, wr_errinfo *info)
{
    int poller = env->poll_new(env->self);
    if (poller < 0) return wr_fail_errno(info, -poller, "cannot wait for other processes");
    wr_peers_pair *p = calloc(1, sizeof *p);
    if (p == NULL) {
        env->poll_free(env->self, poller);
        return wr_fail(info, WR_MEMORY, "no memory for connections to other processes");
    }
    p->env = env;
    p->poller = poller;
    p->table = (wr_peers){
        .self = p, .dial = pair_dial, .send = pair_send, .close = pair_close, .next = pair_next, .stats = pair_stats};
    *take = p;
    return WR_OK;
}

wr_peers *wr_peers_pair_table(wr_peers_pair *p)
{
    return &p->table;
}

uint64_t wr_peers_pair_add(wr_peers_pair *p, int socket)
{
    uint32_t index = 0;
    while (index < p->ends && p->end[index].number != 0) index++;
    if (index == p->ends) {
        check(index < WR_PEERS_MAX);
        if (p->ends == p->room) {
            p->room = p->room * 2 + 8;
            p->end = realloc(p->end, p->room * sizeof *p->end);
            check(p->end != NULL);
        }
        p->ends++;
    }
    end *e = &p->end[index];
    *e = (end){.number = ++p->generation << 16 | (index + 1), .socket = socket, .loose = -1};
    p->stats.open++;
    p->stats.accepted++;
    check(p->env->watch(p->env->self, p->poller, socket, WR_WATCH_IN) == 0);
    return e->number;
}

int wr_peers_pair_fd(const wr_peers_pair *p)
{
    return p->poller;
}

void wr_peers_pair_free(wr_peers_pair *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->ends; i++) {
        if (p->end[i].number == 0) continue;
        if (p->end[i].closing && p->end[i].out.first != NULL) { /* for a while, as close says */
            struct pollfd wait = {.fd = p->end[i].socket, .events = POLLOUT};
            flush(p, &p->end[i]);
            while (p->end[i].out.first != NULL && p->env->mono_ns(p->env->self) < p->end[i].due_ns &&
                   poll(&wait, 1, WR_LINGER_MS) >= 0)
                flush(p, &p->end[i]);
        }
        release(p, &p->end[i]);
    }
    p->env->poll_free(p->env->self, p->poller);
    free(p->end);
    free(p);
}
