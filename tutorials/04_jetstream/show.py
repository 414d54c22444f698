"""Shows what a stream holds: its state, its subjects, its messages."""

import argparse
import asyncio

from depot import SCANS, arguments, connect, stored
from nats.js.errors import NotFoundError


async def main(options: argparse.Namespace) -> None:
    """Print the stream."""
    nc = await connect(options.url)
    js = nc.jetstream()
    try:
        info = await js.stream_info(options.stream, subjects_filter=">")
    except NotFoundError:
        raise SystemExit(f"there is no stream {options.stream}") from None
    state = info.state
    print(f"{options.stream}: {state.messages} messages, sequences {state.first_seq} to {state.last_seq}")
    for subject, count in sorted((state.subjects or {}).items()):
        print(f"  {subject}: {count}")
    if options.messages:
        for sequence in range(state.first_seq, state.last_seq + 1):
            if message := await stored(js, options.stream, sequence):
                print(f"  #{sequence} {message.subject}: {(message.data or b'').decode()}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--stream", default=SCANS, help="which stream (default: %(default)s)")
    parser.add_argument("--messages", action="store_true", help="each message, too")
    asyncio.run(main(parser.parse_args()))
