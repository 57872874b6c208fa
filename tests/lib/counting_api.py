# SPDX-License-Identifier: MIT
"""A stand-in for the provider's API that counts: which message it took, for
whom, how often, while everything goes wrong that can.

    api = CountingApi(idempotent=True)
    api.start()                         # api.url; accounts as of FakeApi
    api.trouble("hang after"); ...; api.trouble(None)
    api.weather(120, seed=7)            # troubles in turns, for 120 s
    api.taken[("run-17", "jane@x.example")]

A message is known by its subject, which is its id (load.py); its body holds
the id too.  An idempotent API answers a request whose Idempotency-Key it has
taken as it did, and takes nothing; a plain one takes whatever comes.

One thread with an event loop; its own files speak only to that thread.
"""

import asyncio
import json
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import net


@dataclass(frozen=True)
class Trouble:
    """What happens to each request. act:

    closed   the port is closed, open connections are reset
    unread   a connection is reset when something is to be read
    tls      the certificate is another one (with https only)
    reset    the connection is reset instead of an answer
    status   this status, without having looked at the request
    hang     no answer; the connection is reset when the trouble is over
    half     the answer ends in its middle

    takes: the request takes effect first.
    """

    act: str
    takes: bool = False
    status: int = 0
    headers: dict = field(default_factory=dict)

    @property
    def meets(self):
        """Whether requests come so far that they are counted."""
        return self.act not in ("closed", "tls")


TROUBLES = {
    "refused": Trouble("closed"),
    "reset unread": Trouble("unread"),
    "reset before": Trouble("reset"),
    "reset after": Trouble("reset", takes=True),
    "500 before": Trouble("status", status=500),
    "500 after": Trouble("status", takes=True, status=500),
    "429": Trouble("status", status=429, headers={"Retry-After": "1"}),
    "503": Trouble("status", status=503),
    "hang before": Trouble("hang"),
    "hang after": Trouble("hang", takes=True),
    "half": Trouble("half", takes=True),
}
TLS_TROUBLE = {"tls": Trouble("tls")}


