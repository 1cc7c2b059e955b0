#include "cli/control.h"
#include "base/check.h"
#include "base/json.h"
#include "cli/control_wire.h"
#include "cli/local.h"
#include "jobmanager/history.h"
#include "jobmanager/savepoint.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PEERS = WR_PARK_FDS_MAX - 1, SEND_MS = 1000 };

/* One connection: one request, one answer. */
typedef struct peer {
    int      socket; /* -1: free */
    uint64_t ticket; /* of what it waits for; 0: its request has not come yet */
    uint64_t since;  /* the order in which they came */
    uint32_t verb;
    bool     answered; /* waits for the end of the job */
    size_t   have;
    char     bytes[WR_CONTROL_HEAD_BYTES + WR_CONTROL_REQUEST_MAX];
} peer;

/* Owned by the thread of its wr_local. */
struct wr_control {
    wr_control_config config;
    int               folder, listener;
    char              name[64];
    uint64_t          tickets;
    int64_t           start_ns;
    peer              peer[PEERS];
};

/* ---- the folder ---- */

/* Where a login keeps what it runs with, and where those without one put it. */
static void of_login(char to[WR_PATH_BYTES_MAX])
{
    snprintf(to, WR_PATH_BYTES_MAX, "/run/user/%u/weir", (unsigned)geteuid());
}

static void of_others(char to[WR_PATH_BYTES_MAX])
{
    snprintf(to, WR_PATH_BYTES_MAX, "/tmp/weir-%u", (unsigned)geteuid());
}

static wr_err is_ours(const char *path, wr_errinfo *info)
{
    struct stat is;
    if (lstat(path, &is) != 0) return wr_fail_errno(info, errno, "cannot look at %s", path);
    if (!S_ISDIR(is.st_mode) || is.st_uid != geteuid() || (is.st_mode & 077) != 0)
        return wr_fail(info, WR_PERMISSION,
                       "%s is not a folder of this user that nobody else can enter; remove it, or set XDG_RUNTIME_DIR",
                       path);
    return WR_OK;
}

wr_err wr_control_folder(char to[WR_PATH_BYTES_MAX], bool make, wr_errinfo *info)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    bool        given = runtime != NULL && runtime[0] == '/';
    of_others(to);
    if (given && snprintf(to, WR_PATH_BYTES_MAX, "%s/weir", runtime) >= WR_PATH_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "$XDG_RUNTIME_DIR is too long");
    if (make && mkdir(to, 0700) != 0 && errno != EEXIST)
        return wr_fail_errno(info, errno, "cannot make the folder %s for control sockets", to);
    return is_ours(to, info);
}

bool wr_control_other_folder(char to[WR_PATH_BYTES_MAX], const char *but)
{
    char login[WR_PATH_BYTES_MAX];
    of_login(login);
    of_others(to);
    if (strcmp(but, to) == 0)
        of_login(to);
    else if (strcmp(but, login) != 0) /* of somebody's own choice: that one is meant, and no other */
        return false;
    return is_ours(to, NULL) == WR_OK;
}

uint32_t wr_control_address(struct sockaddr_un *to, int folder, const char *name)
{
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s", folder, name);
    return (uint32_t)sizeof *to;
}

/* ---- open, close ---- */

static wr_err listen_in(wr_control *c, const char *path, wr_errinfo *info)
{
    static _Atomic uint32_t jobs; /* of this process: an embedding program may have several */
    struct sockaddr_un      at;
    char                    made[sizeof c->name + 4];
    c->folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (c->folder < 0) return wr_fail_errno(info, errno, "cannot open %s", path);
    snprintf(c->name, sizeof c->name, "%d-%u.sock", (int)getpid(), atomic_fetch_add(&jobs, 1) + 1);
    snprintf(made, sizeof made, "%s.new", c->name);
    unlinkat(c->folder, c->name, 0); /* of a process that had our number before and was killed */
    unlinkat(c->folder, made, 0);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0) return wr_fail_errno(info, errno, "cannot make a control socket");
    /* It gets its name when it listens: who is refused under that name takes it for a dead one's, and removes it. */
    uint32_t n = wr_control_address(&at, c->folder, made);
    if (bind(c->listener, (const struct sockaddr *)&at, n) == 0 && listen(c->listener, 16) == 0 &&
        renameat(c->folder, made, c->folder, c->name) == 0)
        return WR_OK;
    wr_err err = wr_fail_errno(info, errno, "cannot listen on %s/%s", path, c->name);
    unlinkat(c->folder, made, 0);
    return err;
}

