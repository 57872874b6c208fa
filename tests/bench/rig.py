# SPDX-License-Identifier: MIT
"""What is measured: a private Postfix with four services, the API stub,
txmilter, and the least that a milter can do instead of it.

    TXM    the packaged service of port 587
    FLOOR  the same, but the milter is floor.c
    REF    the same, every option and the same cleanup service, but without
           the milter: Postfix queues the mail and delivers it to discard(8)
    STOCK  the same as REF, but with Postfix' own defaults for smtpd and
           cleanup: what takes the mail on a machine without txmilter

AUTH in all of them asks txmilter's SASL socket, and is offered without TLS,
for smtpload has none.

    with Rig(build, directory, delays=(0, 50)) as rig:
        with rig.milters(delay=0) as pids:
            rig.address["REF"], pids["TXM"], rig.postfix_pid
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import daemon  # noqa: E402
import net  # noqa: E402
from private_postfix import PrivatePostfix  # noqa: E402

KEY = "key-0123456789abcdef0123456789abcdef"

WITHOUT_TLS = (("-o smtpd_tls_auth_only=yes", "-o smtpd_tls_auth_only=no"),)

# Instead of the harness' obstacle course for tests. The limits are those that
# a machine for 200 connections needs.
MAIN_CF = """\
default_transport = discard:
default_process_limit = 2000
mynetworks = 192.0.2.0/24
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
message_size_limit = 26214400
"""

STOCK = """
127.0.0.1:{port} inet n - n - - smtpd
  -o syslog_name=stock
  -o smtpd_tls_security_level=none
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=txmilter/sasl.sock
  -o {{ smtpd_relay_restrictions = permit_sasl_authenticated, reject }}
"""

OUR_SOCKET = "unix:txmilter/milter.sock"
FLOOR_SOCKET = "floor.sock"

# The packaged service without txmilter.
TO_REFERENCE = (
    (r"-o \{ smtpd_milters = \{[^}]*\} \}", "-o smtpd_milters="),
    (r"-o \{ content_filter = [^}]*\}", "-o content_filter="),
    (r"-o syslog_name=\S+", "-o syslog_name=reference"),
)


class Stub:
    """apistub, with a listener for each delay."""

    def __init__(self, program, log, delays):
        self.log = log
        self._process = subprocess.Popen(
            [program, "-l", log, *map(str, delays)], stdout=subprocess.PIPE,
            text=True)
        self._ports = {}
        for _ in delays:
            port, delay = self._process.stdout.readline().split()
            self._ports[int(delay)] = int(port)
        self.pid = self._process.pid

    def url(self, delay):
        return f"http://127.0.0.1:{self._ports[delay]}/api"

    def stats(self):
        port = next(iter(self._ports.values()))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as f:
            return json.load(f)

    def sent_since(self, offset):
        """Sequence numbers of the requests logged behind that offset, and the
        log's new end."""
        self.stats()  # flushes
        with open(self.log, encoding="ascii") as f:
            f.seek(offset)
            lines = f.read().splitlines()
            return [line.split()[2] for line in lines], f.tell()

    def stop(self):
        self._process.terminate()
        self._process.wait()


class Rig:
    def __init__(self, build, directory, delays):
        self.build = Path(build).resolve()
        self.dir = Path(directory)
        self.tools = self.build / "tests" / "bench"
        self._delays = sorted(set(delays) | {0})
        self._stack = ExitStack()
        self._daemons = 0
        self.address = {}
        os.environ.setdefault("TXMILTER_BIN", str(self.build / "txmilter"))

    def __enter__(self):
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _start(self):
        self.stub = Stub(self.tools / "apistub", self.dir / "api.log",
                         self._delays)
        self._stack.callback(self.stub.stop)
        self.postfix = PrivatePostfix(self.dir / "postfix",
                                      substitute=WITHOUT_TLS)
        self.postfix.make_socket_directory(daemon.USER)
        self._stack.callback(self.postfix.stop)
        self._write_main_cf()
        self._add_services()
        # smtpd wants the SASL socket when it starts.
        with self.milters(delay=0):
            self.postfix.start()
        self.postfix_pid = int(
            (self.postfix.queue / "pid" / "master.pid").read_text())

    def _write_main_cf(self):
        """Keeps what the instance needs, which is what stands above the first
        empty line. A parameter given twice would be a warning of each process
        at its start; postlogd's own waits for ever when others fill its
        socket first."""
        path = self.postfix.etc / "main.cf"
        ours = {line.split(" ")[0] for line in MAIN_CF.splitlines()}
        needed = path.read_text().split("\n\n")[0]
        path.write_text("".join(
            f"{line}\n" for line in needed.splitlines()
            if line.split(" ")[0] not in ours) + MAIN_CF)

    def _add_services(self):
        path = self.postfix.etc / "master.cf"
        services = path.read_text()
        txm = f"127.0.0.1:{self.postfix.port('587')}"
        ref, stock, floor = (net.free_port() for _ in range(3))
        ours = re.search(rf"^{txm} .*\n(?:[ \t].*\n)+", services, re.M)[0]
        with_floor = ours.replace(txm, f"127.0.0.1:{floor}").replace(
            OUR_SOCKET, f"unix:txmilter/{FLOOR_SOCKET}")
        reference = ours.replace(txm, f"127.0.0.1:{ref}")
        for pattern, new in TO_REFERENCE:
            reference, n = re.subn(pattern, new, reference)
            if n != 1:
                raise ValueError(f"{pattern} occurs {n} times in the service")
        path.write_text(services + reference + with_floor +
                        STOCK.format(port=stock))
        self.address = {"TXM": txm, "REF": f"127.0.0.1:{ref}",
                        "FLOOR": f"127.0.0.1:{floor}",
                        "STOCK": f"127.0.0.1:{stock}"}

    @contextmanager
    def milters(self, delay, mode=None):
        """A fresh daemon and a fresh floor, whose API is the stub's with that
        delay; peer -> pid. mode: of every route."""
        self._daemons += 1
        d = daemon.Daemon(self.dir / f"txmilter{self._daemons}",
                          self.postfix.sockets, self.stub.url(delay),
                          log_level="info")
        if mode is not None:
            d.config["route *"] = {"mode": mode}
        d.start()
        floor = self._start_floor(delay)
        try:
            yield {"TXM": d.process.pid, "FLOOR": floor.pid}
        finally:
            floor.kill()
            floor.wait()
            d.stop()

    def _start_floor(self, delay):
        socket = self.postfix.sockets / FLOOR_SOCKET
        process = subprocess.Popen(
            [self.tools / "floor", f"unix:{socket}",
             self.stub.url(delay) + "/transactional/send"],
            stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("floor does not start")
        return process

    def log_size(self):
        return self.postfix.log_path.stat().st_size

    def delivered_since(self, offset):
        """How many messages Postfix delivered to discard(8), and how many it
        removed from its queue, by its log behind that offset."""
        with open(self.postfix.log_path, "rb") as f:
            f.seek(offset)
            log = f.read()
        return (len(re.findall(rb"/discard\[.* status=sent ", log)),
                len(re.findall(rb"/qmgr\[.*: removed$", log, re.M)))
