"""Scans parcels: publishes events, and says where the stream put each of them."""

import argparse
import asyncio

from depot import arguments, connect

CITIES = ("oslo", "rome", "lima")
STEPS = ("in", "out")


async def main(options: argparse.Namespace) -> None:
    """Publish one event after the other."""
    nc = await connect(options.url)
    js = nc.jetstream()
    for number in range(options.first, options.first + options.count):
        subject = f"scans.{CITIES[number % 3]}.{STEPS[number // 3 % 2]}"
        parcel = f"parcel {number}"
        if options.core:
            await nc.publish(subject, parcel.encode())
            continue
        ack = await js.publish(subject, parcel.encode())
        if not options.quiet:
            print(f"{parcel} on {subject}: stored in {ack.stream} as {ack.seq}")
    if options.core or options.quiet:
        await nc.flush()
        print(f"{options.count} scans published")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=3, help="how many events")
    parser.add_argument("--first", type=int, default=1, help="number of the first parcel")
    parser.add_argument("--core", action="store_true", help="do not wait for the stream's answers")
    parser.add_argument("--quiet", action="store_true", help="print one line for all")
    asyncio.run(main(parser.parse_args()))
