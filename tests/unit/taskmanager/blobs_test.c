/* Files of jobs on a TaskManager: however many jobs fetch however many files, whatever does not answer, and whatever
 * the disk makes of what was checked once. */
#include "tests/unit/taskmanager/supervisor_kit.h"

enum { JOBS = 3, FILES = WR_JOB_FILES_MAX, STEPS = 4000 };

/* The content of file i of a job: no two are alike. */
static uint32_t content(uint64_t job, uint32_t i, char to[64])
{
    return (uint32_t)snprintf(to, 64, "file %u of job %llu", i, (unsigned long long)job);
}

static void describe(wr_blob_ref *ref, uint64_t job, uint32_t i, char name[32])
{
    char text[64];
    ref->bytes = content(job, i, text);
    snprintf(name, 32, "file-%u", i);
    ref->name = name;
    wr_sha256 *sum = wr_sha256_new();
    wr_sha256_add(sum, text, ref->bytes);
    wr_sha256_end(sum, ref->digest);
}

/* As large as a job may be. */
static void deploy_large(world *w, uint64_t job)
{
    static char        name[FILES][32];
    static wr_blob_ref file[FILES];
    wr_place           place = {.tm = fake_said(&w->jm, WR_MSG_REGISTER)->reg.tm, .data = "127.0.0.1:1"};
    wr_message         m = {.kind = WR_MSG_DEPLOY, .job = job, .attempt = 1, .leader = w->leader};
    for (uint32_t i = 0; i < FILES; i++) describe(&file[i], job, i + 1, name[i]);
    m.deploy.spec = (wr_job_spec){.name = "large", .graph = "g", .graph_bytes = 1, .snapshots = "", .restore = ""};
    char module[32];
    describe(&m.deploy.spec.module, job, 0, module);
    m.deploy.spec.file = file;
    m.deploy.spec.files = FILES;
    m.deploy.place = &place;
    m.deploy.places = 1;
    m.deploy.self = place.tm;
    m.deploy.lineage = m.deploy.restore_manifest = m.deploy.restore_folder = "";
    fake_tell(&w->jm, w->jm.last, WR_PEER_MESSAGE, &m);
}

/* Answers all that is asked for. */
static void answer_all(world *w)
{
    static wr_blob_ref ref[JOBS][FILES + 1];
    char               name[32], text[64];
    for (uint32_t k = 0; ref[JOBS - 1][FILES].bytes == 0; k++)
        describe(&ref[k / (FILES + 1)][k % (FILES + 1)], k / (FILES + 1) + 1, k % (FILES + 1), name);
    for (uint32_t i = 0; i < w->jm.saids; i++) {
        const wr_message *ask = w->jm.said[i];
        wr_message        m = {.kind = WR_MSG_BLOB, .leader = w->leader, .request = ask->request, .blob = ask->blob};
        for (uint32_t k = 0; ask->kind == WR_MSG_BLOB_GET && k < JOBS * (FILES + 1); k++) {
            uint32_t job = k / (FILES + 1), file = k % (FILES + 1);
            if (memcmp(ref[job][file].digest, ask->blob.digest, WR_DIGEST_BYTES) != 0) continue;
            m.blob.bytes = ref[job][file].bytes;
            m.blob.data_bytes = content(job + 1, file, text);
            m.blob.data = text;
            fake_tell(&w->jm, w->jm.last, WR_PEER_MESSAGE, &m);
        }
    }
    fake_forget(&w->jm);
}

