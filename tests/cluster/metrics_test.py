"""What /metrics serves: that docs/metrics.md has it all, and that JobManager and TaskManager say the same of the same workers."""
import os
import re
import urllib.request

import kit
from kit import Cluster, wait_until

# Something for every name: own metrics of each kind, keys, event time, two workers that send to each other.
MEASURES = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n), (weir_time, at))
WEIR_RECORD(sum, (uint64_t, n), (uint64_t, many))
static const weir_counter   even = {"even-ones"}, same = {"even.ones"}; /* which read the same in Prometheus */
static const weir_gauge     last = {"last"};
static const weir_histogram digits = {"digits"};
WEIR_FILTER(look, event, in, ctx)
{
    weir_counter_add(ctx, &even, in->n % 2 == 0);
    weir_counter_add(ctx, &same, 1);
    weir_gauge_set(ctx, &last, (double)in->n);
    weir_histogram_add(ctx, &digits, in->n % 10);
    return true;
}
WEIR_AGGREGATE_FIELDS(many, event, sum, (n, key, n), (many, count))
WEIR_PIPELINE(measures, p)
{
    event_stream events = weir_source(event, p, "generator:?keys=100&rate=5000", .name = "events");
    event_stream timed = weir_event_time(weir_apply(look, events), at);
    weir_sink(weir_apply(many, weir_window(weir_key_by(timed, n), weir_tumbling(WEIR_SECOND))), "blackhole:", .name = "out");
}
"""
LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def read(address):
    """name -> (type, set of its labels' names, lines with labels as a sorted tuple -> value). Checks the format, too."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found, name = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if name in found:
                raise AssertionError(f"{name} comes twice")
            found[name] = (kind, set(), {})
            continue
        of, labels, value = LINE.match(line).groups()
        if of not in ((name,) if found[name][0] != "summary" else (name + "_sum", name + "_count")):
            raise AssertionError(f"below {name}: {line}")
        pairs = tuple(sorted(LABEL.findall(labels or "")))
        if (of, pairs) in found[name][2]:
            raise AssertionError(f"twice: {line}")
        found[name][1].update(label for label, _ in pairs)
        found[name][2][(of, pairs)] = float(value)
    return found


def documented(*parts):
    """name -> (type, set of labels) of those tables."""
    with open(os.path.join(kit.cluster.ROOT, "docs/metrics.md"), encoding="utf-8") as file:
        page = file.read()
    found = {}
    for part in parts:
        table = page.split(f"<!-- metrics: {part} -->")[1].split("\n\n")[0]
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", table, re.M):
            found[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
    return found


class Metrics(kit.Case):
    def running(self, c):
        job = c.submit(c.build("measures", MEASURES), "-p", "2", "--snapshot-interval", "1h")
        c.wait_state(job, "RUNNING")
        self.expect(c.weir("snapshot", job), 0)
        return job

    def scrape(self, c):
        """The JobManager's, and that of one TaskManager, when both have figures of event time and of the pipeline itself,
        and the JobManager those of both subtasks."""
        def both():
            got = [read(c.jobmanager.behind("http")), read(c.taskmanagers[0].behind("http"))]
            if not all(one["weir_watermark_timestamp_seconds"][2] and "weir_user_digits" in one for one in got):
                return None
            return got if len(got[0]["weir_user_digits"][2]) == 2 * 2 else None  # _sum and _count
        return wait_until(both, "figures of the workers")

    def own(self, served):
        return {name: served.pop(name) for name in list(served) if name.startswith("weir_user_")}

    def test_the_page_has_all_that_is_served(self):
        with Cluster(taskmanagers=2, slots=1) as c:
            self.running(c)
            for served, part in zip(self.scrape(c), ("jobmanager", "taskmanager")):
                with self.subTest(part):
                    own = self.own(served)
                    page = documented("workers", part, "process")
                    self.assertEqual(sorted(served), sorted(page))
                    for name, (kind, labels, lines) in served.items():
                        self.assertEqual(kind, page[name][0], name)
                        self.assertTrue(lines, f"{name} has no line")
                        self.assertEqual(labels, page[name][1], name)
                    self.assertEqual({name: kind for name, (kind, _, _) in own.items()},
                                     {"weir_user_even_ones": "counter", "weir_user_last": "gauge", "weir_user_digits": "summary"})
                    for name, (_, labels, lines) in own.items():
                        self.assertEqual(labels, {"job", "id", "operator", "subtask"})
                        self.assertEqual({dict(pairs)["operator"] for _, pairs in lines}, {"look"})
                    hidden = list(served["weir_hidden_user_metrics"][2].values())
                    self.assertEqual(hidden, [2.0 if part == "jobmanager" else 1.0])  # even.ones, of each subtask

    def test_both_name_the_same_things_alike(self):
        with Cluster(taskmanagers=1, slots=2) as c:
            job = self.running(c)

            def differ():
                jm, tm = self.scrape(c)
                names = [name for name in jm if name in documented("workers") or name.startswith("weir_user_")]
                return [name for name in names if sorted(jm[name][2]) != sorted(tm.get(name, "  ?")[2])]
            wait_until(lambda: not differ(), lambda: f"the same lines of {differ()}")
            _, tm = self.scrape(c)
            of_job = ("job", "measures"), ("id", job)
            for _, pairs in tm["weir_task_time_seconds_total"][2]:
                self.assertTrue(set(of_job) <= set(pairs), pairs)
            tasks = {dict(pairs)["task"] for _, pairs in tm["weir_task_time_seconds_total"][2]}
            self.assertIn("many -> out", tasks)
            self.assertIn(("many", "1"), {(dict(pairs)["operator"], dict(pairs)["subtask"]) for _, pairs in tm["weir_keys"][2]})


if __name__ == "__main__":
    kit.main()
