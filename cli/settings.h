/* cli/settings.h: everything that can be configured, from one table (settings.def), and where each value came from. A
 * flag wins over a variable (WEIR_KEY), that over the configuration file, that over what `weir cluster start` left for
 * clients of this user, that over the default. */
#ifndef WR_CLI_SETTINGS_H
#define WR_CLI_SETTINGS_H
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wr_setting_group { /* which verbs take it as a flag */
                        WR_GROUP_DIAL = 1,
                        WR_GROUP_CONTROL = 2,
                        WR_GROUP_ASK = 4,
                        WR_GROUP_LOG = 8,
                        WR_GROUP_DAEMON = 16,
                        WR_GROUP_JOBMANAGER = 32,
                        WR_GROUP_TASKMANAGER = 64,
                        WR_GROUP_MEMORY = 128,
                        WR_GROUP_JOB = 256,
                        WR_GROUP_RUNS = 512,
                        WR_GROUP_SUBMIT = 1024,
                        WR_GROUP_CLUSTER = 2048,
                        WR_GROUP_SLOTS = 4096 /* of whoever has slots in its processes */
};

typedef enum wr_setting {
#define X(NAME, KEY, FLAG, GROUP, KIND, DEFAULT, VALUE, HELP) WR_SET_##NAME,
#include "cli/settings.def"
#undef X
    WR_SETTINGS
} wr_setting;

enum wr_setting_source { WR_FROM_DEFAULT, WR_FROM_CLUSTER, WR_FROM_FILE, WR_FROM_VARIABLE, WR_FROM_FLAG };

/* Owner: the main thread. Values are checked texts; zero is: all defaults. */
typedef struct wr_settings {
    const char *value[WR_SETTINGS]; /* NULL: the default */
    uint8_t     source[WR_SETTINGS];
    uint32_t    line[WR_SETTINGS];                                   /* of the file */
    char        file[WR_PATH_BYTES_MAX], cluster[WR_PATH_BYTES_MAX]; /* that were read; "": none */
    char       *bytes[2];                                            /* their content, into which values point */
} wr_settings;

/* ---- the table ---- */
const char *wr_setting_key(wr_setting s);
const char *wr_setting_flag(wr_setting s); /* without dashes */
const char *wr_setting_help(wr_setting s);
const char *wr_setting_default(wr_setting s); /* "": none */
const char *wr_setting_takes(wr_setting s);   /* "HOST:PORT"; NULL: nothing, it is switched on */
uint32_t    wr_setting_groups(wr_setting s);
void        wr_setting_variable(wr_setting s, char to[64]); /* "WEIR_HEARTBEAT_INTERVAL" */
/* Whether the text is a value of it; `where` ("--timeout", "weir.conf:3") is for the error. */
wr_err wr_setting_check(wr_setting s, const char *text, const char *where, wr_errinfo *info);
int    wr_setting_find(const char *key); /* -1: none */

/* ---- values ---- */
/* Reads the files and the environment; what has come by flag stays. config: the file, or NULL: $WEIR_CONFIG, else
 * ~/.config/weir/weir.conf, else /etc/weir/weir.conf, whichever is there first. cluster: also what `weir cluster start`
 * has left for those who want to reach its JobManager; another JobManager does not want its addresses and token. */
wr_err wr_settings_load(wr_settings *s, const char *config, bool cluster, wr_errinfo *info);
/* Checks and takes the lines of a file; text is written to and must outlive s. */
wr_err wr_settings_parse(wr_settings *s, char *text, const char *path, uint32_t source, wr_errinfo *info);
void   wr_settings_free(wr_settings *s);

const char *wr_setting_text(const wr_settings *s, wr_setting which); /* "" when there is none */
int64_t     wr_setting_ms(const wr_settings *s, wr_setting which);   /* 0 when there is none, likewise below */
uint64_t    wr_setting_bytes(const wr_settings *s, wr_setting which);
uint32_t    wr_setting_count(const wr_settings *s, wr_setting which);
/* THREADS: auto is as many as there are CPUs that no slot has. */
uint32_t wr_setting_threads(const wr_settings *s, wr_setting which, uint32_t cpus, uint32_t slots);
bool     wr_setting_on(const wr_settings *s, wr_setting which);
uint32_t wr_setting_permille(const wr_settings *s, wr_setting which); /* of a factor */
bool     wr_setting_given(const wr_settings *s, wr_setting which);    /* not the default */

/* ---- places ---- */
/* $XDG_STATE_HOME/weir/NAME, or ~/.local/state/weir/NAME. */
wr_err wr_state_folder(char to[WR_PATH_BYTES_MAX], const char *name, wr_errinfo *info);
/* What TASKMANAGER_DIR, JOBMANAGER_DIR and CLUSTER_DIR say, or their defaults. */
wr_err wr_jobmanager_dir(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info);
wr_err wr_cluster_dir(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info);
/* The token that a client or TaskManager has; to: WR_TOKEN_BYTES_MAX. */
wr_err wr_token_path(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info);
wr_err wr_cli_token(const wr_settings *s, char *to, size_t room, wr_errinfo *info);
wr_err wr_make_folders(const char *path, wr_errinfo *info); /* like mkdir -p, mode 0700 for new ones */
/* A path that other processes understand, whatever their working directory; a leading "file:" goes. */
wr_err wr_absolute(char to[WR_PATH_BYTES_MAX], const char *path, wr_errinfo *info);

#endif
