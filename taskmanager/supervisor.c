/* Life of the TaskManager, and its side of the connection to the JobManager. */
#include "base/check.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "taskmanager/files.h"
#include "taskmanager/supervisor_parts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)

enum {
    BACK_OFF_FIRST_MS = 50,
    BACK_OFF_MOST_MS = 1000,
    REGISTER_MS = 5000, /* a JobManager that does not answer for so long is dialed anew */
    HEARTBEAT_MS = 1000,
    LATE_MAX = 256
};

int64_t wr_tm_now(const wr_supervisor *s)
{
    return s->env->mono_ns(s->env->self);
}

/* ---- up ---- */

static void send_bytes(wr_supervisor *s, char *bytes, size_t n)
{
    if (s->link >= WR_TM_OPENS)
        s->config.peers->send(s->config.peers->self, s->jm, bytes, n);
    else
        free(bytes);
}

static bool encode(wr_supervisor *s, wr_message *m, char **bytes, size_t *n)
{
    wr_errinfo info = {0};
    m->leader = s->leader;
    if (wr_message_encode(m, bytes, n, &info) == WR_OK) return true;
    wr_log(WR_LOG_ERROR, "a message to the JobManager cannot be made: %s", info.text);
    return false;
}

void wr_tm_send(wr_supervisor *s, wr_message *m)
{
    char  *bytes;
    size_t n;
    if (s->link >= WR_TM_OPENS && encode(s, m, &bytes, &n)) send_bytes(s, bytes, n);
}

void wr_tm_send_sure(wr_supervisor *s, wr_message *m)
{
    char  *bytes;
    size_t n;
    if (!encode(s, m, &bytes, &n)) { /* it must come, if not with all that it says */
        m->gone.report = "";
        if (!encode(s, m, &bytes, &n)) return;
    }
    if (s->link == WR_TM_REGISTERED) {
        send_bytes(s, bytes, n);
        return;
    }
    if (s->lates == LATE_MAX) { /* the list of REGISTER says that the worker is gone; only the reason is lost */
        free(bytes);
        return;
    }
    s->late[s->lates] = bytes;
    s->late_bytes[s->lates++] = n;
}

static void send_late(wr_supervisor *s)
{
    for (uint32_t i = 0; i < s->lates; i++) send_bytes(s, s->late[i], s->late_bytes[i]);
    s->lates = 0;
}

static void send_register(wr_supervisor *s)
{
    wr_message m = {.kind = WR_MSG_REGISTER};
    m.reg = (wr_register){
        .tm = s->tm, .name = s->name, .data = s->data, .http = s->http, .slots = s->config.slots, .pid = s->config.pid};
    m.reg.worker = calloc(s->workers + 1u, sizeof *m.reg.worker);
    check(m.reg.worker != NULL);
    for (uint32_t i = 0; i < s->workers; i++) {
        const wr_tm_worker *w = s->worker[i];
        if (w->state >= WR_TM_ENDS) continue; /* GONE follows, or was told */
        m.reg.worker[m.reg.workers++] = (wr_running_worker){
            .job = w->job, .attempt = w->attempt, .task = w->task, .tasks = w->tasks};
    }
    s->seq = 0;
    s->sent_ns[0] = wr_tm_now(s);
    wr_tm_send(s, &m);
    free(m.reg.worker);
}

static void send_heartbeat(wr_supervisor *s)
{
    wr_message m = {.kind = WR_MSG_HEARTBEAT, .seq = ++s->seq};
    s->sent_ns[s->seq % WR_TM_BEATS_MAX] = wr_tm_now(s);
    s->beat_ns = wr_tm_now(s) + s->heartbeat_ns;
    wr_tm_send(s, &m);
}

static void ask_blob(void *self, uint64_t request, const wr_blob *what)
{
    wr_message m = {.kind = WR_MSG_BLOB_GET, .request = request, .blob = *what};
    wr_tm_send(self, &m);
}

/* ---- the link ---- */

static void lose_link(wr_supervisor *s, const char *why)
{
    if (s->link == WR_TM_REGISTERED) {
        wr_log(WR_LOG_WARN, "the JobManager at %s is lost: %s; workers go on until their lease ends", s->jobmanager,
               why);
        s->count.lost++;
        s->back_off_ns = BACK_OFF_FIRST_MS * MS;
    }
    s->link = WR_TM_AWAY;
    s->jm = 0;
    s->dial_ns = wr_tm_now(s) + s->back_off_ns +
                 (int64_t)(s->env->random(s->env->self) % (uint64_t)(s->back_off_ns / 4));
    s->back_off_ns *= 2;
    if (s->back_off_ns > BACK_OFF_MOST_MS * MS) s->back_off_ns = BACK_OFF_MOST_MS * MS;
}

