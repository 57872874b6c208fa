# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with curl: -H for the headers,
-F for the parts."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote


def mailboxes(people):
    return ", ".join(f'"{w["name"]}" <{w["address"]}>' if w["name"] else
                     w["address"] for w in people)


def quoted(text):
    """In quotes, a ; or , is no end of a -F value."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def file_part(a):
    part = (f"=@{quoted(a['path'])};filename={quoted(a['name'])};"
            f"type={a['type']};encoder=base64")
    if "cid" in a:
        part += f';headers="Content-ID: <{a["cid"]}>"'
    return part


def text_part(text, kind):
    return f"={quoted(text)};type={kind}; charset=utf-8;encoder=quoted-printable"


def forms(m):
    yield "=(;type=multipart/alternative"
    if "text" in m:
        yield text_part(m["text"], "text/plain")
    if m["inline"]:
        yield "=(;type=multipart/related"
    if "html" in m:
        yield text_part(m["html"], "text/html")
    if m["inline"]:
        yield from map(file_part, m["inline"])
        yield "=)"
    yield "=)"
    yield from map(file_part, m["attachments"])


def url(m):
    """With the login: in that of --user the name cannot have a colon."""
    login = ":".join(quote(m[key], safe="") for key in ("user", "password"))
    return f"smtp://{login}@{m['host']}:{m['port']}"


def command(m):
    words = ["curl", "--silent", "--show-error", "--ssl-reqd",
             "--cacert", m["ca"], "--url", url(m),
             "--mail-from", m["from"]["address"]]
    for who in m["to"] + m["cc"] + m["bcc"]:
        words += ["--mail-rcpt", who["address"]]
    headers = {"From": mailboxes([m["from"]]), "To": mailboxes(m["to"]),
               "Cc": mailboxes(m["cc"]),
               "Reply-To": mailboxes(m["reply_to"]),
               "Subject": m["subject"], **m["headers"]}
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"] if value else []
    for form in forms(m):
        words += ["-F", form]
    return words


sys.exit(subprocess.run(command(json.loads(Path(sys.argv[1]).read_text())))
         .returncode)
