#include "cli/test_kept.h"
#include "jobmanager/compose.h"
#include "jobmanager/store.h"
#include <stdlib.h>
#include <string.h>

#define LINEAGE "00000000000000000000000000000000"
enum { PATH_BYTES = 128, MOMENT_NS = 1000000 };

/* The test's thread. */
struct wr_test_kept {
    const wr_env  *env;
    char           folder[PATH_BYTES];
    wr_store      *store;
    const wr_exec *exec;
    wr_ack       **ack; /* by subtask, of the snapshot under way */
    uint32_t       acks;
    wr_barrier     barrier;
    wr_manifest    newest;   /* what increments build on; id 0: none */
    wr_manifest    restored; /* what the worker started from: it lives as long */
    wr_parker      parker;   /* nobody wakes it: it waits a moment at a time */
    bool           parker_open;
};

wr_err wr_test_kept_new(wr_test_kept **take, const wr_env *env, wr_errinfo *info)
{
    wr_test_kept *k = calloc(1, sizeof *k);
    *take = NULL;
    if (k == NULL) return wr_fail(info, WR_MEMORY, "no memory for snapshots");
    const char *tmp = getenv("TMPDIR");
    k->env = env;
    k->barrier.epoch = 1;
    snprintf(k->folder, sizeof k->folder, "%s/weir-test-XXXXXX", tmp != NULL && strlen(tmp) < 96 ? tmp : "/tmp");
    wr_err err = mkdtemp(k->folder) != NULL ? WR_OK : wr_fail(info, WR_IO, "cannot make the folder %s", k->folder);
    if (err != WR_OK) k->folder[0] = 0;
    if (err == WR_OK) err = wr_store_open(&k->store, env, k->folder, k->barrier.epoch, info);
    if (err == WR_OK && env->parker_init(env->self, &k->parker) < 0)
        err = wr_fail(info, WR_LIMIT, "cannot make an event descriptor");
    k->parker_open = err == WR_OK;
    if (err != WR_OK)
        wr_test_kept_free(k);
    else
        *take = k;
    return err;
}

static void forget_acks(wr_test_kept *k)
{
    for (uint32_t i = 0; k->ack != NULL && i < k->exec->subtasks; i++) wr_ack_free(k->ack[i]);
    free(k->ack);
    k->ack = NULL;
    k->acks = 0;
}

static bool remove_file(void *arg, const char *name)
{
    wr_test_kept *k = arg;
    char          path[PATH_BYTES + 256];
    snprintf(path, sizeof path, "%s/%s", k->folder, name);
    k->env->unlink(k->env->self, path);
    return true;
}

void wr_test_kept_free(wr_test_kept *k)
{
    if (k == NULL) return;
    forget_acks(k);
    wr_manifest_free(&k->newest);
    wr_manifest_free(&k->restored);
    wr_store_close(k->store);
    if (k->folder[0] != 0) {
        k->env->list(k->env->self, k->folder, remove_file, k);
        k->env->rmdir(k->env->self, k->folder);
    }
    if (k->parker_open) k->env->parker_fini(k->env->self, &k->parker);
    free(k);
}

uint64_t wr_test_kept_newest(const wr_test_kept *k)
{
    return k->newest.id;
}

bool wr_test_kept_restores(const wr_test_kept *k)
{
    return k->restored.id != 0;
}

wr_err wr_test_kept_configure(wr_test_kept *k, wr_worker_options *options, wr_errinfo *info)
{
    options->snapshots = k->folder;
    options->lineage = LINEAGE;
    forget_acks(k);
    wr_manifest_free(&k->restored);
    memset(&k->restored, 0, sizeof k->restored);
    if (k->newest.id == 0) return WR_OK;
    char path[PATH_BYTES + WR_FILE_NAME_BYTES + 1], name[WR_FILE_NAME_BYTES];
    wr_name_manifest(name, k->newest.epoch, k->newest.id);
    snprintf(path, sizeof path, "%s/%s", k->folder, name);
    WR_TRY(wr_store_read(k->env, path, &k->restored, info));
    options->restore = &k->restored;
    options->restore_folder = k->folder;
    return WR_OK;
}

wr_err wr_test_kept_trigger(wr_test_kept *k, const wr_exec *exec, wr_worker *worker, wr_errinfo *info)
{
    forget_acks(k);
    k->exec = exec;
    k->ack = calloc(exec->subtasks, sizeof(wr_ack *));
    if (k->ack == NULL) return wr_fail(info, WR_MEMORY, "no memory for a snapshot");
    k->barrier = (wr_barrier){
        .id = k->barrier.id + 1, .base = k->newest.id, .kind = WR_SNAPSHOT, .epoch = k->barrier.epoch};
    wr_worker_trigger(worker, &k->barrier);
    return WR_OK;
}

static wr_err complete(wr_test_kept *k, wr_errinfo *info)
{
    wr_manifest      m;
    int64_t          now_ns = k->env->wall_ns(k->env->self);
    const wr_compose c = {.exec = k->exec,
                          .barrier = k->barrier,
                          .lineage = LINEAGE,
                          .triggered_ns = now_ns,
                          .completed_ns = now_ns,
                          .ack = (const wr_ack **)k->ack,
                          .base = k->newest.id != 0 ? &k->newest : NULL};
    WR_TRY(wr_compose_manifest(&m, &c, info));
    wr_err err = wr_store_commit(k->store, &m, NULL, info);
    if (err != WR_OK) {
        wr_manifest_free(&m);
        return err;
    }
    for (uint32_t i = 0; i < m.ops; i++) m.op[i].items = 0; /* they lie in the answers */
    wr_manifest_free(&k->newest);
    k->newest = m;
    forget_acks(k);
    return WR_OK;
}

wr_err wr_test_kept_take(wr_test_kept *k, wr_worker *worker, bool *all, wr_errinfo *info)
{
    *all = false;
    for (wr_ack *ack; (ack = wr_worker_ack(worker)) != NULL;) {
        if (ack->id != k->barrier.id || k->ack[ack->subtask] != NULL) {
            wr_ack_free(ack);
            continue;
        }
        k->ack[ack->subtask] = ack;
        k->acks++;
        if (ack->declined) return wr_fail(info, ack->info.code, "%s", ack->info.text);
    }
    if (k->acks == k->exec->subtasks) {
        *all = true;
        return complete(k, info);
    }
    wr_parker_prepare(&k->parker);
    k->env->park(k->env->self, &k->parker, MOMENT_NS);
    return WR_OK;
}
