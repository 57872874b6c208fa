# SPDX-License-Identifier: MIT
"""Messages to the APIs of all providers, directly and out of the queue."""

import base64
import json
import secrets
from pathlib import Path

import jsonschema
import pytest

import mail
import net
from fake_api import Account
from relay import RCPT, SENDER

FORMATS = ("sparkpost", "campaignmonitor", "flexmail", "generic")
MODES = ("direct", "queued")
SCHEMA = Path(__file__).resolve().parents[2] / "man" / \
    "txmilter-message.schema.json"
# A PNG's beginning, all bytes, and a length that base64 must pad.
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 5 + b"\x00"
NOTE = "caf\u00e9\r\n.\r\nFrom here\r\n".encode() * 50 + b"\xff"


def api(format, **options):
    return {"format": format,
            "url": lambda relay: relay.api.url_of(format), **options}


@pytest.fixture(scope="module")
def apis(relays):
    sections = {}
    for f in FORMATS:
        sections[f"api {f}"] = api(f)
        for mode in MODES:
            sections[f"route {f}-{mode}"] = {"api": f, "mode": mode}
    sections["api campaignmonitor"]["consent_to_track"] = "No"
    sections["api flexmail"]["field"] = "text content.plain"
    sections["route ed"] = {"api": "main"}
    return relays(direct_timeout="5s", sections=sections)


@pytest.fixture(autouse=True)
def clean(apis):
    apis.api.forget()
    yield
    apis.api.heal()
    assert apis.daemon.running(), apis.daemon.log()[-4000:]


def provider_key(relay, format):
    """A key as that provider issues it, known to its API: what an account
    has, and the secret part of it."""
    word = relay.secret("k" + secrets.token_hex(16))
    if format == "flexmail":
        relay.api.accounts[f"4711:{word}"] = Account("Acme")
        return f"4711:{word}"
    relay.api.accounts[word] = Account("Acme")
    return f"0f1e2d:{word}" if format == "campaignmonitor" else word


def new_key(relay, format, route, dialect="sparkpost"):
    key, _, _ = relay.local_key("--dialect", dialect, routes=(route,),
                                known=provider_key(relay, format))
    return key


def send(relay, key, message, recipients=(RCPT,), sender=SENDER, user=None):
    with relay.client(key, user=user or "SMTP_Injection") as c:
        return c.deliver(sender, recipients, message)


def delivered(relay, format, n=1):
    """The documents that the API took, when there are n of them."""
    net.wait_until(lambda: len(relay.api.taken(format)) >= n, 20)
    return [r.json for r in relay.api.taken(format)]


def msys(**options):
    return {"x_msys_api": json.dumps(options)}


