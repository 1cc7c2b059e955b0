/* weir rescale: the job's own pipeline is fetched and built once more, with another parallelism. */
#include "base/check.h"
#include "base/env.h"
#include "base/json.h"
#include "cli/child.h"
#include "cli/remote.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What was fetched. Main thread. */
typedef struct fetched {
    char        folder[64], module[64 + WR_NAME_BYTES_MAX + 2];
    char       *connector[WR_CLI_LIST_MAX];
    wr_arena    arena;
    wr_job_spec spec;
    uint64_t    job;
} fetched;

static void fetched_fini(fetched *f)
{
    const wr_env *env = wr_env_real();
    char          path[WR_PATH_BYTES_MAX];
    if (f->module[0] != 0) env->unlink(env->self, f->module);
    for (uint32_t i = 0; i < f->spec.files; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, f->spec.file[i].name);
        env->unlink(env->self, path);
    }
    for (uint32_t i = 0; i < WR_CLI_LIST_MAX; i++) free(f->connector[i]);
    if (f->folder[0] != 0) env->rmdir(env->self, f->folder);
    wr_arena_fini(&f->arena);
}

static bool is_bare(const char *name)
{
    return name[0] != 0 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strlen(name) < WR_NAME_BYTES_MAX;
}

static wr_err fetch_spec(wr_link *l, const char *job, fetched *f, wr_errinfo *info)
{
    wr_message       reply;
    const wr_request ask = {.verb = "graph", .job = job, .path = ""};
    WR_TRY(wr_link_ask(l, &ask, false, NULL, NULL, &reply, info));
    wr_err err = reply.reply.info.code;
    if (err != WR_OK)
        wr_fail(info, err, "%s", reply.reply.info.text);
    else
        err = wr_job_spec_decode(&f->spec, &f->arena, reply.reply.out, reply.reply.out_bytes, info);
    f->job = reply.reply.job;
    wr_message_free(&reply);
    return err;
}

static wr_err fetch_files(wr_link *l, fetched *f, wr_options *child, wr_errinfo *info)
{
    char path[WR_PATH_BYTES_MAX];
    snprintf(f->folder, sizeof f->folder, "/tmp/weir-rescale-XXXXXX");
    if (mkdtemp(f->folder) == NULL) {
        f->folder[0] = 0;
        return wr_fail_errno(info, errno, "cannot make a folder in /tmp");
    }
    if (!is_bare(f->spec.module.name)) return wr_fail(info, WR_LIMIT, "the pipeline's file has no name of a file");
    snprintf(f->module, sizeof f->module, "%s/%s", f->folder, f->spec.module.name);
    WR_TRY(wr_link_get(l, &f->spec.module, f->module, info));
    for (uint32_t i = 0; i < f->spec.files; i++) {
        const wr_blob_ref *ref = &f->spec.file[i];
        if (!is_bare(ref->name)) return wr_fail(info, WR_LIMIT, "a file of the job has no name of a file");
        snprintf(path, sizeof path, "%s/%s", f->folder, ref->name);
        WR_TRY(wr_link_get(l, ref, path, info));
        size_t n = strlen(ref->name);
        if (n <= 3 || strcmp(ref->name + n - 3, ".so") != 0 || child->connector.count == WR_CLI_LIST_MAX) continue;
        char *copy = strdup(path);
        if (copy == NULL) return wr_fail(info, WR_MEMORY, "no memory for a path");
        f->connector[child->connector.count] = copy;
        child->connector.text[child->connector.count++] = copy;
    }
    return WR_OK;
}

/* The child's command line: what the job was submitted with, and the new number. */
static wr_err describe(const fetched *f, const wr_options *o, wr_options *child, wr_errinfo *info)
{
    if (f->spec.sets > WR_CLI_LIST_MAX) return wr_fail(info, WR_LIMIT, "the job has %u --set", f->spec.sets);
    child->file = f->module;
    child->parallelism = o->parallelism;
    child->parallelism_default = f->spec.parallelism_default;
    child->rest = f->spec.arg;
    child->rests = f->spec.args;
    for (uint32_t i = 0; i < f->spec.sets; i++) child->set.text[child->set.count++] = f->spec.set[i];
    return WR_OK;
}

static int rescale(wr_link *l, const wr_options *o, fetched *f, const wr_child_graph *graph)
{
    wr_errinfo info = {0};
    wr_message reply;
    char       job[20];
    snprintf(job, sizeof job, "%016llx", (unsigned long long)f->job);
    f->spec.parallelism = o->parallelism;
    f->spec.graph = graph->graph;
    f->spec.graph_bytes = (uint32_t)graph->graph_bytes;
    const wr_request ask = {.verb = "rescale",
                            .job = f->job != 0 ? job : o->file,
                            .path = "",
                            .json = o->json,
                            .follow = o->wait,
                            .parallelism = o->parallelism,
                            .spec = f->spec};
    if (wr_link_ask(l, &ask, false, NULL, NULL, &reply, &info) != WR_OK) return wr_cli_fail(&info);
    int exit_code = reply.reply.info.code != WR_OK ? wr_cli_fail(&reply.reply.info) : WR_EXIT_OK;
    if (exit_code == WR_EXIT_OK && o->json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "job", f->spec.name);
        wr_json_str(&j, "id", job);
        wr_json_u64(&j, "parallelism", o->parallelism);
        wr_json_u64(&j, "slots", graph->slots);
        wr_json_end(&j);
    } else if (exit_code == WR_EXIT_OK && !o->quiet) {
        printf("%s runs with parallelism %u\n", o->file, o->parallelism);
    }
    wr_message_free(&reply);
    return exit_code;
}

int wr_cli_rescale(const wr_options *o)
{
    wr_errinfo     info = {0};
    wr_link       *l = NULL;
    wr_child_graph graph = {0};
    int            exit_code;
    int64_t        until_ns = wr_link_until(o, false);
    if (o->parallelism == 0) {
        wr_fail(&info, WR_USAGE, "how many? usage: weir rescale JOB -p N");
        return wr_cli_fail(&info);
    }
    fetched    *f = calloc(1, sizeof *f);
    wr_options *child = calloc(1, sizeof *child);
    if (f == NULL || child == NULL) {
        free(f);
        free(child);
        wr_fail(&info, WR_MEMORY, "no memory for a job");
        return wr_cli_fail(&info);
    }
    wr_arena_init(&f->arena);
    wr_err err = wr_link_open(&l, &o->settings, until_ns, &info);
    if (err == WR_OK) err = fetch_spec(l, o->file, f, &info);
    if (err == WR_OK) err = fetch_files(l, f, child, &info);
    if (err == WR_OK) err = describe(f, o, child, &info);
    exit_code = err != WR_OK ? wr_cli_fail(&info) : wr_child_graph_of(child, f->folder, until_ns, &graph);
    if (exit_code == WR_EXIT_OK) exit_code = rescale(l, o, f, &graph);
    wr_child_graph_free(&graph);
    wr_link_close(l);
    fetched_fini(f);
    free(f);
    free(child);
    return exit_code;
}
