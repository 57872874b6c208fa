# SPDX-License-Identifier: MIT
"""Sends the message of a JSON file (see README) with swaks."""

import json
import subprocess
import sys
from pathlib import Path


def mailboxes(people):
    return ", ".join(f'"{w["name"]}" <{w["address"]}>' if w["name"] else
                     w["address"] for w in people)


def command(m):
    people = m["to"] + m["cc"] + m["bcc"]
    words = ["swaks", "--silent", "2", "--server", m["host"],
             "--port", str(m["port"]), "--tls", "--tls-verify",
             "--tls-ca-path", m["ca"], "--auth", "PLAIN",
             "--auth-user", m["user"], "--auth-password", m["password"],
             "--from", m["from"]["address"],
             "--to", ",".join(w["address"] for w in people),
             "--h-From", mailboxes([m["from"]]), "--h-To", mailboxes(m["to"]),
             "--h-Subject", m["subject"]]
    for field, key in (("Cc", "cc"), ("Reply-To", "reply_to")):
        if m[key]:
            words += ["--add-header", f"{field}: {mailboxes(m[key])}"]
    for name, value in m["headers"].items():
        words += ["--add-header", f"{name}: {value}"]
    for key, kind in (("text", "text/plain"), ("html", "text/html")):
        if key in m:
            words += ["--attach-type", f"{kind}; charset=utf-8",
                      "--attach-body", m[key]]
    for a in m["attachments"]:
        words += ["--attach-type", a["type"], "--attach-name", a["name"],
                  "--attach", "@" + a["path"]]
    return words


sys.exit(subprocess.run(command(json.loads(Path(sys.argv[1]).read_text())),
                        stdin=subprocess.DEVNULL).returncode)
