"""Files that are given as pipelines and are none, or are for others."""
import os
import struct

from kit import HEAD, Case, main

GOOD = HEAD + """
WEIR_PIPELINE(good, p) { weir_sink(weir_source(line, p, "file:in.txt"), "print:", .name = "out"); }
"""
BY_HAND = """#include <weir/op.h>
static void build(weir_pipeline *p) { (void)p; }
__attribute__((visibility("default"))) extern const weir_module weir_module_v1;
const weir_module weir_module_v1 = {
    .magic = WEIR_MODULE_MAGIC, .abi = WEIR_ABI, .header = WEIR_HEADER, .module_size = sizeof(weir_module), .op_size = sizeof(weir_op),
    .ctx_size = sizeof(weir_ctx), .out_size = sizeof(weir_out), .type_size = sizeof(weir_type), .field_size = sizeof(weir_field),
    .rows_size = sizeof(weir_rows), .str_size = sizeof(weir_str), .near_size = sizeof(weir_near), .name = "by_hand", .build = build,
    %s
};
"""
CONNECTOR = """#include <weir/connector.h>
#include <stdio.h>
static void put(weir_ctx *ctx)
{
    const weir_endpoint *e = weir_endpoint_of(ctx);
    for (uint32_t i = 0; i < ctx->n; i++) {
        weir_str text = weir_encode(ctx, (const char *)ctx->in + i * weir_endpoint_type(e)->size);
        printf("%s%.*s", weir_endpoint_str(e, "prefix"), (int)text.len, weir_str_data(&text));
    }
    fflush(stdout);
}
static const weir_op sink = { .abi_size = sizeof(weir_op), .kind = WEIR_OP_SINK, .name = "shout", .on_left = put };
static const weir_option_def option[] = { { "prefix", WEIR_OPTION_STR, 0, "> ", "what stands before each record" } };
__attribute__((visibility("default"))) extern const weir_connector weir_connector_v1;
const weir_connector weir_connector_v1 = {
    .magic = WEIR_CONNECTOR_MAGIC, .abi = ABI, .size = sizeof(weir_connector), .scheme = "shout", .summary = "shouts",
    .sink_formats = "text csv", .option = option, .options = 1, .sink = &sink,
};
"""


