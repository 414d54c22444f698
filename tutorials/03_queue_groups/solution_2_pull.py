"""Exercise 2: cooks who ask for the next order, so that a slow one gets fewer."""

import argparse
import asyncio
from collections import deque

from kitchen import arguments, connect
from nats.aio.msg import Msg


async def cook(url: str, seconds: float) -> list[int]:
    """Ask, cook, ask again, until the kitchen says that nothing is left."""
    nc = await connect(url)
    cooked: list[int] = []
    while True:
        answer = await nc.request("kitchen.next", timeout=10)
        if not answer.data:
            break
        await asyncio.sleep(seconds)
        cooked.append(int(answer.data))
    await nc.close()
    return cooked


async def main(options: argparse.Namespace) -> None:
    """A dispatcher with a list of orders, a fast cook and a slow one."""
    orders = deque(range(1, options.count + 1))
    nc = await connect(options.url)

    async def hand_out(msg: Msg) -> None:
        await msg.respond(str(orders.popleft()).encode() if orders else b"")

    await nc.subscribe("kitchen.next", cb=hand_out)
    await nc.flush()
    fast, slow = await asyncio.gather(cook(options.url, 0.001), cook(options.url, 0.5))
    await nc.close()

    once = sorted(fast + slow) == list(range(1, options.count + 1))
    print(f"the fast cook {len(fast)}, the slow cook {len(slow)}")
    print(f"each order once: {'yes' if once else 'no'}")
    print(f"the slow cook got fewer than a fifth: {'yes' if len(slow) * 5 < len(fast) else 'no'}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many orders")
    asyncio.run(main(parser.parse_args()))
