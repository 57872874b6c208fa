# SPDX-License-Identifier: MIT
"""txmilter as a command: options, exit codes, what it says of a bad
configuration."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import mail
from daemon import Daemon, binary
from milter_client import MilterClient


@pytest.fixture
def daemon(top_directory, tmp_path):
    directory = top_directory / tmp_path.name
    sockets = directory / "sockets"
    sockets.mkdir(parents=True)
    sockets.chmod(0o777)
    d = Daemon(directory, sockets, "http://127.0.0.1:1/api")
    d.write_config()
    return d


def test_version(daemon):
    result = daemon.run("-V")
    assert result.returncode == 0
    assert result.stdout.startswith("txmilter ")


def test_good_configuration(daemon):
    assert daemon.run("-t").returncode == 0


@pytest.mark.parametrize("arguments", [["-x"], ["something"], ["-c"]])
def test_usage(arguments):
    result = subprocess.run([binary(), *arguments], capture_output=True,
                            text=True, timeout=30)
    assert result.returncode == 64
    assert "usage: txmilter" in result.stderr


BAD = [
    # name, line, what the error names
    ("unknown option", "colour = blue", "colour"),
    ("unknown section", "[colours]\na = b", "colours"),
    ("not a time", "direct_timeout = 20 minutes", "direct_timeout"),
    ("out of bounds", "direct_timeout = 24h", "direct_timeout"),
    ("not a number", "direct_limit = many", "direct_limit"),
    ("given twice", "socket_group = a", "socket_group"),
    ("no such dialect", "dialect = esperanto", "dialect"),
    ("no such level", "log_level = loud", "log_level"),
    ("bad socket", "milter_socket = /tmp/x", "milter_socket"),
    ("neither option nor section", "hello", "hello"),
    ("line of 300 bytes", "# " + "x" * 300, "line"),
]


@pytest.mark.parametrize("line,word", [b[1:] for b in BAD],
                         ids=[b[0] for b in BAD])
@pytest.mark.parametrize("how", [["-t"], ["-f"]])
def test_bad_configuration(daemon, line, word, how):
    name = line.partition(" =")[0]
    text = daemon.conf.read_text()
    if name != "socket_group":
        text = "\n".join(x for x in text.splitlines()
                         if not x.startswith(f"{name} =")) + "\n"
    daemon.conf.write_text(f"{line}\n{text}" if "[" not in line
                           else f"{text}{line}\n")
    result = daemon.run(*how)
    assert result.returncode == 78, result
    assert f"{daemon.conf}:" in result.stderr
    if word != "hello":
        assert word in result.stderr


def test_no_configuration_file(daemon):
    daemon.conf.unlink()
    result = daemon.run("-t")
    assert result.returncode == 78
    assert str(daemon.conf) in result.stderr


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_secret_file(daemon, secret):
    daemon.secret.unlink()
    if secret is not None:
        daemon.secret.touch(mode=0o640)
        daemon.secret.write_text(secret)
        daemon.secret.chmod(0o644)
    result = daemon.run("-f")
    assert result.returncode == 78
    assert str(daemon.secret) in result.stderr


def test_secret_file_others_can_read(daemon):
    daemon.secret.chmod(0o644)
    result = daemon.run("-f")
    assert result.returncode == 78
    assert str(daemon.secret) in result.stderr


def test_in_the_background(relay, top_directory):
    """It comes back when it serves, and not before."""
    d = Daemon(top_directory / "background", relay.daemon.sockets,
               relay.api.url)
    d.config[""]["milter_socket"] = f"unix:{d.sockets}/background.sock"
    d.config[""]["sasl_socket"] = f"unix:{d.sockets}/background-sasl.sock"
    d.config[""]["lmtp_socket"] = f"unix:{d.sockets}/background-lmtp.sock"
    d.write_config()
    result = d.run()
    assert result.returncode == 0, result
    pid = _find(str(d.conf))
    assert pid is not None
    try:
        with MilterClient(d.sockets / "background.sock").negotiate() as m:
            answer = m.message(
                "a@b.example", ["c@d.example"],
                [("X-Auth-APIKey", relay.new_key()), ("Subject", "x"),
                 ("From", "a@b.example"), ("Content-Type", "text/html")],
                mail.HTML.encode())
        assert answer.kind == "d"
    finally:
        os.kill(pid, signal.SIGTERM)


def _find(word):
    for p in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = p.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            return int(p.parent.name)
    return None
