/* cli/serve.h: the HTTP port of `weir jobmanager` and `weir taskmanager`. */
#ifndef WR_CLI_SERVE_H
#define WR_CLI_SERVE_H
#include "cli/settings.h"
#include "net/http.h"

/* *take stays NULL, and a warning says so, where libmicrohttpd is missing or the default port is taken. */
wr_err wr_cli_http(wr_http **take, const wr_env *env, const wr_settings *s, wr_setting which,
                   char *(*read)(void *self, const char *what, size_t *n), void *self, wr_errinfo *info);
/* Steps it (NULL: nothing), makes *wait_ns shorter, and gives the descriptor to wait at: 0 or 1 of them. */
uint32_t wr_cli_http_step(wr_http *http, int *fd, int64_t *wait_ns);

/* Tells the service manager that started us, if one did (NOTIFY_SOCKET): ready, or about to end. Workers do not see its
 * address: `ends` or not, the first call takes it out of the environment. */
void wr_cli_notify(bool ends);

#endif
