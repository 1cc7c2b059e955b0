#include "jobmanager/history.h"
#include "base/json.h"
#include "base/text.h"
#include <string.h>

static const char *kind_name(uint32_t kind)
{
    return kind == WR_SAVEPOINT ? "savepoint" : "snapshot";
}

/* The slowest subtask of each phase: what a snapshot waits for. */
typedef struct worst {
    int64_t start_delay_ns, align_ns, sync_ns, async_ns;
} worst;

static int64_t more(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static worst worst_of(const wr_snapshot_record *r, uint32_t subtasks)
{
    worst w = {0};
    for (uint32_t i = 0; i < subtasks; i++) {
        const wr_snapshot_figures *f = &r->figures[i];
        if (!f->acked) continue;
        w.start_delay_ns = more(w.start_delay_ns, f->start_delay_ns);
        w.align_ns = more(w.align_ns, f->align_ns);
        w.sync_ns = more(w.sync_ns, f->sync_ns);
        w.async_ns = more(w.async_ns, f->async_ns);
    }
    return w;
}

static const char *task_name(const wr_exec *exec, uint32_t subtask)
{
    return exec->vertex[exec->subtask[subtask].vertex].name;
}

static int64_t lasted_ms(const wr_core_checkpoint *m, const wr_snapshot_record *r)
{
    return (r->outcome == WR_SNAPSHOT_UNDER_WAY ? m->now_ms : r->ended_ms) - r->begun_ms;
}

/* ---- JSON ---- */

static void json_figures(wr_json *j, const wr_exec *exec, const wr_snapshot_record *r)
{
    wr_json_array(j, "subtasks");
    for (uint32_t i = 0; i < exec->subtasks; i++) {
        const wr_snapshot_figures *f = &r->figures[i];
        wr_json_object(j, NULL);
        wr_json_str(j, "task", task_name(exec, i));
        wr_json_u64(j, "subtask", exec->subtask[i].index);
        wr_json_bool(j, "acknowledged", f->acked);
        if (f->acked) {
            wr_json_bool(j, "ended", f->ended);
            wr_json_bool(j, "increment", f->increment);
            wr_json_f64(j, "start_delay_seconds", (double)f->start_delay_ns * 1e-9);
            wr_json_f64(j, "alignment_seconds", (double)f->align_ns * 1e-9);
            wr_json_f64(j, "sync_seconds", (double)f->sync_ns * 1e-9);
            wr_json_f64(j, "async_seconds", (double)f->async_ns * 1e-9);
            wr_json_u64(j, "bytes", f->bytes);
            wr_json_u64(j, "bytes_full", f->bytes_full);
        }
        wr_json_end(j);
    }
    wr_json_end(j);
}

static void json_record(wr_json *j, const wr_coordinator *s, const wr_snapshot_record *r)
{
    const wr_exec *exec = wr_coordinator_exec(s);
    worst          w = worst_of(r, exec->subtasks);
    wr_json_object(j, NULL);
    wr_json_u64(j, "id", r->id);
    wr_json_u64(j, "base", r->base);
    wr_json_str(j, "kind", kind_name(r->kind));
    wr_json_str(j, "outcome", wr_snapshot_outcome_name(r->outcome));
    wr_json_bool(j, "last", r->last);
    wr_json_i64(j, "triggered_ms", r->wall_ms);
    wr_json_f64(j, "seconds", (double)lasted_ms(wr_coordinator_machine(s), r) * 1e-3);
    wr_json_u64(j, "acknowledged", r->acked);
    wr_json_f64(j, "start_delay_seconds", (double)w.start_delay_ns * 1e-9);
    wr_json_f64(j, "alignment_seconds", (double)w.align_ns * 1e-9);
    wr_json_f64(j, "sync_seconds", (double)w.sync_ns * 1e-9);
    wr_json_f64(j, "async_seconds", (double)w.async_ns * 1e-9);
    wr_json_u64(j, "bytes", r->bytes);
    wr_json_u64(j, "bytes_full", r->bytes_full);
    if (r->outcome == WR_SNAPSHOT_FAILED) {
        wr_json_object(j, "failure");
        wr_json_str(j, "task", r->failed_subtask == WR_SNAPSHOT_NOBODY ? NULL : task_name(exec, r->failed_subtask));
        if (r->failed_subtask != WR_SNAPSHOT_NOBODY) wr_json_u64(j, "subtask", exec->subtask[r->failed_subtask].index);
        wr_json_str(j, "phase", wr_snapshot_phase_name(r->phase));
        wr_json_printf(j, "code", "E%04d", (int)r->why.code);
        wr_json_str(j, "text", wr_errinfo_text(&r->why));
        wr_json_end(j);
    } else {
        wr_json_null(j, "failure");
    }
    json_figures(j, exec, r);
    wr_json_end(j);
}

void wr_history_json(wr_json *j, const char *key, const wr_coordinator *s)
{
    if (s == NULL) {
        wr_json_null(j, key);
        return;
    }
    const wr_core_checkpoint *m = wr_coordinator_machine(s);
    const wr_origin          *o = wr_coordinator_origin(s);
    wr_json_object(j, key);
    wr_json_str(j, "folder", o->folder);
    if (o->restores)
        wr_json_u64(j, "restored", o->manifest.id);
    else
        wr_json_null(j, "restored");
    wr_json_u64(j, "newest", m->newest);
    wr_json_u64(j, "completed", m->completions);
    wr_json_u64(j, "failed", m->failures_all);
    wr_json_u64(j, "failed_in_a_row", m->failures);
    wr_json_array(j, "history");
    const wr_snapshot_record *r;
    for (uint32_t i = 0; (r = wr_core_checkpoint_record(m, i)) != NULL; i++) json_record(j, s, r);
    wr_json_end(j);
    wr_json_end(j);
}

/* ---- text ---- */

static void clock_text(char to[16], int64_t wall_ms)
{
    int64_t s = wall_ms / 1000 % 86400;
    snprintf(to, 16, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

static void short_time(char to[16], int64_t ns)
{
    if (ns < 9995000)
        snprintf(to, 16, "%.2f ms", (double)ns * 1e-6);
    else if (ns < 999500000)
        snprintf(to, 16, "%.0f ms", (double)ns * 1e-6);
    else
        snprintf(to, 16, "%.2f s", (double)ns * 1e-9);
}

static void text_times(FILE *file, const worst *w, uint64_t bytes, uint64_t bytes_full)
{
    char time[4][16], size[2][WR_TEXT_NUMBER_MAX + 1];
    short_time(time[0], w->start_delay_ns);
    short_time(time[1], w->align_ns);
    short_time(time[2], w->sync_ns);
    short_time(time[3], w->async_ns);
    wr_text_of_size(size[0], bytes);
    wr_text_of_size(size[1], bytes_full);
    fprintf(file, "%9s %9s %9s %9s %10s %10s", time[0], time[1], time[2], time[3], size[0], size[1]);
}

static void text_record(FILE *file, const wr_coordinator *s, const wr_snapshot_record *r)
{
    const wr_exec *exec = wr_coordinator_exec(s);
    worst          w = worst_of(r, exec->subtasks);
    char           at[16], duration[16];
    clock_text(at, r->wall_ms);
    short_time(duration, lasted_ms(wr_coordinator_machine(s), r) * 1000000);
    fprintf(file, "%6llu %-9s %-9s %8s %9s ", (unsigned long long)r->id, kind_name(r->kind),
            wr_snapshot_outcome_name(r->outcome), at, duration);
    text_times(file, &w, r->bytes, r->bytes_full);
    fputs("\n", file);
    if (r->outcome != WR_SNAPSHOT_FAILED) return;
    if (r->failed_subtask == WR_SNAPSHOT_NOBODY)
        fprintf(file, "       phase %s: %s\n", wr_snapshot_phase_name(r->phase), wr_errinfo_text(&r->why));
    else
        fprintf(file, "       %s subtask %u, phase %s: %s\n", task_name(exec, r->failed_subtask),
                exec->subtask[r->failed_subtask].index, wr_snapshot_phase_name(r->phase), wr_errinfo_text(&r->why));
}

static void text_subtasks(FILE *file, const wr_exec *exec, const wr_snapshot_record *r)
{
    fprintf(file, "subtasks of %llu:\n", (unsigned long long)r->id);
    for (uint32_t i = 0; i < exec->subtasks; i++) {
        const wr_snapshot_figures *f = &r->figures[i];
        const worst                w = {f->start_delay_ns, f->align_ns, f->sync_ns, f->async_ns};
        char                       name[64];
        snprintf(name, sizeof name, "%.34s %u", task_name(exec, i), exec->subtask[i].index);
        fprintf(file, "%6s %-38s ", !f->acked ? "no" : f->bytes == 0 ? "" : f->increment ? "delta" : "full", name);
        text_times(file, &w, f->bytes, f->bytes_full);
        fputs("\n", file);
    }
}

void wr_history_snapshots(FILE *file, const wr_coordinator *s, bool json)
{
    if (json) {
        wr_json j;
        wr_json_init_file(&j, file);
        wr_history_json(&j, NULL, s);
        return;
    }
    const wr_core_checkpoint *m = wr_coordinator_machine(s);
    const wr_snapshot_record *r, *shown = NULL;
    fprintf(file, "%llu completed, %llu failed, in %s\n", (unsigned long long)m->completions,
            (unsigned long long)m->failures_all, wr_coordinator_origin(s)->folder);
    if (m->records == 0) return;
    fprintf(file, "%6s %-9s %-9s %8s %9s %9s %9s %9s %9s %10s %10s\n", "id", "kind", "outcome", "UTC", "took", "start",
            "align", "sync", "async", "written", "state");
    for (uint32_t i = 0; (r = wr_core_checkpoint_record(m, i)) != NULL; i++) {
        text_record(file, s, r);
        if (shown == NULL && r->outcome != WR_SNAPSHOT_UNDER_WAY && r->id != 0) shown = r;
    }
    if (shown != NULL) text_subtasks(file, wr_coordinator_exec(s), shown);
}
