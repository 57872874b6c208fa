# SPDX-License-Identifier: MIT
"""A stand-in for the e-mail service provider's HTTP API (EmailDelivery).

    api = FakeApi()
    api.accounts["key-1"] = Account("Acme", [Route("r1", "Main")])
    api.start()                         # api.url, api.port
    api.fault("send", to="x@y.example", status=500)
    api.sends                           # what was accepted: JSON documents
    api.requests                        # everything that arrived
    api.url_of("sparkpost")             # it is other providers' API there
    api.taken("sparkpost")              # the requests that took effect

It checks in the order of the real one and answers with its words.  Whether a
message was "taken" does not depend on whether the answer got through: a fault
with after=True acts, then spoils the answer.
"""

import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from email.utils import parseaddr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fake_formats
import net

TAGS_MAX = 400


@dataclass
class Route:
    id: str
    name: str
    published: bool = True


@dataclass
class Account:
    name: str
    routes: list = field(default_factory=list)
    templates: dict = field(default_factory=dict)  # id -> {"subject": ...}
    tags: set = field(default_factory=set)
    gone: bool = False
    plan_limit: str = ""


@dataclass
class Request:
    method: str
    path: str
    headers: list  # (name, value) as they came
    body: bytes
    key: str
    time: float
    connection: tuple
    json: object = None
    status: int = 0  # what was answered; 0: nothing
    taken: bool = False  # a send that took effect
    query: str = ""
    format: object = None  # of fake_formats; None: EmailDelivery's

    def header(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()),
                    None)

    @property
    def recipient(self):
        """Of a send; None when it is none."""
        if self.format is not None:
            return self.format.recipient(self.json)
        return self.json.get("to") if isinstance(self.json, dict) else None


@dataclass
class Fault:
    """What goes wrong for a request that matches. Nothing set: nothing.

    path      "send", "userroutes", "ping", or None for all
    to, key   only for this recipient, with this key
    times     how often; None is for ever
    status    answered instead (body: an object, bytes, or the API's own)
    headers   more of the answer
    delay     seconds before anything else
    hang      no answer until the API stops or release() is called
    reset     the connection is reset instead of an answer
    truncate  the answer ends in its middle
    raw       these bytes are the answer
    after     the request takes effect first
    """

    path: str = None
    to: str = None
    key: str = None
    times: int = None
    status: int = None
    body: object = None
    headers: dict = field(default_factory=dict)
    delay: float = 0
    hang: bool = False
    reset: bool = False
    truncate: bool = False
    raw: bytes = None
    after: bool = False
    hits: int = 0

    def matches(self, request):
        return ((self.path is None or request.path.endswith(self.path)) and
                (self.key is None or request.key == self.key) and
                (self.to is None or request.recipient == self.to) and
                (self.times is None or self.hits < self.times))


class Refused(Exception):
    def __init__(self, status, title=None, description=None):
        super().__init__(status)
        reason = {401: "Unauthorized", 403: "Forbidden",
                  404: "Not Found", 405: "Method Not Allowed",
                  500: "Internal Server Error"}.get(status, "Bad Request")
        self.status = status
        self.document = {"title": title or f"{status} {reason}"}
        if description:
            self.document["description"] = description


class FakeApi:
    def __init__(self):
        self.accounts = {}  # key -> Account
        self.requests = []
        self.port = None
        self.reset_connections = False  # before anything is read
        self._faults = []
        self._lock = threading.Lock()  # guards requests, faults, tags
        self._release = threading.Event()
        self._server = None
        self._connections = set()
        self.formats = fake_formats.Formats()

    # --- running -----------------------------------------------------------

    @property
    def url(self):
        return self.url_of("api")

    def url_of(self, format):
        return f"http://127.0.0.1:{self.port}/{format}"

    def start(self):
        """Listens on a free port, or on the one it had."""
        self._release.clear()
        self._server = _Server(("127.0.0.1", self.port or 0), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever,
                         kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self, reset=False):
        """Down: connections are closed (or reset), new ones refused."""
        if self._server is None:
            return
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for conn in list(self._connections):
            _reset(conn) if reset else _close(conn)
        net.wait_until(lambda: not self._connections, 5, 0.002)

    def release(self):
        """Lets the requests go on that hang now."""
        self._release.set()
        self._release = threading.Event()

    # --- scripting and looking ---------------------------------------------

    def fault(self, path=None, **what):
        """Adds a fault; the first that matches a request acts."""
        fault = Fault(path, **what)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self):
        self.reset_connections = False
        with self._lock:
            self._faults.clear()
        self.release()

    def forget(self):
        """Forgets the requests, for the next test."""
        with self._lock:
            self.requests.clear()

    def calls(self, path):
        with self._lock:
            return [r for r in self.requests if r.path.endswith(path)]

    def sends_to(self, recipient):
        """Calls for a recipient, whatever became of them."""
        return [r for r in self.calls("send") if r.recipient == recipient]

    def taken(self, format):
        """Requests of a format that took effect."""
        with self._lock:
            return [r for r in self.requests
                    if r.taken and r.format and r.format.name == format]

    @property
    def sends(self):
        """The JSON documents of the messages that took effect."""
        return [r.json for r in self.calls("send") if r.taken]

    # --- a request ---------------------------------------------------------

    def _serve(self, handler, request):
        with self._lock:
            self.requests.append(request)
            fault = next((f for f in self._faults if f.matches(request)),
                         Fault())
            fault.hits += 1
        time.sleep(fault.delay)
        status, document = None, None
        if fault.after or fault.status is None:
            status, document = self._act(request, fault)
        if fault.hang:
            self._release.wait()
        if fault.reset:
            _reset(handler.connection)
            return
        if fault.status is not None:
            status, document = fault.status, fault.body
            if document is None:
                document = Refused(status).document
        request.status = status
        _answer(handler, fault, status, document)

    def _act(self, request, fault):
        """What the real API does. A request that will be reset or spoiled
        beforehand has no effect."""
        spoiled = (fault.reset or fault.hang or fault.truncate or
                   fault.raw is not None)
        if spoiled and not fault.after:
            return 200, {}
        try:
            with self._lock:
                document = self._dispatch(request)
            return 200, document
        except (Refused, fake_formats.Refused) as e:
            return e.status, e.document

    def _dispatch(self, request):
        if request.format is not None:
            return self._send_as(request)
        account = self.accounts.get(request.key)
        if account is None:
            raise Refused(401, "Invalid login", "Please log in again")
        place = request.method, request.path
        if place == ("POST", "/api/transactional/send"):
            return self._send(request, account)
        if place == ("GET", "/api/userroutes"):
            return [{"name": r.name, "id": r.id}
                    for r in account.routes if r.published]
        if place[1] == "/api/ping":
            return [{"name": account.name}]
        raise Refused(404)

    def _send_as(self, request):
        if request.key not in self.accounts:
            request.format.unknown_key()
        assert request.header("Content-Type") == "application/json"
        answer, request.taken = request.format.send(request)
        return answer

    def _send(self, request, account):
        doc = _document(request)
        answer = _check(doc, account)
        request.taken = True
        return answer


