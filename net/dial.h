/* net/dial.h: both ends of opening a data connection: the dialer's (a worker), which tries again until its deadline,
 * and the accepting one's (a TaskManager), which reads a hello of fixed length, not a byte more, and checks its proof.
 * State machines over the environment's sockets: step never waits. */
#ifndef WR_NET_DIAL_H
#define WR_NET_DIAL_H
#include "base/env.h"
#include "wire/data.h"

/* ---- worker ---- */
typedef struct wr_dialer wr_dialer; /* Owner: one thread */
wr_err                   wr_dialer_new(wr_dialer **take, const wr_env *env, const uint8_t secret[32], wr_errinfo *info);
/* hello.mac is filled in. tag comes back with the socket. */
wr_err wr_dialer_dial(wr_dialer *d, const char *address, const wr_data_hello *hello, uint64_t tag, int64_t deadline_ns,
                      wr_errinfo *info);
void   wr_dialer_step(wr_dialer *d);
/* One that is through; or, with socket -1, why it will never be (WR_UNREACHABLE, address named). */
bool wr_dialer_take(wr_dialer *d, uint64_t *tag, int *socket, wr_errinfo *info);
int  wr_dialer_fd(const wr_dialer *d); /* for park_fds */
/* When step wants to be called again; INT64_MAX: when the descriptor says so. */
int64_t wr_dialer_due_ns(const wr_dialer *d);
void    wr_dialer_free(wr_dialer *d);

/* ---- TaskManager ---- */
typedef struct wr_acceptor wr_acceptor; /* Owner: one thread */
typedef struct wr_acceptor_config {
    const wr_env *env;
    const char   *listen;
    /* The secret of an attempt that runs here; false: there is none. */
    bool (*secret)(void *self, uint64_t job, uint32_t attempt, uint8_t secret[32]);
    void *self;
} wr_acceptor_config;
wr_err wr_acceptor_new(wr_acceptor **take, const wr_acceptor_config *config, wr_errinfo *info);
int    wr_acceptor_port(const wr_acceptor *a);
void   wr_acceptor_step(wr_acceptor *a);
/* A connection whose hello was proved. */
bool    wr_acceptor_take(wr_acceptor *a, int *socket, wr_data_hello *hello);
int     wr_acceptor_fd(const wr_acceptor *a);
int64_t wr_acceptor_due_ns(const wr_acceptor *a);
typedef struct wr_acceptor_stats {
    uint64_t accepted, proved, garbage, unproved, slow, refused; /* refused: too many half open */
    uint32_t half_open;
} wr_acceptor_stats;
void wr_acceptor_stats_of(const wr_acceptor *a, wr_acceptor_stats *stats);
void wr_acceptor_free(wr_acceptor *a);

#endif
