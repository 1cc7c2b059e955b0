#include "cli/local_snapshots.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "cli/compose.h"
#include "cli/saving.h"
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_MS = 500, BACKOFF_MOST_MS = 60000 };

/* Where a savepoint that was asked for goes. */
typedef struct target {
    uint64_t ticket;
    char    *folder;
} target;

/* Owned by its wr_local's thread. */
struct wr_snapshots {
    wr_snapshots_options options;
    const wr_env        *env;
    wr_origin           *origin;
    const wr_exec       *exec;
    wr_worker           *worker;
    wr_core_checkpoint   machine;
    wr_snapshot_figures *figures;
    bool                *ended, *running, *loaded; /* by subtask */
    uint32_t             runnings, loadeds;
    bool                 gone; /* wr_worker_go was said */
    wr_ack             **ack;  /* by subtask: of the pending snapshot */
    int64_t              triggered_ns;
    wr_manifest          newest; /* the last completed ordinary one: what increments build on */
    bool                 last_ended;
    bool                 failed; /* a snapshot, since the last sweep: its files lie around */
    target               target[WR_SNAPSHOT_QUEUE_MAX + 2];
    wr_saving           *saving;    /* a savepoint that is being written, or NULL */
    bool                 finishing; /* it is made of the last snapshot: the job finishes behind it */
    char                *stop_target;
    uint64_t             stop_ticket;
};

static int64_t mono_ms(const wr_snapshots *s)
{
    return s->env->mono_ns(s->env->self) / 1000000;
}

/* Also behind one that came from another folder: what carries its id, names of sinks' files for one, never returns. */
static uint64_t last_id(const wr_origin *o)
{
    uint64_t ids = wr_journal_ids(o->journal);
    return o->restores && o->manifest.id > ids && o->manifest.id < UINT64_MAX / 2 ? o->manifest.id : ids;
}

wr_err wr_snapshots_new(wr_snapshots **take, const wr_exec *exec, const wr_snapshots_options *options, wr_errinfo *info)
{
    wr_snapshots *s = calloc(1, sizeof *s);
    *take = NULL;
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for snapshots");
    s->options = *options;
    s->env = options->env;
    s->origin = options->origin;
    s->exec = exec;
    s->figures = calloc((size_t)WR_SNAPSHOT_HISTORY * exec->subtasks, sizeof *s->figures);
    s->ended = calloc(exec->subtasks, sizeof *s->ended);
    s->running = calloc(exec->subtasks, sizeof *s->running);
    s->loaded = calloc(exec->subtasks, sizeof *s->loaded);
    s->ack = calloc(exec->subtasks, sizeof(wr_ack *));
    if (!s->figures || !s->ended || !s->running || !s->loaded || !s->ack) {
        wr_snapshots_free(s);
        return wr_fail(info, WR_MEMORY, "no memory for the snapshots of %u subtasks", exec->subtasks);
    }
    bool                       taken = s->origin->journal != NULL;
    const wr_checkpoint_config config = {
        .subtasks = exec->subtasks,
        .epoch = taken ? wr_journal_epoch(s->origin->journal) : 0,
        .interval_ms = options->interval_ms,
        .timeout_ms = options->timeout_ms,
        .pause_ms = options->pause_ms,
        .backoff_ms = BACKOFF_MS,
        .backoff_most_ms = BACKOFF_MOST_MS,
        .keep = options->keep,
        .base = s->origin->base,
        .ids = !taken                 ? 0
               : wr_sabotage.reuse_id ? s->origin->base
                                      : last_id(s->origin),
        .known = s->origin->known,
        .knowns = s->origin->knowns,
    };
    wr_core_checkpoint_init(&s->machine, &config, s->figures, s->ended, mono_ms(s));
    *take = s;
    return WR_OK;
}

void wr_snapshots_configure(const wr_snapshots *s, wr_worker_options *options)
{
    const wr_origin *o = s->origin;
    if (o->journal != NULL) {
        options->snapshots = o->folder;
        options->lineage = wr_journal_lineage(o->journal);
    }
    if (o->restores) {
        options->restore = &o->manifest;
        options->restore_folder = o->files;
        if (o->journal == NULL) options->lineage = o->manifest.lineage;
    }
    options->snapshot_timeout_ns = s->options.timeout_ms * 1000000;
}

void wr_snapshots_attach(wr_snapshots *s, wr_worker *worker)
{
    s->worker = worker;
}

static void forget_acks(wr_snapshots *s)
{
    for (uint32_t i = 0; s->ack != NULL && i < s->exec->subtasks; i++) {
        wr_ack_free(s->ack[i]);
        s->ack[i] = NULL;
    }
}

