"""Exercise 2: what can't be delivered three times goes to a stream of its own, by way of an advisory."""

import argparse
import asyncio
import json

from depot import arguments, connect, fresh
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, StreamConfig

NAME, DEAD = "ROUNDS", "DEAD"
ADVISORY = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{NAME}.van"


async def main(options: argparse.Namespace) -> None:
    """Parcel 3 has a wrong address, and comes back each time."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await fresh(js, StreamConfig(name=NAME, subjects=["rounds.*"]))
    await fresh(js, StreamConfig(name=DEAD, subjects=["dead.*"]))
    for parcel in range(1, 6):
        await js.publish(f"rounds.{parcel}", f"parcel {parcel}".encode())
    buried = asyncio.Event()

    async def bury(advisory: Msg) -> None:
        body = json.loads(advisory.data)
        message = await js.get_msg(NAME, body["stream_seq"])
        await js.publish("dead.letter", message.data or b"", headers={"Tries": str(body["deliveries"])})
        buried.set()

    await nc.subscribe(ADVISORY, cb=bury)
    config = ConsumerConfig(max_deliver=3, backoff=[0.2, 0.4, 0.8], ack_wait=0.2)
    van = await js.pull_subscribe("rounds.*", durable="van", stream=NAME, config=config)
    tries = delivered = 0
    while delivered < 4 or tries < 3:
        (message,) = await van.fetch(1, timeout=5)
        if message.data == b"parcel 3":
            tries += 1
            print(f"parcel 3: nobody at home (try {tries})")
        else:
            delivered += 1
            await message.ack()
    await asyncio.wait_for(buried.wait(), timeout=10)
    dead = await js.get_last_msg(DEAD, "dead.letter")
    print(f"{delivered} delivered; to be looked at by a person: {(dead.data or b'').decode()}")
    await js.delete_stream(NAME)
    await js.delete_stream(DEAD)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
