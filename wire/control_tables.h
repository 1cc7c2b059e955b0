/* wire/control_tables.h: inside wire/ only: the members of every kind of message. */
#ifndef WR_WIRE_CONTROL_TABLES_H
#define WR_WIRE_CONTROL_TABLES_H
#include "wire/control.h"
#include "wire/members.h"

/* What a kind has besides the head. */
typedef struct wr_message_body {
    uint32_t         kind;
    const char      *name; /* "HEARTBEAT" */
    const wr_struct *of;
    uint32_t         at; /* in wr_message; ACK: where the pointer stands */
} wr_message_body;

const wr_message_body *wr_message_body_of(uint32_t kind); /* NULL: nobody knows this kind */
extern const wr_struct wr_job_spec_struct;

#endif
