"""What the reports of bench/ share: the figures of a run, and the table of bars."""

import json
import re
import statistics

PROGRESS = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps, lat ([0-9.]+) ms", re.MULTILINE)
TOTAL_RATE = re.compile(r"^tps = ([0-9.]+) \(without initial", re.MULTILINE)
TOTAL_LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)
SECOND = re.compile(r"^ *\d+ s")  # a line of progress of parley-bench
MIB = 1024  # in KiB, as /proc counts


def read_json(path):
    """The figures that a program printed as its last line; None if anything went wrong."""
    try:
        report = json.loads(path.read_text().splitlines()[-1])
    except (OSError, ValueError, IndexError):
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

    def warm_up_of(self, _name):
        """Seconds at the beginning of a run of pgbench that do not count."""
        return self.warm_up

    def values(self, name, field):
        """One value a round; None for a round whose run failed."""
        found = []
        for folder in self.rounds:
            if name.endswith(".pgbench"):
                figures = read_pgbench(folder / name, self.warm_up_of(name))
            else:
                figures = read_json(folder / name)
            found.append(figures and figures[field])
        return found

    def median(self, name, field):
        """The median over the rounds; None if one of them failed: that is no figure to show."""
        values = self.values(name, field)
        return None if not values or None in values else statistics.median(values)

    def errors(self):
        """What went wrong in programs that print JSON, one line each."""
        lines = []
        for folder in self.rounds:
            for path in sorted(folder.iterdir()):
                said = path.with_name(path.name + ".err")
                if path.name.endswith(".pgbench") or not said.exists() or read_json(path):
                    continue
                said = [line for line in said.read_text().splitlines() if not SECOND.match(line)]
                lines.append(f"{folder.name}, {path.name}: {'; '.join(said[-3:]) or 'no result'}")
        return lines

    def rows(self, figures):
        """Every round's figures, so that the reader sees how much they spread: (name, field) each."""
        lines = ["| figure | " + " | ".join(folder.name for folder in self.rounds) + " |"]
        lines.append("|---|" + "---|" * len(self.rounds))
        for name, field in figures:
            show = {"rate": rate}.get(field, millis if field.endswith("_ms") else number)
            values = " | ".join(show(value) for value in self.values(name, field))
            lines.append(f"| {name}, {field.removesuffix('_ms')} | {values} |")
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


def write_report(run, table, figures):
    """Prints the table, and keeps it with every round's figures as report.md."""
    text = ["# Benchmarks", "", run.header, *table.lines, ""]
    errors = run.errors()
    if errors:
        text += ["Went wrong:", "", *(f"- {line}" for line in errors), ""]
    text += ["Every bar is met." if table.all_met else "**A bar is missed.**", ""]
    print("\n".join(text))
    text += ["## Round by round", "", *run.rows(figures), ""]
    (run.directory / "report.md").write_text("\n".join(text))
