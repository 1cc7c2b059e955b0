/* jobmanager/core_restart.h: whether a job that failed is started again, and when: Flink's restart strategies, as a
 * pure machine. Time and randomness come in with each call; memory is fixed. */
#ifndef WR_JOBMANAGER_CORE_RESTART_H
#define WR_JOBMANAGER_CORE_RESTART_H
#include "base/error.h"
#include "base/limits.h"
#include <stdbool.h>
#include <stdint.h>

enum wr_restart_strategy {
    WR_RESTART_DEFAULT = 0, /* EXPONENTIAL; NONE of a job that takes no snapshots, since it would repeat everything */
    WR_RESTART_NONE,
    WR_RESTART_FIXED,        /* after delay_ms, at most `attempts` times */
    WR_RESTART_EXPONENTIAL,  /* after delay_ms, then each time factor_permille of it, up to delay_most_ms, all that
                                plus or minus a tenth; from the start again once it ran for window_ms */
    WR_RESTART_FAILURE_RATE, /* after delay_ms, unless it failed more than `attempts` times within window_ms */
    WR_RESTART_STRATEGIES
};
const char *wr_restart_strategy_name(uint32_t strategy); /* "exponential"; "?" */

/* What users set; 0: its default, which wr_restart_complete puts in. */
typedef struct wr_restart_config {
    uint32_t strategy;
    int64_t  delay_ms;        /* FIXED, FAILURE_RATE 1000; EXPONENTIAL 100 */
    int64_t  delay_most_ms;   /* 60000 */
    int64_t  window_ms;       /* EXPONENTIAL: quiet time; FAILURE_RATE: 60000 */
    uint32_t attempts;        /* FIXED, EXPONENTIAL: no limit; FAILURE_RATE: 3, at most WR_RESTART_RATE_MAX */
    uint32_t factor_permille; /* 1500 */
} wr_restart_config;
/* snapshots: the job takes some. WR_CONFIG names what is wrong; *config is as it was then. */
wr_err wr_restart_complete(wr_restart_config *config, bool snapshots, wr_errinfo *info);

/* Part of a wr_core_job. */
typedef struct wr_restart {
    wr_restart_config config;
    uint32_t          failed;                     /* how often; EXPONENTIAL: since the last quiet time */
    int64_t           last_delay_ms;              /* before jitter; of any strategy */
    int64_t           at_ms[WR_RESTART_RATE_MAX]; /* FAILURE_RATE: a ring of the newest */
} wr_restart;

/* What it had been told before this process began. */
typedef struct wr_restart_past {
    uint32_t       failed; /* r->failed; of FAILURE_RATE it does not matter */
    int64_t        last_delay_ms;
    const int64_t *at_ms; /* the newest failures, oldest first, in the clock of wr_restart_failed: may be below 0 */
    uint32_t       times;
} wr_restart_past;

/* config is complete. past: NULL is none. */
void wr_restart_init(wr_restart *r, const wr_restart_config *config, const wr_restart_past *past);
/* The job failed at now_ms, after running for ran_ms (0: it never ran). True: it starts again after *delay_ms.
 * False: it does not, and *why (of static storage) says by which rule. */
bool wr_restart_failed(wr_restart *r, wr_err cause, int64_t now_ms, int64_t ran_ms, uint64_t random, int64_t *delay_ms,
                       const char **why);

#endif
