"""Reads a lab's README: its sections, the commands in them, and the listings of source files."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LISTING_LANGUAGES = frozenset({"python", "go", "yaml", "conf"})
"""Blocks in these languages must name the file that they are an excerpt of."""

_FLAGS = frozenset({"running", "ends", "any-order", "fresh-ports"})
_VALUES = frozenset({"terminal", "exit", "needs", "server", "timeout"})
_SKIP_LINE = re.compile(r"\s*(#|//)?\s*(\.\.\.|…)\s*")


class ReadmeError(AssertionError):
    """The README breaks a rule of labkit, or one of its listings is not true."""


@dataclass(frozen=True)
class Command:
    """One ``$`` line, or (with an empty ``text``) further output of what runs already."""

    text: str
    expected: tuple[str, ...]
    after_interrupt: tuple[str, ...] | None
    """Output expected after ``^C``; None when nothing is interrupted."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    path: Path
    line: int
    words: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def language(self) -> str:
        """The first word after the fence."""
        return self.words[0] if self.words else ""

    @property
    def where(self) -> str:
        """File and line, as editors understand them."""
        return f"{self.path}:{self.line}"

    def flag(self, name: str) -> bool:
        """Whether the word `name` stands on the fence."""
        return name in self.words[1:]

    def value(self, name: str, default: str = "") -> str:
        """What follows ``name=`` on the fence."""
        prefix = f"{name}="
        return next((w[len(prefix) :] for w in self.words if w.startswith(prefix)), default)

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be there for this block to run."""
        return tuple(need for need in self.value("needs").split(",") if need)

    def commands(self) -> list[Command]:
        """The commands of a console block, in order."""
        groups = _split_commands(self.lines)
        if not groups:
            raise ReadmeError(f"{self.where}: an empty console block")
        return [_command(text, output) for text, output in groups]

    def check_words(self) -> None:
        """Reject a misspelt word: it would silently steer nothing."""
        for word in self.words[1:]:
            known = word.split("=")[0] in _VALUES if "=" in word else word in _FLAGS
            if not known:
                raise ReadmeError(f"{self.where}: unknown word {word!r} on the fence")


@dataclass
class Section:
    """A ``##`` section: a heading and the console blocks below it."""

    title: str
    lab: Path
    blocks: list[Block] = field(default_factory=list)

    def __str__(self) -> str:
        return re.sub(r"[^\w]+", "-", self.title.lower()).strip("-")


class Readme:
    """A README, parsed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lab = path.parent
        self._all: list[tuple[str, Block]] = list(_blocks(path))
        for _, block in self._all:
            if block.language == "console":
                block.check_words()

    @property
    def blocks(self) -> list[Block]:
        """All fenced blocks."""
        return [block for _, block in self._all]

    @property
    def sections(self) -> list[Section]:
        """The sections that contain commands, in order."""
        sections: list[Section] = []
        for title, block in self._all:
            if block.language != "console":
                continue
            if not sections or sections[-1].title != title:
                sections.append(Section(title, self.lab))
            sections[-1].blocks.append(block)
        return sections

    def check_listings(self) -> int:
        """Check every listing against its file; returns how many there were."""
        count = 0
        for block in self.blocks:
            if block.language in LISTING_LANGUAGES:
                _check_listing(block, self.lab)
                count += 1
        return count


def _blocks(path: Path) -> Iterator[tuple[str, Block]]:
    title = ""
    fence = ""
    indent = start = 0
    words: tuple[str, ...] = ()
    body: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if fence:
            if line.strip() == fence:
                yield title, Block(path, start, words, tuple(body))
                fence = ""
            else:
                body.append(line[indent:] if not line[:indent].strip() else line)
            continue
        opening = re.fullmatch(r"(\s*)(`{3,}|~{3,})(.*)", line)
        if opening:
            indent, fence, start, body = len(opening[1]), opening[2], number, []
            words = tuple(opening[3].split())
        elif line.startswith("## "):
            title = line[3:].strip()
    if fence:
        raise ReadmeError(f"{path}:{start}: this fence is never closed")


def _split_commands(lines: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    groups: list[tuple[str, list[str]]] = []
    going_on = False
    for line in lines:
        if going_on:
            groups[-1] = (f"{groups[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            groups.append((line[2:], []))
        elif groups:
            groups[-1][1].append(line)
        else:
            groups.append(("", [line]))
        in_command = going_on or line.startswith("$ ")
        going_on = in_command and line.endswith("\\")
    return groups


def _command(text: str, output: list[str]) -> Command:
    if "^C" not in output:
        return Command(text, tuple(output), None)
    at = output.index("^C")
    return Command(text, tuple(output[:at]), tuple(output[at + 1 :]))


def _check_listing(block: Block, lab: Path) -> None:
    name = block.value("file")
    if not name:
        raise ReadmeError(f"{block.where}: a {block.language} listing must say file=PATH")
    # Formatters of Markdown change blank lines in listings, so these don't count.
    source = [line for line in (lab / name).read_text(encoding="utf-8").splitlines() if line.strip()]
    at = 0
    for chunk in _chunks(block.lines):
        at = _find(chunk, source, at)
        if at < 0:
            text = "\n".join(chunk)
            raise ReadmeError(f"{block.where}: not (or not in this order) in {name}:\n{text}")


def _chunks(lines: tuple[str, ...]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    for line in lines:
        if _SKIP_LINE.fullmatch(line):
            chunks.append([])
        elif line.strip():
            chunks[-1].append(line.rstrip())
    return [chunk for chunk in chunks if chunk]


def _find(chunk: list[str], source: list[str], start: int) -> int:
    """The index behind the first occurrence of `chunk`, whatever its indentation; -1 if none."""
    wanted = textwrap.dedent("\n".join(chunk))
    for at in range(start, len(source) - len(chunk) + 1):
        window = "\n".join(line.rstrip() for line in source[at : at + len(chunk)])
        if textwrap.dedent(window) == wanted:
            return at + len(chunk)
    return -1
