/* The client: submits the job, waits for its end, and asks for other things meanwhile. What it is not sure of it says
 * again, with the same number. */
#include "base/check.h"
#include "connectors/connectors.h"
#include "graph/remote.h"
#include "jobmanager/core_job.h"
#include "jobmanager/core_restart.h"
#include "net/mac.h"
#include "tests/sim/cluster_inner.h"
#include "wire/names.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECES = 1000000 }; /* their requests have numbers from here on */

static void say(client_node *c, wr_message *m)
{
    char      *bytes;
    size_t     n;
    wr_errinfo info;
    if (wr_message_encode(m, &bytes, &n, &info) != WR_OK) {
        sim_violate(c->w, "a request cannot be sent: %s", info.text);
        return;
    }
    wr_peers *p = sim_port_table(c->port);
    p->send(p->self, c->peer, bytes, n);
}

/* The job as `weir submit` describes it: the build function runs here too. */
static void specify(client_node *c, wr_job_spec *spec, uint32_t variant)
{
    world           *w = c->w;
    static sim_world user;
    wr_errinfo       info;
    const wr_job    *job = NULL;
    char            *graph;
    size_t           n;
    memset(&user, 0, sizeof user);
    user.plan = &w->variant[variant];
    user.vault = &w->vault;
    user.exact = true;
    sim_world_now = &user;
    weir_pipeline *p = wr_job_new("sim", NULL, 0);
    sim_build(p);
    wr_job_settings settings = {
        .parallelism_default = 2, .connector = wr_connector_resolve, .inspect = wr_connector_inspect};
    if (wr_job_finish(p, &settings, &job, &info) != WR_OK || wr_remote_encode(job, &graph, &n, &info) != WR_OK) {
        sim_violate(w, "the job cannot be described: %s", info.text);
        graph = calloc(1, 1);
        n = 0;
    }
    wr_job_free(p);
    static char snapshots[64], restore[64];
    bool        other = variant == OTHER;
    snprintf(snapshots, sizeof snapshots, "/snapshots/sim%u", other ? OTHERS_FOLDER : c->folder);
    restore[0] = 0;
    if (c->saved != 0 && !other) snprintf(restore, sizeof restore, "/save/%" PRIu64, c->saved);
    wr_blob_ref module = {.name = "sim.so", .bytes = other ? 0 : c->file_bytes};
    if (!other) memcpy(module.digest, c->digest, sizeof module.digest);
    *spec = (wr_job_spec){.name = "sim",
                          .module = module,
                          .parallelism = 1 + variant,
                          .parallelism_default = 2,
                          .graph = graph,
                          .graph_bytes = (uint32_t)n,
                          .snapshots = snapshots,
                          .snapshot_interval_ms = 1 + (int64_t)(w->plan->seed % 6),
                          .snapshot_timeout_ms = 3000,
                          .snapshots_keep = 1 + (uint32_t)(w->plan->seed % 3),
                          .restore = restore,
                          .restart = WR_RESTART_FIXED,
                          .restart_delay_ms = 1 + (int64_t)(w->plan->seed % 7)};
}

static void ask(client_node *c, const char *verb, uint64_t request, const char *path)
{
    char        id[24];
    wr_job_spec spec = {0};
    snprintf(id, sizeof id, "%016" PRIx64, c->job);
    wr_message m = {
        .kind = WR_MSG_REQUEST, .request = request, .ask = {.verb = verb, .job = id, .path = path, .drain = c->drain}};
    bool with_spec = strcmp(verb, "submit") == 0 || strcmp(verb, "rescale") == 0;
    if (with_spec) specify(c, &spec, request == c->other ? OTHER : c->variant);
    if (strcmp(verb, "submit") == 0) m.ask.job = "";
    if (with_spec) m.ask.spec = spec;
    say(c, &m);
    if (with_spec) free((char *)(uintptr_t)spec.graph);
}

/* ---- the file that a job is made of ---- */

