# SPDX-License-Identifier: MIT
"""What a message becomes at the API: from the SMTP client to the JSON, through
Postfix and the daemon."""

import json

import pytest

import mail
from relay import RCPT, SENDER

TAG = "X-Transactional-Tag"
VARIABLES = "X-Transactional-Variables"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256)) * 8


def sent(relay, message, key=None, recipients=(RCPT,), **kw):
    """The one document the API got for the message."""
    key = key or relay.new_key()
    reply = relay.send(key, message, recipients, **kw)
    assert reply.code == 250 and reply.queue_id, reply
    [document] = relay.api.sends
    return document


# --- the envelope and the ordinary headers ---------------------------------


def test_whole_document(relay):
    document = sent(relay, mail.message(
        "<p>Héllo</p>", reply_to="Help <help@customer.example>",
        x_transactional_tag="Welcome", x_transactional_route="main",
        headers=[(VARIABLES, '{"a":1}')]))
    assert document == {
        "to": RCPT, "toname": "Jane Smith", "fromname": "The Shop",
        "fromemail": "shop@customer.example", "returnpath": SENDER,
        "subject": "Your order", "replyto": "Help <help@customer.example>",
        "tag": "welcome", "route": "main", "variables": {"a": 1},
        "body": document["body"]}
    assert document["body"].strip() == "<p>Héllo</p>"


@pytest.mark.parametrize("port", ["587", "2525", "8025", "2587"])
def test_every_port(relay, port):
    assert sent(relay, mail.message(), port=port)["to"] == RCPT


def test_request_is_what_the_api_wants(relay):
    key = relay.new_key()
    sent(relay, mail.message(), key)
    [call] = relay.api.calls("send")
    assert call.method == "POST"
    assert call.header("Content-Type").startswith("application/json")
    assert call.header("X-Auth-APIKey") == key
    assert len(call.header("Idempotency-Key")) >= 16
    assert call.header("Transfer-Encoding") is None


def test_null_sender(relay):
    assert sent(relay, mail.message(), sender="")["returnpath"] == ""


def test_every_other_header_is_dropped(relay):
    document = sent(relay, mail.message(headers=[
        ("Cc", "cc@there.example"), ("Bcc", "bcc@there.example"),
        ("X-MSYS-API", "{not json"), ("X-Cmail-GroupName", "g" * 900),
        ("X-Transactional-Unknown", "x"), ("List-Unsubscribe", "<x:y>"),
        ("X-Txmilter-Route", "smtp:"), ("X-Txmilter-Plan", "x"),
        ("Received", "from x by y; now"), ("DKIM-Signature", "v=1")]))
    assert document.keys() <= {
        "to", "toname", "fromname", "fromemail", "returnpath", "subject",
        "replyto", "tag", "route", "template", "variables", "body"}
    assert "there.example" not in json.dumps(
        {k: v for k, v in document.items() if k != "to"})


FROM = [
    ("plain address", "a@b.example", "", "a@b.example"),
    ("quoted comma", '"Doe, Joe" <a@b.example>', "Doe, Joe", "a@b.example"),
    ("utf-8", "=?utf-8?Q?Doe=2C_Jos=C3=A9?= <a@b.example>", "Doe, José",
     "a@b.example"),
    ("windows-1252", "=?windows-1252?Q?Caf=E9_=80?= <a@b.example>", "Café €",
     "a@b.example"),
    ("koi8-r", "=?koi8-r?B?8NLJ18XU?= <a@b.example>", "Привет",
     "a@b.example"),
    ("iso-2022-jp", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= <a@b.example>",
     "日本", "a@b.example"),
    ("folded", "Joe\n Doe\n <a@b.example>", "Joe Doe", "a@b.example"),
    ("raw utf-8", "José <a@b.example>", "José", "a@b.example"),
]


@pytest.mark.parametrize("value,name,address", [f[1:] for f in FROM],
                         ids=[f[0] for f in FROM])
def test_from(relay, value, name, address):
    document = sent(relay, mail.message(headers=[("From", value)]))
    assert (document["fromname"], document["fromemail"]) == (name, address)


