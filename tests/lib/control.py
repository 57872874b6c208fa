# SPDX-License-Identifier: MIT
"""The management protocol (milter/control.h), spoken by hand: to say what
txmilterctl never would.

    with Control(daemon) as c:
        code, nonce, output = c.ask("command ping\\n\\n")
"""

import hashlib
import hmac

from milter_client import MilterClient


class Control(MilterClient):
    def __init__(self, daemon, timeout=30):
        super().__init__(daemon.milter_socket, timeout)
        self.admin_secret = daemon.admin_secret.read_text().strip().encode()
        self.negotiate()
        self.nonce = ""

    def request(self, proof, body):
        """(code, nonce, output); whatever the proof is."""
        self.macros("M", txmilter_admin=proof)
        self.mail("")
        self.rcpt("control")
        self.end_of_headers()
        self.body(body)
        answer = self.end_of_message()
        assert answer.kind == "d"
        text = b"".join(data for kind, data in answer.edits if kind == "b")
        first, _, output = text.partition(b"\n")
        code, nonce = first.decode().split(" ")
        return int(code), nonce, output.decode()

    def hello(self):
        code, self.nonce, _ = self.request("hello", b"")
        return code

    def proof(self, body, secret=None, nonce=None):
        return hmac.new(secret or self.admin_secret,
                        (nonce or self.nonce).encode() + body,
                        hashlib.sha256).hexdigest()

    def ask(self, text):
        if not self.nonce:
            assert self.hello() == 0
        body = text.encode()
        code, self.nonce, output = self.request(self.proof(body), body)
        return code, output
