# SPDX-License-Identifier: MIT
"""What the providers' pages promise, from the SMTP client to an API that is
told everything (the format "generic"): each page's own examples, its features,
and its errors word for word. Which test shows which sentence of which page is
in tests/features.tsv.
"""

import base64
import email
import email.policy
import json
import re
import socket
import ssl

import pytest

import mail
import net
from mail_sink import MailSink
from relay import RCPT, SENDER

LOGIN = "flex-1"  # the user name that Flexmail issued
USERS = {"flexmail": LOGIN, "sparkpost": "SMTP_Injection"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
PDF = b"%PDF-1.7\r\n" + bytes(range(256)) * 300


@pytest.fixture(scope="module")
def _spec(relays):
    hop = MailSink()
    relay = relays(sections={
        "api any": {"format": "generic",
                    "url": lambda relay: relay.api.url_of("generic")},
        "route *": {"mode": "direct", "api": "any"},
        "route later": {"mode": "queued", "api": "any"},
        "route mail": {"handoff": "transport",
                       "transport": f"smtp:[127.0.0.1]:{hop.port}"}})
    relay.hop = hop
    yield relay
    hop.stop()


@pytest.fixture
def spec(_spec):
    _spec.api.forget()
    del _spec.hop.messages[:]
    yield _spec
    _spec.api.heal()
    assert _spec.daemon.running(), _spec.daemon.log()[-4000:]


def messages(spec):
    """The documents that the API took."""
    return [r.json for r in spec.api.taken("generic")]


def send(spec, provider, message, recipients=(RCPT,), *, options=(),
         routes=("main",), sender=SENDER, user=None):
    """As an account of that provider; user: instead of what it issues."""
    if provider == "flexmail":
        options = ("--login", LOGIN, *options)
    key, _, _ = spec.local_key("--dialect", provider, *options, routes=routes)
    user = user or USERS.get(provider, key)
    with spec.client(key, user=user) as c:
        return c.deliver(sender, recipients, message)


def sent(spec, *args, **kw):
    """The documents that the API got, by recipient."""
    reply = send(spec, *args, **kw)
    assert reply.code == 250 and reply.queue_id, reply
    taken = messages(spec)
    documents = {d["recipient"]["email"]: d for d in taken}
    assert len(documents) == len(taken)
    return documents


def sent_one(spec, *args, **kw):
    [document] = sent(spec, *args, **kw).values()
    return document


def check_refused(spec, provider, message, text, code=550, enhanced="5.6.0",
                  **kw):
    reply = send(spec, provider, message, **kw)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)
    assert not messages(spec)


def arrived(spec, n):
    """What the next hop of the route "mail" got, by recipient."""
    assert net.wait_until(lambda: len(spec.hop.messages) >= n)
    found = {m.recipients[0]: email.message_from_bytes(
        m.data, policy=email.policy.default) for m in spec.hop.messages}
    assert len(found) == len(spec.hop.messages) == n
    return found


def said(document, *names):
    return {n: document[n] for n in names if n in document}


def files(document):
    return [(f["name"], f["type"], f["inline"], base64.b64decode(f["data"]))
            for f in document.get("files", [])]


def lines(text):
    return text.replace("\r\n", "\n").rstrip("\n")


def alternative(*parts, **kw):
    return mail.multipart_message("alternative", *parts, **kw)


def with_logo(**kw):
    return mail.multipart_message(
        "related", mail.part('<img src="cid:logo@shop">', "text/html"),
        mail.part(PNG, "image/png; name=logo.png", "Content-ID: <logo@shop>",
                  "Content-Disposition: inline; filename=logo.png"), **kw)


def with_pdf(*first, **kw):
    return mail.multipart_message(
        "mixed", *(first or [mail.part("<p>h</p>", "text/html")]),
        mail.part(PDF, "application/pdf", 'Content-Disposition: attachment; '
                  'filename="invoice.pdf"'), **kw)


TEXT = mail.part("the text")
HTML = mail.part("<p>h</p>", "text/html; charset=utf-8")
AMP = mail.part("<!doctype html><html amp4email></html>", "text/x-amp-html")

# --- EmailDelivery -----------------------------------------------------------


def test_emaildelivery(spec):
    """Every header of the page; nothing but them gets through."""
    document = sent_one(spec, "emaildelivery", mail.multipart_message(
        "mixed", mail.nested("alternative", TEXT, mail.part(
            '<img src="https://shop.example/a.png">', "text/html"),
            boundary="in"),
        mail.part(PNG, "image/png; name=a.png"),
        to="Jane Smith", reply_to="help@customer.example",
        x_transactional_tag="Welcome", x_transactional_route="b",
        x_transactional_template="t-1", x_mailer="m", cc="c@there.example",
        headers=[("X-Transactional-Variables", '{"first": {"n": 1}}')]),
        routes=("a", "b"), user="anything")
    assert lines(document.pop("html")) == \
        '<img src="https://shop.example/a.png">'
    assert document == {
        "recipient": {"email": RCPT, "name": "Jane Smith", "kind": "to"},
        "from_name": "The Shop", "from_email": "shop@customer.example",
        "return_path": SENDER, "subject": "Your order",
        "reply_to": "help@customer.example", "tag": "welcome",
        "route_id": "b", "template_id": "t-1",
        "variables": {"first": {"n": 1}}}


