/* graph/remote_tables.h: inside graph/ only: a job graph as it stands in bytes, types by number. */
#ifndef WR_GRAPH_REMOTE_TABLES_H
#define WR_GRAPH_REMOTE_TABLES_H
#include "graph/job.h"
#include "wire/members.h"

#define WR_REMOTE_VERSION 1u
enum { WR_REMOTE_LOOPS = 15, WR_REMOTE_UPGRADES = 4 };

/* All of them: arena of who encodes or decodes. */
typedef struct wr_remote_op {
    weir_op   op;    /* its numbers and texts */
    uint32_t  loops; /* bit i: the i-th pointer to user code is there */
    uint32_t  left, right, state, shared;
    uint32_t *out;
    uint32_t  outs;
} wr_remote_op;

typedef struct wr_remote_upgrade {
    uint32_t from, to;
} wr_remote_upgrade;

typedef struct wr_remote_node {
    wr_node            n; /* its numbers, texts, keys and window */
    uint32_t           separator, type, left, right;
    uint32_t          *out;
    uint32_t           outs;
    const char        *watermark;
    wr_remote_upgrade *upgrade;
    uint32_t           upgrades;
    wr_remote_op       op;
} wr_remote_node;

typedef struct wr_remote_edge {
    wr_edge  e;
    uint32_t type;
    bool     own;
} wr_remote_edge;

typedef struct wr_remote_task {
    const char *name;
    uint32_t   *nodes;
    uint32_t    n;
} wr_remote_task;

typedef struct wr_remote_job_bytes {
    uint32_t                version;
    wr_job                  job; /* its numbers and name */
    const weir_type *const *type;
    uint32_t                types;
    wr_remote_node         *node;
    wr_remote_edge         *edge;
    wr_remote_task         *task;
    uint32_t                nodes, edges, tasks;
} wr_remote_job_bytes;

extern const wr_struct wr_remote_struct; /* wr_remote_job_bytes */

#endif
