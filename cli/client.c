/* The verbs that talk to a running job, here by its socket, or in the cluster: list, snapshot, savepoint, stop,
 * snapshots. */
#include "base/env.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/control.h"
#include "cli/control_wire.h"
#include "cli/options.h"
#include "cli/remote.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { JOBS_MAX = 1024 };
#define HELLO_NS INT64_C(5000000000)

/* A socket of the folder, and what its job says about itself. Main thread. */
typedef struct found {
    int              folder;
    char             name[64];
    char            *bytes;  /* of the reply, which points into them */
    bool             silent; /* somebody listens there, but does not answer */
    wr_control_reply reply;
} found;

/* How long the user wants to wait. */
typedef struct patience {
    const wr_env *env;
    int64_t       until_ns; /* INT64_MAX: for ever */
} patience;

static patience patience_of(int64_t timeout_ns)
{
    const wr_env *env = wr_env_real();
    patience      p = {env, INT64_MAX};
    if (timeout_ns > 0 && __builtin_add_overflow(env->mono_ns(env->self), timeout_ns, &p.until_ns))
        p.until_ns = INT64_MAX;
    return p;
}

/* Until the socket can be read. WR_TIMEOUT, when patience ends first. */
static wr_err await(int socket, const patience *p, const char *what, wr_errinfo *info)
{
    for (;;) {
        struct pollfd fd = {.fd = socket, .events = POLLIN};
        int64_t       left_ms = -1;
        if (p->until_ns != INT64_MAX) left_ms = (p->until_ns - p->env->mono_ns(p->env->self)) / 1000000;
        if (p->until_ns != INT64_MAX && left_ms <= 0)
            return wr_fail(info, WR_TIMEOUT, "%s did not answer in time; it goes on with what was asked", what);
        int got = poll(&fd, 1, left_ms < 0 ? -1 : left_ms > 60000 ? 60000 : (int)left_ms);
        if (got > 0) return WR_OK;
        if (got < 0 && errno != EINTR) return wr_fail_errno(info, errno, "cannot wait for %s", what);
    }
}

static wr_err read_all(int socket, char *to, size_t n, const patience *p, const char *what, wr_errinfo *info)
{
    while (n > 0) {
        WR_TRY(await(socket, p, what, info));
        ssize_t got = recv(socket, to, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return wr_fail_errno(info, errno, "cannot read the answer of %s", what);
        if (got == 0)
            return wr_fail(info, WR_UNREACHABLE, "%s went away before it answered; its own output says why", what);
        to += got;
        n -= (size_t)got;
    }
    return WR_OK;
}

/* One request, one reply; *bytes is what the reply points into. */
static wr_err ask(int socket, const wr_control_request *request, const patience *p, const char *what, char **bytes,
                  wr_control_reply *reply, wr_errinfo *info)
{
    char    head[WR_CONTROL_HEAD_BYTES];
    wr_pack pack;
    wr_control_pack_request(&pack, request);
    ssize_t sent = send(socket, pack.data, pack.bytes, MSG_NOSIGNAL);
    bool    whole = sent == (ssize_t)pack.bytes;
    wr_pack_free(&pack);
    if (!whole) return wr_fail(info, WR_UNREACHABLE, "%s does not listen any more", what);
    WR_TRY(read_all(socket, head, sizeof head, p, what, info));
    uint32_t n = wr_control_length(head, WR_CONTROL_ANSWER_MAX);
    if (n == 0) return wr_fail(info, WR_USAGE, "%s gives an answer of a length that cannot be", what);
    *bytes = malloc(n);
    if (*bytes == NULL) return wr_fail(info, WR_MEMORY, "no memory for an answer of %u bytes", n);
    WR_TRY(read_all(socket, *bytes, n, p, what, info));
    return wr_control_read_reply(reply, *bytes, n, info);
}

/* The socket, or -1: nobody listens there any more. */
static int connect_to(int folder, const char *name)
{
    struct sockaddr_un at;
    uint32_t           n = wr_control_address(&at, folder, name);
    int                s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s >= 0 && connect(s, (const struct sockaddr *)&at, n) == 0) return s;
    int why = errno;
    if (s >= 0) close(s);
    if (why == ECONNREFUSED) unlinkat(folder, name, 0); /* its process was killed */
    return -1;
}

