# SPDX-License-Identifier: MIT
"""Transport routes where each recipient gets a copy of his own: who is added
by a header, whose links are tracked, whose return path has a token."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import time

import pytest

import mail
import net
from mail_sink import MailSink
from relay import RCPT, SENDER
from smtp_client import SmtpClient

TRACKING_URL = "https://click.example/t"
LINK = "https://shop.example/a?b=1&c=2"
BODY = (f'<html><body><p>Hi <a href="{LINK.replace("&", "&amp;")}">x</a> '
        '<a href="mailto:x@y.example">m</a> '
        '<a data-msys-clicktrack="0" href="https://shop.example/no">n</a>'
        '</p></body></html>')
ON = {"open_tracking": True, "click_tracking": True}
PDF = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def sinks():
    made = [MailSink(), MailSink()]
    yield made
    for sink in made:
        sink.stop()


@pytest.fixture(scope="module")
def secret(top_directory):
    path = top_directory / "tracking.secret"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o640)
    shutil.chown(path, "root", "postfix")
    return path


def sections(sinks):
    return {
        "route a": {
            "handoff": "transport",
            "transport": f"smtp:[127.0.0.1]:{sinks[0].port}",
            "tag_header": "X-Pool-Tag", "labels_header": "X-Pool-Labels",
            "metadata_header": "X-Pool-Data"},
        "route b": {
            "handoff": "transport",
            "transport": f"smtp:[127.0.0.1]:{sinks[1].port}",
            "return_path": "b+{token}@bounces.example"},
        "route queued": {"mode": "queued"},
    }


@pytest.fixture(scope="module")
def relay(relays, sinks, secret):
    return relays(sections=sections(sinks), dialect="sparkpost",
                  tracking_url=TRACKING_URL, tracking_secret=secret,
                  shutdown_timeout="3s")


@pytest.fixture
def key(relay):
    return relay.new_key(["a", "b", "queued", "main"])


@pytest.fixture(autouse=True)
def clean(relay, sinks):
    relay.api.forget()
    for sink in (*sinks, relay.postfix.sink):
        del sink.messages[:]
    yield
    relay.api.heal()
    assert relay.daemon.running(), relay.daemon.log()[-4000:]


def msys(route="a", **members):
    options = {"ip_pool": route, **members.pop("options", {})}
    return json.dumps({"options": options, **members})


def send(relay, key, data, recipients=(RCPT,), sender=SENDER):
    with relay.client(key, user="SMTP_Injection") as c:
        return c.deliver(sender, recipients, data)


def message(body=BODY, route="a", headers=(), api=None, **members):
    return mail.message(
        body, [("X-MSYS-API", api or msys(route, **members)), *headers],
        date="Thu, 20 Nov 2025 15:00:00 +0000", message_id="<m1@c.example>")


def parsed(m):
    return email.message_from_bytes(m.data, policy=email.policy.default)


def html_of(m):
    return parsed(m).get_body(("html",)).get_content()


def by_recipient(sink, n, timeout=60):
    """Each got one message of his own, alone."""
    assert net.wait_until(lambda: len(sink.messages) >= n, timeout), \
        f"{len(sink.messages)} of {n}"
    found = {}
    for m in sink.messages:
        [to] = m.recipients
        assert to not in found, f"{to} got two"
        found[to] = m
    assert len(found) == n
    return found


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def tokens(html, secret_text="0123456789abcdef0123456789abcdef"):
    """(kind, payload) of each signed URL, verified by the contract."""
    found = []
    for kind, payload, mac in re.findall(
            TRACKING_URL + r"/([co])/([\w-]+)\.([\w-]+)", html):
        want = hmac.new(secret_text.encode(), f"{kind}.{payload}".encode(),
                        hashlib.sha256).digest()[:16]
        assert hmac.compare_digest(decode(mac), want)
        found.append((kind, json.loads(decode(payload))))
    return found


# --- who is added ----------------------------------------------------------


def test_cc_bcc_archive(relay, key, sinks):
    data = message(
        headers=[("To", "Jane <jane@there.example>")],
        cc=[{"email": "cc1@x.example", "name": "Müller, Jörg"},
            "cc2@x.example"],
        bcc=["b1@x.example", {"email": "b2@x.example", "name": "B Two"}],
        archive=["arch@x.example"], options=ON)
    reply = send(relay, key, data)
    assert reply.code == 250, reply
    got = by_recipient(sinks[0], 6)
    assert sorted(got) == sorted([
        RCPT, "cc1@x.example", "cc2@x.example", "b1@x.example",
        "b2@x.example", "arch@x.example"])
    for to, m in got.items():
        read = parsed(m)
        assert m.sender == SENDER
        assert read["To"] == "Jane <jane@there.example>"
        assert [(a.display_name, a.addr_spec)
                for a in read["Cc"].addresses] == [
            ("Müller, Jörg", "cc1@x.example"), ("", "cc2@x.example")]
        bcc = [a.addr_spec for a in read["Bcc"].addresses] \
            if read["Bcc"] else []
        assert bcc == ([to] if to.startswith("b") else [])
        assert read["Message-ID"] == "<m1@c.example>"
        assert read["Date"] == "Thu, 20 Nov 2025 15:00:00 +0000"
        assert len(read.get_all("Subject")) == 1
        assert not [h for h in read.keys()
                    if h.lower().startswith(("x-msys", "x-txmilter"))]
        assert b"txmilter" not in m.data.lower()
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert event["handoff"] == "transport,copies"
    [event] = relay.daemon.events(reply.queue_id, "delivery")
    assert (event["route"], event["accepted"]) == ("a", "6")


def test_without_tracking_the_body_stays(relay, key, sinks):
    kind, body = mail.multipart(
        "mixed", mail.part("<p>ä</p>".encode(), "text/html; charset=utf-8"),
        mail.part(PDF, 'application/pdf; name="a.pdf"'))
    data = mail.message(body, [
        ("MIME-Version", "1.0"), ("Content-Type", kind),
        ("X-MSYS-API", msys(bcc=["b1@x.example"]))])
    assert send(relay, key, data).code == 250
    for m in by_recipient(sinks[0], 2).values():
        assert m.data.split(b"\r\n\r\n", 1)[1] == mail.crlf(body)


def test_links_are_of_the_recipient(relay, key, sinks):
    data = message(cc=["cc@x.example"], bcc=["b@x.example"],
                   archive=["arch@x.example"], options=ON)
    assert send(relay, key, data).code == 250
    got = by_recipient(sinks[0], 4)
    ids = {}
    for to, m in got.items():
        html = html_of(m)
        assert "mailto:x@y.example" in html
        assert 'data-msys-clicktrack="0" href="https://shop.example/no"' in \
            html
        [click, opened] = tokens(html)
        assert (click[0], click[1]["u"]) == ("c", LINK)
        assert opened[0] == "o" and "u" not in opened[1]
        assert click[1]["i"] == opened[1]["i"]
        assert re.fullmatch("[0-9a-f]{32}", click[1]["i"])
        ids[to] = click[1]["i"]
    assert ids["arch@x.example"] == ids[RCPT]
    assert len(set(ids.values())) == 3
    # An archive copy is what the recipient got.
    assert html_of(got["arch@x.example"]) == html_of(got[RCPT])


@pytest.mark.parametrize("options,kinds", [
    ({"open_tracking": True}, "o"), ({"click_tracking": True}, "c"),
    ({}, ""), ({"open_tracking": False, "click_tracking": True}, "c")])
def test_one_recipient_needs_no_copy(relay, key, sinks, options, kinds):
    reply = send(relay, key, message(options=options))
    assert reply.code == 250, reply
    [m] = by_recipient(sinks[0], 1).values()
    assert [k for k, _ in tokens(html_of(m))] == list(kinds)
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert event["handoff"] == "transport"
    if not kinds:
        assert m.data.split(b"\r\n\r\n", 1)[1].strip() == BODY.encode()


def test_several_recipients_without_tracking_are_one_message(relay, key,
                                                             sinks):
    rcpts = [RCPT, "two@there.example"]
    assert send(relay, key, message(), rcpts).code == 250
    assert net.wait_until(lambda: sinks[0].messages)
    assert sorted(sinks[0].messages[0].recipients) == sorted(rcpts)


def test_return_path_of_each(relay, key, sinks):
    rcpts = [RCPT, "two@there.example", "three@there.example"]
    assert send(relay, key, message(route="b"), rcpts).code == 250
    got = by_recipient(sinks[1], 3)
    senders = {m.sender for m in got.values()}
    assert len(senders) == 3
    for s in senders:
        assert re.fullmatch(r"b\+[0-9a-f]{32}@bounces\.example", s)


def test_the_other_bytes_stay(relay, key, sinks):
    """Only the HTML part changes, and in its place."""
    html = mail.part(BODY, "text/html; charset=utf-8",
                     "Content-ID: <body@x>")
    rest = [mail.part("text beside it"),
            mail.part(PDF, 'application/pdf; name="ä b.pdf"',
                      "Content-Disposition: attachment")]
    kind, body = mail.multipart(
        "mixed", mail.nested("alternative", rest[0], html, boundary="in"),
        rest[1])
    data = mail.message(body, [
        ("MIME-Version", "1.0"), ("Content-Type", kind),
        ("X-MSYS-API", msys(options=ON, bcc=["b@x.example"]))])
    assert send(relay, key, data).code == 250
    before, after = mail.crlf(body).split(mail.crlf(html))
    for m in by_recipient(sinks[0], 2).values():
        got = m.data.split(b"\r\n\r\n", 1)[1]
        assert got.startswith(before) and got.endswith(after)
        changed = got[len(before):-len(after)]
        assert changed.startswith(b"Content-ID: <body@x>\r\n")
        assert len(tokens(html_of(m))) == 2
        [pdf] = parsed(m).iter_attachments()
        assert pdf.get_content() == PDF


def test_the_next_hop_hears_of_tags(relay, key, sinks):
    api = ('{"campaign_id": "Früh jahr", "tags": ["a", "b\\u20ac"], '
           '"metadata": {"n":12345678901234567890, "f":1.0, "t":"' +
           "ü" * 60 + '", "x":"' + "y" * 60 + '"}, '
           '"options": {"ip_pool": "A"}}')
    api = base64.b64encode(api.encode()).decode()
    words = "\r\n ".join(f"=?utf-8?B?{api[i:i + 60]}?="
                         for i in range(0, len(api), 60))
    forged = [("X-Pool-Tag", "forged"), ("x-pool-data", "{}")]
    assert send(relay, key, message(api=words, headers=forged)).code == 250
    [m] = by_recipient(sinks[0], 1).values()
    read = parsed(m)
    assert read.get_all("X-Pool-Tag") == ["Früh jahr"]
    assert json.loads(read["X-Pool-Labels"]) == ["a", "b€"]
    [data] = read.get_all("X-Pool-Data")
    assert '"n": 12345678901234567890, "f": 1.0' in data
    assert json.loads(data)["t"] == "ü" * 60
    raw = m.data.split(b"\r\n\r\n", 1)[0]
    raw.decode("ascii")
    assert max(map(len, raw.split(b"\r\n"))) < 998


def test_a_text_part_is_made(relay, sinks):
    """Campaign Monitor's promise, on a transport route."""
    key, _, _ = relay.local_key("--dialect", "campaignmonitor", routes=["a"])
    kind, body = mail.multipart(
        "mixed", mail.part(BODY, "text/html; charset=utf-8"),
        mail.part(PDF, "application/pdf"))
    data = mail.message(body, [("MIME-Version", "1.0"),
                               ("Content-Type", kind),
                               ("X-Cmail-TrackOpens", "false"),
                               ("X-Cmail-TrackClicks", "false"),
                               ("X-Cmail-InlineCSS", "false"),
                               ("X-Cmail-GroupName", "Orders")])
    with relay.client(key, user=key) as c:
        reply = c.deliver(SENDER, [RCPT], data)
    assert reply.code == 250, reply
    [m] = by_recipient(sinks[0], 1).values()
    read = parsed(m)
    text = read.get_body(("plain",)).get_content()
    assert f"x ({LINK})" in text and text.startswith("Hi")
    assert read.get_body(("html",)).get_content().strip() == BODY
    [pdf] = read.iter_attachments()
    assert pdf.get_content() == PDF
    assert read["X-Pool-Tag"] == "Orders"
    assert list(map(str, read.walk())) and read["X-Cmail-GroupName"] is None


