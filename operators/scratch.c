#include "base/check.h"
#include "operators/op.h"
#include <stdio.h>
#include <stdlib.h>

/* Owned by its wr_scratch. */
struct wr_scratch_chunk {
    struct wr_scratch_chunk *next;
    size_t                   bytes;
    char                     memory[];
};

static struct wr_scratch_chunk *chunk_new(size_t bytes)
{
    struct wr_scratch_chunk *c = malloc(sizeof *c + bytes);
    if (c == NULL) {
        fprintf(stderr, "weir: out of memory for %zu bytes of strings\n", bytes);
        abort();
    }
    c->bytes = bytes;
    c->next = NULL;
    return c;
}

void *wr_scratch_take(wr_scratch *s, size_t bytes)
{
    size_t rounded = (bytes + 7) & ~(size_t)7;
    if ((size_t)(s->end - s->at) < rounded) {
        struct wr_scratch_chunk *c = s->spare;
        if (c != NULL && c->bytes >= rounded)
            s->spare = NULL;
        else
            c = chunk_new(rounded > WR_BATCH_HEAP_BYTES ? rounded : WR_BATCH_HEAP_BYTES);
        c->next = s->chunk;
        s->chunk = c;
        s->at = c->memory;
        s->end = c->memory + c->bytes;
    }
    void *p = s->at;
    s->at += rounded;
    s->bytes += rounded;
    if (s->bytes > WR_OVERDRAFT_BYTES_MAX) s->exhausted = true;
    return p;
}

bool wr_scratch_holds(const wr_scratch *s, const char *p)
{
    for (const struct wr_scratch_chunk *c = s->chunk; c != NULL; c = c->next) {
        if (p >= c->memory && p < c->memory + c->bytes) return true;
    }
    return false;
}

void wr_scratch_reset(wr_scratch *s)
{
    if (s->chunk == NULL) return;
    if (s->chunk->next == NULL && s->chunk->bytes == WR_BATCH_HEAP_BYTES) { /* the usual case: use it again */
        s->at = s->chunk->memory;
    } else {
        while (s->chunk != NULL) {
            struct wr_scratch_chunk *c = s->chunk;
            s->chunk = c->next;
            if (s->spare == NULL && c->bytes == WR_BATCH_HEAP_BYTES) {
                s->spare = c;
                c->next = NULL;
            } else {
                free(c);
            }
        }
        s->at = s->end = NULL;
    }
    s->bytes = 0;
    s->exhausted = false;
}

void wr_scratch_fini(wr_scratch *s)
{
    wr_scratch_reset(s);
    free(s->chunk);
    free(s->spare);
    memset(s, 0, sizeof *s);
}
