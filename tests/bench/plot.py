"""The plot of docs/benchmarks/core.md: ratios of the core scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from .figures import PAIR, PER_CPU, RATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

mpl.use("svg")
# The same measurements make the same file.
mpl.rcParams["svg.hashsalt"] = "stonechat"

from matplotlib import pyplot as plt  # noqa: E402

_OURS, _RATE = "#00796b", "#ef6c00"


def draw(part: Mapping[str, Any], into: Path) -> None:
    """Bars for messages per CPU second with the spread of the runs, dots for the rate."""
    shown = [s for s in part["scenarios"] if s["ratios"].get(PER_CPU, {}).get(PAIR)]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(shown) + 1.6))
    for row, scenario in enumerate(reversed(shown)):
        middle, least, greatest = scenario["ratios"][PER_CPU][PAIR]
        axes.barh(
            row,
            middle,
            height=0.62,
            color=_OURS,
            xerr=[[middle - least], [greatest - middle]],
            ecolor="#80cbc4",
            label="messages per CPU second" if row == 0 else None,
        )
        rate = scenario["ratios"][RATE][PAIR][0]
        axes.plot(rate, row, "o", color=_RATE, markeredgecolor="white", label="rate" if row == 0 else None)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [s["scenario"] for s in reversed(shown)])
    axes.set_xlim(left=0)
    axes.set_xlabel("stonechat-server over nats-server; 1 is as good, more is better")
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    # No date in the file.
    figure.savefig(into, metadata={"Date": None})
    plt.close(figure)
