#include "jobmanager/ledger_book.h"
#include "base/check.h"
#include <stdlib.h>
#include <string.h>

/* ---- what they add up to ----------------------------------------------------------------------------------------- */

static void job_free(wr_book_job *j)
{
    free(j->spec);
    free(j->next_spec);
    free(j->target);
    free(j->pub.place);
    free(j->pub.failure);
    wr_arena_fini(&j->arena);
    free(j);
}

void wr_book_free(wr_book *b)
{
    for (uint32_t i = 0; i < b->jobs; i++) job_free(b->job[i]);
    free(b->job);
    memset(b, 0, sizeof *b);
}

wr_book_job *wr_book_find(const wr_book *b, uint64_t id)
{
    for (uint32_t i = 0; i < b->jobs; i++)
        if (b->job[i]->pub.id == id) return b->job[i];
    return NULL;
}

static void *must_have(void *memory)
{
    check(memory != NULL); /* as wr_arena_get: the control plane does not go on without memory */
    return memory;
}

/* The bytes are copied; the old specification is gone when the new one can be read. */
static const char *set_spec(wr_book_job *j, const char *spec, size_t n)
{
    wr_job_spec decoded;
    wr_arena    arena;
    wr_arena_init(&arena);
    if (n == 0 || wr_job_spec_decode(&decoded, &arena, spec, n, NULL) != WR_OK) {
        wr_arena_fini(&arena);
        return "a job's specification cannot be read";
    }
    wr_arena_fini(&j->arena);
    free(j->spec);
    j->spec = must_have(malloc(n));
    memcpy(j->spec, spec, n);
    j->spec_bytes = n;
    j->arena = arena;
    j->pub.spec = decoded;
    return NULL;
}

static const char *add_job(wr_book *b, const wr_book_change *c)
{
    if (c->id == 0) return "a job has no id";
    if (wr_book_find(b, c->id) != NULL) return "a job comes twice";
    if (b->jobs >= WR_JOBS_MAX + WR_JOBS_ENDED_KEPT) return "there are more jobs than can be";
    wr_book_job *j = must_have(calloc(1, sizeof *j));
    j->pub.id = c->id;
    j->pub.request = c->request;
    j->pub.submitted_wall_ms = c->wall_ms;
    j->pub.target = "";
    const char *problem = set_spec(j, c->spec, c->spec_bytes);
    if (problem != NULL) {
        job_free(j);
        return problem;
    }
    if (b->jobs == b->room) {
        b->room = b->room > 0 ? 2 * b->room : 16;
        b->job = must_have(realloc(b->job, b->room * sizeof(wr_book_job *)));
    }
    b->job[b->jobs++] = j;
    b->living++;
    b->living_bytes += j->spec_bytes;
    return NULL;
}

static void no_next_spec(wr_book *b, wr_book_job *j)
{
    b->living_bytes -= j->pub.next_spec_bytes;
    free(j->next_spec);
    j->pub.next_spec = j->next_spec = NULL;
    j->pub.next_spec_bytes = 0;
}

static const char *change_spec(wr_book *b, wr_book_job *j, const wr_book_change *c)
{
    size_t      before = j->spec_bytes;
    const char *problem = set_spec(j, c->spec, c->spec_bytes);
    if (problem != NULL) return problem;
    b->living_bytes += j->spec_bytes - before;
    no_next_spec(b, j);
    return NULL;
}

static const char *begin_restart(wr_book *b, wr_book_job *j, const wr_book_change *c)
{
    wr_job_spec decoded;
    wr_arena    arena;
    wr_arena_init(&arena);
    bool readable = c->spec_bytes == 0 || wr_job_spec_decode(&decoded, &arena, c->spec, c->spec_bytes, NULL) == WR_OK;
    wr_arena_fini(&arena);
    if (!readable) return "a job's next specification cannot be read";
    if (c->attempt == 0 || c->attempt != j->pub.attempt) return "an attempt is ended that is not the newest one";
    no_next_spec(b, j);
    j->pub.restarting = c->attempt;
    if (c->spec_bytes == 0) return NULL;
    j->next_spec = must_have(malloc(c->spec_bytes));
    memcpy(j->next_spec, c->spec, c->spec_bytes);
    j->pub.next_spec = j->next_spec;
    j->pub.next_spec_bytes = c->spec_bytes;
    b->living_bytes += c->spec_bytes;
    return NULL;
}

static void no_place(wr_ledger_job *j)
{
    free(j->place);
    j->place = NULL;
    j->places = 0;
}

/* Besides what was ended by order: numbers of those that never began, since another order came while they waited. */
uint32_t wr_book_planned(const wr_ledger_job *j, uint32_t attempt)
{
    if (j->attempt == 0 || attempt <= j->attempt) return j->planned;
    return j->planned + (attempt - j->attempt - 1) + (j->restarting != 0);
}

/* Another attempt than the one that was being ended. */
static void restarted(wr_book *b, wr_book_job *j)
{
    no_next_spec(b, j);
    j->pub.restarting = 0;
}

