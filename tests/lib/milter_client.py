# SPDX-License-Identifier: MIT
"""A small MTA side of the milter protocol, to drive the daemon without one.

    with MilterClient(path) as m:
        m.negotiate()
        m.mail("a@x.example", auth="acct:keyid")
        m.rcpt("b@y.example")
        m.header("Subject", "hello")
        m.end_of_headers()
        m.body(b"text")
        answer = m.end_of_message("QID1")
        # answer.kind "d", or "y" with answer.text "550 5.6.0 ..."

Steps that the daemon negotiated away are not sent, and steps it does not
answer are not waited for, as Postfix does.
"""

import socket
import struct
from typing import NamedTuple

ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF
CHUNK = 65535

# SMFIP_*: step -> (bit that says it is not wanted, bit: it is not answered)
STEPS = {
    "C": (0x01, 0x1000), "H": (0x02, 0x2000), "M": (0x04, 0x4000),
    "R": (0x08, 0x8000), "B": (0x10, 0x80000), "L": (0x20, 0x80),
    "N": (0x40, 0x40000), "U": (0x100, 0x20000), "T": (0x200, 0x10000),
}
SKIP = 0x400
EDITS = "+-2mheqb"  # answers before the last one at end of message
PROGRESS = "p"


class Answer(NamedTuple):
    kind: str  # c continue, d discard, r/t/y refusals, s skip; "" no answer
    data: bytes = b""
    edits: tuple = ()

    @property
    def text(self):
        return self.data.rstrip(b"\0").decode("utf-8", "replace")

    @property
    def code(self):
        return int(self.text[:3]) if self.kind == "y" else 0


class MilterClient:
    def __init__(self, path, timeout=30):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._in = self._socket.makefile("rb")
        self.actions = self.steps = 0
        self.skipped = False

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def close(self):
        self._in.close()
        self._socket.close()

    # --- packets -----------------------------------------------------------

    def send(self, command, data=b""):
        self.send_bytes(struct.pack("!IB", len(data) + 1, ord(command)) + data)

    def send_bytes(self, data):
        self._socket.sendall(data)

    def receive(self):
        """(kind, data), or None when the other side has closed."""
        head = self._in.read(4)
        if len(head) < 4:
            return None
        data = self._in.read(struct.unpack("!I", head)[0])
        return chr(data[0]), data[1:]

    def closed(self):
        """True when the daemon hangs up (and says nothing more)."""
        try:
            return self.receive() is None
        except ConnectionError:
            return True

    # --- steps -------------------------------------------------------------

    def negotiate(self, version=6, actions=ALL_ACTIONS, steps=ALL_STEPS):
        self.send("O", struct.pack("!III", version, actions, steps))
        answer = self.receive()
        if answer is None:
            raise ConnectionError("hung up at negotiation")
        _, self.actions, self.steps = struct.unpack("!III", answer[1][:12])
        return self

    def macros(self, command, **values):
        """macros("M", auth_authen="x"): names of more than one character are
        put in braces."""
        data = command.encode()
        for name, value in values.items():
            name = name if len(name) == 1 else "{" + name + "}"
            data += _string(name) + _string(value)
        self.send("D", data)

    def step(self, command, data=b""):
        off, silent = STEPS.get(command, (0, 0))
        if self.steps & off:
            return Answer("")
        self.send(command, data)
        return Answer("") if self.steps & silent else self.answer()

    def answer(self):
        edits = []
        while (packet := self.receive()) is not None:
            if packet[0] == PROGRESS:
                continue
            if packet[0] not in EDITS:
                return Answer(packet[0], packet[1], tuple(edits))
            edits.append(packet)
        raise ConnectionError("hung up instead of an answer")

    def connect(self, name="client.example", address="127.0.0.1"):
        return self.step("C", _string(name) + b"4" +
                         struct.pack("!H", 12345) + _string(address))

    def helo(self, name="client.example"):
        return self.step("H", _string(name))

    def mail(self, sender, auth=None, *options):
        self.skipped = False
        if auth is not None:
            self.macros("M", auth_authen=auth, auth_type="PLAIN")
        return self.step("M", b"".join(
            map(_string, (f"<{sender}>", *options))))

    def rcpt(self, recipient, *options):
        return self.step("R", b"".join(
            map(_string, (f"<{recipient}>", *options))))

    def header(self, name, value):
        return self.step("L", _string(name) + _string(value))

    def end_of_headers(self):
        return self.step("N")

    def body(self, data):
        """In chunks, until the daemon has enough of it."""
        last = Answer("")
        for i in range(0, len(data), CHUNK):
            if self.skipped:
                break
            last = self.step("B", data[i:i + CHUNK])
            self.skipped = last.kind == "s"
        return last

    def end_of_message(self, queue_id="TESTQID"):
        self.macros("E", i=queue_id)
        self.send("E")
        return self.answer()

    def abort(self):
        self.send("A")

    def quit(self):
        self.send("Q")

    def message(self, sender, recipients, headers, body, auth=None,
                queue_id="TESTQID"):
        """A whole message; the answer to its end or to the first refusal."""
        answers = [lambda: self.mail(sender, auth)]
        answers += [lambda r=r: self.rcpt(r) for r in recipients]
        answers += [lambda: self.step("T")]
        answers += [lambda h=h: self.header(*h) for h in headers]
        answers += [self.end_of_headers, lambda: self.body(body)]
        for call in answers:
            answer = call()
            if answer.kind in ("r", "t", "y", "d"):
                return answer
        return self.end_of_message(queue_id)


def _string(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"
