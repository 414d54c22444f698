"""The documentation is tested: its configurations are accepted, its snippets and commands run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import stonechat
from tests.support.binaries import stonechat_command, stonechat_server
from tests.support.certificates import Certificates

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```nats\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _blocks() -> list[object]:
    return [
        pytest.param(block[1], id=f"{page.name}-{number}")
        for page in sorted(DOCS.glob("*.md"))
        for number, block in enumerate(BLOCK.finditer(page.read_text()), 1)
    ]


def test_the_pages_show_configurations() -> None:
    assert len(_blocks()) >= 8


@pytest.mark.parametrize("block", _blocks())
def test_a_configuration_of_the_documentation_is_valid(block: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    text = block.replace("/var/lib/stonechat", str(tmp_path / "store"))
    text = text.replace("/etc/stonechat/server.pem", str(certificates.certificate_file))
    text = text.replace("/etc/stonechat/server-key.pem", str(certificates.key_file))
    text = text.replace("/etc/stonechat/clients-ca.pem", str(certificates.authority_file))
    assert "/etc/" not in text, "a file of this configuration is not made for the test"
    file = tmp_path / "server.conf"
    file.write_text(text)
    ended = subprocess.run(
        [stonechat_server(), "-t", "-c", file], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr


SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Pages whose snippets are run in sequence, as a reader would type them. Their commands need a server with JetStream.
RUN_PAGES = ("kv.md", "objects.md")


@pytest.mark.parametrize("page", RUN_PAGES)
def test_the_snippets_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    names: dict[str, object] = {"__name__": page}
    try:
        for block in SNIPPET.finditer(text):
            line = text[: block.start()].count("\n") + 1
            exec(compile("\n" * line + block[1], page, "exec"), names)
    finally:
        server = names.get("server")
        if isinstance(server, stonechat.Server):
            server.stop()


def test_the_snippet_of_the_readme_runs() -> None:
    [block] = [one[1] for one in SNIPPET.finditer((DOCS.parent / "README.md").read_text()) if "server.kv(" in one[1]]
    exec(compile(block, "README.md", "exec"), {"stonechat": stonechat})


@pytest.mark.parametrize("page", [page for page in RUN_PAGES if CONSOLE.search((DOCS / page).read_text())])
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    with stonechat.Server(jetstream=True) as server:
        environment = {**os.environ, "NATS_URL": server.url, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        for block in CONSOLE.finditer((DOCS / page).read_text()):
            for line in block[1].splitlines():
                assert line.startswith("$ stonechat "), line
                arguments = shlex.split(line.removeprefix("$ stonechat "), comments=True)
                ended = subprocess.run(
                    [stonechat_command(), *arguments],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                    env=environment,
                    cwd=tmp_path,
                    stdin=subprocess.DEVNULL,
                )
                assert ended.returncode == 0, (line, ended.stderr)
