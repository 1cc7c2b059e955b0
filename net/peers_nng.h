/* net/peers_nng.h: wr_peers over nng's streams: tcp://HOST:PORT, tls+tcp:// with certificates. Messages have four bytes
 * of length in front (little endian). nng's threads only move bytes into a queue; all else is the owner's. */
#ifndef WR_NET_PEERS_NNG_H
#define WR_NET_PEERS_NNG_H
#include "net/peers.h"

typedef struct wr_peers_nng_config {
    const wr_env   *env;
    wr_parker      *parker;          /* of the owner: woken when next has something */
    const char     *listen;          /* "HOST:PORT", NULL: only dials. Port 0: any, see wr_peers_nng_address */
    const char     *token;           /* the cluster's shared secret (content of the 0600 file), never sent */
    uint32_t        role;            /* of dials: enum wr_role */
    const uint64_t *leader;          /* of a listener: told in its greeting; not 0 when `next` is called; or NULL */
    const char     *cert, *key, *ca; /* TLS when set: PEM files */
} wr_peers_nng_config;

typedef struct wr_peers_nng wr_peers_nng;
wr_err                      wr_peers_nng_new(wr_peers_nng **take, const wr_peers_nng_config *config, wr_errinfo *info);
wr_peers                   *wr_peers_nng_table(wr_peers_nng *p);
/* "HOST:PORT" that it listens on. */
const char *wr_peers_nng_address(const wr_peers_nng *p);
void        wr_peers_nng_free(wr_peers_nng *p);

/* The token of a file that must be ours and for nobody else to read (0600); made with random content when `make` and
 * it is not there. At most WR_TOKEN_BYTES_MAX with the zero. */
wr_err wr_token_read(const char *path, bool make, char *to, size_t room, wr_errinfo *info);

#endif
