"""One message for each kind of answer that a consumer can give."""

import argparse
import asyncio

import nats.errors
from depot import arguments, connect, fresh
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

NAME = "ACKS"
KINDS = ("ack", "nak", "silence", "progress", "term")


async def main(options: argparse.Namespace) -> None:
    """Answer each message in its own way, and see which come again."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await fresh(js, StreamConfig(name=NAME, subjects=["acks.*"]))
    for kind in KINDS:
        await js.publish(f"acks.{kind}", kind.encode())

    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=1, max_deliver=3)
    worker = await js.pull_subscribe("acks.*", durable="worker", stream=NAME, config=config)
    deliveries: dict[str, int] = dict.fromkeys(KINDS, 0)
    # What comes again has come by then: an ack_wait is a second.
    while True:
        try:
            (message,) = await worker.fetch(1, timeout=3)
        except nats.errors.TimeoutError:
            break
        kind = message.data.decode()
        deliveries[kind] += 1
        if kind == "ack":
            await message.ack()
        elif kind == "nak":
            await message.nak()
        elif kind == "term":
            await message.term()
        elif kind == "progress":
            await message.in_progress()  # not done, but alive: the clock starts anew
            await message.ack()
    for kind, count in deliveries.items():
        print(f"{kind}: delivered {count} time{'s' if count > 1 else ''}")
    await js.delete_stream(NAME)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
