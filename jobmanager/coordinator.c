#include "jobmanager/coordinator.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/sabotage.h"
#include "jobmanager/compose.h"
#include "jobmanager/savepoint.h"
#include "jobmanager/saving.h"
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_MS = 500, BACKOFF_MOST_MS = 60000 };

/* Where a savepoint that was asked for goes. */
typedef struct target {
    uint64_t ticket;
    char    *folder;
} target;

/* Owned by its job's thread. */
struct wr_coordinator {
    wr_coordinator_options options;
    const wr_env          *env;
    wr_origin             *origin;
    const wr_exec         *exec;
    wr_core_checkpoint     machine;
    wr_snapshot_figures   *figures;
    bool                  *ended, *running; /* by subtask */
    uint32_t               runnings;
    wr_ack               **ack; /* by subtask: of the pending snapshot */
    int64_t                triggered_ns;
    wr_manifest            newest; /* the last completed ordinary one: what increments build on */
    bool                   last_ended;
    bool                   failed; /* a snapshot, since the last sweep: its files lie around */
    target                 target[WR_SNAPSHOT_QUEUE_MAX + 2];
    wr_saving             *saving;    /* a savepoint that is being written, or NULL */
    int64_t                saving_ms; /* since when */
    bool                   finishing; /* it is made of the last snapshot: the job finishes behind it */
    char                  *stop_target;
    uint64_t               stop_ticket;
};

static int64_t mono_ms(const wr_coordinator *s)
{
    return s->env->mono_ns(s->env->self) / 1000000;
}

/* Also behind one that came from another folder: what carries its id, names of sinks' files for one, never returns. */
static uint64_t last_id(const wr_origin *o)
{
    uint64_t ids = wr_journal_ids(o->journal);
    return o->restores && o->manifest.id > ids && o->manifest.id < UINT64_MAX / 2 ? o->manifest.id : ids;
}

wr_err wr_coordinator_new(wr_coordinator **take, const wr_exec *exec, const wr_coordinator_options *options,
                          wr_errinfo *info)
{
    wr_coordinator *s = calloc(1, sizeof *s);
    *take = NULL;
    if (s == NULL) return wr_fail(info, WR_MEMORY, "no memory for snapshots");
    s->options = *options;
    s->env = options->env;
    s->origin = options->origin;
    s->exec = exec;
    s->figures = calloc((size_t)WR_SNAPSHOT_HISTORY * exec->subtasks, sizeof *s->figures);
    s->ended = calloc(exec->subtasks, sizeof *s->ended);
    s->running = calloc(exec->subtasks, sizeof *s->running);
    s->ack = calloc(exec->subtasks, sizeof(wr_ack *));
    if (!s->figures || !s->ended || !s->running || !s->ack) {
        wr_coordinator_free(s);
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
    bool   found = false;
    wr_err err = WR_OK;
    if (options->adopts && taken)
        err = wr_store_newest(s->env, s->origin->folder, wr_journal_lineage(s->origin->journal), &s->newest, &found,
                              info);
    if (err != WR_OK) {
        wr_coordinator_free(s);
        return err;
    }
    *take = s;
    return WR_OK;
}

static void order(wr_coordinator *s, uint32_t verb, const wr_barrier *barrier)
{
    const wr_worker_order o = {.verb = verb, .barrier = barrier != NULL ? *barrier : (wr_barrier){0}};
    s->options.order(s->options.self, &o);
}

static void order_of(wr_coordinator *s, uint32_t verb, uint64_t id)
{
    order(s, verb, &(wr_barrier){.id = id});
}

static void forget_acks(wr_coordinator *s)
{
    for (uint32_t i = 0; s->ack != NULL && i < s->exec->subtasks; i++) {
        wr_ack_free(s->ack[i]);
        s->ack[i] = NULL;
    }
}

void wr_coordinator_free(wr_coordinator *s)
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
    free(s->ack);
    free(s);
}

bool wr_coordinator_taken(const wr_coordinator *s)
{
    return s->origin->journal != NULL;
}

const wr_core_checkpoint *wr_coordinator_machine(const wr_coordinator *s)
{
    return &s->machine;
}

const char *wr_coordinator_saving(const wr_coordinator *s, int64_t *since_ms)
{
    if (s->saving == NULL) return NULL;
    *since_ms = s->saving_ms;
    return wr_saving_target(s->saving);
}

const wr_exec *wr_coordinator_exec(const wr_coordinator *s)
{
    return s->exec;
}

wr_err wr_coordinator_newest(const wr_coordinator *s, wr_manifest *m, bool *found, wr_errinfo *info)
{
    return wr_store_newest(s->env, s->origin->folder, wr_journal_lineage(s->origin->journal), m, found, info);
}