@pytest.mark.parametrize("value", ["", " "])
def test_emaildelivery_blank_tag(spec, value):
    """The API calls it "untagged" then."""
    assert "tag" not in sent_one(spec, "emaildelivery", mail.message(
        headers=[("X-Transactional-Tag", value)]))


def test_emaildelivery_route_is_required(spec):
    check_refused(spec, "emaildelivery", mail.message(),
                  "X-Transactional-Route: this account has several routes, "
                  "name one: a, b", routes=("a", "b"))


# --- Flexmail ----------------------------------------------------------------

EXAMPLE = [("X-Flexmail-Tag", "order_confirmation"),
           ("X-Flexmail-Metadata-order_id", "12345"),
           ("X-Flexmail-Metadata-customer_id", "C-789"),
           ("X-Flexmail-Open-Tracking", "true"),
           ("X-Flexmail-Link-Tracking", "true")]
FLEXMAIL = ("tag", "metadata", "open_tracking", "click_tracking")


def test_flexmail_example(spec):
    document = sent_one(spec, "flexmail", mail.message(headers=EXAMPLE))
    assert said(document, *FLEXMAIL) == {
        "tag": "order_confirmation",
        "metadata": {"order_id": "12345", "customer_id": "C-789"},
        "open_tracking": True, "click_tracking": True}
    assert "flexmail" not in json.dumps(document).lower()


def test_flexmail_defaults(spec):
    document = sent_one(spec, "flexmail", mail.message())
    assert said(document, *FLEXMAIL) == {"open_tracking": False,
                                         "click_tracking": False}


def test_flexmail_message_id(spec):
    document = sent_one(spec, "flexmail", mail.message(
        message_id="<42@shop.example>", headers=EXAMPLE))
    assert document["metadata"] == {
        "original_message_id": "<42@shop.example>", "order_id": "12345",
        "customer_id": "C-789"}
    assert document["message_id"] == "<42@shop.example>"


def test_flexmail_html_and_text(spec):
    document = sent_one(spec, "flexmail", alternative(TEXT, HTML))
    assert (lines(document["html"]), lines(document["text"])) == (
        "<p>h</p>", "the text")


def test_flexmail_html_alone(spec):
    document = sent_one(spec, "flexmail", mail.message("<p>h</p>"))
    assert lines(document["html"]) == "<p>h</p>" and "text" not in document


def test_flexmail_text_alone(spec):
    check_refused(spec, "flexmail", mail.message(
        "hello", content_type="text/plain"),
        "Content-Type: plain text only is not supported: the message needs "
        "an HTML part")


def test_flexmail_attachment(spec):
    document = sent_one(spec, "flexmail", with_pdf())
    assert files(document) == [("invoice.pdf", "application/pdf", False, PDF)]


def test_flexmail_inline_attachment(spec):
    check_refused(spec, "flexmail", with_logo(),
                  "Content-ID: inline attachments are not supported: logo.png")


def test_flexmail_cc_and_bcc(spec):
    """Of the envelope: each gets a message, a BCC recipient unseen."""
    everybody = [RCPT, "ann@there.example", "hidden@there.example"]
    documents = sent(spec, "flexmail", mail.message(
        cc="Ann <ann@there.example>", bcc="hidden@there.example"), everybody)
    assert sorted(documents) == sorted(everybody)
    for document in documents.values():
        assert document["to"] == "Jane Smith <jane@there.example>"
        assert document["cc"] == "Ann <ann@there.example>"
        assert "hidden@" not in json.dumps(
            {**document, "recipient": None})


@pytest.mark.parametrize("name, value, text", [
    ("X-Flexmail-Tag", "Order-Confirmation",
     "a tag is in snake_case, as order_confirmation"),
    ("X-Flexmail-Tag", "a" * 51, "a tag has 1 to 50 characters"),
    ("X-Flexmail-Tag", "", "a tag has 1 to 50 characters"),
    ("X-Flexmail-Metadata-order.id", "1",
     "a metadata key is in snake_case, as order_id"),
    ("X-Flexmail-Metadata-order_id", "x" * 81,
     "a metadata value has 1 to 80 characters"),
    ("X-Flexmail-Metadata-order_id", "",
     "a metadata value has 1 to 80 characters"),
    ("X-Flexmail-Open-Tracking", "yes", "must be true or false"),
    ("X-Flexmail-Link-Tracking", "1", "must be true or false"),
])
def test_flexmail_errors(spec, name, value, text):
    check_refused(spec, "flexmail", mail.message(headers=[(name, value)]),
                  f"{name}: {text}")


def test_flexmail_verified_sender(spec):
    verified = ("--sender", "shop@customer.example")
    check_refused(
        spec, "flexmail", mail.message(headers=[("From", "x@evil.example")]),
        "From: this account may not send as x@evil.example; it may send as: "
        "shop@customer.example", enhanced="5.7.1", options=verified)
    assert sent_one(spec, "flexmail", mail.message(), options=verified)


