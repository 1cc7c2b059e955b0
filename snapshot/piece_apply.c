/* snapshot/piece_apply.c: entries of a piece into a table. */
#include "snapshot/piece.h"
#include "snapshot/table_inner.h"

/* Where the piece's entries lie: its region is the table's too, since regions are numbered within their group. */
static char *region_at(const wr_family *family, uint32_t group, const wr_piece *piece)
{
    return wr_family_at(family, wr_family_place(family, group, piece->first));
}

static bool in_one_region(const wr_family *family, const wr_piece *piece)
{
    uint32_t first, region = wr_family_region_of(family, piece->first, &first);
    return piece->first + piece->entries <= first + wr_family_region_entries(family, region);
}

bool wr_piece_apply(wr_table *table, const wr_piece *piece)
{
    const wr_family *family = wr_table_family(table, piece->family);
    uint32_t         group = piece->group - table->config.group_first, count = family->group[group].count;
    uint32_t         stride = piece->stride;
    if (piece->first >= count) return true; /* a later layer has fewer */
    if (!in_one_region(family, piece)) return false;
    uint32_t    room = count - piece->first;
    char       *to = region_at(family, group, piece);
    const char *index = (const char *)(piece + 1);
    const char *from = index + wr_piece_index_bytes(piece->form, piece->entries, piece->picked);
    if (piece->form == WR_PIECE_FULL) {
        memcpy(to, from, (uint64_t)(piece->entries < room ? piece->entries : room) * stride);
        return true;
    }
    if (piece->form == WR_PIECE_POSITIONS) {
        for (uint32_t i = 0; i < piece->picked; i++, from += stride) {
            uint16_t at;
            memcpy(&at, index + (uint64_t)i * 2, 2);
            if (at < room) memcpy(to + (uint64_t)at * stride, from, stride);
        }
        return true;
    }
    for (uint32_t i = 0; i < (piece->entries + 63) / 64; i++) {
        uint64_t word;
        memcpy(&word, index + (uint64_t)i * 8, 8);
        for (; word != 0; word &= word - 1, from += stride) {
            uint32_t at = i * 64 + (uint32_t)__builtin_ctzll(word);
            if (at < room) memcpy(to + (uint64_t)at * stride, from, stride);
        }
    }
    return true;
}
