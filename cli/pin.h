/* cli/pin.h: which CPU each slot runs on: --pin off|auto|LIST. */
#ifndef WR_CLI_PIN_H
#define WR_CLI_PIN_H
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

/* Caller's storage. */
typedef struct wr_pin {
    int  cpu[WR_SLOTS_MAX];
    bool on; /* false: no slot is pinned */
} wr_pin;

/* how: NULL is "auto". auto pins when there is one slot for each CPU of the machine and this process may use all of
 * them: with fewer slots the system finds idle CPUs better than we do, and on a part of a machine others may sit. */
wr_err wr_pin_parse(wr_pin *pin, const char *how, uint32_t slots, wr_errinfo *info);

#endif
