"""Stops one of two cooks in the middle of the work, and counts what got lost."""

import argparse
import asyncio
import json
import signal

from fleet import hire, send_home
from kitchen import DONE, ORDERS, arguments, connect
from nats.aio.msg import Msg


async def main(options: argparse.Namespace) -> None:
    """Run the experiment once."""
    work = ("--seconds", "0.3", "--at-once", "40")
    how = "finish" if options.how == "kill" else options.how
    leaver = await hire(options.url, "leaver", *work, "--stop", how)
    stayer = await hire(options.url, "stayer", *work)

    nc = await connect(options.url)
    done: dict[str, set[int]] = {"leaver": set(), "stayer": set()}
    leaver_at_work = asyncio.Event()

    async def report(msg: Msg) -> None:
        body = json.loads(msg.data)
        done[body["cook"]].add(body["id"])
        if body["cook"] == "leaver":
            leaver_at_work.set()

    await nc.subscribe(DONE, cb=report)
    for number in range(options.count):
        await nc.publish(ORDERS, json.dumps({"id": number}).encode())
    await nc.flush()

    # Half of the orders lie in the leaver's memory now, and the first ones are done.
    await asyncio.wait_for(leaver_at_work.wait(), timeout=30)
    await send_home(leaver, signal.SIGKILL if options.how == "kill" else signal.SIGTERM)
    # The stayer works off all that it has. When it is gone, every report that was ever sent
    # has reached the server; a round trip later it has reached us.
    await send_home(stayer)
    await nc.flush()
    await nc.drain()

    lost = options.count - len(done["leaver"]) - len(done["stayer"])
    print(f"{options.count} orders; one of two cooks is stopped in the middle ({options.how})")
    print(f"  the leaver cooked {len(done['leaver'])}, the stayer {len(done['stayer'])}")
    print(f"  lost: {lost} orders" if lost else "  lost: nothing")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("how", choices=["kill", "close", "drain", "finish"])
    parser.add_argument("--count", type=int, default=400, help="how many orders")
    asyncio.run(main(parser.parse_args()))
