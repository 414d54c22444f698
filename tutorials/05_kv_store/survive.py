"""Puts and purges until the server dies, and remembers what was acknowledged; later checks that this is the truth."""

import argparse
import asyncio
import contextlib
import json

import nats.errors
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from shop import arguments, connect, fresh_bucket, open_bucket, state_file, text

KEYS = 20


async def write(options: argparse.Namespace) -> None:
    """One operation after the other: after each acknowledgement its effect is what must survive."""
    nc = await connect(options.url)
    kv = await fresh_bucket(nc.jetstream(), "SURVIVE", history=5)
    truth: dict[str, str | None] = {}
    doubtful = ""
    with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError, OSError):
        for number in range(1, 1_000_000):
            doubtful = f"key.{number % KEYS}"
            if number % 7 == 0:
                await kv.purge(doubtful)
                truth[doubtful] = None
            else:
                await kv.put(doubtful, str(number).encode())
                truth[doubtful] = str(number)
            if number == 100:
                print("100 operations are acknowledged, and more come")
    # The last one has no answer: it may have happened or not. Nobody can promise more.
    truth.pop(doubtful, None)
    state_file("survive.json").write_text(json.dumps(truth))
    print("the server is gone")


async def value(kv: KeyValue, key: str) -> str | None:
    """The value of a key, or None."""
    try:
        return text(await kv.get(key))
    except KeyNotFoundError:
        return None


async def check(options: argparse.Namespace) -> None:
    """Compare the bucket with what was acknowledged."""
    nc = await connect(options.url)
    kv = await open_bucket(nc.jetstream(), "SURVIVE")
    truth = json.loads(state_file("survive.json").read_text())
    wrong = [key for key, expected in truth.items() if await value(kv, key) != expected]
    purged = sum(expected is None for expected in truth.values())
    await nc.close()
    if wrong:
        raise SystemExit(f"wrong after the crash: {', '.join(wrong)}")
    print(f"all {len(truth)} keys are as acknowledged, {purged} of them purged")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--check", action="store_true", help="look what is there after a crash")
    chosen = parser.parse_args()
    asyncio.run(check(chosen) if chosen.check else write(chosen))
