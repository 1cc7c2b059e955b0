/* wire/names.h: names of the files in a snapshot folder. They carry leader epoch and snapshot id, so none is ever used
 * twice, and ids and epoch can go on from the names alone when the journal is lost. Pure. */
#ifndef WR_WIRE_NAMES_H
#define WR_WIRE_NAMES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WR_FILE_NAME_BYTES 64 /* with the zero byte; as wr_state_file.name */
#define WR_JOURNAL_NAME    "journal"
#define WR_LOCK_NAME       "lock"
#define WR_SAVEPOINT_NAME  "savepoint.wman"  /* the manifest in a savepoint's folder */
#define WR_CLAIM_NAME      "savepoint.claim" /* while it is written: the lineage of whoever writes it */

/* "m-0000001a-000000000000002c.wman" */
void wr_name_manifest(char to[WR_FILE_NAME_BYTES], uint32_t epoch, uint64_t id);
/* "s-0000001a-000000000000002c-3-count-words-0.wst": keyed state of one subtask. The uid is cut, and what is not a
 * letter or a digit becomes '-'. */
void wr_name_state(char to[WR_FILE_NAME_BYTES], uint32_t epoch, uint64_t id, uint32_t node, const char *uid,
                   uint32_t subtask);

/* "r-0000001a-000000000000002c-3-count-words-0.wst": the file of that name, with 's', which no manifest names any more
 * and whose room waits for the next one of the same subtask. */
void wr_name_spare(char to[WR_FILE_NAME_BYTES], const char *state);
/* Of a state file or spare: what stands behind epoch and id, the same for all files of a subtask; else "". */
const char *wr_name_task(const char *name);

enum wr_name_kind {
    WR_NAME_OTHER, /* not ours: never touched */
    WR_NAME_JOURNAL,
    WR_NAME_LOCK,
    WR_NAME_MANIFEST,
    WR_NAME_STATE,
    WR_NAME_SPARE,
    WR_NAME_TEMP /* of a manifest or the journal: what a crash left behind */
};
/* What a file of this name is; epoch and id are set for manifests, their temps, state files and spares, else 0. */
enum wr_name_kind wr_name_read(const char *name, uint32_t *epoch, uint64_t *id);

#endif
