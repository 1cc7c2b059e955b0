#include "operators/saver.h"
#include "base/check.h"
#include "wire/record.h"
#include <stdlib.h>

/* The item takes `data`, which is free()d with the ack. */
static void add(wr_saver *saver, uint32_t kind, char *data, size_t bytes)
{
    check(data != NULL && bytes <= UINT32_MAX);
    wr_ack_op *to = saver->to;
    if (to->items == saver->items_max) {
        saver->items_max = saver->items_max ? 2 * saver->items_max : 8;
        to->item = realloc(to->item, saver->items_max * sizeof *to->item);
        check(to->item != NULL);
    }
    to->item[to->items++] = (wr_item){.kind = kind, .from = saver->from, .bytes = (uint32_t)bytes, .data = data};
}

void wr_save_item(wr_saver *saver, uint32_t kind, const void *data, size_t bytes)
{
    char *copy = malloc(bytes ? bytes : 1);
    check(copy != NULL);
    if (bytes > 0) memcpy(copy, data, bytes);
    add(saver, kind, copy, bytes);
}

void wr_save_record(wr_saver *saver, uint32_t kind, const weir_type *type, const void *record)
{
    size_t bytes = 0;
    char  *data = wr_record_encode(type, record, &bytes);
    add(saver, kind, data, bytes);
}
