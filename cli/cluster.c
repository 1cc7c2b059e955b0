/* weir cluster start|stop|status: a JobManager and TaskManagers on this machine, for trying things. Its folder has one
 * line per process (its id and when that process began, so that another one with the same id is never taken for it),
 * their logs, and client.conf, by which clients find it. */
#include "base/check.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/remote.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MEMBERS_MAX = 1 + WR_SLOTS_MAX, READY_MS = 15000, GRACE_MS = 5000, LINE_MAX_BYTES = 1024 };

/* One process of the cluster. Main thread. */
typedef struct member {
    int      pid;
    uint64_t began; /* clock ticks after boot */
    bool     alive;
    char     role[16]; /* "jobmanager", "taskmanager" */
    char     log[32];  /* in the folder */
} member;

typedef struct cluster {
    char     folder[WR_PATH_BYTES_MAX];
    member   member[MEMBERS_MAX];
    uint32_t members;
    int      interrupts; /* start: can be read when somebody interrupts it */
    sigset_t mask;       /* start: the signals that were blocked before */
} cluster;

/* "FOLDER/NAME". */
static wr_err in_folder(const cluster *c, const char *name, char to[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    if (snprintf(to, WR_PATH_BYTES_MAX, "%.*s/%s", WR_PATH_BYTES_MAX - 64, c->folder, name) >= WR_PATH_BYTES_MAX - 1)
        return wr_fail(info, WR_LIMIT, "the path %.200s is too long", c->folder);
    return WR_OK;
}

/* 0: there is no such process. */
static uint64_t began_of(int pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* its name may hold anything; then: state is field 3, begin is field 22 */
    if (at == NULL || at[1] == 0 || at[2] == 'Z') return 0;
    for (int field = 2; field < 22 && at != NULL; field++) at = strchr(at + 1, ' ');
    uint64_t began = 0;
    if (at == NULL || !wr_text_to_u64(at + 1, strcspn(at + 1, " "), &began)) return 0;
    return began;
}

/* ---- what is kept ---- */

static wr_err load(cluster *c, const wr_settings *s, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX], line[256];
    memset(c, 0, sizeof *c);
    WR_TRY(wr_cluster_dir(s, c->folder, info));
    WR_TRY(in_folder(c, "processes", path, info));
    FILE *file = fopen(path, "re");
    if (file == NULL) return errno == ENOENT ? WR_OK : wr_fail_errno(info, errno, "cannot read %s", path);
    while (c->members < MEMBERS_MAX && fgets(line, sizeof line, file) != NULL) {
        member            *m = &c->member[c->members];
        unsigned long long began = 0;
        if (sscanf(line, "%15s %d %llu %31s", m->role, &m->pid, &began, m->log) != 4 || m->pid <= 1) continue;
        m->began = began;
        m->alive = began_of(m->pid) == m->began;
        c->members++;
    }
    fclose(file);
    return WR_OK;
}

/* Appears as a whole: who is killed meanwhile leaves the older one. */
static wr_err save(const cluster *c, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX], temporary[WR_PATH_BYTES_MAX];
    WR_TRY(in_folder(c, "processes", path, info));
    WR_TRY(in_folder(c, "processes.new", temporary, info));
    FILE *file = fopen(temporary, "we");
    if (file == NULL) return wr_fail_errno(info, errno, "cannot write %s", temporary);
    for (uint32_t i = 0; i < c->members; i++)
        fprintf(file, "%s %d %llu %s\n", c->member[i].role, c->member[i].pid, (unsigned long long)c->member[i].began,
                c->member[i].log);
    if (fclose(file) != 0 || rename(temporary, path) != 0) return wr_fail_errno(info, errno, "cannot write %s", path);
    return WR_OK;
}

static uint32_t living(const cluster *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->members; i++) n += c->member[i].alive;
    return n;
}

/* ---- start ---- */

/* From here on interrupts wait until somebody looks: what was started is ended first. */
static wr_err hold_interrupts(cluster *c, wr_errinfo *info)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    c->interrupts = signalfd(-1, &set, SFD_CLOEXEC);
    if (c->interrupts < 0) return wr_fail_errno(info, errno, "cannot wait for signals");
    sigprocmask(SIG_BLOCK, &set, &c->mask);
    return WR_OK;
}

