"""Exercise 1: an endpoint ``pricing.total`` that tells the client what is wrong."""

import argparse
import asyncio
import json

from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from pricing_service import price, read
from shop import PRICES, arguments, connect, stop_event


async def total(request: Request) -> None:
    """``{"books": ["dune", "emma"]}`` to ``{"cents": 1740}``."""
    books = read(request).get("books")
    if not isinstance(books, list) or not all(isinstance(book, str) for book in books):
        raise ServiceError("400", 'the field "books" must be a list of names')
    unknown = [book for book in books if book not in PRICES]
    if unknown:
        raise ServiceError("404", f"no such book: {', '.join(unknown)}")
    await request.respond(json.dumps({"cents": sum(PRICES[book] for book in books)}).encode())


async def main(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    service = await add_service(nc, name="pricing", version="1.0.1", metadata={"desk": "front"})
    pricing = service.add_group(name="pricing")
    await pricing.add_endpoint(name="price", handler=price)
    await pricing.add_endpoint(name="total", handler=total)
    await nc.flush()
    print("pricing 1.0.1: open")

    await stop.wait()
    await nc.drain()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
