# SPDX-License-Identifier: MIT
"""CPU time and memory of processes, from /proc (Linux)."""

import os
import threading
from collections import Counter, defaultdict
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """(parent, CPU seconds of it, of its ended and awaited children)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The command name, in parentheses, may hold anything.
    field = text[text.rindex(")") + 2:].split()
    return (int(field[1]), (int(field[11]) + int(field[12])) / TICK,
            (int(field[13]) + int(field[14])) / TICK)


def cpu(pid):
    """Seconds of one process, all its threads, ended ones too."""
    return _stat(pid)[1]


def tree_cpu(root):
    """Seconds of a process and all below it, with those that have ended: an
    ended child's time is its parent's from then on."""
    stats, children = {}, defaultdict(list)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stats[int(pid)] = _stat(pid)
        except OSError:
            continue
        children[stats[int(pid)][0]].append(int(pid))
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        if pid in stats:
            total += stats[pid][1] + stats[pid][2]
            todo += children[pid]
    return total


def machine_cpu():
    """Seconds of CPU that anybody used since the machine started."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def peak_memory(pid):
    """The most resident memory the process ever had, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no VmHWM for {pid}")


class CpuByName:
    """CPU seconds of a process' children, by their command names, while it is
    entered: looked at ten times a second, so that what a child used in the
    last moment of its life is missing."""

    def __init__(self, parent):
        self.parent = parent
        self.seconds = Counter()
        self._last = {}  # pid -> seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._look(Counter())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._look(self.seconds)

    def _work(self):
        while not self._over.wait(0.1):
            self._look(self.seconds)

    def _look(self, into):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent, used, _ = _stat(pid)
                if parent == self.parent:
                    name = Path(f"/proc/{pid}/comm").read_text().strip()
                    into[name] += used - self._last.get(pid, 0)
                    self._last[pid] = used
            except OSError:
                continue
