# SPDX-License-Identifier: MIT
"""Nothing lost, nothing twice: at least 1,000 messages in at least 50 sessions
for each thing that breaks under load, and then the balance (ledger.py).

Every second message goes a route that waits for the API, the others one that
does not.  TXMILTER_COUNT_SECONDS: how long the weather lasts;
TXMILTER_DOWN_SECONDS: how long the API is down.
"""

import errno
import os
import random
import re
import smtplib
import threading
import time
from contextlib import contextmanager

import pytest

import net
from counting_api import CountingApi
from ledger import Ledger, bounced
from load import Attempt, Load, Sent, percentile, plain_message
from relay import Relay, SENDER
from smtp_client import Reply

pytestmark = pytest.mark.counts

SECONDS = int(os.environ.get("TXMILTER_COUNT_SECONDS", 120))
DOWN_SECONDS = int(os.environ.get("TXMILTER_DOWN_SECONDS", 30))
RATE = 60  # messages a second: what a slow machine keeps up with, too
DRAIN_SECONDS = 120 + DOWN_SECONDS
ROUTES = ("now", "soon")


@pytest.fixture
def relays(top_directory):
    """A factory. Unlike others these relays end with their test."""
    made = []

    def make(idempotent=True, postfix=None, tls=False, **config):
        directory = top_directory / f"counts-{time.monotonic_ns()}"
        # A little slow, so that what is killed has calls under way.
        api = CountingApi(idempotent, tls and directory / "tls", delay=0.05)
        relay = Relay(directory, api=api, postfix=postfix,
                      **{"log_level": "info", "direct_timeout": "3s",
                         **config})
        relay.daemon.config["route soon"] = {"mode": "queued"}
        if tls:
            relay.daemon.config["api main"]["ca_file"] = api.ca_file
        made.append(relay)
        return relay.start()

    yield make
    for relay in made:
        relay.stop()


@pytest.fixture
def balance(request):
    """Waits until Postfix has nothing left, and compares."""
    def check(name, relay, load, **kw):
        drained = net.wait_until(lambda: not relay.postfix.queue_ids(),
                                 DRAIN_SECONDS, 0.5)
        ledger = Ledger(name, load, relay.api, relay.postfix.sink, **kw)
        request.config.count_rows.append(ledger.row())
        print(load.replies(), relay.api.hits, load.failed_logins)
        assert drained, relay.postfix.postqueue()
        assert not ledger.problems(), ledger.row()
        assert len(load.sent) >= 1000 and load.opened >= 50
        assert not [r for r in load.failed_logins if r.startswith("535")]
        return ledger

    return check


def message(id, recipients):
    route = ROUTES[int(id[-6:]) % len(ROUTES)]
    return plain_message(id, recipients, x_transactional_route=route)


def known_key(relay):
    """Logins do not need the API any more."""
    key = relay.new_key(ROUTES)
    relay.client(key).quit()
    return key


def start_load(relay, label, **kw):
    key = known_key(relay)
    return Load(relay, key, label, **{"rate": RATE, "message": message,
                                      **kw}).start()


@contextmanager
def again_and_again(seconds, action):
    """action() in a thread of its own, each so many seconds, meanwhile; a
    list of what it gave."""
    over = threading.Event()
    results, problems = [], []

    def work():
        try:
            while not over.wait(seconds):
                results.append(action())
        except Exception as e:  # told to whoever waits for us
            problems.append(e)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield results
    finally:
        over.set()
        thread.join(60)
    assert not problems, problems


# --- the API breaks --------------------------------------------------------


def answered_too_late(relay):
    """What the API took and answered after direct_timeout: on a machine with
    much to do it cannot see that nobody listened any more."""
    late = set(re.findall(r'call to="([^"]+)" [^\n]*error="no answer in time"',
                          relay.daemon.log()))
    return {what for what in relay.api.taken.copy() if what[1] in late}


@pytest.mark.parametrize("idempotent", [True, False],
                         ids=["idempotent", "plain"])
