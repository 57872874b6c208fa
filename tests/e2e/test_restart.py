# SPDX-License-Identifier: MIT
"""The daemon is started again under Postfix, with the sockets that systemd
holds meanwhile: what the clients notice of it."""

import contextlib
import os
import smtplib
import threading
import time
from collections import Counter

import pytest

import mail
import net
from relay import RCPT, SENDER
from smtp_client import Rejected

RESTARTS = 20
SESSIONS = 10
GAP_MAX = 3
STOP_MAX = 4  # libmilter by itself takes up to 5 s; a sanitizer's end 1 s


def passed_sockets(daemon):
    return [daemon.sasl_socket, daemon.lmtp_socket]


@pytest.fixture
def activated(own):
    """A relay whose daemon was started by systemd, so to speak."""
    own.daemon.stop()
    for path in passed_sockets(own.daemon):
        own.daemon.pass_socket(path)
    own.daemon.start()
    return own


class Stoppable(threading.Thread):
    """Calls work() again and again; the first exception is the test's."""

    def __init__(self, work):
        super().__init__()
        self._work = work
        self._stopped = threading.Event()
        self._problem = None

    def run(self):
        try:
            while not self._stopped.is_set():
                self._work()
        except Exception as e:
            self._problem = e

    def stop(self):
        self._stopped.set()

    def finish(self):
        self.stop()
        self.join()
        if self._problem:
            raise self._problem


# --- logins ----------------------------------------------------------------


def test_logins_wait_while_there_is_no_daemon(activated):
    """Of sessions that are there, which had a connection to the old one."""
    key = activated.new_key()
    replies = []

    def log_in(client):
        replies.append(client.auth_plain_raw("x", key).code)

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(activated.client())
                   for _ in range(SESSIONS)]
        activated.daemon.stop()
        threads = [threading.Thread(target=log_in, args=(c,))
                   for c in clients]
        for t in threads:
            t.start()
        time.sleep(1)
        assert not replies
        activated.daemon.start()
        for t in threads:
            t.join()
    assert replies == [235] * SESSIONS


def test_sessions_that_begin_while_there_is_no_daemon(activated):
    """Without the milter they cannot go far. But no smtpd dies for want of
    the login socket, after which Postfix would wait a minute."""
    key = activated.new_key()
    outcomes = []

    def begin():
        try:
            with activated.client(key) as c:
                outcomes.append(c.deliver(SENDER, [RCPT],
                                          mail.message()).code)
        except Rejected as e:
            outcomes.append(e.reply.code)

    activated.daemon.stop()
    threads = [threading.Thread(target=begin) for _ in range(SESSIONS)]
    for t in threads:
        t.start()
    time.sleep(1)
    activated.daemon.start()
    begin()
    for t in threads:
        t.join()
    assert 250 in outcomes and set(outcomes) <= {250, 451, 454}
    assert "fatal" not in activated.postfix.log()


def test_the_queue_waits_while_there_is_no_daemon(activated):
    """Postfix' lmtp is connected, and hears nothing until there is one."""
    postfix = activated.postfix
    activated.api.fault("send", status=503)
    reply = activated.send(activated.new_key(), mail.message())
    assert reply.code == 250

    def deferred():
        return [line for line in postfix.log_of(reply.queue_id)
                if "status=deferred" in line]

    assert net.wait_until(deferred)
    activated.daemon.stop()
    activated.api.heal()
    before = len(deferred())
    postfix.flush()
    time.sleep(1)
    activated.daemon.start()
    assert net.wait_until(lambda: activated.api.sends)
    postfix.wait_until_empty()
    assert len(activated.api.sends) == 1 and len(deferred()) == before


def test_passed_sockets_stay_as_they_are(activated):
    def look():
        return [(s.st_ino, s.st_mode, s.st_uid, s.st_gid) for s in
                map(os.stat, passed_sockets(activated.daemon))]

    before = look()
    activated.daemon.restart()
    assert look() == before


def test_stops_at_once(activated):
    """Nobody connects to the milter socket meanwhile."""
    started = time.monotonic()
    activated.daemon.stop()
    assert time.monotonic() - started < STOP_MAX
    activated.daemon.start()
    assert activated.send(activated.new_key(), mail.message()).code == 250


# --- the milter socket ------------------------------------------------------


class Gaps:
    """How long nobody can connect, each time."""

    def __init__(self, path):
        self.seconds = []
        self._path = str(path)
        self._since = None

    def look(self):
        now = time.monotonic()
        if net.can_connect(self._path):
            if self._since is not None:
                self.seconds.append(now - self._since)
            self._since = None
        elif self._since is None:
            self._since = now
        time.sleep(0.002)


class Client:
    """Sends one message after the other, each until it is accepted."""

    def __init__(self, relay, key, name):
        self.accepted = []
        self.replies = Counter()
        self.failed_logins = 0
        self._relay, self._key, self._name = relay, key, name
        self._n = 0

    def send_one(self):
        self._n += 1
        id = f"{self._name}-{self._n}"
        message = mail.message(subject=id, message_id=f"<{id}@c.example>")
        deadline = time.monotonic() + 60
        while not self._try(message):
            assert time.monotonic() < deadline, f"{id} is never accepted"
            time.sleep(0.05)
        self.accepted.append(id)

    def _try(self, message):
        try:
            with self._relay.client(self._key) as c:
                reply = c.deliver(SENDER, [RCPT], message)
        except (Rejected, smtplib.SMTPException, OSError):
            self.failed_logins += 1
            return False
        self.replies[reply.code] += 1
        return reply.code == 250


def test_restarts_under_load(activated):
    """Messages hear 250 or 451, and each is there once in the end."""
    daemon = activated.daemon
    key = activated.new_key()
    assert activated.send(key, mail.message()).code == 250
    activated.api.forget()
    gaps = Gaps(daemon.milter_socket)
    clients = [Client(activated, key, f"c{i}") for i in range(SESSIONS)]
    threads = [Stoppable(c.send_one) for c in clients]
    prober = Stoppable(gaps.look)
    stops = []
    for t in [prober, *threads]:
        t.start()
    for _ in range(RESTARTS):
        time.sleep(0.4)
        started = time.monotonic()
        daemon.stop()
        stops.append(time.monotonic() - started)
        daemon.start()
    for t in threads:
        t.stop()
    for t in [*threads, prober]:
        t.finish()

    accepted = [id for c in clients for id in c.accepted]
    replies = sum((c.replies for c in clients), Counter())
    failed = sum(c.failed_logins for c in clients)
    print(f"\n{RESTARTS} restarts, {len(accepted)} messages: "
          f"stop {summary(stops)}, milter socket away {summary(gaps.seconds)}"
          f", replies {dict(replies)}, sessions without a reply {failed}")
    assert len(gaps.seconds) == RESTARTS
    assert max(gaps.seconds) < GAP_MAX
    assert set(replies) <= {250, 451}

    def arrived():
        return Counter(d["subject"] for d in activated.api.sends)

    net.wait_until(lambda: len(arrived()) >= len(accepted), 60)
    assert arrived() == Counter(accepted)


def summary(seconds):
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.2f} s, at most {ordered[-1]:.2f} s"
