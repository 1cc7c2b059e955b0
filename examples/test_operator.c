/* A test of an operator: records are pushed and pulled by hand, and time is moved by hand. No thread, no waiting.
 *
 *     $ cc $(pkg-config --cflags weir) test_operator.c $(pkg-config --libs weir) -o test_operator
 *     $ LD_LIBRARY_PATH=$(pkg-config --variable=libdir weir) ./test_operator
 *     well
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <weir/test.h>

WEIR_RECORD(alarm, (weir_str, sensor), (uint32_t, code))
WEIR_STATE(quiet, (weir_time, until))

static const weir_counter repeated = {"repeated"};

/* Under test: the same sensor is heard once a minute. */
WEIR_KEYED(once_a_minute, alarm, in, quiet, st, alarm, out, ctx)
{
    if (weir_now(ctx).ns < st->until.ns) {
        weir_counter_add(ctx, &repeated, 1);
        return;
    }
    st->until = weir_after(weir_now(ctx), WEIR_MINUTE);
    alarm_emit(out, *in);
}

int main(void)
{
    weir_test   *t = weir_test_new(NULL);
    alarm_stream alarms = weir_source(alarm, weir_test_pipeline(t), "test:");
    alarm_stream heard = weir_apply(once_a_minute, weir_key_by(alarms, sensor));
    alarm        got;

    weir_test_push(t, alarms, (alarm){weir_lit("the boiler in the cellar"), 1});
    weir_test_push(t, alarms, (alarm){weir_lit("the boiler in the cellar"), 2});
    weir_test_push(t, alarms, (alarm){weir_lit("door"), 3});
    assert(weir_test_pull(t, heard, &got) && got.code == 1 && got.sensor.len == 24);
    assert(weir_test_pull(t, heard, &got) && got.code == 3);
    assert(!weir_test_pull(t, heard, &got));

    weir_test_advance(t, WEIR_MINUTE);
    weir_test_push(t, alarms, (alarm){weir_lit("the boiler in the cellar"), 4});
    assert(weir_test_pull(t, heard, &got) && got.code == 4);
    assert(weir_test_counter(t, "once_a_minute", "repeated") == 1);

    weir_test_end(t);
    assert(!weir_test_why(t));
    weir_test_free(t);
    puts("well");
    return 0;
}
