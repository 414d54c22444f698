"""Real failures of a server. They need a module built with the feature `doors`, which the wheel lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stonechat
import stonechat._stonechat

CODE = """
import threading
import stonechat
from stonechat._stonechat import plant

def raised(ask):
    try:
        ask()
    except stonechat.ServerFailedError as error:
        return str(error)
    return "nothing"

server = stonechat.Server(jetstream=True, store_dir=STORE).start()
stream = server.streams.create("S", ["s.>"])
stream.publish("s.a", b"kept")
changes = server.kv("B").watch()
planted = plant(server._handle, "boom")
server.wait_for_subscription("boom", timeout=60)
# The stream's answer goes to whoever panics when it is delivered.
server._connection(None).publish("s.b", b"", reply="boom")
for ask in (lambda: server.wait(60), lambda: server.url, changes.next, lambda: stream.publish("s.c", b""), server.stop):
    print(raised(ask))
print([line.message for line in server.logs if line.level == 50][0])
with server:
    print(server.streams["S"].get(1).data)
print(threading.active_count() < 4)
"""
FAULT = "JetStream panicked: injected into a delivery"


@pytest.fixture(name="doors")
def _doors(tmp_path: Path) -> Path:
    """A folder with the package and the module that is built with `doors`."""
    built = os.environ.get("STONECHAT_DOORS", "")
    if not Path(built).is_file():
        pytest.skip("the module with doors is not built: set STONECHAT_DOORS (make doors builds it)")
    package = tmp_path / "doors" / "stonechat"
    package.mkdir(parents=True)
    for path in Path(stonechat.__file__).parent.glob("*.py"):
        (package / path.name).symlink_to(path)
    (package / "_stonechat.abi3.so").symlink_to(built)
    return package.parent


def test_a_panic_of_jetstream_is_raised(doors: Path, tmp_path: Path) -> None:
    """Methods of a failed server raise the reason; acknowledged messages are kept."""
    code = CODE.replace("STORE", repr(str(tmp_path / "store")))
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(doors)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    *told, logged, kept, is_tidy = ended.stdout.splitlines()
    assert [FAULT in line for line in told] == [True] * 5, told
    assert FAULT in logged
    assert (kept, is_tidy) == ("b'kept'", "True")


def test_the_wheel_has_no_doors() -> None:
    assert not hasattr(stonechat._stonechat, "plant")
