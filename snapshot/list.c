/* snapshot/list.c: lists of records: chunks of a fixed number of rows, doubly linked in order of adding. The cell's
 * body holds the numbers (+ 1) of the first chunk and, shifted by 32, of the last. */
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"

typedef struct chunk {
    uint32_t prev, next;   /* number + 1 in the group; 0: none */
    uint32_t first, count; /* rows [first, first + count) are there */
} chunk;

static chunk *chunk_at(const wr_cell_plan *plan, uint32_t position)
{
    return (chunk *)(void *)wr_family_at(&plan->family, position);
}

static uint32_t position_of(const wr_cell_plan *plan, uint32_t group, uint32_t link)
{
    return wr_family_place(&plan->family, group, link - 1);
}

static char *rows_of(const wr_cell_plan *plan, const chunk *of)
{
    return (char *)(uintptr_t)of + plan->record_at;
}

/* Where the time stands at which row i was added. */
static char *stamp_of(const wr_cell_plan *plan, const chunk *of, uint32_t i)
{
    return (char *)(uintptr_t)of + plan->stamp_at + (uint64_t)i * 8;
}

/* For writing. */
static chunk *open_chunk(wr_cell_plan *plan, uint32_t group, uint32_t link)
{
    uint32_t position = position_of(plan, group, link);
    wr_family_touch(&plan->family, position);
    return chunk_at(plan, position);
}

static chunk *add_chunk(wr_cell_plan *plan, uint32_t group, weir_cell *cell)
{
    uint32_t position = wr_family_take(&plan->family, group), last = (uint32_t)(cell->body >> 32);
    uint32_t link = wr_family_number_of(&plan->family, position) + 1;
    chunk   *made = chunk_at(plan, position);
    memset(made, 0, plan->family.stride);
    made->prev = last;
    if (last != 0) open_chunk(plan, group, last)->next = link;
    cell->body = (uint64_t)link << 32 | (last == 0 ? link : (uint32_t)cell->body);
    return made;
}

wr_err wr_cell_list_add(wr_table *table, void *state, weir_cell *cell, const void *record)
{
    wr_cell_plan *plan = wr_cell_of(table, state, cell);
    check(plan->kind == WEIR_CELL_LIST);
    uint32_t group = wr_table_state_group(table, state), size = plan->element->size;
    if (cell->count == UINT32_MAX) return WR_RECORD_TOO_LARGE;
    for (uint32_t i = 0; i < plan->strings; i++) {
        if (((const weir_str *)(const void *)((const char *)record + plan->string[i]))->len > WR_CELL_BYTES_MAX)
            return WR_RECORD_TOO_LARGE;
    }
    uint32_t last = (uint32_t)(cell->body >> 32);
    chunk   *into = last == 0 ? NULL : open_chunk(plan, group, last);
    if (into == NULL || into->first + into->count == plan->rows) into = add_chunk(plan, group, cell);
    char *row = rows_of(plan, into) + (uint64_t)(into->first + into->count) * size;
    memcpy(row, record, size);
    if (plan->strings != 0) (void)wr_cell_own_strings(table, group, plan, row);
    if (plan->ttl_ns != 0) memcpy(stamp_of(plan, into, into->first + into->count), &table->now_ns, 8);
    into->count++;
    cell->count++;
    wr_table_wrote(table, state);
    return WR_OK;
}

/* Out of the chain; freed at settle. */
static void drop_chunk(wr_table *table, wr_cell_plan *plan, uint32_t group, weir_cell *cell, uint32_t link)
{
    uint32_t position = position_of(plan, group, link), first = (uint32_t)cell->body,
             last = (uint32_t)(cell->body >> 32);
    const chunk *gone = chunk_at(plan, position);
    if (gone->prev != 0)
        open_chunk(plan, group, gone->prev)->next = gone->next;
    else
        first = gone->next;
    if (gone->next != 0)
        open_chunk(plan, group, gone->next)->prev = gone->prev;
    else
        last = gone->prev;
    cell->body = (uint64_t)last << 32 | first;
    wr_table_pend(table, &plan->family, position, 0);
}

static void free_rows(wr_table *table, const wr_cell_plan *plan, const chunk *from, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; plan->strings != 0 && i < first + count; i++)
        wr_cell_free_strings(table, plan, rows_of(plan, from) + (uint64_t)i * plan->element->size);
}

void wr_cell_list_drop(wr_table *table, void *state, weir_cell *cell, uint32_t oldest)
{
    wr_cell_plan *plan = wr_cell_of(table, state, cell);
    check(plan->kind == WEIR_CELL_LIST);
    uint32_t group = wr_table_state_group(table, state);
    while (oldest != 0 && cell->count != 0) {
        uint32_t     link = (uint32_t)cell->body;
        const chunk *head = chunk_at(plan, position_of(plan, group, link));
        uint32_t     rows = head->count < oldest ? head->count : oldest;
        free_rows(table, plan, head, head->first, rows);
        oldest -= rows;
        cell->count -= rows;
        if (rows == head->count) {
            drop_chunk(table, plan, group, cell, link);
        } else {
            chunk *cut = open_chunk(plan, group, link);
            cut->first += rows;
            cut->count -= rows;
        }
    }
}