class Modules(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("good", GOOD)
        with open(cls.path("good.so"), "rb") as file:
            cls.good = file.read()

    def refused(self, name, code, number, text, *patterns):
        """The same by every verb that takes a pipeline, and before anything runs."""
        for verb in ("run", "check", "plan"):
            self.error(self.weir(verb, name), code, number, text, *patterns)

    def patched(self, name, offset, form, value):
        copy = bytearray(self.good)
        struct.pack_into(form, copy, offset, value)
        return self.write(name, bytes(copy)) and name

    def test_missing(self):
        self.refused("none.so", 1, 402, "NOT_FOUND", "cannot open the pipeline: No such file", "none.so; check the path")
        self.refused("good", 1, 402, "NOT_FOUND", "there is no file good; did you mean good.so?")

    def test_unreadable(self):
        if os.geteuid() == 0:
            self.skipTest("root reads everything")
        os.chmod(self.write("secret.so", self.good), 0)
        self.refused("secret.so", 8, 403, "PERMISSION", "secret.so")

    def test_not_a_shared_object(self):
        self.write("text.so", "hello\n" * 100)
        self.write("empty.so", "")
        os.makedirs(self.path("folder.so"), exist_ok=True)
        self.refused("text.so", 7, 201, "NOT_A_PIPELINE", "not a shared object; text.so; ")
        self.refused("empty.so", 7, 201, "NOT_A_PIPELINE", "not a shared object")
        self.refused("folder.so", 7, 201, "NOT_A_PIPELINE", "this is a folder")
        os.mkfifo(self.path("pipe.so"))
        self.refused("pipe.so", 7, 201, "NOT_A_PIPELINE", "this is a pipe or a device, not a file")

    def test_source_code(self):
        self.refused("good.c", 7, 201, "NOT_A_PIPELINE", "compile it first: weir build good.c")

    def test_cut_off(self):
        for n in (17, 60, 100, 1000, len(self.good) // 2):
            self.write("cut.so", self.good[:n])
            self.refused("cut.so", 7, 201, "NOT_A_PIPELINE", "cut.so")

    def test_a_program(self):
        self.refused("/proc/self/exe", 7, 201, "NOT_A_PIPELINE")

    def test_library_without_descriptor(self):
        self.write("lib.c", "int f(void);\nint f(void) { return 1; }\n")
        self.expect(self.weir("build", "-q", "lib.c"), 0)
        self.refused("lib.so", 7, 201, "NOT_A_PIPELINE", "exports no weir_module_v1", "lib.so")

    def test_other_cpu(self):
        machine = struct.unpack_from("<H", self.good, 18)[0]
        name, other = ("AArch64", 183) if machine != 183 else ("x86-64", 62)
        self.refused(self.patched("cpu.so", 18, "<H", other), 7, 203, "WRONG_CPU", f"built for {name}, and this is ", "cpu.so")
        self.refused(self.patched("class.so", 18, "<H", 3), 7, 203, "WRONG_CPU", r"x86 \(32 bits\)")
        self.refused(self.patched("x32.so", 4, "B", 1), 7, 203, "WRONG_CPU", r"built for (\S+) with addresses of 32 bits, and this is \1")

    def test_other_abi(self):
        self.build("fine", BY_HAND % ".file = __FILE__")
        self.expect(self.weir("check", "fine.so"), 2, "GRAPH")  # loaded: it is only empty
        self.build("abi", BY_HAND % ".abi = 99")
        self.refused("abi.so", 7, 202, "WRONG_ABI", r"built for ABI 99, and Weir \S+ has ABI 1; abi.so; compile it again")

    def test_sizes(self):
        for member, struct_name in (("out_size", "weir_out"), ("str_size", "weir_str"), ("field_size", "weir_field")):
            for by in (-8, 8):  # strided: equal or nothing
                self.build("size", BY_HAND % f".{member} = sizeof({struct_name}) + {by}")
                self.refused("size.so", 7, 202, "WRONG_ABI", rf"{struct_name} has \d+ bytes, and Weir \S+ \(headers \d+\) has \d+")
        self.build("older", BY_HAND % ".ctx_size = sizeof(weir_ctx) - 16")
        self.expect(self.weir("check", "older.so"), 2, "GRAPH")
        self.build("newer", BY_HAND % ".ctx_size = sizeof(weir_ctx) + 16")
        self.refused("newer.so", 7, 202, "WRONG_ABI", "weir_ctx")

    def test_wrong_mark(self):
        self.build("mark", BY_HAND % ".magic = 7")
        self.refused("mark.so", 7, 201, "NOT_A_PIPELINE", "does not begin with its mark")
        self.build("null", BY_HAND % ".build = 0")
        self.refused("null.so", 7, 201, "NOT_A_PIPELINE", "no build function")

    def test_missing_symbols(self):
        self.build("needs", GOOD + "extern int no_such_function(void);\nint (*force)(void) = no_such_function;\n", "-fvisibility=default")
        self.refused("needs.so", 7, 201, "NOT_A_PIPELINE", "it needs no_such_function", "-lNAME")
        self.build("later", GOOD + "extern int weir_from_the_future(void);\nint (*force)(void) = weir_from_the_future;\n",
                   "-fvisibility=default")
        self.refused("later.so", 7, 202, "WRONG_ABI", r"it needs weir_from_the_future, which Weir \S+ does not have")

    def test_connector_files(self):
        for verb in ("run", "check", "plan"):
            self.error(self.weir(verb, "good.so", "--connector", "none.so"), 1, 402, "NOT_FOUND", "cannot open the connector")
            self.error(self.weir(verb, "good.so", "--connector", "good.so"), 7, 201, "NOT_A_PIPELINE", "not a connector")

    def test_connector_of_a_third_party(self):
        self.build("shout", CONNECTOR, "-DABI=WEIR_ABI")
        self.build("old", CONNECTOR, "-DABI=99")
        self.write("in.txt", "a long line of text\nb\n")
        flags = ("run", "good.so", "-q", "-p1", "--set", "out=shout:?prefix=!", "--connector")
        self.expect(self.weir(*flags, "shout.so"), 0, r"^$", out="!a long line of text\n!b\n")
        self.error(self.weir(*flags, "old.so"), 7, 202, "WRONG_ABI", "a connector of ABI 99, and this Weir has 1")
        self.error(self.weir("run", "good.so", "--set", "out=shuot:", "--connector", "shout.so"), 2, 302, "URI", "shuot", "did you mean.*shout")
        self.expect(self.weir("check", "good.so", "--set", "out=shout:?format=csv", "--connector", "shout.so"), 0)
        self.error(self.weir("check", "good.so", "--set", "out=shout:?format=csv&header=true", "--connector", "shout.so"), 2, 303, "OPTION",
                   "'shout:' reads and writes records one by one, .* knows no header line; leave header out")
        self.error(self.weir("run", "good.so", "--set", "out=shout:?prefx=1", "--connector", "shout.so"), 2, 303, "OPTION",
                   "did you mean.*prefix")

    def test_good_one(self):
        got = self.expect(self.weir("check", "good.so"), 0, r"^$")
        self.assertRegex(got.out, r"^good: ok: 2 operators in \d+ tasks?, \d+ subtasks, \d+ slots\n$")


if __name__ == "__main__":
    main()
