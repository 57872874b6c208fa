# SPDX-License-Identifier: MIT
"""Management over the milter socket: who may, and what each command does
while mail goes on."""

import json
import os
import re
import secrets
import signal
import smtplib
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import pytest

import mail
import net
from control import Control
from milter_client import MilterClient
from relay import RCPT, SENDER

EX_USAGE, EX_DATAERR, EX_NOUSER = 64, 65, 67
EX_UNAVAILABLE, EX_PROTOCOL, EX_NOPERM, EX_CONFIG = 69, 76, 77, 78


@contextmanager
def load(relay, sessions=4, key=None):
    """Mail goes on meanwhile; every message must get its 250."""
    key = key or relay.new_key()
    stop = threading.Event()
    refused, sent = [], []

    def run():
        with relay.client(key) as c:
            while not stop.is_set():
                reply = c.deliver(SENDER, [RCPT], mail.message())
                (sent if reply.code == 250 else refused).append(reply)

    threads = [threading.Thread(target=run) for _ in range(sessions)]
    for t in threads:
        t.start()
    try:
        yield sent
        net.wait_until(lambda: sent or refused, 20)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not refused, refused[0]
    assert sent


def login(relay, key):
    with relay.client() as c:
        return c.auth_plain_raw("anything", key)


# --- who may ----------------------------------------------------------------


def test_right_secret(relay):
    with Control(relay.daemon) as c:
        for _ in range(3):
            code, output = c.ask("command ping\n\n")
            assert code == 0 and "version:" in output


def test_wrong_secret_is_refused_and_logged(relay):
    with Control(relay.daemon) as c:
        c.hello()
        body = b"command drain\narg =on\n\n"
        code, nonce, output = c.request(c.proof(body, b"x" * 64), body)
        assert code == EX_NOPERM and nonce == "-"
        # Of no more use, even with the right one.
        assert c.hello() == EX_NOPERM
        code, _, _ = c.request(c.proof(body), body)
        assert code == EX_NOPERM
    relay.daemon.wait_for_log('control: request result=refused')
    assert relay.daemon.ctl_json("status")["draining"] is False


def test_replay_on_the_same_connection(relay):
    with Control(relay.daemon) as c:
        c.hello()
        body = b"command ping\n\n"
        proof = c.proof(body)
        assert c.request(proof, body)[0] == 0
        assert c.request(proof, body)[0] == EX_NOPERM


def test_replay_on_another_connection(relay):
    with Control(relay.daemon) as a, Control(relay.daemon) as b:
        a.hello()
        b.hello()
        body = b"command ping\n\n"
        assert b.request(a.proof(body), body)[0] == EX_NOPERM


def test_request_without_hello(relay):
    with Control(relay.daemon) as c:
        body = b"command ping\n\n"
        assert c.request(c.proof(body, nonce=""), body)[0] == EX_NOPERM


def test_proof_is_of_the_whole_request(relay):
    with Control(relay.daemon) as c:
        c.hello()
        proof = c.proof(b"command ping\n\n")
        assert c.request(proof, b"command drain\narg =on\n\n")[0] == EX_NOPERM


@pytest.mark.parametrize("proof", ["", "x", "HELLO", "0" * 63, "0" * 64,
                                   "0" * 65, "a" * 50000])
def test_strange_proofs(relay, proof):
    with Control(relay.daemon) as c:
        c.hello()
        assert c.request(proof, b"command ping\n\n")[0] == EX_NOPERM


@pytest.mark.parametrize("body", ["", "\n", "command\n\n", "command x\n\n",
                                  "command ping", "\0" * 1000])
def test_requests_that_are_none(relay, body):
    with Control(relay.daemon) as c:
        assert c.ask(body)[0] == EX_PROTOCOL
        assert c.ask("command ping\n\n")[0] == 0


def test_too_long_request(relay):
    with Control(relay.daemon) as c:
        code, output = c.ask("command ping\n\n" + "x" * 1100000)
        assert code == EX_DATAERR and "too long" in output


def test_no_admin_secret(relays):
    relay = relays(admin_secret="/nonexistent/admin.secret")
    assert "cannot manage" in relay.daemon.log()
    with Control(relay.daemon) as c:
        assert c.hello() == EX_NOPERM
    assert relay.send(relay.new_key(), mail.message()).code == 250


