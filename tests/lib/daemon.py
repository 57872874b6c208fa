# SPDX-License-Identifier: MIT
"""Runs txmilter in the foreground with a configuration of its own.

    d = Daemon(directory, sockets, api.url)
    d.start(); ...; d.stop()

TXMILTER_BIN names another binary than build/release/txmilter.  If that was
built with a sanitizer, its reports go to files here, and stop() fails when
there is one.  As root it runs as nobody, in Postfix' group: the daemon needs
no more.
"""

import copy
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import activator
import net

TOP = Path(__file__).resolve().parents[2]
USER, GROUP = "nobody", "postfix"

# Section -> option -> value; Daemon.config is a copy a test may change before
# start(). [""] is what stands before the first section.
DEFAULTS = {
    "": {
        "socket_group": GROUP,
        "dialect": "emaildelivery",
        "direct_timeout": "20s",
        "direct_limit": "500",
        "log_level": "debug",
        "store_size": "64M",
    },
    "keys": {
        "check": "api",
        "check_timeout": "7s",
        "ttl": "10m",
        "negative_ttl": "30s",
        "stale": "24h",
    },
    "api main": {
        "format": "emaildelivery",
        "connections": "200",
        "connect_timeout": "5s",
    },
}


def binary():
    return os.environ.get("TXMILTER_BIN") or str(
        TOP / "build" / "release" / "txmilter")


class Daemon:
    def __init__(self, directory, sockets, api_url, **top):
        self.dir = Path(directory).resolve()
        self.sockets = Path(sockets)
        self.conf = self.dir / "txmilter.conf"
        self.log_path = self.dir / "txmilter.log"
        self.state = self.dir / "state"
        self.reports = self.dir / "sanitizer"
        self.secret = self.dir / "secret"
        self.admin_secret = self.dir / "admin.secret"
        self.milter_socket = self.sockets / "milter.sock"
        self.sasl_socket = self.sockets / "sasl.sock"
        self.lmtp_socket = self.sockets / "lmtp.sock"
        self.process = None
        self.passed = []  # sockets
        self.config = copy.deepcopy(DEFAULTS)
        self.config[""].update(
            {"milter_socket": f"unix:{self.milter_socket}",
             "sasl_socket": f"unix:{self.sasl_socket}",
             "lmtp_socket": f"unix:{self.lmtp_socket}",
             "state_directory": self.state, "secret_file": self.secret,
             "admin_secret": self.admin_secret, **top})
        self.config["api main"]["url"] = api_url
        self._make_directories()

    def _make_directories(self):
        for d in (self.dir, self.state, self.reports):
            d.mkdir(parents=True, exist_ok=True)
        self.dir.chmod(0o755)
        self.state.chmod(0o700)
        for secret in (self.secret, self.admin_secret):
            secret.touch(mode=0o640)
            secret.write_text(secrets.token_hex(32) + "\n")
        if os.getuid() == 0:
            shutil.chown(self.state, USER, GROUP)
            shutil.chown(self.reports, USER, GROUP)
            shutil.chown(self.secret, "root", GROUP)
            shutil.chown(self.admin_secret, "root", GROUP)

    def write_config(self):
        text = ""
        for section, options in self.config.items():
            text += f"\n[{section}]\n" if section else ""
            text += "".join(f"{k} = {v}\n" for k, v in options.items())
        self.conf.write_text(text)

    # --- running -----------------------------------------------------------

    def run(self, *args):
        """Runs it to its end, for -t and -V."""
        return subprocess.run([binary(), "-c", self.conf, *args], text=True,
                              capture_output=True, timeout=30,
                              env=self._environment(), **self._identity())

    def ctl(self, *args, input=None, code=0):
        """txmilterctl, as root; its standard output. Fails unless it exits
        with that code."""
        done = subprocess.run(
            [Path(binary()).with_name("txmilterctl"), "-c", self.conf,
             *map(str, args)], text=True, input=input, capture_output=True,
            timeout=120, env=self._environment())
        assert done.returncode == code, \
            f"{args}: exit code {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout if code == 0 else done.stderr

    def ctl_json(self, *args, **kw):
        return json.loads(self.ctl("--json", *args, **kw))

    def start(self, timeout=30):
        self.write_config()
        command = [binary(), "-f", "-c", str(self.conf)]
        if self.passed:
            command = activator.command(self.passed, command)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", env=self._environment(),
                pass_fds=activator.descriptors(self.passed),
                **self._identity())
        for path in (self.sasl_socket, self.milter_socket):
            net.wait_until(lambda: self.process.poll() is not None or
                           net.can_connect(str(path)), timeout)
            assert self.running(), f"it does not run:\n{self.log()}"
            assert net.can_connect(str(path)), f"no {path}:\n{self.log()}"

    def pass_socket(self, path):
        """From the next start on, it gets this socket as from systemd, who
        listens on it while no daemon runs."""
        owner = (USER, GROUP) if os.getuid() == 0 else ()
        self.passed.append(activator.listen(path, *owner))

    def _identity(self):
        if os.getuid() != 0:
            return {}
        return {"user": USER, "group": GROUP, "extra_groups": []}

    def _environment(self):
        reports = f"log_path={self.reports}/report"
        # Frames of libraries are only found by slow unwinding, and by them
        # leaks are told apart.
        return {"PATH": "/usr/bin:/bin", "G_SLICE": "always-malloc",
                "ASAN_OPTIONS": f"{reports}:detect_leaks=1:exitcode=99:"
                "fast_unwind_on_malloc=0",
                "LSAN_OPTIONS": f"suppressions={TOP}/tests/lib/lsan.supp:"
                "print_suppressions=0",
                "UBSAN_OPTIONS": f"{reports}:print_stacktrace=1",
                "TSAN_OPTIONS": f"{reports}:exitcode=99"}

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9: the socket files stay, as after a crash."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout=60):
        """SIGTERM; the exit code."""
        if self.running():
            self.process.terminate()
        return self.process.wait(timeout)

    def stop(self):
        """Ends it, and fails if it had ended by itself, with an error, or if
        a sanitizer had something to say."""
        if self.process is None:
            return
        assert self.running(), f"it died:\n{self.log()[-6000:]}\n" + \
            self.sanitizer_reports()
        code = self.terminate()
        reports = self.sanitizer_reports()
        self.process = None
        assert not reports, reports
        assert code == 0, f"exit code {code}:\n{self.log()[-6000:]}"

    def restart(self):
        self.stop()
        self.start()

    def sanitizer_reports(self):
        return "\n".join(p.read_text(errors="replace")
                         for p in sorted(self.reports.iterdir()))

    # --- looking -----------------------------------------------------------

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_of(self, queue_id):
        return [line for line in self.log().splitlines()
                if f"{queue_id}: " in line]

    def events(self, queue_id, event):
        """The key=value pairs of each line of that event."""
        return [pairs(line) for line in self.log_of(queue_id)
                if f"{queue_id}: {event} " in line]

    def wait_for_log(self, pattern, timeout=20):
        regex = re.compile(pattern)
        found = net.wait_until(lambda: regex.search(self.log()), timeout)
        assert found, f"no {pattern!r} in the log:\n{self.log()[-4000:]}"
        return found

    def memory(self):
        """Resident bytes: now, and at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024
                     for name in ("VmRSS", "VmHWM"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def pairs(line):
    """key=value and key="quoted value" of a log line."""
    return {k: v.strip('"') for k, v in
            re.findall(r'([\w-]+)=("(?:[^"\\]|\\.)*"|\S*)', line)}
