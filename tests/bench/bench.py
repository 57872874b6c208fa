#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The benchmark: txmilter against the same Postfix without any milter, and
with the least of all milters.

    bench.py --build DIRECTORY [--quick] [--cells S:20,S:20@50,...]

A cell is message:connections, with @milliseconds when the API takes its time.
For each cell a fresh txmilter is started; then, for each repetition, the peers
(rig.py) run one right after the other, each at full load for a few seconds.
With a slow API those without a milter are no comparison.

Checked in each run: of every message that REF or STOCK accepted, the log says
that it was delivered and left the queue; every message that TXM or FLOOR
accepted reached the API exactly once, by its number.  A run where that is not so, or
where anything was refused, is a failure.  What is a target is a line of
report.TARGETS; missing it is not a failure.

CPU is what the processes used from the first connection until the queue is
empty and all is quiet again.  Load client and API stub have the same cores.
Needs root, as Postfix's master does.  Every run is a line of
BUILD/bench/results.jsonl.
"""

import argparse
import json
import os
import re
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

Cell = namedtuple("Cell", "name message connections delay")
# Seconds before and in the measured window, and repetitions.
Plan = namedtuple("Plan", "warm_up window repetitions")

CELLS = ("S:1,M:1,L:1,S:20,M:20,L:20,S:200,M:200,L:200,S:20@50,S:200@200")

# A run of one message number never reaches the next one's.
SEQ_STEP = 10**7
QUIET_CPU = 0.02  # seconds in QUIET_TIME
QUIET_TIME = 0.3
DRAIN_MAX = 60


def parse_cell(name):
    match = re.fullmatch(r"([SML]):(\d+)(?:@(\d+))?", name)
    if match is None:
        raise argparse.ArgumentTypeError(f"{name}: not a cell")
    return Cell(name, match[1], int(match[2]), int(match[3] or 0))


def plan_for(cell, quick):
    """200 connections need time until Postfix has its processes."""
    many = cell.connections >= 100
    compared = cell.connections == 20
    if quick:
        return Plan(2.5 if many else 0.7, 2, 2 if compared else 1)
    return Plan(4 if many else 1, 3, 5 if compared else 3)


def peers_for(cell):
    if cell.delay:
        return ["FLOOR", "TXM"]
    if cell.connections == 20:
        return ["STOCK", "REF", "FLOOR", "TXM"]
    return ["REF", "FLOOR", "TXM"]


class Runner:
    def __init__(self, rig, messages):
        self.rig = rig
        self.messages = messages
        self.runs = 0
        self.api_offset = 0

    def run(self, cell, plan, peer, pids):
        """One peer under load once; the run's figures."""
        pid = pids.get(peer, pids["TXM"])
        before = self._usage(pids)
        log_offset = self.rig.log_size()
        result = self._load(cell, plan, peer)
        after_load = self._usage(pids)
        self._drain(peer, log_offset, result["accepted"], pids)
        after = self._usage(pids)
        per_1000 = 1000 / max(result["accepted"], 1)
        milters = sum(after[p] - before[p] for p in pids)
        result.update(
            peer=peer, cell=cell.name, connections=cell.connections,
            delay=cell.delay,
            cpu_milter=(after[peer] - before[peer]) * per_1000
            if peer in pids else 0,
            cpu_all=(milters + after["postfix"] - before["postfix"]) *
            per_1000,
            peak_mb=procs.peak_memory(pid),
            foreign=self._foreign(before, after_load, result, pids),
            refused=result["refused_4xx"] + result["refused_5xx"] +
            result["broken"] + result["unfinished"],
            **self._check(peer, log_offset, result))
        return result

    def _load(self, cell, plan, peer):
        self.runs += 1
        accepted = self.rig.dir / "accepted"
        out = subprocess.run(
            [self.rig.tools / "smtpload", "-K", KEY,
             "-c", str(cell.connections), "-w", str(plan.warm_up),
             "-d", str(plan.window), "-s", str(self.runs * SEQ_STEP),
             "-a", accepted, self.rig.address[peer],
             self.messages / f"{cell.message}.eml"],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)

    def _usage(self, pids):
        return {**{p: procs.cpu(pid) for p, pid in pids.items()},
                "stub": procs.cpu(self.rig.stub.pid),
                "postfix": procs.tree_cpu(self.rig.postfix_pid),
                "machine": procs.machine_cpu(),
                "time": time.monotonic()}

    def _foreign(self, before, after, result, pids):
        """Cores that were busy with nothing of ours: a noisy run."""
        used = {k: after[k] - before[k] for k in before}
        ours = (sum(used[p] for p in pids) + used["stub"] + used["postfix"] +
                result["cpu_s"])
        return (used["machine"] - ours) / used["time"]

    def _drain(self, peer, log_offset, accepted, pids):
        """Until Postfix' queue is delivered, and all is quiet."""
        deadline = time.monotonic() + DRAIN_MAX
        while peer not in pids and time.monotonic() < deadline and \
                min(self.rig.delivered_since(log_offset)) < accepted:
            time.sleep(0.2)
        used, last = 1, self._busy(pids)
        while used > QUIET_CPU and time.monotonic() < deadline:
            time.sleep(QUIET_TIME)
            now = self._busy(pids)
            used, last = now - last, now

    def _busy(self, pids):
        return sum(map(procs.cpu, pids.values())) + \
            procs.tree_cpu(self.rig.postfix_pid)

    def _check(self, peer, log_offset, result):
        """What was accepted and did not arrive, and what arrived twice."""
        sent, self.api_offset = self.rig.stub.sent_since(self.api_offset)
        if peer in ("REF", "STOCK"):
            delivered, removed = self.rig.delivered_since(log_offset)
            lost = result["accepted"] - min(delivered, removed)
            return {"lost": max(lost, 0), "twice": max(-lost, 0),
                    "unasked": 0}
        accepted = set((self.rig.dir / "accepted").read_text().split())
        counts = Counter(sent)
        return {"lost": len(accepted - set(counts)),
                "twice": sum(counts.values()) - len(counts),
                "unasked": len(set(counts) - accepted)}


