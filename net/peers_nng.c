/* Connections over nng's streams. A completion of nng is put into a list by one of nng's threads, under the one lock
 * here, and its owner is woken: so reading goes on only as fast as the owner takes what came, and everything but that
 * list belongs to one thread. nng keeps the time, too: each operation has its limit. */
#include "net/peers_nng.h"
#include "base/check.h"
#include "net/address.h"
#include "net/boxes.h"
#include "net/complain.h"
#include "net/greeting.h"
#include "net/nng_tls.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = WR_KIB(16), GREETING_BUFFER_BYTES = WR_GREETING_BYTES_MAX + WR_BOX_HEAD_BYTES };
#define WRONG_CERTIFICATE                                                                                              \
    "TLS failed; its certificate must be for that name and of an authority in tls.ca, and it may want one of ours"
enum { PAUSE_MS = 100, TLS_LINGER_MS = 100, SPANS = 6 };

typedef struct link link;
typedef enum op_kind { OP_ACCEPT, OP_DIAL, OP_RECEIVE, OP_SEND } op_kind;

/* One operation that nng does for us. Shared: next, queued under the table's lock; the rest is the owner's. */
typedef struct op {
    struct op    *next;
    wr_peers_nng *table;
    link         *link; /* NULL: the listener's */
    nng_aio      *aio;
    op_kind       kind;
    int           result; /* of one that nng never saw */
    bool          queued, busy;
} op;

typedef enum link_state {
    LINK_DIALS,
    LINK_GREETS,
    LINK_OPEN,
    LINK_CLOSING, /* the owner has closed it; sends what is left */
    LINK_LINGERS  /* and has: TLS may still have some of it inside */
} link_state;

/* One connection. Owner: its table. Its number is generation << 16 | index + 1. */
struct link {
    uint64_t           number, order;
    link_state         state;
    bool               dialed, tls, broken; /* broken: nothing can be sent any more */
    nng_stream_dialer *dialer;
    nng_stream        *stream;
    op                 dial, receive, send;
    wr_greeter         greeter;
    int64_t            greeted_by_ns;
    char              *buffer;
    size_t             buffer_bytes, at, n;
    wr_inbox           in;
    wr_outbox          out, later; /* later: what waits for the end of the greeting */
    char              *host;       /* whom we dialed */
};

/* Owner: one thread. Shared: done, done_last, under lock. */
struct wr_peers_nng {
    wr_peers_nng_config  config;
    const wr_env        *env;
    wr_peers             table;
    char                 token[WR_TOKEN_BYTES_MAX], address[WR_HOST_BYTES_MAX + 16];
    nng_stream_listener *listener;
    op                   accept;
    bool                 pausing; /* the accept operation is a pause */
    link               **link;
    uint32_t             links, room;
    uint64_t             generation, order;
    uint64_t             reading; /* whose buffer holds something */
    wr_peers_stats       stats;
    wr_complaints        complaints;
    pthread_mutex_t      lock;
    op                  *done, *done_last;
};

/* ---- completions ---- */

static void put_done(op *o)
{
    wr_peers_nng *p = o->table;
    pthread_mutex_lock(&p->lock);
    o->next = NULL;
    o->queued = true;
    if (p->done != NULL)
        p->done_last->next = o;
    else
        p->done = o;
    p->done_last = o;
    pthread_mutex_unlock(&p->lock);
    wr_parker_wake(p->env, p->config.parker);
}

static void completed(void *arg) /* a thread of nng's */
{
    put_done(arg);
}

static op *take_done(wr_peers_nng *p)
{
    pthread_mutex_lock(&p->lock);
    op *o = p->done;
    if (o != NULL) {
        p->done = o->next;
        o->queued = false;
    }
    pthread_mutex_unlock(&p->lock);
    return o;
}

static void forget_done(op *o)
{
    wr_peers_nng *p = o->table;
    pthread_mutex_lock(&p->lock);
    op *before = NULL;
    for (op *at = p->done; at != NULL && o->queued; before = at, at = at->next) {
        if (at != o) continue;
        *(before != NULL ? &before->next : &p->done) = o->next;
        if (p->done_last == o) p->done_last = before;
        o->queued = false;
    }
    pthread_mutex_unlock(&p->lock);
}