static void drop_link(wr_supervisor *s, const char *why)
{
    s->config.peers->close(s->config.peers->self, s->jm);
    lose_link(s, why);
}

static void dial(wr_supervisor *s)
{
    s->link = WR_TM_DIALS;
    s->heard_ns = wr_tm_now(s);
    s->jm = s->config.peers->dial(s->config.peers->self, s->jobmanager);
}

/* A worker may live for the lease behind the moment at which a message was sent that was answered. */
static void renew(wr_supervisor *s, int64_t sent_ns)
{
    s->lease_until_ns = s->lease_ns > 0 ? sent_ns + s->lease_ns : INT64_MAX;
    wr_tm_relay_lease(s);
}

static void registered(wr_supervisor *s, const wr_message *m)
{
    if (s->link != WR_TM_OPENS) return;
    if (m->registered.heartbeat_ms <= 0 || m->registered.lease_ms < 0) {
        drop_link(s, "it wants heartbeats at times that there are not");
        return;
    }
    s->link = WR_TM_REGISTERED;
    s->heartbeat_ns = m->registered.heartbeat_ms * MS;
    s->lease_ns = m->registered.lease_ms * MS;
    s->back_off_ns = BACK_OFF_FIRST_MS * MS;
    s->count.connections++;
    wr_log(WR_LOG_INFO, "registered with the JobManager at %s as %s", s->jobmanager, s->name);
    renew(s, s->sent_ns[0]);
    send_late(s);
    wr_tm_blobs_again(s->blobs);
    send_heartbeat(s);
}

static void heard(wr_supervisor *s, uint64_t seq)
{
    if (s->link != WR_TM_REGISTERED || seq == 0 || seq > s->seq || s->seq - seq >= WR_TM_BEATS_MAX) return;
    int64_t sent = s->sent_ns[seq % WR_TM_BEATS_MAX];
    s->count.heartbeats++;
    s->count.round_trip_ns = wr_tm_now(s) - sent;
    renew(s, sent);
}

/* By a JobManager that is no longer the leader: it must have no effect. */
static bool stale(wr_supervisor *s, const wr_message *m)
{
    if (m->leader < s->leader && !wr_sabotage.two_leaders && !wr_sabotage.stale_epoch) {
        s->count.stale++;
        return true;
    }
    if (m->leader > s->leader) s->leader = m->leader;
    return false;
}

void wr_tm_take(wr_supervisor *s, const wr_peer_event *e)
{
    wr_message m;
    wr_errinfo info = {0};
    char      *bytes = e->bytes;
    size_t     n = e->n;
    if (wr_message_decode(&m, bytes, n, &info) != WR_OK) {
        s->count.garbage++;
        wr_log(WR_LOG_ERROR, "a message of the JobManager cannot be read: %s", info.text);
        free(bytes);
        return;
    }
    s->heard_ns = wr_tm_now(s);
    if (wr_tm_hold(s, e, &m)) {
        wr_message_free(&m);
        return;
    }
    if (stale(s, &m)) {
        if (m.kind == WR_MSG_REGISTERED) drop_link(s, "it is no longer the leader");
        wr_message_free(&m);
        free(bytes);
        return;
    }
    switch (m.kind) {
    case WR_MSG_REGISTERED: registered(s, &m); break;
    case WR_MSG_HEARD: heard(s, m.seq); break;
    case WR_MSG_DEPLOY: wr_tm_deploy(s, &m, bytes, n); return;
    case WR_MSG_ORDER: wr_tm_order(s, &m, bytes, n); break;
    case WR_MSG_KILL: wr_tm_kill(s, m.job, m.attempt); break;
    case WR_MSG_BLOB: wr_tm_blob_take(s->blobs, m.request, &m.blob); break;
    case WR_MSG_LOG_GET: wr_tm_log_tell(s, &m); break;
    default: break;
    }
    wr_message_free(&m);
    free(bytes);
}

