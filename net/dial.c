/* The dialer's end. The accepting one: accept.c. */
#include "net/dial.h"
#include "base/check.h"
#include "net/mac.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TRY_MS = 5000, BACK_OFF_MIN_MS = 10, BACK_OFF_MAX_MS = 200 };
#define MS_NS ((int64_t)1000000)

typedef enum call_state {
    CALL_RESTS, /* tries again at due_ns */
    CALL_CONNECTS,
    CALL_LISTENS, /* to the nonce */
    CALL_SAYS,    /* the hello */
    CALL_THROUGH,
    CALL_NEVER
} call_state;

/* One connection that is wanted. Owner: its dialer. */
typedef struct call {
    struct call  *next;
    char         *address;
    wr_data_hello hello;
    uint64_t      tag;
    int64_t       deadline_ns, due_ns; /* due_ns: RESTS: try again; else: give this try up */
    int64_t       back_off_ms;
    call_state    state;
    int           socket, error; /* error: negative errno of the last try */
    uint32_t      done;          /* bytes of the nonce, or of the hello */
    uint8_t       nonce[WR_DATA_NONCE_BYTES], bytes[WR_HELLO_BYTES];
} call;

/* Owner: one thread. */
struct wr_dialer {
    const wr_env *env;
    int           poller;
    uint8_t       secret[32];
    call         *first;
};

wr_err wr_dialer_new(wr_dialer **take, const wr_env *env, const uint8_t secret[32], wr_errinfo *info)
{
    wr_dialer *d = calloc(1, sizeof *d);
    if (d == NULL) return wr_fail(info, WR_MEMORY, "no memory for data connections");
    d->env = env;
    memcpy(d->secret, secret, sizeof d->secret);
    d->poller = env->poll_new(env->self);
    if (d->poller < 0) {
        int error = -d->poller;
        free(d);
        return wr_fail_errno(info, error, "cannot wait for data connections");
    }
    *take = d;
    return WR_OK;
}

static void hang_up(wr_dialer *d, call *c)
{
    if (c->socket < 0) return;
    d->env->watch(d->env->self, d->poller, c->socket, 0);
    d->env->hang_up(d->env->self, c->socket);
    c->socket = -1;
}

static void failed(wr_dialer *d, call *c, int error, int64_t now)
{
    hang_up(d, c);
    c->error = error;
    c->state = CALL_RESTS;
    c->due_ns = now + c->back_off_ms * MS_NS;
    c->back_off_ms = c->back_off_ms * 2 > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : c->back_off_ms * 2;
    /* An address that cannot be one does not become one. */
    if (error == -EINVAL || now >= c->deadline_ns) c->state = CALL_NEVER;
}

static void watch(wr_dialer *d, call *c, uint32_t what, int64_t now)
{
    int result = d->env->watch(d->env->self, d->poller, c->socket, what);
    if (result < 0) failed(d, c, result, now);
}

static void begin(wr_dialer *d, call *c, int64_t now)
{
    c->socket = d->env->connect(d->env->self, c->address);
    if (c->socket < 0) {
        failed(d, c, c->socket, now);
        return;
    }
    c->state = CALL_CONNECTS;
    c->done = 0;
    c->due_ns = now + TRY_MS * MS_NS;
    watch(d, c, WR_WATCH_OUT, now);
}

static void prove(const wr_dialer *d, call *c)
{
    uint8_t proved[WR_DATA_NONCE_BYTES + WR_HELLO_SIGNED_BYTES];
    wr_data_hello_put(&c->hello, c->bytes);
    memcpy(proved, c->nonce, sizeof c->nonce);
    memcpy(proved + sizeof c->nonce, c->bytes, WR_HELLO_SIGNED_BYTES);
    wr_mac(d->secret, sizeof d->secret, proved, sizeof proved, c->hello.mac);
    wr_data_hello_put(&c->hello, c->bytes);
}

