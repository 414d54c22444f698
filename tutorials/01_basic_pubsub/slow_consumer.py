"""A subscriber that is too slow: what its client library cannot hold is dropped."""

import argparse
import asyncio

from lab import URL, connect
from nats.aio.msg import Msg
from nats.errors import SlowConsumerError


async def experiment(count: int, room: int) -> None:
    """Publish `count` messages while the handler sits on the first, with room for `room` more."""
    handled: list[str] = []
    dropped = 0
    busy = asyncio.Event()
    work_done = asyncio.Event()

    async def handle(msg: Msg) -> None:
        busy.set()
        await work_done.wait()
        handled.append(msg.data.decode())

    async def on_error(error: Exception) -> None:
        nonlocal dropped
        if not isinstance(error, SlowConsumerError):
            raise error
        if dropped == 0:
            print(f"First warning: slow consumer on {error.subject}")
        dropped += 1

    nc = await connect(URL, name="slow-consumer", error_cb=on_error)
    await nc.subscribe("numbers", cb=handle, pending_msgs_limit=room)
    await nc.publish("numbers", b"1")
    await busy.wait()  # the handler holds message 1 and works on it
    for number in range(2, count + 1):
        await nc.publish("numbers", str(number).encode())
    await nc.flush()
    await nc.flush()  # all of them have come back to us, or been dropped
    work_done.set()
    await nc.drain()
    print(f"Published {count}, handled {len(handled)}: {' '.join(handled)}")
    print(f"Dropped {dropped}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="messages to publish (%(default)s)")
    parser.add_argument("--room", type=int, default=5, help="pending_msgs_limit (%(default)s)")
    arguments = parser.parse_args()
    asyncio.run(experiment(arguments.count, arguments.room))


if __name__ == "__main__":
    main()
