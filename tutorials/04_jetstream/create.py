"""Creates the stream SCANS, empty, and shows its configuration."""

import argparse
import asyncio

from depot import SCANS, arguments, connect, fresh
from nats.js.api import StorageType, StreamConfig


async def main(options: argparse.Namespace) -> None:
    """Make the stream new."""
    nc = await connect(options.url)
    js = nc.jetstream()
    storage = StorageType.MEMORY if options.memory else StorageType.FILE
    await fresh(js, StreamConfig(name=SCANS, subjects=["scans.>"], storage=storage))
    config = (await js.stream_info(SCANS)).config
    print(f"stream {config.name}: subjects {config.subjects}")
    print(f"  storage {config.storage}, retention {config.retention}, discard {config.discard}")
    print(f"  limits: {config.max_msgs} messages, {config.max_bytes} bytes, age {config.max_age} (-1 and 0: none)")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--memory", action="store_true", help="keep it in memory: gone with the server")
    asyncio.run(main(parser.parse_args()))
