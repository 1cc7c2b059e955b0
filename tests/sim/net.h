/* tests/sim/net.h: the network of simulated machines: streams of bytes behind the functions of wr_env, and connections
 * that carry messages behind wr_peers. What is sent arrives in order within a connection, after a random delay, unless
 * the connection breaks; between connections there is no order. While two machines are parted, nothing arrives from
 * the one at the other, and nobody is told. */
#ifndef WR_SIM_NET_H
#define WR_SIM_NET_H
#include "net/peers.h"
#include "tests/sim/host.h"

enum { SIM_MACHINES = 8 };

typedef struct sim_net_stats {
    uint64_t messages, bytes, connections, broken, refused;
} sim_net_stats;

typedef struct sim_net sim_net;
sim_net               *sim_net_new(uint64_t seed, sim_clock *clock);
void                   sim_net_free(sim_net *net); /* no port and no socket is used any more */
void                   sim_net_env(wr_env *env);
/* What a killed process had is closed: the others learn of it, unless `silent` was said of its machine. */
void sim_net_forget(sim_net *net, const sim_host *host);
/* Nothing arrives at `to` from `from` until it is said otherwise. */
void sim_net_part(sim_net *net, uint32_t from, uint32_t to, bool parted);
/* Breaks some connections between the machines, or of one with any (SIM_MACHINES): both ends see an error. */
void sim_net_break(sim_net *net, uint32_t a, uint32_t b, uint32_t one_in);
/* The machine is gone without a word: who had a connection with it is told nothing. */
void sim_net_silence(sim_net *net, uint32_t machine, bool silent);
void sim_net_slow(sim_net *net, int64_t delay_most_ns); /* of what is sent from now on */
/* When something arrives next; INT64_MAX: nothing is under way. */
int64_t              sim_net_due_ns(const sim_net *net);
int64_t              sim_net_host_due_ns(const sim_net *net, const sim_host *host); /* of its sockets */
const sim_net_stats *sim_net_stats_of(const sim_net *net);
uint64_t             sim_net_arrived(const sim_net *net); /* grows when something was taken by its receiver */

/* ---- messages ---- */
typedef struct sim_port sim_port; /* one wr_peers table */
/* listen: an address, or NULL: it only dials. role: of its dials. watch (may be NULL): sees each message when it is
 * delivered to this port. */
sim_port *sim_port_new(sim_net *net, sim_host *host, const char *listen, uint32_t role,
                       void (*watch)(void *arg, const char *bytes, size_t n), void *arg);
wr_peers *sim_port_table(sim_port *port);
/* A pair of connected ends, as of a socket pair: nothing parts it. */
void sim_port_join(sim_port *a, sim_port *b, uint64_t *peer_of_a, uint64_t *peer_of_b);
void sim_port_free(sim_port *port);
/* A message that nobody sends, as if it came from a TaskManager, or the JobManager: to somebody who has been greeted.
 * False: there is no connection. */
bool sim_port_inject(sim_port *port, char *bytes, size_t n);

/* ---- sockets ---- */
void sim_socket_give(sim_net *net, int socket, sim_host *to); /* to another process of the same machine */
#endif
