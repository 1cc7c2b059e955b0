/* net/peers_pair.h: wr_peers over one end of a socket pair: TaskManager and worker. No greeting: who has the other end
 * is who made it. Descriptors travel beside the messages. */
#ifndef WR_NET_PEERS_PAIR_H
#define WR_NET_PEERS_PAIR_H
#include "net/peers.h"

typedef struct wr_peers_pair wr_peers_pair;
/* Many ends in one table (a supervisor's workers), or one (a worker's). Nothing runs by itself: `next` reads. */
wr_err    wr_peers_pair_new(wr_peers_pair **take, const wr_env *env, wr_errinfo *info);
wr_peers *wr_peers_pair_table(wr_peers_pair *p);
/* Takes the socket over; OPENED is not told. */
uint64_t wr_peers_pair_add(wr_peers_pair *p, int socket);
/* To wait at, for park_fds: readable when next may have something. */
int wr_peers_pair_fd(const wr_peers_pair *p);
/* Sends a descriptor with a few bytes beside it, behind the messages sent before; it is closed here. */
void wr_peers_pair_give(wr_peers_pair *p, uint64_t peer, int socket, const void *bytes, size_t n);
/* The next descriptor that came, or -1. bytes: at least WR_HELLO_BYTES of room. */
int  wr_peers_pair_take(wr_peers_pair *p, uint64_t peer, void *bytes, size_t room, size_t *n);
void wr_peers_pair_free(wr_peers_pair *p);

#endif
