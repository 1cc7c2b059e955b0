/* weir/embed.h: run pipelines inside your own program (link libweir). A pipeline is a function: void
 * build(weir_pipeline *). A cluster and its jobs belong to the program; all functions may be called from any thread,
 * but not two at once for the same cluster. */
#ifndef WEIR_EMBED_H
#define WEIR_EMBED_H
#include <weir/pipeline.h>
WEIR_EXTERN_C_BEGIN_

typedef struct weir_cluster weir_cluster;
typedef struct weir_job     weir_job;
typedef struct weir_cluster_options {
    uint32_t    size;
    uint32_t    slots;     /* parallelism of what does not say; 0: as many as usable CPUs */
    const char *snapshots; /* folder: the job NAME takes snapshots into NAME below it; NULL: what weir_configure says */
    uint64_t    state_max; /* bytes of keyed state of each job; 0: no limit */
    int         weir_end_;
} weir_cluster_options;
typedef struct weir_start_options {
    uint32_t    size;
    const char *name;         /* default: "job" */
    const char *args;         /* program arguments: "limit=120 unit=km" */
    const char *restore_from; /* snapshot or savepoint to start from; NULL: where the job's own snapshots left off */
    const char *set;          /* "lines=file:///x results=print:": replaces sources and sinks by name */
    int         weir_end_;
} weir_start_options;
typedef enum weir_job_state {
    WEIR_JOB_CREATED,
    WEIR_JOB_RUNNING,
    WEIR_JOB_RESTARTING,
    WEIR_JOB_FINISHED,
    WEIR_JOB_CANCELED,
    WEIR_JOB_FAILED
} weir_job_state;

/* weir_cluster_open(.slots = 2): each job gets threads of its own when it starts. NULL: no memory. */
#define weir_cluster_open(...)                                                                                         \
    weir_cluster_open_((weir_cluster_options){.size = sizeof(weir_cluster_options), __VA_ARGS__, .weir_end_ = 0})
/* weir_start(c, build, .name = "watch"): always a job; one that cannot start is WEIR_JOB_FAILED, and weir_why says
 * why. */
#define weir_start(C, ...) weir_start_(C, WEIR_FIRST_(__VA_ARGS__), WEIR_OPTIONS_(weir_start_options, __VA_ARGS__))

weir_cluster *weir_cluster_new(const weir_cluster_options *options);
/* Cancels what still runs, waits for it, frees jobs that were not freed. */
void      weir_cluster_close(weir_cluster *c);
weir_job *weir_job_new(weir_cluster *c, void (*build)(weir_pipeline *), const weir_start_options *options);
/* Waits for the end, at_most (ns) long; returns the state then. */
weir_job_state weir_wait(weir_job *job, weir_duration at_most);
/* A job with snapshots pauses its sources, takes a last one, and ends: the same weir_start goes on from there. One
 * without, or with drain, ends its sources, lets what they gave run through, every window and timer fire, and has then
 * finished. Waits. false: the job failed. */
bool weir_stop(weir_job *job, bool drain);
/* Ends the job where it stands. Waits. */
void weir_cancel(weir_job *job);
/* NULL, or the job's failure: cause, place, what to do. Lives as long as the job. */
const char *weir_why(const weir_job *job);
/* Cancels a job that still runs, and forgets it. */
void weir_job_free(weir_job *job);

WEIR_FN_ weir_cluster *weir_cluster_open_(weir_cluster_options o)
{
    return weir_cluster_new(&o);
}
WEIR_FN_ weir_job *weir_start_(weir_cluster *c, void (*build)(weir_pipeline *), weir_start_options o)
{
    return weir_job_new(c, build, &o);
}
WEIR_EXTERN_C_END_
#endif
