"""While one client sends expensive requests, other accounts get answers quickly, and the server shuts down in time.

`make test` runs some of the attacks for a short time, with bounds that hold on a loaded machine. If
`STONECHAT_STALL_SECONDS` is set, all attacks run for this time each. `STONECHAT_STALL_P99_MS` is the bound for the 99th
percentile of the latency. The goals are 10 s and 20 ms. `-s` shows the figures:

    STONECHAT_STALL_SECONDS=10 STONECHAT_STALL_P99_MS=20 STONECHAT_SERVER=... python -m pytest -s tests/stalls
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.process import ServerProcess

from .attacks import ATTACKS, Attack
from .client import Client, Hammer, HttpHammer, stream

SECONDS = float(os.environ.get("STONECHAT_STALL_SECONDS", "0.6"))
P99_MS = float(os.environ.get("STONECHAT_STALL_P99_MS", "1000"))
IS_QUICK = "STONECHAT_STALL_SECONDS" not in os.environ
END_S = 5.0 if IS_QUICK else 2.0
CONFIG = """
max_payload: 16777216
max_pending: 268435456
jetstream { store_dir: "%s", max_mem: 4GB, max_file: 4GB }
accounts {
  A { jetstream: enabled, users: [{ user: attacker, password: x }] }
  B { jetstream: enabled, users: [{ user: victim, password: x }] }
}
"""


def _percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _victims_streams(port: int) -> None:
    client = Client(port, "victim")
    client.ask(stream("M", subjects=["memory"], max_msgs=1000))
    client.ask(stream("F", subjects=["file"], max_msgs=1000, storage="file"))
    client.close()


def _measure(server: ServerProcess, attack: Attack) -> tuple[dict[str, list[float]], int]:
    """Returns the latencies of the victims' messages during the attack, and the number of answers to the attacker.

    The attack still runs when this returns.
    """
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.stalls.victim", str(server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    assert victim.stdout.readline() == "begun\n"
    if attack.path:
        hammer: Hammer | HttpHammer = HttpHammer(server.monitor_port, attack.path)
    else:
        hammer = Hammer(server.port, attack.forever(), attack.window, attack.count, attack.answer)
    time.sleep(SECONDS)  # The time that the attack lasts; nothing is waited for.
    answers = hammer.answers
    told, _ = victim.communicate()
    server.signal(signal.SIGTERM)
    begun = time.monotonic()
    server.wait(12)
    ended = time.monotonic() - begun
    hammer.close()
    return {**json.loads(told), "end": [ended]}, answers


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.is_quick or not IS_QUICK], ids=lambda attack: attack.name
)
def test_others_hardly_notice(attack: Attack, stonechat_program: Path, tmp_path: Path) -> None:
    with ServerProcess(stonechat_program, CONFIG % tmp_path) as server:
        _victims_streams(server.port)
        client = Client(server.port)
        attack.prepare(client)
        times, answers = _measure(server, attack)
        client.close()
    ended = times.pop("end")[0]
    figures = {who: (_percentile(taken, 0.99), 1000 * max(taken)) for who, taken in times.items()}
    row = "".join(f" {who} {p99:7.1f} {worst:7.1f}" for who, (p99, worst) in figures.items())
    print(f"\n{attack.name:40} {answers:6} answers |{row} | end {ended:.2f} s", flush=True)
    # A quick run may end before the first answer on a slow machine. In a long run, an attack must get answers.
    assert answers > 0 or IS_QUICK or attack is ATTACKS[0], "the attack was not answered"
    assert ended < END_S, "the server took its time to end"
    late = {who: p99 for who, (p99, _) in figures.items() if p99 > P99_MS}
    assert not late, "milliseconds of the slowest hundredth"