def test_flexmail_recipient_rate(spec):
    key, _, _ = spec.local_key("--dialect", "flexmail", "--login", LOGIN,
                               "--recipient-rate", "1/1h")
    with spec.client(key, user=LOGIN) as c:
        codes = [c.deliver(SENDER, [to], mail.message()).code
                 for to in ("a@x.example", "a@x.example", "b@x.example")]
    assert codes == [250, 450, 250]


def test_flexmail_login(spec):
    """User name and password as issued, and no others."""
    key, _, _ = spec.local_key("--dialect", "flexmail", "--login", LOGIN)
    with spec.client() as c:
        for user, password in (("4711", key), (key, key),
                               (LOGIN, spec.secret("a-personal-token"))):
            reply = c.auth_plain_raw(user, password)
            assert (reply.code, reply.enhanced) == (535, "5.7.8")
        assert c.auth_login_raw(LOGIN, key).code == 235


def test_flexmail_ndr(spec):
    """What is only known later is reported to the envelope sender."""
    spec.api.fault(status=400, body={"message": "The sender is not verified."})
    reply = send(spec, "flexmail", mail.message(
        message_id="<43@shop.example>"), routes=("later",),
        sender="app@origin.example")
    assert reply.code == 250
    [report] = spec.postfix.sink.wait_for("app@origin.example")
    assert report.sender == ""
    assert b"The sender is not verified." in report.data
    assert b"<43@shop.example>" in report.data and RCPT.encode() in report.data


# --- Campaign Monitor --------------------------------------------------------

GROUP = "X-Cmail-GroupName"
SWITCHES = {"X-Cmail-TrackOpens": "open_tracking",
            "X-Cmail-TrackClicks": "click_tracking",
            "X-Cmail-InlineCSS": "inline_css"}


@pytest.mark.parametrize("how", ["auth_plain_raw", "auth_login_raw"])
def test_campaignmonitor_login(spec, how):
    """Any token of the account, as user name and as password."""
    account = "cm-" + how.replace("_", "-")
    tokens = [spec.local_key("--dialect", "campaignmonitor",
                             account=account)[0]]
    tokens.append(spec.secret(spec.daemon.ctl_json(
        "key", "add", "--account", account)["key"]))
    for token in tokens:
        with spec.client() as c:
            assert getattr(c, how)(token, token).code == 235
            assert c.deliver(SENDER, [RCPT], mail.message()).code == 250


def test_campaignmonitor_other_ports(relays):
    """The service of another port, under the numbers of two that an existing
    Postfix may have."""
    relay = relays([("\n2525 ", "\n25 "), ("\n8025 ", "\n465 ")])
    key, _, _ = relay.local_key("--dialect", "campaignmonitor")
    for port in ("587", "25", "465"):
        with relay.client(key, port, user=key) as c:
            assert c.deliver(SENDER, [RCPT], mail.message()).code == 250


def test_campaignmonitor_group(spec):
    document = sent_one(spec, "campaignmonitor", mail.message(
        headers=[(GROUP, "Password reset")]))
    assert document["tag"] == "Password reset"
    assert "cmail" not in json.dumps(document).lower()


def test_campaignmonitor_ungrouped(spec):
    assert "tag" not in sent_one(spec, "campaignmonitor", mail.message())


FOREIGN = [
    ("Mailgun", [("X-Mailgun-Tag", "first"), ("X-Mailgun-Tag", "second")]),
    ("Mailjet", [("X-Mailjet-Campaign", "first")]),
    ("Mandrill", [("X-MC-Tags", "first,second")]),
    ("Postmark", [("X-PM-Tag", "first")]),
    ("SendGrid", [("X-SMTPAPI", '{"category": ["first", "second"]}')]),
]


@pytest.mark.parametrize("headers", [f[1] for f in FOREIGN],
                         ids=[f[0] for f in FOREIGN])
def test_campaignmonitor_group_of_another(spec, headers):
    document = sent_one(spec, "campaignmonitor",
                        mail.message(headers=headers))
    assert document["tag"] == "first"
    assert not [h for h in document.get("headers", [])
                if h["name"] == headers[0][0]]


def test_campaignmonitor_switches_are_on(spec):
    document = sent_one(spec, "campaignmonitor", mail.message())
    assert said(document, *SWITCHES.values()) == dict.fromkeys(
        SWITCHES.values(), True)


@pytest.mark.parametrize("name", SWITCHES)
def test_campaignmonitor_switch_off(spec, name):
    document = sent_one(spec, "campaignmonitor",
                        mail.message(headers=[(name, "false")]))
    assert said(document, *SWITCHES.values()) == {
        n: n != SWITCHES[name] for n in SWITCHES.values()}


@pytest.mark.parametrize("name", SWITCHES)
def test_campaignmonitor_switch_is_a_word(spec, name):
    check_refused(spec, "campaignmonitor", mail.message(
        headers=[(name, "0")]), f"{name}: must be true or false")


