/* weir check: loads the pipeline and runs its build function in a child, whose crash or endless loop harms nobody. */
#include "base/json.h"
#include "cli/child.h"
#include "cli/lines.h"
#include "cli/module.h"
#include "cli/prepare.h"
#include "taskmanager/crash.h"

/* The child's side. */
int wr_cli_check_here(const wr_options *options)
{
    wr_prepared prepared;
    wr_crash_install(wr_cli_lines_program);
    int exit_code = wr_prepare_file(&prepared, options);
    if (exit_code != WR_EXIT_OK) return exit_code;
    const wr_job *job = prepared.job;
    if (options->json) {
        wr_json json;
        wr_json_init_file(&json, stdout);
        wr_json_object(&json, NULL);
        wr_json_str(&json, "job", job->name);
        wr_json_bool(&json, "ok", true);
        wr_json_u64(&json, "operators", job->nodes);
        wr_json_u64(&json, "tasks", job->tasks);
        wr_json_u64(&json, "subtasks", prepared.exec->subtasks);
        wr_json_u64(&json, "slots", prepared.exec->slots);
        wr_json_printf(&json, "fingerprint", "%016llx", (unsigned long long)job->fingerprint);
        wr_json_end(&json);
    } else {
        printf("%s: ok: %u operators in %u tasks, %u subtasks, %u slots\n", job->name, job->nodes, job->tasks,
               prepared.exec->subtasks, prepared.exec->slots);
    }
    wr_prepared_fini(&prepared);
    return WR_CHILD_CHECKED;
}

int wr_cli_check(const wr_options *options)
{
    wr_errinfo info = {0};
    /* What needs no child comes at once, and from here. */
    if (wr_module_look(options->file, "pipeline", &info) != WR_OK) return wr_cli_fail(&info);
    return wr_child_check(options);
}
