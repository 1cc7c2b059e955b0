/* net/metrics.h: figures in Prometheus' text format 0.0.4. What workers measure is written here only, so that a
 * JobManager and a TaskManager serve it under the same names and labels; docs/metrics.md has them all. Pure: text goes
 * to the caller's stream, which tells whether it took it. */
#ifndef WR_NET_METRICS_H
#define WR_NET_METRICS_H
#include "graph/exec.h"
#include "wire/control.h"
#include <stdio.h>

/* The newest that one worker measured. The caller's; only for the call. */
typedef struct wr_metrics_worker {
    const char     *job, *tm; /* names */
    uint64_t        id;       /* of the job */
    const wr_exec  *exec;     /* of the job; NULL: not known, and what would be named by it is left out */
    const wr_stats *stats;
} wr_metrics_worker;

/* What stands above the lines of a name. */
void wr_metrics_head(FILE *f, const char *name, const char *type, const char *help);
/* The inside of a label's quotes: any text. */
void wr_metrics_value(FILE *f, const char *text);
/* NAME{job="...",id="...": more labels may follow. */
void wr_metrics_of_job(FILE *f, const char *name, const char *job, uint64_t id);
/* All that these workers measured: a name's lines stand together. */
void wr_metrics_of_workers(FILE *f, const wr_metrics_worker *w, uint32_t n);

#endif
