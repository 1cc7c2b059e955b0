/* What tools/chaos runs and kills: a hash chain per key. Each record that comes out says where in its key's chain it
 * stands, which record made it, and the chain's value before and after: a record that is lost, counted twice or
 * processed on a state that is not its own breaks a chain. */
#include <weir/pipeline.h>

WEIR_RECORD(event, (uint64_t, n), (uint64_t, key))
WEIR_RECORD(link, (uint64_t, n), (uint64_t, key), (uint64_t, seq), (uint64_t, before), (uint64_t, after))
WEIR_STATE(chain, (uint64_t, seq), (uint64_t, value))

WEIR_KEYED(follow, event, in, chain, state, link, out)
{
    uint64_t before = state->value, mixed = (before ^ (in->n + 1)) * 0x9e3779b97f4a7c15u;
    state->value = (mixed ^ mixed >> 29) & 0xffffffffu;
    state->seq++;
    link_emit(out, (link){.n = in->n, .key = in->key, .seq = state->seq, .before = before, .after = state->value});
}

WEIR_PIPELINE(chaos, p)
{
    event_stream events = weir_source(event, p, "generator:?count=1000&keys=100", .name = "events");
    link_stream  links = weir_apply(follow, weir_key_by(events, key));
    weir_sink(links, "file:links", .name = "links");
}
