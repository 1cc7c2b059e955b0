"""Workers with a user of their own: who they are, what they can get at and what not, what is left of them, and what is refused."""
import os
import signal
import stat
import subprocess
import sys
import unittest

import cluster
import kit
from kit import Cluster, Failed, wait_until

FIRST, LAST, GROUP, OTHER = 71200, 71219, 71300, 71301  # numbers that need no names
RANGE = f"{FIRST}-{LAST}"
LEAVES = kit.HEAD + """
WEIR_RECORD(event, (uint64_t, n), (uint64_t, user))
WEIR_FILTER(leave, event, in)
{
    if (in->n == 10 && fork() == 0) {
        setsid();
        if (fork() == 0) for (;;) sleep(1000);
        _exit(0);
    }
    if (in->n == 5000) *(volatile int *)8 = 1;
    return true;
}
WEIR_PIPELINE(leaves, p)
{
    event_stream events = weir_source(event, p, "generator:?rate=5000", .name = "events");
    weir_sink(weir_apply(leave, events), "file:none", .name = "none", .guarantee = WEIR_AT_LEAST_ONCE);
}
"""


def words_of(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(line.split()[1:] for line in file if line.startswith(name + ":"))


def of_user(uid):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(words_of(pid, "Uid")[0]) == uid and cluster.alive(int(pid)):
                found.append(int(pid))
        except OSError:
            pass
    return found


def users_of(c):
    """Of its workers that have become what they are; those that only begin are root."""
    found = []
    for pid in c.workers():
        try:
            found.append(int(words_of(pid, "Uid")[0]))
        except OSError:
            pass
    return [uid for uid in found if uid != 0]


def mode_of(path):
    about = os.lstat(path)
    return about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)


