/* From a deployment to a worker at work: the snapshot's manifest, the pipeline, the comparison of its graph with the
 * one that was submitted, the worker, and its data connections. */
#include "base/check.h"
#include "base/log.h"
#include "graph/remote.h"
#include "taskmanager/agent_parts.h"
#include "taskmanager/files.h"
#include <stdlib.h>
#include <string.h>

enum { DIAL_NS_MAX = 2000000000 };

/* ---- what it is made of ---- */

static wr_err read_manifest(wr_agent *a, wr_errinfo *info)
{
    const char *path = a->deploy->restore_manifest;
    char       *bytes = NULL;
    size_t      n = 0;
    if (path == NULL || path[0] == 0) return WR_OK;
    WR_TRY(wr_tm_file_read(a->env, path, WR_MANIFEST_BYTES_MAX, &bytes, &n, info));
    wr_err err = wr_manifest_decode(&a->manifest, bytes, n, path, info);
    free(bytes);
    a->restores = err == WR_OK;
    return err;
}

/* Another build of the pipeline, or one that looks at the clock, would exchange nonsense with its peers. */
static wr_err compare(const wr_agent *a, wr_errinfo *info)
{
    const wr_job_spec *spec = &a->deploy->spec;
    char              *bytes = NULL;
    size_t             n = 0;
    WR_TRY(wr_remote_encode(a->exec->job, &bytes, &n, info));
    bool same = n == spec->graph_bytes && memcmp(bytes, spec->graph, n) == 0;
    free(bytes);
    if (same) return WR_OK;
    return wr_fail(info, WR_GRAPH,
                   "the build function of %s described another job here than it did when it was submitted; it must "
                   "not look at the machine, the clock or the environment; make it depend on its arguments only",
                   spec->name);
}

static wr_err find_slots(wr_agent *a, wr_errinfo *info)
{
    const wr_deploy *d = a->deploy;
    if (d->places != a->exec->slots)
        return wr_fail(info, WR_GRAPH, "the job has %u slots, but was placed as one of %u; submit it again",
                       a->exec->slots, d->places);
    a->here = calloc(d->places + 1u, sizeof *a->here);
    a->report = calloc(a->exec->subtasks + 1u, sizeof *a->report);
    a->withheld = calloc(a->exec->subtasks + 1u, sizeof *a->withheld);
    if (a->here == NULL || a->report == NULL || a->withheld == NULL)
        return wr_fail(info, WR_MEMORY, "no memory for %u subtasks", a->exec->subtasks);
    for (uint32_t i = 0; i < d->places; i++) a->here[i] = d->place[i].tm == d->self;
    return WR_OK;
}

/* ---- the worker ---- */

static void notified(void *self)
{
    wr_agent *a = self;
    if (a->config.parker != NULL) wr_parker_wake(a->env, a->config.parker);
}

/* "file:PATH", "file:///PATH" or a path. */
static const char *folder_of(const char *text)
{
    if (text == NULL || text[0] == 0) return NULL;
    if (strncmp(text, "file:", 5) != 0) return text;
    return strncmp(text, "file:///", 8) == 0 ? text + 7 : text + 5;
}

static wr_err new_worker(wr_agent *a, wr_errinfo *info)
{
    const wr_deploy        *d = a->deploy;
    const wr_worker_options options = {.env = a->env,
                                       .job = d->spec.name,
                                       .state_max = d->spec.state_max,
                                       .spin = a->config.spin,
                                       .scribes = a->config.scribes,
                                       .seed = a->env->random(a->env->self),
                                       .notify = notified,
                                       .self = a,
                                       .snapshots = folder_of(d->spec.snapshots),
                                       .lineage = d->lineage,
                                       .restore = a->restores ? &a->manifest : NULL,
                                       .restore_folder = a->restores ? folder_of(d->restore_folder) : NULL,
                                       .snapshot_timeout_ns = d->spec.snapshot_timeout_ms * 1000000,
                                       .job_id = a->deployment.job,
                                       .attempt = a->deployment.attempt,
                                       .here = a->here,
                                       .wait_go = true};
    WR_TRY(wr_worker_new(&a->worker, a->exec, &options, info));
    if (!a->config.threads) wr_worker_start_scribes(a->worker);
    wr_worker_lease(a->worker, a->lease_until_ns);
    return WR_OK;
}

/* ---- data connections ---- */

/* The slot with the lower number dials. */
static wr_err dial_all(wr_agent *a, wr_errinfo *info)
{
    const wr_deploy *d = a->deploy;
    uint32_t         slot, remote;
    WR_TRY(wr_dialer_new(&a->dialer, a->env, d->secret, info));
    int64_t deadline = a->env->mono_ns(a->env->self) + (int64_t)DIAL_NS_MAX * 10;
    for (uint32_t i = 0; wr_worker_remote(a->worker, i, &slot, &remote); i++) {
        if (slot > remote) continue;
        const wr_data_hello hello = {
            .job = a->deployment.job, .attempt = a->deployment.attempt, .from_slot = slot, .to_slot = remote};
        check(remote < d->places);
        WR_TRY(wr_dialer_dial(a->dialer, d->place[remote].data, &hello, (uint64_t)slot << 32 | remote, deadline, info));
    }
    return WR_OK;
}

static bool fits(const wr_agent *a, const wr_data_hello *h)
{
    return h->job == a->deployment.job && h->attempt == a->deployment.attempt && h->from_slot < h->to_slot &&
           h->to_slot < a->deploy->places && a->here[h->to_slot] && !a->here[h->from_slot];
}

void wr_agent_connect(wr_agent *a)
{
    wr_errinfo    info = {0};
    wr_data_hello hello;
    uint64_t      tag;
    int           socket;
    wr_dialer_step(a->dialer);
    while (wr_dialer_take(a->dialer, &tag, &socket, &info)) {
        if (socket < 0) {
            wr_agent_give_up(a, &info);
            return;
        }
        wr_worker_connect(a->worker, (uint32_t)(tag >> 32), (uint32_t)tag, socket);
    }
    while (a->config.accepted != NULL && (socket = a->config.accepted(a->config.self, &hello)) >= 0) {
        if (fits(a, &hello))
            wr_worker_connect(a->worker, hello.to_slot, hello.from_slot, socket);
        else
            a->env->hang_up(a->env->self, socket);
    }
    if (!a->connected) a->connected = wr_worker_connected(a->worker);
}

wr_err wr_agent_deploy(wr_agent *a, wr_errinfo *info)
{
    WR_TRY(read_manifest(a, info));
    WR_TRY(a->config.load(a->config.self, a->deploy, a->restores ? &a->manifest : NULL, &a->exec, info));
    a->loaded_module = true;
    WR_TRY(compare(a, info));
    WR_TRY(find_slots(a, info));
    WR_TRY(new_worker(a, info));
    return dial_all(a, info);
}
