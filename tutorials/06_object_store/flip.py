"""Flips one bit of an object in the bucket: what a careless client, or a damaged disk, might do."""

import argparse
import asyncio

from archive import REPORTS, arguments, chunks, connect, open_store


async def main(options: argparse.Namespace) -> None:
    """Take the chunks out, and put them back with a bit flipped in the middle."""
    nc = await connect(options.url)
    js = nc.jetstream()
    info = await (await open_store(js, REPORTS)).get_info(options.name)
    pieces = [chunk async for _, chunk in chunks(js, info)]
    victim = len(pieces) // 2
    damaged = bytearray(pieces[victim])
    damaged[len(damaged) // 2] ^= 1
    pieces[victim] = bytes(damaged)
    subject = f"$O.{REPORTS}.C.{info.nuid}"
    await js.purge_stream(f"OBJ_{REPORTS}", subject=subject)
    for piece in pieces:
        await js.publish(subject, piece)
    print(f"{options.name}: a bit of chunk {victim + 1} of {len(pieces)} is flipped")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("name", help="which object")
    asyncio.run(main(parser.parse_args()))
