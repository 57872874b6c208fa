#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make demo: a private Postfix, txmilter and a stand-in API, with real mail.

Makes a key with txmilterctl (nobody else is asked about keys), sends messages
with swaks, a stock SMTP client, and shows for each the SMTP lines that matter,
the JSON that reached the API, and every log line of that queue id, Postfix' and
txmilter's.  Exit status 1 when anything came out differently than said.

KEEP=1 leaves everything running, says how to talk to it, and ends on Ctrl-C.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import net
from daemon import binary
from fake_api import Account, Route
from relay import Relay

API_KEY = "demo-key-7Hq3vXzP9mTtR2"  # what the provider gave the operator
SENDER = "shop@customer.example"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(2000)
PDF = b"%PDF-1.4\n" + b"0 0 obj\n" * 3000


def html(text):
    return ["--add-header", "Content-Type: text/html; charset=utf-8",
            "--body", f"<p>{text}</p>"]


def login(key, user="apikey"):
    return ["--auth", "PLAIN", "--auth-user", user,
            "--auth-password", key]


class Demo(Relay):
    def __init__(self, directory):
        super().__init__(directory, log_level="info")
        self.failures = []
        self.key = ""
        self.daemon.config["keys"] = {"check": "none"}
        self.secret(API_KEY)
        self.api.accounts[API_KEY] = Account(
            "Demo Shop", [Route("kT3vb9", "Main")])
        self.daemon.config["route own"] = {
            "handoff": "transport",
            "transport": f"smtp:[127.0.0.1]:{self.postfix.sink.port}"}

    def make_key(self):
        self.heading("The operator makes a key for an application")
        file = self.file("api.key", API_KEY.encode() + b"\n")
        text = self.manage("key", "add", "--account", "demo-shop",
                           "--route", "kT3vb9:Main", "--route", "own",
                           "--default-route", "kT3vb9",
                           "--api-key-file", file,
                           "--label", "the demo's shop")
        self.key = self.secret(re.search(r"^key: +(\S+)", text, re.M)[1])
        text = self.manage("key", "add", "--account", "news",
                           "--dialect", "sparkpost", "--route", "kT3vb9",
                           "--api-key-file", file)
        self.other_key = self.secret(
            re.search(r"^key: +(\S+)", text, re.M)[1])

    def manage(self, *words):
        """A txmilterctl command, shown with its output."""
        print(f"    # txmilterctl {' '.join(words)}")
        text = self.daemon.ctl(*words)
        print("".join(f"    {line}\n" for line in text.splitlines()))
        return text

    # --- the messages ------------------------------------------------------

    def run(self):
        self.make_key()
        self.message(
            "An application logs in with its API key",
            "587", [*login(self.key), "--h-To", "Jane Smith <jane@there.example>",
                    "--h-Subject", "Your order {{number}}",
                    "--header", "X-Transactional-Tag: Orders",
                    "--header", 'X-Transactional-Variables: '
                    '{"number": 12345678901234567890, "total": 1.0}',
                    *html("Thank you.")],
            expect="250 2.0.0",
            api={"to": "jane@there.example", "toname": "Jane Smith",
                 "tag": "orders", "body": "<p>Thank you.</p>"})
        self.message(
            "A wrong key is refused when it logs in",
            "587", [*login("txk_wrong"), *html("never sent")],
            expect="535 5.7.8")
        self.message(
            "An application that cannot log in has its key in a header",
            "2587", ["--header", f"X-Auth-APIKey: {self.key}",
                     "--h-Subject", "By header", *html("Hello.")],
            expect="250 2.0.0", api={"subject": "By header"})
        self.message(
            "Text and HTML, an image and a PDF: the HTML is sent, the rest "
            "dropped", "2525",
            [*login(self.key), "--h-Subject", "Invoice",
             "--attach-type", "text/plain", "--attach-body", "plain text",
             "--attach-type", "text/html",
             "--attach-body", "<h1>Invoice</h1>",
             "--attach-type", "image/png", "--attach-name", "logo.png",
             "--attach", "@" + self.file("logo.png", PNG),
             "--attach-type", "application/pdf",
             "--attach-name", "invoice.pdf",
             "--attach", "@" + self.file("invoice.pdf", PDF)],
            expect="250 2.0.0", api={"body": "<h1>Invoice</h1>"})
        self.message(
            "A To header with a bare name, as the provider's page says",
            "8025", [*login(self.key), "--h-To", "Jane Smith",
                     "--h-Subject", "Bare name", *html("Dear Jane,")],
            expect="250 2.0.0",
            api={"to": "jane@there.example", "toname": "Jane Smith"})
        self.message(
            "A tag the provider would not take is refused, by its name",
            "587", [*login(self.key), "--header",
                    "X-Transactional-Tag: spring sale!", "--h-Subject",
                    "Refused", *html("never sent")],
            expect="550 5.6.0 X-Transactional-Tag")
        self.api.stop()
        self.message(
            "The API is down: Postfix keeps the message",
            "587", [*login(self.key), "--h-Subject", "Later", *html("Hello.")],
            expect="250 2.0.0")
        self.api_is_back()
        self.api.fault("send", to="nobody@there.example", status=400,
                       body={"description": "No such address."})
        self.message(
            "One of two recipients is refused: the sender gets a bounce",
            "587", [*login(self.key), "--to",
                    "jane@there.example,nobody@there.example",
                    "--h-Subject", "For two", *html("Hello.")],
            expect="250 2.0.0", api={"to": "jane@there.example"})
        self.bounce("No such address.")
        self.message(
            "A route that leaves by a transport, as mail",
            "587", [*login(self.key), "--header",
                    "X-Transactional-Route: own", "--h-Subject", "As mail",
                    *html("Hello.")], expect="250 2.0.0")
        self.mail_that_left("As mail")
        self.message(
            "An application of SparkPost's, as it is, by the same API",
            "587", [*login(self.other_key, "SMTP_Injection"),
                    "--h-Subject", "Receipt", "--header",
                    'X-MSYS-API: {"campaign_id": "receipts", '
                    '"metadata": {"order": 17}}',
                    "--attach-type", "text/plain",
                    "--attach-body", "Thanks.",
                    "--attach-type", "text/html",
                    "--attach-body", "<p>Thanks.</p>"],
            expect="250 2.0.0", api={"tag": "receipts",
                                     "body": "<p>Thanks.</p>"})
        self.heading("The operator looks, and revokes the key")
        self.manage("status")
        self.manage("stats")
        key_id = self.daemon.ctl_json("key", "list")["keys"][0]["key_id"]
        self.manage("key", "revoke", key_id)
        self.message(
            "From then on the key is wrong",
            "587", [*login(self.key), *html("never sent")],
            expect="535 5.7.8")
        if os.environ.get("KEEP"):
            self.make_key()

    def api_is_back(self):
        self.heading("The API is back: the queue goes on")
        marks = len(self.postfix.log()), len(self.daemon.log())
        [queue_id] = self.postfix.queue_ids()
        self.api.forget()
        self.api.start()
        self.postfix.deliver_all()
        sends = self.show_api()
        self.show_logs(marks, queue_id)
        self.check(len(sends) == 1, f"{len(sends)} messages reached the API")

    def bounce(self, words):
        found = self.postfix.sink.wait_for(SENDER)
        text = found[0].data.decode() if found else ""
        lines = [line for line in text.splitlines() if words in line]
        print("".join(f"    {line}\n" for line in lines[:3]))
        self.check(bool(lines), f"the bounce says {words!r}")

    def mail_that_left(self, subject):
        self.postfix.deliver_all()
        found = [m.data.decode() for m in self.postfix.sink.messages
                 if f"Subject: {subject}\r\n".encode() in m.data]
        for line in found[0].splitlines() if found else []:
            print(f"    {line}")
        self.check(len(found) == 1, f"{len(found)} messages left as mail")

    def file(self, name, content):
        path = self.dir / name
        path.write_bytes(content)
        return str(path)

    def message(self, title, port, options, expect, api=None):
        """expect: how the reply to the last command begins. api: what the
        API must have got, among others; None: nothing."""
        self.heading(f"{title} (port {port})")
        marks = len(self.postfix.log()), len(self.daemon.log())
        self.api.forget()
        dialogue = self.swaks(port, options)
        reply = self.show_dialogue(dialogue)
        sends = self.show_api()
        self.show_logs(marks)
        self.check(reply.startswith(expect),
                   f"the client hears {expect}, not {reply!r}")
        self.check(len(sends) == (0 if api is None else 1),
                   f"{len(sends)} messages reached the API")
        for name, value in (api or {}).items():
            got = sends[0].get(name) if sends else None
            self.check(str(got).strip() == value,
                       f"{name} is {value!r}, not {got!r}")

    def swaks(self, port, options):
        return subprocess.run(
            ["swaks", "--server", "127.0.0.1",
             "--port", str(self.postfix.port(port)), "--tls",
             "--from", SENDER, "--to", "jane@there.example",
             "--auth-hide-password", "--timeout", "60", *options],
            text=True, capture_output=True).stdout

    # --- showing -----------------------------------------------------------

    def heading(self, text):
        print(f"\n=== {text}\n")

    def show_dialogue(self, dialogue):
        """The lines that matter. Returns the reply to the last command but
        QUIT."""
        reply, in_data = "", False
        for line in dialogue.splitlines():
            direction, text = line[:3], line[4:].strip()
            if direction in (" ->", " ~>"):
                if text == "QUIT":
                    break
                control = re.match(
                    r"(X-(Trans|Auth)\S+|From|To|Subject|Content-Type):", text)
                if text == ".":
                    in_data = False
                if not in_data or control:
                    print(f"    C: {hide(text)}")
                in_data = in_data or text == "DATA"
            elif direction in ("<- ", "<~ ", "<~*", "<-*"):
                reply = text
                if re.match(r"(?!220)\d+ (?!CHUNKING)|250-(STARTTLS|AUTH)",
                            text):
                    print(f"    S: {text}")
        return reply

    def show_api(self):
        print("\n    The API got:")
        sends = self.api.sends
        for document in sends:
            text = json.dumps(document, indent=2, ensure_ascii=False)
            print("\n".join("      " + line for line in text.splitlines()))
        if not sends:
            print("      nothing")
        return sends

    def show_logs(self, marks, queue_id=None):
        """Both logs since the marks: the lines of the queue id if there is
        one, else all that is not about coming and going."""
        if queue_id is None:
            net.wait_until(
                lambda: "disconnect from" in self.postfix.log()[marks[0]:], 5)
        logs = self.postfix.log()[marks[0]:], self.daemon.log()[marks[1]:]
        match = re.search(r" (\w+): client=", logs[0])
        queue_id = match[1] if match else queue_id
        pattern = rf"\b{queue_id}\b" if queue_id else r"warning:|: (sasl|key)"
        print(f"\n    The log{' of ' + queue_id if queue_id else ''}:")
        for log in logs:
            for line in log.splitlines():
                if re.search(pattern, line):
                    print(f"      {shorten(line)}")
        print()

    def check(self, good, what):
        if not good:
            self.failures.append(what)
            print(f"    NOT AS EXPECTED: {what}")

    # --- KEEP=1 ------------------------------------------------------------

    def keep(self):
        ports = ", ".join(f"{name} is {port}" for name, port in
                          self.postfix.ports.items())
        self.heading("Still running")
        print(f"""\
    On 127.0.0.1: port {ports}
    The key:  {self.key}
    The API:  {self.api.url} (GET /userroutes, /ping; POST /transactional/send)
    Logs:     tail -f {self.postfix.log_path} {self.daemon.log_path}
    Config:   {self.daemon.conf}

    swaks --server 127.0.0.1 --port {self.postfix.port('587')} --tls \\
        --auth PLAIN --auth-user apikey --auth-password {self.key} \\
        --from {SENDER} --to you@there.example --h-Subject hello \\
        --add-header 'Content-Type: text/html' --body '<p>hello</p>'

    Stop it: Ctrl-C, or kill {os.getpid()}""", flush=True)
        try:
            self.follow()
        except KeyboardInterrupt:
            print()

    def follow(self):
        """Shows what reaches the API until somebody stops it."""
        seen = len(self.api.sends)
        while True:
            net.wait_until(lambda: len(self.api.sends) > seen, 3600, 0.2)
            for document in self.api.sends[seen:]:
                print(json.dumps(document, ensure_ascii=False), flush=True)
            seen = len(self.api.sends)


