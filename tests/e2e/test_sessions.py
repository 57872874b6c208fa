# SPDX-License-Identifier: MIT
"""Sessions that go on, stop in the middle or never begin; and the daemon
being stopped, killed and restarted under them."""

import base64
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

import mail
import net
from milter_client import MilterClient
from relay import RCPT, SENDER


def still_works(relay):
    assert relay.send(relay.new_key(), mail.message()).code == 250


def in_threads(n, work):
    """work(i) in n threads; the results in order."""
    results = [None] * n

    def run(i):
        results[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    return threads, results


# --- through Postfix -------------------------------------------------------


def test_several_messages_in_a_session(relay):
    key = relay.new_key()
    with relay.client(key) as c:
        for i in range(20):
            reply = c.deliver(SENDER, [f"r{i}@x.example"],
                              mail.message(f"<p>{i}</p>", subject=f"s{i}",
                                           headers=[("To", f"N{i}")]))
            assert reply.code == 250
    got = [(d["to"], d["toname"], d["subject"], d["body"].strip())
           for d in relay.api.sends]
    assert got == [(f"r{i}@x.example", f"N{i}", f"s{i}", f"<p>{i}</p>")
                   for i in range(20)]


def test_nothing_of_a_message_is_left_for_the_next(relay):
    key = relay.new_key(routes=["a", "b"])
    with relay.client(key) as c:
        full = mail.message(headers=[
            ("X-Transactional-Route", "b"), ("X-Transactional-Tag", "t"),
            ("X-Transactional-Variables", "{}"), ("Reply-To", "x@y.example")])
        assert c.deliver(SENDER, [RCPT, "x@y.example"], full).code == 250
        relay.api.forget()
        bare = mail.message(headers=[("X-Transactional-Route", "a")],
                            drop=["To"])
        assert c.deliver("", ["z@y.example"], bare).code == 250
    [document] = relay.api.sends
    assert document["to"] == "z@y.example" and document["returnpath"] == ""
    assert not {"tag", "variables", "replyto"} & {
        k for k, v in document.items() if v not in (None, "")}


STAGES = ["connect", "ehlo", "tls", "auth", "mail", "rcpt", "data", "header",
          "end of header", "body", "quit"]


def go_to(c, stage, key):
    """Speaks until and with the stage."""
    steps = {
        "connect": lambda: None,
        "ehlo": lambda: c.ehlo(),
        "tls": lambda: c.start_tls(),
        "auth": lambda: c.auth_plain_raw("x", key),
        "mail": lambda: c.command(f"MAIL FROM:<{SENDER}>"),
        "rcpt": lambda: c.command(f"RCPT TO:<{RCPT}>"),
        "data": lambda: c.command("DATA"),
        "header": lambda: c.send_bytes(b"From: a@b.example\r\nSubj"),
        "end of header": lambda: c.send_bytes(b"ect: x\r\n\r\n"),
        "body": lambda: c.send_bytes(b"<p>half of it" * 9000),
        "quit": lambda: None,
    }
    for name, step in steps.items():
        step()
        if name == stage:
            return


@pytest.mark.parametrize("stage", STAGES)
def test_disconnect_at_each_stage(relay, stage):
    key = relay.new_key()
    for _ in range(3):
        with relay.client(tls=False) as c:
            go_to(c, stage, key)
            c.abort()
    assert relay.send(key, mail.message()).code == 250
    assert len(relay.api.sends) == 1


@pytest.mark.parametrize("stage", ["ehlo", "tls", "auth", "mail", "rcpt"])
def test_rset_at_each_stage(relay, stage):
    key = relay.new_key()
    with relay.client(tls=False) as c:
        go_to(c, stage, key)
        assert c.command("RSET").code == 250
        if stage in ("ehlo",):
            c.start_tls()
        if stage in ("ehlo", "tls"):
            c.auth_plain_raw("x", key)
        assert c.deliver(SENDER, ["other@x.example"],
                         mail.message()).code == 250
    [document] = relay.api.sends
    assert document["to"] == "other@x.example"


def test_second_mail_command_and_ehlo_in_between(relay):
    with relay.client(relay.new_key()) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        assert c.command(f"MAIL FROM:<{SENDER}>").code == 503
        c.command(f"RCPT TO:<{RCPT}>")
        c.ehlo()
        assert c.command("DATA").code == 503
        assert c.deliver(SENDER, ["other@x.example"],
                         mail.message()).code == 250
    [document] = relay.api.sends
    assert document["to"] == "other@x.example"


def test_client_gone_while_the_api_is_asked(relay):
    """The hand-off goes on; exactly one."""
    key = relay.new_key()
    fault = relay.api.fault("send", key=key, delay=0.5)
    with relay.client(key) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        c.command(f"RCPT TO:<{RCPT}>")
        c.command("DATA")
        c.send_bytes(mail.message() + b"\r\n.\r\n")
        assert net.wait_until(lambda: fault.hits)
        c.abort()
    assert net.wait_until(lambda: len(relay.api.sends) == 1)
    still_works(relay)
    assert len([d for d in relay.api.calls("send") if d.key == key]) == 1


def test_many_sessions_at_once(relay):
    key = relay.new_key()

    def one(i):
        with relay.client(key) as c:
            return [c.deliver(SENDER, [RCPT], mail.message(
                subject=f"{i}-{j}")).code for j in range(4)]

    threads, results = in_threads(25, one)
    for t in threads:
        t.join()
    assert results == [[250] * 4] * 25
    subjects = sorted(d["subject"] for d in relay.api.sends)
    assert subjects == sorted(f"{i}-{j}" for i in range(25) for j in range(4))


def test_slow_api_does_not_hold_up_logins(relay):
    """Messages that wait for the API and sessions that begin."""
    slow, quick = relay.new_key(), relay.new_key()
    assert relay.send(quick, mail.message()).code == 250
    fault = relay.api.fault("send", key=slow, delay=2, after=True)
    threads, results = in_threads(
        10, lambda i: relay.send(slow, mail.message(subject=str(i))).code)
    assert net.wait_until(lambda: fault.hits >= 5)
    started = time.monotonic()
    with relay.client() as c:
        assert c.auth_plain_raw("x", quick).code == 235
    login = time.monotonic() - started
    for t in threads:
        t.join()
    assert results == [250] * 10
    assert login < 1.5


# --- on the milter socket --------------------------------------------------


def milter(relay):
    return MilterClient(relay.daemon.milter_socket)


def test_protocol_that_is_asked_for(relay):
    with milter(relay) as m:
        m.negotiate()
        # To add and change headers, to replace the body, the sender, to
        # add recipients, with ESMTP parameters.
        assert m.actions == 0x01 | 0x10 | 0x02 | 0x40 | 0x04 | 0x80
        assert m.steps & 0x400  # SKIP


@pytest.mark.parametrize("steps", [0, 0x7F])
def test_an_mta_that_cannot_do_what_is_needed(relay, steps):
    """It hangs up; the MTA's default action is to try again later."""
    with milter(relay) as m:
        try:
            m.negotiate(steps=steps)
            m.mail("a@b.example")
            assert m.end_of_message().kind in "rty"
        except (ConnectionError, OSError):
            pass
    still_works(relay)


def test_no_identity(relay):
    with milter(relay).negotiate() as m:
        answer = m.message("a@b.example", [RCPT],
                           [("From", "a@b.example"), ("Subject", "x")],
                           b"<p>x</p>")
    assert answer.kind == "y" and answer.text.startswith("550 5.7.1")


@pytest.mark.parametrize("user", ["", "nobody", "a:b", ":", "x" * 4000,
                                  "acme:aaaaaaaaaaaaaaaa", "%s%n:%s"])
def test_user_names_that_nobody_was_given(relay, user):
    with milter(relay).negotiate() as m:
        answer = m.message("a@b.example", [RCPT],
                           [("From", "a@b.example"), ("Subject", "x")],
                           b"<p>x</p>", auth=user)
    assert answer.kind == "y" and answer.code in (535, 550, 454), answer
    assert not relay.api.calls("send")


def test_steps_out_of_order(relay):
    """libmilter may refuse, hang up or ignore them; nobody is hurt."""
    steps = [lambda m: m.abort(), lambda m: m.mail("a@b.example"),
             lambda m: m.rcpt(RCPT), lambda m: m.header("Subject", "x"),
             lambda m: m.end_of_headers(), lambda m: m.send("B", b"<p>x</p>"),
             lambda m: m.send("E"), lambda m: m.send("Q"),
             lambda m: m.macros("M", auth_authen="x")]
    rng = random.Random(2)
    for _ in range(60):
        with milter(relay).negotiate() as m:
            try:
                for _ in range(12):
                    rng.choice(steps)(m)
            except OSError:
                pass
    still_works(relay)
    assert len(relay.api.sends) == 1


def test_skip_when_nothing_later_matters(relay):
    """Two megabytes of attachment behind the HTML are not read."""
    kind, body = mail.multipart(
        "mixed", mail.part("<p>h</p>", "text/html"),
        mail.part(bytes(2_000_000), "application/pdf"))
    with milter(relay).negotiate() as m:
        m.mail("a@b.example")
        m.rcpt(RCPT)
        m.header("Content-Type", kind)
        m.end_of_headers()
        answer = m.body(mail.crlf(body))
        assert answer.kind == "s"
        m.abort()


GARBAGE = [
    ("zeros", bytes(64)),
    ("a length of 4 GB", b"\xff\xff\xff\xffO"),
    ("a length of 256 MB", struct.pack("!I", 1 << 28) + b"B" + bytes(9000)),
    ("half a packet", b"\0\0\0\x0dO\0\0"),
    ("HTTP", b"GET / HTTP/1.0\r\n\r\n"),
    ("a command nobody knows", struct.pack("!I", 1) + b"z"),
    ("too short an OPTNEG", struct.pack("!I", 3) + b"O\0\0"),
    ("MAIL without an end", struct.pack("!I", 8) + b"M<a@b.c"),
]


@pytest.mark.parametrize("data", [g[1] for g in GARBAGE],
                         ids=[g[0] for g in GARBAGE])
@pytest.mark.parametrize("negotiated", [False, True])
def test_garbage_on_the_milter_socket(relay, data, negotiated):
    with milter(relay) as m:
        if negotiated:
            m.negotiate()
        try:
            m.send_bytes(data)
            m._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        m.closed()
    still_works(relay)


def test_random_bytes_on_both_sockets(relay):
    rng = random.Random(1)
    for path in (relay.daemon.milter_socket, relay.daemon.sasl_socket):
        for _ in range(100):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                try:
                    s.sendall(rng.randbytes(rng.randrange(3000)))
                except OSError:
                    pass
    still_works(relay)


SASL_GARBAGE = [
    b"\n" * 1000, b"\t" * 1000 + b"\n", b"AUTH\n", b"AUTH\t1\n",
    b"AUTH\t1\tPLAIN\tservice=smtp\tresp=!!!\n",
    b"AUTH\t99999999999999999999\tPLAIN\tresp=AAAA\n",
    b"AUTH\t1\tGSSAPI\tresp=\n", b"CONT\t1\tAAAA\n", b"VERSION\t9\t9\n",
    b"A" * 100_000, b"AUTH\t1\tPLAIN\0resp=AAAA\n", b"CPID\t-1\nAUTH\t0\n",
]


@pytest.mark.parametrize("data", SASL_GARBAGE, ids=range(len(SASL_GARBAGE)))
def test_garbage_on_the_login_socket(relay, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(relay.daemon.sasl_socket))
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
    still_works(relay)


def test_a_login_in_single_bytes(relay):
    """TCP-like delivery of the auth protocol: a line may come in pieces."""
    key = relay.new_key()
    resp = base64.b64encode(f"\0u\0{key}".encode())
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(relay.daemon.sasl_socket))
        for byte in b"VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\tresp=" + \
                resp + b"\n":
            s.sendall(bytes([byte]))
        answer = b""
        while b"OK\t1\t" not in answer:
            data = s.recv(4096)
            assert data, answer
            answer += data


