#!/usr/bin/python3
"""Draws latency against depth: plot.py depth.csv depth.svg."""

import csv
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  (after the choice of the backend)


def column(rows, name):
    """Offsets and values, without the rows that have none."""
    points = [(int(row["offset"]), float(row[name])) for row in rows if row[name]]
    return [x for x, _ in points], [y for _, y in points]


def main():
    source, target = sys.argv[1:]
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    matplotlib.rcParams["svg.hashsalt"] = "parley"
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name, label, marker in (
        ("parley_p50_ms", "ListMessages, p50", "o"),
        ("plain_offset_p50_ms", "plain OFFSET, SQL alone, p50", "s"),
    ):
        axes.plot(*column(rows, name), marker=marker, label=label)
    # Logarithmic, but with room for an offset of nothing.
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_xlabel("offset: messages left out, newest first")
    axes.set_ylabel("milliseconds for a page of 20")
    axes.set_title("One caller, a chat of 1,000,000 messages")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
