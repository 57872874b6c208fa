# SPDX-License-Identifier: MIT
"""The dialects of other providers, from the login to the API."""

import json

import pytest

import mail
from control import Control
from relay import RCPT, SENDER

ENVELOPE_MAX = 25


@pytest.fixture(scope="module")
def relay(relays):
    """Not the one of all tests: with an account whose recipients are bounded
    it speaks the milter protocol in another way."""
    return relays()


@pytest.fixture(scope="module")
def by_headers(relays):
    """A relay whose accounts have no dialect of their own."""
    return relays(dialect="auto")


@pytest.fixture(scope="module")
def lenient(relays):
    """A relay that hears any number of wrong logins."""
    return relays(auth_failures="0")


def key_of(relay, dialect, *options, **kw):
    """A key of a new account with that dialect: (key, its id, account)."""
    return relay.local_key("--dialect", dialect, *options, **kw)


def event_of(relay, reply):
    [event] = relay.daemon.events(relay.queue_id(reply), "message")
    return event


def recipients(n):
    return [f"r{i}@there.example" for i in range(n)]


# --- logins ------------------------------------------------------------------

INJECTION = "SMTP_Injection"
SUB = ":X-MSYS-SUBACCOUNT="


@pytest.mark.parametrize("how", ["auth_plain_raw", "auth_login_raw"])
@pytest.mark.parametrize("user, subaccount", [
    (INJECTION, ""),
    ("smtp_injection", ""),
    (INJECTION + SUB + "123", "+123"),
    ("SMTP_INJECTION:x-msys-subaccount=7", "+7"),
])
def test_sparkpost_user(relay, how, user, subaccount):
    key, key_id, account = key_of(relay, "sparkpost")
    with relay.client() as c:
        assert getattr(c, how)(user, key).code == 235
        reply = c.deliver(SENDER, [RCPT], mail.message())
        queue_id = relay.queue_id(reply)
    log = "\n".join(relay.postfix.log_of(queue_id))
    assert f"sasl_username={account}:{key_id}{subaccount}\n" in log + "\n"
    # This API knows no subaccounts, and the client is told.
    assert reply.code == (550 if subaccount else 250)
    if subaccount:
        assert reply.text.startswith("AUTH: ") and "subaccount" in reply.text


@pytest.mark.parametrize("user, why", [
    ("apikey", "must be SMTP_Injection"),
    (INJECTION + "s", "must be SMTP_Injection"),
    (INJECTION + "+7", "must be SMTP_Injection"),
    (INJECTION + SUB, "must be a number"),
    (INJECTION + SUB + "7+8", "must be a number"),
    (INJECTION + SUB + "1" * 33, "must be a number"),
])
@pytest.mark.parametrize("how", ["auth_plain_raw", "auth_login_raw"])
def test_sparkpost_other_user(relay, how, user, why):
    key, _, _ = key_of(relay, "sparkpost")
    with relay.client() as c:
        reply = getattr(c, how)(user, key)
        assert (reply.code, reply.enhanced) == (535, "5.7.8")
        assert why in reply.text
        assert c.auth_plain_raw(INJECTION, key).code == 235


def test_right_user_wrong_key(relay):
    with relay.client() as c:
        reply = c.auth_plain_raw(INJECTION, relay.secret("k-no-such-key-at-a"))
        assert reply.code == 535 and "API key" in reply.text


@pytest.mark.parametrize("dialect", ["auto", "emaildelivery", "flexmail",
                                     "campaignmonitor", "sparkpost"])
def test_issued_user(lenient, dialect):
    key, _, _ = key_of(lenient, dialect, "--login", "shop-1")
    with lenient.client() as c:
        for user in ("shop-2", "Shop-1", "", key, INJECTION):
            reply = c.auth_plain_raw(user, key)
            assert reply.code == 535, user
            assert "or was issued with another user name" in reply.text
        assert c.auth_plain_raw("shop-1", "k-no-such-key").text == reply.text
        assert c.auth_login_raw("shop-1", key).code == 235
    assert not lenient.leaks()


