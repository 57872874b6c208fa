#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What Postfix's queue costs: the same messages handed to the API while the
client waits (direct), and out of the queue (queued), in turns.

    queue_bench.py --build DIRECTORY [--quick] [--cells S:20,S:200,...]

A cell is message:connections (gen_messages.py).  A run sends a fixed number
of messages as fast as they go.  `client` is how fast they were accepted,
`through` how fast the API had all of them: from the first connection to the
last call.  CPU is for 1000 messages, until the queue is empty: `front` is
smtpd and cleanup, `queue` is qmgr and lmtp.  Of each message accepted the API
must have got exactly one call, else it is a failure.  Needs root, as Postfix's
master does.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, namedtuple
from pathlib import Path

import procs
import report
from gen_messages import write_messages
from rig import KEY, Rig

Cell = namedtuple("Cell", "name message connections")

CELLS = "S:20,M:20,L:20,S:200,M:200,L:200"
MODES = ("direct", "queued")
MESSAGES = {"S": 4000, "M": 2000, "L": 200}
QUICK = 5  # a fifth of them
REPETITIONS = 3
ARRIVAL_MAX = 300
SEQ_STEP = 10**7

COLUMNS = (
    ("client msg/s", "client", "{:.0f}"),
    ("through msg/s", "through", "{:.0f}"),
    ("dot p50 ms", "dot.p50", "{:.1f}"),
    ("dot p99 ms", "dot.p99", "{:.1f}"),
    ("CPU txmilter", "cpu_txmilter", "{:.3f}"),
    ("CPU front", "cpu_front", "{:.3f}"),
    ("CPU queue", "cpu_queue", "{:.3f}"),
    ("CPU rest of Postfix", "cpu_rest", "{:.3f}"),
    ("peak MB", "peak_mb", "{:.1f}"),
    ("lost", "lost", "{:.0f}"),
    ("twice", "twice", "{:.0f}"),
)


def parse_cell(name):
    message, _, connections = name.partition(":")
    if message not in MESSAGES or not connections.isdigit():
        raise argparse.ArgumentTypeError(f"{name}: not a cell")
    return Cell(name, message, int(connections))


class Runner:
    def __init__(self, rig, messages, quick):
        self.rig = rig
        self.messages = messages
        self.quick = quick
        self.runs = 0
        self.offset = 0

    def run(self, cell, mode):
        """One run with a fresh daemon; its figures."""
        with self.rig.milters(0, mode) as pids:
            self._load(cell, 200)  # until Postfix has its processes
            self._settle()
            before = procs.cpu(pids["TXM"])
            with procs.CpuByName(self.rig.postfix_pid) as postfix:
                result = self._measure(cell)
                self._settle()
            result["cpu_txmilter"] = procs.cpu(pids["TXM"]) - before
            result["peak_mb"] = procs.peak_memory(pids["TXM"])
        parts = {"front": ("smtpd", "cleanup"), "queue": ("qmgr", "lmtp")}
        for part, names in parts.items():
            result[f"cpu_{part}"] = sum(postfix.seconds.pop(n, 0)
                                        for n in names)
        result["cpu_rest"] = sum(postfix.seconds.values())
        for name in result:
            if name.startswith("cpu_") and name != "cpu_s":
                result[name] *= 1000 / max(result["accepted"], 1)
        return {**result, "cell": cell.name, "peer": mode}

    def _measure(self, cell):
        n = MESSAGES[cell.message] // (QUICK if self.quick else 1)
        calls = self.rig.stub.stats()["sends"]
        start = time.monotonic()
        result = self._load(cell, n)
        deadline = time.monotonic() + ARRIVAL_MAX
        while self.rig.stub.stats()["sends"] - calls < result["accepted"] \
                and time.monotonic() < deadline:
            time.sleep(0.02)
        result["client"] = result["rate"]
        result["through"] = result["accepted"] / (time.monotonic() - start)
        return result

    def _load(self, cell, n):
        self.runs += 1
        accepted = self.rig.dir / "accepted"
        out = subprocess.run(
            [self.rig.tools / "smtpload", "-K", KEY, "-n", str(n),
             "-d", str(ARRIVAL_MAX), "-c", str(cell.connections),
             "-s", str(self.runs * SEQ_STEP), "-a", accepted,
             self.rig.address["TXM"], self.messages / f"{cell.message}.eml"],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)

    def _settle(self):
        """Until the queue is empty. What arrived is then compared."""
        deadline = time.monotonic() + ARRIVAL_MAX
        while self.rig.postfix.queue_ids() and time.monotonic() < deadline:
            time.sleep(0.2)

    def check(self, result):
        """Of the last load."""
        sent, self.offset = self.rig.stub.sent_since(self.offset)
        of_run = Counter(s for s in sent
                         if int(s) // SEQ_STEP == self.runs)
        accepted = set((self.rig.dir / "accepted").read_text().split())
        result["lost"] = len(accepted - set(of_run))
        result["twice"] = sum(of_run.values()) - len(of_run)


def measure(args, directory):
    results = {}
    log = args.build / "bench" / "queue.jsonl"
    with Rig(args.build, directory, {0}) as rig, log.open("w") as out:
        runner = Runner(rig, args.build / "bench" / "messages", args.quick)
        for cell in args.cells:
            runs = results[cell.name] = []
            for repetition in range(1 if args.quick else REPETITIONS):
                # Neither is always the first.
                for mode in MODES[::-1 if repetition % 2 else 1]:
                    run = runner.run(cell, mode)
                    runner.check(run)
                    run["repetition"] = repetition
                    runs.append(run)
                    print(json.dumps(run), file=out, flush=True)
                    show(run)
    return results


def show(run):
    print(f"{run['cell']:6} {run['peer']:7} client {run['client']:5.0f}, "
          f"through {run['through']:5.0f} msg/s, lost {run['lost']}, twice "
          f"{run['twice']} {run['first_error']}", file=sys.stderr, flush=True)


def figures_table(results):
    rows = []
    for cell, runs in results.items():
        for mode in MODES:
            of = [r for r in runs if r["peer"] == mode]
            rows.append([cell, mode, len(of), *(
                fmt.format(report.median(report.get(r, path) for r in of))
                for _, path, fmt in COLUMNS)])
    return report.table(["cell", "mode", "runs", *(c[0] for c in COLUMNS)],
                        rows)


def complaints(runs):
    return "\n".join(
        f"{r['cell']} {r['peer']}: lost {r['lost']}, twice {r['twice']}, "
        f"{r['started'] - r['accepted']} not accepted: {r['first_error']}"
        for r in runs
        if r["lost"] or r["twice"] or r["accepted"] < r["started"])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    parser = argparse.ArgumentParser(
        description="hand-off out of Postfix's queue against a direct one")
    parser.add_argument("--build", type=Path, required=True,
                        help="build directory")
    parser.add_argument("--quick", action="store_true",
                        help="a fifth of the messages, once")
    parser.add_argument("--cells", default=CELLS,
                        type=lambda s: [parse_cell(c) for c in s.split(",")])
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("queue_bench.py needs root, as Postfix's master does")
    write_messages(args.build / "bench" / "messages")
    # Not /tmp, which may be in memory: the queue must be on a disk.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        results = measure(args, Path(directory))
    print(figures_table(results))
    sys.exit(complaints([r for v in results.values() for r in v]) or None)


if __name__ == "__main__":
    main()