/* In the child, once it may go: standard output to the pipe, errors to the log, a session of its own. */
static void become(const cluster *c, const char *log, int out, int go, char *const argv[])
{
    char byte;
    setsid();
    sigprocmask(SIG_SETMASK, &c->mask, NULL);
    if (read(go, &byte, 1) != 1) _exit(126); /* its starter is gone, and nobody may know of it */
    int to = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (to < 0 || null < 0) _exit(126);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    execv("/proc/self/exe", argv);
    _exit(127);
}

/* It is written down before it goes: however a start ends, `stop` finds all that it has started. */
static wr_err spawn(cluster *c, const member *as, const char *log, int out, char *const argv[], wr_errinfo *info)
{
    int     go[2];
    member *m = &c->member[c->members];
    if (pipe2(go, O_CLOEXEC) != 0) return wr_fail_errno(info, errno, "cannot make a pipe");
    fflush(NULL);
    int pid = fork();
    if (pid == 0) {
        close(go[1]);
        become(c, log, out, go[0], argv);
    }
    wr_err err = pid < 0 ? wr_fail_errno(info, errno, "cannot start a process") : WR_OK;
    if (err == WR_OK) {
        *m = *as;
        m->pid = pid;
        m->began = began_of(pid);
        m->alive = true;
        c->members++;
        err = save(c, info);
    }
    if (err == WR_OK && write(go[1], "", 1) != 1) err = wr_fail_errno(info, errno, "cannot start a process");
    close(go[0]);
    close(go[1]);
    return err;
}

/* "": it ended, or says nothing in time. */
static wr_err read_line(const cluster *c, int fd, char line[LINE_MAX_BYTES], wr_errinfo *info)
{
    const wr_env *env = wr_env_real();
    size_t        n = 0;
    for (int64_t until = env->mono_ns(env->self) / 1000000 + READY_MS; n < LINE_MAX_BYTES - 1;) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = c->interrupts, .events = POLLIN}};
        int64_t       left = until - env->mono_ns(env->self) / 1000000;
        int           ready = left > 0 ? poll(p, 2, (int)left) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready > 0 && p[1].revents != 0)
            return wr_fail(info, WR_CANCELED, "interrupted before all processes were ready");
        ssize_t got = ready > 0 ? read(fd, line + n, 1) : 0;
        if (got <= 0 || line[n] == '\n') break;
        n++;
    }
    line[n] = 0;
    return WR_OK;
}

/* Starts one and waits for the line that says that it is ready. */
static wr_err start_one(cluster *c, const char *role, const char *log, char *const argv[], char line[LINE_MAX_BYTES],
                        wr_errinfo *info)
{
    char   path[WR_PATH_BYTES_MAX];
    int    fd[2];
    member as = {0};
    snprintf(as.role, sizeof as.role, "%s", role);
    snprintf(as.log, sizeof as.log, "%s", log);
    WR_TRY(in_folder(c, log, path, info));
    if (pipe2(fd, O_CLOEXEC) != 0) return wr_fail_errno(info, errno, "cannot make a pipe");
    wr_err err = spawn(c, &as, path, fd[1], argv, info);
    close(fd[1]);
    if (err == WR_OK) err = read_line(c, fd[0], line, info);
    close(fd[0]);
    if (err != WR_OK || line[0] != 0) return err;
    const member *m = &c->member[c->members - 1];
    return wr_fail(info, WR_UNREACHABLE, "the %s %s; its log says why: %s", role,
                   began_of(m->pid) == m->began ? "is not ready after 15 s" : "ended at once", path);
}

/* The word behind another one in a line: "http" -> "127.0.0.1:8081". */
static void word_behind(const char *line, const char *word, char *to, size_t room)
{
    const char *at = strstr(line, word);
    to[0] = 0;
    if (at == NULL) return;
    at += strlen(word);
    at += strspn(at, " ");
    snprintf(to, room, "%.*s", (int)strcspn(at, " "), at);
}

typedef struct addresses {
    char jobmanager[128], http[128], token[WR_PATH_BYTES_MAX];
} addresses;

