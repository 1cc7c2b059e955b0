"""weir config: every setting, where each value comes from, and what is refused."""
import json
import os
import subprocess

import kit

CLEAN = {'WEIR_CONFIG': '', 'XDG_STATE_HOME': '/nonexistent'}


class Config(kit.Case):
    def config(self, *args, text=None, env=None):
        env = {**CLEAN, **(env or {})}
        if text is not None:
            args = (*args, "--config", self.write("weir.conf", text))
        return self.weir("config", *args, env=env)

    def rows(self, *args, **more):
        return {row["key"]: row for row in json.loads(self.expect(self.config("--json", *args, **more), 0).out)}

    def test_defaults_and_sources(self):
        rows = self.rows()
        self.assertEqual(rows["heartbeat-timeout"]["value"], "5s")
        self.assertEqual({row["source"] for row in rows.values()}, {"default"})
        for key, row in rows.items():
            self.assertEqual(row["variable"], "WEIR_" + key.upper().replace("-", "_"))
            self.assertGreater(len(row["help"]), 10, key)

    def test_who_wins(self):
        text = "# a comment\n\n  lease = 3s \nheartbeat-timeout=4s\nlog = warn\n"
        rows = self.rows(text=text, env={"WEIR_LEASE": "2s", "WEIR_CLUSTER_DIR": "/tmp/from-variable"})
        self.assertEqual((rows["lease"]["value"], rows["lease"]["source"]), ("2s", "$WEIR_LEASE"))
        self.assertEqual(rows["heartbeat-timeout"]["value"], "4s")
        self.assertRegex(rows["heartbeat-timeout"]["source"], r"/weir\.conf:4$")
        rows = self.rows("--cluster-dir", "/tmp/from-flag", env={"WEIR_CLUSTER_DIR": "/tmp/from-variable"})
        self.assertEqual((rows["cluster-dir"]["value"], rows["cluster-dir"]["source"]), ("/tmp/from-flag", "--cluster-dir"))

    def test_what_the_cluster_left_for_clients_is_below_the_file(self):
        os.makedirs(self.path("c"), exist_ok=True)
        self.write("c/client.conf", "jobmanager = 127.0.0.1:7001\ntoken = /tmp/t\n")
        rows = self.rows("--cluster-dir", "c", text="jobmanager = 127.0.0.1:7002\n")
        self.assertEqual(rows["jobmanager"]["value"], "127.0.0.1:7002")
        self.assertEqual(rows["token"]["value"], "/tmp/t")
        self.assertRegex(rows["token"]["source"], r"c/client\.conf:2$")

    def test_another_jobmanager_has_a_token_of_its_own(self):
        os.makedirs(self.path("c"), exist_ok=True)
        self.write("c/client.conf", f"jobmanager = 127.0.0.1:7001\ntoken = {self.path('none')}\n")
        argv = [kit.WEIR, "jobmanager", "--dir", self.path("jm"), "--bind", "127.0.0.1:0"]
        env = {**os.environ, **CLEAN, "WEIR_CLUSTER_DIR": self.path("c")}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True) as process:
            try:
                said = process.stdout.readline()
            finally:
                process.terminate()
        self.assertIn("jobmanager 127.0.0.1:", said)
        self.assertTrue(os.path.exists(self.path("jm/token")))

    def test_unknown_variables(self):
        for name, words in (("WEIR_HARTBEAT_TIMEOUT", r"unknown variable: WEIR_HARTBEAT_TIMEOUT; did you mean WEIR_HEARTBEAT_TIMEOUT\?"),
                            ("WEIR_SLOTS", r"did you mean WEIR_TASKMANAGER_SLOTS\?"),
                            ("WEIR_LEASES", r"did you mean WEIR_LEASE\?"),
                            ("WEIR_lease", r"did you mean WEIR_LEASE\?"),
                            ("WEIR_ZZZZZZZZ", r"unknown variable: WEIR_ZZZZZZZZ; .*`weir config` lists them"),
                            ("WEIR_", "unknown variable: WEIR_;")):
            self.error(self.config(env={name: "3s"}), 2, 102, "CONFIG", words)
            self.expect(self.config(env={name: ""}), 0)
        self.error(self.weir("list", env={**CLEAN, "WEIR_JOBMANGER": "127.0.0.1:1"}), 2, 102, "CONFIG", "did you mean WEIR_JOBMANAGER")
        for name in ("WEIR_IO", "WEIR_WORKER_LOG", "WEIRD", "MY_WEIR_LEASE"):
            self.expect(self.config(env={name: "thread"}), 0)

    def test_places_of_the_file(self):
        home = self.path("home")
        os.makedirs(home + "/.config/weir")
        self.write("home/.config/weir/weir.conf", "lease = 9s\n")
        env = {"HOME": home, "XDG_STATE_HOME": "/nonexistent", "XDG_CONFIG_HOME": ""}
        at_home = {key: value for key, value in env.items()}
        self.assertEqual(self.expect(self.weir("config", "lease", env={**at_home, "WEIR_CONFIG": ""}), 0).out, "5s\n")
        before = os.environ.pop("WEIR_CONFIG", None)
        try:
            self.assertEqual(self.expect(self.weir("config", "lease", env=at_home), 0).out, "9s\n")
        finally:
            if before is not None:
                os.environ["WEIR_CONFIG"] = before

    def test_one_value(self):
        self.assertEqual(self.expect(self.config("restart-delay-most"), 0).out, "1m\n")
        self.error(self.config("leese"), 2, 101, "USAGE", "unknown key: leese; did you mean lease")

    def test_refused(self):
        for text, words in (("leese = 3s\n", r"unknown key: leese; .*weir\.conf:1; did you mean lease\?"),
                            ("slots = 3\n", r"unknown key: slots; .*; did you mean taskmanager-slots\?"),
                            ("zzzzzzzzzz = 3\n", r"`weir config` lists them"),
                            ("lease\n", r"not KEY = VALUE: lease; .*weir\.conf:1"),
                            ("lease = 1s\nlease = 2s\n", r"lease is given twice; .*weir\.conf:2 and line 1"),
                            ("lease = soon\n", r'lease \(.*weir\.conf:1\) takes a time .* not "soon"'),
                            ("lease =\n", r"lease \(.*weir\.conf:1\) takes "),
                            ("jobmanager = nowhere\n", r"takes an address: HOST:PORT"),
                            ("jobmanager = a:70000\n", r"takes an address: HOST:PORT"),
                            ("taskmanager-slots = 300\n", r"takes a number from 0 to 256"),
                            ("restart = often\n", r"takes none, fixed, exponential or failure-rate"),
                            ("restart-factor = 0.5\n", r"takes a factor from 1 to 100"),
                            ("insecure = maybe\n", r"takes yes or no"),
                            (b"lease = \0\n", r"is no configuration file"),
                            ("#" * 70000, r"is no configuration file: .* at most 65536 bytes")):
            self.error(self.config(text=text), 2, 102, "CONFIG", words)
        self.error(self.config(env={"WEIR_LEASE": "soon"}), 2, 102, "CONFIG", 'WEIR_LEASE takes a time .* not "soon"')
        self.error(self.config("--cluster-dir", ""), 2, 101, "USAGE", "--cluster-dir needs a value: DIR")
        self.error(self.weir("config", "--config", "nothing.conf"), 1, 402, "NOT_FOUND", "there is no configuration file nothing.conf")

    def test_every_verb_that_configures_refuses_a_wrong_file(self):
        path = self.write("wrong.conf", "leese = 3s\n")
        for verb in (("run", "x.so"), ("submit", "x.so"), ("list",), ("jobmanager",), ("taskmanager",), ("cluster", "status")):
            self.error(self.weir(*verb, "--config", path), 2, 102, "CONFIG", "unknown key: leese")

    def test_times_that_would_end_all_workers(self):
        often = r"the heartbeat interval \(%d ms\) is longer than half of the lease of workers \(%d ms\).*; make the interval shorter, or"
        for times, words in (({"heartbeat-interval": "10s"}, often % (10000, 5000)),
                             ({"heartbeat-interval": "2501ms"}, often % (2501, 5000)),
                             ({"lease": "900us"}, often % (1000, 1)),
                             ({"lease": "6s"}, r"the heartbeat timeout \(5000 ms\) is shorter than the lease of workers \(6000 ms\); make it longer")):
            file = self.write("times.conf", "".join(f"{key} = {value}\n" for key, value in times.items()))
            variables = {"WEIR_" + key.upper().replace("-", "_"): value for key, value in times.items()}
            for flags, env in (([x for key, value in times.items() for x in ("--" + key, value)], {}), ([], variables), (["--config", file], {})):
                got = self.weir("jobmanager", "--dir", self.path("refused"), "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", *flags,
                                env={**CLEAN, **env}, timeout=30)
                self.error(got, 2, 102, "CONFIG", words)
                self.assertFalse(os.path.lexists(self.path("refused")))  # neither folder nor token

    def test_run_obeys_the_file(self):
        text = "state-max = 1\nlog = loud\n"
        self.error(self.weir("run", "x.so", "--config", self.write("loud.conf", text)), 2, 102, "CONFIG", "takes error, warn")


