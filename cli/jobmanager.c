/* weir jobmanager: the JobManager in a process of its own. */
#include "jobmanager/jobmanager.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/serve.h"
#include "net/address.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Main thread. */
typedef struct process {
    const wr_env  *env;
    wr_parker      parker;
    bool           parker_open;
    wr_peers_nng  *peers;
    wr_jobmanager *jm;
    wr_http       *http; /* NULL: it serves none */
    uint64_t       leader;
    char           token[WR_TOKEN_BYTES_MAX];
    char           folder[WR_PATH_BYTES_MAX], snapshots[WR_PATH_BYTES_MAX];
} process;

static wr_err refuse_open_doors(const wr_settings *s, wr_errinfo *info)
{
    const char *bind = wr_setting_text(s, WR_SET_JOBMANAGER_BIND);
    if (wr_address_loopback(bind) || wr_setting_on(s, WR_SET_INSECURE) || wr_setting_text(s, WR_SET_TLS_CERT)[0] != 0)
        return WR_OK;
    return wr_fail(
        info, WR_CONFIG,
        "%s can be reached by others, and without certificates anybody there can read what is said; set "
        "--tls-cert, --tls-key and --tls-ca, bind to 127.0.0.1, or say --insecure where the network is yours",
        bind);
}

static wr_err find_token(process *p, const wr_settings *s, wr_errinfo *info)
{
    char        path[WR_PATH_BYTES_MAX];
    const char *given = wr_setting_text(s, WR_SET_TOKEN);
    if (given[0] != 0)
        snprintf(path, sizeof path, "%s", given);
    else if (snprintf(path, sizeof path, "%s/token", p->folder) >= (int)sizeof path)
        return wr_fail(info, WR_LIMIT, "the path of the JobManager's folder is too long; %s", p->folder);
    return wr_token_read(path, true, p->token, sizeof p->token, info);
}

static char *read_jobmanager(void *self, const char *what, size_t *n)
{
    return wr_jobmanager_read(((process *)self)->jm, what, n);
}

static wr_err open_all(process *p, const wr_settings *s, wr_errinfo *info)
{
    const char          *root = wr_setting_text(s, WR_SET_SNAPSHOTS_ROOT);
    wr_jobmanager_config config = {.env = p->env,
                                   .parker = &p->parker,
                                   .folder = p->folder,
                                   .snapshots = p->snapshots,
                                   .heartbeat_ms = wr_setting_ms(s, WR_SET_HEARTBEAT_INTERVAL),
                                   .lease_ms = wr_setting_ms(s, WR_SET_LEASE),
                                   .silent_ms = wr_setting_ms(s, WR_SET_HEARTBEAT_TIMEOUT),
                                   .cancel_timeout_ms = wr_setting_ms(s, WR_SET_CANCEL_TIMEOUT),
                                   .threads = true};
    WR_TRY(refuse_open_doors(s, info));
    WR_TRY(wr_jobmanager_may_be(&config, info)); /* ahead of what would stay behind */
    WR_TRY(wr_jobmanager_dir(s, p->folder, info));
    if (root[0] != 0) WR_TRY(wr_absolute(p->snapshots, root, info));
    WR_TRY(wr_make_folders(p->folder, info));
    WR_TRY(find_token(p, s, info));
    uint32_t gid;
    WR_TRY(wr_cli_files_group(s, p->folder, &gid, info));
    wr_env_share_folders(gid);
    int got = p->env->parker_init(p->env->self, &p->parker);
    if (got < 0) return wr_fail_errno(info, -got, "cannot make an event descriptor; raise the limit of open files");
    p->parker_open = true;
    wr_peers_nng_config of_peers = {.env = p->env,
                                    .parker = &p->parker,
                                    .listen = wr_setting_text(s, WR_SET_JOBMANAGER_BIND),
                                    .token = p->token,
                                    .leader = &p->leader};
    wr_cli_certificates(&of_peers, s);
    WR_TRY(wr_peers_nng_new(&p->peers, &of_peers, info));
    config.peers = wr_peers_nng_table(p->peers);
    WR_TRY(wr_jobmanager_new(&p->jm, &config, &p->leader, info));
    return wr_cli_http(&p->http, p->env, s, WR_SET_JOBMANAGER_HTTP, read_jobmanager, p, info);
}

static void close_all(process *p)
{
    wr_http_free(p->http);
    wr_jobmanager_free(p->jm);
    if (p->peers != NULL) wr_peers_nng_free(p->peers);
    wr_cli_ignore_signals();
    if (p->parker_open) p->env->parker_fini(p->env->self, &p->parker);
}

static wr_err run(process *p, wr_errinfo *info)
{
    while (!wr_cli_ends()) {
        wr_parker_prepare(&p->parker); /* what happens from here on wakes us */
        wr_jobmanager_step(p->jm);
        if (wr_cli_ends() || wr_jobmanager_over(p->jm, info)) {
            wr_parker_cancel(&p->parker);
            break;
        }
        int64_t  wait_ns = wr_jobmanager_wait_ns(p->jm);
        int      fd[1];
        uint32_t fds = wr_cli_http_step(p->http, fd, &wait_ns);
        p->env->park_fds(p->env->self, &p->parker, wait_ns, fd, fds);
    }
    return info->code;
}

int wr_cli_jobmanager(const wr_options *options)
{
    static process     p;
    const wr_settings *s = &options->settings;
    wr_errinfo         info = {0};
    p.env = wr_env_real();
    wr_cli_serve_log(s, p.env);
    wr_err err = open_all(&p, s, &info);
    if (err == WR_OK) {
        wr_cli_obey_signals(&p.parker);
        printf("weir jobmanager %s http %s\n", wr_peers_nng_address(p.peers),
               p.http != NULL ? wr_http_address(p.http) : "-");
        fflush(stdout);
        wr_cli_notify(false);
        err = run(&p, &info);
        wr_cli_notify(true);
        if (err == WR_OK) wr_log(WR_LOG_INFO, "the JobManager ends; its jobs go on when it is started again soon");
    }
    close_all(&p);
    return err == WR_OK ? WR_EXIT_OK : wr_cli_fail(&info);
}
