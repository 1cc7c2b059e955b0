/* connectors/connectors.h: the built-in connectors, and how one is found by the scheme of a URI. */
#ifndef WR_CONNECTORS_CONNECTORS_H
#define WR_CONNECTORS_CONNECTORS_H
#include "base/error.h"
#include "graph/job.h"
#include <weir/connector.h>
#include <weir/io.h>

/* Sources and sinks by URI hold records of the stream's type, which the endpoint knows. */
extern const weir_type *const wr_endpoint_out[1]; /* NULL: the endpoint's type */
#define WR_CONNECTOR_OP(KIND, NAME)                                                                                    \
    .abi_size = sizeof(weir_op), .kind = (KIND), .name = (NAME), .file = __FILE__, .line = __LINE__

/* X(name): wr_connector_NAME is its descriptor. The order is that of `weir connectors` and of the docs. */
#define WR_CONNECTORS(X)            X(file) X(stdin) X(generator) X(test) X(print) X(collect) X(blackhole)
#define WR_CONNECTOR_DECLARE_(NAME) extern const weir_connector wr_connector_##NAME;
WR_CONNECTORS(WR_CONNECTOR_DECLARE_)
#undef WR_CONNECTOR_DECLARE_

/* Built in or loaded; n bytes of scheme. NULL: there is none, and *did_you_mean is a scheme that may have been meant,
 * or NULL. Any thread, once all wr_connector_load calls are done. */
const weir_connector *wr_connector_find(const char *scheme, size_t n, const char **did_you_mean);
/* The same, and a check of a finished endpoint: members of wr_job_settings. */
const weir_connector *wr_connector_resolve(void *self, const char *scheme, size_t n, const char **did_you_mean);
wr_err wr_connector_inspect(void *self, const struct weir_endpoint *endpoint, bool sink, wr_errinfo *info);
/* Sinks that would write over each other, or over what a source reads. self: a const wr_env *, or NULL: nobody may look
 * at files. */
void wr_connector_compare(void *self, const wr_node *const node[], uint32_t n, bool restores, wr_job_clash *clash,
                          void *to);
/* Connector i of all, built-in ones first, or NULL behind the last. For help. */
const weir_connector *wr_connector_at(uint32_t i);

/* Loads a third party's connector: a .so that exports `const weir_connector weir_connector_v1`. Everything in it is
 * checked before it is used. It stays loaded until the process ends. Not while jobs are built; one thread. */
wr_err wr_connector_load(const char *path, wr_errinfo *info);
/* Whether a descriptor can be used; place names it for people. */
wr_err wr_connector_check(const weir_connector *connector, const char *place, wr_errinfo *info);

extern const weir_op wr_file_source, wr_file_sink;
/* A file of a sink without exactly once that several subtasks write: "part-00001". */
bool wr_file_is_part(const char *name, uint32_t *number);
/* Values that are none, before anything runs; of files also options that only the other direction has. */
wr_err wr_file_check_options(const struct weir_endpoint *endpoint, bool sink, wr_errinfo *info);
wr_err wr_print_check_options(const struct weir_endpoint *endpoint, wr_errinfo *info);
wr_err wr_generator_check_options(const struct weir_endpoint *endpoint, wr_errinfo *info);

#endif