static bool op_init(op *o, wr_peers_nng *p, link *l, op_kind kind)
{
    *o = (op){.table = p, .link = l, .kind = kind};
    return nng_aio_alloc(&o->aio, completed, o) == 0;
}

static void op_fini(op *o)
{
    if (o->aio == NULL) return;
    nng_aio_stop(o->aio); /* its callback has run, or never will */
    forget_done(o);
    nng_aio_free(o->aio);
    o->aio = NULL;
}

/* ---- links ---- */

static link *find(wr_peers_nng *p, uint64_t number)
{
    uint64_t index = (number & 0xffff) - 1;
    if (number == 0 || index >= p->links || p->link[index] == NULL || p->link[index]->number != number) return NULL;
    return p->link[index];
}

static void count(wr_peers_nng *p, const link *l, uint32_t by)
{
    if (l->state == LINK_OPEN) p->stats.open += by;
    if (l->state == LINK_GREETS) p->stats.half_open += by;
}

static void set_state(wr_peers_nng *p, link *l, link_state state)
{
    count(p, l, UINT32_MAX);
    l->state = state;
    count(p, l, 1);
}

static void release(wr_peers_nng *p, link *l)
{
    if (l->stream != NULL) nng_stream_close(l->stream);
    if (l->dialer != NULL) nng_stream_dialer_close(l->dialer);
    bool dialing = l->dial.busy && l->stream == NULL;
    op_fini(&l->receive);
    op_fini(&l->send);
    if (l->dial.aio != NULL) nng_aio_stop(l->dial.aio);
    /* It may have come through in the last moment. */
    if (dialing && nng_aio_result(l->dial.aio) == 0) l->stream = nng_aio_get_output(l->dial.aio, 0);
    op_fini(&l->dial);
    if (l->stream != NULL) nng_stream_free(l->stream);
    if (l->dialer != NULL) nng_stream_dialer_free(l->dialer);
    count(p, l, UINT32_MAX);
    wr_inbox_fini(&l->in);
    wr_outbox_fini(&l->out);
    wr_outbox_fini(&l->later);
    p->link[(l->number & 0xffff) - 1] = NULL;
    free(l->buffer);
    free(l->host);
    free(l);
}

static link *add_link(wr_peers_nng *p, link_state state, bool dialed)
{
    uint32_t index = 0;
    while (index < p->links && p->link[index] != NULL) index++;
    if (index == WR_PEERS_MAX) return NULL;
    if (index == p->links) {
        if (p->links == p->room) {
            p->room = p->room * 2 + 8;
            p->link = realloc(p->link, p->room * sizeof *p->link);
            check(p->link != NULL);
        }
        p->link[p->links++] = NULL;
    }
    link *l = calloc(1, sizeof *l);
    check(l != NULL);
    l->number = ++p->generation << 16 | (index + 1);
    l->order = ++p->order;
    l->state = state;
    l->dialed = dialed;
    l->buffer_bytes = GREETING_BUFFER_BYTES;
    l->buffer = malloc(l->buffer_bytes);
    check(l->buffer != NULL && op_init(&l->dial, p, l, OP_DIAL) && op_init(&l->receive, p, l, OP_RECEIVE) &&
          op_init(&l->send, p, l, OP_SEND));
    p->link[index] = l;
    count(p, l, 1);
    return l;
}

/* The end, told as an event. text: the cause; where we dialed is added. */
static void closed(wr_peers_nng *p, link *l, wr_peer_event *event, wr_err code, const char *text)
{
    *event = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = l->number, .dialed = l->dialed};
    if (l->host != NULL)
        wr_fail(&event->info, code, "%s: %s", l->host, text);
    else
        wr_fail(&event->info, code, "%s", text);
    release(p, l);
}

