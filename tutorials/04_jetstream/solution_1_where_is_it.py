"""Exercise 1: where is each parcel now? The last scan of each parcel, and nothing else."""

import argparse
import asyncio

from depot import arguments, connect, fresh
from nats.js.api import StreamConfig

NAME = "WHERE"
SCANS = [("7", "oslo"), ("8", "rome"), ("7", "rome"), ("9", "lima"), ("8", "lima"), ("7", "lima")]


async def main(options: argparse.Namespace) -> None:
    """One subject for each parcel, and one message for each subject."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await fresh(js, StreamConfig(name=NAME, subjects=["where.*"], max_msgs_per_subject=1, allow_direct=True))
    for parcel, city in SCANS:
        await js.publish(f"where.{parcel}", city.encode())
    state = (await js.stream_info(NAME)).state
    print(f"{len(SCANS)} scans, {state.messages} in the stream")
    for parcel in ("7", "8", "9"):
        last = await js.get_last_msg(NAME, f"where.{parcel}")
        print(f"  parcel {parcel} is in {(last.data or b'').decode()}")
    await js.delete_stream(NAME)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
