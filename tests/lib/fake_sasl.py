# SPDX-License-Identifier: MIT
"""A Dovecot auth server for tests of the wiring without the daemon: every
password that `accounts` knows logs in as the user it names."""

import base64
import shutil
import socketserver
import threading


class FakeSasl:
    def __init__(self, path, accounts):
        fake = self
        self.accounts = accounts

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                fake._serve(self.rfile, self.wfile)

        path.unlink(missing_ok=True)
        self._server = socketserver.ThreadingUnixStreamServer(
            str(path), Handler)
        self._server.daemon_threads = True
        shutil.chown(path, group="postfix")
        path.chmod(0o660)
        threading.Thread(target=self._server.serve_forever,
                         kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, rfile, wfile):
        wfile.write(b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nSPID\t1\nDONE\n")
        for line in rfile:
            words = line.decode().rstrip("\n").split("\t")
            if words[0] == "AUTH":
                wfile.write(self._answer(words).encode())

    def _answer(self, words):
        initial = [w[5:] for w in words if w.startswith("resp=")]
        password = base64.b64decode(initial[0]).split(b"\0")[2].decode()
        user = self.accounts.get(password)
        if user is None:
            return f"FAIL\t{words[1]}\treason=no such key\n"
        return f"OK\t{words[1]}\tuser={user}\n"
