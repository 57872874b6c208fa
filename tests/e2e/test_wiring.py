# SPDX-License-Identifier: MIT
"""packaging/postfix without the daemon: a scripted milter and login server
stand in for it.  What is proved here: mail leaves only with the milter's
consent, whatever the milter does; other mail of the same Postfix is as it
was; the daemon sees the message as the client sent it."""

import time
import uuid

import pytest

import mail
from fake_milter import (CONTINUE, DISCARD, FakeMilter, add_header, packet)
from fake_sasl import FakeSasl
from private_postfix import PrivatePostfix
from smtp_client import Rejected, SmtpClient

KEY = "wiring-key-0123456789"
SENDER = "app@customer.example"
PORTS = ["587", "2525", "8025", "2587"]
MILTER = "unix:txmilter/milter.sock"


class Wiring:
    def __init__(self, directory, substitute=(), main_cf=""):
        self.postfix = PrivatePostfix(directory, substitute, main_cf)
        self.postfix.make_socket_directory("root")
        self.sasl = FakeSasl(self.postfix.sockets / "sasl.sock",
                             {KEY: "acme:keyid"})
        self.milter = None
        self.postfix.start()

    def play(self, **steps):
        """What the milter does from now on."""
        self.stop_milter()
        self.milter = FakeMilter(self.postfix.sockets / "milter.sock", steps)

    def stop_milter(self):
        if self.milter is not None:
            self.milter.stop()
        self.milter = None

    def send(self, message=None, port="587", recipients=None, **kw):
        """(reply, recipient): the recipient is new each time."""
        recipients = recipients or [f"{uuid.uuid4().hex}@there.example"]
        try:
            with SmtpClient(self.postfix.port(port), KEY, **kw) as c:
                reply = c.deliver(SENDER, recipients,
                                  message or mail.message())
        except Rejected as e:
            reply = e.reply
        return reply, recipients[0]

    def left(self, recipient):
        """Mail to the recipient that left, once the queue is empty."""
        self.postfix.wait_until_empty()
        return self.postfix.sink.to(recipient)

    def route(self):
        return f"smtp:[127.0.0.1]:{self.postfix.sink.port}"

    def stop(self):
        self.postfix.stop()
        self.stop_milter()
        self.sasl.stop()


@pytest.fixture(scope="module")
def wirings(top_directory):
    made = []

    def make(name, substitute=(), main_cf=""):
        made.append(Wiring(top_directory / name, substitute, main_cf))
        return made[-1]

    yield make
    for wiring in made:
        wiring.stop()


@pytest.fixture(scope="module")
def packaged(wirings):
    return wirings("packaged")


@pytest.fixture(scope="module")
def impatient(wirings):
    """As packaged, but that a hanging milter is given up after a second."""
    return wirings("impatient", [("command_timeout=30s", "command_timeout=1s"),
                                 ("content_timeout=60s",
                                  "content_timeout=1s")])


# --- the files -------------------------------------------------------------


def test_postfix_knows_every_option(packaged):
    for what in ("-n", "-M", "-P"):
        assert "warning" not in packaged.postfix.postconf(what)
    assert "warning" not in packaged.postfix.postfix("check")


def test_nothing_to_warn_about(packaged):
    packaged.play(E=DISCARD)
    before = packaged.postfix.warnings()
    assert packaged.send()[0].code == 250
    assert packaged.postfix.warnings() == before


def test_services_differ_only_where_they_should(packaged):
    """The stanzas are written out four times: here is who keeps them equal."""
    options = {}
    for line in packaged.postfix.postconf("-P").splitlines():
        place, _, value = line.partition(" = ")
        service, kind, name = place.rsplit("/", 2)
        options.setdefault(service, {})[name] = value
    ours = {name: options[f"127.0.0.1:{port}"]
            for name, port in packaged.postfix.ports.items()}
    assert ours["587"] == ours["2525"] == ours["8025"]
    header = {name for name in ours["587"]
              if ours["587"][name] != ours["2587"].get(name)}
    assert header == {"smtpd_tls_security_level", "smtpd_relay_restrictions"}
    assert ours["2587"].keys() == ours["587"].keys()


def test_works_in_a_chroot(wirings):
    chrooted = wirings("chrooted", [
        ("n       -       n       -       500     smtpd",
         "n       -       y       -       500     smtpd"),
        ("n       -       n       -       0       cleanup",
         "n       -       y       -       0       cleanup")])
    chrooted.play(E=DISCARD)
    assert chrooted.send()[0].code == 250
    chrooted.play(E=add_header("X-Txmilter-Route", chrooted.route()) +
                  CONTINUE)
    reply, rcpt = chrooted.send()
    assert reply.code == 250 and chrooted.left(rcpt)


