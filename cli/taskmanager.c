/* weir taskmanager: the supervisor in a process of its own. */
#include "base/log.h"
#include "cli/options.h"
#include "cli/serve.h"
#include "net/address.h"
#include "taskmanager/processes.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { END_MS = 2000 };

/* Main thread. */
typedef struct taskmanager {
    const wr_env      *env;
    wr_parker          parker;
    wr_peers_nng      *peers;
    wr_peers_pair     *pair;
    wr_real_processes *processes;
    wr_supervisor     *supervisor;
    wr_http           *http; /* NULL: it serves none */
    wr_identity        identity;
    char               token[WR_TOKEN_BYTES_MAX];
    char               name[WR_NAME_BYTES_MAX], folder[WR_PATH_BYTES_MAX];
} taskmanager;

static void name_it(taskmanager *t, const wr_settings *s)
{
    const char *given = wr_setting_text(s, WR_SET_TASKMANAGER_NAME);
    char        host[64] = "localhost";
    gethostname(host, sizeof host - 1);
    if (given[0] != 0)
        snprintf(t->name, sizeof t->name, "%s", given);
    else
        snprintf(t->name, sizeof t->name, "%s:%d", host, (int)getpid());
}

/* Without a folder of its own each one has a new one: several on one machine must not share. */
static wr_err find_folder(taskmanager *t, const wr_settings *s, wr_errinfo *info)
{
    char        below[64];
    const char *given = wr_setting_text(s, WR_SET_TASKMANAGER_DIR);
    if (given[0] != 0) return wr_absolute(t->folder, given, info);
    snprintf(below, sizeof below, "taskmanager/%d", (int)getpid());
    return wr_state_folder(t->folder, below, info);
}

/* Whom workers run as, and which group their new folders have. */
static wr_err find_identity(taskmanager *t, const wr_settings *s, wr_errinfo *info)
{
    uint32_t gid;
    char     text[16];
    WR_TRY(wr_identity_make(&t->identity, wr_setting_text(s, WR_SET_WORKER_USER),
                            wr_setting_text(s, WR_SET_FILES_GROUP), wr_setting_text(s, WR_SET_WORKER_GROUPS), info));
    WR_TRY(wr_cli_files_group(s, NULL, &gid, info));
    snprintf(text, sizeof text, "%u", gid);
    if (gid != UINT32_MAX) setenv("WEIR_WORKER_FILES_GROUP", text, 1);
    return WR_OK;
}

static wr_err open_peers(taskmanager *t, const wr_settings *s, wr_errinfo *info)
{
    wr_peers_nng_config config = {.env = t->env, .parker = &t->parker, .token = t->token, .role = WR_ROLE_TASKMANAGER};
    wr_cli_certificates(&config, s);
    WR_TRY(wr_peers_nng_new(&t->peers, &config, info));
    WR_TRY(wr_peers_pair_new(&t->pair, t->env, info));
    WR_TRY(wr_real_processes_new(&t->processes, t->env, t->pair, NULL, info));
    wr_real_processes_identity(t->processes, &t->identity);
    return WR_OK;
}

static char *read_taskmanager(void *self, const char *what, size_t *n)
{
    taskmanager *t = self;
    return strcmp(what, "metrics") == 0 ? wr_supervisor_metrics(t->supervisor, n) : NULL;
}

/* Its disk does not answer. Who asks how it is hears that; and who ends it need not wait for the disk. */
static void meanwhile(void *self)
{
    taskmanager *t = self;
    int64_t      wait_ns = -1;
    int          fd;
    wr_cli_http_step(t->http, &fd, &wait_ns);
    if (!wr_cli_ends() || wr_supervisor_stuck_ms(t->supervisor) < END_MS) return;
    wr_log(WR_LOG_WARN, "the TaskManager %s ends, though its disk does not answer; %s", t->name, t->folder);
    wr_cli_notify(true);
    wr_supervisor_kill(t->supervisor);
    _exit(WR_EXIT_OK);
}

static uint32_t slots_of(const wr_settings *s, const wr_env *env)
{
    uint32_t slots = wr_setting_count(s, WR_SET_TASKMANAGER_SLOTS);
    return slots != 0 ? slots : (uint32_t)env->cpu_count(env->self);
}

