/* base/limits.h: every bound of the engine, and how they hang together. Raising one must still satisfy the asserts. */
#ifndef WR_BASE_LIMITS_H
#define WR_BASE_LIMITS_H

#define WR_KIB(N) ((N)*1024)
#define WR_MIB(N) ((N)*1024 * 1024)

/* Hardware, as we assume it. */
#define WR_CACHE_LINE 64
#define WR_PAGE_BYTES 4096
#define WR_HUGE_BYTES WR_MIB(2)

/* Batches and records. */
#define WR_BATCH_BYTES         WR_KIB(32)   /* array of records in one batch */
#define WR_CHAIN_BYTES         WR_KIB(16)   /* array of records between two operators of a chain: two fit into L1 */
#define WR_BATCH_HEAP_BYTES    WR_KIB(64)   /* strings of one batch */
#define WR_BATCH_RECORDS_MAX   4096         /* records in one batch, however small they are */
#define WR_RECORD_BYTES_MAX    WR_MIB(16)   /* one record with its strings; it gets a batch of its own */
#define WR_OVERDRAFT_BYTES_MAX WR_MIB(64)   /* what one call may emit beyond the room it was given */
#define WR_STEP_BYTES          WR_MIB(8)    /* what the calls for one batch should: else a batch is taken in pieces */
#define WR_STEP_BYTES_MAX      WR_MIB(1024) /* and what they may */
#define WR_EXCLUSIVE_BATCHES   2            /* batches that belong to one channel */
#define WR_RING_MAX            16           /* batches in flight on one channel */
#define WR_CREDITS_MAX         32           /* the same between workers, where the way is longer */
#define WR_RING_SLOTS_MAX      64           /* slots of a ring that carries something other than batches */
#define WR_POOL_BATCHES_MAX    65536        /* batches in one slot's pool */

/* Types. */
#define WR_FIELDS_MAX      128            /* fields of a record or a state */
#define WR_FIELD_BYTES_MAX WR_BATCH_BYTES /* one fixed array */
#define WR_KEY_FIELDS_MAX  4              /* fields of a composite key */
#define WR_KEY_BYTES_MAX   WR_KIB(64)     /* one key with its strings */
#define WR_STR_INLINE_MAX  12             /* bytes that lie inside a weir_str */

/* Graph. */
#define WR_NODES_MAX       1024
#define WR_EDGES_MAX       4096
#define WR_INPUTS_MAX      16    /* input streams of one operator, union included */
#define WR_OUTS_MAX        16    /* outputs of one operator: the main one and side outputs */
#define WR_PARALLELISM_MAX 32768 /* subtasks of one operator; also the most key groups */
#define WR_KEY_GROUPS_MIN  128
#define WR_SLOTS_MAX       256     /* slots of one process */
#define WR_CHAIN_MAX       64      /* operators in one chain */
#define WR_CHANNELS_MAX    1048576 /* channels of one job: producers times consumers, over all edges */
#define WR_PROBLEMS_MAX    64      /* problems reported by one validation */

/* Text that people write. */
#define WR_NAME_BYTES_MAX     128
#define WR_URI_BYTES_MAX      4096
#define WR_PATH_BYTES_MAX     4096
#define WR_OPTIONS_MAX        64         /* options of one URI */
#define WR_ARGS_MAX           256        /* arguments of a pipeline */
#define WR_CLI_LIST_MAX       64         /* how often --set, --file and --connector may be given */
#define WR_BUILD_SECONDS_MAX  30         /* for a build function in a child of check, submit or rescale */
#define WR_ERROR_BYTES_MAX    1024       /* text of one error */
#define WR_CONFIG_BYTES_MAX   WR_KIB(64) /* a configuration file */
#define WR_LOG_LINE_BYTES_MAX 2048
#define WR_JSON_DEPTH_MAX     32
#define WR_METRICS_MAX        64  /* user metrics of one operator */
#define WR_METRIC_NAMES_MAX   256 /* names of user metrics that one process shows */