def hide(text):
    """Keys as a log would show them; and long values."""
    text = re.sub(r"^(AUTH \w+) .*", r"\1 (user name and key)", text)
    return shorten(re.sub(r"txk_[a-z2-7]{20,}", "(the key)", text))


def shorten(text, most=400):
    return text if len(text) <= most else text[:most] + "..."


def missing():
    if os.getuid() != 0:
        return "Postfix' master needs root: sudo make demo"
    if not Path(binary()).exists():
        return f"{binary()} is not there: run make first"
    for program in ("postfix", "swaks", "openssl"):
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        if shutil.which(program, path=path) is None:
            return f"{program} is not installed: make demo installs it"
    if "TLS supported" not in subprocess.run(
            ["swaks", "--support"], text=True, capture_output=True).stdout:
        return "swaks cannot do TLS: apt-get install libnet-ssleay-perl"
    return None


def main():
    if problem := missing():
        sys.exit(f"demo: {problem}")
    directory = tempfile.mkdtemp(prefix="txmilter-demo.")
    os.chmod(directory, 0o755)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo = Demo(directory)
    try:
        demo.start()
        demo.run()
        print("=== All as expected." if not demo.failures else
              f"=== {len(demo.failures)} things were not as expected:\n    " +
              "\n    ".join(demo.failures), flush=True)
        if os.environ.get("KEEP"):
            demo.keep()
    finally:
        demo.stop()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if demo.failures else 0)


if __name__ == "__main__":
    main()
