#include "base/lookup.h"
#include <stdlib.h>

enum { ROOM_FIRST = 64 };

void wr_lookup_fini(wr_lookup *lookup)
{
    free(lookup->place);
    *lookup = (wr_lookup){0};
}

static void put(wr_lookup *lookup, uint64_t hash, uint32_t number)
{
    uint32_t at = (uint32_t)hash;
    while (lookup->place[at & (lookup->room - 1)].number != 0) at++;
    lookup->place[at & (lookup->room - 1)] = (wr_lookup_place){.hash = hash, .number = number + 1};
}

bool wr_lookup_add(wr_lookup *lookup, uint64_t hash, uint32_t number)
{
    if (lookup->count >= lookup->room / 2) {
        wr_lookup more = {.room = lookup->room > 0 ? 2 * lookup->room : ROOM_FIRST};
        if (more.room < lookup->room) return false;
        more.place = calloc(more.room, sizeof *more.place);
        if (more.place == NULL) return false;
        for (uint32_t i = 0; i < lookup->room; i++) {
            if (lookup->place[i].number != 0) put(&more, lookup->place[i].hash, lookup->place[i].number - 1);
        }
        free(lookup->place);
        lookup->place = more.place;
        lookup->room = more.room;
    }
    put(lookup, hash, number);
    lookup->count++;
    return true;
}

uint32_t wr_lookup_next(const wr_lookup *lookup, uint64_t hash, uint32_t *step)
{
    while (lookup->room > 0) {
        const wr_lookup_place *place = &lookup->place[((uint32_t)hash + (*step)++) & (lookup->room - 1)];
        if (place->number == 0) break;
        if (place->hash == hash) return place->number - 1;
    }
    return WR_LOOKUP_NONE;
}
