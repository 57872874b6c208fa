# SPDX-License-Identifier: MIT
"""What applications really send with: each client of tests/clients sends the
same messages its usual way, through STARTTLS and AUTH, and the same result is
wanted from all."""

import json
import re
import sys
from email.utils import parseaddr
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from clients import CLIENTS

SENDER = {"name": "The Shop", "address": "shop@customer.example"}
JANE = {"name": "Jane Smith", "address": "jane@there.example"}
JOE = {"name": "Müller, José", "address": "joe@there.example"}
HELP = {"name": "Help desk", "address": "help@customer.example"}
HIDDEN = {"name": "", "address": "hidden@there.example"}
TEXT = "Hello Jané,\n\nyour order is on its way.\n.\nThe end\n"
HTML = ("<html><body><p>Hello <b>Jané</b>,</p>\n"
        '<p>your <a href="https://shop.example/?a=1&amp;b=2">order</a> is on '
        "its way: " + "x" * 1200 + "</p>\n.\n</body></html>\n")


@pytest.fixture(scope="module")
def work(top_directory):
    path = top_directory / "clients"
    path.mkdir()
    return path


@pytest.fixture(params=CLIENTS, ids=[c.name for c in CLIENTS])
def client(request):
    why = _missing(request.param)
    if why:
        pytest.skip(f"{request.param.name}: {why}")
    return request.param


_known = {}


def _missing(client):
    if client.name not in _known:
        _known[client.name] = client.missing()
    return _known[client.name]


@pytest.fixture
def send(relay, client, work):
    """Sends a message, which the server takes."""
    def send(key, **message):
        done = client.send(work, {
            "host": "localhost", "port": relay.postfix.port("587"),
            "ca": str(relay.postfix.cert), "user": "apikey", "password": key,
            "from": SENDER, "to": [JANE], "cc": [], "bcc": [], "reply_to": [],
            "subject": "Your order", "text": TEXT, "html": HTML,
            "headers": {}, "attachments": [], "inline": [], "utf8": False,
            **message})
        assert done.returncode == 0, done.stderr + done.stdout
    return send


def lines(text):
    """Clients end the last line of a part or do not; ruby_mail encodes the CR
    of CR LF."""
    return re.sub("\r+\n", "\n", text).rstrip("\n")


def test_emaildelivery(relay, send):
    key = relay.new_key(["main", "other"])
    send(key, to=[JANE, JOE], bcc=[HIDDEN], reply_to=[HELP], headers={
        "X-Transactional-Tag": "Order.shipped",
        "X-Transactional-Route": "other",
        "X-Transactional-Variables": json.dumps({"name": "Jané", "n": 1})})
    documents = {d["to"]: d for d in relay.api.sends}
    assert len(relay.api.sends) == 3
    for who in (JANE, JOE, HIDDEN):
        document = documents[who["address"]]
        assert lines(document.pop("body")) == lines(HTML)
        # As text it is what the library makes of it.
        assert parseaddr(document.pop("replyto")) == (HELP["name"],
                                                      HELP["address"])
        assert document == {
            "to": who["address"], "toname": who["name"],
            "fromname": SENDER["name"], "fromemail": SENDER["address"],
            "returnpath": SENDER["address"], "subject": "Your order",
            "tag": "order.shipped", "route": "other",
             "variables": {"name": "Jané", "n": 1}}
