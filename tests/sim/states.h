/* tests/sim/states.h: what a snapshot says of sources and keyed operators, next to what the reference says. */
#ifndef WR_SIM_STATES_H
#define WR_SIM_STATES_H
#include "graph/exec.h"
#include "taskmanager/worker.h"
#include "tests/sim/crash.h"
#include "wire/manifest.h"

/* How far each split had come. False: the snapshot has nothing of a source. why: "", or what is wrong. */
bool sim_positions(const sim_plan *plan, const wr_manifest *m, uint64_t emitted[SIM_SOURCES][SIM_SPLITS],
                   char why[256]);
/* Adds what that worker has loaded of the node, and counts its subtasks. why: that event time has gone back. */
void sim_digest_loaded(const sim_node *n, const wr_manifest *m, const wr_job *job, wr_worker *worker, sim_digest *got,
                       uint32_t *tables, char why[256]);
/* The reference can say what a node had when the sources were there. */
bool sim_state_known(const sim_plan *plan, uint32_t node, uint64_t emitted[SIM_SOURCES][SIM_SPLITS]);
#endif