def reads(uid, path, flags=os.O_RDONLY):
    """Whether a process of that user, in the shared group, can open it."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(GROUP, GROUP, GROUP)
            os.setresuid(uid, uid, uid)
            os.open(path, flags)
            os._exit(0)
        except PermissionError:
            os._exit(1)
        finally:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code > 1:
        raise Failed(f"{uid} could not even try to open {path}")
    return code == 0


class Users(kit.Case):
    def begin(self, **settings):
        c = Cluster(0, slots=4, files_group=GROUP, worker_user=settings.pop("worker_user", RANGE), **settings)
        self.addCleanup(c.close)
        os.chmod(c.folder, 0o711)  # workers have to get to what is theirs
        return c

    def run_one(self, c, name, *args):
        """A job, and its worker."""
        before = c.workers()
        job = c.submit(name + ".so", "-n", name + str(len(before)), "--snapshot-interval", "100ms", *args)
        c.wait_state(job, "RUNNING")
        return job, wait_until(lambda: [pid for pid in c.workers() if pid not in before], "its worker")[0]

    def test_each_worker_is_a_user_of_its_own(self):
        c = self.begin(worker_groups=str(OTHER))
        c.start_taskmanager().ready()
        c.build("counts", kit.COUNTS)
        tallies = [c.path(f"tallies{i}") for i in range(2)]
        for folder in tallies:
            os.mkdir(folder)
            os.chown(folder, 0, GROUP)
            os.chmod(folder, 0o2770)
        jobs = [self.run_one(c, "counts", "--set", f"tallies=file:{folder}/out") for folder in tallies]
        users = [int(words_of(pid, "Uid")[0]) for _, pid in jobs]
        self.assertEqual(len(set(users)), 2, users)
        for (job, pid), uid in zip(jobs, users):
            self.assertIn(uid, range(FIRST, LAST + 1))
            self.assertEqual(words_of(pid, "Uid"), [str(uid)] * 4)
            self.assertEqual(words_of(pid, "Gid"), [str(GROUP)] * 4)
            self.assertEqual(words_of(pid, "Groups"), [str(OTHER)])
            self.assertEqual(words_of(pid, "CapEff") + words_of(pid, "CapPrm"), ["0" * 16] * 2)
            self.assertEqual(words_of(pid, "NoNewPrivs"), ["1"])
            self.assertEqual(mode_of(os.readlink(f"/proc/{pid}/cwd")), (uid, GROUP, 0o700))
            wait_until(lambda job=job: c.snapshots(job) > 0, "a snapshot")
        self.closed_to(c, users, [pid for _, pid in jobs])
        self.shared(c, users)
        # Snapshots and prepared files of one user are gone on with by another one.
        for job, pid in jobs:
            newest = c.snapshots(job)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda job=job: c.info(job)["restarts"] > 0, "a restart")  # a snapshot may end before it is noticed
            wait_until(lambda job=job, newest=newest: c.snapshots(job) > newest and c.state(job) == "RUNNING", "a newer snapshot")
        for (job, _), folder in zip(jobs, tallies):
            c.weir("stop", job, code=0)
            c.wait_state(job, "FINISHED")
            records = len(kit.lines_of(folder + "/out"))
            self.assertGreater(records, 0)
            kit.check_counts(self, folder + "/out", records)
            for name in os.listdir(folder + "/out"):
                uid, gid, mode = mode_of(os.path.join(folder + "/out", name))
                self.assertIn(uid, range(FIRST, LAST + 1))
                self.assertEqual((gid, mode), (GROUP, 0o660))

    def closed_to(self, c, users, workers):
        own = [os.readlink(f"/proc/{pid}/cwd") for pid in workers]
        for uid, other, pid in ((users[0], own[1], workers[1]), (users[1], own[0], workers[0])):
            for path in (c.token, c.path("jobmanager"), c.path("tm0/blobs"), other, os.path.join(other, "counts.so"), f"/proc/{pid}/mem",
                         f"/proc/{pid}/environ"):
                self.assertTrue(os.path.exists(path), path)
                self.assertFalse(reads(uid, path), f"{uid} reads {path}")
            self.assertFalse(reads(uid, c.path("tm0/jobs/new"), os.O_WRONLY | os.O_CREAT))
        self.assertTrue(reads(users[0], os.path.join(own[0], "counts.so")), "the check checks")

    def shared(self, c, users):
        folders = files = 0
        for below, names, here in os.walk(c.path("snapshots")):
            self.assertEqual(mode_of(below)[1:], (GROUP, 0o2770), below)
            folders += len(names)
            for name in here:
                try:
                    uid, gid, mode = mode_of(os.path.join(below, name))
                except FileNotFoundError:
                    continue  # taken away meanwhile
                self.assertIn(uid, [0, *users], name)
                self.assertEqual((gid, mode), (GROUP, 0o660), name)
                files += uid != 0
        self.assertGreater(folders, 1)
        self.assertGreater(files, 0)

    def test_a_crash_is_reported_and_nothing_is_left(self):
        c = self.begin(restart="none")
        c.start_taskmanager().ready()
        c.build("leaves", LEAVES)
        os.mkdir(c.path("open"), 0o700)
        os.chown(c.path("open"), 0, GROUP)
        os.chmod(c.path("open"), 0o2770)
        job = c.submit("leaves.so", "-n", "leaves", "--set", f"none=file:{c.path('open/none')}")
        user = wait_until(lambda: users_of(c), "a worker")[0]
        wait_until(lambda: len(of_user(user)) > 1, "it has started a process")
        c.wait_state(job, "FAILED")
        text = c.weir("info", job, code=0).out + c.weir("logs", job, code=0).out
        self.assertRegex(text, r"SIGSEGV, address 0x8|AddressSanitizer: SEGV")
        self.assertRegex(text, r"in (weir_user_)?leave +(at )?.*leaves\.c:\d+")
        wait_until(lambda: of_user(user) == [], "what it had started ends, too")
        logs = c.path(f"tm0/logs/{os.listdir(c.path('tm0/logs'))[0]}")
        self.assertEqual(mode_of(logs), (user, GROUP, 0o2750))

    def test_logs_do_not_lead_elsewhere(self):
        c = self.begin()
        c.start_taskmanager().ready()
        c.build("counts", kit.COUNTS)
        os.mkdir(c.path("open"))
        os.chown(c.path("open"), 0, GROUP)
        os.chmod(c.path("open"), 0o2770)
        job, worker = self.run_one(c, "counts", "--set", f"tallies=file:{c.path('open/out')}")
        uid = int(words_of(worker, "Uid")[0])
        folder = c.path(f"tm0/logs/{os.listdir(c.path('tm0/logs'))[0]}")
        with open(c.path("secret"), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("nobody else's\n")
        name = sorted(os.listdir(folder))[0]
        os.rename(os.path.join(folder, name), os.path.join(folder, name + ".away"))  # as its worker could
        os.symlink(c.path("secret"), os.path.join(folder, name))
        os.lchown(os.path.join(folder, name), uid, GROUP)
        self.assertNotIn("nobody else's", c.weir("logs", job, code=0).out)
        os.remove(os.path.join(folder, name))
        os.mkfifo(os.path.join(folder, name))
        c.weir("logs", job, code=0)
        c.wait_state(job, "RUNNING")

    def test_one_user_for_all(self):
        c = self.begin(worker_user=str(LAST))
        c.start_taskmanager().ready()
        c.build("counts", kit.COUNTS)
        os.mkdir(c.path("open"))
        os.chown(c.path("open"), LAST, GROUP)
        users = []
        for i in range(2):
            _, worker = self.run_one(c, "counts", "--set", f"tallies=file:{c.path('open/out')}{i}")
            users += words_of(worker, "Uid")
        self.assertEqual(set(users), {str(LAST)})

    def test_a_range_that_is_used_up(self):
        c = self.begin(worker_user=f"{FIRST}-{FIRST + 1}", restart="none")
        c.start_taskmanager().ready()
        c.build("counts", kit.COUNTS)
        os.mkdir(c.path("open"))
        os.chown(c.path("open"), 0, GROUP)
        os.chmod(c.path("open"), 0o2770)
        for i in range(2):
            self.run_one(c, "counts", "--set", f"tallies=file:{c.path('open/out')}{i}")
        job = c.submit("counts.so", "-n", "third", "--set", f"tallies=file:{c.path('open/third')}")
        c.wait_state(job, "FAILED")
        self.expect(c.weir("info", job), 0, rf"all users of worker-user = {FIRST}-{FIRST + 1} are taken")

    def test_what_is_refused(self):
        c = Cluster(0)
        self.addCleanup(c.close)
        os.chmod(c.folder, 0o711)
        os.mkdir(c.path("shut"), 0o700)
        base = {"WEIR_WORKER_USER": RANGE, "WEIR_FILES_GROUP": str(GROUP)}
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        for settings, how, says in (
                ({}, nobody, r"only root may start workers as others, and this TaskManager is uid 65534"),
                ({"WEIR_WORKER_USER": ""}, nobody, r"uid 65534\) is not in that group"),
                ({"WEIR_WORKER_USER": "no-such-user"}, {}, r"there is no user no-such-user"),
                ({"WEIR_WORKER_USER": "0"}, {}, r"not as root"),
                ({"WEIR_WORKER_USER": "root"}, {}, r"not as root"),
                ({"WEIR_WORKER_USER": "9-3"}, {}, r"the first must be less"),
                ({"WEIR_WORKER_USER": "65000-65999"}, {}, r"has the user nobody \(65534\) in it"),
                ({"WEIR_FILES_GROUP": ""}, {}, r"has no group of its own; say files-group"),
                ({"WEIR_FILES_GROUP": "no-such-group"}, {}, r"there is no group no-such-group"),
                ({"WEIR_FILES_GROUP": "0"}, {}, r"nor in its group"),
                ({"WEIR_WORKER_USER": "", "WEIR_FILES_GROUP": "", "WEIR_WORKER_GROUPS": "1"}, {}, r"needs worker-user"),
                ({"dir": "shut/tm"}, {}, rf"as uid {FIRST} and gid {GROUP}, may not pass {c.path('shut')} on their way")):
            folder = c.path(settings.pop("dir", f"refused{how.get('user', 0)}"))
            os.makedirs(folder, exist_ok=True)
            os.chown(folder, how.get("user", 0), 0)
            token = c.path("token-copy")
            if os.path.exists(token):
                os.remove(token)
            with open(c.token, encoding="ascii") as have, open(token, "w", encoding="ascii") as copy:
                copy.write(have.read())
                os.fchmod(copy.fileno(), 0o600)
            os.chown(token, how.get("user", 0), 0)
            env = {**c.env, **base, **settings, "WEIR_TOKEN": token}
            done = subprocess.run([cluster.WEIR, "taskmanager", "--dir", folder, "--http", "127.0.0.1:0"], env=env, cwd=c.folder,
                                  capture_output=True, text=True, timeout=cluster.PATIENCE, check=False, **how)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"E0\d+ [A-Z]+\]: .*" + says)

    def test_a_jobmanager_whose_folder_is_the_group_s(self):
        c = Cluster(0)
        self.addCleanup(c.close)
        folder = c.path("theirs")
        os.mkdir(folder)
        os.chown(folder, 0, GROUP)
        os.chmod(folder, 0o2770)
        done = subprocess.run([cluster.WEIR, "jobmanager", "--dir", folder, "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0"],
                              env={**c.env, "WEIR_TOKEN": "", "WEIR_FILES_GROUP": str(GROUP)}, capture_output=True, text=True,
                              timeout=cluster.PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"CONFIG\]: .*theirs is of the group 71300")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("users_test: skipped: only root can have workers of other users")
        sys.exit(77)
    if not os.access(cluster.WEIR, os.X_OK):
        sys.exit(f"there is no program {cluster.WEIR}; set WEIR")
    unittest.main(verbosity=2)