def test_smtp_client_never_reaches_it(relay):
    """Whatever a client can type."""
    key = relay.new_key()
    before = relay.daemon.log().count(" control: ")
    for word in ("{txmilter_admin}", "{txmilter_admin}=hello",
                 "txmilter_admin"):
        for line in (f"EHLO {word}", f"{word} hello", f"XCLIENT NAME={word}",
                     f"XFORWARD NAME={word}", f"HELP {word}"):
            with suppress(smtplib.SMTPServerDisconnected), \
                    relay.client() as c:
                c.command(line)
        with relay.client(key) as c:
            c.command(f"MAIL FROM:<{word}@x.example> {word}=hello")
            c.command("RSET")
            reply = c.deliver(f"{word}@x.example", [RCPT], mail.message(
                headers=[("X-Txmilter-Admin", "hello"),
                         ("txmilter_admin", "hello"), ("Subject", word)],
                drop=["Subject"]))
            assert reply.code in (250, 501, 550)
    assert relay.daemon.log().count(" control: ") == before


def test_mail_on_the_same_connection_as_requests(relay):
    """A request changes nothing about mail that comes behind it."""
    key = relay.new_key()
    with relay.client() as c:
        assert c.auth_plain_raw("x", key).code == 235
    with Control(relay.daemon) as c:
        assert c.ask("command ping\n\n")[0] == 0
        c.macros("M", i="x")
        answer = c.message("a@x.example", [RCPT],
                           [("From", "a@x.example"), ("Subject", "s"),
                            ("X-Auth-APIKey", key)], b"text\r\n")
        assert answer.kind == "d" and not answer.edits
        assert c.ask("command ping\n\n")[0] == 0
    assert relay.api.sends[-1]["subject"] == "s"


# --- the socket -------------------------------------------------------------


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def raw(daemon):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(daemon.milter_socket))
    return s


@pytest.mark.parametrize("data", [
    b"", b"\0", b"\0\0\0", b"\0\0\0\0", b"\xff\xff\xff\xffO",
    b"\0\0\0\1Z", b"\0\0\0\1O", b"\0\0\0\15O", os.urandom(4096),
    b"GET / HTTP/1.0\r\n\r\n", b"\x7f\xff\xff\xffD" + b"x" * 100000])
def test_garbage_on_the_socket(relay, data):
    before = descriptors(relay.daemon)
    for _ in range(20):
        with raw(relay.daemon) as s:
            try:
                s.sendall(data)
            except OSError:
                pass
    relay.daemon.ctl("ping")
    assert net.wait_until(lambda: descriptors(relay.daemon) <= before + 3, 20)


def test_five_thousand_idle_connections(own):
    before = descriptors(own.daemon)
    held = []
    try:
        for _ in range(5000):
            held.append(raw(own.daemon))
        own.daemon.ctl("ping")
        assert own.send(own.new_key(), mail.message()).code == 250
    finally:
        for s in held:
            s.close()
    assert net.wait_until(lambda: descriptors(own.daemon) <= before + 5, 60)


# --- commands, under load ---------------------------------------------------


def test_ping_and_status(relay):
    with load(relay):
        assert relay.daemon.ctl_json("ping")["pid"] == \
            relay.daemon.process.pid
        status = relay.daemon.ctl_json("status")
    assert status["sessions"] >= 1 and status["draining"] is False
    [api] = status["apis"]
    assert api["api"] == "main" and api["url"] == relay.api.url
    assert api["health"] == "answers"
    text = relay.daemon.ctl("status")
    assert re.search(r"^uptime_seconds: +\d+$", text, re.M)


def test_stats(relay):
    with load(relay) as sent:
        net.wait_until(lambda: len(sent) > 3, 10)
        text = relay.daemon.ctl("stats", "--prometheus")
    assert re.search(r'^txmilter_messages_total\{dialect="emaildelivery",'
                     r'route="main",result="sent"\} [1-9]', text, re.M)
    assert re.search(r"^txmilter_key_check_seconds_count [1-9]", text, re.M)
    assert re.search(r"^txmilter_handoff_seconds_count [1-9]", text, re.M)
    rows = relay.daemon.ctl_json("stats")["metrics"]
    assert any(r["metric"].startswith("txmilter_messages_total") for r in rows)
    assert "txmilter_sessions" in relay.daemon.ctl("stats", "--watch")


