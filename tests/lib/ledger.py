# SPDX-License-Identifier: MIT
"""Balances what clients were told against what arrived.

    ledger = Ledger("API kills", load, relay.api, relay.postfix.sink)
    ledger.row()        # a line of table()
    ledger.problems()   # [] when nothing is lost, twice, or where it must not

What arrived is what the API took and what sinks of transports hold; a bounce
(NDR) that reached the sender's sink stands for a delivery that was refused.
"""

import email
from collections import Counter

from relay import SENDER

HEADS = ("run", "messages", "sessions", "250", "5xx", "neither", "recipients",
         "arrived", "NDR", "lost", "twice", "excused", "5xx yet arrived",
         "stray", "seconds")


class Ledger:
    """plain: the API takes what it is sent, so what it took without being
    able to say so may come twice. crashed: so may anything, at a plain API,
    for our own memory of it was killed.
    transports: sinks whose mail is wanted; in others it is stray."""

    def __init__(self, name, load, api, sink=None, plain=False, crashed=False,
                 transports=()):
        self.name = name
        self.load = load
        self.arrived = Counter({k: n for k, n in api.taken.copy().items()
                                if self._ours(k[0])})
        self.stray = [("garbled", g[:200]) for g in api.garbled]
        self.ndrs = Counter()
        for s in transports:
            self._deliveries(s)
        if sink is not None:
            self._bounces(sink)
        may = set(api.taken) if crashed else api.unsure
        self._balance(may if plain else set())

    def _ours(self, id):
        return id.startswith(self.load.label + "-")

    def _deliveries(self, sink):
        for m in list(sink.messages):
            subject = email.message_from_bytes(m.data)["Subject"] or ""
            if self._ours(subject):
                self.arrived.update((subject, r) for r in m.recipients)

    def _bounces(self, sink):
        for m in list(sink.messages):
            if m.sender == "" and m.recipients == [SENDER]:
                id, recipients = bounced(m.data)
                if self._ours(id):
                    self.ndrs.update((id, r) for r in recipients)
                    continue
            subject = email.message_from_bytes(m.data)["Subject"] or ""
            if self._ours(subject):
                self.stray.append(("left", subject, m.recipients))

    def _balance(self, may_be_twice):
        sent = self.load.sent
        self.accepted = [s for s in sent if s.accepted]
        self.refused = [s for s in sent if s.refused]
        owed = _pairs(self.accepted)
        self.lost = [k for k in owed
                     if not self.arrived[k] and not self.ndrs[k]]
        twice = [k for k, n in self.arrived.items() if n > 1] + \
            [k for k, n in self.ndrs.items() if n > 1]
        self.excused = [k for k in twice if k in may_be_twice]
        self.twice = [k for k in twice if k not in may_be_twice]
        # Where the first answer never came, the second one says nothing.
        self.against = [k for k in _pairs(s for s in self.refused
                                          if not s.unsure)
                        if self.arrived[k]]
        known = set(_pairs(sent))
        both = [k for k in self.ndrs if self.arrived[k]]
        self.stray += [k for k in (*self.arrived, *self.ndrs)
                       if k not in known] + [("both", *k) for k in both]

    def row(self):
        n = len(self.load.sent)
        cells = (self.name, n, self.load.opened, len(self.accepted),
                 len(self.refused), n - len(self.accepted) -
                 len(self.refused), len(_pairs(self.load.sent)),
                 sum(self.arrived.values()), sum(self.ndrs.values()),
                 len(self.lost), len(self.twice), len(self.excused),
                 len(self.against), len(self.stray),
                 f"{self.load.elapsed:.0f}")
        return "| " + " | ".join(map(str, cells)) + " |"

    def problems(self):
        """Text about each kind of entry that must not be."""
        found = [(what, getattr(self, what))
                 for what in ("lost", "twice", "against", "stray")]
        return [f"{len(v)} {what}: {v[:5]}" for what, v in found if v]


def table(rows):
    return "\n".join(["| " + " | ".join(HEADS) + " |",
                      "|" + "---|" * len(HEADS), *rows])


def _pairs(messages):
    return [(s.id, r) for s in messages for r in s.recipients]


def bounced(data):
    """(id of the message, recipients) of a bounce of Postfix."""
    id, recipients = "", []
    for part in email.message_from_bytes(data).walk():
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            recipients += [b["Final-Recipient"].split(";")[1].strip()
                           for b in part.get_payload()
                           if b["Action"] == "failed"]
        elif kind == "message/rfc822":
            id = part.get_payload(0)["Subject"] or ""
        elif kind == "text/rfc822-headers":
            id = email.message_from_string(part.get_payload())["Subject"]
    return id, recipients
