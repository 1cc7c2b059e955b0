#include "cli/prepare.h"
#include "base/env.h"
#include "cli/module.h"
#include "connectors/connectors.h"
#include "taskmanager/crash.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

wr_err wr_prepare(wr_prepared *p, const wr_prepare_spec *spec, wr_errinfo *info)
{
    char in[WR_NAME_BYTES_MAX + 32];
    memset(p, 0, sizeof *p);
    p->name = spec->name;
    snprintf(in, sizeof in, "the build function of %.*s", WR_NAME_BYTES_MAX, spec->name);
    p->pipeline = wr_job_new(spec->name, spec->args, spec->arg_count);
    wr_crash_in(in);
    spec->build(p->pipeline);
    wr_crash_in(NULL);
    const wr_manifest *restore = NULL;
    if (spec->origin != NULL) WR_TRY(spec->origin(spec->self, spec->name, p->pipeline, &restore, info));
    const wr_job_settings settings = {.restore = restore,
                                      .parallelism = spec->parallelism,
                                      .parallelism_default = spec->parallelism_default,
                                      .parallelism_max = WR_SLOTS_MAX,
                                      .set = spec->set,
                                      .sets = spec->sets,
                                      .connector = wr_connector_resolve,
                                      .inspect = wr_connector_inspect,
                                      .compare = wr_connector_compare,
                                      .self = (void *)(uintptr_t)wr_env_real()};
    WR_TRY(wr_job_finish(p->pipeline, &settings, &p->job, info));
    return wr_exec_new(p->job, &p->exec, info);
}

void wr_prepared_fini(wr_prepared *p)
{
    if (p->exec != NULL) wr_exec_free(p->exec);
    if (p->pipeline != NULL) wr_job_free(p->pipeline);
    memset(p, 0, sizeof *p);
}

/* One problem is an error like any other; several are listed below a line that counts them. */
int wr_prepare_print(const wr_prepared *p, const wr_errinfo *info)
{
    uint32_t   count = p->pipeline != NULL ? wr_job_problems_all(p->pipeline) : 0, said = 0;
    wr_problem problem;
    if (count < 2) return wr_cli_fail(info);
    wr_errinfo head = {.code = info->code};
    snprintf(head.text, sizeof head.text, "the pipeline %s has %u problems:", p->name, count);
    int exit_code = wr_cli_fail(&head);
    for (; wr_job_problem_at(p->pipeline, said, &problem); said++)
        fprintf(stderr, "  %u. %s\n", said + 1, problem.text);
    if (said < count) fprintf(stderr, "  and %u more, which come when these are mended\n", count - said);
    return exit_code;
}

static wr_err load_connectors(const wr_options *options, wr_errinfo *info)
{
    for (uint32_t i = 0; i < options->connector.count; i++) {
        const char *path = options->connector.text[i];
        WR_TRY(wr_module_look(path, "connector", info));
        char *whole = realpath(
            path, NULL); /* a bare name would be looked for in the library path; it stays, as the code does */
        if (whole == NULL) return wr_fail_errno(info, errno, "cannot find the connector %s", path);
        wr_crash_in("what runs when a connector is loaded");
        wr_err err = wr_connector_load(whole, info);
        wr_crash_in(NULL);
        if (err == WR_OK) continue;
        free(whole);
        return err;
    }
    return WR_OK;
}

typedef wr_err from_where(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore,
                          wr_errinfo *info);

static wr_err try_from(wr_prepared *p, const wr_options *options, from_where *origin, void *self, wr_errinfo *info)
{
    wr_module module;
    memset(p, 0, sizeof *p);
    wr_crash_at_exit(true); /* else a build function that ends the process looks like a job that went well */
    WR_TRY(load_connectors(options, info));
    WR_TRY(wr_module_open(&module, options->file, info));
    const wr_env         *env = wr_env_real();
    const wr_prepare_spec spec = {.name = module.descriptor->name,
                                  .build = module.descriptor->build,
                                  .args = options->rest,
                                  .arg_count = options->rests,
                                  .set = options->set.text,
                                  .sets = options->set.count,
                                  .parallelism = options->parallelism,
                                  .parallelism_default = options->parallelism_default != 0
                                                             ? options->parallelism_default
                                                             : (uint32_t)env->cpu_count(env->self),
                                  .origin = origin,
                                  .self = self};
    return wr_prepare(p, &spec, info);
}

wr_err wr_prepare_try(wr_prepared *p, const wr_options *options, wr_errinfo *info)
{
    return try_from(p, options, NULL, NULL, info);
}

int wr_prepare_file(wr_prepared *p, const wr_options *options)
{
    return wr_prepare_file_from(p, options, NULL, NULL);
}

int wr_prepare_file_from(wr_prepared *p, const wr_options *options,
                         wr_err (*origin)(void *self, const char *job, const weir_pipeline *p,
                                          const wr_manifest **restore, wr_errinfo *info),
                         void *self)
{
    wr_errinfo info = {0};
    if (try_from(p, options, origin, self, &info) == WR_OK) return WR_EXIT_OK;
    int exit_code = wr_prepare_print(p, &info);
    wr_prepared_fini(p);
    return exit_code;
}