def test_reload_under_100_sessions(own):
    own.daemon.config[""]["direct_timeout"] = "19s"
    own.daemon.write_config()
    with load(own, sessions=100):
        for _ in range(10):
            own.daemon.ctl("reload")
    assert "reload result=ok" in own.daemon.log()


def test_reload_takes_effect(own):
    key = own.new_key()
    own.daemon.config[""]["direct_timeout"] = "1s"
    own.daemon.write_config()
    own.daemon.ctl("reload")
    own.api.fault("/send", delay=5, times=1)
    start = time.monotonic()
    reply = own.send(key, mail.message())
    assert time.monotonic() - start < 4
    [event] = own.daemon.events(reply.queue_id, "message")
    assert event["result"] == "queued"
    own.postfix.deliver_all()


@pytest.mark.parametrize("option, value, error", [
    ("direct_timeout", "1", ":[0-9]+: direct_timeout: \"1\" is not a time"),
    ("nosuch", "1", ":[0-9]+: unknown option \"nosuch\""),
    ("store_size", "128M", "store_size differs, which needs a restart"),
])
def test_reload_keeps_the_old_one(own, option, value, error):
    own.daemon.config[""][option] = value
    own.daemon.write_config()
    assert re.search(error, own.daemon.ctl("reload", code=EX_CONFIG))
    assert own.send(own.new_key(), mail.message()).code == 250


def test_reload_of_a_file_that_is_not_good_for_the_daemon(own):
    """txmilterctl reads the file, too, but it may be another one."""
    with Control(own.daemon) as c:
        good = own.daemon.conf.read_text()
        own.daemon.conf.write_text("nosuch = 1\n" + good)
        code, output = c.ask("command reload\n\n")
        own.daemon.conf.write_text(good)
    assert code == EX_CONFIG and ":1: unknown option" in output
    assert "reload result=failed" in own.daemon.log()
    assert own.send(own.new_key(), mail.message()).code == 250


def test_reload_by_signal(own):
    own.daemon.signal(signal.SIGUSR1)
    own.daemon.wait_for_log("reload result=ok")
    assert own.send(own.new_key(), mail.message()).code == 250


def test_drain(own):
    key = own.new_key()
    own.api.fault("/send", delay=2)
    results = []
    slow = threading.Thread(
        target=lambda: results.append(own.send(key, mail.message())))
    slow.start()
    assert net.wait_until(
        lambda: own.daemon.ctl_json("status")["handoffs"] == 1, 10)
    assert own.daemon.ctl_json("drain", "on")["draining"] is True
    reply = own.send(key, mail.message())
    assert reply.code == 451 and "no new mail" in reply.text
    slow.join()
    assert results[0].code == 250
    own.api.heal()
    own.daemon.ctl("drain", "off")
    assert own.send(key, mail.message()).code == 250
    own.daemon.ctl("drain", "maybe", code=EX_USAGE)


def test_log_level(own):
    own.daemon.ctl("log-level", "error")
    size = len(own.daemon.log())
    assert own.send(own.new_key(), mail.message()).code == 250
    assert len(own.daemon.log()) == size
    own.daemon.ctl("log-level", "info")
    assert own.send(own.new_key(), mail.message()).code == 250
    own.daemon.wait_for_log("message result=sent")
    own.daemon.ctl("log-level", "loud", code=EX_USAGE)


def test_conf(relay):
    text = relay.daemon.ctl("conf")
    assert f"milter_socket = unix:{relay.daemon.milter_socket}" in text
    assert "[keys]" in text and "cache_size = 100000" in text
    assert "cache_size" not in relay.daemon.ctl("conf", "--n")
    assert relay.daemon.ctl("conf", "--d", "direct_timeout") == \
        "direct_timeout = 20s\n"
    relay.daemon.ctl("conf", "nosuch", code=EX_USAGE)


def commands(relay):
    """All that the daemon does, by the help."""
    text = relay.daemon.ctl("--help")
    return re.findall(r"^  ((?:key |route )?[a-z][a-z-]*)", text, re.M)