static bool looks_like_ours(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && n < 64 && strcmp(name + n - 5, ".sock") == 0 && name[0] >= '0' && name[0] <= '9';
}

static int by_job(const void *a, const void *b)
{
    const found *x = a, *y = b;
    size_t       n = x->reply.job_bytes < y->reply.job_bytes ? x->reply.job_bytes : y->reply.job_bytes;
    int          order = memcmp(x->reply.job, y->reply.job, n);
    if (order == 0) order = (x->reply.job_bytes > y->reply.job_bytes) - (x->reply.job_bytes < y->reply.job_bytes);
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* Where the sockets are. Zero is none. */
typedef struct places {
    uint32_t count;
    int      folder[2];
    char     path[2][WR_PATH_BYTES_MAX]; /* the first one is named even when it is not there */
    char     text[2 * WR_PATH_BYTES_MAX + 8];
} places;

static void close_places(const places *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->folder[i] >= 0) close(p->folder[i]);
}

static wr_err open_places(places *p, wr_errinfo *info)
{
    wr_errinfo why = {0};
    p->count = 0;
    bool there = wr_control_folder(p->path[0], false, &why) == WR_OK;
    if (!there && why.code != WR_NOT_FOUND) return wr_fail(info, why.code, "%s", why.text);
    p->folder[p->count++] = there ? open(p->path[0], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (wr_control_other_folder(p->path[1], p->path[0]))
        p->folder[p->count++] = open(p->path[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(p->text, sizeof p->text, "%s%s%s", p->path[0], p->count > 1 ? " and " : "",
             p->count > 1 ? p->path[1] : "");
    return WR_OK;
}

/* Whether somebody listens there. */
static bool say_hello(found *f, int folder, const char *name, bool json, int64_t timeout_ns)
{
    const wr_control_request hello = {.verb = WR_CONTROL_INFO, .json = json};
    patience                 p = patience_of(timeout_ns > 0 && timeout_ns < HELLO_NS ? timeout_ns : HELLO_NS);
    wr_errinfo               info = {0};
    int                      s = connect_to(folder, name);
    if (s < 0) return false;
    f->folder = folder;
    snprintf(f->name, sizeof f->name, "%s", name);
    wr_err err = ask(s, &hello, &p, name, &f->bytes, &f->reply, &info);
    f->silent = err == WR_TIMEOUT;
    if (err != WR_OK) {
        free(f->bytes);
        f->bytes = NULL;
        memset(&f->reply, 0, sizeof f->reply);
        f->reply.job = f->reply.out = "";
    }
    close(s);
    return err == WR_OK || f->silent;
}

/* Everybody who listens, sorted by name, those who do not answer first. */
static uint32_t find_all(const places *at, found **list, bool json, int64_t timeout_ns)
{
    uint32_t n = 0;
    *list = calloc(JOBS_MAX, sizeof **list);
    for (uint32_t i = 0; i < at->count && *list != NULL; i++) {
        int  copy = at->folder[i] >= 0 ? openat(at->folder[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
        for (struct dirent *e; dir != NULL && n < JOBS_MAX && (e = readdir(dir)) != NULL;)
            if (looks_like_ours(e->d_name)) n += say_hello(&(*list)[n], at->folder[i], e->d_name, json, timeout_ns);
        if (dir != NULL) closedir(dir);
    }
    if (n > 1) qsort(*list, n, sizeof **list, by_job);
    return n;
}

static void free_all(found *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) free(list[i].bytes);
    free(list);
}

/* The process id that a socket's name begins with. */
static int process_of(const char *name)
{
    uint64_t id = 0;
    return wr_text_to_u64(name, strcspn(name, "-."), &id) && id < INT32_MAX ? (int)id : 0;
}

/* The jobs of this machine; JSON without its brackets. */
static uint32_t list_local(const wr_options *options, places *at, wr_errinfo *info)
{
    found   *list = NULL;
    uint32_t told = 0;
    if (open_places(at, info) != WR_OK) return 0;
    uint32_t n = find_all(at, &list, options->json, options->timeout_ns);
    if (!options->json && n > 0) printf("%-24s %8s %-10s %11s\n", "JOB", "PID", "STATE", "UP");
    for (uint32_t i = 0; i < n; i++) {
        const wr_control_reply *r = &list[i].reply;
        size_t                  bytes = r->out_bytes - (options->json && r->out_bytes > 0); /* its line's end */
        if (list[i].silent) {
            fprintf(stderr, "weir: process %d has a job, but does not answer\n", process_of(list[i].name));
            continue;
        }
        printf("%s%.*s", options->json && told > 0 ? "," : "", (int)bytes, r->out);
        told++;
    }
    free_all(list, n);
    close_places(at);
    return n;
}

/* Flags, variables or files that say where the cluster is mean the cluster; a flag means it alone. */
static bool cluster_only(const wr_options *o)
{
    return o->settings.source[WR_SET_JOBMANAGER] == WR_FROM_FLAG;
}

static void say_none(const places *at, bool cluster)
{
    fprintf(stderr, "no job of this user runs here%s%s%s\n", at->count > 0 ? ", in " : "",
            at->count > 0 ? at->text : "", cluster ? ", and the cluster has none" : "");
}

int wr_cli_list(const wr_options *options)
{
    places     at = {0};
    wr_errinfo info = {0};
    char      *remote = NULL;
    size_t     bytes = 0;
    int        exit_code = WR_EXIT_OK;
    bool       cluster = wr_cluster_known(&options->settings);
    if (options->json) fputs("[", stdout);
    uint32_t n = cluster_only(options) ? 0 : list_local(options, &at, &info);
    if (info.code == WR_OK && cluster) exit_code = wr_ask_list(options, &remote, &bytes);
    if (info.code != WR_OK) exit_code = wr_cli_fail(&info);
    if (options->json) { /* one array of both */
        while (bytes > 0 && (remote[bytes - 1] == '\n' || remote[bytes - 1] == ']')) bytes--;
        const char *in = bytes > 0 && remote[0] == '[' ? remote + 1 : remote;
        if (bytes > 0) bytes -= (size_t)(in - remote);
        printf("%s%.*s]\n", n > 0 && bytes > 0 ? "," : "", (int)bytes, bytes > 0 ? in : "");
    } else {
        if (n > 0 && bytes > 0) fputs("\n", stdout);
        fwrite(remote != NULL ? remote : "", 1, bytes, stdout);
    }
    if (!options->json && exit_code == WR_EXIT_OK && n == 0 && bytes == 0 && !options->quiet) say_none(&at, cluster);
    free(remote);
    return exit_code;
}

static bool is_job(const found *f, const char *job)
{
    size_t n = strlen(job);
    if (f->reply.job_bytes == n && memcmp(f->reply.job, job, n) == 0) return true;
    return strncmp(f->name, job, n) == 0 && (f->name[n] == '-' || strcmp(f->name + n, ".sock") == 0);
}

/* Connects to the one job of this name or process id. */
static wr_err find_job(const char *job, int64_t timeout_ns, int *to, wr_errinfo *info)
{
    places at;
    found *list = NULL, *it = NULL;
    WR_TRY(open_places(&at, info));
    uint32_t n = find_all(&at, &list, false, timeout_ns), of_it = 0, silent = 0;
    for (uint32_t i = 0; i < n; i++) {
        silent += list[i].silent;
        if (list[i].silent || !is_job(&list[i], job)) continue;
        it = &list[i];
        of_it++;
    }
    *to = -1;
    if (of_it == 1) *to = connect_to(it->folder, it->name);
    if (of_it > 1)
        wr_fail(info, WR_USAGE, "%u jobs are called %s; name one by its process, as `weir list` shows it", of_it, job);
    else if (*to < 0 && silent > 0)
        wr_fail(info, WR_TIMEOUT, "no job %s answers, and %u here do not answer at all; is one stopped?", job, silent);
    else if (*to < 0)
        wr_fail(info, WR_NO_JOB, "no job %s runs here; in %s; `weir list` shows those that do", job, at.text);
    free_all(list, n);
    close_places(&at);
    return info->code;
}

/* The job ends: the end of the connection tells it. */
static wr_err await_end(int socket, const patience *p, const char *what, wr_errinfo *info)
{
    for (char byte;;) {
        WR_TRY(await(socket, p, what, info));
        ssize_t got = recv(socket, &byte, 1, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) return WR_OK;
    }
}

static void say(const wr_options *options, const wr_control_request *r, const wr_control_reply *reply)
{
    static const char *const DONE[] = {[WR_CONTROL_SNAPSHOT] = "snapshot %llu of %s completed\n",
                                       [WR_CONTROL_SAVEPOINT] = "savepoint %llu of %s completed\n",
                                       [WR_CONTROL_STOP] = "snapshot %llu is the last of %s, which has ended\n"};
    if (r->verb == WR_CONTROL_SNAPSHOTS) {
        fwrite(reply->out, 1, reply->out_bytes, stdout);
    } else if (options->json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_bytes(&j, "job", reply->job, reply->job_bytes);
        wr_json_u64(&j, "id", reply->id);
        wr_json_str(&j, "savepoint", r->path[0] != 0 ? r->path : NULL);
        wr_json_end(&j);
    } else if (!options->quiet && r->verb == WR_CONTROL_STOP && reply->id == 0) {
        printf("%s has ended\n", options->file);
    } else if (!options->quiet) {
        printf(DONE[r->verb], (unsigned long long)reply->id, options->file);
        if (r->path[0] != 0 && r->verb == WR_CONTROL_STOP) printf("a savepoint of it is in %s\n", r->path);
        if (r->verb == WR_CONTROL_SAVEPOINT) printf("it is in %s\n", r->path);
    }
}

static int control(const wr_options *options, uint32_t verb, const char *path)
{
    wr_errinfo       info = {0};
    wr_control_reply reply = {0};
    char            *bytes = NULL;
    int              socket = -1;
    patience         p = patience_of(options->timeout_ns);
    wr_err           err = WR_OK;

    wr_control_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory for a request");
        goto out;
    }
    r->verb = verb;
    r->json = options->json;
    r->drain = options->drain;
    if (path != NULL && path[0] == 0) WR_GOTO(wr_fail(&info, WR_USAGE, "a savepoint needs a folder to go to"));
    if (path != NULL) WR_GOTO(wr_absolute(r->path, path, &info));
    WR_GOTO(find_job(options->file, options->timeout_ns, &socket, &info));
    WR_GOTO(ask(socket, r, &p, options->file, &bytes, &reply, &info));
    /* With the number of its last snapshot the job ends, whatever else went wrong. */
    if (verb == WR_CONTROL_STOP && (reply.code == 0 || reply.id != 0))
        WR_GOTO(await_end(socket, &p, options->file, &info));
    if (reply.code != 0) {
        wr_fail(&info, (wr_err)reply.code, "%.*s", (int)reply.text_bytes, reply.text);
        goto out;
    }
    say(options, r, &reply);
out:
    (void)err;
    if (socket >= 0) close(socket);
    free(bytes);
    free(r);
    return info.code != WR_OK ? wr_cli_fail(&info) : WR_EXIT_OK;
}

/* Whose job it is: that of a process here, or the cluster's. */
static int either(const wr_options *o, uint32_t verb, const char *name, const char *path)
{
    wr_errinfo here = {0}, there = {0};
    int        socket = -1;
    if (cluster_only(o)) return wr_ask_job(o, name);
    wr_err err = find_job(o->file, o->timeout_ns, &socket, &here);
    if (socket >= 0) close(socket);
    if (!wr_cluster_known(&o->settings) || (err != WR_OK && err != WR_NO_JOB)) return control(o, verb, path);
    if (err == WR_NO_JOB) return wr_ask_job(o, name);
    if (wr_ask_has(o, o->file, &there) != WR_OK) return control(o, verb, path);
    here = (wr_errinfo){0};
    wr_fail(&here, WR_USAGE,
            "a process here and the cluster both have a job %s; name it by its process or its id, as `weir list` shows "
            "them",
            o->file);
    return wr_cli_fail(&here);
}

int wr_cli_snapshot(const wr_options *options)
{
    return either(options, WR_CONTROL_SNAPSHOT, "snapshot", NULL);
}

int wr_cli_savepoint(const wr_options *options)
{
    return either(options, WR_CONTROL_SAVEPOINT, "savepoint", options->second);
}

int wr_cli_stop(const wr_options *options)
{
    return either(options, WR_CONTROL_STOP, "stop", options->savepoint);
}

int wr_cli_snapshots(const wr_options *options)
{
    return either(options, WR_CONTROL_SNAPSHOTS, "snapshots", NULL);
}
