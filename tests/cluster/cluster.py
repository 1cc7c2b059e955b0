"""Real processes: a JobManager, TaskManagers and jobs, started, asked, killed and paused by tests. Ports are free ones, folders
temporary, and nothing waits for a time: only for conditions, with a patience that a busy machine does not use up."""
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEIR = os.path.abspath(os.environ.get("WEIR", os.path.join(ROOT, "build/release/weir")))
PATIENCE = float(os.environ.get("WEIR_PATIENCE", "60"))


class Failed(Exception):
    pass


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


def wait_until(condition, what, seconds=None):
    """What the condition gives, once that is true."""
    until = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > until:
            raise Failed("waited in vain: " + (what() if callable(what) else what))
        time.sleep(0.01)


def children(pid):
    """Processes that this one has started and that are alive."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return [child for child in found if alive(child)]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Process:
    """One of the cluster's, with its log. `words` are those of the line that says that it is ready."""

    def __init__(self, argv, log, env, cwd):
        self.argv, self.log, self.env, self.cwd = argv, log, env, cwd
        with open(log, "ab") as file:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, env=env, cwd=cwd,
                                          start_new_session=True)
        self.pid = self.popen.pid
        self.words = None

    def ready(self):
        """Waits for the line."""
        if self.words is None:
            fd, line, until = self.popen.stdout.fileno(), b"", time.monotonic() + PATIENCE
            while not line.endswith(b"\n"):
                can, _, _ = select.select([fd], [], [], max(until - time.monotonic(), 0))
                got = os.read(fd, 4096) if can else b""
                if not got:
                    raise Failed(f"{' '.join(self.argv[1:])} is not ready: exit code {self.popen.poll()}\n{self.tail()}")
                line += got
            self.words = line.decode().split()
        return self

    def behind(self, word):
        return self.words[self.words.index(word) + 1]

    def tail(self, bytes_max=4000):
        with open(self.log, "rb") as file:
            return file.read()[-bytes_max:].decode(errors="replace")

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """As kill -9 does; its workers end by themselves."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self.popen.stdout.close()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)

    def alive(self):
        return self.popen.poll() is None


class Cluster:
    """A cluster of its own. settings: WEIR_* by key, for all processes and commands."""

    def __init__(self, taskmanagers=0, slots=2, folder=None, **settings):
        self.keep = folder is not None
        self.folder = folder or tempfile.mkdtemp(prefix="weir-cluster-")
        os.makedirs(self.folder, exist_ok=True)
        self.slots = slots
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_") or name in ("WEIR_PATIENCE",)}
        self.env.update({"WEIR_CONFIG": "", "XDG_STATE_HOME": self.path("state"), "XDG_RUNTIME_DIR": self.path("run")})
        for key, value in settings.items():
            self.env["WEIR_" + key.upper()] = str(value)
        os.makedirs(self.path("run"), mode=0o700, exist_ok=True)
        self.token = self.path("jobmanager/token")
        self.jobmanager = None
        self.address = None  # where TaskManagers dial
        self.taskmanagers = []
        self.strays = set()
        try:
            self.start_jobmanager()
            for _ in range(taskmanagers):
                self.start_taskmanager()
            for tm in self.taskmanagers:
                tm.ready()
        except BaseException:
            self.close()
            raise

    def path(self, name):
        return os.path.join(self.folder, name)

    # ---- processes ----

    def start_jobmanager(self, *args):
        """Again with the same folder and port, when there was one before."""
        bind = "127.0.0.1:0" if self.jobmanager is None else self.jobmanager.behind("jobmanager")
        argv = [WEIR, "jobmanager", "--dir", self.path("jobmanager"), "--snapshots-root", self.path("snapshots"), "--bind", bind,
                "--http", "127.0.0.1:0", *map(str, args)]
        self.jobmanager = Process(argv, self.path("jobmanager.log"), self.env, self.folder).ready()
        self.listens = self.jobmanager.behind("jobmanager")
        self.address = self.address or self.listens
        self.env["WEIR_JOBMANAGER"] = self.listens
        self.env["WEIR_TOKEN"] = self.token
        return self.jobmanager

    def start_taskmanager(self, *args, slots=None, number=None):
        number = len(self.taskmanagers) if number is None else number
        name = f"tm{number}"
        argv = [WEIR, "taskmanager", "--dir", self.path(name), "--name", name, "--slots", str(slots or self.slots), "--jobmanager",
                self.address, *map(str, args)]
        tm = Process(argv, self.path(name + ".log"), self.env, self.folder)
        if number < len(self.taskmanagers):
            self.taskmanagers[number] = tm
        else:
            self.taskmanagers.append(tm)
        return tm

    def workers(self, tm=None):
        found = [pid for one in ([tm] if tm else self.taskmanagers) if one.alive() for pid in children(one.pid)]
        self.strays.update(found)
        return found

    def close(self):
        """Ends everything at once. Nothing may be left of it."""
        self.workers()
        for process in [*self.taskmanagers, *([self.jobmanager] if self.jobmanager else [])]:
            process.kill()
        try:
            wait_until(lambda: not any(alive(pid) for pid in self.strays), f"workers {self.strays} end when their TaskManager is gone", 30)
        finally:
            for pid in self.strays:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            if not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None or os.environ.get("WEIR_VERBOSE"):
            print(self.logs(), file=sys.stderr)
        self.close()

    def logs(self):
        lines = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(self.path(name), "rb") as file:
                    lines.append(f"--- {name}\n{file.read()[-3000:].decode(errors='replace')}")
        return "\n".join(lines)

    # ---- commands ----

    def weir(self, *args, timeout=None, code=None, stdin=subprocess.DEVNULL):
        done = subprocess.run([WEIR, *map(str, args)], stdin=stdin, capture_output=True, timeout=timeout or 2 * PATIENCE, cwd=self.folder,
                              env=self.env, check=False)
        got = Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if code is not None and got.code != code:
            raise Failed(f"weir {' '.join(map(str, args))}: not exit code {code}: {got}\n{self.logs()}")
        return got

    def json(self, *args):
        return json.loads(self.weir(*args, "--json", code=0).out)

    def build(self, name, text, *flags):
        with open(self.path(name + ".c"), "w", encoding="utf-8") as file:
            file.write(text)
        self.weir("build", "-q", name + ".c", "--", "-w", *flags, code=0)
        return self.path(name + ".so")

    def submit(self, *args):
        """Detached; the job's id."""
        return self.weir("submit", "-d", "-q", *args, code=0).out.strip()

    def info(self, job):
        return self.json("info", job)

    def state(self, job):
        return self.info(job)["state"]

    def wait_state(self, job, *states, seconds=None):
        def reached():
            now = self.state(job)
            if now in ("FAILED", "CANCELED", "FINISHED") and now not in states:
                raise Failed(f"job {job} is {now}, not {' or '.join(states)}: {self.weir('info', job).out}")
            return now if now in states else None
        return wait_until(reached, lambda: f"{job} to be {' or '.join(states)}: {self.weir('info', job).out}", seconds)

    def snapshots(self, job):
        """The id of the newest complete one."""
        return (self.info(job).get("snapshots") or {}).get("newest", 0)