def test_every_command_under_load(own, tmp_path):
    _, key_id, account = own.local_key()
    lines = tmp_path / "keys"
    lines.write_text(own.daemon.ctl("key", "list", account, "--export"))
    file = tmp_path / "m.eml"
    file.write_bytes(mail.message())
    known = tmp_path / "api.key"
    known.write_text(own.new_key() + "\n")
    words = {
        "ping": [], "status": [], "stats": [], "reload": [],
        "drain": ["off"], "log-level": ["info"], "conf": [],
        "route list": [], "route show": [account, "main"],
        "route test": [account],
        "key add": ["--account", "load", "--route", "main",
                    "--api-key-file", known],
        "key import": [lines], "key list": [], "key show": [key_id],
        "key disable": [key_id], "key enable": [key_id],
        "key rotate": [key_id, "--grace", "1h"], "key flush": [],
        "key revoke": [key_id], "try": [file, "--account", account],
    }
    assert set(commands(own)) == set(words)
    with load(own, sessions=20):
        for command, arguments in words.items():
            own.daemon.ctl(*command.split(), *arguments)


# --- keys -------------------------------------------------------------------


def test_key_add_and_use(relay):
    with load(relay):
        key, key_id, account = relay.local_key("--label", "shop")
        assert key.startswith("txk_") and len(key) == 62
        reply = relay.send(key, mail.message())
    assert reply.code == 250
    [event] = relay.daemon.events(relay.queue_id(reply), "message")
    assert event["account"] == account and event["key"] == key_id
    shown = relay.daemon.ctl_json("key", "show", key_id)
    assert shown["account"]["id"] == account and shown["label"] == "shop"
    assert shown["status"] == "enabled" and shown["has_api_key"] is True
    assert key not in json.dumps(shown)


def test_key_by_header(relay):
    key, _, _ = relay.local_key()
    reply = relay.send_by_header(
        mail.message(headers=[("X-Auth-APIKey", key)]))
    assert reply.code == 250


def test_mistyped_key(relay):
    key, _, _ = relay.local_key()
    wrong = relay.secret(key[:20] + ("b" if key[20] == "a" else "a") + key[21:])
    assert login(relay, wrong).code == 535
    assert login(relay, key).code == 235


def test_revoke_acts_at_once(relay):
    key, key_id, _ = relay.local_key()
    with relay.client(key) as c:
        assert c.deliver(SENDER, [RCPT], mail.message()).code == 250
        relay.daemon.ctl("key", "revoke", key_id)
        reply = c.deliver(SENDER, [RCPT], mail.message())
        assert reply.code in (454, 535) and reply.code != 250
    assert login(relay, key).code == 535
    relay.daemon.ctl("key", "show", key_id, code=EX_NOUSER)
    relay.daemon.ctl("key", "revoke", key_id, code=EX_NOUSER)


def test_disable_and_enable(relay):
    key, key_id, _ = relay.local_key()
    relay.daemon.ctl("key", "disable", key_id)
    assert login(relay, key).code == 535
    relay.daemon.ctl("key", "enable", key_id)
    assert login(relay, key).code == 235


def test_times(relay):
    late, _, _ = relay.local_key("--not-before", "1h")
    gone, _, _ = relay.local_key("--expires", "0s")
    assert login(relay, late).code == 535
    assert login(relay, gone).code == 535


def test_rotate(relay):
    key, key_id, _ = relay.local_key()
    new = relay.daemon.ctl_json("key", "rotate", key_id, "--grace", "1h")
    assert login(relay, key).code == 235
    assert login(relay, relay.secret(new["key"])).code == 235
    newer = relay.daemon.ctl_json("key", "rotate", new["key_id"])
    assert login(relay, new["key"]).code == 535
    assert login(relay, relay.secret(newer["key"])).code == 235


