#include "cli/serve.h"
#include "base/log.h"
#include "taskmanager/identity.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static wr_parker *_Atomic to_wake; /* shared with the signal handler */
static _Atomic bool       ends;

void wr_cli_serve_log(const wr_settings *s, const wr_env *env)
{
    wr_log_level level = WR_LOG_INFO;
    if (wr_setting_text(s, WR_SET_LOG)[0] != 0) wr_log_level_of(wr_setting_text(s, WR_SET_LOG), &level);
    wr_log_setup(STDERR_FILENO, level, env);
}

static void on_signal(int number)
{
    (void)number;
    wr_parker *parker = atomic_load(&to_wake);
    atomic_store(&ends, true);
    if (parker != NULL) wr_parker_wake(wr_env_real(), parker);
}

void wr_cli_obey_signals(wr_parker *parker)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    atomic_store(&to_wake, parker);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool wr_cli_ends(void)
{
    return atomic_load(&ends);
}

void wr_cli_ignore_signals(void)
{
    atomic_store(&to_wake, NULL);
}

static const char *or_null(const char *text)
{
    return text[0] != 0 ? text : NULL;
}

void wr_cli_certificates(wr_peers_nng_config *config, const wr_settings *s)
{
    config->cert = or_null(wr_setting_text(s, WR_SET_TLS_CERT));
    config->key = or_null(wr_setting_text(s, WR_SET_TLS_KEY));
    config->ca = or_null(wr_setting_text(s, WR_SET_TLS_CA));
}

wr_err wr_cli_files_group(const wr_settings *s, const char *own, uint32_t *gid, wr_errinfo *info)
{
    const char *group = wr_setting_text(s, WR_SET_FILES_GROUP);
    struct stat about;
    *gid = UINT32_MAX;
    if (group[0] == 0) return WR_OK;
    WR_TRY(wr_identity_group(group, gid, info));
    WR_TRY(wr_identity_member(*gid, group, info));
    umask(007);
    if (own == NULL) return WR_OK;
    if (stat(own, &about) != 0) return wr_fail_errno(info, errno, "cannot look at %s", own);
    if (about.st_gid == *gid && (about.st_mode & 070) != 0)
        return wr_fail(info, WR_CONFIG,
                       "%s is of the group %.100s, and so are workers, who must not get at what is there; chgrp it, or "
                       "name another files-group",
                       own, group);
    if ((about.st_mode & 07) != 0 && chmod(own, about.st_mode & 07770) != 0)
        return wr_fail_errno(info, errno, "cannot close %s to others", own);
    return WR_OK;
}

wr_err wr_cli_http(wr_http **take, const wr_env *env, const wr_settings *s, wr_setting which,
                   char *(*read)(void *self, const char *what, size_t *n), void *self, wr_errinfo *info)
{
    const wr_http_config config = {.env = env,
                                   .listen = wr_setting_text(s, which),
                                   .insecure = wr_setting_on(s, WR_SET_INSECURE),
                                   .read = read,
                                   .self = self};
    wr_errinfo           why = {0};
    wr_err               err = wr_http_new(take, &config, &why);
    bool needed = err != WR_NOT_FOUND && err != WR_WRONG_ABI && (err != WR_BUSY || wr_setting_given(s, which));
    if (err != WR_OK && needed) {
        *info = why;
        return err;
    }
    if (err != WR_OK) wr_log(WR_LOG_WARN, "no /metrics: %s", why.text);
    return WR_OK;
}

uint32_t wr_cli_http_step(wr_http *http, int *fd, int64_t *wait_ns)
{
    if (http == NULL) return 0;
    wr_http_step(http);
    int64_t own = wr_http_wait_ns(http);
    if (own >= 0 && (*wait_ns < 0 || own < *wait_ns)) *wait_ns = own;
    *fd = wr_http_fd(http);
    return 1;
}

void wr_cli_notify(bool ends)
{
    static struct sockaddr_un to; /* main thread */
    static socklen_t          to_bytes;
    const char               *path = getenv("NOTIFY_SOCKET"), *text = ends ? "STOPPING=1\n" : "READY=1\n";
    size_t                    n = path != NULL ? strlen(path) : 0;
    if (n > 1 && n < sizeof to.sun_path && (path[0] == '/' || path[0] == '@')) {
        to.sun_family = AF_UNIX;
        memcpy(to.sun_path, path, n);
        if (path[0] == '@') to.sun_path[0] = 0; /* the abstract namespace */
        to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    }
    unsetenv("NOTIFY_SOCKET");
    if (to_bytes == 0) return;
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0) return;
    if (sendto(s, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, to_bytes) < 0)
        wr_log(WR_LOG_WARN, "cannot tell the service manager: %s", text);
    close(s);
}