static void make_file(client_node *c)
{
    wr_prng    r = wr_prng_of(c->w->plan->seed * 64 + c->files++);
    wr_sha256 *sum = wr_sha256_new();
    uint64_t   most = wr_prng_one_in(&r, 12) ? 3 * (uint64_t)WR_BLOB_PIECE_BYTES : 4000;
    c->file_bytes = 1 + wr_prng_below(&r, most);
    c->file = realloc(c->file, c->file_bytes);
    check(c->file != NULL && sum != NULL);
    for (uint64_t i = 0; i < c->file_bytes; i++) c->file[i] = (char)wr_prng_next(&r);
    wr_sha256_add(sum, c->file, c->file_bytes);
    wr_sha256_end(sum, c->digest);
}

static void put_piece(client_node *c, uint64_t offset)
{
    uint64_t   left = c->file_bytes - offset;
    wr_message m = {.kind = WR_MSG_BLOB_PUT, .request = c->put = PIECES + ++c->ticket};
    memcpy(m.blob.digest, c->digest, sizeof m.blob.digest);
    m.blob.bytes = c->file_bytes;
    m.blob.offset = offset;
    m.blob.data = c->file + offset;
    m.blob.data_bytes = left < WR_BLOB_PIECE_BYTES ? (uint32_t)left : WR_BLOB_PIECE_BYTES;
    say(c, &m);
}

/* The file goes first, as often as the JobManager says that it has not got it. */
static void submit(client_node *c)
{
    put_piece(c, 0);
}

static bool disk_was_well(const world *w);

static void take_piece(client_node *c, const wr_reply *r)
{
    world *w = c->w;
    c->put = 0;
    if (r->info.code != WR_OK && disk_was_well(w)) sim_violate(w, "a file is not taken: %s", r->info.text);
    if (r->info.code != WR_OK || r->snapshot > c->file_bytes)
        put_piece(c, 0);
    else if (r->snapshot < c->file_bytes)
        put_piece(c, r->snapshot);
    else
        ask(c, "submit", c->submit, "");
}

/* What user code opens is what was shipped. */
void sim_check_file(world *w, const char *folder)
{
    char        path[WR_PATH_BYTES_MAX + 16];
    const char *bytes;
    size_t      n;
    snprintf(path, sizeof path, "%s/sim.so", folder);
    bool same = sim_disk_content(w->disk, path, &bytes, &n) && n == w->client.file_bytes &&
                memcmp(bytes, w->client.file, n) == 0;
    if (!same) sim_violate(w, "%s is not what was shipped", path);
    w->result->files++;
}

void sim_client_start(world *w)
{
    client_node *c = &w->client;
    *c = (client_node){.w = w, .submit = wr_prng_next(&w->random) | 1};
    sim_host_init(&c->host, &w->clock, w->net, MACHINE_CLIENT, wr_prng_next(&w->random));
    c->port = sim_port_new(w->net, &c->host, NULL, WR_ROLE_CLIENT, NULL, NULL);
    c->ask_ns = w->clock.now_ns + (int64_t)below(w, 60000000);
    make_file(c);
    c->endings = w->alone ? 0 : (uint32_t)below(w, 4);
    c->other = w->others ? wr_prng_next(&w->random) | 1 : 0;
}

void sim_client_free(world *w)
{
    sim_port_free(w->client.port);
    free(w->client.file);
}

static bool disk_was_well(const world *w)
{
    return sim_disk_stats_of(w->disk)->errors == w->errors_before;
}

/* It goes on with its newest snapshot, or the savepoint that it was stopped with. */
static void submit_again(client_node *c)
{
    world *w = c->w;
    if (sim_disk_unmounted(w->disk)) sim_disk_mount(w->disk); /* who submits looks whether his folder is there */
    w->errors_before = sim_disk_stats_of(w->disk)->errors;
    c->submit = wr_prng_next(&w->random) | 1;
    c->job = c->ends = 0;
    c->ending = ENDS_ITSELF;
    if (one_in(w, 2)) make_file(c);
    submit(c);
}

