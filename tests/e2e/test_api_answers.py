# SPDX-License-Identifier: MIT
"""What the client hears for each answer of the API, and what a retry does.

Queued hand-off does not exist yet: what would be queued is answered 451.
"""

import threading
import time

import pytest

import mail
import net
from relay import RCPT, SENDER

RCPTS = ["one@there.example", "two@there.example", "three@there.example"]

ANSWERS = [
    # name, fault, code, enhanced, result in the log
    ("400", {"status": 400}, 550, "5.6.0", "refused"),
    ("401", {"status": 401}, 535, "5.7.8", "key-wrong"),
    ("403", {"status": 403}, 550, "5.7.1", "refused"),
    ("404", {"status": 404}, 451, "4.3.5", "misfit"),
    ("405", {"status": 405}, 451, "4.3.5", "misfit"),
    ("408", {"status": 408}, 451, "4.4", "later"),
    ("409", {"status": 409}, 451, "4.4", "later"),
    ("413", {"status": 413}, 552, "5.3.4", "refused"),
    ("418", {"status": 418}, 451, "4.3.5", "misfit"),
    ("420", {"status": 420}, 451, "4.4", "later"),
    ("422", {"status": 422}, 550, "5.6.0", "refused"),
    ("425", {"status": 425}, 451, "4.4", "later"),
    ("429", {"status": 429, "headers": {"Retry-After": "1"}}, 451, "4.4",
     "later"),
    ("500", {"status": 500}, 451, "4.4", "later"),
    ("502 with HTML", {"status": 502, "body": b"<html>"}, 451, "4.4",
     "later"),
    ("503", {"status": 503}, 451, "4.4", "later"),
    ("504", {"status": 504}, 451, "4.4", "later"),
    ("301", {"status": 301, "headers": {"Location": "/api/ping"}}, 451,
     "4.3.5", "misfit"),
    ("302", {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
     451, "4.3.5", "misfit"),
    ("307", {"status": 307, "headers": {"Location": "/api/ping"}}, 451,
     "4.3.5", "misfit"),
    ("200 without JSON", {"status": 200, "body": b"<html>ok</html>"}, 451,
     "4.3.5", "misfit"),
    ("200 with other JSON", {"status": 200, "body": {"result": "no"}}, 451,
     "4.3.5", "misfit"),
    ("200 and nothing", {"status": 200, "body": b""}, 451, "4.3.5",
     "misfit"),
    ("204", {"status": 204, "body": b""}, 451, "4.3.5", "misfit"),
    ("reset", {"reset": True}, 451, "4.4.1", "later"),
    ("truncated", {"truncate": True, "after": True}, 451, "4.4.1", "later"),
    ("not HTTP", {"raw": b"hello\r\n\r\n"}, 451, "4.4.1", "later"),
    ("closed without a word", {"raw": b""}, 451, "4.4.1", "later"),
]


@pytest.mark.parametrize("fault,code,enhanced,result",
                         [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
def test_answer(relay, fault, code, enhanced, result):
    key = relay.new_key()
    relay.api.fault("send", key=key, **fault)
    reply = relay.send(key, mail.message())
    assert reply.code == code, reply
    assert reply.enhanced.startswith(enhanced), reply
    assert len(relay.api.calls("send")) == 1  # nobody follows or repeats
    queue_id = relay.queue_id(reply)
    [call] = relay.daemon.events(queue_id, "call")
    assert call["result"] == result
    [event] = relay.daemon.events(queue_id, "message")
    assert event["result"] == ("deferred" if code == 451 else "refused")
    assert event["accepted"] == "0"


def test_endless_answer(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=200,
                    body=b'{"result":"ok","x":"' + b"x" * 5_000_000 + b'"}')
    assert relay.send(key, mail.message()).code == 451


def test_hanging_api(hasty):
    """The time limit holds, the next message goes on at once."""
    key = hasty.new_key()
    hasty.api.fault("send", key=key, times=1, hang=True)
    started = time.monotonic()
    reply = hasty.send(key, mail.message(subject="one"))
    assert reply.code == 451 and reply.enhanced.startswith("4.4")
    assert 1.5 < time.monotonic() - started < 12
    assert hasty.send(key, mail.message(subject="two")).code == 250


def test_api_down_and_back(relay):
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    relay.api.stop()
    try:
        started = time.monotonic()
        reply = relay.send(key, mail.message())
        assert (reply.code, reply.enhanced) == (451, "4.4.1")
        assert time.monotonic() - started < 8
    finally:
        relay.api.start()
    assert relay.send(key, mail.message()).code == 250


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_dead_kept_alive_connections(relay, reset):
    """The API restarts between two messages: it did not see the second one,
    so there is no reason not to send it on a new connection."""
    key = relay.new_key()
    for i in range(10):
        assert relay.send(key, mail.message(subject=f"m{i}")).code == 250
        relay.api.stop(reset)
        relay.api.start()
    assert len(relay.api.sends) == 10


def test_the_api_s_own_words_reach_the_client(relay):
    key = relay.new_key(plan_limit="Your plan does not include transactional.")
    reply = relay.send(key, mail.message())
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert "Your plan does not include transactional." in reply.text


WORDS = [
    ("line ends", "a\r\n250 ok\nb", "a 250 ok b"),
    ("percent", "100%s %d%%", "100%s %d%%"),
    ("control", "a\x1b[31mb", "a?[31mb"),
    ("NUL", "a\x00b", ""),
    ("not ASCII", "café", "café"),
    ("empty", "", ""),
]


@pytest.mark.parametrize("words,text", [w[1:] for w in WORDS],
                         ids=[w[0] for w in WORDS])
def test_the_api_s_words_are_made_safe(relay, words, text):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400,
                    body={"title": "x", "description": words})
    with relay.client(key) as c:
        reply = c.deliver(SENDER, [RCPT], mail.message())
        assert (reply.code, reply.enhanced) == (550, "5.6.0")
        assert text in reply.text and reply.text
        assert c.command("NOOP").code == 250


@pytest.mark.parametrize("count", [100, 1000, 30000])
def test_endless_words(relay, count):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400,
                    body={"description": "word " * count})
    reply = relay.send(key, mail.message())
    assert reply.code == 550
    assert len(reply.text) < 900 and "word word" in reply.text


def test_misfit_is_logged_as_an_error_of_ours(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=404)
    reply = relay.send(key, mail.message())
    lines = relay.daemon.log_of(relay.queue_id(reply))
    assert any("result=misfit" in line for line in lines)


def test_unknown_template(relay):
    reply = relay.send(relay.new_key(), mail.message(
        headers=[("X-Transactional-Template", "nope")]))
    assert (reply.code, reply.enhanced) == (550, "5.7.1")


def test_key_revoked_between_login_and_hand_off(relay):
    """401 at hand-off: the key leaves the cache at once."""
    key = relay.new_key()
    with relay.client(key) as c:
        del relay.api.accounts[key]
        reply = c.deliver(SENDER, [RCPT], mail.message())
        assert (reply.code, reply.enhanced) == (535, "5.7.8")
    with relay.client() as c:
        assert c.auth_plain_raw("x", key).code == 535


# --- several recipients ----------------------------------------------------


def test_refused_for_the_message_is_refused_once(relay):
    """What the API refuses for the first recipient nobody else is tried
    for."""
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400)
    reply = relay.send(key, mail.message(), RCPTS)
    assert reply.code == 550
    assert len(relay.api.calls("send")) == 1


