/* weir/embed.h: clusters inside other programs. Each job has a worker of its own and a thread that plays its
 * JobManager. */
#include "cli/local.h"
#include "cli/prepare.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weir/embed.h>

enum { TEXTS_MAX = WR_ARGS_MAX };

/* The program's; one call at a time. */
struct weir_cluster {
    const wr_env *env;
    uint32_t      slots;
    uint64_t      state_max;
    char         *snapshots; /* folder of the jobs' folders, or NULL */
    weir_job     *jobs;
};

/* Owned by its cluster; `local` by its thread from start to join, but for what any thread may call. */
struct weir_job {
    weir_cluster *cluster;
    weir_job     *next;
    char         *name, *args, *set, *restore;
    wr_origin     origin;
    bool          begins; /* from `origin`, and takes snapshots if that has a journal */
    int64_t       interval_ms;
    wr_prepared   prepared;
    wr_local     *local;
    wr_thread    *thread;
    wr_parker     done; /* owner: whoever waits; the cluster's rule is that this is one thread at a time */
    bool          done_open;
    _Atomic bool  ended;
    wr_errinfo    why;
};

/* The caller's struct may be of an older header: shorter. */
static void copy_options(void *to, size_t bytes, const void *from, uint32_t size)
{
    memset(to, 0, bytes);
    memcpy(to, from, size < bytes ? size : bytes);
}

