#include "base/arena.h"
#include "base/check.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wr_arena_chunk {
    wr_arena_chunk *older;
    size_t          bytes; /* of data */
    _Alignas(16) char data[];
};

enum { CHUNK_BYTES = 16 * 1024 };

void wr_arena_init(wr_arena *arena)
{
    memset(arena, 0, sizeof *arena);
}

void wr_arena_fini(wr_arena *arena)
{
    for (wr_arena_chunk *chunk = arena->chunk, *older; chunk != NULL; chunk = older) {
        older = chunk->older;
        free(chunk);
    }
    wr_arena_init(arena);
}

size_t wr_arena_times_(size_t count, size_t size)
{
    size_t bytes;
    check(!__builtin_mul_overflow(count, size, &bytes));
    return bytes;
}

static void grow(wr_arena *arena, size_t bytes)
{
    size_t          want = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    wr_arena_chunk *chunk = calloc(1, sizeof *chunk + want);
    if (chunk == NULL) {
        fprintf(stderr, "weir: out of memory: %zu bytes for the control plane\n", want);
        exit(1);
    }
    chunk->older = arena->chunk;
    chunk->bytes = want;
    arena->chunk = chunk;
    arena->used = 0;
    arena->bytes += sizeof *chunk + want;
}

void *wr_arena_get_aligned(wr_arena *arena, size_t bytes, size_t align)
{
    check(align != 0 && align <= 4096 && (align & (align - 1)) == 0);
    check(bytes <= SIZE_MAX / 4);
    for (;;) {
        if (arena->chunk != NULL) {
            uintptr_t base = (uintptr_t)arena->chunk->data;
            size_t    from = (size_t)(((base + arena->used + align - 1) & ~(uintptr_t)(align - 1)) - base);
            if (from <= arena->chunk->bytes && bytes <= arena->chunk->bytes - from) {
                arena->used = from + bytes;
                return arena->chunk->data + from;
            }
        }
        grow(arena, bytes + align);
    }
}

void *wr_arena_get(wr_arena *arena, size_t bytes)
{
    return wr_arena_get_aligned(arena, bytes, 16);
}

char *wr_arena_copy(wr_arena *arena, const void *bytes, size_t count)
{
    char *copy = wr_arena_get_aligned(arena, count + 1, 1);
    if (count > 0) memcpy(copy, bytes, count);
    return copy;
}

char *wr_arena_str(wr_arena *arena, const char *text)
{
    return text == NULL ? NULL : wr_arena_copy(arena, text, strlen(text));
}

char *wr_arena_printf(wr_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int count = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check(count >= 0);
    char *text = wr_arena_get_aligned(arena, (size_t)count + 1, 1);
    vsnprintf(text, (size_t)count + 1, format, again);
    va_end(again);
    return text;
}
