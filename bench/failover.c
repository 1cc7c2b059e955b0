/* What bench/cluster_rows.py submits and kills: as recovery.c, but what comes out goes as a datagram to a port of this
 * host, the number of the record and the process that sends it, so that whoever measures learns of it at once.
 *
 *     generate -> key = number % keys -> update -> (one record in 256) datagram
 *
 *     weir submit failover.so --snapshots DIR -- keys=K port=P */
#include <weir/pipeline.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SAMPLE = 256 };

WEIR_RECORD(event, (uint64_t, n))
WEIR_RECORD(change, (uint64_t, key), (uint64_t, n))
WEIR_RECORD(sample, (uint64_t, n), (uint64_t, times))
WEIR_STATE(entry, (uint64_t, times), (uint64_t, sum), (uint64_t, most), (uint64_t, least), (uint64_t, first),
           (uint64_t, last), (uint64_t, odd))

WEIR_MAP(spread, event, in, change, out, ctx)
{
    out->key = in->n % (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "keys", 1000);
    out->n = in->n;
    return true;
}

WEIR_KEYED(update, change, in, entry, state, sample, out)
{
    if (state->times++ == 0) state->first = state->least = in->n;
    state->sum += in->n;
    if (in->n > state->most) state->most = in->n;
    if (in->n < state->least) state->least = in->n;
    state->odd += in->n & 1;
    state->last = in->n;
    if (in->n % SAMPLE == 0) sample_emit(out, (sample){.n = in->n, .times = state->times});
}

static __thread int to_bench = -1; /* of each slot */

WEIR_FILTER(tell, sample, in, ctx)
{
    if (to_bench < 0) {
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((uint16_t)weir_arg_i64(weir_ctx_args(ctx), "port", 9))};
        to_bench = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(to_bench, (struct sockaddr *)&at, sizeof at) != 0) weir_fail(ctx, "cannot reach the bench");
    }
    uint64_t said[2] = {in->n, (uint64_t)getpid()};
    return send(to_bench, said, sizeof said, 0) < 0; /* the sink gets nothing */
}

WEIR_PIPELINE(failover, p)
{
    event_stream  events = weir_source(event, p, "generator:?count=1000", .name = "events");
    change_stream changes = weir_apply(spread, events);
    sample_stream samples = weir_apply(update, weir_key_by(changes, key));
    weir_sink(weir_apply(tell, samples), "print:", .name = "samples");
}
