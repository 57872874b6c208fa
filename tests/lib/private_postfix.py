# SPDX-License-Identifier: MIT
"""A throw-away Postfix with txmilter's services in front.

The instance stands for "an existing Postfix": a main.cf with settings of its
own, several of which would break the relay if packaging/postfix let them
through, a service for other mail, and a sink where everything that leaves
ends up.  The files of packaging/postfix are used word for word, except that
the port in the first column becomes 127.0.0.1:<free port>.

Configuration, queue, data and log are below one directory; nothing of the
machine's own Postfix is read or written but its programs.  Needs root, as
Postfix's master does.

    pf = PrivatePostfix(directory)      # writes the files
    pf.start()                          # when txmilter listens
    pf.port("587"), pf.other_port, pf.sink.messages, pf.log_of(queue_id)
    pf.stop()
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import net
from mail_sink import MailSink

TOP = Path(__file__).resolve().parents[2]
PACKAGING = TOP / "packaging" / "postfix"
SERVICES = ("master.cf.txmilter", "master.cf.txmilter-header-auth")

# What another administrator may have in main.cf. Each of the lines below the
# empty one would do harm to relayed mail if it applied to our services.
MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
multi_instance_name = postfix-{name}
syslog_name = postfix
myhostname = relay.example.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
biff = no
smtpd_tls_chain_files = {dir}/etc/tls.pem
smtpd_tls_security_level = may
default_transport = smtp:[127.0.0.1]:{sink_port}
relay_transport = $default_transport
default_process_limit = 1200
service_throttle_time = 1s
minimal_backoff_time = {backoff}
maximal_backoff_time = {backoff}
queue_run_delay = {backoff}

mynetworks = 127.0.0.0/8
always_bcc = archive@existing.example
header_checks = regexp:{{{{/^Subject:.*/ REPLACE Subject: rewritten by main.cf}}}}
body_checks = regexp:{{{{/./ REJECT body_checks of main.cf}}}}
message_size_limit = 1000000
remote_header_rewrite_domain = domain.invalid
append_dot_mydomain = yes
masquerade_domains = example
always_add_missing_headers = yes
smtpd_client_restrictions = permit_mynetworks, reject
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_non_fqdn_helo_hostname
smtpd_sender_restrictions = check_sender_access inline:{{customer.example=REJECT}}
smtpd_data_restrictions = reject_unauth_pipelining, reject_multi_recipient_bounce
smtpd_sasl_tls_security_options = noanonymous, noplaintext
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_milter_maps = static:DISABLE
milter_default_action = accept
smtpd_client_connection_count_limit = 3
smtpd_client_connection_rate_limit = 1000
smtpd_client_auth_rate_limit = 5
notify_classes = bounce, policy, protocol, resource, software
lmtp_generic_maps = inline:{{customer.example=generic.invalid}}
lmtp_header_checks = regexp:{{{{/^Subject:.*/ REPLACE Subject: lmtp_header_checks}}}}
lmtp_body_checks = regexp:{{{{/./ REPLACE lmtp_body_checks}}}}
lmtp_tls_security_level = encrypt
lmtp_discard_lhlo_keywords = 8bitmime, pipelining, enhancedstatuscodes
lmtp_delivery_status_filter = regexp:{{{{/^5(.*)/ 4$$1}}}}
"""

