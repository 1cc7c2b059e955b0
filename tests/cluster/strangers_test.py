"""What strangers send to the ports of a running cluster: garbage, halves, too much, nothing, the wrong protocol, the wrong token.
It is closed and counted; no job notices, no process grows, and friends still get through."""
import os
import random
import re
import resource
import socket
import struct
import time
import unittest
import urllib.request

import kit
from kit import Cluster, wait_until

HALF_OPEN, SILENT = 1000, 400
GROWTH_MAX = 12 << 20


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) << 10


def call(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def metric(address, name):
    """The sum of all lines of that name."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:{{[^}}]*}})? (\S+)$", text))


def hung_up(connection, seconds=30):
    """Reads until the other side ends it. What it said."""
    connection.settimeout(seconds)
    said = b""
    try:
        while True:
            got = connection.recv(65536)
            if not got:
                return said
            said += got
    except ConnectionError:
        return said
    finally:
        connection.close()


def insults(seed):
    """Bytes that are no message of ours, each with a name."""
    r = random.Random(seed)
    noise = r.randbytes(r.choice([1, 3, 4, 5, 71, 72, 73, 600, 5000]))
    return {
        "nothing": b"",
        "noise": noise,
        "a head and noise": struct.pack("<I", len(noise)) + noise,
        "a head and half of it": struct.pack("<I", 2000) + noise[:100],
        "too much": struct.pack("<I", 0x7fffffff) + noise,
        "the most": b"\xff" * 400,
        "an empty message": struct.pack("<I", 0) * 20,
        "deep msgpack": struct.pack("<I", 2000) + b"\x81" * 2000,
        "large msgpack": struct.pack("<I", 20) + b"\xdf\xff\xff\xff\xff" * 4,
        "HTTP": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "TLS": bytes.fromhex("16030100f0010000ec0303") + noise[:200],
        "zeros": bytes(5000),
    }


class TlsCluster(Cluster):
    def start_jobmanager(self, *args):
        return super().start_jobmanager("--bind", "localhost:0", *args)


class Strangers(kit.Case):
    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def cluster_with_job(self, c):
        pipeline = c.build("counts", kit.COUNTS)
        job = c.submit(pipeline, "-p", 4, "--snapshot-interval", "200ms", "--set", f"tallies=file:{c.path('out')}")
        c.wait_state(job, "RUNNING")
        wait_until(lambda: c.snapshots(job) > 0, "a first snapshot")
        ports = {"control": c.listens, "data 0": c.taskmanagers[0].behind("data"), "data 1": c.taskmanagers[1].behind("data")}
        http = [c.jobmanager.behind("http"), *(tm.behind("http") for tm in c.taskmanagers)]
        return job, ports, http

    def unharmed(self, c, job):
        before = c.snapshots(job)
        wait_until(lambda: c.snapshots(job) > before, "further snapshots")
        info = c.info(job)
        self.assertEqual((info["state"], info["restarts"]), ("RUNNING", 0))
        self.assertTrue(c.jobmanager.alive() and all(tm.alive() for tm in c.taskmanagers))

    def test_garbage_on_every_port(self):
        with Cluster(taskmanagers=2) as c:
            job, ports, http = self.cluster_with_job(c)
            strangers = []
            for name, address in [*ports.items(), *((f"http {i}", a) for i, a in enumerate(http))]:
                for seed in range(3):
                    for what, insult in insults(seed).items():
                        strangers.append((name, what, call(address)))
                        try:
                            strangers[-1][2].sendall(insult)
                            strangers[-1][2].shutdown(socket.SHUT_WR)
                        except OSError:
                            pass  # closed already
            for name, what, stranger in strangers:
                with self.subTest(port=name, what=what):
                    said = hung_up(stranger)
                    self.assertTrue((what == "HTTP" and name.startswith("http")) or b" 200 " not in said)
            self.assertGreaterEqual(metric(http[0], "weir_connections_refused_total"), 30)
            for address in http[1:]:
                self.assertGreaterEqual(metric(address, "weir_data_port_refused_total"), 30)
            self.unharmed(c, job)

    def test_a_thousand_half_open(self):
        with Cluster(taskmanagers=2) as c:
            job, ports, http = self.cluster_with_job(c)
            before = [(p, rss(p.pid)) for p in (c.jobmanager, c.taskmanagers[0])]
            for address in (ports["control"], ports["data 0"]):
                strangers = []
                for i in range(HALF_OPEN):
                    strangers.append(call(address))
                    if i % 3 == 0:
                        try:
                            strangers[-1].send(b"\x40")  # and then nothing more
                        except OSError:
                            pass
                self.expect(c.weir("list", "--timeout", "20s"), 0, "counts")  # friends get through
                for process, bytes_before in before:
                    self.assertLess(rss(process.pid) - bytes_before, GROWTH_MAX)
                began = time.monotonic()
                for stranger in strangers:  # all are closed by the other side, without a word of ours
                    hung_up(stranger, 60)
                self.assertLess(time.monotonic() - began, 45)
            self.assertGreaterEqual(metric(http[0], "weir_connections_refused_total"), HALF_OPEN)
            self.assertGreaterEqual(metric(http[1], "weir_data_port_refused_total"), HALF_OPEN)
            self.assertLessEqual(metric(http[0], "weir_connections"), 20)
            self.unharmed(c, job)

    def test_hundreds_silent_on_http(self):
        with Cluster(taskmanagers=2) as c:
            job, _, http = self.cluster_with_job(c)
            for address in http[:2]:
                strangers = [call(address) for _ in range(SILENT)]
                with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as answer:
                    self.assertEqual(answer.read(), b"ok\n")
                for stranger in strangers:
                    self.assertEqual(hung_up(stranger), b"")
                self.assertGreaterEqual(metric(address, "weir_http_refused_total"), SILENT)
            self.assertIn("HTTP port: closed a connection: there are too many that say nothing", c.logs())
            self.unharmed(c, job)

    def test_slow_senders(self):
        with Cluster(taskmanagers=2) as c:
            job, ports, _ = self.cluster_with_job(c)
            for address in ports.values():
                stranger, sent, began = call(address), 0, time.monotonic()
                stranger.settimeout(0.2)
                try:
                    while time.monotonic() - began < 30:  # a byte every fifth of a second does not buy more time
                        sent += stranger.send(b"\x00" if sent > 1 else b"\x40")
                        try:
                            if stranger.recv(4096) == b"":
                                break
                        except TimeoutError:
                            pass
                    else:
                        self.fail("a slow sender was kept")
                except ConnectionError:
                    pass
                stranger.close()
                self.assertLess(time.monotonic() - began, 15)
            self.unharmed(c, job)

    def test_wrong_token(self):
        with Cluster(taskmanagers=2) as c:
            job, _, http = self.cluster_with_job(c)
            other = c.path("other-token")
            with open(os.open(other, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
                file.write("0123456789abcdef0123456789abcdef\n")
            self.expect(c.weir("cancel", job, "--token", other), 8, "token is not that of this cluster")
            self.expect(c.weir("submit", c.path("counts.so"), "-d", "--token", other), 8, "token")
            self.assertGreaterEqual(metric(http[0], r'weir_connections_refused_total\{reason="wrong_token"\}'), 2)
            os.chmod(other, 0o644)
            self.expect(c.weir("list", "--token", other), 8, "chmod 600")
            self.unharmed(c, job)

    def test_tls(self):
        data = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "unit", "net", "testdata")
        pem = {key: os.path.join(data, name) for key, name in
               (("tls_cert", "localhost.pem"), ("tls_key", "localhost.key"), ("tls_ca", "ca.pem"))}
        with TlsCluster(taskmanagers=2, **pem) as c:
            job, _, http = self.cluster_with_job(c)
            c.weir("savepoint", job, c.path("savepoint"), code=0)
            without = {key: c.env.pop("WEIR_" + key.upper()) for key in pem}
            self.expect(c.weir("list", "--timeout", "10s"), 3, "TLS")
            self.expect(c.weir("list", "--timeout", "10s", "--tls-ca", os.path.join(data, "other-ca.pem")), 8, "certificate")
            # The JobManager wants a certificate of the caller's, too.
            self.assertIn(c.weir("list", "--timeout", "10s", "--tls-ca", without["tls_ca"]).code, (3, 8))
            self.expect(c.weir("list", "--tls-ca", without["tls_ca"], "--tls-cert", os.path.join(data, "client.pem"), "--tls-key",
                               os.path.join(data, "client.key")), 0, "counts")
            c.env.update({"WEIR_" + key.upper(): value for key, value in without.items()})
            self.unharmed(c, job)


if __name__ == "__main__":
    unittest.main()