def test_campaignmonitor_names(spec):
    document = sent_one(spec, "campaignmonitor", mail.message(headers=[
        ("From", "Jane Smith <shop@customer.example>"),
        ("To", f"=?utf-8?Q?J=C3=B6rg?= <{RCPT}>")]))
    assert (document["from_name"], document["recipient"]["name"]) == (
        "Jane Smith", "Jörg")


def test_campaignmonitor_25_recipients(spec):
    """Over To, CC and BCC. The 26th is told to come again, the others get
    theirs."""
    everybody = [f"r{i}@there.example" for i in range(26)]
    key, _, _ = spec.local_key("--dialect", "campaignmonitor")
    with spec.client(key, user=key) as c:
        assert c.command(f"MAIL FROM:<{SENDER}>").code == 250
        replies = [c.command(f"RCPT TO:<{r}>") for r in everybody]
        assert [r.code for r in replies] == 25 * [250] + [452]
        assert replies[-1].enhanced == "4.5.3" and "25" in replies[-1].text
        assert c.send_data(mail.message(headers=[
            ("To", ", ".join(everybody[:10])),
            ("Cc", ", ".join(everybody[10:15]))])).code == 250
    assert sorted(d["recipient"]["email"] for d in messages(spec)) == \
        sorted(everybody[:25])


def test_campaignmonitor_text_is_made(spec):
    document = sent_one(spec, "campaignmonitor", mail.message(
        "<html><head><style>p{}</style></head><body><h1>Hi J&ouml;rg</h1>"
        '<p>Your <a href="https://shop.example/o?a=1&amp;b=2">order</a>'
        "<ul><li>one<li>two</ul></body></html>"))
    assert document["text_is_made"] is True
    text = document["text"]
    for words in ("Hi Jörg", "order (https://shop.example/o?a=1&b=2)", "one"):
        assert words in text
    assert "<" not in text and "p{}" not in text


def test_campaignmonitor_text_is_the_client_s(spec):
    document = sent_one(spec, "campaignmonitor", alternative(TEXT, HTML))
    assert lines(document["text"]) == "the text"
    assert "text_is_made" not in document


def test_campaignmonitor_files(spec):
    assert files(sent_one(spec, "campaignmonitor", with_pdf())) == [
        ("invoice.pdf", "application/pdf", False, PDF)]
    spec.api.forget()
    document = sent_one(spec, "campaignmonitor", with_logo())
    assert files(document) == [("logo.png", "image/png", True, PNG)]
    assert document["files"][0]["content_id"] == "logo@shop"


# --- SparkPost ---------------------------------------------------------------

# As the page has it, but for the commas that it lacks.
PAGE = """{
  "campaign_id": "my_campaign",
  "metadata" : {
    "has_pets": true,
    "pet_name": "Spot"
  },
  "cc": [
    { "email": "cc_recip_1@gmail.com", "name": "CC 1" },
    { "email": "cc_recip_2@gmail.com", "name": "CC 2" }
  ],
  "bcc": [
    { "email": "bcc_recip_1@gmail.com", "name": "BCC 1" },
    { "email": "bcc_recip_2@gmail.com", "name": "BCC 2" }
  ],
  "archive": [
    { "email": "archive_recip_1@gmail.com", "name": "Archive 1" },
    { "email": "archive_recip_2@gmail.com", "name": "Archive 2" }
  ],
  "tags": [
    "cat",
    "dog"
  ],
  "options" : {
    "open_tracking": false,
    "click_tracking": false,
    "transactional": false,
    "skip_suppression": false,
    "ip_pool": "my_ip_pool",
    "inline_css": false,
    "dkim_key": "marketing"
  }
}"""
# Its second example.
LISTS = """{
   "cc" : [ "cc_email1@corp.com", "cc_email2@corp.com" ],
   "bcc" : [ "bcc_email1@corp.com", "bcc_email2@corp.com" ],
   "archive" : [ "archive_email@corp.com" ],
   "options" : {"open_tracking" : false, "click_tracking" : true}%s
}"""
SWITCHED = ("open_tracking", "click_tracking", "transactional",
            "skip_suppression", "inline_css")


def msys(value, **kw):
    """value: text with line ends to be folds, or an object."""
    if not isinstance(value, str):
        value = json.dumps(value)
    return mail.message(headers=[
        ("X-MSYS-API", value.replace("\n", "\n "))], **kw)


def kinds(documents):
    return {to: d["recipient"]["kind"] for to, d in documents.items()}


