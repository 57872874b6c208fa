# SPDX-License-Identifier: MIT
"""The SMTP client of the tests: smtplib with the raw replies.

    with SmtpClient(port, key="k-1") as c:
        reply = c.deliver("a@x.example", ["b@y.example"], message)
        assert reply.code == 250 and reply.queue_id
"""

import base64
import re
import smtplib
import ssl
from typing import NamedTuple


class Reply(NamedTuple):
    code: int
    enhanced: str  # "5.6.0"; "" when there is none
    text: str

    @property
    def queue_id(self):
        match = re.search(r"queued as (\w+)", self.text)
        return match[1] if match else ""

    def __str__(self):
        return " ".join(str(w) for w in self if w)


class Rejected(Exception):
    """The session did not come so far that a message could be sent."""

    def __init__(self, reply):
        super().__init__(str(reply))
        self.reply = reply


def parse(code, text):
    text = text.decode("utf-8", "replace").replace("\n", " ")
    match = re.match(r"(\d\.\d+\.\d+) (.*)", text, re.S)
    return Reply(code, match[1], match[2]) if match else Reply(code, "", text)


class SmtpClient(smtplib.SMTP):
    """key: log in with it (AUTH PLAIN) after STARTTLS."""

    def __init__(self, port, key=None, tls=True, user="apikey", timeout=60):
        super().__init__("127.0.0.1", port, local_hostname="client.example",
                         timeout=timeout)
        self.ehlo()
        if tls:
            self.start_tls()
        if key is not None:
            reply = self.auth_plain_raw(user, key)
            if reply.code != 235:
                self.close()
                raise Rejected(reply)

    def start_tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self.starttls(context=context)
        except smtplib.SMTPResponseException as e:
            raise Rejected(parse(e.smtp_code, e.smtp_error)) from None
        self.ehlo()

    def command(self, line):
        return parse(*self.docmd(line))

    def auth_plain_raw(self, user, password):
        data = b"\0".join([b"", _bytes(user), _bytes(password)])
        return self.command("AUTH PLAIN " + base64.b64encode(data).decode())

    def auth_login_raw(self, user, password):
        reply = self.command("AUTH LOGIN")
        for word in (user, password):
            if reply.code == 334:
                reply = self.command(
                    base64.b64encode(_bytes(word)).decode() or "=")
        return reply

    def deliver(self, sender, recipients, message, options=""):
        """The whole transaction; the first reply that is not a success, or
        that to the final dot."""
        reply = self.command(f"MAIL FROM:<{sender}>{options}")
        for r in recipients:
            if reply.code != 250:
                return reply
            reply = self.command(f"RCPT TO:<{r}>")
        return self.send_data(message) if reply.code == 250 else reply

    def send_data(self, message):
        """DATA with exactly these bytes (dots are stuffed); str gets CRLF
        line ends."""
        try:
            return parse(*self.data(message))
        except smtplib.SMTPDataError as e:
            return parse(e.smtp_code, e.smtp_error)

    def send_raw(self, data):
        """Bytes of DATA as they are, the final dot included."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send_bytes(data)
        return parse(*self.getreply())

    def send_bytes(self, data):
        self.sock.sendall(data)

    def abort(self):
        """Hangs up without a word."""
        self.close()

    def __exit__(self, *args):
        try:
            super().__exit__(*args)
        except (OSError, smtplib.SMTPException):
            self.close()


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode()