def test_rotate_never_prolongs(relay):
    key, key_id, _ = relay.local_key("--expires", "1h")
    new = relay.daemon.ctl_json("key", "rotate", key_id, "--grace", "30d")
    relay.secret(new["key"])
    old = relay.daemon.ctl_json("key", "show", key_id)
    assert old["expires"] == new["old_key_until"] == \
        relay.daemon.ctl_json("key", "show", new["key_id"])["expires"]
    relay.daemon.ctl("key", "disable", key_id)
    relay.daemon.ctl("key", "rotate", key_id, code=EX_USAGE)
    _, gone, _ = relay.local_key("--expires", "0s")
    assert "expired" in relay.daemon.ctl("key", "rotate", gone, "--grace",
                                         "1d", code=EX_USAGE)


def test_export_is_whole(own):
    """A list ends after a thousand, an export does not."""
    account = {"account": "many", "routes": [{"id": "r", "name": ""}]}
    lines = [json.dumps(account)] + [
        json.dumps({"key": f"many-{i:05}", "of": "many"})
        for i in range(1500)]
    own.daemon.ctl("key", "import", "-", input="\n".join(lines) + "\n")
    assert len(own.daemon.ctl("key", "list", "--export").splitlines()) == 1501
    assert len(own.daemon.ctl_json("key", "list")["keys"]) == 1000


def test_created(relay):
    _, key_id, _ = relay.local_key()
    created = relay.daemon.ctl_json("key", "show", key_id)["created"]
    assert created.startswith(time.strftime("%Y-%m-", time.gmtime()))


def test_list_and_export_and_import(relay):
    key, key_id, account = relay.local_key("--label", "a b")
    rows = relay.daemon.ctl_json("key", "list", account)["keys"]
    assert [r["key_id"] for r in rows] == [key_id]
    text = relay.daemon.ctl("key", "list", account, "--export")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 2 and key not in text
    relay.daemon.ctl("key", "revoke", key_id)
    assert login(relay, key).code == 535
    relay.daemon.ctl("key", "import", "-", input=text)
    assert login(relay, key).code == 235
    assert relay.send(key, mail.message()).code == 250


def test_import_errors_name_the_line(relay):
    bad = '{"account":"x","routes":[{"id":"a","name":""}]}\nnot json\n'
    assert "line 2" in relay.daemon.ctl("key", "import", "-", input=bad,
                                        code=EX_DATAERR)
    relay.daemon.ctl("route", "show", "x", "a", code=EX_NOUSER)


def test_flush(relay):
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    relay.api.accounts.pop(key)
    assert login(relay, key).code == 235  # cached
    relay.daemon.ctl("key", "flush")
    assert login(relay, key).code == 535


@pytest.mark.parametrize("args, word", [
    (["key", "add"], "--account"),
    (["key", "add", "--account", "A B"], "not a name"),
    (["key", "add", "--account", "new-one"], "--route"),
    (["key", "add", "--account", "new-one", "--route", "r"], "--api-key"),
    (["key", "show", "x"], "not a key id"),
    (["key", "list", "--most", "0"], "--most"),
    (["key", "add", "--account", "a", "--expires", "soon"], "not a time"),
    (["key", "add", "--account", "a", "--label", "a\tb"], "--label"),
    (["key", "add", "--account", "a", "--route", "r", "--rate", "many"],
     "--rate"),
])
def test_key_usage_errors(relay, args, word):
    assert word in relay.daemon.ctl(*args, code=EX_USAGE)


def test_account_without_api_key(relay):
    """Only import can make one."""
    account = "a" + secrets.token_hex(6)
    key = relay.secret("k-" + secrets.token_urlsafe(20))
    relay.daemon.ctl("key", "import", "-", input=json.dumps(
        {"account": account, "routes": [{"id": "r", "name": ""}]}) + "\n" +
        json.dumps({"key": key, "of": account}) + "\n")
    assert login(relay, key).code == 235
    reply = relay.send(key, mail.message())
    assert reply.code == 451 and "no API key" in reply.text
    relay.daemon.wait_for_log(f"account {account} has no API key")


# --- what an account may ----------------------------------------------------


def test_sender_must_be_the_accounts(relay):
    key, _, _ = relay.local_key("--sender", "shop.example",
                                "--sender", "me@other.example")
    for sender, code in (("x@shop.example", 250), ("me@other.example", 250),
                         ("you@other.example", 550), ("x@evil.example", 550)):
        reply = relay.send(key, mail.message(
            headers=[("From", f"<{sender}>")], drop=["From"]))
        assert reply.code == code, sender
    assert reply.enhanced == "5.7.1" and "From" in reply.text