def run_cell(runner, cell, plan, on_run):
    runs = []
    peers = peers_for(cell)
    with runner.rig.milters(cell.delay) as pids:
        for repetition in range(plan.repetitions):
            for peer in peers:
                run = runner.run(cell, plan, peer, pids)
                run["repetition"] = repetition
                on_run(run)
                runs.append(run)
            peers.reverse()  # neither is always the first
    return runs


def show(run):
    print(f"{run['cell']:10} {run['peer']:5} {run['rate']:7.0f} msg/s "
          f"p50 {run['message']['p50']:7.1f} p99 {run['message']['p99']:7.1f} "
          f"ms, CPU/1000 {run['cpu_milter']:.3f} of {run['cpu_all']:.3f} s, "
          f"{run['peak_mb']:.1f} MB, lost {run['lost']}, "
          f"twice {run['twice']}, others {run['foreign']:.2f} "
          f"{run['first_error']}", file=sys.stderr, flush=True)


def measure(args, directory):
    """cell name -> runs"""
    results = {}
    out = args.build / "bench" / "results.jsonl"
    with Rig(args.build, directory, {c.delay for c in args.cells}) as rig, \
            out.open("w") as log:
        runner = Runner(rig, args.build / "bench" / "messages")

        def on_run(run):
            show(run)
            print(json.dumps(run), file=log, flush=True)

        for cell in args.cells:
            results[cell.name] = run_cell(
                runner, cell, plan_for(cell, args.quick), on_run)
    return results


def run_policy_bench(build, messages):
    return subprocess.run(
        [build / "tests" / "bench" / "policy_bench",
         *(messages / f"{m}.eml" for m in "SML")],
        check=True, stdout=subprocess.PIPE, text=True).stdout


def run_keystore_bench(build, quick):
    return subprocess.run(
        [build / "tests" / "bench" / "keystore_bench",
         "100000" if quick else "1000000"],
        check=True, stdout=subprocess.PIPE, text=True).stdout


def complaints(runs):
    """What makes the benchmark fail, as text; "" when nothing does. What the
    client did not see accepted (a connection that broke) may have arrived."""
    bad = [r for r in runs if r["lost"] or r["twice"] or
           r["unasked"] > r["refused"]]
    refused = [r for r in runs if r["refused"]]
    return "\n".join(
        [f"{r['cell']} {r['peer']}: lost {r['lost']}, twice {r['twice']}, "
         f"not accepted and yet sent {r['unasked']}" for r in bad] +
        [f"{r['cell']} {r['peer']}: {r['refused']} refused or broken, first: "
         f"{r['first_error']}" for r in refused])


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="txmilter against the same Postfix without any milter")
    parser.add_argument("--build", type=Path, required=True,
                        help="build directory")
    parser.add_argument("--quick", action="store_true",
                        help="2 minutes instead of 10, rough figures")
    parser.add_argument("--cells", default=CELLS,
                        type=lambda s: [parse_cell(c) for c in s.split(",")])
    return parser.parse_args()


def main():
    # So that Postfix and the rest end with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    args = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("bench.py needs root, as Postfix's master does")
    messages = args.build / "bench" / "messages"
    write_messages(messages)
    # Not /tmp, which may be in memory: REF's queue must be on a disk.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        results = measure(args, Path(directory))
    print(report.figures_table(results), "\n")
    print("Policy alone\n\n" + run_policy_bench(args.build, messages))
    print("Keys made here\n\n" + run_keystore_bench(args.build, args.quick))
    print(report.verdict_table(results), "\n")
    print(report.noise(results))
    runs = [r for cell_runs in results.values() for r in cell_runs]
    sys.exit(complaints(runs) or None)


if __name__ == "__main__":
    main()
