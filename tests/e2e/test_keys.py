# SPDX-License-Identifier: MIT
"""Who is sending: logins, keys in headers, and the key cache."""

import base64
import hashlib
import threading
import time

import pytest

import mail
import net
from relay import RCPT, SENDER
from smtp_client import Rejected

KEY_HEADER = "X-Auth-APIKey"


def key_id(key):
    digest = hashlib.sha256(key.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:16]


def login(relay, key):
    """The reply to AUTH PLAIN."""
    with relay.client() as c:
        return c.auth_plain_raw("anything", key)


# --- AUTH ------------------------------------------------------------------


def test_plain(relay):
    assert login(relay, relay.new_key()).code == 235


def test_plain_without_initial_response(relay):
    key = relay.new_key()
    with relay.client() as c:
        assert c.command("AUTH PLAIN").code == 334
        data = base64.b64encode(f"\0u\0{key}".encode()).decode()
        assert c.command(data).code == 235


def test_login(relay):
    with relay.client() as c:
        assert c.auth_login_raw("anything", relay.new_key()).code == 235


def test_login_with_user_in_the_command(relay):
    key = relay.new_key()
    with relay.client() as c:
        user = base64.b64encode(b"u").decode()
        assert c.command(f"AUTH LOGIN {user}").code == 334
        assert c.command(base64.b64encode(key.encode()).decode()).code == 235


@pytest.mark.parametrize("user", ["", "apikey", "a@b.example", "ключ",
                                  "x" * 300])
def test_user_name_is_ignored(relay, user):
    key = relay.new_key()
    with relay.client() as c:
        assert c.auth_plain_raw(user, key).code == 235


def test_key_as_user_name_is_not_logged(relay):
    """The provider's page tells people to use the key for both. The logs are
    searched when the relay stops; a wrong one here."""
    key = relay.new_key()
    wrong = relay.secret("k-wrong-used-as-the-user-name")
    with relay.client() as c:
        assert c.auth_plain_raw(wrong, wrong).code == 535
        assert c.auth_plain_raw(key, key).code == 235
    assert not relay.leaks()


def test_the_key_id_is_what_postfix_and_the_log_know(relay):
    key = relay.new_key()
    reply = relay.send(key, mail.message())
    user = f"{key_id(key)}:{key_id(key)}"
    assert f"sasl_username={user}" in "\n".join(
        relay.postfix.log_of(reply.queue_id))


WRONG = [
    ("unknown", "k-nobody-has-this-one"),
    ("empty", ""),
    ("blank inside", "k-with a-blank"),
    ("line feed", "k-with\na-line-feed"),
    ("carriage return", "k-with\r\na-header: x"),
    ("escape", "k-with-\x1b[31m-escape"),
    ("8 bit", "k-with-é-umlaut"),
    ("300 characters", "k-" + "x" * 298),
    ("5000 characters", "k-" + "x" * 4998),
    ("bytes that are not UTF-8", b"k-\xff\xfe-bytes"),
]


@pytest.mark.parametrize("key", [w[1] for w in WRONG],
                         ids=[w[0] for w in WRONG])
@pytest.mark.parametrize("how", ["plain", "login"])
def test_wrong_key(relay, key, how):
    if len(key) > 8:
        relay.secret(key)
    with relay.client() as c:
        auth = c.auth_plain_raw if how == "plain" else c.auth_login_raw
        reply = auth("user", key)
        assert (reply.code, reply.enhanced) == (535, "5.7.8"), reply
        assert c.auth_plain_raw("user", relay.new_key()).code == 235


def test_nul_in_the_password(relay):
    """RFC 4616 has no such thing: it is no key."""
    relay.new_key()
    with relay.client() as c:
        reply = c.auth_plain_raw("user", b"k-before\0after")
        assert reply.code == 535


@pytest.mark.parametrize("text", ["*", "%%%", "AA", "="])
def test_broken_authentication_exchange(relay, text):
    key = relay.new_key()
    with relay.client() as c:
        c.command("AUTH PLAIN")
        assert c.command(text).code in (501, 535)
        assert c.auth_plain_raw("user", key).code == 235


def test_giving_up_half_way(relay):
    with relay.client() as c:
        c.command("AUTH LOGIN")
        c.abort()
    assert login(relay, relay.new_key()).code == 235


