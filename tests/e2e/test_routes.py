# SPDX-License-Identifier: MIT
"""Where messages go: [route NAME], Postfix's queue, and transports."""

import re

import pytest

import mail
import net
from mail_sink import MailSink
from relay import RCPT, SENDER

RCPTS = ["one@there.example", "two@elsewhere.example", "three@there.example"]


@pytest.fixture(scope="module")
def sinks():
    """Two next hops besides the Postfix' own."""
    made = [MailSink(), MailSink()]
    yield made
    for sink in made:
        sink.stop()


@pytest.fixture(scope="module")
def routed(relays, sinks):
    relay = relays(sections={
        "route queued": {"mode": "queued"},
        "route direct": {"mode": "direct", "api": "main"},
        "route a": {
            "handoff": "transport",
            "transport": f"smtp:[127.0.0.1]:{sinks[0].port}"},
        "route b": {
            "handoff": "transport",
            "transport": f"smtp:[127.0.0.1]:{sinks[1].port}",
            "return_path": "b+{token}@bounces.example",
            "strip": "Reply-To, X-*",
            "add": "X-Pool: two: b"},
        "route own": {"handoff": "transport", "transport": "smtp:"},
    })
    relay.api.forget()
    return relay


@pytest.fixture
def key(routed):
    return routed.new_key(["queued", "direct", "a", "b", "own", "other"])


@pytest.fixture(autouse=True)
def clean(routed, sinks):
    routed.api.forget()
    for sink in (*sinks, routed.postfix.sink):
        del sink.messages[:]
    yield
    routed.api.heal()
    assert routed.daemon.running(), routed.daemon.log()[-4000:]


def send(routed, key, route, recipients=(RCPT,), sender=SENDER, body=mail.HTML,
         **kw):
    return routed.send(key, mail.message(
        body, x_transactional_route=route, **kw), recipients, sender)


def headers_of(message):
    head, _, body = message.data.partition(b"\r\n\r\n")
    text = re.sub(r"\r\n[ \t]+", " ", head.decode())
    return dict(line.split(": ", 1) for line in text.split("\r\n")), body


# --- queued ----------------------------------------------------------------


def test_queued(routed, key):
    reply = send(routed, key, "queued", RCPTS, body="<p>in the queue</p>")
    assert reply.code == 250 and reply.queue_id
    [event] = routed.daemon.events(reply.queue_id, "message")
    assert (event["result"], event["handoff"]) == ("queued", "queued")
    routed.postfix.deliver_all()
    assert sorted(d["to"] for d in routed.api.sends) == sorted(RCPTS)
    for document in routed.api.sends:
        assert document["body"].strip() == "<p>in the queue</p>"
        assert document["route"] == "queued"
        assert document["returnpath"] == SENDER
    [event] = routed.daemon.events(reply.queue_id, "delivery")
    assert (event["rcpts"], event["accepted"]) == ("3", "3")
    assert routed.postfix.sink.messages == []


BODIES = [
    ("alternative", "alternative", [
        mail.part("text"), mail.part("<p>é</p>", "text/html; charset=utf-8")]),
    ("mixed with a PDF", "mixed", [
        mail.part("<p>x</p>", "text/html"),
        mail.part(b"%PDF" * 1000, "application/pdf")]),
    ("text only", "mixed", [mail.part("only <text>\n.\n..\nend\n")]),
    ("long lines", "mixed", [
        mail.part("<p>" + "é" * 5000 + "</p>\n" + "x" * 3000,
                  "text/html; charset=utf-8",
                  "Content-Transfer-Encoding: 8bit")]),
    ("latin 1", "mixed", [
        mail.part("é".encode("latin-1") * 10, "text/html; charset=latin1")]),
]


@pytest.mark.parametrize("subtype,parts", [b[1:] for b in BODIES],
                         ids=[b[0] for b in BODIES])
def test_the_queue_sends_what_direct_sends(routed, key, subtype, parts):
    for route in ("direct", "queued"):
        assert routed.send(key, mail.multipart_message(
            subtype, *parts, x_transactional_route=route,
            x_transactional_variables='{"n": 12345678901234567890}',
            to='"Müller, Jörg" <jane@there.example>')).code == 250
    routed.postfix.deliver_all()
    direct, queued = routed.api.sends
    assert direct.pop("route") == "direct" and queued.pop("route") == "queued"
    assert direct == queued