/* An end that was told is the end, whatever becomes of who told it. */
static void doubt_the_end(client_node *c)
{
    world *w = c->w;
    w->result->ends++;
    w->faults = 0;
    w->over_leader = w->leader;
    c->over_job = c->job;
    sim_note(w, "the JobManager is killed, and asked again for the end");
    for (uint32_t i = 0; i < 2; i++) {
        if (w->jm[i].alive) sim_jm_kill(&w->jm[i]);
    }
}

static void job_is_over(client_node *c, const wr_errinfo *info)
{
    world   *w = c->w;
    uint32_t ending = c->ending;
    sim_note(w, "the job is over: %d %s", (int)info->code, info->text);
    /* Also when it failed: its last snapshot may be complete, and who goes on in that folder finds all at its end. */
    if (ending == ENDS_DRAINED) w->drained = true;
    if (info->code == WR_OK && ending != ENDS_STOPPED && ending != ENDS_SAVED) {
        if (c->over_job == 0 && disk_was_well(w) && !w->broken && one_in(w, 3))
            doubt_the_end(c);
        else
            w->finished = true;
        return;
    }
    /* Who stops a job that waits for slots, or to be restarted, has it canceled. */
    bool canceled = info->code == WR_CANCELED && ending != ENDS_ITSELF;
    if (info->code != WR_OK && !canceled && disk_was_well(w)) sim_violate(w, "the job failed: %s", info->text);
    if (canceled) w->result->cancels++;
    if (info->code == WR_OK) w->result->stops++;
    submit_again(c);
}

/* Of a stop, a drain or a cancel. What was said to be done is there. */
static void take_end(client_node *c, const wr_reply *r)
{
    world      *w = c->w;
    char        path[64];
    const char *bytes;
    size_t      n;
    c->ends = 0;
    sim_note(w, "the end that was asked for: snapshot %" PRIu64 " %s", r->snapshot, r->info.text);
    if (r->info.code != WR_OK || c->ending != ENDS_SAVED) return;
    snprintf(path, sizeof path, "/save/%" PRIu64 "/%s", c->asked, WR_SAVEPOINT_NAME);
    if (!sim_disk_content(w->disk, path, &bytes, &n)) {
        sim_violate(w, "the job was stopped with a savepoint, it says, and there is no %s", path);
    } else if (one_in(w, 2)) {
        c->saved = c->asked;
        c->folder++;
        w->durable = 0;
        w->result->forks++;
        sim_note(w, "the next one begins with that savepoint");
    }
}

static void ask_for_end(client_node *c)
{
    char path[64] = "";
    if (c->ending == ENDS_SAVED) snprintf(path, sizeof path, "/save/%" PRIu64, c->ends);
    c->drain = c->ending == ENDS_DRAINED;
    ask(c, c->ending == ENDS_CANCELED ? "cancel" : "stop", c->ends, path);
    c->drain = false;
}

