/* tests/unit/taskmanager/supervisor_kit.h: a supervisor whose JobManager, workers and processes the test plays. */
#ifndef WR_TESTS_TASKMANAGER_SUPERVISOR_KIT_H
#define WR_TESTS_TASKMANAGER_SUPERVISOR_KIT_H
#include "net/mac.h"
#include "taskmanager/files.h"
#include "tests/unit/taskmanager/fakes.h"

enum { MS = 1000000 };

typedef struct world {
    fake_peers     jm, workers;
    fake_processes processes;
    wr_supervisor *s;
    uint64_t       leader, memory_max; /* memory_max: that jobs say */
    char           folder[64];
    char           blob[3000]; /* of the module */
    uint8_t        digest[WR_DIGEST_BYTES];
} world;

/* Of the next supervisor: how its helper reads files; NULL: it has none. */
static int64_t (*helper_reads)(void *self, int file, void *to, size_t bytes);

static inline void new_supervisor(world *w)
{
    wr_errinfo info = {0};
    wr_env    *env = fake_env();
    if (helper_reads != NULL) env->read = helper_reads;
    const wr_supervisor_config config = {.env = env,
                                         .peers = &w->jm.table,
                                         .workers = &w->workers.table,
                                         .processes = &w->processes.table,
                                         .jobmanager = "127.0.0.1:6123",
                                         .name = "here:1",
                                         .folder = w->folder,
                                         .data_listen = "127.0.0.1:0",
                                         .http = "",
                                         .slots = 4,
                                         .pid = 77,
                                         .memory_max = 1000,
                                         .hang_ms = 30000,
                                         .threads = helper_reads != NULL};
    if (wr_supervisor_new(&w->s, &config, &info) != WR_OK) fail_msg("%s", info.text);
}

static inline int begin(void **state)
{
    world *w = calloc(1, sizeof *w);
    check(w != NULL);
    fake_peers_init(&w->jm);
    fake_peers_init(&w->workers);
    fake_processes_init(&w->processes);
    snprintf(w->folder, sizeof w->folder, "/tmp/weir-supervisor-XXXXXX");
    check(mkdtemp(w->folder) != NULL);
    for (size_t i = 0; i < sizeof w->blob; i++) w->blob[i] = (char)(i * 7);
    wr_sha256 *sum = wr_sha256_new();
    wr_sha256_add(sum, w->blob, sizeof w->blob);
    wr_sha256_end(sum, w->digest);
    w->leader = 5;
    new_supervisor(w);
    *state = w;
    return 0;
}

static inline int end(void **state)
{
    world *w = *state;
    wr_supervisor_free(w->s);
    fake_peers_fini(&w->jm);
    fake_peers_fini(&w->workers);
    wr_tm_folder_remove(wr_env_real(), w->folder);
    assert_int_not_equal(access(w->folder, F_OK), 0);
    free(w);
    return 0;
}

/* Something has woken it; from then on it goes on only if it says so, as in a process. */
static inline void step(world *w)
{
    do wr_supervisor_step(w->s);
    while (wr_supervisor_wait_ns(w->s) == 0 || w->processes.ends > 0);
}

static inline void tell(world *w, wr_message *m)
{
    m->leader = m->leader != 0 ? m->leader : w->leader;
    fake_tell(&w->jm, w->jm.last, WR_PEER_MESSAGE, m);
    step(w);
}

static inline void join(world *w)
{
    wr_message m = {.kind = WR_MSG_REGISTERED, .registered = {.heartbeat_ms = 1000, .lease_ms = 5000}};
    step(w);
    fake_tell(&w->jm, w->jm.last, WR_PEER_OPENED, NULL);
    step(w);
    assert_non_null(fake_said(&w->jm, WR_MSG_REGISTER));
    tell(w, &m);
    assert_true(wr_supervisor_registered(w->s));
}

static inline void deploy(world *w, uint64_t job, uint32_t attempt)
{
    static wr_place   place;
    wr_message        m = {.kind = WR_MSG_DEPLOY, .job = job, .attempt = attempt};
    const wr_message *said = fake_said(&w->jm, WR_MSG_REGISTER);
    place = (wr_place){.tm = said != NULL ? said->reg.tm : 1, .data = "127.0.0.1:1"};
    m.deploy.spec = (wr_job_spec){.name = "job",
                                  .module = {.name = "job.so", .bytes = sizeof w->blob},
                                  .graph = "g",
                                  .graph_bytes = 1,
                                  .snapshots = "",
                                  .restore = "",
                                  .memory_max = w->memory_max};
    memcpy(m.deploy.spec.module.digest, w->digest, sizeof w->digest);
    m.deploy.place = &place;
    m.deploy.places = 1;
    m.deploy.self = place.tm;
    memset(m.deploy.secret, 7, sizeof m.deploy.secret);
    m.deploy.lineage = m.deploy.restore_manifest = m.deploy.restore_folder = "";
    tell(w, &m);
}

/* Answers one BLOB_GET with at most `most` bytes. */
static inline void give_piece(world *w, uint32_t most)
{
    const wr_message *ask = fake_said(&w->jm, WR_MSG_BLOB_GET);
    assert_non_null(ask);
    wr_message m = {.kind = WR_MSG_BLOB, .request = ask->request};
    assert_memory_equal(ask->blob.digest, w->digest, sizeof w->digest);
    m.blob = ask->blob;
    m.blob.bytes = sizeof w->blob;
    m.blob.data = w->blob + ask->blob.offset;
    m.blob.data_bytes = (uint32_t)(sizeof w->blob - ask->blob.offset);
    if (m.blob.data_bytes > most) m.blob.data_bytes = most;
    tell(w, &m);
}

static inline void run_one(world *w, uint64_t job, uint32_t attempt)
{
    uint32_t before = w->processes.count;
    deploy(w, job, attempt);
    while (w->processes.count == before) give_piece(w, 1000);
    assert_int_equal(w->processes.process[before].job, job);
    assert_int_equal(w->processes.process[before].attempt, attempt);
}

static inline void worker_says(world *w, uint64_t process, wr_message *m)
{
    fake_tell(&w->workers, 100 + process, WR_PEER_MESSAGE, m);
    step(w);
}

static inline void order(world *w, uint64_t job, uint32_t attempt, uint32_t verb)
{
    wr_message m = {.kind = WR_MSG_ORDER, .job = job, .attempt = attempt, .order = {.verb = verb}};
    tell(w, &m);
}

#endif