static const char *add_attempt(wr_book *b, wr_book_job *job, const wr_book_change *c)
{
    wr_ledger_job *j = &job->pub;
    if (c->attempt == 0 || c->attempt < j->attempt) return "an attempt comes after a later one";
    no_place(j);
    j->planned = c->planned != WR_BOOK_NOT_SAID ? c->planned : wr_book_planned(j, c->attempt);
    if (c->attempt > j->attempt) restarted(b, job);
    j->attempt = c->attempt;
    j->attempt_wall_ms = c->wall_ms;
    if (c->first != 0) j->first = c->first;
    memcpy(j->secret, c->secret, WR_MAC_BYTES);
    if (c->places == 0) return NULL;
    j->place = must_have(malloc(c->places * sizeof *j->place));
    memcpy(j->place, c->place, c->places * sizeof *j->place);
    j->places = c->places;
    return NULL;
}

static void add_time(wr_ledger_job *j, int64_t wall_ms)
{
    if (j->failed_times == WR_RESTART_RATE_MAX)
        memmove(j->failed_wall_ms, j->failed_wall_ms + 1, --j->failed_times * sizeof *j->failed_wall_ms);
    j->failed_wall_ms[j->failed_times++] = wall_ms;
}

static const char *add_failure(wr_book *b, wr_book_job *job, const wr_book_change *c)
{
    wr_ledger_job *j = &job->pub;
    add_time(j, c->wall_ms);
    if (j->first == 0) j->first = c->attempt;
    j->count = c->count > 0 ? c->count : j->failures + 1; /* version 1 did not say */
    j->delay_ms = c->delay_ms;
    if (j->failure == NULL) j->failure = must_have(calloc(WR_FAILURES_KEPT, sizeof *j->failure));
    if (j->failures == WR_FAILURES_KEPT) {
        memmove(j->failure, j->failure + 1, (WR_FAILURES_KEPT - 1) * sizeof *j->failure);
        j->failures--;
    }
    j->failure[j->failures++] = (wr_ledger_failure){.wall_ms = c->wall_ms,
                                                    .attempt = c->attempt,
                                                    .subtask = c->subtask,
                                                    .info = c->cause,
                                                    .count = j->count,
                                                    .delay_ms = c->delay_ms};
    j->planned = wr_book_planned(j, c->attempt);
    if (c->attempt >= j->attempt) { /* nothing of it runs any more */
        j->attempt = c->attempt;
        no_place(j);
        restarted(b, job);
    }
    return NULL;
}

/* Failures that are kept no longer count as well. */
static const char *set_past(wr_ledger_job *j, const wr_book_change *c)
{
    j->count = c->count;
    j->delay_ms = c->delay_ms;
    j->failed_times = c->times;
    memcpy(j->failed_wall_ms, c->time, c->times * sizeof c->time[0]);
    return NULL;
}

static const char *set_stopping(wr_book_job *j, const wr_book_change *c)
{
    if (c->how > WR_LEDGER_CANCEL) return "a job is to stop in no known way";
    free(j->target);
    j->target = must_have(strdup(c->how != 0 ? c->target : ""));
    j->pub.stopping = c->how;
    j->pub.target = j->target;
    return NULL;
}

static const char *set_drained(wr_book *b, const wr_book_change *c)
{
    uint32_t at = 0;
    if (c->tm == 0) return "a TaskManager has no number";
    while (at < b->draineds && b->drained[at] != c->tm) at++;
    if (at == WR_TMS_MAX && c->on) at = 0; /* the oldest, which may have gone long ago */
    if (at < b->draineds) memmove(b->drained + at, b->drained + at + 1, (--b->draineds - at) * sizeof *b->drained);
    if (c->on) b->drained[b->draineds++] = c->tm;
    return NULL;
}

static uint32_t oldest_ended(const wr_book *b, uint32_t *ended)
{
    uint32_t at = UINT32_MAX;
    *ended = 0;
    for (uint32_t i = 0; i < b->jobs; i++) {
        if (b->job[i]->ended == 0) continue;
        ++*ended;
        if (at == UINT32_MAX || b->job[i]->ended < b->job[at]->ended) at = i;
    }
    return at;
}

static void forget_oldest(wr_book *b)
{
    uint32_t ended, at;
    while ((at = oldest_ended(b, &ended)) != UINT32_MAX &&
           (ended > WR_JOBS_ENDED_KEPT || b->ended_bytes > WR_LEDGER_ENDED_BYTES_MAX)) {
        b->ended_bytes -= b->job[at]->spec_bytes;
        job_free(b->job[at]);
        memmove(&b->job[at], &b->job[at + 1], (b->jobs - at - 1) * sizeof(wr_book_job *));
        b->jobs--;
    }
}

static const uint32_t state_of[] = {0, WR_JOB_FAILED, WR_JOB_CANCELED, WR_JOB_FINISHED};

static const char *end_job(wr_book *b, wr_book_job *j, const wr_book_change *c)
{
    if (c->state < WR_BOOK_FAILED_STATE || c->state > WR_BOOK_FINISHED_STATE) return "a job has ended in no state";
    j->pub.state = state_of[c->state];
    j->pub.cause = c->cause;
    j->pub.ended_wall_ms = c->wall_ms;
    no_place(&j->pub);
    restarted(b, j);
    j->ended = ++b->ends;
    b->living--;
    b->living_bytes -= j->spec_bytes;
    b->ended_bytes += j->spec_bytes;
    forget_oldest(b);
    return NULL;
}