void wr_snapshots_free(wr_snapshots *s)
{
    if (s == NULL) return;
    if (s->saving != NULL) wr_saving_end(s->saving, true, NULL);
    forget_acks(s);
    wr_manifest_free(&s->newest);
    for (uint32_t i = 0; i < sizeof s->target / sizeof *s->target; i++) free(s->target[i].folder);
    free(s->stop_target);
    free(s->figures);
    free(s->ended);
    free(s->running);
    free(s->loaded);
    free(s->ack);
    free(s);
}

bool wr_snapshots_taken(const wr_snapshots *s)
{
    return s->origin->journal != NULL;
}

const wr_core_checkpoint *wr_snapshots_machine(const wr_snapshots *s)
{
    return &s->machine;
}

const wr_exec *wr_snapshots_exec(const wr_snapshots *s)
{
    return s->exec;
}

const wr_origin *wr_snapshots_origin(const wr_snapshots *s)
{
    return s->origin;
}

/* ---- savepoints' places ---- */

static bool keep_target(wr_snapshots *s, uint64_t ticket, const char *folder)
{
    for (uint32_t i = 0; i < sizeof s->target / sizeof *s->target; i++) {
        if (s->target[i].folder != NULL) continue;
        s->target[i] = (target){.ticket = ticket, .folder = strdup(folder)};
        return s->target[i].folder != NULL;
    }
    return false;
}

static target *find_target(wr_snapshots *s, uint64_t ticket)
{
    for (uint32_t i = 0; i < sizeof s->target / sizeof *s->target; i++)
        if (s->target[i].folder != NULL && s->target[i].ticket == ticket) return &s->target[i];
    return NULL;
}

static void answer(wr_snapshots *s, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    target *t = find_target(s, ticket);
    if (t != NULL) {
        free(t->folder);
        t->folder = NULL;
    }
    if (ticket != 0 && s->options.answer != NULL) s->options.answer(s->options.self, ticket, id, why);
}

/* ---- actions ---- */

static wr_err start_saving(wr_snapshots *s, wr_manifest *m, const char *folder, wr_errinfo *info)
{
    wr_err err = wr_saving_start(&s->saving, s->env, s->origin->folder, m, folder, s->options.wake, s->options.self,
                                 info);
    if (err != WR_OK) wr_manifest_free(m);
    return err;
}

static wr_err write_manifest(wr_snapshots *s, const wr_checkpoint_action *a, wr_errinfo *info)
{
    wr_manifest      m;
    const wr_compose c = {.exec = s->exec,
                          .barrier = a->barrier,
                          .lineage = wr_journal_lineage(s->origin->journal),
                          .triggered_ns = s->triggered_ns,
                          .completed_ns = s->env->wall_ns(s->env->self),
                          .ack = (const wr_ack **)s->ack,
                          .base = s->newest.id != 0 ? &s->newest : NULL};
    WR_TRY(wr_compose_manifest(&m, &c, info));
    wr_failpoint("manifest");
    wr_err err;
    if (a->barrier.kind == WR_SAVEPOINT) {
        const target *t = find_target(s, a->ticket);
        check(t != NULL);
        return start_saving(s, &m, t->folder, info); /* the acks stay until it is done */
    }
    bool uncertain = false;
    err = wr_store_commit(s->origin->store, &m, &uncertain, info);
    if (err != WR_OK) {
        wr_manifest_free(&m);
        return err;
    }
    for (uint32_t i = 0; i < m.ops; i++) m.op[i].items = 0; /* they lie in the acks, which go now */
    s->last_ended = m.ended;
    wr_manifest_free(&s->newest);
    s->newest = m;
    return WR_OK;
}

/* Retention. What cannot be deleted now is deleted later, or stays: it harms
 * nobody. */
static void sweep(wr_snapshots *s)
{
    const wr_core_checkpoint *m = &s->machine;
    uint64_t                  keep[WR_SNAPSHOTS_KEEP_MAX + 2];
    uint32_t                  n = 0;
    wr_errinfo                info = {0};
    for (uint32_t i = 0; i < m->completeds; i++) keep[n++] = m->completed[i].id;
    if (m->newest != 0) keep[n++] = m->newest;
    if (wr_store_sweep(s->origin->store, keep, n, m->next_id, NULL, &info) != WR_OK)
        wr_log(WR_LOG_WARN, "old snapshots stay: %s", info.text);
}

/* Files of those that failed go before the next one needs their room: on a full disk none would ever complete. No
 * manifest goes, since a completed snapshot is what retires them. */