static wr_err open_all(taskmanager *t, const wr_settings *s, wr_errinfo *info)
{
    const char *bind = wr_setting_text(s, WR_SET_TASKMANAGER_BIND);
    if (!wr_address_loopback(bind) && !wr_setting_on(s, WR_SET_INSECURE))
        return wr_fail(info, WR_CONFIG,
                       "data connections are not encrypted yet, and %s can be reached by others; bind to 127.0.0.1, or "
                       "say --insecure where the network is yours",
                       bind);
    WR_TRY(wr_cli_token(s, t->token, sizeof t->token, info));
    WR_TRY(find_folder(t, s, info));
    WR_TRY(find_identity(t, s, info));
    int got = t->env->parker_init(t->env->self, &t->parker);
    if (got < 0) return wr_fail_errno(info, -got, "cannot make an event descriptor; raise the limit of open files");
    WR_TRY(open_peers(t, s, info));
    WR_TRY(wr_cli_http(&t->http, t->env, s, WR_SET_TASKMANAGER_HTTP, read_taskmanager, t, info));
    const wr_supervisor_config config = {.env = t->env,
                                         .peers = wr_peers_nng_table(t->peers),
                                         .workers = wr_peers_pair_table(t->pair),
                                         .processes = wr_real_processes_table(t->processes),
                                         .jobmanager = wr_setting_text(s, WR_SET_JOBMANAGER),
                                         .name = t->name,
                                         .folder = t->folder,
                                         .data_listen = bind,
                                         .data_host = wr_setting_text(s, WR_SET_TASKMANAGER_HOST),
                                         .http = t->http != NULL ? wr_http_address(t->http) : "",
                                         .slots = slots_of(s, t->env),
                                         .pid = (uint64_t)getpid(),
                                         .memory_max = wr_setting_bytes(s, WR_SET_MEMORY_MAX),
                                         .hang_ms = wr_setting_ms(s, WR_SET_HANG_TIMEOUT),
                                         .threads = true,
                                         .meanwhile = meanwhile,
                                         .self = t};
    WR_TRY(wr_supervisor_new(&t->supervisor, &config, info)); /* which has tidied the folder */
    return wr_identity_guard(&t->identity, t->folder, info);
}

static void wait(taskmanager *t)
{
    int      fd[WR_PARK_FDS_MAX];
    int64_t  timeout = wr_supervisor_wait_ns(t->supervisor), now = t->env->mono_ns(t->env->self);
    int64_t  due = wr_real_processes_due_ns(t->processes);
    uint32_t fds = wr_supervisor_fds(t->supervisor, fd);
    if (due != INT64_MAX && (timeout < 0 || due - now < timeout)) timeout = due > now ? due - now : 0;
    fd[fds++] = wr_peers_pair_fd(t->pair);
    fd[fds++] = wr_real_processes_fd(t->processes);
    fds += wr_cli_http_step(t->http, fd + fds, &timeout);
    t->env->park_fds(t->env->self, &t->parker, timeout, fd, fds);
}

static void run(taskmanager *t)
{
    bool told = false;
    while (!wr_cli_ends()) {
        wr_parker_prepare(&t->parker); /* what happens from here on wakes us */
        wr_supervisor_step(t->supervisor);
        if (!told && wr_supervisor_registered(t->supervisor)) {
            told = true;
            printf("weir taskmanager %s data %s http %s\n", t->name, wr_supervisor_data(t->supervisor),
                   t->http != NULL ? wr_http_address(t->http) : "-");
            fflush(stdout);
        }
        if (!wr_cli_ends()) wait(t);
    }
}

static void close_all(taskmanager *t)
{
    wr_http_free(t->http);
    wr_supervisor_free(t->supervisor);
    wr_real_processes_free(t->processes);
    if (t->pair != NULL) wr_peers_pair_free(t->pair);
    if (t->peers != NULL) wr_peers_nng_free(t->peers);
}

/* Workers read how they are to watch themselves from their environment. */
static void tell_workers(const wr_settings *s, const wr_env *env)
{
    char     text[32];
    uint32_t cpus = (uint32_t)env->cpu_count(env->self);
    snprintf(text, sizeof text, "%lld", (long long)wr_setting_ms(s, WR_SET_HANG_TIMEOUT));
    setenv("WEIR_WORKER_HANG_MS", text, 1);
    snprintf(text, sizeof text, "%u", wr_setting_threads(s, WR_SET_SNAPSHOT_THREADS, cpus, slots_of(s, env)));
    setenv("WEIR_WORKER_SCRIBES", text, 1);
    if (wr_setting_text(s, WR_SET_LOG)[0] != 0) setenv("WEIR_WORKER_LOG", wr_setting_text(s, WR_SET_LOG), 1);
}

int wr_cli_taskmanager(const wr_options *options)
{
    static taskmanager t;
    const wr_settings *s = &options->settings;
    wr_errinfo         info = {0};
    t.env = wr_env_real();
    wr_cli_serve_log(s, t.env);
    name_it(&t, s);
    tell_workers(s, t.env);
    wr_err err = open_all(&t, s, &info);
    if (err == WR_OK) {
        wr_cli_obey_signals(&t.parker);
        wr_cli_notify(false);
        run(&t);
        wr_cli_notify(true);
        wr_log(WR_LOG_INFO, "the TaskManager %s ends", t.name);
    }
    close_all(&t);
    return err == WR_OK ? WR_EXIT_OK : wr_cli_fail(&info);
}
