# SPDX-License-Identifier: MIT
"""Many SMTP sessions at once, and what each message was answered.

    load = Load(relay, key, "kills", seconds=120, rate=60)
    load.start(); ...; load.join()
    load.sent                           # a Sent for each message

A session logs in under TLS, sends some messages and hangs up; then the next
begins.  Like a mail server it sends a message that was not answered for good
again, the same bytes with the same Message-ID, until `patience` is over.

A message's id is its subject, and in its body.
"""

import random
import re
import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import mail
from relay import SENDER
from smtp_client import Rejected, SmtpClient, parse


@dataclass
class Attempt:
    start: float  # of the transaction; time.monotonic()
    reply: object = None  # Reply; None: the connection broke
    stage: str = "connect"  # where it ended: connect, envelope, dot
    latency: float = 0  # seconds from the final dot to its reply


@dataclass
class Sent:
    id: str
    recipients: list
    attempts: list = field(default_factory=list)

    def _codes(self):
        return [a.reply.code for a in self.attempts if a.reply]

    @property
    def accepted(self):
        return 250 in self._codes()

    @property
    def refused(self):
        """For good, and was so each time it was answered."""
        return any(500 <= c < 600 for c in self._codes()) and \
            not self.accepted

    @property
    def unsure(self):
        """Once the answer to the final dot did not come."""
        return any(a.stage == "dot" and a.reply is None
                   for a in self.attempts)

    @property
    def number(self):
        return int(self.id[-6:])


def one_recipient(number):
    return [f"r{number}@there.example"]


def _kind(attempt):
    if attempt.reply is None:
        return f"broken at {attempt.stage}"
    return re.sub(r"queued as \w+|\d+ of \d+|<.*?>", "..",
                  str(attempt.reply))[:70]


class Load:
    """rate: messages a second in all, 0 for as many as go; it ends when there
    were `messages` and `seconds` are over. patience: seconds that one message
    is tried for; 0: once. message(id, recipients) makes the bytes."""

    def __init__(self, relay, key, label, sessions=50, messages=1000,
                 seconds=0, rate=0, recipients=one_recipient, patience=120,
                 per_session=20, message=None, port="587"):
        self.port = relay.postfix.port(port)
        self.key = key
        self.label = label  # the ids begin with it
        self.sessions = sessions
        self.messages = messages
        self.seconds = seconds
        self.rate = rate
        self.recipients = recipients
        self.patience = patience
        self.per_session = per_session
        self.message = message or plain_message
        self.sent = []
        self.opened = 0  # sessions that came to MAIL
        self.failed_logins = Counter()  # reply -> times
        self.begun = self.ended = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,),
                                          daemon=True)
                         for i in range(sessions)]

    def start(self):
        self.begun = time.monotonic()
        for t in self._threads:
            t.start()
        return self

    def stop(self):
        """No new message is begun."""
        self._stop.set()

    def join(self, timeout=300):
        deadline = time.monotonic() + timeout
        for t in self._threads:
            t.join(max(deadline - time.monotonic(), 0))
            assert not t.is_alive(), f"{self.label}: a session hangs"
        self.ended = time.monotonic()
        return self

    def run(self):
        return self.start().join()

    # --- looking -----------------------------------------------------------

    @property
    def elapsed(self):
        return self.ended - self.begun

    def latencies(self, since=0, until=float("inf"), of=lambda sent: True):
        """Of the final dots of what was begun in that time."""
        return sorted(a.latency for s in list(self.sent) if of(s)
                      for a in s.attempts
                      if a.stage == "dot" and since <= a.start < until)

    def replies(self):
        """What was answered, without what differs each time -> how often."""
        return Counter(_kind(a) for s in self.sent for a in s.attempts)

    # --- a session's thread ------------------------------------------------

    def _next(self):
        """The next message when it is due; None: no more."""
        with self._lock:
            n = len(self.sent)
            now = time.monotonic() - self.begun
            if self._stop.is_set() or (n >= self.messages and
                                       now >= self.seconds):
                return None
            sent = Sent(f"{self.label}-{n:06}", self.recipients(n))
            self.sent.append(sent)
        due = n / self.rate if self.rate else 0
        time.sleep(max(self.begun + due - time.monotonic(), 0))
        return sent

    def _work(self, number):
        session = _Session(self)
        jitter = random.Random(number)
        while (sent := self._next()) is not None:
            self._deliver(session, sent, jitter)
        session.quit()

    def _deliver(self, session, sent, jitter):
        data = self.message(sent.id, sent.recipients)
        give_up = time.monotonic() + self.patience
        pause = 0.1
        while True:
            attempt = Attempt(time.monotonic())
            sent.attempts.append(attempt)
            session.attempt(sent.recipients, data, attempt)
            if attempt.reply and attempt.reply.code // 100 in (2, 5):
                return
            if time.monotonic() >= give_up:
                return
            time.sleep(pause * jitter.uniform(0.5, 1.5))
            pause = min(pause * 2, 2)


def percentile(values, share):
    """Of sorted values."""
    return values[min(int(len(values) * share), len(values) - 1)]


class _Session:
    def __init__(self, load):
        self.load = load
        self.client = None
        self.left = 0  # messages to send on this connection

    def attempt(self, recipients, data, attempt):
        try:
            if self.client is None:
                self._open()
            attempt.stage = "envelope"
            attempt.reply = self._transaction(recipients, data, attempt)
            self._after(attempt.reply)
        except Rejected as e:
            # A login that fails says nothing about the message.
            self.load.failed_logins[str(e.reply)] += 1
            self._drop()
        except (OSError, smtplib.SMTPException):
            self._drop()

    def _open(self):
        self.client = SmtpClient(self.load.port, self.load.key, timeout=120)
        self.left = self.load.per_session
        with self.load._lock:
            self.load.opened += 1

    def _transaction(self, recipients, data, attempt):
        c = self.client
        reply = c.command(f"MAIL FROM:<{SENDER}>")
        for r in recipients:
            if reply.code != 250:
                return reply
            reply = c.command(f"RCPT TO:<{r}>")
        if reply.code != 250:
            return reply
        reply = c.command("DATA")
        if reply.code != 354:
            return reply
        attempt.stage = "dot"
        c.send_bytes(data)
        start = time.monotonic()
        reply = parse(*c.getreply())
        attempt.latency = time.monotonic() - start
        return reply

    def _after(self, reply):
        """Like a mail server it comes again later, in a new session: one in
        which a milter failed is answered 451 to its end."""
        self.left -= 1
        if reply.code == 421:
            self._drop()
        elif self.left <= 0 or 400 <= reply.code < 500:
            self.quit()
        elif reply.code != 250:
            self.client.rset()

    def _drop(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def quit(self):
        try:
            if self.client is not None:
                self.client.quit()
        except (OSError, smtplib.SMTPException):
            pass
        self._drop()


def plain_message(id, recipients, **more):
    """As DATA wants it, with the final dot."""
    return mail.message(f"<p>{id}</p>", to=recipients[0], subject=id,
                        message_id=f"<{id}@customer.example>", **more) + \
        b"\r\n.\r\n"
