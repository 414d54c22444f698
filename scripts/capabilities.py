"""Writes the table of docs/capabilities.yaml into README.md and docs/index.md; with --check it only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "capabilities.yaml"
BEGIN = "<!-- capabilities: from docs/capabilities.yaml -->"
END = "<!-- end of capabilities -->"
# Pages with the table, and the prefix of their links to pages of the site.
PAGES = {"README.md": "docs/", "docs/index.md": ""}


def table(links: str) -> str:
    """Returns the capabilities as a Markdown table."""
    groups: dict[str, list[list[str]]] = yaml.safe_load(SOURCE.read_text())
    lines = ["| capability | today | |", "| --- | --- | --- |"]
    for group, rows in groups.items():
        lines.append(f"| **{group}** | | |")
        for capability, state, remark in rows:
            if state not in ("yes", "not yet"):
                raise SystemExit(f"{SOURCE}: the state of {capability!r} is 'yes' or 'not yet', not {state!r}")
            remark = re.sub(r"\]\((?=\w)", f"]({links}", remark)
            lines.append(f"| {capability} | {state} | {remark} |")
    return "\n".join(lines)


def main() -> int:
    """Updates the pages. Returns the exit code: 1 if --check was given and a page is outdated."""
    check = "--check" in sys.argv[1:]
    behind = []
    for name, links in PAGES.items():
        page = ROOT / name
        text = page.read_text()
        if BEGIN not in text or END not in text:
            raise SystemExit(f"{name} has no markers for the capabilities")
        before, rest = text.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        filled = f"{before}{BEGIN}\n\n{table(links)}\n\n{END}{after}"
        if filled != text:
            behind.append(name)
            if not check:
                page.write_text(filled)
    if check and behind:
        print(
            f"capabilities: {', '.join(behind)} differ from docs/capabilities.yaml, run: make capabilities",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