def test_address(relay):
    here, _, _ = relay.local_key("--from-ip", "127.0.0.0/8")
    there, _, _ = relay.local_key("--from-ip", "192.0.2.0/24")
    assert login(relay, here).code == 235
    assert login(relay, there).code == 535
    reply = relay.send_by_header(
        mail.message(headers=[("X-Auth-APIKey", there)]))
    assert reply.code == 535 and reply.enhanced == "5.7.8"


def test_rate(relay):
    key, _, _ = relay.local_key("--rate", "3/1h")
    codes = [relay.send(key, mail.message()).code for _ in range(5)]
    assert codes == [250] * 3 + [450] * 2
    reply = relay.send(key, mail.message())
    assert reply.enhanced == "4.7.1" and re.search(r"again in \d+ s", reply.text)


def test_rates_and_a_repetition(relay):
    """Who has the message already needs no token when it comes again."""
    key, _, _ = relay.local_key("--recipient-rate", "1/1h", "--rate", "1/1h")
    message = mail.message(headers=[("Message-ID", "<once@x.example>")])
    to = ["a@x.example", "b@x.example"]
    assert relay.send(key, message, to[:1]).code == 250
    assert relay.send(key, message, to).code == 250
    assert [d["to"] for d in relay.api.sends] == to
    assert relay.send(key, mail.message(), ["c@x.example"]).code == 450


def test_recipient_rate(relay):
    key, _, _ = relay.local_key("--recipient-rate", "1/1h")
    assert relay.send(key, mail.message(), ["a@x.example"]).code == 250
    assert relay.send(key, mail.message(), ["a@X.example"]).code == 450
    assert relay.send(key, mail.message(),
                      ["b@x.example", "a@x.example"]).code == 450
    assert relay.send(key, mail.message(), ["b@x.example"]).code == 250


def test_what_was_not_sent_does_not_count(relay):
    key, _, _ = relay.local_key("--rate", "1/1h")
    relay.api.fault("/send", status=400)
    assert relay.send(key, mail.message()).code == 550
    relay.api.heal()
    assert relay.send(key, mail.message()).code == 250
    assert relay.send(key, mail.message()).code == 450


def test_default_route(relay):
    key, _, _ = relay.local_key("--default-route", "b", routes=["a", "b"])
    assert relay.send(key, mail.message()).code == 250
    assert relay.api.sends[-1]["route"] == "b"


def test_routes(relay):
    _, _, account = relay.local_key(routes=["a", "b"])
    rows = relay.daemon.ctl_json("route", "list", account)["routes"]
    assert [r["route"] for r in rows] == ["a", "b"]
    assert relay.daemon.ctl_json("route", "show", account, "b")["route"] == "b"
    assert relay.daemon.ctl_json("route", "test", account, "a")["route"] == "a"
    refused = relay.daemon.ctl_json("route", "test", account)
    assert refused["code"] == 550 and "several routes" in refused["refusal"]
    relay.daemon.ctl("route", "show", account, "c", code=EX_NOUSER)
    relay.daemon.ctl("route", "show", "nobody", "c", code=EX_NOUSER)


def test_too_many_wrong_keys(relays):
    relay = relays(auth_failures="3")
    good = relay.new_key()
    wrong = [relay.secret(secrets.token_urlsafe(20)) for _ in range(5)]
    assert [login(relay, k).code for k in wrong] == [535] * 3 + [454] * 2
    assert login(relay, good).code == 454
    relay.daemon.wait_for_log("auth result=throttled client=")


def test_too_many_wrong_keys_in_headers(relays):
    relay = relays(auth_failures="2")

    def send(key):
        return relay.send_by_header(
            mail.message(headers=[("X-Auth-APIKey", key)]))

    wrong = [relay.secret(secrets.token_urlsafe(20)) for _ in range(3)]
    assert [send(k).code for k in wrong] == [535, 535, 454]
    reply = send(relay.new_key())
    assert reply.code == 454 and "too many wrong API keys" in reply.text


# --- try --------------------------------------------------------------------


