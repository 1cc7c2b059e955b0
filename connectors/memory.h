/* connectors/memory.h: what an embedding program gives to "test:" sources and takes from "collect:" sinks. */
#ifndef WR_CONNECTORS_MEMORY_H
#define WR_CONNECTORS_MEMORY_H
#include <stdbool.h>
#include <stdint.h>
#include <weir/types.h>

/* ---- test: -----------------------------------------------------------------------------------------------------
 * A queue of records. It keeps all of them, so that a source that is set back reads them again. The source "test:NAME"
 * takes the queue NAME, and "test:" the one that is called like its operator. */
typedef struct wr_test_queue wr_test_queue;

/* Before the source opens. NULL: there is a queue of that name. type must outlive the queue. */
wr_test_queue *wr_test_queue_new(const char *name, const weir_type *type);
void           wr_test_queue_free(wr_test_queue *queue); /* not while a source has it open; takes NULL */
/* Copies the record and its strings. One thread pushes; it need not be the slot's. */
void     wr_test_queue_push(wr_test_queue *queue, const void *record);
void     wr_test_queue_end(wr_test_queue *queue); /* no further record will come */
uint64_t wr_test_queue_count(const wr_test_queue *queue);
/* Called after each push and at the end, on that thread: to wake a slot that waits. NULL: nobody. */
void wr_test_queue_on_push(wr_test_queue *queue, void (*wake)(void *arg), void *arg);

/* ---- collect: --------------------------------------------------------------------------------------------------
 * Records that reached the sink "collect:NAME" (without NAME: called like its operator), in each subtask's order. */
typedef struct wr_collector wr_collector;

/* Before the sink opens. bytes_max: more than that at once fails the job; 0: WR_OVERDRAFT_BYTES_MAX. */
wr_collector *wr_collector_new(const char *name, const weir_type *type, uint64_t bytes_max);
void          wr_collector_free(wr_collector *collector); /* not while a sink has it open; takes NULL */
/* The oldest record that was not taken; false: none. Its strings live until the next call. One thread takes. */
bool     wr_collector_take(wr_collector *collector, void *record);
uint64_t wr_collector_count(const wr_collector *collector); /* collected so far, taken or not; any thread */

#endif
