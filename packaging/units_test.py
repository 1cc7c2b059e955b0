#!/usr/bin/env python3
"""What the units and the configuration file name is what weir knows.

usage: units_test.py WEIR FOLDER        (FOLDER: the units as they are installed)
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

WEIR, UNITS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'systemd', 'weir.conf')


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


def weir(*args, **environment):
    return subprocess.run([WEIR, *args], capture_output=True, text=True, check=False, timeout=30,
                          env={**os.environ, 'WEIR_CONFIG': '', **environment})


class Units(unittest.TestCase):
    def commands(self):
        for role in ('jobmanager', 'taskmanager'):
            unit = read(os.path.join(UNITS, f'weir-{role}.service'))
            found = re.findall(r'^ExecStart=(.*)$', unit, re.M)
            self.assertEqual(len(found), 1)
            yield role, found[0].split()

    def test_flags(self):
        for role, words in self.commands():
            self.assertEqual(words[1], role)
            self.assertTrue(words[0].startswith('/') and words[0].endswith('/bin/weir'), words[0])
            known = weir('help', role).stdout
            for word in words[2:]:
                if word.startswith('-'):
                    self.assertIn(f' {word} ', known)

    def test_configuration_file(self):
        text = read(CONF)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'weir.conf')
            with open(path, 'w', encoding='utf-8') as file:  # what is commented out holds, too
                file.write(re.sub(r'^#(\S+ = )', r'\1', text, flags=re.M))
            done = weir('config', '--config', path)
            self.assertEqual((done.returncode, done.stderr), (0, ''))
            keys = re.findall(r'^#?([a-z-]+) = ', text, re.M)
            self.assertGreaterEqual(len(keys), 8)
            for key in keys:
                self.assertRegex(done.stdout, rf'(?m)^{key} .*weir\.conf:\d+$')

    def test_systemd_takes_them(self):
        tool = shutil.which('systemd-analyze')
        if tool is None:
            self.skipTest('there is no systemd-analyze')
        with tempfile.TemporaryDirectory() as folder:
            for role, words in self.commands():
                unit = read(os.path.join(UNITS, f'weir-{role}.service')).replace(words[0], WEIR)
                unit = re.sub(r'(?m)^(User|Group)=.*\n', '', unit)
                with open(os.path.join(folder, f'weir-{role}.service'), 'w', encoding='utf-8') as file:
                    file.write(unit)
            done = subprocess.run([tool, 'verify', '--man=no', *(os.path.join(folder, f) for f in sorted(os.listdir(folder)))],
                                  capture_output=True, text=True, check=False, timeout=50,
                                  env={**os.environ, 'SYSTEMD_LOG_LEVEL': 'warning'})
            ours = [line for line in (done.stdout + done.stderr).splitlines() if 'weir-' in line]
            self.assertEqual(ours, [])

    def test_ready_is_told(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            path = os.path.join(folder, 'notify')
            told.bind(path)
            told.settimeout(20)
            jobmanager = subprocess.Popen([WEIR, 'jobmanager', '--dir', os.path.join(folder, 'jm'), '--bind', '127.0.0.1:0',
                                           '--http', '127.0.0.1:0'], stdout=subprocess.PIPE, text=True,
                                          env={**os.environ, 'WEIR_CONFIG': '', 'NOTIFY_SOCKET': path})
            try:
                self.assertIn(b'READY=1', told.recv(4096))
                self.assertIn('weir jobmanager 127.0.0.1:', jobmanager.stdout.readline())
                jobmanager.terminate()
                self.assertIn(b'STOPPING=1', told.recv(4096))
                self.assertEqual(jobmanager.wait(20), 0)
            finally:
                jobmanager.kill()
                jobmanager.wait()
                jobmanager.stdout.close()


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