/* State. */
#define WR_STATE_BYTES_MAX     WR_KIB(32)          /* the fixed part of one key's state */
#define WR_CELL_BYTES_MAX      WR_RECORD_BYTES_MAX /* one text, value, or element of a list or table */
#define WR_DIRECTORY_DEPTH_MAX 24                  /* extendible directory of one keyed table */

/* Snapshots. */
#define WR_MANIFEST_BYTES_MAX    WR_MIB(512) /* a snapshot's manifest, operator state included */
#define WR_ITEM_BYTES_MAX        WR_MIB(64)  /* one piece of operator state */
#define WR_CHECK_FIRST_BYTES     WR_MIB(64) /* files of a snapshot up to this are checked as a whole before a restart */
#define WR_SPARE_FILES_MAX       4096       /* files of old snapshots that wait to be overwritten, of one job ... */
#define WR_SPARE_BYTES_MAX       WR_MIB(65536ULL) /* ... and their bytes */
#define WR_SPARE_SNAPSHOTS       256              /* one that was not taken for so many snapshots goes */
#define WR_JOURNAL_BYTES_MAX     WR_KIB(64)       /* then it is compacted */
#define WR_SNAPSHOT_HISTORY      10               /* snapshots whose figures a job remembers */
#define WR_SNAPSHOT_QUEUE_MAX    16               /* requests for snapshots that wait */
#define WR_SNAPSHOTS_KEEP_MAX    64               /* completed snapshots that a job keeps */
#define WR_SNAPSHOT_EVERY_NS_MIN 1000000          /* between two of a job */
#define WR_SAVING_LEAVE_MS       1000             /* a savepoint that was given up has ended then, or is left behind */
#define WR_SNAPSHOT_ID_BLOCK     64               /* ids that one write of the journal reserves */
#define WR_COMMIT_RETRY_NS       10000000 /* a sink that said RETRY is asked again; each time twice that, up to 5 s */
#define WR_COMMIT_RETRIES_MAX    20       /* then its task fails */

/* Messages of the control plane, and what is in them. */
#define WR_MESSAGE_BYTES_MAX  WR_MIB(80)  /* one message: an answer to a barrier with the largest item fits */
#define WR_MESSAGE_MEMORY_MAX WR_MIB(512) /* what a decoded one may take */
#define WR_GREETING_BYTES_MAX WR_KIB(2)   /* one message before the other side has proved itself */
#define WR_SPEC_BYTES_MAX     WR_MIB(32)  /* a job's specification */
#define WR_GRAPH_BYTES_MAX    WR_MIB(16)  /* a job graph as bytes */
#define WR_BLOB_PIECE_BYTES   WR_KIB(256) /* of a shipped file, in one message */
#define WR_BLOB_BYTES_MAX     WR_MIB(512) /* one shipped file */
#define WR_BLOB_ASK_MS        10000       /* a piece that has not come then is asked for again */
#define WR_BLOB_ASKS_MAX      6           /* then its file cannot be had */
#define WR_JOB_FILES_MAX      256         /* shipped files of a job, beside its pipeline */
#define WR_OUTPUT_BYTES_MAX   WR_MIB(16)  /* text of one answer to a client */
#define WR_REPORT_BYTES_MAX   WR_KIB(64)  /* of a crash */
#define WR_TM_WORKERS_MAX     1024        /* worker processes of one TaskManager */
#define WR_LOG_SEGMENT_BYTES  WR_MIB(8)   /* a log of a job is a row of files of this size ... */
#define WR_LOG_SEGMENTS       4           /* ... of which so many stay on a TaskManager */
#define WR_LOG_PIECE_BYTES    WR_KIB(64)  /* of a log, in one message */
#define WR_LOGS_KEPT          100         /* jobs whose logs stay on a TaskManager */
#define WR_WORKER_GROUPS_MAX  32          /* groups that a worker with a user of its own is in */

