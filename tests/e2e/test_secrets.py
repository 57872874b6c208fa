# SPDX-License-Identifier: MIT
"""No secret in any log at any level, nor on the disk, nor in the process
list.  The relays of all other tests are searched too when they stop."""

import base64
import os
import secrets
from pathlib import Path

import pytest

import mail
from relay import RCPT, SENDER, forms
from smtp_client import Rejected


def test_the_search_finds_what_it_should():
    for before in ("", "a", "ab", "user\0"):
        text = base64.b64encode(f"{before}the-secret-key-x".encode())
        assert any(f in b"AUTH PLAIN " + text + b"\r\n"
                   for f in forms("the-secret-key"))
    assert not any(f in base64.b64encode(b"something else entirely")
                   for f in forms("the-secret-key"))


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_everything_that_knows_a_key(relays, level):
    relay = relays(log_level=level, direct_timeout="2s",
                   keys={"check_timeout": "2s", "ttl": "1s"})
    key = relay.new_key()
    wrong = relay.secret("k-wrong-in-every-place-it-can-be")
    as_header = mail.message(headers=[("X-Auth-APIKey", key)])
    for how in (
            lambda: relay.send(key, mail.message()),
            lambda: relay.send_by_header(as_header),
            lambda: relay.send_by_header(mail.message(
                headers=[("X-Auth-APIKey", wrong)])),
            lambda: relay.send_by_header(mail.message(
                headers=[("X-Auth-APIKey", f"{key}\n {wrong}")])),
            lambda: relay.send(wrong, mail.message()),
            lambda: relay.send(key, mail.message(drop=["From"]))):
        try:
            how()
        except Rejected:
            pass
    # The API says the key back, in its own words and as an id.
    for status, body in ((400, {"description": f"key {key} is bad"}),
                         (500, key.encode()), (401, {"title": key}),
                         (200, {"result": key})):
        relay.api.fault("send", key=key, times=1, status=status, body=body)
        try:
            relay.send(key, mail.message())
        except Rejected:
            pass
    relay.api.fault("userroutes", key=key, status=200,
                    body=[{"id": f"{key}\x01", "name": key}])
    try:
        relay.send(relay.new_key(), mail.message())
    except Rejected:
        pass
    relay.api.stop()
    relay.send_by_header(mail.message(
        headers=[("X-Auth-APIKey", relay.new_key())]))
    relay.api.start()
    assert not relay.leaks()


def test_the_reply_does_not_say_the_key_back(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400,
                    body={"description": f"the key {key} has no plan"})
    assert relay.send(key, mail.message()).code == 550


def as_json(text, escape):
    """A document that says the text, with characters escaped."""
    return ('{"detail": "Bad ' + "".join(map(escape, text)) + '"}').encode()


@pytest.fixture(scope="module")
def flexmail(relays):
    """Its keys have two parts, and go as Basic."""
    return relays(sections={
        "api flexmail": {"format": "flexmail",
                         "url": lambda relay: relay.api.url_of("flexmail")},
        "route flexmail": {"api": "flexmail"}})


@pytest.mark.parametrize("escape", [
    lambda c: "\\/" if c == "/" else c, lambda c: f"\\u{ord(c):04x}"],
    ids=["slashes", "all"])
@pytest.mark.parametrize("which", ["key", "token", "basic"])
def test_nor_escaped(flexmail, escape, which):
    """What JSON hides from a search is a secret when it is decoded."""
    # Its base64 has a slash in it, too.
    token = flexmail.secret(f"t/k??k{secrets.token_hex(8)}")
    pair = f"4711:{token}"
    basic = base64.b64encode(pair.encode()).decode()
    assert "/" in basic
    key, _, _ = flexmail.local_key("--dialect", "sparkpost", known=pair,
                                   routes=("flexmail",))
    said = {"key": pair, "token": token, "basic": basic}[which]
    flexmail.api.fault(times=1, status=422, body=as_json(said, escape))
    with flexmail.client(key, user="SMTP_Injection") as c:
        reply = c.deliver(SENDER, [RCPT], mail.message())
    assert reply.code == 550 and "Bad ****" in reply.text
    assert not flexmail.leaks()


def test_nor_escaped_when_keys_are_checked(relay):
    """Names of routes are shown to the operator, and kept."""
    key = relay.secret("k/" + secrets.token_hex(8))
    said = key.replace("/", "\\/")
    relay.api.fault("userroutes", key=key, status=200, body=(
        f'[{{"id": "main", "name": "of {said}"}}]').encode())
    assert relay.send(key, mail.message()).code in (250, 535)
    assert not relay.leaks()


def test_process_list_and_environment(relay):
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    proc = Path(f"/proc/{relay.daemon.process.pid}")
    text = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    assert key.encode() not in text
    secret = relay.daemon.secret.read_text().strip()
    assert secret.encode() not in text


def test_no_core_dump(relay):
    limits = Path(f"/proc/{relay.daemon.process.pid}/limits").read_text()
    [line] = [x for x in limits.splitlines() if "core file" in x]
    assert line.split()[4:6] == ["0", "0"]


def test_what_a_client_wrote_is_made_printable_in_the_log(relay):
    key = relay.new_key()
    reply = relay.send(key, mail.message(
        headers=[("X-Transactional-Route", "\x1b[31m\x07evil")]))
    assert reply.code == 550
    assert "\x1b" not in relay.daemon.log() and "\x07" not in \
        relay.daemon.log()


def test_runs_without_privileges(relay):
    if os.getuid() != 0:
        pytest.skip("only root can give privileges away")
    status = Path(f"/proc/{relay.daemon.process.pid}/status").read_text()
    assert "\nUid:\t0" not in status
    assert "CapEff:\t0000000000000000" in status
    assert relay.send(relay.new_key(), mail.message(), [RCPT]).code == 250
