"""What the scripts of the labs say when there is no server, or none that lets them in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit import Readme
from labkit.servers import free_ports

TUTORIALS = Path(__file__).parents[1]
LABS = sorted(path.parent for path in TUTORIALS.glob("[0-9]*/README.md"))
# They start their own server, need none, or show what nats-py itself does.
WITHOUT_SERVER = {"-c", "-m", "inprocess_server.py", "flush_order.py", "connect.py", "plot.py", "sample.py"}


def commands(lab: Path) -> Iterator[str]:
    """The first command of the README for each script of the lab that needs a server."""
    seen = set(WITHOUT_SERVER)
    for section in Readme(lab / "README.md").sections:
        for block in section.blocks:
            for command in block.commands():
                words = command.text.split()
                if words[:1] == ["python"] and words[1] not in seen and "--help" not in words:
                    seen.add(words[1])
                    yield command.text


def run(lab: Path, command: str, url: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a shell does; a script that goes on trying runs into the timeout."""
    python = f"{sys.executable}{command.removeprefix('python')}".replace("127.0.0.1:8222", url.split("//")[1])
    env = {**os.environ, "NATS_URL": url}
    return subprocess.run(
        ["bash", "-c", python], cwd=lab, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: str(lab.name))
def test_every_script_says_at_once_that_there_is_no_server(lab: Path) -> None:
    [port] = free_ports(1)
    url = f"nats://127.0.0.1:{port}"
    wanted = list(commands(lab))
    assert wanted
    with ThreadPoolExecutor(4) as pool:
        for command, done in zip(wanted, pool.map(lambda text: run(lab, text, url), wanted), strict=True):
            said = done.stderr.strip()
            assert done.returncode == 1, (command, done)
            assert "Traceback" not in said, (command, said)
            told = ("no server at", "docker compose up") if "--monitor" not in command else ("no monitoring at", "-m")
            assert all(words in said.splitlines()[0] for words in (*told, f":{port} (")), (command, said)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"token": "secret"}, "does not let us in"),
        ({}, "has JetStream turned off: start it with `-js`"),
    ],
)
def test_a_server_that_does_not_fit_is_told_in_a_sentence(options: dict[str, str], says: str) -> None:
    stonechat = pytest.importorskip("stonechat")
    with stonechat.Server(**options) as server:
        done = run(TUTORIALS / "04_jetstream", "python show.py", server.url)
    assert done.returncode == 1
    assert says in server_sentence(done.stderr)


def server_sentence(said: str) -> str:
    """The only line that was said."""
    [line] = said.splitlines()
    assert line.startswith("the server at nats://127.0.0.1:")
    return line


def test_the_check_says_what_is_missing(tmp_path: Path) -> None:
    check = TUTORIALS / "labkit" / "check.py"
    (tmp_path / "requirements.txt").write_text("nats-py>=2.10\nno-such-package>=1\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, check], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.split(";")[0]) == (1, "missing: no-such-package")


def test_one_list_of_requirements_covers_all_labs() -> None:
    lines = (TUTORIALS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [f"-r {lab.name}/requirements.txt" for lab in LABS] == [line for line in lines if line.startswith("-r")]
