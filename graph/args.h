/* graph/args.h: the arguments of a pipeline ("limit=120" behind `--`) and those of one operator (.args) before them. */
#ifndef WR_GRAPH_ARGS_H
#define WR_GRAPH_ARGS_H
#include "base/arena.h"
#include "base/error.h"
#include <weir/op.h>

typedef struct wr_arg {
    const char *name, *value;
} wr_arg;

/* Called when a value does not parse; `text` names argument and value and lives during the call only. */
typedef void wr_args_bad(void *self, const char *text);

/* Caller's storage or an arena's. Read only after it is made, but `bad` runs in the thread that asks: so every
 * subtask that may ask has a struct of its own (wr_args_view), all over the same list. */
struct weir_args {
    const weir_args *parent; /* asked for what is not here; or NULL */
    const wr_arg    *arg;
    uint32_t         count;
    wr_args_bad     *bad; /* or NULL: the default is used without a word */
    void            *self;
};

/* Of "name=value" texts. A text that is none, or a name that stands twice, fails (WR_CONFIG). */
wr_err wr_args_new(wr_arena *arena, const char *const texts[], uint32_t count, const weir_args **args,
                   wr_errinfo *info);
/* Of one text, parted by blanks, in front of its parent: the .args of an operator. NULL or "" gives an empty list. */
wr_err wr_args_parse(wr_arena *arena, const char *text, const weir_args *parent, const weir_args **args,
                     wr_errinfo *info);
/* The same list, with a report of one's own: the runtime makes one for each subtask. Copies nothing. */
weir_args wr_args_view(const weir_args *of, wr_args_bad *bad, void *self);

#endif