wr_err wr_control_open(wr_control **take, const wr_control_config *config, wr_errinfo *info)
{
    char        path[WR_PATH_BYTES_MAX];
    wr_control *c = calloc(1, sizeof *c);
    *take = NULL;
    if (c == NULL) return wr_fail(info, WR_MEMORY, "no memory for a control socket");
    c->config = *config;
    c->folder = c->listener = -1;
    c->start_ns = config->env->mono_ns(config->env->self);
    for (uint32_t i = 0; i < PEERS; i++) c->peer[i].socket = -1;
    wr_err err = wr_control_folder(path, true, info);
    if (err == WR_OK) err = listen_in(c, path, info);
    if (err != WR_OK) {
        wr_control_close(c);
        return err;
    }
    *take = c;
    return WR_OK;
}

static void hang_up(peer *p)
{
    close(p->socket);
    memset(p, 0, sizeof *p);
    p->socket = -1;
}

void wr_control_close(wr_control *c)
{
    if (c == NULL) return;
    if (c->listener >= 0) {
        unlinkat(c->folder, c->name, 0);
        close(c->listener);
    }
    if (c->folder >= 0) close(c->folder);
    for (uint32_t i = 0; i < PEERS; i++)
        if (c->peer[i].socket >= 0) hang_up(&c->peer[i]);
    free(c);
}

uint32_t wr_control_fds(const wr_control *c, int fd[WR_PARK_FDS_MAX])
{
    uint32_t n = 0;
    fd[n++] = c->listener;
    for (uint32_t i = 0; i < PEERS; i++)
        if (c->peer[i].socket >= 0) fd[n++] = c->peer[i].socket;
    return n;
}

/* ---- answers ---- */

static void reply(wr_control *c, peer *p, uint64_t id, const wr_errinfo *why, const char *out, size_t bytes)
{
    const char            *job = c->config.exec->job->name;
    const char            *text = why != NULL ? wr_errinfo_text(why) : "";
    const wr_control_reply r = {.code = why != NULL ? (uint32_t)why->code : 0,
                                .id = id,
                                .text = text,
                                .text_bytes = strlen(text),
                                .out = out != NULL ? out : "",
                                .out_bytes = bytes,
                                .job = job,
                                .job_bytes = strlen(job)};
    wr_pack                pack;
    wr_control_pack_reply(&pack, &r);
    for (size_t sent = 0; sent < pack.bytes;) {
        ssize_t n = send(p->socket, pack.data + sent, pack.bytes - sent, MSG_NOSIGNAL);
        if (n <= 0) break; /* who does not read what it asked for goes without */
        sent += (size_t)n;
    }
    wr_pack_free(&pack);
    if (p->verb == WR_CONTROL_STOP && (why == NULL || id != 0))
        p->answered = true; /* its end tells that the job has ended, too */
    else
        hang_up(p);
}

void wr_control_answer(wr_control *c, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    for (uint32_t i = 0; i < PEERS; i++) {
        peer *p = &c->peer[i];
        if (p->socket >= 0 && p->ticket == ticket && !p->answered) reply(c, p, id, why, NULL, 0);
    }
}

/* ---- requests ---- */

/* `weir list`: one line, or one object. */
static void tell_job(FILE *file, const wr_local *local, const wr_exec *exec, int64_t up_ns, bool json)
{
    const wr_coordinator     *s = wr_local_snapshots(local);
    const wr_core_checkpoint *m = s != NULL ? wr_coordinator_machine(s) : NULL;
    const wr_snapshot_record *failing = m != NULL ? wr_core_checkpoint_failing(m) : NULL;
    const wr_core_job        *job = wr_local_job(local);
    const char *state = job->stopping && job->state == WR_JOB_RUNNING ? "STOPPING" : wr_job_state_name(job->state);
    if (json) {
        wr_json j;
        wr_json_init_file(&j, file);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "job", exec->job->name);
        wr_json_u64(&j, "pid", (uint64_t)getpid());
        wr_json_str(&j, "state", state);
        wr_json_f64(&j, "seconds", (double)up_ns * 1e-9);
        wr_json_str(&j, "snapshots", m != NULL ? wr_coordinator_origin(s)->folder : NULL);
        if (m != NULL) {
            wr_json_u64(&j, "newest", m->newest);
            wr_json_u64(&j, "completed", m->completions);
            wr_json_u64(&j, "failed", m->failures_all);
            wr_json_u64(&j, "failed_in_a_row", m->failures);
            wr_json_str(&j, "failing", failing != NULL ? wr_errinfo_text(&failing->why) : NULL);
        }
        wr_json_end(&j);
        return;
    }
    fprintf(file, "%-24s %8d %-10s %9.1f s", exec->job->name, (int)getpid(), state, (double)up_ns * 1e-9);
    if (m == NULL)
        fputs("  no snapshots", file);
    else
        fprintf(file, "  %llu snapshots, newest %llu, in %s", (unsigned long long)m->completions,
                (unsigned long long)m->newest, wr_coordinator_origin(s)->folder);
    if (failing != NULL) fprintf(file, "; the last %u failed: %s", m->failures, wr_errinfo_text(&failing->why));
    fputc('\n', file);
}

