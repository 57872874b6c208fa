# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with msmtp, as a script would
that writes its message itself: everything 8-bit UTF-8."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

CONFIGURATION = """\
account default
host {host}
port {port}
tls on
tls_starttls on
tls_trust_file {ca}
auth on
user {user}
password {password}
from {from[address]}
"""


def mailboxes(people):
    return ", ".join(f'"{w["name"]}" <{w["address"]}>' if w["name"] else
                     w["address"] for w in people)


def multipart(subtype, boundary, parts):
    return (f"Content-Type: multipart/{subtype}; boundary={boundary}\n\n" +
            "".join(f"--{boundary}\n{p}\n" for p in parts) +
            f"--{boundary}--\n")


def text_part(text, kind):
    return (f"Content-Type: {kind}; charset=utf-8\n"
            f"Content-Transfer-Encoding: 8bit\n\n{text}")


def file_part(a, disposition):
    data = base64.encodebytes(Path(a["path"]).read_bytes()).decode()
    cid = f"Content-ID: <{a['cid']}>\n" if "cid" in a else ""
    return (f"Content-Type: {a['type']}\n{cid}"
            "Content-Transfer-Encoding: base64\n"
            f"Content-Disposition: {disposition};\n"
            f" filename*=UTF-8''{quote(a['name'])}\n\n{data}")


def content(m):
    parts = []
    if "text" in m:
        parts.append(text_part(m["text"], "text/plain"))
    if "html" in m:
        parts.append(text_part(m["html"], "text/html"))
    if m["inline"]:
        parts[-1] = multipart("related", "=_r", [
            parts[-1], *(file_part(a, "inline") for a in m["inline"])])
    body = multipart("alternative", "=_a", parts)
    if not m["attachments"]:
        return body
    return multipart("mixed", "=_m", [
        body, *(file_part(a, "attachment") for a in m["attachments"])])


def message(m):
    headers = {"From": mailboxes([m["from"]]), "To": mailboxes(m["to"]),
               "Cc": mailboxes(m["cc"]), "Bcc": mailboxes(m["bcc"]),
               "Reply-To": mailboxes(m["reply_to"]),
               "Subject": m["subject"], **m["headers"], "MIME-Version": "1.0"}
    return "".join(f"{name}: {value}\n" for name, value in headers.items()
                   if value) + content(m)


def main(path):
    m = json.loads(Path(path).read_text())
    configuration = Path(path).with_suffix(".msmtprc")
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format_map(m))
    return subprocess.run(["msmtp", "-C", configuration, "-t"],
                          input=message(m).encode()).returncode


sys.exit(main(sys.argv[1]))