def test_500_idle_connections(relay):
    idle = [milter(relay).negotiate() for _ in range(500)]
    try:
        started = time.monotonic()
        still_works(relay)
        assert time.monotonic() - started < 5
        assert relay.daemon.descriptors() >= 500
    finally:
        for m in idle:
            m.close()
    assert net.wait_until(lambda: relay.daemon.descriptors() < 300, 30)


def test_500_idle_login_connections(relay):
    idle = []
    for _ in range(500):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(relay.daemon.sasl_socket))
        idle.append(s)
    try:
        still_works(relay)
    finally:
        for s in idle:
            s.close()


def test_descriptors_do_not_grow(relay):
    key = relay.new_key()

    def work():
        for stage in ("auth", "mail", "data", "body"):
            with relay.client(tls=False) as c:
                go_to(c, stage, key)
                c.abort()
        assert relay.send(key, mail.message()).code == 250

    work()
    before = relay.daemon.descriptors()
    for _ in range(10):
        work()
    assert net.wait_until(
        lambda: relay.daemon.descriptors() <= before + 5, 20)


# --- stop, kill, restart ---------------------------------------------------


def test_sigterm_with_messages_in_flight(own):
    """Each client hears what happened to its message."""
    key = own.new_key()
    assert own.send(key, mail.message()).code == 250
    own.api.forget()
    fault = own.api.fault("send", key=key, delay=1.5, after=True)
    threads, results = in_threads(
        8, lambda i: own.send(key, mail.message(subject=str(i))))
    assert net.wait_until(lambda: fault.hits == 8)
    own.daemon.signal(signal.SIGTERM)
    for t in threads:
        t.join()
    assert own.daemon.process.wait(60) == 0
    accepted = [i for i, r in enumerate(results) if r.code == 250]
    assert accepted == list(range(8)), results
    assert len(own.api.sends) == 8
    own.daemon.process = None
    own.daemon.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT,
                                    signal.SIGHUP])
