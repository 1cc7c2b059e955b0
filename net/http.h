/* net/http.h: a small HTTP server for reading: /metrics, /v1/..., /healthz. It is libmicrohttpd, opened when the server
 * is, so that no other process carries it and its TLS library; it has no threads of its own: the owner steps it. Only
 * GET and HEAD; loopback only unless `insecure`. */
#ifndef WR_NET_HTTP_H
#define WR_NET_HTTP_H
#include "base/env.h"
#include "base/error.h"

typedef struct wr_http wr_http; /* Owner: the thread that made it */
typedef struct wr_http_config {
    const wr_env *env;
    const char   *listen;   /* HOST:PORT; port 0: any */
    bool          insecure; /* other addresses than loopback, and other names for us, are fine */
    /* What is to be read: "metrics", or what stands behind /v1/. malloc'ed; NULL: there is none. On the owner's thread,
     * out of step. */
    char *(*read)(void *self, const char *what, size_t *n);
    void *self;
} wr_http_config;

wr_err wr_http_new(wr_http **take, const wr_http_config *config, wr_errinfo *info);
/* "HOST:PORT" that it listens on. */
const char *wr_http_address(const wr_http *h);
void        wr_http_step(wr_http *h);     /* never waits */
int         wr_http_fd(const wr_http *h); /* for park_fds */
/* How long until step is wanted without anything readable; negative: not at all. */
int64_t wr_http_wait_ns(const wr_http *h);
void    wr_http_free(wr_http *h);

#endif
