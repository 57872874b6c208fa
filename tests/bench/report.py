# SPDX-License-Identifier: MIT
"""From runs to the tables that `make bench` prints.

A run is what smtpload measured, with `peer`, `repetition` and the figures
that bench.py adds.  Ratios are of the two runs of one repetition, which were
made one right after the other; the median of these counts.
"""

from collections import namedtuple
from statistics import median

# Name, cell, function of the runs of that cell -> values (one for each
# repetition), comparison, what must be reached.
Target = namedtuple("Target", "name cell values sign wanted unit")


PEERS = ("STOCK", "REF", "FLOOR", "TXM")
MILTERS = ("FLOOR", "TXM")


def get(run, path):
    for name in path.split("."):
        run = run[name]
    return run


def of(runs, peer, path):
    return [get(r, path) for r in runs if r["peer"] == peer]


def ratios(runs, to, path="rate"):
    ref = {r["repetition"]: get(r, path) for r in runs if r["peer"] == to}
    return [get(r, path) / ref[r["repetition"]] for r in runs
            if r["peer"] == "TXM" and ref.get(r["repetition"])]


def rate_to(peer):
    return lambda runs: ratios(runs, peer)


def txm(path):
    return lambda runs: of(runs, "TXM", path)


def of_possible(runs):
    """Share of what the API's latency allows: connections / delay."""
    return [r["rate"] / (r["connections"] / (r["delay"] / 1000))
            for r in runs if r["peer"] == "TXM"]


TARGETS = (
    Target("throughput, TXM/STOCK", "S:20", rate_to("STOCK"), ">=", 1.2, ""),
    Target("throughput, TXM/STOCK", "M:20", rate_to("STOCK"), ">=", 1.0, ""),
    Target("throughput, TXM/STOCK", "L:20", rate_to("STOCK"), ">=", 0.95, ""),
    Target("CPU of txmilter / 1000 messages", "S:20", txm("cpu_milter"),
           "<=", 0.30, "s"),
    Target("CPU of txmilter / 1000 messages", "M:20", txm("cpu_milter"),
           "<=", 0.45, "s"),
    Target("CPU of txmilter / 1000 messages", "L:20", txm("cpu_milter"),
           "<=", 1.0, "s"),
    Target("peak memory of txmilter", "L:200", txm("peak_mb"), "<", 30, "MB"),
    Target("throughput of what 50 ms allow", "S:20@50", of_possible, ">=",
           0.95, ""),
    Target("MAIL reply p99", "S:200@200", txm("mail.p99"), "<", 100, "ms"),
    Target("RCPT reply p99", "S:200@200", txm("rcpt.p99"), "<", 100, "ms"),
)

COMPARE = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
           "<": lambda a, b: a < b}

# Cores that others may use; CPU figures, too, rise with it (shared caches).
NOISE_MAX = 0.2

# Heading, path in a run, format. What is a milter's is shown for those only.
COLUMNS = (
    ("msg/s", "rate", "{:.0f}"),
    ("p50 ms", "message.p50", "{:.1f}"),
    ("p99 ms", "message.p99", "{:.1f}"),
    ("MAIL p99", "mail.p99", "{:.1f}"),
    ("RCPT p99", "rcpt.p99", "{:.1f}"),
    ("CPU/1000 milter", "cpu_milter", "{:.3f}"),
    ("CPU/1000 all", "cpu_all", "{:.3f}"),
    ("milter MB", "peak_mb", "{:.1f}"),
    ("refused", "refused", "{:.0f}"),
    ("lost", "lost", "{:.0f}"),
    ("twice", "twice", "{:.0f}"),
    ("others' cores", "foreign", "{:.2f}"),
)


def row(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def table(heads, rows):
    return "\n".join([row(*heads), "|" + "---|" * len(heads),
                      *(row(*r) for r in rows)])


def spread(values, fmt="{:.2f}"):
    return (fmt + " [" + fmt + "-" + fmt + "]").format(
        median(values), min(values), max(values))


def comparisons(peer, runs):
    """Last columns of TXM's row: rate and CPU against the other peers."""
    if peer != "TXM":
        return ["", ""]
    others = [p for p in PEERS[:-1] if of(runs, p, "rate")]
    texts = [", ".join(f"{p} " + spread(ratios(runs, p, path)) for p in others)
             for path in ("rate", "cpu_all")]
    if runs[0]["delay"]:
        texts[0] += ", " + spread(of_possible(runs)) + " of possible"
    texts[1] += ", milter alone FLOOR " + \
        spread(ratios(runs, "FLOOR", "cpu_milter"))
    return texts


def peer_row(cell, peer, runs):
    figures = [fmt.format(median(of(runs, peer, path)))
               if peer in MILTERS or path not in ("cpu_milter", "peak_mb")
               else "" for _, path, fmt in COLUMNS]
    return [cell, peer, len(of(runs, peer, "rate")), *figures,
            *comparisons(peer, runs)]


def figures_table(results):
    """results: cell name -> its runs."""
    heads = ["cell", "peer", "runs", *(c[0] for c in COLUMNS), "rate against",
             "CPU against"]
    return table(heads, [peer_row(cell, peer, runs)
                         for cell, runs in results.items() for peer in PEERS
                         if of(runs, peer, "rate")])


def noise(results):
    """A line about runs beside which the machine did something else."""
    runs = [r for runs in results.values() for r in runs]
    noisy = sum(r["foreign"] > NOISE_MAX for r in runs)
    return (f"{noisy} of {len(runs)} runs had more than {NOISE_MAX} cores "
            "busy with something else: " +
            ("repeat it on a quiet machine." if noisy > len(runs) / 10 else
             "the figures can be relied on."))


def verdict_table(results):
    rows = []
    for t in TARGETS:
        if t.cell not in results:
            continue
        values = t.values(results[t.cell])
        met = COMPARE[t.sign](median(values), t.wanted)
        rows.append([t.cell, t.name, f"{t.sign} {t.wanted} {t.unit}".strip(),
                     spread(values, "{:.3f}"), "met" if met else "MISSED"])
    return table(["cell", "what", "wanted", "measured [min-max]", ""], rows)