# --- the key in a header ---------------------------------------------------


def test_header_instead_of_login(relay):
    key = relay.new_key()
    reply = relay.send_by_header(mail.message(headers=[(KEY_HEADER, key)]))
    assert reply.code == 250
    [call] = relay.api.calls("send")
    assert call.header(KEY_HEADER) == key
    assert key not in call.body.decode()
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert event["key"] == key_id(key)


@pytest.mark.parametrize("port", ["587", "2587"])
def test_header_wins_over_login(relay, port):
    one, two = relay.new_key(), relay.new_key()
    reply = relay.send(one, mail.message(headers=[(KEY_HEADER, two)]),
                       port=port)
    assert reply.code == 250
    [call] = relay.api.calls("send")
    assert call.header(KEY_HEADER) == two


@pytest.mark.parametrize("name", ["x-auth-apikey", "X-AUTH-APIKEY"])
def test_header_name_in_any_case(relay, name):
    reply = relay.send_by_header(
        mail.message(headers=[(name, relay.new_key())]))
    assert reply.code == 250


def test_header_with_blanks_around(relay):
    key = relay.new_key()
    reply = relay.send_by_header(
        mail.message(headers=[(KEY_HEADER, f"\n  {key}  ")]))
    assert reply.code == 250


def test_first_key_header_counts(relay):
    one = relay.new_key()
    reply = relay.send_by_header(mail.message(headers=[
        (KEY_HEADER, one), (KEY_HEADER, "k-second-and-wrong")]))
    assert reply.code == 250


@pytest.mark.parametrize("key", ["k-nobody-has-this-header", "k with blanks",
                                 "k-é-umlaut", "k-" + "x" * 300])
@pytest.mark.parametrize("logged_in", [False, True])
def test_wrong_key_in_header(relay, key, logged_in):
    relay.secret(key)
    login_key = relay.new_key() if logged_in else None
    reply = relay.send(login_key, mail.message(headers=[(KEY_HEADER, key)]),
                       port="2587")
    assert (reply.code, reply.enhanced) == (535, "5.7.8"), reply
    assert not relay.api.calls("send")


@pytest.mark.parametrize("headers", [[], [(KEY_HEADER, "")]],
                         ids=["no header", "empty header"])
def test_no_key_anywhere(relay, headers):
    reply = relay.send_by_header(mail.message(headers=headers))
    assert reply.code in (535, 550) and reply.enhanced[:3] == "5.7", reply
    assert KEY_HEADER in reply.text
    assert not relay.api.calls("send")


def test_empty_header_does_not_hide_the_login(relay):
    reply = relay.send(relay.new_key(),
                       mail.message(headers=[(KEY_HEADER, "")]))
    assert reply.code == 250


def test_identity_ends_with_its_message(relay):
    """A key in one message is nothing to the next."""
    with relay.client(port="2587") as c:
        message = mail.message(headers=[(KEY_HEADER, relay.new_key())])
        assert c.deliver(SENDER, [RCPT], message).code == 250
        assert c.deliver(SENDER, [RCPT], mail.message()).code >= 500


# --- the cache -------------------------------------------------------------


def checks(relay, key):
    return [r for r in relay.api.calls("userroutes") if r.key == key]


def test_a_key_is_checked_once(relay):
    key = relay.new_key()
    for _ in range(3):
        assert relay.send(key, mail.message()).code == 250
    assert len(checks(relay, key)) == 1


def test_a_wrong_key_is_checked_once(relay):
    key = relay.secret("k-wrong-and-asked-about-once")
    for _ in range(3):
        assert login(relay, key).code == 535
    assert len(checks(relay, key)) == 1