/* More files than the TaskManager keeps in mind: nobody's files drive out those of another that is not served yet. */
static void large_jobs_come_at_once(void **state)
{
    world *w = *state;
    join(w);
    for (uint64_t job = 1; job <= JOBS; job++) deploy_large(w, job);
    for (int i = 0; i < STEPS && w->processes.count < JOBS; i++) {
        wr_supervisor_step(w->s);
        answer_all(w);
    }
    assert_int_equal(w->processes.count, JOBS);
    for (uint32_t p = 0; p < JOBS; p++) {
        char   path[WR_PATH_BYTES_MAX], text[64], *bytes;
        size_t n;
        for (uint32_t i = 1; i <= FILES; i += 51) {
            char       name[32];
            wr_errinfo info = {0};
            snprintf(name, sizeof name, "file-%u", i);
            assert_true(wr_tm_path(path, w->processes.process[p].folder, name));
            assert_int_equal(wr_tm_file_read(wr_env_real(), path, 100, &bytes, &n, &info), WR_OK);
            assert_int_equal(n, content(w->processes.process[p].job, i, text));
            assert_memory_equal(bytes, text, n);
            free(bytes);
        }
    }
}

/* The JobManager lives, and says nothing of the file. */
static void pass_second(world *w)
{
    fake_now_ns += 1000 * (int64_t)MS;
    step(w);
    wr_message m = {.kind = WR_MSG_HEARD, .seq = fake_said(&w->jm, WR_MSG_HEARTBEAT)->seq};
    tell(w, &m);
}

static void who_is_not_answered_asks_again(void **state)
{
    world *w = *state;
    join(w);
    deploy(w, 11, 1);
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 1);
    for (int64_t ns = 0; ns < WR_BLOB_ASK_MS * (int64_t)MS; ns += 1000 * (int64_t)MS) {
        assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 1);
        assert_true(wr_supervisor_wait_ns(w->s) <= WR_BLOB_ASK_MS * (int64_t)MS - ns);
        pass_second(w);
    }
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 2);
    /* What came at last counts once, however often it was asked for. */
    give_piece(w, 1000);
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 3);
    while (w->processes.count == 0) give_piece(w, 1000);
}

static void who_is_never_answered_gives_up(void **state)
{
    world *w = *state;
    join(w);
    deploy(w, 11, 1);
    for (int i = 0; fake_count(&w->jm, WR_MSG_GONE) == 0; i++) {
        if (i > 1000) fail_msg("it waits for ever");
        pass_second(w);
    }
    assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), WR_BLOB_ASKS_MAX);
    assert_int_equal(fake_said(&w->jm, WR_MSG_GONE)->gone.info.code, WR_TIMEOUT);
    run_one(w, 11, 2);
}

/* What was checked when it came is not what is copied later. */
static void what_the_disk_has_changed_is_not_run(void **state)
{
    world   *w = *state;
    char     path[256];
    uint32_t count;
    join(w);
    run_one(w, 11, 1);
    snprintf(path, sizeof path, "%.100s/blobs", w->folder);
    char **name = wr_tm_folder_list(wr_env_real(), path, &count);
    assert_int_equal(count, 1);
    snprintf(path + strlen(path), 100, "/%.80s", name[0]);
    free(name);
    for (int shorter = 0; shorter < 2; shorter++) {
        if (shorter) {
            assert_int_equal(truncate(path, (off_t)sizeof w->blob - 1), 0);
        } else {
            FILE *file = fopen(path, "r+");
            assert_non_null(file);
            fputc('x', file);
            fclose(file);
        }
        fake_forget(&w->jm);
        deploy(w, 12, (uint32_t)(2 * shorter + 1));
        step(w);
        assert_int_equal(w->processes.count, 1 + shorter);
        const wr_message *gone = fake_said(&w->jm, WR_MSG_GONE);
        assert_non_null(gone);
        assert_int_equal(gone->gone.info.code, WR_IO);
        run_one(w, 12, (uint32_t)(2 * shorter + 2)); /* fetched again */
        assert_int_equal(fake_count(&w->jm, WR_MSG_BLOB_GET), 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(large_jobs_come_at_once, begin, end),
        cmocka_unit_test_setup_teardown(who_is_not_answered_asks_again, begin, end),
        cmocka_unit_test_setup_teardown(who_is_never_answered_gives_up, begin, end),
        cmocka_unit_test_setup_teardown(what_the_disk_has_changed_is_not_run, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
