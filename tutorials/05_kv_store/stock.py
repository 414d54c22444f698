"""Four tills sell from the same stock at the same time: who overwrites whom?"""

import argparse
import asyncio

from nats.js.errors import KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from shop import arguments, connect, fresh_bucket, text

KEY = "lamps.desk"
TILLS = 4


async def sell_blindly(kv: KeyValue) -> int:
    """Read, subtract, write: what happened in between is overwritten."""
    left = int(text(await kv.get(KEY)))
    await kv.put(KEY, str(left - 1).encode())
    return 1


async def sell(kv: KeyValue) -> int:
    """Read, subtract, write only if nobody was faster; else from the start. Returns the number of attempts."""
    attempts = 0
    while True:
        attempts += 1
        entry = await kv.get(KEY)
        try:
            await kv.update(KEY, str(int(text(entry)) - 1).encode(), last=entry.revision)
        except KeyWrongLastSequenceError:
            continue
        return attempts


async def main(options: argparse.Namespace) -> None:
    """Each till sells a quarter of the stock."""
    nc = await connect(options.url)
    kv = await fresh_bucket(nc.jetstream(), "STOCK")
    await kv.put(KEY, str(options.stock).encode())
    one_sale = sell_blindly if options.naive else sell

    async def till() -> int:
        return sum([await one_sale(kv) for _ in range(options.stock // TILLS)])

    attempts = sum(await asyncio.gather(*(till() for _ in range(TILLS))))
    left = int(text(await kv.get(KEY)))
    await nc.close()
    print(f"{TILLS} tills sold {options.stock} lamps of {options.stock}, in {attempts} attempts")
    print(f"the bucket says that {left} are left" + (f": {left} sales are lost" if left else ""))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--stock", type=int, default=100, help="how many lamps there are")
    parser.add_argument("--naive", action="store_true", help="write without asking for a revision")
    asyncio.run(main(parser.parse_args()))