def test_signals_that_stop(own, number):
    own.daemon.signal(number)
    assert own.daemon.process.wait(30) == 0
    own.daemon.process = None
    own.daemon.start()
    still_works(own)


def test_killed_in_the_middle_of_a_message(own):
    key = own.new_key()
    fault = own.api.fault("send", key=key, hang=True)
    [thread], replies = in_threads(1, lambda i: own.send(
        key, mail.message(), ["killed@there.example"]))
    assert net.wait_until(lambda: fault.hits)
    own.daemon.kill()
    thread.join()
    assert replies[0].code == 451, replies
    own.postfix.wait_until_empty()
    assert not own.postfix.sink.messages and not own.api.sends
    own.api.heal()
    own.daemon.start()
    assert own.send(key, mail.message()).code == 250


def test_stopped_daemon_means_try_later(own):
    key = own.new_key()
    assert own.send(key, mail.message()).code == 250
    with own.client() as c:
        own.daemon.terminate()
        assert c.auth_plain_raw("x", key).code in (454, 421)
    own.daemon.process = None
    own.daemon.start()
    assert net.wait_until(lambda: _works(own, key), 20, 0.3)
    own.postfix.wait_until_empty()
    assert not own.postfix.sink.messages


def _works(relay, key):
    try:
        return relay.send(key, mail.message()).code == 250
    except Exception:  # while smtpd comes back to its senses
        return False


