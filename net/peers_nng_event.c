/* What nng has done, and what came by it: greetings, messages, ends. */
#include "base/check.h"
#include "net/peers_nng_inner.h"
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = WR_KIB(16), TLS_LINGER_MS = 100 };
#define WRONG_CERTIFICATE                                                                                              \
    "TLS failed; its certificate must be for that name and of an authority in tls.ca, and it may want one of ours"

/* The end, told as an event. text: the cause; where we dialed is added. */
static void closed(wr_peers_nng *p, wr_nng_link *l, wr_peer_event *event, wr_err code, const char *text)
{
    *event = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = l->number, .dialed = l->dialed};
    if (l->host != NULL)
        wr_fail(&event->info, code, "%s: %s", l->host, text);
    else
        wr_fail(&event->info, code, "%s", text);
    wr_nng_release(p, l);
}

/* A free place among those that greet; when there is none, that of the oldest caller. */
static void make_room(wr_peers_nng *p)
{
    wr_nng_link *oldest = NULL;
    uint32_t     callers = 0;
    for (uint32_t i = 0; i < p->links; i++) {
        wr_nng_link *l = p->link[i];
        if (l == NULL || l->dialed || l->state != LINK_GREETS) continue;
        callers++;
        if (oldest == NULL || l->order < oldest->order) oldest = l;
    }
    if (callers < WR_HALF_OPEN_MAX) return;
    p->stats.refused++;
    wr_nng_complain(p, oldest, WR_LOG_INFO, "there are too many that say nothing");
    wr_nng_release(p, oldest);
}

void wr_nng_accepted(wr_peers_nng *p, int result)
{
    p->accept.busy = false;
    if (p->pausing || result != 0) {
        if (result == NNG_ECLOSED || result == NNG_ECANCELED) return;
        if (!p->pausing)
            wr_complain(&p->complaints, p->env, WR_LOG_WARN, "control port", "cannot accept a connection: %s",
                        nng_strerror(result));
        wr_nng_arm_accept(p, !p->pausing);
        return;
    }
    nng_stream *stream = nng_aio_get_output(p->accept.aio, 0);
    p->stats.accepted++;
    make_room(p);
    wr_nng_link *l = wr_nng_add(p, LINK_DIALS, false);
    if (l == NULL) {
        p->stats.refused++;
        wr_complain(&p->complaints, p->env, WR_LOG_WARN, "control port", "there are %d connections; no more are taken",
                    WR_PEERS_MAX);
        nng_stream_free(stream);
    } else {
        l->stream = stream;
        l->tls = p->config.cert != NULL;
        wr_nng_greet(p, l);
    }
    wr_nng_arm_accept(p, false);
}