static char *copy_text(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

weir_cluster *weir_cluster_new(const weir_cluster_options *given)
{
    weir_cluster_options o;
    weir_cluster        *c = calloc(1, sizeof *c);
    if (c == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    copy_options(&o, sizeof o, given, given->size);
    c->env = wr_env_real();
    c->slots = o.slots != 0 ? o.slots : (uint32_t)c->env->cpu_count(c->env->self);
    c->state_max = o.state_max;
    c->snapshots = copy_text(o.snapshots);
    return c;
}

/* "a=1 b=2", in place. */
static uint32_t split(char *text, const char *word[TEXTS_MAX], wr_errinfo *info)
{
    uint32_t n = 0;
    char    *save = NULL;
    if (text == NULL) return 0;
    for (char *at = strtok_r(text, " \t\n", &save); at != NULL; at = strtok_r(NULL, " \t\n", &save)) {
        if (n == TEXTS_MAX) {
            wr_fail(info, WR_LIMIT, "more than %d words in .args or .set", TEXTS_MAX);
            return 0;
        }
        word[n++] = at;
    }
    return n;
}

/* The job's JobManager. */
static void lead(void *arg)
{
    weir_job *job = arg;
    wr_local_start(job->local);
    while (!wr_local_step(job->local, -1)) {}
    const wr_core_job *core = wr_local_job(job->local);
    if (core->state == WR_JOB_FAILED) job->why = core->cause;
    wr_origin_unlock(&job->origin);
    atomic_store(&job->ended, true);
    wr_parker_wake(job->cluster->env, &job->done);
}

/* As `weir run` does it, see there. */
static wr_err begin(void *self, const char *name, const weir_pipeline *p, const wr_manifest **restore, wr_errinfo *info)
{
    weir_job     *job = self;
    const wr_env *env = job->cluster->env;
    weir_duration every = 0;
    const char   *folder = wr_job_wants_snapshots(p, &every);
    char          path[WR_PATH_BYTES_MAX];
    if (every != 0 && every < WR_SNAPSHOT_EVERY_NS_MIN) return WR_OK; /* refused with the pipeline */
    if (job->cluster->snapshots != NULL) {
        if (name[0] == 0 || name[0] == '.' || strchr(name, '/') != NULL)
            return wr_fail(info, WR_CONFIG, "a job called \"%s\" cannot have a folder of snapshots; rename it", name);
        int n = snprintf(path, sizeof path, "%s/%s", job->cluster->snapshots, name);
        if (n >= (int)sizeof path) return wr_fail(info, WR_LIMIT, "the path of the snapshot folder is too long");
        int got = env->mkdir(env->self, job->cluster->snapshots);
        if (got < 0 && got != -EEXIST)
            return wr_fail_errno(info, -got, "cannot make the snapshot folder %s", job->cluster->snapshots);
        folder = path;
    }
    if (folder == NULL && every > 0)
        return wr_fail(
            info, WR_USAGE,
            "weir_configure gives .snapshot_every, and nobody a folder; give the cluster or the job .snapshots");
    if (folder == NULL && job->restore == NULL) return WR_OK;
    const wr_origin_config config = {.env = env, .job = name, .folder = folder, .restore = job->restore};
    WR_TRY(wr_origin_open(&job->origin, &config, info));
    job->begins = true;
    job->interval_ms = every / 1000000;
    if (job->origin.restores) *restore = &job->origin.manifest;
    return WR_OK;
}

static wr_err prepare(weir_job *job, void (*build)(weir_pipeline *))
{
    const char *arg[TEXTS_MAX], *set[TEXTS_MAX];
    wr_errinfo *info = &job->why;
    uint32_t    args = split(job->args, arg, info), sets = split(job->set, set, info);
    if (info->code != WR_OK) return info->code;
    const wr_prepare_spec spec = {.name = job->name,
                                  .build = build,
                                  .args = arg,
                                  .arg_count = args,
                                  .set = set,
                                  .sets = sets,
                                  .parallelism_default = job->cluster->slots,
                                  .origin = begin,
                                  .self = job};
    WR_TRY(wr_prepare(&job->prepared, &spec, info));
    return job->begins ? wr_origin_match(&job->origin, job->prepared.job, false, info) : WR_OK;
}

static wr_err start(weir_job *job, void (*build)(weir_pipeline *))
{
    const wr_env *env = job->cluster->env;
    WR_TRY(prepare(job, build));
    if (job->origin.finished) { /* long ago: there is nothing to run */
        atomic_store(&job->ended, true);
        return WR_OK;
    }
    const wr_local_options options = {.env = env,
                                      .state_max = job->cluster->state_max,
                                      .spin = job->prepared.exec->slots <= (uint32_t)env->cpu_count(env->self),
                                      .seed = env->random(env->self),
                                      .origin = job->begins ? &job->origin : NULL,
                                      .snapshot_interval_ms = job->interval_ms};
    WR_TRY(wr_local_new(&job->local, job->prepared.exec, &options, &job->why));
    int got = env->parker_init(env->self, &job->done);
    if (got < 0)
        return wr_fail_errno(&job->why, -got, "cannot make an event descriptor; raise the limit of open files");
    job->done_open = true;
    got = env->thread_start(env->self, &job->thread, lead, job, "weir-job", -1);
    if (got < 0) {
        job->thread = NULL;
        return wr_fail_errno(&job->why, -got, "cannot start the job's thread; raise the limit of threads");
    }
    return WR_OK;
}

weir_job *weir_job_new(weir_cluster *c, void (*build)(weir_pipeline *), const weir_start_options *given)
{
    weir_start_options o;
    weir_job          *job = calloc(1, sizeof *job);
    if (job == NULL) abort(); /* "always a job": there is no other way to say it */
    copy_options(&o, sizeof o, given, given->size);
    job->cluster = c;
    job->next = c->jobs;
    c->jobs = job;
    job->name = copy_text(o.name != NULL ? o.name : "job");
    job->args = copy_text(o.args);
    job->set = copy_text(o.set);
    job->restore = copy_text(o.restore_from);
    if (start(job, build) != WR_OK) atomic_store(&job->ended, true);
    return job;
}

static weir_job_state state_of(const weir_job *job)
{
    if (atomic_load(&((weir_job *)(uintptr_t)job)->ended)) {
        if (job->why.code != WR_OK) return WEIR_JOB_FAILED;
        if (job->local == NULL) return WEIR_JOB_FINISHED;
        return wr_local_state(job->local) == WR_JOB_CANCELED ? WEIR_JOB_CANCELED : WEIR_JOB_FINISHED;
    }
    return WEIR_JOB_RUNNING;
}

weir_job_state weir_wait(weir_job *job, weir_duration at_most)
{
    const wr_env *env = job->cluster->env;
    int64_t       until;
    if (__builtin_add_overflow(env->mono_ns(env->self), at_most > 0 ? at_most : 0, &until)) until = INT64_MAX;
    while (!atomic_load(&job->ended)) {
        wr_parker_prepare(&job->done);
        int64_t left = until - env->mono_ns(env->self);
        if (atomic_load(&job->ended) || left <= 0) {
            wr_parker_cancel(&job->done);
            break;
        }
        env->park(env->self, &job->done, left);
    }
    return state_of(job);
}

bool weir_stop(weir_job *job, bool drain)
{
    if (job->thread != NULL && drain) wr_local_drain(job->local);
    if (job->thread != NULL && !drain) wr_local_stop(job->local);
    return weir_wait(job, INT64_MAX) != WEIR_JOB_FAILED;
}

void weir_cancel(weir_job *job)
{
    if (job->thread != NULL) wr_local_cancel(job->local);
    weir_wait(job, INT64_MAX);
}

const char *weir_why(const weir_job *job)
{
    if (state_of(job) != WEIR_JOB_FAILED) return NULL;
    return wr_errinfo_text(&job->why);
}

void weir_job_free(weir_job *job)
{
    if (job == NULL) return;
    const wr_env *env = job->cluster->env;
    weir_cancel(job);
    if (job->thread != NULL) env->thread_join(env->self, job->thread);
    for (weir_job **at = &job->cluster->jobs; *at != NULL; at = &(*at)->next) {
        if (*at != job) continue;
        *at = job->next;
        break;
    }
    wr_local_free(job->local);
    wr_origin_close(&job->origin);
    if (job->done_open) env->parker_fini(env->self, &job->done);
    wr_prepared_fini(&job->prepared);
    free(job->name);
    free(job->args);
    free(job->set);
    free(job->restore);
    free(job);
}

void weir_cluster_close(weir_cluster *c)
{
    if (c == NULL) return;
    while (c->jobs != NULL) weir_job_free(c->jobs);
    free(c->snapshots);
    free(c);
}
