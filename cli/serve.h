/* cli/serve.h: what `weir jobmanager` and `weir taskmanager` have in common: log, signals, certificates, HTTP port. */
#ifndef WR_CLI_SERVE_H
#define WR_CLI_SERVE_H
#include "cli/settings.h"
#include "net/http.h"
#include "net/peers_nng.h"

/* Its log goes to standard error, from info on unless the settings say otherwise. */
void wr_cli_serve_log(const wr_settings *s, const wr_env *env);
/* From here on SIGINT and SIGTERM wake the parker, and wr_cli_ends is true; one process serves one thing. */
void wr_cli_obey_signals(wr_parker *parker);
bool wr_cli_ends(void);
/* The parker goes: signals wake nobody any more. */
void wr_cli_ignore_signals(void);
/* TLS, as far as the settings name files. */
void wr_cli_certificates(wr_peers_nng_config *config, const wr_settings *s);

/* files-group: *gid, and umask 007; UINT32_MAX: the settings name none. own: a folder that the group must not get into,
 * or NULL. */
wr_err wr_cli_files_group(const wr_settings *s, const char *own, uint32_t *gid, wr_errinfo *info);

/* *take stays NULL, and a warning says so, where libmicrohttpd is missing or the default port is taken. */
wr_err wr_cli_http(wr_http **take, const wr_env *env, const wr_settings *s, wr_setting which,
                   char *(*read)(void *self, const char *what, size_t *n), void *self, wr_errinfo *info);
/* Steps it (NULL: nothing), makes *wait_ns shorter, and gives the descriptor to wait at: 0 or 1 of them. */
uint32_t wr_cli_http_step(wr_http *http, int *fd, int64_t *wait_ns);

/* Tells the service manager that started us, if one did (NOTIFY_SOCKET): ready, or about to end. Workers do not see its
 * address: `ends` or not, the first call takes it out of the environment. */
void wr_cli_notify(bool ends);

#endif
