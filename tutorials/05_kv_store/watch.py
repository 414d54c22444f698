"""Watches keys: first what they are now, then every change."""

import argparse
import asyncio
import contextlib

from shop import CONFIG, arguments, follow, operation, text


async def main(options: argparse.Namespace) -> None:
    """Print entries until Ctrl-C, or until so many changes have come."""
    changes: int | None = None
    async for entry in follow(options.url, options.bucket, options.pattern):
        if entry is None:
            changes = 0
            print("that is all for now; waiting for changes")
            continue
        revision = f"#{entry.revision}" if entry.revision else "meanwhile"
        print(f"{revision} {operation(entry)} {entry.key} {text(entry)}".rstrip())
        if changes is not None:
            changes += 1
            if changes == options.count:
                return


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("pattern", nargs="?", default=">", help="which keys (default: all)")
    parser.add_argument("--bucket", default=CONFIG, help="which bucket (default: %(default)s)")
    parser.add_argument("--count", type=int, help="end after so many changes")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
