/* wire/schema.h: weir_type with its nested elements, as it stands in manifests and savepoints. Pure. */
#ifndef WR_WIRE_SCHEMA_H
#define WR_WIRE_SCHEMA_H
#include "base/arena.h"
#include "wire/pack.h"
#include <weir/types.h>

void wr_schema_pack(wr_pack *p, const weir_type *type); /* NULL: nil */
/* Into the arena. NULL when it was nil, or when it is no type (then u has a problem): everything that an engine asks of
 * a type holds for what it gives: known kinds, sizes, no two fields at the same place, elements that are records. */
const weir_type *wr_schema_unpack(wr_unpack *u, wr_arena *arena);
/* Same fields by name, kind and order, elements included; offsets and the type's name may differ. So records of the one
 * have the bytes (wire/record.h) of the other. Two NULLs are the same. */
bool wr_schema_same(const weir_type *a, const weir_type *b);
/* Copies a type and everything below it into the arena; NULL stays NULL. */
const weir_type *wr_schema_copy(wr_arena *arena, const weir_type *type);
/* "" or why the engine cannot work with this type. */
const char *wr_schema_problem(const weir_type *type);

#endif