# --- what cannot be done ---------------------------------------------------


def test_css_is_refused_where_there_is_some(relay, key, sinks):
    options = {"inline_css": True}
    reply = send(relay, key, message("<style>p{}</style><p>x", options=options))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert "CSS inlining" in reply.text and "X-MSYS-API" in reply.text
    assert send(relay, key, message(options=options)).code == 250
    by_recipient(sinks[0], 1)


def test_tracking_without_a_host(relays, sinks):
    relay = relays(sections=sections(sinks), dialect="sparkpost")
    key = relay.new_key(["a"])
    for option in ("open_tracking", "click_tracking"):
        reply = send(relay, key, message(options={option: True}))
        assert (reply.code, reply.enhanced) == (550, "5.6.0")
        assert "tracking" in reply.text
    assert send(relay, key, message()).code == 250
    by_recipient(sinks[0], 1)


def test_too_long_for_a_header_is_refused(relay, key, sinks):
    for more in ({}, {"bcc": ["b@x.example"]}):
        reply = send(relay, key, message(metadata={"x": "y" * 2000}, **more))
        assert (reply.code, reply.enhanced) == (550, "5.6.0")
        assert "too long" in reply.text
    assert sinks[0].messages == []


def test_refused_by_the_next_hop(relay, key, sinks):
    sinks[0].refuse = "b@x.example"
    try:
        assert send(relay, key, message(bcc=["b@x.example"]),
                    sender="origin1@origin.example").code == 250
        [bounce] = relay.postfix.sink.wait_for("origin1@origin.example")
    finally:
        sinks[0].refuse = None
    assert b"b@x.example" in bounce.data
    assert list(by_recipient(sinks[0], 1)) == [RCPT]


