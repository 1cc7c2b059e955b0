/* jobmanager/origin.h: where a job with snapshots begins: the lock of its folder, and
 * the snapshot to start from, checked to the last byte before anything of the
 * job exists. */
#ifndef WR_JOBMANAGER_ORIGIN_H
#define WR_JOBMANAGER_ORIGIN_H
#include "graph/job.h"
#include "jobmanager/core_checkpoint.h"
#include "jobmanager/journal.h"
#include "jobmanager/store.h"

typedef struct wr_origin_config {
    const wr_env *env;
    const char   *job;     /* name */
    const char   *folder;  /* of the snapshots: a path, or file:PATH; NULL: none are taken */
    const char   *restore; /* start from this one: what wr_store_load takes; NULL:
                          the folder's newest */
    bool          fresh;   /* a new lineage, whatever the folder has */
    bool          runs;    /* its tasks have begun with it already: its files are not read again, as time is short */
    bool          next;    /* this and attempt: as in wr_journal_config */
    uint32_t      attempt;
} wr_origin_config;

/* Owner: who opened it, one thread. Zero is one without snapshots. */
typedef struct wr_origin {
    const wr_env         *env;
    wr_journal           *journal; /* NULL: no snapshots are taken */
    wr_store             *store;
    char                  folder[WR_PATH_BYTES_MAX];
    char                  files[WR_PATH_BYTES_MAX]; /* where those of the manifest are */
    wr_manifest           manifest;
    bool                  restores;                     /* the job starts from `manifest` */
    bool                  claims;                       /* there was no journal before */
    bool                  finished;                     /* it has ended long ago, and there is nothing to run */
    uint64_t              last;                         /* finished: its last snapshot */
    uint64_t              base;                         /* of the manifest, when this lineage wrote it */
    wr_completed_snapshot known[WR_SNAPSHOTS_KEEP_MAX]; /* in the folder, rising */
    uint32_t              knowns;
} wr_origin;

/* After a failure there is nothing to close. */
wr_err wr_origin_open(wr_origin *o, const wr_origin_config *config, wr_errinfo *info);
/* Whether the job can take the snapshot's state (jobmanager/restore.h); WR_STATE. */
wr_err wr_origin_match(const wr_origin *o, const wr_job *job, bool allow_non_restored, wr_errinfo *info);
/* Nothing stands in the way any more: of one that is opened fresh, the new lineage is durable. When all tasks run and
 * none has taken a record; when they start from a snapshot, before they open, since sinks commit then. Before the
 * coordinator hears that they run. Of others, and again, nothing is done. */
wr_err wr_origin_begin(wr_origin *o, wr_errinfo *info);
/* The job comes to nothing before anything of it exists: a folder that was nobody's is nobody's again. */
void wr_origin_withdraw(wr_origin *o);
/* Others may take the folder; the manifest stays. */
void wr_origin_unlock(wr_origin *o);
void wr_origin_close(wr_origin *o);

#endif
