# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with Python's smtplib and the
older classes: MIMEText, MIMEMultipart, Header."""

import json
import smtplib
import ssl
import sys
from email import encoders
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr
from pathlib import Path


def mailboxes(people):
    return ", ".join(formataddr((w["name"], w["address"])) for w in people)


def text_parts(m):
    return [MIMEText(m[name], subtype, "utf-8")
            for name, subtype in (("text", "plain"), ("html", "html"))
            if name in m]


def multipart(subtype, parts):
    if len(parts) == 1:
        return parts[0]
    msg = MIMEMultipart(subtype)
    for part in parts:
        msg.attach(part)
    return msg


def file_part(a, disposition):
    part = MIMEBase(*a["type"].split("/"))
    part.set_payload(Path(a["path"]).read_bytes())
    encoders.encode_base64(part)
    name = a["name"]
    part.add_header("Content-Disposition", disposition,
                    filename=name if name.isascii() else ("utf-8", "", name))
    if "cid" in a:
        part.add_header("Content-ID", f"<{a['cid']}>")
    return part


def build(m):
    parts = text_parts(m)
    parts[-1] = multipart("related", [
        parts[-1], *(file_part(a, "inline") for a in m["inline"])])
    msg = multipart("mixed", [
        multipart("alternative", parts),
        *(file_part(a, "attachment") for a in m["attachments"])])
    msg["Subject"] = m["subject"]
    msg["From"] = mailboxes([m["from"]])
    msg["To"] = mailboxes(m["to"])
    if m["cc"]:
        msg["Cc"] = mailboxes(m["cc"])
    if m["reply_to"]:
        msg["Reply-To"] = mailboxes(m["reply_to"])
    for name, value in m["headers"].items():
        msg[name] = value
    return msg


def main(path):
    m = json.loads(Path(path).read_text())
    recipients = [w["address"] for w in m["to"] + m["cc"] + m["bcc"]]
    with smtplib.SMTP(m["host"], m["port"]) as s:
        s.starttls(context=ssl.create_default_context(cafile=m["ca"]))
        s.login(m["user"], m["password"])
        s.sendmail(m["from"]["address"], recipients, build(m).as_string())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except smtplib.SMTPException as e:
        sys.exit(str(e))