# --- who may send ----------------------------------------------------------


@pytest.mark.parametrize("port", ["587", "2525", "8025"])
def test_login_only_under_tls(packaged, port):
    packaged.play()
    with SmtpClient(packaged.postfix.port(port), tls=False) as c:
        assert not c.has_extn("auth")
        assert c.has_extn("starttls")
        assert c.auth_plain_raw("x", KEY).code == 503
        c.start_tls()
        assert c.has_extn("auth")
        assert c.auth_plain_raw("x", KEY).code == 235


@pytest.mark.parametrize("port", ["587", "2525", "8025"])
def test_no_relaying_without_login(packaged, port):
    packaged.play(E=DISCARD)
    with SmtpClient(packaged.postfix.port(port)) as c:
        reply = c.deliver(SENDER, ["a@there.example"], mail.message())
    assert (reply.code, reply.enhanced) == (554, "5.7.1")


def test_header_service_wants_tls(packaged):
    with SmtpClient(packaged.postfix.port("2587"), tls=False) as c:
        assert c.command("MAIL FROM:<a@b.example>").code == 530
        c.start_tls()
        assert c.command("MAIL FROM:<a@b.example>").code == 250


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("command", [
    "XCLIENT LOGIN=acme:keyid", "XFORWARD NAME=x", "VRFY postmaster",
    "ETRN there.example"])
def test_commands_nobody_needs(packaged, port, command):
    packaged.play()
    with SmtpClient(packaged.postfix.port(port), KEY) as c:
        assert not c.has_extn("dsn") and not c.has_extn("etrn")
        assert c.command(command).code >= 500


def test_no_session_is_told_to_the_postmaster(packaged):
    """main.cf asks for it; a transcript has AUTH lines in it."""
    packaged.play(E=packet("y", b"550 5.6.0 no\0"))
    with SmtpClient(packaged.postfix.port("587"), KEY) as c:
        c.deliver(SENDER, ["a@there.example"], mail.message())
        c.command("BOGUS")
        c.command("AUTH PLAIN AAAA")
    with SmtpClient(packaged.postfix.port("587")) as c:
        c.auth_plain_raw("x", "k-wrong")
        c.command("MAIL FROM:<@@>")
    with SmtpClient(packaged.postfix.other_port, tls=False) as c:
        c.command("BOGUS")  # of other mail it is told
    notice = "postmaster@relay.example.test"
    assert packaged.postfix.sink.wait_for(notice)
    packaged.postfix.wait_until_empty()
    assert not [m for m in packaged.postfix.sink.to(notice)
                if b"AUTH" in m.data or b"DATA" in m.data]


def test_soft_bounce_of_main_cf(wirings):
    """It would make "try again" of what is refused for good."""
    wiring = wirings("soft-bounce", main_cf="soft_bounce = yes\n")
    wiring.play(E=packet("y", b"550 5.6.0 no\0"))
    assert wiring.send()[0].code == 550
    with SmtpClient(wiring.postfix.port("587")) as c:
        assert c.auth_plain_raw("x", "k-wrong").code == 535
    wiring.play()
    reply, rcpt = wiring.send()
    assert reply.code == 250
    wiring.postfix.wait_for_log(f"{reply.queue_id}: to=.*status=")
    assert not wiring.postfix.sink.to(rcpt)


# --- consent ---------------------------------------------------------------


@pytest.mark.parametrize("port", PORTS)
def test_without_route_header_nothing_leaves(packaged, port):
    packaged.play()
    reply, rcpt = packaged.send(port=port)
    assert reply.code == 250
    assert not packaged.left(rcpt)
    packaged.postfix.wait_for_log(
        rf"{reply.queue_id}: .*status=bounced \(not authorized by txmilter\)")


@pytest.mark.parametrize("port", PORTS)
def test_route_header_of_the_milter_routes(packaged, port):
    packaged.play(E=add_header("X-Txmilter-Route", packaged.route()) +
                  CONTINUE)
    reply, rcpt = packaged.send(port=port)
    assert reply.code == 250
    [message] = packaged.left(rcpt)
    assert message.sender == SENDER


