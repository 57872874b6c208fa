# SPDX-License-Identifier: MIT
"""What is refused, with which code, and that the text says why.

Nothing of a refused message reaches the API.
"""

import pytest

import mail
from relay import RCPT

ROUTE = "X-Transactional-Route"
TAG = "X-Transactional-Tag"
VARIABLES = "X-Transactional-Variables"


def with_header(name, value):
    return mail.message(headers=[(name, value)])


def deep(n):
    return "{" + '"a":{' * (n - 1) + "}" * n


def levels(n):
    """Multiparts inside each other, the body in the innermost."""
    parts = "".join(f"--b{i}\nContent-Type: multipart/mixed; boundary=b{i + 1}"
                    f"\n\n" for i in range(n))
    return mail.message(
        f"{parts}--b{n}\nContent-Type: text/html\n\n<p>h</p>\n",
        content_type="multipart/mixed; boundary=b0")


REFUSED = [
    # name, message, code, enhanced, what the text has
    ("no From", mail.message(drop=["From"]), 550, "5.6.0", "From"),
    ("empty From", with_header("From", ""), 550, "5.6.0", "From"),
    ("two addresses in From", with_header(
        "From", "a@b.example, c@d.example"), 550, "5.6.0", "From"),
    ("group in From", with_header("From", "G: a@b.example;"), 550, "5.6.0",
     "From"),
    ("bare name in From", with_header("From", "Joe User"), 550, "5.6.0",
     "From"),
    ("no Subject", mail.message(drop=["Subject"]), 550, "5.6.0", "Subject"),
    ("empty Subject", mail.message(subject=" "), 550, "5.6.0", "Subject"),
    ("tag of 19", with_header(TAG, "a" * 19), 550, "5.6.0", TAG),
    ("tag with a blank", with_header(TAG, "a b"), 550, "5.6.0", TAG),
    ("tag with a slash", with_header(TAG, "a/b"), 550, "5.6.0", TAG),
    ("tag not ASCII", with_header(TAG, "=?utf-8?Q?=C3=A9?="), 550, "5.6.0",
     TAG),
    ("variables: trailing comma", with_header(VARIABLES, '{"a":1,}'), 550,
     "5.6.0", VARIABLES),
    ("variables: single quotes", with_header(VARIABLES, "{'a':1}"), 550,
     "5.6.0", VARIABLES),
    ("variables: array", with_header(VARIABLES, "[1,2]"), 550, "5.6.0",
     VARIABLES),
    ("variables: string", with_header(VARIABLES, '"a"'), 550, "5.6.0",
     VARIABLES),
    ("variables: two objects", with_header(VARIABLES, "{}{}"), 550, "5.6.0",
     VARIABLES),
    ("variables: cut off", with_header(VARIABLES, '{"a":'), 550, "5.6.0",
     VARIABLES),
    ("variables: 33 deep", with_header(VARIABLES, deep(33)), 550, "5.6.0",
     VARIABLES),
    ("route not of the account", with_header(ROUTE, "nope"), 550, "5.6.0",
     ROUTE),
    ("header of 70 kB", with_header("X-Long", "x" * 70000), 550, "5.6.0",
     "X-Long"),
    ("header of 70 kB, folded", with_header(
        "X-Long", "\n ".join(["x" * 900] * 80)), 550, "5.6.0", "X-Long"),
    ("header of 70 kB, long lines", with_header(
        "X-Long", "\n ".join(["x" * 9000] * 8)), 550, "5.6.0", "X-Long"),
    ("variables of 70 kB", with_header(
        VARIABLES, '{"a":"' + "\n ".join(["x" * 900] * 80) + '"}'), 550,
     "5.6.0", VARIABLES),
    ("1001 headers", mail.message(headers=[
        (f"X-{i}", "x") for i in range(1001)]), 550, "5.6.0", "headers"),
    ("empty body", mail.message(""), 550, "5.6.0", "part"),
    ("only an image", mail.multipart_message(
        "mixed", mail.part(b"\x89PNG", "image/png")), 550, "5.6.0", "part"),
    ("only attachments", mail.multipart_message(
        "mixed", mail.part("<p>a</p>", "text/html",
                           "Content-Disposition: attachment")), 550, "5.6.0",
     "part"),
    ("attached message only", mail.multipart_message(
        "mixed", mail.part("Subject: x\n\nhello", "message/rfc822")), 550,
     "5.6.0", "part"),
    ("multipart without boundary", mail.message(
        "--b\n\nx\n", content_type="multipart/mixed"), 550, "5.6.0",
     "boundary"),
    ("two boundaries", mail.message(
        "--b\n\nx\n--c\n\ny\n",
        content_type="multipart/mixed; boundary=b; boundary=c"), 550,
     "5.6.0", "Content-Type"),
    ("two Content-Types", mail.message(
        "x", headers=[("Content-Type", "text/plain"),
                      ("Content-Type", "text/html")]), 550, "5.6.0",
     "Content-Type"),
    ("unknown charset", mail.message(
        b"<p>\xe9</p>", content_type="text/html; charset=x-foo"), 550,
     "5.6.0", "x-foo"),
    ("70 multiparts deep", levels(70), 550, "5.6.0", ""),
    ("1001 parts", mail.multipart_message(
        "mixed", *[mail.part("", "image/png")] * 1001), 550, "5.6.0",
     "parts"),
    ("body over 10,240,000 bytes", mail.message(
        ("x" * 998 + "\r\n") * 10300), 552, "5.3.4", "10240000"),
]


