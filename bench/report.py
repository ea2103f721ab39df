#!/usr/bin/python3
"""Makes the table of a run of bench/run.sh: report.py RESULTS-DIRECTORY.

Prints the table and keeps it as report.md, and latency against depth as depth.csv, in the same
directory. Exits with 1 if a bar is missed, or a figure that one needs is missing.
"""

import csv
import json
import pathlib
import re
import statistics
import sys

PROGRESS = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms", re.MULTILINE)
TOTAL_RATE = re.compile(r"^tps = ([0-9.]+) \(without initial", re.MULTILINE)
TOTAL_LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)
MIB = 1024  # in KiB, as /proc counts


def read_parley(path):
    """The figures of one run of parley-bench load; None if any call went wrong."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return report if report["ok"] else None  # one error is enough


def read_pgbench(path, warm_up):
    """Rate and average latency after the warm-up; None if the run failed."""
    try:
        output, progress = path.read_text(), path.with_name(path.name + ".err").read_text()
    except OSError:
        return None
    rate, latency, failed = (p.search(output) for p in (TOTAL_RATE, TOTAL_LATENCY, FAILED))
    if not rate or not latency or (failed and int(failed[1])) or "aborted" in progress + output:
        return None
    # One client's statements, if each was logged: "client number microseconds script second ...".
    times = []
    for log in path.parent.glob(path.name + ".log.*"):
        rows = [line.split() for line in log.read_text().splitlines()]
        first = int(rows[0][4]) if rows else 0
        times += [int(row[2]) / 1000 for row in rows if int(row[4]) >= first + warm_up]
        times = times or [int(row[2]) / 1000 for row in rows]
    p50 = statistics.median(times) if times else None
    seconds = [
        (float(calls), float(ms))
        for second, calls, ms in PROGRESS.findall(progress)
        if float(second) > warm_up + 0.5
    ]
    calls = sum(r for r, _ in seconds)
    # A slow statement may end in none of the seconds: then all of the run counts.
    if not calls:
        return {"rate": float(rate[1]), "mean_ms": float(latency[1]), "p50_ms": p50}
    return {
        "rate": calls / len(seconds),
        "mean_ms": sum(r * ms for r, ms in seconds) / calls,
        "p50_ms": p50,
    }


class Run:
    """The figures of all rounds, by name."""

    def __init__(self, directory):
        self.directory = directory
        self.rounds = sorted(directory.glob("round-*"), key=lambda p: int(p.name.split("-")[1]))
        header = (directory / "header.md").read_text()
        self.header = header
        self.warm_up = int(re.search(r"after (\d+) s of warm-up", header)[1])

    def values(self, name, field):
        """One value a round; None for a round whose run failed."""
        found = []
        for folder in self.rounds:
            if name.endswith(".pgbench"):
                figures = read_pgbench(folder / name, 1 if "depth" in name else self.warm_up)
            else:
                figures = read_parley(folder / name)
            found.append(figures and figures[field])
        return found

    def median(self, name, field):
        """The median over the rounds; None if one of them failed: that is no figure to show."""
        values = self.values(name, field)
        return None if not values or None in values else statistics.median(values)

    def peak(self, names):
        """The largest VmHWM in KiB."""
        found = [
            int(path.read_text() or 0)
            for folder in self.rounds
            for name in names
            for path in folder.glob(f"{name}.hwm")
        ]
        return max(found, default=None)

    def depths(self):
        names = self.rounds[0].glob("depth-*.parley")
        return sorted(int(path.name[len("depth-") : -len(".parley")]) for path in names)

    def errors(self):
        """What went wrong in runs of parley-bench, one line each."""
        lines = []
        for folder in self.rounds:
            for path in sorted(folder.glob("*.parley")) + sorted(folder.glob("*.echo")):
                if read_parley(path) is None:
                    said = path.with_name(path.name + ".err").read_text().splitlines()
                    said = [line for line in said if not re.match(r"^ *\d+ s", line)]
                    lines.append(f"{folder.name}, {path.name}: {'; '.join(said) or 'no result'}")
        return lines


def number(value, unit="", digits=0):
    return "none" if value is None else f"{value:,.{digits}f}{unit}"


def rate(value):
    return number(value, "/s")


def millis(value):
    return number(value, " ms", 3 if value is not None and value < 10 else 1)


def divide(a, b):
    return None if a is None or not b else a / b


class Table:
    """The lines of the table, and whether every bar is met."""

    def __init__(self):
        self.lines = [
            "| | what | Parley | beside it | result | bar | |",
            "|---|---|---|---|---|---|---|",
        ]
        self.all_met = True
        self.count = 0

    def add(self, what, parley, beside, result, bar, met):
        self.count += 1
        self.all_met = self.all_met and met
        mark = "met" if met else "**MISSED**"
        self.lines.append(f"| {self.count} | {what} | {parley} | {beside} | {result} | {bar} | {mark} |")

    def at_least(self, what, parley, beside, ratio, bar):
        met = ratio is not None and ratio >= bar
        self.add(what, parley, beside, number(ratio, "", 2), f">= {bar}", met)

    def at_most(self, what, parley, beside, value, bar, form):
        self.add(what, parley, beside, form(value), f"<= {form(bar)}", value is not None and value <= bar)


def add_lists(table, run):
    ours, echo, rival = (run.median(f"list.{who}", "rate") for who in ("parley", "echo", "pgbench"))
    both = None if not echo or not rival else 1 / (1 / echo + 1 / rival)
    p50, p99 = (run.median("list.parley", field) for field in ("p50_ms", "p99_ms"))
    table.at_least(
        "ListMessages, newest 20, many chats, 64 in flight",
        f"{rate(ours)}, p50 {millis(p50)}, p99 {millis(p99)}",
        f"empty gRPC {rate(echo)}, pgbench {rate(rival)}: one after the other {rate(both)}",
        divide(ours, both),
        0.85,
    )
    depths = run.depths()
    shallow, deep = (run.median(f"depth-{d}.parley", "p50_ms") for d in (depths[0], depths[-1]))
    plain = run.median(f"depth-{depths[-1]}.pgbench", "p50_ms")
    table.at_most(
        f"ListMessages, offset {depths[-1]:,} against {depths[0]}, one caller, p50",
        f"{millis(deep)} against {millis(shallow)}",
        f"plain OFFSET {depths[-1]:,}, by pgbench: {millis(plain)}",
        divide(deep, shallow),
        1.5,
        lambda value: number(value, "", 2),
    )


def add_sends(table, run):
    for key, what, bar in (("send", "many chats", 2.2), ("busy", "one chat", 1.5)):
        ours, rival = (run.median(f"{key}.{who}", "rate") for who in ("parley", "pgbench"))
        p50, p99 = (run.median(f"{key}.parley", field) for field in ("p50_ms", "p99_ms"))
        table.at_least(
            f"SendMessage, {what}, 64 in flight",
            f"{rate(ours)}, p50 {millis(p50)}, p99 {millis(p99)}",
            f"pgbench {rate(rival)}",
            divide(ours, rival),
            bar,
        )
    ours, rival = run.median("one.parley", "p50_ms"), run.median("one.pgbench", "mean_ms")
    table.at_most(
        "SendMessage, one caller, idle service: p50 less pgbench's average",
        f"p50 {millis(ours)}, {millis(run.median('one.parley', 'mean_ms'))} on average",
        f"pgbench {millis(rival)} on average, p50 {millis(run.median('one.pgbench', 'p50_ms'))}",
        None if ours is None or rival is None else ours - rival,
        0.6,
        millis,
    )


def add_unread(table, run):
    ours, rival = (run.median(f"unread.{who}", "p50_ms") for who in ("parley", "pgbench"))
    table.at_most(
        "GetUnreadCounts, 1,000 chats, one caller, p50",
        f"p50 {millis(ours)}",
        f"the statement alone, by pgbench: {millis(rival)}",
        ours,
        10,
        millis,
    )
    log = run.directory / "unread.statements"
    statements = log.read_text().splitlines() if log.exists() else []
    frame = re.compile(r": (BEGIN|START TRANSACTION|COMMIT|SET)\b[^;]*;?\s*$")
    statements = [line for line in statements if not frame.search(line)]
    table.add(
        "GetUnreadCounts: statements that PostgreSQL logs for one call, without BEGIN, COMMIT and SET",
        str(len(statements)),
        "",
        str(len(statements)),
        "1",
        len(statements) == 1,
    )


def add_memory(table, run):
    def mib(value):
        return number(value and value / MIB, " MiB", 1)

    idle = run.directory / "idle.rss"
    table.at_most(
        "messaged's memory, idle, before any call", "", "", int(idle.read_text()), 32 * MIB, mib
    )
    sends = run.peak(["send", "busy", "one"])
    table.at_most(
        "messaged's peak of memory while sending",
        "",
        f"over the whole run {mib(run.peak(['*']))}",
        sends,
        96 * MIB,
        mib,
    )


def all_figures(run):
    """Every round's figures, so that the reader sees how much they spread."""
    lines = ["| figure | " + " | ".join(folder.name for folder in run.rounds) + " |"]
    lines.append("|---|" + "---|" * len(run.rounds))
    rows = [("list.echo", "rate"), ("list.parley", "rate"), ("list.pgbench", "rate")]
    rows += [("list.parley", "p99_ms")]
    for key in ("send", "busy"):
        rows += [(f"{key}.parley", "rate"), (f"{key}.pgbench", "rate"), (f"{key}.parley", "p99_ms")]
    rows += [("one.parley", "p50_ms"), ("one.pgbench", "p50_ms"), ("one.pgbench", "mean_ms")]
    for key in ("unread", *(f"depth-{depth}" for depth in run.depths())):
        rows += [(f"{key}.parley", "p50_ms"), (f"{key}.pgbench", "p50_ms")]
    for name, field in rows:
        show = rate if field == "rate" else millis
        values = " | ".join(show(value) for value in run.values(name, field))
        lines.append(f"| {name}, {field.removesuffix('_ms')} | {values} |")
    return lines


def write_depths(run, path):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["offset", "parley_p50_ms", "plain_offset_p50_ms"])
        for depth in run.depths():
            ours = run.median(f"depth-{depth}.parley", "p50_ms")
            plain = run.median(f"depth-{depth}.pgbench", "p50_ms")
            out.writerow([depth, "" if ours is None else ours, "" if plain is None else plain])


def main():
    run = Run(pathlib.Path(sys.argv[1]))
    table = Table()
    for add in (add_lists, add_sends, add_unread, add_memory):
        add(table, run)
    text = ["# Benchmarks", "", run.header, *table.lines, ""]
    errors = run.errors()
    if errors:
        text += ["Went wrong:", "", *(f"- {line}" for line in errors), ""]
    text += ["Every bar is met." if table.all_met else "**A bar is missed.**", ""]
    print("\n".join(text))
    text += ["## Round by round", "", *all_figures(run), ""]
    (run.directory / "report.md").write_text("\n".join(text))
    write_depths(run, run.directory / "depth.csv")
    return 0 if table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
