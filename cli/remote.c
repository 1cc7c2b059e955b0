#include "cli/remote.h"
#include "base/check.h"
#include "cli/serve.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIAL_NS   INT64_C(10000000000)
#define READS_NS  INT64_C(30000000000)
#define AGAIN_NS  INT64_C(60000000000)
#define PAUSE_NS  INT64_C(100000000)
#define STANDS_NS INT64_C(2000000000)

struct wr_link {
    const wr_env      *env;
    const wr_settings *settings;
    wr_parker          parker;
    wr_peers_nng      *nng;
    wr_peers          *peers;
    uint64_t           peer; /* 0: none */
    int64_t            until_ns;
    char               address[WR_NAME_BYTES_MAX * 2];
    char               token[WR_TOKEN_BYTES_MAX];
};

static wr_parker            *to_wake; /* shared with the signal handler */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    if (interrupted) _exit(WR_EXIT_INTERRUPTED);
    interrupted = 1;
    wr_env_real()->wake(wr_env_real()->self, to_wake);
}

void wr_link_obey_signals(wr_link *l)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    to_wake = &l->parker;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool wr_link_interrupted(void)
{
    return interrupted != 0;
}

const char *wr_link_address(const wr_link *l)
{
    return l->address;
}

static int64_t now(const wr_link *l)
{
    return l->env->mono_ns(l->env->self);
}

void wr_link_pause(wr_link *l, int64_t ns)
{
    for (int64_t until = now(l) + ns, left = ns; left > 0 && !interrupted; left = until - now(l)) {
        wr_parker_prepare(&l->parker);
        l->env->park(l->env->self, &l->parker, left);
        wr_parker_cancel(&l->parker);
    }
}

int64_t wr_link_until(const wr_options *o, bool reads)
{
    const wr_env *env = wr_env_real();
    int64_t       patience = o->timeout_ns > 0 ? o->timeout_ns : reads ? READS_NS : 0, until;
    if (patience == 0 || __builtin_add_overflow(env->mono_ns(env->self), patience, &until)) return INT64_MAX;
    return until;
}

void wr_link_patience(wr_link *l, int64_t until_ns)
{
    l->until_ns = until_ns;
}

/* The next event; TIMEOUT, CANCELED. */
static wr_err next_event(wr_link *l, int64_t until_ns, wr_peer_event *event, wr_errinfo *info)
{
    for (;;) {
        if (interrupted) return wr_fail(info, WR_CANCELED, "interrupted");
        wr_parker_prepare(&l->parker);
        if (l->peers->next(l->peers->self, event)) {
            wr_parker_cancel(&l->parker);
            return WR_OK;
        }
        int64_t left = until_ns == INT64_MAX ? -1 : until_ns - now(l);
        if (until_ns != INT64_MAX && left <= 0) {
            wr_parker_cancel(&l->parker);
            return wr_fail(info, WR_TIMEOUT, "the JobManager %s did not answer in time", l->address);
        }
        l->env->park(l->env->self, &l->parker, left);
        wr_parker_cancel(&l->parker);
    }
}

static wr_err dial(wr_link *l, int64_t until_ns, wr_errinfo *info)
{
    wr_errinfo why = {0};
    int64_t    patience = now(l) + DIAL_NS;
    l->peer = l->peers->dial(l->peers->self, l->address);
    for (;;) {
        wr_peer_event e;
        wr_err        err = next_event(l, until_ns < patience ? until_ns : patience, &e, &why);
        if (err != WR_OK) {
            l->peer = 0;
            if (err == WR_CANCELED || until_ns < patience) return wr_fail(info, err, "%s", why.text);
            return wr_fail(info, WR_UNREACHABLE,
                           "the JobManager %s does not answer; its process may stand still, or something else listens "
                           "there; `weir config jobmanager` says where it is looked for, --jobmanager names another",
                           l->address);
        }
        if (e.kind == WR_PEER_MESSAGE) free(e.bytes);
        if (e.peer != l->peer) continue;
        if (e.kind == WR_PEER_OPENED) return WR_OK;
        if (e.kind != WR_PEER_CLOSED) continue;
        l->peer = 0;
        if (e.info.code != WR_OK && e.info.code != WR_UNREACHABLE && e.info.code != WR_IO)
            return wr_fail(info, e.info.code, "%s", e.info.text);
        return wr_fail(info, WR_UNREACHABLE,
                       "the JobManager %s cannot be reached%s%s; is it running? `weir config jobmanager` says where it "
                       "is looked for, --jobmanager names another",
                       l->address, e.info.text[0] != 0 ? ": " : "", e.info.text);
    }
}

