#include "taskmanager/command.h"
#include <stdlib.h>
#include <string.h>

void wr_mail_init(wr_mail *m)
{
    memset(m, 0, sizeof *m);
    wr_ring_init(&m->orders, WR_RING_SLOTS_MAX);
    wr_ring_init(&m->acks, WR_RING_SLOTS_MAX);
    m->kept_end = &m->kept;
}

void wr_mail_fini(wr_mail *m)
{
    for (wr_order *o; (o = wr_ring_pop(&m->orders)) != NULL;) free(o);
    for (wr_ack *a; (a = wr_ring_pop(&m->acks)) != NULL;) wr_ack_free(a);
    while (m->kept != NULL) {
        wr_order *o = m->kept;
        m->kept = o->next;
        free(o);
    }
    for (uint32_t i = 0; i < m->unsents; i++) wr_ack_free(m->unsent[i]);
    free(m->unsent);
    memset(m, 0, sizeof *m);
}

/* ---- the worker's owner ---- */

bool wr_mail_retry(wr_mail *m)
{
    bool sent = false;
    while (m->kept != NULL) {
        wr_order *o = m->kept, *next = o->next; /* read before the push: afterwards it is the slot's */
        if (!wr_ring_push(&m->orders, o)) break;
        m->kept = next;
        sent = true;
    }
    if (m->kept == NULL) m->kept_end = &m->kept;
    return sent;
}

void wr_mail_order(wr_mail *m, const wr_order *order)
{
    wr_order *o = malloc(sizeof *o);
    check(o != NULL);
    *o = *order;
    o->next = NULL;
    *m->kept_end = o;
    m->kept_end = &o->next;
    wr_mail_retry(m);
}

wr_ack *wr_mail_ack(wr_mail *m)
{
    return wr_ring_pop(&m->acks);
}

/* ---- the slot ---- */

bool wr_mail_flush(wr_mail *m)
{
    uint32_t sent = 0;
    while (sent < m->unsents && wr_ring_push(&m->acks, m->unsent[sent])) sent++;
    m->unsents -= sent;
    if (sent > 0) memmove(m->unsent, m->unsent + sent, m->unsents * sizeof *m->unsent);
    return m->unsents == 0;
}

void wr_mail_answer(wr_mail *m, wr_ack *ack)
{
    if (wr_mail_flush(m) && wr_ring_push(&m->acks, ack)) return;
    if (m->unsents == m->unsents_max) {
        m->unsents_max = m->unsents_max ? 2 * m->unsents_max : 8;
        m->unsent = realloc(m->unsent, m->unsents_max * sizeof(wr_ack *));
        check(m->unsent != NULL);
    }
    m->unsent[m->unsents++] = ack;
}
