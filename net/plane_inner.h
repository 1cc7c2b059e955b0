/* net/plane_inner.h: what the files of the plane share. Everything here belongs to the slot's thread unless it says
 * otherwise. */
#ifndef WR_NET_PLANE_INNER_H
#define WR_NET_PLANE_INNER_H
#include "base/sum.h"
#include "net/plane.h"
#include "wire/data.h"
#include <stdalign.h>

enum {
    STAGE_BYTES = 16 << 10, /* small frames that leave together */
    SMALL_BYTES = 4 << 10,  /* a body up to this is copied there; above it goes out as it lies */
    AHEAD_BYTES = 8 << 10,  /* what is read beyond a small body; beyond a large one only the next head */
    RECEIVES = 2,           /* calls per connection and step */
    PIECES = 3,             /* of a body: records, times, heap */
    DIRECT = 2,             /* so many connections are asked one by one; more by their poller */
    SOCKETS = 1024
};

/* What is known of a type, and batches for what comes of it. */
typedef struct wr_shape {
    const weir_type *type;
    bool             timed;
    wr_pool          pool;
    uint16_t        *string_at, *bool_at; /* offsets of these fields */
    uint32_t         strings, bools;
    struct wr_shape *next;
} wr_shape;

typedef struct wr_link_conn wr_link_conn;

/* A channel whose consumer is elsewhere. */
typedef struct wr_far_out {
    wr_pipe  *pipe;
    wr_shape *shape;
    uint32_t  channel;
    uint32_t  credits;              /* elements that may be sent */
    uint32_t  credits_most;         /* that there ever were at once */
    uint32_t  seq, credit_seq;      /* next ones: of what is sent, of the credits that come */
    bool      splits, stalled;      /* stalled: counted */
    wr_batch *held[WR_CREDITS_MAX]; /* splits: sent, and not yet given home by their consumer; oldest first */
    uint32_t  helds;
} wr_far_out;

/* A channel whose producer is elsewhere. */
typedef struct wr_far_in {
    wr_pipe  *pipe;
    wr_shape *shape;
    uint32_t  channel;
    uint32_t  credits;            /* elements that may be under way at once */
    uint32_t  room;               /* of these, granted and not yet come */
    uint32_t  owed, owed_records; /* came home and not yet granted again */
    uint32_t  seq, credit_seq;
    bool      splits;
} wr_far_in;

/* The connection with one slot of another worker. */
struct wr_link_conn {
    wr_plane    *plane;
    uint32_t     remote;
    _Atomic int  given;  /* any thread: a socket + 1; 0: none yet */
    int          socket; /* -1: not taken yet */
    uint32_t     watched;
    wr_far_out **out; /* rising by channel, as in */
    wr_far_in  **in;
    uint32_t     outs, ins, next_out;

    /* What goes out: spans that were not sent whole yet, and the batch that some of them lie in. */
    wr_span     span[1 + PIECES];
    uint32_t    spans, span_at;
    uint32_t    staged;
    wr_far_out *flying_of; /* NULL: no batch */
    wr_batch   *flying;
    bool        blocked;
    int64_t     blocked_ns;

    /* What comes in: a head that waits for its body. */
    bool         in_body;
    wr_data_head head;
    uint64_t     seed; /* of the body's sum */
    wr_far_in   *into;
    wr_batch    *batch; /* records */
    uint8_t      small[WR_BARRIER_BYTES];
    wr_span      body[PIECES];
    uint32_t     bodies, body_at;
    uint32_t     ahead_at, ahead_end;
    bool         dry; /* the last look found no more */
    int64_t      looked_ns;

    alignas(WR_CACHE_LINE) char stage[STAGE_BYTES];
    char ahead[AHEAD_BYTES];
};

/* Owner: the slot's thread, but for given, connected, failed and the stats. */
struct wr_plane {
    wr_plane_config  config;
    const wr_sum    *sum;
    wr_shape        *shapes;
    wr_link_conn   **conn; /* rising by remote */
    uint32_t         conns;
    wr_batch        *spare; /* control elements */
    int              poller;
    uint16_t         by_socket[SOCKETS]; /* hashed: index in conn + 1 */
    bool             progress;           /* the last step moved something */
    bool             all_taken;          /* every connection has its socket */
    int64_t          heard_ns;           /* when it was last asked whether the other machines are there */
    _Atomic uint32_t connected;
    _Atomic bool     failed;
    wr_errinfo       failure; /* before `failed` */
    _Atomic uint64_t sent_bytes, received_bytes, sent_frames, received_frames, stalled;
};

static inline void wr_plane_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

/* The plane has failed: sockets are closed, whoever waits at a pipe is woken. Returns false. */
bool wr_plane_fail(wr_plane *p, const wr_link_conn *c, wr_err code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool wr_plane_lost(wr_link_conn *c, int number); /* errno; 0: the other side ended */

/* Sends what may be sent; true: something was. */
bool wr_plane_send(wr_link_conn *c, int64_t now_ns);
/* The other side granted: in order. */
bool wr_plane_granted(wr_link_conn *c, const wr_data_head *head);
/* Takes home what the consumer gave back, and counts what it has to grant for it. */
void wr_plane_reclaim(wr_plane *p, wr_far_in *in);
/* Takes what came; true: something did. */
bool     wr_plane_receive(wr_link_conn *c, int64_t now_ns);
uint64_t wr_plane_sum(const wr_plane *p, uint64_t seed, const wr_span *piece, uint32_t n);

#endif
