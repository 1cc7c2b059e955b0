/* net/peers.h: connections that carry whole messages, as one table, so that JobManager, TaskManagers, workers and
 * clients are the same code over nng, over a socket pair, and in the simulator.
 *
 * Whatever comes is one event at a time, in order within a connection. A message is delivered once or its connection
 * is CLOSED; what was sent before a close may or may not have arrived. The implementations greet (net/greeting.h),
 * frame, and bound everything by themselves: garbage, oversized and slow peers never become an event, but a counter.
 * Implementations: peers_nng.h, peers_pair.h, tests/sim. */
#ifndef WR_NET_PEERS_H
#define WR_NET_PEERS_H
#include "base/env.h"
#include "base/error.h"

enum wr_peer_event_kind {
    WR_PEER_OPENED = 1, /* greeted: role, leader and version are those of the other side */
    WR_PEER_MESSAGE,
    WR_PEER_CLOSED /* or a dial that failed: info says why; the number is never used again */
};

typedef struct wr_peer_event {
    uint32_t   kind; /* enum wr_peer_event_kind */
    uint32_t   role; /* OPENED, MESSAGE: enum wr_role of wire/control.h; of a listener's end */
    uint64_t   peer;
    char      *bytes; /* MESSAGE: malloc'ed, the taker's */
    size_t     n;
    bool       dialed; /* CLOSED, OPENED: we dialed it */
    wr_errinfo info;
} wr_peer_event;

typedef struct wr_peers_stats {
    uint64_t accepted, refused, garbage, oversized, slow, wrong_token, wrong_version, overflowed;
    uint32_t open, half_open;
} wr_peers_stats;

/* Owner: one thread calls everything. */
typedef struct wr_peers {
    void *self;
    /* A peer's number at once, never 0; OPENED or CLOSED follows as an event. */
    uint64_t (*dial)(void *self, const char *address);
    /* Takes `bytes` (malloc'ed) in any case. What a peer does not take soon enough piles up to a bound; beyond it the
     * connection is closed. To a closed or unknown one: nothing happens. */
    void (*send)(void *self, uint64_t peer, char *bytes, size_t n);
    /* What was sent before goes out first, for a while. No CLOSED event follows. */
    void (*close)(void *self, uint64_t peer);
    /* The next event, or false. */
    bool (*next)(void *self, wr_peer_event *event);
    void (*stats)(void *self, wr_peers_stats *stats);
    /* Something can be taken by next: the parker that the implementation was made with is woken. */
} wr_peers;

#endif