def test_a_long_header_in_the_plan(routed, key):
    """Larger than what one header may hold."""
    variables = '{"a":"' + "x" * 50000 + '"}'
    folded = re.sub(r"(.{900})", r"\1\n ", variables)
    reply = send(routed, key, "queued", x_transactional_variables=folded,
                 recipients=[f"r{i}@there.example" for i in range(20)])
    assert reply.code == 250, reply
    routed.postfix.deliver_all()
    assert len(routed.api.sends) == 20


@pytest.mark.parametrize("address", [
    "a+b@there.example", "A.B@There.Example", '"a b"@there.example',
    "é@there.example", "o'x=y/z@there.example", "a@localdomain"])
def test_recipients_are_found_again(routed, key, address):
    """Whatever Postfix makes of an address on its way through the queue."""
    with routed.client(key) as c:
        c.command_encoding = "utf-8"
        reply = c.deliver(SENDER, [address], mail.message(
            x_transactional_route="queued"),
            " SMTPUTF8" if not address.isascii() else "")
    assert reply.code == 250, reply
    routed.postfix.deliver_all()
    [document] = routed.api.sends
    assert document["to"] == address


def test_refused_later_is_bounced(routed, key):
    routed.api.fault("send", to=RCPTS[1], status=400,
                     body={"description": "No such address."})
    reply = send(routed, key, "queued", RCPTS, sender="b1@origin.example",
                 body="<p>mine</p>")
    assert reply.code == 250
    [bounce] = routed.postfix.sink.wait_for("b1@origin.example")
    text = bounce.data.decode()
    assert RCPTS[1] in text and "No such address." in text
    assert "<p>mine</p>" in text and "Subject: Your order" in text
    assert "X-Txmilter-Route" not in text and key not in text
    routed.postfix.deliver_all()
    assert len(routed.api.sends) == 2


def test_refused_for_everybody_is_bounced_not_refused(routed, key):
    routed.api.fault("send", status=400)
    assert send(routed, key, "queued", sender="b2@origin.example").code == 250
    assert routed.postfix.sink.wait_for("b2@origin.example")
    routed.postfix.deliver_all()


def test_a_key_that_was_revoked_meanwhile(routed):
    key = routed.new_key(["queued"])
    routed.api.fault("send", key=key, times=1, status=503)
    assert send(routed, key, "queued", sender="b3@origin.example").code == 250
    net.wait_until(lambda: routed.api.calls("send"))
    del routed.api.accounts[key]
    [bounce] = routed.postfix.sink.wait_for("b3@origin.example")
    assert "5.7.8" in bounce.data.decode()
    with routed.client() as c:
        assert c.auth_plain_raw("x", key).code == 535


def test_what_is_wrong_is_refused_at_once(routed, key):
    reply = send(routed, key, "queued", drop=["From"])
    assert reply.code == 550 and "From" in reply.text
    assert not routed.postfix.queue_ids()


# --- forged ----------------------------------------------------------------


@pytest.mark.parametrize("route", ["direct", "queued", "a"])
def test_forged_headers_have_no_effect(routed, key, sinks, route):
    to = f"smtp:[127.0.0.1]:{sinks[1].port}"
    reply = routed.send(key, mail.message(headers=[
        ("X-Txmilter-Route", to), ("x-txmilter-plan", "AAAA"),
        ("X-Transactional-Route", route), ("X-Txmilter-Route", to),
        ("X-Txmilter-Other", "1")]))
    assert reply.code == 250
    routed.postfix.deliver_all()
    assert sinks[1].messages == [] and routed.postfix.sink.messages == []
    if route == "a":
        assert b"txmilter" not in sinks[0].messages[0].data.lower()
    else:
        assert len(routed.api.sends) == 1
    log = "\n".join(routed.daemon.log_of(reply.queue_id))
    assert "forged headers=4" in log


# --- transports ------------------------------------------------------------


def test_two_transports(routed, key, sinks):
    for route in ("a", "b"):
        assert send(routed, key, route, RCPTS, reply_to="r@b.example",
                    x_transactional_tag="t", x_other="1").code == 250
    routed.postfix.deliver_all()
    assert routed.api.calls("send") == []
    [a], copies = sinks[0].messages, sinks[1].messages
    assert sorted(a.recipients) == sorted(RCPTS)
    assert sorted(c.recipients for c in copies) == [[r] for r in sorted(RCPTS)]
    assert a.sender == SENDER
    b = copies[0]
    tokens = {re.fullmatch(r"b\+([0-9a-f]{32})@bounces\.example", c.sender)[1]
              for c in copies}
    headers, body = headers_of(a)
    assert body.strip() == mail.HTML.encode()
    assert headers["Subject"] == "Your order"
    assert headers["Reply-To"] == "r@b.example"
    assert headers["From"] == "The Shop <shop@customer.example>"
    assert headers.keys() <= {
        "Received", "From", "To", "Subject", "Reply-To", "Content-Type",
        "Date", "Message-ID", "MIME-Version"}
    headers, body = headers_of(b)
    assert body.strip() == mail.HTML.encode()
    assert headers["X-Pool"] == "two: b"
    assert "Reply-To" not in headers and "X-Other" not in headers
    assert len(tokens) == 3
    for token in tokens:
        assert f"submission_key={token}" in routed.daemon.log()
    # Nothing of ours.
    assert b"txmilter" not in b"".join(
        m.data for m in (a, *copies)).lower()


