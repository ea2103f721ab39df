#!/usr/bin/python3
"""Draws who does how many tasks a second: scheduler_plot.py rates.csv rates.svg."""

import csv
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  (after the choice of the backend)

TITLES = {
    "drain": "Due tasks worked on and acknowledged",
    "create": "Tasks created, one a call, 64 in flight",
    "batch": "Tasks created, 1,000 a call",
}


def main():
    source, target = sys.argv[1:]
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    parts = [part for part in TITLES if any(row["what"] == part for row in rows)]
    sizes = [sum(row["what"] == part for row in rows) for part in parts]
    most = max(float(row["tasks_per_second"]) for row in rows)
    matplotlib.rcParams["svg.hashsalt"] = "parley"
    figure, all_axes = pyplot.subplots(
        len(parts),
        figsize=(8, 1.6 * len(parts) + 0.32 * sum(sizes)),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [size + 1 for size in sizes]},
    )
    for part, axes in zip(parts, all_axes.flat):
        mine = [row for row in rows if row["what"] == part]
        names = [row["who"] for row in mine]
        rates = [float(row["tasks_per_second"]) for row in mine]
        bars = axes.barh(names, rates, color=["C0" if name == "Parley" else "C7" for name in names])
        axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_title(TITLES[part], loc="left", fontsize="medium")
        axes.set_xlim(10, 4 * most)  # with room for the numbers
        axes.grid(True, axis="x", alpha=0.3)
    all_axes.flat[-1].set_xlabel("tasks a second")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