/* What INFO and SNAPSHOTS say, as text or as JSON. */
static void tell(wr_control *c, peer *p, const wr_control_request *r)
{
    static const wr_errinfo none = {WR_MEMORY, "no memory for an answer"};
    char                   *text = NULL;
    size_t                  bytes = 0;
    FILE                   *file = open_memstream(&text, &bytes);
    if (file == NULL) {
        reply(c, p, 0, &none, NULL, 0);
        return;
    }
    int64_t up_ns = c->config.env->mono_ns(c->config.env->self) - c->start_ns;
    if (r->verb == WR_CONTROL_INFO)
        tell_job(file, c->config.local, c->config.exec, up_ns, r->json);
    else
        wr_history_snapshots(file, wr_local_snapshots(c->config.local), r->json);
    fclose(file);
    reply(c, p, 0, NULL, text, bytes);
    free(text);
}

static void obey(wr_control *c, peer *p, const wr_control_request *r)
{
    static const wr_errinfo none = {WR_CONFIG, "this job takes no snapshots; start it with --snapshots DIR"};
    wr_coordinator         *snapshots = wr_local_snapshots_to_ask(c->config.local);
    const char             *path = r->path[0] != 0 ? r->path : NULL;
    p->ticket = ++c->tickets;
    p->verb = r->verb;
    if (r->verb == WR_CONTROL_INFO) {
        tell(c, p, r);
    } else if (r->verb == WR_CONTROL_STOP) {
        if (snapshots == NULL && path != NULL) {
            reply(c, p, 0, &none, NULL, 0);
            return;
        }
        wr_errinfo info = {0};
        if (path != NULL && wr_savepoint_may_write(c->config.env, path, &info) != WR_OK) {
            reply(c, p, 0, &info, NULL, 0); /* the job goes on: once it has ended, it can write none elsewhere */
            return;
        }
        uint64_t ticket = p->ticket;
        wr_local_stop_for(c->config.local, ticket, r->drain, path);
        if (snapshots == NULL) wr_control_answer(c, ticket, 0, NULL);
    } else if (snapshots == NULL) {
        reply(c, p, 0, &none, NULL, 0);
    } else if (r->verb == WR_CONTROL_SNAPSHOTS) {
        tell(c, p, r);
    } else {
        wr_coordinator_request(snapshots, p->ticket, r->verb == WR_CONTROL_SNAPSHOT ? WR_SNAPSHOT : WR_SAVEPOINT, path);
    }
}

/* False: nothing more to read now. */
static bool read_peer(wr_control *c, peer *p)
{
    ssize_t n = recv(p->socket, p->bytes + p->have, sizeof p->bytes - p->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0 || p->ticket != 0) { /* it went away, or says more than one thing */
        hang_up(p);
        return false;
    }
    p->have += (size_t)n;
    if (p->have < WR_CONTROL_HEAD_BYTES) return true;
    uint32_t length = wr_control_length(p->bytes, WR_CONTROL_REQUEST_MAX);
    if (length == 0 || p->have > WR_CONTROL_HEAD_BYTES + (size_t)length) {
        hang_up(p);
        return false;
    }
    if (p->have < WR_CONTROL_HEAD_BYTES + (size_t)length) return true;
    wr_control_request request;
    wr_errinfo         info = {0};
    if (wr_control_read_request(&request, p->bytes + WR_CONTROL_HEAD_BYTES, length, &info) != WR_OK)
        reply(c, p, 0, &info, NULL, 0);
    else
        obey(c, p, &request);
    return false;
}

/* A free place; when there is none, that of who has said nothing for longest.
 * NULL: all wait for something. */
static peer *place(wr_control *c)
{
    peer *silent = NULL;
    for (uint32_t i = 0; i < PEERS; i++) {
        peer *p = &c->peer[i];
        if (p->socket < 0) return p;
        if (p->ticket == 0 && (silent == NULL || p->since < silent->since)) silent = p;
    }
    if (silent != NULL) hang_up(silent);
    return silent;
}

static void take_one(wr_control *c, int socket)
{
    const struct timeval most = {.tv_sec = SEND_MS / 1000};
    struct ucred         who;
    socklen_t            bytes = sizeof who;
    peer                *p = NULL;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && (who.uid == geteuid() || who.uid == 0))
        p = place(c);
    if (p == NULL || setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) != 0) {
        close(socket);
        return;
    }
    p->socket = socket;
    p->since = ++c->tickets;
}

void wr_control_step(wr_control *c)
{
    for (int socket; (socket = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) take_one(c, socket);
    for (uint32_t i = 0; i < PEERS; i++)
        while (c->peer[i].socket >= 0 && read_peer(c, &c->peer[i])) {}
}
