# SPDX-License-Identifier: MIT
"""What the client hears for each answer of the API, and what the queue does
with what the API could not take at once."""

import threading
import time

import pytest

import mail
import net
from relay import RCPT, SENDER

RCPTS = ["one@there.example", "two@there.example", "three@there.example"]

REFUSED = [
    # name, fault, code, enhanced, result in the log
    ("400", {"status": 400}, 550, "5.6.0", "refused"),
    ("401", {"status": 401}, 535, "5.7.8", "key-wrong"),
    ("403", {"status": 403}, 550, "5.7.1", "refused"),
    ("404", {"status": 404}, 451, "4.3.5", "misfit"),
    ("405", {"status": 405}, 451, "4.3.5", "misfit"),
    ("413", {"status": 413}, 552, "5.3.4", "refused"),
    ("418", {"status": 418}, 451, "4.3.5", "misfit"),
    ("422", {"status": 422}, 550, "5.6.0", "refused"),
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
]

LATER = [
    ("408", {"status": 408}),
    ("409", {"status": 409}),
    ("420", {"status": 420}),
    ("425", {"status": 425}),
    ("429", {"status": 429, "headers": {"Retry-After": "1"}}),
    ("500", {"status": 500}),
    ("502 with HTML", {"status": 502, "body": b"<html>"}),
    ("503", {"status": 503}),
    ("504", {"status": 504}),
    ("reset", {"reset": True}),
    ("truncated", {"truncate": True, "after": True}),
    ("not HTTP", {"raw": b"hello\r\n\r\n"}),
    ("closed without a word", {"raw": b""}),
]


def rows(table):
    return {"argvalues": [r[1:] if len(r) > 2 else r[1] for r in table],
            "ids": [r[0] for r in table]}


@pytest.mark.parametrize("fault,code,enhanced,result", **rows(REFUSED))
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


def queued(relay, reply):
    """The event of a message that went on in the queue."""
    assert reply.code == 250 and reply.queue_id, reply
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert (event["result"], event["handoff"]) == ("queued", "direct,queued")
    return event


@pytest.mark.parametrize("fault", **rows(LATER))
def test_later(relay, fault):
    """The client hears 250, the queue brings it to the API, with the same
    idempotency key."""
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, **fault)
    reply = relay.send(key, mail.message("<p>later</p>"))
    assert queued(relay, reply)["accepted"] == "0"
    assert relay.daemon.events(reply.queue_id, "call")[0]["result"] == "later"
    relay.postfix.deliver_all()
    calls = [r for r in relay.api.calls("send") if r.key == key]
    assert len(calls) == 2
    assert calls[0].json == calls[1].json
    assert calls[0].json["body"].strip() == "<p>later</p>"
    assert calls[0].header("Idempotency-Key") == \
        calls[1].header("Idempotency-Key")
    assert relay.daemon.events(reply.queue_id, "delivery")[-1]["accepted"] == \
        "1"


def test_endless_answer(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=200,
                    body=b'{"result":"ok","x":"' + b"x" * 5_000_000 + b'"}')
    reply = relay.send(key, mail.message())
    queued(relay, reply)
    relay.api.heal()
    relay.postfix.deliver_all()


def test_hanging_api(hasty):
    """The time limit holds, the next message goes on at once."""
    key = hasty.new_key()
    hasty.api.fault("send", key=key, times=1, hang=True)
    started = time.monotonic()
    reply = hasty.send(key, mail.message(subject="one"))
    queued(hasty, reply)
    assert 1.5 < time.monotonic() - started < 12
    assert hasty.send(key, mail.message(subject="two")).code == 250
    hasty.postfix.deliver_all()
    assert [d["subject"] for d in hasty.api.sends].count("one") == 1


def test_api_down_and_back(relay):
    key = relay.new_key()
    assert relay.send(key, mail.message()).code == 250
    relay.api.stop()
    try:
        started = time.monotonic()
        queued(relay, relay.send(key, mail.message(subject="down")))
        assert time.monotonic() - started < 8
    finally:
        relay.api.start()
    assert relay.send(key, mail.message()).code == 250
    relay.postfix.deliver_all()
    assert [d["subject"] for d in relay.api.sends].count("down") == 1


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


def test_refused_for_everybody(relay):
    """The client hears it, with the first one's address."""
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400,
                    body={"description": "Not that."})
    reply = relay.send(key, mail.message(), RCPTS)
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert RCPTS[0] in reply.text and "Not that." in reply.text
    assert relay.api.sends == []
    assert not relay.postfix.queue_ids()


def test_a_wrong_key_is_asked_about_once(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=401)
    assert relay.send(key, mail.message(), RCPTS).code == 535
    assert len(relay.api.calls("send")) == 1


def test_who_does_not_answer_the_first_is_not_called_for_the_others(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, status=503)
    reply = relay.send(key, mail.message(), RCPTS)
    queued(relay, reply)
    relay.postfix.deliver_all()
    assert len(relay.api.calls("send")) == 4
    assert sorted(d["to"] for d in relay.api.sends) == sorted(RCPTS)


def test_all_accepted(relay):
    assert relay.send(relay.new_key(), mail.message(), RCPTS).code == 250
    assert [d["to"] for d in relay.api.sends][0] == RCPTS[0]
    assert sorted(d["to"] for d in relay.api.sends) == sorted(RCPTS)


def calls_to(relay):
    return sorted(r.json["to"] for r in relay.api.calls("send"))


@pytest.mark.parametrize("first", [0, 1], ids=["the first", "another"])
@pytest.mark.parametrize("fault", [
    {"status": 500}, {"status": 429}, {"status": 404}, {"reset": True},
    {"truncate": True, "after": True}],
    ids=["500", "429", "404", "reset", "answer lost"])
