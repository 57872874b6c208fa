# SPDX-License-Identifier: MIT
"""Input made to hurt: a clear answer, soon, in little memory, and the daemon
lives.  Driven over the milter socket, where Postfix does not slow it down;
what Postfix itself makes of such mail is the last part."""

import os
import time
from pathlib import Path

import pytest

import daemon as daemon_module
import mail
from milter_client import MilterClient
from relay import RCPT, SENDER

MEGABYTE = 1 << 20
HZ = os.sysconf("SC_CLK_TCK")
LIMIT_SECONDS = 1
LIMIT_MEMORY = 64 * MEGABYTE


def instrumented():
    """A sanitizer costs time and memory that are not the daemon's."""
    binary = Path(daemon_module.binary()).read_bytes()
    return b"__asan_init" in binary or b"__tsan_init" in binary


def cpu_seconds(daemon):
    text = Path(f"/proc/{daemon.process.pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def kill_gmime(length):
    """The parameter that makes Debian 12's GMime loop for ever."""
    return "multipart/mixed; " + "a" * length + '="é"'


def nested(kind, n):
    parts = "".join(
        f"--b{i}\nContent-Type: multipart/{kind}; boundary=b{i + 1}\n\n"
        for i in range(n))
    return f"multipart/{kind}; boundary=b0", parts


def rfc822(n):
    return "message/rfc822", "Content-Type: message/rfc822\n\n" * n


HTML = "text/html; charset=utf-8"

HOSTILE = [
    # name, Content-Type, body, codes that are a clear answer
    ("20,000 multiparts deep", *nested("mixed", 20000), {550}),
    ("20,000 alternatives deep", *nested("alternative", 20000), {550}),
    ("20,000 messages deep", *rfc822(20000), {550}),
    ("200,000 parts", "multipart/mixed; boundary=b",
     "--b\n\n" * 200000, {550}),
    ("200,000 parts, no body in them", "multipart/mixed; boundary=b",
     "--b\n" * 200000, {550}),
    ("GMime's killer, 70", kill_gmime(70), "--x\n\nx\n", {550}),
    ("GMime's killer, 71", kill_gmime(71), "--x\n\nx\n", {550}),
    ("GMime's killer, 72", kill_gmime(72), "--x\n\nx\n", {550}),
    ("two boundaries", 'multipart/mixed; boundary=b; boundary="c"',
     "--b\nContent-Type: text/html\n\n<p>x</p>\n--b--\n", {550}),
    ("no end boundary", "multipart/mixed; boundary=b",
     "--b\nContent-Type: text/html\n\n<p>x</p>\n", {250}),
    ("boundary of 60 kB", "multipart/mixed; boundary=" + "b" * 59000,
     "--" + "b" * 59000 + "\n\nx\n", {550}),
    ("boundary lines that are none", "multipart/mixed; boundary=b",
     "--bx\n" * 400000, {550}),
    ("base64 garbage", "multipart/mixed; boundary=b",
     "--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" +
     "!@#$%^&*()=_+\n" * 50000 + "--b--\n", {250, 550}),
    ("quoted-printable garbage", "multipart/mixed; boundary=b",
     "--b\nContent-Type: text/html\n"
     "Content-Transfer-Encoding: quoted-printable\n\n" +
     "=ZZ=A=\n" * 50000 + "--b--\n", {250}),
    ("unknown charset", "text/html; charset=x-nobody-knows", b"<p>\xe9</p>",
     {550}),
    ("unknown transfer encoding", "multipart/mixed; boundary=b",
     "--b\nContent-Type: text/html\nContent-Transfer-Encoding: x-foo\n\n"
     "<p>x</p>\n--b--\n", {550}),
    ("wrong charset", "text/html; charset=utf-8", b"\xff\xfe\xe9" * 90000,
     {250}),
    ("utf-16 as utf-8", HTML, "<p>hello</p>".encode("utf-16") * 9000,
     {250}),
    ("NUL", HTML, b"<p>a\0b</p>" + b"\0" * 90000, {250}),
    ("bare CR", HTML, b"<p>a\rb\r\r</p>\r" * 9000, {250}),
    ("bare LF", HTML, b"<p>a</p>\n" * 9000, {250}),
    ("one line of 1 MB", HTML, b"<p>" + b"x" * MEGABYTE + b"</p>", {250}),
    ("text line of 1 MB", "text/plain", b"<&>\"" * (MEGABYTE // 4), {250}),
    ("1 MB of blanks", "text/plain", b" " * MEGABYTE, {550}),
    ("blanks and a word", "text/plain", b" " * MEGABYTE + b"x", {250}),
    ("1 MB of line ends", HTML, b"\r\n" * (MEGABYTE // 2), {550}),
    ("header of a part of 1 MB", "multipart/mixed; boundary=b",
     "--b\nX: " + "x" * MEGABYTE + "\n\nx\n", {550}),
    ("headers of a part, 100,000", "multipart/mixed; boundary=b",
     "--b\n" + "X: y\n" * 100000 + "\nx\n", {550, 250}),
    ("100,000 <div>", HTML, "<div>" * 100000, {250}),
    ("Content-Type of 60 kB", "text/html; " + "a=b; " * 11000, "<p>x</p>",
     {250, 550}),
    ("Content-Type in pieces (RFC 2231)",
     "multipart/mixed; " + "; ".join(
         f"boundary*{i}=x" for i in range(2000)), "--" + "x" * 2000 +
     "\nContent-Type: text/html\n\n<p>x</p>\n", {250, 550}),
    ("nothing at all", "", "", {550}),
    ("20 MB attachment first", "multipart/mixed; boundary=b",
     b"--b\r\nContent-Type: application/pdf\r\n\r\n" +
     b"x" * 76 * 270000 + b"\r\n--b\r\nContent-Type: text/html\r\n\r\n"
     b"<p>h</p>\r\n--b--\r\n", {250}),
]

ADDRESS_BOMBS = [
    ("99,999 colons", ":" * 50000), ("nested comments", "(" * 50000),
    ("50,000 commas", "," * 50000), ("open quote", '"' + "a" * 50000),
    ("8,000 addresses", "a@b.c, " * 8000), ("brackets", "<" * 50000),
    ("encoded words", "=?utf-8?Q?a?= " * 4000),
    ("broken encoded words", "=?" * 25000), ("backslashes", "\\" * 50000),
    ("groups in groups", "a:" * 20000 + ";" * 20000),
]


@pytest.fixture(scope="module")
def attacked(relays):
    """A relay nobody else made large."""
    return relays(log_level="info")


class Watch:
    """Asserts the limits for what happens inside."""

    def __init__(self, relay, seconds=LIMIT_SECONDS):
        self.daemon = relay.daemon
        self.seconds = seconds * (20 if instrumented() else 1)

    def __enter__(self):
        self.cpu = cpu_seconds(self.daemon)
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        assert self.daemon.running()
        spent = cpu_seconds(self.daemon) - self.cpu
        assert spent < self.seconds, f"{spent} s of CPU"
        if not instrumented():
            assert self.daemon.memory()[1] < LIMIT_MEMORY


def attack(relay, headers, body):
    """The code that is answered, over the milter socket."""
    key = relay.new_key()
    headers = [("X-Auth-APIKey", key), ("From", "a@b.example"),
               ("Subject", "x"), *headers]
    with MilterClient(relay.daemon.milter_socket).negotiate() as m:
        answer = m.message("a@b.example", [RCPT], headers, mail.crlf(body))
    assert answer.kind in "dy", answer
    return 250 if answer.kind == "d" else answer.code


@pytest.mark.parametrize("kind,body,codes", [h[1:] for h in HOSTILE],
                         ids=[h[0] for h in HOSTILE])
def test_hostile_body(attacked, kind, body, codes):
    with Watch(attacked):
        started = time.monotonic()
        assert attack(attacked, [("Content-Type", kind)], body) in codes
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("value", [a[1] for a in ADDRESS_BOMBS],
                         ids=[a[0] for a in ADDRESS_BOMBS])
@pytest.mark.parametrize("name", ["To", "From", "Reply-To", "Subject",
                                  "X-Transactional-Variables"])
def test_hostile_header(attacked, name, value):
    headers = [(name, value)]
    if name != "From":
        headers.append(("Content-Type", "text/html"))
    with Watch(attacked):
        key = attacked.new_key()
        base = [("X-Auth-APIKey", key), ("Content-Type", "text/html"),
                *([("From", "a@b.example")] if name != "From" else []),
                *([("Subject", "x")] if name != "Subject" else [])]
        with MilterClient(attacked.daemon.milter_socket).negotiate() as m:
            answer = m.message("a@b.example", [RCPT],
                               [*base, (name, value)], b"<p>x</p>")
        assert answer.kind in "dy"
        if answer.kind == "y":
            assert answer.code in (550, 552)


def test_300000_headers(attacked):
    """The daemon's work; libmilter and we read each of them."""
    with Watch(attacked, seconds=12):
        headers = [("X-Many", "x")] * 300000
        assert attack(attacked, headers, "<p>x</p>") == 550


def test_json_bombs(attacked):
    for value in ("[" * 50000, '{"a":' * 9000, '{"a":"' + "\\" * 50000,
                  '{"a":1' + "0" * 50000 + "}", '{"a":' + "1" * 50000 + "e}",
                  "{" + ",".join(f'"k{i}":{i}' for i in range(4000)) + "}"):
        with Watch(attacked):
            assert attack(attacked, [
                ("Content-Type", "text/html"),
                ("X-Transactional-Variables", value)], "<p>x</p>") in (
                    250, 550)


def test_chunks_of_one_byte(attacked):
    kind, body = mail.multipart("alternative", mail.part("text"),
                                mail.part("<p>h</p>", HTML))
    key = attacked.new_key()
    with Watch(attacked), \
            MilterClient(attacked.daemon.milter_socket).negotiate() as m:
        m.mail("a@b.example")
        m.rcpt(RCPT)
        for header in (("X-Auth-APIKey", key), ("From", "a@b.example"),
                       ("Subject", "x"), ("Content-Type", kind)):
            m.header(*header)
        m.end_of_headers()
        for byte in mail.crlf(body):
            if m.body(bytes([byte])).kind == "s":
                break
        assert m.end_of_message().kind == "d"
    assert attacked.api.sends[-1]["body"].strip() == "<p>h</p>"


# --- through Postfix -------------------------------------------------------


def raw(relay, data):
    """DATA as it is, for what smtplib would repair."""
    with relay.client(relay.new_key()) as c:
        c.command(f"MAIL FROM:<{SENDER}>")
        c.command(f"RCPT TO:<{RCPT}>")
        reply = c.send_raw(data)
        assert c.command("NOOP").code == 250
        return reply


HEAD = b"From: a@b.example\r\nSubject: x\r\nContent-Type: text/html\r\n"

RAW = [
    # name, DATA, code, what the body has
    ("NUL", HEAD + b"\r\n<p>a\0b</p>\r\n.\r\n", 250, "b</p>"),
    ("bare CR", HEAD + b"\r\n<p>a\rb</p>\r\n.\r\n", 250, "b</p>"),
    ("bare LF", HEAD.replace(b"\r\n", b"\n") +
     b"\n<p>a\nb</p>\n.\r\n.\r\n", 250, "b</p>"),
    ("line of 1 MB", HEAD + b"\r\n<p>" + b"x" * MEGABYTE +
     b"</p>\r\n.\r\n", 250, "</p>"),
    ("NUL in a header", b"X-Nul: a\0b\r\n" + HEAD +
     b"\r\n<p>x</p>\r\n.\r\n", 250, "<p>x</p>"),
    ("header without colon", b"From: a@b.example\r\nSubject: x\r\n"
     b"no colon here\r\nContent-Type: text/html\r\n\r\nx\r\n.\r\n", 250,
     "no colon here"),
    ("no empty line", HEAD + b".\r\n", 550, None),
    ("nothing", b".\r\n", 550, None),
    ("only a line end", b"\r\n.\r\n", 550, None),
]


@pytest.mark.parametrize("data,code,body", [r[1:] for r in RAW],
                         ids=[r[0] for r in RAW])
def test_raw_data(relay, data, code, body):
    reply = raw(relay, data)
    assert reply.code == code, reply
    if body is not None:
        assert body in relay.api.sends[-1]["body"]


def test_20000_headers_through_postfix(relay):
    reply = relay.send(relay.new_key(), mail.message(
        headers=[("X-Many", "x")] * 20000))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")


def test_deep_mime_through_postfix(relay):
    kind, body = nested("mixed", 20000)
    reply = relay.send(relay.new_key(), mail.message(
        body, content_type=kind))
    assert (reply.code, reply.enhanced) == (550, "5.6.0"), reply


def test_message_over_postfix_s_limit(relay):
    reply = relay.send(relay.new_key(), mail.message(
        b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * 26300))
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert not relay.api.calls("send")
