/* jobmanager/core_job_inside.h: what the files of the job machine share. */
#ifndef WR_JOBMANAGER_CORE_JOB_INSIDE_H
#define WR_JOBMANAGER_CORE_JOB_INSIDE_H
#include "jobmanager/core_job.h"

#define WR_CORE_JOB_MAGIC 0x4a6f6232u

static inline uint32_t wr_core_job_ended(const wr_core_job *job)
{
    return job->in[WR_EXEC_FINISHED] + job->in[WR_EXEC_CANCELED] + job->in[WR_EXEC_FAILED];
}

#endif