const char *wr_book_apply(wr_book *b, const wr_book_change *c)
{
    if ((c->type == WR_BOOK_LEADER) != (b->leader == 0)) return "a record stands where it does not belong";
    if (c->type == WR_BOOK_LEADER) {
        if (c->leader == 0) return "there is no leader 0";
        b->leader = c->leader;
        b->base_bytes = c->base_bytes;
        return NULL;
    }
    if (c->type == WR_BOOK_JOB) return add_job(b, c);
    if (c->type == WR_BOOK_DRAINED) return set_drained(b, c);
    wr_book_job *j = wr_book_find(b, c->id);
    if (j == NULL) return "a record is about a job that there is not";
    if (j->ended != 0) return "a record is about a job that has ended";
    switch (c->type) {
    case WR_BOOK_SPEC: return change_spec(b, j, c);
    case WR_BOOK_ATTEMPT: return add_attempt(b, j, c);
    case WR_BOOK_FAILED: return add_failure(b, j, c);
    case WR_BOOK_STOPPING: return set_stopping(j, c);
    case WR_BOOK_RESTART: return begin_restart(b, j, c);
    case WR_BOOK_PAST: return set_past(&j->pub, c);
    default: return end_job(b, j, c);
    }
}

/* ---- all of it again --------------------------------------------------------------------------------------------- */

static void failures_again(const wr_ledger_job *p, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    wr_book_change c;
    for (uint32_t i = 0; i < p->failures; i++) {
        const wr_ledger_failure *f = &p->failure[i];
        c = (wr_book_change){.type = WR_BOOK_FAILED,
                             .id = p->id,
                             .wall_ms = f->wall_ms,
                             .attempt = f->attempt,
                             .subtask = f->subtask,
                             .cause = f->info,
                             .count = f->count,
                             .delay_ms = f->delay_ms};
        each(arg, &c);
    }
    if (p->failed_times == 0) return;
    c = (wr_book_change){
        .type = WR_BOOK_PAST, .id = p->id, .count = p->count, .delay_ms = p->delay_ms, .times = p->failed_times};
    memcpy(c.time, p->failed_wall_ms, p->failed_times * sizeof c.time[0]);
    each(arg, &c);
}

static void job_again(const wr_book_job *j, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    const wr_ledger_job *p = &j->pub;
    wr_book_change       c = {.type = WR_BOOK_JOB,
                              .id = p->id,
                              .request = p->request,
                              .wall_ms = p->submitted_wall_ms,
                              .spec = j->spec,
                              .spec_bytes = j->spec_bytes};
    each(arg, &c);
    failures_again(p, each, arg);
    if (p->attempt > 0) {
        c = (wr_book_change){.type = WR_BOOK_ATTEMPT,
                             .id = p->id,
                             .attempt = p->attempt,
                             .first = p->first,
                             .planned = p->planned,
                             .places = p->places,
                             .wall_ms = p->attempt_wall_ms};
        if (p->places > 0) memcpy(c.place, p->place, p->places * sizeof c.place[0]);
        memcpy(c.secret, p->secret, WR_MAC_BYTES);
        each(arg, &c);
    }
    c = (wr_book_change){.type = WR_BOOK_RESTART,
                         .id = p->id,
                         .attempt = p->restarting,
                         .spec = p->next_spec,
                         .spec_bytes = p->next_spec_bytes};
    if (p->restarting != 0) each(arg, &c);
    c = (wr_book_change){.type = WR_BOOK_STOPPING, .id = p->id, .how = p->stopping};
    snprintf(c.target, sizeof c.target, "%s", p->target);
    if (p->stopping != 0) each(arg, &c);
}

static void end_again(const wr_book_job *j, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    wr_book_change c = {.type = WR_BOOK_END, .id = j->pub.id, .wall_ms = j->pub.ended_wall_ms, .cause = j->pub.cause};
    for (uint32_t s = WR_BOOK_FAILED_STATE; s <= WR_BOOK_FINISHED_STATE; s++)
        if (state_of[s] == j->pub.state) c.state = s;
    each(arg, &c);
}

/* The ends come last, in their order: it says who is forgotten first. */
void wr_book_all(const wr_book *b, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    for (uint32_t i = 0; i < b->draineds; i++)
        each(arg, &(wr_book_change){.type = WR_BOOK_DRAINED, .tm = b->drained[i], .on = 1});
    for (uint32_t i = 0; i < b->jobs; i++) job_again(b->job[i], each, arg);
    for (uint64_t last = 0;;) {
        const wr_book_job *next = NULL;
        for (uint32_t i = 0; i < b->jobs; i++) {
            const wr_book_job *j = b->job[i];
            if (j->ended > last && (next == NULL || j->ended < next->ended)) next = j;
        }
        if (next == NULL) return;
        last = next->ended;
        end_again(next, each, arg);
    }
}