wr_err wr_link_open(wr_link **take, const wr_settings *s, int64_t until_ns, wr_errinfo *info)
{
    wr_err     err;
    wr_errinfo why = {0};
    wr_link   *l = calloc(1, sizeof *l);
    if (l == NULL) return wr_fail(info, WR_MEMORY, "no memory for a connection");
    l->env = wr_env_real();
    l->settings = s;
    l->until_ns = until_ns;
    snprintf(l->address, sizeof l->address, "%s", wr_setting_text(s, WR_SET_JOBMANAGER));
    if (l->env->parker_init(l->env->self, &l->parker) != 0) {
        free(l);
        return wr_fail(info, WR_IO, "no event descriptor can be made");
    }
    WR_GOTO(wr_cli_token(s, l->token, sizeof l->token, info));
    wr_peers_nng_config config = {.env = l->env, .parker = &l->parker, .token = l->token, .role = WR_ROLE_CLIENT};
    wr_cli_certificates(&config, s);
    WR_GOTO(wr_peers_nng_new(&l->nng, &config, info));
    l->peers = wr_peers_nng_table(l->nng);
    err = dial(l, until_ns, &why);
    if (err != WR_OK) wr_fail(info, err, "%s%s", why.text, err == WR_TIMEOUT ? "; nothing was asked of it" : "");
    if (err != WR_OK) goto out;
    *take = l;
    return WR_OK;
out:
    wr_link_close(l);
    return err;
}

void wr_link_close(wr_link *l)
{
    if (l == NULL) return;
    if (to_wake == &l->parker) { /* who interrupts from here on means it */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        to_wake = NULL;
    }
    if (l->nng != NULL) wr_peers_nng_free(l->nng);
    l->env->parker_fini(l->env->self, &l->parker);
    explicit_bzero(l->token, sizeof l->token);
    free(l);
}

static wr_err send_message(wr_link *l, const wr_message *m, wr_errinfo *info)
{
    char  *bytes = NULL;
    size_t n = 0;
    WR_TRY(wr_message_encode(m, &bytes, &n, info));
    l->peers->send(l->peers->self, l->peer, bytes, n);
    return WR_OK;
}

/* The next message that answers this request. UNREACHABLE: the connection is gone. */
static wr_err answer(wr_link *l, uint64_t request, wr_message *m, wr_errinfo *info)
{
    for (;;) {
        wr_peer_event e;
        WR_TRY(next_event(l, l->until_ns, &e, info));
        if (e.kind == WR_PEER_CLOSED && e.peer == l->peer) {
            l->peer = 0;
            if (e.info.code != WR_OK && e.info.code != WR_UNREACHABLE && e.info.code != WR_IO)
                return wr_fail(info, e.info.code, "%s", e.info.text);
            return wr_fail(info, WR_UNREACHABLE, "the JobManager %s went away before it answered", l->address);
        }
        if (e.kind != WR_PEER_MESSAGE) continue;
        wr_err err = wr_message_decode(m, e.bytes, e.n, info);
        free(e.bytes);
        WR_TRY(err);
        if (m->request == request) return WR_OK;
        wr_message_free(m);
    }
}

/* A JobManager that is started again has the same address. */
static wr_err dial_again(wr_link *l, wr_errinfo *info)
{
    int64_t end = now(l) + AGAIN_NS;
    for (;;) {
        wr_errinfo why = {0};
        wr_err     err = dial(l, l->until_ns < end ? l->until_ns : end, &why);
        if (err == WR_OK) return WR_OK;
        if (now(l) >= l->until_ns) return wr_fail(info, WR_TIMEOUT, "%s", why.text);
        if (err != WR_UNREACHABLE || now(l) >= end) return wr_fail(info, err, "%s", why.text);
        wr_link_pause(l, PAUSE_NS);
    }
}

