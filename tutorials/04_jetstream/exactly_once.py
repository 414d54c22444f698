"""Lets publisher and cashier crash again and again, and compares the books at the end."""

import argparse
import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from cashier import MOMENTS
from depot import PAYMENTS, arguments, connect, state_file

HERE = Path(__file__).parent


def run(script: str, *options: str) -> int:
    """Run a script to its end, or to its death."""
    command = [sys.executable, str(HERE / script), "--run", "once", *options]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


async def main(options: argparse.Namespace) -> None:
    """Crash, restart, crash, restart; then compare."""
    await (await connect(options.url)).close()  # without a server we say so once, and not each script
    lots = random.Random(options.seed)
    url = ("--url", options.url)
    count = ("--count", str(options.count))
    deaths = {"publisher": 0, "cashier": 0}
    moments = sorted(lots.sample(range(1, options.count), options.crashes))
    for attempt, moment in enumerate(moments):
        fresh = ("--fresh",) if attempt == 0 else ()
        ids = ("--without-ids",) if options.without_ids else ()
        deaths["publisher"] += run("pay.py", *url, *count, *fresh, *ids, "--crash-at", str(moment)) != 0
        naive = ("--naive",) if options.naive else ()
        crash = ("--crash", lots.choice(MOMENTS), "--crash-at", str(moment))
        deaths["cashier"] += run("cashier.py", *url, *fresh, *naive, *crash) != 0
    # And once more, without an accident.
    assert run("pay.py", *url, *count, *(("--without-ids",) if options.without_ids else ())) == 0
    assert run("cashier.py", *url, *(("--naive",) if options.naive else ())) == 0

    nc = await connect(options.url)
    stored = (await nc.jetstream().stream_info(PAYMENTS)).state.messages
    await nc.close()
    ledger = sqlite3.connect(state_file("once.ledger"))
    (total,) = ledger.execute("SELECT cents FROM total").fetchone()
    due = options.count * (options.count + 1) // 2
    print(f"{options.count} payments; the publisher died {deaths['publisher']} times, the cashier {deaths['cashier']}")
    print(f"  in the stream: {stored} messages")
    print(f"  booked: {total} of {due}" + (", exactly" if total == due else ""))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=40, help="how many payments")
    parser.add_argument("--crashes", type=int, default=5, help="how often each of the two dies")
    parser.add_argument("--seed", type=int, default=1, help="other numbers crash in other places")
    parser.add_argument("--without-ids", action="store_true", help="publish without message ids")
    parser.add_argument("--naive", action="store_true", help="book without looking")
    asyncio.run(main(parser.parse_args()))
