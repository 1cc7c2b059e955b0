/* tests/sim/disk.h: a disk with a volatile cache, behind the storage functions of wr_env. It outlives the processes
 * that a simulation starts and kills.
 *
 * What a power failure does: of a file, everything since its last fsync may be lost, kept, or torn by sectors; of a
 * folder, names made, renamed and removed since its last fsync may be lost, the newest first. A killed process loses
 * nothing that it had written. An fsync that failed has thrown the data away, and the next one does not bring it
 * back. */
#ifndef WR_SIM_DISK_H
#define WR_SIM_DISK_H
#include "base/env.h"
#include "base/prng.h"

typedef struct sim_disk  sim_disk;
typedef struct sim_clock sim_clock;

/* What goes wrong from now on; one in so many calls, 0: never. */
typedef struct sim_faults {
    uint32_t read_error, write_error, sync_error; /* -EIO */
    uint32_t look_error;                          /* of stat, of list, and of open of what is there: -EIO or -EACCES */
    bool     full;                                /* what would grow fails with -ENOSPC, perhaps after a part */
    int64_t  slow_ns;                             /* a call takes up to so long */
} sim_faults;

/* What happened; a run without faults has proved nothing. */
typedef struct sim_disk_stats {
    uint64_t writes, syncs, renames, errors;
    uint64_t reuses;                             /* files that got a new name to be overwritten */
    uint64_t files_lost, files_torn, names_lost; /* by power failures */
} sim_disk_stats;

sim_disk *sim_disk_new(uint64_t seed, sim_clock *clock);
void      sim_disk_free(sim_disk *disk); /* no handle and no queue is used any more */
/* From now on the process is dead: its calls do nothing and fail, while its memory is freed. */
void sim_disk_kill(sim_disk *disk);
/* After that: what is left is there for the next process. */
void sim_disk_restart(sim_disk *disk, bool power);
/* The process dies in the middle of the nth storage call from now on; 0: it does not. */
void            sim_disk_die_in(sim_disk *disk, uint64_t calls);
bool            sim_disk_dead(const sim_disk *disk);
sim_faults     *sim_disk_faults(sim_disk *disk);
sim_disk_stats *sim_disk_stats_of(sim_disk *disk);
/* Fills in the storage functions; self of the table is the clock. */
void sim_disk_env(wr_env *env);

/* A file system that is not mounted: its folder is there and empty, or (missing) not there. What is open stays open.
 * Not while another one is. */
void sim_disk_unmount(sim_disk *disk, const char *folder, bool missing);
void sim_disk_mount(sim_disk *disk); /* the same again; what was put into its place meanwhile is hidden */
bool sim_disk_unmounted(const sim_disk *disk);

/* One of several processes dies: what it has in the background may or may not come to the disk; nothing else does. */
void sim_disk_kill_io(sim_disk *disk, wr_io *io);
/* When something that it was given is done next; INT64_MAX: it has nothing. */
int64_t sim_disk_io_due_ns(const wr_io *io);
/* When the first of its queues has something for whoever parks there. INT64_MAX: never. */
int64_t sim_disk_wakes_ns(const sim_disk *disk, const wr_parker *parker);

/* For those who look at the disk from outside; no fault, no time. The bytes live until the disk changes. */
void     sim_disk_names(sim_disk *disk, const char *folder, void (*each)(void *arg, const char *name), void *arg);
bool     sim_disk_is_folder(sim_disk *disk, const char *path);
bool     sim_disk_content(sim_disk *disk, const char *path, const char **bytes, size_t *n);
uint64_t sim_disk_hash(const sim_disk *disk); /* of all names, and the bytes of results */
#endif
