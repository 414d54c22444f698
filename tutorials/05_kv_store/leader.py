"""One of several processes leads, for as long as it renews its lease; another takes over when it does not."""

import argparse
import asyncio
import contextlib
import os
import signal

from nats.js import JetStreamContext
from nats.js.errors import APIError
from shop import EXPECTED, EXPECTED_SUBJECT, acquire, arguments, connect, open_bucket, state_file, stop_event

BUCKET = "SHIFT"
LEASE, REPORT = "leader", "report"
SECONDS = 3  # the lease
PERIOD = 0.25  # between two renewals


class LeaseLostError(Exception):
    """Another process leads, or will soon."""


async def renew(js: JetStreamContext, name: str, token: int) -> int:
    """Extend the lease if it is still ours: a new value with a TTL of its own. Returns its revision."""
    try:
        headers = {EXPECTED: str(token)}
        ack = await js.publish(f"$KV.{BUCKET}.{LEASE}", name.encode(), headers=headers, msg_ttl=SECONDS)
    except APIError:
        raise LeaseLostError(f"the lease is not at revision {token} any more") from None
    return ack.seq


async def write(js: JetStreamContext, name: str, token: int, *, fenced: bool) -> None:
    """Write the report. Fenced: the server stores it only if the lease is still at our token."""
    headers = {EXPECTED: str(token), EXPECTED_SUBJECT: f"$KV.{BUCKET}.{LEASE}"} if fenced else None
    try:
        await js.publish(f"$KV.{BUCKET}.{REPORT}", f"{name} {token}".encode(), headers=headers)
    except APIError:
        raise LeaseLostError(f"token {token} is old, the report was not written") from None


async def lead(js: JetStreamContext, token: int, options: argparse.Namespace) -> None:
    """Work and renew until the lease is lost; gives it back when this task is cancelled."""
    reports = 0
    try:
        while True:
            reports += 1
            if reports == options.pause_at:
                # The worst moment: we hold the lease, and are about to write.
                print(f"{options.name}: falls asleep")
                os.kill(os.getpid(), signal.SIGSTOP)
            await write(js, options.name, token, fenced=not options.unfenced)
            if reports == 1:
                print(f"{options.name}: leads, token {token}")
            token = await renew(js, options.name, token)
            await asyncio.sleep(PERIOD)
    except asyncio.CancelledError:
        with contextlib.suppress(APIError):  # refused if it is not ours any more
            await (await js.key_value(BUCKET)).delete(LEASE, last=token)
        raise


async def main(options: argparse.Namespace) -> None:
    """Apply, lead, and end with the lease or with Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    js = nc.jetstream()
    await open_bucket(js, BUCKET)
    state_file(f"{options.name}.pid").write_text(str(os.getpid()))

    async def serve() -> None:
        print(f"{options.name}: applies")
        token = await acquire(js, BUCKET, LEASE, options.name, ttl=SECONDS)
        await lead(js, token, options)

    serving = asyncio.create_task(serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print(f"{options.name}: resigns")
    except LeaseLostError as error:
        print(f"{options.name}: leads no more, {error}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("name", help="who applies")
    parser.add_argument("--unfenced", action="store_true", help="write the report without showing the token")
    parser.add_argument("--pause-at", type=int, help="stop the process before so many reports are written")
    asyncio.run(main(parser.parse_args()))
