/* graph/exec.h: the execution graph: what runs where. Every task becomes a vertex with subtasks; every source with an
 * enumerator gets one vertex more in front of it; every edge that is no call becomes a link of channels. Pure. */
#ifndef WR_GRAPH_EXEC_H
#define WR_GRAPH_EXEC_H
#include "graph/job.h"

typedef enum wr_vertex_kind { WR_VERTEX_TASK = 1, WR_VERTEX_ENUMERATOR } wr_vertex_kind;
typedef enum wr_link_kind {
    WR_LINK_DATA = 1, /* an edge of the job */
    WR_LINK_SPLITS    /* enumerator to its readers; records of the source's split type, one credit each */
} wr_link_kind;

/* Part of a wr_exec: read only, any thread. */
typedef struct wr_vertex {
    uint32_t        id;   /* index in wr_exec.vertex */
    uint32_t        kind; /* wr_vertex_kind */
    const char     *name; /* "lines -> split", "lines enumerator" */
    uint32_t        task; /* index in wr_job.task; of an enumerator: its readers' */
    uint32_t        node; /* the head's id; of an enumerator: the source's */
    uint32_t        parallelism, max_parallelism;
    bool            blocking;
    const char     *slot_group;
    uint32_t        first_subtask; /* its subtasks are wr_exec.subtask[first_subtask ... + parallelism - 1] */
    const uint32_t *in, *out;      /* ids of links, in order of the edges; splits come first */
    uint32_t        ins, outs;
} wr_vertex;

typedef struct wr_subtask {
    uint32_t        id; /* index in wr_exec.subtask */
    uint32_t        vertex, index;
    uint32_t        attempt; /* 1; each retry has the next one */
    bool            own_thread;
    uint32_t        place;  /* index of the slot, or of the own thread */
    uint32_t        slot;   /* of the job: where it is in a cluster; own threads belong to a slot too */
    wr_key_groups   groups; /* of the vertex's head; other nodes of a chain: wr_key_groups_of */
    const uint32_t *in;     /* ids of channels, by link of the vertex, then by producer: the input gates */
    const uint32_t *out;    /* ids of channels, by link of the vertex, then by consumer: the result partitions */
    uint32_t        ins, outs;
} wr_subtask;

typedef struct wr_channel {
    uint32_t id; /* index in wr_exec.channel */
    uint32_t link;
    uint32_t from, to;   /* subtask ids */
    uint32_t from_index; /* among the channels of `from` in this link: what a partitioner counts */
    uint32_t to_index;   /* among the channels of `to` in this link */
} wr_channel;

/* One result partition type and one input gate. */
typedef struct wr_link {
    uint32_t         id;   /* index in wr_exec.link */
    uint32_t         kind; /* wr_link_kind */
    uint32_t         edge; /* id of the job's edge; WR_NONE for splits */
    uint32_t         from_vertex, to_vertex;
    uint32_t         from_node, from_port, to_node, to_port;
    uint32_t         route; /* wr_route; splits: OWN without a loop, since the enumerator chooses */
    const weir_type *type;
    uint32_t         first_channel, channels; /* in wr_exec.channel, ordered by producer, then consumer */
} wr_link;

typedef struct wr_exec {
    const wr_job *job;
    wr_vertex    *vertex; /* producers before consumers */
    uint32_t      vertices;
    wr_subtask   *subtask;
    uint32_t      subtasks;
    wr_link      *link;
    uint32_t      links;
    wr_channel   *channel;
    uint32_t      channels;
    uint32_t      slots;   /* slot sharing: subtask i of each task of a group is in the group's slot i */
    uint32_t      threads; /* own threads: blocking subtasks and enumerators */
    wr_arena      arena;
} wr_exec;

/* Fails when the job needs more channels than WR_CHANNELS_MAX. The job must outlive it. */
wr_err wr_exec_new(const wr_job *job, wr_exec **exec, wr_errinfo *info);
void   wr_exec_free(wr_exec *exec);

/* How many channels a subtask of the producer has, and to which consumers: [*first, *first + count). */
uint32_t wr_channels_of(uint32_t route, uint32_t from, uint32_t producers, uint32_t consumers, uint32_t *first);

#endif
