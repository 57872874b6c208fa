# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with Django."""

import json
import smtplib
import sys
from email.mime.image import MIMEImage
from email.utils import formataddr
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives

m = json.loads(Path(sys.argv[1]).read_text())

settings.configure(
    EMAIL_HOST=m["host"],
    EMAIL_PORT=m["port"],
    EMAIL_HOST_USER=m["user"],
    EMAIL_HOST_PASSWORD=m["password"],
    EMAIL_USE_TLS=True,
)


def mailbox(who):
    return formataddr((who["name"], who["address"]))


def build():
    content = {
        "subject": m["subject"],
        "from_email": mailbox(m["from"]),
        "to": [mailbox(w) for w in m["to"]],
        "cc": [mailbox(w) for w in m["cc"]],
        "bcc": [mailbox(w) for w in m["bcc"]],
        "reply_to": [mailbox(w) for w in m["reply_to"]],
        "headers": m["headers"],
    }
    if "text" in m:
        msg = EmailMultiAlternatives(body=m["text"], **content)
        if "html" in m:
            msg.attach_alternative(m["html"], "text/html")
    else:
        msg = EmailMessage(body=m["html"], **content)
        msg.content_subtype = "html"
    if m["inline"]:
        msg.mixed_subtype = "related"
    for a in m["inline"]:
        image = MIMEImage(Path(a["path"]).read_bytes())
        image.add_header("Content-ID", f"<{a['cid']}>")
        image.add_header("Content-Disposition", "inline", filename=a["name"])
        msg.attach(image)
    for a in m["attachments"]:
        msg.attach(a["name"], Path(a["path"]).read_bytes(), a["type"])
    return msg


try:
    build().send()
except smtplib.SMTPException as e:
    sys.exit(str(e))