# --- each to each ----------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", FORMATS)
def test_accepted(apis, format, mode):
    key = new_key(apis, format, f"{format}-{mode}")
    reply = send(apis, key, mail.message(
        subject="=?utf-8?Q?caf=C3=A9?=", **msys(campaign_id="welcome")))
    assert reply.code == 250, reply
    [doc] = delivered(apis, format)
    [request] = apis.api.taken(format)
    assert len(request.header("Idempotency-Key")) == 32
    shown = f"Jane Smith <{RCPT}>"
    wants = {
        "sparkpost": {
            "recipients": [{"address": {"email": RCPT, "header_to": shown}}],
            "content": {"from": {"name": "The Shop",
                                 "email": "shop@customer.example"},
                        "subject": "caf\u00e9", "html": "<p>Hello</p>\r\n"},
            "options": {"open_tracking": False, "click_tracking": False,
                        "perform_substitutions": False,
                        "transactional": False, "skip_suppression": False,
                        "inline_css": False},
            "campaign_id": "welcome", "return_path": SENDER},
        "campaignmonitor": {
            "To": [shown], "From": "The Shop <shop@customer.example>",
            "Subject": "caf\u00e9", "Html": "<p>Hello</p>\r\n",
            "TrackOpens": False, "TrackClicks": False, "InlineCSS": False,
            "Group": "welcome",
            "ConsentToTrack": "No"},
        "flexmail": {
            "recipient": {"address": {"email_address": RCPT,
                                      "name": "Jane Smith"}},
            "from": {"email_address": "shop@customer.example",
                     "name": "The Shop"},
            "subject": "caf\u00e9", "content": {"html": "<p>Hello</p>\r\n"},
            "tag": "welcome", "open_tracking": False, "link_tracking": False},
        "generic": {
            "recipient": {"email": RCPT, "name": "Jane Smith", "kind": "to"},
            "from_name": "The Shop", "from_email": "shop@customer.example",
            "return_path": SENDER, "subject": "caf\u00e9", "to": shown,
            "tag": "welcome", "route_id": f"generic-{mode}",
            "html": "<p>Hello</p>\r\n", "open_tracking": False,
            "click_tracking": False, "inline_css": False,
            "transactional": False, "skip_suppression": False},
    }
    assert doc == wants[format]
    assert request.query == ("clientID=0f1e2d"
                             if format == "campaignmonitor" else "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("format", FORMATS)
def test_files_arrive_byte_for_byte(apis, format, mode):
    key = new_key(apis, format, f"{format}-{mode}")
    message = mail.multipart_message(
        "mixed",
        mail.nested("related",
                    mail.part('<img src="cid:logo@x">',
                              "text/html; charset=utf-8"),
                    mail.part(IMAGE, "image/png; name=logo.png",
                              "Content-ID: <logo@x>",
                              "Content-Disposition: inline"),
                    boundary="=_r"),
        mail.part(NOTE, "application/octet-stream",
                  "Content-Disposition: attachment; "
                  "filename*=utf-8''caf%C3%A9.bin"))
    assert send(apis, key, message).code == 250
    [doc] = delivered(apis, format)
    files, images = {
        "sparkpost": lambda: (doc["content"]["attachments"],
                              doc["content"]["inline_images"]),
        "campaignmonitor": lambda: (doc["Attachments"], doc["Images"]),
        "flexmail": lambda: (doc["attachments"][1:], doc["attachments"][:1]),
        "generic": lambda: (doc["files"][1:], doc["files"][:1]),
    }[format]()
    for got, want in ((files, NOTE), (images, IMAGE)):
        [file] = got
        text = next(file[n] for n in ("data", "Content", "content")
                    if n in file)
        assert base64.b64decode(text, validate=True) == want
    name = files[0].get("name", files[0].get("Name"))
    assert name == "caf\u00e9.bin"
    assert "logo@x" in images[0].values()


def test_text_beside_html(apis):
    key = new_key(apis, "flexmail", "flexmail-direct", "flexmail")
    message = mail.multipart_message(
        "alternative", mail.part("plain"),
        mail.part("<p>html</p>", "text/html; charset=utf-8"),
        headers=[("X-Flexmail-Tag", "order_confirmation"),
                 ("X-Flexmail-Metadata-order_id", "17"),
                 ("X-Flexmail-Open-Tracking", "true")])
    reply = send(apis, key, message, user="x")
    assert reply.code == 250, reply
    [doc] = delivered(apis, "flexmail")
    assert doc["content"]["html"].strip() == "<p>html</p>"
    assert doc["content"]["plain"].strip() == "plain"
    assert doc["tag"] == "order_confirmation"
    assert doc["metadata"]["order_id"] == "17"
    assert doc["open_tracking"] is True


def test_generic_is_what_the_schema_says(apis):
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    key = new_key(apis, "generic", "generic-direct")
    message = mail.multipart_message(
        "mixed", mail.part("plain"), mail.part(IMAGE, "image/png"),
        headers=[("X-MSYS-API", json.dumps({
            "campaign_id": "c", "metadata": {"n": 12345678901234567890},
            "tags": ["a", "b"], "bcc": ["hidden@there.example"],
            "cc": [{"email": "seen@there.example", "name": "Seen"}],
            "archive": ["archive@there.example"],
            "options": {"click_tracking": True, "transactional": True,
                        "dkim_key": "d"}})),
            ("List-Unsubscribe", "<mailto:u@customer.example>")])
    assert send(apis, key, message).code == 250
    docs = delivered(apis, "generic", 4)
    for doc in docs:
        validator.validate(doc)
    assert {d["recipient"]["kind"] for d in docs} == \
        {"to", "cc", "bcc", "archive"}
    raw = apis.api.taken("generic")[0].body
    assert b"12345678901234567890" in raw
    assert docs[0]["labels"] == ["a", "b"]


def test_copies_to_sparkpost(apis):
    key = new_key(apis, "sparkpost", "sparkpost-direct")
    assert send(apis, key, mail.message(**msys(
        cc=["seen@there.example"],
        bcc=[{"email": "hidden@there.example", "name": "Hidden"}]))).code == 250
    docs = {d["recipients"][0]["address"]["email"]: d
            for d in delivered(apis, "sparkpost", 3)}
    assert set(docs) == {RCPT, "seen@there.example", "hidden@there.example"}
    for address, doc in docs.items():
        assert doc["recipients"][0]["address"]["header_to"] == \
            f"Jane Smith <{RCPT}>"
        assert doc["content"]["headers"]["CC"] == "seen@there.example"
        assert doc["content"]["headers"].get("Bcc") == \
            ("Hidden <hidden@there.example>"
             if address == "hidden@there.example" else None)


def test_other_dialects_to_emaildelivery(apis):
    """Its tags have letters of their own, and it takes HTML."""
    known = apis.new_key(routes=("ed",))
    key, _, _ = apis.local_key("--dialect", "campaignmonitor",
                               routes=("ed",), known=known)
    reply = send(apis, key, mail.message(
        "a < b\n", content_type="text/plain",
        x_cmail_groupname="Password Reset"))
    assert reply.code == 250, reply
    [doc] = apis.api.sends
    assert doc["tag"] == "password-reset"
    assert doc["body"] == "a &lt; b<br>\n"
    reply = send(apis, key, mail.message(
        x_cmail_groupname="Password Reset for all of them"))
    assert reply.code == 550 and "X-Cmail-GroupName" in reply.text


# --- what does not go ------------------------------------------------------


def test_refused_names_the_header(apis):
    key = new_key(apis, "sparkpost", "sparkpost-direct", "emaildelivery")
    reply = send(apis, key, mail.message(x_transactional_template="T"))
    assert reply.code == 550
    assert "X-Transactional-Template" in reply.text
    assert "template" in reply.text
    assert not apis.api.requests


def test_refused_before_it_is_queued(apis):
    key = new_key(apis, "campaignmonitor", "campaignmonitor-queued")
    reply = send(apis, key, mail.message(
        **msys(options={"dkim_key": "d"})))
    assert reply.code == 550 and "X-MSYS-API" in reply.text


def test_ignored_is_in_the_log(apis):
    key = new_key(apis, "campaignmonitor", "campaignmonitor-direct")
    reply = send(apis, key, mail.message(
        **msys(metadata={"a": 1}, tags=["x"])))
    assert reply.code == 250
    [story] = apis.daemon.events(apis.queue_id(reply), "message")
    assert story["ignored"].split(",")[:2] == ["labels", "metadata"]


@pytest.mark.parametrize("format,known", [
    ("flexmail", "no-colon-in-it"), ("campaignmonitor", "a&b:c0ffee")])
def test_a_key_of_another_form(apis, format, known):
    known = apis.secret(known + secrets.token_hex(8))
    account = "a" + secrets.token_hex(6)
    key = apis.secret("k-" + secrets.token_urlsafe(20))
    # Import restores what was exported, whatever the configuration is now.
    apis.daemon.ctl("key", "import", "-", input=json.dumps(
        {"account": account, "dialect": "sparkpost", "api_key": known,
         "routes": [{"id": f"{format}-direct", "name": ""}]}) + "\n" +
        json.dumps({"key": key, "of": account}) + "\n")
    # Nothing is lost: it waits until the operator gives the account another.
    assert send(apis, key, mail.message()).code == 250
    apis.daemon.wait_for_log(f"not of the form that api {format} takes")
    apis.postfix.postsuper("-d", "ALL")
    assert not apis.api.requests


def test_key_add_says_so_at_once(apis, tmp_path):
    """Of a new account's key, and of the account's when it gets a route."""
    file = tmp_path / "api.key"

    def add(account, *options, **kw):
        return apis.daemon.ctl("key", "add", "--account", account,
                               *options, **kw)

    def wrong(*options):
        text = add(*options, code=65)
        assert "[api flexmail]" in text and '"flexmail-queued"' in text
        assert "format = flexmail" in text and "no-colon" not in text

    file.write_text(apis.secret("no-colon-in-" + secrets.token_hex(8)))
    account = "a" + secrets.token_hex(6)
    flexmail = ("--route", "flexmail-queued")
    wrong(account, "--route", "sparkpost-queued", *flexmail,
          "--api-key-file", file)
    assert account not in apis.daemon.ctl("route", "list")
    add(account, "--route", "sparkpost-queued", "--api-key-file", file)
    wrong(account, *flexmail)
    assert "flexmail" not in apis.daemon.ctl("route", "list", account)
    add(account)  # another key; the account is as it was
    file.write_text("4711:" + apis.secret("t" + secrets.token_hex(8)))
    add(account, *flexmail, "--api-key-file", file)
    assert "flexmail" in apis.daemon.ctl("route", "list", account)


# --- answers ---------------------------------------------------------------

SP_LATER = {"errors": [{"message": "in progress", "code": "1601"}]}
SP_TWICE = {"errors": [{"message": "used already", "code": "1600"}]}
SP_NOBODY = {"results": {"id": "1", "total_accepted_recipients": 0},
             "errors": [{"message": "bad recipient", "code": "2000"}]}
SP_SOMEBODY = {"results": {"id": "77", "total_accepted_recipients": 1},
               "errors": [{"message": "validation", "code": "2000"}]}


@pytest.mark.parametrize("status,body,code,text", [
    (200, SP_NOBODY, 550, "bad recipient"),
    (200, SP_SOMEBODY, 250, ""),
    (409, SP_TWICE, 550, "used already"),
    (422, {"errors": [{"message": "m", "description": "d"}]}, 550, "m: d"),
    (403, {"errors": [{"message": "no grant"}]}, 550, "no grant"),
    (401, {"errors": [{"message": "Unauthorized."}]}, 535, "API key"),
], ids=["nobody", "somebody", "twice", "422", "403", "401"])
def test_sparkpost_answers(apis, status, body, code, text):
    key = new_key(apis, "sparkpost", "sparkpost-direct")
    apis.api.fault("transmissions", status=status, body=body)
    reply = send(apis, key, mail.message())
    assert reply.code == code and text in reply.text, reply


@pytest.mark.parametrize("status,body,headers", [
    (409, SP_LATER, {}), (420, SP_TWICE, {}), (429, {}, {}),
    (400, {"errors": [{"message": "m", "code": "1502"}]}, {}),
    (503, {}, {})], ids=["409", "420", "429", "1502", "503"])
def test_sparkpost_says_later(apis, status, body, headers):
    """The client hears 250: the message goes on in the queue, under the same
    Idempotency-Key."""
    key = new_key(apis, "sparkpost", "sparkpost-direct")
    apis.api.fault("transmissions", status=status, body=body, times=1,
                   headers=headers)
    assert send(apis, key, mail.message()).code == 250
    apis.postfix.deliver_all()
    assert len(delivered(apis, "sparkpost")) == 1
    assert len({r.header("Idempotency-Key")
                for r in apis.api.calls("transmissions")}) == 1


def test_campaign_monitor_asks_for_a_pause(apis):
    """429 with X-RateLimit-Reset: no call with that key until then."""
    key = new_key(apis, "campaignmonitor", "campaignmonitor-direct")
    apis.api.fault("send", status=429, times=1,
                   body={"Code": 429, "Message": "Too many"},
                   headers={"X-RateLimit-Reset": "2"})
    assert send(apis, key, mail.message()).code == 250
    assert send(apis, key, mail.message(subject="second")).code == 250
    apis.daemon.wait_for_log("pause api=campaignmonitor .*seconds=2")
    assert len(apis.api.calls("send")) == 1

    def both():
        apis.postfix.deliver_all()
        return len(apis.api.taken("campaignmonitor")) == 2
    assert net.wait_until(both, 20, 0.5)


@pytest.mark.parametrize("format", FORMATS)
def test_an_api_says_the_key_back(apis, format):
    """Neither the client nor the log hears it: leaks() looks at the end."""
    known = provider_key(apis, format)
    key, _, _ = apis.local_key("--dialect", "sparkpost", known=known,
                               routes=(f"{format}-direct",))
    word = known.rpartition(":")[2]
    echo = f"{known} {word}"
    if format in ("flexmail", "campaignmonitor"):
        written = known if format == "flexmail" else f"{word}:x"
        echo += " " + base64.b64encode(written.encode()).decode()
    apis.api.fault(status=422, body={
        "Message": echo, "message": echo, "errors": [{"message": echo}]})
    reply = send(apis, key, mail.message())
    assert reply.code == 550 and "**" in reply.text
    for secret in echo.split():
        assert secret not in reply.text


def test_try_shows_the_request(apis, tmp_path):
    known = provider_key(apis, "sparkpost")
    _, _, account = apis.local_key("--dialect", "sparkpost", known=known,
                                   routes=("sparkpost-direct",))
    file = tmp_path / "mail.eml"
    file.write_bytes(mail.message(**msys(campaign_id="c", metadata={"a": 1})))
    shown = apis.daemon.ctl_json("try", "--account", account, file)
    assert shown["request"]["campaign_id"] == "c"
    assert shown["request"]["options"]["perform_substitutions"] is False
    assert not apis.api.requests


def test_try_shows_the_beginning_of_a_file(apis, tmp_path):
    known = provider_key(apis, "sparkpost")
    _, _, account = apis.local_key("--dialect", "sparkpost", known=known,
                                   routes=("sparkpost-direct",))
    file = tmp_path / "mail.eml"
    file.write_bytes(mail.multipart_message(
        "mixed", mail.part("text"), mail.part(IMAGE * 100, "image/png")))
    shown = apis.daemon.ctl_json("try", "--account", account, file)
    [image] = shown["request"]["content"]["attachments"]
    assert base64.b64decode(image["data"]) == IMAGE[:60]
    assert shown["bytes_shown_of_a_file"] == 60
