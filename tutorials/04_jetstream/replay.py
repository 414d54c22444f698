"""Reads a stream again, from wherever you like, with an ordered consumer."""

import argparse
import asyncio

from depot import SCANS, arguments, connect
from nats.js.api import ConsumerConfig, DeliverPolicy

POLICIES = {
    "all": DeliverPolicy.ALL,
    "last": DeliverPolicy.LAST,
    "last-per-subject": DeliverPolicy.LAST_PER_SUBJECT,
    "new": DeliverPolicy.NEW,
}


def start(text: str) -> ConsumerConfig:
    """A policy's name, or a sequence."""
    if text in POLICIES:
        return ConsumerConfig(deliver_policy=POLICIES[text])
    return ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=int(text))


async def main(options: argparse.Namespace) -> None:
    """Read to the end of the stream."""
    nc = await connect(options.url)
    js = nc.jetstream()
    reader = await js.subscribe(options.filter, stream=SCANS, ordered_consumer=True, config=start(options.start))
    # The server pushes from the moment the consumer is there: what has been sent counts as well as what is to come.
    info = await reader.consumer_info()
    waiting = (info.delivered.consumer_seq if info.delivered else 0) + (info.num_pending or 0)
    print(f"from {options.start}: {waiting} messages")
    while waiting:
        message = await reader.next_msg(timeout=5)
        print(f"  #{message.metadata.sequence.stream} {message.subject}: {message.data.decode()}")
        waiting = message.metadata.num_pending
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("start", help=f"a sequence, or one of: {', '.join(POLICIES)}")
    parser.add_argument("--filter", default="scans.>", help="which subjects (default: %(default)s)")
    asyncio.run(main(parser.parse_args()))
