"""Books payments into a database. It can be made to crash in each of the bad moments."""

import argparse
import asyncio
import os
import signal
import sqlite3

import nats.errors
from depot import PAYMENTS, arguments, connect, state_file
from nats.js.api import ConsumerConfig

MOMENTS = ("before-booking", "after-booking", "after-ack")


def open_ledger(run: str, *, is_new: bool) -> sqlite3.Connection:
    """The ledger: which messages are booked, and the total."""
    path = state_file(f"{run}.ledger")
    if is_new:
        path.unlink(missing_ok=True)
    ledger = sqlite3.connect(path)
    ledger.execute("CREATE TABLE IF NOT EXISTS booked (sequence INTEGER PRIMARY KEY, amount INTEGER)")
    ledger.execute("CREATE TABLE IF NOT EXISTS total (cents INTEGER)")
    if ledger.execute("SELECT count(*) FROM total").fetchone() == (0,):
        ledger.execute("INSERT INTO total VALUES (0)")
    ledger.commit()
    return ledger


def book(ledger: sqlite3.Connection, sequence: int, amount: int, *, naive: bool) -> bool:
    """Book a payment; with its sequence, so that a second time is noticed. Both in one transaction."""
    with ledger:
        if not naive:
            known = ledger.execute("INSERT OR IGNORE INTO booked VALUES (?, ?)", (sequence, amount)).rowcount == 0
            if known:
                return False
        ledger.execute("UPDATE total SET cents = cents + ?", (amount,))
    return True


async def main(options: argparse.Namespace) -> None:
    """Book until nothing comes."""
    nc = await connect(options.url)
    js = nc.jetstream()
    ledger = open_ledger(options.run, is_new=options.fresh)
    config = ConsumerConfig(ack_wait=1)
    cashier = await js.pull_subscribe("payments.*", durable="cashier", stream=PAYMENTS, config=config)

    def crash(moment: str, number: int) -> None:
        if options.crash == moment and number == options.crash_at:
            print(f"the power goes {moment.replace('-', ' ')} message {number}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    while True:
        try:
            (message,) = await cashier.fetch(1, timeout=options.wait)
        except nats.errors.TimeoutError:
            break
        number = message.metadata.sequence.stream
        crash("before-booking", number)
        if not book(ledger, number, int(message.data), naive=options.naive):
            print(f"message {number} is booked already")
        crash("after-booking", number)
        # A double ack: the server confirms that it has heard, and wrote down, that we are done.
        await message.ack_sync(timeout=5)
        crash("after-ack", number)
    (total,) = ledger.execute("SELECT cents FROM total").fetchone()
    print(f"the ledger says {total}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--run", default="pay", help="a name for the ledger (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty ledger")
    parser.add_argument("--naive", action="store_true", help="book whatever comes, without looking")
    parser.add_argument("--crash", choices=MOMENTS, help="die in this moment")
    parser.add_argument("--crash-at", type=int, default=3, metavar="N", help="of the message with this sequence")
    parser.add_argument("--wait", type=float, default=2, help="end when nothing comes for so many seconds")
    asyncio.run(main(parser.parse_args()))
