"""Compares real output with the README's: ``...`` is a wildcard, all else is literal."""

import re
from collections.abc import Sequence

WILD = "..."


def pattern(expected: Sequence[str], *, skip_first: bool = False) -> re.Pattern[str]:
    """A regular expression for these lines, each with its line end.

    With `skip_first`, lines may come before them, as if the first expected line were ``...``.
    """
    parts = [_ANY_LINES] if skip_first else []
    parts += [_ANY_LINES if line.strip() == WILD else f"{_line(line)}\n" for line in expected]
    return re.compile("".join(parts))


def ends_open(expected: Sequence[str]) -> bool:
    """Whether the last expected line lets any further output pass."""
    return bool(expected) and expected[-1].strip() == WILD


def same_lines(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether `actual` is `expected` in some order."""
    if len(expected) != len(actual):
        return False
    rest = list(actual)
    # Lines with wildcards choose last, so that they can't take a line that another one needs.
    for line in sorted(expected, key=lambda text: (WILD in text, -len(text))):
        wanted = re.compile(_line(line))
        found = next((i for i, text in enumerate(rest) if wanted.fullmatch(text)), None)
        if found is None:
            return False
        del rest[found]
    return True


_ANY_LINES = r"(?:[^\n]*\n)*?"


def _line(line: str) -> str:
    return "[^\n]*?".join(re.escape(part) for part in line.rstrip().split(WILD)) + "[ \t]*"