def test_api_troubles(relays, balance, idempotent):
    relay = relays(idempotent, tls=True)
    load = start_load(relay, "weather", messages=10**6)
    seed = relay.api.weather(SECONDS)
    load.stop()
    load.join()
    relay.postfix.deliver_all(DRAIN_SECONDS)
    relay.api.unsure |= answered_too_late(relay)
    balance(f"API troubles, {'idempotent' if idempotent else 'plain'}",
            relay, load, plain=not idempotent)
    assert {name for name, trouble in relay.api.troubles.items()
            if trouble.meets} <= set(relay.api.hits), seed


# --- ours and Postfix' processes die ---------------------------------------


def test_daemon_killed(relays, balance):
    relay = relays()

    def kill():
        relay.daemon.kill()
        relay.daemon.start()

    load = start_load(relay, "kill", seconds=SECONDS / 4)
    with again_and_again(2, kill) as kills:
        load.join()
    balance("kill -9 of txmilter", relay, load)
    assert len(kills) >= 5


def test_daemon_restarted(relays, balance):
    relay = relays()
    load = start_load(relay, "restart")
    for _ in range(20):
        relay.daemon.restart()
        time.sleep(0.5)
    load.join()
    balance("20 restarts of txmilter", relay, load)


def test_queue_manager_killed(relays, balance):
    relay = relays()
    load = start_load(relay, "qmgr", seconds=SECONDS / 4)
    with again_and_again(2, lambda: relay.postfix.kill("qmgr")) as kills:
        load.join()
    balance("kill -9 of qmgr", relay, load)
    assert sum(kills) >= 5


# --- the disk is full ------------------------------------------------------