static void sweep_failed(wr_snapshots *s, uint64_t pending)
{
    wr_store_entry *list = NULL;
    uint32_t        n = 0;
    wr_errinfo      info = {0};
    s->failed = false;
    wr_err    err = wr_store_list(s->env, s->origin->folder, &list, &n, &info);
    uint64_t *keep = err == WR_OK ? calloc(n + 1u, sizeof *keep) : NULL;
    for (uint32_t i = 0; keep != NULL && i < n; i++) keep[i] = list[i].id;
    if (keep != NULL) err = wr_store_sweep(s->origin->store, keep, n, pending, NULL, &info);
    if (err != WR_OK) wr_log(WR_LOG_WARN, "files of failed snapshots stay: %s", info.text);
    free(keep);
    free(list);
}

/* The last snapshot is durable; what was asked for is made of it before the job is let go. */
static void finish(wr_snapshots *s)
{
    wr_errinfo  info = {0};
    wr_manifest m;
    char        path[WR_PATH_BYTES_MAX + WR_FILE_NAME_BYTES + 1];
    char        name[WR_FILE_NAME_BYTES];
    if (s->stop_target == NULL) {
        wr_worker_finish(s->worker);
        return;
    }
    wr_name_manifest(name, s->newest.epoch, s->newest.id);
    snprintf(path, sizeof path, "%s/%s", s->origin->folder, name);
    s->finishing = true;
    if (wr_store_read(s->env, path, &m, &info) == WR_OK && start_saving(s, &m, s->stop_target, &info) == WR_OK) return;
    answer(s, s->stop_ticket, s->newest.id, &info);
    wr_worker_finish(s->worker);
}

static void feed(wr_snapshots *s, wr_checkpoint_event event);

/* One action; what must be told to the machine comes back in *then, with its
 * reason in *info. */
static void act(wr_snapshots *s, const wr_checkpoint_action *a, wr_checkpoint_event *then, wr_errinfo *info)
{
    switch (a->kind) {
    case WR_CHECKPOINT_DO_IDS:
        wr_journal_reserve(s->origin->journal, a->id, info);
        *then = (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE, .info = info};
        break;
    case WR_CHECKPOINT_DO_TRIGGER:
        forget_acks(s);
        if (s->failed) sweep_failed(s, a->barrier.id);
        s->triggered_ns = s->env->wall_ns(s->env->self);
        wr_worker_trigger(s->worker, &a->barrier);
        break;
    case WR_CHECKPOINT_DO_ABORT:
        forget_acks(s);
        s->failed = true;
        wr_worker_abort(s->worker, a->id);
        if (s->options.failed != NULL) s->options.failed(s->options.self, wr_core_checkpoint_record(&s->machine, 0));
        break;
    case WR_CHECKPOINT_DO_MANIFEST:
        if (write_manifest(s, a, info) == WR_OK && s->saving != NULL) break; /* saved() goes on */
        forget_acks(s);
        *then = (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = a->id, .info = info};
        break;
    case WR_CHECKPOINT_DO_COMPLETE:
        wr_failpoint("complete");
        wr_worker_complete(s->worker, a->id);
        break;
    case WR_CHECKPOINT_DO_SWEEP: sweep(s); break;
    case WR_CHECKPOINT_DO_PAUSE_SOURCES: wr_worker_pause_sources(s->worker); break;
    case WR_CHECKPOINT_DO_END_SOURCES: wr_worker_stop_sources(s->worker); break;
    case WR_CHECKPOINT_DO_FINISH: finish(s); break;
    case WR_CHECKPOINT_DO_ANSWER:
        if (a->ticket != s->stop_ticket || s->stop_target == NULL || a->info != NULL)
            answer(s, a->ticket, a->id, a->info); /* else it was answered with the savepoint */
        break;
    }
}

static void feed(wr_snapshots *s, wr_checkpoint_event event)
{
    wr_checkpoint_action action[WR_CHECKPOINT_ACTIONS_MAX];
    wr_errinfo           info, of_event;
    for (bool more = true; more;) {
        wr_checkpoint_event then = {0};
        wr_errinfo_init(&info);
        event.now_ms = mono_ms(s);
        event.wall_ms = s->env->wall_ns(s->env->self) / 1000000;
        uint32_t n = wr_core_checkpoint_step(&s->machine, &event, action, WR_CHECKPOINT_ACTIONS_MAX);
        for (uint32_t i = 0; i < n; i++) {
            check(then.kind == 0); /* only the last one has an answer */
            act(s, &action[i], &then, &info);
        }
        more = then.kind != 0;
        event = then;
        of_event = info;
        event.info = &of_event;
    }
}