bool wr_nng_dialed(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event)
{
    l->dial.busy = false;
    if (result == 0) {
        l->stream = nng_aio_get_output(l->dial.aio, 0);
        wr_nng_greet(p, l);
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

bool wr_nng_received(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event)
{
    l->receive.busy = false;
    if (result == 0) {
        l->at = 0;
        l->n = nng_aio_count(l->receive.aio);
        p->reading = l->number;
        return false;
    }
    if (l->state == LINK_CLOSING || l->state == LINK_LINGERS) {
        wr_nng_release(p, l);
        return false;
    }
    bool greets = l->state == LINK_GREETS, slow = result == NNG_ETIMEDOUT;
    if (slow) p->stats.slow++;
    if (greets && !slow && !l->dialed) p->stats.garbage++;
    if (slow || greets) wr_nng_complain(p, l, WR_LOG_INFO, slow ? "it was too slow" : "it ended before its greeting");
    if (greets && !l->dialed) /* nobody has heard of it yet */
        wr_nng_release(p, l);
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

bool wr_nng_sent(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event)
{
    l->send.busy = false;
    if (l->state == LINK_LINGERS) {
        wr_nng_release(p, l);
        return false;
    }
    if (result == 0) {
        wr_outbox_sent(&l->out, nng_aio_count(l->send.aio));
        wr_nng_arm_send(l);
    } else {
        l->broken = true; /* what it said before may still be on its way to us: its end comes behind that */
        wr_outbox_fini(&l->out);
    }
    if (l->state == LINK_CLOSING && l->out.first == NULL) {
        if (!l->tls || l->broken) {
            wr_nng_release(p, l);
        } else {
            wr_nng_set_state(p, l, LINK_LINGERS);
            l->send.busy = true;
            nng_sleep_aio(TLS_LINGER_MS, l->send.aio);
        }
        return false;
    }
    if (result != NNG_ETIMEDOUT || l->state == LINK_GREETS) return false;
    p->stats.slow++;
    wr_nng_complain(p, l, WR_LOG_WARN, "it takes nothing");
    closed(p, l, event, WR_UNREACHABLE, "the other side takes nothing");
    return true;
}

/* ---- what came ---- */

static bool greeting_failed(wr_peers_nng *p, wr_nng_link *l, enum wr_greet_result result, const wr_errinfo *info,
                            wr_peer_event *event)
{
    uint64_t *counter = result == WR_GREET_WRONG_TOKEN     ? &p->stats.wrong_token
                        : result == WR_GREET_WRONG_VERSION ? &p->stats.wrong_version
                        : result == WR_GREET_GARBAGE       ? &p->stats.garbage
                                                           : &p->stats.refused;
    (*counter)++;
    if (!l->dialed) {
        wr_nng_complain(p, l, result == WR_GREET_GARBAGE ? WR_LOG_INFO : WR_LOG_WARN, info->text);
        wr_nng_part(p, l);
        return false;
    }
    *event = (wr_peer_event){.kind = WR_PEER_CLOSED, .peer = l->number, .dialed = true};
    wr_fail(&event->info, info->code, "%s: %s", l->host, info->text);
    wr_nng_part(p, l);
    return true;
}

static bool greeted(wr_peers_nng *p, wr_nng_link *l, char *bytes, uint32_t n, wr_peer_event *event)
{
    wr_errinfo info;
    char      *reply;
    size_t     reply_n;
    wr_errinfo_init(&info);
    enum wr_greet_result result = wr_greeter_take(&l->greeter, bytes, n, &reply, &reply_n, &info);
    free(bytes);
    if (reply != NULL) {
        wr_outbox_push(&l->out, reply, reply_n, -1);
        wr_nng_arm_send(l);
    }
    if (result == WR_GREET_MORE) return false;
    if (result != WR_GREET_OVER) return greeting_failed(p, l, result, &info, event);
    wr_nng_set_state(p, l, LINK_OPEN);
    wr_outbox_append(&l->out, &l->later);
    wr_nng_arm_send(l);
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
bool wr_nng_parse(wr_peers_nng *p, wr_peer_event *event)
{
    wr_nng_link *l;
    while ((l = wr_nng_find(p, p->reading)) != NULL && l->at < l->n) {
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
            *event = (wr_peer_event){
                .kind = WR_PEER_MESSAGE, .peer = l->number, .role = l->greeter.role, .bytes = bytes, .n = n};
            return true;
        }
        if (result == WR_INBOX_MESSAGE) {
            if (greeted(p, l, bytes, n, event)) return true;
            continue;
        }
        if (result == WR_INBOX_GIFT) free(bytes);
        bool greets = l->state == LINK_GREETS;
        *(greets ? &p->stats.garbage : &p->stats.oversized) += 1;
        wr_nng_complain(p, l, WR_LOG_INFO, greets ? "what it sent is no greeting" : "a message of it is too large");
        if (greets && !l->dialed) {
            wr_nng_release(p, l);
            return false;
        }
        closed(p, l, event, WR_UNREACHABLE,
               greets ? "what came is no greeting of Weir; is this the port of a JobManager?"
                      : "it sent what is no message");
        return true;
    }
    p->reading = 0;
    if (l != NULL && !l->receive.busy) wr_nng_arm_receive(p, l);
    return false;
}
