"""Calls a service again when that makes sense, and waits longer each time."""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.micro.request import ServiceError
from service_client import call
from shop import arguments, connect

WORTH_ANOTHER_TRY = frozenset({"429", "503"})
"""Busy, or not there just now. 400 and 404 would only come again."""


@dataclass(frozen=True)
class Backoff:
    """How often to try, and how long to wait in between."""

    attempts: int = 6
    first: float = 0.1
    factor: float = 2.0
    longest: float = 2.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, counted from 1.

        A random part of the limit ("full jitter"): a thousand clients that failed together
        must not come back together.
        """
        limit = min(self.first * self.factor ** (attempt - 1), self.longest)
        return random.uniform(0, limit)


def reason_to_retry(error: Exception) -> str | None:
    """Why another attempt may help, or None if it can't."""
    if isinstance(error, nats.errors.NoRespondersError):
        return "nobody listens"
    if isinstance(error, nats.errors.TimeoutError):
        return "no answer in time"
    if isinstance(error, ServiceError) and error.code in WORTH_ANOTHER_TRY:
        return f"{error.code} {error.description}"
    return None


async def call_with_retry(
    nc: Client,
    subject: str,
    body: Mapping[str, Any],
    *,
    backoff: Backoff | None = None,
    timeout: float = 1.0,
    headers: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Call until it works, or until no further attempt can help."""
    backoff = backoff or Backoff()
    attempt = 1
    while True:
        try:
            return await call(nc, subject, body, timeout=timeout, headers=headers)
        except (nats.errors.Error, ServiceError) as error:  # noqa: PERF203 - the point of this loop
            reason = reason_to_retry(error)
            if reason is None or attempt == backoff.attempts:
                raise
            pause = backoff.pause(attempt)
            say(f"attempt {attempt}: {reason}; again in {pause:.2f} s")
            await asyncio.sleep(pause)
            attempt += 1


async def main(options: argparse.Namespace) -> int:
    """One call from the command line."""
    nc = await connect(options.url)
    try:
        backoff = Backoff(attempts=options.attempts)
        body = json.loads(options.json)
        print(json.dumps(await call_with_retry(nc, options.subject, body, backoff=backoff)))
    except ServiceError as error:
        print(f"gave up: {error.code} {error.description}")
        return 1
    except nats.errors.Error as error:
        print(f"gave up: {error}")
        return 1
    finally:
        await nc.close()
    return 0


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("subject")
    parser.add_argument("json")
    parser.add_argument("--attempts", type=int, default=6, help="give up after so many")
    sys.exit(asyncio.run(main(parser.parse_args())))