# --- forged ----------------------------------------------------------------


def deliver_raw(relay, data, recipients=(RCPT,), **kw):
    with SmtpClient(relay.postfix.port("10027"), tls=False, **kw) as c:
        return c.deliver(SENDER, list(recipients), data)


FORGED = [
    ("none", []),
    ("nonsense", [("X-Txmilter-Copy", "AAAA")]),
    ("a long one", [("X-Txmilter-Copy", "A" * 20000)]),
    ("a route", [("X-Txmilter-Route", "smtp:")]),
]


@pytest.mark.parametrize("headers", [f[1] for f in FORGED],
                         ids=[f[0] for f in FORGED])
def test_nobody_sends_by_the_service_for_copies(relay, key, sinks, headers):
    headers = [*headers, ("X-Auth-APIKey", key)]
    # A notice about another test's mail may still be on its way.
    relay.postfix.wait_until_empty(30)
    for sink in (*sinks, relay.postfix.sink):
        del sink.messages[:]
    reply = deliver_raw(relay, mail.message(headers=headers))
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "no copy of the relay" in reply.text
    time.sleep(0.3)
    assert not relay.postfix.queue_ids()
    assert sinks[0].messages == relay.postfix.sink.messages == []


def test_nobody_logs_in_there(relay):
    with SmtpClient(relay.postfix.port("10027"), tls=False) as c:
        assert not c.has_extn("auth") and not c.has_extn("starttls")


