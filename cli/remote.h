/* cli/remote.h: a client's connection to the JobManager: one request, what comes back, and the user's patience. */
#ifndef WR_CLI_REMOTE_H
#define WR_CLI_REMOTE_H
#include "cli/options.h"
#include "net/peers_nng.h"
#include "wire/control.h"

/* Owner: the main thread. */
typedef struct wr_link wr_link;

/* Dials and greets. WR_UNREACHABLE, and what a refusal says. until_ns: mono; INT64_MAX: as long as it takes (the dial
 * itself then has 10 s). */
wr_err wr_link_open(wr_link **take, const wr_settings *s, int64_t until_ns, wr_errinfo *info);
void   wr_link_close(wr_link *l); /* NULL is nothing */
/* What a verb may take: --timeout, else 30 s for a verb that only reads, else for ever. */
int64_t wr_link_until(const wr_options *o, bool reads);

/* Sends a request; `each` (may be NULL) gets every PROGRESS. *reply: wr_message_free it. A reply that says why not is
 * no error of this call; TIMEOUT (which says how the job stands), UNREACHABLE, CANCELED (interrupted) are. again: when
 * the connection is lost, for up to 60 s the request is said once more on a new one: for what may be said twice. */
wr_err wr_link_ask(wr_link *l, const wr_request *ask, bool again, void (*each)(void *self, const wr_reply *piece),
                   void *self, wr_message *reply, wr_errinfo *info);
/* Sends a file, unless the JobManager has it. ref->digest, bytes are filled in by wr_blob_describe. */
wr_err wr_link_put(wr_link *l, const char *path, const wr_blob_ref *ref, wr_errinfo *info);
wr_err wr_link_get(wr_link *l, const wr_blob_ref *ref, const char *path, wr_errinfo *info);
wr_err wr_blob_describe(const char *path, wr_blob_ref *ref, wr_errinfo *info);

/* One message, the first that answers it (free it). A number for the request is drawn when it has none. */
wr_err wr_link_exchange(wr_link *l, wr_message *m, wr_message *reply, wr_errinfo *info);

/* From now on it gives up then. */
void wr_link_patience(wr_link *l, int64_t until_ns);

/* From now on the first SIGINT or SIGTERM ends wr_link_ask with CANCELED. */
void        wr_link_obey_signals(wr_link *l);
bool        wr_link_interrupted(void);
void        wr_link_pause(wr_link *l, int64_t ns); /* or until it is interrupted */
const char *wr_link_address(const wr_link *l);

/* ---- for verbs ---- */
/* Whether the user has a cluster: an address that somebody named, or a token where ours would be. */
bool wr_cluster_known(const wr_settings *s);
/* One request with its job, printed; the exit code. */
int wr_ask_verb(const wr_options *o, wr_request *ask, bool reads);
/* The verbs that local jobs have, too: with the cluster's job of that name. */
int wr_ask_job(const wr_options *o, const char *verb);
/* Whether the cluster has such a job: OK, WR_NO_JOB, or why it cannot say. */
wr_err wr_ask_has(const wr_options *o, const char *job, wr_errinfo *info);
int    wr_ask_list(const wr_options *o, char **out, size_t *n); /* malloc'ed; exit code */

#endif