SUBJECTS = [
    ("plain", "Hello", "Hello"),
    ("folded", "Hello\n there,\n\tJane", "Hello there, Jane"),
    ("encoded words", "=?utf-8?Q?R=C3=A9initialisation?= du mot de passe",
     "Réinitialisation du mot de passe"),
    ("two words joined", "=?utf-8?B?w6k=?=\n =?utf-8?B?w6k=?=", "éé"),
    ("koi8-r", "=?koi8-r?B?8NLJ18XU?=", "Привет"),
    ("windows-1252", "=?windows-1252?Q?Caf=E9?=", "Café"),
    ("raw utf-8", "Déjà vu", "Déjà vu"),
    ("percent and quotes", '100% "off" \\o/', '100% "off" \\o/'),
    ("jinja", "Hi {{name}}", "Hi {{name}}"),
]


@pytest.mark.parametrize("value,subject", [s[1:] for s in SUBJECTS],
                         ids=[s[0] for s in SUBJECTS])
def test_subject(relay, value, subject):
    document = sent(relay, mail.message(subject=value))
    assert document["subject"] == subject


def test_reply_to_with_several_mailboxes(relay):
    value = "A <a@b.example>, c@d.example"
    assert sent(relay, mail.message(reply_to=value))["replyto"] == value


# --- names of recipients (V18) ---------------------------------------------

TO = [
    ("quoted comma", '"Doe, Joe" <r@x.example>', "Doe, Joe"),
    ("encoded comma", "=?utf-8?Q?Doe=2C_Jos=C3=A9?= <r@x.example>",
     "Doe, José"),
    ("bare name", "Joe User", "Joe User"),
    ("bare name, encoded", "=?utf-8?Q?Jos=C3=A9?= User", "José User"),
    ("name and empty brackets", "Joe User <>", "Joe User"),
    ("other case", "Joe <R@X.Example>", "Joe"),
    ("no name", "r@x.example", ""),
    ("another address", "Joe User <other@y.example>", "Joe User"),
    ("one of several", "A <a@b.example>, Joe <r@x.example>", "Joe"),
    ("not among several", "A <a@b.example>, C <c@d.example>", ""),
    ("empty group", "undisclosed-recipients:;", ""),
    ("in a group", "Friends: Joe <r@x.example>, B <b@c.example>;", "Joe"),
    ("empty", "", ""),
]


@pytest.mark.parametrize("value,name", [t[1:] for t in TO],
                         ids=[t[0] for t in TO])
def test_name_of_the_recipient(relay, value, name):
    document = sent(relay, mail.message(headers=[("To", value)]),
                    recipients=["r@x.example"])
    assert (document["to"], document["toname"]) == ("r@x.example", name)


def test_no_to_header(relay):
    assert sent(relay, mail.message(drop=["To"]))["toname"] == ""


def test_names_of_several_recipients(relay):
    rcpts = ["a@x.example", "b@x.example", "hidden@x.example"]
    reply = relay.send(relay.new_key(), mail.message(
        headers=[("To", "Ann <A@x.example>, Nobody"),
                 ("Cc", "Bob <b@x.example>")]), rcpts)
    assert reply.code == 250
    names = {d["to"]: d["toname"] for d in relay.api.sends}
    assert names == {"a@x.example": "Ann", "b@x.example": "",
                     "hidden@x.example": ""}


def test_a_recipient_given_twice_gets_one_message(relay):
    reply = relay.send(relay.new_key(), mail.message(),
                       ["a@x.example", "a@X.EXAMPLE", "a@x.example"])
    assert reply.code == 250
    assert len(relay.api.sends) == 1


def test_many_recipients(relay):
    rcpts = [f"r{i}@x.example" for i in range(120)]
    reply = relay.send(relay.new_key(), mail.message(), rcpts)
    assert reply.code == 250
    assert sorted(d["to"] for d in relay.api.sends) == sorted(rcpts)
    keys = {c.header("Idempotency-Key") for c in relay.api.calls("send")}
    assert len(keys) == 120


