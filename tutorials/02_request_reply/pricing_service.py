"""The prices as a microservice: two endpoints, discovery, statistics, and errors with a code."""

import argparse
import asyncio
import json
from typing import Any

from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from shop import PRICES, arguments, connect, stop_event


def read(request: Request) -> dict[str, Any]:
    """The payload, if it is a JSON object."""
    try:
        body = json.loads(request.data)
    except ValueError:
        raise ServiceError("400", "the payload is not JSON") from None
    if not isinstance(body, dict):
        raise ServiceError("400", "the payload is not a JSON object")
    return body


async def price(request: Request) -> None:
    """``{"book": "dune"}`` to ``{"book": "dune", "cents": 990}``."""
    book = read(request).get("book")
    if not isinstance(book, str):
        raise ServiceError("400", 'the field "book" is missing')
    if book not in PRICES:
        raise ServiceError("404", f"no such book: {book}")
    await request.respond(json.dumps({"book": book, "cents": PRICES[book]}).encode())


async def total(request: Request) -> None:
    """``{"books": ["dune", "emma"]}`` to ``{"cents": 1740}``."""
    books = read(request)["books"]  # no check here: see what happens without
    await request.respond(json.dumps({"cents": sum(PRICES[book] for book in books)}).encode())


async def main(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    service = await add_service(
        nc,
        name="pricing",
        version="1.0.0",
        description="What books cost",
        metadata={"desk": options.desk},
    )
    pricing = service.add_group(name="pricing")
    await pricing.add_endpoint(name="price", handler=price)
    await pricing.add_endpoint(name="total", handler=total)
    await nc.flush()
    print(f"pricing: open at the {options.desk} desk")

    await stop.wait()
    await nc.drain()  # finishes what has arrived; service.stop() would throw it away
    print("pricing: closed")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--desk", default="front", help="tells the instances apart")
    asyncio.run(main(parser.parse_args()))
