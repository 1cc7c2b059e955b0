/* jobmanager/journal.h: the JobManager's own memory of one job, a file in the snapshot folder: leader epoch, ids that
 * may have been used, the job's name and lineage, the greatest attempt, and whether it has finished. Append-only, each
 * record with a checksum. Losing it loses little: epoch, attempt and ids go on from the names of the files, the lineage
 * from the newest manifest. Format: docs/formats-journal.md. */
#ifndef WR_JOBMANAGER_JOURNAL_H
#define WR_JOBMANAGER_JOURNAL_H
#include "base/env.h"
#include "base/error.h"
#include "base/limits.h"

typedef struct wr_journal wr_journal; /* Owner: the JobManager's thread */
typedef struct wr_journal_config {
    const wr_env *env;
    const char   *folder;  /* made when it is not there */
    const char   *job;     /* a folder belongs to one job: another name is refused */
    bool          fresh;   /* start a new lineage, whatever the folder has */
    bool          next;    /* an attempt begins: its number is above all that there were, wherever they were counted */
    uint32_t      attempt; /* that it is at least; or, of one that goes on, that it is. 0: it has none (one process) */
} wr_journal_config;

/* Locks the folder for this process (WR_BUSY names the one that has it), reads the journal, makes a new leader epoch
 * durable, and the attempt with it. Of a finished job (and not fresh) nothing is written and wr_journal_finished is
 * true; the caller says so and closes. A record cut off by a crash is dropped; any other damage is WR_DAMAGED with the
 * offset, but does not stop who begins fresh. */
wr_err wr_journal_open(wr_journal **take, const wr_journal_config *config, wr_errinfo *info);
/* Of a journal that was opened fresh: the new lineage is durable. Until then nothing is written, so that a start that
 * comes to nothing leaves the job where it was. Of any other, and again: nothing. Before ids are reserved. */
wr_err wr_journal_begin(wr_journal *j, wr_errinfo *info);
void   wr_journal_close(wr_journal *j); /* unlocks; NULL is nothing */

uint32_t wr_journal_epoch(const wr_journal *j);
/* The one that begins; else the greatest that there was. */
uint32_t    wr_journal_attempt(const wr_journal *j);
const char *wr_journal_lineage(const wr_journal *j); /* 32 hex digits; as long as the journal */
/* Every id up to and including this one may have been used. */
uint64_t wr_journal_ids(const wr_journal *j);
/* Durable when it returns: ids up to and including `up_to` may be used. WR_IO: they may not; nothing more can be
 * written then. */
wr_err wr_journal_reserve(wr_journal *j, uint64_t up_to, wr_errinfo *info);
bool   wr_journal_finished(const wr_journal *j, uint64_t *snapshot); /* which one was the last; may be NULL */
/* Whether another journal stands where this one was opened: somebody renamed the folder, and another job may run in a
 * new one of that name. `info` says so. False when nothing can be read there: whoever writes next hears why. */
bool   wr_journal_replaced(const wr_journal *j, wr_errinfo *info);
wr_err wr_journal_finish(wr_journal *j, uint64_t snapshot, wr_errinfo *info);

/* What the bytes of a journal say; good_bytes < n: the last record was cut off. Pure. Any thread. */
typedef struct wr_journal_view {
    char     job[WR_NAME_BYTES_MAX + 1], lineage[33];
    uint32_t epoch, attempt; /* attempt: 0 in version 1, which does not know it */
    uint64_t ids, snapshot;
    bool     finished;
    size_t   good_bytes;
} wr_journal_view;
wr_err wr_journal_parse(const char *bytes, size_t n, const char *path, wr_journal_view *view, wr_errinfo *info);

#endif
