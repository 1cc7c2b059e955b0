/* cli/control.h: how people talk to a running job: one socket per job in a
 * folder that only its user can enter. The server's side; cli/client.c is the
 * other one, cli/control_wire.h what they say to each other. */
#ifndef WR_CLI_CONTROL_H
#define WR_CLI_CONTROL_H
#include "base/env.h"
#include "base/error.h"

/* Owner: the thread of its wr_local, which calls everything. */
typedef struct wr_control wr_control;
struct wr_local;
struct wr_exec;

typedef struct wr_control_config {
    const wr_env         *env;
    struct wr_local      *local;
    const struct wr_exec *exec;
} wr_control_config;

wr_err wr_control_open(wr_control **take, const wr_control_config *config, wr_errinfo *info);
/* Descriptors at which something may come: at most WR_PARK_FDS_MAX. */
uint32_t wr_control_fds(const wr_control *c, int fd[WR_PARK_FDS_MAX]);
/* Reads and obeys what has come; never waits for more. */
void wr_control_step(wr_control *c);
/* What somebody waits for has come to its end: why is NULL, or says why not.
 * Unknown tickets are harmless. */
void wr_control_answer(wr_control *c, uint64_t ticket, uint64_t id, const wr_errinfo *why);
/* Whoever still waits learns by the end of its connection that the job is gone.
 * NULL is nothing. */
void wr_control_close(wr_control *c);

/* ---- the folder, for both sides ---- */
/* $XDG_RUNTIME_DIR/weir, or /tmp/weir-UID: made when it is not there (make),
 * and refused unless it is a folder of ours that nobody else can enter. */
wr_err wr_control_folder(char to[WR_PATH_BYTES_MAX], bool make, wr_errinfo *info);
/* Whether jobs of this user may be in another one than `but`, which the above has named, and in which: a login has
 * XDG_RUNTIME_DIR=/run/user/UID, and what cron, su or a service starts has none. Held to the same. */
bool wr_control_other_folder(char to[WR_PATH_BYTES_MAX], const char *but);
/* A socket address by way of an open folder, so that the path may be as long as
 * it likes. Returns its length. */
struct sockaddr_un;
uint32_t wr_control_address(struct sockaddr_un *to, int folder, const char *name);

#endif