def test_all_accepted(relay):
    assert relay.send(relay.new_key(), mail.message(), RCPTS).code == 250
    assert [d["to"] for d in relay.api.sends][0] == RCPTS[0]
    assert sorted(d["to"] for d in relay.api.sends) == sorted(RCPTS)


def calls_to(relay):
    return sorted(r.json["to"] for r in relay.api.calls("send"))


def keys_to(relay):
    return {r.json["to"]: r.header("Idempotency-Key")
            for r in relay.api.calls("send")}


@pytest.mark.parametrize("fault", [
    {"status": 500}, {"status": 429}, {"status": 404}, {"reset": True},
    {"truncate": True, "after": True}],
    ids=["500", "429", "404", "reset", "answer lost"])
def test_retry_after_a_mix_sends_the_rest_only(relay, fault):
    key = relay.new_key()
    message = mail.message(message_id="<mix@customer.example>")
    relay.api.fault("send", key=key, to=RCPTS[1], times=1, **fault)
    reply = relay.send(key, message, RCPTS)
    assert reply.code == 451, reply
    assert calls_to(relay) == sorted(RCPTS)
    [event] = relay.daemon.events(relay.queue_id(reply), "message")
    assert (event["result"], event["rcpts"], event["accepted"]) == \
        ("deferred", "3", "2")
    first = keys_to(relay)
    relay.api.forget()
    assert relay.send(key, message, RCPTS).code == 250
    assert calls_to(relay) == [RCPTS[1]]
    assert keys_to(relay)[RCPTS[1]] == first[RCPTS[1]]


