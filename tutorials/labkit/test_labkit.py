"""labkit's own tests: a README that tells the truth passes, any lie in it fails."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import LabServer, Readme, ReadmeError, StepFailedError
from labkit.match import pattern, same_lines
from labkit.runner import README_PORT, SectionRunner
from labkit.terminal import PortMap


class NoServer(LabServer):
    """A server for READMEs that need none: it keeps its ports, and counts."""

    kind = "inprocess"

    def __init__(self, lab: Path) -> None:
        super().__init__(lab)
        self.events: list[str] = []

    def logs(self) -> str:
        return "\n".join(self.events)

    def _start(self) -> None:
        self.events.append("start")

    def _kill(self) -> None:
        self.events.append("kill")


RunText = Callable[[str], SectionRunner]


@pytest.fixture
def run_text(tmp_path: Path) -> RunText:
    """Write a README with one section, and run it."""

    def run(text: str) -> SectionRunner:
        readme = tmp_path / "README.md"
        readme.write_text("## Only section\n\n" + textwrap.dedent(text), encoding="utf-8")
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir(exist_ok=True)
        runner = SectionRunner(NoServer(tmp_path), bin_folder)
        [section] = Readme(readme).sections
        runner.run(section)
        return runner

    return run


TRUE_TEXTS = {
    "exact": """
        ```console
        $ echo one; echo two
        one
        two
        $ echo three \\
            four
        three four
        ```
        """,
    "wildcards": """
        ```console
        $ seq 20
        1
        ...
        1...9
        20
        ```
        """,
    "exit code": """
        ```console exit=3
        $ echo sorry >&2; exit 3
        sorry
        ```
        """,
    "any order": """
        ```console any-order
        $ printf 'b\\na 1\\na 2\\n'
        a ...
        a 1
        b
        ```
        """,
    "two terminals": """
        ```console terminal=1 running
        $ mkfifo pipe; exec 3<>pipe; echo ready; while read -r line <&3; do echo "got $line"; done
        ready
        ```
        ```console terminal=2
        $ echo hello > pipe
        ```
        ```console terminal=1
        got hello
        ```
        ```console terminal=1 exit=130
        ^C
        ```
        """,
    "ends by itself": """
        ```console terminal=1 running
        $ mkfifo gate; echo waiting; cat gate; echo over
        waiting
        ```
        ```console terminal=2
        $ echo go > gate
        ```
        ```console terminal=1 ends
        go
        over
        ```
        """,
    "interrupt with a farewell": """
        ```console exit=4
        $ trap 'echo bye; exit 4' INT; echo ready; while true; do sleep 0.05; done
        ready
        ^C
        bye
        ```
        """,
    "open end": """
        ```console running terminal=1
        $ trap 'echo bye; exit 0' INT; seq 5; while true; do sleep 0.05; done
        1
        ...
        ```
        ```console terminal=1
        ^C
        bye
        ```
        """,
    "indented in a list": """
        1. First

           ```console
           $ echo "  two blanks"
             two blanks
           ```
        """,
}

FALSE_TEXTS = {
    "other text": "```console\n$ echo one\ntwo\n```\n",
    "too much expected": "```console\n$ echo one\none\ntwo\n```\n",
    "too little expected": "```console\n$ echo one; echo two\none\n```\n",
    "silence expected": "```console\n$ echo one\n```\n",
    "wrong exit code": "```console\n$ exit 1\n```\n",
    "left running": "```console running\n$ echo one; sleep 60\none\n```\n",
    "died while running": "```console running\n$ echo one; exit 1\none\n```\n",
    "hangs": "```console timeout=0.2\n$ sleep 60\n```\n",
    "any order, other lines": "```console any-order\n$ printf 'a\\nb\\n'\nb\nc\n```\n",
    "any order, too many": "```console any-order\n$ printf 'a\\nb\\nc\\n'\nb\na\n```\n",
    "nobody runs there": "```console terminal=7\nhello\n```\n",
    "interrupted too early": "```console exit=130\n$ echo one; sleep 60\ntwo\n^C\n```\n".replace(
        "console", "console timeout=0.3"
    ),
}


@pytest.mark.parametrize("name", TRUE_TEXTS)
def test_truth_passes(name: str, run_text: RunText) -> None:
    run_text(TRUE_TEXTS[name])


@pytest.mark.parametrize("name", FALSE_TEXTS)
def test_lie_fails(name: str, run_text: RunText) -> None:
    with pytest.raises(StepFailedError, match=r"README\.md:\d+"):
        run_text(FALSE_TEXTS[name])


def test_commands_see_the_servers_ports(run_text: RunText) -> None:
    runner = run_text(
        """
        ```console
        $ echo "$NATS_URL" http://localhost:8222/varz 4222
        nats://127.0.0.1:4222 http://localhost:8222/varz 4222
        $ test "$NATS_URL" = nats://127.0.0.1:4222 && echo same
        same
        ```
        """
    )
    assert runner.server.port != README_PORT


def test_fresh_ports_are_not_the_servers(run_text: RunText) -> None:
    run_text(
        """
        ```console fresh-ports
        $ test "$NATS_URL" != nats://127.0.0.1:4222 && echo -p 4222 -m 8222
        -p 4222 -m 8222
        ```
        """
    )


def test_kill_and_restart_reach_the_server(run_text: RunText) -> None:
    runner = run_text(
        """
        ```console server=kill
        $ docker compose kill
        ```
        ```console server=restart
        $ docker compose up -d --wait
        ...
        ```
        """
    )
    assert runner.server.logs().split() == ["start", "kill", "start"]


def test_what_is_missing_is_left_out_and_told(run_text: RunText) -> None:
    runner = run_text(
        """
        ```console needs=no-such-program,docker,image:no-such-image
        $ false
        ```
        """
    )
    [sentence] = runner.left_out
    assert "there is no no-such-program, the lab does not run on Docker, the image no-such-image" in sentence


def test_unknown_word_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("```console runing\n$ true\n```\n", encoding="utf-8")
    with pytest.raises(ReadmeError, match="runing"):
        Readme(readme)


@pytest.mark.parametrize(
    ("listing", "good"),
    [
        ("def one():\n    return 1", True),
        ("return 1", True),
        ("    return 1\ndef two():", True),
        ("def one():\n    # ...\ndef two():", True),
        ("def two():\n    ...\ndef one():", False),
        ("def one():\n    return 2", False),
        ("def one():\n    return 1\n\nx = 0", False),
    ],
)
def test_listings(tmp_path: Path, listing: str, good: bool) -> None:
    source = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
    (tmp_path / "code.py").write_text(source, encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(f"```python file=code.py\n{listing}\n```\n", encoding="utf-8")
    if good:
        assert Readme(readme).check_listings() == 1
    else:
        with pytest.raises(ReadmeError, match=r"README\.md:1"):
            Readme(readme).check_listings()


def test_pattern_is_literal_but_for_dots() -> None:
    assert pattern(["a.b (c)*"]).fullmatch("a.b (c)*\n")
    assert not pattern(["a.b"]).fullmatch("axb\n")
    assert pattern(["a", "..."]).fullmatch("a\nb\nc\n")
    assert not pattern(["a...c"]).fullmatch("a\nc\n")
    assert pattern(["c"], skip_first=True).fullmatch("a\nb\nc\n")


def test_same_lines_gives_exact_lines_first_choice() -> None:
    assert same_lines(["a...", "a1"], ["a1", "a2"])
    assert not same_lines(["a...", "a1"], ["a2", "a3"])


def test_port_map_touches_addresses_only() -> None:
    ports = PortMap({4222: 50001, 8222: 50002})
    text = "localhost:4222 0.0.0.0:8222 127.0.0.1:42220 4222"
    real = "localhost:50001 0.0.0.0:50002 127.0.0.1:42220 4222"
    assert ports.to_real(text) == real
    assert ports.to_readme(real) == text