static wr_err start_jobmanager(cluster *c, const wr_options *o, addresses *a, wr_errinfo *info)
{
    char               dir[WR_PATH_BYTES_MAX], root[WR_PATH_BYTES_MAX], line[LINE_MAX_BYTES];
    const wr_settings *s = &o->settings;
    const char        *bind = wr_setting_given(s, WR_SET_JOBMANAGER_BIND) ? wr_setting_text(s, WR_SET_JOBMANAGER_BIND)
                                                                          : "127.0.0.1:0";
    const char        *http = wr_setting_given(s, WR_SET_JOBMANAGER_HTTP) ? wr_setting_text(s, WR_SET_JOBMANAGER_HTTP)
                                                                          : "127.0.0.1:0";
    const char        *snapshots = wr_setting_text(s, WR_SET_SNAPSHOTS_ROOT);
    WR_TRY(in_folder(c, "jobmanager", dir, info));
    WR_TRY(in_folder(c, "snapshots", root, info));
    WR_TRY(in_folder(c, "jobmanager/token", a->token, info));
    char *argv[16] = {"weir", "jobmanager", "--dir", dir, "--snapshots-root", root, "--token", a->token, "--bind"};
    int   n = 9;
    if (snapshots[0] != 0) argv[5] = (char *)(uintptr_t)snapshots;
    argv[n++] = (char *)(uintptr_t)bind;
    argv[n++] = "--http";
    argv[n++] = (char *)(uintptr_t)http;
    if (o->config != NULL) {
        argv[n++] = "--config";
        argv[n++] = (char *)(uintptr_t)o->config;
    }
    WR_TRY(wr_make_folders(dir, info));
    WR_TRY(start_one(c, "jobmanager", "jobmanager.log", argv, line, info));
    word_behind(line, "jobmanager", a->jobmanager, sizeof a->jobmanager);
    word_behind(line, "http", a->http, sizeof a->http);
    if (strcmp(a->http, "-") == 0) a->http[0] = 0; /* it serves none */
    if (a->jobmanager[0] == 0)
        return wr_fail(info, WR_INTERNAL, "the jobmanager says where it is in no known words: %s", line);
    return WR_OK;
}

enum { SLOTS_DEFAULT = 2 };

static uint32_t taskmanagers_of(const wr_options *o)
{
    return o->taskmanagers != 0 ? o->taskmanagers : 1;
}
static uint32_t slots_of(const wr_options *o)
{
    return o->slots != 0 ? o->slots : SLOTS_DEFAULT;
}

/* Of each TaskManager: by itself it would take all CPUs for its own. */
static uint32_t snapshot_threads(const wr_options *o)
{
    uint32_t n = taskmanagers_of(o), cpus = (uint32_t)wr_env_real()->cpu_count(wr_env_real()->self);
    uint32_t all = wr_setting_threads(&o->settings, WR_SET_SNAPSHOT_THREADS, cpus, n * slots_of(o));
    return strcmp(wr_setting_text(&o->settings, WR_SET_SNAPSHOT_THREADS), "auto") == 0 ? (all + n - 1) / n : all;
}

static wr_err start_taskmanager(cluster *c, const wr_options *o, const addresses *a, uint32_t i, wr_errinfo *info)
{
    char dir[WR_PATH_BYTES_MAX], log[32], name[32], slots[16], threads[16], line[LINE_MAX_BYTES];
    snprintf(name, sizeof name, "taskmanager-%u", i + 1);
    snprintf(log, sizeof log, "taskmanager-%u.log", i + 1);
    snprintf(slots, sizeof slots, "%u", slots_of(o));
    snprintf(threads, sizeof threads, "%u", snapshot_threads(o));
    WR_TRY(in_folder(c, name, dir, info));
    WR_TRY(wr_make_folders(dir, info));
    char *argv[24] = {"weir",
                      "taskmanager",
                      "--dir",
                      dir,
                      "--name",
                      name,
                      "--slots",
                      slots,
                      "--jobmanager",
                      (char *)(uintptr_t)a->jobmanager,
                      "--token",
                      (char *)(uintptr_t)a->token,
                      "--bind",
                      "127.0.0.1:0",
                      "--http",
                      "127.0.0.1:0",
                      "--snapshot-threads",
                      threads};
    if (o->config != NULL) {
        argv[18] = "--config";
        argv[19] = (char *)(uintptr_t)o->config;
    }
    return start_one(c, "taskmanager", log, argv, line, info);
}

