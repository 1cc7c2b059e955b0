/* Operations of nng, and the links that they belong to. */
#include "base/check.h"
#include "net/peers_nng_inner.h"
#include <stdlib.h>
#include <string.h>

enum { GREETING_BUFFER_BYTES = WR_GREETING_BYTES_MAX + WR_BOX_HEAD_BYTES, PAUSE_MS = 100, SPANS = 6 };

/* ---- completions ---- */

void wr_nng_put_done(wr_nng_op *o)
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
    wr_nng_put_done(arg);
}

wr_nng_op *wr_nng_take_done(wr_peers_nng *p)
{
    pthread_mutex_lock(&p->lock);
    wr_nng_op *o = p->done;
    if (o != NULL) {
        p->done = o->next;
        o->queued = false;
    }
    pthread_mutex_unlock(&p->lock);
    return o;
}

static void forget_done(wr_nng_op *o)
{
    wr_peers_nng *p = o->table;
    pthread_mutex_lock(&p->lock);
    wr_nng_op *before = NULL;
    for (wr_nng_op *at = p->done; at != NULL && o->queued; before = at, at = at->next) {
        if (at != o) continue;
        *(before != NULL ? &before->next : &p->done) = o->next;
        if (p->done_last == o) p->done_last = before;
        o->queued = false;
    }
    pthread_mutex_unlock(&p->lock);
}

bool wr_nng_op_init(wr_nng_op *o, wr_peers_nng *p, wr_nng_link *l, wr_nng_kind kind)
{
    *o = (wr_nng_op){.table = p, .link = l, .kind = kind};
    return nng_aio_alloc(&o->aio, completed, o) == 0;
}

void wr_nng_op_fini(wr_nng_op *o)
{
    if (o->aio == NULL) return;
    nng_aio_stop(o->aio); /* its callback has run, or never will */
    forget_done(o);
    nng_aio_free(o->aio);
    o->aio = NULL;
}

/* ---- links ---- */

wr_nng_link *wr_nng_find(wr_peers_nng *p, uint64_t number)
{
    uint64_t index = (number & 0xffff) - 1;
    if (number == 0 || index >= p->links || p->link[index] == NULL || p->link[index]->number != number) return NULL;
    return p->link[index];
}

static void count(wr_peers_nng *p, const wr_nng_link *l, uint32_t by)
{
    if (l->state == LINK_OPEN) p->stats.open += by;
    if (l->state == LINK_GREETS) p->stats.half_open += by;
}

void wr_nng_set_state(wr_peers_nng *p, wr_nng_link *l, wr_nng_state state)
{
    count(p, l, UINT32_MAX);
    l->state = state;
    count(p, l, 1);
}

void wr_nng_release(wr_peers_nng *p, wr_nng_link *l)
{
    if (l->stream != NULL) nng_stream_close(l->stream);
    if (l->dialer != NULL) nng_stream_dialer_close(l->dialer);
    bool dialing = l->dial.busy && l->stream == NULL;
    wr_nng_op_fini(&l->receive);
    wr_nng_op_fini(&l->send);
    if (l->dial.aio != NULL) nng_aio_stop(l->dial.aio);
    /* It may have come through in the last moment. */
    if (dialing && nng_aio_result(l->dial.aio) == 0) l->stream = nng_aio_get_output(l->dial.aio, 0);
    wr_nng_op_fini(&l->dial);
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

wr_nng_link *wr_nng_add(wr_peers_nng *p, wr_nng_state state, bool dialed)
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
    wr_nng_link *l = calloc(1, sizeof *l);
    check(l != NULL);
    l->number = ++p->generation << 16 | (index + 1);
    l->order = ++p->order;
    l->state = state;
    l->dialed = dialed;
    l->buffer_bytes = GREETING_BUFFER_BYTES;
    l->buffer = malloc(l->buffer_bytes);
    check(l->buffer != NULL && wr_nng_op_init(&l->dial, p, l, OP_DIAL) &&
          wr_nng_op_init(&l->receive, p, l, OP_RECEIVE) && wr_nng_op_init(&l->send, p, l, OP_SEND));
    p->link[index] = l;
    count(p, l, 1);
    return l;
}

void wr_nng_complain(wr_peers_nng *p, const wr_nng_link *l, wr_log_level level, const char *why)
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

void wr_nng_arm_receive(wr_peers_nng *p, wr_nng_link *l)
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

void wr_nng_arm_send(wr_nng_link *l)
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

void wr_nng_arm_accept(wr_peers_nng *p, bool pause)
{
    p->pausing = pause;
    nng_aio_set_timeout(p->accept.aio, NNG_DURATION_INFINITE);
    p->accept.busy = true;
    if (pause)
        nng_sleep_aio(PAUSE_MS, p->accept.aio);
    else
        nng_stream_listener_accept(p->listener, p->accept.aio);
}

void wr_nng_greet(wr_peers_nng *p, wr_nng_link *l)
{
    uint64_t random[WR_NONCE_BYTES / 8];
    for (size_t i = 0; i < WR_NONCE_BYTES / 8; i++) random[i] = p->env->random(p->env->self);
    uint64_t leader = !l->dialed && p->config.leader != NULL ? *p->config.leader : 0;
    check(l->dialed || p->config.leader == NULL ||
          leader != 0); /* `next` is called when there is one, and not before */
    wr_greeter_init(&l->greeter, !l->dialed, p->token, p->config.role, leader, (const uint8_t *)random);
    wr_nng_set_state(p, l, LINK_GREETS);
    l->greeted_by_ns = p->env->mono_ns(p->env->self) + (int64_t)WR_GREETING_MS * 1000000;
    if (!l->dialed) {
        char  *bytes;
        size_t n;
        wr_greeter_begin(&l->greeter, &bytes, &n);
        wr_outbox_push(&l->out, bytes, n, -1);
        wr_nng_arm_send(l);
    }
    wr_nng_arm_receive(p, l);
}

/* Without a word, or with the last word that is in the box. */
void wr_nng_part(wr_peers_nng *p, wr_nng_link *l)
{
    bool last_word = !l->broken && l->out.first != NULL;
    wr_nng_set_state(p, l, LINK_CLOSING);
    if (!last_word) {
        wr_nng_release(p, l);
        return;
    }
    wr_nng_arm_send(l);
    if (!l->receive.busy) wr_nng_arm_receive(p, l); /* away with what still comes: unread bytes would cut ours off */
}