def test_try(relay, tmp_path):
    _, _, account = relay.local_key()
    file = tmp_path / "m.eml"
    file.write_bytes(mail.message(
        "<p>hi</p>", headers=[("X-Transactional-Tag", "Order"),
                              ("X-MSYS-API", "{}"), ("List-Id", "x")]))
    relay.api.forget()
    text = relay.daemon.ctl("try", file, "--account", account, "--rcpt", RCPT)
    assert re.search(r"^verdict: +handed over$", text, re.M)
    assert re.search(r"^List-Id +dropped ", text, re.M)
    assert re.search(r"^X-Transactional-Tag +read ", text, re.M)
    assert re.search(r"^request: +\{.*\"tag\":\"order\"", text, re.M)
    assert "the body" in text
    assert not relay.api.sends
    page = tmp_path / "out.html"
    relay.daemon.ctl("try", file, "--account", account, "--html", page)
    assert "<iframe sandbox" in page.read_text()


def test_try_refused(relay, tmp_path):
    key, _, _ = relay.local_key()
    file, key_file = tmp_path / "m.eml", tmp_path / "key"
    file.write_bytes(mail.message(headers=[("X-Transactional-Tag", "x" * 19)]))
    key_file.write_text(key + "\n")
    found = relay.daemon.ctl_json("try", file, "--key-file", key_file,
                                  "--rcpt", RCPT)
    assert found["verdict"] == "refused"
    assert "X-Transactional-Tag" in found["reply"]
    assert "request" not in found


def test_try_does_not_ask_where_from(relay, tmp_path):
    key, _, _ = relay.local_key("--from-ip", "192.0.2.0/24")
    file, key_file = tmp_path / "m.eml", tmp_path / "key"
    file.write_bytes(mail.message())
    key_file.write_text(key + "\n")
    assert relay.daemon.ctl_json("try", file, "--key-file", key_file,
                                 "--rcpt", RCPT)["verdict"] == "handed over"


def test_try_shows_no_key(relay, tmp_path):
    key, _, account = relay.local_key()
    file = tmp_path / "m.eml"
    file.write_bytes(mail.message(headers=[("X-Auth-APIKey", key)]))
    text = relay.daemon.ctl("try", file, "--account", account)
    assert key not in text and "X-Auth-APIKey" in text


def test_try_needs_somebody(relay, tmp_path):
    file = tmp_path / "m.eml"
    file.write_bytes(mail.message())
    relay.daemon.ctl("try", file, code=EX_NOUSER)
    relay.daemon.ctl("try", file, "--account", "nobody", code=EX_NOUSER)


# --- txmilterctl itself -----------------------------------------------------


def test_not_running(relays):
    relay = relays()
    relay.daemon.stop()
    error = relay.daemon.ctl("ping", code=EX_UNAVAILABLE)
    assert "is txmilter running?" in error
    relay.daemon.start()


def test_wrong_admin_secret(relay, tmp_path):
    text = relay.daemon.conf.read_text()
    other = tmp_path / "secret"
    other.write_text("y" * 64 + "\n")
    other.chmod(0o600)
    conf = tmp_path / "txmilter.conf"
    conf.write_text(re.sub(r"admin_secret = .*", f"admin_secret = {other}",
                           text))
    relay.daemon.ctl("-c", conf, "ping", code=EX_NOPERM)


@pytest.mark.parametrize("args", [[], ["nosuch"], ["key"], ["ping", "--x"],
                                  ["stats", "--watch=1"]])
def test_usage(relay, args):
    relay.daemon.ctl(*args, code=EX_USAGE)


def test_help_names_every_command(relay):
    text = relay.daemon.ctl("--help")
    for command in ("status", "key add", "route test", "try", "conf"):
        assert command in text
    assert "--api-key-file" in relay.daemon.ctl("key", "add", "--help")


# --- metrics over HTTP ------------------------------------------------------


def test_metrics_over_http(relays):
    port = net.free_port()
    relay = relays(metrics_listen=f"inet:{port}@127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    assert relay.send(relay.new_key(), mail.message()).code == 250
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as f:
        text = f.read().decode()
        assert f.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'result="sent"} 1' in text
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(f"{url}/", timeout=10)
    assert e.value.code == 404
