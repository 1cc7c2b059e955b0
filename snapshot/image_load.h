/* snapshot/image_load.h: the files of one operator, opened to be loaded. */
#ifndef WR_SNAPSHOT_IMAGE_LOAD_H
#define WR_SNAPSHOT_IMAGE_LOAD_H
#include "snapshot/image_inner.h"

/* The files of an operator that have groups of [group_first, group_end). Owner: who loads, one thread. */
typedef struct wr_image_source {
    const wr_env             *env;
    const char               *folder, *uid;
    uint32_t                  max_parallelism, group_first, group_end;
    const wr_manifest_layer **layer; /* by writer, then by order */
    wr_image_file            *file;  /* of each layer */
    uint32_t                 *table; /* which of the file's */
    uint32_t                  layers, opened;
    wr_image_reads            reads;
    wr_linking                linking;
} wr_image_source;

/* Opens all of them and reads everything but the payload. Without layers there is no state. */
wr_err wr_image_source_open(wr_image_source *s, const wr_env *env, const char *folder, const wr_manifest_op *op,
                            uint32_t group_first, uint32_t group_end, wr_errinfo *info);
void   wr_image_source_close(wr_image_source *s); /* zero is nothing */
/* Whether the entries lie as the table's own. */
bool wr_image_source_fits(const wr_image_source *s, const wr_table *table);
/* Fills an empty table that fits and has the source's groups. After a failure the table may only be freed. */
wr_err wr_image_source_fill(wr_image_source *s, wr_table *table, wr_errinfo *info);

#endif