def _document(request):
    kind = request.header("Content-Type") or ""
    if not kind.startswith("application/json"):
        raise Refused(400, "Not JSON", "Not JSON")
    if request.json is None:
        raise Refused(400, "Malformed JSON", "Malformed JSON")
    if not isinstance(request.json, dict):
        raise Refused(500)
    return request.json


def _check(doc, account):
    """The order is the real one's."""
    template = {}
    if doc.get("template"):
        if doc["template"] not in account.templates:
            raise Refused(403)
        template = account.templates[doc["template"]]
    for name in ("to", "body", "subject", "tag"):
        if not isinstance(doc.get(name) or "", str):
            raise Refused(500)
    missing = "Missing parameter"
    if not doc.get("to"):
        raise Refused(400, missing, "No to email specified.")
    if not doc.get("template") and not doc.get("body"):
        raise Refused(400, missing, "No body specified.")
    if not (doc.get("fromemail") or doc.get("returnpath") or
            template.get("fromemail")):
        raise Refused(400, missing, "No from email specified.")
    if not (doc.get("subject") or template.get("subject")):
        raise Refused(400, missing, "No subject specified.")
    if account.gone:
        raise Refused(403)
    if account.plan_limit:
        raise Refused(400, "Plan limit reached", account.plan_limit)
    _check_route(doc.get("route"), account)
    tag = _check_tag(template.get("tag") or doc.get("tag"), account)
    if "@" not in parseaddr(doc["to"])[1]:
        raise Refused(400, "Invalid to address",
                      "The 'to' address specified is invalid")
    return {"tag": tag, "to": doc["to"], "result": "ok"}


def _check_route(route, account):
    published = [r.id for r in account.routes if r.published]
    if route and route not in published or not published:
        raise Refused(403)


def _check_tag(tag, account):
    tag = (tag or "").strip().lower() or "untagged"
    if len(tag) > 18 or re.search(r"[^a-z0-9._-]", tag):
        raise Refused(400, "Missing parameter", "Invalid tag.")
    if tag not in account.tags and len(account.tags) >= TAGS_MAX:
        raise Refused(400, "Too many transactional tags",
                      "Too many transactional tags")
    account.tags.add(tag)
    return tag


# --- HTTP ------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address, api):
        self.api = api
        super().__init__(address, _Handler)

    def process_request_thread(self, request, client_address):
        if self.api.reset_connections:
            _reset(request)
            return
        self.api._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.api._connections.discard(request)

    def handle_error(self, request, client_address):
        pass  # resets are what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one segment

    def _any(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._read_chunks()
        else:
            body = self.rfile.read(length)
        request = Request(self.command, self.path.split("?")[0],
                          self.headers.items(), body,
                          self.headers.get("X-Auth-APIKey", ""), time.time(),
                          self.client_address)
        request.query = self.path.partition("?")[2]
        request.format = self.server.api.formats.find(request.path)
        if request.format is not None:
            request.key = request.format.key(request)
        try:
            request.json = json.loads(body) if body else None
        except ValueError:
            pass
        self.server.api._serve(self, request)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

    def _read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *args):
        pass


def _answer(handler, fault, status, document):
    if fault.raw is not None:
        handler.wfile.write(fault.raw)
        handler.wfile.flush()
        handler.close_connection = True
        return
    body = document if isinstance(document, bytes) else \
        json.dumps(document).encode()
    handler.send_response(status)
    headers = {"Content-Type": "application/json",
               "Content-Length": str(len(body)), **fault.headers}
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body[:len(body) // 2] if fault.truncate else body)
    if fault.truncate:
        handler.wfile.flush()
        handler.close_connection = True


def _close(conn):
    try:
        conn.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _reset(conn):
    """An RST instead of a FIN."""
    try:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        conn.shutdown(socket.SHUT_RD)
        conn.close()
    except OSError:
        pass
