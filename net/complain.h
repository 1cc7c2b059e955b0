/* net/complain.h: log lines about what strangers send: a few per second, then only how many there were. */
#ifndef WR_NET_COMPLAIN_H
#define WR_NET_COMPLAIN_H
#include "base/env.h"
#include "base/log.h"

/* Owner: the listener that it belongs to. Zero at first. */
typedef struct wr_complaints {
    int64_t  second_ns; /* when the present second began */
    uint32_t said, unsaid;
} wr_complaints;

void wr_complain(wr_complaints *c, const wr_env *env, wr_log_level level, const char *where, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
