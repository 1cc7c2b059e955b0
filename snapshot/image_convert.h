/* snapshot/image_convert.h: states of one schema become states of another one. */
#ifndef WR_SNAPSHOT_IMAGE_CONVERT_H
#define WR_SNAPSHOT_IMAGE_CONVERT_H
#include "snapshot/image_load.h"

/* ---- image_schema.c ---------------------------------------------------------------------------------------------- */

/* How one field of a record gets its value. */
enum wr_field_from { WR_FIELD_ZERO, WR_FIELD_COPY, WR_FIELD_SIGNED, WR_FIELD_UNSIGNED, WR_FIELD_FLOAT };
typedef struct wr_field_map {
    uint32_t how;                      /* enum wr_field_from */
    uint32_t from, to;                 /* offsets */
    uint32_t from_bytes, bytes, count; /* of one number; count: of an array */
} wr_field_map;
/* Everything but cells. Caller's storage. */
typedef struct wr_record_map {
    uint32_t     fields;
    wr_field_map field[WR_FIELDS_MAX];
} wr_record_map;

/* By name; false: a field cannot be converted (`info` names it). upgrades: a WEIR_UPGRADE could do it. */
bool wr_record_map_of(wr_record_map *map, const weir_type *from, const weir_type *to, bool upgrades, wr_errinfo *info);
/* For people: fields that the one has and the other has not, and what became wider; "" when there are none. Cut. */
void wr_schema_changes(const weir_type *from, const weir_type *to, char *text, size_t bytes);
/* *to is zeroed before. Far strings are borrowed. */
void wr_record_convert(const wr_record_map *map, const weir_type *to_type, const void *from, void *to);
/* The field with this name; NULL: none. */
const weir_field *wr_field_named(const weir_type *type, const char *name);
bool              wr_kind_is_cell(uint32_t kind); /* value, list, table */
/* The upgrade that starts from this schema and ends at `to`, or NULL. */
const weir_upgrade *wr_upgrade_of(const weir_upgrade *const *upgrade, const weir_type *from, const weir_type *to);
/* What an operator's states belong to. */
typedef struct wr_keyed_by {
    const weir_type *record;
    const weir_key  *key;
} wr_keyed_by;
/* Whether keys of the one can be keys of the other. */
wr_err wr_key_match(const wr_keyed_by *from, const wr_keyed_by *to, const char *uid, wr_errinfo *info);

/* ---- image_convert.c --------------------------------------------------------------------------------------------- */

typedef struct wr_convert wr_convert; /* Owner: who loads, one thread */
/* From tables like `from` (record, key, state) into `to`. */
wr_err wr_convert_new(wr_convert **take, const wr_table_config *from, wr_table *to, const wr_upgrading *how,
                      wr_errinfo *info);
void   wr_convert_free(wr_convert *c);
/* All keys of the table, into empty places of the other one. */
wr_err wr_convert_all(wr_convert *c, wr_table *from, wr_errinfo *info);

/* The stamp of the row that was given last, or `own`, that of its whole state, where rows have none. */
int64_t wr_row_stamp(const wr_table *from, const void *state, const weir_rows *rows, const char *row, int64_t own);

/* ---- image_origin.c: a table as it was, out of whatever files an operator has ------------------------------------ */

/* Owner: who loads or reads, one thread. */
typedef struct wr_image_origin {
    const wr_env         *env;
    const char           *folder;
    const wr_manifest_op *op;
    bool                  rows; /* files of logical rows */
    wr_image_source       source;
    uint32_t              groups_at_once;
    weir_type             state; /* op->state with times to live as the files have them */
    weir_field            fields[WR_FIELDS_MAX];
    int64_t               ttl_ns;
} wr_image_origin;

wr_err wr_image_origin_open(wr_image_origin *o, const wr_env *env, const char *folder, const wr_manifest_op *op,
                            uint32_t group_first, uint32_t group_end, wr_errinfo *info);
void   wr_image_origin_close(wr_image_origin *o);
/* A new table with these key groups as they were. */
wr_err wr_image_origin_table(wr_image_origin *o, uint32_t group_first, uint32_t group_end, wr_budget *budget,
                             wr_table **take, wr_errinfo *info);
/* What such a table is made of; without groups and budget. */
wr_table_config wr_image_origin_config(const wr_image_origin *o);

#endif
