/* weir plan, weir version: what is printed without running anything. */
#include "graph/plan.h"
#include "base/json.h"
#include "cli/lines.h"
#include "cli/prepare.h"
#include "taskmanager/crash.h"
#include <weir/op.h>

int wr_cli_plan(const wr_options *options)
{
    wr_prepared prepared;
    wr_crash_install(wr_cli_lines_program);
    int exit_code = wr_prepare_file(&prepared, options);
    if (exit_code != WR_EXIT_OK) return exit_code;
    if (options->json)
        wr_plan_json(prepared.job, prepared.exec, stdout);
    else
        wr_plan_text(prepared.job, prepared.exec, stdout);
    wr_prepared_fini(&prepared);
    return WR_EXIT_OK;
}

int wr_cli_version(const wr_options *options)
{
    if (!options->json) {
        printf("weir %s (ABI %u, headers %u)\n", WR_VERSION, WEIR_ABI, WEIR_HEADER);
        return WR_EXIT_OK;
    }
    wr_json json;
    wr_json_init_file(&json, stdout);
    wr_json_object(&json, NULL);
    wr_json_str(&json, "version", WR_VERSION);
    wr_json_u64(&json, "abi", WEIR_ABI);
    wr_json_u64(&json, "headers", WEIR_HEADER);
    wr_json_end(&json);
    return WR_EXIT_OK;
}
