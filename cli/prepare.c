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
static int print_problems(const wr_prepared *p, const char *name, const wr_errinfo *info)
{
    const char *const *text = NULL;
    uint32_t           count = wr_job_problems(p->pipeline, &text);
    if (count < 2) return wr_cli_fail(info);
    wr_errinfo head = {.code = info->code};
    snprintf(head.text, sizeof head.text, "the pipeline %s has %u problems:", name, count);
    int exit_code = wr_cli_fail(&head);
    for (uint32_t i = 0; i < count; i++) fprintf(stderr, "  %u. %s\n", i + 1, text[i]);
    return exit_code;
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
    wr_module  module;
    memset(p, 0, sizeof *p);
    wr_crash_at_exit(true); /* else a build function that ends the process looks like a job that went well */
    for (uint32_t i = 0; i < options->connector.count; i++) {
        const char *path = options->connector.text[i];
        if (wr_module_look(path, "connector", &info) != WR_OK) return wr_cli_fail(&info);
        char *whole = realpath(
            path, NULL); /* a bare name would be looked for in the library path; it stays, as the code does */
        if (whole == NULL) wr_fail_errno(&info, errno, "cannot find the connector %s", path);
        wr_crash_in("what runs when a connector is loaded");
        bool loaded = whole != NULL && wr_connector_load(whole, &info) == WR_OK;
        wr_crash_in(NULL);
        if (!loaded) {
            free(whole);
            return wr_cli_fail(&info);
        }
    }
    if (wr_module_open(&module, options->file, &info) != WR_OK) return wr_cli_fail(&info);
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
    wr_err                err = wr_prepare(p, &spec, &info);
    if (err == WR_OK) return WR_EXIT_OK;
    int exit_code = print_problems(p, spec.name, &info);
    wr_prepared_fini(p);
    return exit_code;
}
