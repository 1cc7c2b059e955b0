/* cli/progress.h: what a running job shows: one line that renews itself on a terminal, and a summary at the end. */
#ifndef WR_CLI_PROGRESS_H
#define WR_CLI_PROGRESS_H
#include "cli/local.h"

/* What one task did until a moment, summed over its subtasks in one place. */
typedef struct wr_task_sample {
    uint64_t busy_ns, idle_ns, back_pressured_ns;
} wr_task_sample;

/* Main thread's. */
typedef struct wr_progress {
    const wr_env   *env;
    const wr_exec  *exec;
    const wr_local *local;
    int64_t         start_ns, end_ns; /* monotonic; end 0: still running */
    int64_t         line_ns;          /* of the last line; 0: none yet */
    uint64_t        line_records;
    wr_task_sample *before; /* by subtask, at the last line; allocated with the first */
    bool            shown;  /* a line stands on the terminal */
} wr_progress;

void wr_progress_init(wr_progress *p, const wr_env *env, const wr_exec *exec, const wr_local *local);
void wr_progress_fini(wr_progress *p);
/* Renews the line on standard error, which is a terminal. */
void wr_progress_line(wr_progress *p);
void wr_progress_clear(wr_progress *p);
/* The job has ended: text for people, or one JSON object in one line. */
void wr_progress_summary_text(wr_progress *p, FILE *file);
void wr_progress_summary_json(wr_progress *p, FILE *file);

#endif
