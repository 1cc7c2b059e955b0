/* Two outputs, and a third for what is wrong: readings go by their value, bad ones become dead letters with the reason.
 *
 *     $ weir build -q routed.c
 *     $ printf 'kiln,800\nroof,21\nkiln,1250\nroof,warm\nroof,-300\n' | weir run -q -p 1 routed.so -- limit=1000
 *     kiln,800
 *     roof,21
 *     $ cat alarms
 *     kiln,1250,1000
 *     $ sort bad
 *     check,colder than anything can be
 *     readings,field celsius: 'warm' is not a number
 */
#include <weir/pipeline.h>

WEIR_RECORD(reading, (weir_str, sensor), (double, celsius))
WEIR_RECORD(alarm, (weir_str, sensor), (double, celsius), (double, limit))
WEIR_RECORD(complaint, (weir_str, by), (weir_str, reason))
WEIR_OUTPUTS(routes, (reading, normal), (alarm, hot))

/* Not every wrong reading is unreadable: what this one finds goes the same way. */
WEIR_MAP(check, reading, in, reading, out, ctx)
{
    if (in->celsius < -273.15) return weir_reject(ctx, "colder than anything can be");
    *out = *in;
    return true;
}

WEIR_FLAT_MAP(route, reading, in, routes, out, ctx)
{
    double limit = weir_arg_f64(weir_ctx_args(ctx), "limit", 100);
    if (in->celsius <= limit) {
        reading_emit(&out->normal, *in);
    } else {
        alarm_emit(&out->hot, (alarm){.sensor = in->sensor, .celsius = in->celsius, .limit = limit});
    }
}

WEIR_MAP(complain, weir_dead, in, complaint, out)
{
    *out = (complaint){.by = in->uid, .reason = in->reason};
    return true;
}

WEIR_PIPELINE(routed, p)
{
    weir_configure(p, .on_error = WEIR_DEAD_LETTER);
    reading_stream readings = weir_source(reading, p, "stdin:", .name = "readings", .format = WEIR_CSV);
    routes_streams to = weir_apply(route, weir_apply(check, readings));
    weir_sink(to.normal, "print:", .name = "normal");
    weir_sink(to.hot, "file:alarms", .name = "hot");
    weir_sink(weir_apply(complain, weir_dead_letters(p)), "file:bad", .name = "bad");
}
