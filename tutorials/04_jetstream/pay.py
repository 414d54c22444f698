"""Publishes payments, each of which must count once. It can be made to crash in the worst moment."""

import argparse
import asyncio
import os
import signal

from depot import PAYMENTS, arguments, connect, fresh, state_file
from nats.js.api import StreamConfig


async def main(options: argparse.Namespace) -> None:
    """Publish what was not confirmed yet."""
    nc = await connect(options.url)
    js = nc.jetstream()
    progress = state_file(f"{options.run}.paid")
    if options.fresh:
        progress.unlink(missing_ok=True)
        await fresh(js, StreamConfig(name=PAYMENTS, subjects=["payments.*"]))
    done = int(progress.read_text()) if progress.exists() else 0
    if done:
        print(f"payments up to {done} are confirmed, going on")
    for number in range(done + 1, options.count + 1):
        # The id says which payment this is, not which attempt: so a second attempt is known as one.
        headers = None if options.without_ids else {"Nats-Msg-Id": f"payment-{number}"}
        subject, amount = f"payments.{number % 5}", str(number).encode()
        if number == options.crash_at and done < number:
            # It is on its way and will be stored. But the answer never reaches us.
            await nc.publish(subject, amount, reply=nc.new_inbox(), headers=headers)
            await nc.flush()
            print(f"payment {number} is sent, and the power goes", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        ack = await js.publish(subject, amount, headers=headers)
        if ack.duplicate:
            print(f"payment {number} was there already, as {ack.seq}")
        # Only what is confirmed is written down.
        progress.write_text(str(number))
    print(f"{options.count} payments are confirmed")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--run", default="pay", help="a name for what is written down (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty stream")
    parser.add_argument("--count", type=int, default=5, help="how many payments in all")
    parser.add_argument("--crash-at", type=int, default=0, metavar="N", help="die when payment N is sent")
    parser.add_argument("--without-ids", action="store_true", help="leave the message ids out")
    asyncio.run(main(parser.parse_args()))
