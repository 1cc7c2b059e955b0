#!/usr/bin/env python3
"""The units under a real systemd: installed as docs/deploying.md says, in a machine of their own that systemd boots.

usage: systemd_test.py BUILD        needs root and systemd-nspawn, else it ends with 77 (skipped)
       systemd_test.py inside       what runs in that machine

The machine has this one's /usr, nothing else of it, and a network of its own. It is gone afterwards.
"""
import grp
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

OUT = '/var/tmp/out'
SHARE = 'share/weir-test'
CONF = '/etc/weir/weir.conf'
STATE = '/var/lib/weir'
UNITS = ('weir-jobmanager', 'weir-taskmanager')
PIPELINE = r"""
#include <weir/pipeline.h>
WEIR_RECORD(event, (uint64_t, n), (uint64_t, user))
WEIR_RECORD(tally, (uint64_t, user), (uint64_t, n), (uint64_t, nth))
WEIR_STATE(counter, (uint64_t, nth))
WEIR_KEYED(count, event, in, counter, state, tally, out)
{
    tally_emit(out, (tally){.user = in->user, .n = in->n, .nth = ++state->nth});
}
WEIR_PIPELINE(counts, p)
{
    event_stream events = weir_source(event, p, "generator:?keys=100&rate=5000", .name = "events");
    weir_sink(weir_apply(count, weir_key_by(events, user)), "file:tallies", .name = "tallies");
}
"""
TARGET = f"""[Unit]
Requires=basic.target weir-test.service
After=basic.target
"""
DRIVER = """[Unit]
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B {script} inside
StandardOutput=file:{out}/log
StandardError=inherit
TimeoutStartSec=240
"""


# ---- outside -------------------------------------------------------------------------------------------------------

def skip(why):
    print(f'systemd_test: skipped: {why}')
    sys.exit(77)


