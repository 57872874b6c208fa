# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with Python's smtplib and
EmailMessage."""

import json
import smtplib
import ssl
import sys
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path


def mailbox(who):
    username, domain = who["address"].rsplit("@", 1)
    return Address(who["name"], username, domain)


def build(m):
    msg = EmailMessage()
    msg["Subject"] = m["subject"]
    msg["From"] = mailbox(m["from"])
    msg["To"] = [mailbox(w) for w in m["to"]]
    for field, name in (("cc", "Cc"), ("bcc", "Bcc"),
                        ("reply_to", "Reply-To")):
        if m[field]:
            msg[name] = [mailbox(w) for w in m[field]]
    for name, value in m["headers"].items():
        msg[name] = value
    if "text" in m:
        msg.set_content(m["text"])
        if "html" in m:
            msg.add_alternative(m["html"], subtype="html")
    else:
        msg.set_content(m["html"], subtype="html")
    for a in m["inline"]:
        maintype, subtype = a["type"].split("/")
        msg.get_body(["html"]).add_related(
            Path(a["path"]).read_bytes(), maintype, subtype,
            filename=a["name"], cid=f"<{a['cid']}>")
    for a in m["attachments"]:
        maintype, subtype = a["type"].split("/")
        msg.add_attachment(Path(a["path"]).read_bytes(), maintype, subtype,
                           filename=a["name"])
    return msg


def main(path):
    m = json.loads(Path(path).read_text())
    with smtplib.SMTP(m["host"], m["port"]) as s:
        s.starttls(context=ssl.create_default_context(cafile=m["ca"]))
        s.login(m["user"], m["password"])
        s.send_message(build(m))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except smtplib.SMTPException as e:
        sys.exit(str(e))