static void take_events(wr_supervisor *s)
{
    wr_peer_event e;
    while (wr_tm_next(s, &e)) {
        bool ours = e.peer == s->jm && s->jm != 0;
        if (e.kind == WR_PEER_MESSAGE && ours && s->link >= WR_TM_OPENS) {
            wr_tm_take(s, &e);
        } else if (e.kind == WR_PEER_MESSAGE) {
            free(e.bytes);
        } else if (e.kind == WR_PEER_OPENED && ours && s->link == WR_TM_DIALS) {
            s->link = WR_TM_OPENS;
            s->heard_ns = wr_tm_now(s);
            send_register(s);
        } else if (e.kind == WR_PEER_CLOSED && ours) {
            if (s->link != WR_TM_REGISTERED && s->dial_told != e.info.code)
                wr_log(WR_LOG_WARN, "no connection to the JobManager at %s: %s; it is tried again", s->jobmanager,
                       e.info.text);
            s->dial_told = e.info.code; /* once for each reason, not once a second */
            lose_link(s, e.info.text[0] != 0 ? e.info.text : "its connection was closed");
        }
    }
}

/* A connection may be dead without saying so. */
static int64_t silent_at(const wr_supervisor *s)
{
    if (s->link == WR_TM_AWAY) return INT64_MAX;
    int64_t most = s->link == WR_TM_REGISTERED && s->lease_ns > 0 ? s->lease_ns : REGISTER_MS * MS;
    return s->heard_ns + most;
}

static void step_link(wr_supervisor *s)
{
    take_events(s);
    int64_t now = wr_tm_now(s);
    if (now >= silent_at(s)) drop_link(s, "it says nothing any more");
    if (s->link == WR_TM_AWAY && now >= s->dial_ns) dial(s);
    if (s->link == WR_TM_REGISTERED && now >= s->beat_ns) send_heartbeat(s);
}

/* ---- the data port ---- */

static bool secret_of(void *self, uint64_t job, uint32_t attempt, uint8_t secret[32])
{
    const wr_tm_worker *w = wr_tm_find(self, job, attempt);
    if (w == NULL || w->state == WR_TM_ENDS) return false;
    memcpy(secret, w->deployment.deploy.secret, WR_MAC_BYTES);
    return true;
}

static void pass_connections(wr_supervisor *s)
{
    wr_data_hello hello;
    int           socket;
    if (s->acceptor == NULL) return;
    wr_acceptor_step(s->acceptor);
    while (wr_acceptor_take(s->acceptor, &socket, &hello)) wr_tm_connect(s, socket, &hello);
}

/* ---- life ---- */

static wr_err open_data_port(wr_supervisor *s, wr_errinfo *info)
{
    const wr_acceptor_config config = {.env = s->env, .listen = s->config.data_listen, .secret = secret_of, .self = s};
    WR_TRY(wr_acceptor_new(&s->acceptor, &config, info));
    const char *host = s->config.data_host, *listen = s->config.data_listen;
    const char *colon = strrchr(listen, ':');
    int         n = colon != NULL ? (int)(colon - listen) : (int)strlen(listen);
    char        address[WR_NAME_BYTES_MAX + 16];
    if (host != NULL && host[0] != 0)
        snprintf(address, sizeof address, "%.*s:%d", WR_NAME_BYTES_MAX, host, wr_acceptor_port(s->acceptor));
    else
        snprintf(address, sizeof address, "%.*s:%d", n, listen, wr_acceptor_port(s->acceptor));
    s->data = strdup(address);
    return s->data != NULL ? WR_OK : wr_fail(info, WR_MEMORY, "no memory for an address");
}

/* Two in one folder would clear away each other's jobs. */
static wr_err lock_folder(wr_supervisor *s, wr_errinfo *info)
{
    char     path[WR_PATH_BYTES_MAX];
    uint64_t holder = 0;
    wr_tm_path(path, s->folder, "lock");
    int file = s->files->open(s->files->self, path, WR_OPEN_READ_WRITE | WR_OPEN_CREATE);
    if (file < 0) return wr_fail_errno(info, -file, "cannot open %s", path);
    s->lock = file + 1;
    int result = s->files->lock(s->files->self, file, &holder);
    if (result == -EAGAIN)
        return wr_fail(info, WR_BUSY, "another TaskManager (process %llu) has the folder %s; name another one by --dir",
                       (unsigned long long)holder, s->folder);
    return result < 0 ? wr_fail_errno(info, -result, "cannot lock %s", path) : WR_OK;
}