def test_the_rest_goes_on_in_the_queue(relay, fault, first):
    key = relay.new_key()
    relay.api.fault("send", key=key, to=RCPTS[first], times=1, **fault)
    reply = relay.send(key, mail.message(), RCPTS)
    if fault.get("status") == 404 and first == 0:
        assert reply.code == 451
        return
    event = queued(relay, reply)
    assert event["rcpts"] == "3"
    assert event["accepted"] == ("0" if first == 0 else "2")
    relay.postfix.deliver_all()
    assert calls_to(relay) == sorted([*RCPTS, RCPTS[first]])
    keys = {r.header("Idempotency-Key") for r in relay.api.calls("send")}
    assert len(keys) == 3


@pytest.mark.parametrize("which", [0, 1, 2])
def test_refused_among_accepted_is_bounced(relay, which):
    """Nobody can tell an SMTP client "some": the one gets a bounce with the
    API's words, to the envelope sender, and what it returns is the message as
    it was sent."""
    key = relay.new_key()
    sender = f"bounces-{which}@origin.example"
    relay.api.fault("send", key=key, to=RCPTS[which], status=400,
                    body={"description": "Bad address."})
    reply = relay.send(key, mail.message(
        "<p>as it was</p>", x_transactional_tag="tagged",
        headers=[("X-Auth-APIKey", key)]), RCPTS, sender=sender)
    assert queued(relay, reply)["accepted"] == "2"
    [bounce] = relay.postfix.sink.wait_for(sender)
    text = bounce.data.decode()
    assert bounce.sender == ""
    assert RCPTS[which] in text and "Bad address." in text
    assert not [r for i, r in enumerate(RCPTS) if i != which and
                f"<{r}>" in text]
    assert "<p>as it was</p>" in text
    assert "X-Transactional-Tag: tagged" in text
    assert "X-Auth-APIKey" not in text and key not in text
    assert "X-Txmilter-Route" not in text
    relay.postfix.deliver_all()
    assert calls_to(relay) == sorted(RCPTS)


def test_no_bounce_for_the_null_sender(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, to=RCPTS[1], status=400)
    del relay.postfix.sink.messages[:]
    queued(relay, relay.send(key, mail.message(), RCPTS, sender=""))
    relay.postfix.deliver_all()
    # But for what this Postfix' notify_classes tells its postmaster.
    assert {r for m in relay.postfix.sink.messages for r in m.recipients} <= {
        "postmaster@relay.example.test"}


# --- the same message again ------------------------------------------------


ID = {"message_id": "<same@customer.example>"}


def test_a_repetition_is_answered_from_memory(relay):
    """The 250 was lost: the client sends all of it again."""
    key = relay.new_key()
    for _ in range(2):
        reply = relay.send(key, mail.message(**ID), RCPTS)
        assert reply.code == 250
    assert calls_to(relay) == sorted(RCPTS)
    events = relay.daemon.events(reply.queue_id, "call")
    assert [e["result"] for e in events] == ["known"] * 3


def test_a_repetition_for_some_more(relay):
    key = relay.new_key()
    assert relay.send(key, mail.message(**ID), RCPTS[:2]).code == 250
    assert relay.send(key, mail.message(**ID), RCPTS).code == 250
    assert calls_to(relay) == sorted(RCPTS)


@pytest.mark.parametrize("change", [
    {"subject": "another"}, {"body": "<p>another</p>"},
    {"message_id": "<another@customer.example>"}, {"message_id": None},
    {"x_transactional_tag": "another"}], ids=lambda c: str(next(iter(c))))
def test_another_message_is_no_repetition(relay, change):
    key = relay.new_key()
    assert relay.send(key, mail.message(**ID)).code == 250
    other = {**ID, **change}
    if other["message_id"] is None:
        del other["message_id"]
    assert relay.send(key, mail.message(**other)).code == 250
    assert len(relay.api.sends) == 2


def test_a_repetition_is_the_account_s_own(relay):
    for key in (relay.new_key(name="One"), relay.new_key(name="Two")):
        assert relay.send(key, mail.message(**ID)).code == 250
    assert len(relay.api.sends) == 2


def test_without_a_message_id_nobody_can_tell(relay):
    key = relay.new_key()
    for _ in range(2):
        assert relay.send(key, mail.message()).code == 250
    first, second = relay.api.calls("send")
    assert first.header("Idempotency-Key") != second.header("Idempotency-Key")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_memory_outlives_the_daemon(own, end):
    key = own.new_key()
    assert own.send(key, mail.message(**ID)).code == 250
    if end == "stop":
        own.daemon.restart()
    else:
        time.sleep(2.5)  # it is on disk within a second or so
        own.daemon.kill()
        own.daemon.start()
    assert own.send(key, mail.message(**ID)).code == 250
    assert len(own.api.sends) == 1


def test_memory_switched_off(relays):
    relay = relays(remember_sent="0s")
    key = relay.new_key()
    for _ in range(2):
        assert relay.send(key, mail.message(**ID)).code == 250
    first, second = relay.api.calls("send")
    assert first.header("Idempotency-Key") == second.header("Idempotency-Key")


# --- limits ----------------------------------------------------------------


def test_too_many_hand_offs_at_once(relays):
    """direct_limit: more than that many do not wait, they go to the queue."""
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
    assert [r.code for r in replies] == [250] * 6
    relay.postfix.deliver_all()
    assert {d["subject"] for d in relay.api.sends} == \
        {f"m{i}" for i in range(6)}
