/* base/sabotage.h: switches that break one safety rule each, so that the simulator can show that it would notice.
 * All false, always, but in the simulator, which sets them before a job begins. Looked at per batch, barrier or file,
 * never per record. */
#ifndef WR_BASE_SABOTAGE_H
#define WR_BASE_SABOTAGE_H
#include <stdbool.h>

/* Frozen while a job runs. */
typedef struct wr_sabotage_switches {
    bool skip_alignment;     /* the first barrier of several inputs counts for all */
    bool drop_id_check;      /* barriers of old snapshots and epochs are obeyed */
    bool ack_before_fsync;   /* a file counts as durable when it is written */
    bool skip_undo;          /* cells of a state save no old bytes while it is captured */
    bool no_undo_apart;      /* the same, while a scribe captures it */
    bool lose_dirty_bit;     /* one entry per increment is forgotten */
    bool stale_lookaside;    /* lookaside lines survive a barrier */
    bool no_watermark;       /* operators restart without the event time that they had come to */
    bool reuse_id;           /* the coordinator gives an id twice */
    bool commit_early;       /* sinks commit before the snapshot is durable */
    bool abort_committables; /* what was prepared for a failed snapshot is thrown away */
    bool sink_no_sync;       /* the file sink prepares without the file being on the disk */
    bool skip_recover;       /* what a crash left in a sink's hands stays there */
    bool lose_split;         /* an enumerator does not save the splits that nobody has yet */
    bool position_behind;    /* a source saves the position that it had a batch ago */
    bool manifest_no_sync;   /* a manifest is published without syncing what it names */
    bool recycle_early;      /* files are overwritten that only older manifests name */
    /* Of the cluster. */
    bool stale_epoch;     /* messages of old attempts and old leaders are obeyed */
    bool no_lease;        /* a worker lives on when its lease is over */
    bool ids_not_durable; /* snapshot ids are given before the journal has them */
    bool missing_is_new;  /* a folder of snapshots that is not there begins anew */
    bool ledger_late;     /* the ledger is written behind the messages that it covers */
    bool credit_leak;     /* a data channel gives a credit twice */
    bool two_leaders;     /* the ledger's lock is not looked at, and any leader is obeyed */
    bool lose_held;       /* what comes to the JobManager while it waits for storage is forgotten */
    bool sync_later;      /* the helper of storage says that a file is synced, and syncs it before the next call */
} wr_sabotage_switches;
extern wr_sabotage_switches wr_sabotage;

#endif
