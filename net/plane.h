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

/* Before the threads start. channel: id in wr_exec.channel. remote: slot of the job at the other end. type: of its
 * records (splits too). key: fields whose canonical form the receiver checks, in: pool geometry like the producer's. */
wr_err wr_plane_out(wr_plane *p, uint32_t channel, uint32_t remote, wr_pipe *pipe, const weir_type *type, bool timed);
wr_err wr_plane_in(wr_plane *p, uint32_t channel, uint32_t remote, wr_pipe *pipe, const weir_type *type, bool timed);
/* Remote slots that it needs a connection with, rising; the slot with the lower number dials. */
uint32_t wr_plane_remotes(const wr_plane *p, uint32_t *slot, uint32_t room);
/* A greeted connection to that slot. Any thread; the plane closes it. A second one to the same slot is closed. */
void wr_plane_give(wr_plane *p, uint32_t remote, int socket);
/* All connections are there. Any thread. */
bool wr_plane_connected(const wr_plane *p);

/* Moves what can be moved; true: something was. Never waits. */
bool wr_plane_step(wr_plane *p, int64_t now_mono_ns);
/* To wait at: a poller for park_fds; -1: none needed. */
int wr_plane_fd(const wr_plane *p);
/* False: it works. Else why not, and whose connection; the slot's tasks fail with it. */
bool wr_plane_failed(const wr_plane *p, wr_errinfo *info);

typedef struct wr_plane_stats {
    uint64_t sent_bytes, received_bytes, sent_frames, received_frames, stalled; /* stalled: had data and no credit */
} wr_plane_stats;
void wr_plane_stats_of(const wr_plane *p, wr_plane_stats *stats); /* any thread */

#endif
