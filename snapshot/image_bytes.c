/* snapshot/image_bytes.c: bytes that grow, bytes that are read, and the layout of a table as bytes. */
#include "snapshot/image_inner.h"
#include <stdlib.h>

void wr_bytes_put(wr_bytes *bytes, const void *from, size_t n)
{
    if (bytes->failed) return;
    if (bytes->n + n > bytes->max) {
        size_t max = bytes->max * 2 > bytes->n + n ? bytes->max * 2 : bytes->n + n + 4096;
        char  *at = realloc(bytes->at, max);
        if (at == NULL) {
            bytes->failed = true;
            return;
        }
        bytes->at = at;
        bytes->max = max;
    }
    if (n != 0) memcpy(bytes->at + bytes->n, from, n);
    bytes->n += n;
}

void wr_bytes_u32(wr_bytes *bytes, uint32_t value)
{
    wr_bytes_put(bytes, &value, 4);
}
void wr_bytes_u64(wr_bytes *bytes, uint64_t value)
{
    wr_bytes_put(bytes, &value, 8);
}
void wr_bytes_text(wr_bytes *bytes, const char *text)
{
    uint32_t n = (uint32_t)strlen(text);
    wr_bytes_u32(bytes, n);
    wr_bytes_put(bytes, text, n);
}

const char *wr_reading_take(wr_reading *reading, size_t n)
{
    if (reading->failed || n > (size_t)(reading->end - reading->at)) {
        reading->failed = true;
        return NULL;
    }
    const char *at = reading->at;
    reading->at += n;
    return at;
}

uint32_t wr_reading_u32(wr_reading *reading)
{
    uint32_t    value = 0;
    const char *at = wr_reading_take(reading, 4);
    if (at != NULL) memcpy(&value, at, 4);
    return value;
}
uint64_t wr_reading_u64(wr_reading *reading)
{
    uint64_t    value = 0;
    const char *at = wr_reading_take(reading, 8);
    if (at != NULL) memcpy(&value, at, 8);
    return value;
}

/* ---- layout ------------------------------------------------------------------------------------------------------ */

static void put_fields(wr_bytes *bytes, const weir_type *type)
{
    wr_bytes_u32(bytes, type->size);
    wr_bytes_u32(bytes, type->fields);
    for (uint32_t i = 0; i < type->fields; i++) {
        const weir_field *field = &type->field[i];
        wr_bytes_text(bytes, field->name);
        wr_bytes_u32(bytes, field->offset);
        wr_bytes_u32(bytes, field->size);
        wr_bytes_u32(bytes, field->kind);
        wr_bytes_u32(bytes, field->key);
        wr_bytes_u32(bytes, field->key_kind);
        wr_bytes_u32(bytes, field->logical);
        wr_bytes_u32(bytes, field->element != NULL);
        if (field->element != NULL) put_fields(bytes, field->element);
    }
}

/* The key as kinds: its fields' places in the record do not matter to an entry. */
void wr_layout_put(wr_bytes *bytes, const wr_table *table)
{
    wr_bytes_u32(bytes, WR_REGION_BYTES);
    wr_bytes_u32(bytes, WR_GRANULE_BYTES);
    wr_bytes_u32(bytes, table->key.count);
    for (uint32_t i = 0; i < table->key.count; i++) wr_bytes_u32(bytes, table->key.part[i].kind);
    wr_bytes_u32(bytes, table->key.bytes);
    wr_bytes_u32(bytes, table->has_ids);
    wr_bytes_u32(bytes, table->id_at);
    wr_bytes_u32(bytes, table->stamp_at);
    wr_bytes_u32(bytes, table->state_at);
    wr_bytes_u32(bytes, table->has_blobs);
    for (uint32_t i = 0; i < wr_capture_families(table); i++) {
        const wr_family *family = wr_table_family(table, i);
        wr_bytes_u32(bytes, family == NULL ? 0 : family->stride);
    }
    for (uint32_t i = 0; i < table->cells; i++) {
        const wr_cell_plan *plan = &table->cell[i];
        wr_bytes_u32(bytes, plan->rows);
        wr_bytes_u32(bytes, plan->stamp_at);
        wr_bytes_u32(bytes, plan->record_at);
    }
    put_fields(bytes, table->config.state);
}
