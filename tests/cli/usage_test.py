"""Verbs, flags, help, and weir build."""
import json
import os
import shutil
import subprocess

from kit import COUNT, HEAD, WEIR, Case, Result, main

PIPELINE = HEAD + COUNT + """
WEIR_PIPELINE(usage, p)
{
    weir_sink(weir_apply(count, weir_key_by(weir_apply(split, weir_source(line, p, "file:in.txt")), text)), "print:");
}
"""


PASS = HEAD + """
WEIR_PIPELINE(pass, p) { weir_sink(weir_source(line, p, "stdin:", .name = "in"), "print:", .name = "out"); }
"""


class Usage(Case):
    def test_alone_shows_one_line_for_each_verb(self):
        got = self.expect(self.weir(), 2, "usage: weir VERB")
        for verb in ("run", "build", "check", "plan", "version", "help"):
            self.assertEqual(got.err.count(f"\n  {verb} "), 1, got)

    def test_help_is_on_standard_output(self):
        self.assertIn("usage: weir VERB", self.expect(self.weir("help"), 0).out)
        self.assertIn("usage: weir VERB", self.expect(self.weir("--help"), 0).out)
        for args in (("help", "run"), ("run", "--help"), ("run", "-h")):
            got = self.expect(self.weir(*args), 0)
            for flag in ("--parallelism N", "--set NAME=URI", "--json", "--pin", "--state-max", "--quiet", "--connector"):
                self.assertIn(flag, got.out)

    def test_version(self):
        self.assertRegex(self.weir("version").out, r"^weir \d+\.\d+\.\d+ \(ABI \d+, headers \d+\)\n$")
        self.assertEqual(json.loads(self.weir("version", "--json").out)["abi"], 1)

    def test_unknown_verb(self):
        self.error(self.weir("rnu", "x.so"), 2, 101, "USAGE", "unknown verb: rnu; did you mean `weir run`?")
        self.error(self.weir("frobnicate"), 2, 101, "USAGE", "unknown verb: frobnicate; `weir help` lists them")
        self.error(self.weir("help", "plam"), 2, 101, "USAGE", "did you mean `weir plan`?")

    def test_unknown_flag(self):
        self.error(self.weir("run", "x.so", "--paralelism", "2"), 2, 101, "USAGE", "--paralelism; did you mean --parallelism?")
        self.error(self.weir("run", "x.so", "--jsn"), 2, 101, "USAGE", "did you mean --json?")
        self.error(self.weir("run", "x.so", "-z"), 2, 101, "USAGE", "unknown flag of `weir run`: -z")
        self.error(self.weir("plan", "x.so", "--quiet"), 2, 101, "USAGE", "unknown flag of `weir plan`: --quiet")

    def test_wrong_values(self):
        for value in ("0", "-1", "two", "99999", "3x"):
            self.error(self.weir("run", "x.so", "-p", value), 2, 101, "USAGE", "--parallelism takes a number from 1 to")
        self.error(self.weir("run", "x.so", "-p"), 2, 101, "USAGE", "--parallelism needs a value")
        self.error(self.weir("run", "x.so", "--state-max=much"), 2, 101, "USAGE", '--state-max takes a size .* not "much"')
        self.error(self.weir("run", "x.so", "--json=yes"), 2, 101, "USAGE", "--json takes no value")
        self.error(self.weir("run", "x.so", "--log", "loud"), 2, 101, "USAGE", '--log takes error, .* not "loud"')

    def test_wrong_number_of_arguments(self):
        self.error(self.weir("run"), 2, 101, "USAGE", "which one\\? usage: weir run PIPELINE.so")
        self.error(self.weir("run", "x.so", "y.so"), 2, 101, "USAGE", "one argument too many: y.so; usage")
        self.error(self.weir("run", "x.so", "limit=3"), 2, 101, "USAGE", "arguments of the pipeline stand behind --")
        self.error(self.weir("version", "--", "x"), 2, 101, "USAGE", "one argument too many: x")
        self.error(self.weir("version", "-1"), 2, 101, "USAGE", "unknown flag of `weir version`: -1")
        self.error(self.weir("stop", "--", "--json"), 4, 406, "NO_JOB", "no job --json runs here")
        self.expect(self.weir("version", "--"), 0)