static wr_err ask_until(wr_link *l, const wr_request *ask, bool again, void (*each)(void *self, const wr_reply *piece),
                        void *self, wr_message *reply, wr_errinfo *info)
{
    wr_message m = {.kind = WR_MSG_REQUEST, .request = l->env->random(l->env->self), .ask = *ask};
    for (;;) {
        wr_errinfo why = {0};
        WR_TRY(send_message(l, &m, info));
        for (;;) {
            wr_err err = answer(l, m.request, reply, &why);
            if (err == WR_UNREACHABLE && again && l->peer == 0) break;
            if (err != WR_OK) return wr_fail(info, err, "%s", why.text);
            if (reply->kind == WR_MSG_REPLY) return WR_OK;
            if (reply->kind == WR_MSG_PROGRESS && each != NULL) each(self, &reply->reply);
            wr_message_free(reply);
        }
        WR_TRY(dial_again(l, info));
    }
}

/* The job's state as a JobManager that is well says it at once, or "". */
static void state_of_job(wr_link *l, const char *job, char state[32])
{
    static const char KEY[] = "\"state\":\"";
    wr_errinfo        none = {0};
    wr_message        m;
    const wr_request  ask = {.verb = "info", .job = job, .path = "", .json = true};
    state[0] = 0;
    l->until_ns = now(l) + STANDS_NS;
    if (l->peer == 0 || ask_until(l, &ask, false, NULL, NULL, &m, &none) != WR_OK) return;
    const char *at = memmem(m.reply.out, m.reply.out_bytes, KEY, sizeof KEY - 1);
    if (at != NULL) {
        at += sizeof KEY - 1;
        size_t n = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        snprintf(state, 32, "%.*s", (int)n, at);
    }
    wr_message_free(&m);
}

/* The time is up: it may be the job that takes long, and not the JobManager. */
static wr_err too_late(wr_link *l, const wr_request *ask, const wr_errinfo *why, wr_errinfo *info)
{
    static const char *const LONG[] = {"wait", "stop", "cancel", "snapshot", "savepoint", "rescale"};
    char                     state[32] = "";
    bool                     lasts = false, waits = strcmp(ask->verb, "wait") == 0;
    if (ask->job[0] == 0)
        return wr_fail(info, WR_TIMEOUT, "%s; what was asked for may go on; `weir list` shows how things stand",
                       why->text);
    for (size_t i = 0; i < sizeof LONG / sizeof *LONG; i++) lasts |= strcmp(ask->verb, LONG[i]) == 0;
    if (lasts) state_of_job(l, ask->job, state);
    if (state[0] == 0)
        return wr_fail(info, WR_TIMEOUT,
                       "%s; what was asked for may go on; `weir list` and `weir info %s` show how things stand",
                       why->text, ask->job);
    if (waits)
        return wr_fail(info, WR_TIMEOUT, "the job %s has not ended in time; it is %s; `weir info %s` shows it",
                       ask->job, state, ask->job);
    return wr_fail(
        info, WR_TIMEOUT,
        "the %s of job %s was not done in time, and goes on; the job is %s; `weir why %s` says what it waits "
        "for",
        ask->verb, ask->job, state, ask->job);
}

wr_err wr_link_ask(wr_link *l, const wr_request *ask, bool again, void (*each)(void *self, const wr_reply *piece),
                   void *self, wr_message *reply, wr_errinfo *info)
{
    wr_errinfo why = {0};
    wr_err     err = ask_until(l, ask, again, each, self, reply, &why);
    if (err == WR_OK) return WR_OK;
    return err == WR_TIMEOUT ? too_late(l, ask, &why, info) : wr_fail(info, err, "%s", why.text);
}

wr_err wr_link_exchange(wr_link *l, wr_message *m, wr_message *reply, wr_errinfo *info)
{
    if (m->request == 0) m->request = l->env->random(l->env->self);
    WR_TRY(send_message(l, m, info));
    return answer(l, m->request, reply, info);
}
