/* taskmanager/heads.h: where streams begin: enumerators, and sources that read their splits. */
#ifndef WR_TASKMANAGER_HEADS_H
#define WR_TASKMANAGER_HEADS_H
#include "taskmanager/tasklet.h"

/* One step of a source: takes what its enumerator sent, polls. True: did something. */
bool wr_heads_read(wr_tasklet *t);
/* One step of an enumerator, on a thread of its own, where user code may block. */
enum wr_called wr_heads_enumerate(wr_tasklet *t);
/* Looks for splits, and says when it is due again. False: the enumerator's operator knows why. */
bool wr_heads_discover(wr_tasklet *t);
#endif
