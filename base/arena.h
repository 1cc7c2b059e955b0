/* base/arena.h: memory that is freed as a whole. For the control plane: graphs, plans, names; never per record. */
#ifndef WR_BASE_ARENA_H
#define WR_BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>

typedef struct wr_arena_chunk wr_arena_chunk;

/* One owner, one thread. Zero is an empty arena. */
typedef struct wr_arena {
    wr_arena_chunk *chunk; /* newest first */
    size_t          used;  /* bytes of the newest chunk */
    size_t          bytes; /* all memory taken from the system */
} wr_arena;

void wr_arena_init(wr_arena *arena);
void wr_arena_fini(wr_arena *arena); /* frees everything; the arena is empty after it */

/* Zeroed memory, aligned to 16. Never NULL: out of memory on the control plane ends the process with a message. */
void *wr_arena_get(wr_arena *arena, size_t bytes);
void *wr_arena_get_aligned(wr_arena *arena, size_t bytes, size_t align); /* align: a power of two up to 4096 */
#define wr_arena_array(ARENA, TYPE, COUNT)                                                                             \
    ((TYPE *)wr_arena_get_aligned(ARENA, wr_arena_times_(COUNT, sizeof(TYPE)), _Alignof(TYPE)))
size_t wr_arena_times_(size_t count, size_t size); /* checks for overflow */

char *wr_arena_copy(wr_arena *arena, const void *bytes, size_t count); /* with a zero byte behind it */
char *wr_arena_str(wr_arena *arena, const char *text);                 /* NULL stays NULL */
char *wr_arena_printf(wr_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