def test_one_check_for_many_askers(relay):
    key = relay.new_key()
    relay.api.fault("userroutes", key=key, delay=0.7)
    replies = []
    threads = [threading.Thread(
        target=lambda: replies.append(login(relay, key).code))
        for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert replies == [235] * 10
    assert len(checks(relay, key)) == 1


UNSURE = [
    ("refused", None),
    ("reset before reading", {"reset": True}),
    ("hangs", {"hang": True}),
    ("500", {"status": 500}),
    ("503", {"status": 503}),
    ("429", {"status": 429}),
    ("404", {"status": 404}),
    ("redirect", {"status": 302, "headers": {"Location": "/api/ping"}}),
    ("truncated", {"truncate": True}),
    ("not JSON", {"status": 200, "body": b"<html>hello</html>"}),
    ("other JSON", {"status": 200, "body": {"a": 1}}),
    ("empty answer", {"status": 200, "body": b""}),
    ("not HTTP", {"raw": b"SSH-2.0-x\r\n"}),
    ("endless", {"status": 200, "body": b"[" + b" " * 3_000_000}),
]


def make_unsure(relay, fault):
    if fault is None:
        relay.api.stop()
    else:
        relay.api.fault("userroutes", **fault)


def make_sure(relay):
    relay.api.heal()
    if relay.api._server is None:
        relay.api.start()


@pytest.mark.parametrize("fault", [u[1] for u in UNSURE],
                         ids=[u[0] for u in UNSURE])
def test_unknown_key_while_the_api_cannot_say(hasty, fault):
    """Neither right nor wrong: 454 at AUTH and for a key in a header; and
    right as soon as the API can say."""
    key = hasty.new_key()
    make_unsure(hasty, fault)
    try:
        started = time.monotonic()
        reply = login(hasty, key)
        assert reply.code == 454, reply
        assert time.monotonic() - started < 9
        reply = hasty.send_by_header(
            mail.message(headers=[(KEY_HEADER, key)]))
        assert reply.code in (451, 454) and reply.enhanced[0] == "4", reply
    finally:
        make_sure(hasty)
    assert net.wait_until(lambda: login(hasty, key).code == 235, 10, 0.2)


@pytest.mark.parametrize("fault", [u[1] for u in UNSURE],
                         ids=[u[0] for u in UNSURE])
def test_known_key_while_the_api_cannot_say(hasty, fault):
    key = hasty.new_key()
    assert login(hasty, key).code == 235
    time.sleep(1.2)  # longer than its ttl
    make_unsure(hasty, fault)
    try:
        assert login(hasty, key).code == 235
    finally:
        make_sure(hasty)


def test_revoked_key_is_noticed(hasty):
    key = hasty.new_key()
    assert login(hasty, key).code == 235
    del hasty.api.accounts[key]
    assert net.wait_until(lambda: login(hasty, key).code == 535, 10, 0.3)
    try:
        hasty.client(key)
        raise AssertionError("logged in")
    except Rejected as e:
        assert e.reply.enhanced == "5.7.8"


def test_key_that_becomes_right_is_noticed(hasty):
    key = hasty.secret("k-becomes-right-a-little-later")
    assert login(hasty, key).code == 535
    hasty.api.accounts[key] = hasty.api.accounts[hasty.new_key()]
    assert net.wait_until(lambda: login(hasty, key).code == 235, 10, 0.3)


def test_new_routes_are_noticed(hasty):
    key = hasty.new_key(routes=["one"])
    assert hasty.send(key, mail.message()).code == 250
    hasty.api.accounts[key].routes[0].id = "two"
    assert net.wait_until(
        lambda: hasty.send(key, mail.message()).code == 250 and
        hasty.api.sends[-1]["route"] == "two", 10, 0.3)


def test_known_key_outlives_a_restart(own):
    key = own.new_key()
    assert own.send(key, mail.message()).code == 250
    own.daemon.restart()
    own.api.stop()
    assert login(own, key).code == 235
    own.api.start()
    assert own.send(key, mail.message()).code == 250
    assert len(checks(own, key)) == 1


def test_too_old_is_unknown(relays):
    relay = relays(keys={"ttl": "1s", "stale": "1s", "check_timeout": "2s"})
    key = relay.new_key()
    assert login(relay, key).code == 235
    relay.api.stop()
    assert net.wait_until(lambda: login(relay, key).code == 454, 15, 0.5)
    relay.api.start()
    assert login(relay, key).code == 235


def test_account_named_by_the_api(relays):
    relay = relays(keys={"account": "api"})
    key = relay.new_key(name="Acme, Inc.")
    reply = relay.send(key, mail.message())
    assert reply.code == 250
    assert f"sasl_username=acme-inc:{key_id(key)}" in "\n".join(
        relay.postfix.log_of(reply.queue_id))
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert event["account"] == "acme-inc"