@pytest.mark.parametrize("value", [
    "smtp:", "smtp:[127.0.0.1]:25", "{route}", "discard:"])
def test_route_header_of_a_client_does_nothing(packaged, value):
    packaged.play()
    value = value.format(route=packaged.route())
    reply, rcpt = packaged.send(
        mail.message(headers=[("X-Txmilter-Route", value)]))
    assert reply.code == 250
    assert not packaged.left(rcpt)


@pytest.mark.parametrize("value", ["", "smtp", "smtp x", "a b:c", ":x",
                                   "smtp:x y"])
def test_odd_route_header_of_the_milter_does_nothing(packaged, value):
    packaged.play(E=add_header("X-Txmilter-Route", value) + CONTINUE)
    reply, rcpt = packaged.send()
    assert reply.code == 250
    assert not packaged.left(rcpt)


@pytest.mark.parametrize("port", PORTS)
def test_milter_taken_out_of_the_configuration(wirings, port):
    wiring = _without_milter(wirings)
    reply, rcpt = wiring.send(port=port)
    assert reply.code == 250
    assert not wiring.left(rcpt)
    wiring.postfix.wait_for_log(
        rf"{reply.queue_id}: .*status=bounced \(not authorized by txmilter\)")


_made = {}


def _without_milter(wirings):
    if "wiring" not in _made:
        _made["wiring"] = wirings("without-milter", [
            ("smtpd_milters = { " + MILTER, "txmilter_was_here = { " +
             MILTER)])
    return _made["wiring"]


# --- the milter misbehaves -------------------------------------------------

STEPS = list("CHMRTLNBE")


def _fails_closed(wiring):
    reply, rcpt = wiring.send()
    assert reply.code in (421, 451, 454), reply
    assert not wiring.left(rcpt)
    return reply


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["die", "garbage"])
def test_milter_fails_at_each_step(packaged, step, how):
    packaged.play(**{step: how})
    _fails_closed(packaged)


@pytest.mark.parametrize("step", STEPS)
def test_milter_hangs_at_each_step(impatient, step):
    impatient.play(**{step: "hang"})
    _fails_closed(impatient)


def test_milter_dies_after_it_routed(packaged):
    """Half of a consent is none."""
    packaged.play(E=add_header("X-Txmilter-Route", packaged.route()) +
                  packet("p") + b"\0\0")
    packaged.milter.steps["E"] += b"\xff" * 8
    _fails_closed(packaged)


def test_milter_socket_is_missing(packaged):
    packaged.stop_milter()
    (packaged.postfix.sockets / "milter.sock").unlink(missing_ok=True)
    _fails_closed(packaged)


def test_nobody_listens_on_the_milter_socket(packaged):
    packaged.play()
    packaged.stop_milter()
    _fails_closed(packaged)


def test_milter_refuses(packaged):
    packaged.play(E=packet("y", b"550 5.6.0 X-Test: no\0"))
    reply, rcpt = packaged.send()
    assert str(reply) == "550 5.6.0 X-Test: no"
    assert not packaged.left(rcpt)


def test_login_server_is_missing(packaged):
    """454, a temporary failure, never a wrong password."""
    packaged.play()
    with SmtpClient(packaged.postfix.port("587")) as c:
        packaged.sasl.stop()
        path = packaged.postfix.sockets / "sasl.sock"
        path.unlink()
        try:
            assert c.auth_plain_raw("x", KEY).code in (235, 454)
        finally:
            packaged.sasl = FakeSasl(path, packaged.sasl.accounts)


# --- the message as the client sent it -------------------------------------


def test_headers_reach_the_milter_verbatim(packaged):
    packaged.play(E=DISCARD)
    headers = [
        ("From", "joe"), ("To", "Jane Smith"), ("Bcc", "hidden@there.example"),
        ("Subject", "x"), ("Return-Path", "<a@b.example>"),
        ("Content-Length", "12"), ("Resent-Bcc", "x@y.example"),
        ("X-Folded", "a\n b\n\tc"), ("X-Empty-First", "\n {\"a\":1}")]
    packaged.send(mail.message(headers=headers, drop=["Content-Type"]))
    seen = [(n.decode(), v.decode()) for n, v in packaged.milter.headers()]
    assert seen == headers


def test_body_reaches_the_milter_verbatim(packaged):
    packaged.play(E=DISCARD)
    body = "".join(f".{i}\r\n" for i in range(40000)).encode()
    packaged.send(mail.message(body))
    seen = b"".join(d for c, d in packaged.milter.seen if c == "B")
    assert seen == body