class Clients(kit.Case):
    def test_nobody_there(self):
        token = self.write("token", "0123456789abcdef0123456789abcdef\n")
        os.chmod(token, 0o600)
        where = ("--jobmanager", "127.0.0.1:1", "--token", token)
        for verb in (("info", "x"), ("wait", "x"), ("cancel", "x"), ("why", "x"), ("logs", "x"), ("top",), ("rescale", "x", "-p", "2"),
                     ("taskmanagers",), ("drain", "x"), ("list",), ("stop", "x"), ("snapshots", "x")):
            got = self.weir(*verb, *where, env=CLEAN)
            self.expect(got, 3, r"error\[E0405 UNREACHABLE\]: the JobManager 127\.0\.0\.1:1 ")

    def test_no_token(self):
        got = self.weir("info", "x", "--jobmanager", "127.0.0.1:1", "--token", "nothing", env=CLEAN)
        self.error(got, 3, 405, "UNREACHABLE", "there is no token of a cluster; .*nothing; start one by `weir cluster start`")
        token = self.write("open-token", "0123456789abcdef0123456789abcdef\n")
        os.chmod(token, 0o644)
        self.error(self.weir("info", "x", "--jobmanager", "127.0.0.1:1", "--token", token, env=CLEAN), 8, 403, "PERMISSION", "open-token")

    def test_wrong_use(self):
        self.error(self.weir("rescale", "x", env=CLEAN), 2, 101, "USAGE", "how many\\? usage: weir rescale JOB -p N")
        self.error(self.weir("info", env=CLEAN), 2, 101, "USAGE", "which one\\? usage: weir info JOB")
        self.error(self.weir("cluster", "strat", env=CLEAN), 2, 101, "USAGE", "did you mean start\\?")
        self.error(self.weir("submit", "nothing.so", env=CLEAN), 1, 402, "NOT_FOUND", "nothing.so")
        self.error(self.weir("submit", "x.so", "--restart", "often", env=CLEAN), 2, 101, "USAGE", "--restart takes none, fixed")

    def test_a_broken_pipeline_is_told_before_anybody_is_asked(self):
        self.build("broken", kit.HEAD + "WEIR_PIPELINE(broken, p) { (void)p; abort(); }")
        self.expect(self.weir("submit", "broken.so", env=CLEAN), 5, "build function of broken|crash")
        self.build("empty", kit.HEAD + "WEIR_PIPELINE(empty, p) { (void)p; }")
        self.expect(self.weir("submit", "empty.so", env=CLEAN), 2, r"E0301 GRAPH")

    def test_no_cluster(self):
        got = self.weir("cluster", "status", "--cluster-dir", self.path("none"), env=CLEAN)
        self.assertEqual((got.code, got.out), (3, f"no cluster was started in {self.path('none')}\n"))
        got = self.weir("cluster", "stop", "--cluster-dir", self.path("none"), env=CLEAN)
        self.assertEqual((got.code, got.out), (0, "no cluster runs\n"))
        self.assertEqual(self.expect(self.weir("list", "--json", env=CLEAN), 0).out[0], "[")


if __name__ == "__main__":
    kit.main()
