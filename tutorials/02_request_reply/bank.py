"""A bank that charges customers; one of its replies gets lost, as replies sometimes do."""

import argparse
import asyncio
import json
from collections import OrderedDict

from nats.aio.msg import Msg
from shop import arguments, connect, euros, stop_event

REMEMBERED_MOST = 10_000
"""A memory without bound is a leak: the oldest requests are forgotten."""


class Bank:
    """Charges; remembers the answers that it gave to requests with an id."""

    def __init__(self, lost_replies: int) -> None:
        self.takings = 0
        self._lost_replies = lost_replies
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    async def charge(self, msg: Msg) -> None:
        """Take the money, unless this very request was served before."""
        request_id = (msg.headers or {}).get("Request-Id")
        if request_id is not None and request_id in self._answers:
            print(f"request {request_id}: done before, same answer again")
            await msg.respond(self._answers[request_id])
            return

        cents = json.loads(msg.data)["cents"]
        self.takings += cents
        answer = json.dumps({"charged": cents}).encode()
        if request_id is not None:
            self._answers[request_id] = answer
            if len(self._answers) > REMEMBERED_MOST:
                self._answers.popitem(last=False)

        if self._lost_replies > 0:
            self._lost_replies -= 1
            print(f"charged {euros(cents)}, and the reply gets lost")
            return
        print(f"charged {euros(cents)}")
        await msg.respond(answer)


async def main(options: argparse.Namespace) -> None:
    """Serve ``bank.charge`` until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    bank = Bank(options.lose_replies)
    await nc.subscribe("bank.charge", cb=bank.charge)
    await nc.flush()
    print("bank: open")

    await stop.wait()
    await nc.drain()
    print(f"bank: takings {euros(bank.takings)}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--lose-replies", type=int, default=0, help="lose so many replies first")
    asyncio.run(main(parser.parse_args()))
