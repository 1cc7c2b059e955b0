/* cli/child.h: the build function runs in a process of its own: a crash or an endless loop of it harms nobody. */
#ifndef WR_CLI_CHILD_H
#define WR_CLI_CHILD_H
#include "cli/prepare.h"

/* Exit code of check-here when all is well: 0 is what a build function gives that ends the process. */
enum { WR_CHILD_CHECKED = 99 };
/* Added to its exit code otherwise, when it has written the problems as JSON: a crash leaves that to the parent. */
enum { WR_CHILD_TOLD = 64 };
/* `weir check --json` of what is wrong: the problems of the pipeline, or without any info alone. p may be NULL. */
void wr_check_tell(const wr_prepared *p, const wr_errinfo *info);

/* What graph-here tells about a pipeline. Owner: who got it; zero is empty. */
typedef struct wr_child_graph {
    char       *bytes;            /* all that follows points into it */
    const char *name, *snapshots; /* snapshots: the folder that the pipeline wants; "": none */
    const char *gone; /* "", or why it cannot take snapshots: what a restart takes back cannot be read again */
    int64_t     snapshot_interval_ms;
    const char *graph;
    size_t      graph_bytes;
    uint32_t    slots; /* that it wants */
} wr_child_graph;

/* `weir VERB ...` with the flags about the pipeline that o has. folder: where it runs, NULL: here. until_ns: when its
 * user's patience ends (monotonic; INT64_MAX: never): then it is ended, and anyhow after 30 s. The child says itself
 * what is wrong; the exit code. */
int  wr_child_check(const wr_options *o);
int  wr_child_graph_of(const wr_options *o, const char *folder, int64_t until_ns, wr_child_graph *graph);
void wr_child_graph_free(wr_child_graph *g);

#endif