/* What clients read; appears as a whole. */
static wr_err write_client(const cluster *c, const addresses *a, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX], temporary[WR_PATH_BYTES_MAX];
    WR_TRY(in_folder(c, "client.conf", path, info));
    WR_TRY(in_folder(c, "client.conf.new", temporary, info));
    FILE *file = fopen(temporary, "we");
    if (file == NULL) return wr_fail_errno(info, errno, "cannot write %s", temporary);
    fprintf(file, "# written by `weir cluster start`\njobmanager = %s\ntoken = %s\n", a->jobmanager, a->token);
    if (a->http[0] != 0) fprintf(file, "jobmanager-http = %s\n", a->http);
    if (fclose(file) != 0 || rename(temporary, path) != 0) return wr_fail_errno(info, errno, "cannot write %s", path);
    return WR_OK;
}

/* ---- stop ---- */

static bool gone_by(const member *m, int64_t until_ms)
{
    const wr_env *env = wr_env_real();
    int           fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    if (fd < 0) return errno == ESRCH || began_of(m->pid) != m->began;
    for (;;) {
        int64_t       left = until_ms - env->mono_ns(env->self) / 1000000;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int           got = began_of(m->pid) != m->began ? 1 : poll(&p, 1, left > 0 ? (int)left : 0);
        if (got < 0 && errno == EINTR) continue;
        close(fd);
        return got > 0;
    }
}

/* TaskManagers first, so that the JobManager sees them go; then by force. While one lives the cluster is not forgotten:
 * stop can be tried again. */
static wr_err stop_all(cluster *c, uint32_t *ended, wr_errinfo *info)
{
    const wr_env *env = wr_env_real();
    const member *left = NULL;
    char          path[WR_PATH_BYTES_MAX];
    uint32_t      n = 0;
    for (uint32_t i = c->members; i-- > 0;) {
        member *m = &c->member[i];
        m->alive = m->alive && began_of(m->pid) == m->began;
        if (!m->alive) continue;
        kill(m->pid, SIGTERM);
        n++;
    }
    int64_t until_ms = env->mono_ns(env->self) / 1000000 + GRACE_MS;
    for (uint32_t i = c->members; i-- > 0;) {
        member *m = &c->member[i];
        if (!m->alive) continue;
        m->alive = !gone_by(m, until_ms);
        if (!m->alive) continue;
        kill(m->pid, SIGKILL);
        m->alive = !gone_by(m, until_ms + GRACE_MS);
        if (m->alive) left = m;
    }
    *ended = n - living(c);
    if (left != NULL)
        return wr_fail(info, WR_TIMEOUT,
                       "%u of %u processes do not end, not even killed: %s %d; `weir cluster status` "
                       "lists them, `weir cluster stop` tries again",
                       living(c), n, left->role, left->pid);
    if (in_folder(c, "client.conf", path, NULL) == WR_OK) env->unlink(env->self, path);
    if (in_folder(c, "processes", path, NULL) == WR_OK) env->unlink(env->self, path);
    return WR_OK;
}

static int stop(cluster *c, const wr_options *o)
{
    wr_errinfo info = {0};
    uint32_t   n = 0;
    if (stop_all(c, &n, &info) != WR_OK) return wr_cli_fail(&info);
    if (o->quiet) return WR_EXIT_OK;
    if (n == 0)
        printf("no cluster runs\n");
    else
        printf("%u process%s ended\n", n, n == 1 ? " has" : "es have");
    return WR_EXIT_OK;
}

/* Some of it may have ended by themselves: they do not come back one by one. */
static void say_that_it_runs(const cluster *c, wr_errinfo *info)
{
    uint32_t lives = living(c);
    if (lives == c->members)
        wr_fail(info, WR_BUSY, "a cluster runs already; %s; `weir cluster stop` ends it", c->folder);
    else
        wr_fail(
            info, WR_BUSY,
            "a cluster runs already, and %u of its %u processes have ended (`weir cluster status`); %s; `weir cluster "
            "stop` ends the others, then start it again",
            c->members - lives, c->members, c->folder);
}