def test_sparkpost_page(spec):
    documents = sent(spec, "sparkpost", msys(PAGE), routes=("my_ip_pool",))
    assert kinds(documents) == {
        RCPT: "to", **{f"{k}_recip_{i}@gmail.com": k
                       for k in ("cc", "bcc", "archive") for i in (1, 2)}}
    for kind, name in (("cc", "CC"), ("bcc", "BCC"), ("archive", "Archive")):
        for i in (1, 2):
            document = documents[f"{kind}_recip_{i}@gmail.com"]
            assert document["recipient"]["name"] == f"{name} {i}"
    for document in documents.values():
        assert document["to"] == f"Jane Smith <{RCPT}>"
        assert document["cc"] == ("CC 1 <cc_recip_1@gmail.com>, "
                                  "CC 2 <cc_recip_2@gmail.com>")
        assert said(document, "tag", "labels", "metadata", "ip_pool",
                    "dkim_key", "route_id", *SWITCHED) == {
            "tag": "my_campaign", "labels": ["cat", "dog"],
            "metadata": {"has_pets": True, "pet_name": "Spot"},
            "ip_pool": "my_ip_pool", "dkim_key": "marketing",
            "route_id": "my_ip_pool", **dict.fromkeys(SWITCHED, False)}
        assert "msys" not in json.dumps(document).lower()


def test_sparkpost_lists_of_strings(spec):
    documents = sent(spec, "sparkpost", msys(LISTS % ""))
    assert kinds(documents) == {
        RCPT: "to", "cc_email1@corp.com": "cc", "cc_email2@corp.com": "cc",
        "bcc_email1@corp.com": "bcc", "bcc_email2@corp.com": "bcc",
        "archive_email@corp.com": "archive"}
    for document in documents.values():
        assert document["cc"] == "cc_email1@corp.com, cc_email2@corp.com"
        assert said(document, "open_tracking", "click_tracking") == {
            "open_tracking": False, "click_tracking": True}


@pytest.mark.parametrize("text", [
    PAGE.replace('"BCC 1" },', '"BCC 1" }'), LISTS % ",",
    '{"cc" : [ "a@x.example" ]\n"bcc" : []}', "{'campaign_id': 'x'}", "[]",
    "campaign"], ids=["no comma between objects", "a comma at the end",
                      "no comma between members", "single quotes", "array",
                      "word"])
def test_sparkpost_invalid_json(spec, text):
    """Three of these are on the page, which says that they are refused."""
    reply = send(spec, "sparkpost", msys(text), routes=("my_ip_pool",))
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert reply.text.startswith("JSON parsing error in X-MSYS-API")
    assert not messages(spec)


@pytest.mark.parametrize("value, text", [
    ({"metadata": "x"},
     "X-MSYS-API 'metadata' must be of type 'json object'"),
    ({"campaign_id": "x" * 65},
     "smtpapi_campaign_id context is limited to 64 bytes"),
    ({"campaign_id": "é" * 33},
     "smtpapi_campaign_id context is limited to 64 bytes"),
    ({"tags": "x"}, "X-MSYS-API 'tags' must be of type 'json array'"),
    ({"cc": "a@x.example"}, "X-MSYS-API 'cc' must be of type 'json array'"),
    ({"options": []}, "X-MSYS-API 'options' must be of type 'json object'"),
    ({"options": {"open_tracking": "maybe"}},
     "X-MSYS-API 'options.open_tracking' must be of type 'boolean'"),
    ({"options": {"ip_pool": "other"}},
     "X-MSYS-API 'options.ip_pool': not a route of this account; it has: "
     "main"),
    ({"bcc": ["no address"]},
     "X-MSYS-API 'bcc[0]' is not an address of the form local@domain"),
])
def test_sparkpost_errors(spec, value, text):
    check_refused(spec, "sparkpost", msys(value), text)


def test_sparkpost_unknown_dkim_key(spec):
    """Only the API can know."""
    spec.api.fault(status=400, body={"message": "No such DKIM key"})
    check_refused(spec, "sparkpost", msys({"options": {"dkim_key": "x"}}),
                  "The API refused the message: No such DKIM key")


def test_sparkpost_defaults(spec):
    document = sent_one(spec, "sparkpost", mail.message())
    assert said(document, "tag", "labels", "metadata", "ip_pool", "dkim_key",
                "subaccount", *SWITCHED) == dict.fromkeys(SWITCHED, False)


def test_sparkpost_tracking_on(spec):
    document = sent_one(spec, "sparkpost", msys(
        '{ "options" : { "open_tracking" : true, "click_tracking" : true } }'))
    assert document["open_tracking"] and document["click_tracking"]


@pytest.mark.parametrize("option", SWITCHED)
def test_sparkpost_switch(spec, option):
    document = sent_one(spec, "sparkpost", msys({"options": {option: True}}))
    assert said(document, *SWITCHED) == {s: s == option for s in SWITCHED}


def test_sparkpost_only_ten_tags(spec):
    document = sent_one(spec, "sparkpost", msys(
        {"tags": [f"t{i}" for i in range(12)]}))
    assert document["labels"] == [f"t{i}" for i in range(10)]


def test_sparkpost_one_copy_each(spec):
    """Though he is on several lists, or in the envelope."""
    documents = sent(spec, "sparkpost", msys({
        "cc": ["a@x.example", RCPT], "bcc": ["A@x.example", "b@x.example"],
        "archive": ["b@x.example", "c@x.example", "c@x.example"]}))
    assert kinds(documents) == {
        RCPT: "to", "a@x.example": "cc", "b@x.example": "bcc",
        "c@x.example": "archive"}