class CountingApi:
    """tls: a directory to write certificates to; then it speaks https, and
    what it is to be trusted by is ca_file. delay: seconds between taking a
    message and saying so."""

    def __init__(self, idempotent=True, tls=None, delay=0):
        self.idempotent = idempotent
        self.delay = delay
        self.accounts = {}  # key -> fake_api.Account
        self.port = net.free_port()
        self.troubles = {**TROUBLES, **(TLS_TROUBLE if tls else {})}
        self.refuse = {}  # recipient -> status
        self.later = {}  # recipient -> 503 until this time (monotonic)
        # What happened. Of sends only:
        self.taken = Counter()  # (id, recipient) -> times
        self.first = {}  # (id, recipient) -> time.monotonic()
        self.unsure = set()  # of these a taken one was not acknowledged
        self.calls = Counter()  # (id, recipient) -> requests, taken or not
        self.refusals = Counter()  # (id, recipient) -> 4xx for good
        self.garbled = []  # documents that are no whole message of ours
        self.hits = Counter()  # trouble or None -> requests it met
        self._answers = {}  # Idempotency-Key -> what was answered
        self._trouble = None
        self._name = None
        self._connections = set()
        self._server = None
        self._tls = _Certificates(tls) if tls else None
        self._loop = None

    @property
    def url(self):
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/api"

    @property
    def ca_file(self):
        return self._tls.ca_file

    # --- running -----------------------------------------------------------

    def start(self):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._listen())

    def stop(self):
        if self._loop is None:
            return
        self._call(self._silence())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = None

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(
            coroutine, self._loop).result(10)

    async def _listen(self):
        if self._server is None:
            self._server = await self._loop.create_server(
                lambda: _Connection(self), "127.0.0.1", self.port,
                backlog=1024, reuse_address=True,
                ssl=self._tls.context if self._tls else None)

    async def _silence(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset_all()

    def _reset_all(self):
        for connection in list(self._connections):
            connection.reset()

    # --- troubles ----------------------------------------------------------

    def trouble(self, name):
        """From now on; None: all is well."""
        self._call(self._change(name))

    async def _change(self, name):
        before, self._name = self._trouble, name
        self._trouble = self.troubles[name] if name else None
        act = self._trouble.act if name else ""
        for connection in list(self._connections):
            if connection.waits or act == "tls" or \
                    (before and before.act == "tls"):
                connection.reset()
        if self._tls:
            self._tls.fit(act != "tls")
        await (self._silence() if act == "closed" else self._listen())

    def weather(self, seconds, seed=None, spell=1.0):
        """Blocks. Each trouble for a short while in turns with none, until
        each came at least once; none comes twice before all did. Either stays
        until a request met it, for not much is asked of an API that is known
        to be down. Ends in fair weather; the seed."""
        seed = random.randrange(10**6) if seed is None else seed
        print(f"weather of seed {seed} for {seconds:.0f} s", file=sys.stderr)
        r = random.Random(seed)
        end = time.monotonic() + seconds
        spell = min(spell, seconds / 2 / len(self.troubles))
        deck = r.sample(sorted(self.troubles), len(self.troubles))
        seen = 0
        while time.monotonic() < end or seen < len(deck):
            for name in (deck[seen % len(deck)], None):
                before = self.hits[name]
                self.trouble(name)
                time.sleep(spell * r.uniform(0.5, 1.5))
                if name is None or self.troubles[name].meets:
                    net.wait_until(lambda: self.hits[name] > before, 20, 0.1)
            seen += 1
        return seed

    # --- a request, in the loop's thread -----------------------------------

    def _serve(self, connection, request):
        trouble = self._trouble
        self.hits[self._name] += 1
        if trouble is not None and not trouble.takes:
            answer = trouble.status, {"title": "Trouble"}, trouble.headers
            connection.spoil(trouble, answer)
            return
        answer = self._act(request, trouble, connection)
        if trouble is None:
            self._loop.call_later(self.delay, connection.answer, *answer)
            return
        connection.spoil(trouble, (trouble.status or answer[0], answer[1],
                                   trouble.headers))

    def _act(self, request, trouble, connection):
        account = self.accounts.get(request.key)
        if account is None:
            return 401, {"title": "Invalid login"}, {}
        if request.path.endswith("/userroutes"):
            return 200, [{"name": r.name, "id": r.id}
                         for r in account.routes], {}
        if not request.path.endswith("/transactional/send"):
            return 404, {"title": "Not Found"}, {}
        return self._send(request, trouble, connection)

    def _send(self, request, trouble, connection):
        what = self._identify(request.body)
        if what is None:
            return 400, {"title": "Garbled", "description": "Garbled"}, {}
        self.calls[what] += 1
        if request.idempotency in self._answers and self.idempotent:
            return self._answers[request.idempotency]
        to = what[1]
        if to in self.refuse:
            self.refusals[what] += 1
            return self.refuse[to], {"title": "Refused", "description":
                                     f"No mail for {to}"}, {}
        if time.monotonic() < self.later.get(to, 0):
            return 503, {"title": "Later"}, {}
        self.taken[what] += 1
        self.first.setdefault(what, time.monotonic())
        connection.took = what
        if trouble is not None and trouble.takes:
            self.unsure.add(what)
        answer = 200, {"tag": "untagged", "to": to, "result": "ok"}, {}
        self._answers[request.idempotency] = answer
        return answer

    def _identify(self, body):
        """(id, recipient), if the document is of one piece."""
        try:
            doc = json.loads(body)
            what = doc["subject"], doc["to"]
            if f">{what[0]}<" in doc["body"]:
                return what
        except (ValueError, KeyError, TypeError):
            pass
        self.garbled.append(body)
        return None


@dataclass
class _Request:
    path: str
    key: str
    idempotency: str
    body: bytes


class _Connection(asyncio.Protocol):
    def __init__(self, api):
        self.api = api
        self.transport = None
        self.data = bytearray()
        self.waits = False  # an answer that does not come
        self.took = None  # the message last taken
        self.answered = 0  # when; loop's time

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.api._connections.add(self)

    def eof_received(self):
        self._maybe_unheard()

    def connection_lost(self, exc):
        self._maybe_unheard()
        self.api._connections.discard(self)

    def _maybe_unheard(self):
        """Who had no patience any more closes when the answer comes, or did
        before, while we were busy; who heard it keeps the connection for the
        next call, for seconds."""
        if self.took and self.api._loop.time() - self.answered < 2:
            self.api.unsure.add(self.took)

    def data_received(self, data):
        trouble = self.api._trouble
        if trouble is not None and trouble.act == "unread":
            self.api.hits[self.api._name] += 1
            self.reset()
            return
        self.data += data
        while not self.waits and (request := self._parse()) is not None:
            self.api._serve(self, request)

    def _parse(self):
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.data[:end].decode("latin-1")
        length = _header(head, "Content-Length")
        whole = end + 4 + int(length or 0)
        if len(self.data) < whole:
            return None
        request = _Request(head.split(" ", 2)[1].split("?")[0],
                           _header(head, "X-Auth-APIKey"),
                           _header(head, "Idempotency-Key"),
                           bytes(self.data[end + 4:whole]))
        del self.data[:whole]
        return request

    def answer(self, status, document, headers, share=1.0):
        self.answered = self.api._loop.time()
        if self.transport.is_closing() and self.took:
            self.api.unsure.add(self.took)
        body = json.dumps(document).encode()
        more = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        head = (f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{more}\r\n").encode()
        self.transport.write(head + body[:int(len(body) * share)])

    def spoil(self, trouble, answer):
        if trouble.act == "status":
            self.answer(*answer)
        elif trouble.act == "half":
            self.answer(*answer, share=0.5)
            self.transport.close()
        elif trouble.act == "reset":
            self.reset()
        else:
            self.waits = True

    def reset(self):
        """An RST instead of a FIN. It overtakes what was sent just now."""
        if self.took and self.api._loop.time() - self.answered < 1:
            self.api.unsure.add(self.took)
        try:
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.transport.abort()


def _header(head, name):
    match = re.search(rf"^{name}: *(.*?)\r?$", head, re.M | re.I)
    return match[1] if match else ""


class _Certificates:
    """One that fits and one that nobody trusts, for the same context."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "ca.pem"
        self._good = directory / "good.pem"
        self._bad = directory / "bad.pem"
        net.self_signed(directory / "other.pem", self._bad, "localhost")
        net.self_signed(self.ca_file, self._good, "localhost")
        self.ca_file.chmod(0o644)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A resumed session would not look at the certificate again.
        self.context.num_tickets = 0
        self.context.options |= ssl.OP_NO_TICKET
        self.fit(True)

    def fit(self, good):
        self.context.load_cert_chain(self._good if good else self._bad)
