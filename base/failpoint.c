/* The environment is read once, at the first call; then every other place costs a load and a branch. */
#include "base/failpoint.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Atomic int wr_failpoint_state;

/* Written by whoever comes first, before the state says 2; the same values by everybody who comes at once. */
static const char      *wanted;
static size_t           wanted_bytes;
static uint64_t         wanted_time;
static _Atomic uint64_t times;

static int read_environment(void)
{
    const char *text = getenv("WEIR_FAILPOINT");
    if (text == NULL || text[0] == 0) return 1;
    size_t   n = strcspn(text, ":");
    uint64_t time = 1;
    if (text[n] == ':' && (!wr_text_to_u64(text + n + 1, strlen(text + n + 1), &time) || time == 0)) return 1;
    wanted = text;
    wanted_bytes = n;
    wanted_time = time;
    return 2;
}

void wr_failpoint_slow(const char *name)
{
    int state = atomic_load_explicit(&wr_failpoint_state, memory_order_acquire);
    if (state == 0) {
        state = read_environment();
        atomic_store_explicit(&wr_failpoint_state, state, memory_order_release);
    }
    if (state != 2 || strlen(name) != wanted_bytes || memcmp(name, wanted, wanted_bytes) != 0) return;
    if (atomic_fetch_add(&times, 1) + 1 != wanted_time) return;
    kill(getpid(), SIGKILL);
    for (;;) pause(); /* the signal is on its way, and nothing more may happen here */
}
