#!/usr/bin/python3
"""Makes the table of a run of bench/scheduler.sh: scheduler_report.py RESULTS-DIRECTORY.

Prints the table and keeps it as report.md, and the rates as rates.csv, in the same directory. Exits
with 1 if a bar is missed, or a figure that one needs is missing.
"""

import csv
import pathlib
import sys

from figures import MIB, Run, Table, divide, millis, number, rate, write_report

# Who was measured beside us, as scheduler.sh names them, without the number that follows where there
# were several ways, of which the best counts.
GRAPHILE = "graphile"
CELERY = "celery"
DURABLE = "celery-durable"
LABELS = {
    "parley": "Parley",
    "graphile-batched": "graphile-worker, batched",
    "graphile-plain": "graphile-worker, plain",
    "graphile": "graphile-worker",
    "celery": "Celery",
    "celery-durable": "Celery, durable Redis",
}


def peer_of(name):
    """Of drain.graphile-batched-2: graphile-batched and 2."""
    peer, _, way = name.split(".", 1)[1].rpartition("-")
    return (peer, way) if way[:1].isdigit() else (name.split(".", 1)[1], "")


class SchedulerRun(Run):
    def names(self, part):
        """Of all that measured this."""
        found = {
            path.name
            for folder in self.rounds
            for path in folder.glob(f"{part}.*")
            if not path.name.endswith(".err")
        }
        return sorted(found)

    def best(self, part, peer):
        """Name and rate of its best way; None if none worked."""
        rates = [
            (self.median(name, "rate"), name) for name in self.names(part) if peer_of(name)[0] == peer
        ]
        rates = [pair for pair in rates if pair[0] is not None]
        return max(rates, default=(None, None))

    def ways(self, part, peer, unit):
        """What each of its ways reached, in words."""
        said = []
        for name in self.names(part):
            if peer_of(name)[0] == peer:
                way = peer_of(name)[1]
                said.append(f"{way} {unit}: " * bool(way) + rate(self.median(name, "rate")))
        return ", ".join(said)


def add_drain(table, run):
    ours = run.median("drain.parley", "rate")
    best, _ = run.best("drain", "graphile-batched")
    plain = run.median("drain.graphile-plain", "rate")
    table.at_least(
        "drain, against graphile-worker's best",
        rate(ours),
        f"batched, {run.ways('drain', 'graphile-batched', 'process(es)')}; plain {rate(plain)}",
        divide(ours, best),
        2.0,
    )
    for peer, what in ((CELERY, "Redis without persistence"), (DURABLE, "durable Redis")):
        theirs, _ = run.best("drain", peer)
        table.at_least(
            f"drain, against Celery on {what}", rate(ours), rate(theirs), divide(ours, theirs), 40
        )


def add_create(table, run):
    ours = run.median("create.parley", "rate")
    p50, p99 = (run.median("create.parley", field) for field in ("p50_ms", "p99_ms"))
    mine = f"{rate(ours)}, p50 {millis(p50)}, p99 {millis(p99)}"
    best, _ = run.best("create", GRAPHILE)
    table.at_least(
        "CreateTask, 64 in flight, against addJob",
        mine,
        run.ways("create", GRAPHILE, "connections"),
        divide(ours, best),
        8,
    )
    for peer, what in ((CELERY, "Redis without persistence"), (DURABLE, "durable Redis")):
        theirs, _ = run.best("create", peer)
        table.at_least(
            f"CreateTask, 64 in flight, against send_task on {what}",
            rate(ours),
            run.ways("create", peer, "processes x threads"),
            divide(ours, theirs),
            5,
        )
    # Calls of 1,000 tasks.
    ours, theirs = (run.median(f"batch.{who}", "rate") for who in ("parley", "graphile"))
    table.at_least(
        "BatchCreateTasks of 1,000, against addJobs of 1,000; tasks",
        rate(ours and 1000 * ours),
        rate(theirs and 1000 * theirs),
        divide(ours, theirs),
        1.3,
    )


def add_lateness(table, run):
    def ours(name, field):
        return run.median(f"late.{name}", field)

    def all_of(name):
        return ", ".join(f"{f} {millis(ours(name, f + '_ms'))}" for f in ("p50", "p99", "max"))

    for field, bar in (("p50", 3), ("p99", 20)):
        table.at_most(
            f"lateness with the parked tasks, {field}",
            all_of("parked"),
            f"without them: {all_of('parley')}",
            ours("parked", field + "_ms"),
            bar,
            millis,
        )
    for field in ("p50", "p99"):
        table.at_most(
            f"lateness, {field}: with the parked tasks against without",
            millis(ours("parked", field + "_ms")),
            millis(ours("parley", field + "_ms")),
            divide(ours("parked", field + "_ms"), ours("parley", field + "_ms")),
            1.1,
            lambda value: number(value, "", 2),
        )


def add_idle(table, run):
    ours, commit = run.median("handoff.parley", "p50_ms"), run.median("commit.pgbench", "p50_ms")
    table.at_most(
        "from CreateTask to the worker, idle service, p50, in commits",
        f"p50 {millis(ours)}, p99 {millis(run.median('handoff.parley', 'p99_ms'))}",
        f"one row, one commit, by pgbench with one client: p50 {millis(commit)}",
        divide(ours, commit),
        2,
        lambda value: number(value, "", 2),
    )
    rss, cpu = (run.median("idle.parley", field) for field in ("rss_kib", "cpu_percent"))
    table.at_most(
        "memory of an idle schedulerd with the parked tasks, one worker waiting",
        "",
        "",
        rss,
        32 * MIB,
        lambda value: number(value and value / MIB, " MiB", 1),
    )
    table.at_most(
        "its processor time, of one core", "", "", cpu, 1, lambda value: number(value, " %", 2)
    )


def all_figures(run):
    rows = [(name, "rate") for part in ("drain", "create", "batch") for name in run.names(part)]
    rows += [("create.parley", "p50_ms"), ("create.parley", "p99_ms")]
    for name in ("late.parley", "late.parked", "handoff.parley"):
        rows += [(name, field) for field in ("p50_ms", "p99_ms", "max_ms")]
    return [*rows, ("commit.pgbench", "p50_ms"), ("idle.parley", "rss_kib"), ("idle.parley", "cpu_percent")]


def write_rates(run, path):
    """The best of everybody, in tasks a second."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["what", "who", "tasks_per_second"])
        for part, times in (("drain", 1), ("create", 1), ("batch", 1000)):
            for peer, label in LABELS.items():
                best, name = run.best(part, peer)
                if name:
                    out.writerow([part, label, times * best])


def main():
    run = SchedulerRun(pathlib.Path(sys.argv[1]))
    table = Table()
    for add in (add_drain, add_create, add_lateness, add_idle):
        add(table, run)
    write_report(run, table, all_figures(run))
    write_rates(run, run.directory / "rates.csv")
    return 0 if table.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
