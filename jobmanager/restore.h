/* jobmanager/restore.h: whether a job can start from a snapshot, operator by operator, without running it. */
#ifndef WR_JOBMANAGER_RESTORE_H
#define WR_JOBMANAGER_RESTORE_H
#include "base/arena.h"
#include "graph/job.h"
#include "wire/manifest.h"

enum wr_restore_what {
    WR_RESTORE_SAME = 1, /* its state is taken as it is */
    WR_RESTORE_CONVERT,  /* field by field */
    WR_RESTORE_UPGRADE,  /* by its WEIR_UPGRADE */
    WR_RESTORE_NEW,      /* not in the snapshot: begins empty */
    WR_RESTORE_MISSING,  /* in the snapshot only: its state would be dropped */
    WR_RESTORE_REFUSED
};
const char *wr_restore_what_name(uint32_t what);

typedef struct wr_restore_op {
    const char *uid;
    uint32_t    what;                          /* enum wr_restore_what */
    uint32_t    from_parallelism, parallelism; /* 0: is not there */
    uint64_t    bytes;                         /* of its files */
    uint32_t    items;
    const char *why; /* "" or a remark: what is converted; of REFUSED the reason, with the field's name */
} wr_restore_op;

/* Owner: who asked, one thread. */
typedef struct wr_restore_report {
    wr_restore_op *op; /* those of the snapshot, then the new ones */
    uint32_t       ops;
    uint32_t       missing, refused;
    wr_arena       arena;
} wr_restore_report;

/* WR_STATE, and the first reason, when something is refused, or missing and not `allow`ed to be. The report (may be
 * NULL) is complete in any case; wr_restore_report_free. Pure. */
wr_err wr_restore_match(const wr_manifest *m, const wr_job *job, bool allow, wr_restore_report *report,
                        wr_errinfo *info);
void   wr_restore_report_free(wr_restore_report *report);

#endif
