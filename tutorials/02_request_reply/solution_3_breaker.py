"""Exercise 3: a circuit breaker, which stops asking a service that only fails."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from nats.micro.request import ServiceError
from service_client import call
from shop import arguments, connect

T = TypeVar("T")


class CircuitOpenError(Exception):
    """Not even asked: the service failed too often a moment ago."""


@dataclass
class Breaker:
    """Opens after `failures_most` failures in a row, and lets one call try again after `rest`."""

    rest: float
    clock: Callable[[], float]
    failures_most: int = 3
    _failures: int = 0
    _open_until: float = 0.0

    async def guard(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, unless the circuit is open."""
        if self._failures >= self.failures_most:
            if self.clock() < self._open_until:
                raise CircuitOpenError
            # Half open: this call is the probe, and those that come meanwhile stay outside.
            self._open_until = self.clock() + self.rest
        try:
            result = await work()
        except Exception:
            self._failures += 1
            self._open_until = self.clock() + self.rest
            raise
        self._failures = 0
        return result


async def main(options: argparse.Namespace) -> None:
    """Call a service that fails three times; the breaker opens, rests, and closes."""
    nc = await connect(options.url)
    breaker = Breaker(rest=1.0, clock=asyncio.get_running_loop().time)
    for number in range(1, 7):
        if number == 6:
            print("        (a rest)")
            await asyncio.sleep(breaker.rest)
        try:
            answer = await breaker.guard(lambda: call(nc, "stock.count", {}))
        except ServiceError as error:
            print(f"call {number}: {error.code} {error.description}")
        except CircuitOpenError:
            print(f"call {number}: not sent, the circuit is open")
        else:
            print(f"call {number}: {answer}")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