def fill(path):
    """Until there is no room for a byte."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while f.write(bytes(size)) == size:
                    pass
            except OSError as e:
                assert e.errno == errno.ENOSPC, e


def test_disk_full(relays, balance):
    """In waves: smtpd looks for room before a message, so a disk that just
    stays full meets no message that is half written."""
    relay = relays(postfix={"queue_size": 128 << 20})
    ballast = relay.postfix.queue / "ballast"
    load = start_load(relay, "disk", seconds=30)
    time.sleep(5)
    for _ in range(5):
        fill(ballast)
        time.sleep(2)
        ballast.unlink()
        time.sleep(0.3)
    load.join()
    balance("disk full", relay, load)
    assert any("4.3.1" in reply or "4.3.0" in reply
               for reply in load.replies())


# --- many recipients -------------------------------------------------------


def test_thousand_recipients(relays, balance, request):
    """Beside the load of others: 3 the API refuses, 5 it takes later."""
    relay = relays()
    everybody = [f"many{i}@there.example" for i in range(1000)]
    refused, later = everybody[100:400:100], everybody[500:1000:100]
    back = time.monotonic() + 15
    relay.api.refuse = {r: 400 for r in refused}
    relay.api.later = {r: back for r in later}
    load = start_load(relay, "beside")
    many = start_load(relay, "many", sessions=2, messages=2, rate=0,
                      recipients=lambda n: everybody)
    many.join()
    load.join()
    balance("beside 1000 recipients", relay, load)
    ledger = Ledger("1000 recipients", many, relay.api, relay.postfix.sink)
    request.config.count_rows.append(ledger.row())
    assert not ledger.problems(), ledger.row()
    for sent in many.sent:
        got = {r: relay.api.first[id, r] for id, r in relay.api.first
               if id == sent.id}
        assert len([r for r, when in got.items() if when < back]) == 992
        assert sorted(r for r, when in got.items() if when >= back) == \
            sorted(later)
        assert sorted(r for id, r in ledger.ndrs if id == sent.id) == \
            sorted(refused)


# --- forgeries -------------------------------------------------------------


def queued_headers(relay, key):
    """A message's header as it is in the queue while the API is away, with a
    plan that verifies; then it is let go."""
    relay.api.trouble("503")
    sent = Load(relay, key, "genuine", sessions=1, messages=1,
                message=message).run().sent[0]
    assert sent.accepted
    [queue_id] = relay.postfix.queue_ids()
    head = relay.postfix.postcat("-qh", queue_id)
    relay.api.trouble(None)
    relay.postfix.flush()
    relay.postfix.wait_until_empty()
    assert relay.api.taken == {(sent.id, sent.recipients[0]): 1}
    return head, sent


def plan_of(head):
    """The headers of the plan as they are, folds and all."""
    return re.findall(r"^X-Txmilter-Plan:.*\n(?:[ \t].*\n)*", head, re.M)


def test_forged_by_a_client(relays, balance):
    """Headers of ours in what a client sends: a way to a sink, a plan of
    another message that verifies, and nonsense."""
    relay = relays()
    head, _ = queued_headers(relay, known_key(relay))
    plan = "".join(plan_of(head)).replace("\n", "\r\n").encode()
    sink = f"smtp:[127.0.0.1]:{relay.postfix.sink.port}"
    forged = [b"".join(headers) for headers in (
        (f"X-Txmilter-Route: {sink}\r\n".encode(),),
        (f"x-txmilter-ROUTE : {sink}\r\n".encode(), plan),
        (plan, plan),
        (plan.replace(b"X-Txmilter", b"x-tXmilter"),),
        (b"X-Txmilter-Plan: AAAA\r\n", b"X-Txmilter-Route: discard:\r\n"),
    )]
    load = start_load(relay, "forged", message=lambda id, recipients: forged[
        int(id[-6:]) % len(forged)] + message(id, recipients))
    load.join()
    balance("forged by clients", relay, load)
    assert not relay.postfix.sink.messages
    logged = len(re.findall(r": forged headers=[12]\b", relay.daemon.log()))
    assert logged >= len(load.sent)


UNREADABLE = 451, b"4.3.5"  # it waits: the secret may come back
NOT_OURS = 550, b"5.7.1"


def altered(head, sent, number):
    """(header, recipient, body, answer): the same message, but for one
    thing."""
    r = random.Random(number)
    plan = "".join(plan_of(head))
    first = plan.index(":") + 2
    place = r.choice([i for i in range(first, len(plan))
                      if plan[i].isalnum()])
    other = r.choice([c for c in "ABCXYZabcxyz0189" if c != plan[place]])
    changes = {
        "recipient": plan,
        "body": plan,
        "a character": plan[:place] + other + plan[place + 1:],
        "its end": plan[:place] + "\n",
        "all": "X-Txmilter-Plan: " + "A" * r.randrange(1, 2000) + "\n",
        "no plan": "",
    }
    name = r.choice(sorted(changes))
    to = "else@there.example" if name == "recipient" else sent.recipients[0]
    body = "<p>another</p>" if name == "body" else f"<p>{sent.id}</p>"
    answer = NOT_OURS if name in ("recipient", "no plan") else UNREADABLE
    return head.replace(plan, changes[name]), to, body, answer


def test_altered_in_the_queue(relays):
    """Delivered to the agent by hand, as if Postfix' queue had been written
    to."""
    relay = relays()
    head, sent = queued_headers(relay, known_key(relay))
    taken = dict(relay.api.taken)
    wrong = []

    def session(numbers):
        with smtplib.LMTP(str(relay.daemon.lmtp_socket)) as lmtp:
            for number in numbers:
                text, to, body, want = altered(head, sent, number)
                lmtp.ehlo_or_helo_if_needed()
                lmtp.mail(SENDER)
                lmtp.rcpt(to)
                code, answer = lmtp.data(f"{text}\n{body}\n")
                if (code, answer[:5]) != want:
                    wrong.append((number, want, code, answer))

    threads = [threading.Thread(target=session, args=(range(n, 1000, 50),))
               for n in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert wrong == []
    assert relay.api.taken == taken
    assert relay.daemon.log().count("delivery result=") >= 1000


# --- the API is away for long ----------------------------------------------

NORMAL_SECONDS = 10
SLOWER_MS = 100
NOTICE = 5  # calls that fail until the API counts as down


@pytest.mark.parametrize("trouble", ["refused", "hang before"])
def test_api_down(relays, balance, trouble):
    """Clients do not feel it, but for those who were calling when it began,
    which with a minute of it or more are less than one in 100."""
    relay = relays(postfix={"backoff": "10s"})
    load = start_load(relay, "down", messages=10**6)
    time.sleep(5)  # until Postfix has its processes
    normal = time.monotonic()
    time.sleep(NORMAL_SECONDS)
    down = time.monotonic()
    relay.api.trouble(trouble)
    time.sleep(DOWN_SECONDS)
    up = time.monotonic()
    relay.api.trouble(None)
    load.stop()
    load.join()
    ledger = balance(f"API down ({trouble}) {DOWN_SECONDS} s", relay, load)
    assert len(ledger.accepted) == len(load.sent)
    for route in range(len(ROUTES)):
        def on_route(sent):
            return sent.number % len(ROUTES) == route
        before = load.latencies(normal, down, on_route)
        during = load.latencies(down, up, on_route)
        bound = percentile(before, 0.99) + SLOWER_MS / 1000
        slow = [s for s in during if s > bound]
        print(f"{ROUTES[route]}: p99 {percentile(before, 0.99):.3f} s, while "
              f"it was down {percentile(during, 0.99):.3f} s; {len(slow)} of "
              f"{len(during)} were over {bound:.3f} s")
        assert len(slow) <= max(len(during) / 100, load.sessions + NOTICE)


# --- what the ledger sees --------------------------------------------------

BOUNCE = """\
From: MAILER-DAEMON
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example.test

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.6.0