def test_sparkpost_friendly_headers(spec):
    """A name makes it "CC 1 <address>", in Bcc too."""
    assert send(spec, "sparkpost", msys({
        "cc": [{"email": "c@x.example", "name": "CC 1"}],
        "bcc": [{"email": "b@x.example", "name": "BCC 1"}, "d@x.example"],
        "archive": [{"email": "a@x.example", "name": "Archive 1"}]}),
        routes=("mail",)).code == 250
    found = arrived(spec, 5)
    assert {to: m["Bcc"] for to, m in found.items()} == {
        "b@x.example": "BCC 1 <b@x.example>", "d@x.example": "d@x.example",
        "a@x.example": None, "c@x.example": None, RCPT: None}
    for m in found.values():
        assert m["To"] == f"Jane Smith <{RCPT}>"
        assert m["Cc"] == "CC 1 <c@x.example>"


def test_sparkpost_transactional(spec):
    """No List-Unsubscribe is added; what the client sent stays."""
    for sent_header in ([], [("List-Unsubscribe", "<mailto:u@x.example>")]):
        del spec.hop.messages[:]
        assert send(spec, "sparkpost", mail.message(headers=[
            ("X-MSYS-API", '{"options":{"transactional":true}}'),
            *sent_header]), routes=("mail",)).code == 250
        [m] = arrived(spec, 1).values()
        assert m.get_all("List-Unsubscribe", []) == [
            v for _, v in sent_header]


def test_sparkpost_copies_are_counted(spec):
    """Each is a message, with a result of his own in the log."""
    reply = send(spec, "sparkpost", msys({"bcc": ["b@x.example"],
                                          "archive": ["c@x.example"]}))
    [event] = spec.daemon.events(reply.queue_id, "message")
    assert event["accepted"] == "3"
    calls = spec.daemon.events(reply.queue_id, "call")
    assert sorted(c["to"] for c in calls) == [
        "b@x.example", "c@x.example", RCPT]


def test_sparkpost_at_most_1000_copies(spec):
    def lists(total):
        return msys({"cc": [f"c{i}@x.example" for i in range(400)],
                     "bcc": [f"b{i}@x.example" for i in range(400)],
                     "archive": [f"a{i}@x.example"
                                 for i in range(total - 800)]}
                    | {"metadata": {}})
    check_refused(spec, "sparkpost", lists(1001),
                  "X-MSYS-API 'cc', 'bcc' and 'archive' are limited to 1000 "
                  "recipients")


def test_sparkpost_to_is_the_client_s(spec):
    document = sent_one(spec, "sparkpost", mail.message(drop=["To"]))
    assert "to" not in document
    spec.api.forget()
    document = sent_one(spec, "sparkpost", mail.message(
        headers=[("To", "The Team <team@there.example>")]))
    assert document["to"] == "The Team <team@there.example>"


FOLDED = """{"options" : {"open_tracking" : false, "click_tracking" : true},
   "metadata" : {"has_pets" : true, "pet_name": "Spot" }, "tags" : ["cat",
   "dog"], "campaign_id" : "my_campaign"}"""
CORRUPTED = """{"options" : {"open_tracking" : false }, "campaign_id" : "my_awes
   ome_campaign" }"""


def raw(value):
    return mail.message(headers=[("X-MSYS-API", value)])


def test_sparkpost_folded(spec):
    document = sent_one(spec, "sparkpost", raw(FOLDED))
    assert said(document, "tag", "labels", "metadata", "click_tracking") == {
        "tag": "my_campaign", "labels": ["cat", "dog"], "click_tracking": True,
        "metadata": {"has_pets": True, "pet_name": "Spot"}}


def test_sparkpost_a_fold_is_one_blank(spec):
    document = sent_one(spec, "sparkpost", raw(CORRUPTED))
    assert document["tag"] == "my_awes ome_campaign"


def test_sparkpost_longer_than_a_line(spec):
    """Folded at 998, and by a client that does not care."""
    metadata = {f"key_{i}": "value " * 4 for i in range(80)}
    text = json.dumps({"metadata": metadata})
    assert len(text) > 2 * 998
    for value in (text, re.sub(r"(.{900,990}?) ", r"\1\n ", text)):
        spec.api.forget()
        assert sent_one(spec, "sparkpost", raw(value))["metadata"] == metadata


NON_ASCII = {"campaign_id": "été", "tags": ["naïve", "請求"],
             "metadata": {"größe": "a\nb"}}


@pytest.mark.parametrize("value", [
    json.dumps(NON_ASCII),
    "=?utf-8?B?" + base64.b64encode(json.dumps(
        NON_ASCII, ensure_ascii=False).encode()).decode() + "?=",
], ids=["escaped", "RFC 2047"])
def test_sparkpost_not_ascii(spec, value):
    document = sent_one(spec, "sparkpost", raw(value))
    assert said(document, "tag", "labels", "metadata") == {
        "tag": "été", "labels": ["naïve", "請求"],
        "metadata": {"größe": "a\nb"}}