static void complain(wr_peers_nng *p, const link *l, wr_log_level level, const char *why)
{
    nng_sockaddr a = {0};
    char         host[64] = "somebody";
    if (l->stream != NULL && nng_stream_get_addr(l->stream, NNG_OPT_REMADDR, &a) == 0) {
        const uint8_t *b = (const uint8_t *)&a.s_in.sa_addr;
        if (a.s_family == NNG_AF_INET) snprintf(host, sizeof host, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
        b = (const uint8_t *)a.s_in6.sa_addr;
        if (a.s_family == NNG_AF_INET6)
            snprintf(host, sizeof host, "%02x%02x:%02x%02x:...:%02x%02x", b[0], b[1], b[2], b[3], b[14], b[15]);
    }
    wr_complain(&p->complaints, p->env, level, "control port", "closed the connection with %s: %s", host, why);
}

/* ---- operations ---- */

static void arm_receive(wr_peers_nng *p, link *l)
{
    nng_duration limit = NNG_DURATION_INFINITE;
    if (l->state == LINK_GREETS) {
        int64_t left = (l->greeted_by_ns - p->env->mono_ns(p->env->self)) / 1000000;
        limit = left < 1 ? 1 : (nng_duration)left;
    } else if (wr_inbox_amid(&l->in)) {
        limit = WR_STALLED_MS;
    }
    nng_aio_set_timeout(l->receive.aio, limit);
    check(nng_aio_set_iov(l->receive.aio, 1, &(nng_iov){l->buffer, l->buffer_bytes}) == 0);
    l->receive.busy = true;
    nng_stream_recv(l->stream, l->receive.aio);
}

static void arm_send(link *l)
{
    wr_span  span[SPANS];
    nng_iov  vector[SPANS];
    int      gift;
    uint32_t n = wr_outbox_spans(&l->out, span, SPANS, &gift);
    if (l->send.busy || n == 0 || l->broken || l->stream == NULL) return;
    for (uint32_t i = 0; i < n; i++) vector[i] = (nng_iov){span[i].at, span[i].bytes};
    check(nng_aio_set_iov(l->send.aio, n, vector) == 0);
    nng_aio_set_timeout(l->send.aio, l->state == LINK_CLOSING ? WR_LINGER_MS : WR_STALLED_MS);
    l->send.busy = true;
    nng_stream_send(l->stream, l->send.aio);
}

static void arm_accept(wr_peers_nng *p, bool pause)
{
    p->pausing = pause;
    nng_aio_set_timeout(p->accept.aio, NNG_DURATION_INFINITE);
    p->accept.busy = true;
    if (pause)
        nng_sleep_aio(PAUSE_MS, p->accept.aio);
    else
        nng_stream_listener_accept(p->listener, p->accept.aio);
}

static void greet(wr_peers_nng *p, link *l)
{
    uint64_t random[WR_NONCE_BYTES / 8];
    for (size_t i = 0; i < WR_NONCE_BYTES / 8; i++) random[i] = p->env->random(p->env->self);
    uint64_t leader = !l->dialed && p->config.leader != NULL ? *p->config.leader : 0;
    wr_greeter_init(&l->greeter, !l->dialed, p->token, p->config.role, leader, (const uint8_t *)random);
    set_state(p, l, LINK_GREETS);
    l->greeted_by_ns = p->env->mono_ns(p->env->self) + (int64_t)WR_GREETING_MS * 1000000;
    if (!l->dialed) {
        char  *bytes;
        size_t n;
        wr_greeter_begin(&l->greeter, &bytes, &n);
        wr_outbox_push(&l->out, bytes, n, -1);
        arm_send(l);
    }
    arm_receive(p, l);
}

/* A free place among those that greet; when there is none, that of the oldest caller. */
static void make_room(wr_peers_nng *p)
{
    link    *oldest = NULL;
    uint32_t callers = 0;
    for (uint32_t i = 0; i < p->links; i++) {
        link *l = p->link[i];
        if (l == NULL || l->dialed || l->state != LINK_GREETS) continue;
        callers++;
        if (oldest == NULL || l->order < oldest->order) oldest = l;
    }
    if (callers < WR_HALF_OPEN_MAX) return;
    p->stats.refused++;
    complain(p, oldest, WR_LOG_INFO, "there are too many that say nothing");
    release(p, oldest);
}

static void accepted(wr_peers_nng *p, int result)
{
    p->accept.busy = false;
    if (p->pausing || result != 0) {
        if (result == NNG_ECLOSED || result == NNG_ECANCELED) return;
        if (!p->pausing)
            wr_complain(&p->complaints, p->env, WR_LOG_WARN, "control port", "cannot accept a connection: %s",
                        nng_strerror(result));
        arm_accept(p, !p->pausing);
        return;
    }
    nng_stream *stream = nng_aio_get_output(p->accept.aio, 0);
    p->stats.accepted++;
    make_room(p);
    link *l = add_link(p, LINK_DIALS, false);
    if (l == NULL) {
        p->stats.refused++;
        wr_complain(&p->complaints, p->env, WR_LOG_WARN, "control port", "there are %d connections; no more are taken",
                    WR_PEERS_MAX);
        nng_stream_free(stream);
    } else {
        l->stream = stream;
        l->tls = p->config.cert != NULL;
        greet(p, l);
    }
    arm_accept(p, false);
}

static bool dialed(wr_peers_nng *p, link *l, int result, wr_peer_event *event)
{
    l->dial.busy = false;
    if (result == 0) {
        l->stream = nng_aio_get_output(l->dial.aio, 0);
        greet(p, l);
        return false;
    }
    if (result == NNG_EPEERAUTH || result == NNG_ECRYPTO)
        closed(p, l, event, WR_PERMISSION, WRONG_CERTIFICATE);
    else if (result == NNG_EADDRINVAL)
        closed(p, l, event, WR_CONFIG, "this host is not known, or the address is wrong; it must be HOST:PORT");
    else
        closed(p, l, event, WR_UNREACHABLE, nng_strerror(result));
    return true;
}

static bool received(wr_peers_nng *p, link *l, int result, wr_peer_event *event)
{
    l->receive.busy = false;
    if (result == 0) {
        l->at = 0;
        l->n = nng_aio_count(l->receive.aio);
        p->reading = l->number;
        return false;
    }
    if (l->state == LINK_CLOSING || l->state == LINK_LINGERS) {
        release(p, l);
        return false;
    }
    bool greets = l->state == LINK_GREETS, slow = result == NNG_ETIMEDOUT;
    if (slow) p->stats.slow++;
    if (greets && !slow && !l->dialed) p->stats.garbage++;
    if (slow || greets) complain(p, l, WR_LOG_INFO, slow ? "it was too slow" : "it ended before its greeting");
    if (greets && !l->dialed) /* nobody has heard of it yet */
        release(p, l);
    else if (slow)
        closed(p, l, event, WR_UNREACHABLE,
               greets ? "no greeting came; is it the port of a JobManager, and does it want TLS?"
                      : "it began a message and did not end it");
    else if (result == NNG_EPEERAUTH || result == NNG_ECRYPTO) /* TLS begins with the first bytes */
        closed(p, l, event, WR_PERMISSION, WRONG_CERTIFICATE);
    else
        closed(p, l, event, WR_UNREACHABLE,
               !greets ? "the other side closed the connection"
               : l->tls
                   ? "the connection was closed before the greeting; is TLS spoken there, and a certificate wanted?"
                   : "the connection was closed before the greeting; is TLS expected there?");
    return event->kind == WR_PEER_CLOSED;
}

static bool sent(wr_peers_nng *p, link *l, int result, wr_peer_event *event)
{
    l->send.busy = false;
    if (l->state == LINK_LINGERS) {
        release(p, l);
        return false;
    }
    if (result == 0) {
        wr_outbox_sent(&l->out, nng_aio_count(l->send.aio));
        arm_send(l);
    } else {
        l->broken = true; /* what it said before may still be on its way to us: its end comes behind that */
        wr_outbox_fini(&l->out);
    }
    if (l->state == LINK_CLOSING && l->out.first == NULL) {
        if (!l->tls || l->broken) {
            release(p, l);
        } else {
            set_state(p, l, LINK_LINGERS);
            l->send.busy = true;
            nng_sleep_aio(TLS_LINGER_MS, l->send.aio);
        }
        return false;
    }
    if (result != NNG_ETIMEDOUT || l->state == LINK_GREETS) return false;
    p->stats.slow++;
    complain(p, l, WR_LOG_WARN, "it takes nothing");
    closed(p, l, event, WR_UNREACHABLE, "the other side takes nothing");
    return true;
}

/* ---- what came ---- */

/* Without a word, or with the last word that is in the box. */
static void part(wr_peers_nng *p, link *l)
{
    bool last_word = !l->broken && l->out.first != NULL;
    set_state(p, l, LINK_CLOSING);
    if (!last_word) {
        release(p, l);
        return;
    }
    arm_send(l);
    if (!l->receive.busy) arm_receive(p, l); /* away with what still comes: unread bytes would cut ours off */
}

static bool greeting_failed(wr_peers_nng *p, link *l, enum wr_greet_result result, const wr_errinfo *info,
                            wr_peer_event *event)
{
    uint64_t *counter = result == WR_GREET_WRONG_TOKEN     ? &p->stats.wrong_token
                        : result == WR_GREET_WRONG_VERSION ? &p->stats.wrong_version
                        : result == WR_GREET_GARBAGE       ? &p->stats.garbage
                                                           : &p->stats.refused;
    (*counter)++;
    if (!l->dialed) {
        complain(p, l, result == WR_GREET_GARBAGE ? WR_LOG_INFO : WR_LOG_WARN, info->text);
        part(p, l);
        return false;
    }
    *event = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = l->number, .dialed = true};
    wr_fail(&event->info, info->code, "%s: %s", l->host, info->text);
    part(p, l);
    return true;
}