def test_transport_without_a_next_hop(routed, key):
    """To the recipient's own domain: here there is no DNS, so it waits."""
    reply = send(routed, key, "own", ["x@[127.0.0.1]"])
    assert reply.code in (250, 550)


def test_the_null_sender_stays(routed, key, sinks):
    assert send(routed, key, "b", sender="").code == 250
    routed.postfix.deliver_all()
    assert sinks[1].messages[0].sender == ""


def test_parts_are_taken_out(routed, key, sinks):
    reply = routed.send(key, mail.multipart_message(
        "mixed", mail.part("text"),
        mail.part("<p>" + "é" * 3000 + "</p>\n.\n..x \n", "text/html"),
        mail.part(b"%PDF" * 9000, "application/pdf"),
        x_transactional_route="a"))
    assert reply.code == 250, reply
    routed.postfix.deliver_all()
    [message] = sinks[0].messages
    headers, body = headers_of(message)
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Transfer-Encoding"] == "quoted-printable"
    assert max(map(len, body.split(b"\r\n"))) <= 76
    import quopri
    assert quopri.decodestring(body).decode().replace("\r\n", "\n").strip() \
        == "<p>" + "é" * 3000 + "</p>\n.\n..x"


def test_a_bare_name_gets_its_address(routed, key, sinks):
    assert send(routed, key, "a", to="Jörg Müller").code == 250
    routed.postfix.deliver_all()
    headers, _ = headers_of(sinks[0].messages[0])
    assert headers["To"].endswith(f"<{RCPT}>")


@pytest.mark.parametrize("header", [
    "X-Transactional-Template", "X-Transactional-Variables"])
def test_what_only_an_api_does_is_refused(routed, key, header):
    value = "t1" if header.endswith("Template") else "{}"
    reply = routed.send(key, mail.message(headers=[
        ("X-Transactional-Route", "a"), (header, value)]))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert header in reply.text and "a" in reply.text


def test_a_bounce_of_the_next_hop_is_postfix_s_own(routed, key, sinks):
    """And does not pass the milter: it is not handed over."""
    sinks[0].refuse = "no@there.example"
    assert send(routed, key, "a", ["no@there.example"],
                sender="b4@origin.example").code == 250
    [bounce] = routed.postfix.sink.wait_for("b4@origin.example")
    assert bounce.sender == "" and b"no@there.example" in bounce.data
    assert routed.api.calls("send") == []
    assert b"X-Txmilter" not in bounce.data


# --- other mail ------------------------------------------------------------


def test_a_route_without_a_section_is_direct(routed, key):
    reply = send(routed, key, "other")
    assert reply.code == 250
    [event] = routed.daemon.events(reply.queue_id, "message")
    assert event["handoff"] == "direct"


def test_mail_from_sendmail_is_not_ours(routed):
    routed.postfix.sendmail(
        b"From: a@existing.example\nSubject: cron\n"
        b"X-Txmilter-Route: smtp:\nX-Txmilter-Plan: AAAA\n\nhello\n",
        "-f", "a@existing.example", "b@existing.example")
    [message] = routed.postfix.sink.wait_for("b@existing.example")
    assert b"cron" in message.data
    assert routed.api.calls("send") == []


def test_try_says_the_way(routed, key, tmp_path):
    account = routed.local_key(routes=["queued", "a"])[2]
    for route, way in (("queued", "queued"), ("a", "transport")):
        file = tmp_path / "m.eml"
        file.write_bytes(mail.message(x_transactional_route=route))
        said = routed.daemon.ctl_json("try", file, "--account", account,
                                      "--rcpt", RCPT)
        assert said["handoff"] == way
    shown = routed.daemon.ctl_json("route", "test", account, "a")
    assert shown["handoff"] == "transport"
