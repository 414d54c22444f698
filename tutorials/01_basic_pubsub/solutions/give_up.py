"""Exercise 4: reconnect, but not for ever; when all attempts have failed, exit with code 1."""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the lab's folder

from lab import URL, connect


async def run(attempts: int) -> None:
    """Stay connected as long as there is hope."""
    closed = asyncio.Event()

    async def on_error(_error: Exception) -> None:
        """Failed attempts end up here; the last word is on_closed's."""

    async def on_disconnected() -> None:
        if not closed.is_set():
            print("Lost the server")

    async def on_closed() -> None:
        closed.set()

    await connect(
        URL,
        name="give-up",
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        closed_cb=on_closed,
        max_reconnect_attempts=attempts,
        reconnect_time_wait=1,
    )
    print("Connected")
    await closed.wait()  # nats-py closes the connection when it has given up
    print("No hope left")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=2, help="(%(default)s)")
    asyncio.run(run(parser.parse_args().attempts))
    sys.exit(1)


if __name__ == "__main__":
    main()