static bool greeted(wr_peers_nng *p, link *l, char *bytes, uint32_t n, wr_peer_event *event)
{
    wr_errinfo info;
    char      *reply;
    size_t     reply_n;
    wr_errinfo_init(&info);
    enum wr_greet_result result = wr_greeter_take(&l->greeter, bytes, n, &reply, &reply_n, &info);
    free(bytes);
    if (reply != NULL) {
        wr_outbox_push(&l->out, reply, reply_n, -1);
        arm_send(l);
    }
    if (result == WR_GREET_MORE) return false;
    if (result != WR_GREET_OVER) return greeting_failed(p, l, result, &info, event);
    set_state(p, l, LINK_OPEN);
    wr_outbox_append(&l->out, &l->later);
    arm_send(l);
    char *larger = malloc(BUFFER_BYTES);
    check(larger != NULL);
    memcpy(larger, l->buffer, l->n);
    free(l->buffer);
    l->buffer = larger;
    l->buffer_bytes = BUFFER_BYTES;
    *event = (wr_peer_event){.kind = WR_PEER_OPENED, .peer = l->number, .dialed = l->dialed, .role = l->greeter.role};
    return true;
}

/* The next event out of the buffer that is being read. */
static bool parse(wr_peers_nng *p, wr_peer_event *event)
{
    link *l;
    while ((l = find(p, p->reading)) != NULL && l->at < l->n) {
        if (l->state != LINK_GREETS && l->state != LINK_OPEN) {
            l->at = l->n;
            break;
        }
        size_t               used;
        char                *bytes;
        uint32_t             n, max = l->state == LINK_OPEN ? WR_MESSAGE_BYTES_MAX : WR_GREETING_BYTES_MAX;
        enum wr_inbox_result result = wr_inbox_feed(&l->in, max, l->buffer + l->at, l->n - l->at, &used, &bytes, &n);
        l->at += used;
        if (result == WR_INBOX_MORE) continue;
        if (result == WR_INBOX_MESSAGE && l->state == LINK_OPEN) {
            *event = (wr_peer_event){.kind = WR_PEER_MESSAGE, .peer = l->number, .bytes = bytes, .n = n};
            return true;
        }
        if (result == WR_INBOX_MESSAGE) {
            if (greeted(p, l, bytes, n, event)) return true;
            continue;
        }
        if (result == WR_INBOX_GIFT) free(bytes);
        bool greets = l->state == LINK_GREETS;
        *(greets ? &p->stats.garbage : &p->stats.oversized) += 1;
        complain(p, l, WR_LOG_INFO, greets ? "what it sent is no greeting" : "a message of it is too large");
        if (greets && !l->dialed) {
            release(p, l);
            return false;
        }
        closed(p, l, event, WR_UNREACHABLE,
               greets ? "what came is no greeting of Weir; is this the port of a JobManager?"
                      : "it sent what is no message");
        return true;
    }
    p->reading = 0;
    if (l != NULL && !l->receive.busy) arm_receive(p, l);
    return false;
}

