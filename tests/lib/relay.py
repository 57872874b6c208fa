# SPDX-License-Identifier: MIT
"""Everything together: a stand-in API, txmilter, and a Postfix in front.

    relay = Relay(directory)
    relay.start()
    key = relay.new_key()
    reply = relay.send(key, mail.message(subject="hello"))
    relay.stop()        # fails if the daemon died or a log holds a key
"""

import base64
import secrets
from pathlib import Path

from daemon import Daemon, USER
from fake_api import Account, FakeApi, Route
from private_postfix import PrivatePostfix
from smtp_client import SmtpClient

SENDER = "app@customer.example"
RCPT = "jane@there.example"


class Relay:
    """config: of the daemon's first section; more by relay.daemon.config.
    api: another one than FakeApi; postfix: more for PrivatePostfix."""

    def __init__(self, directory, substitute=(), api=None, postfix=None,
                 **config):
        self.dir = Path(directory)
        self.api = api or FakeApi()
        self.api.start()
        self.postfix = PrivatePostfix(self.dir / "postfix", substitute,
                                      **(postfix or {}))
        self.postfix.make_socket_directory(USER)
        self.daemon = Daemon(
            self.dir / "txmilter", self.postfix.sockets, self.api.url,
            resubmit=f"inet:{self.postfix.port('10027')}@127.0.0.1", **config)
        self.secrets = set()

    def start(self):
        self.daemon.start()
        self.postfix.start()
        return self

    def stop(self):
        try:
            self.postfix.stop()
            self.daemon.stop()
        finally:
            self.api.stop()
        assert not self.leaks(), self.leaks()

    # --- keys --------------------------------------------------------------

    def new_key(self, routes=("main",), name="Acme", **account):
        """A key of an account of its own, so that tests do not meet in the
        key cache."""
        key = self.secret("k-" + secrets.token_urlsafe(18))
        self.api.accounts[key] = Account(
            name, [Route(r, r.title()) for r in routes], **account)
        return key

    def local_key(self, *options, account=None, routes=("main",), known=None):
        """A key made by txmilterctl, for an account that the API knows by a
        key of its own (or by `known`): (key, its id, the account's id)."""
        account = account or "a" + secrets.token_hex(6)
        known = known or self.new_key(routes)
        file = self.dir / f"{account}.key"
        file.write_text(known + "\n")
        made = self.daemon.ctl_json(
            "key", "add", "--account", account, "--api-key-file", file,
            *[w for r in routes for w in ("--route", r)], *options)
        return self.secret(made["key"]), made["key_id"], account

    def secret(self, text):
        """Something that must never be in a log: see leaks()."""
        self.secrets.add(text)
        return text

    # --- sending -----------------------------------------------------------

    def client(self, key=None, port="587", **kw):
        return SmtpClient(self.postfix.port(port), key, **kw)

    def send(self, key, message, recipients=(RCPT,), sender=SENDER,
             port="587"):
        """One message in a session of its own; key None: no AUTH."""
        with self.client(key, port) as c:
            return c.deliver(sender, recipients, message)

    def send_by_header(self, message, **kw):
        """To the service for keys in headers, not logged in."""
        return self.send(None, message, port="2587", **kw)

    # --- looking -----------------------------------------------------------

    def queue_id(self, reply):
        """Of an accepted message, or else of the last one that was begun."""
        if reply.queue_id:
            return reply.queue_id
        lines = [line for line in self.postfix.log().splitlines()
                 if ": client=" in line]
        return lines[-1].split(": client=")[0].split()[-1]

    def leaks(self):
        """Which log or file of the state holds a secret, in any clothing."""
        places = [self.postfix.log_path, self.daemon.log_path,
                  *(p for p in self.daemon.state.rglob("*") if p.is_file())]
        return [f"{place}: {secret}" for place in places
                for text in [place.read_bytes()]
                for secret in self.secrets
                if any(form in text for form in forms(secret))]


def forms(secret):
    """The secret as it is and inside any base64 text: at each of the three
    offsets, without the characters its neighbours have a part in."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    found = [raw]
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + raw)
        start = (offset * 8 + 5) // 6
        end = (offset + len(raw)) * 8 // 6
        found.append(text[start:end])
    return found
