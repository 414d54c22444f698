"""Draws a stream and where each of its consumers stands."""

import argparse
import asyncio
import contextlib

from depot import SCANS, arguments, connect, stored
from nats.aio.client import Client

WIDTH = 3


async def draw(nc: Client, stream: str) -> list[str]:
    """The picture, line by line."""
    js = nc.jetstream()
    state = (await js.stream_info(stream)).state
    sequences = range(1, state.last_seq + 1)
    cells = [str(sequence) if await stored(js, stream, sequence) else "" for sequence in sequences]
    lines = [f"{stream:<10}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)]
    for info in sorted(await js.consumers_info(stream), key=lambda info: info.name):
        assert info.ack_floor is not None
        assert info.delivered is not None
        floor, delivered = info.ack_floor.stream_seq, info.delivered.stream_seq
        marks = ["#" if n <= floor else "?" if n <= delivered else "." for n in sequences]
        lines.append(f"{info.name:<10}" + "".join(f"{mark:>{WIDTH}}" for mark in marks))
    return [line.rstrip() for line in lines]


async def main(options: argparse.Namespace) -> None:
    """Draw once, or again and again."""
    nc = await connect(options.url)
    shown: list[str] = []
    while True:
        lines = await draw(nc, options.stream)
        if lines != shown:
            print("\n".join(lines), flush=True)
        shown = lines
        if not options.follow:
            break
        await asyncio.sleep(0.2)
    print("# done with   ? delivered, not all acknowledged   . to come")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--stream", default=SCANS, help="which stream (default: %(default)s)")
    parser.add_argument("--follow", action="store_true", help="draw again at every change, until Ctrl-C")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
