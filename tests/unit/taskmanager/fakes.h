/* tests/unit/taskmanager/fakes.h: connections and processes that the test plays itself, and a clock that it moves. */
#ifndef WR_TESTS_TASKMANAGER_FAKES_H
#define WR_TESTS_TASKMANAGER_FAKES_H
#include "base/check.h"
#include "net/peers.h"
#include "taskmanager/supervisor.h"
#include "wire/control.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- clock ---- */

static int64_t fake_now_ns = 1000000000000;

static int64_t fake_mono(void *self)
{
    (void)self;
    return fake_now_ns;
}

static wr_env *fake_env(void)
{
    static wr_env env;
    env = *wr_env_real();
    env.mono_ns = fake_mono;
    return &env;
}

/* ---- connections ---- */

enum { FAKE_EVENTS = 2048 };

/* The test's side of one wr_peers. */
typedef struct fake_peers {
    wr_peers      table;
    wr_peer_event event[FAKE_EVENTS]; /* for the one that is tested */
    uint32_t      events;
    wr_message   *said[FAKE_EVENTS]; /* by it, oldest first */
    uint64_t      said_to[FAKE_EVENTS];
    uint32_t      saids;
    uint64_t      last; /* peer: dialed or made last */
    uint32_t      dials, closes;
    char          dialed[64];
} fake_peers;

static uint64_t fake_dial(void *self, const char *address)
{
    fake_peers *f = self;
    snprintf(f->dialed, sizeof f->dialed, "%s", address);
    f->dials++;
    return ++f->last;
}
static void fake_send(void *self, uint64_t peer, char *bytes, size_t n)
{
    fake_peers *f = self;
    wr_message *m = calloc(1, sizeof *m);
    wr_errinfo  info = {0};
    check(m != NULL && f->saids < FAKE_EVENTS);
    if (wr_message_decode(m, bytes, n, &info) != WR_OK) fail_msg("%s", info.text);
    f->said_to[f->saids] = peer;
    f->said[f->saids++] = m;
    free(bytes);
}
static void fake_close(void *self, uint64_t peer)
{
    (void)peer;
    ((fake_peers *)self)->closes++;
}
static bool fake_next(void *self, wr_peer_event *event)
{
    fake_peers *f = self;
    if (f->events == 0) return false;
    *event = f->event[0];
    memmove(f->event, f->event + 1, --f->events * sizeof *f->event);
    return true;
}
static void fake_stats(void *self, wr_peers_stats *stats)
{
    (void)self;
    memset(stats, 0, sizeof *stats);
}

static void fake_peers_init(fake_peers *f)
{
    memset(f, 0, sizeof *f);
    f->table = (wr_peers){
        .self = f, .dial = fake_dial, .send = fake_send, .close = fake_close, .next = fake_next, .stats = fake_stats};
}

static void fake_tell(fake_peers *f, uint64_t peer, uint32_t kind, const wr_message *m)
{
    wr_peer_event *e = &f->event[f->events++];
    wr_errinfo     info = {0};
    check(f->events < FAKE_EVENTS);
    *e = (wr_peer_event){.kind = kind, .peer = peer};
    if (m != NULL && wr_message_encode(m, &e->bytes, &e->n, &info) != WR_OK) fail_msg("%s", info.text);
}

/* Forgets what was said; frees it. */
static void fake_forget(fake_peers *f)
{
    for (uint32_t i = 0; i < f->saids; i++) {
        wr_message_free(f->said[i]);
        free(f->said[i]);
    }
    f->saids = 0;
}

static inline uint32_t fake_count(const fake_peers *f, uint32_t kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->saids; i++) n += f->said[i]->kind == kind;
    return n;
}

/* The newest of that kind, or NULL. */
static inline const wr_message *fake_said(const fake_peers *f, uint32_t kind)
{
    for (uint32_t i = f->saids; i > 0; i--)
        if (f->said[i - 1]->kind == kind) return f->said[i - 1];
    return NULL;
}

static void fake_peers_fini(fake_peers *f)
{
    fake_forget(f);
    for (uint32_t i = 0; i < f->events; i++) free(f->event[i].bytes);
}

/* ---- processes ---- */

typedef struct fake_process {
    uint64_t number, job;
    uint32_t attempt;
    uint64_t memory_max;
    char     folder[WR_PATH_BYTES_MAX], log[WR_PATH_BYTES_MAX];
    bool     killed, ended;
    int      given;
} fake_process;

typedef struct fake_processes {
    wr_processes   table;
    fake_process   process[32];
    uint32_t       count;
    wr_err         refuse;
    wr_process_end end[32];
    uint32_t       ends;
} fake_processes;

static wr_err fake_start(void *self, const wr_process_spec *spec, uint64_t *process, uint64_t *peer, wr_errinfo *info)
{
    fake_processes *f = self;
    if (f->refuse != WR_OK) return wr_fail(info, f->refuse, "as planned");
    fake_process *p = &f->process[f->count++];
    *p = (fake_process){.number = f->count, .job = spec->job, .attempt = spec->attempt, .memory_max = spec->memory_max};
    snprintf(p->folder, sizeof p->folder, "%s", spec->folder);
    snprintf(p->log, sizeof p->log, "%s", spec->log);
    *process = p->number;
    *peer = 100 + p->number;
    return WR_OK;
}
static void fake_end(fake_processes *f, uint64_t process, int signal, int exit_code, wr_err code, const char *text)
{
    wr_process_end *e = &f->end[f->ends++];
    *e = (wr_process_end){
        .process = process, .signal = signal, .exit_code = exit_code, .report = "a report", .subtask = UINT32_MAX};
    if (code != WR_OK) wr_fail(&e->info, code, "%s", text);
}
static void fake_kill(void *self, uint64_t process)
{
    fake_processes *f = self;
    if (f->process[process - 1].killed) return;
    f->process[process - 1].killed = true;
    fake_end(f, process, 9, 0, WR_OK, "");
}
static void fake_give(void *self, uint64_t process, int socket, const wr_data_hello *hello)
{
    fake_processes *f = self;
    f->process[process - 1].given++;
    check(hello->attempt == f->process[process - 1].attempt);
    close(socket);
}
static bool fake_ended(void *self, wr_process_end *end)
{
    fake_processes *f = self;
    if (f->ends == 0) return false;
    *end = f->end[0];
    memmove(f->end, f->end + 1, --f->ends * sizeof *f->end);
    return true;
}
static inline void fake_processes_init(fake_processes *f)
{
    memset(f, 0, sizeof *f);
    f->table = (wr_processes){
        .self = f, .start = fake_start, .kill = fake_kill, .give = fake_give, .ended = fake_ended};
}

#endif
