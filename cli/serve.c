#include "cli/serve.h"
#include "base/log.h"

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
