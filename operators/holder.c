/* What holds event time back, for other threads: words between two looks at a counter. */
#include "operators/op.h"
#include <string.h>

void wr_holder_set(wr_holder *h, const char *text)
{
    uint64_t word[WR_HOLDER_BYTES / 8] = {0};
    uint32_t turn = atomic_load_explicit(&h->turn, memory_order_relaxed);
    memcpy(word, text, strnlen(text, sizeof word - 1));
    atomic_store_explicit(&h->turn, turn + 1, memory_order_relaxed);
    for (uint32_t i = 0; i < WR_HOLDER_BYTES / 8; i++) /* each release: whoever sees one sees the odd turn, too */
        atomic_store_explicit(&h->word[i], word[i], memory_order_release);
    atomic_store_explicit(&h->turn, turn + 2, memory_order_release);
}

void wr_holder_get(const wr_holder *h, char text[WR_HOLDER_BYTES])
{
    uint64_t word[WR_HOLDER_BYTES / 8];
    uint32_t before = atomic_load_explicit(&h->turn, memory_order_acquire);
    for (uint32_t i = 0; i < WR_HOLDER_BYTES / 8; i++)
        word[i] = atomic_load_explicit(&h->word[i], memory_order_acquire);
    bool whole = before % 2 == 0 && atomic_load_explicit(&h->turn, memory_order_relaxed) == before;
    memcpy(text, word, sizeof word);
    text[whole ? WR_HOLDER_BYTES - 1 : 0] = 0;
}
