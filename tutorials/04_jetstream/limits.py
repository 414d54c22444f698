"""Runs into each of a stream's limits, and shows what is left."""

import argparse
import asyncio

from depot import arguments, connect, fresh, stored
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError

NAME = "LIMITS"


async def read(js: JetStreamContext, number: int) -> str | None:
    """Publish one reading; answers why it was refused, if it was."""
    try:
        await js.publish(f"limits.{'ab'[number % 2]}", str(number).encode())
    except APIError as error:
        return error.description
    return None


async def attempt(js: JetStreamContext, title: str, config: StreamConfig) -> None:
    """Publish ten readings from two sensors into a stream with this configuration."""
    config.name, config.subjects = NAME, ["limits.*"]
    await fresh(js, config)
    refused: list[str] = []
    for number in range(1, 11):
        refusal = await read(js, number)
        refused += [refusal] if refusal else []
    state = (await js.stream_info(NAME)).state
    messages = [await stored(js, NAME, sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
    kept = [message.data or b"" for message in messages if message]
    print(f"{title}: kept {b' '.join(kept).decode()}")
    if refused:
        print(f"  refused {len(refused)}: {refused[0]}")


async def main(options: argparse.Namespace) -> None:
    """One stream after the other."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await attempt(js, "no limits", StreamConfig())
    await attempt(js, "max_msgs 4", StreamConfig(max_msgs=4))
    await attempt(js, "max_bytes 200", StreamConfig(max_bytes=200))
    await attempt(js, "max_msgs_per_subject 1", StreamConfig(max_msgs_per_subject=1))
    await attempt(js, "max_msgs 4, discard new", StreamConfig(max_msgs=4, discard=DiscardPolicy.NEW))

    # Time is a limit as well: wait until the stream says that nothing is left.
    await attempt(js, "max_age 1 s, at first", StreamConfig(max_age=1))
    while (await js.stream_info(NAME)).state.messages:  # noqa: ASYNC110 (nobody tells of it)
        await asyncio.sleep(0.1)
    print("max_age 1 s, later: kept nothing")
    await js.delete_stream(NAME)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