const wr_origin *wr_coordinator_origin(const wr_coordinator *s)
{
    return s->origin;
}

/* ---- savepoints' places ---- */

static bool keep_target(wr_coordinator *s, uint64_t ticket, const char *folder)
{
    for (uint32_t i = 0; i < sizeof s->target / sizeof *s->target; i++) {
        if (s->target[i].folder != NULL) continue;
        s->target[i] = (target){.ticket = ticket, .folder = strdup(folder)};
        return s->target[i].folder != NULL;
    }
    return false;
}

static target *find_target(wr_coordinator *s, uint64_t ticket)
{
    for (uint32_t i = 0; i < sizeof s->target / sizeof *s->target; i++)
        if (s->target[i].folder != NULL && s->target[i].ticket == ticket) return &s->target[i];
    return NULL;
}

static void answer(wr_coordinator *s, uint64_t ticket, uint64_t id, const wr_errinfo *why)
{
    target *t = find_target(s, ticket);
    if (t != NULL) {
        free(t->folder);
        t->folder = NULL;
    }
    if (ticket != 0 && s->options.answer != NULL) s->options.answer(s->options.self, ticket, id, why);
}

/* ---- actions ---- */

static wr_err start_saving(wr_coordinator *s, wr_manifest *m, const char *folder, wr_errinfo *info)
{
    const wr_env *env = s->options.lasting != NULL ? s->options.lasting : s->env;
    s->saving_ms = mono_ms(s);
    wr_err err = s->options.alone ? wr_saving_do(&s->saving, s->env, s->origin->folder, m, folder, info)
                                  : wr_saving_start(&s->saving, env, s->origin->folder, m, folder, s->options.wake,
                                                    s->options.self, info);
    wr_manifest_free(m);
    return err;
}

/* The folder may be unmounted under a living job, and mounted again: a snapshot that lies where no restart looks has
 * not completed. */
static wr_err commit(wr_coordinator *s, const wr_manifest *m, wr_errinfo *info)
{
    if (wr_journal_replaced(s->origin->journal, info)) return info->code;
    WR_TRY(wr_store_commit(s->origin->store, m, NULL, info));
    if (!wr_journal_replaced(s->origin->journal, info)) return WR_OK;
    wr_store_doubt(s->origin->store); /* it may lie in either folder */
    return info->code;
}

static wr_err write_manifest(wr_coordinator *s, const wr_checkpoint_action *a, wr_errinfo *info)
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
    err = commit(s, &m, info);
    if (err != WR_OK) {
        wr_manifest_free(&m);
        return err;
    }
    for (uint32_t i = 0; i < m.ops; i++) { /* what lies in the acks, or belongs to their tasks, goes now */
        m.op[i].items = 0;
        m.op[i].record = m.op[i].state = NULL;
        m.op[i].key = (weir_key){0};
    }
    s->last_ended = m.ended;
    wr_manifest_free(&s->newest);
    s->newest = m;
    return WR_OK;
}

/* Retention. What cannot be deleted now is deleted later, or stays: it harms
 * nobody. */
static void sweep(wr_coordinator *s)
{
    const wr_core_checkpoint *m = &s->machine;
    uint64_t                  keep[WR_SNAPSHOTS_KEEP_MAX + 2];
    uint32_t                  n = 0;
    wr_errinfo                info = {0};
    if (wr_journal_replaced(s->origin->journal, &info)) return; /* nothing there is ours to delete */
    for (uint32_t i = 0; i < m->completeds; i++) keep[n++] = m->completed[i].id;
    if (m->newest != 0) keep[n++] = m->newest;
    wr_store_keep_spares(s->origin->store, m->finished ? 0 : WR_SPARE_FILES_MAX, WR_SPARE_BYTES_MAX);
    if (wr_store_sweep(s->origin->store, keep, n, m->next_id, NULL, &info) != WR_OK)
        wr_log(WR_LOG_WARN, "old snapshots stay: %s", info.text);
}

/* Files of those that failed go before the next one needs their room: on a full disk none would ever complete. No
 * manifest goes, since a completed snapshot is what retires them. */
