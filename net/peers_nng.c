/* Connections over nng's streams. A completion of nng is put into a list by one of nng's threads, under the one lock
 * here, and its owner is woken: so reading goes on only as fast as the owner takes what came, and everything but that
 * list belongs to one thread. nng keeps the time, too: each operation has its limit. */
#include "base/check.h"
#include "net/peers_nng_inner.h"
#include <stdlib.h>
#include <string.h>

static bool do_next(void *self, wr_peer_event *event)
{
    wr_peers_nng *p = self;
    wr_nng_op    *o;
    event->kind = 0;
    while (!wr_nng_parse(p, event)) {
        if ((o = wr_nng_take_done(p)) == NULL) return false;
        int  result = o->result != 0 ? o->result : nng_aio_result(o->aio);
        bool told = false;
        switch (o->kind) { /* may free the operation with its link */
        case OP_ACCEPT: wr_nng_accepted(p, result); break;
        case OP_DIAL: told = wr_nng_dialed(p, o->link, result, event); break;
        case OP_RECEIVE: told = wr_nng_received(p, o->link, result, event); break;
        case OP_SEND: told = wr_nng_sent(p, o->link, result, event); break;
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
    wr_nng_link  *l = wr_nng_add(p, LINK_DIALS, true);
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
        wr_nng_put_done(&l->dial);
    }
    return l->number;
}

static void do_send(void *self, uint64_t peer, char *bytes, size_t n)
{
    wr_peers_nng *p = self;
    wr_nng_link  *l = wr_nng_find(p, peer);
    if (l == NULL || l->state == LINK_CLOSING || l->state == LINK_LINGERS || l->broken) {
        free(bytes);
        return;
    }
    wr_outbox_push(l->state == LINK_OPEN ? &l->out : &l->later, bytes, n, -1);
    if (l->state == LINK_OPEN) wr_nng_arm_send(l);
    if (l->out.bytes + l->later.bytes <= WR_PEER_QUEUE_BYTES_MAX) return;
    p->stats.overflowed++;
    wr_nng_complain(p, l, WR_LOG_WARN, "too much waits for it");
    l->broken = true;
    if (l->stream != NULL) nng_stream_close(l->stream); /* its receive ends, and that becomes the event */
}

static void do_close(void *self, uint64_t peer)
{
    wr_peers_nng *p = self;
    wr_nng_link  *l = wr_nng_find(p, peer);
    if (l == NULL || l->state == LINK_CLOSING || l->state == LINK_LINGERS) return;
    if (l->state == LINK_OPEN)
        wr_nng_part(p, l);
    else
        wr_nng_release(p, l);
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
    if (!wr_nng_op_init(&p->accept, p, NULL, OP_ACCEPT))
        return wr_fail(info, WR_MEMORY, "no memory to listen at %s", where);
    wr_nng_arm_accept(p, false);
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
    wr_nng_op_fini(&p->accept);
    if (p->listener != NULL) nng_stream_listener_free(p->listener);
    for (uint32_t i = 0; i < p->links; i++) {
        if (p->link[i] != NULL) wr_nng_release(p, p->link[i]);
    }
    explicit_bzero(p->token, sizeof p->token);
    pthread_mutex_destroy(&p->lock);
    free(p->link);
    free(p);
}
