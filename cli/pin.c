#include "cli/pin.h"
#include "base/text.h"
#include <sched.h>
#include <string.h>
#include <unistd.h>

static wr_err bad_list(const char *how, wr_errinfo *info)
{
    return wr_fail(info, WR_USAGE, "--pin takes off, auto or CPUs such as 0,2-5, not \"%s\"", how);
}

static bool number(const char **at, uint32_t *value)
{
    size_t   n = strspn(*at, "0123456789");
    uint64_t got;
    if (n == 0 || !wr_text_to_u64(*at, n, &got) || got >= CPU_SETSIZE) return false;
    *value = (uint32_t)got;
    *at += n;
    return true;
}

static wr_err parse_list(wr_pin *pin, const char *how, uint32_t slots, const cpu_set_t *usable, wr_errinfo *info)
{
    uint32_t count = 0;
    for (const char *at = how;; at++) {
        uint32_t from, to;
        if (!number(&at, &from)) return bad_list(how, info);
        to = from;
        if (*at == '-') {
            at++;
            if (!number(&at, &to) || to < from) return bad_list(how, info);
        }
        for (uint32_t cpu = from; cpu <= to; cpu++) {
            if (!CPU_ISSET(cpu, usable)) {
                return wr_fail(info, WR_USAGE, "this process may not use CPU %u; --pin %s; `taskset -p $$` shows which",
                               cpu, how);
            }
            if (count < slots && count < WR_SLOTS_MAX) pin->cpu[count] = (int)cpu;
            count++;
        }
        if (*at == 0) break;
        if (*at != ',') return bad_list(how, info);
    }
    if (count < slots) {
        return wr_fail(info, WR_USAGE, "%u CPUs for %u slots; --pin %s; name one for each slot, or lower -p", count,
                       slots, how);
    }
    pin->on = true;
    return WR_OK;
}

wr_err wr_pin_parse(wr_pin *pin, const char *how, uint32_t slots, wr_errinfo *info)
{
    memset(pin, 0, sizeof *pin);
    if (how != NULL && strcmp(how, "off") == 0) return WR_OK;
    cpu_set_t usable;
    CPU_ZERO(&usable);
    bool known = sched_getaffinity(0, sizeof usable, &usable) == 0;
    if (how != NULL && strcmp(how, "auto") != 0) return parse_list(pin, how, slots, &usable, info);
    if (!known || slots > WR_SLOTS_MAX || CPU_COUNT(&usable) != (int)slots ||
        sysconf(_SC_NPROCESSORS_ONLN) != (long)slots)
        return WR_OK;
    uint32_t slot = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && slot < slots; cpu++)
        if (CPU_ISSET(cpu, &usable)) pin->cpu[slot++] = cpu;
    pin->on = true;
    return WR_OK;
}