def steal_seal(relay, key):
    """What one sees who reads the traffic of this machine: a copy on its
    way, before the service took it."""
    import socketserver
    import threading
    seen = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            say = lambda t: self.wfile.write(t + b"\r\n")
            say(b"220 thief")
            for line in self.rfile:
                if line.startswith(b"DATA"):
                    say(b"354 go on")
                    data = b""
                    while (line := self.rfile.readline()) != b".\r\n":
                        data += line
                    seen.append(data)
                    say(b"451 4.3.0 later")
                else:
                    say(b"250 ok")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    daemon = relay.daemon
    honest = daemon.config[""]["resubmit"]
    daemon.config[""]["resubmit"] = f"inet:{server.server_address[1]}@127.0.0.1"
    try:
        daemon.restart()
        reply = send(relay, key, message(bcc=["b@x.example"]))
        assert reply.code == 250
        assert net.wait_until(lambda: len(seen) >= 2)
    finally:
        daemon.config[""]["resubmit"] = honest
        daemon.restart()
        server.shutdown()
        server.server_close()
    return {re.search(rb"^Bcc: (.*)\r", d, re.M) is None: d for d in seen}


def test_a_seal_is_good_once(relay, key, sinks):
    seen = steal_seal(relay, key)
    relay.postfix.deliver_all()
    by_recipient(sinks[0], 2)
    del sinks[0].messages[:]
    theirs = seen[True]
    for rcpts, data in (
            (["thief@x.example"], theirs),
            ([RCPT, "thief@x.example"], theirs),
            ([RCPT], re.sub(rb"(X-Txmilter-Copy:)", rb"\1 A", theirs)),
            ([RCPT], theirs.replace(b"X-Txmilter-Copy", b"X-Txmilter-Plan"))):
        reply = deliver_raw(relay, data, rcpts)
        assert reply.code == 550, reply
    # On the other services it has no meaning.
    reply = relay.send(None, theirs, port="2587")
    assert reply.code == 550
    reply = deliver_raw(relay, theirs)
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "nobody waits for it" in reply.text
    time.sleep(0.3)
    assert sinks[0].messages == []