void wr_list_clear(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell)
{
    uint32_t group = wr_table_state_group(table, state);
    for (uint32_t link = (uint32_t)cell->body; link != 0;) {
        uint32_t     position = position_of(plan, group, link);
        const chunk *gone = chunk_at(plan, position);
        free_rows(table, plan, gone, gone->first, gone->count);
        link = gone->next;
        wr_table_pend(table, &plan->family, position, 0);
    }
    *cell = (weir_cell){0};
}

bool wr_list_refill(wr_cell_plan *plan, weir_rows *rows)
{
    uint32_t     group = (uint32_t)(rows->reserved[0] >> 32), link = (uint32_t)rows->reserved[0];
    const chunk *from = chunk_at(plan, position_of(plan, group, link));
    rows->at = rows_of(plan, from) + (uint64_t)from->first * plan->element->size;
    rows->end = rows->at + (uint64_t)from->count * plan->element->size;
    rows->left -= from->count < rows->left ? from->count : rows->left;
    rows->reserved[1] = link;
    rows->reserved[0] = (uint64_t)group << 32 | from->next;
    return true;
}

void *wr_cell_list_open(wr_table *table, void *state, weir_cell *cell, const weir_rows *rows)
{
    wr_cell_plan *plan = rows->source;
    check(plan != NULL && plan == wr_cell_of(table, state, cell) && plan->kind == WEIR_CELL_LIST);
    (void)open_chunk(plan, wr_table_state_group(table, state), (uint32_t)rows->reserved[1]);
    return (char *)(uintptr_t)rows->at - plan->element->size;
}

const void *wr_cell_list_last(const wr_table *table, const void *state, const weir_cell *cell)
{
    if (cell->count == 0) return NULL;
    const wr_cell_plan *plan = wr_cell_of(table, state, cell);
    uint32_t            group = wr_table_state_group(table, state);
    const chunk        *last = chunk_at(plan, position_of(plan, group, (uint32_t)(cell->body >> 32)));
    return rows_of(plan, last) + (uint64_t)(last->first + last->count - 1) * plan->element->size;
}

void wr_cell_list_ask(const wr_table *table, const void *state, const weir_cell *cell)
{
    if (cell->count == 0) return;
    const wr_cell_plan *plan = wr_cell_of(table, state, cell);
    uint32_t            group = wr_table_state_group(table, state);
    const char         *head = (const char *)chunk_at(plan, position_of(plan, group, (uint32_t)cell->body));
    WR_FETCH(head);
    WR_FETCH(head + WR_CACHE_LINE);
}

void wr_list_rows_remove(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell, weir_rows *rows)
{
    uint32_t group = wr_table_state_group(table, state), link = (uint32_t)rows->reserved[1], size = plan->element->size;
    chunk   *from = open_chunk(plan, group, link);
    char    *first = rows_of(plan, from), *row = first + (rows->at - size - first);
    dcheck(row >= first + (uint64_t)from->first * size);
    wr_cell_free_strings(table, plan, row);
    memmove(row, row + size, (size_t)(rows->end - rows->at));
    if (plan->ttl_ns != 0) {
        uint32_t i = (uint32_t)((uint64_t)(row - first) / size), behind = from->first + from->count - i - 1;
        memmove(stamp_of(plan, from, i), stamp_of(plan, from, i + 1), (size_t)behind * 8);
    }
    from->count--;
    cell->count--;
    rows->at -= size;
    rows->end -= size;
    if (from->count == 0) drop_chunk(table, plan, group, cell, link);
}

/* ---- time to live: rows stand in order of adding, so the oldest go first ---- */

static int64_t oldest_stamp(const wr_cell_plan *plan, uint32_t group, const weir_cell *cell)
{
    const chunk *head = chunk_at(plan, position_of(plan, group, (uint32_t)cell->body));
    int64_t      stamp;
    memcpy(&stamp, stamp_of(plan, head, head->first), 8);
    return stamp;
}

bool wr_list_expired(const wr_table *table, const void *state, const wr_cell_plan *plan, const weir_cell *cell)
{
    if (cell->count == 0) return false;
    return wr_ttl_over(table, oldest_stamp(plan, wr_table_state_group(table, state), cell), plan->ttl_ns);
}

void wr_list_expire(wr_table *table, void *state, wr_cell_plan *plan, weir_cell *cell)
{
    while (wr_list_expired(table, state, plan, cell)) wr_cell_list_drop(table, state, cell, 1);
}
