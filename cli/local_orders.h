/* cli/local_orders.h: what a coordinator says to the one worker of a job in this process. */
#ifndef WR_CLI_LOCAL_ORDERS_H
#define WR_CLI_LOCAL_ORDERS_H
#include "jobmanager/origin.h"
#include "taskmanager/worker.h"
#include "wire/control.h"

void wr_local_order(wr_worker *w, const wr_worker_order *order);
/* What the worker must know about its snapshots; before it is made. */
void wr_local_configure(wr_worker_options *options, const wr_origin *origin, int64_t timeout_ms);

#endif