def test_macros_are_the_two_that_are_needed(packaged):
    packaged.play(E=DISCARD)
    reply, _ = packaged.send()
    macros = {}
    for command, data in packaged.milter.seen:
        if command == "D":
            words = data[1:-1].split(b"\0") if len(data) > 1 else []
            macros.setdefault(chr(data[0]), {}).update(
                zip(words[::2], words[1::2]))
    assert macros["M"] == {b"{auth_authen}": b"acme:keyid"}
    assert macros["E"] == {b"i": reply.queue_id.encode()}
    assert not macros["C"] and not macros["R"]


def test_bare_newlines_cannot_smuggle(packaged):
    packaged.play(E=DISCARD)
    with SmtpClient(packaged.postfix.port("587"), KEY) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        c.command("RCPT TO:<a@there.example>")
        reply = c.send_raw(
            b"Subject: x\r\n\r\none\n.\nMAIL FROM:<evil@x.example>\n"
            b"RCPT TO:<b@there.example>\nDATA\n\r\ntwo\r\n.\r\n")
        assert reply.code == 250
        assert c.command("NOOP").code == 250
    assert len([1 for c, d in packaged.milter.seen if c == "M"]) == 1


def test_message_size_limit(packaged):
    packaged.play(E=DISCARD)
    with SmtpClient(packaged.postfix.port("587"), KEY) as c:
        assert c.esmtp_features["size"] == "26214400"
        reply = c.command(f"MAIL FROM:<{SENDER}> SIZE=26214401")
    assert (reply.code, reply.enhanced) == (552, "5.3.4")


def test_an_edit_may_double_the_message(packaged):
    """cleanup's own limit is over twice smtpd's, whatever main.cf says."""
    body = b"x" * 998 + b"\r\n"
    packaged.play(E=packet("b", body * 25) * 900 + add_header(
        "X-Txmilter-Route", packaged.route()) + CONTINUE)
    reply, rcpt = packaged.send(mail.message(body * 24000))
    assert reply.code == 250, reply
    [message] = packaged.left(rcpt)
    assert len(message.data) > 22000000


def test_too_many_recipients(packaged):
    packaged.play()
    with SmtpClient(packaged.postfix.port("587"), KEY) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        replies = [c.command(f"RCPT TO:<r{i}@there.example>").code
                   for i in range(1001)]
    assert replies == [250] * 1000 + [452]


def test_no_flow_delay(packaged):
    """With in_flow_delay at its default each of these would wait a second
    after the first hundred."""
    packaged.play(E=DISCARD)
    started = time.monotonic()
    with SmtpClient(packaged.postfix.port("587"), KEY) as c:
        for _ in range(400):
            assert c.deliver(SENDER, ["a@there.example"],
                             mail.message()).code == 250
    assert time.monotonic() - started < 60


# --- other mail ------------------------------------------------------------


def _other_mail(wiring):
    """Through the service of other mail, and by sendmail(1)."""
    one, two = (f"{uuid.uuid4().hex}@there.example" for _ in range(2))
    message = mail.message(headers=[("X-Auth-APIKey", "kept"),
                                    ("X-Transactional-Tag", "kept too")])
    with SmtpClient(wiring.postfix.other_port, tls=False) as c:
        assert c.deliver("a@b.example", [one], message).code == 250
    wiring.postfix.sendmail(message, "-f", "a@b.example", two)
    for rcpt in (one, two):
        [got] = wiring.postfix.sink.wait_for(rcpt)
        assert b"X-Auth-APIKey: kept" in got.data
        assert b"X-Transactional-Tag: kept too" in got.data
        assert mail.HTML.encode() in got.data
        assert "archive@existing.example" in got.recipients  # always_bcc


def test_other_mail_does_not_meet_the_milter(packaged):
    packaged.play()
    _other_mail(packaged)
    assert not packaged.milter.seen


def test_other_mail_goes_on_without_milter(packaged):
    packaged.stop_milter()
    _other_mail(packaged)
    packaged.play(E="hang")
    _other_mail(packaged)


def test_main_cf_is_as_it_was(packaged):
    """The settings of main.cf that would hurt are still there."""
    values = packaged.postfix.postconf("-n")
    for line in ("always_bcc = archive@existing.example",
                 "message_size_limit = 1000000",
                 "smtpd_milter_maps = static:DISABLE",
                 "milter_default_action = accept"):
        assert line in values
