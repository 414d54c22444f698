"""Check the shape of the Rust sources: lengths of files and functions, sizes of types, module docs, circles of imports.

The limits are such that today's code passes. Lower them when the code gets better; never raise them for worse code.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent

FILE_LINES_MAX = 810
FILE_LINES_P95 = 520
FUNCTION_LINES_MAX = 165
FUNCTION_LINES_P95 = 45
METHODS_MAX = 60
FIELDS_MAX = 25

LARGE_TYPES = {
    "broker::ClientSession": (65, 25),
    "config::Reader": (75, 25),
    "jetstream::Consumer": (60, 37),
    "jetstream::Engine": (406, 56),
    "jetstream::Stream": (60, 31),
    "jetstream::StreamCore": (64, 25),
    "store::FileStream": (79, 29),
}
"""Types above the limits, with their numbers of methods and fields: to be divided."""

TABLES = {"config::Options", "jetstream::ConsumerConfig", "jetstream::StreamConfig", "python::Settings", "wire::Info"}
"""Types whose fields are the options of a format."""

TO_OPEN = "to be opened"

CIRCLES = [
    (
        "broker",
        TO_OPEN,
        "account broker client closed exchange fanout frame inlet router run service subscription",
    ),
    ("broker", "a traced message is published without being delivered", "session::publish session::traced"),
    (
        "cli",
        "`args` has the command line of all commands, and the flags that they share",
        """
        account args bench bench::args bench::login bench::message bench::plan bench::pull bench::wire bench::work
        completion connection consumer counter encryption events kv latency listing object ordered rtt service
        service::args session stream stream::select top top::args top::feed top::figures top::source top::state
        top::table trace
        """,
    ),
    ("config", TO_OPEN, "options::blocks options::reader options::schema options::unsupported"),
    ("jetstream", TO_OPEN, "api engine"),
    (
        "jetstream",
        TO_OPEN,
        """
        api::asides api::batch api::configure api::consume api::describe api::find api::info api::lists api::long
        api::purge api::queue api::streams
        """,
    ),
    ("jetstream", TO_OPEN, "consumer consumer::check consumer::core consumer::counting meetings"),
    ("jetstream", TO_OPEN, "engine::feeds engine::stream"),
    ("jetstream", TO_OPEN, "engine::quarantine engine::recovery"),
    (
        "jetstream",
        TO_OPEN,
        "stream stream::core stream::lasts stream::notes stream::rollup stream::schedule stream::schedule::pattern",
    ),
    (
        "natsload",
        "`measure` has the list of all scenarios",
        "core fleet js kvcas kvkeys kvobject kvwatch measure replay",
    ),
    ("server", TO_OPEN, "jetstream::inbox jetstream::runner jetstream::workers"),
    ("store", "a segment collects what its footer will contain", "file::footer file::segment"),
    ("store", "one type, `FileStream`, in several files", "file::open file::read file::seal file::stream file::tail"),
    ("store", TO_OPEN, "spill spill::dues spill::ids spill::job spill::table spill::tables"),
    ("subject", "the two parts of one index", "queues sublist"),
    ("wire", "the quick path of one parser", "fast parser"),
]
"""The circles of imports that exist: crate, reason, modules. A new circle fails, and so does an entry without one."""

Module = tuple[str, ...]


def main() -> int:
    """Run all checks and print what they found."""
    faults = [*lengths(), *types(), *circles()]
    for fault in faults:
        print(f"tidy: {fault}", file=sys.stderr)
    return 1 if faults else 0


def crates() -> Iterator[tuple[str, Path]]:
    """Return the name and the source folder of each crate."""
    for folder in sorted((ROOT / "rust").iterdir()):
        if (folder / "src").is_dir():
            yield folder.name, folder / "src"


def sources() -> Iterator[tuple[str, Path, str]]:
    """Return the crate, the path and the text of each source file."""
    for crate, folder in crates():
        for path in sorted(folder.rglob("*.rs")):
            yield crate, path, path.read_text()


def without_tests(text: str) -> str:
    """Return a file without its tests, which stand at its end."""
    return text.partition("#[cfg(test)]\nmod ")[0]


def lengths() -> Iterator[str]:
    """Check lines of files and functions, and that each file says what it is about."""
    files: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for _, path, text in sources():
        name = str(path.relative_to(ROOT))
        files[name] = text.count("\n")
        if not text.startswith("//!") and "\n//!" not in text[:200]:
            yield f"{name} has no module doc"
        functions.update(function_lengths(name, without_tests(text)))
    yield from above("lines of a file", files, FILE_LINES_MAX, FILE_LINES_P95)
    yield from above("lines of a function", functions, FUNCTION_LINES_MAX, FUNCTION_LINES_P95)


def above(what: str, sizes: Mapping[str, int], most: int, p95: int) -> Iterator[str]:
    """Compare sizes with a limit for each, and one that 95 of 100 must keep."""
    for name, size in sizes.items():
        if size > most:
            yield f"{name}: {size} {what}, at most {most}"
    ordered = sorted(sizes.values())
    if ordered and (middle := ordered[len(ordered) * 95 // 100]) > p95:
        yield f"{what}: the 95th percentile is {middle}, at most {p95}"


_FUNCTION = re.compile(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn (\w+)")


def function_lengths(name: str, text: str) -> dict[str, int]:
    """Return the lines of each function of a formatted file: it ends with a brace below its first letter."""
    found, lines = {}, text.split("\n")
    for at, line in enumerate(lines):
        if not (begun := _FUNCTION.match(line)) or line.rstrip().endswith((";", "}")):
            continue
        end = next((n for n in range(at + 1, len(lines)) if lines[n] in (f"{begun[1]}}}", f"{begun[1]}}};")), at)
        found[f"{name}:{at + 1} {begun[2]}"] = end - at + 1
    return found


_IMPL = re.compile(r"^impl(?:<.*?>)? (?!\w+(?:<[^>]*>)? for )(\w+).*?^\}", re.MULTILINE | re.DOTALL)
_STRUCT = re.compile(r"^(?:pub(?:\([^)]*\))? )?struct (\w+)[^;{]*\{$", re.MULTILINE)


def types() -> Iterator[str]:
    """Check how many methods and fields types have. Traits that a type implements do not count."""
    methods: Counter[str] = Counter()
    fields: dict[str, int] = {}
    for crate, _, text in sources():
        code = without_tests(text)
        for begun in _IMPL.finditer(code):
            methods[f"{crate}::{begun[1]}"] += len(re.findall(r"^    [^/\n]*\bfn \w", begun[0], re.MULTILINE))
        for begun in _STRUCT.finditer(code):
            body = code[begun.end() : code.find("\n}", begun.end())]
            fields[f"{crate}::{begun[1]}"] = len(re.findall(r"^    (?:pub(?:\([^)]*\))? )?\w+:", body, re.MULTILINE))
    for name in {*methods, *fields}:
        most_methods, most_fields = LARGE_TYPES.get(name, (METHODS_MAX, FIELDS_MAX))
        if methods[name] > most_methods:
            yield f"{name} has {methods[name]} methods, at most {most_methods}"
        if name not in TABLES and fields.get(name, 0) > most_fields:
            yield f"{name} has {fields[name]} fields, at most {most_fields}"


def circles() -> Iterator[str]:
    """Compare the circles of imports between the files of each crate with those that are known."""
    known = {(crate, tuple(sorted(modules.split()))) for crate, _, modules in CIRCLES}
    found = set()
    for crate, folder in crates():
        for circle in strongly_connected(imports(folder)):
            found.add((crate, tuple(sorted("::".join(module) or "lib" for module in circle))))
    for crate, modules in sorted(found - known):
        yield f"a new circle of imports in {crate}: {' '.join(modules)}"
    for crate, modules in sorted(known - found):
        yield f"this circle of {crate} is gone, remove it from scripts/tidy.py: {' '.join(modules)}"


def imports(folder: Path) -> dict[Module, set[Module]]:
    """Return for each module of a crate the modules that it names."""
    modules: dict[Module, str] = {}
    for path in folder.rglob("*.rs"):
        parts = path.relative_to(folder).with_suffix("").parts
        modules[parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts] = path.read_text()
    graph: dict[Module, set[Module]] = defaultdict(set)
    for module, text in modules.items():
        for named in paths(re.sub(r"//[^\n]*", "", without_tests(text))):
            target = resolve(modules, module, named)
            if target not in (None, module):
                graph[module].add(target)
    return graph


def paths(text: str) -> Iterator[str]:
    """Return the paths within the crate that a file names, those of its imports one by one."""
    use = re.compile(r"\buse\s+((?:crate|super|self)::[^;]*);")
    for begun in use.finditer(text):
        yield from expand("", re.sub(r"\s+", " ", begun[1]))
    yield from re.findall(r"\b((?:crate|super|self)(?:::\w+)+)", use.sub("", text))


def expand(prefix: str, tree: str) -> Iterator[str]:
    """Return the paths of a tree of imports such as `a::{b, c::{d, e}}`."""
    head, brace, rest = tree.strip().partition("{")
    if not brace:
        yield prefix + head.partition(" as ")[0].strip()
        return
    depth, begin, inner = 0, 0, rest[: rest.rindex("}")]
    for at, char in enumerate(f"{inner},"):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            if inner[begin:at].strip():
                yield from expand(prefix + head, inner[begin:at])
            begin = at + 1


def resolve(modules: Mapping[Module, str], module: Module, path: str) -> Module | None:
    """Return the module that a path leads to, as far as it names modules."""
    base, parts = module, path.split("::")
    if parts[0] == "crate":
        base, parts = (), parts[1:]
    while parts and parts[0] in ("super", "self"):
        base, parts = (base[:-1] if parts[0] == "super" else base), parts[1:]
    for part in parts:
        if (*base, part) not in modules:
            break
        base = (*base, part)
    return base if base in modules else None


def strongly_connected(graph: Mapping[Module, Iterable[Module]]) -> list[Sequence[Module]]:
    """Return the groups of modules that all lead to each other (Tarjan)."""
    index: dict[Module, int] = {}
    low: dict[Module, int] = {}
    stack: list[Module] = []
    groups: list[Sequence[Module]] = []

    def visit(module: Module) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            at = stack.index(module)
            group, stack[at:] = stack[at:], []
            if len(group) > 1:
                groups.append(group)

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return groups


if __name__ == "__main__":
    sys.exit(main())
