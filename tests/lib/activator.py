# SPDX-License-Identifier: MIT
"""Starts a program as systemd does with socket units: run as a script, with
descriptors of listening sockets.

    activator.py FD... -- COMMAND...
"""

import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path

FIRST = 3  # sd_listen_fds(3)


def listen(path, user=None, group=None):
    """What a socket unit makes."""
    Path(path).unlink(missing_ok=True)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(str(path))
    if user:
        shutil.chown(path, user, group)
    Path(path).chmod(0o660)
    s.listen(4096)
    return s


def command(sockets, program):
    """For Popen, with pass_fds=descriptors(sockets)."""
    return [sys.executable, __file__, *map(str, descriptors(sockets)), "--",
            *program]


def descriptors(sockets):
    return [s.fileno() for s in sockets]


def main(args):
    end = args.index("--")
    # Out of the way first.
    fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in args[:end]]
    for number, fd in enumerate(fds, FIRST):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
    os.execv(args[end + 1], args[end + 1:])


if __name__ == "__main__":
    main(sys.argv[1:])
