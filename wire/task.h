/* wire/task.h: the states of a subtask, as its worker tells them. */
#ifndef WR_WIRE_TASK_H
#define WR_WIRE_TASK_H

/* Flink's states of an execution attempt, as far as the worker's side knows them. */
typedef enum wr_task_state {
    WR_TASK_CREATED = 1,
    WR_TASK_INITIALIZING, /* loading its state */
    WR_TASK_LOADED,       /* has it, and waits for wr_worker_go; only when it starts from a snapshot */
    WR_TASK_RUNNING,
    WR_TASK_ENDED, /* all input ended, all results given; waits for the last snapshot: wr_worker_finish */
    WR_TASK_FINISHED,
    WR_TASK_CANCELED,
    WR_TASK_FAILED
} wr_task_state;

#endif
