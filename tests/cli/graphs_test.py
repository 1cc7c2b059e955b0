"""Pipelines that are not valid."""
import json

from kit import COUNT, HEAD, Case, main

TEXT = HEAD + COUNT + """
WEIR_MAP(copy, word, in, word, out) { *out = *in; return true; }
WEIR_PIPELINE(graph, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt");
    word_stream words = weir_apply(split, lines);
    %s
}
"""
GOOD = 'weir_sink(weir_apply(count, weir_key_by(words, text)), "print:");'


class Graphs(Case):
    def of(self, body):
        self.build("graph", TEXT % body)
        return "graph.so"

    def refused(self, body, *patterns, number=301, name="GRAPH"):
        so = self.of(body)
        for verb in ("check", "run", "plan"):
            self.error(self.weir(verb, so), 2, number, name, *patterns)

    def test_uid_twice(self):
        self.refused('word_stream a = weir_apply(copy, words, .uid = "me", .name = "a"), b = weir_apply(copy, a, .uid = "me", .name = "b");'
                     ' weir_sink(b, "print:");', "(?s)uid.*'?me'?")

    def test_name_twice(self):
        self.refused('weir_sink(words, "print:", .name = "out", .uid = "a"); weir_sink(words, "blackhole:", .name = "out", .uid = "b");',
                     "name", "out")

    def test_parallelism_above_the_maximum(self):
        self.refused('weir_sink(weir_apply(copy, words, .parallelism = 100000), "print:");', "copy", "100000")

    def test_output_without_consumer(self):
        self.refused('weir_sink(weir_apply(copy, words), "print:"); weir_apply(copy, words, .name = "lost");', "lost")

    def test_unknown_scheme(self):
        self.refused('weir_sink(words, "prnt:");', "prnt", "did you mean .*print", number=302, name="URI")

    def test_unknown_option(self):
        self.refused('weir_sink(words, "file:out.csv?heder=true");', "heder", "did you mean .*header", number=303, name="OPTION")

    def test_unknown_format(self):
        self.refused('weir_sink(words, "file:out.csv", .format = "cvs");', "cvs", number=304, name="FORMAT")

    def test_all_problems_at_once(self):
        so = self.of('weir_sink(words, "prnt:", .name = "x"); weir_sink(words, "file:o?heder=1", .name = "y");'
                     ' weir_apply(copy, words, .name = "lost");')
        got = self.expect(self.weir("check", so), 2, r"the pipeline graph has 3 problems:\n  1\. ", r"\n  2\. ", r"\n  3\. ")
        for word in ("prnt", "heder", "lost"):
            self.assertIn(word, got.err)
        self.assertNotIn("4.", got.err)

    def test_what_does_not_run_yet(self):
        self.refused('weir_sink(words, "print:"); weir_configure(p, .mode = WEIR_MICRO_BATCH);', "micro-batch mode .* yet", number=103, name="NOT_YET")

    def test_intervals_of_snapshots(self):
        for every in (-1, 1000):
            self.refused(GOOD + f" weir_configure(p, .snapshot_every = {every});", rf"snapshot_every is {every} ns, .* at least 1 ms",
                         number=303, name="OPTION")

    def test_rule_of_a_time_to_live_without_one(self):
        self.refused('weir_sink(weir_apply(count, weir_key_by(words, text), .ttl_rule = WEIR_TTL_ON_READ), "print:");',
                     r"operator 'count' .*\.ttl_rule without \.ttl", number=303, name="OPTION")

    def test_options_of_another_uri(self):
        so = self.of(GOOD.replace('"print:"', '"print:", .name = "out", .header = true'))
        self.expect(self.weir("check", so, "--set", "out=file:x?format=text"), 2, "takes one field")  # the header is dropped, not the rest
        self.expect(self.weir("check", so, "--set", "line=file:in.txt"), 0)
        self.error(self.weir("check", so, "--set", "line=file:in.txt?header=true"), 2, 303, "OPTION", "header and separator are for CSV, but its format is text")
        self.error(self.weir("check", so, "--set", "line=file:in.txt?separator=;"), 2, 303, "OPTION", "header and separator are for CSV")

    def test_set(self):
        so = self.of(GOOD)
        self.error(self.weir("run", so, "--set", "lins=file:x"), 2, 101, "USAGE", "lins", "did you mean.*line")
        self.error(self.weir("run", so, "--set", "line"), 2, 101, "USAGE", "--set")

    def test_plan(self):
        so = self.of(GOOD)
        got = self.expect(self.weir("plan", so, "-p", "2"), 0, r"^$")
        for word in ("job graph", "chains", "execution graph", "line -> split", "hash by text"):
            self.assertIn(word, got.out)
        plan = json.loads(self.weir("plan", so, "-p", "2", "--json").out)
        self.assertEqual(plan, json.loads(self.weir("plan", so, "--json", "--parallelism=2").out))
        self.assertIn("split", json.dumps(plan))

    def test_check_as_json(self):
        got = json.loads(self.weir("check", self.of(GOOD), "--json", "-p", "3").out)
        self.assertEqual((got["job"], got["ok"], got["operators"], got["slots"]), ("graph", True, 4, 3))
        self.assertEqual(got["problems"], [])

    def told(self, code, *args):
        """The one document that check --json prints; the exit code is that of check."""
        got = self.weir("check", "--json", *args)
        self.assertEqual((got.code, self.weir("check", *args).code), (code, code), got)
        document = json.loads(got.out)
        self.assertFalse(document["ok"])
        return document

    def test_problems_as_json(self):
        got = self.told(2, self.of('weir_sink(words, "prnt:", .name = "x"); weir_sink(words, "file:o?heder=1", .name = "y");'
                                   ' weir_configure(p, .parallelism = 40000);'))
        self.assertEqual(got["job"], "graph")
        self.assertEqual(sorted((p["code"], p["name"], p["operator"]) for p in got["problems"]),
                         [("E0301", "GRAPH", None), ("E0302", "URI", "x"), ("E0303", "OPTION", "y")])
        for problem in got["problems"]:
            self.assertRegex(problem["text"], {"x": "prnt", "y": "heder", None: "40000"}[problem["operator"]])
        got = self.told(2, self.of('weir_sink(words, "prnt:", .name = "alone");'))
        self.assertEqual([p["operator"] for p in got["problems"]], ["alone"])

    def test_what_is_no_graph_as_json(self):
        for body, text in (("abort();", "crashed"), ("_exit(0);", "exit code 0"), ("exit(3);", "ended"), ("_exit(66 + 11);", "77")):
            got = self.weir("check", "--json", self.of(GOOD + body))
            problem, = json.loads(got.out)["problems"]
            self.assertEqual(problem["name"], "CRASH")
            self.assertRegex(problem["text"], text)
            self.assertEqual(got.code, self.weir("check", "graph.so").code)
        problem, = self.told(1, "none.so")["problems"]
        self.assertEqual((problem["code"], problem["operator"]), ("E0402", None))
        self.write("text.so", "hello")
        self.assertEqual(self.told(7, "text.so")["problems"][0]["name"], "NOT_A_PIPELINE")

    def test_more_problems_than_are_kept(self):
        so = self.of('for (int i = 0; i < 100; i++) { char name[9]; snprintf(name, 9, "s%d", i);'
                     ' weir_sink(words, "prnt:", .name = name); }')
        got = self.expect(self.weir("check", so), 2, "the pipeline graph has 100 problems:", r"\n  64\. ", r"\n  and 36 more")
        self.assertNotIn("65.", got.err)
        got = self.told(2, so)
        self.assertEqual((len(got["problems"]), got["more"]), (64, 36))


if __name__ == "__main__":
    main()
