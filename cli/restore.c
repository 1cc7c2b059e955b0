/* weir restore PATH PIPELINE.so --check: what would become of each operator's state, without running anything. */
#include "jobmanager/restore.h"
#include "base/json.h"
#include "cli/prepare.h"
#include "jobmanager/savepoint.h"
#include "jobmanager/store.h"
#include "snapshot/image.h"
#include <string.h>

/* For the build: operators keep the key groups that the snapshot has. */
static wr_err take_manifest(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore,
                            wr_errinfo *info)
{
    (void)job;
    (void)p;
    (void)info;
    *restore = self;
    return WR_OK;
}

static wr_err check_files(const wr_manifest *m, const char *folder, wr_errinfo *info)
{
    for (uint32_t i = 0; i < m->ops; i++) {
        for (uint32_t k = 0; k < m->op[i].layers; k++)
            WR_TRY(wr_image_check(wr_env_real(), folder, &m->op[i].layer[k].file, info));
    }
    return wr_savepoint_check_kept(wr_env_real(), folder, m, info);
}

static void print_json(const wr_manifest *m, const char *job, const wr_restore_report *r, bool ok)
{
    wr_json j;
    wr_json_init_file(&j, stdout);
    wr_json_object(&j, NULL);
    wr_json_u64(&j, "snapshot", m->id);
    wr_json_bool(&j, "ok", ok);
    wr_json_str(&j, "job", m->job);
    wr_json_str(&j, "pipeline", job);
    wr_json_array(&j, "operators");
    for (uint32_t i = 0; i < r->ops; i++) {
        const wr_restore_op *op = &r->op[i];
        wr_json_object(&j, NULL);
        wr_json_str(&j, "uid", op->uid);
        wr_json_str(&j, "what", wr_restore_what_name(op->what));
        wr_json_u64(&j, "from_parallelism", op->from_parallelism);
        wr_json_u64(&j, "parallelism", op->parallelism);
        wr_json_u64(&j, "bytes", op->bytes);
        wr_json_u64(&j, "items", op->items);
        wr_json_str(&j, "why", op->why);
        wr_json_end(&j);
    }
    wr_json_end(&j);
    wr_json_end(&j);
}

static void print_text(const wr_manifest *m, const char *job, const wr_restore_report *r)
{
    printf("%s %llu of job %s\n", m->kind == WR_SAVEPOINT ? "savepoint" : "snapshot", (unsigned long long)m->id,
           m->job);
    if (strcmp(m->job, job) != 0)
        printf(
            "  the pipeline is another job, %s: it can start by --restore, but not with this folder in --snapshots\n",
            job);
    for (uint32_t i = 0; i < r->ops; i++) {
        const wr_restore_op *op = &r->op[i];
        printf("  %-10s %-24s %u -> %u subtasks%s%s\n", wr_restore_what_name(op->what), op->uid, op->from_parallelism,
               op->parallelism, op->why[0] != 0 ? "; " : "", op->why);
    }
}

static int match(const wr_options *options, wr_manifest *m)
{
    wr_options        of_pipeline = *options;
    wr_prepared       prepared;
    wr_restore_report report;
    wr_errinfo        info = {0};
    of_pipeline.file = options->second;
    of_pipeline.second = NULL;
    int code = wr_prepare_file_from(&prepared, &of_pipeline, take_manifest, m);
    if (code != WR_EXIT_OK) return code;
    wr_err err = wr_restore_match(m, prepared.job, options->allow_non_restored, &report, &info);
    if (options->json)
        print_json(m, prepared.job->name, &report, err == WR_OK);
    else
        print_text(m, prepared.job->name, &report);
    wr_restore_report_free(&report);
    wr_prepared_fini(&prepared);
    return err == WR_OK ? WR_EXIT_OK : wr_cli_fail(&info);
}

int wr_cli_restore(const wr_options *options)
{
    wr_errinfo  info = {0};
    wr_manifest m;
    char        folder[WR_PATH_BYTES_MAX];
    if (!options->check) {
        wr_fail(&info, WR_USAGE, "`weir restore` only looks: add --check; to run, `weir run %s --restore %s`",
                options->second, options->file);
        return wr_cli_fail(&info);
    }
    enum { LOOKS = 8 };
    wr_err err = WR_NOT_FOUND;
    for (uint32_t i = 0; i < LOOKS && err == WR_NOT_FOUND; i++) { /* the job may run, and retire what is looked at */
        if (i > 0) wr_manifest_free(&m);
        info = (wr_errinfo){0};
        err = wr_store_load(wr_env_real(), options->file, &m, folder, &info);
        if (err != WR_OK) return wr_cli_fail(&info);
        err = check_files(&m, folder, &info);
    }
    int code = err == WR_OK ? match(options, &m) : wr_cli_fail(&info);
    wr_manifest_free(&m);
    return code;
}
