/* While our disk does not answer: leases are renewed, what workers say and are told is passed on, and workers that have
 * ended are told of. Whatever needs the disk waits; when that takes too long, it is given up, with the reason. */
#include "base/check.h"
#include "base/log.h"
#include "taskmanager/supervisor_parts.h"
#include <stdlib.h>

#define MS INT64_C(1000000)

/* ---- what waits ---- */

static bool holds_for(const wr_supervisor *s, uint64_t job)
{
    for (uint32_t i = 0; i < s->helds; i++)
        if (s->held[(s->held_first + i) % s->held_room].job == job) return true;
    return false;
}

static void put(wr_supervisor *s, const wr_peer_event *e, uint64_t job)
{
    if (s->helds == s->held_room) {
        uint32_t    room = s->held_room * 2 + 16;
        wr_tm_held *more = calloc(room, sizeof *more);
        check(more != NULL); /* what was taken cannot be given back */
        for (uint32_t i = 0; i < s->helds; i++) more[i] = s->held[(s->held_first + i) % s->held_room];
        free(s->held);
        s->held = more;
        s->held_first = 0;
        s->held_room = room;
    }
    s->held[(s->held_first + s->helds++) % s->held_room] = (wr_tm_held){.e = *e, .job = job};
    s->held_bytes += e->n;
}

static wr_peer_event pop(wr_supervisor *s)
{
    wr_peer_event e = s->held[s->held_first].e;
    s->held_first = (s->held_first + 1) % s->held_room;
    s->helds--;
    s->held_bytes -= e.n;
    return e;
}

bool wr_tm_next(wr_supervisor *s, wr_peer_event *e)
{
    wr_peers *p = s->config.peers;
    if (s->waits) return s->helds < WR_HELD_MAX && s->held_bytes < WR_HELD_BYTES_MAX && p->next(p->self, e);
    if (s->helds == 0) return p->next(p->self, e);
    *e = pop(s);
    return true;
}

/* Of what is about one job nothing overtakes anything. */
bool wr_tm_hold(wr_supervisor *s, const wr_peer_event *e, const wr_message *m)
{
    bool order = m->kind == WR_MSG_ORDER || m->kind == WR_MSG_KILL, deploys = m->kind == WR_MSG_DEPLOY;
    bool files = m->kind == WR_MSG_BLOB || m->kind == WR_MSG_LOG_GET;
    if (!s->waits || (order && !holds_for(s, m->job)) || (deploys && s->stuck)) return false;
    if (!order && !deploys && !files) return false;
    put(s, e, order || deploys ? m->job : 0);
    return true;
}

void wr_tm_held_free(wr_supervisor *s)
{
    while (s->helds > 0) free(pop(s).bytes);
    free(s->held);
}

/* ---- how long ---- */

int64_t wr_supervisor_stuck_ms(const wr_supervisor *s)
{
    int64_t since = s->aside != NULL ? wr_aside_since_ns(s->aside) : 0;
    return since != 0 ? (wr_tm_now(s) - since) / MS : 0;
}

bool wr_tm_stuck(const wr_supervisor *s, wr_errinfo *why)
{
    int64_t most = s->config.hang_ms, ms = wr_supervisor_stuck_ms(s);
    if (most <= 0 || ms < most) return false;
    wr_fail(why, WR_TIMEOUT,
            "the disk of TaskManager %s has not answered for %lld s; %s; see that this folder answers, or stop that "
            "TaskManager",
            s->name, (long long)(ms / 1000), s->folder);
    return true;
}

/* It has just become too long: jobs that came since the disk hangs are refused as well, all else goes on waiting. */
static void give_up(wr_supervisor *s, const wr_errinfo *why)
{
    wr_log(WR_LOG_ERROR, "%s; jobs that wait for it fail, and those that come meanwhile", why->text);
    for (uint32_t n = s->helds; n > 0; n--) {
        wr_peer_event e = pop(s);
        if (e.peer == s->jm && s->link >= WR_TM_OPENS)
            wr_tm_take(s, &e);
        else
            free(e.bytes);
    }
}

/* Somewhere in the middle of a step, or of what it calls. */
static void meanwhile(void *self)
{
    wr_supervisor *s = self;
    wr_errinfo     why = {0};
    if (!s->ready) return;
    bool was = s->stuck;
    s->waits = true;
    s->stuck = wr_tm_stuck(s, &why);
    if (was && !s->stuck) wr_log(WR_LOG_INFO, "the disk answers again; %s", s->folder);
    if (s->stuck && !was) give_up(s, &why);
    wr_tm_meanwhile(s);
    wr_tm_workers_meanwhile(s, s->stuck ? &why : NULL);
    s->waits = false;
    if (s->config.meanwhile != NULL) s->config.meanwhile(s->config.self);
}

wr_err wr_tm_aside_new(wr_supervisor *s, wr_errinfo *info)
{
    s->files = s->env;
    if (!s->config.threads) return WR_OK;
    WR_TRY(wr_aside_new(&s->aside, s->env, meanwhile, s, info));
    s->files = wr_aside_env(s->aside);
    return WR_OK;
}