static void sweep_failed(wr_coordinator *s, uint64_t pending)
{
    wr_store_entry *list = NULL;
    uint32_t        n = 0;
    wr_errinfo      info = {0};
    s->failed = false;
    wr_err    err = wr_store_list(s->env, s->origin->folder, &list, &n, &info);
    uint64_t *keep = err == WR_OK ? calloc(n + 1u, sizeof *keep) : NULL;
    for (uint32_t i = 0; keep != NULL && i < n; i++) keep[i] = list[i].id;
    wr_store_keep_spares(s->origin->store, 0, 0); /* the disk may be full */
    if (keep != NULL) err = wr_store_sweep(s->origin->store, keep, n, pending, NULL, &info);
    if (err != WR_OK) wr_log(WR_LOG_WARN, "files of failed snapshots stay: %s", info.text);
    free(keep);
    free(list);
}

/* Of its newest manifest. */
static void newest_path(const wr_coordinator *s, char *to, size_t room)
{
    char name[WR_FILE_NAME_BYTES];
    wr_name_manifest(name, s->newest.epoch, s->newest.id);
    snprintf(to, room, "%s/%s", s->origin->folder, name);
}

/* The job ends although its savepoint has failed: the place was good before, and its sources stand still. */
static void ends_without(wr_coordinator *s, const wr_errinfo *why)
{
    wr_errinfo info = {0};
    char       path[WR_PATH_BYTES_MAX + WR_FILE_NAME_BYTES + 1];
    newest_path(s, path, sizeof path);
    wr_fail(
        &info, why->code,
        "%s; there is no savepoint, but the job has ended, and its last snapshot, %llu, has everything; --restore %s "
        "takes that as well, while its folder stays",
        wr_errinfo_text(why), (unsigned long long)s->newest.id, path);
    answer(s, s->stop_ticket, s->newest.id, &info);
}

/* The last snapshot is durable; what was asked for is made of it before the job is let go. */
static void finish(wr_coordinator *s)
{
    wr_errinfo  info = {0};
    wr_manifest m;
    char        path[WR_PATH_BYTES_MAX + WR_FILE_NAME_BYTES + 1];
    if (s->stop_target == NULL) {
        order(s, WR_DO_FINISH, NULL);
        return;
    }
    newest_path(s, path, sizeof path);
    s->finishing = true;
    if (wr_store_read(s->env, path, &m, &info) == WR_OK && start_saving(s, &m, s->stop_target, &info) == WR_OK) return;
    ends_without(s, &info);
    order(s, WR_DO_FINISH, NULL);
}

/* By its id: the next one may have begun in the same step. */
static void tell_failure(wr_coordinator *s, uint64_t id)
{
    const wr_snapshot_record *r = wr_core_checkpoint_find(&s->machine, id);
    if (s->options.failed != NULL && r != NULL) s->options.failed(s->options.self, r);
}

static void tell_completion(wr_coordinator *s, uint64_t id)
{
    const wr_snapshot_record *r = wr_core_checkpoint_find(&s->machine, id);
    if (s->options.completed != NULL && r != NULL) s->options.completed(s->options.self, r);
}

static void feed(wr_coordinator *s, wr_checkpoint_event event);

/* One action; what must be told to the machine comes back in *then, with its
 * reason in *info. */
static void act(wr_coordinator *s, const wr_checkpoint_action *a, wr_checkpoint_event *then, wr_errinfo *info)
{
    switch (a->kind) {
    case WR_CHECKPOINT_DO_IDS:
        wr_journal_reserve(s->origin->journal, a->id, info);
        *then = (wr_checkpoint_event){.kind = WR_CHECKPOINT_IDS_DONE, .info = info};
        break;
    case WR_CHECKPOINT_DO_TRIGGER:
        forget_acks(s);
        if (wr_journal_replaced(s->origin->journal, info)) {
            *then = (wr_checkpoint_event){.kind = WR_CHECKPOINT_REFUSED, .id = a->id, .info = info};
            break;
        }
        if (s->failed) sweep_failed(s, a->barrier.id);
        s->triggered_ns = s->env->wall_ns(s->env->self);
        order(s, WR_DO_TRIGGER, &a->barrier);
        break;
    case WR_CHECKPOINT_DO_ABORT:
        forget_acks(s);
        s->failed = true;
        order_of(s, WR_DO_ABORT, a->id);
        tell_failure(s, a->id);
        break;
    case WR_CHECKPOINT_DO_MANIFEST:
        if (write_manifest(s, a, info) == WR_OK && s->saving != NULL) break; /* saved() goes on */
        forget_acks(s);
        *then = (wr_checkpoint_event){.kind = WR_CHECKPOINT_MANIFEST_DONE, .id = a->id, .info = info};
        break;
    case WR_CHECKPOINT_DO_COMPLETE:
        wr_failpoint("complete");
        order_of(s, WR_DO_COMPLETE, a->id);
        tell_completion(s, a->id);
        break;
    case WR_CHECKPOINT_DO_SWEEP: sweep(s); break;
    case WR_CHECKPOINT_DO_PAUSE_SOURCES: order(s, WR_DO_PAUSE_SOURCES, NULL); break;
    case WR_CHECKPOINT_DO_END_SOURCES: order(s, WR_DO_STOP_SOURCES, NULL); break;
    case WR_CHECKPOINT_DO_FINISH: finish(s); break;
    case WR_CHECKPOINT_DO_ANSWER:
        if (a->ticket != s->stop_ticket || s->stop_target == NULL || a->info != NULL)
            answer(s, a->ticket, a->id, a->info); /* else it was answered with the savepoint */
        break;
    }
}

