/* graph/plan.h: prints job graph, chains and execution graph for people and for programs. */
#ifndef WR_GRAPH_PLAN_H
#define WR_GRAPH_PLAN_H
#include "graph/exec.h"
#include <stdio.h>

void wr_plan_text(const wr_job *job, const wr_exec *exec, FILE *file); /* exec may be NULL */
void wr_plan_json(const wr_job *job, const wr_exec *exec, FILE *file); /* likewise */

#endif