static void go_on(wr_dialer *d, call *c, int64_t now)
{
    const wr_env *e = d->env;
    if (c->state == CALL_CONNECTS) {
        int result = e->connected(e->self, c->socket);
        if (result == -EAGAIN) return;
        if (result < 0) {
            failed(d, c, result, now);
            return;
        }
        c->state = CALL_LISTENS;
        watch(d, c, WR_WATCH_IN, now);
    }
    if (c->state == CALL_LISTENS) {
        wr_span span = {c->nonce + c->done, sizeof c->nonce - c->done};
        int64_t n = e->receive(e->self, c->socket, &span, 1);
        if (n == -EAGAIN) return;
        if (n <= 0) {
            failed(d, c, n == 0 ? -ECONNRESET : (int)n, now);
            return;
        }
        c->done += (uint32_t)n;
        if (c->done < sizeof c->nonce) return;
        prove(d, c);
        c->done = 0;
        c->state = CALL_SAYS;
        watch(d, c, WR_WATCH_OUT, now);
    }
    if (c->state == CALL_SAYS) {
        wr_span span = {c->bytes + c->done, sizeof c->bytes - c->done};
        int64_t n = e->send(e->self, c->socket, &span, 1);
        if (n == -EAGAIN) return;
        if (n < 0) {
            failed(d, c, (int)n, now);
            return;
        }
        c->done += (uint32_t)n;
        if (c->done < sizeof c->bytes) return;
        e->watch(e->self, d->poller, c->socket, 0);
        c->state = CALL_THROUGH;
    }
}

wr_err wr_dialer_dial(wr_dialer *d, const char *address, const wr_data_hello *hello, uint64_t tag, int64_t deadline_ns,
                      wr_errinfo *info)
{
    call *c = calloc(1, sizeof *c);
    if (c != NULL) c->address = strdup(address);
    if (c == NULL || c->address == NULL) {
        free(c);
        return wr_fail(info, WR_MEMORY, "no memory for a data connection");
    }
    c->hello = *hello;
    c->tag = tag;
    c->deadline_ns = deadline_ns;
    c->back_off_ms = BACK_OFF_MIN_MS;
    c->socket = -1;
    c->state = CALL_RESTS;
    c->next = d->first;
    d->first = c;
    begin(d, c, d->env->mono_ns(d->env->self));
    return WR_OK;
}

void wr_dialer_step(wr_dialer *d)
{
    int64_t now = d->env->mono_ns(d->env->self);
    for (call *c = d->first; c != NULL; c = c->next) {
        if (c->state == CALL_THROUGH || c->state == CALL_NEVER) continue;
        if (c->state != CALL_RESTS) go_on(d, c, now);
        bool over = now >= c->due_ns || now >= c->deadline_ns;
        if (c->state == CALL_RESTS && now >= c->deadline_ns)
            c->state = CALL_NEVER;
        else if (c->state == CALL_RESTS && now >= c->due_ns)
            begin(d, c, now);
        else if (c->state != CALL_RESTS && c->state != CALL_THROUGH && c->state != CALL_NEVER && over)
            failed(d, c, -ETIMEDOUT, now);
    }
}

bool wr_dialer_take(wr_dialer *d, uint64_t *tag, int *socket, wr_errinfo *info)
{
    for (call **at = &d->first; *at != NULL; at = &(*at)->next) {
        call *c = *at;
        if (c->state != CALL_THROUGH && c->state != CALL_NEVER) continue;
        *tag = c->tag;
        *socket = c->state == CALL_THROUGH ? c->socket : -1;
        if (c->state == CALL_NEVER && c->error == -EINVAL)
            wr_fail(info, WR_UNREACHABLE, "\"%s\" is no address of a data port; it must be HOST:PORT", c->address);
        else if (c->state == CALL_NEVER)
            wr_fail(info, WR_UNREACHABLE,
                    "cannot open a data connection to %s: %s; is that TaskManager alive, and does a firewall let its "
                    "data port through?",
                    c->address, strerror(-c->error));
        *at = c->next;
        free(c->address);
        free(c);
        return true;
    }
    return false;
}

int wr_dialer_fd(const wr_dialer *d)
{
    return d->poller;
}

int64_t wr_dialer_due_ns(const wr_dialer *d)
{
    int64_t due = INT64_MAX;
    for (const call *c = d->first; c != NULL; c = c->next) {
        if (c->state == CALL_THROUGH || c->state == CALL_NEVER) return 0;
        int64_t own = c->due_ns < c->deadline_ns ? c->due_ns : c->deadline_ns;
        if (own < due) due = own;
    }
    return due;
}

void wr_dialer_free(wr_dialer *d)
{
    if (d == NULL) return;
    while (d->first != NULL) {
        call *c = d->first;
        d->first = c->next;
        hang_up(d, c);
        free(c->address);
        free(c);
    }
    d->env->poll_free(d->env->self, d->poller);
    memset(d->secret, 0, sizeof d->secret);
    free(d);
}