static void feed(wr_coordinator *s, wr_checkpoint_event event)
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

/* It is done; or `stop`: it never will be, and whoever waits for it hears of that. */
static void saved(wr_coordinator *s, bool stop)
{
    wr_errinfo info = {0};
    wr_saving *saving = s->saving;
    s->saving = NULL;
    wr_saving_end(saving, stop, &info);
    if (!s->finishing) {
        forget_acks(s);
        feed(s, (wr_checkpoint_event){
                    .kind = WR_CHECKPOINT_MANIFEST_DONE, .id = s->machine.pending.barrier.id, .info = &info});
        return;
    }
    if (info.code != WR_OK && info.code != WR_CANCELED)
        ends_without(s, &info);
    else
        answer(s, s->stop_ticket, s->newest.id, info.code != WR_OK ? &info : NULL);
    if (!s->machine.closed) order(s, WR_DO_FINISH, NULL);
}

static void all_run(wr_coordinator *s)
{
    if (s->origin->journal != NULL) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_START});
}

void wr_coordinator_report(wr_coordinator *s, uint32_t subtask, wr_task_state state)
{
    bool running = state >= WR_TASK_RUNNING && state <= WR_TASK_FINISHED;
    check(subtask < s->exec->subtasks);
    if (running && !s->running[subtask]) {
        s->running[subtask] = true;
        if (++s->runnings == s->exec->subtasks) all_run(s);
    }
    if (state == WR_TASK_ENDED) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_ENDED, .subtask = subtask});
}

void wr_coordinator_ack(wr_coordinator *s, wr_ack *ack)
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

void wr_coordinator_step(wr_coordinator *s)
{
    if (s->origin->journal == NULL) return;
    if (s->saving != NULL && wr_saving_done(s->saving)) saved(s, false);
    if (wr_core_checkpoint_due(&s->machine) <= mono_ms(s)) feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_TICK});
}

int64_t wr_coordinator_wait_ns(const wr_coordinator *s)
{
    int64_t at = wr_core_checkpoint_due(&s->machine), now = mono_ms(s);
    if (s->origin->journal == NULL || at == INT64_MAX) return -1;
    return at <= now ? 0 : (at - now) > INT64_MAX / 1000000 ? -1 : (at - now) * 1000000;
}

void wr_coordinator_close(wr_coordinator *s)
{
    if (s->machine.closed) return;
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_CLOSE});
    if (s->saving != NULL) saved(s, true);
}

wr_err wr_coordinator_finished(wr_coordinator *s, wr_errinfo *info)
{
    if (s->origin->journal == NULL || !s->machine.finished || !s->last_ended) return WR_OK;
    return wr_journal_finish(s->origin->journal, s->newest.id, info);
}

void wr_coordinator_request(wr_coordinator *s, uint64_t ticket, uint32_t kind, const char *folder)
{
    static const wr_errinfo none = {WR_MEMORY, "no place to remember the request; ask again later"};
    wr_errinfo              info = {0};
    if (kind == WR_SAVEPOINT && wr_savepoint_may_write(s->env, folder, &info) != WR_OK) {
        answer(s, ticket, 0, &info);
        return;
    }
    if (kind == WR_SAVEPOINT && !keep_target(s, ticket, folder)) {
        answer(s, ticket, 0, &none);
        return;
    }
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_REQUEST, .ticket = ticket, .barrier_kind = kind});
}

void wr_coordinator_stop(wr_coordinator *s, uint64_t ticket, bool drain, const char *folder)
{
    const wr_core_checkpoint *m = &s->machine;
    bool                      taken = m->stopping || m->finished || m->closed || (m->draining && m->stop_waits);
    if (!taken && folder != NULL) {
        s->stop_target = strdup(folder);
        s->stop_ticket = ticket;
    }
    feed(s, (wr_checkpoint_event){.kind = WR_CHECKPOINT_STOP, .ticket = ticket, .nobody = ticket == 0, .drain = drain});
}
