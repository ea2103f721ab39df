#!/usr/bin/python3
"""Makes the table of a run of bench/run.sh: report.py RESULTS-DIRECTORY.

Prints the table and keeps it as report.md, and latency against depth as depth.csv, in the same
directory. Exits with 1 if a bar is missed, or a figure that one needs is missing.
"""

import csv
import pathlib
import re
import sys

from figures import MIB, Run, Table, divide, millis, number, rate, write_report


class MessagedRun(Run):
    def warm_up_of(self, name):
        return 1 if "depth" in name else self.warm_up

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
    rows = [("list.echo", "rate"), ("list.parley", "rate"), ("list.pgbench", "rate")]
    rows += [("list.parley", "p99_ms")]
    for key in ("send", "busy"):
        rows += [(f"{key}.parley", "rate"), (f"{key}.pgbench", "rate"), (f"{key}.parley", "p99_ms")]
    rows += [("one.parley", "p50_ms"), ("one.pgbench", "p50_ms"), ("one.pgbench", "mean_ms")]
    for key in ("unread", *(f"depth-{depth}" for depth in run.depths())):
        rows += [(f"{key}.parley", "p50_ms"), (f"{key}.pgbench", "p50_ms")]
    return rows


def write_depths(run, path):
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["offset", "parley_p50_ms", "plain_offset_p50_ms"])
        for depth in run.depths():
            ours = run.median(f"depth-{depth}.parley", "p50_ms")
            plain = run.median(f"depth-{depth}.pgbench", "p50_ms")
            out.writerow([depth, "" if ours is None else ours, "" if plain is None else plain])


def main():
    run = MessagedRun(pathlib.Path(sys.argv[1]))
    table = Table()
    for add in (add_lists, add_sends, add_unread, add_memory):
        add(table, run)
    write_report(run, table, all_figures(run))
    write_depths(run, run.directory / "depth.csv")
    return 0 if table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