def write(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def boot(build, work):
    dest, out = os.path.join(work, 'dest'), os.path.join(work, 'out')
    os.mkdir(out)
    subprocess.run(['cmake', '--install', build], env={**os.environ, 'DESTDIR': dest}, check=True,
                   stdout=subprocess.DEVNULL)
    found = [folder for folder, _, files in os.walk(dest) if 'weir' in files and folder.endswith('/bin')]
    prefix = os.path.dirname(found[0])[len(dest):]
    if prefix in ('', '/usr'):
        skip(f'it would be installed over what is there, in {prefix or "/"}')
    inside = dest + prefix
    share = os.path.join(inside, SHARE)
    os.makedirs(share)
    write(os.path.join(share, 'counts.c'), PIPELINE)
    subprocess.run([os.path.join(inside, 'bin/weir'), 'build', '-q', os.path.join(share, 'counts.c'), '-o',
                    os.path.join(share, 'counts.so')], check=True, env={**os.environ, 'WEIR_CONFIG': ''})
    script = os.path.join(share, 'systemd_test.py')
    shutil.copy(__file__, script)
    units = os.path.join(inside, 'lib/systemd/system')
    write(os.path.join(units, 'weir-test.target'), TARGET)
    write(os.path.join(units, 'weir-test.service'), DRIVER.format(script=script[len(dest):], out=OUT))
    write(os.path.join(share, 'prefix'), prefix)
    machine = subprocess.Popen(
        ['systemd-nspawn', '--quiet', '--directory=/', '--volatile=yes', '--register=no', '--keep-unit',
         f'--machine=weir-test-{os.getpid()}', '--private-network', f'--bind-ro={inside}:{prefix}',
         f'--bind={out}:{OUT}', '--boot', 'systemd.unit=weir-test.target', 'systemd.firstboot=no',
         'systemd.mask=systemd-networkd-wait-online.service'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    try:
        console, _ = machine.communicate(timeout=280)
    except subprocess.TimeoutExpired:
        machine.send_signal(signal.SIGTERM)
        console, _ = machine.communicate(timeout=60)
    return out, console


def outside(build):
    needed = ('/usr/lib/systemd/systemd', '/usr/bin/python3', '/usr/bin/setpriv')
    if os.geteuid() != 0 or not shutil.which('systemd-nspawn') or not all(map(os.path.exists, needed)):
        skip('it needs root, systemd and systemd-nspawn')
    with tempfile.TemporaryDirectory(prefix='weir-systemd-') as work:
        os.chmod(work, 0o755)
        out, console = boot(os.path.abspath(build), work)
        log = os.path.join(out, 'log')
        if not os.path.exists(log):
            print(console)
            if 'Welcome to' not in console:
                skip('no machine can be booted here')
            sys.exit('systemd_test: the test was not started in that machine')
        with open(log, encoding='utf-8', errors='replace') as file:
            print(file.read(), end='')
        if not os.path.exists(os.path.join(out, 'passed')):
            sys.exit('systemd_test: failed')


# ---- inside --------------------------------------------------------------------------------------------------------

def run(*command, code=0):
    got = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if code is not None and got.returncode != code:
        journal = subprocess.run(['journalctl', '--no-pager', '-n', '40', '-o', 'cat', '-u', 'weir-*'],
                                 capture_output=True, text=True, check=False).stdout
        raise AssertionError(f'{command}: {got.returncode}\n{got.stdout}{got.stderr}\n{journal}')
    return got.stdout.strip()


def prefix():
    with open(os.path.join(os.path.dirname(__file__), 'prefix'), encoding='utf-8') as file:
        return file.read()


def weir(*args, user='weir'):
    return run('setpriv', f'--reuid={user}', '--regid=weir', '--init-groups', os.path.join(prefix(), 'bin/weir'), *args)


def shown(unit, what):
    return run('systemctl', 'show', '--property', what, '--value', unit)


def pid_of(unit):
    return int(shown(unit, 'MainPID'))


def job():
    return json.loads(weir('info', 'counts', '--json'))


def wait_for(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.05)


def processes(*verbs):
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                words = file.read().decode().split('\0')
                if os.path.basename(words[0]) == 'weir' and words[1] in verbs:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def workers():
    return processes('worker')


def owner(path):
    about = os.stat(path)
    return pwd.getpwuid(about.st_uid).pw_name, grp.getgrgid(about.st_gid).gr_name, stat.S_IMODE(about.st_mode)


def completed():
    return json.loads(weir('snapshots', 'counts', '--json'))['completed']


class Units(unittest.TestCase):
    """In this order: one story."""

    def test_1_as_the_page_says(self):
        run('systemd-sysusers')
        pwd.getpwnam('weir')
        run('systemctl', 'start', 'weir-jobmanager')
        self.assertEqual(shown('weir-jobmanager', 'ActiveState'), 'inactive', 'there is no configuration yet')
        run('install', '-D', '-m', '644', os.path.join(prefix(), 'share/weir/weir.conf'), CONF)
        run('systemctl', 'daemon-reload')
        for unit in UNITS:
            run('systemctl', 'enable', '--now', unit)
            self.assertEqual(shown(unit, 'ActiveState'), 'active')
            self.assertEqual(shown(unit, 'NRestarts'), '0')
        weir('list')  # ready means ready
        wait_for(lambda: len(json.loads(weir('taskmanagers', '--json'))) == 1, 'the TaskManager registers')

    def test_2_who_owns_what(self):
        for name in ('', '/jobmanager', '/taskmanager', '/snapshots'):
            self.assertEqual(owner(STATE + name), ('weir', 'weir', 0o2770), name)
        self.assertEqual(owner(STATE + '/jobmanager/token'), ('weir', 'weir', 0o600))
        for unit in UNITS:
            self.assertEqual(os.stat(f'/proc/{pid_of(unit)}').st_uid, pwd.getpwnam('weir').pw_uid)

    def test_3_a_job_runs_and_takes_snapshots(self):
        weir('submit', os.path.join(os.path.dirname(__file__), 'counts.so'), '-d', '--snapshot-interval', '200ms',
             '--set', f'tallies=file:{STATE}/snapshots/tallies')
        wait_for(lambda: job()['state'] == 'RUNNING', 'the job runs')
        wait_for(lambda: completed() > 0, 'a snapshot')
        folder = next(os.path.join(STATE, 'snapshots', name) for name in os.listdir(STATE + '/snapshots')
                      if name != 'tallies')
        self.assertEqual(owner(folder), ('weir', 'weir', 0o2770))
        for below, folders, files in os.walk(STATE + '/snapshots'):
            for name in folders:
                self.assertEqual(owner(os.path.join(below, name)), ('weir', 'weir', 0o2770), name)
            for name in files:
                try:
                    self.assertEqual(owner(os.path.join(below, name)), ('weir', 'weir', 0o660), name)
                except FileNotFoundError:
                    pass  # a newer one has taken its place

    def test_4_a_killed_jobmanager_is_back_before_leases_end(self):
        before, worker = pid_of(UNITS[0]), workers()
        self.assertEqual(len(worker), 1)
        self.assertEqual(len(processes('jobmanager', 'taskmanager', 'worker')), 3)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: pid_of(UNITS[0]) not in (0, before), 'systemd starts it again')
        wait_for(lambda: shown(UNITS[0], 'ActiveState') == 'active', 'it is ready')
        wait_for(lambda: job()['state'] == 'RUNNING', 'the job runs')
        self.assertEqual(shown(UNITS[0], 'NRestarts'), '1')
        self.assertEqual(workers(), worker, 'the job has not noticed')

    def test_5_a_killed_worker_is_the_job_s_failure_only(self):
        taskmanager, worker = pid_of(UNITS[1]), workers()
        os.kill(worker[0], signal.SIGKILL)
        wait_for(lambda: workers() not in ([], worker) and job()['state'] == 'RUNNING', 'a new worker')
        self.assertEqual(pid_of(UNITS[1]), taskmanager)
        self.assertEqual(shown(UNITS[1], 'ActiveState'), 'active')

    def test_6_a_killed_taskmanager_comes_back_without_old_workers(self):
        taskmanager, worker = pid_of(UNITS[1]), workers()
        os.kill(taskmanager, signal.SIGKILL)
        wait_for(lambda: pid_of(UNITS[1]) not in (0, taskmanager), 'systemd starts it again')
        wait_for(lambda: workers() not in ([], worker) and not set(workers()) & set(worker), 'a new worker')
        wait_for(lambda: job()['state'] == 'RUNNING', 'the job runs')
        before = completed()
        wait_for(lambda: completed() > before, 'a snapshot')

    def test_8_a_stop_leaves_nothing(self):
        for unit in reversed(UNITS):
            run('systemctl', 'stop', unit)
            self.assertEqual(shown(unit, 'Result'), 'success')
            self.assertEqual(shown(unit, 'ActiveState'), 'inactive')
        self.assertEqual(processes('jobmanager', 'taskmanager', 'worker'), [])

    def test_9_a_job_outlives_the_stop(self):
        run('systemctl', 'start', *UNITS)
        wait_for(lambda: job()['state'] == 'RUNNING', 'the job goes on')
        weir('cancel', 'counts')

    def test_9_own_users_as_the_page_says(self):
        run('systemctl', 'stop', *UNITS)
        share = os.path.join(prefix(), 'share/weir/own-users')
        for unit in UNITS:
            run('install', '-D', '-m', '644', os.path.join(share, unit + '.conf'), f'/etc/systemd/system/{unit}.service.d/own-users.conf')
        run('install', '-d', '-o', 'weir', '-g', 'weir-jobs', '-m', '2770', '/var/lib/weir-snapshots')
        run('install', '-m', '600', STATE + '/jobmanager/token', '/etc/weir/token')
        with open(CONF, encoding='utf-8') as file:
            lines = [line for line in file if not line.startswith('snapshots-root')]
        write(CONF, ''.join(lines) + 'snapshots-root = /var/lib/weir-snapshots\nfiles-group = weir-jobs\nworker-user = 70000-70999\n')
        run('systemctl', 'daemon-reload')
        run('systemctl', 'start', *UNITS)
        weir('submit', os.path.join(os.path.dirname(__file__), 'counts.so'), '-d', '--snapshot-interval', '200ms',
             '--set', 'tallies=file:/var/lib/weir-snapshots/tallies')
        wait_for(lambda: job()['state'] == 'RUNNING' and completed() > 0, 'a snapshot')
        worker = workers()
        user = os.stat(f'/proc/{worker[0]}').st_uid
        self.assertIn(user, range(70000, 71000))
        os.kill(worker[0], signal.SIGKILL)
        before = completed()
        wait_for(lambda: workers() not in ([], worker) and job()['state'] == 'RUNNING' and completed() > before, 'a new worker')
        os.kill(pid_of(UNITS[0]), signal.SIGKILL)
        wait_for(lambda: pid_of(UNITS[0]) != 0 and shown(UNITS[0], 'ActiveState') == 'active', 'it is back')
        before = completed()
        wait_for(lambda: completed() > before, 'a snapshot')
        for below, folders, files in os.walk('/var/lib/weir-snapshots'):
            self.assertEqual(stat.S_IMODE(os.stat(below).st_mode), 0o2770, below)
            self.assertEqual(grp.getgrgid(os.stat(below).st_gid).gr_name, 'weir-jobs', below)
        for path in (STATE + '/jobmanager/token', '/etc/weir/token', STATE, '/var/lib/weir-taskmanager/blobs'):
            done = subprocess.run(['test', '-r', path], user=user, group='weir-jobs', extra_groups=[], check=False)
            self.assertNotEqual(done.returncode, 0, path)
        weir('stop', 'counts')
        wait_for(lambda: job()['state'] == 'FINISHED', 'it stops')
        for unit in reversed(UNITS):
            run('systemctl', 'stop', unit)
            self.assertEqual(shown(unit, 'Result'), 'success')
        self.assertEqual(processes('jobmanager', 'taskmanager', 'worker'), [])


def inside():
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Units)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, failfast=True).run(suite)
    if result.wasSuccessful() and result.testsRun > 0:
        write(os.path.join(OUT, 'passed'), 'yes\n')
    else:
        print(run('journalctl', '--no-pager', '-o', 'cat', '-u', 'weir-*', '-n', '60', code=None))


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == 'inside':
        inside()
    else:
        outside(sys.argv[1])
