# SPDX-License-Identifier: MIT
"""What applications really send with: each client of tests/clients sends the
same messages its usual way, through STARTTLS and AUTH, and the same result is
wanted from all."""

import base64
import json
import re
import sys
from email.utils import getaddresses, parseaddr
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

from clients import CLIENTS
from fake_api import FakeApi

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
def deliver(client, work):
    """Sends a message; the finished client."""
    def deliver(relay, key, **message):
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
    def send(relay, key, **message):
        done = deliver(relay, key, **message)
        assert done.returncode == 0, done.stderr + done.stdout
    return send


def lines(text):
    """Clients end the last line of a part or do not; ruby_mail encodes the CR
    of CR LF."""
    return re.sub("\r+\n", "\n", text).rstrip("\n")


def test_emaildelivery(relay, send):
    key = relay.new_key(["main", "other"])
    send(relay, key, to=[JANE, JOE], bcc=[HIDDEN], reply_to=[HELP], headers={
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
    send(relay, relay.new_key(), subject=subject)
    [document] = relay.api.sends
    assert document["subject"] == subject


def test_smtputf8(relay, client, send):
    """An address that only SMTPUTF8 can carry; some of them then send the
    headers as UTF-8 too."""
    if not client.utf8:
        pytest.skip(f"{client.name} knows no SMTPUTF8")
    jose = {"name": "José", "address": "josé@there.example"}
    send(relay, relay.new_key(), to=[jose], subject="Größe", utf8=True,
         headers={"X-Transactional-Variables": '{"größe":"請求"}'})
    [document] = relay.api.sends
    assert (document["to"], document["toname"]) == ("josé@there.example",
                                                    "José")
    assert document["subject"] == "Größe"
    assert document["variables"] == {"größe": "請求"}


LONG = {"campaign_id": "my_awesome campaign",
        "metadata": {f"key_{i}": f"value {i}: a=b, {{x}}; \"q\" \\ <ok>"
                     for i in range(26)},
        "tags": ["cat", "dog"], "é": "Jané 請求",
        "options": {"open_tracking": False, "click_tracking": True}}
JSONS = [
    ("compact", json.dumps(LONG, separators=(",", ":"))),
    ("with blanks", json.dumps(LONG)),
    ("utf-8", json.dumps(LONG, ensure_ascii=False)),
]


@pytest.mark.parametrize("text", [j[1] for j in JSONS],
                         ids=[j[0] for j in JSONS])
def test_long_json(relay, send, text):
    assert len(text) >= 1200
    send(relay, relay.new_key(), headers={"X-Transactional-Variables": text})
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
    ('Übersicht; "Teil 1", mit einem so langen Namen, daß er über mehrere '
     "Zeilen geht (100 %).csv", "text/csv", NOTES.encode()),
]


@pytest.fixture
def attachments(client, work):
    """Of FILES; none is called what its path is."""
    made = []
    for i, (name, kind, content) in enumerate(FILES):
        path = work / f"file-{i}"
        path.write_bytes(content)
        made.append({
            "path": str(path), "type": kind,
            "name": name if client.escapes else name.replace('"', "")})
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
    send(relay, relay.new_key(), attachments=attachments,
         inline=[logo] if client.inline else [])
    [document] = relay.api.sends
    assert lines(document["body"]) == lines(HTML)


def test_html_alone(relay, send):
    send(relay, relay.new_key(), text=None)
    [document] = relay.api.sends
    assert lines(document["body"]) == lines(HTML)


def test_text_alone(relay, send):
    send(relay, relay.new_key(), html=None)
    [document] = relay.api.sends
    assert document["body"].replace("<br>\n", "\n").rstrip("\n") == \
        TEXT.rstrip("\n")


def test_a_refusal_reaches_the_application(relay, client, deliver):
    """As an error; most of them tell it why."""
    done = deliver(relay, relay.new_key(),
                   headers={"X-Transactional-Tag": "not a tag"})
    assert done.returncode != 0 and not relay.api.sends
    if client.explains:
        assert "X-Transactional-Tag" in done.stderr + done.stdout


# --- the other dialects ----------------------------------------------------
#
# Handed to the API format that leaves nothing out.


class AnyApi(FakeApi):
    """Takes whatever is posted."""

    def _dispatch(self, request):
        request.taken = True
        return {"id": f"m-{len(self.requests)}"}

    @property
    def messages(self):
        return [r.json for r in self.requests if r.taken]


@pytest.fixture(scope="module")
def _providers(relays):
    other = AnyApi()
    other.start()
    relay = relays(sections={
        "api any": {"format": "generic", "url": other.url},
        "route *": {"mode": "direct", "api": "any"}})
    relay.any = other
    yield relay
    other.stop()


@pytest.fixture
def providers(_providers):
    _providers.any.forget()
    yield _providers
    assert _providers.daemon.running(), _providers.daemon.log()[-4000:]


CC = {"name": "Cécile", "address": "cc@there.example"}
FLEXMAIL = {
    "X-Flexmail-Tag": "order_confirmation",
    "X-Flexmail-Metadata-order_id": "12345",
    "X-Flexmail-Metadata-customer": "Müller & Söhne, GmbH",
    "X-Flexmail-Open-Tracking": "true",
    "X-Flexmail-Link-Tracking": "false",
}
CAMPAIGN_MONITOR = {
    "X-Cmail-GroupName": "Réinitialisation du mot de passe",
    "X-Cmail-TrackOpens": "false",
    "X-Cmail-InlineCSS": "true",
    "X-MC-Tags": "customer,login_details",
}
MSYS = {
    "campaign_id": "my_awesome campaign",
    "metadata": {"has_pets": True, "pet_name": "Spot",
                 **{f"key_{i}": f"value {i}: a=b, <x>, \"q\"; \\ ok"
                    for i in range(22)}},
    "tags": ["cat", "dog"],
    "bcc": ["bcc@there.example", {"email": "b2@there.example", "name": "B"}],
    "archive": [{"email": "archive@there.example"}],
    "options": {"open_tracking": False, "click_tracking": True,
                "transactional": True, "sandbox": False},
    "substitution_data": {"ignored": 1},
}
SPARKPOST = {"X-MSYS-API": json.dumps(MSYS, separators=(",", ":"))}

# What is sent, and what of it is seen at the API: by everybody and in addition
# to what is in every message.
PROVIDERS = [
    ("flexmail", FLEXMAIL, {
        "tag": "order_confirmation",
        "metadata": {"order_id": "12345", "customer": "Müller & Söhne, GmbH"},
        "open_tracking": True, "click_tracking": False}),
    ("campaignmonitor", CAMPAIGN_MONITOR, {
        "tag": "Réinitialisation du mot de passe", "open_tracking": False,
        "click_tracking": True, "inline_css": True}),
    ("sparkpost", SPARKPOST, {
        "tag": MSYS["campaign_id"], "metadata": MSYS["metadata"],
        "labels": MSYS["tags"], "open_tracking": False, "click_tracking": True,
        "subaccount": "17", "transactional": True, "skip_suppression": False,
        "inline_css": False}),
]
ADDED = {"bcc@there.example": "bcc", "b2@there.example": "bcc",
         "archive@there.example": "archive"}
USERS = {"sparkpost": "SMTP_Injection:X-MSYS-SUBACCOUNT=17"}


def seen(document):
    """Of the options, those that are said."""
    metadata = document.get("metadata") or {}
    original = metadata.pop("original_message_id", None)
    assert original in (None, document.get("message_id"))
    return {name: document[name] for name in (
        "tag", "labels", "metadata", "open_tracking", "click_tracking",
        "inline_css", "transactional", "skip_suppression", "template_id",
        "variables", "dkim_key", "ip_pool", "subaccount")
        if document.get(name) is not None and document[name] != {}}


def mailboxes(text):
    return [{"name": n, "address": a} for n, a in getaddresses([text])]


def file_seen(kind, content):
    """Without the parameters; text may have got other line ends."""
    kind = kind.split(";")[0]
    return kind, lines(content.decode()) if kind.startswith("text/") \
        else content


def files_seen(document, is_inline):
    """Name -> type and content."""
    return {f["name"]: file_seen(f["type"], base64.b64decode(f["data"]))
            for f in document.get("files", []) if f["inline"] == is_inline}


def files_sent(attachments):
    return {a["name"]: file_seen(a["type"], Path(a["path"]).read_bytes())
            for a in attachments}


LOGO = '<p><img src="cid:logo@shop.example"></p>\n'


def check_message(document, html, attachments):
    """What every dialect takes over."""
    assert document["subject"] == "Größe 请求"
    assert (document["from_name"], document["from_email"]) == (
        SENDER["name"], SENDER["address"])
    assert document["return_path"] == SENDER["address"]
    assert mailboxes(document["reply_to"]) == [HELP]
    assert mailboxes(document["to"]) == [JANE]
    assert mailboxes(document["cc"]) == [CC]
    assert lines(document["text"]) == lines(TEXT)
    images = list(files_seen(document, True).values())
    for f in document.get("files", []):
        if f["inline"]:  # symfony makes names of its own
            document["html"] = document["html"].replace(
                f["content_id"], "logo@shop.example")
    assert lines(document["html"]) == lines(html)
    if html != HTML:
        assert images == [("image/png", PNG)]
    assert files_seen(document, False) == files_sent(attachments)
    others = {h["name"].lower(): h["value"] for h in document["headers"]}
    assert others["x-shop"] == "Über uns"
    assert not [n for n in others if n.startswith(
        ("x-flexmail", "x-cmail", "x-msys", "x-mc-"))]


@pytest.mark.parametrize("dialect", ["its own", "auto"])
@pytest.mark.parametrize("provider,headers,wanted", PROVIDERS,
                         ids=[p[0] for p in PROVIDERS])
def test_provider(providers, client, send, attachments, logo, dialect,
                  provider, headers, wanted):
    key, _, _ = providers.local_key(
        "--dialect", provider if dialect == "its own" else dialect)
    with_image = client.inline and provider != "flexmail"
    html = HTML + LOGO if with_image else HTML
    send(providers, key, user=USERS.get(provider, key), to=[JANE], cc=[CC],
         bcc=[HIDDEN], reply_to=[HELP], subject="Größe 请求", html=html,
         headers={**headers, "X-Shop": "Über uns"}, attachments=attachments,
         inline=[logo] if with_image else [])
    documents = providers.any.messages
    kinds = {d["recipient"]["email"]: d["recipient"]["kind"]
             for d in documents}
    assert kinds == {JANE["address"]: "to", CC["address"]: "to",
                     HIDDEN["address"]: "to",
                     **(ADDED if provider == "sparkpost" else {})}
    assert len(documents) == len(kinds)
    for document in documents:
        check_message(document, html, attachments)
        assert seen(document) == wanted


_made = {}


def test_group_of_another_provider_and_no_text(providers, send):
    """The text part is the same for all, too."""
    key, _, _ = providers.local_key("--dialect", "campaignmonitor")
    send(providers, key, user=key, text=None, headers={
        "X-SMTPAPI": json.dumps({"category": ["welcome_email", "new"],
                                 "unique_args": {"a": "b" * 80}})})
    [document] = providers.any.messages
    assert document["tag"] == "welcome_email"
    assert document["text_is_made"]
    text = lines(document["text"])
    assert "Hello Jané," in text and "https://shop.example/?a=1&b=2" in text
    assert text == _made.setdefault("text", text)


def test_json_that_is_not_ascii(providers, send):
    """Encoded words, which may end within a string, and naked UTF-8."""
    key, _, _ = providers.local_key("--dialect", "sparkpost")
    msys = {**MSYS, "campaign_id": "été 请求", "tags": ["naïve"]}
    send(providers, key, user="SMTP_Injection", headers={
        "X-MSYS-API": json.dumps(msys, ensure_ascii=False)})
    assert len(providers.any.messages) == 4
    for document in providers.any.messages:
        assert document["tag"] == "été 请求"
        assert document["labels"] == ["naïve"]
        assert document["metadata"] == msys["metadata"]