/* Connections. */
#define WR_PEERS_MAX            4096        /* of the control plane in one process */
#define WR_HALF_OPEN_MAX        128         /* at one listener, not proved yet; one more, and the oldest is closed */
#define WR_GREETING_MS          5000        /* then they must have proved themselves */
#define WR_UNHEARD_MS           5000        /* a machine that must acknowledge and does not is taken for lost */
#define WR_STALLED_MS           30000       /* a message that has begun goes on within this, in either direction */
#define WR_LINGER_MS            1000        /* how long what was sent before a close may take */
#define WR_PEER_QUEUE_BYTES_MAX WR_MIB(256) /* sent, and not yet taken by the other side */
#define WR_GIFTS_MAX            4096        /* descriptors that have come and were not taken yet */
#define WR_GIFT_BYTES_MAX       256         /* what comes beside a descriptor */
#define WR_TOKEN_BYTES_MAX      256         /* the cluster's shared secret, with its zero */
#define WR_TOKEN_BYTES_MIN      16
#define WR_HTTP_CONNECTIONS_MAX 256        /* of one HTTP port; one more, and that which asked longest ago is closed */
#define WR_HTTP_TIMEOUT_S       10         /* one that has asked and is idle longer is closed */
#define WR_HTTP_HEAD_BYTES_MAX  WR_KIB(16) /* of a request */

/* The JobManager. */
#define WR_TMS_MAX                1024        /* TaskManagers of one cluster */
#define WR_JOBS_MAX               1024        /* jobs that have not ended */
#define WR_JOBS_ENDED_KEPT        100         /* jobs that have ended and are still known */
#define WR_LOG_HOLDERS_MAX        64          /* TaskManagers that had one job, by name: the newest */
#define WR_RESTART_RATE_MAX       64          /* failures that a failure rate counts */
#define WR_FAILURES_KEPT          16          /* failures of one job that it remembers */
#define WR_LEDGER_JOBS_BYTES_MAX  WR_MIB(256) /* specifications of all jobs that have not ended */
#define WR_LEDGER_ENDED_BYTES_MAX WR_MIB(64)  /* and of those that have: then the oldest are forgotten */
#define WR_LEDGER_SLACK_BYTES     WR_MIB(1)   /* the ledger is compacted when it is twice what it must be, and this */
#define WR_LEDGER_BYTES_MAX       WR_MIB(1024)
#define WR_HELD_MAX               65536       /* events that wait for the end of a slow call of storage */
#define WR_HELD_BYTES_MAX         WR_MIB(256) /* their messages; beyond that even heartbeats wait */

/* Windows. */
#define WR_SLICE_NS_MIN 1000   /* of size and slide in common: slices have numbers of 56 bits */
#define WR_SLICES_MAX   100000 /* of one window */

/* Sources. */
#define WR_FILES_MAX            65536      /* files that one URI may name */
#define WR_SPLIT_BYTES          WR_MIB(16) /* a large file is cut into splits of about this */
#define WR_SPLIT_BYTES_MIN      WR_KIB(1)  /* into no smaller ones, whoever asks */
#define WR_READ_BYTES           WR_MIB(1)  /* one read of a file */
#define WR_CSV_HEADER_BYTES_MAX WR_KIB(64) /* a line of names */

/* Time. */
#define WR_DEPLOY_MS    600000    /* something is heard of each deployed subtask by then */
#define WR_WATCHDOG_MS  100       /* a call that holds its slot longer is named */
#define WR_FLUSH_NS     1000000   /* a partial batch goes out when it is this old */
#define WR_SPIN_NS      20000     /* an idle slot looks at its rings this long before it parks */
#define WR_PARK_NS_MAX  100000000 /* and looks again at least this often */
#define WR_UNWATCHED_NS 1000000   /* this often, when it waits at more descriptors than it can watch */
#define WR_WATERMARK_NS 1000000   /* a busy task moves event time on at most this often */

/* Inputs of windows that are ahead in event time. */
#define WR_HOLD_QUIET_NS   200000  /* the one behind is not waited for when it brought nothing for so long */
#define WR_HOLD_NS_MAX     2000000 /* one waits so long at a time; then none does for as long */
#define WR_HOLD_NEIGHBOURS 64      /* times the span of a key's places: further apart, they do not belong together */

