"""Connect with care: several servers, a limit to patience, and every problem told."""

import argparse
import asyncio
import os
import sys

import nats
from nats.errors import NoServersError

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")


async def connect(servers: list[str], attempts: int) -> bool:
    """Try the servers in their order; tells whether one of them took us."""

    async def on_error(error: Exception) -> None:
        print(f"Problem: {error or type(error).__name__}")

    try:
        nc = await nats.connect(
            servers,
            name="careful",
            error_cb=on_error,
            connect_timeout=2,  # seconds for one attempt
            max_reconnect_attempts=attempts,  # for each server; -1 is for ever
            reconnect_time_wait=1,  # seconds between two attempts at the same server
            dont_randomize=True,  # keep our order; by default clients spread over servers
            ping_interval=20,  # after so many seconds ask whether the server still lives
            max_outstanding_pings=2,  # so many unanswered pings mean: it does not
        )
    except NoServersError as error:
        print(f"Giving up: {error}")
        return False
    server = nc.connected_url
    if server is not None:
        print(f"Connected to {server.geturl()}")
    await nc.close()
    return True


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", metavar="URL", nargs="*", default=[URL])
    parser.add_argument("--attempts", type=int, default=1, help="retries (%(default)s)")
    arguments = parser.parse_args()
    if not asyncio.run(connect(arguments.servers, arguments.attempts)):
        sys.exit(1)


if __name__ == "__main__":
    main()
