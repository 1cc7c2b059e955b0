/* The verbs of `weir`. */
#include "cli/options.h"

/* Whoever asks the cluster. */
enum { CLIENT = WR_GROUP_ASK | WR_GROUP_DIAL | WR_GROUP_CONTROL };

const wr_verb wr_verb_at[] = {
    {"run", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "run a pipeline in this process until its input ends",
     "sjPqcdFrA",
     "Ends when all sources have ended. The first SIGINT or SIGTERM stops the sources: what was read is\n"
     "processed, results are written, and the exit code is 0. A second one cancels (130).\n"
     "With --snapshots the job survives a crash: the same command goes on where the newest snapshot in DIR was.\n"
     "There the first signal takes a last snapshot, and the same command goes on from it. A job that has finished\n"
     "says so, and ends with exit code 0. The pipeline may name the folder itself; flags win.\n"
     "Standard output carries data only; progress and the summary go to standard error. With --json the\n"
     "summary is one JSON object, the last line of standard error.\n"
     "What stands behind -- are arguments of the pipeline.",
     1, 1, true, false, wr_cli_run, WR_GROUP_JOB | WR_GROUP_RUNS | WR_GROUP_SLOTS | WR_GROUP_LOG},
    {"build", "SOURCE.c [-o FILE.so] [-- COMPILER FLAGS...]", "compile a pipeline", "oq",
     "Calls $CC (cc without it; $CXX or c++ for .cc, .cpp and .cxx) with the flags of `pkg-config --cflags weir`.", 1,
     1, true, false, wr_cli_build, 0},
    {"check", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "validate a pipeline without running it", "sjc",
     "Loads the file and runs its build function in a process of its own: ABI, CPU, graph, URIs, options, formats.\n"
     "With --json standard output has one object, whose \"problems\" have code, name, operator and text.",
     1, 1, true, false, wr_cli_check, WR_GROUP_JOB},
    {"plan", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "show job graph, chains and execution graph", "sjc", "", 1, 1,
     true, false, wr_cli_plan, WR_GROUP_JOB},
    {"list", "[--json]", "show the jobs, here and in the cluster", "jq",
     "Jobs of this user in processes on this machine, and those of the cluster, ended ones too.", 0, 0, false, false,
     wr_cli_list, CLIENT},
    {"snapshot", "JOB", "let a job take a snapshot now", "jq",
     "JOB is a name or a process id, as `weir list` shows them. Returns when the snapshot is complete.", 1, 1, false,
     false, wr_cli_snapshot, CLIENT},
    {"savepoint", "JOB DIR", "let a job write a savepoint into DIR", "jq",
     "A savepoint stands for itself: it needs no other file, commits nothing, and Weir never deletes it.", 2, 2, false,
     false, wr_cli_savepoint, CLIENT},
    {"stop", "JOB [--savepoint DIR] [--drain]", "end a job so that it can go on", "jqVD",
     "Pauses the sources and takes a last snapshot, which commits what sinks have prepared; then the job ends.\n"
     "With --drain the sources end as if their input had ended: all results come, and the job has finished.",
     1, 1, false, false, wr_cli_stop, CLIENT},
    {"snapshots", "JOB", "show the last snapshots of a job", "j",
     "Newest first: what each took, per phase that of its slowest subtask. --json has every subtask.", 1, 1, false,
     false, wr_cli_snapshots, CLIENT},
    {"state", "PATH [ls | dump [OPERATOR] | get OPERATOR KEY | diff OTHER]", "show what a snapshot or savepoint holds",
     "j",
     "PATH is a snapshot folder (its newest is meant), a manifest (*.wman), or a savepoint's folder. The pipeline\n"
     "is not needed. dump, get and diff print a JSON object per key; diff marks what only PATH (-) and only\n"
     "OTHER (+) has. "
     "KEY is the key as text; several fields are joined by commas.",
     1, 4, false, false, wr_cli_state, 0},
    {"restore", "PATH PIPELINE.so --check [FLAGS] [-- NAME=VALUE...]", "say what a pipeline would make of a snapshot",
     "CAsjc",
     "Per operator: same, converted (field by field), upgraded (by its WEIR_UPGRADE), new, missing (its state would\n"
     "be dropped, which needs --allow-non-restored-state) or refused, with the field. All files are read and\n"
     "verified. Exit code 7 when the pipeline cannot start from it. Nothing runs.",
     2, 2, true, false, wr_cli_restore, WR_GROUP_JOB},
    {"submit", "PIPELINE.so [FLAGS] [-- NAME=VALUE...]", "run a pipeline on the cluster", "sjqcdrAnbf",
     "Builds the pipeline in a process here, ships it with its connectors and files, and waits for its end; Ctrl-C\n"
     "leaves it running, -d does not wait. A file that is shipped by --file lies in the worker's folder under its\n"
     "bare name. Relative paths behind file: in --set are meant from here, those in the pipeline from the worker's\n"
     "folder. --restore takes a snapshot, a savepoint, or `latest`: the newest snapshot of the last job of this name\n"
     "that has some. When that one cannot be read it is refused: nothing older is taken.",
     1, 1, true, false, wr_cli_submit, CLIENT | WR_GROUP_JOB | WR_GROUP_RUNS | WR_GROUP_SUBMIT | WR_GROUP_MEMORY},
    {"wait", "JOB", "wait for the end of a job of the cluster", "j",
     "JOB is a name, an id, or the beginning of an id, here as in all verbs about the cluster's jobs. Exit code 0: it\n"
     "has finished, 5: failed, 130: canceled.",
     1, 1, false, false, wr_cli_wait, CLIENT},
    {"info", "JOB", "show a job of the cluster", "j", "State, attempts, where it runs, snapshots, what failed.", 1, 1,
     false, false, wr_cli_info, CLIENT},
    {"why", "JOB", "say why a job does not run, or does not move", "j",
     "Missing slots, back-pressure and its cause, a watermark that is held back, a failure with its root cause first.",
     1, 1, false, false, wr_cli_why, CLIENT},
    {"top", "[JOB]", "show what the operators of jobs do", "j",
     "Busy, idle, back-pressured, rate and watermark lag of each operator. On a terminal once a second until Ctrl-C.",
     0, 1, false, false, wr_cli_top, CLIENT},
    {"logs", "JOB [-f]", "show what a job's workers have written", "jw",
     "From all TaskManagers that have some of it, each under its name. --json: an object per piece.", 1, 1, false,
     false, wr_cli_logs, CLIENT},
    {"cancel", "JOB", "end a job of the cluster at once", "jq", "Results that are not written yet are lost.", 1, 1,
     false, false, wr_cli_cancel, CLIENT},
    {"rescale", "JOB -p N [--wait]", "run a job of the cluster with another parallelism", "jqW",
     "Takes a snapshot and starts the job anew from it, with N subtasks of each operator that does not say. Where\n"
     "there are too few slots for that it is refused, and the job goes on as it is; --wait goes on asking until there\n"
     "are enough, or Ctrl-C. A job that waits for slots itself can be given fewer.",
     1, 1, false, false, wr_cli_rescale, CLIENT | WR_GROUP_JOB},
    {"taskmanagers", "", "show the cluster's TaskManagers", "j", "", 0, 0, false, false, wr_cli_taskmanagers, CLIENT},
    {"drain", "TASKMANAGER [--undo]", "take a TaskManager out of work", "jqu",
     "It gets no new work, and its jobs move to other slots after a snapshot. --undo gives it work again.", 1, 1, false,
     false, wr_cli_drain, CLIENT},
    {"cluster", "start|stop|status", "a cluster on this machine, for trying things", "tzjq",
     "start: a JobManager and TaskManagers, each a process of its own that stays when the terminal is closed. Clients\n"
     "of this user find it by themselves. Jobs that name no folder take their snapshots into its folder. What stop\n"
     "leaves is there for the next start: jobs go on. status: exit code 3 unless all processes live.",
     1, 1, false, false, wr_cli_cluster, WR_GROUP_CLUSTER},
    {"graph-here", "PIPELINE.so", "what `submit` runs in its child", "scyj", "", 1, 1, true, true, wr_cli_graph_here,
     WR_GROUP_JOB},
    {"config", "[KEY] [--json]", "show every setting, its value and where that came from", "j",
     "A flag wins over a variable (WEIR_KEY, in capitals, with _), that over the configuration file, that over what\n"
     "`weir cluster start` left for clients. The file is what --config or $WEIR_CONFIG names (empty: none), else\n"
     "~/.config/weir/weir.conf, else /etc/weir/weir.conf: lines KEY = VALUE, # begins a comment.",
     0, 1, false, false, wr_cli_config, WR_GROUP_CLUSTER},
    {"jobmanager", "[FLAGS]", "be the JobManager of a cluster", "",
     "Takes jobs, gives them slots of TaskManagers, takes their snapshots and restarts what fails. When it is\n"
     "started again with the same folder, it takes its running jobs back.",
     0, 0, false, false, wr_cli_jobmanager, WR_GROUP_JOBMANAGER | WR_GROUP_CONTROL | WR_GROUP_DAEMON | WR_GROUP_LOG},
    {"taskmanager", "[FLAGS]", "be a TaskManager of a cluster", "",
     "Registers with the JobManager and runs what it is given, one worker process per job.", 0, 0, false, false,
     wr_cli_taskmanager,
     WR_GROUP_TASKMANAGER | WR_GROUP_SLOTS | WR_GROUP_DIAL | WR_GROUP_CONTROL | WR_GROUP_DAEMON | WR_GROUP_LOG |
         WR_GROUP_MEMORY},
    {"worker", "", "what a TaskManager starts for a job", "", "", 0, 0, false, true, wr_cli_worker, 0},
    {"version", "[--json]", "show the version", "j", "", 0, 0, false, false, wr_cli_version, 0},
    {"help", "[VERB]", "show this, or the flags of a verb", "", "", 0, 1, false, false, wr_cli_help, 0},
    {"check-here", "PIPELINE.so", "what `check` runs in its child", "sjc", "", 1, 1, true, true, wr_cli_check_here,
     WR_GROUP_JOB},
};

const uint32_t wr_verbs = sizeof wr_verb_at / sizeof wr_verb_at[0];