static int start(cluster *c, const wr_options *o)
{
    wr_errinfo info = {0}, left = {0};
    addresses  a;
    wr_err     err;
    uint32_t   n = taskmanagers_of(o), ended;
    memset(&a, 0, sizeof a);
    if (living(c) > 0) {
        say_that_it_runs(c, &info);
        return wr_cli_fail(&info);
    }
    c->members = 0;
    WR_GOTO(hold_interrupts(c, &info));
    WR_GOTO(wr_make_folders(c->folder, &info));
    WR_GOTO(start_jobmanager(c, o, &a, &info));
    for (uint32_t i = 0; i < n; i++) WR_GOTO(start_taskmanager(c, o, &a, i, &info));
    WR_GOTO(write_client(c, &a, &info));
    if (o->json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "jobmanager", a.jobmanager);
        wr_json_str(&j, "http", a.http);
        wr_json_str(&j, "token", a.token);
        wr_json_str(&j, "folder", c->folder);
        wr_json_u64(&j, "taskmanagers", n);
        wr_json_end(&j);
    } else if (!o->quiet) {
        printf("a JobManager at %s and %u TaskManager%s of %u slots\n", a.jobmanager, n, n == 1 ? "" : "s",
               slots_of(o));
        if (a.http[0] != 0) printf("http://%s/v1/jobs has what the reading verbs say\n", a.http);
    }
    return WR_EXIT_OK;
out:
    (void)err;
    if (stop_all(c, &ended, &left) != WR_OK) wr_cli_fail(&left);
    return wr_cli_fail(&info);
}

/* ---- status ---- */

static int status(const cluster *c, const wr_options *o)
{
    const char *where = o->settings.cluster[0] != 0 ? wr_setting_text(&o->settings, WR_SET_JOBMANAGER) : NULL;
    if (o->json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "folder", c->folder);
        wr_json_str(&j, "jobmanager", where);
        wr_json_array(&j, "processes");
        for (uint32_t i = 0; i < c->members; i++) {
            wr_json_object(&j, NULL);
            wr_json_str(&j, "role", c->member[i].role);
            wr_json_u64(&j, "pid", (uint64_t)c->member[i].pid);
            wr_json_bool(&j, "alive", c->member[i].alive);
            wr_json_printf(&j, "log", "%s/%s", c->folder, c->member[i].log);
            wr_json_end(&j);
        }
        wr_json_end(&j);
        wr_json_end(&j);
    } else if (c->members == 0) {
        printf("no cluster was started in %s\n", c->folder);
    } else {
        printf("%-12s %8s %-6s %s\n", "PROCESS", "PID", "STATE", "LOG");
        for (uint32_t i = 0; i < c->members; i++)
            printf("%-12s %8d %-6s %s/%s\n", c->member[i].role, c->member[i].pid, c->member[i].alive ? "alive" : "dead",
                   c->folder, c->member[i].log);
        if (where != NULL) printf("clients find it at %s\n", where);
    }
    return c->members > 0 && living(c) == c->members ? WR_EXIT_OK : WR_EXIT_UNREACHABLE;
}

int wr_cli_cluster(const wr_options *o)
{
    static const char *const WHAT[] = {"start", "stop", "status"};
    wr_errinfo               info = {0};
    int                      exit_code = WR_EXIT_OK;
    cluster                 *c = calloc(1, sizeof *c);
    if (c == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory for a cluster");
        return wr_cli_fail(&info);
    }
    if (load(c, &o->settings, &info) != WR_OK) {
        exit_code = wr_cli_fail(&info);
    } else if (strcmp(o->file, "start") == 0) {
        exit_code = start(c, o);
    } else if (strcmp(o->file, "status") == 0) {
        exit_code = status(c, o);
    } else if (strcmp(o->file, "stop") == 0) {
        exit_code = stop(c, o);
    } else {
        const char *near = wr_did_you_mean(o->file, WHAT, 3);
        wr_fail(&info, WR_USAGE, "start, stop or status, not %s%s%s%s", o->file, near != NULL ? "; did you mean " : "",
                near != NULL ? near : "", near != NULL ? "?" : "");
        exit_code = wr_cli_fail(&info);
    }
    free(c);
    return exit_code;
}
