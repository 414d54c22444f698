"""Messages of `make run` and similar targets on machines that lack a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for bash")


def need(what: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", ROOT / "scripts" / "need.sh", what],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_without_rust_it_says_what_to_install(tmp_path: Path) -> None:
    done = need("rust", CARGO=str(tmp_path / "cargo"))
    assert done.returncode == 1
    assert "This needs Rust 1." in done.stderr
    assert "https://rustup.rs" in done.stderr


def test_an_old_rust_is_named(tmp_path: Path) -> None:
    done = need("rust", CARGO=program(tmp_path, "cargo", "echo 'cargo 1.9.0 (abc 2016-05-24)'"))
    assert done.returncode == 1
    assert "here is 1.9.0. Run: rustup update" in done.stderr
    assert need("rust", CARGO=program(tmp_path, "cargo", "echo 'cargo 99.1.0-nightly (abc)'")).returncode == 0


def test_a_missing_engine_is_told_from_a_missing_docker(tmp_path: Path) -> None:
    tools = f"{tmp_path}:/usr/bin:/bin"
    program(tmp_path, "docker", "exit 1")
    assert "No Docker engine answers. Start it" in need("docker", PATH=tools).stderr
    program(tmp_path, "docker", "exit 0")
    assert need("docker", PATH=tools).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "store"), [([], True), (["-m", "0"], True), (["-sd", "/x"], False), (["--config=/x"], False)]
)
def test_a_run_says_where_it_stores(tmp_path: Path, arguments: list[str], store: bool) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "run.sh").write_text((ROOT / "scripts" / "run.sh").read_text())
    server = program(tmp_path, "server", 'echo "server $@"')
    done = subprocess.run(
        ["/bin/bash", scripts / "run.sh", server, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    told, started = f"JetStream is on; what it stores stays in {tmp_path}/data", done.stdout.splitlines()[-1]
    assert done.stdout.startswith(told) is store
    assert started == " ".join(["server -js", *(["-sd", f"{tmp_path}/data"] if store else []), *arguments])