def test_issued_user_is_shown_and_kept(relay):
    key, key_id, account = key_of(relay, "flexmail", "--login", "shop 1")
    shown = relay.daemon.ctl_json("key", "show", key_id)
    assert shown["login"] == "shop 1"
    [row] = relay.daemon.ctl_json("key", "list", account)["keys"]
    assert row["login"] == "shop 1"
    lines = relay.daemon.ctl("key", "list", account, "--export").splitlines()
    [exported] = [json.loads(line) for line in lines if "sha256" in line]
    assert exported["login"] == "shop 1"
    made = relay.daemon.ctl_json("key", "rotate", key_id, "--grace", "1h")
    assert made["login"] == "shop 1"
    with relay.client() as c:
        assert c.auth_plain_raw("u", relay.secret(made["key"])).code == 535
        assert c.auth_plain_raw("shop 1", made["key"]).code == 235


def test_issued_user_is_printable(relay):
    known = relay.dir / "known.key"
    known.write_text(relay.new_key() + "\n")
    text = relay.daemon.ctl("key", "add", "--account", "x", "--route", "main",
                            "--api-key-file", known, "--login", "a\nb",
                            code=64)
    assert "--login" in text


def test_key_with_a_user_is_not_good_in_a_header(relay):
    key, _, _ = relay.local_key("--login", "shop-1")
    reply = relay.send_by_header(
        mail.message(headers=[("X-Auth-APIKey", key)]))
    assert (reply.code, reply.enhanced) == (535, "5.7.8")
    assert "user name" in reply.text


def test_subaccount_is_not_that_of_another_key(by_headers):
    """The key in the header is another account's than the login's."""
    login, _, _ = key_of(by_headers, "sparkpost")
    other, _, account = by_headers.local_key()
    with by_headers.client(login, port="2587",
                           user=INJECTION + SUB + "123") as c:
        reply = c.deliver(SENDER, [RCPT], mail.message(
            headers=[("X-Auth-APIKey", other)]))
    assert reply.code == 250
    assert event_of(by_headers, reply)["account"] == account


# --- what a dialect reads ------------------------------------------------------


def test_sparkpost_copies(relay):
    key, _, _ = key_of(relay, "sparkpost")
    header = json.dumps({
        "campaign_id": "spring", "cc": ["cc@there.example", RCPT],
        "bcc": [{"email": "bcc@there.example", "name": "B"}],
        "archive": ["archive@there.example", "CC@there.example"]})
    with relay.client(key, user=INJECTION) as c:
        reply = c.deliver(SENDER, [RCPT], mail.message(
            headers=[("X-MSYS-API", header)]))
    assert reply.code == 250
    for name in ("cc", "bcc", "archive"):
        [call] = relay.api.sends_to(f"{name}@there.example")
        assert json.loads(call.body)["tag"] == "spring"
    assert event_of(relay, reply)["dialect"] == "sparkpost"


@pytest.mark.parametrize("value, text", [
    ('{"metadata":1}', "X-MSYS-API 'metadata' must be of type 'json object'"),
    ('{"campaign_id":"' + 65 * "x" + '"}',
     "smtpapi_campaign_id context is limited to 64 bytes"),
    ('{"tags":["a"],}', "JSON parsing error in X-MSYS-API"),
])
def test_sparkpost_refusals(relay, value, text):
    key, _, _ = key_of(relay, "sparkpost")
    with relay.client(key, user=INJECTION) as c:
        reply = c.deliver(SENDER, [RCPT], mail.message(
            headers=[("X-MSYS-API", value)]))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert reply.text.startswith(text)


def test_a_tried_message_is_read_by_the_account_s_dialect(relay, tmp_path):
    _, _, account = key_of(relay, "sparkpost")
    file = tmp_path / "message"
    kind, body = mail.multipart(
        "mixed", mail.part("<p>h</p>", "text/html"),
        mail.part(b"1,2", "text/csv", "Content-Disposition: attachment"))
    file.write_bytes(mail.message(body=body, headers=[
        ("Content-Type", kind), ("X-MSYS-API", '{"campaign_id":"spring"}')]))
    tried = relay.daemon.ctl("try", file, "--account", account,
                             "--rcpt", RCPT)
    assert "sparkpost" in tried
    # This API takes no files, which are known only when they are wanted.
    assert "attachments" in tried and "550" in tried


# --- auto ------------------------------------------------------------------------