def test_retry_for_the_open_recipient_alone(relay):
    """Some clients send again only for those that are open."""
    key = relay.new_key()
    relay.api.fault("send", key=key, to=RCPTS[1], times=1, status=500)
    assert relay.send(key, mail.message(), RCPTS).code == 451
    relay.api.forget()
    assert relay.send(key, mail.message(), [RCPTS[1]]).code == 250
    assert calls_to(relay) == [RCPTS[1]]


def test_one_refused_for_good_among_accepted(relay):
    """First 451, for nobody can tell a client "some"; the retry asks only for
    the one, and says which it is."""
    key = relay.new_key()
    relay.api.fault("send", key=key, to=RCPTS[1], status=400,
                    body={"description": "Bad address."})
    reply = relay.send(key, mail.message(), RCPTS)
    assert reply.code == 451
    relay.api.forget()
    reply = relay.send(key, mail.message(), RCPTS)
    assert reply.code == 550, reply
    assert RCPTS[1] in reply.text and "Bad address." in reply.text
    assert calls_to(relay) == [RCPTS[1]]


def test_memory_of_a_mix_is_the_account_s_own(relay):
    one, two = relay.new_key(), relay.new_key()
    relay.api.fault("send", key=one, to=RCPTS[1], times=1, status=500)
    assert relay.send(one, mail.message(), RCPTS).code == 451
    relay.api.forget()
    assert relay.send(two, mail.message(), RCPTS).code == 250
    assert calls_to(relay) == sorted(RCPTS)


@pytest.mark.parametrize("change", [
    {"subject": "another"}, {"body": "<p>another</p>"},
    {"message_id": "<another@customer.example>"},
    {"x_transactional_tag": "another"}], ids=lambda c: next(iter(c)))
def test_another_message_is_not_taken_for_a_retry(relay, change):
    key = relay.new_key()
    relay.api.fault("send", key=key, to=RCPTS[1], times=1, status=500)
    assert relay.send(key, mail.message(), RCPTS).code == 451
    relay.api.forget()
    assert relay.send(key, mail.message(**change), RCPTS).code == 250
    assert calls_to(relay) == sorted(RCPTS)


def test_the_same_message_twice_is_sent_twice(relay):
    """Without a failure there is nothing to remember: reminders look alike."""
    key = relay.new_key()
    for _ in range(2):
        assert relay.send(key, mail.message()).code == 250
    first, second = relay.api.calls("send")
    assert first.header("Idempotency-Key") != second.header("Idempotency-Key")


def test_lost_answer_keeps_the_idempotency_key(relay):
    """The API took it and nobody heard: the retry is recognisable."""
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, after=True, reset=True)
    assert relay.send(key, mail.message()).code == 451
    assert relay.send(key, mail.message()).code == 250
    first, second = relay.api.calls("send")
    assert first.header("Idempotency-Key") == second.header("Idempotency-Key")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_memory_of_a_mix_outlives_the_daemon(own, end):
    key = own.new_key()
    own.api.fault("send", key=key, to=RCPTS[1], times=1, status=503)
    assert own.send(key, mail.message(), RCPTS).code == 451
    own.api.forget()
    if end == "stop":
        own.daemon.restart()
    else:
        own.daemon.kill()
        own.daemon.start()
    assert own.send(key, mail.message(), RCPTS).code == 250
    assert calls_to(own) == [RCPTS[1]]


def test_too_many_hand_offs_at_once(relays):
    """direct_limit: more than that many do not wait, they hear 451."""
    relay = relays(direct_limit="3", direct_timeout="10s")
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    relay.api.forget()
    relay.api.fault("send", key=key, hang=True, after=True)
    replies = []
    threads = [threading.Thread(target=lambda i=i: replies.append(
        relay.send(key, mail.message(subject=f"m{i}")))) for i in range(6)]
    for t in threads:
        t.start()
    early = net.wait_until(lambda: len(replies) >= 3, 9)
    relay.api.heal()
    for t in threads:
        t.join()
    assert early
    codes = sorted(r.code for r in replies)
    assert codes == [250] * 3 + [451] * 3
    assert {r.enhanced for r in replies if r.code == 451} == {"4.3.2"}


@pytest.mark.parametrize("answer", [
    {"status": 500}, {"status": 504}, {"status": 200, "body": {"x": "y"}}],
    ids=["500", "504", "200 without its result"])
def test_a_retry_has_the_idempotency_key_of_the_first_attempt(relay, answer):
    key = relay.new_key()
    message = mail.message(headers=[("Message-ID", "<retry@customer.example>")])
    relay.api.fault("send", key=key, times=1, **answer)
    assert relay.send(key, message).code == 451
    assert relay.send(key, message).code == 250
    first, second = [r.header("Idempotency-Key")
                     for r in relay.api.calls("send") if r.key == key]
    assert first and first == second