def test_sparkpost_no_templates(spec):
    """substitution_data is ignored, and so are braces."""
    document = sent_one(spec, "sparkpost", msys(
        {"substitution_data": {"name": "Jane"}, "campaign_id": "{{name}}"},
        body="<p>{{name}}</p>", subject="Hi {{name}}"))
    assert (document["subject"], lines(document["html"]), document["tag"]) == (
        "Hi {{name}}", "<p>{{name}}</p>", "{{name}}")
    assert "variables" not in document and "Jane\"" not in json.dumps(document)


def test_sparkpost_subaccount(spec):
    document = sent_one(spec, "sparkpost", mail.message(),
                        user="SMTP_Injection:X-MSYS-SUBACCOUNT=123")
    assert document["subaccount"] == "123"


def test_sparkpost_sender_of_a_subaccount(spec):
    """A sending domain that is assigned to it must be used."""
    check_refused(
        spec, "sparkpost", mail.message(headers=[("From", "x@evil.example")]),
        "From: this account may not send as x@evil.example; it may send as: "
        "customer.example", enhanced="5.7.1",
        options=("--sender", "customer.example"),
        user="SMTP_Injection:X-MSYS-SUBACCOUNT=123")


@pytest.mark.parametrize("how", ["auth_login_raw", "auth_plain_raw"])
def test_sparkpost_login(spec, how):
    key, _, _ = spec.local_key("--dialect", "sparkpost")
    with spec.client() as c:
        assert getattr(c, how)("SMTP_Injection", key).code == 235


@pytest.mark.parametrize("route", [None, "pool-a", "POOL-B"])
def test_sparkpost_ip_pool(spec, route):
    value = {"options": {"ip_pool": route}} if route else {}
    document = sent_one(spec, "sparkpost", msys(value),
                        routes=("pool-a", "pool-b"),
                        options=("--default-route", "pool-b"))
    assert document["route_id"] == (route or "pool-b").lower()


@pytest.mark.parametrize("sender", [
    SENDER, "bounces+17@elsewhere.example", ""])
def test_sparkpost_any_mail_from(spec, sender):
    document = sent_one(spec, "sparkpost", mail.message(), sender=sender)
    assert document["return_path"] == sender


@pytest.mark.parametrize("parts, has", [
    ((TEXT, AMP, HTML), {"text", "html"}), ((AMP, HTML), {"html"}),
    ((TEXT, AMP), {"text"})], ids=["three", "beside HTML", "beside text"])
def test_sparkpost_amp(spec, parts, has):
    document = sent_one(spec, "sparkpost", alternative(*parts))
    assert "amp4email" in document["amp"]
    assert {"text", "html"} & document.keys() == has


MISPLACED = ("Content-Type: text/x-amp-html must be within a "
             "multipart/alternative, beside a text/html or text/plain part")


@pytest.mark.parametrize("message", [
    alternative(AMP), mail.multipart_message("mixed", TEXT, AMP, HTML),
    mail.message("<html amp4email>", content_type="text/x-amp-html")],
    ids=["alone", "in a mixed", "the whole message"])
def test_sparkpost_amp_misplaced(spec, message):
    check_refused(spec, "sparkpost", message, MISPLACED)


def test_sparkpost_css_of_amp(spec):
    """Is never brought inline, so that nothing hinders."""
    amp = "<html amp4email><style amp-custom>p{color:red}</style></html>"
    data = alternative(TEXT, mail.part(amp, "text/x-amp-html"), HTML,
                       headers=[("X-MSYS-API", json.dumps(
                           {"options": {"inline_css": True}}))])
    assert send(spec, "sparkpost", data, routes=("mail",)).code == 250
    [m] = arrived(spec, 1).values()
    [part] = [p for p in m.walk()
              if p.get_content_type() == "text/x-amp-html"]
    assert part.get_content().strip() == amp


def test_sparkpost_body_as_it_is(spec):
    """HTML, text, both, and files."""
    document = sent_one(spec, "sparkpost", mail.message(
        "hello", content_type="text/plain"))
    assert lines(document["text"]) == "hello" and "html" not in document
    spec.api.forget()
    document = sent_one(spec, "sparkpost", with_pdf(
        mail.nested("alternative", TEXT, HTML, boundary="in")))
    assert (lines(document["html"]), lines(document["text"])) == (
        "<p>h</p>", "the text")
    assert files(document) == [("invoice.pdf", "application/pdf", False, PDF)]


def test_sparkpost_a_hundred_messages_in_a_session(spec):
    key, _, _ = spec.local_key("--dialect", "sparkpost")
    with spec.client(key, user="SMTP_Injection") as c:
        for i in range(100):
            assert c.deliver(SENDER, [RCPT],
                             msys({"campaign_id": f"c{i}"})).code == 250
    assert [d["tag"] for d in messages(spec)] == [
        f"c{i}" for i in range(100)]


# --- all of them -------------------------------------------------------------


@pytest.mark.parametrize("provider", ["emaildelivery", "flexmail",
                                      "campaignmonitor", "sparkpost"])
