# SPDX-License-Identifier: MIT
"""Ports, certificates and waiting, for the other files here."""

import socket
import subprocess
import time

_held = []


def free_port():
    """A TCP port of 127.0.0.1 that nobody has. It is bound here, without
    listening, until the process ends: so the kernel gives it to nobody else,
    while SO_REUSEADDR lets Postfix and our own servers listen on it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    _held.append(s)
    return s.getsockname()[1]


def wait_until(condition, timeout=20, step=0.02):
    """The first true value of condition(), or its last one after timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(step)


def can_connect(address):
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as s:
        try:
            s.connect(address)
            return True
        except OSError:
            return False


def wait_for_port(port, why=lambda: "", timeout=20):
    if not wait_until(lambda: can_connect(("127.0.0.1", port)), timeout):
        raise TimeoutError(f"nobody listens on port {port}: {why()}")


def self_signed(cert, chain, name):
    """A certificate for `name` in file `cert`; with its key in `chain`."""
    key = subprocess.run(
        ["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1"],
        check=True, capture_output=True, text=True).stdout
    crt = subprocess.run(
        ["openssl", "req", "-x509", "-new", "-key", "/dev/stdin", "-days",
         "30", "-subj", f"/CN={name}", "-addext",
         f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1"],
        input=key, check=True, capture_output=True, text=True).stdout
    cert.write_text(crt)
    chain.touch(mode=0o600)
    chain.write_text(key + crt)
