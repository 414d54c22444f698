"""Draw subjects.svg: a tree of subjects, and what three patterns take in.

``python pictures/subjects.py`` writes the picture; a test checks that it is up to date.
"""

from html import escape
from pathlib import Path

PATTERNS = (
    ("sensors.*.temperature", "#1b7f79"),
    ("sensors.kitchen.>", "#c2571a"),
    ("sensors.>", "#5b4b8a"),
)
TREE = {  # subject: (column, row)
    "sensors": (0, 2.0),
    "sensors.kitchen": (1, 1.0),
    "sensors.cellar": (1, 3.0),
    "sensors.kitchen.temperature": (2, 0.0),
    "sensors.kitchen.oven": (2, 1.5),
    "sensors.cellar.temperature": (2, 2.5),
    "sensors.cellar.humidity": (2, 3.5),
    "sensors.kitchen.oven.temperature": (3, 1.5),
}
COLUMN, ROW, LEFT, TOP = 210, 62, 70, 96
STYLE = "font-family='system-ui, sans-serif' font-size='15'"


def matches(pattern: str, subject: str) -> bool:
    """The rule in a few lines: ``*`` is one token, ``>`` one or more at the end."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    pairs = zip(wanted, tokens, strict=False)
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in pairs)


def place(subject: str) -> tuple[int, int]:
    """Where a subject's box has its middle."""
    column, row = TREE[subject]
    return LEFT + COLUMN * column, round(TOP + ROW * row)


def legend() -> list[str]:
    """A coloured dot and a name for each pattern."""
    lines = []
    for index, (pattern, colour) in enumerate(PATTERNS):
        x = 24 + 235 * index
        lines.append(f"<circle cx='{x}' cy='32' r='7' fill='{colour}'/>")
        lines.append(f"<text x='{x + 14}' y='37' {STYLE} fill='#222'>{escape(pattern)}</text>")
    return lines


def node(subject: str) -> list[str]:
    """The edge to the parent, the last token in a box, a dot for each pattern that matches."""
    x, y = place(subject)
    parent, _, token = subject.rpartition(".")
    lines = []
    if parent:
        px, py = place(parent)
        lines.append(f"<path d='M{px + 58} {py}L{x - 58} {y}' stroke='#999' fill='none'/>")
    lines.append(f"<rect x='{x - 58}' y='{y - 17}' width='116' height='34' rx='8' fill='#f6f4ef' stroke='#777'/>")
    lines.append(f"<text x='{x}' y='{y + 5}' {STYLE} fill='#222' text-anchor='middle'>{token}</text>")
    found = [colour for pattern, colour in PATTERNS if matches(pattern, subject)]
    for index, colour in enumerate(found):
        lines.append(f"<circle cx='{x + 48 - 16 * index}' cy='{y - 17}' r='7' fill='{colour}'/>")
    return lines


def draw() -> str:
    """The whole picture."""
    body = [*legend(), *(line for subject in TREE for line in node(subject))]
    return "\n".join(
        [
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 780 350' role='img'>",
            "<title>Subjects are a tree; a pattern takes in some of its nodes</title>",
            "<rect width='780' height='350' fill='#fff'/>",
            *body,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_name("subjects.svg").write_text(draw(), encoding="utf-8")
