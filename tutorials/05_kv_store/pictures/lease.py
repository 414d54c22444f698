"""Draw lease.svg: a leader that is paused, its successor, and the late write.

``python pictures/lease.py`` writes the picture; a test checks that it is up to date.
"""

from html import escape
from pathlib import Path

FONT = "font-family='system-ui, sans-serif' font-size='14'"
LEADS, PAUSED, LATE = "#1b7f79", "#999999", "#c2571a"
ROWS = {"ann": 70, "lease": 140, "bob": 210}
# From, to, colour, label; in tenths of a second.
BARS = {
    "ann": [(0, 20, LEADS, "leads, token 7"), (20, 75, PAUSED, "paused"), (75, 86, LATE, "")],
    "lease": [(0, 50, LEADS, "ann's, 3 s after the last renewal"), (50, 100, "#5b4b8a", "bob's")],
    "bob": [(0, 50, PAUSED, "waits"), (50, 100, "#5b4b8a", "leads, token 8, 9, 10 ...")],
}
NOTES = [(75, 250, "ann writes with token 7:"), (75, 270, "refused, the lease is at 10")]


def x(tenths: int) -> int:
    """Where a moment is."""
    return 80 + 7 * tenths


def draw() -> str:
    """The whole picture."""
    body = []
    for name, y in ROWS.items():
        body.append(f"<text x='16' y='{y + 5}' {FONT} fill='#222'>{name}</text>")
        for start, end, colour, label in BARS[name]:
            width = x(end) - x(start)
            body.append(
                f"<rect x='{x(start)}' y='{y - 16}' width='{width}' height='32' fill='{colour}' opacity='.25'/>"
                f"<text x='{x(start) + 8}' y='{y + 5}' {FONT} fill='#222'>{escape(label)}</text>"
            )
    for tenths, text in ((20, "SIGSTOP"), (50, "the lease expires"), (75, "SIGCONT")):
        body.append(f"<path d='M{x(tenths)} 40V230' stroke='#777' stroke-dasharray='4 4'/>")
        body.append(f"<text x='{x(tenths)}' y='30' {FONT} fill='#555' text-anchor='middle'>{text}</text>")
    body += [f"<text x='{x(at) + 4}' y='{y}' {FONT} fill='{LATE}'>{escape(text)}</text>" for at, y, text in NOTES]
    return "\n".join(
        [
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 840 285' role='img'>",
            "<title>A paused leader does not know that its lease has expired; its token does</title>",
            "<rect width='840' height='285' fill='#fff'/>",
            *body,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_name("lease.svg").write_text(draw(), encoding="utf-8")