/* ---- events ---- */

static void saved(wr_snapshots *s)
{
    wr_errinfo info = {0};
    wr_saving *saving = s->saving;
    s->saving = NULL;
    wr_saving_end(saving, false, &info);
    if (!s->finishing) {
        forget_acks(s);
        feed(s, (wr_checkpoint_event){
                    .kind = WR_CHECKPOINT_MANIFEST_DONE, .id = s->machine.pending.barrier.id, .info = &info});
        return;
    }
    answer(s, s->stop_ticket, s->newest.id, info.code != WR_OK ? &info : NULL);
    if (!s->machine.closed) wr_worker_finish(s->worker);
}

static void all_run(wr_snapshots *s)
{
    if (s->origin->journal != NULL) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_START});
}

void wr_snapshots_report(wr_snapshots *s, const wr_task_event *e)
{
    bool loaded = e->state >= WR_TASK_LOADED && e->state <= WR_TASK_FINISHED;
    bool running = e->state >= WR_TASK_RUNNING && e->state <= WR_TASK_FINISHED;
    if (loaded && !s->loaded[e->subtask]) {
        s->loaded[e->subtask] = true;
        s->loadeds++;
        if (s->loadeds == s->exec->subtasks && s->origin->restores && !s->gone) {
            s->gone = true;
            wr_worker_go(s->worker);
        }
    }
    if (running && !s->running[e->subtask]) {
        s->running[e->subtask] = true;
        if (++s->runnings == s->exec->subtasks) all_run(s);
    }
    if (e->state == WR_TASK_ENDED) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ENDED, .subtask = e->subtask});
}

static void take_ack(wr_snapshots *s, wr_ack *ack)
{
    const wr_core_checkpoint *m = &s->machine;
    bool wanted = m->phase == WR_CHECKPOINT_ACKS && ack->id == m->pending.barrier.id && !ack->declined &&
                  ack->subtask < s->exec->subtasks && s->ack[ack->subtask] == NULL &&
                  ack->attempt == s->exec->subtask[ack->subtask].attempt;
    if (ack->subtask < s->exec->subtasks && ack->attempt != s->exec->subtask[ack->subtask].attempt) {
        wr_ack_free(ack); /* of a task that is no more */
        return;
    }
    if (wanted) s->ack[ack->subtask] = ack;
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ACK, .ack = ack}); /* frees it when it was the last */
    if (!wanted) wr_ack_free(ack);
}

void wr_snapshots_step(wr_snapshots *s)
{
    if (s->origin->journal == NULL) return;
    if (s->saving != NULL && wr_saving_done(s->saving)) saved(s);
    for (wr_ack *ack; (ack = wr_worker_ack(s->worker)) != NULL;) take_ack(s, ack);
    if (wr_core_checkpoint_due(&s->machine) <= mono_ms(s)) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_TICK});
}

int64_t wr_snapshots_wait_ns(const wr_snapshots *s)
{
    int64_t at = wr_core_checkpoint_due(&s->machine), now = mono_ms(s);
    if (s->origin->journal == NULL || at == INT64_MAX) return -1;
    return at <= now ? 0 : (at - now) > INT64_MAX / 1000000 ? -1 : (at - now) * 1000000;
}

void wr_snapshots_close(wr_snapshots *s)
{
    if (!s->machine.closed) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
}

wr_err wr_snapshots_finished(wr_snapshots *s, wr_errinfo *info)
{
    if (s->origin->journal == NULL || !s->machine.finished || !s->last_ended) return WR_OK;
    return wr_journal_finish(s->origin->journal, s->newest.id, info);
}

void wr_snapshots_request(wr_snapshots *s, uint64_t ticket, uint32_t kind, const char *folder)
{
    static const wr_errinfo none = {WR_MEMORY, "no place to remember the request; ask again later"};
    if (kind == WR_SAVEPOINT && !keep_target(s, ticket, folder)) {
        answer(s, ticket, 0, &none);
        return;
    }
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_REQUEST, .ticket = ticket, .barrier_kind = kind});
}

void wr_snapshots_stop(wr_snapshots *s, uint64_t ticket, bool drain, const char *folder)
{
    const wr_core_checkpoint *m = &s->machine;
    bool                      taken = m->stopping || m->finished || m->closed || (m->draining && m->stop_waits);
    if (!taken && folder != NULL) {
        s->stop_target = strdup(folder);
        s->stop_ticket = ticket;
    }
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = ticket, .nobody = ticket == 0, .drain = drain});
}
