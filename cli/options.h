/* cli/options.h: the verbs of `weir` and their flags, both from tables: parsing, help and "did you mean" read the
 * same rows. */
#ifndef WR_CLI_OPTIONS_H
#define WR_CLI_OPTIONS_H
#include "base/error.h"
#include "base/limits.h"
#include "cli/settings.h"
#include <stdbool.h>
#include <stdint.h>

enum { WR_VERBS_MAX = 64 };

typedef struct wr_texts {
    const char *text[WR_CLI_LIST_MAX];
    uint32_t    count;
} wr_texts;

/* What a command line says. Texts are those of argv. Main thread. */
typedef struct wr_options {
    const char        *file;   /* the pipeline, the source, the job, or the verb that help is asked for; or NULL */
    const char        *second; /* what stands behind it: a folder; or NULL */
    const char        *third, *fourth;
    uint32_t           parallelism;         /* 0: not said */
    uint32_t           parallelism_default; /* of operators; 0: CPUs */
    uint64_t           state_max;
    wr_texts           set, connector, ship; /* ship: files of the user's */
    const char        *pin, *log, *output;
    const char        *snapshots, *restore, *savepoint; /* folders; a manifest is good for restore, too */
    uint32_t           snapshots_keep;                  /* 0: not said */
    int64_t            snapshot_interval_ns, snapshot_timeout_ns, timeout_ns; /* 0: not said */
    bool               fresh, allow_non_restored, drain, check;
    bool               json, quiet, detached, follow, undo, wait;
    const char        *name, *config;
    uint32_t           taskmanagers, slots; /* of `weir cluster start`; 0: not said */
    wr_settings        settings;
    const char *const *rest; /* what stands behind `--` */
    uint32_t           rests;
} wr_options;

/* One verb. Const. */
typedef struct wr_verb {
    const char *name, *synopsis, *summary;
    const char *flags; /* letters of the rows of the table of flags that it takes */
    const char *help;  /* more text for `weir help VERB` */
    uint32_t    files_min, files_max;
    bool        takes_rest, hidden;
    int (*run)(const wr_options *options);
    uint32_t groups; /* of settings that are its flags: enum wr_setting_group; 0: it reads no configuration */
} wr_verb;

extern const wr_verb  wr_verb_at[]; /* cli/verbs.c */
extern const uint32_t wr_verbs;

/* The whole program: parses, runs the verb, gives the exit code. */
int wr_cli_main(int argc, char *const argv[]);

/* Fills options from the arguments behind the verb. *help: the user asked for it instead. */
wr_err         wr_options_parse(wr_options *options, const wr_verb *verb, int argc, char *const argv[], bool *help,
                                wr_errinfo *info);
const wr_verb *wr_verb_find(const char *name, wr_errinfo *info);

int wr_cli_run(const wr_options *options);
int wr_cli_build(const wr_options *options);
int wr_cli_check(const wr_options *options);
int wr_cli_check_here(const wr_options *options);
int wr_cli_plan(const wr_options *options);
int wr_cli_list(const wr_options *options);
int wr_cli_snapshot(const wr_options *options);
int wr_cli_savepoint(const wr_options *options);
int wr_cli_stop(const wr_options *options);
int wr_cli_snapshots(const wr_options *options);
int wr_cli_state(const wr_options *options);
int wr_cli_restore(const wr_options *options);
int wr_cli_version(const wr_options *options);
int wr_cli_help(const wr_options *options);
/* The cluster's processes. */
int wr_cli_jobmanager(const wr_options *options);
int wr_cli_taskmanager(const wr_options *options);
int wr_cli_worker(const wr_options *options);
int wr_cli_cluster(const wr_options *options);
/* Its clients. */
int wr_cli_submit(const wr_options *options);
int wr_cli_info(const wr_options *options);
int wr_cli_logs(const wr_options *options);
int wr_cli_top(const wr_options *options);
int wr_cli_cancel(const wr_options *options);
int wr_cli_rescale(const wr_options *options);
int wr_cli_why(const wr_options *options);
int wr_cli_wait(const wr_options *options);
int wr_cli_taskmanagers(const wr_options *options);
int wr_cli_drain(const wr_options *options);
int wr_cli_config(const wr_options *options);
int wr_cli_graph_here(const wr_options *options);

/* Prints the error and gives its exit code. */
int wr_cli_fail(const wr_errinfo *info);

#endif
