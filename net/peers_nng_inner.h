/* net/peers_nng_inner.h: what the files of connections over nng share. Everything belongs to the table's owner unless
 * it says otherwise. */
#ifndef WR_NET_PEERS_NNG_INNER_H
#define WR_NET_PEERS_NNG_INNER_H
#include "net/address.h"
#include "net/boxes.h"
#include "net/complain.h"
#include "net/greeting.h"
#include "net/nng_tls.h"
#include "net/peers_nng.h"
#include <pthread.h>

typedef struct wr_nng_link wr_nng_link;
typedef enum wr_nng_kind { OP_ACCEPT, OP_DIAL, OP_RECEIVE, OP_SEND } wr_nng_kind;

/* One operation that nng does for us. Shared: next, queued under the table's lock; the rest is the owner's. */
typedef struct wr_nng_op {
    struct wr_nng_op *next;
    wr_peers_nng     *table;
    wr_nng_link      *link; /* NULL: the listener's */
    nng_aio          *aio;
    wr_nng_kind       kind;
    int               result; /* of one that nng never saw */
    bool              queued, busy;
} wr_nng_op;

typedef enum wr_nng_state {
    LINK_DIALS,
    LINK_GREETS,
    LINK_OPEN,
    LINK_CLOSING, /* the owner has closed it; sends what is left */
    LINK_LINGERS  /* and has: TLS may still have some of it inside */
} wr_nng_state;

/* One connection. Owner: its table. Its number is generation << 16 | index + 1. */
struct wr_nng_link {
    uint64_t           number, order;
    wr_nng_state       state;
    bool               dialed, tls, broken; /* broken: nothing can be sent any more */
    nng_stream_dialer *dialer;
    nng_stream        *stream;
    wr_nng_op          dial, receive, send;
    wr_greeter         greeter;
    int64_t            greeted_by_ns;
    char              *buffer;
    size_t             buffer_bytes, at, n;
    wr_inbox           in;
    wr_outbox          out, later; /* later: what waits for the end of the greeting */
    char              *host;       /* whom we dialed */
};

/* Owner: one thread. Shared: done, done_last, under lock. */
struct wr_peers_nng {
    wr_peers_nng_config  config;
    const wr_env        *env;
    wr_peers             table;
    char                 token[WR_TOKEN_BYTES_MAX], address[WR_HOST_BYTES_MAX + 16];
    nng_stream_listener *listener;
    wr_nng_op            accept;
    bool                 pausing; /* the accept operation is a pause */
    wr_nng_link        **link;
    uint32_t             links, room;
    uint64_t             generation, order;
    uint64_t             reading; /* whose buffer holds something */
    wr_peers_stats       stats;
    wr_complaints        complaints;
    pthread_mutex_t      lock;
    wr_nng_op           *done, *done_last;
};

/* ---- operations: peers_nng_link.c ---- */
void       wr_nng_put_done(wr_nng_op *o); /* any thread */
wr_nng_op *wr_nng_take_done(wr_peers_nng *p);
bool       wr_nng_op_init(wr_nng_op *o, wr_peers_nng *p, wr_nng_link *l, wr_nng_kind kind);
void       wr_nng_op_fini(wr_nng_op *o);
void       wr_nng_arm_receive(wr_peers_nng *p, wr_nng_link *l);
void       wr_nng_arm_send(wr_nng_link *l);
void       wr_nng_arm_accept(wr_peers_nng *p, bool pause);

/* ---- links: peers_nng_link.c ---- */
wr_nng_link *wr_nng_find(wr_peers_nng *p, uint64_t number);                /* NULL: gone */
wr_nng_link *wr_nng_add(wr_peers_nng *p, wr_nng_state state, bool dialed); /* NULL: there are too many */
void         wr_nng_set_state(wr_peers_nng *p, wr_nng_link *l, wr_nng_state state);
void         wr_nng_greet(wr_peers_nng *p, wr_nng_link *l); /* its stream is there */
void wr_nng_part(wr_peers_nng *p, wr_nng_link *l); /* without a word, or with the last word that is in the box */
void wr_nng_release(wr_peers_nng *p, wr_nng_link *l);
void wr_nng_complain(wr_peers_nng *p, const wr_nng_link *l, wr_log_level level, const char *why);

/* ---- what nng has done: peers_nng_event.c. True: there is an event for the owner ---- */
void wr_nng_accepted(wr_peers_nng *p, int result);
bool wr_nng_dialed(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event);
bool wr_nng_received(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event);
bool wr_nng_sent(wr_peers_nng *p, wr_nng_link *l, int result, wr_peer_event *event);
/* The next event out of the buffer that is being read. */
bool wr_nng_parse(wr_peers_nng *p, wr_peer_event *event);

#endif
