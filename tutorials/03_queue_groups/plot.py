"""Draws the figures of `scale.py`."""

import argparse
import hashlib
import json
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = {"wait": "#1f77b4", "compute": "#d95f02"}
LABELS = {"wait": "waiting work (5 ms)", "compute": "computing work (about 5 ms)"}

UNDATED: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {}}
"""The kinds of picture, and what keeps the date of the day out of them."""


def draw(source: Path, target: Path) -> None:
    """Two curves, for each the line of perfect scaling, and where the cores end."""
    text = source.read_text(encoding="utf-8")
    report = json.loads(text)
    workers = report["workers"]
    mpl.rcParams["svg.hashsalt"] = "stonechat"  # the same figures make the same file
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for work, label in LABELS.items():
        rates = report[work]
        ideal = [rates[0] * number / workers[0] for number in workers]
        axes.plot(workers, rates, "o-", color=COLOURS[work], label=label)
        axes.plot(workers, ideal, ":", color=COLOURS[work], alpha=0.6)
        last = (workers[-1], rates[-1])
        axes.annotate(f"{rates[-1]:.0f}", last, xytext=(0, -16), textcoords="offset points", ha="center")
    cores = report["machine"]["cores"]
    if workers[0] <= cores <= workers[-1]:
        axes.axvline(cores, color="0.5", linestyle="--", linewidth=1)
        axes.annotate(
            f"a worker for each of the {cores} cores",
            (cores, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(6, 0),
            textcoords="offset points",
            color="0.35",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(workers, [str(number) for number in workers])
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("worker processes")
    axes.set_ylabel("orders per second")
    axes.set_title("One queue group, more and more workers (dotted: perfect scaling)")
    axes.grid(alpha=0.3)
    axes.legend()
    # The checksum of the figures, so that anyone can tell which figures a picture shows.
    source_sum = hashlib.sha256(text.encode()).hexdigest()
    figure.savefig(target, metadata={"Description": f"sha256 {source_sum}", **UNDATED[target.suffix]})


def main(options: argparse.Namespace) -> None:
    """Draw one file."""
    if options.target.suffix not in UNDATED:
        parser.error(f"the picture must be one of {' '.join(UNDATED)}")
    draw(options.source, options.target)
    print(f"drawn: {options.target}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="figures, for example scaling.json")
    parser.add_argument("target", type=Path, help="picture, for example scaling.svg or scaling.png")
    main(parser.parse_args())
