"""The same work under each retention policy: when does a message leave the stream?"""

import argparse
import asyncio

from depot import arguments, connect, fresh
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import APIError

NAME = "RETENTION"


async def count(js: JetStreamContext) -> int:
    """How many messages the stream holds."""
    return (await js.stream_info(NAME)).state.messages


async def work(js: JetStreamContext, worker: str, subject: str) -> None:
    """One consumer takes all it can get, and acknowledges it."""
    pull = await js.pull_subscribe(subject, durable=worker, stream=NAME)
    for message in await pull.fetch(6, timeout=5):
        await message.ack_sync()


async def attempt(js: JetStreamContext, retention: RetentionPolicy) -> None:
    """Two consumers, six messages."""
    await fresh(js, StreamConfig(name=NAME, subjects=["jobs.*"], retention=retention))
    # A work queue gives each message to one consumer only: so they must not overlap.
    is_queue = retention == RetentionPolicy.WORK_QUEUE
    subjects = {"ann": "jobs.a" if is_queue else "jobs.*", "bob": "jobs.b" if is_queue else "jobs.*"}
    await js.publish("jobs.a", b"nobody is there yet")
    early = await count(js)
    await js.purge_stream(NAME)
    for worker, subject in subjects.items():
        await js.add_consumer(
            NAME, ConsumerConfig(durable_name=worker, filter_subject=subject, ack_policy=AckPolicy.EXPLICIT)
        )
    for number in range(6):
        await js.publish(f"jobs.{'ab'[number % 2]}", str(number).encode())
    figures = [await count(js)]
    for worker, subject in subjects.items():
        await work(js, worker, subject)
        figures.append(await count(js))
    print(f"{retention.value}: without a consumer {early}; six jobs: {figures[0]}, ", end="")
    print(f"after ann {figures[1]}, after bob {figures[2]}")
    if is_queue:
        try:
            await js.add_consumer(NAME, ConsumerConfig(durable_name="cleo", ack_policy=AckPolicy.EXPLICIT))
        except APIError as error:
            print(f"  a consumer for all jobs beside them: {error.description}")


async def main(options: argparse.Namespace) -> None:
    """One policy after the other."""
    nc = await connect(options.url)
    js = nc.jetstream()
    for retention in (RetentionPolicy.LIMITS, RetentionPolicy.INTEREST, RetentionPolicy.WORK_QUEUE):
        await attempt(js, retention)
    await js.delete_stream(NAME)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