static wr_err prepare(wr_supervisor *s, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX];
    s->jobmanager = strdup(s->config.jobmanager);
    s->name = strdup(s->config.name);
    s->folder = strdup(s->config.folder);
    s->http = strdup(s->config.http != NULL ? s->config.http : "");
    s->worker = calloc(WR_TM_WORKERS_MAX, sizeof(wr_tm_worker *));
    s->late = calloc(LATE_MAX, sizeof(char *));
    s->late_bytes = calloc(LATE_MAX, sizeof *s->late_bytes);
    if (!s->jobmanager || !s->name || !s->folder || !s->http || !s->worker || !s->late || !s->late_bytes)
        return wr_fail(info, WR_MEMORY, "no memory for a TaskManager");
    if (strlen(s->folder) > WR_PATH_BYTES_MAX / 2)
        return wr_fail(info, WR_LIMIT, "the folder's path is too long; %.200s", s->folder);
    WR_TRY(wr_tm_aside_new(s, info));
    WR_TRY(wr_tm_folder_make(s->files, s->folder, info));
    WR_TRY(lock_folder(s, info));
    wr_tm_path(path, s->folder, "litter");
    wr_tm_litter_init(&s->litter, s->files, path, s->tm);
    wr_tm_path(path, s->folder, "jobs"); /* of workers of a former process, which ended with it */
    wr_tm_litter_put(&s->litter, path);
    wr_tm_path(path, s->folder, "blobs");
    WR_TRY(wr_tm_blobs_new(&s->blobs, s->files, path, ask_blob, s, info));
    return open_data_port(s, info);
}

wr_err wr_supervisor_new(wr_supervisor **take, const wr_supervisor_config *config, wr_errinfo *info)
{
    *take = NULL;
    wr_supervisor *s = calloc(1, sizeof *s);
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for a TaskManager");
    s->config = *config;
    s->env = config->env;
    do s->tm = s->env->random(s->env->self);
    while (s->tm == 0);
    s->link = WR_TM_AWAY;
    s->dial_ns = wr_tm_now(s);
    s->back_off_ns = BACK_OFF_FIRST_MS * MS;
    s->heartbeat_ns = HEARTBEAT_MS * MS;
    s->lease_until_ns = INT64_MAX;
    wr_err err = prepare(s, info);
    if (err != WR_OK) {
        wr_supervisor_free(s);
        return err;
    }
    s->ready = true;
    *take = s;
    return WR_OK;
}

void wr_tm_meanwhile(wr_supervisor *s)
{
    step_link(s);
    pass_connections(s);
}

void wr_supervisor_step(wr_supervisor *s)
{
    step_link(s);
    pass_connections(s);
    wr_tm_step_workers(s);
}

bool wr_supervisor_registered(const wr_supervisor *s)
{
    return s->link == WR_TM_REGISTERED;
}

const char *wr_supervisor_data(const wr_supervisor *s)
{
    return s->data;
}

static void sooner(int64_t *at, int64_t other)
{
    if (other < *at) *at = other;
}

int64_t wr_supervisor_wait_ns(const wr_supervisor *s)
{
    int64_t at = silent_at(s), now = wr_tm_now(s);
    if (s->busy || s->helds > 0) return 0;
    if (s->link == WR_TM_AWAY) sooner(&at, s->dial_ns);
    if (s->link == WR_TM_REGISTERED) sooner(&at, s->beat_ns);
    if (s->acceptor != NULL) sooner(&at, wr_acceptor_due_ns(s->acceptor));
    sooner(&at, wr_tm_workers_due(s));
    sooner(&at, wr_tm_blobs_due_ns(s->blobs));
    return at == INT64_MAX ? -1 : at > now ? at - now : 0;
}

uint32_t wr_supervisor_fds(const wr_supervisor *s, int fd[WR_PARK_FDS_MAX])
{
    fd[0] = s->acceptor != NULL ? wr_acceptor_fd(s->acceptor) : -1;
    return fd[0] >= 0 ? 1 : 0;
}

void wr_supervisor_kill(wr_supervisor *s)
{
    wr_processes *p = s->config.processes;
    for (uint32_t i = 0; i < s->workers; i++)
        if (s->worker[i]->process != 0) p->kill(p->self, s->worker[i]->process);
}

void wr_supervisor_free(wr_supervisor *s)
{
    if (s == NULL) return;
    s->ready = false;
    wr_supervisor_kill(s);
    for (uint32_t i = 0; i < s->workers; i++) wr_tm_worker_free(s, s->worker[i]);
    if (s->jm != 0) s->config.peers->close(s->config.peers->self, s->jm);
    for (uint32_t i = 0; i < s->lates; i++) free(s->late[i]);
    wr_acceptor_free(s->acceptor);
    if (s->lock > 0) s->files->close(s->files->self, s->lock - 1);
    wr_tm_blobs_free(s->blobs);
    wr_tm_held_free(s);
    wr_aside_free(s->aside);
    free(s->worker);
    free(s->late);
    free(s->late_bytes);
    free(s->jobmanager);
    free(s->name);
    free(s->folder);
    free(s->http);
    free(s->data);
    free(s);
}
