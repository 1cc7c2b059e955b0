/* weir check: loads the pipeline and runs its build function in a child, whose crash or endless loop harms nobody. */
#include "base/json.h"
#include "cli/child.h"
#include "cli/lines.h"
#include "cli/module.h"
#include "cli/prepare.h"
#include "taskmanager/crash.h"

static void tell(wr_json *json, wr_err code, const char *node, const char *text)
{
    wr_json_object(json, NULL);
    wr_json_printf(json, "code", "E%04d", (int)code);
    wr_json_str(json, "name", wr_err_name(code));
    wr_json_str(json, "operator", node);
    wr_json_str(json, "text", text);
    wr_json_end(json);
}

void wr_check_tell(const wr_prepared *p, const wr_errinfo *info)
{
    wr_json    json;
    wr_problem problem;
    uint32_t   all = p != NULL && p->pipeline != NULL ? wr_job_problems_all(p->pipeline) : 0, said = 0;
    wr_json_init_file(&json, stdout);
    wr_json_object(&json, NULL);
    wr_json_str(&json, "job", p != NULL ? p->name : NULL);
    wr_json_bool(&json, "ok", false);
    wr_json_array(&json, "problems");
    for (; said < all && wr_job_problem_at(p->pipeline, said, &problem); said++)
        tell(&json, problem.code, problem.node, problem.text);
    if (all == 0) tell(&json, info->code, NULL, wr_errinfo_text(info));
    wr_json_end(&json);
    if (all > said) wr_json_u64(&json, "more", all - said);
    wr_json_end(&json);
}

/* The child's side. */
int wr_cli_check_here(const wr_options *options)
{
    wr_prepared prepared;
    wr_crash_install(wr_cli_lines_program);
    wr_errinfo info = {0};
    if (wr_prepare_try(&prepared, options, &info) != WR_OK) {
        int exit_code = wr_prepare_print(&prepared, &info);
        if (options->json) wr_check_tell(&prepared, &info);
        wr_prepared_fini(&prepared);
        return options->json ? exit_code | WR_CHILD_TOLD : exit_code;
    }
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
        wr_json_array(&json, "problems");
        wr_json_end(&json);
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
    if (wr_module_look(options->file, "pipeline", &info) != WR_OK) {
        if (options->json) wr_check_tell(NULL, &info);
        return wr_cli_fail(&info);
    }
    return wr_child_check(options);
}