@pytest.mark.parametrize("port", ["587", "2525"])
def test_starttls(spec, provider, port):
    """Log in under STARTTLS; there is no other way."""
    key, _, _ = spec.local_key("--dialect", provider)
    user = "SMTP_Injection" if provider == "sparkpost" else key
    with spec.client(port=port, tls=False) as c:
        assert c.has_extn("starttls") and not c.has_extn("auth")
        assert c.auth_plain_raw(user, key).code == 503
        c.start_tls()
        assert c.auth_plain_raw(user, key).code == 235
        assert c.deliver(SENDER, [RCPT], mail.message()).code == 250
    assert len(messages(spec)) == 1


FILES = [mail.part(PNG, "image/png; name=logo.png", "Content-ID: <logo@shop>",
                   "Content-Disposition: inline; filename=logo.png"),
         mail.part(PDF, "application/pdf", "Content-Disposition: attachment; "
                   "filename*=utf-8''M%C3%A4rz.pdf")]
WAITING = [
    ("emaildelivery", with_pdf(
        mail.nested("alternative", TEXT, HTML, boundary="in"),
        x_transactional_tag="t")),
    ("flexmail", with_pdf(
        mail.nested("alternative", TEXT, HTML, boundary="in"),
        headers=[*EXAMPLE, ("Message-ID", "<44@shop.example>")])),
    ("campaignmonitor", mail.multipart_message(
        "mixed", mail.part('<p>J&ouml;rg <img src="cid:logo@shop">',
                           "text/html"), *FILES,
        headers=[(GROUP, "Password reset"), ("List-Id", "x")])),
    ("sparkpost", mail.multipart_message(
        "mixed", mail.nested("alternative", TEXT, AMP, HTML, boundary="in"),
        *FILES, headers=[
            ("X-MSYS-API", PAGE.replace("\n", "\n ")), ("X-Other", "Größe")])),
]


@pytest.mark.parametrize("provider, message", WAITING,
                         ids=[w[0] for w in WAITING])
def test_the_queue_sends_what_direct_sends(spec, provider, message):
    """Of each dialect, to each kind of recipient."""
    routes = ("my_ip_pool", "later")
    if provider == "emaildelivery":
        message = b"X-Transactional-Route: %s\r\n" + message
    found = []
    for route in routes:
        spec.api.forget()
        data = message.replace(b"my_ip_pool", route.encode()).replace(
            b"%s", route.encode())
        reply = send(spec, provider, data, [RCPT, "b@x.example"],
                     routes=routes, options=("--default-route", route))
        [event] = spec.daemon.events(reply.queue_id, "message")
        assert event["result"] == ("queued" if route == "later" else "sent")
        spec.postfix.deliver_all()
        documents = {d["recipient"]["email"]: d for d in messages(spec)}
        for document in documents.values():
            assert document.pop("route_id") == route
            document.pop("ip_pool", None)
        found.append(documents)
    direct, queued = found
    assert len(direct) == (8 if provider == "sparkpost" else 2)
    assert direct == queued


AS_MAIL = [
    ("emaildelivery", [("X-Transactional-Tag", "t")]),
    ("flexmail", EXAMPLE[:3]),
    ("campaignmonitor", [(GROUP, "g"), ("X-Cmail-TrackOpens", "false"),
                         ("X-PM-Tag", "g")]),
    ("sparkpost", [("X-MSYS-API", '{"campaign_id": "c", "tags": ["t"]}')]),
]


@pytest.mark.parametrize("provider, headers", AS_MAIL,
                         ids=[a[0] for a in AS_MAIL])
def test_control_headers_do_not_leave(spec, provider, headers):
    """Those of another provider neither."""
    others = [h for p, more in AS_MAIL if p != provider for h in more]
    assert send(spec, provider, with_pdf(
        mail.nested("alternative", TEXT, HTML, boundary="in"),
        headers=[*headers, *others, ("X-Shop", "Über uns")]),
        routes=("mail",)).code == 250
    [m] = arrived(spec, 1).values()
    names = {n.lower() for n in m.keys()}
    assert not names & {n.lower() for _, more in AS_MAIL for n, _ in more}
    assert m["From"] == "The Shop <shop@customer.example>"
    assert m["Subject"] == "Your order"
    if provider == "emaildelivery":  # keeps four headers, and HTML
        assert "x-shop" not in names
        assert m.get_content().strip() == "<p>h</p>"
        return
    assert m["X-Shop"] == "Über uns"
    assert m.get_body(("plain",)).get_content().strip() == "the text"
    assert m.get_body(("html",)).get_content().strip() == "<p>h</p>"
    [pdf] = m.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content()) == ("invoice.pdf", PDF)


def test_flexmail_tracking_by_mail(spec):
    """Where nobody would track, who asks is told."""
    check_refused(spec, "flexmail", mail.message(headers=EXAMPLE[3:]),
                  'X-Flexmail-Open-Tracking: the route "mail" cannot do this: '
                  "open tracking", routes=("mail",))


@pytest.mark.parametrize("port", ["587", "2525", "8025"])
def test_no_implicit_tls(spec, port):
    """What two of the pages call SSL: a handshake before any SMTP."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(
            ("127.0.0.1", spec.postfix.port(port)), 10) as s:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(s)