--x
Content-Type: message/rfc822

Subject: {id}

hello
--x--
"""


class FakeSink:
    def __init__(self, bounces=(), others=()):
        self.messages = [
            type("M", (), {"sender": "", "recipients": [SENDER], "data":
                           BOUNCE.format(id=id, to=to).encode()})
            for id, to in bounces]
        self.messages += [
            type("M", (), {"sender": SENDER, "recipients": [to],
                           "data": f"Subject: {id}\n\nx".encode()})
            for id, to in others]


class FakeLoad:
    label = "x"
    opened, elapsed = 1, 1

    def __init__(self, *codes):
        """A message for each; None is a connection that broke."""
        self.sent = [Sent(f"x-{i:06}", ["a@b.example"])
                     for i in range(len(codes))]
        for sent, code in zip(self.sent, codes):
            sent.attempts = [Attempt(0, code and Reply(code, "", ""), "dot")]


ONE = ("x-000000", "a@b.example")
OTHER = ("x-000000", "else@b.example")
# Codes, taken, bounced, left by the sink, the problem.
LEDGER = [
    ("arrived", [250], [ONE], [], [], ""),
    ("lost", [250], [], [], [], "lost"),
    ("bounced", [250], [], [ONE], [], ""),
    ("bounced twice", [250], [], [ONE, ONE], [], "twice"),
    ("bounced and arrived", [250], [ONE], [ONE], [], "stray"),
    ("twice", [250], [ONE, ONE], [], [], "twice"),
    ("refused", [550], [], [], [], ""),
    ("refused and arrived", [550], [ONE], [], [], "against"),
    ("nobody knows", [None], [ONE], [], [], ""),
    ("nobody knows, twice", [None], [ONE, ONE], [], [], "twice"),
    ("for another one", [250], [ONE, OTHER], [], [], "stray"),
    ("left by the sink", [250], [ONE], [], [ONE], "stray"),
    ("of another run", [250], [ONE, ("y-000000", "a@b.example")], [],
     [("y-000001", "a@b.example")], ""),
]


@pytest.mark.parametrize("codes,taken,bounces,left,problem",
                         [row[1:] for row in LEDGER],
                         ids=[row[0] for row in LEDGER])
def test_ledger(codes, taken, bounces, left, problem):
    api = CountingApi()
    api.taken.update(taken)
    ledger = Ledger("x", FakeLoad(*codes), api, FakeSink(bounces, left))
    found = [p.split()[1].rstrip(":") for p in ledger.problems()]
    assert found == ([problem] if problem else [])


def test_ledger_excuses_what_could_not_be_known():
    api = CountingApi()
    api.taken.update([ONE, ONE])
    api.unsure.add(ONE)
    assert Ledger("x", FakeLoad(250), api).twice == [ONE]
    assert Ledger("x", FakeLoad(250), api, plain=True).excused == [ONE]


def test_bounce_is_understood():
    assert bounced(BOUNCE.format(id="i", to="a@b.example").encode()) == \
        ("i", ["a@b.example"])
