# SPDX-License-Identifier: MIT
"""A milter whose every step can be told to misbehave, for tests of the
wiring without the daemon.

    FakeMilter(path, {"B": "hang"})     # C H M R T L N B E
    FakeMilter(path, {"E": add_header("X-Txmilter-Route", "smtp:") + CONTINUE})

A step is "die" (the connection is cut), "hang" (no answer), "garbage", or the
bytes to answer; CONTINUE when it is not named.
"""

import shutil
import socket
import struct
import threading

CONTINUE = struct.pack("!IB", 1, ord("c"))
DISCARD = struct.pack("!IB", 1, ord("d"))

# What we may ask for (SMFIF_*) and which steps to leave out (none).
ACTIONS = 0x1FF


def packet(command, data=b""):
    return struct.pack("!IB", len(data) + 1, ord(command)) + data


def add_header(name, value):
    return packet("h", f"{name}\0{value}\0".encode())


class FakeMilter:
    def __init__(self, path, steps=None):
        self.steps = steps or {}
        self.seen = []  # (command letter, data)
        self._stop = threading.Event()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(100)
        shutil.chown(path, group="postfix")
        path.chmod(0o660)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._stop.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def headers(self):
        return [tuple(data[:-1].split(b"\0")) for command, data in self.seen
                if command == "L"]

    def _accept(self):
        while not self._stop.is_set():
            try:
                conn, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,),
                             daemon=True).start()

    def _serve(self, conn):
        with conn, conn.makefile("rb") as f:
            while head := f.read(4):
                data = f.read(struct.unpack("!I", head)[0])
                command, data = chr(data[0]), data[1:]
                self.seen.append((command, data))
                if not self._answer(conn, command):
                    return

    def _answer(self, conn, command):
        if command == "O":
            conn.sendall(packet("O", struct.pack("!III", 6, ACTIONS, 0)))
        elif command == "Q":
            return False
        elif command not in "DA":
            step = self.steps.get(command, CONTINUE)
            if step == "die":
                return False
            if step == "hang":
                self._stop.wait()
                return False
            conn.sendall(b"\xff" * 8 if step == "garbage" else step)
        return True
