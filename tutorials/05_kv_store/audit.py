"""Reads the history of the report: did a former leader write after its successor?"""

import argparse
import asyncio

from leader import BUCKET, REPORT
from shop import arguments, connect, open_bucket, text


async def main(options: argparse.Namespace) -> None:
    """Tokens must grow from write to write; one that goes back came late."""
    nc = await connect(options.url)
    entries = await (await open_bucket(nc.jetstream(), BUCKET)).history(REPORT)
    await nc.close()
    newest, holder, late = 0, "", 0
    for entry in entries:
        name, token = text(entry).split()
        if int(token) < newest:
            late += 1
            print(f"#{entry.revision}: {name} wrote with token {token} after {holder} with token {newest}")
        else:
            newest, holder = int(token), name
    print(f"{len(entries)} reports, {late} of them too late")


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
