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
def deliver(relay, client, work):
    """Sends a message; the finished client."""
    def deliver(key, **message):
        message = {
            "host": "localhost", "port": relay.postfix.port("587"),
            "ca": str(relay.postfix.cert), "user": "apikey", "password": key,
            "from": SENDER, "to": [JANE], "cc": [], "bcc": [], "reply_to": [],
            "subject": "Your order", "text": TEXT, "html": HTML,
            "headers": {}, "attachments": [], "inline": [], "utf8": False,
            **message}
        return client.send(work, {k: v for k, v in message.items()
                                  if v is not None})
    return deliver


@pytest.fixture
def send(deliver):
    """Sends a message, which the server takes."""
    def send(key, **message):
        done = deliver(key, **message)
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


SUBJECTS = [
    ("latin", "Réinitialisation: 50 % « là »"),
    ("long", "Ваш заказ отправлен и уже в пути, " * 4 + "спасибо"),
    ("cjk, an emoji, one long word", "请求 🎉 " + "é" * 120),
]


@pytest.mark.parametrize("subject", [s[1] for s in SUBJECTS],
                         ids=[s[0] for s in SUBJECTS])
def test_subjects(relay, request, client, send, subject):
    """RFC 2047 in both encodings, split at other places by each, and the
    naked bytes of those that send what they are given."""
    if client.name == "python_email" and subject == dict(SUBJECTS)["long"]:
        request.applymarker(pytest.mark.xfail(
            reason="Python 3.11 loses a blank between two encoded words"))
    send(relay.new_key(), subject=subject)
    [document] = relay.api.sends
    assert document["subject"] == subject


def test_smtputf8(relay, client, send):
    """An address that only SMTPUTF8 can carry; some of them then send the
    headers as UTF-8 too."""
    if not client.utf8:
        pytest.skip(f"{client.name} knows no SMTPUTF8")
    jose = {"name": "José", "address": "josé@there.example"}
    send(relay.new_key(), to=[jose], subject="Größe", utf8=True,
         headers={"X-Transactional-Variables": '{"größe":"請求"}'})
    [document] = relay.api.sends
    assert (document["to"], document["toname"]) == ("josé@there.example",
                                                    "José")
    assert document["subject"] == "Größe"
    assert document["variables"] == {"größe": "請求"}


LONG = {"campaign_id": "my_awesome campaign",
        "metadata": {f"key_{i}": f"value {i}: a=b, {{x}}; \"q\" \\ <ok>"
                     for i in range(26)},
        "tags": ["cat", "dog"],
        "options": {"open_tracking": False, "click_tracking": True}}
JSONS = [
    ("compact", json.dumps(LONG, separators=(",", ":"))),
    ("with blanks", json.dumps(LONG)),
    ("ascii, escapes", json.dumps({**LONG, "é": "Jané 請求"},
                                  separators=(",", ":"))),
    ("utf-8", json.dumps({**LONG, "é": "Jané 請求"}, ensure_ascii=False)),
]


@pytest.mark.parametrize("text", [j[1] for j in JSONS],
                         ids=[j[0] for j in JSONS])
def test_long_json(relay, send, text):
    assert len(text) >= 1200
    send(relay.new_key(), headers={"X-Transactional-Variables": text})
    [document] = relay.api.sends
    assert document["variables"] == json.loads(text)


# Names as they are and as every client writes them: RFC 2231 in one piece and
# in several, RFC 2047 although that is forbidden there, naked UTF-8.
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 12
NOTES = "Zeile 1: ä\nline 2: 请求\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(255, 0, -1))
FILES = [
    ("Rechnung März.pdf", "application/pdf", PDF),
    ("请求.txt", "text/plain", NOTES.encode()),
    ("Übersicht; Teil 1, mit einem so langen Namen, daß er über mehrere Zeilen "
     "geht (2026).csv", "text/csv", NOTES.encode()),
]


@pytest.fixture(scope="module")
def attachments(work):
    """Of FILES; none is called what its path is."""
    made = []
    for i, (name, kind, content) in enumerate(FILES):
        path = work / f"file-{i}"
        path.write_bytes(content)
        made.append({"path": str(path), "name": name, "type": kind})
    return made


@pytest.fixture(scope="module")
def logo(work):
    path = work / "logo.png"
    path.write_bytes(PNG)
    return {"path": str(path), "name": "logo.png", "type": "image/png",
            "cid": "logo@shop.example"}


def test_files_do_not_hide_the_body(relay, client, send, attachments, logo):
    """Each nests its parts in another way; ruby_mail puts the attachments
    among the alternatives."""
    send(relay.new_key(), attachments=attachments,
         inline=[logo] if client.inline else [])
    [document] = relay.api.sends
    assert lines(document["body"]) == lines(HTML)


def test_html_alone(relay, send):
    send(relay.new_key(), text=None)
    [document] = relay.api.sends
    assert lines(document["body"]) == lines(HTML)


def test_text_alone(relay, send):
    send(relay.new_key(), html=None)
    [document] = relay.api.sends
    assert document["body"].replace("<br>\n", "\n").rstrip("\n") == \
        TEXT.rstrip("\n")


def test_a_refusal_reaches_the_application(relay, client, deliver):
    """As an error; most of them tell it why."""
    done = deliver(relay.new_key(),
                   headers={"X-Transactional-Tag": "not a tag"})
    assert done.returncode != 0 and not relay.api.sends
    if client.explains:
        assert "X-Transactional-Tag" in done.stderr + done.stdout