static void take_reply(client_node *c, const wr_message *m)
{
    world *w = c->w;
    if (m->request == c->submit) {
        /* It has snapshots of its own since, and goes on with those. */
        bool newer = m->reply.info.code == WR_CONFIG && c->saved != 0;
        /* The file is gone again: nobody keeps it for ever for a job that does not come. */
        bool gone = m->reply.info.code == WR_NOT_FOUND;
        if (newer) c->saved = 0;
        if (m->reply.info.code != WR_OK && !newer && !gone && disk_was_well(w))
            sim_violate(w, "the job is not taken: %s", m->reply.info.text);
        if (m->reply.info.code == WR_OK && c->job != 0 && c->job != m->reply.job)
            sim_violate(w, "job %016" PRIx64 " was taken, and now it is another one", c->job);
        if (m->reply.info.code != WR_OK) {
            submit_again(c);
        } else {
            c->job = m->reply.job;
            sim_note(w, "job %016" PRIx64 " is taken", c->job);
            ask(c, "wait", c->submit + 1, "");
            if (c->ends != 0) ask_for_end(c);
            if (c->other != 0) ask(c, "submit", c->other, "");
        }
    } else if (c->other != 0 && m->request == c->other) {
        if (m->reply.info.code != WR_OK && disk_was_well(w))
            sim_violate(w, "the other job is not taken: %s", m->reply.info.text);
        if (m->reply.info.code != WR_OK) c->other = 0;
    } else if (c->put != 0 && m->request == c->put) {
        take_piece(c, &m->reply);
    } else if (m->request > PIECES && m->request <= PIECES + c->ticket) {
        return; /* a piece of before */
    } else if (c->ends != 0 && m->request == c->ends) {
        take_end(c, &m->reply);
    } else if (m->request == c->submit + 1) {
        if (m->reply.job != 0)
            job_is_over(c, &m->reply.info);
        else
            sim_violate(w, "nobody knows the job any more: %s", m->reply.info.text);
    } else {
        sim_note(w, "request %" PRIu64 ": snapshot %" PRIu64 " %s", m->request, m->reply.snapshot, m->reply.info.text);
        if (m->reply.info.code == WR_OK) w->result->savepoints += m->reply.snapshot != 0;
    }
}

static void take_event(client_node *c, wr_peer_event *e)
{
    world *w = c->w;
    if (e->kind == WR_PEER_CLOSED) {
        c->peer = 0;
        c->opened = false;
        c->again_ns = w->clock.now_ns + 1000000 + (int64_t)below(w, 5000000);
    } else if (e->kind == WR_PEER_OPENED) {
        c->opened = true;
        submit(c); /* again: the answer is the same */
    } else {
        wr_message m = {0};
        wr_errinfo info;
        if (wr_message_decode(&m, e->bytes, e->n, &info) != WR_OK)
            sim_violate(w, "a reply cannot be read: %s", info.text);
        else if (m.kind == WR_MSG_REPLY)
            take_reply(c, &m);
        wr_message_free(&m);
        free(e->bytes);
    }
}

static void ask_something(client_node *c)
{
    world   *w = c->w;
    char     path[64];
    uint64_t request = 1000 + ++c->ticket;
    c->ask_ns = w->clock.now_ns + (int64_t)below(w, 40000000);
    if (c->endings > 0 && c->ending == ENDS_ITSELF && c->over_job == 0 && w->completed > 0 &&
        !sim_disk_unmounted(w->disk) && one_in(w, 2)) {
        c->endings--;
        c->ending = 1 + (uint32_t)below(w, ENDINGS - 1);
        c->asked = c->ends = request;
        sim_note(w, "the client ends the job, way %u, request %" PRIu64, c->ending, request);
        ask_for_end(c);
        return;
    }
    switch (w->faults > 0 && c->ending == ENDS_ITSELF ? below(w, 4) : 3) {
    case 0: ask(c, "snapshot", request, ""); break;
    case 1:
        snprintf(path, sizeof path, "/save/%" PRIu64, request);
        ask(c, "savepoint", request, path);
        break;
    case 2:
        c->variant = (uint32_t)below(w, VARIANTS);
        sim_note(w, "rescale, variant %u, request %" PRIu64, c->variant, request);
        ask(c, "rescale", request, "");
        w->result->rescales++;
        break;
    default: break;
    }
}

void sim_client_step(world *w)
{
    client_node  *c = &w->client;
    wr_peers     *p = sim_port_table(c->port);
    wr_peer_event e;
    while (!w->finished && p->next(p->self, &e)) take_event(c, &e);
    if (c->peer == 0 && w->clock.now_ns >= c->again_ns) c->peer = p->dial(p->self, "jm:6123");
    if (c->opened && c->job != 0 && w->clock.now_ns >= c->ask_ns) ask_something(c);
}
