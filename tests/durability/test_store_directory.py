"""Ownership of a store directory: modes, owner, links, and the warning about a temporary one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.binaries import stonechat_server

from .store import ask, connected, started

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners of Unix")

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def _refused(store: Path | None, temporary: Path) -> str:
    """Returns the output of a server that refuses to start on this store, or on the default one in `temporary`."""
    command: list[str | Path] = [stonechat_server(), "-a", "127.0.0.1", "-p", "-1", "-js"]
    command += ["-sd", store] if store else []
    environment = {**os.environ, "TMPDIR": str(temporary)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


@pytest.mark.asyncio
async def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    server = started(stonechat_server(), store)
    try:
        async with connected(server) as client:
            await ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s"], "storage": "file"})
            await client.request("s", b"hello")
    finally:
        server.stop()
    paths = [store / "jetstream", *(store / "jetstream").rglob("*")]
    assert len(paths) > 5
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


@as_root
def test_a_store_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jetstream").mkdir()
    os.chown(tmp_path / "jetstream", 12345, 12345)
    assert "belongs to another user" in _refused(tmp_path, tmp_path)
    assert list((tmp_path / "jetstream").iterdir()) == [], "nothing is written there"


@as_root
def test_a_default_store_that_another_user_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    os.chown(tmp_path / "nats", 12345, 12345)
    said = _refused(None, tmp_path)
    assert "belongs to another user" in said
    assert "Temporary storage directory used, data could be lost on system reboot" in said


def test_a_default_store_that_is_a_link_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        (tmp_path / "nats").symlink_to(elsewhere)
        assert "is a link" in _refused(None, tmp_path)
        assert list(Path(elsewhere).iterdir()) == []


def test_a_link_in_a_store_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "store" / "jetstream").mkdir(parents=True)
    (tmp_path / "store" / "jetstream" / "LOCK").symlink_to(target)
    assert "JetStream" in _refused(tmp_path / "store", tmp_path)
    assert not target.exists()
