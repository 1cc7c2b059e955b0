/* cli/prepare.h: from a build function to an execution graph: what run, plan, check and an embedding program have in
 * common. */
#ifndef WR_CLI_PREPARE_H
#define WR_CLI_PREPARE_H
#include "cli/options.h"
#include "graph/exec.h"

typedef struct wr_prepare_spec {
    const char *name;
    void (*build)(weir_pipeline *p);
    const char *const *args; /* "name=value" */
    uint32_t           arg_count;
    const char *const *set; /* "NAME=URI" */
    uint32_t           sets;
    uint32_t           parallelism;         /* 0: not given */
    uint32_t           parallelism_default; /* of operators, when neither flag nor pipeline says */
    /* Between the build function and the validation, or NULL: *restore is what the job starts from, or stays NULL. */
    wr_err (*origin)(void *self, const char *job, const weir_pipeline *p, const wr_manifest **restore,
                     wr_errinfo *info);
    void *self;
} wr_prepare_spec;

/* Owner: who made it, one thread. Zero is empty. */
typedef struct wr_prepared {
    weir_pipeline *pipeline;
    const wr_job  *job; /* both NULL when it failed */
    wr_exec       *exec;
    const char    *name; /* of the pipeline, once its file is loaded */
} wr_prepared;

/* Runs the build function, finishes the job and expands it. On failure the problems can still be listed. */
wr_err wr_prepare(wr_prepared *p, const wr_prepare_spec *spec, wr_errinfo *info);
void   wr_prepared_fini(wr_prepared *p);

/* For verbs: loads connectors and the pipeline file, then prepares. Prints whatever is wrong, all of it; gives the
 * exit code. */
int wr_prepare_file(wr_prepared *p, const wr_options *options);
/* The same in two steps: after a failure *p and info say what is wrong until wr_prepared_fini. */
wr_err wr_prepare_try(wr_prepared *p, const wr_options *options, wr_errinfo *info);
int    wr_prepare_print(const wr_prepared *p, const wr_errinfo *info);
/* The same, with wr_prepare_spec.origin. */
int wr_prepare_file_from(wr_prepared *p, const wr_options *options,
                         wr_err (*origin)(void *self, const char *job, const weir_pipeline *p,
                                          const wr_manifest **restore, wr_errinfo *info),
                         void *self);

#endif