static bool do_next(void *self, wr_peer_event *event)
{
    wr_peers_nng *p = self;
    op           *o;
    event->kind = 0;
    while (!parse(p, event)) {
        if ((o = take_done(p)) == NULL) return false;
        int  result = o->result != 0 ? o->result : nng_aio_result(o->aio);
        bool told = false;
        switch (o->kind) { /* may free the operation with its link */
        case OP_ACCEPT: accepted(p, result); break;
        case OP_DIAL: told = dialed(p, o->link, result, event); break;
        case OP_RECEIVE: told = received(p, o->link, result, event); break;
        case OP_SEND: told = sent(p, o->link, result, event); break;
        }
        if (told) return true;
    }
    return true;
}

/* ---- what the owner does ---- */

static uint64_t do_dial(void *self, const char *address)
{
    wr_peers_nng *p = self;
    char          host[WR_HOST_BYTES_MAX], url[WR_HOST_BYTES_MAX + 32];
    uint16_t      port;
    link         *l = add_link(p, LINK_DIALS, true);
    check(l != NULL);
    l->tls = p->config.ca != NULL;
    l->host = strdup(address);
    check(l->host != NULL);
    int result = NNG_EADDRINVAL;
    if (wr_address_split(address, host, &port, NULL) == WR_OK && host[0] != 0 && port != 0) {
        snprintf(url, sizeof url, strchr(host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u", l->tls ? "tls+tcp" : "tcp",
                 host, port);
        result = nng_stream_dialer_alloc(&l->dialer, url);
    }
    if (result == 0 && l->tls) {
        nng_tls_config *tls;
        result = NNG_ECRYPTO;
        if (wr_nng_tls_dialer(&tls, &p->config, host, NULL) == WR_OK) { /* was fine when the table was made */
            result = nng_stream_dialer_set_ptr(l->dialer, NNG_OPT_TLS_CONFIG, tls);
            nng_tls_config_free(tls);
        }
    }
    l->dial.busy = result == 0;
    if (result == 0) {
        nng_aio_set_timeout(l->dial.aio, WR_GREETING_MS);
        nng_stream_dialer_dial(l->dialer, l->dial.aio);
    } else {
        l->dial.result = result;
        put_done(&l->dial);
    }
    return l->number;
}

static void do_send(void *self, uint64_t peer, char *bytes, size_t n)
{
    wr_peers_nng *p = self;
    link         *l = find(p, peer);
    if (l == NULL || l->state == LINK_CLOSING || l->state == LINK_LINGERS || l->broken) {
        free(bytes);
        return;
    }
    wr_outbox_push(l->state == LINK_OPEN ? &l->out : &l->later, bytes, n, -1);
    if (l->state == LINK_OPEN) arm_send(l);
    if (l->out.bytes + l->later.bytes <= WR_PEER_QUEUE_BYTES_MAX) return;
    p->stats.overflowed++;
    complain(p, l, WR_LOG_WARN, "too much waits for it");
    l->broken = true;
    if (l->stream != NULL) nng_stream_close(l->stream); /* its receive ends, and that becomes the event */
}

static void do_close(void *self, uint64_t peer)
{
    wr_peers_nng *p = self;
    link         *l = find(p, peer);
    if (l == NULL || l->state == LINK_CLOSING || l->state == LINK_LINGERS) return;
    if (l->state == LINK_OPEN)
        part(p, l);
    else
        release(p, l);
}

static void do_stats(void *self, wr_peers_stats *stats)
{
    *stats = ((wr_peers_nng *)self)->stats;
}

static wr_err listen_at(wr_peers_nng *p, wr_errinfo *info)
{
    char        host[WR_HOST_BYTES_MAX], url[WR_HOST_BYTES_MAX + 32];
    uint16_t    port;
    bool        tls = p->config.cert != NULL;
    const char *where = p->config.listen;
    WR_TRY(wr_address_split(where, host, &port, info));
    const char *form = strchr(host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u";
    snprintf(url, sizeof url, form, tls ? "tls+tcp" : "tcp", host, port);
    int result = nng_stream_listener_alloc(&p->listener, url);
    if (result == 0 && tls) {
        nng_tls_config *config;
        WR_TRY(wr_nng_tls_listener(&config, &p->config, info));
        result = nng_stream_listener_set_ptr(p->listener, NNG_OPT_TLS_CONFIG, config);
        nng_tls_config_free(config);
    }
    if (result == 0) result = nng_stream_listener_listen(p->listener);
    int bound = 0;
    if (result == 0) result = nng_stream_listener_get_int(p->listener, NNG_OPT_TCP_BOUND_PORT, &bound);
    if (result == NNG_EADDRINUSE)
        return wr_fail(info, WR_BUSY, "the port %s is taken by another process; choose another one, or port 0", where);
    if (result != 0) return wr_fail(info, WR_IO, "cannot listen at %s: %s", where, nng_strerror(result));
    snprintf(p->address, sizeof p->address, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, bound);
    if (!op_init(&p->accept, p, NULL, OP_ACCEPT)) return wr_fail(info, WR_MEMORY, "no memory to listen at %s", where);
    arm_accept(p, false);
    return WR_OK;
}

/* Certificates are looked at now, so that a dial cannot fail by them. */
static wr_err check_tls(const wr_peers_nng *p, wr_errinfo *info)
{
    nng_tls_config *tls;
    bool            wanted = p->config.cert != NULL || p->config.key != NULL || p->config.ca != NULL;
    if (!wanted || p->config.listen != NULL) return WR_OK;
    WR_TRY(wr_nng_tls_dialer(&tls, &p->config, "localhost", info));
    nng_tls_config_free(tls);
    return WR_OK;
}

wr_err wr_peers_nng_new(wr_peers_nng **take, const wr_peers_nng_config *config, wr_errinfo *info)
{
    wr_peers_nng *p = calloc(1, sizeof *p);
    if (p == NULL) return wr_fail(info, WR_MEMORY, "no memory for connections");
    check(strlen(config->token) < sizeof p->token);
    pthread_mutex_init(&p->lock, NULL);
    p->config = *config;
    p->env = config->env;
    snprintf(p->token, sizeof p->token, "%s", config->token);
    p->table = (wr_peers){
        .self = p, .dial = do_dial, .send = do_send, .close = do_close, .next = do_next, .stats = do_stats};
    wr_err err = check_tls(p, info);
    if (err == WR_OK && config->listen != NULL) err = listen_at(p, info);
    if (err == WR_OK)
        *take = p;
    else
        wr_peers_nng_free(p);
    return err;
}

wr_peers *wr_peers_nng_table(wr_peers_nng *p)
{
    return &p->table;
}

const char *wr_peers_nng_address(const wr_peers_nng *p)
{
    return p->address;
}

static bool leaves(const wr_peers_nng *p)
{
    for (uint32_t i = 0; i < p->links; i++) {
        if (p->link[i] != NULL && (p->link[i]->state == LINK_CLOSING || p->link[i]->state == LINK_LINGERS)) return true;
    }
    return false;
}

void wr_peers_nng_free(wr_peers_nng *p)
{
    if (p == NULL) return;
    const wr_env *e = p->env;
    int64_t       until = e->mono_ns(e->self) + (int64_t)WR_LINGER_MS * 1000000, now;
    while (leaves(p) && (now = e->mono_ns(e->self)) < until) { /* for a while, as close says */
        wr_peer_event event;
        wr_parker_prepare(p->config.parker);
        if (p->table.next(p, &event)) {
            wr_parker_cancel(p->config.parker);
            if (event.kind == WR_PEER_MESSAGE) free(event.bytes);
            continue;
        }
        if (leaves(p))
            e->park(e->self, p->config.parker, until - now);
        else
            wr_parker_cancel(p->config.parker);
    }
    if (p->listener != NULL) nng_stream_listener_close(p->listener);
    if (p->accept.aio != NULL) nng_aio_stop(p->accept.aio);
    if (p->accept.busy && !p->pausing && nng_aio_result(p->accept.aio) == 0)
        nng_stream_free(nng_aio_get_output(p->accept.aio, 0));
    op_fini(&p->accept);
    if (p->listener != NULL) nng_stream_listener_free(p->listener);
    for (uint32_t i = 0; i < p->links; i++) {
        if (p->link[i] != NULL) release(p, p->link[i]);
    }
    explicit_bzero(p->token, sizeof p->token);
    pthread_mutex_destroy(&p->lock);
    free(p->link);
    free(p);
}
