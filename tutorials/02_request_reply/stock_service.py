"""A service that is busy at first: it refuses some requests before it answers."""

import argparse
import asyncio

from nats.micro import add_service
from nats.micro.request import Request, ServiceError
from shop import arguments, connect, stop_event


async def main(options: argparse.Namespace) -> None:
    """Serve ``stock.count`` until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    refusals = options.refuse

    async def count(request: Request) -> None:
        nonlocal refusals
        if refusals > 0:
            refusals -= 1
            raise ServiceError("503", "the shelves are being counted")
        await request.respond(b'{"in_stock": 7}')

    service = await add_service(nc, name="stock", version="1.0.0")
    await service.add_endpoint(name="count", subject="stock.count", handler=count)
    await nc.flush()
    print("stock: open")

    await stop.wait()
    await nc.drain()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--refuse", type=int, default=0, help="refuse so many requests first")
    asyncio.run(main(parser.parse_args()))