# The rest of a master.cf, as in Postfix' own, without chroot. body_checks and
# header_checks are off for the service of other mail, so that a test can see
# that it arrives as it was.
MASTER_CF = """\
127.0.0.1:{other_port} inet n - n - - smtpd
  -o receive_override_options=no_header_body_checks
  -o smtpd_sender_restrictions=
pickup    unix  n - n 60 1 pickup
  -o receive_override_options=no_header_body_checks
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class PrivatePostfix:
    """substitute: (old, new) pairs applied to the packaged services, for
    tests about a service that is not as packaged; each must occur.
    main_cf: lines that are appended to main.cf.
    queue_size: bytes of a file system of its own for the queue, to be full
    without harm.
    backoff: between two deliveries of a message."""

    def __init__(self, directory, substitute=(), main_cf="", queue_size=0,
                 backoff="2s"):
        self.dir = Path(directory).resolve()
        self.etc = self.dir / "etc"
        self.queue = self.dir / "queue"
        self.sockets = self.queue / "txmilter"
        self.log_path = self.dir / "mail.log"
        self.cert = self.etc / "cert.pem"
        self.other_port = net.free_port()
        self.ports = {}
        self.sink = MailSink()
        self._write(substitute, main_cf, backoff)
        self.mounted = False
        if queue_size:
            self._mount(queue_size)

    # --- files -------------------------------------------------------------

    def _write(self, substitute, main_cf, backoff):
        for d in (self.dir, self.etc, self.queue, self.dir / "data"):
            d.mkdir(parents=True, exist_ok=True)
            d.chmod(0o755)
        shutil.chown(self.dir / "data", "postfix")
        self.log_path.touch()
        net.self_signed(self.cert, self.etc / "tls.pem", "relay.example.test")
        (self.etc / "main.cf").write_text(
            MAIN_CF.format(dir=self.dir, name=self.dir.name,
                           sink_port=self.sink.port, backoff=backoff) +
            main_cf)
        services = "".join((PACKAGING / f).read_text() for f in SERVICES)
        for old, new in substitute:
            if old not in services:
                raise ValueError(f"{old!r} is not in the packaged services")
            services = services.replace(old, new)
        (self.etc / "master.cf").write_text(
            MASTER_CF.format(other_port=self.other_port) +
            self._map_ports(services))
        shutil.copy(PACKAGING / "txmilter_header_checks", self.etc)

    def _map_ports(self, services):
        def replace(match):
            self.ports[match[1]] = net.free_port()
            return f"127.0.0.1:{self.ports[match[1]]} inet"
        return re.sub(r"^(?:127\.0\.0\.1:)?(\d+)\s+inet\b", replace, services,
                      flags=re.M)

    def _mount(self, size):
        self._command("mount", "-t", "tmpfs", "-o", f"size={size},mode=755",
                      "tmpfs", str(self.queue))
        self.mounted = True

    def make_socket_directory(self, owner):
        """As the README of packaging/postfix says: the daemon's, below the
        queue directory, open to Postfix only."""
        self.sockets.mkdir(exist_ok=True)
        shutil.chown(self.sockets, owner, "postfix")
        self.sockets.chmod(0o750)

    # --- running -----------------------------------------------------------

    def _command(self, *args, check=True, **kw):
        return subprocess.run(args, check=check, text=True,
                              stdin=kw.pop("stdin", subprocess.DEVNULL),
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              env=self._environment(), **kw).stdout

    def _environment(self):
        return {**os.environ, "MAIL_CONFIG": str(self.etc),
                "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

    def postfix(self, command, check=True):
        return self._command("postfix", "-c", str(self.etc), command,
                             check=check)

    def postconf(self, *args):
        return self._command("postconf", "-c", str(self.etc), *args)

    def start(self):
        out = self._command("postfix", "-c", str(self.etc), "start",
                            check=False)
        for port in (*self.ports.values(), self.other_port):
            net.wait_for_port(port, lambda: f"{out}\n{self.log()}")

    def reload(self):
        self.postfix("reload")

    def stop(self):
        """Also after a crash of anything: no process of it is left."""
        self.sink.stop()
        self._stop_master()
        if self.mounted:  # --lazy: txmilter's sockets are in there
            self._command("umount", "--lazy", str(self.queue))
            self.mounted = False

    def _stop_master(self):
        pid = self._master_pid()
        if pid is None:
            return
        self.postfix("stop", check=False)
        if net.wait_until(lambda: self._master_pid() is None, 10):
            return
        os.kill(pid, signal.SIGKILL)

    def kill(self, program):
        """kill -9 of master's children of that name; how many they were."""
        master = self._master_pid()
        pids = [pid for pid in procs_of(program) if parent(pid) == master]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def _master_pid(self):
        try:
            pid = int((self.queue / "pid" / "master.pid").read_text())
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = f"MAIL_CONFIG={self.etc}".encode()
        return pid if ours in words else None

    def port(self, name):
        return self.ports[name]

    # --- looking -----------------------------------------------------------

    def log(self):
        return self.log_path.read_text(errors="replace")

    def log_of(self, queue_id):
        return [line for line in self.log().splitlines()
                if re.search(rf"\b{queue_id}\b", line)]

    def warnings(self):
        return [line for line in self.log().splitlines()
                if re.search(r"\b(warning|error|fatal|panic):", line)]

    def wait_for_log(self, pattern, timeout=20):
        """The match of a line that is there or comes; fails with the log."""
        regex = re.compile(pattern)
        found = net.wait_until(lambda: regex.search(self.log()), timeout)
        assert found, f"no {pattern!r} in the log:\n{self.log()[-4000:]}"
        return found

    def queue_ids(self):
        out = self._command("postqueue", "-c", str(self.etc), "-j",
                            check=False)
        return re.findall(r'"queue_id": "(\w+)"', out)

    def postqueue(self):
        """As people read it."""
        return self._command("postqueue", "-c", str(self.etc), "-p",
                             check=False)

    def postcat(self, *args):
        return self._command("postcat", "-c", str(self.etc), *args)

    def postsuper(self, *args):
        return self._command("postsuper", "-c", str(self.etc), *args)

    def wait_until_empty(self, timeout=20):
        assert net.wait_until(lambda: not self.queue_ids(), timeout), \
            self.postqueue()

    def deliver_all(self, timeout=30):
        """Until the queue is empty, without waiting for its backoff."""
        def is_empty():
            if not self.queue_ids():
                return True
            self.flush()
            return False
        assert net.wait_until(is_empty, timeout, 0.5), \
            self._command("postqueue", "-c", str(self.etc), "-p", check=False)

    def flush(self):
        self._command("postqueue", "-c", str(self.etc), "-f", check=False)

    def sendmail(self, message, *args):
        """sendmail(1) of this instance: mail that is none of our business."""
        return subprocess.run(
            ["sendmail", "-C", str(self.etc), *args], input=message,
            check=True, env=self._environment())


def procs_of(program):
    """Process ids of that command name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == program:
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def parent(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2:].split()[1])