@pytest.mark.parametrize("message,code,enhanced,text",
                         [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(relay, message, code, enhanced, text):
    key = relay.new_key()
    reply = relay.send(key, message)
    assert (reply.code, reply.enhanced) == (code, enhanced), reply
    assert text in reply.text
    assert not relay.api.calls("send")
    [event] = relay.daemon.events(relay.queue_id(reply), "message")
    assert event["result"] == "refused"
    assert event["reply"].startswith(f"{code} {enhanced}")


def test_a_key_with_200_routes_and_none_named(relay):
    """The text is cut, not broken."""
    key = relay.new_key(routes=[f"route-{i}" for i in range(200)])
    reply = relay.send(key, mail.message())
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert "route-0" in reply.text and len(reply.text) < 900


def test_several_routes_and_none_named(relay):
    key = relay.new_key(routes=["alpha", "beta"])
    reply = relay.send(key, mail.message())
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    for word in (ROUTE, "alpha", "beta"):
        assert word in reply.text
    assert not relay.api.calls("send")


def test_account_without_routes(relay):
    reply = relay.send(relay.new_key(routes=[]), mail.message())
    assert reply.code == 550
    assert "route" in reply.text


@pytest.mark.parametrize("recipient", ["@a.example:b@c.example", "nodomain"])
def test_recipient_that_cannot_be_handed_on(relay, recipient):
    reply = relay.send(relay.new_key(), mail.message(), [RCPT, recipient])
    assert reply.code in (250, 501, 504, 550, 553, 554), reply
    if reply.code == 250:  # Postfix made a plain address of it
        assert {d["to"] for d in relay.api.sends} == {RCPT, "b@c.example"}
    else:
        assert not relay.api.calls("send")


def test_text_of_a_refusal_cannot_break_the_dialogue(relay):
    """CR, LF and % in what is quoted back."""
    key = relay.new_key(routes=["a%sb%d", "c"])
    with relay.client(key) as c:
        reply = c.deliver("a@b.example", [RCPT], mail.message())
        assert reply.code == 550 and "a%sb%d" in reply.text
        assert c.command("NOOP").code == 250


def test_refused_and_then_right_in_one_session(relay):
    with relay.client(relay.new_key()) as c:
        for message, code in ((with_header(TAG, "a b"), 550),
                              (mail.message(), 250),
                              (mail.message(drop=["From"]), 550),
                              (mail.message(subject="second"), 250)):
            assert c.deliver("a@b.example", [RCPT], message).code == code
    assert [d["subject"] for d in relay.api.sends] == ["Your order", "second"]
