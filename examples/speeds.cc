// C++17: the same words. Options stand in the order in which the headers declare them, a rule of C++.
//
//     $ weir build -q speeds.cc
//     $ printf 'a7 100 kmh\nb2 50 kmh\na7 25 m/s\nb2 fast\na7 80 kmh\n' | weir run -q -p 2 speeds.so | sort
//     a7,3,90,100
//     b2,1,50,50
#include <charconv>
#include <string_view>
#include <weir/pipeline.h>

WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(speed, (weir_str, car), (double, kmh))
WEIR_RECORD(report, (weir_str, car), (uint64_t, n), (double, mean), (double, greatest))

namespace
{
std::string_view view(const weir_str &s)
{
    return {weir_str_data(&s), s.len};
}
weir_str string(std::string_view s)
{
    return weir_str_of(s.data(), s.size());
}

// The part before the next blank, which is taken off.
std::string_view word(std::string_view &rest)
{
    auto first = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), first.size() + 1));
    return first;
}
} // namespace

WEIR_MAP(parse, line, in, speed, out, ctx)
{
    auto rest = view(in->text);
    auto car = word(rest), number = word(rest), unit = word(rest);
    auto end = number.data() + number.size();
    auto [stopped, error] = std::from_chars(number.data(), end, out->kmh);
    if (error != std::errc{} || stopped != end) return weir_reject(ctx, "no speed");
    if (unit == "m/s") out->kmh *= 3.6;
    out->car = string(car);
    return true;
}

WEIR_AGGREGATE_FIELDS(sum_up, speed, report, (car, key, car), (n, count), (mean, mean, kmh), (greatest, max, kmh))

WEIR_PIPELINE(speeds, p)
{
    auto lines = weir_source(line, p, "stdin:", .name = "lines");
    auto speeds = weir_apply(parse, lines, .name = "speeds", .on_error = WEIR_SKIP);
    auto reports = weir_apply(sum_up, weir_window(weir_key_by(speeds, car), weir_one_window()));
    weir_sink(reports, "print:", .name = "result", .format = WEIR_CSV);
}
