# SPDX-License-Identifier: MIT
"""Nothing lost, nothing twice: an API that is down, answers that are lost, and
a daemon that stops or dies, one message at a time (many: test_counts.py)."""

import http.client
import signal
import threading
import time
import urllib.request

import pytest

import mail
import net
from relay import RCPT


def event_of(relay, reply):
    [event] = relay.daemon.events(reply.queue_id, "message")
    return event


def send(relay, key, subject, **kw):
    return relay.send(key, mail.message(subject=subject), **kw)


def in_background(work):
    """A thread that runs it, and a list that gets what it returns."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return thread, results


def subjects(relay):
    return sorted(d["subject"] for d in relay.api.sends)


def keys_of(relay):
    return [r.header("Idempotency-Key") for r in relay.api.calls("send")]


# --- the circuit breaker ---------------------------------------------------


def metric(relay, name):
    page = relay.daemon.ctl("stats", "--prometheus")
    [line] = [w for w in page.splitlines() if w.startswith(name)]
    return float(line.split()[-1])


def test_an_api_that_is_down_is_not_waited_for(relays):
    """It hangs: five messages wait, the others do not, and nobody is lost."""
    relay = relays(direct_timeout="1s", keys={"ttl": "1h"})
    key = relay.new_key()
    assert send(relay, key, "before").code == 250
    relay.api.fault("send", hang=True)
    relay.api.fault("send", hang=True)
    for i in range(5):
        assert send(relay, key, f"slow{i}").code == 250
    assert net.wait_until(lambda: metric(relay, "txmilter_api_up") == 0, 5)
    began = time.monotonic()
    for i in range(20):
        reply = send(relay, key, f"fast{i}")
        assert reply.code == 250
    assert time.monotonic() - began < 4
    assert event_of(relay, reply)["api_ms"] < "9"
    assert relay.daemon.ctl_json("status")["apis"][0]["health"] == "down"
    relay.api.heal()
    relay.postfix.deliver_all(90)
    # What hung took no effect.
    assert subjects(relay) == sorted(
        ["before"] + [f"slow{i}" for i in range(5)] +
        [f"fast{i}" for i in range(20)])
    assert metric(relay, "txmilter_api_up") == 1
    reply = send(relay, key, "after")
    assert event_of(relay, reply)["result"] == "sent"
    assert "down" in relay.daemon.log()


def test_refusals_open_no_circuit(relay):
    key = relay.new_key()
    relay.api.fault("send", key=key, status=400)
    for _ in range(8):
        assert relay.send(key, mail.message()).code == 550


def test_a_pause_is_that_key_s_own(relay):
    one, two = relay.new_key(), relay.new_key()
    relay.api.fault("send", key=one, times=1, status=429,
                    headers={"Retry-After": "4"})
    began = time.monotonic()
    assert event_of(relay, send(relay, one, "a"))["result"] == "queued"
    assert event_of(relay, send(relay, one, "b"))["result"] == "queued"
    assert event_of(relay, send(relay, two, "c"))["result"] == "sent"
    relay.postfix.deliver_all()
    assert subjects(relay) == ["a", "b", "c"]
    assert time.monotonic() - began >= 3
    assert len([r for r in relay.api.calls("send") if r.key == one]) == 3


# --- answers that are lost -------------------------------------------------


LOST = [("reset", {"reset": True}), ("half an answer", {"truncate": True}),
        ("no answer", {"hang": True})]


@pytest.mark.parametrize("fault", [x[1] for x in LOST],
                         ids=[x[0] for x in LOST])
def test_on_ambiguous_accept(relays, fault):
    relay = relays(direct_timeout="2s",
                   sections={"api main": {"on_ambiguous": "accept"}})
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, after=True, **fault)
    reply = send(relay, key, "once")
    assert reply.code == 250
    assert event_of(relay, reply)["result"] == "sent"
    [call] = relay.daemon.events(reply.queue_id, "call")
    assert call["result"] == "assumed"
    relay.api.heal()
    assert not relay.postfix.queue_ids()
    assert len(relay.api.calls("send")) == 1


def test_on_ambiguous_accept_is_about_requests_that_left(relays):
    relay = relays(sections={"api main": {"on_ambiguous": "accept"}})
    key = relay.new_key()
    assert send(relay, key, "first").code == 250
    relay.api.stop()
    reply = send(relay, key, "second")
    relay.api.start()
    assert event_of(relay, reply)["result"] == "queued"
    relay.postfix.deliver_all()
    assert subjects(relay) == ["first", "second"]


def test_retry_has_the_same_key(hasty):
    """An API that knows idempotency keys would have taken it once."""
    key = hasty.new_key()
    hasty.api.fault("send", key=key, times=1, after=True, hang=True)
    assert send(hasty, key, "once").code == 250
    hasty.api.heal()
    hasty.postfix.deliver_all()
    first, second = keys_of(hasty)
    assert first == second


# --- stop and crash --------------------------------------------------------


def test_stop_waits_for_what_is_under_way(own):
    key = own.new_key()
    own.api.fault("send", key=key, times=1, delay=2)
    thread, replies = in_background(lambda: send(own, key, "slow"))
    assert net.wait_until(lambda: own.api.requests and
                          own.api.calls("send"), 10)
    assert own.daemon.terminate() == 0
    thread.join()
    assert replies[0].code == 250
    own.daemon.start()
    assert subjects(own) == ["slow"]
    assert not own.postfix.queue_ids()


def test_stop_leaves_the_rest_to_the_queue(relays):
    """shutdown_timeout is over and the API still says nothing."""
    relay = relays(shutdown_timeout="1s")
    key = relay.new_key()
    relay.api.fault("send", key=key, hang=True)
    thread, replies = in_background(lambda: send(relay, key, "hangs"))
    assert net.wait_until(lambda: relay.api.calls("send"), 10)
    began = time.monotonic()
    assert relay.daemon.terminate() == 0
    assert time.monotonic() - began < 6
    thread.join()
    assert replies[0].code == 250, replies
    relay.api.heal()
    relay.daemon.start()
    relay.postfix.deliver_all()
    assert subjects(relay) == ["hangs"]
    assert len(set(keys_of(relay))) == 1


def test_stop_during_a_delivery(relays):
    relay = relays(shutdown_timeout="1s",
                   sections={"route *": {"mode": "queued"}})
    key = relay.new_key()
    relay.api.fault("send", key=key, hang=True)
    assert send(relay, key, "queued").code == 250
    assert net.wait_until(lambda: relay.api.calls("send"), 10)
    assert relay.daemon.terminate() == 0
    relay.api.heal()
    relay.daemon.start()
    relay.postfix.deliver_all()
    assert subjects(relay) == ["queued"]
    assert len(set(keys_of(relay))) == 1


def test_kill_while_a_client_waits(own):
    """The client hears 451 and comes again: with the same idempotency key,
    although nothing was written down."""
    key = own.new_key()
    message = mail.message(message_id="<k1@customer.example>")
    own.api.fault("send", key=key, times=1, delay=1, after=True)
    thread, replies = in_background(lambda: own.send(key, message))
    assert net.wait_until(lambda: own.api.calls("send"), 10)
    own.daemon.kill()
    thread.join()
    assert replies[0].code == 451
    own.daemon.start()
    assert own.send(key, message).code == 250
    first, second = keys_of(own)
    assert first == second


def test_kill_during_a_delivery(relays):
    relay = relays(sections={"route *": {"mode": "queued"}})
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, delay=1, after=True)
    assert send(relay, key, "queued").code == 250
    assert net.wait_until(lambda: relay.api.calls("send"), 10)
    relay.daemon.kill()
    relay.daemon.start()
    relay.postfix.deliver_all()
    assert len(set(keys_of(relay))) == 1


def test_the_queue_waits_for_a_daemon_that_is_not_there(relays):
    relay = relays(sections={"route *": {"mode": "queued"}})
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, status=503)
    assert send(relay, key, "waits").code == 250
    relay.daemon.process.send_signal(signal.SIGTERM)
    relay.daemon.process.wait(20)
    relay.postfix.flush()
    time.sleep(1)
    assert relay.postfix.queue_ids()
    relay.daemon.start()
    relay.postfix.deliver_all()
    assert "waits" in subjects(relay)


# --- several APIs ----------------------------------------------------------


def test_an_api_that_is_gone_from_the_configuration(relays):
    relay = relays(sections={
        "api second": {"url": "http://127.0.0.1:1"},
        "route s": {"api": "second", "mode": "queued"}})
    key = relay.new_key(["s"])
    assert send(relay, key, "x").code == 250
    assert relay.postfix.queue_ids()
    del relay.daemon.config["api second"]
    del relay.daemon.config["route s"]
    relay.daemon.restart()
    relay.postfix.flush()
    relay.daemon.wait_for_log(r"there is no \[api second\]")
    assert relay.postfix.queue_ids()
    relay.daemon.config["api second"] = {"url": relay.api.url}
    relay.daemon.restart()
    relay.postfix.deliver_all()
    assert subjects(relay) == ["x"]


def test_one_api_that_is_down_does_not_hold_up_another(relays):
    relay = relays(direct_timeout="2s", sections={
        "api second": {"url": "http://127.0.0.1:1"},
        "route s": {"api": "second"}})
    key = relay.new_key(["s", "main"])
    for i in range(7):
        assert relay.send(key, mail.message(
            x_transactional_route="s")).code == 250
    reply = relay.send(key, mail.message(x_transactional_route="main"))
    assert event_of(relay, reply)["result"] == "sent"
    health = {a["api"]: a["health"]
              for a in relay.daemon.ctl_json("status")["apis"]}
    assert health == {"main": "answers", "second": "down"}


def test_a_route_changes_by_reload(own):
    key = own.new_key()
    assert event_of(own, send(own, key, "a"))["result"] == "sent"
    own.daemon.config["route *"] = {"mode": "queued"}
    own.daemon.write_config()
    own.daemon.ctl("reload")
    assert event_of(own, send(own, key, "b"))["result"] == "queued"
    own.postfix.deliver_all()
    assert subjects(own) == ["a", "b"]


# --- twice, where it can be known -------------------------------------------


def test_an_impatient_client(relays):
    """It hangs up and sends the message again while the API is still called:
    the second one waits in the queue for what comes of the first."""
    relay = relays()
    key = relay.new_key()
    message = mail.message(message_id="<hasty@customer.example>")
    relay.api.fault("send", key=key, delay=2)
    threads = [in_background(lambda: relay.send(key, message))
               for _ in range(3)]
    for thread, replies in threads:
        thread.join()
        assert replies[0].code == 250
    relay.api.heal()
    relay.postfix.deliver_all()
    assert len(relay.api.calls("send")) == 1


def test_more_recipients_than_there_is_time_for(relays):
    """No call is begun that would be cut: nobody gets it twice."""
    relay = relays(direct_timeout="3s")
    key = relay.new_key()
    recipients = [f"r{i}@there.example" for i in range(120)]
    relay.api.fault("send", key=key, delay=0.4)
    reply = relay.send(key, mail.message(), recipients)
    event = event_of(relay, reply)
    assert event["result"] == "queued" and 0 < int(event["accepted"]) < 120
    relay.postfix.deliver_all(60)
    assert sorted(d["to"] for d in relay.api.sends) == sorted(recipients)


def test_stop_when_postfix_has_hung_up(relays):
    """As at a reboot, where Postfix stops first."""
    relay = relays(sections={"route *": {"mode": "queued"}})
    key = relay.new_key()
    relay.api.fault("send", key=key, times=1, delay=3)
    assert send(relay, key, "once").code == 250
    assert net.wait_until(lambda: relay.api.calls("send"), 10)
    relay.postfix.kill("lmtp")
    assert relay.daemon.terminate() == 0
    relay.daemon.start()
    relay.postfix.deliver_all()
    assert subjects(relay) == ["once"]
    assert len(relay.api.calls("send")) == 1


# --- what the queue needs to go on ------------------------------------------


def waits(relay, key):
    """A message that waits in the queue."""
    relay.api.fault("send", status=503)
    reply = send(relay, key, "waits", sender="w@origin.example")
    assert event_of(relay, reply)["result"] == "queued"
    return reply


def test_another_secret(own):
    """What was sealed waits until the secret is back."""
    key = own.new_key()
    waits(own, key)
    own.daemon.stop()
    own.api.heal()
    own.api.forget()
    before = own.daemon.secret.read_text()
    own.daemon.secret.write_text("another " * 8)
    own.daemon.start()
    own.postfix.flush()
    own.daemon.wait_for_log("cannot be read: was secret_file replaced")
    own.daemon.stop()
    assert own.postfix.queue_ids() and own.api.sends == []
    own.daemon.secret.write_text(before)
    own.daemon.start()
    own.postfix.deliver_all()
    assert subjects(own) == ["waits"]


def test_a_disabled_key_s_mail_waits(own):
    key, key_id, _ = own.local_key()
    waits(own, key)
    own.daemon.ctl("key", "disable", key_id)
    own.api.heal()
    own.api.forget()
    own.postfix.flush()
    own.daemon.wait_for_log("The API key is disabled")
    assert own.postfix.queue_ids()
    own.daemon.ctl("key", "enable", key_id)
    own.postfix.deliver_all()
    assert subjects(own) == ["waits"]


def test_a_revoked_key_s_mail_is_bounced(own):
    key, key_id, _ = own.local_key()
    waits(own, key)
    own.daemon.ctl("key", "revoke", key_id)
    own.api.heal()
    own.api.forget()
    own.postfix.flush()
    [bounce] = own.postfix.sink.wait_for("w@origin.example")
    assert b"The API key was revoked" in bounce.data
    own.postfix.deliver_all()
    assert own.api.sends == []


def test_the_account_s_key_of_today(own):
    """The operator changed it while the message waited."""
    key, _, account = own.local_key()
    waits(own, key)
    fresh = own.new_key(["main"])
    file = own.dir / "fresh.key"
    file.write_text(fresh + "\n")
    own.daemon.ctl("key", "add", "--account", account, "--api-key-file", file)
    own.api.heal()
    own.api.forget()
    own.postfix.deliver_all()
    assert {r.key for r in own.api.calls("send")} == {fresh}


def test_metrics_are_read_while_it_stops(relays):
    port = net.free_port()
    relay = relays(metrics_listen=f"inet:{port}@127.0.0.1")
    stop = threading.Event()

    def scrape():
        while not stop.is_set():
            try:
                urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/metrics", timeout=1).read()
            except (OSError, http.client.HTTPException):
                pass

    threads = [threading.Thread(target=scrape) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert relay.daemon.terminate() == 0
            relay.daemon.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
