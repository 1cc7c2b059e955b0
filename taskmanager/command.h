/* taskmanager/command.h: what the worker's owner tells a subtask about snapshots, and what it hears back. Two queues
 * between two threads; what does not fit waits on the side that wanted to send it. */
#ifndef WR_TASKMANAGER_COMMAND_H
#define WR_TASKMANAGER_COMMAND_H
#include "base/ring.h"
#include "wire/snapshot.h"

enum wr_order_kind {
    WR_ORDER_TRIGGER = 1, /* subtasks without input channels: send the barrier */
    WR_ORDER_ABORT,       /* barrier.id will not complete */
    WR_ORDER_COMPLETE,    /* barrier.id is durable */
    WR_ORDER_FILE,        /* `file` is there for its keyed state in snapshot barrier.id */
    WR_ORDER_FINISH       /* nothing more is wanted of it: it finishes without further results */
};

/* Owner's until it is in the ring, then the subtask's, which frees it. */
typedef struct wr_order {
    uint32_t         kind; /* enum wr_order_kind */
    wr_barrier       barrier;
    int64_t          at_mono_ns;
    int              file;
    struct wr_order *next;
} wr_order;

/* Orders: pushed by the worker's owner, popped by the slot. Acks: the other way. */
typedef struct wr_mail {
    wr_ring   orders, acks;
    wr_order *kept, **kept_end; /* owner's: did not fit */
    wr_ack  **unsent;           /* slot's: likewise */
    uint32_t  unsents, unsents_max;
} wr_mail;

void wr_mail_init(wr_mail *m);
void wr_mail_fini(wr_mail *m); /* both threads have ended */

/* Worker's owner. Takes a copy. What was sent before is delivered before. */
void wr_mail_order(wr_mail *m, const wr_order *order);
/* Worker's owner. Tries to send what was kept; true: something left. */
bool wr_mail_retry(wr_mail *m);
/* Worker's owner. NULL: none; the caller frees it. */
wr_ack *wr_mail_ack(wr_mail *m);

/* Slot. The next order, to be freed; NULL: none. */
static inline wr_order *wr_mail_next(wr_mail *m)
{
    return wr_ring_pop(&m->orders);
}
/* Slot. The ack is the owner's from now on. */
void wr_mail_answer(wr_mail *m, wr_ack *ack);
/* Slot. Tries to send what was kept. True: nothing is kept any more. */
bool wr_mail_flush(wr_mail *m);
#endif