ADDRESSES = ["first.last+tag@x.example", '"with blank"@x.example',
             "o'neil@x.example", "a{b}|c~%d@x.example", "UPPER@X.Example"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_recipient_addresses(relay, address):
    document = sent(relay, mail.message(), recipients=[address])
    assert document["to"].lower() == address.lower()


def test_recipient_in_utf8(relay):
    address = "josé@x.example"
    with relay.client(relay.new_key()) as c:
        c.command_encoding = "utf-8"
        c.command(f"MAIL FROM:<{SENDER}> SMTPUTF8")
        assert c.command(f"RCPT TO:<{address}>").code == 250
        assert c.send_data(mail.message()).code == 250
    [document] = relay.api.sends
    assert document["to"] == address


# --- control headers as real clients send them (V1 to V7) ------------------

LONG = {"campaign_id": "my_campaign",
        "metadata": {"has_pets": True, "pet_name": "Spot",
                     "order": "A-12345678901234567890"},
        "tags": ["cat", "dog"],
        "options": {"open_tracking": False, "click_tracking": True,
                    "transactional": True}}
X80 = "x" * 80

VECTORS = [
    ("V1 PHPMailer, us-ascii Q words with raw JSON",
     '=?us-ascii?Q?{"options":{"open=5Ftracking":false,"click=5Ftr?=\n'
     ' =?us-ascii?Q?acking":false,"transactional":true,"sandbox":fa?=\n'
     ' =?us-ascii?Q?lse}}?=',
     {"options": {"open_tracking": False, "click_tracking": False,
                  "transactional": True, "sandbox": False}}),
    ("V2 Python, B words and a Q word",
     '=?utf-8?b?eyJjYW1wYWlnbl9pZCI6Im15X2NhbXBhaWduIiwibWV0YWRhdGEi?=\n'
     ' =?utf-8?b?OnsiaGFzX3BldHMiOnRydWUsInBldF9uYW1lIjoiU3BvdCIsIm9yZGVyIjoi'
     'QS0x?=\n'
     ' =?utf-8?b?MjM0NTY3ODkwMTIzNDU2Nzg5MCJ9LCJ0YWdzIjpbImNhdCIsImRvZyJdLCJv'
     'cHRp?=\n'
     ' =?utf-8?b?b25zIjp7Im9wZW5fdHJhY2tpbmciOmZhbHNlLCJjbGlja190cmFja2luZyI6'
     'dHJ1?=\n'
     ' =?utf-8?q?e=2C=22transactional=22=3Atrue=7D=7D?=', LONG),
    ("V3 Python, partly encoded",
     '{"campaign_id": =?utf-8?b?IsOpdMOpIiwgInRhZ3MiOiBbIm5hw692ZSJd?=\n'
     ' =?utf-8?q?=7D?=', {"campaign_id": "été", "tags": ["naïve"]}),
    ("V4 Python, folded at blanks",
     '{"campaign_id": "my_campaign", "metadata": {"has_pets": true,\n'
     ' "pet_name": "Spot", "order": "A-12345678901234567890"}, "tags": '
     '["cat",\n "dog"], "options": {"open_tracking": false, '
     '"click_tracking": true,\n "transactional": true}}', LONG),
    ("V5 Python MIMEText, empty first line",
     "\n " + json.dumps(LONG, separators=(",", ":")), LONG),
    ("V6 nodemailer, two words on the last line",
     '=?UTF-8?Q?=7B=22metadata=22=3A=7B=22k=22=3A=22xxxx?=\n'
     ' =?UTF-8?Q?' + "x" * 40 + '?=\n =?UTF-8?Q?' + "x" * 36 +
     '=22?= =?UTF-8?Q?=7D=7D?=', {"metadata": {"k": X80}}),
    ("V7 Ruby, one Q word with raw braces",
     "=?UTF-8?Q?{=22campaign=5Fid=22:=22=C3=A9t=C3=A9=22}?=",
     {"campaign_id": "été"}),
    ("V8 slashes", '{"metadata":{"message_id":"topic/1@forum.example"}}',
     {"metadata": {"message_id": "topic/1@forum.example"}}),
    ("V9 a fold inside a string is a blank", '{"c":"my_awes\n ome"}',
     {"c": "my_awes ome"}),
    ("one line of 20 kB", json.dumps({"k": "v" * 20000}),
     {"k": "v" * 20000}),
    ("empty object", "{}", {}),
    ("raw utf-8", '{"name":"José"}', {"name": "José"}),
    ("8-bit, not utf-8", b'{"name":"Jos\xe9"}', {"name": "José"}),
    ("B words, each padded",
     '=?utf-8?B?eyJhIjoiYiIs?=\n =?utf-8?B?ImMiOg==?=\n =?utf-8?B?MX0=?=',
     {"a": "b", "c": 1}),
    ("escapes", r'{"a":"\u00e9\n\"\\"}', {"a": 'é\n"\\'}),
]


@pytest.mark.parametrize("value,variables", [v[1:] for v in VECTORS],
                         ids=[v[0] for v in VECTORS])
def test_variables(relay, value, variables):
    document = sent(relay, mail.message(headers=[(VARIABLES, value)]))
    assert document["variables"] == variables


def test_numbers_of_variables_pass_unchanged(relay):
    text = '{"big":12345678901234567890,"one":1.0,"exp":1E30,"neg":-0}'
    sent(relay, mail.message(headers=[(VARIABLES, text)]))
    assert text.encode() in relay.api.calls("send")[0].body


@pytest.mark.parametrize("value", ["", " ", "\n "])
def test_empty_variables_are_none(relay, value):
    document = sent(relay, mail.message(headers=[(VARIABLES, value)]))
    assert document.get("variables") is None


TAGS = [("trimmed, lower case", " Foo.Bar-1_x ", "foo.bar-1_x"),
        ("eighteen", "a" * 18, "a" * 18),
        ("encoded", "=?utf-8?Q?abc?=", "abc"),
        ("empty first line", "\n welcome", "welcome"),
        ("empty", "", ""), ("blank", "   ", "")]


@pytest.mark.parametrize("value,tag", [t[1:] for t in TAGS],
                         ids=[t[0] for t in TAGS])
def test_tag(relay, value, tag):
    document = sent(relay, mail.message(headers=[(TAG, value)]))
    assert (document.get("tag") or "") == tag


def test_first_occurrence_counts(relay):
    document = sent(relay, mail.message(headers=[
        (TAG, "one"), ("x-transactional-TAG", "two"), (TAG, "three!")]))
    assert document["tag"] == "one"


@pytest.mark.parametrize("name", ["x-transactional-tag",
                                  "X-TRANSACTIONAL-TAG"])
def test_names_in_any_case(relay, name):
    assert sent(relay, mail.message(headers=[(name, "one")]))["tag"] == "one"


def test_template_brings_subject_and_body(relay):
    key = relay.new_key(templates={"t-1": {"subject": "From template"}})
    document = sent(relay, mail.message(
        "", [("X-Transactional-Template", "t-1")], drop=["Subject"]), key)
    assert document["template"] == "t-1"
    assert not document.get("subject") and not document.get("body")


# --- routes ----------------------------------------------------------------


def test_the_only_route_is_used(relay):
    key = relay.new_key(routes=["r-1"])
    assert sent(relay, mail.message(), key)["route"] == "r-1"


@pytest.mark.parametrize("route", ["r-1", "r-2"])
def test_named_route_is_used(relay, route):
    key = relay.new_key(routes=["r-1", "r-2"])
    document = sent(relay, mail.message(x_transactional_route=route), key)
    assert document["route"] == route


# --- bodies ----------------------------------------------------------------

BODIES = [
    ("html", mail.message("<p>a</p>"), "<p>a</p>"),
    ("text becomes html",
     mail.message('1 < 2 & "x"\nnext', content_type="text/plain"),
     "1 &lt; 2 &amp; &quot;x&quot;<br>\nnext"),
    ("no content type is text",
     mail.message("a <b>\n", drop=["Content-Type"]), "a &lt;b&gt;<br>\n"),
    ("base64 utf-8",
     mail.message("PHA+w6k8L3A+\n",
                  headers=[("Content-Transfer-Encoding", "base64")]),
     "<p>é</p>"),
    ("quoted-printable iso-8859-15",
     mail.message("<p>=A4 =E9=\n</p>\n",
                  content_type="text/html; charset=iso-8859-15",
                  headers=[("Content-Transfer-Encoding",
                            "quoted-printable")]), "<p>€ é</p>"),
    ("8-bit windows-1252 called iso-8859-1",
     mail.message(b"<p>\x80</p>\r\n",
                  content_type="text/html; charset=iso-8859-1"), "<p>€</p>"),
    ("wrong charset: not utf-8 as it says",
     mail.message(b"<p>caf\xe9!</p>\r\n"), "<p>caf\ufffd!</p>"),
    ("unknown charset of plain ASCII",
     mail.message("<p>a</p>", content_type="text/html; charset=x-foo"),
     "<p>a</p>"),
    ("gb18030", mail.message("<p>中</p>".encode("gb18030"),
                             content_type="text/html; charset=gb18030"),
     "<p>中</p>"),
    ("alternative: html is used",
     mail.multipart_message("alternative", mail.part("text"),
                            mail.part("<p>h</p>", "text/html")), "<p>h</p>"),
    ("html first",
     mail.multipart_message("alternative", mail.part("<p>h</p>", "text/html"),
                            mail.part("text")), "<p>h</p>"),
    ("image and pdf are dropped",
     mail.multipart_message(
         "mixed",
         mail.nested("alternative", mail.part("text"),
                     mail.part("<p>h</p>", "text/html"), boundary="in"),
         mail.part(PNG, "image/png"),
         mail.part(b"%PDF-1.4", "application/pdf",
                   'Content-Disposition: attachment; filename="a.pdf"')),
     "<p>h</p>"),
    ("attached html is not the body",
     mail.multipart_message(
         "mixed", mail.part("the text"),
         mail.part("<p>attached</p>", "text/html",
                   'Content-Disposition: attachment; filename="a.html"')),
     "the text"),
    ("related inside alternative",
     mail.multipart_message(
         "alternative", mail.part("text"),
         mail.nested("related", mail.part("<p>h</p>", "text/html"),
                     mail.part(PNG, "image/png", "Content-ID: <x>"),
                     boundary="in")), "<p>h</p>"),
    ("alternative inside related",
     mail.multipart_message(
         "related",
         mail.nested("alternative", mail.part("text"),
                     mail.part("<p>h</p>", "text/html"), boundary="in"),
         mail.part(PNG, "image/png")), "<p>h</p>"),
    ("signed: its first part",
     mail.multipart_message(
         "signed", mail.part("<p>h</p>", "text/html"),
         mail.part(b"sig", "application/pkcs7-signature")), "<p>h</p>"),
    ("no end boundary",
     mail.multipart_message("mixed", mail.part("<p>h</p>", "text/html"),
                            close=False), "<p>h</p>"),
    ("empty html, then text",
     mail.multipart_message("alternative", mail.part(" \n", "text/html"),
                            mail.part("the text")), "the text"),
    ("preamble and epilogue",
     mail.message("preamble\n--b\nContent-Type: text/html\n\n<p>h</p>\n"
                  "--b--\n<p>epilogue</p>\n",
                  content_type="multipart/mixed; boundary=b"), "<p>h</p>"),
    ("bare line feeds",
     mail.message(b"<p>a</p>\n<p>b</p>\n"), "<p>a</p>\r\n<p>b</p>"),
    ("leading dots", mail.message(".\n..a\n"), ".\r\n..a"),
]


@pytest.mark.parametrize("message,body", [b[1:] for b in BODIES],
                         ids=[b[0] for b in BODIES])
def test_body(relay, message, body):
    document = sent(relay, message)
    assert _lines(document["body"]) == _lines(body)


def _lines(text):
    """Line ends are CRLF on the way; a last one more or less is nothing."""
    return text.replace("\r\n", "\n").rstrip("\n").removesuffix("<br>")


def test_large_message_with_attachment(relay):
    message = mail.multipart_message(
        "mixed", mail.part("<p>h</p>", "text/html"),
        mail.part(PNG * 2000, "application/pdf",
                  "Content-Disposition: attachment"))
    assert len(message) > 5_000_000
    assert sent(relay, message)["body"].strip() == "<p>h</p>"


def test_large_body_is_whole(relay):
    lines = "".join(f"<p>line {i} é</p>\n" for i in range(60000))
    body = sent(relay, mail.message(lines))["body"]
    assert body.replace("\r\n", "\n") == lines


# --- the log ---------------------------------------------------------------


def test_one_queue_id_tells_the_story(relay):
    key = relay.new_key()
    reply = relay.send(key, mail.multipart_message(
        "mixed", mail.part(PNG, "image/png"),
        mail.part("<p>h</p>", "text/html")))
    postfix = "\n".join(relay.postfix.log_of(reply.queue_id))
    assert "milter-discard: END-OF-MESSAGE" in postfix
    [call] = relay.daemon.events(reply.queue_id, "call")
    assert call["to"] == RCPT and call["api"] == "main"
    assert (call["status"], call["result"]) == ("200", "accepted")
    assert int(call["ms"]) >= 0
    [event] = relay.daemon.events(reply.queue_id, "message")
    assert event["result"] == "sent"
    assert event["key"] == event["account"]
    assert f"sasl_username={event['account']}:{event['key']}" in postfix
    assert (event["dialect"], event["route"]) == ("emaildelivery", "main")
    assert event["handoff"] == "direct"
    assert (event["rcpts"], event["accepted"]) == ("1", "1")
    assert int(event["bytes"]) > 0 and int(event["parts"]) == 2
