/* net/nng_tls.h: TLS of nng's streams out of PEM files. */
#ifndef WR_NET_NNG_TLS_H
#define WR_NET_NNG_TLS_H
#include "net/peers_nng.h"
#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

/* Of a listener: its certificate and key, and, when there is a ca, only for callers with a certificate of that one. */
wr_err wr_nng_tls_listener(nng_tls_config **take, const wr_peers_nng_config *config, wr_errinfo *info);
/* Of a dialer: the other side's certificate must be of the ca, and for that host; ours when there is one. */
wr_err wr_nng_tls_dialer(nng_tls_config **take, const wr_peers_nng_config *config, const char *host, wr_errinfo *info);

#endif
