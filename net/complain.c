#include "net/complain.h"

enum { PER_SECOND = 5 };

void wr_complain(wr_complaints *c, const wr_env *env, wr_log_level level, const char *where, const char *format, ...)
{
    if (!wr_log_wanted(level)) return;
    int64_t now = env->mono_ns(env->self);
    if (c->second_ns == 0 || now - c->second_ns >= 1000000000) {
        if (c->unsaid > 0) wr_log_line(level, where, "%u more complaints like the last ones", c->unsaid);
        *c = (wr_complaints){.second_ns = now};
    }
    if (c->said == PER_SECOND) {
        c->unsaid++;
        return;
    }
    c->said++;
    va_list args;
    va_start(args, format);
    wr_log_vline(level, where, format, args);
    va_end(args);
}
