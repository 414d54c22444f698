"""Tells whether a lab can begin: run it in the lab's folder as `python ../labkit/check.py`."""

import asyncio
import importlib.metadata
import re
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)
INSTALL = "pip install -r requirements.txt, or `make labs` in the project's top folder"


def missing_packages(lab: Path) -> list[str]:
    """What requirements.txt asks for and is not installed."""
    missing = []
    for line in (lab / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name = re.split(r"[<>=!~\s]", line.strip(), maxsplit=1)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing


async def ask_server(lab: Path) -> str:
    """Connect as the lab's scripts do; ends the program if that does not work."""
    from labkit.client import URL, connect, connect_to_jetstream

    needs_jetstream = '"-js"' in (lab / "compose.yaml").read_text(encoding="utf-8")
    nc = await (connect_to_jetstream if needs_jetstream else connect)(URL)
    with_jetstream = " with JetStream" if needs_jetstream else ""
    text = f"server at {URL}: version {nc.connected_server_version}{with_jetstream}"
    await nc.close()
    return text


def main(lab: Path) -> None:
    """Say what is there; end with what to do about the first thing that is missing."""
    if not (lab / "requirements.txt").exists():
        raise SystemExit("run this in the folder of a lab")
    print(f"Python {sys.version_info.major}.{sys.version_info.minor}")
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit("the labs need Python 3.10 or newer")
    if missing := missing_packages(lab):
        raise SystemExit(f"missing: {', '.join(missing)}; {INSTALL}")
    print(f"nats-py {importlib.metadata.version('nats-py')}")
    print(asyncio.run(ask_server(lab)))
    print("ready")


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
    main(Path.cwd())
