"""Runs every step of this lab's README, and checks what the steps can't show."""

import asyncio
import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nats
import nats.js.errors
import pytest
from labkit import LabRun, LabServer, Readme, Section

LAB = Path(__file__).parent
README = Readme(LAB / "README.md")
SCRIPTS = sorted(
    path.name
    for path in LAB.glob("*.py")
    if not path.name.startswith("test_") and "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("section", README.sections, ids=str)
def test_section(section: Section, lab_run: LabRun) -> None:
    """Every command of the section does what the README says."""
    lab_run(section)


def test_listings_are_true() -> None:
    """Every listing is an excerpt of the file that it names."""
    assert README.check_listings() > 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_explains_itself(script: str) -> None:
    """``--help`` says what the script does, and where it connects to."""
    done = subprocess.run([sys.executable, LAB / script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--url" in done.stdout


def test_every_script_is_used() -> None:
    """The README runs each script: none is left over."""
    commands = [line for block in README.blocks for line in block.lines if line.startswith("$ ")]
    unused = [script for script in SCRIPTS if not any(f"python {script}" in line for line in commands)]
    assert unused == []


def load(name: str, path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_of_the_lease_is_up_to_date() -> None:
    """``python pictures/lease.py`` would write what is there."""
    drawn = (LAB / "pictures" / "lease.svg").read_text(encoding="utf-8")
    assert drawn == load("lease", LAB / "pictures" / "lease.py").draw()


def test_picture_of_the_timeline_is_what_the_lab_draws(lab_server: LabServer, tmp_path: Path) -> None:
    """The operations of step 3 give the picture that the README shows."""
    lab_server.start()
    [block] = [block for block in README.blocks if "$ python timeline.py --svg state/timeline.svg" in block.lines]
    for command in block.commands():
        _, script, *words = shlex.split(command.text.replace("state/", f"{tmp_path}/"))
        done = subprocess.run(
            [sys.executable, LAB / script, "--url", lab_server.url, *words], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "timeline.svg").read_text("utf-8") == (LAB / "pictures" / "timeline.svg").read_text("utf-8")


def test_what_the_lab_says_of_nats_py_is_true(lab_server: LabServer) -> None:
    """The table "nats-py, and the way around": a version that does better makes this fail, and the table shorter."""
    lab_server.start()

    async def check() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        kv = await js.create_key_value(bucket="PAINS")
        with pytest.raises(nats.js.errors.NoKeysError):
            await kv.keys()
        for number in range(10):
            await kv.put(f"a.{number}.b", b"value")
        with pytest.raises(nats.js.errors.NoKeysError):
            await kv.keys(filters=["a.*.b"])
        assert await kv.keys(filters=["7"]) == ["a.7.b"]
        # Each of the three has left a consumer, which goes after five minutes.
        assert (await kv.status()).stream_info.state.consumer_count == 3
        watcher = await kv.watchall(ignore_deletes=True)
        seen = [await anext(watcher) for _ in range(11)]
        assert None not in seen[:10]
        assert seen[10] is None
        with pytest.raises(nats.errors.TimeoutError):
            await watcher.updates(timeout=0.05)  # type: ignore[no-untyped-call]
        await watcher.stop()  # type: ignore[no-untyped-call]
        assert [entry async for entry in watcher] == []
        # The marker of a value that has expired: no value to the server, but a key to nats-py.
        markers = await js.create_key_value(bucket="MARKERS", limit_marker_ttl=60)
        watcher = await markers.watch("key")
        await markers.create("key", b"value", msg_ttl=1)
        entries = [await anext(watcher) for _ in range(3)]
        assert [entry and entry.operation for entry in entries] == [None, None, "PURGE"]
        assert (await markers.get("key")).value is None
        with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
            await markers.create("key", b"value")
        shop = load("shop", LAB / "shop.py")
        assert await shop.create(js, "MARKERS", "key", b"value", ttl=60) == 3
        assert await shop.create(js, "MARKERS", "key", b"value", ttl=60) is None
        # A TTL is whole seconds: what is behind the point is cut off.
        ack = await js.publish("$KV.PAINS.short", b"value", msg_ttl=1.9)
        message = await js.get_msg("KV_PAINS", ack.seq)
        assert message.headers == {"Nats-TTL": "1"}
        await nc.close()

    asyncio.run(check())
