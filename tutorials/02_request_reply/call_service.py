"""Calls an endpoint of a service once, or several times, and prints the answer."""

import argparse
import asyncio
import json
import sys

from nats.micro.request import ServiceError
from service_client import call
from shop import arguments, connect


async def main(options: argparse.Namespace) -> int:
    """Call; an error of the service becomes exit code 1."""
    nc = await connect(options.url)
    try:
        for _ in range(options.times):
            answer = await call(nc, options.subject, json.loads(options.json))
        print(json.dumps(answer))
    except ServiceError as error:
        print(f"error {error.code}: {error.description}")
        return 1
    finally:
        await nc.close()
    return 0


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("subject", help="for example pricing.price")
    parser.add_argument("json", help="""for example '{"book": "dune"}'""")
    parser.add_argument("--times", type=int, default=1, help="call so often")
    sys.exit(asyncio.run(main(parser.parse_args())))