@pytest.fixture
def resubmit(relay):
    """Where copies go, for a while."""
    daemon = relay.daemon
    honest = daemon.config[""]["resubmit"]

    def set_to(port=None):
        daemon.config[""]["resubmit"] = \
            f"inet:{port}@127.0.0.1" if port else honest
        daemon.restart()

    yield set_to
    if daemon.config[""]["resubmit"] != honest:
        set_to()
    relay.postfix.deliver_all()


def test_another_service_refuses_copies(relay, key, sinks, resubmit):
    """What it says is no reason for a bounce."""
    resubmit(relay.postfix.port("587"))
    reply = send(relay, key, message(bcc=["b@x.example"]),
                 sender="origin3@origin.example")
    assert reply.code == 250
    relay.daemon.wait_for_log(rf"{reply.queue_id}: a copy was refused at "
                              "resubmit = inet:")
    relay.daemon.wait_for_log(rf"{reply.queue_id}: delivery .*later=2")
    resubmit()
    relay.postfix.deliver_all()
    by_recipient(sinks[0], 2)
    assert relay.postfix.sink.to("origin3@origin.example") == []


def test_another_service_takes_copies(relay, key, sinks, resubmit):
    """One is gone, and known to be; the others wait."""
    resubmit(sinks[1].port)
    reply = send(relay, key, message(bcc=["b@x.example"]),
                 sender="origin4@origin.example")
    assert reply.code == 250
    relay.daemon.wait_for_log(rf"{reply.queue_id}: a copy was taken at "
                              "resubmit = inet:")
    relay.daemon.wait_for_log(
        rf"{reply.queue_id}: delivery .*accepted=1 refused=0 later=1")
    assert net.wait_until(lambda: sinks[1].messages)
    again = send(relay, key, message(bcc=["c@x.example"]), ["d@x.example"])
    relay.daemon.wait_for_log(
        rf"{again.queue_id}: delivery .*accepted=0 refused=0 later=2")
    assert len(sinks[1].messages) == 1
    assert sinks[0].messages == []
    resubmit()
    relay.postfix.deliver_all()
    [gone] = sinks[1].messages[0].recipients
    assert sorted([gone, *by_recipient(sinks[0], 3)]) == sorted(
        [RCPT, "b@x.example", "c@x.example", "d@x.example"])