AUTO = [
    ("emaildelivery", [("X-Transactional-Tag", "t")]),
    ("flexmail", [("X-Flexmail-Tag", "t")]),
    ("campaignmonitor", [("X-Cmail-GroupName", "t")]),
    ("sparkpost", [("X-Mailgun-Tag", "t")]),
    ("sparkpost", [("X-MSYS-API", '{"campaign_id":"t"}')]),
    ("sparkpost", [("X-MSYS-API", "{}"), ("X-SMTPAPI", "{}")]),
    ("sparkpost", []),
]


@pytest.mark.parametrize("dialect, headers", AUTO)
def test_auto(by_headers, dialect, headers):
    reply = by_headers.send(by_headers.new_key(),
                            mail.message(headers=headers))
    assert reply.code == 250, reply
    assert event_of(by_headers, reply)["dialect"] == dialect
    metrics = by_headers.daemon.ctl("stats", "--prometheus")
    assert f'dialect="{dialect}"' in metrics


def test_auto_of_two(by_headers):
    reply = by_headers.send(by_headers.new_key(), mail.message(headers=[
        ("X-Cmail-GroupName", "g"), ("X-MSYS-API", "{}")]))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert "X-Cmail-GroupName and X-MSYS-API" in reply.text


def test_auto_with_a_key_in_the_header(by_headers):
    key = by_headers.new_key()
    reply = by_headers.send_by_header(mail.message(headers=[
        ("X-Auth-APIKey", key), ("X-MSYS-API", '{"campaign_id":"t"}')]))
    assert reply.code == 250
    assert event_of(by_headers, reply)["dialect"] == "sparkpost"


def test_auto_of_an_account(relay):
    key, _, _ = key_of(relay, "auto")
    reply = relay.send(key, mail.message(headers=[("X-Flexmail-Tag", "t")]))
    assert reply.code == 250
    assert event_of(relay, reply)["dialect"] == "flexmail"


# --- at most 25 recipients ----------------------------------------------------------


def test_one_recipient_too_many(relay):
    key, _, _ = key_of(relay, "campaignmonitor")
    with relay.client(key) as c:
        assert c.command(f"MAIL FROM:<{SENDER}>").code == 250
        for r in recipients(ENVELOPE_MAX):
            assert c.command(f"RCPT TO:<{r}>").code == 250
        for r in ("one-more@there.example", "r99@there.example"):
            reply = c.command(f"RCPT TO:<{r}>")
            assert (reply.code, reply.enhanced) == (452, "4.5.3")
            assert "25" in reply.text
        reply = c.send_data(mail.message())
        assert reply.code == 250
        # The next message begins anew.
        assert c.deliver(SENDER, [RCPT], mail.message()).code == 250
    event = event_of(relay, reply)
    assert (event["rcpts"], event["accepted"]) == ("25", "25")
    assert not relay.api.sends_to("one-more@there.example")


@pytest.mark.parametrize("dialect, user", [
    ("emaildelivery", "u"), ("flexmail", "u"), ("sparkpost", INJECTION)])
def test_other_dialects_have_no_such_bound(relay, dialect, user):
    """On a connection that is answered for each recipient."""
    key_of(relay, "campaignmonitor")
    key, _, _ = key_of(relay, dialect)
    with relay.client(key, user=user) as c:
        reply = c.deliver(SENDER, recipients(ENVELOPE_MAX + 5), mail.message())
    assert reply.code == 250
    assert event_of(relay, reply)["accepted"] == str(ENVELOPE_MAX + 5)


def test_too_many_for_the_dialect_of_the_message(by_headers):
    """Which is not known when they are named."""
    message = mail.message(headers=[("X-Cmail-GroupName", "g")])
    with by_headers.client(by_headers.new_key()) as c:
        reply = c.deliver(SENDER, recipients(ENVELOPE_MAX + 1), message)
        assert (reply.code, reply.enhanced) == (550, "5.5.3")
        reply = c.deliver(SENDER, recipients(ENVELOPE_MAX), message)
        assert reply.code == 250


RCPT_IS_SILENT = 0x8000  # SMFIP_NR_RCPT


def test_recipients_are_answered_only_where_they_are_bounded(own):
    """And requests to the daemon go on either way."""
    def is_silent():
        with Control(own.daemon) as c:
            assert c.ask("command ping\n\n")[0] == 0
            return bool(c.steps & RCPT_IS_SILENT)

    assert is_silent()
    key_of(own, "sparkpost")
    assert is_silent()
    key_of(own, "campaignmonitor")
    assert not is_silent()
    own.daemon.restart()
    assert not is_silent()