def test_hanging_daemon_means_try_later(relays):
    relay = relays([("content_timeout=60s", "content_timeout=2s")])
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    with relay.client(key) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        c.command("RCPT TO:<hang@there.example>")
        relay.daemon.signal(signal.SIGSTOP)
        reply = c.send_data(mail.message())
        relay.daemon.signal(signal.SIGCONT)
        assert reply.code in (451, 421), reply
    relay.postfix.wait_until_empty()
    assert not relay.postfix.sink.messages
    still_works(relay)


def test_restart_while_sessions_are_open(own):
    key = own.new_key()
    with own.client(key) as c:
        assert c.deliver(SENDER, [RCPT], mail.message()).code == 250
        own.daemon.restart()
        reply = c.deliver(SENDER, [RCPT], mail.message())
        assert reply.code in (250, 421, 451), reply
    assert net.wait_until(lambda: _works(own, key), 20, 0.3)


def test_two_daemons_do_not_share_a_socket(relay):
    """The second one must not take the first one's place."""
    result = relay.daemon.run("-f")
    assert result.returncode != 0
    assert relay.daemon.running()
    still_works(relay)


def test_files_are_closed_to_others(relay):
    for path in (relay.daemon.milter_socket, relay.daemon.sasl_socket):
        assert os.stat(path).st_mode & 0o777 == 0o660
    for path in relay.daemon.state.rglob("*"):
        assert os.stat(path).st_mode & 0o077 == 0, path
