# SPDX-License-Identifier: MIT
"""An SMTP server that takes everything: where Postfix's mail ends up.

A message in `messages` of the relay's tests is mail that left; the tests
about fail-closed say there is none.
"""

import socketserver
import threading
from dataclasses import dataclass, field

import net


@dataclass
class SunkMessage:
    sender: str = ""
    recipients: list = field(default_factory=list)
    data: bytes = b""


class MailSink:
    """refuse: the recipient that does not exist."""

    def __init__(self):
        self.messages = []
        self.refuse = None
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                _serve(self.rfile, self.wfile, sink.messages,
                       lambda: sink.refuse)

        self._server = socketserver.ThreadingTCPServer(
            ("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever,
                         kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def to(self, recipient):
        return [m for m in list(self.messages) if recipient in m.recipients]

    def wait_for(self, recipient, count=1, timeout=20):
        net.wait_until(lambda: len(self.to(recipient)) >= count, timeout)
        return self.to(recipient)


def _serve(rfile, wfile, messages, refuse):
    def say(text):
        wfile.write(text.encode() + b"\r\n")

    say("220 sink ESMTP")
    message = SunkMessage()
    while line := rfile.readline():
        verb = line.split()[0].upper() if line.split() else b""
        if verb == b"EHLO":
            say("250-sink\r\n250 8BITMIME")
        elif verb == b"MAIL":
            message = SunkMessage(_address(line))
            say("250 ok")
        elif verb == b"RCPT":
            if _address(line) == refuse():
                say("550 5.1.1 no such user here")
                continue
            message.recipients.append(_address(line))
            say("250 ok")
        elif verb == b"DATA":
            say("354 go on")
            message.data = _read_data(rfile)
            messages.append(message)
            say("250 ok")
        elif verb == b"QUIT":
            say("221 bye")
            return
        else:
            say("250 ok")


def _address(line):
    return line[line.index(b"<") + 1:line.index(b">")].decode()


def _read_data(rfile):
    lines = []
    while (line := rfile.readline()) and line != b".\r\n":
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)