def test_stop_while_nobody_answers(relay, key, sinks, resubmit):
    """shutdown_timeout counts for copies, too."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        resubmit(deaf.getsockname()[1])
        assert send(relay, key, message(bcc=["b@x.example"])).code == 250
        deaf.settimeout(20)
        deaf.accept()
        began = time.monotonic()
        assert relay.daemon.terminate(60) == 0
        assert time.monotonic() - began < 10
    relay.daemon.process = None
    relay.daemon.start()
    resubmit()
    relay.postfix.deliver_all()
    by_recipient(sinks[0], 2)


# --- trouble ---------------------------------------------------------------


def test_nobody_takes_copies(relay, key, sinks):
    """They wait in the queue, and each goes out once."""
    daemon = relay.daemon
    honest = daemon.config[""]["resubmit"]
    daemon.config[""]["resubmit"] = f"inet:{net.free_port()}@127.0.0.1"
    daemon.restart()
    reply = send(relay, key, message(bcc=["b@x.example"]))
    assert reply.code == 250
    daemon.wait_for_log(rf"{reply.queue_id}: delivery .*later=2")
    daemon.config[""]["resubmit"] = honest
    daemon.restart()
    relay.postfix.deliver_all()
    by_recipient(sinks[0], 2)


def test_a_repetition_is_sent_once(relay, key, sinks):
    data = message(bcc=["b@x.example"])
    for _ in range(2):
        assert send(relay, key, data).code == 250
        relay.postfix.deliver_all()
    by_recipient(sinks[0], 2)


@pytest.mark.parametrize("route", ["a", "queued"])
@pytest.mark.parametrize("address", [
    "b@host", "b+c=d@x.example", '"a b"@x.example', "a%b@x.example",
    "UP@X.Example", "jörg@x.example"])
def test_who_is_added_as_postfix_writes_it(relay, key, sinks, route, address):
    """It completes and rewrites addresses: nobody is lost for that."""
    if route == "a" and not address.isascii():
        pytest.skip("the sink does not speak SMTPUTF8")
    reply = send(relay, key, message(route=route, bcc=[address]),
                 sender="origin5@origin.example")
    if reply.code == 550:
        assert reply.enhanced == "5.6.0" and address == "b@host"
        return
    assert reply.code == 250, reply
    assert net.wait_until(lambda: len(
        sinks[0].messages if route == "a" else relay.api.sends) == 2), \
        "\n".join(relay.postfix.log_of(reply.queue_id))
    relay.postfix.wait_until_empty(20)
    assert relay.postfix.sink.to("origin5@origin.example") == []


def test_one_queue_id_tells_it_all(relay, key, sinks):
    sinks[0].refuse = None
    data = message(bcc=["b@x.example"])
    reply = send(relay, key, data)
    by_recipient(sinks[0], 2)
    relay.postfix.wait_until_empty(20)
    copies = {e["to"]: e for e in relay.daemon.events(reply.queue_id, "copy")}
    assert sorted(copies) == ["b@x.example", RCPT]
    for to, event in copies.items():
        assert event["result"] == "sent"
        [arrived] = relay.daemon.events(event["id"], "copy")
        assert arrived["result"] == "queued"
        assert any(f"to=<{to}>" in line and "status=sent" in line
                   for line in relay.postfix.log_of(event["id"]))
        assert any(f"to=<{to}>" in line
                   and f"The copy is queued as {event['id']}" in line
                   for line in relay.postfix.log_of(reply.queue_id))
    again = send(relay, key, data)
    relay.postfix.wait_until_empty(20)
    copies = relay.daemon.events(again.queue_id, "copy")
    assert [e["result"] for e in copies] == ["known", "known"]
    assert any("Sent already" in line
               for line in relay.postfix.log_of(again.queue_id))
    assert len(sinks[0].messages) == 2


def test_hops(relay, key, sinks):
    """Postfix ends loops by their number: said at once, and no bounce."""
    for n, code in ((47, 250), (48, 554)):
        del sinks[0].messages[:]
        reply = send(relay, key, message(
            headers=[("Received", f"from a by b; {i}") for i in range(n)],
            bcc=["b@x.example"], route="a"), sender="origin6@origin.example")
        assert reply.code == code, reply
        if code == 250:
            by_recipient(sinks[0], 2)
    assert (reply.enhanced, "hops" in reply.text) == ("5.4.6", True)
    assert relay.postfix.sink.to("origin6@origin.example") == []


def test_headers_as_long_as_they_may_be(relay, key, sinks):
    """Postfix adds to them: who is told that they fit gets no bounce."""
    def sized(total):
        base = message(bcc=["b@x.example"])
        left = total - len(base.split(b"\r\n\r\n")[0])
        more = []
        while left > 0:
            more.append((f"X-F{len(more):03}", "a" * min(left, 40000)))
            left -= 40000
        return message(headers=more, bcc=["b@x.example"]).replace(
            b"<m1@", f"<{total}@".encode())

    replies = []
    for total in range(1_041_000, 1_049_000, 1000):
        del sinks[0].messages[:]
        reply = send(relay, key, sized(total), sender="origin7@origin.example")
        replies.append(reply.code)
        if reply.code == 250:
            by_recipient(sinks[0], 2)
            relay.postfix.wait_until_empty(20)
    assert relay.postfix.sink.to("origin7@origin.example") == []
    assert replies[0] == 250 and replies[-1] == 550


def test_who_is_added_for_an_api_is_in_the_queue(relay, key):
    """All of them are recipients of Postfix's queue: each has his retries
    and his bounce."""
    relay.api.fault("send", to="b@x.example", status=400,
                    body={"description": "No such address."})
    relay.api.fault("send", to="c@x.example", times=1, status=503)
    reply = send(relay, key, message(
        route="queued", bcc=["b@x.example"], cc=["c@x.example"]),
        sender="origin2@origin.example")
    assert reply.code == 250, reply
    [bounce] = relay.postfix.sink.wait_for("origin2@origin.example")
    assert b"b@x.example" in bounce.data
    assert b"No such address." in bounce.data
    relay.postfix.deliver_all()
    assert sorted(d["to"] for d in relay.api.sends) == ["c@x.example", RCPT]


def test_who_is_added_and_not_done_directly(relay, key):
    relay.api.fault("send", to="b@x.example", times=2, status=503)
    reply = send(relay, key, message(
        route="main", bcc=["b@x.example"], cc=["c@x.example"]))
    assert reply.code == 250, reply
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert (event["handoff"], event["accepted"]) == ("direct,queued", "2")
    log = "\n".join(relay.postfix.log_of(reply.queue_id))
    assert "c@x.example" not in log
    relay.postfix.deliver_all()
    assert sorted(d["to"] for d in relay.api.sends) == [
        "b@x.example", "c@x.example", RCPT]


# --- many ------------------------------------------------------------------


def test_a_thousand(relay, key, sinks):
    extra = [f"{kind}{i}@x.example"
             for kind, n in (("cc", 100), ("bcc", 500), ("arch", 400))
             for i in range(n)]
    members = {"cc": extra[:100], "bcc": extra[100:600],
               "archive": extra[600:]}
    api = msys(options=ON, **members)
    folded = re.sub(r", ", ",\r\n ", api)
    began = time.monotonic()
    reply = send(relay, key, message(api=folded))
    accepted = time.monotonic() - began
    assert reply.code == 250, reply
    got = by_recipient(sinks[0], 1001, timeout=120)
    took = time.monotonic() - began
    peak = relay.daemon.memory()[1]
    print(f"\n1,000 extra recipients: accepted in {accepted:.2f} s, all "
          f"there after {took:.1f} s, VmHWM {peak / 2**20:.1f} MB")
    assert sorted(got) == sorted([RCPT, *extra])
    relay.postfix.wait_until_empty(60)
    assert len(sinks[0].messages) == 1001
    if "build/release" in str(os.environ.get("TXMILTER_BIN",
                                             "build/release")):
        assert accepted < 2 and peak < 64 * 2**20


def test_large(relay, key, sinks):
    pdf = os.urandom(4_000_000)
    kind, body = mail.multipart(
        "mixed", mail.part(BODY, "text/html; charset=utf-8"),
        mail.part(pdf, "application/pdf"))
    bcc = [f"l{i}@x.example" for i in range(20)]
    data = mail.message(body, [
        ("MIME-Version", "1.0"), ("Content-Type", kind),
        ("X-MSYS-API", msys(options=ON, bcc=bcc).replace(", ", ",\r\n "))])
    began = time.monotonic()
    assert send(relay, key, data).code == 250
    accepted = time.monotonic() - began
    got = by_recipient(sinks[0], 21, timeout=120)
    print(f"\n5.4 MB to 21: accepted in {accepted:.2f} s, all there after "
          f"{time.monotonic() - began:.1f} s, VmHWM "
          f"{relay.daemon.memory()[1] / 2**20:.1f} MB")
    end = data[-5_000_000:]
    for m in got.values():
        assert m.data.endswith(end) and len(tokens(html_of(m))) == 2


def test_kill_in_the_middle(relay, key, sinks):
    """None is lost; sent twice is at most what each thread had under way."""
    bcc = [f"k{i}@x.example" for i in range(300)]
    reply = send(relay, key, message(api=msys(bcc=bcc)))
    assert reply.code == 250, reply
    assert net.wait_until(lambda: len(sinks[0].messages) > 40, step=0.002)
    relay.daemon.kill()
    before = len(sinks[0].messages)
    time.sleep(1)
    relay.daemon.start()
    relay.postfix.deliver_all(120)
    assert net.wait_until(lambda: len(
        {m.recipients[0] for m in sinks[0].messages}) == 301)
    counts = [m.recipients[0] for m in sinks[0].messages]
    twice = len(counts) - len(set(counts))
    print(f"\nkilled after {before} of 301 copies: {twice} sent twice")
    assert sorted(set(counts)) == sorted([RCPT, *bcc])
    assert twice <= 16
