"""Looks at a bucket from below: the stream that it is, and the messages in it."""

import argparse
import asyncio

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from shop import CONFIG, arguments, connect, open_bucket

SHOWN = ("KV-Operation", "Nats-Rollup", "Nats-TTL", "Nats-Marker-Reason")


async def line(js: JetStreamContext, stream: str, sequence: int) -> str:
    """One message: its sequence, subject, payload, and the headers that make it an operation."""
    try:
        message = await js.get_msg(stream, sequence)
    except NotFoundError:
        return ""
    headers = [f"{name}: {value}" for name, value in (message.headers or {}).items() if name in SHOWN]
    return f"  #{sequence} {message.subject} {(message.data or b'').decode() or ', '.join(headers)}"


async def main(options: argparse.Namespace) -> None:
    """Print configuration and messages."""
    nc = await connect(options.url)
    js = nc.jetstream()
    status = await (await open_bucket(js, options.bucket)).status()
    config, state = status.stream_info.config, status.stream_info.state
    print(f"stream {config.name}: subjects {config.subjects}")
    print(f"  at most {config.max_msgs_per_subject} messages a subject, discard {config.discard}")
    print(f"  {state.messages} messages, sequences {state.first_seq} to {state.last_seq}")
    for sequence in range(state.first_seq, state.last_seq + 1) if state.messages else ():
        if shown := await line(js, config.name or "", sequence):
            print(shown)
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("bucket", nargs="?", default=CONFIG, help="which bucket (default: %(default)s)")
    asyncio.run(main(parser.parse_args()))