_Static_assert(WR_BATCH_BYTES % WR_CACHE_LINE == 0, "batches are whole cache lines");
_Static_assert(WR_BATCH_BYTES / WR_BATCH_RECORDS_MAX >= 1,
               "a batch of the smallest records has at most the greatest count");
_Static_assert(WR_RECORD_BYTES_MAX >= WR_BATCH_BYTES + WR_BATCH_HEAP_BYTES, "the bound is above an ordinary batch");
_Static_assert(WR_OVERDRAFT_BYTES_MAX >= 2 * WR_RECORD_BYTES_MAX,
               "one call can emit at least two of the largest records");
_Static_assert(WR_STEP_BYTES<WR_OVERDRAFT_BYTES_MAX && WR_STEP_BYTES_MAX> 2 * WR_OVERDRAFT_BYTES_MAX, "");
_Static_assert(WR_EXCLUSIVE_BATCHES <= WR_RING_MAX, "a channel's own batches fit into its ring");
_Static_assert(WR_RING_MAX <= WR_RING_SLOTS_MAX, "a ring of batches is a ring");
_Static_assert(WR_CREDITS_MAX >= WR_RING_MAX && WR_CREDITS_MAX <= WR_RING_SLOTS_MAX &&
                   (WR_CREDITS_MAX & (WR_CREDITS_MAX - 1)) == 0,
               "what was granted fits into a ring");
_Static_assert((WR_RING_MAX & (WR_RING_MAX - 1)) == 0 && (WR_RING_SLOTS_MAX & (WR_RING_SLOTS_MAX - 1)) == 0,
               "rings are powers of two");
_Static_assert(WR_KEY_FIELDS_MAX <= WR_FIELDS_MAX, "a key is made of fields");
_Static_assert(WR_KEY_BYTES_MAX <= WR_RECORD_BYTES_MAX, "a key lies in a record");
_Static_assert(WR_EDGES_MAX >= WR_NODES_MAX, "each node can have an edge");
_Static_assert((WR_PARALLELISM_MAX & (WR_PARALLELISM_MAX - 1)) == 0, "key groups are cut from the hash by a product");
_Static_assert(WR_KEY_GROUPS_MIN <= WR_PARALLELISM_MAX, "");
_Static_assert(WR_SLOTS_MAX <= WR_PARALLELISM_MAX, "one operator can use every slot");
_Static_assert(WR_CHAIN_MAX <= WR_NODES_MAX, "");
_Static_assert(WR_NAME_BYTES_MAX < WR_ERROR_BYTES_MAX, "an error can name its operator");
_Static_assert(WR_FLUSH_NS < WR_WATCHDOG_MS * 1000000, "");
_Static_assert(WR_SPIN_NS < WR_FLUSH_NS, "");
_Static_assert(WR_ITEM_BYTES_MAX < WR_MESSAGE_BYTES_MAX, "an answer to a barrier can carry the largest item");
_Static_assert(WR_GRAPH_BYTES_MAX < WR_SPEC_BYTES_MAX && WR_SPEC_BYTES_MAX < WR_MESSAGE_BYTES_MAX,
               "a graph goes into a specification, and that into a message");
_Static_assert(WR_PEER_QUEUE_BYTES_MAX > 2 * WR_MESSAGE_BYTES_MAX, "the largest message can wait behind another one");
_Static_assert(WR_BLOB_PIECE_BYTES < WR_MESSAGE_BYTES_MAX && WR_OUTPUT_BYTES_MAX < WR_MESSAGE_BYTES_MAX, "");
_Static_assert(WR_SPEC_BYTES_MAX < WR_LEDGER_ENDED_BYTES_MAX, "a job that has ended can be remembered");
_Static_assert(WR_LEDGER_BYTES_MAX / 2 > WR_LEDGER_JOBS_BYTES_MAX + WR_LEDGER_ENDED_BYTES_MAX + WR_SPEC_BYTES_MAX +
                                             (WR_JOBS_MAX + WR_JOBS_ENDED_KEPT) * WR_FAILURES_KEPT * 2048,
               "a ledger that is to be compacted can be read");

#endif
