"""Runs several cooks, each in a process of its own, and sends them home together."""

import argparse
import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from kitchen import arguments, connect, stop_event

COOK = Path(__file__).with_name("cook.py")


async def hire(url: str, name: str, *options: str) -> Process:
    """Start a cook; returns when the cook is ready for orders."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(COOK),
        *("--url", url, "--name", name, "--queue", "cooks", "--quiet", *options),
        stdout=PIPE,
        start_new_session=True,  # Ctrl-C reaches only us, and we tell the cooks: once
    )
    assert process.stdout is not None
    ready = await process.stdout.readline()
    if not ready.endswith(b"ready\n"):
        raise SystemExit(f"{name} did not start")  # and has said why
    return process


async def send_home(process: Process, number: int = signal.SIGTERM) -> str:
    """Send a signal, wait for the end, and return the cook's last words."""
    if process.returncode is None:
        process.send_signal(number)
    output, _ = await process.communicate()
    return output.decode().strip()


async def main(options: argparse.Namespace) -> None:
    """Keep the cooks until Ctrl-C."""
    stop = stop_event()
    await (await connect(options.url)).close()  # without a server we say so once, and not each cook
    names = [f"{options.prefix}-{number}" for number in range(1, options.cooks + 1)]
    seconds = ("--seconds", str(options.seconds))
    cooks = await asyncio.gather(*(hire(options.url, name, *seconds) for name in names))
    print(f"{len(cooks)} cooks at work")

    await stop.wait()
    for words in await asyncio.gather(*(send_home(cook) for cook in cooks)):
        print(words)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--cooks", type=int, default=2, help="how many processes")
    parser.add_argument("--prefix", default="cook", help="how their names begin")
    parser.add_argument("--seconds", type=float, default=0.005, help="time for each order")
    asyncio.run(main(parser.parse_args()))