class Build(Case):
    def test_beside_the_source_and_runs(self):
        os.makedirs(self.path("sub.dir"), exist_ok=True)
        self.write("sub.dir/p.c", PIPELINE)
        self.write("in.txt", "a b a\n")
        self.expect(self.weir("build", "sub.dir/p.c"), 0, "built sub.dir/p.so", out="")
        got = self.expect(self.weir("run", "-q", "-p1", "sub.dir/p.so"), 0, r"^$")
        self.assertEqual(got.out, "a,1\nb,1\na,2\n")

    def test_output_flag_and_more_flags(self):
        self.write("q.c", PIPELINE.replace("WEIR_PIPELINE(usage", "int number = NUMBER;\nWEIR_PIPELINE(usage"))
        self.expect(self.weir("build", "q.c", "-o", "other.so", "--", "-DNUMBER=3"), 0)
        self.assertTrue(os.path.exists(self.path("other.so")))
        self.expect(self.weir("check", "other.so"), 0)

    def test_exports_one_symbol(self):
        self.build("one", PIPELINE)
        names = subprocess.run(["nm", "-D", "--defined-only", self.path("one.so")], capture_output=True, check=True).stdout.decode()
        self.assertEqual([line.split()[-1] for line in names.splitlines()], ["weir_module_v1"])

    def test_as_cpp(self):
        self.write("c.cc", PIPELINE)
        self.expect(self.weir("build", "c.cc"), 0)
        self.expect(self.weir("check", "c.so"), 0)

    def test_shows_what_the_compiler_says(self):
        self.write("wrong.c", PIPELINE.replace(".text = token", ".txet = token"))
        got = self.expect(self.weir("build", "wrong.c"), 2, r"wrong\.c:\d+:\d+: error: .*txet", r"error\[E0102 CONFIG\]: the compiler")
        self.assertEqual(got.out, "")
        self.assertFalse(os.path.exists(self.path("wrong.so")))

    def test_what_cannot_be_compiled(self):
        self.error(self.weir("build", "none.c"), 1, 402, "NOT_FOUND", "cannot read none.c")
        self.error(self.weir("build", "x.so"), 2, 101, "USAGE", "compiled already.*weir run x.so")
        self.error(self.weir("build", "x.py"), 2, 101, "USAGE", "not a C or C\\+\\+ source")
        self.write("p.c", PIPELINE)
        self.error(self.weir("build", "p.c", env={"CC": "/none/cc"}), 1, 402, "NOT_FOUND", "cannot run the compiler /none/cc", "CC")

    def test_finds_its_headers_when_installed(self):
        for folder in ("prefix/bin", "prefix/include"):
            os.makedirs(self.path(folder), exist_ok=True)
        shutil.copy(WEIR, self.path("prefix/bin/weir"))
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/weir")
        shutil.copytree(source, self.path("prefix/include/weir"), dirs_exist_ok=True)
        self.write("prefix/include/weir/pipeline.h", '#error "this is the installed one"\n')
        self.write("p.c", PIPELINE)
        done = subprocess.run([self.path("prefix/bin/weir"), "build", "p.c"], capture_output=True, cwd=self.folder, check=False)
        self.assertIn("this is the installed one", done.stderr.decode())

    def test_closed_descriptors(self):
        """What is opened first must not take the number of standard input, output or error."""
        self.build("pass", PASS)

        def shell(line):
            done = subprocess.run(["sh", "-c", f'printf "a\\nb\\n" | "$WEIR" {line}'], capture_output=True, timeout=60,
                                  cwd=self.folder, env={**os.environ, "WEIR": WEIR}, check=False)
            return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

        self.expect(shell("run -q -p 1 pass.so"), 0, out="a\nb\n")
        self.expect(shell("run -q -p 1 pass.so <&-"), 0, out="")
        self.expect(shell("run -q -p 1 pass.so >&-"), 1, r"error\[E0401 IO\]: ")
        self.expect(shell("run -q -p 1 pass.so 2>&-"), 0, out="a\nb\n")
        self.expect(shell("run -q -p 1 none.so 2>&-"), 1, r"^$", out="")
        self.expect(shell("run -q -p 1 pass.so <&- 2>&-"), 0, out="")
        self.expect(shell("version >&-"), 1, r"error\[E0401 IO\]: .*standard output")
        self.expect(shell("check pass.so <&- 2>&-"), 0).out.index("pass: ok")


if __name__ == "__main__":
    main()
