/* net/plane.h: the data plane of one slot: its connections to slots of other workers, and the channels on them.
 *
 * A channel to another worker has a wr_pipe on each side, as any channel has. The plane is the consumer of the pipes
 * whose consumer is elsewhere, and the producer of those whose producer is: exchanges and tasklets see no difference.
 * Every element costs the sender a credit, which the receiver gives back when its consumer gives the element home: so
 * one blocked channel holds no neighbour up, and memory is bounded by what was granted. A gap, a wrong sum, a foreign
 * attempt or a lost connection fails the plane, never resyncs.
 *
 * Also serves own-thread subtasks that belong to its slot. The slot's thread calls everything that does not say
 * otherwise, and owns the sockets. */
#ifndef WR_NET_PLANE_H
#define WR_NET_PLANE_H
#include "operators/batch.h"

typedef struct wr_plane wr_plane;

typedef struct wr_plane_config {
    const wr_env          *env;
    wr_parker             *parker; /* of the slot */
    uint64_t               job;
    uint32_t               attempt, slot;  /* slot: of the job */
    const _Atomic int64_t *lease_until_ns; /* beyond it no frame is sent or accepted; NULL: no lease */
} wr_plane_config;
wr_err wr_plane_new(wr_plane **take, const wr_plane_config *config, wr_errinfo *info);
void   wr_plane_free(wr_plane *p);

/* Before the threads start. channel: id in wr_exec.channel, unique in the plane. remote: slot of the job at the other
 * end. type: of its records. */
typedef struct wr_plane_channel {
    uint32_t         channel, remote;
    wr_pipe         *pipe; /* in: initialised by the plane, as its producer */
    const weir_type *type;
    bool             timed;
    bool             splits;     /* an element comes home only when its consumer gave it home: one is under way */
    uint32_t         neighbours; /* in: channels that share its consumer's memory, it included */
} wr_plane_channel;
wr_err wr_plane_out(wr_plane *p, const wr_plane_channel *c, wr_errinfo *info);
/* consumer, port: as wr_pipe_init takes them. */
wr_err wr_plane_in(wr_plane *p, const wr_plane_channel *c, wr_parker *consumer, uint32_t port, wr_errinfo *info);
/* How many slots of other workers it needs a connection with; the slot with the lower number dials. Any thread. */
uint32_t wr_plane_remotes(const wr_plane *p);
bool     wr_plane_remote(const wr_plane *p, uint32_t index, uint32_t *remote); /* rising; false: index is too large */
/* A greeted connection to that slot. Any thread; the plane closes it. A second one to the same slot is closed. */
void wr_plane_give(wr_plane *p, uint32_t remote, int socket);
/* All connections are there. Any thread. */
bool wr_plane_connected(const wr_plane *p);

/* Moves what can be moved; true: something was. Never waits. */
bool wr_plane_step(wr_plane *p, int64_t now_mono_ns);
/* Right before the slot parks: what to wait at, for park_fds; -1: none needed. */
int wr_plane_fd(wr_plane *p);
/* False: it works. Else why not, and whose connection; the slot's tasks fail with it. Any thread. */
bool wr_plane_failed(const wr_plane *p, wr_errinfo *info);

typedef struct wr_plane_stats {
    uint64_t sent_bytes, received_bytes, sent_frames, received_frames, stalled; /* stalled: had data and no credit */
} wr_plane_stats;
void wr_plane_stats_of(const wr_plane *p, wr_plane_stats *stats); /* any thread */

#endif
